/* SPDX-License-Identifier: MIT */
/*
 * preload/bynumber.c: libc's syscall(). What it asks of the kernel by number goes the way of the
 * function of that name, where that is one that descriptors, memory, signals or children of ours may
 * be about. Everything else is the kernel's at once, without a frame of ours on the stack: a call
 * by number may return twice, or on another stack.
 */
#include <linux/openat2.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include "base/guard.h"
#include "base/thread.h"
#include "preload/preload.h"
#include "preload/sandbox.h"

#define STRING_(x) #x
#define STRING(x)  STRING_(x)

typedef long by_number_fn(long a, long b, long c, long d, long e, long f);

static int copy_in(void *to, long from, size_t n)
{
	struct mask_window w;
	int r;

	mask_enter(&w);
	r = guard_copy_from(to, (const void *)from, n);
	mask_leave(&w);
	return r;
}

static int copy_out(long to, const void *from, size_t n)
{
	struct mask_window w;
	int r;

	mask_enter(&w);
	r = guard_copy_to((void *)to, from, n);
	mask_leave(&w);
	return r;
}

/* ------------------------------------------------------------------ calls that libc has no name for */

by_number_fn __real_openat;

static long open_how(long dirfd, long path, long how, long size, long e, long f)
{
	struct open_how h;

	(void)e;
	(void)f;
	if ((u64)size >= sizeof(h) && path_is_kvm((int)dirfd, (const char *)path)) {
		preload_arm();
		if (copy_in(&h, how, sizeof(h)))
			return raw_errno(-EFAULT);
		return (int)__real_openat(dirfd, path, (long)h.flags, (long)h.mode, 0, 0);
	}
	return raw_errno(raw4(SYS_openat2, dirfd, path, how, size));
}

/* What rt_sigaction(2) takes. The restorer is libc's. */
struct kernel_action {
	sighandler_t handler;
	u64 flags, restorer, mask;
};

#define SA_RESTORER 0x04000000

static long set_action(long sig, long act, long old, long size, long e, long f)
{
	struct sigaction new = {0}, before;
	struct kernel_action k;

	(void)e;
	(void)f;
	if (!armed() || size != KERNEL_SIGSET_BYTES)
		return raw_errno(raw4(SYS_rt_sigaction, sig, act, old, size));
	if (act) {
		if (copy_in(&k, act, sizeof(k)))
			return raw_errno(-EFAULT);
		new.sa_handler = k.handler;
		new.sa_flags = (int)(k.flags & ~(u64)SA_RESTORER);
		memcpy(&new.sa_mask, &k.mask, sizeof(k.mask));
	}
	if (action_of_vmm((int)sig, act ? &new : NULL, &before))
		return -1;
	k = (struct kernel_action){.handler = before.sa_handler, .flags = (u64)before.sa_flags};
	memcpy(&k.mask, &before.sa_mask, sizeof(k.mask));
	return old && copy_out(old, &k, sizeof(k)) ? raw_errno(-EFAULT) : 0;
}

