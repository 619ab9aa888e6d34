/* SPDX-License-Identifier: MIT */
/*
 * base/pagemem.h: whole pages from the kernel, zeroed, for objects that other pages are to be
 * mapped into later (base/statpage.h): the allocator's memory must not be. Raw system calls, so
 * that they work wherever the rooms are built. Any thread; sleeps as mmap does.
 */
#ifndef BASE_PAGEMEM_H
#define BASE_PAGEMEM_H

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/types.h"

/* At least `size` bytes on a page boundary, or NULL. */
static inline void *pagemem_alloc(size_t size)
{
	void *p = (void *)syscall(SYS_mmap, NULL, ALIGN_UP(size, PAGE_SIZE), PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static inline void pagemem_free(void *p, size_t size)
{
	if (p)
		syscall(SYS_munmap, p, ALIGN_UP(size, PAGE_SIZE));
}

#endif
