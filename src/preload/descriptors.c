/* SPDX-License-Identifier: MIT */
/*
 * preload/descriptors.c: ioctl, and the calls by which descriptors come and go.
 */
#include <dirent.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/userfaultfd.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include "abi/abi.h"
#include "base/guard.h"
#include "preload/preload.h"
#include "preload/real.h"
#include "primary/linux/linux.h"

#define KVM_IOCTL_TYPE 0xAE  /* KVMIO */
#define MAYBE_NUMBERS  65536 /* numbers from here up are always looked at */

/* Readers may see a bit late or too many: it only says whose number is worth an fstat(). */
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

static void maybe_ours_clear(int fd)
{
	if (fd >= 0 && fd < MAYBE_NUMBERS)
		__atomic_fetch_and(&maybe_bits[fd / 64], ~(1ULL << (fd % 64)),
				   __ATOMIC_RELAXED);
}

/* ------------------------------------------------------------------ ioctl */

/* Pages go from src to dst, which had none. Newer than the headers this is built with (Linux 6.8). */
struct uffd_move {
	u64 dst, src, len, mode;
	s64 moved;
};
#define UFFD_MOVE _IOWR(UFFDIO, 0x05, struct uffd_move)

/* What a call on a userfaultfd descriptor changes of how memory of ours faults, or takes from it. */
static int uffd_change(unsigned long request, const void *arg, struct uffdio_range *range)
{
	struct uffd_move m;

	if (request == UFFD_MOVE) {
		if (guard_copy_from(&m, arg, sizeof(m)))
			return -EFAULT;
		*range = (struct uffdio_range){m.src, m.len};
		return CHANGE_CONTENT;
	}
	/* UFFDIO_REGISTER, UNREGISTER and WRITEPROTECT all begin with the range */
	if (guard_copy_from(range, arg, sizeof(*range)))
		return -EFAULT;
	return request == UFFDIO_UNREGISTER ? CHANGE_UFFD_GONE : CHANGE_UFFD;
}

static int uffd_ioctl(int fd, unsigned long request, void *arg)
{
	struct uffdio_range range;
	struct change c = {0};
	int kind = uffd_change(request, arg, &range);

	if (kind < 0)
		return (int)raw_errno(kind);
	if (!change_begin(&c, "ioctl", (void *)range.start, range.len, kind))
		return -1;
	return (int)change_end(&c, raw3(SYS_ioctl, fd, request, arg));
}

static bool is_uffd_change(unsigned long request)
{
	return request == UFFDIO_REGISTER || request == UFFDIO_UNREGISTER ||
	       request == UFFDIO_WRITEPROTECT || request == UFFD_MOVE;
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
		if (*ret >= 0 && abi_makes_descriptor(request))
			maybe_ours_set((int)*ret);
	}
	mask_leave(&w);
	return ours;
}

/*
 * A descriptor of the machine's own device, however it came (a system call of the program's own, a socket,
 * exec): ours takes its number.
 */
static COLD void replace_device(int fd)
{
	struct stat st;
	long mine, flags;

	if (raw2(SYS_fstat, fd, &st) || !path_device_is_kvm(&st))
		return;
	flags = raw2(SYS_fcntl, fd, F_GETFD);
	mine = open_kvm(O_RDWR | O_CLOEXEC);
	if (mine < 0)
		return;
	dup3((int)mine, fd, flags & FD_CLOEXEC ? O_CLOEXEC : 0);
	close((int)mine);
}

static void flags_changed(void)
{
	struct mask_window w;

	if (!armed() || !preload_own_process())
		return;
	mask_enter(&w);
	abi_flags_changed();
	mask_leave(&w);
}

EXPORT int ioctl(int fd, unsigned long request, ...)
{
	va_list ap;
	void *arg;
	long r;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	if (_IOC_TYPE(request) == KVM_IOCTL_TYPE && !maybe_ours(fd))
		replace_device(fd);
	if ((_IOC_TYPE(request) == KVM_IOCTL_TYPE || maybe_ours(fd)) &&
	    ours_ioctl(fd, request, arg, &r))
		return (int)raw_errno(r);
	if (armed() && is_uffd_change(request))
		return uffd_ioctl(fd, request, arg);
	r = raw3(SYS_ioctl, fd, request, arg);
	if (r == 0 && request == FIONBIO)
		flags_changed();
	return (int)raw_errno(r);
}

/* ------------------------------------------------------------------ close */

