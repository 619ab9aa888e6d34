/* SPDX-License-Identifier: MIT */
/*
 * abi/opened.c: how a descriptor of ours was opened, and what comes of opening it again by its name
 * in /proc.
 *
 * The kernel keeps the flags that F_SETFL can change. The others are a memfd's, which always is open for
 * reading and writing; what was asked for is kept with the object.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "abi/internal.h"
#include "sync/trace.h"

/* What F_SETFL changes (fcntl(2)); O_ASYNC and O_DIRECT change nothing here or there. */
#define CHANGEABLE (O_APPEND | O_NONBLOCK | O_NOATIME)
/* What open() heeds once and forgets. */
#define FORGOTTEN (O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_CLOEXEC)
/* The kernel's O_LARGEFILE, which libc defines as 0: set for whatever is opened by a path. */
#define LARGEFILE 0100000

int opened_with(enum file_kind kind)
{
	switch (kind) {
	case FILE_VM_STATS:
	case FILE_VCPU_STATS:
		return O_RDONLY;
	case FILE_SYSTEM:
	case FILE_GMEM:
		return O_RDWR | LARGEFILE;
	default:
		return O_RDWR;
	}
}

static int open_device(int flags)
{
	struct abi_file *f;
	int fd;

	if (flags & O_PATH)
		flags &= O_PATH | O_CLOEXEC | O_DIRECTORY | O_NOFOLLOW;
	if (flags & O_DIRECTORY)
		return -ENOTDIR;
	if ((flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL))
		return -EEXIST;
	if (flags & O_DIRECT)
		return -EINVAL;
	fd = file_create(FILE_SYSTEM, NAME_SYSTEM, 0, flags, &f);
	if (fd < 0)
		return fd;
	f->opened = flags & ~(CHANGEABLE | FORGOTTEN);
	if (!(flags & O_PATH))
		f->opened |= LARGEFILE;
	if (flags & CHANGEABLE)
		syscall(SYS_fcntl, fd, F_SETFL, flags & CHANGEABLE);
	file_publish(f, fd);
	return fd;
}

/* /dev/kvm was opened: its descriptor, or -errno. */
static COLD void trace_open(int fd)
{
	const struct call_record r = {.fd = -1, .ret = fd};

	trace_emit(TRACE_call, -1, 0, &r, sizeof(r));
}

int abi_open(int flags)
{
	int fd;

	trace_start();
	fd = open_device(flags);
	TRACE_PROBE(open, fd);
	if (trace_on(TRACE_call))
		trace_open(fd);
	return fd;
}

/* An anonymous inode cannot be opened (ENXIO), only pointed at. */
int abi_open_again(int fd, int flags)
{
	struct abi_file *f = file_get(fd);
	bool device;

	if (!f)
		return fd;
	device = f->kind == FILE_SYSTEM;
	file_put(f);
	syscall(SYS_close, fd);
	return device || (flags & O_PATH) ? abi_open(flags) : -ENXIO;
}

static long status_flags(int fd, const struct abi_file *f)
{
	long flags = syscall(SYS_fcntl, fd, F_GETFL);

	return flags < 0 ? -errno : (flags & CHANGEABLE) | f->opened;
}

static bool good_on_a_path(int cmd)
{
	return cmd == F_DUPFD || cmd == F_DUPFD_CLOEXEC || cmd == F_GETFD || cmd == F_SETFD;
}

static bool answer(int fd, const struct abi_file *f, int cmd, long arg, long *ret)
{
	if (cmd == F_GETFL)
		*ret = status_flags(fd, f);
	else if ((f->opened & O_PATH) && !good_on_a_path(cmd))
		*ret = -EBADF;
	else if (cmd == F_ADD_SEALS || cmd == F_GET_SEALS)
		*ret = -EINVAL; /* a character device and an anonymous inode have none */
	else if (cmd == F_SETLEASE && arg != F_UNLCK && f->kind != FILE_GMEM)
		*ret = -EINVAL; /* which are of regular files */
	else
		return false;
	return true;
}

bool abi_fcntl(int fd, int cmd, long arg, long *ret)
{
	struct abi_file *f = file_get(fd);
	bool answered;

	if (!f)
		return false;
	answered = answer(fd, f, cmd, arg, ret);
	file_put(f);
	return answered;
}

/* "/memfd:userkvm:vcpu:0 (deleted)" is "anon_inode:kvm-vcpu:0". */
size_t abi_link_text(const char *text, size_t len, char *out, size_t size)
{
	static const char before[] = "/memfd:" NAME_PREFIX, behind[] = " (deleted)";
	const size_t nb = sizeof(before) - 1, ne = sizeof(behind) - 1;
	int n;

	if (len < nb + ne || memcmp(text, before, nb) || memcmp(text + len - ne, behind, ne))
		return 0;
	text += nb;
	len -= nb + ne;
	if (len == 3 && !memcmp(text, "kvm", 3))
		n = snprintf(out, size, "/dev/kvm");
	else if (len >= 4 && !memcmp(text, "gmem", 4))
		n = snprintf(out, size, "anon_inode:[kvm-gmem]");
	else
		n = snprintf(out, size, "anon_inode:kvm-%.*s", (int)len, text);
	return n > 0 && (size_t)n < size ? (size_t)n : 0;
}
