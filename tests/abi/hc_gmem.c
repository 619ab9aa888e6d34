/* SPDX-License-Identifier: MIT */
/*
 * hc_gmem.c: guest_memfd: what makes one and what does not, the calls any file has, holes, bindings
 * and the order of their errors. Mappings and guests are in hc_gmem_map.c.
 */
#include <poll.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include "hc_gmem.h"

int gmem_new(int vm, u64 size, u64 flags)
{
	int fd = gmem_create(vm, size, flags);

	if (fd < 0) {
		perror("hostcalls: guest_memfd");
		exit(2);
	}
	return fd;
}

/* ------------------------------------------------------------------ making one */

static void test_create(struct machine *m)
{
	static const struct {
		u64 size, flags;
	} list[] = {
		{0, 0},		       {1, 0},
		{100, 0},	       {4095, 0},
		{4096, 0},	       {4097, 0},
		{0x10000, 0},	       {0x200000, 0},
		{0x201000, 0},	       {1ULL << 40, 0},
		{1ULL << 62, 0},       {0x7ffffffffffff000, 0},
		{0x8000000000000000, 0}, {0xfffffffffffff000, 0},
		{~0ULL, 0},	       {0x10000, 1},
		{0x10000, 2},	       {0x10000, 3},
		{0x10000, 4},	       {0x10000, 7},
		{0x10000, 1ULL << 32}, {0x10000, 1ULL << 63},
		{0, 4},		       {0, 1},
		{0, 3},		       {100, 3},
	};
	struct gmem_create a = {.size = 0x10000};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(list); i++)
		line_fd(gmem_create(m->vm, list[i].size, list[i].flags),
			"gmem create size %llx flags %llx", (unsigned long long)list[i].size,
			(unsigned long long)list[i].flags);
	for (i = 0; i < 6; i++) {
		a.reserved[i] = 1;
		line_fd(call(m->vm, GMEM_CREATE, &a), "gmem create reserved %zu", i);
		a.reserved[i] = 0;
	}
	line(call(m->vm, GMEM_CREATE, NULL), "gmem create NULL");
	line(call(m->vm, GMEM_CREATE, BAD_PTR), "gmem create bad pointer");
	line(call(m->vcpu, GMEM_CREATE, &a), "gmem create on a vCPU");
	line(call(sys_fd, GMEM_CREATE, &a), "gmem create on /dev/kvm");
}

/* ------------------------------------------------------------------ a file's calls */

static void show_stat(int fd, const char *when)
{
	struct stat st = {0};

	line(fstat(fd, &st), "gmem fstat %s", when);
	out("mode %o size %ld blocks of %ld nlink %ld uid %d", st.st_mode, (long)st.st_size,
	    (long)st.st_blksize, (long)st.st_nlink, (int)st.st_uid);
}

static void test_transfers(int fd)
{
	char b[16] = {0};
	struct iovec iov = {b, sizeof(b)};
	off_t off = 0;
	int p[2];

	line(read(fd, b, 1), "gmem read");
	line(read(fd, b, 0), "gmem read nothing");
	line(write(fd, b, 1), "gmem write");
	line(write(fd, b, 0), "gmem write nothing");
	line(pread(fd, b, 1, 0), "gmem pread");
	line(pwrite(fd, b, 1, 0), "gmem pwrite");
	line(readv(fd, &iov, 1), "gmem readv");
	line(writev(fd, &iov, 1), "gmem writev");
	line(preadv(fd, &iov, 1, 0), "gmem preadv");
	line(pwritev(fd, &iov, 1, 0), "gmem pwritev");
	if (pipe(p))
		return;
	line(sendfile(p[1], fd, &off, 1), "gmem sendfile from");
	line(splice(fd, NULL, p[1], NULL, 1, 0), "gmem splice from");
	line(write(p[1], b, 1), "a byte into the pipe");
	line(splice(p[0], NULL, fd, NULL, 1, 0), "gmem splice to");
	line(copy_file_range(fd, NULL, fd, NULL, 1, 0), "gmem copy_file_range");
	close(p[0]);
	close(p[1]);
}

static void test_position(int fd)
{
	static const struct {
		int whence;
		const char *name;
	} list[] = {{SEEK_SET, "SET"}, {SEEK_CUR, "CUR"}, {SEEK_END, "END"}, {SEEK_DATA, "DATA"},
		    {SEEK_HOLE, "HOLE"}};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(list); i++) {
		line(lseek(fd, 0, list[i].whence), "gmem lseek %s 0", list[i].name);
		line(lseek(fd, 4096, list[i].whence), "gmem lseek %s 4096", list[i].name);
	}
	line(lseek(fd, -1, SEEK_SET), "gmem lseek SET -1");
}

