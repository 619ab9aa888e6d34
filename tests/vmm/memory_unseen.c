/* SPDX-License-Identifier: MIT */
/*
 * What a VMM takes away is out of the guest's reach when the call returns: by libc, by a raw system
 * call, by a child that shares its memory; of every kind of memory. What the kernel tells nobody of
 * (permissions, System V, files before Linux 6.7) is seen at the next look when it is made by a raw
 * call, and the time that took is printed.
 *
 * A line of `changes` for each call that takes a mapping away, a line of `kinds` for each backing.
 */
#include "probe.h"
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGES	  4
#define PATIENCE  10000 /* ms; a look comes every 50 */
#define MARK	  0x5ec5e7u
#define CHILD_STK 65536
#define HUGE	  (2ul << 20)

enum way { BY_LIBC, RAW, BY_CHILD, WAYS };
static const char *const way_names[WAYS] = {"by libc", "raw", "by a child"};

static uint8_t *mem, *peer; /* what the guest has; another mapping of the same pages, the VMM's */
static size_t size;
static uint64_t longest; /* ns */

/* ------------------------------------------------------------------ changes: 0, or -1 and errno */

static long change_munmap(bool raw)
{
	return raw ? syscall(SYS_munmap, mem, size) : munmap(mem, size);
}

static long change_mmap(bool raw)
{
	const int prot = PROT_READ | PROT_WRITE, how = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;

	return (raw ? (void *)syscall(SYS_mmap, mem, size, prot, how, -1, 0)
		    : mmap(mem, size, prot, how, -1, 0)) == mem
		       ? 0
		       : -1;
}

