/* SPDX-License-Identifier: MIT */
/*
 * vm/confine.c: a seccomp filter over every thread of the process. A guest that breaks out of userkvm
 * is in the monitor: what the monitor does not need once its guest runs is refused with EPERM, so that a
 * monitor that asks for it after all gets an error and not a signal.
 *
 * Refused: other programs and processes (execve, fork, ptrace and kin, signals to others), new sockets,
 * files opened to be written or made, names in the file system changed, privileges, namespaces, mounts,
 * modules, BPF, perf, keys, and io_uring, which makes calls that no filter sees. Allowed: everything
 * else, what is open already above all; SECURITY.md says what that leaves.
 */
#include "vm/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/sockios.h>
#include <sched.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/types.h"
#include "sync/lock.h"

#define X32_BIT 0x40000000u /* of a call's number: another ABI */

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (u32)offsetof(struct seccomp_data, field))
/* The lower half of an argument; what is compared with it fits. */
#define LOAD_ARG(n) \
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (u32)(offsetof(struct seccomp_data, args) + 8 * (n)))
#define RETURN(what) BPF_STMT(BPF_RET | BPF_K, (what))
#define REFUSE	     RETURN(SECCOMP_RET_ERRNO | EPERM)
#define ALLOW	     RETURN(SECCOMP_RET_ALLOW)
/* Refuse a call by its number; go on with the next line else. */
#define NO(call) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##call, 0, 1), REFUSE
/* Of this call, look at argument n: refuse it with any of these bits, or without. */
#define NO_BITS(call, n, bits)                                                                     \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##call, 0, 4), LOAD_ARG(n),                        \
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, (bits), 0, 1), REFUSE, ALLOW
#define NEEDS_BITS(call, n, bits)                                                                  \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##call, 0, 4), LOAD_ARG(n),                        \
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, (bits), 1, 0), REFUSE, ALLOW
/* Argument n is this process, whose number install() fills in. */
#define OWN_ONLY(call, n)                                                                          \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##call, 0, 4), LOAD_ARG(n),                        \
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, OWN_PID, 1, 0), REFUSE, ALLOW
#define OWN_PID 0xffffffffu /* no process */
#define IS(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), (yes), (no))
/* A limit of another's CPU time is a signal to it. No process is this one, too. */
#define OWN_LIMITS IS(SYS_prlimit64, 0, 5), LOAD_ARG(0), IS(0, 2, 0), IS(OWN_PID, 1, 0), REFUSE, ALLOW
/* Who owns a descriptor is sent a signal of the owner's choice; and what is typed is a shell's command. */
#define OWN_DESCRIPTORS                                                                            \
	IS(SYS_fcntl, 0, 7), LOAD_ARG(1), IS(F_SETOWN_EX, 3, 0), IS(F_SETOWN, 0, 3), LOAD_ARG(2),  \
		IS(OWN_PID, 1, 0), REFUSE, ALLOW
#define NO_OWNER_NOR_INPUT                                                                         \
	IS(SYS_ioctl, 0, 6), LOAD_ARG(1), IS(TIOCSTI, 2, 0), IS(FIOSETOWN, 1, 0),                  \
		IS(SIOCSPGRP, 0, 1), REFUSE, ALLOW

#define WRITES (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC)

static int install(void)
{
	struct sock_filter code[] = {
		LOAD(arch),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0),
		REFUSE,
		LOAD(nr),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, X32_BIT, 0, 1),
		REFUSE,
		/* Programs and processes. clone3 hides its flags; libc asks clone then. */
		NO(execve), NO(execveat), NO(fork), NO(vfork),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 0, 1),
		RETURN(SECCOMP_RET_ERRNO | ENOSYS),
		NO(ptrace), NO(process_vm_readv), NO(process_vm_writev),
		NO(pidfd_send_signal), NO(tkill),
		/* Sockets, but not what comes through those that are there. */
		NO(socket), NO(socketpair), NO(connect), NO(bind), NO(listen),
		/* Files. */
		NO(open_by_handle_at), NO(creat), NO(unlink), NO(unlinkat), NO(rename), NO(renameat),
		NO(renameat2), NO(link), NO(linkat), NO(symlink), NO(symlinkat), NO(mkdir),
		NO(mkdirat), NO(rmdir), NO(mknod), NO(mknodat), NO(chmod), NO(fchmodat), NO(fchmod),
		NO(chown), NO(lchown), NO(fchown), NO(fchownat), NO(truncate), NO(setxattr),
		NO(lsetxattr), NO(fsetxattr), NO(openat2),
		/* Privileges, namespaces, the kernel. */
		NO(setuid), NO(setgid), NO(setreuid), NO(setregid), NO(setresuid), NO(setresgid),
		NO(setgroups), NO(setfsuid), NO(setfsgid), NO(capset), NO(setns),
		NO(chroot), NO(pivot_root), NO(mount), NO(umount2), NO(open_tree), NO(move_mount),
		NO(fsopen), NO(fsconfig), NO(fsmount), NO(fspick), NO(swapon), NO(swapoff),
		NO(reboot), NO(kexec_load), NO(kexec_file_load), NO(init_module), NO(finit_module),
		NO(delete_module), NO(bpf), NO(perf_event_open), NO(add_key), NO(request_key),
		NO(keyctl), NO(io_uring_setup), NO(io_uring_enter), NO(io_uring_register),
		NO(iopl), NO(ioperm), NO(modify_ldt), NO(acct), NO(quotactl), NO(personality),
		NO(settimeofday), NO(clock_settime), NO(adjtimex), NO(clock_adjtime),
		NO(sethostname), NO(setdomainname), NO(vhangup), NO(syslog),
		/* Calls of which a part is refused; each ends the filter. */
		NO_BITS(open, 1, WRITES),
		NO_BITS(openat, 2, WRITES),
		NEEDS_BITS(clone, 0, CLONE_THREAD),
		NO_OWNER_NOR_INPUT,
		OWN_DESCRIPTORS,
		OWN_LIMITS,
		NO_BITS(unshare, 0, ~(u32)CLONE_FILES), /* a helper's own descriptors */
		OWN_ONLY(pidfd_open, 0),
		OWN_ONLY(kill, 0),
		OWN_ONLY(tgkill, 0),
		OWN_ONLY(rt_sigqueueinfo, 0),
		OWN_ONLY(rt_tgsigqueueinfo, 0),
		ALLOW,
	};
	struct sock_fprog filter = {ARRAY_SIZE(code), code};

	for (size_t i = 0; i < ARRAY_SIZE(code); i++) {
		if (code[i].k == OWN_PID)
			code[i].k = (u32)getpid();
	}
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	/* All threads, or none: then the number of one that cannot follow comes back. */
	switch (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &filter)) {
	case 0:
		return 0;
	case -1:
		return -errno;
	default:
		return -EPERM;
	}
}

int confine_once(void)
{
	static struct mutex lock = {.m = PTHREAD_MUTEX_INITIALIZER};
	static bool done;
	static int result;

	if (__atomic_load_n(&done, __ATOMIC_ACQUIRE))
		return result;
	mutex_lock(&lock);
	if (!done) {
		result = secure_getenv("USERKVM_CONFINE") ? install() : 0;
		__atomic_store_n(&done, true, __ATOMIC_RELEASE);
	}
	mutex_unlock(&lock);
	return result;
}
