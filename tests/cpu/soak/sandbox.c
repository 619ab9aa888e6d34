/* SPDX-License-Identifier: MIT */
/*
 * soak/sandbox.c: random instructions run natively here. They are never SYSCALL or INT 0x80 by
 * choice, but a wild jump could find one, and bytes that are no instruction to one vendor's
 * processors are SYSCALL to the other's (0F 05 outside 64-bit mode). The filter turns every call from
 * the guest's half of the address space, and every one that is not 64-bit, into a signal, which
 * ends the run; what the engine itself needs it lets through; the rest kills.
 */
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "soak.h"

#define ALLOW(nr)                                                                              \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##nr, 0, 1),                                   \
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

int sandbox_enter(bool reports)
{
	static struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
		/* The upper half of the address: 0 below 4 GiB, where nothing of ours runs. */
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, instruction_pointer) + 4),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		ALLOW(rt_sigreturn),
		ALLOW(exit_group),
		ALLOW(exit),
		/* The engine's memory. */
		ALLOW(mmap),
		ALLOW(munmap),
		ALLOW(mremap),
		ALLOW(brk),
		ALLOW(madvise),
		ALLOW(futex),
		ALLOW(membarrier),
		ALLOW(sched_yield),
		/* Cases from a file, and what became of them. */
		ALLOW(read),
		ALLOW(write),
		ALLOW(newfstatat),
		ALLOW(fstat), /* glibc from 2.39 on */
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	};
	static const struct sock_fprog filter = {ARRAY_SIZE(code), code};
	static const struct rlimit none = {0, 0}, memory = {8UL << 30, 8UL << 30}; /* of addresses; the translator reserves 4 */

	if (prctl(PR_SET_PDEATHSIG, SIGKILL) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    setrlimit(RLIMIT_CORE, &none) || (!reports && setrlimit(RLIMIT_FSIZE, &none)) ||
	    setrlimit(RLIMIT_NPROC, &none) || setrlimit(RLIMIT_AS, &memory) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter))
		return -errno;
	return 0;
}
