/* SPDX-License-Identifier: MIT */
#include "backing.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "minivmm.h"

#ifndef SYS_memfd_secret
#define SYS_memfd_secret 447
#endif
#define PAGE		    4096ul
#define HUGE		    (2ul << 20)
#define GUARD_INSTALL	    102

static bool map_fd(struct memory *m, int fd, int flags)
{
	if (fd < 0)
		return false;
	m->fd = fd;
	if (m->map_fd < 0)
		m->map_fd = fd;
	if (ftruncate(fd, (off_t)m->size))
		return false;
	m->mem = mmap(NULL, m->size, m->prot, flags, m->map_fd, 0);
	return m->mem != MAP_FAILED;
}

static int plain_file(void)
{
	return open("/var/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
}

static bool map_anonymous(struct memory *m, int flags)
{
	m->mem = mmap(NULL, m->size, m->prot, flags | MAP_ANONYMOUS, -1, 0);
	return m->mem != MAP_FAILED;
}

static bool private_memory(struct memory *m)
{
	return map_anonymous(m, MAP_PRIVATE);
}

static bool shared_memory(struct memory *m)
{
	return map_anonymous(m, MAP_SHARED);
}

static bool private_file(struct memory *m)
{
	return map_fd(m, plain_file(), MAP_PRIVATE);
}

static bool shared_file(struct memory *m)
{
	return map_fd(m, plain_file(), MAP_SHARED);
}

static bool memfd(struct memory *m)
{
	return map_fd(m, memfd_create("guest", MFD_CLOEXEC), MAP_SHARED);
}

static bool tmpfs(struct memory *m)
{
	return map_fd(m, open("/dev/shm", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600), MAP_SHARED);
}

static bool read_only(struct memory *m)
{
	char path[32];
	int fd = plain_file();

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	m->map_fd = open(path, O_RDONLY | O_CLOEXEC);
	m->prot = PROT_READ;
	return map_fd(m, fd, MAP_SHARED);
}

static bool hugetlb(struct memory *m)
{
	m->size = HUGE;
	return map_fd(m, memfd_create("guest", MFD_CLOEXEC | MFD_HUGETLB), MAP_SHARED) &&
	       !madvise(m->mem, m->size, MADV_POPULATE_WRITE);
}

static bool segment(struct memory *m)
{
	int id = shmget(IPC_PRIVATE, m->size, 0600);

	m->mem = shmat(id, NULL, 0);
	shmctl(id, IPC_RMID, NULL);
	return m->mem != (void *)-1;
}

static bool secret(struct memory *m)
{
	return map_fd(m, (int)syscall(SYS_memfd_secret, O_CLOEXEC), MAP_SHARED);
}

/* Since Linux 6.15 for shared memory. */
static bool guarded(struct memory *m)
{
	return memfd(m) && !madvise(m->mem + (BACKING_PAGES - 1) * PAGE, PAGE, GUARD_INSTALL);
}

static bool heap(struct memory *m)
{
	uintptr_t now = ((uintptr_t)sbrk(0) + PAGE - 1) & ~(PAGE - 1);

	m->mem = (uint8_t *)now;
	return !brk(m->mem + m->size);
}

const struct backing backings[] = {
	{"private", private_memory, BACKING_PRIVATE},
	{"a private file", private_file, BACKING_PRIVATE | BACKING_FD},
	{"the heap", heap, BACKING_PRIVATE | BACKING_HEAP},
	{"shared", shared_memory, BACKING_SHARED},
	{"a memfd", memfd, BACKING_SHARED | BACKING_FD},
	{"tmpfs", tmpfs, BACKING_SHARED | BACKING_FD},
	{"a file", shared_file, BACKING_SHARED | BACKING_FD | BACKING_LATE},
	{"a file for reading", read_only, BACKING_SHARED | BACKING_FD | BACKING_READONLY},
	{"large pages", hugetlb, BACKING_SHARED | BACKING_FD | BACKING_HUGE},
	{"a segment", segment, BACKING_SHARED | BACKING_SEGMENT},
	{"guarded", guarded, BACKING_SHARED | BACKING_FD | BACKING_GUARDED},
	{"secret", secret, BACKING_SHARED | BACKING_FD | BACKING_SECRET},
};
const unsigned nr_backings = sizeof(backings) / sizeof(backings[0]);

bool memory_map(struct memory *m, const struct backing *b)
{
	*m = (struct memory){b, NULL, BACKING_PAGES * PAGE, -1, -1, PROT_READ | PROT_WRITE};
	if (b->map(m))
		return true;
	if (m->mem == MAP_FAILED)
		m->mem = NULL;
	memory_unmap(m);
	return false;
}

void memory_unmap(struct memory *m)
{
	if (m->backing->is & BACKING_HEAP)
		brk(m->mem);
	if (m->mem)
		munmap(m->mem, m->size);
	if (m->map_fd >= 0 && m->map_fd != m->fd)
		close(m->map_fd);
	if (m->fd >= 0)
		close(m->fd);
}
