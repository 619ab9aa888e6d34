/* SPDX-License-Identifier: MIT */
/*
 * preload/files.c: reading and writing descriptors of ours, which a KVM descriptor refuses, and
 * changes of files that may back guest memory.
 */
#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>
#include "abi/abi.h"
#include "preload/preload.h"
#include "preload/real.h"
#include "primary/linux/linux.h"

/* In a hook whose other half is libc's: answer for a descriptor of ours. */
#define REFUSE(fd, call)                                                                           \
	do {                                                                                       \
		long refused;                                                                      \
                                                                                                   \
		if (maybe_ours(fd) && abi_refuses(fd, call, &refused))                             \
			return raw_errno(refused);                                                 \
	} while (0)

EXPORT ssize_t read(int fd, void *buf, size_t n)
{
	REFUSE(fd, "read");
	return REAL(read)(fd, buf, n);
}

EXPORT ssize_t write(int fd, const void *buf, size_t n)
{
	REFUSE(fd, "write");
	return REAL(write)(fd, buf, n);
}

EXPORT ssize_t pread(int fd, void *buf, size_t n, off_t off)
{
	REFUSE(fd, "pread");
	return REAL(pread)(fd, buf, n, off);
}

EXPORT ssize_t pread64(int fd, void *buf, size_t n, off_t off)
{
	REFUSE(fd, "pread");
	return REAL(pread)(fd, buf, n, off);
}

EXPORT ssize_t pwrite(int fd, const void *buf, size_t n, off_t off)
{
	REFUSE(fd, "pwrite");
	return REAL(pwrite)(fd, buf, n, off);
}

EXPORT ssize_t pwrite64(int fd, const void *buf, size_t n, off_t off)
{
	REFUSE(fd, "pwrite");
	return REAL(pwrite)(fd, buf, n, off);
}

EXPORT ssize_t readv(int fd, const struct iovec *iov, int n)
{
	REFUSE(fd, "readv");
	return REAL(readv)(fd, iov, n);
}

EXPORT ssize_t writev(int fd, const struct iovec *iov, int n)
{
	REFUSE(fd, "writev");
	return REAL(writev)(fd, iov, n);
}

EXPORT off_t lseek(int fd, off_t off, int whence)
{
	REFUSE(fd, "lseek");
	return raw_errno(raw3(SYS_lseek, fd, off, whence));
}

EXPORT off_t lseek64(int fd, off_t off, int whence)
{
	REFUSE(fd, "lseek");
	return raw_errno(raw3(SYS_lseek, fd, off, whence));
}

/* ------------------------------------------------------------------ truncation and punching */

static bool begin(void **cookie, int fd, u64 off, u64 len)
{
	int err = 0;

	*cookie = NULL;
	if (!armed())
		return true;
	*cookie = primary_linux_file_change_begin(fd, off, len, &err);
	if (err)
		errno = err < 0 ? -err : err;
	return !err;
}

static void end(void *cookie)
{
	int e = errno;

	if (cookie)
		primary_linux_change_end(cookie);
	errno = e;
}

static int truncate_fd(int fd, off_t len)
{
	void *cookie;
	long r;

	REFUSE(fd, "ftruncate");
	if (len >= 0 && !begin(&cookie, fd, (u64)len, (u64)(INT64_MAX - len)))
		return -1;
	r = raw2(SYS_ftruncate, fd, len);
	if (len >= 0)
		end(cookie);
	return (int)raw_errno(r);
}

EXPORT int ftruncate(int fd, off_t len)
{
	return truncate_fd(fd, len);
}

EXPORT int ftruncate64(int fd, off_t len)
{
	return truncate_fd(fd, len);
}

static int truncate_path(const char *path, off_t len)
{
	void *cookie = NULL;
	long fd, r;
	bool ok = true;

	if (path_is_kvm(AT_FDCWD, path))
		return (int)raw_errno(-EINVAL); /* not a regular file */
	if (armed() && len >= 0) {
		fd = raw3(SYS_openat, AT_FDCWD, path, O_PATH | O_CLOEXEC);
		if (fd >= 0) {
			ok = begin(&cookie, (int)fd, (u64)len, (u64)(INT64_MAX - len));
			raw1(SYS_close, fd);
		}
	}
	if (!ok)
		return -1;
	r = raw2(SYS_truncate, path, len);
	end(cookie);
	return (int)raw_errno(r);
}

EXPORT int truncate(const char *path, off_t len)
{
	return truncate_path(path, len);
}

EXPORT int truncate64(const char *path, off_t len)
{
	return truncate_path(path, len);
}

static int allocate(int fd, int mode, off_t off, off_t len)
{
	const int takes = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_ZERO_RANGE |
			  FALLOC_FL_INSERT_RANGE;
	const int shifts = FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE;
	void *cookie = NULL;
	long refused;
	int r;

	if (maybe_ours(fd) && abi_fallocate(fd, mode, off, len, &refused))
		return (int)raw_errno(refused);
	if ((mode & takes) && off >= 0 && len > 0 &&
	    !begin(&cookie, fd, (u64)off, (mode & shifts) ? (u64)(INT64_MAX - off) : (u64)len))
		return -1;
	r = REAL(fallocate)(fd, mode, off, len);
	end(cookie);
	return r;
}

EXPORT int fallocate(int fd, int mode, off_t off, off_t len)
{
	return allocate(fd, mode, off, len);
}

EXPORT int fallocate64(int fd, int mode, off_t off, off_t len)
{
	return allocate(fd, mode, off, len);
}

/* Returns the error rather than setting errno. Takes no page away. */
static int allocate_posix(int fd, off_t off, off_t len)
{
	long r;

	if (maybe_ours(fd) && abi_fallocate(fd, 0, off, len, &r))
		return (int)-r;
	return REAL(posix_fallocate)(fd, off, len);
}

EXPORT int posix_fallocate(int fd, off_t off, off_t len)
{
	return allocate_posix(fd, off, len);
}

EXPORT int posix_fallocate64(int fd, off_t off, off_t len)
{
	return allocate_posix(fd, off, len);
}