bool descriptor_before_close(int fd)
{
	struct mask_window w;
	bool ours;

	if (!armed() || fd < 0)
		return false;
	mask_enter(&w);
	ours = abi_before_close(fd);
	/* a vfork child closes its own number, not the one this set is about */
	if (preload_own_process()) {
		maybe_ours_clear(fd);
		abi_closing((unsigned)fd, (unsigned)fd);
	}
	mask_leave(&w);
	return ours;
}

void descriptor_after_close(bool ours)
{
	struct mask_window w;

	if (!ours)
		return;
	mask_enter(&w);
	abi_after_close();
	mask_leave(&w);
}

/*
 * One of ours is closed in one window: a handler that leaves by longjmp() finds it closed with all
 * that goes with it, or not at all. What else is closed may be waited for.
 */
EXPORT int close(int fd)
{
	struct mask_window w;
	bool ours;
	long r;

	if (!maybe_ours(fd)) {
		ours = descriptor_before_close(fd);
		r = REAL(close)(fd);
		descriptor_after_close(ours);
		return (int)r;
	}
	pthread_testcancel(); /* as close() itself does */
	mask_enter(&w);
	ours = descriptor_before_close(fd);
	if (!ours) {
		mask_leave(&w);
		return REAL(close)(fd);
	}
	r = raw1(SYS_close, fd);
	descriptor_after_close(ours);
	mask_leave(&w);
	return (int)raw_errno(r);
}

static long close_all(unsigned first, unsigned last, int flags)
{
	struct mask_window w;
	long r;

	if (!armed())
		return raw3(SYS_close_range, first, last, flags);
	mask_enter(&w);
	if (!(flags & CLOSE_RANGE_CLOEXEC) && first <= last && preload_own_process())
		abi_closing(first, last);
	r = raw3(SYS_close_range, first, last, flags);
	if (r == 0)
		abi_after_close();
	mask_leave(&w);
	return r;
}

EXPORT int close_range(unsigned int first, unsigned int last, int flags)
{
	return (int)raw_errno(close_all(first, last, flags));
}

EXPORT void closefrom(int first)
{
	/* glibc's own falls back on /proc where the call is missing; 5.14 has it */
	if (close_all(first < 0 ? 0 : (unsigned)first, ~0U, 0))
		abort();
}

/* A stream over one of ours is closed in one window, too; other streams call what the program gave. */
EXPORT int fclose(FILE *f)
{
	struct mask_window w;
	bool ours;
	int r;

	if (!armed() || !maybe_ours(fileno(f))) {
		ours = armed() && descriptor_before_close(fileno(f));
		r = REAL(fclose)(f);
		descriptor_after_close(ours);
		return r;
	}
	pthread_testcancel();
	mask_enter(&w);
	ours = descriptor_before_close(fileno(f));
	if (!ours) {
		mask_leave(&w);
		return REAL(fclose)(f);
	}
	r = REAL(fclose)(f) ? -errno : 0;
	descriptor_after_close(ours);
	mask_leave(&w);
	return (int)raw_errno(r);
}

/* ------------------------------------------------------------------ duplicates */

int duplicated(int oldfd, long newfd)
{
	struct mask_window w;

	if (newfd < 0 || !armed())
		return (int)raw_errno(newfd);
	mask_enter(&w);
	if (abi_owns(oldfd)) {
		maybe_ours_set(oldfd);
		maybe_ours_set((int)newfd);
		abi_appeared((int)newfd);
	}
	mask_leave(&w);
	return (int)newfd;
}

EXPORT int dup(int oldfd)
{
	return duplicated(oldfd, raw1(SYS_dup, oldfd));
}

/* Closed and opened in one window, as close() does it. */
static int dup_over(int oldfd, int newfd, int flags, bool three)
{
	bool counts = armed() && oldfd != newfd, ours = false;
	struct mask_window w;
	long r;

	if (counts) {
		mask_enter(&w);
		ours = descriptor_before_close(newfd);
	}
	r = three ? raw3(SYS_dup3, oldfd, newfd, flags) : raw2(SYS_dup2, oldfd, newfd);
	if (counts) {
		descriptor_after_close(ours);
		if (ours && r < 0)
			maybe_ours_set(newfd); /* it was not closed */
		duplicated(oldfd, r);
		mask_leave(&w);
	}
	return (int)raw_errno(r);
}

EXPORT int dup2(int oldfd, int newfd)
{
	return dup_over(oldfd, newfd, 0, false);
}

EXPORT int dup3(int oldfd, int newfd, int flags)
{
	return dup_over(oldfd, newfd, flags, true);
}

