/* SPDX-License-Identifier: MIT */
/*
 * loader/calls.c: what becomes of each call that the filter traps. What descriptors or memory of
 * ours may be about goes to the same hooks that a preloaded program's libc calls meet; the rest is
 * the program's own to make.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#include "loader/direct.h"
#include "loader/exec.h"
#include "preload/memory.h"
#include "loader/process.h"
#include "loader/sandbox.h"
#include "loader/signals.h"
#include "loader/trap.h"
#include "preload/preload.h"
#include "preload/sandbox.h"
#include "primary/linux/linux.h"

#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24 /* Linux 5.18 */
#endif

/* The hooks (preload/bynumber.c has more of them). */
int __real_fstatat(int dirfd, const char *path, struct stat *st, int flags);
int __real_statx(int dirfd, const char *path, int flags, unsigned mask, struct statx *out);
int __real_faccessat(int dirfd, const char *path, int mode, int flags);
void *__real_mremap(void *old, size_t old_len, size_t new_len, int flags, ...);
int __real_pkey_mprotect(void *p, size_t n, int prot, int pkey);
ssize_t __real_process_madvise(int pidfd, const struct iovec *iov, size_t n, int advice,
			       unsigned flags);
int __real_remap_file_pages(void *p, size_t n, int prot, size_t page, int flags);
void *__real_shmat(int id, const void *addr, int flags);
int __real_shmdt(const void *addr);
int __real_truncate(const char *path, off_t len);

/* What a libc function returned, as the kernel would. */
static enum fate libc_result(struct call *c, long r)
{
	return trap_result(c, r == -1 ? -errno : r);
}

static enum fate hook(struct call *c, long nr, long a, long b, long d, long e)
{
	long args[6] = {a, b, d, e, c->a[4], c->a[5]}, r = -1;

	trap_leave_alternate_stack(c);
	errno = ENOSYS;
	by_number(nr, args, &r);
	return libc_result(c, r);
}

static enum fate hook_itself(struct call *c)
{
	return hook(c, c->nr, c->a[0], c->a[1], c->a[2], c->a[3]);
}

/* ------------------------------------------------------------------ names */

/* What a path of the program's is about, if it concerns us. */
enum about {
	ABOUT_NOTHING,
	ABOUT_PROGRAM, /* its own file, which /proc says is the loader */
	ABOUT_MACHINE, /* preload/machine.c */
	ABOUT_DESCRIPTOR, /* in /proc, perhaps of one of ours */
};

static enum about about(const char *path)
{
	static const char exe[] = "/proc/self/exe";
	long n = path_length(path);

	if (n <= 0 || *path != '/')
		return ABOUT_NOTHING;
	if (n == sizeof(exe) - 1 && !memcmp(path, exe, sizeof(exe)))
		return *exec_program() ? ABOUT_PROGRAM : ABOUT_NOTHING;
	if (machine_is_file(path))
		return ABOUT_MACHINE;
	return !memcmp(path, "/proc/", MIN(n, 6)) ? ABOUT_DESCRIPTOR : ABOUT_NOTHING;
}

/* By its own name, or by a link to it that is followed. */
static bool names_kvm(int dirfd, const char *path, bool no_links)
{
	return path_is_kvm(dirfd, path) || (!no_links && path_leads_to_kvm(dirfd, path));
}

static enum fate open_path(struct call *c, int dirfd, const char *path, long flags, long mode)
{
	if (names_kvm(dirfd, path, flags & O_NOFOLLOW) || (armed() && (flags & O_TRUNC)))
		return hook(c, SYS_openat, dirfd, (long)path, flags, mode);
	switch (about(path)) {
	case ABOUT_PROGRAM:
		return trap_result(c, raw4(SYS_openat, AT_FDCWD, exec_program(), flags, mode));
	case ABOUT_MACHINE:
		return hook(c, SYS_openat, dirfd, (long)path, flags, mode);
	default:
		return PASS;
	}
}

static enum fate open_how(struct call *c)
{
	struct open_how how;

	if (c->a[3] < (long)sizeof(how) || memory_read(&how, (void *)c->a[2], sizeof(how)))
		return PASS; /* which says so */
	if (how.resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT))
		return PASS;
	return open_path(c, (int)c->a[0], (const char *)c->a[1], (long)how.flags, (long)how.mode);
}

/* Is this path, or this descriptor by AT_EMPTY_PATH, one for the hooks? */
static bool is_for_hook(int dirfd, const char *path, long flags)
{
	return ((flags & AT_EMPTY_PATH) && maybe_ours(dirfd)) ||
	       names_kvm(dirfd, path, flags & AT_SYMLINK_NOFOLLOW) ||
	       about(path) == ABOUT_MACHINE;
}

static enum fate stat_path(struct call *c, int dirfd, const char *path, void *st, long flags)
{
	if (!is_for_hook(dirfd, path, flags))
		return PASS;
	trap_leave_alternate_stack(c);
	return libc_result(c, __real_fstatat(dirfd, path, st, (int)flags));
}

