/* SPDX-License-Identifier: MIT */
/*
 * /proc/self/maps, by its query call where the kernel has one (Linux 6.11), else by reading it up
 * to the address. It is held open from a VM's making on: later there may be no /proc, no right to
 * open it and no number for it. Raw system calls: the VMM's libc is interposed by us.
 */
#include <fcntl.h>
#include <limits.h>
#include <sys/ioctl.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "base/held.h"
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
#define QUERY_OR_NEXT  16
#ifndef SYS_memfd_secret
#define SYS_memfd_secret 447 /* Linux 5.14 */
#endif
#define USER_END       (1ULL << 47)
#define SHORT_NAME     128 /* bytes of a stack for most names */

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

static struct {
	struct mutex lock; /* of what follows */
	char name[PATH_MAX]; /* of a file, where it is longer than most */
	struct {
		char buf[2 * PATH_MAX + 1];
		size_t n;  /* bytes in buf */
		size_t at; /* of the next line */
		int fd;
	} reader;
	struct held {
		int fd;	   /* -1: none. Atomic, written under the lock */
		ino_t ino; /* of it */
	} held[2]; /* in the VMM's table of descriptors; in that of a helper */
	dev_t secret; /* device of memfd_secret()'s files, 0: there are none */
} maps = {.lock = {.m = PTHREAD_MUTEX_INITIALIZER}, .held = {{.fd = -1}, {.fd = -1}}};

static __thread int my_table __attribute__((tls_model("initial-exec")));

/* With the name and the device, and what they say. */
static void describe(struct region *r, const char *name, dev_t dev)
{
	static const char sysv[] = "/SYSV", secret[] = "/secretmem";

	r->dev = dev;
	r->special = name_special(name);
	/* A duplicate of a System V segment's mapping would be counted as attached. */
	r->fixed = !strncmp(name, sysv, sizeof(sysv) - 1);
	r->secret = maps.secret && dev == maps.secret && !strncmp(name, secret, sizeof(secret) - 1);
}

static int query_named(int fd, hva_t hva, bool or_next, char *name, u32 size, struct region *out)
{
	struct query q = {.size = sizeof(q), .addr = hva, .name_size = size, .name = (u64)name,
			  .flags = or_next ? QUERY_OR_NEXT : 0};

	name[0] = 0;
	if (syscall(SYS_ioctl, fd, QUERY_IOCTL, &q))
		return errno == ENOENT ? -EFAULT : -errno;
	*out = (struct region){
		.start = q.start,
		.end = q.end,
		.readable = q.vma_flags & QUERY_READABLE,
		.writable = q.vma_flags & QUERY_WRITABLE,
		.shared = q.vma_flags & QUERY_SHARED,
		.off = q.off,
		.ino = q.ino,
	};
	describe(out, name, makedev(q.dev_major, q.dev_minor));
	return 0;
}

static int query(int fd, hva_t hva, bool or_next, struct region *out)
{
	char name[SHORT_NAME];
	int r = query_named(fd, hva, or_next, name, sizeof(name), out);

	if (r != -ENAMETOOLONG)
		return r;
	mutex_lock(&maps.lock);
	r = query_named(fd, hva, or_next, maps.name, sizeof(maps.name), out);
	mutex_unlock(&maps.lock);
	return r;
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
	u64 major, minor;

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
	major = number(&p, 16);
	p++;
	minor = number(&p, 16);
	p++;
	r->ino = number(&p, 10);
	p += strspn(p, " ");
	describe(r, p, makedev(major, minor));
}

/* The lock is held from here on until the reading is done. */
static void read_from(int fd)
{
	mutex_lock(&maps.lock);
	syscall(SYS_lseek, fd, 0L, SEEK_SET);
	maps.reader.fd = fd;
	maps.reader.n = maps.reader.at = 0;
}

static void read_done(void)
{
	mutex_unlock(&maps.lock);
}

/* The next line, NUL-terminated; NULL at the end. A longer one than any path comes cut short. */
static const char *next_line(void)
{
	char *buf = maps.reader.buf;

	for (;;) {
		size_t left = maps.reader.n - maps.reader.at;
		char *line = buf + maps.reader.at;
		char *nl = memchr(line, '\n', left);
		long r;

		if (nl) {
			*nl = 0;
			maps.reader.at = (size_t)(nl + 1 - buf);
			return line;
		}
		memmove(buf, line, left);
		maps.reader.n = left;
		maps.reader.at = 0;
		if (left == sizeof(maps.reader.buf) - 1)
			return NULL;
		do {
			r = syscall(SYS_read, maps.reader.fd, buf + left,
				    sizeof(maps.reader.buf) - 1 - left);
		} while (r < 0 && errno == EINTR);
		if (r <= 0)
			return NULL;
		maps.reader.n += (size_t)r;
	}
}

