/* SPDX-License-Identifier: MIT */
/*
 * preload/memory.h: what a system call's arguments point to. A bad pointer of the program's is EFAULT,
 * and may be met before a handler of ours would catch the fault: so the kernel does the copying.
 */
#ifndef PRELOAD_MEMORY_H
#define PRELOAD_MEMORY_H

#include <errno.h>
#include <sys/uio.h>
#include "preload/raw.h"

static inline int memory_copy(long nr, void *here, void *there, size_t n)
{
	struct iovec local = {here, n}, remote = {there, n};
	long r = raw6(nr, raw0(SYS_getpid), (long)&local, 1, (long)&remote, 1, 0);

	return r == (long)n ? 0 : -EFAULT;
}

/* 0 or -EFAULT. */
static inline int memory_read(void *to, const void *theirs, size_t n)
{
	return memory_copy(SYS_process_vm_readv, to, (void *)theirs, n);
}

static inline int memory_write(void *theirs, const void *from, size_t n)
{
	return memory_copy(SYS_process_vm_writev, (void *)from, theirs, n);
}

#endif