static enum fate stat_extended(struct call *c)
{
	if (!is_for_hook((int)c->a[0], (const char *)c->a[1], c->a[2]))
		return PASS;
	trap_leave_alternate_stack(c);
	return libc_result(c, __real_statx((int)c->a[0], (const char *)c->a[1], (int)c->a[2],
					   (unsigned)c->a[3], (struct statx *)c->a[4]));
}

static enum fate stat_descriptor(struct call *c)
{
	if (!maybe_ours((int)c->a[0]))
		return PASS;
	trap_leave_alternate_stack(c);
	return libc_result(c,
			   __real_fstatat((int)c->a[0], "", (struct stat *)c->a[1], AT_EMPTY_PATH));
}

static enum fate access_path(struct call *c, int dirfd, const char *path, long mode, long flags)
{
	if (!is_for_hook(dirfd, path, 0))
		return PASS;
	return libc_result(c, __real_faccessat(dirfd, path, (int)mode, (int)flags));
}

static enum fate read_link(struct call *c, int dirfd, const char *path, long to, long size)
{
	size_t n;

	if (path_is_kvm(dirfd, path))
		return trap_result(c, -EINVAL);
	if (armed() && about(path) == ABOUT_DESCRIPTOR)
		return hook(c, SYS_readlinkat, dirfd, (long)path, to, size);
	if (about(path) != ABOUT_PROGRAM || size <= 0)
		return PASS;
	n = MIN((size_t)size, strlen(exec_program()));
	return trap_result(c, memory_write((void *)to, exec_program(), n) ? -EFAULT : (long)n);
}

/* preload/names.def. Its paths may be those of /dev/kvm, or the call is the program's. */
static enum fate answer_name(struct call *c)
{
	long r;

	return names_answer(c->nr, c->a, &r) ? trap_result(c, r) : PASS;
}

/* ------------------------------------------------------------------ memory */

/* brk(), of a stub: to our own text the filter says that there is none. */
static u64 program_break(u64 to)
{
	u64 nr = SYS_brk;

	/* below the red zone */
	asm volatile("lea -128(%%rsp), %%rsp\n\tcall *%[gate]\n\tlea 128(%%rsp), %%rsp"
		     : "+a"(nr)
		     : "D"(to), [gate] "r"(LOADER_GATE)
		     : "rcx", "r11", "memory");
	return nr;
}

/* What the break gives up is told before it goes. */
static enum fate set_break(struct call *c)
{
	u64 to = (u64)c->a[0], now, page = ALIGN_UP(to, PAGE_SIZE);
	struct change change = {0};
	long r;

	if (!to || !armed())
		return PASS;
	now = program_break(0);
	if (to >= now)
		return PASS;
	trap_leave_alternate_stack(c);
	if (page < now && !change_begin(&change, "brk", (void *)page, now - page, CHANGE_UNMAP))
		return trap_result(c, (long)now);
	r = (long)program_break(to);
	change_end(&change, 0);
	return trap_result(c, r);
}

/* What of ours has a place that the program is about to use (direct.h). */
static void make_way(const struct call *c)
{
	const u64 *a = (const u64 *)c->a;

	switch (c->nr) {
	case SYS_mmap:
		if (a[3] & MAP_FIXED)
			direct_make_way(a[0], a[1], false);
		break;
	case SYS_mremap:
		direct_make_way(a[0], a[1], true);
		if (a[3] & MREMAP_FIXED)
			direct_make_way(a[4], a[2], false);
		break;
	case SYS_shmat:
		if (a[2] & SHM_REMAP)
			direct_make_way(a[1], -a[1], false);
		break;
	case SYS_munmap: case SYS_mprotect: case SYS_pkey_mprotect: case SYS_madvise:
		direct_make_way(a[0], a[1], false);
		break;
	}
}

/* Pages that are not to be read from their file again are left out: they say what the file says. */
static enum fate advise(struct call *c)
{
	u64 at = (u64)c->a[0], end = at + (u64)c->a[1], part;
	enum fate f = DONE;

	if (c->a[2] != MADV_DONTNEED && c->a[2] != MADV_DONTNEED_LOCKED)
		return hook_itself(c);
	while ((part = direct_before_copy(at, end - at)) < end - at) {
		if (part)
			f = hook(c, SYS_madvise, (long)at, (long)part, c->a[2], 0);
		if (part && c->uc->uc_mcontext.gregs[REG_RAX])
			return f;
		at += part + PAGE_SIZE;
	}
	return hook(c, SYS_madvise, (long)at, (long)(end - at), c->a[2], 0);
}

static enum fate memory_call(struct call *c)
{
	const long *a = c->a;

