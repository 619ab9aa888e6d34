/* SPDX-License-Identifier: MIT */
#include "base/pagemem.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/space.h"

void __lsan_register_root_region(const void *p, size_t size) __attribute__((weak));
void __lsan_unregister_root_region(const void *p, size_t size) __attribute__((weak));

void *pagemem_alloc(size_t size)
{
	void *p = space_alloc(ALIGN_UP(size, PAGE_SIZE), PAGE_SIZE);

	if (p && __lsan_register_root_region)
		__lsan_register_root_region(p, size);
	return p;
}

void pagemem_zero(void *p, size_t size)
{
	u64 end = (u64)p + size, first = ALIGN_UP((u64)p, PAGE_SIZE), last = ALIGN_DOWN(end, PAGE_SIZE);

	/* Refused where the program has locked its memory. */
	if (first >= last || syscall(SYS_madvise, first, last - first, MADV_DONTNEED)) {
		memset(p, 0, size);
		return;
	}
	memset(p, 0, first - (u64)p);
	memset((void *)last, 0, end - last);
}

struct file_pages {
	u64 len;
	int prot, flags, fd;
};

static int map_file(u64 to, void *arg)
{
	const struct file_pages *f = arg;

	return syscall(SYS_mmap, to, f->len, f->prot, f->flags | MAP_FIXED, f->fd, 0L) == -1
		       ? -errno
		       : 0;
}

void *pagemem_map(size_t size, int prot, int flags, int fd)
{
	struct file_pages f = {ALIGN_UP(size, PAGE_SIZE), prot, flags, fd};
	u64 to = space_take(OWN_FIXED, f.len, PAGE_SIZE, 0);
	int r = to ? space_fill(to, f.len, map_file, &f) : -ENOMEM;

	if (!r)
		return (void *)to;
	errno = -r;
	return NULL;
}

struct again {
	void *of;
	u64 len;
	int prot;
};

/* A shared mapping that keeps its old size of 0 is there a second time (mremap(2)). */
static int map_again(u64 to, void *arg)
{
	const struct again *a = arg;

	if (syscall(SYS_mremap, a->of, 0L, a->len, MREMAP_MAYMOVE | MREMAP_FIXED, to) == -1 ||
	    syscall(SYS_mprotect, to, a->len, a->prot) || syscall(SYS_madvise, to, a->len, MADV_DONTFORK))
		return -errno;
	return 0;
}

void *pagemem_twice(size_t size, int prot, void **again)
{
	struct again a = {.len = ALIGN_UP(size, PAGE_SIZE), .prot = prot};
	u64 to;
	int r;

	a.of = pagemem_map(size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1);
	if (!a.of)
		return NULL;
	to = space_take(OWN_FIXED, a.len, PAGE_SIZE, 0);
	r = to ? space_fill(to, a.len, map_again, &a) : -ENOMEM;
	if (!r && syscall(SYS_madvise, a.of, a.len, MADV_DONTFORK)) {
		r = -errno;
		pagemem_unmap((void *)to, size);
	}
	if (r) {
		pagemem_unmap(a.of, size);
		errno = -r;
		return NULL;
	}
	*again = (void *)to;
	return a.of;
}

void pagemem_unmap(void *p, size_t size)
{
	if (p)
		space_give((u64)p, (u64)p + ALIGN_UP(size, PAGE_SIZE));
}

void pagemem_free(void *p, size_t size)
{
	if (p && __lsan_unregister_root_region)
		__lsan_unregister_root_region(p, size);
	pagemem_unmap(p, size);
}
