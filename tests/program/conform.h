/* SPDX-License-Identifier: MIT */
/*
 * conform.h: small checks that say what they saw. Nothing is judged here: tests/program/conform
 * runs them with and without userkvm and compares what they said.
 */
#ifndef CONFORM_H
#define CONFORM_H

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct check {
	const char *name;
	void (*run)(long arg);
	long arg;
};

extern const struct check signal_checks[], descriptor_checks[], process_checks[];

/* Part of what this check saw. */
#define SAY(...) printf(__VA_ARGS__)
/* A call's result, with errno where it failed. */
#define SAY_CALL(call)                                                                         \
	do {                                                                                   \
		long r_ = (long)(call);                                                        \
                                                                                               \
		SAY(" %ld", r_);                                                               \
		if (r_ < 0)                                                                    \
			SAY(":%d", errno);                                                     \
	} while (0)

/* Send sig to this process after some milliseconds, from a child. */
void send_after(int sig, long ms);
void sleep_ms(long ms);
void set_handler(int sig, void (*handler)(int), int flags);
void count_signal(int sig);
extern volatile int counted, last_signal;
/* How a child ended: exit status or -signal. */
long ended(pid_t pid);
void say_mask(void);

#endif
