/* SPDX-License-Identifier: MIT */
/*
 * loader/sandbox.h: seccomp filters that the program puts itself under.
 *
 * The strictest filter decides, and the program's knows nothing of the calls that our code makes. So
 * a few instructions go in front of it that let those pass which sandbox.c lists, and only from our
 * own text (LOADER_HALF_0). SECURITY.md says what that gives away.
 */
#ifndef LOADER_SANDBOX_H
#define LOADER_SANDBOX_H

#include "loader/trap.h"

/* seccomp(SECCOMP_SET_MODE_FILTER) and prctl(PR_SET_SECCOMP). */
enum fate sandbox_handle(struct call *c);

#endif