static long change_mremap(bool raw)
{
	const int how = MREMAP_MAYMOVE | MREMAP_FIXED;
	/* As large pages want it. */
	uint8_t *room = mmap(NULL, size + HUGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint8_t *to = (uint8_t *)(((uintptr_t)room + HUGE - 1) & ~(HUGE - 1));

	return (raw ? (void *)syscall(SYS_mremap, mem, size, size, how, to)
		    : mremap(mem, size, size, how, to)) == to
		       ? 0
		       : -1;
}

static long change_mprotect(bool raw)
{
	return raw ? syscall(SYS_mprotect, mem, size, PROT_NONE) : mprotect(mem, size, PROT_NONE);
}

static long change_shmat(bool raw)
{
	int id = shmget(IPC_PRIVATE, size, 0600);
	long r = raw ? syscall(SYS_shmat, id, mem, SHM_REMAP) : (long)shmat(id, mem, SHM_REMAP);

	shmctl(id, IPC_RMID, NULL);
	return r == (long)mem ? 0 : -1;
}

static const struct change {
	const char *name;
	long (*make)(bool raw);
	bool told; /* by the kernel */
} changes[] = {
	{"munmap", change_munmap, true},     {"mmap over", change_mmap, true},
	{"mremap away", change_mremap, true}, {"mprotect", change_mprotect, false},
	{"shmat over", change_shmat, false},
};

static int child(void *change)
{
	return (int)((const struct change *)change)->make(true);
}

static void make(const struct change *c, enum way way)
{
	static char stack[CHILD_STK] __attribute__((aligned(16)));
	int status, pid;

	if (way != BY_CHILD) {
		EXPECT(!c->make(way == RAW), "%s %s: %s", c->name, way_names[way], strerror(errno));
		return;
	}
	pid = clone(child, stack + sizeof(stack), CLONE_VM | SIGCHLD, (void *)c);
	EXPECT(pid > 0 && waitpid(pid, &status, 0) == pid && !status, "%s by a child", c->name);
}

/* ------------------------------------------------------------------ kinds of memory */

/* mem and peer of that file. False: this machine has none. */
static bool map_file(int fd)
{
	bool ok = fd >= 0 && !ftruncate(fd, (off_t)size);

	mem = ok ? mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;
	peer = ok ? mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;
	if (fd >= 0)
		close(fd);
	return mem != MAP_FAILED && peer != MAP_FAILED;
}

static bool kind_memfd(void)
{
	return map_file(memfd_create("guest", MFD_CLOEXEC));
}

static bool kind_tmpfs(void)
{
	return map_file(open("/dev/shm", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
}

static bool kind_file(void)
{
	return map_file(open("/var/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
}

static bool kind_hugetlb(void)
{
	size = HUGE;
	return map_file(memfd_create("guest", MFD_CLOEXEC | MFD_HUGETLB)) &&
	       !madvise(mem, size, MADV_POPULATE_WRITE);
}

static bool kind_anonymous(void)
{
	mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	peer = mremap(mem, 0, size, MREMAP_MAYMOVE);
	return peer != MAP_FAILED;
}

static bool kind_segment(void)
{
	int id = shmget(IPC_PRIVATE, size, 0600);

	mem = shmat(id, NULL, 0);
	peer = shmat(id, NULL, 0);
	shmctl(id, IPC_RMID, NULL);
	return mem != (void *)-1 && peer != (void *)-1;
}

/* Private memory has no peer: what is written goes nowhere else. */
static bool kind_private(void)
{
	mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	peer = NULL;
	return mem != MAP_FAILED;
}

static const struct kind {
	const char *name;
	bool (*map)(void);
	bool late; /* on kernels before Linux 6.7 nobody tells of a raw call */
} kinds[] = {
	{"a memfd", kind_memfd},     {"tmpfs", kind_tmpfs},
	{"a file", kind_file, true}, {"large pages", kind_hugetlb},
	{"shared", kind_anonymous},  {"a segment", kind_segment},
	{"private", kind_private},
};

/* ------------------------------------------------------------------ the check */

/* Is what the VMM has taken away still in the guest's hands? */
static bool reaches(struct minivmm *v)
{
	uint32_t word = 0;

	if (!peer) {
		/* Whatever is there now is empty or nothing. */
		return !probe_read(v, PROBE_GPA, &word) && word == MARK;
	}
	((uint32_t *)peer)[1] = MARK;
	if (!probe_read(v, PROBE_GPA + 4, &word) && word == MARK)
		return true;
	((uint32_t *)peer)[2] = 0;
	probe_write(v, PROBE_GPA + 8, MARK);
	return ((uint32_t *)peer)[2] == MARK;
}

static void check(struct minivmm *v, const struct kind *k, const struct change *c, enum way way)
{
	bool at_once = way == BY_LIBC || (c->told && !k->late);
	uint64_t since;

	probe_slot(v, PROBE_SLOT, 0, PROBE_GPA, size, mem);
	EXPECT(!probe_write(v, PROBE_GPA, MARK) && reaches(v), "%s: not even before", k->name);
	make(c, way);
	since = minivmm_now();
	if (at_once)
		EXPECT(!reaches(v), "%s %s of %s: still in the guest's hands", c->name,
		       way_names[way], k->name);
	while (reaches(v))
		EXPECT(minivmm_now() - since < PATIENCE * 1000000ull, "%s %s of %s: for good",
		       c->name, way_names[way], k->name);
	if (minivmm_now() - since > longest)
		longest = minivmm_now() - since;
	probe_slot(v, PROBE_SLOT, 0, PROBE_GPA, 0, NULL);
	munmap(mem, size);
	if (peer)
		munmap(peer, size);
}

int main(void)
{
	unsigned n = 0;
	struct minivmm v;

	probe_create(&v);
	for (unsigned k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
		for (unsigned i = 0; i < WAYS * sizeof(changes) / sizeof(changes[0]); i++) {
			size = PAGES * PROBE_PAGE;
			if (!kinds[k].map()) {
				printf("no %s here\n", kinds[k].name);
				break;
			}
			/* A segment takes no place among large pages. */
			if (size == HUGE && changes[i / WAYS].make == change_shmat)
				break;
			check(&v, &kinds[k], &changes[i / WAYS], i % WAYS);
			n++;
		}
	}
	printf("%u changes; the longest took %lu ms\n", n, longest / 1000000);
	return 0;
}
