/* SPDX-License-Identifier: MIT */
/*
 * preload/descriptors.c: ioctl, and the calls by which descriptors come and go.
 */
#include <linux/userfaultfd.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include "abi/abi.h"
#include "base/guard.h"
#include "preload/preload.h"
#include "preload/real.h"
#include "primary/linux/linux.h"

#define KVM_IOCTL_TYPE	0xAE /* KVMIO */
#define MAYBE_NUMBERS	65536 /* numbers from here up are always looked at */

static u64 maybe_bits[MAYBE_NUMBERS / 64];

void maybe_ours_set(int fd)
{
	if (fd >= 0 && fd < MAYBE_NUMBERS)
		__atomic_fetch_or(&maybe_bits[fd / 64], 1ULL << (fd % 64), __ATOMIC_RELAXED);
}

bool maybe_ours(int fd)
{
	if (!armed() || fd < 0)
		return false;
	return fd >= MAYBE_NUMBERS ||
	       (__atomic_load_n(&maybe_bits[fd / 64], __ATOMIC_RELAXED) >> (fd % 64) & 1);
}

/* ------------------------------------------------------------------ ioctl */

/* Calls on userfaultfd descriptors that change how a range of ours faults. */
static long uffd_ioctl(int fd, unsigned long request, void *arg)
{
	struct uffdio_range range;
	void *cookie;
	long r;
	int err = 0;

	/* UFFDIO_REGISTER, UNREGISTER and WRITEPROTECT all begin with the range */
	if (guard_copy_from(&range, arg, sizeof(range)))
		return -EFAULT;
	cookie = primary_linux_change_begin(
		range.start, range.len,
		request == UFFDIO_UNREGISTER ? CHANGE_UFFD_GONE : CHANGE_UFFD, &err);
	if (err)
		return err < 0 ? err : -err;
	r = raw3(SYS_ioctl, fd, request, arg);
	primary_linux_change_end(cookie);
	return r;
}

static bool is_uffd_change(unsigned long request)
{
	return request == UFFDIO_REGISTER || request == UFFDIO_UNREGISTER ||
	       request == UFFDIO_WRITEPROTECT;
}

static bool ours_ioctl(int fd, unsigned long request, void *arg, long *ret)
{
	struct mask_window w;
	bool ours;

	if (!armed()) {
		/* inherited through exec, or passed by another process */
		if (!abi_owns(fd))
			return false;
		preload_arm();
	}
	mask_enter(&w);
	ours = abi_ioctl(fd, request, arg, ret);
	if (ours) {
		maybe_ours_set(fd);
		/* some return a new descriptor: a number too many in the set costs an fstat() */
		if (*ret >= 0)
			maybe_ours_set((int)MIN(*ret, (long)MAYBE_NUMBERS));
	}
	mask_leave(&w);
	return ours;
}

EXPORT int ioctl(int fd, unsigned long request, ...)
{
	va_list ap;
	void *arg;
	long r;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	if ((_IOC_TYPE(request) == KVM_IOCTL_TYPE || maybe_ours(fd)) &&
	    ours_ioctl(fd, request, arg, &r))
		return (int)raw_errno(r);
	if (armed() && is_uffd_change(request))
		return (int)raw_errno(uffd_ioctl(fd, request, arg));
	return (int)raw_errno(raw3(SYS_ioctl, fd, request, arg));
}

/* ------------------------------------------------------------------ close */

EXPORT int close(int fd)
{
	bool ours = armed() && abi_before_close(fd);
	int r = REAL(close)(fd);

	if (ours) {
		int e = errno;

		abi_after_close();
		errno = e;
	}
	return r;
}

EXPORT int close_range(unsigned int first, unsigned int last, int flags)
{
	int r = REAL(close_range)(first, last, flags);

	if (r == 0 && armed())
		abi_after_close();
	return r;
}

EXPORT void closefrom(int first)
{
	/* glibc's own falls back on /proc where the call is missing; 5.14 has it */
	if (raw3(SYS_close_range, first < 0 ? 0 : first, ~0U, 0))
		abort();
	if (armed())
		abi_after_close();
}

EXPORT int fclose(FILE *f)
{
	bool ours = false;
	int r, e;

	if (armed()) {
		e = errno;
		ours = abi_before_close(fileno(f));
		errno = e;
	}
	r = REAL(fclose)(f);
	e = errno;
	if (ours)
		abi_after_close();
	errno = e;
	return r;
}

/* ------------------------------------------------------------------ duplicates */

static int duplicated(int oldfd, long newfd)
{
	if (newfd >= 0 && armed() && abi_owns(oldfd)) {
		maybe_ours_set(oldfd);
		maybe_ours_set((int)newfd);
		abi_duplicated(oldfd, (int)newfd);
	}
	return (int)raw_errno(newfd);
}

EXPORT int dup(int oldfd)
{
	return duplicated(oldfd, raw1(SYS_dup, oldfd));
}

static int dup_over(int oldfd, int newfd, int flags, bool three)
{
	bool ours = armed() && oldfd != newfd && abi_before_close(newfd);
	long r = three ? raw3(SYS_dup3, oldfd, newfd, flags) : raw2(SYS_dup2, oldfd, newfd);

	if (r >= 0 && ours)
		abi_after_close();
	if (!three && oldfd == newfd)
		return (int)raw_errno(r);
	return duplicated(oldfd, r);
}

EXPORT int dup2(int oldfd, int newfd)
{
	return dup_over(oldfd, newfd, 0, false);
}

EXPORT int dup3(int oldfd, int newfd, int flags)
{
	return dup_over(oldfd, newfd, flags, true);
}

static int fcntl_of(int fd, int cmd, long arg)
{
	int r;

	/* a character device and an anonymous inode have no seals */
	if ((cmd == F_ADD_SEALS || cmd == F_GET_SEALS) && maybe_ours(fd) && abi_owns(fd)) {
		errno = EINVAL;
		return -1;
	}
	r = REAL(fcntl)(fd, cmd, arg);
	if (r >= 0 && (cmd == F_DUPFD || cmd == F_DUPFD_CLOEXEC))
		return duplicated(fd, r);
	return r;
}

EXPORT int fcntl(int fd, int cmd, ...)
{
	va_list ap;
	long arg;

	va_start(ap, cmd);
	arg = va_arg(ap, long);
	va_end(ap);
	return fcntl_of(fd, cmd, arg);
}

EXPORT int fcntl64(int fd, int cmd, ...)
{
	va_list ap;
	long arg;

	va_start(ap, cmd);
	arg = va_arg(ap, long);
	va_end(ap);
	return fcntl_of(fd, cmd, arg);
}

/* ------------------------------------------------------------------ sent over a socket */

/* The message was sent, so the kernel could read all of it. */
static void tell_sent(const struct msghdr *m)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR((struct msghdr *)m, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
			abi_sent(fd);
		}
	}
}

EXPORT ssize_t sendmsg(int socket, const struct msghdr *m, int flags)
{
	ssize_t r = REAL(sendmsg)(socket, m, flags);
	int e = errno;

	if (r >= 0 && armed())
		tell_sent(m);
	errno = e;
	return r;
}

EXPORT int sendmmsg(int socket, struct mmsghdr *m, unsigned int n, int flags)
{
	int r = REAL(sendmmsg)(socket, m, n, flags);
	int e = errno;

	for (int i = 0; i < r && armed(); i++)
		tell_sent(&m[i].msg_hdr);
	errno = e;
	return r;
}
