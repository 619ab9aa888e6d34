/* SPDX-License-Identifier: MIT */
/*
 * preload/files.c: reading and writing descriptors of ours, which a KVM descriptor refuses, and
 * changes of files that may back guest memory.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <unistd.h>
#include "abi/abi.h"
#include "preload/preload.h"
#include "preload/real.h"

/* In a hook whose other half is libc's: answer for a descriptor of ours. */
#define REFUSE(fd, call)                                                                       \
	do {                                                                                   \
		long refused_;                                                                 \
                                                                                               \
		if (maybe_ours(fd) && refuses(fd, call, &refused_))                            \
			return raw_errno(refused_);                                            \
	} while (0)

static COLD bool refuses(int fd, const char *call, long *ret)
{
	struct mask_window w;
	bool r;

	mask_enter(&w);
	r = abi_refuses(fd, call, ret);
	mask_leave(&w);
	return r;
}

EXPORT ssize_t read(int fd, void *buf, size_t n)
{
	REFUSE(fd, "read");
	return REAL(read)(fd, buf, n);
}

/* An eventfd that raises an interrupt does so at once, with no thread of ours there yet, too. */
static ssize_t written(int fd, ssize_t r)
{
	struct mask_window w;

	if (likely(!armed() || r <= 0 || !abi_cares_for_writes(fd)) || !preload_own_process())
		return r;
	mask_enter(&w);
	abi_written();
	mask_leave(&w);
	return r;
}

EXPORT ssize_t write(int fd, const void *buf, size_t n)
{
	REFUSE(fd, "write");
	return written(fd, REAL(write)(fd, buf, n));
}

EXPORT int eventfd_write(int fd, eventfd_t value)
{
	return write(fd, &value, sizeof(value)) == sizeof(value) ? 0 : -1;
}

EXPORT ssize_t pread(int fd, void *buf, size_t n, off_t off)
{
	REFUSE(fd, "pread");
	return REAL(pread)(fd, buf, n, off);
}
ALIAS(pread64, pread);

EXPORT ssize_t pwrite(int fd, const void *buf, size_t n, off_t off)
{
	REFUSE(fd, "pwrite");
	return REAL(pwrite)(fd, buf, n, off);
}
ALIAS(pwrite64, pwrite);

EXPORT ssize_t readv(int fd, const struct iovec *iov, int n)
{
	REFUSE(fd, "readv");
	return REAL(readv)(fd, iov, n);
}

EXPORT ssize_t writev(int fd, const struct iovec *iov, int n)
{
	REFUSE(fd, "writev");
	return written(fd, REAL(writev)(fd, iov, n));
}

EXPORT ssize_t preadv(int fd, const struct iovec *iov, int n, off_t off)
{
	REFUSE(fd, "preadv");
	return REAL(preadv)(fd, iov, n, off);
}
ALIAS(preadv64, preadv);

EXPORT ssize_t pwritev(int fd, const struct iovec *iov, int n, off_t off)
{
	REFUSE(fd, "pwritev");
	return REAL(pwritev)(fd, iov, n, off);
}
ALIAS(pwritev64, pwritev);

/* At -1 the descriptor's own position, which none of ours has. */
EXPORT ssize_t preadv2(int fd, const struct iovec *iov, int n, off_t off, int flags)
{
	REFUSE(fd, off == -1 ? "readv" : "preadv");
	return REAL(preadv2)(fd, iov, n, off, flags);
}
ALIAS(preadv64v2, preadv2);

EXPORT ssize_t pwritev2(int fd, const struct iovec *iov, int n, off_t off, int flags)
{
	REFUSE(fd, off == -1 ? "writev" : "pwritev");
	return REAL(pwritev2)(fd, iov, n, off, flags);
}
ALIAS(pwritev64v2, pwritev2);

/* What _FORTIFY_SOURCE makes of them; `size`: of the buffer, as the compiler knows it. */
ssize_t __read_chk(int fd, void *buf, size_t n, size_t size);
ssize_t __pread_chk(int fd, void *buf, size_t n, off_t off, size_t size);
ssize_t __pread64_chk(int fd, void *buf, size_t n, off_t off, size_t size);

EXPORT ssize_t __read_chk(int fd, void *buf, size_t n, size_t size)
{
	REFUSE(fd, "read");
	if (n > size)
		abort();
	return REAL(read)(fd, buf, n);
}