/* Signals to a thread: libc has its own names for what these do, if any. */
#define TO_THREAD(call)                                                                        \
	static long call##_to_thread(long a, long b, long c, long d, long e, long f)           \
	{                                                                                      \
		long r = raw4(SYS_##call, a, b, c, d);                                         \
                                                                                               \
		(void)e;                                                                       \
		(void)f;                                                                       \
		if (!r)                                                                        \
			signals_sent();                                                        \
		return raw_errno(r);                                                           \
	}
TO_THREAD(tkill)
TO_THREAD(rt_tgsigqueueinfo)
TO_THREAD(pidfd_send_signal)

static long fork_or_clone(long nr, const long *a)
{
	long r;

	if (!armed())
		return raw_errno(raw6(nr, a[0], a[1], a[2], a[3], a[4], a[5]));
	preload_before_fork();
	r = raw6(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
	if (r)
		preload_after_fork_parent();
	else
		preload_after_fork_child();
	return raw_errno(r);
}

static long plain_fork(long a, long b, long c, long d, long e, long f)
{
	return fork_or_clone(SYS_fork, (long[]){a, b, c, d, e, f});
}

/* One that copies the memory, and brings no stack. */
static long plain_clone(long flags, long b, long c, long d, long e, long f)
{
	return fork_or_clone(SYS_clone, (long[]){flags, b, c, d, e, f});
}

/* ------------------------------------------------------------------ which function it is */

/* The hooks themselves: the plain names are the kernel's in here (inside.c). */
#define INT_CALLS(X)                                                                           \
	X(ioctl) X(open) X(openat) X(creat) X(close) X(close_range) X(dup) X(dup2) X(dup3)     \
	X(fcntl) X(stat) X(lstat) X(fstat) X(statx) X(access) X(munmap) X(mprotect)            \
	X(pkey_mprotect) X(madvise) X(remap_file_pages) X(shmdt) X(ftruncate) X(truncate)      \
	X(fallocate) X(fsync) X(fdatasync) X(fchmod) X(fchown) X(sendmmsg) X(recvmmsg)         \
	X(execve) X(execveat) X(pidfd_getfd) X(tgkill) X(mlockall) X(prctl)
#define LONG_CALLS(X)                                                                          \
	X(read) X(write) X(readv) X(writev) X(preadv) X(pwritev) X(lseek) X(sendfile)          \
	X(splice) X(sendmsg) X(recvmsg) X(mremap) X(shmat) X(readlink) X(readlinkat)   \
	X(process_madvise) X(getdents64)
/* type, the kernel's name, libc's */
#define OTHER_CALLS(X)                                                                         \
	X(int, newfstatat, fstatat)                                                            \
	X(int, faccessat2, faccessat)                                                          \
	X(long, pread64, pread)                                                                \
	X(long, pwrite64, pwrite)

/*
 * Their arguments are words in the same registers for all of them, so here they are all of one type;
 * a result of type int is half a word.
 */
#define DEFINE(type, name, function)                                                           \
	by_number_fn __real_##function;                                                        \
	static long name##_by_number(long a, long b, long c, long d, long e, long f)           \
	{                                                                                      \
		return (type)__real_##function(a, b, c, d, e, f);                              \
	}
#define DEFINE_INT(name)  DEFINE(int, name, name)
#define DEFINE_LONG(name) DEFINE(long, name, name)
INT_CALLS(DEFINE_INT)
LONG_CALLS(DEFINE_LONG)
OTHER_CALLS(DEFINE)

/* libc's looks at its caller. */
static long mmap_by_number(long addr, long len, long prot, long flags, long fd, long off)
{
	return (long)map_for_vmm((void *)addr, (size_t)len, (int)prot, (int)flags, (int)fd, off);
}

/* This one takes no flags, and libc's does. */
static long faccessat_by_number(long dirfd, long path, long mode, long d, long e, long f)
{
	(void)d;
	return faccessat2_by_number(dirfd, path, mode, 0, e, f);
}

static long filter(long op, long flags, long program, long d, long e, long f)
{
	const long a[6] = {op, flags, program, d, e, f};

	return raw_errno(op == SECCOMP_SET_MODE_FILTER ? sandbox_install_preloaded(SYS_seccomp, a)
						       : raw3(SYS_seccomp, op, flags, program));
}

static long add_rule(long rules, long type, long rule, long flags, long e, long f)
{
	const long a[6] = {rules, type, rule, flags, e, f};

	return raw_errno(sandbox_add_rule(a));
}

/* What names.def has. By the number alone a function cannot tell, so each has one. */
#define NAME(call, dir, path, answer)                                                          \
	static long call##_by_name(long a, long b, long c, long d, long e, long f)             \
	{                                                                                      \
		const long args[6] = {a, b, c, d, e, f};                                       \
		long r;                                                                        \
                                                                                               \
		if (!names_answer(SYS_##call, args, &r))                                       \
			r = raw6(SYS_##call, a, b, c, d, e, f);                                \
		return raw_errno(r);                                                           \
	}
#include "preload/names.def"

#define NR_NUMBERS 512 /* none that is ours is higher */

#define ENTER(name)		       [SYS_##name] = name##_by_number,
#define ENTER_OTHER(type, name, function) ENTER(name)

/* Read by syscall() below. */
__attribute__((visibility("hidden"))) by_number_fn *const by_number_table[NR_NUMBERS] = {
	INT_CALLS(ENTER) LONG_CALLS(ENTER) OTHER_CALLS(ENTER_OTHER) ENTER(faccessat) ENTER(mmap)
#define NAME(call, dir, path, answer) [SYS_##call] = call##_by_name,
#include "preload/names.def"
	[SYS_openat2] = open_how,
	[SYS_seccomp] = filter,
	[SYS_landlock_add_rule] = add_rule,
	[SYS_rt_sigaction] = set_action,
	[SYS_tkill] = tkill_to_thread,
	[SYS_rt_tgsigqueueinfo] = rt_tgsigqueueinfo_to_thread,
	[SYS_pidfd_send_signal] = pidfd_send_signal_to_thread,
	[SYS_fork] = plain_fork,
	[SYS_clone] = plain_clone,
};

bool by_number(long nr, const long a[6], long *r)
{
	by_number_fn *fn = nr >= 0 && nr < NR_NUMBERS ? by_number_table[nr] : NULL;

	if (fn)
		*r = fn(a[0], a[1], a[2], a[3], a[4], a[5]);
	return fn;
}

__attribute__((visibility("hidden"), used)) long by_number_failed(long r)
{
	return raw_errno(r);
}

/*
 * long syscall(long nr, ...): nr in rdi, the call's first five arguments in rsi, rdx, rcx, r8, r9 and
 * the sixth on the stack. A function of ours takes them one register earlier, and so does the
 * kernel, with r10 for rcx. A clone that brings a stack or shares the memory is the kernel's.
 */
asm(".pushsection .text\n"
    ".globl syscall\n"
    ".type syscall, @function\n"
    "syscall:\n"
    "	endbr64\n"
    "	movq %rdi, %rax\n"
    "	movq %rsi, %rdi\n"
    "	movq %rdx, %rsi\n"
    "	movq %rcx, %rdx\n"
    "	movq %r8, %rcx\n"
    "	movq %r9, %r8\n"
    "	movq 8(%rsp), %r9\n"
    "	cmpq $" STRING(NR_NUMBERS) ", %rax\n"
    "	jae 1f\n"
    "	leaq by_number_table(%rip), %r11\n"
    "	movq (%r11,%rax,8), %r11\n"
    "	testq %r11, %r11\n"
    "	jz 1f\n"
    "	cmpq $" STRING(SYS_clone) ", %rax\n"
    "	jne 2f\n"
    "	testq %rsi, %rsi\n"
    "	jnz 1f\n"
    "	testq $" STRING(CLONE_VM) ", %rdi\n"
    "	jnz 1f\n"
    "2:	jmp *%r11\n"
    "1:	movq %rcx, %r10\n"
    "	syscall\n"
    "	cmpq $-4095, %rax\n"
    "	jae 3f\n"
    "	ret\n"
    "3:	movq %rax, %rdi\n"
    "	jmp by_number_failed\n"
    ".size syscall, .-syscall\n"
    ".popsection\n");
