/* SPDX-License-Identifier: MIT */
/*
 * preload/sandbox.h: what a program does to keep itself in: a filter of system calls, a Landlock rule.
 *
 * A filter of the program's own is put behind a list of the calls that our code makes, told by the address
 * of the caller. SECURITY.md says what that gives away.
 */
#ifndef PRELOAD_SANDBOX_H
#define PRELOAD_SANDBOX_H

#include "base/types.h"

/* Code whose calls are ours. */
struct sandbox_text {
	u64 start, end;	      /* addresses */
	const short *numbers; /* of calls, up to a -1 */
};

/* What our own text may call; the loader has all of it in one place. */
extern const short sandbox_ours[];

/*
 * seccomp() or prctl() that installs a filter, by its number: with these texts in front. What the call
 * returns. Allocates.
 */
long sandbox_install(long nr, const long *a, const struct sandbox_text *text, size_t n);
/* The same in a preloaded process, whose texts are found here. */
long sandbox_install_preloaded(long nr, const long *a);
/* landlock_add_rule(): /dev/kvm, as a descriptor of ours, is a device for a rule to name. */
long sandbox_add_rule(const long *a);

#endif
