/* SPDX-License-Identifier: MIT */
/*
 * /proc/self/maps, by its query call where the kernel has one (Linux 6.11), else by reading it up
 * to the address. Raw system calls: the VMM's libc is interposed by us.
 */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/ioctl.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "primary/linux/linux.h"
#include "primary/linux/maps.h"

/* The kernel's struct procmap_query; its header is newer than those this is built with. */
struct query {
	u64 size, flags, addr;		     /* in */
	u64 start, end, vma_flags, page_size; /* out from here */
	u64 off, ino;
	u32 dev_major, dev_minor;
	u32 name_size, build_id_size; /* in: room; out: bytes with the NUL */
	u64 name, build_id;
};
#define QUERY_IOCTL    _IOWR('f', 17, struct query)
#define QUERY_READABLE 1
#define QUERY_WRITABLE 2
#define QUERY_SHARED   8

/*
 * Mappings of devices, of the kernel's own pages and of anonymous inodes may be VM_IO or
 * VM_PFNMAP, where a read can have side effects. Memory has names of its own under /dev.
 */
static bool name_special(const char *name)
{
	static const char *const special[] = {"/dev/",	"/sys/",  "/proc/", "anon_inode:",
					      "socket:", "[vvar", "[vdso",  "[vsyscall"};
	static const char *const memory[] = {"/dev/shm/", "/dev/zero", "/dev/hugepages"};

	for (size_t i = 0; i < ARRAY_SIZE(memory); i++) {
		if (!strncmp(name, memory[i], strlen(memory[i])))
			return false;
	}
	for (size_t i = 0; i < ARRAY_SIZE(special); i++) {
		if (!strncmp(name, special[i], strlen(special[i])))
			return true;
	}
	return false;
}

static int query(int fd, hva_t hva, struct region *out)
{
	char name[PATH_MAX];
	struct query q = {.size = sizeof(q), .addr = hva, .name_size = sizeof(name),
			  .name = (u64)name};

	name[0] = 0;
	if (syscall(SYS_ioctl, fd, QUERY_IOCTL, &q))
		return errno == ENOENT ? -EFAULT : -errno;
	*out = (struct region){
		.start = q.start,
		.end = q.end,
		.readable = q.vma_flags & QUERY_READABLE,
		.writable = q.vma_flags & QUERY_WRITABLE,
		.shared = q.vma_flags & QUERY_SHARED,
		.special = q.name_size && name_special(name),
		.off = q.off,
		.ino = q.ino,
	};
	return 0;
}

/* ------------------------------------------------------------------ by reading */

static u64 number(const char **p, unsigned base)
{
	u64 v = 0;

	for (;; (*p)++) {
		unsigned c = (unsigned char)**p;
		unsigned d = c - '0' < 10 ? c - '0' : c - 'a' < 6 ? c - 'a' + 10 : 99;

		if (d >= base)
			return v;
		v = v * base + d;
	}
}

/* One line: "start-end rwxs off maj:min ino   name". */
static void parse_line(const char *p, struct region *r)
{
	memset(r, 0, sizeof(*r));
	r->start = number(&p, 16);
	p++;
	r->end = number(&p, 16);
	p++;
	r->readable = p[0] == 'r';
	r->writable = p[1] == 'w';
	r->shared = p[3] == 's';
	p += 5;
	r->off = number(&p, 16);
	p++;
	number(&p, 16);
	p++;
	number(&p, 16);
	p++;
	r->ino = number(&p, 10);
	p += strspn(p, " ");
	r->special = name_special(p);
}

struct reader {
	int fd;
	size_t n;      /* bytes in buf */
	size_t at;     /* of the next line */
	char buf[2 * PATH_MAX + 1];
};

