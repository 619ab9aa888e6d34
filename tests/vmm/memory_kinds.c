/* SPDX-License-Identifier: MIT */
/*
 * Kinds of memory that a VMM may give its guest, and what becomes of them: System V segments, guard
 * pages, secret memory, nonlinear mappings, locked memory near its limit, memory under a userfaultfd
 * that another process serves. And what a call on a guest needs of its caller: little stack.
 */
#include "probe.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <string.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SYS_memfd_secret
#define SYS_memfd_secret 447
#endif
#define MADV_GUARD_INSTALL_ 102
#define MADV_GUARD_REMOVE_  103

#define PAGES 4
#define SIZE  (PAGES * PROBE_PAGE)
#define MARK  0xaau

static struct minivmm v;

static void show(const void *mem)
{
	probe_slot(&v, PROBE_SLOT, 0, PROBE_GPA, SIZE, mem);
}

static void hide(void)
{
	probe_slot(&v, PROBE_SLOT, 0, PROBE_GPA, 0, NULL);
}

static void expect_efault(unsigned page, const char *what)
{
	uint32_t word = 0;
	int r = probe_read(&v, PROBE_GPA + page * PROBE_PAGE, &word);

	EXPECT(r == -EFAULT, "%s: a read ends with %d (%x)", what, r, word);
	r = probe_write(&v, PROBE_GPA + page * PROBE_PAGE, 1);
	EXPECT(r == -EFAULT, "%s: a write ends with %d", what, r);
}

/* ------------------------------------------------------------------ System V */

enum detach { WHOLE, FIRST_PAGE_GONE, FIRST_PAGE_PROTECTED, NO_DESCRIPTOR, NO_RIGHT, DETACHES };

static void prepare(enum detach how, int id, uint8_t *p)
{
	struct rlimit few = {3, 4096};
	struct shmid_ds ds;

	switch (how) {
	case FIRST_PAGE_GONE:
		EXPECT(!munmap(p, PROBE_PAGE), "munmap");
		break;
	case FIRST_PAGE_PROTECTED:
		EXPECT(!mprotect(p, PROBE_PAGE, PROT_NONE), "mprotect");
		break;
	case NO_DESCRIPTOR:
		EXPECT(!setrlimit(RLIMIT_NOFILE, &few), "RLIMIT_NOFILE");
		break;
	case NO_RIGHT:
		EXPECT(!shmctl(id, IPC_STAT, &ds), "IPC_STAT");
		ds.shm_perm.mode = 0200;
		ds.shm_perm.uid = 1;
		if (!shmctl(id, IPC_SET, &ds) && setresgid(99, 99, 99) + setresuid(99, 99, 99))
			puts("still who we were: less is tried");
		break;
	default:
		break;
	}
}

/* In a process of its own for each way: some take what cannot be given back. */
static void detach(enum detach how)
{
	int id = shmget(IPC_PRIVATE, SIZE, 0600);
	uint8_t *p = shmat(id, NULL, 0);
	struct shmid_ds ds;

	EXPECT(p != (void *)-1, "shmat: %s", strerror(errno));
	probe_create(&v);
	p[2 * PROBE_PAGE] = MARK;
	show(p);
	EXPECT(probe_must_read(&v, PROBE_GPA + 2 * PROBE_PAGE) == MARK, "the segment");
	EXPECT(!shmctl(id, IPC_STAT, &ds) && ds.shm_nattch == 1, "attached %lu times",
	       (unsigned long)ds.shm_nattch);
	shmctl(id, IPC_RMID, NULL);
	prepare(how, id, p);
	EXPECT(!shmdt(p), "shmdt: %s", strerror(errno));
	expect_efault(2, "a segment that was detached");
}

static void in_child(void (*fn)(enum detach how), enum detach how)
{
	int status, pid = fork();

	EXPECT(pid >= 0, "fork");
	if (!pid) {
		fn(how);
		_exit(0);
	}
	EXPECT(waitpid(pid, &status, 0) == pid && !status, "way %d: status %x", how, status);
}

/* ------------------------------------------------------------------ the others */

