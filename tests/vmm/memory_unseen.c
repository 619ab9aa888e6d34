/* SPDX-License-Identifier: MIT */
/*
 * What a VMM takes away by calls that no libc function makes (raw system calls, a child that shares
 * its memory) is out of the guest's reach when the call returns, for the kernel tells of it. Changes
 * of a permission and those of System V calls it does not tell of: they are seen at the next look,
 * and the time that took is printed.
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

#define SIZE	  (4 * PROBE_PAGE)
#define PATIENCE  10000 /* ms; a look comes every 50 */
#define MARK	  0x5ec5e7u
#define CHILD_STK 65536

static uint8_t *mem;
static int fd;
static uint64_t longest; /* ns */

static void unmap(void)
{
	EXPECT(!syscall(SYS_munmap, mem, SIZE), "munmap");
}

static void map_over(void)
{
	EXPECT(syscall(SYS_mmap, mem, SIZE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == (long)mem,
	       "mmap over");
}

static void move_away(void)
{
	void *to = mmap(NULL, SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	EXPECT(syscall(SYS_mremap, mem, SIZE, SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, to) == (long)to,
	       "mremap");
}

static void shrink(void)
{
	/* To nothing of what is looked at below: the first page goes with the rest in two steps. */
	EXPECT(syscall(SYS_mremap, mem, SIZE, PROBE_PAGE, 0) == (long)mem, "mremap");
	EXPECT(!syscall(SYS_munmap, mem, PROBE_PAGE), "munmap");
}

static int child(void *unused)
{
	return (int)syscall(SYS_munmap, mem, SIZE);
}

static void child_unmaps(void)
{
	static char stack[CHILD_STK] __attribute__((aligned(16)));
	int status, pid = clone(child, stack + sizeof(stack), CLONE_VM | SIGCHLD, NULL);

	EXPECT(pid > 0 && waitpid(pid, &status, 0) == pid && !status, "a child");
}

static void protect(void)
{
	EXPECT(!syscall(SYS_mprotect, mem, SIZE, PROT_NONE), "mprotect");
}

static void attach_over(void)
{
	int id = shmget(IPC_PRIVATE, SIZE, 0600);

	EXPECT(syscall(SYS_shmat, id, mem, SHM_REMAP) == (long)mem, "shmat");
	shmctl(id, IPC_RMID, NULL);
}

static const struct {
	const char *name;
	void (*change)(void);
	bool late;
} changes[] = {
	{"munmap", unmap},
	{"mmap over", map_over},
	{"mremap away", move_away},
	{"mremap, smaller", shrink},
	{"munmap by a child", child_unmaps},
	{"mprotect", protect, true},
	{"shmat over", attach_over, true},
};

/* Is the file, which the VMM has taken away, still in the guest's hands? */
static bool reaches(struct minivmm *v)
{
	uint32_t mark = MARK, word = 0;

	EXPECT(pwrite(fd, &mark, sizeof(mark), 4) == sizeof(mark), "pwrite");
	if (!probe_read(v, PROBE_GPA + 4, &word) && word == MARK)
		return true;
	mark = 0;
	EXPECT(pwrite(fd, &mark, sizeof(mark), 8) == sizeof(mark), "pwrite");
	probe_write(v, PROBE_GPA + 8, MARK);
	EXPECT(pread(fd, &word, sizeof(word), 8) == sizeof(word), "pread");
	return word == MARK;
}

static void try(struct minivmm *v, const char *kind, unsigned i, bool told)
{
	uint64_t since;

	mem = probe_share(fd, SIZE, 0);
	probe_slot(v, PROBE_SLOT, 0, PROBE_GPA, SIZE, mem);
	EXPECT(!probe_write(v, PROBE_GPA, 1), "memory");
	EXPECT(reaches(v), "%s: not even before", kind);
	changes[i].change();
	since = minivmm_now();
	if (told && !changes[i].late)
		EXPECT(!reaches(v), "%s of %s: still in the guest's hands", changes[i].name, kind);
	while (reaches(v))
		EXPECT(minivmm_now() - since < PATIENCE * 1000000ull, "%s of %s: for good",
		       changes[i].name, kind);
	if (minivmm_now() - since > longest)
		longest = minivmm_now() - since;
	probe_slot(v, PROBE_SLOT, 0, PROBE_GPA, 0, NULL);
	syscall(SYS_munmap, mem, SIZE);
}

static void try_all(struct minivmm *v, const char *kind, bool told)
{
	for (unsigned i = 0; i < sizeof(changes) / sizeof(changes[0]); i++)
		try(v, kind, i, told);
	close(fd);
}

static int file_in(const char *dir)
{
	int f = open(dir, O_TMPFILE | O_RDWR, 0600);

	if (f >= 0 && ftruncate(f, SIZE)) {
		close(f);
		f = -1;
	}
	return f;
}

int main(void)
{
	struct minivmm v;

	probe_create(&v);
	fd = probe_memfd(SIZE);
	try_all(&v, "a memfd", true);
	fd = file_in("/dev/shm");
	if (fd >= 0)
		try_all(&v, "a file of tmpfs", true);
	/* The kernel tells of those since Linux 6.7. */
	fd = file_in("/var/tmp");
	if (fd >= 0)
		try_all(&v, "a file", false);
	printf("the longest took %lu ms\n", longest / 1000000);
	return 0;
}
