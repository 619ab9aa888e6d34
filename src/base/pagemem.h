/* SPDX-License-Identifier: MIT */
/*
 * base/pagemem.h: whole pages from the kernel, zeroed, for objects that other pages are to be
 * mapped into later (base/statpage.h): the allocator's memory must not be. Raw system calls, so
 * that they work wherever the rooms are built. Any thread; sleeps as mmap does.
 *
 * LeakSanitizer looks for pointers in its own allocator's memory and in what it is told of: a VMM
 * built with it would otherwise be blamed for all that a VM or a vCPU points to.
 */
#ifndef BASE_PAGEMEM_H
#define BASE_PAGEMEM_H

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/types.h"

void __lsan_register_root_region(const void *p, size_t size) __attribute__((weak));
void __lsan_unregister_root_region(const void *p, size_t size) __attribute__((weak));

/* At least `size` bytes on a page boundary, or NULL. */
static inline void *pagemem_alloc(size_t size)
{
	void *p = (void *)syscall(SYS_mmap, NULL, ALIGN_UP(size, PAGE_SIZE), PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	if (__lsan_register_root_region)
		__lsan_register_root_region(p, size);
	return p;
}

static inline void pagemem_free(void *p, size_t size)
{
	if (!p)
		return;
	if (__lsan_unregister_root_region)
		__lsan_unregister_root_region(p, size);
	syscall(SYS_munmap, p, ALIGN_UP(size, PAGE_SIZE));
}

#endif
