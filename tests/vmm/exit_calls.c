/* SPDX-License-Identifier: MIT */
/*
 * An exit to the VMM makes no system call but two: the signal mask of its window, and the look at
 * what the descriptor is. A filter kills for any other.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "minivmm.h"

#define EXITS 2000

GUEST(writes, 64, "1: mov %rax, (%rdi)\n out %al, $0x10\n jmp 1b");

#define LET(name)                                                                              \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##name, 0, 1),                                 \
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

static struct minivmm v;

static void allow_only_exits(void)
{
	struct sock_filter f[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		LET(rt_sigprocmask), LET(fstat),
		LET(write), LET(exit_group), /* this program's own, at its end */
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	};
	struct sock_fprog p = {.len = sizeof(f) / sizeof(*f), .filter = f};

	EXPECT(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "no_new_privs");
	EXPECT(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &p) == 0, "seccomp: %s", strerror(errno));
}

int main(void)
{
	minivmm_create(&v);
	minivmm_load(&v, MINIVMM_LONG, writes);
	minivmm_set_rdi(&v, MINIVMM_HOLE);
	/* what is found out once, is */
	for (int i = 0; i < EXITS; i++)
		EXPECT_EXIT(&v, i % 2 ? KVM_EXIT_IO : KVM_EXIT_MMIO);
	allow_only_exits();
	for (int i = 0; i < EXITS; i++)
		EXPECT_EXIT(&v, i % 2 ? KVM_EXIT_IO : KVM_EXIT_MMIO);
	_exit(0);
}
