/* SPDX-License-Identifier: MIT */
/*
 * preload/machine.c: what a machine with KVM says of itself, for programs that ask before they open
 * /dev/kvm (virt-host-validate, kvm-ok): the processor's flags have SVM or VMX, by its vendor, and KVM's
 * modules are there. What CPUID says is the processor's own.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "preload/preload.h"

#define CPUINFO	 "/proc/cpuinfo"
#define MODULES	 "/sys/module"
#define AT_FIRST 65536 /* bytes */

/* ------------------------------------------------------------------ a file of ours */

static long make_file(const char *text, size_t size, int flags)
{
	long fd = raw2(SYS_memfd_create, "cpuinfo", flags & O_CLOEXEC ? MFD_CLOEXEC : 0);

	for (size_t done = 0; fd >= 0 && done < size;) {
		long n = raw3(SYS_write, fd, text + done, size - done);

		if (n <= 0) {
			raw1(SYS_close, fd);
			return n < 0 ? n : -EIO;
		}
		done += (size_t)n;
	}
	if (fd >= 0)
		raw3(SYS_lseek, fd, 0, SEEK_SET);
	return fd;
}

/* ------------------------------------------------------------------ /proc/cpuinfo */

struct text {
	char *at;
	size_t size, room;
};

static void *pages(size_t size)
{
	long p = raw6(SYS_mmap, 0, (long)size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p < 0 && p >= -4095 ? NULL : (void *)p;
}

static bool read_all(int fd, struct text *t)
{
	long n = 1;

	t->room = AT_FIRST;
	t->at = pages(t->room);
	while (t->at && n > 0) {
		if (t->size == t->room) {
			long p = raw5(SYS_mremap, t->at, t->room, 2 * t->room, MREMAP_MAYMOVE, 0);

			if (p < 0 && p >= -4095)
				return false;
			t->at = (char *)p;
			t->room *= 2;
		}
		n = raw3(SYS_read, fd, t->at + t->size, t->room - t->size);
		t->size += (size_t)MAX(n, 0);
	}
	return t->at && n == 0;
}

static bool begins_line(const char *line, const char *end, const char *with)
{
	size_t n = strlen(with);

	return (size_t)(end - line) >= n && !memcmp(line, with, n);
}

static bool holds(const char *line, const char *end, const char *word)
{
	return memmem(line, (size_t)(end - line), word, strlen(word)) != NULL;
}

/* The text with one more flag in each processor's line; the result is at most twice as long. */
static size_t add_flag(const struct text *in, char *out)
{
	const char *flag = " vmx", *end = in->at + in->size, *next;
	char *start = out;

	for (const char *line = in->at; line < end; line = next) {
		const char *stop = memchr(line, '\n', (size_t)(end - line));

		stop = stop ? stop : end;
		next = stop < end ? stop + 1 : end;
		if (begins_line(line, stop, "vendor_id") &&
		    (holds(line, stop, "AMD") || holds(line, stop, "Hygon")))
			flag = " svm";
		out = mempcpy(out, line, (size_t)(stop - line));
		if (begins_line(line, stop, "flags\t") && !holds(line, stop, flag))
			out = mempcpy(out, flag, strlen(flag));
		if (next > stop)
			*out++ = '\n';
	}
	return (size_t)(out - start);
}

static long cpuinfo(int fd, int flags)
{
	struct text in = {0};
	char *out = NULL;
	long r = fd;

	if (read_all(fd, &in))
		out = pages(2 * in.room);
	if (out) {
		r = make_file(out, add_flag(&in, out), flags);
		raw2(SYS_munmap, out, 2 * in.room);
	}
	if (in.at)
		raw2(SYS_munmap, in.at, in.room);
	if (r < 0 || r == fd) {
		raw3(SYS_lseek, fd, 0, SEEK_SET);
		return fd;
	}
	raw1(SYS_close, fd);
	return r;
}

/* ------------------------------------------------------------------ /sys/module */

static bool is_amd(void)
{
	u32 a = 0, b, c, d;

	asm volatile("cpuid" : "+a"(a), "=b"(b), "=c"(c), "=d"(d));
	/* the last letters of AuthenticAMD and HygonGenuine */
	return c == 0x444d4163 || c == 0x656e6975;
}

enum module_file { NOT_THERE, DIRECTORY, NESTED };

static enum module_file module_file(const char *path)
{
	const char *rest = path + sizeof(MODULES "/kvm") - 1;
	const char *vendor = is_amd() ? "_amd" : "_intel";

	if (strncmp(path, MODULES "/kvm", sizeof(MODULES "/kvm") - 1))
		return NOT_THERE;
	if (!*rest)
		return DIRECTORY;
	if (strncmp(rest, vendor, strlen(vendor)))
		return NOT_THERE;
	rest += strlen(vendor);
	if (!*rest || !strcmp(rest, "/parameters"))
		return DIRECTORY;
	return strcmp(rest, "/parameters/nested") ? NOT_THERE : NESTED;
}

/* ------------------------------------------------------------------ the calls */

bool machine_is_file(const char *path)
{
	return *path == '/' && (!strcmp(path, CPUINFO) || module_file(path) != NOT_THERE);
}

long machine_opened(const char *path, int flags, long fd)
{
	if (*path != '/' || (flags & (O_ACCMODE | O_PATH)) != O_RDONLY)
		return fd;
	if (fd >= 0 && !strcmp(path, CPUINFO))
		return cpuinfo((int)fd, flags);
	if (fd != -ENOENT)
		return fd;
	switch (module_file(path)) {
	case NESTED: /* there is none */
		return is_amd() ? make_file("0\n", 2, flags) : make_file("N\n", 2, flags);
	case DIRECTORY:
		return raw4(SYS_openat, AT_FDCWD, MODULES, flags, 0);
	default:
		return fd;
	}
}

bool machine_stat(const char *path, struct stat *st)
{
	enum module_file file = *path == '/' ? module_file(path) : NOT_THERE;

	if (file == NOT_THERE || raw4(SYS_newfstatat, AT_FDCWD, MODULES, st, 0))
		return false;
	if (file == NESTED) {
		st->st_mode = S_IFREG | 0444;
		st->st_nlink = 1;
		st->st_size = PAGE_SIZE;
	}
	return true;
}