/* The next line, NUL-terminated; NULL at the end. A longer one than any path comes cut short. */
static const char *next_line(struct reader *rd)
{
	for (;;) {
		char *nl = memchr(rd->buf + rd->at, '\n', rd->n - rd->at);
		const char *line = rd->buf + rd->at;
		long r;

		if (nl) {
			*nl = 0;
			rd->at = (size_t)(nl + 1 - rd->buf);
			return line;
		}
		memmove(rd->buf, rd->buf + rd->at, rd->n - rd->at);
		rd->n -= rd->at;
		rd->at = 0;
		if (rd->n == sizeof(rd->buf) - 1)
			return NULL;
		do {
			r = syscall(SYS_read, rd->fd, rd->buf + rd->n, sizeof(rd->buf) - 1 - rd->n);
		} while (r < 0 && errno == EINTR);
		if (r <= 0)
			return NULL;
		rd->n += (size_t)r;
	}
}

static int read_up_to(int fd, hva_t hva, struct region *out)
{
	struct reader rd = {.fd = fd};
	const char *line;

	while ((line = next_line(&rd))) {
		parse_line(line, out);
		if (out->end > hva)
			return out->start <= hva ? 0 : -EFAULT;
	}
	return -EFAULT;
}

int maps_query(hva_t hva, struct region *out)
{
	int fd = (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC);
	int r;

	if (fd < 0)
		return -errno;
	r = query(fd, hva, out);
	if (r && r != -EFAULT)
		r = read_up_to(fd, hva, out);
	syscall(SYS_close, fd);
	return r;
}

/* The kernel shows a System V segment's id as its inode number. */
u64 primary_linux_shm_len(hva_t at)
{
	struct shmid_ds ds;
	struct region r;

	if (maps_query(at, &r) || r.start != at || r.off || !r.shared || r.ino > INT_MAX ||
	    syscall(SYS_shmctl, (int)r.ino, IPC_STAT, &ds))
		return 0;
	return ALIGN_UP(ds.shm_segsz, PAGE_SIZE);
}

/* ------------------------------------------------------------------ userfaultfd */

static bool is_uffd(int dir, const char *name)
{
	static const char uffd[] = "anon_inode:[userfaultfd]";
	char link[sizeof(uffd)];

	return syscall(SYS_readlinkat, dir, name, link, sizeof(link)) == sizeof(uffd) - 1 &&
	       !memcmp(link, uffd, sizeof(uffd) - 1);
}

static bool process_has_uffd(void)
{
	int dir = (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/fd",
			       O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char buf[4096] __attribute__((aligned(8)));
	bool found = false;
	long n;

	while (dir >= 0 && !found && (n = syscall(SYS_getdents64, dir, buf, sizeof(buf))) > 0) {
		for (long at = 0; at < n && !found;) {
			const struct dirent64 *d = (const struct dirent64 *)(buf + at);

			found = is_uffd(dir, d->d_name);
			at += d->d_reclen;
		}
	}
	if (dir >= 0)
		syscall(SYS_close, dir);
	return found;
}

/* The line "VmFlags: rd wr sh ..." of a mapping: um missing, uw write-protect, ui minor. */
static bool flags_say_uffd(const char *line)
{
	return strstr(line, " um") || strstr(line, " uw") || strstr(line, " ui");
}

bool maps_under_uffd(hva_t hva)
{
	struct reader rd = {.fd = -1};
	bool here = false, found = false;
	const char *line;
	struct region r;

	if (!process_has_uffd())
		return false;
	rd.fd = (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/smaps", O_RDONLY | O_CLOEXEC);
	while (rd.fd >= 0 && (line = next_line(&rd))) {
		/* Only a mapping's first line begins with a digit of an address. */
		if (!(line[0] >= 'A' && line[0] <= 'Z')) {
			if (here)
				break;
			parse_line(line, &r);
			here = r.start <= hva && hva < r.end;
		} else if (here && !strncmp(line, "VmFlags:", 8)) {
			found = flags_say_uffd(line);
			break;
		}
	}
	if (rd.fd >= 0)
		syscall(SYS_close, rd.fd);
	return found;
}
