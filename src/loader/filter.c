/* SPDX-License-Identifier: MIT */
#include "loader/filter.h"

#include <asm/prctl.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include "base/types.h"
#include "loader/layout.h"
#include "preload/raw.h"

#define ANY (-1)

/*
 * A call that is trapped: always, or if an argument, masked, is one of these values, or, with no
 * values, if it is not. `argument`: its number; only the lower half is looked at, which is enough to
 * tell a pointer from none: none lies at a multiple of 4 GiB.
 */
struct trapped {
	int nr;
	int argument; /* or ANY */
	u32 mask;
	u32 values[7];
	int n;
};

#define ALWAYS(name)		     {SYS_##name, ANY, 0, {0}, 0}
#define IF(name, arg, mask, n, ...) {SYS_##name, arg, mask, {__VA_ARGS__}, n}
#define IF_GIVEN(name, arg)	     {SYS_##name, arg, ~0U, {0}, 0}

static const struct trapped table[] = {
	/* names and descriptors */
	IF(ioctl, 1, 0xff00, 2, 0xae00, 0xaa00), /* KVM's, and userfaultfd's */
	ALWAYS(open), ALWAYS(openat), ALWAYS(openat2), ALWAYS(creat), ALWAYS(stat), ALWAYS(lstat),
	ALWAYS(fstat), ALWAYS(newfstatat), ALWAYS(statx), ALWAYS(access), ALWAYS(faccessat),
	ALWAYS(faccessat2), ALWAYS(readlink), ALWAYS(readlinkat), ALWAYS(close), ALWAYS(close_range),
	ALWAYS(dup), ALWAYS(dup2), ALWAYS(dup3),
	IF(fcntl, 1, ~0U, 5, F_DUPFD, F_DUPFD_CLOEXEC, F_ADD_SEALS, F_GET_SEALS, F_GETFL),
	/* memory that a guest may see, and files it comes from */
	ALWAYS(mmap), ALWAYS(munmap), ALWAYS(mremap), ALWAYS(mprotect), ALWAYS(pkey_mprotect),
	IF(madvise, 2, ~0U, 7, MADV_DONTNEED, MADV_FREE, MADV_REMOVE, 24, 25, 102, 103),
	ALWAYS(process_madvise), ALWAYS(remap_file_pages), ALWAYS(brk), ALWAYS(shmat), ALWAYS(shmdt),
	ALWAYS(ftruncate), ALWAYS(truncate), ALWAYS(fallocate),
	/* threads, processes, programs */
	ALWAYS(clone), ALWAYS(clone3), ALWAYS(fork), ALWAYS(exit), ALWAYS(execve),
	ALWAYS(execveat), IF(arch_prctl, 0, ~0U, 1, ARCH_SET_GS),
	ALWAYS(setuid), ALWAYS(setgid), ALWAYS(setreuid), ALWAYS(setregid), ALWAYS(setresuid),
	ALWAYS(setresgid), ALWAYS(setgroups),
	/* signals */
	ALWAYS(rt_sigaction), ALWAYS(rt_sigreturn), IF(rt_sigprocmask, 0, ~0U, 2, SIG_BLOCK, SIG_SETMASK),
	ALWAYS(tgkill), ALWAYS(tkill), ALWAYS(rt_tgsigqueueinfo), ALWAYS(pidfd_send_signal),
	ALWAYS(rt_sigsuspend), ALWAYS(rt_sigtimedwait), IF_GIVEN(ppoll, 3), IF_GIVEN(pselect6, 5), IF_GIVEN(epoll_pwait, 4),
	IF_GIVEN(epoll_pwait2, 4),
	/* filters of the program's own */
	IF(prctl, 0, ~0U, 1, PR_SET_SECCOMP), IF(seccomp, 0, ~0U, 1, SECCOMP_SET_MODE_FILTER),
	ALWAYS(landlock_add_rule),
	/* names, in calls that are seldom made */
	ALWAYS(getdents64),
#define NAME(call, dir, path, answer) ALWAYS(call),
#include "preload/names.def"
};

#define MAX_CODE 1024

