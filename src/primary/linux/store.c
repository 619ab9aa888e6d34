/* SPDX-License-Identifier: MIT */
/*
 * Stores of a real process: a memfd of our own and one shared mapping of it, in a region that
 * the VMM's calls do not touch. No descriptor is kept, so none can be closed, inherited or
 * found: a punch is MADV_REMOVE of the mapping. A mappable store's descriptor is handed to the
 * VMM.
 *
 * The mapping is not inherited by a child, which has no guest, and is in no core file.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/held.h"
#include "primary/linux/internal.h"

/* What of a file is mapped at most. Pages beyond are none: sparse files may say any size. */
#define STORE_MAPPED_MAX (1ULL << 42) /* bytes: one thirtieth of the address space */

/* From a store's descriptor to its mapping, which no child inherits; and a fork. */
static struct mutex making = {.m = PTHREAD_MUTEX_INITIALIZER};

void stores_fork_begin(void)
{
	mutex_lock(&making);
}

void stores_fork_end(bool child)
{
	if (child)
		mutex_init(&making);
	else
		mutex_unlock(&making);
}

struct store {
	u8 *host;
	u64 npages; /* mapped */
	u64 ino;
	bool mappable; /* the VMM may map it, too */
	int fd; /* of a mappable one until it is taken, or -1 */
};

struct mapping {
	int fd;
	u64 len;
};

static int map_to(u64 to, void *arg)
{
	const struct mapping *m = arg;

	/*
	 * A VMM that locks all its memory to come has the kernel fill every mapping at once, but for
	 * those that allow no access. The guest's pages are to come one by one.
	 */
	if (syscall(SYS_mmap, to, m->len, PROT_NONE, MAP_SHARED | MAP_FIXED | MAP_NORESERVE, m->fd,
		    0L) == -1 ||
	    syscall(SYS_munlock, to, m->len) < 0 ||
	    syscall(SYS_mprotect, to, m->len, PROT_READ | PROT_WRITE) < 0)
		return -errno;
	syscall(SYS_madvise, to, m->len, MADV_DONTFORK);
	syscall(SYS_madvise, to, m->len, MADV_DONTDUMP);
	return 0;
}

/* [*host, + len) of fd, placed so that the host may use huge pages where the guest may. */
static int map(int fd, u64 len, u8 **host)
{
	u64 align = len >= LEVEL_SIZE(LEVEL_1G) ? LEVEL_SIZE(LEVEL_1G) : LEVEL_SIZE(LEVEL_2M);
	u64 to = space_take(OWN_FIXED, len, align, 0);
	struct mapping m = {fd, len};

	*host = (u8 *)to;
	return to ? space_fill(to, len, map_to, &m) : -ENOMEM;
}