static void test_metadata(int fd)
{
	struct epoll_event ev = {.events = EPOLLIN};
	struct pollfd pfd = {fd, POLLIN | POLLOUT, 0};
	int ep = epoll_create1(EPOLL_CLOEXEC);

	line(ftruncate(fd, 0), "gmem ftruncate 0");
	line(ftruncate(fd, 0x10000), "gmem ftruncate the same");
	line(ftruncate(fd, 0x20000), "gmem ftruncate up");
	line(ftruncate(fd, -1), "gmem ftruncate -1");
	line(fsync(fd), "gmem fsync");
	line(fdatasync(fd), "gmem fdatasync");
	line(fchmod(fd, 0777), "gmem fchmod");
	line(fchown(fd, 1, 1), "gmem fchown");
	line(flock(fd, LOCK_EX | LOCK_NB), "gmem flock");
	line(fcntl(fd, F_GETFD), "gmem F_GETFD");
	line(fcntl(fd, F_GETFL), "gmem F_GETFL");
	line(fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK), "gmem F_SETFL O_NONBLOCK");
	line(fcntl(fd, F_SETFL, O_RDWR), "gmem F_SETFL 0");
	line(fcntl(fd, F_GET_SEALS), "gmem F_GET_SEALS");
	line(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW), "gmem F_ADD_SEALS");
	line(fcntl(fd, F_GETPIPE_SZ), "gmem F_GETPIPE_SZ");
	line(poll(&pfd, 1, 0), "gmem poll");
	out("events %x", pfd.revents);
	line(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev), "gmem epoll_ctl ADD");
	close(ep);
	show_stat(fd, "after all that");
}

static void test_ioctls_on(int fd)
{
	struct gmem_create a = {.size = 0x10000};
	struct gmem_region r = {0};

	line(call(fd, KVM_GET_API_VERSION, 0), "gmem ioctl GET_API_VERSION");
	line(call(fd, KVM_CREATE_VCPU, 0), "gmem ioctl CREATE_VCPU");
	line(call(fd, KVM_RUN, 0), "gmem ioctl RUN");
	line(call(fd, GMEM_CREATE, &a), "gmem ioctl CREATE_GUEST_MEMFD");
	line(call(fd, GMEM_SET_REGION, &r), "gmem ioctl SET_USER_MEMORY_REGION2");
	line(call(fd, KVM_CHECK_EXTENSION, 0), "gmem ioctl CHECK_EXTENSION");
}

static void test_file(struct machine *m)
{
	int fd = gmem_new(m->vm, 0x10000, 0);

	show_stat(fd, "new");
	test_transfers(fd);
	test_position(fd);
	test_metadata(fd);
	test_ioctls_on(fd);
	close(fd);
}

/* ------------------------------------------------------------------ pages and holes */

static void test_fallocate(struct machine *m)
{
	static const struct {
		int mode;
		const char *name;
	} modes[] = {
		{0, "0"},		{FALLOC_FL_KEEP_SIZE, "KEEP"},
		{2, "PUNCH"},		{FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, "PUNCH|KEEP"},
		{8, "COLLAPSE"},	{FALLOC_FL_ZERO_RANGE, "ZERO"},
		{0x11, "ZERO|KEEP"},	{FALLOC_FL_INSERT_RANGE, "INSERT"},
		{0x41, "UNSHARE|KEEP"}, {0x100, "100"},
		{0x13, "PUNCH|ZERO|KEEP"},
	};
	static const struct {
		long off, len;
		const char *name;
	} ranges[] = {
		{0, 0x1000, "a page"},		{0, 0x10000, "all"},
		{0x1000, 0x1000, "page 1"},	{0xf000, 0x1000, "the last"},
		{0xf000, 0x2000, "over the end"}, {0x10000, 0x1000, "past the end"},
		{1, 0x1000, "odd offset"},	{0, 0x1001, "odd length"},
		{0, 1, "a byte"},		{0, 0, "nothing"},
		{-0x1000, 0x1000, "before 0"},	{0, -0x1000, "backwards"},
		{0x7ffffffffffff000, 0x1000, "the very end"},
		{0x7ffffffffffff000, 0x2000, "beyond what there is"},
	};
	int fd = gmem_new(m->vm, 0x10000, 0);
	size_t i, j;

	for (i = 0; i < ARRAY_SIZE(modes); i++)
		for (j = 0; j < ARRAY_SIZE(ranges); j++)
			line(fallocate(fd, modes[i].mode, ranges[j].off, ranges[j].len),
			     "gmem fallocate %s %s", modes[i].name, ranges[j].name);
	line(posix_fallocate(fd, 0, 0x10000), "gmem posix_fallocate");
	line(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), "gmem posix_fadvise");
	show_stat(fd, "after fallocate");
	close(fd);
	line(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 0x1000), "gmem fallocate, closed");
}

