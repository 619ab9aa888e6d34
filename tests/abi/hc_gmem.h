/* SPDX-License-Identifier: MIT */
/* hc_gmem.h: what the calls on guest_memfds share. Newer than some machines' headers. */
#ifndef HC_GMEM_H
#define HC_GMEM_H

#include "hostcalls.h"

struct gmem_args {
	u64 size, flags, reserved[6];
};
#define CREATE_GUEST_MEMFD _IOC(_IOC_READ | _IOC_WRITE, KVMIO, 0xd4, sizeof(struct gmem_args))

struct gmem_region {
	u32 slot, flags;
	u64 gpa, size, addr, offset;
	u32 fd, pad1;
	u64 pad2[14];
};
#define SET_REGION2 _IOC(_IOC_WRITE, KVMIO, 0x49, sizeof(struct gmem_region))

#define GMEM_MMAP   1ULL
#define GMEM_SHARED 2ULL

/* The descriptor, or -1 and errno; the same, or the program ends. */
long gmem_create(int vm, u64 size, u64 flags);
int gmem_new(int vm, u64 size, u64 flags);
/* KVM_SET_USER_MEMORY_REGION2; r.addr is an offset in memory of this file's. */
long gmem_bind(int vm, struct gmem_region r);

void test_gmem_mappings(void);

#endif