struct code {
	struct sock_filter at[MAX_CODE];
	u16 n;
};

static void emit(struct code *c, struct sock_filter f)
{
	if (c->n < MAX_CODE)
		c->at[c->n] = f;
	c->n++;
}

#define LOAD_AT(offset)	  ((struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (offset)))
#define LOAD(field)	  LOAD_AT(offsetof(struct seccomp_data, field))
#define RETURN(k)	  ((struct sock_filter)BPF_STMT(BPF_RET | BPF_K, (k)))
#define JUMP(op, k, t, f) ((struct sock_filter)BPF_JUMP(BPF_JMP | (op) | BPF_K, (u32)(k), (t), (f)))
#define AND(k)		  ((struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K, (k)))

/*
 * What becomes of such a call of the program's. clone3() keeps its arguments in memory, where no
 * filter looks, and every libc has clone() to fall back on.
 */
static u32 verdict(const struct trapped *t)
{
	return t->nr == SYS_clone3 ? SECCOMP_RET_ERRNO | ENOSYS : SECCOMP_RET_TRAP | FILTER_DATA;
}

static u16 caller_length(const struct trapped *t)
{
	return t->nr == SYS_brk ? 4 : 3;
}

static u16 length(const struct trapped *t)
{
	u16 arguments = t->argument == ANY ? 0 : (u16)(3 + MAX(t->n, 1));

	return (u16)(caller_length(t) + arguments + 1);
}

/* Behind the call's number: ours pass, and what its arguments say. */
static void emit_one(struct code *c, const struct trapped *t)
{
	emit(c, LOAD_AT(offsetof(struct seccomp_data, instruction_pointer) + 4));
	if (t->nr == SYS_brk) {
		/* The break is the program's: our libc finds none, and maps what it wants. */
		emit(c, JUMP(BPF_JEQ, LOADER_HALF_0, 0, 1));
		emit(c, RETURN(SECCOMP_RET_ERRNO | 0));
		emit(c, JUMP(BPF_JEQ, LOADER_HALF_1, (u8)(length(t) - 4), 0));
	} else {
		emit(c, JUMP(BPF_JEQ, LOADER_HALF_0, (u8)(length(t) - 2), 0));
		emit(c, JUMP(BPF_JEQ, LOADER_HALF_1, (u8)(length(t) - 3), 0));
	}
	if (t->argument != ANY) {
		emit(c, LOAD_AT(offsetof(struct seccomp_data, args) + 8 * (u32)t->argument));
		emit(c, AND(t->mask));
		for (int i = 0; i < t->n; i++)
			emit(c, JUMP(BPF_JEQ, t->values[i], (u8)(t->n - i), 0));
		if (!t->n)
			emit(c, JUMP(BPF_JEQ, 0, 0, 1));
		emit(c, RETURN(SECCOMP_RET_ALLOW));
	}
	emit(c, RETURN(verdict(t)));
}

static void build(struct code *c)
{
	emit(c, LOAD(arch));
	emit(c, JUMP(BPF_JEQ, AUDIT_ARCH_X86_64, 1, 0));
	emit(c, RETURN(SECCOMP_RET_ALLOW)); /* a 32-bit program's */
	emit(c, LOAD(nr));
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		/* over the call's own part and the return behind it */
		emit(c, JUMP(BPF_JEQ, table[i].nr, 0, (u8)(length(&table[i]) + 1)));
		emit_one(c, &table[i]);
		emit(c, RETURN(SECCOMP_RET_ALLOW));
	}
	emit(c, RETURN(SECCOMP_RET_ALLOW));
}

int filter_install(void)
{
	static struct code c;
	struct sock_fprog prog = {.filter = c.at};
	long r;

	c.n = 0;
	build(&c);
	if (c.n > MAX_CODE)
		return -E2BIG;
	prog.len = c.n;
	/* who may does it without: a setuid program that root starts keeps what it has */
	r = raw3(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog);
	if (r == -EACCES) {
		r = raw5(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		r = r ? r : raw3(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog);
	}
	return (int)r;
}
