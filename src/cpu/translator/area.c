/* SPDX-License-Identifier: MIT */
#include "cpu/translator/area.h"

#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/guard.h"

#define SLICES 64

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U /* Linux 6.3 */
#endif

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct area whole; /* guarded by lock, as is: */
static u64 taken;	  /* bit per slice */

static void *map(int prot, int fd)
{
	void *p = (void *)syscall(SYS_mmap, NULL, AREA_SLICE * SLICES, prot, MAP_SHARED, fd, 0L);

	return p == MAP_FAILED ? NULL : p;
}

static void unmap(void)
{
	if (whole.run)
		syscall(SYS_munmap, whole.run, AREA_SLICE * SLICES);
	if (whole.write)
		syscall(SYS_munmap, whole.write, AREA_SLICE * SLICES);
	whole.run = whole.write = NULL;
}

/* Under the lock. */
static int make_area(void *fixup)
{
	int fd = (int)syscall(SYS_memfd_create, "userkvm-code", MFD_CLOEXEC | MFD_EXEC);
	int r = 0;

	if (fd < 0 && errno == EINVAL)
		fd = (int)syscall(SYS_memfd_create, "userkvm-code", MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (syscall(SYS_ftruncate, fd, AREA_SLICE * SLICES))
		r = -errno;
	if (!r) {
		whole.write = map(PROT_READ | PROT_WRITE, fd);
		whole.run = map(PROT_READ | PROT_EXEC, fd);
		r = whole.write && whole.run ? 0 : -errno;
	}
	syscall(SYS_close, fd);
	if (!r)
		r = guard_add_code_range(whole.run, AREA_SLICE * SLICES, fixup);
	if (r)
		unmap();
	return r;
}

int area_get(struct area *a, void *fixup)
{
	int r = 0;
	u64 n;

	pthread_mutex_lock(&lock);
	if (!whole.run)
		r = make_area(fixup);
	if (!r && taken == ~0ULL)
		r = -ENOSPC;
	if (!r) {
		n = (u64)__builtin_ctzll(~taken);
		taken |= 1ULL << n;
		a->run = whole.run + n * AREA_SLICE;
		a->write = whole.write + n * AREA_SLICE;
	}
	pthread_mutex_unlock(&lock);
	return r;
}

void area_put(struct area *a)
{
	syscall(SYS_madvise, a->write, AREA_SLICE, MADV_REMOVE);
	pthread_mutex_lock(&lock);
	taken &= ~(1ULL << (u64)(a->run - whole.run) / AREA_SLICE);
	pthread_mutex_unlock(&lock);
}
