/* SPDX-License-Identifier: MIT */
#include "loader/sandbox.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include "loader/direct.h"
#include "preload/sandbox.h"

/* A call that is passed is made from a stub, which lies in the next half: the program's filter judges it. */
enum fate sandbox_handle(struct call *c)
{
	const struct sandbox_text all = {(u64)LOADER_HALF_0 << 32, (u64)LOADER_HALF_1 << 32, sandbox_ours};
	long r;

	/* strict mode is for a process that needs no more than read, write and exit */
	if (c->nr == SYS_prctl && c->a[1] != SECCOMP_MODE_FILTER)
		return PASS;
	r = sandbox_install(c->nr, c->a, &all, 1);
	direct_ask_again();
	return trap_result(c, r);
}
