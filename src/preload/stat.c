/* SPDX-License-Identifier: MIT */
/*
 * preload/stat.c: the ways to look at a path or a descriptor without opening it.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "abi/abi.h"
#include "base/guard.h"
#include "preload/preload.h"
#include "preload/real.h"

/* struct stat64 is struct stat on x86-64, and so is what the kernel fills in. */
_Static_assert(sizeof(struct stat) == sizeof(struct stat64), "one layout");

static int stat_fd(int fd, void *st)
{
	long r = raw2(SYS_fstat, fd, st);

	if (r == 0 && maybe_ours(fd)) {
		struct mask_window w;

		mask_enter(&w);
		abi_fstat(fd, st);
		mask_leave(&w);
	}
	return (int)raw_errno(r);
}

static bool means_descriptor(int fd, const char *path, int flags)
{
	return (flags & AT_EMPTY_PATH) && maybe_ours(fd) && (!path || !*path);
}

/* A link to a device that the machine has not, or not for this user. */
static bool linked(int dirfd, const char *path, int flags, long r)
{
	return (r == -ENOENT || r == -EACCES) && !(flags & AT_SYMLINK_NOFOLLOW) && path_leads_to_kvm(dirfd, path);
}

static int stat_at(int dirfd, const char *path, void *st, int flags)
{
	long r;

	if (path_is_kvm(dirfd, path)) {
		abi_stat_device(st);
		return 0;
	}
	if (means_descriptor(dirfd, path, flags))
		return stat_fd(dirfd, st);
	r = raw4(SYS_newfstatat, dirfd, path, st, flags);
	if (linked(dirfd, path, flags, r) || (r == 0 && path_device_is_kvm(st))) {
		abi_stat_device(st);
		return 0;
	}
	if (r == -ENOENT && machine_stat(path, st))
		return 0;
	return (int)raw_errno(r);
}

EXPORT int stat(const char *restrict path, struct stat *restrict st)
{
	return stat_at(AT_FDCWD, path, st, 0);
}

EXPORT int stat64(const char *restrict path, struct stat64 *restrict st)
{
	return stat_at(AT_FDCWD, path, st, 0);
}

EXPORT int lstat(const char *restrict path, struct stat *restrict st)
{
	return stat_at(AT_FDCWD, path, st, AT_SYMLINK_NOFOLLOW);
}

EXPORT int lstat64(const char *restrict path, struct stat64 *restrict st)
{
	return stat_at(AT_FDCWD, path, st, AT_SYMLINK_NOFOLLOW);
}

EXPORT int fstat(int fd, struct stat *st)
{
	return stat_fd(fd, st);
}

EXPORT int fstat64(int fd, struct stat64 *st)
{
	return stat_fd(fd, st);
}

EXPORT int fstatat(int dirfd, const char *restrict path, struct stat *restrict st, int flags)
{
	return stat_at(dirfd, path, st, flags);
}

EXPORT int fstatat64(int dirfd, const char *restrict path, struct stat64 *restrict st,
		     int flags)
{
	return stat_at(dirfd, path, st, flags);
}

/*
 * Programs built against glibc before 2.33 call these. `version` is _STAT_VER_LINUX (1) or the
 * kernel's own (0), one layout on x86-64.
 */
#define OLD_STAT(suffix, type)                                                                 \
	int __xstat##suffix(int version, const char *path, type *st);                          \
	int __lxstat##suffix(int version, const char *path, type *st);                         \
	int __fxstat##suffix(int version, int fd, type *st);                                   \
	int __fxstatat##suffix(int version, int dirfd, const char *path, type *st, int flags); \
	EXPORT int __xstat##suffix(int version, const char *path, type *st)                    \
	{                                                                                      \
		return old_version(version) ? stat_at(AT_FDCWD, path, st, 0) : -1;             \
	}                                                                                      \
	EXPORT int __lxstat##suffix(int version, const char *path, type *st)                   \
	{                                                                                      \
		return old_version(version) ? stat_at(AT_FDCWD, path, st, AT_SYMLINK_NOFOLLOW) \
					    : -1;                                              \
	}                                                                                      \
	EXPORT int __fxstat##suffix(int version, int fd, type *st)                             \
	{                                                                                      \
		return old_version(version) ? stat_fd(fd, st) : -1;                            \
	}                                                                                      \
	EXPORT int __fxstatat##suffix(int version, int dirfd, const char *path, type *st,      \
				      int flags)                                               \
	{                                                                                      \
		return old_version(version) ? stat_at(dirfd, path, st, flags) : -1;            \
	}

static bool old_version(int version)
{
	if (version == 0 || version == 1)
		return true;
	errno = EINVAL;
	return false;
}

OLD_STAT(, struct stat)
OLD_STAT(64, struct stat64)

static void statx_time(struct statx_timestamp *out, const struct timespec *t)
{
	out->tv_sec = t->tv_sec;
	out->tv_nsec = (u32)t->tv_nsec;
}

static void statx_from(const struct stat *st, struct statx *x)
{
	memset(x, 0, sizeof(*x));
	x->stx_mask = STATX_BASIC_STATS;
	x->stx_blksize = (u32)st->st_blksize;
	x->stx_nlink = (u32)st->st_nlink;
	x->stx_uid = st->st_uid;
	x->stx_gid = st->st_gid;
	x->stx_mode = (u16)st->st_mode;
	x->stx_ino = st->st_ino;
	x->stx_size = (u64)st->st_size;
	x->stx_blocks = (u64)st->st_blocks;
	x->stx_rdev_major = major(st->st_rdev);
	x->stx_rdev_minor = minor(st->st_rdev);
	x->stx_dev_major = major(st->st_dev);
	x->stx_dev_minor = minor(st->st_dev);
	statx_time(&x->stx_atime, &st->st_atim);
	statx_time(&x->stx_mtime, &st->st_mtim);
	statx_time(&x->stx_ctime, &st->st_ctim);
}