/* The memfd of a store, and its mapping. */
static int make(struct store *s, u64 size, bool mappable)
{
	const char *name = mappable ? PRIMARY_STORE_NAME_MAPPABLE : PRIMARY_STORE_NAME;
	int fd = (int)syscall(SYS_memfd_create, name, MFD_ALLOW_SEALING | MFD_CLOEXEC), err;
	struct stat st;

	if (fd < 0)
		return -errno;
	if (!held_resize(fd, size) || syscall(SYS_fstat, fd, &st) < 0 ||
	    syscall(SYS_fcntl, fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		err = -errno;
	else
		err = map(fd, s->npages << PAGE_SHIFT, &s->host);
	s->ino = err ? 0 : st.st_ino;
	s->mappable = mappable;
	s->fd = mappable && !err ? fd : -1;
	if (s->fd < 0)
		syscall(SYS_close, fd);
	return err;
}

static int store_create(void *primary, u64 npages, bool mappable, void **out)
{
	struct store *s = calloc(1, sizeof(*s));
	int err;

	if (!s)
		return -ENOMEM;
	s->npages = MIN(npages, STORE_MAPPED_MAX >> PAGE_SHIFT);
	mutex_lock(&making);
	err = make(s, npages << PAGE_SHIFT, mappable);
	mutex_unlock(&making);
	if (err) {
		free(s);
		return err;
	}
	*out = s;
	return 0;
}

int primary_linux_store_take_fd(void *store)
{
	struct store *s = store;
	int fd = s->fd;

	s->fd = -1;
	return fd;
}

int primary_linux_store_map(void *store, u64 off, void *at, u64 len, int prot)
{
	struct store *s = store;
	u64 size = s->npages << PAGE_SHIFT;

	if (off >= size)
		return 0;
	len = MIN(len, size - off);
	/* Old size 0 makes a second mapping of the same pages. */
	if ((void *)syscall(SYS_mremap, s->host + off, 0L, len, MREMAP_MAYMOVE | MREMAP_FIXED,
			    at) != at)
		return -errno;
	syscall(SYS_madvise, at, len, MADV_DOFORK);
	syscall(SYS_madvise, at, len, MADV_DODUMP);
	return syscall(SYS_mprotect, at, len, prot) < 0 ? -errno : 0;
}

void *primary_linux_store_change_begin(void *store, u64 off, u64 len, int *err)
{
	return linux_file_change_begin(((struct store *)store)->ino, off, len, err);
}

static void store_destroy(void *store)
{
	struct store *s = store;

	space_give((u64)s->host, (u64)s->host + (s->npages << PAGE_SHIFT));
	if (s->fd >= 0)
		syscall(SYS_close, s->fd);
	free(s);
}

/* Touched for write, so that the page is there and mapped once and for all. */
static int store_fault(void *store, u64 index, bool (*interrupted)(void *arg), void *arg,
		       struct frame *out)
{
	struct store *s = store;
	u8 *host = s->host + (index << PAGE_SHIFT);
	int r;

	if (index >= s->npages)
		return -ENOMEM;
	r = linux_touch((hva_t)host, true, interrupted, arg);
	if (r)
		return r == -EFAULT ? -ENOMEM : r; /* the host has no page to give */
	*out = (struct frame){
		.host = host,
		.pfn = (u64)host >> PAGE_SHIFT,
		.writable = true,
		.dirties = true,
		.max_level =
			(u8)linux_block_level(0, s->npages << PAGE_SHIFT, index << PAGE_SHIFT),
		.object = s->mappable ? s->ino : 0,
		.index = index,
	};
	return 0;
}

/* The part of the range that is mapped: what is beyond has no pages. */
static u64 clip(const struct store *s, u64 index, u64 npages)
{
	return index < s->npages ? MIN(npages, s->npages - index) : 0;
}

static int store_allocate(void *store, u64 index, u64 npages)
{
	struct store *s = store;

	if (clip(s, index, npages) != npages)
		return -ENOMEM;
	while (syscall(SYS_madvise, s->host + (index << PAGE_SHIFT), npages << PAGE_SHIFT,
		       MADV_POPULATE_WRITE) < 0) {
		if (errno == EHWPOISON)
			return -EHWPOISON;
		if (errno != EINTR && errno != EAGAIN)
			return -ENOMEM;
	}
	return 0;
}

static int store_punch(void *store, u64 index, u64 npages)
{
	struct store *s = store;
	u64 len = clip(s, index, npages) << PAGE_SHIFT;
	u8 *at = s->host + (index << PAGE_SHIFT);

	if (!len || !syscall(SYS_madvise, at, len, MADV_REMOVE))
		return 0;
	/* The VMM locked all of its memory, and locked pages are not removed. */
	if (errno != EINVAL || syscall(SYS_munlock, at, len) < 0 ||
	    syscall(SYS_madvise, at, len, MADV_REMOVE) < 0)
		return -errno;
	return 0;
}

const struct primary_store_ops primary_linux_store_ops = {
	.create = store_create,
	.fault = store_fault,
	.allocate = store_allocate,
	.punch = store_punch,
	.destroy = store_destroy,
};