/* There may be ten thousands of lines, and few are asked for: of the others this is all that is looked at. */
static hva_t end_of(const char *line)
{
	number(&line, 16);
	line++;
	return number(&line, 16);
}

/* Answer the n questions, by ascending address, at one reading. */
static void read_up_to(int fd, struct maps_question *const *q, u32 n)
{
	const char *line;
	struct region r;

	read_from(fd);
	while (n && (line = next_line())) {
		if (end_of(line) <= (*q)->at)
			continue;
		parse_line(line, &r);
		for (; n && (*q)->at < r.end; q++, n--) {
			(*q)->region = r;
			(*q)->err = 0;
		}
	}
	read_done();
	for (; n; q++, n--)
		(*q)->err = -EFAULT;
}

/* ------------------------------------------------------------------ the descriptor */

static ino_t inode_of(int fd)
{
	struct stat st;

	return syscall(SYS_fstat, fd, &st) ? 0 : st.st_ino;
}

static dev_t secret_device(void)
{
	int fd = (int)syscall(SYS_memfd_secret, O_CLOEXEC);
	struct stat st = {0};

	if (fd < 0)
		return 0;
	syscall(SYS_fstat, fd, &st);
	syscall(SYS_close, fd);
	return st.st_dev;
}

static int open_maps(void)
{
	long fd = syscall(SYS_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC);

	return fd < 0 ? -errno : (int)fd;
}

/* The number is what it was, or another file's by now, or free: hold a new one. 0 or -errno. */
static int hold_again(int was)
{
	struct held *h = &maps.held[my_table];
	int fd = 0;

	mutex_lock(&maps.lock);
	if (h->fd == was) {
		fd = open_maps();
		if (fd >= 0) {
			fd = held_renumber(fd);
			h->ino = inode_of(fd);
			sync_store_release(&h->fd, fd);
		}
	}
	mutex_unlock(&maps.lock);
	return MIN(fd, 0);
}

void maps_hold(void)
{
	mutex_lock(&maps.lock);
	if (!maps.secret)
		maps.secret = secret_device();
	mutex_unlock(&maps.lock);
	if (sync_load(&maps.held[my_table].fd) < 0)
		hold_again(-1);
}

void maps_forked_child(void)
{
	/* It shows the parent. Its number may be somebody's by now, so it is not closed. */
	mutex_init(&maps.lock);
	maps.held[0].fd = maps.held[1].fd = -1;
}

void maps_use_another(void)
{
	my_table = 1;
	maps.held[1].fd = -1;
	hold_again(-1);
}

/* True, with *err: that is the answer. False: *fd is to be read. */
static bool answered(hva_t hva, bool or_next, struct region *out, int *err, int *fd)
{
	const struct held *h = &maps.held[my_table];

	for (;;) {
		*fd = sync_load_acquire(&h->fd);
		*err = query(*fd, hva, or_next, out);
		if (!*err || *err == -EFAULT)
			return true;
		if (*fd >= 0 && inode_of(*fd) == h->ino)
			return false;
		*err = hold_again(*fd);
		if (*err)
			return true;
	}
}

int maps_query(hva_t hva, struct region *out)
{
	struct maps_question q = {.at = hva}, *one = &q;
	int err, fd;

	if (answered(hva, false, out, &err, &fd))
		return err;
	read_up_to(fd, &one, 1);
	*out = q.region;
	return q.err || out->start > hva ? -EFAULT : 0;
}

void maps_next_of(struct maps_question *const *q, u32 n)
{
	int fd;

	for (; n; q++, n--) {
		if (!answered((*q)->at, true, &(*q)->region, &(*q)->err, &fd)) {
			read_up_to(fd, q, n);
			return;
		}
	}
}

int maps_next(hva_t hva, struct region *out)
{
	struct maps_question q = {.at = hva}, *one = &q;

	maps_next_of(&one, 1);
	*out = q.region;
	return q.err;
}

/*
 * shmdt() takes away what is left of the attachment, wherever the VMM has cut it, and the kernel says
 * how much that can be only to who may ask for the segment's state: else it is all from there on. An
 * invalidation too many does no harm. The kernel shows a segment's id as its inode number.
 */
u64 primary_linux_shm_len(hva_t at)
{
	struct shmid_ds ds;
	struct region r;

	if (maps_query(at, &r) || r.start != at || r.off || !r.shared || r.ino > INT_MAX ||
	    syscall(SYS_shmctl, (int)r.ino, IPC_STAT, &ds))
		return USER_END - at;
	return ALIGN_UP(ds.shm_segsz, PAGE_SIZE);
}

bool primary_linux_is_private_and_read_only(u64 at)
{
	struct region r;

	return !maps_query(at, &r) && !r.shared && !r.writable && !r.special;
}
