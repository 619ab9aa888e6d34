/* SPDX-License-Identifier: MIT */
/* What both builds' calls have in common. */
#include "calls.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include "check.h"

static u64 worst; /* atomic */

void calls_heard(void)
{
	u64 took = heard_returned(heard_mine()), most = __atomic_load_n(&worst, __ATOMIC_RELAXED);

	while (took > most &&
	       !__atomic_compare_exchange_n(&worst, &most, took, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
	if (took > heard_limit())
		heard_print(stderr, heard_mine());
	MUST(took <= heard_limit(), "a signal was heard late");
}

u64 calls_worst(void)
{
	return __atomic_load_n(&worst, __ATOMIC_RELAXED);
}

void calls_unmap_vcpu(void *p, size_t len)
{
	munmap(p, len);
}

void calls_change_host(void *p, size_t len, enum change what)
{
	if (what == CHANGE_ZAP)
		madvise(p, len, MADV_DONTNEED);
	else if (what == CHANGE_REPLACE)
		mmap(p, len, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1,
		     0);
	else
		mprotect(p, len,
			 what == CHANGE_NONE	   ? PROT_NONE
			 : what == CHANGE_WRITABLE ? PROT_READ | PROT_WRITE
						   : PROT_READ);
}

int calls_wait(pid_t child)
{
	int status;

	if (child < 0)
		return 0; /* there is none */
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
