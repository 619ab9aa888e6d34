/* SPDX-License-Identifier: MIT */
/*
 * preload/open.c: the ways to open a path. /dev/kvm is ours whether or not the machine has one
 * and whether or not the user may open it.
 */
#include <fcntl.h>
#include <stdarg.h>
#include <sys/stat.h>
#include "abi/abi.h"
#include "preload/preload.h"
#include "preload/real.h"

long open_kvm(int flags)
{
	struct mask_window w;
	long fd;

	if ((flags & O_CREAT) && (flags & O_EXCL))
		return -EEXIST;
	if (flags & O_DIRECTORY)
		return -ENOTDIR;
	preload_arm();
	mask_enter(&w);
	fd = abi_open(flags);
	if (fd >= 0)
		maybe_ours_set((int)fd);
	mask_leave(&w);
	return fd;
}

enum opened opened_what(int fd)
{
	struct stat st;

	if (raw2(SYS_fstat, fd, &st))
		return SOME_FILE;
	if (path_device_is_kvm(&st))
		return THE_DEVICE;
	/* a memfd has no name */
	return armed() && S_ISREG(st.st_mode) && !st.st_nlink ? ONE_OF_OURS : SOME_FILE;
}

static bool may_not_be_there(int e)
{
	return e == ENOENT || e == EACCES || e == ENXIO || e == ENODEV;
}

/* By a link, to where the machine has none? Keeps errno. */
static enum opened what_failed(int dirfd, const char *path, int flags)
{
	int e = errno;
	bool leads = !(flags & O_NOFOLLOW) && may_not_be_there(e) &&
		     path_leads_to_kvm(dirfd, path);

	errno = e;
	return leads ? THE_DEVICE : SOME_FILE;
}

long open_again(int fd, int flags)
{
	struct mask_window w;
	long r;

	mask_enter(&w);
	r = abi_open_again(fd, flags);
	if (r >= 0 && abi_owns((int)r))
		maybe_ours_set((int)r);
	mask_leave(&w);
	return r;
}

/* Does opening this path to truncate it take pages? Not of a fifo, which may block for long. */
static bool is_regular(int fd)
{
	struct stat st;

	return raw2(SYS_fstat, fd, &st) == 0 && S_ISREG(st.st_mode);
}

/* O_TRUNC takes the pages of a file that may back guest memory. */
static int open_truncating(int dirfd, const char *path, int flags, mode_t mode)
{
	long o_path = raw3(SYS_openat, dirfd, path, O_PATH | O_CLOEXEC | (flags & O_NOFOLLOW));
	struct change c = {0};
	bool ok = true;
	int fd;

	/* one of ours has nothing to truncate: opening it says so */
	if (o_path >= 0 && opened_what((int)o_path) == ONE_OF_OURS)
		flags &= ~O_TRUNC;
	if (o_path >= 0) {
		if (is_regular((int)o_path))
			ok = change_begin_file(&c, "open", (int)o_path, 0, INT64_MAX);
		raw1(SYS_close, o_path);
	}
	if (!ok)
		return -1;
	fd = REAL(openat)(dirfd, path, flags, mode);
	return (int)change_end(&c, fd < 0 ? -errno : fd);
}

static int open_path(int dirfd, const char *path, int flags, mode_t mode)
{
	int fd;

	/* a link to where there is nothing would have it created */
	if (path_is_kvm(dirfd, path) ||
	    ((flags & O_CREAT) && !(flags & O_NOFOLLOW) && path_leads_to_kvm(dirfd, path)))
		return (int)raw_errno(open_kvm(flags));
	if ((flags & O_TRUNC) && armed())
		fd = open_truncating(dirfd, path, flags, mode);
	else
		fd = REAL(openat)(dirfd, path, flags, mode);
	switch (fd >= 0 ? opened_what(fd) : what_failed(dirfd, path, flags)) {
	case THE_DEVICE:
		if (fd >= 0)
			raw1(SYS_close, fd);
		return (int)raw_errno(open_kvm(flags));
	case ONE_OF_OURS:
		return (int)raw_errno(open_again(fd, flags));
	default:
		return fd < 0 && errno == EFAULT
			       ? fd
			       : (int)raw_errno(machine_opened(path, flags, fd < 0 ? -errno : fd));
	}
}

#define TAKES_MODE(flags) (((flags)&O_CREAT) || ((flags)&O_TMPFILE) == O_TMPFILE)

static mode_t mode_of(int flags, va_list ap)
{
	return TAKES_MODE(flags) ? va_arg(ap, mode_t) : 0;
}

EXPORT int open(const char *path, int flags, ...)
{
	va_list ap;
	mode_t mode;

	va_start(ap, flags);
	mode = mode_of(flags, ap);
	va_end(ap);
	return open_path(AT_FDCWD, path, flags, mode);
}
ALIAS(open64, open);

EXPORT int openat(int dirfd, const char *path, int flags, ...)
{
	va_list ap;
	mode_t mode;

	va_start(ap, flags);
	mode = mode_of(flags, ap);
	va_end(ap);
	return open_path(dirfd, path, flags, mode);
}
ALIAS(openat64, openat);

/* What _FORTIFY_SOURCE makes of calls without a mode. */
int __open_2(const char *path, int flags);
int __openat_2(int dirfd, const char *path, int flags);

EXPORT int __open_2(const char *path, int flags)
{
	return open_path(AT_FDCWD, path, flags, 0);
}
ALIAS(__open64_2, __open_2);

EXPORT int __openat_2(int dirfd, const char *path, int flags)
{
	return open_path(dirfd, path, flags, 0);
}
ALIAS(__openat64_2, __openat_2);

EXPORT int creat(const char *path, mode_t mode)
{
	return open_path(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}
ALIAS(creat64, creat);