	if (!armed())
		return PASS;
	trap_leave_alternate_stack(c);
	make_way(c);
	switch (c->nr) {
	case SYS_mremap:
		return libc_result(c, (long)__real_mremap((void *)a[0], (size_t)a[1], (size_t)a[2],
							  (int)a[3], (void *)a[4]));
	case SYS_pkey_mprotect:
		return libc_result(
			c, __real_pkey_mprotect((void *)a[0], (size_t)a[1], (int)a[2], (int)a[3]));
	case SYS_process_madvise:
		return libc_result(c, __real_process_madvise((int)a[0], (const struct iovec *)a[1],
							     (size_t)a[2], (int)a[3],
							     (unsigned)a[4]));
	case SYS_remap_file_pages:
		return libc_result(c, __real_remap_file_pages((void *)a[0], (size_t)a[1], (int)a[2],
							      (size_t)a[3], (int)a[4]));
	case SYS_shmat:
		return libc_result(c,
				   (long)__real_shmat((int)a[0], (const void *)a[1], (int)a[2]));
	case SYS_shmdt:
		return libc_result(c, __real_shmdt((const void *)a[0]));
	case SYS_truncate:
		return libc_result(c, __real_truncate((const char *)a[0], a[1]));
	case SYS_madvise:
		return advise(c);
	default:
		return hook_itself(c);
	}
}

/* ------------------------------------------------------------------ the table */

static enum fate handle_name(struct call *c)
{
	const long *a = c->a;

	switch (c->nr) {
	case SYS_open:
		return open_path(c, AT_FDCWD, (const char *)a[0], a[1], a[2]);
	case SYS_creat:
		return open_path(c, AT_FDCWD, (const char *)a[0], O_CREAT | O_WRONLY | O_TRUNC, a[1]);
	case SYS_openat:
		return open_path(c, (int)a[0], (const char *)a[1], a[2], a[3]);
	case SYS_openat2:
		return open_how(c);
	case SYS_stat:
		return stat_path(c, AT_FDCWD, (const char *)a[0], (void *)a[1], 0);
	case SYS_lstat:
		return stat_path(c, AT_FDCWD, (const char *)a[0], (void *)a[1], AT_SYMLINK_NOFOLLOW);
	case SYS_newfstatat:
		return stat_path(c, (int)a[0], (const char *)a[1], (void *)a[2], a[3]);
	case SYS_statx:
		return stat_extended(c);
	case SYS_access:
		return access_path(c, AT_FDCWD, (const char *)a[0], a[1], 0);
	case SYS_faccessat:
		return access_path(c, (int)a[0], (const char *)a[1], a[2], 0);
	case SYS_faccessat2:
		return access_path(c, (int)a[0], (const char *)a[1], a[2], a[3]);
	case SYS_readlink:
		return read_link(c, AT_FDCWD, (const char *)a[0], a[1], a[2]);
	default: /* SYS_readlinkat */
		return read_link(c, (int)a[0], (const char *)a[1], a[2], a[3]);
	}
}

enum fate calls_handle(struct call *c)
{
	switch (c->nr) {
	case SYS_open: case SYS_creat: case SYS_openat: case SYS_openat2:
	case SYS_stat: case SYS_lstat: case SYS_newfstatat: case SYS_statx:
	case SYS_access: case SYS_faccessat: case SYS_faccessat2:
	case SYS_readlink: case SYS_readlinkat:
		return handle_name(c);
	case SYS_getdents64:
		return trap_result(c, directory_entries((int)c->a[0], (void *)c->a[1], (size_t)c->a[2]));
	case SYS_ioctl:
		direct_note(c);
		return hook_itself(c);
	case SYS_fstat:
		return stat_descriptor(c);
	case SYS_close: case SYS_close_range: case SYS_dup: case SYS_dup2: case SYS_dup3:
	case SYS_fcntl: case SYS_ftruncate: case SYS_fallocate:
		return armed() ? hook_itself(c) : PASS;
	case SYS_mmap: case SYS_munmap: case SYS_mprotect: case SYS_madvise: case SYS_mremap:
	case SYS_pkey_mprotect: case SYS_process_madvise: case SYS_remap_file_pages:
	case SYS_shmat: case SYS_shmdt: case SYS_truncate:
		return memory_call(c);
	case SYS_brk:
		return set_break(c);
	case SYS_clone:
		return process_clone(c);
	case SYS_fork:
		return process_fork(c);
	case SYS_exit:
		return process_exit(c);
	case SYS_execve: case SYS_execveat:
		return exec_handle(c);
	case SYS_setuid: case SYS_setgid: case SYS_setreuid: case SYS_setregid: case SYS_setresuid:
	case SYS_setresgid: case SYS_setgroups:
		return process_credentials(c);
	case SYS_arch_prctl: /* GS leads to the lent block */
		return trap_result(c, -EPERM);
	case SYS_rt_sigaction:
		return signals_action(c);
	case SYS_rt_sigprocmask:
		return signals_mask(c);
	case SYS_rt_sigreturn:
		return signals_return(c);
	case SYS_rt_sigsuspend: case SYS_ppoll: case SYS_pselect6: case SYS_epoll_pwait:
	case SYS_epoll_pwait2:
		return signals_wait(c);
	case SYS_rt_sigtimedwait:
		return signals_take(c);
	case SYS_tgkill: case SYS_tkill: case SYS_rt_tgsigqueueinfo: case SYS_pidfd_send_signal:
		return hook_itself(c); /* a run may have to be told */
	case SYS_landlock_add_rule:
		return trap_result(c, sandbox_add_rule(c->a));
	case SYS_prctl: case SYS_seccomp:
		return sandbox_handle(c);
	default:
		return answer_name(c);
	}
}