/* ------------------------------------------------------------------ bindings */

static u8 *mem; /* 1 MiB */

/* r.hva is an offset in mem. */
static void bind_line(int vm, struct gmem_region r, const char *what)
{
	r.hva += (u64)(uintptr_t)mem;
	line(call(vm, GMEM_SET_REGION, &r), "gmem bind %s", what);
}

#define GPA 0x100000ULL

/* Bind with the region r changed in one way. */
#define BIND(change, what)                                                                     \
	do {                                                                                   \
		struct gmem_region g = r;                                                      \
		change;                                                                        \
		bind_line(m->vm, g, what);                                                     \
	} while (0)

static void test_bind(struct machine *m, int other_vm)
{
	int fd = gmem_new(m->vm, 0x10000, 0), theirs = gmem_new(other_vm, 0x10000, 0);
	int null = open("/dev/null", O_RDWR), d = dup(fd);
	const struct gmem_region r = {.flags = 4, .gpa = GPA, .size = 0x4000, .fd = (u32)fd};
	struct gmem_region g = r;

	BIND(g.fd = (u32)theirs, "another VM's file");
	BIND(g.fd = (u32)null, "/dev/null");
	BIND(g.fd = (u32)m->vm, "a VM's descriptor");
	BIND(g.fd = 777, "a closed number");
	BIND(g.fd = (u32)-1, "-1");
	BIND(g.flags |= KVM_MEM_READONLY, "read-only");
	BIND(g.flags |= KVM_MEM_LOG_DIRTY_PAGES, "logging");
	BIND(g.flags |= KVM_MEM_READONLY | KVM_MEM_LOG_DIRTY_PAGES, "logging, read-only");
	BIND(g.flags |= 8, "flag 8 too");
	BIND(g.offset = 0xd000, "past the end");
	BIND(g.offset = 0x10000, "beyond the end");
	BIND(g.offset = 1, "offset odd");
	BIND(g.offset = 0x800, "offset in a page");
	BIND(g.offset = 0xfffffffffffff000, "offset wraps");
	BIND(g.gpa += 1, "gpa odd");
	BIND(g.size += 1, "size odd");
	BIND(g.hva += 1, "address odd");
	BIND(g.slot = 32764, "slot 32764");
	BIND(g.slot = 0x10000, "address space 1");

	bind_line(m->vm, r, "create");
	bind_line(m->vm, r, "the same again");
	g.slot = 1;
	bind_line(m->vm, g, "the same gpa by another slot");
	g.gpa += 0x4000;
	bind_line(m->vm, g, "the same pages by another slot");
	g.offset = 0x3000;
	bind_line(m->vm, g, "some of the pages by another slot");
	g.offset = 0x4000;
	bind_line(m->vm, g, "the next pages");
	g.slot = 2;
	g.gpa += 0x4000;
	g.offset = 0x8000;
	g.fd = (u32)d;
	bind_line(m->vm, g, "by a duplicate");
	BIND(g.gpa += 0x100000, "move");
	BIND(g.hva = 0x1000, "other address");
	BIND(g.offset = 0x1000, "other offset");
	BIND(g.size = 0x8000, "grow");
	BIND(g.flags = 0, "without its file");
	BIND(g.flags = KVM_MEM_LOG_DIRTY_PAGES, "without its file, logging");
	BIND(g.size = 0, "delete, file named");
	bind_line(m->vm, r, "create in its place");
	BIND((g.size = 0, g.fd = 777), "delete, closed number named");
	bind_line(m->vm, r, "create again");
	g = (struct gmem_region){.gpa = GPA};
	bind_line(m->vm, g, "delete");
	bind_line(m->vm, g, "delete what is not there");
	close(fd);
	close(d);
	g.slot = 1;
	bind_line(m->vm, g, "delete, its file closed");
	bind_line(other_vm, (struct gmem_region){.flags = 4, .size = 0x10000, .fd = (u32)theirs},
		  "all of another VM's");
	close(theirs);
	close(null);
}