EXPORT ssize_t __pread_chk(int fd, void *buf, size_t n, off_t off, size_t size)
{
	REFUSE(fd, "pread");
	if (n > size)
		abort();
	return REAL(pread)(fd, buf, n, off);
}
ALIAS(__pread64_chk, __pread_chk);

/* Moving bytes without reading them is still reading them; a position is refused as pread's is. */
EXPORT ssize_t sendfile(int out, int in, off_t *off, size_t n)
{
	REFUSE(in, off ? "pread" : "read");
	REFUSE(out, "write");
	return REAL(sendfile)(out, in, off, n);
}
ALIAS(sendfile64, sendfile);

EXPORT ssize_t splice(int in, off64_t *in_off, int out, off64_t *out_off, size_t n, unsigned flags)
{
	REFUSE(in, "read");
	REFUSE(out, "write");
	return REAL(splice)(in, in_off, out, out_off, n, flags);
}

EXPORT int fsync(int fd)
{
	REFUSE(fd, "fsync");
	return REAL(fsync)(fd);
}

EXPORT int fdatasync(int fd)
{
	REFUSE(fd, "fdatasync");
	return REAL(fdatasync)(fd);
}

EXPORT int fchmod(int fd, mode_t mode)
{
	REFUSE(fd, "fchmod");
	return (int)raw_errno(raw2(SYS_fchmod, fd, mode));
}

EXPORT int fchown(int fd, uid_t uid, gid_t gid)
{
	REFUSE(fd, "fchown");
	return (int)raw_errno(raw3(SYS_fchown, fd, uid, gid));
}

EXPORT off_t lseek(int fd, off_t off, int whence)
{
	REFUSE(fd, "lseek");
	return raw_errno(raw3(SYS_lseek, fd, off, whence));
}
ALIAS(lseek64, lseek);

/* ------------------------------------------------------------------ truncation and punching */

EXPORT int ftruncate(int fd, off_t len)
{
	struct change c = {0};

	REFUSE(fd, "ftruncate");
	if (len >= 0 && !change_begin_file(&c, "ftruncate", fd, (u64)len, (u64)(INT64_MAX - len)))
		return -1;
	return (int)change_end(&c, raw2(SYS_ftruncate, fd, len));
}
ALIAS(ftruncate64, ftruncate);

EXPORT int truncate(const char *path, off_t len)
{
	struct change c = {0};
	bool ok = true;

	if (path_is_kvm(AT_FDCWD, path))
		return (int)raw_errno(-EINVAL); /* not a regular file */
	if (armed() && len >= 0) {
		long fd = raw3(SYS_openat, AT_FDCWD, path, O_PATH | O_CLOEXEC);

		if (fd >= 0) {
			ok = change_begin_file(&c, "truncate", (int)fd, (u64)len, (u64)(INT64_MAX - len));
			raw1(SYS_close, fd);
		}
	}
	return ok ? (int)change_end(&c, raw2(SYS_truncate, path, len)) : -1;
}
ALIAS(truncate64, truncate);

static bool allocates_ours(int fd, int mode, off_t off, off_t len, long *ret)
{
	struct mask_window w;
	bool ours;

	if (!maybe_ours(fd))
		return false;
	mask_enter(&w);
	ours = abi_fallocate(fd, mode, off, len, ret);
	mask_leave(&w);
	return ours;
}

EXPORT int fallocate(int fd, int mode, off_t off, off_t len)
{
	const int shifts = FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE;
	const int takes = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE | shifts;
	struct change c = {0};
	long r;

	if (allocates_ours(fd, mode, off, len, &r))
		return (int)raw_errno(r);
	if ((mode & takes) && off >= 0 && len > 0 &&
	    !change_begin_file(&c, "fallocate", fd, (u64)off,
			       (u64)((mode & shifts) ? INT64_MAX - off : len)))
		return -1;
	r = REAL(fallocate)(fd, mode, off, len);
	return (int)change_end(&c, r < 0 ? -errno : r);
}
ALIAS(fallocate64, fallocate);

/* Returns the error rather than setting errno. Takes no page away. */
EXPORT int posix_fallocate(int fd, off_t off, off_t len)
{
	long r;

	/* Where it is not supported libc writes zeroes instead, and finds no position to write at. */
	if (allocates_ours(fd, 0, off, len, &r))
		return r == -EOPNOTSUPP ? ESPIPE : (int)-r;
	return REAL(posix_fallocate)(fd, off, len);
}
ALIAS(posix_fallocate64, posix_fallocate);