bool descriptor_is_ours(int fd)
{
	struct mask_window w;
	bool ours;

	if (!maybe_ours(fd))
		return false;
	mask_enter(&w);
	ours = abi_owns(fd);
	mask_leave(&w);
	return ours;
}

static COLD bool ours_fcntl(int fd, int cmd, long arg, long *ret)
{
	struct mask_window w;
	bool answered;

	mask_enter(&w);
	answered = abi_fcntl(fd, cmd, arg, ret);
	mask_leave(&w);
	return answered;
}

EXPORT int fcntl(int fd, int cmd, ...)
{
	va_list ap;
	long arg, answer;
	int r;

	va_start(ap, cmd);
	arg = va_arg(ap, long);
	va_end(ap);
	if (maybe_ours(fd) && ours_fcntl(fd, cmd, arg, &answer))
		return (int)raw_errno(answer);
	r = REAL(fcntl)(fd, cmd, arg);
	if (r >= 0 && cmd == F_SETFL && !(arg & O_NONBLOCK))
		flags_changed();
	if (r >= 0 && (cmd == F_DUPFD || cmd == F_DUPFD_CLOEXEC))
		return duplicated(fd, r);
	return r;
}
ALIAS(fcntl64, fcntl);

/* ------------------------------------------------------------------ sent over a socket */

/* The kernel read or wrote all of the message. */
static void each_passed(const struct msghdr *m, void (*fn)(int fd))
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR((struct msghdr *)m, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
			fn(fd);
		}
	}
}

/* In a process that did not know yet, too. */
static void received(int fd)
{
	if (!abi_owns(fd))
		return;
	preload_arm();
	maybe_ours_set(fd);
	abi_appeared(fd);
}

/* What came by exec, under whatever number. Without /proc the low numbers are looked at. */
void descriptors_inherited(void)
{
	const int few = 64;
	char buf[4096];
	long dir = raw3(SYS_openat, AT_FDCWD, "/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	long len;

	for (int fd = 3; dir < 0 && fd < few; fd++)
		received(fd);
	while (dir >= 0 && (len = raw3(SYS_getdents64, dir, buf, sizeof(buf))) > 0) {
		for (long at = 0; at < len;) {
			const struct dirent64 *d = (const void *)(buf + at);

			if (d->d_name[0] != '.')
				received(atoi(d->d_name));
			at += d->d_reclen;
		}
	}
	if (dir >= 0)
		raw1(SYS_close, dir);
}

static void tell_all(const struct mmsghdr *m, int n, void (*fn)(int fd))
{
	struct mask_window w;
	int e = errno;

	if (armed())
		mask_enter(&w);
	else if (fn != received)
		return;
	else
		w = (struct mask_window){.nested = true, .error = e};
	for (int i = 0; i < n; i++)
		each_passed(&m[i].msg_hdr, fn);
	mask_leave(&w);
	errno = e;
}

EXPORT ssize_t sendmsg(int socket, const struct msghdr *m, int flags)
{
	ssize_t r = REAL(sendmsg)(socket, m, flags);

	if (r >= 0) {
		struct mmsghdr one = {.msg_hdr = *m};

		tell_all(&one, 1, abi_sent);
	}
	return r;
}

EXPORT ssize_t recvmsg(int socket, struct msghdr *m, int flags)
{
	ssize_t r = REAL(recvmsg)(socket, m, flags);

	if (r >= 0 && m->msg_controllen) {
		struct mmsghdr one = {.msg_hdr = *m};

		tell_all(&one, 1, received);
	}
	return r;
}

/* glibc has it from 2.36 on. */
int pidfd_getfd(int pidfd, int fd, unsigned flags);
EXPORT int pidfd_getfd(int pidfd, int fd, unsigned flags)
{
	long r = raw3(SYS_pidfd_getfd, pidfd, fd, flags);
	struct mask_window w = {.nested = true, .error = errno};

	if (r >= 0) {
		if (armed())
			mask_enter(&w);
		received((int)r);
		mask_leave(&w);
	}
	return (int)raw_errno(r);
}

EXPORT int recvmmsg(int socket, struct mmsghdr *m, unsigned int n, int flags,
		    struct timespec *timeout)
{
	int r = REAL(recvmmsg)(socket, m, n, flags, timeout);

	tell_all(m, r, received);
	return r;
}

EXPORT int sendmmsg(int socket, struct mmsghdr *m, unsigned int n, int flags)
{
	int r = REAL(sendmmsg)(socket, m, n, flags);

	tell_all(m, r, abi_sent);
	return r;
}
