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

static long open_kvm(int flags)
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

	if (o_path >= 0) {
		if (is_regular((int)o_path))
			ok = change_begin_file(&c, (int)o_path, 0, INT64_MAX);
		raw1(SYS_close, o_path);
	}
	if (!ok)
		return -1;
	fd = REAL(openat)(dirfd, path, flags, mode);
	return (int)change_end(&c, fd < 0 ? -errno : fd);
}

/* By a name that did not say so: the machine's device, or a link to where it has none. */
static bool was_kvm(int dirfd, const char *path, int flags, int fd)
{
	struct stat st;
	int e = errno;

	if (fd >= 0)
		return raw2(SYS_fstat, fd, &st) == 0 && path_device_is_kvm(&st);
	if (flags & O_NOFOLLOW)
		return false;
	if ((e == ENOENT || e == EACCES || e == ENXIO || e == ENODEV) &&
	    path_leads_to_kvm(dirfd, path))
		return true;
	errno = e;
	return false;
}

static int open_path(int dirfd, const char *path, int flags, mode_t mode)
{
	int fd;

	if (path_is_kvm(dirfd, path))
		return (int)raw_errno(open_kvm(flags));
	if ((flags & O_TRUNC) && armed())
		return open_truncating(dirfd, path, flags, mode);
	fd = REAL(openat)(dirfd, path, flags, mode);
	if (likely(!was_kvm(dirfd, path, flags, fd)))
		return fd;
	if (fd >= 0)
		raw1(SYS_close, fd);
	return (int)raw_errno(open_kvm(flags));
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

static FILE *open_stream(const char *path, const char *mode)
{
	int flags = strchr(mode, '+') ? O_RDWR : mode[0] == 'r' ? O_RDONLY : O_WRONLY;
	long fd = open_kvm(flags | (strchr(mode, 'e') ? O_CLOEXEC : 0) |
			   (strchr(mode, 'x') ? O_CREAT | O_EXCL : 0));
	FILE *f;

	if (fd < 0) {
		errno = (int)-fd;
		return NULL;
	}
	f = fdopen((int)fd, mode);
	if (!f) {
		int e = errno;

		close((int)fd);
		errno = e;
	}
	return f;
}

EXPORT FILE *fopen(const char *path, const char *mode)
{
	return path_is_kvm(AT_FDCWD, path) || path_leads_to_kvm(AT_FDCWD, path)
		       ? open_stream(path, mode)
		       : REAL(fopen)(path, mode);
}
ALIAS(fopen64, fopen);
