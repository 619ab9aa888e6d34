/* SPDX-License-Identifier: MIT */
/* tests/fuzz/check.h: a finding ends the process. */
#ifndef TESTS_FUZZ_CHECK_H
#define TESTS_FUZZ_CHECK_H

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/types.h"

#define MUST(condition, ...)                                                                       \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #condition);            \
			fprintf(stderr, __VA_ARGS__);                                              \
			fputc('\n', stderr);                                                       \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

/*
 * The signals the rooms need, where there is no preload: a fault that is no guest access's, or not
 * `allowed` to be (NULL: any may), is a finding.
 */
void faults_install(bool (*allowed)(int sig, const siginfo_t *info));
void faults_handle(int sig, void (*fn)(int sig, siginfo_t *info, void *uc));

#endif