static void guard_pages(void)
{
	uint32_t *p = probe_share(probe_memfd(SIZE), SIZE, 0);
	uint32_t *q = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint32_t *moved;

	p[PROBE_PAGE / 4] = MARK;
	show(q);
	EXPECT(!probe_write(&v, PROBE_GPA + PROBE_PAGE, 1), "memory");
	if (!madvise((uint8_t *)q + PROBE_PAGE, PROBE_PAGE, MADV_GUARD_INSTALL_))
		expect_efault(1, "a guard page");
	hide();
	show(p);
	EXPECT(probe_must_read(&v, PROBE_GPA + PROBE_PAGE) == MARK, "shared memory");
	if (madvise((uint8_t *)p + PROBE_PAGE, PROBE_PAGE, MADV_GUARD_INSTALL_)) {
		hide(); /* Linux before 6.15 */
		return;
	}
	expect_efault(1, "a guard page of shared memory");
	moved = mremap(p, SIZE, SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, q);
	EXPECT(moved == q, "mremap");
	hide();
	show(moved);
	expect_efault(1, "a guard page that moved");
	EXPECT(!madvise((uint8_t *)moved + PROBE_PAGE, PROBE_PAGE, MADV_GUARD_REMOVE_), "remove");
	EXPECT(probe_must_read(&v, PROBE_GPA + PROBE_PAGE) == MARK, "the guard is gone");
	hide();
}

static void nonlinear(void)
{
	uint32_t *p = probe_share(probe_memfd(SIZE), SIZE, 0);

	for (uint32_t i = 0; i < PAGES; i++)
		p[i * PROBE_PAGE / 4] = MARK + i;
	show(p);
	EXPECT(probe_must_read(&v, PROBE_GPA) == MARK, "the first page");
	EXPECT(!remap_file_pages(p, PROBE_PAGE, 0, 3, 0), "remap_file_pages");
	EXPECT(probe_must_read(&v, PROBE_GPA) == MARK + 3, "the page that took its place");
	EXPECT(!probe_write(&v, PROBE_GPA, 1) && p[0] == 1, "and for writing");
	hide();
}

static void secret(void)
{
	int fd = (int)syscall(SYS_memfd_secret, O_CLOEXEC);
	uint32_t *p;

	if (fd < 0 || ftruncate(fd, SIZE))
		return;
	p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return; /* RLIMIT_MEMLOCK */
	p[0] = MARK;
	show(p);
	expect_efault(0, "secret memory");
	hide();
}

/* Served by a child, as postcopy and snapshots are; registered before the device was opened. */
static void others_userfaultfd(void)
{
	uint8_t *p = probe_share(probe_memfd(SIZE), SIZE, 0);
	struct uffdio_api api = {.api = UFFD_API};
	struct uffdio_register reg = {.range = {(uintptr_t)p, SIZE},
				      .mode = UFFDIO_REGISTER_MODE_MISSING};
	int u = (int)syscall(SYS_userfaultfd, O_CLOEXEC), pid;

	if (u < 0 || ioctl(u, UFFDIO_API, &api) || ioctl(u, UFFDIO_REGISTER, &reg))
		return;
	pid = fork();
	if (!pid) {
		static uint8_t page[PROBE_PAGE] __attribute__((aligned(4096)));
		struct uffd_msg m;

		memset(page, MARK, sizeof(page));
		while (read(u, &m, sizeof(m)) == sizeof(m)) {
			struct uffdio_copy c = {m.arg.pagefault.address & ~(PROBE_PAGE - 1),
						(uintptr_t)page, PROBE_PAGE};

			ioctl(u, UFFDIO_COPY, &c);
		}
		_exit(0);
	}
	close(u);
	probe_create(&v);
	show(p);
	EXPECT(probe_must_read(&v, PROBE_GPA + PROBE_PAGE) == MARK * 0x1010101u, "what it served");
	minivmm_destroy(&v);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void *read_one(void *value)
{
	*(uint32_t *)value = probe_must_read(&v, PROBE_GPA);
	return NULL;
}

static void little_stack(void)
{
	uint32_t *p = probe_share(probe_memfd(SIZE), SIZE, 0), value = 0;
	pthread_attr_t attr;
	pthread_t thread;

	p[0] = MARK;
	show(p);
	pthread_attr_init(&attr);
	EXPECT(!pthread_attr_setstacksize(&attr, PTHREAD_STACK_MIN), "stack size");
	EXPECT(!pthread_create(&thread, &attr, read_one, &value), "a thread");
	pthread_join(thread, NULL);
	EXPECT(value == MARK, "read %x", value);
	hide();
}

/* Where address space is short, what is reserved of it is no more than what is used. */
static void little_space(enum detach unused)
{
	const rlim_t limit = 1ul << 30, most = 512ul << 20;
	struct rlimit rl = {limit, limit};
	unsigned long pages = 0;
	FILE *f;

	EXPECT(!setrlimit(RLIMIT_AS, &rl), "RLIMIT_AS");
	probe_create(&v);
	show(probe_share(probe_memfd(SIZE), SIZE, 0));
	probe_must_read(&v, PROBE_GPA);
	f = fopen("/proc/self/statm", "re");
	EXPECT(f && fscanf(f, "%lu", &pages) == 1, "statm");
	EXPECT(pages * PROBE_PAGE < most, "%lu MiB of address space", pages * PROBE_PAGE >> 20);
}

/* Kilobytes; without allocating. */
static unsigned long locked_now(void)
{
	static char buf[4096];
	int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof(buf) - 1);
	const char *line = n > 0 ? strstr(buf, "VmLck:") : NULL;

	EXPECT(line, "VmLck");
	close(fd);
	return strtoul(line + strlen("VmLck:"), NULL, 10);
}

