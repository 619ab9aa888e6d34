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

void pagemem_free(void *p, size_t size)
{
	if (!p)
		return;
	if (__lsan_unregister_root_region)
		__lsan_unregister_root_region(p, size);
	space_give((u64)p, (u64)p + ALIGN_UP(size, PAGE_SIZE));
}