/* What KVM looks at first, where several things are wrong. */
static void test_bind_order(struct machine *m)
{
	int fd = gmem_new(m->vm, 0x10000, 0);
	const struct gmem_region there = {
		.slot = 8, .flags = 4, .gpa = 0x800000, .size = 0x4000, .fd = (u32)fd};
	struct gmem_region g;

	bind_line(m->vm, there, "for what follows");
	g = there;
	g.slot = 9;
	g.fd = 777;
	bind_line(m->vm, g, "closed number, gpa taken");
	g.gpa = 0x900000;
	g.offset = 1;
	bind_line(m->vm, g, "closed number, offset odd");
	g.offset = 0x10000;
	bind_line(m->vm, g, "closed number, offset beyond the end");
	g.offset = 0;
	g.flags = 6;
	bind_line(m->vm, g, "closed number, read-only");
	g.flags = 4;
	g.size = 0;
	bind_line(m->vm, g, "closed number, no size");
	g.slot = 8;
	g.size = 0x4000;
	g.gpa = 0x800000;
	bind_line(m->vm, g, "closed number, slot taken");
	g.slot = 9;
	g.fd = (u32)m->vcpu;
	bind_line(m->vm, g, "a vCPU, gpa taken");
	g.fd = (u32)fd;
	bind_line(m->vm, g, "gpa taken, pages taken");
	g.offset = 0x10000;
	bind_line(m->vm, g, "gpa taken, beyond the end");
	g.gpa = 1ULL << 60;
	bind_line(m->vm, g, "gpa too high, beyond the end");
	g = there;
	g.size = 0;
	g.flags = 0;
	bind_line(m->vm, g, "delete it");
	close(fd);
}

/* The older call has no place for a file. */
static void test_bind_by_region(struct machine *m)
{
	struct kvm_userspace_memory_region r = {.slot = 3,
						.flags = 4,
						.guest_phys_addr = 0xa00000,
						.memory_size = 0x1000,
						.userspace_addr = (u64)(uintptr_t)mem};

	line(call(m->vm, KVM_SET_USER_MEMORY_REGION, &r), "gmem bind by SET_USER_MEMORY_REGION");
}

/* ------------------------------------------------------------------ lifetimes */

static void in_child(int vm, int fd)
{
	line_fd(gmem_create(vm, 0x1000, 0), "gmem child: create");
	show_stat(fd, "in a child");
	line(write(fd, "x", 1), "gmem child: write");
	line(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, GMEM_PAGE), "gmem child: allocate");
	line(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, GMEM_PAGE),
	     "gmem child: punch");
	line(mmap(NULL, GMEM_PAGE, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED ? -1 : 0,
	     "gmem child: mmap");
	close(fd);
}

static void test_lives(void)
{
	struct machine m = machine_new(false);
	int fd = gmem_new(m.vm, 0x10000, 0), d, s, status;
	struct gmem_region r = {.flags = 4, .size = 0x4000, .fd = (u32)fd};
	pid_t p;

	fflush(stdout);
	p = fork();
	if (!p) {
		in_child(m.vm, fd);
		fflush(stdout);
		_exit(0);
	}
	waitpid(p, &status, 0);
	line(status, "gmem child ended");
	show_stat(fd, "after a child closed it");
	s = hc_through_socket(fd);
	line(s < 0 ? -1 : 0, "gmem through a socket");
	show_stat(s, "through a socket");
	d = fcntl(fd, F_DUPFD_CLOEXEC, 300);
	line(fcntl(d, F_GETFD), "gmem F_DUPFD_CLOEXEC's F_GETFD");
	close(fd);
	line(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, GMEM_PAGE), "gmem allocate by the closed number");
	line(fallocate(d, FALLOC_FL_KEEP_SIZE, 0, GMEM_PAGE), "gmem allocate by a duplicate");
	r.fd = (u32)s;
	bind_line(m.vm, r, "by what came through a socket");
	r.slot = 1;
	r.gpa = 0x10000;
	r.offset = 0x4000;
	r.fd = (u32)dup2(d, 301);
	bind_line(m.vm, r, "by dup2's");
	r.slot = 2;
	r.gpa = 0x20000;
	bind_line(m.vm, r, "pages taken, by dup2's");
	close(301);
	close(s);
	machine_free(&m);
	line(fallocate(d, FALLOC_FL_KEEP_SIZE, 0, 0x10000), "gmem allocate, its VM closed");
	line(fallocate(d, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 0x10000),
	     "gmem punch, its VM closed");
	show_stat(d, "its VM closed");
	close(d);
}

void test_gmem(void)
{
	struct machine m = machine_new(false), other = machine_new(false);

	mem = mmap(NULL, 0x100000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	test_create(&m);
	test_file(&m);
	test_fallocate(&m);
	test_bind(&m, other.vm);
	test_bind_order(&m);
	test_bind_by_region(&m);
	machine_free(&other);
	machine_free(&m);
	test_lives();
	munmap(mem, 0x100000);
	test_gmem_mappings();
}