static bool statx_of_kvm(const struct statx *x)
{
	const struct stat st = {.st_mode = x->stx_mode,
				.st_rdev = makedev(x->stx_rdev_major, x->stx_rdev_minor)};

	return path_device_is_kvm(&st);
}

EXPORT int statx(int dirfd, const char *restrict path, int flags, unsigned int mask,
		 struct statx *restrict out)
{
	struct stat st;
	long r;

	if (path_is_kvm(dirfd, path)) {
		abi_stat_device(&st);
		statx_from(&st, out);
		return 0;
	}
	if (means_descriptor(dirfd, path, flags) && descriptor_is_ours(dirfd) &&
	    stat_fd(dirfd, &st) == 0) {
		statx_from(&st, out);
		return 0;
	}
	r = raw5(SYS_statx, dirfd, path, flags, mask, out);
	if (linked(dirfd, path, flags, r) || (r == 0 && statx_of_kvm(out))) {
		abi_stat_device(&st);
		statx_from(&st, out);
		return 0;
	}
	if (r == -ENOENT && machine_stat(path, &st)) {
		statx_from(&st, out);
		return 0;
	}
	return (int)raw_errno(r);
}

/* ------------------------------------------------------------------ access */

/* Everyone may read and write it; nobody, not even root, may execute it. */
static int access_kvm(int mode)
{
	if (mode & ~(R_OK | W_OK | X_OK))
		return (int)raw_errno(-EINVAL);
	return (mode & X_OK) ? (int)raw_errno(-EACCES) : 0;
}

EXPORT int access(const char *path, int mode)
{
	long r;

	if (path_is_kvm(AT_FDCWD, path))
		return access_kvm(mode);
	r = raw2(SYS_access, path, mode);
	if (r == -ENOENT && machine_is_file(path))
		return (mode & W_OK) ? (int)raw_errno(-EACCES) : 0;
	return r && linked(AT_FDCWD, path, 0, r) ? access_kvm(mode) : (int)raw_errno(r);
}

EXPORT int faccessat(int dirfd, const char *path, int mode, int flags)
{
	int r;

	if (path_is_kvm(dirfd, path))
		return access_kvm(mode);
	r = REAL(faccessat)(dirfd, path, mode, flags);
	if (r && errno == ENOENT && machine_is_file(path))
		return (mode & W_OK) ? (int)raw_errno(-EACCES) : 0;
	return r && linked(dirfd, path, flags, -errno) ? access_kvm(mode) : r;
}

EXPORT int euidaccess(const char *path, int mode)
{
	return faccessat(AT_FDCWD, path, mode, AT_EACCESS);
}

EXPORT int eaccess(const char *path, int mode)
{
	return faccessat(AT_FDCWD, path, mode, AT_EACCESS);
}

/* ------------------------------------------------------------------ names */

/* The link in /proc of a descriptor of ours says what a kernel's would. */
static long read_link(int dirfd, const char *path, char *buf, size_t size)
{
	char text[64], link[64]; /* as long as those of ours */
	struct mask_window w;
	long n = 0;

	if (path_is_kvm(dirfd, path))
		return -EINVAL; /* not a symbolic link */
	if (armed())
		n = raw4(SYS_readlinkat, dirfd, path, text, sizeof(text));
	if (n > 0)
		n = (long)abi_link_text(text, (size_t)n, link, sizeof(link));
	if (n <= 0 || !size)
		return raw4(SYS_readlinkat, dirfd, path, buf, size);
	n = MIN(n, (long)size);
	mask_enter(&w);
	if (guard_copy_to(buf, link, (size_t)n))
		n = -EFAULT;
	mask_leave(&w);
	return n;
}

EXPORT ssize_t readlink(const char *restrict path, char *restrict buf, size_t size)
{
	return raw_errno(read_link(AT_FDCWD, path, buf, size));
}

EXPORT ssize_t readlinkat(int dirfd, const char *restrict path, char *restrict buf, size_t size)
{
	return raw_errno(read_link(dirfd, path, buf, size));
}

static char *real_path(const char *path, char *resolved)
{
	static const char kvm[] = "/dev/kvm";

	char *r;
	int e;

	if (!path_is_kvm(AT_FDCWD, path)) {
		r = REAL(realpath)(path, resolved);
		e = errno;
		if (r || !linked(AT_FDCWD, path, 0, -e)) {
			errno = e;
			return r;
		}
	}
	return resolved ? memcpy(resolved, kvm, sizeof(kvm)) : strdup(kvm);
}

EXPORT char *realpath(const char *restrict path, char *restrict resolved)
{
	return real_path(path, resolved);
}

EXPORT char *canonicalize_file_name(const char *path)
{
	return real_path(path, NULL);
}

char *__realpath_chk(const char *path, char *resolved, size_t size);
EXPORT char *__realpath_chk(const char *path, char *resolved, size_t size)
{
	if (size < 4096) /* PATH_MAX, as glibc checks */
		abort();
	return real_path(path, resolved);
}