/* Memory of the VMM's own, until it may lock no more. */
static void fill_up(void)
{
	for (size_t size = 1ul << 20; size >= PROBE_PAGE; size /= 2) {
		while (mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) !=
		       MAP_FAILED)
			;
	}
}

/*
 * A VMM that locks all it has and will have, and may lock no more than that: what is reserved in its
 * process counts for nothing, before and afterwards, and the device goes on when the limit is reached.
 */
static void all_locked(enum detach unused)
{
	const rlim_t limit = 8ul << 20;
	struct rlimit rl = {limit, limit};
	struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct none[2] = {{0}};
	uint32_t *p = probe_share(probe_memfd(2 * SIZE), 2 * SIZE, 0), *q;
	unsigned long before;

	probe_create(&v);
	show(p);
	EXPECT(!probe_write(&v, PROBE_GPA, MARK), "memory");
	EXPECT(!setrlimit(RLIMIT_MEMLOCK, &rl) && !syscall(SYS_capset, &h, none), "limits");
	EXPECT(!mlockall(MCL_CURRENT | MCL_FUTURE), "mlockall: %s", strerror(errno));
	EXPECT(probe_must_read(&v, PROBE_GPA) == MARK, "after mlockall");
	q = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	EXPECT(q != MAP_FAILED, "shared memory");
	fill_up();
	before = locked_now();
	EXPECT(before > 4ul << 10 && before <= limit >> 10, "%lu KiB locked", before);
	for (unsigned i = 0; i < 500; i++)
		probe_slot(&v, 10 + i, KVM_MEM_LOG_DIRTY_PAGES, (1ull << 36) + i * (1ull << 26),
			   1ull << 26, (void *)(1ul << 40));
	hide();
	show(q);
	EXPECT(!probe_write(&v, PROBE_GPA, MARK) && q[0] == MARK, "new memory");
	hide();
	show(p);
	EXPECT(probe_must_read(&v, PROBE_GPA) == MARK, "old memory");
	EXPECT(locked_now() == before, "%lu KiB locked, %lu before", locked_now(), before);
	EXPECT(!munmap(p, 2 * SIZE), "munmap: %s", strerror(errno));
	expect_efault(0, "what was unmapped");
	EXPECT(!munlockall() && !locked_now(), "munlockall leaves %lu", locked_now());
}

/* The last one: it gives up rights. A second mapping of it would be over the limit. */
static void locked(void)
{
	const size_t size = 4ul << 20;
	struct rlimit rl = {size + size / 2, size + size / 2};
	struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct none[2] = {{0}};
	uint32_t *p = probe_share(probe_memfd(size), size, 0);

	p[0] = MARK;
	EXPECT(!setrlimit(RLIMIT_MEMLOCK, &rl) && !syscall(SYS_capset, &h, none), "limits");
	EXPECT(!mlock(p, size), "mlock: %s", strerror(errno));
	probe_slot(&v, PROBE_SLOT, 0, PROBE_GPA, size, p);
	EXPECT(probe_must_read(&v, PROBE_GPA) == MARK, "locked memory");
	hide();
}

int main(void)
{
	for (enum detach how = WHOLE; how < DETACHES; how++)
		in_child(detach, how);
	in_child(little_space, WHOLE);
	in_child(all_locked, WHOLE);
	others_userfaultfd();
	probe_create(&v);
	guard_pages();
	nonlinear();
	secret();
	little_stack();
	locked();
	return 0;
}
