/* SPDX-License-Identifier: MIT */
/*
 * A VMM that forbids itself calls by a filter, as Firecracker does, and is killed by one of those. filtered
 * GUEST WHEN: the guest dies or spins; the filter comes late, in the vCPU's thread, or before /dev/kvm.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "../vmm/minivmm.h"

GUEST(spins, 64, "mov $0x5eed, %ebx\n 1: jmp 1b\n");
GUEST(dies, 64, "mov $0x5eed, %ebx\n ud2\n");

static struct minivmm v;
static int late;

#define FORBID(nr) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (nr), 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS)

/* What whoever looks at a guest asks of the kernel, and a VMM need not. */
static void forbid(void)
{
	static struct sock_filter f[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		FORBID(SYS_socket), FORBID(SYS_connect), FORBID(SYS_sendmsg), FORBID(SYS_mincore),
		FORBID(SYS_memfd_create), FORBID(SYS_process_vm_readv), FORBID(SYS_openat2),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog p = {sizeof(f) / sizeof(*f), f};

	EXPECT(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) && !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &p), "%s",
	       strerror(errno));
}

static void *run(void *unused)
{
	if (late)
		forbid();
	minivmm_run(&v);
	return unused;
}

int main(int argc, char **argv)
{
	int die = argc > 1 && !strcmp(argv[1], "dies");
	char line[16];
	pthread_t t;

	late = argc > 2 && !strcmp(argv[2], "late");
	if (!late)
		forbid();
	minivmm_create(&v);
	minivmm_load(&v, MINIVMM_LONG, die ? dies : spins);
	EXPECT(!pthread_create(&t, NULL, run, NULL), "pthread_create");
	if (die)
		pthread_join(t, NULL);
	puts("ready");
	fflush(stdout);
	return fgets(line, sizeof(line), stdin) ? 5 : 0;
}
