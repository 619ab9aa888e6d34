/* SPDX-License-Identifier: MIT */
/*
 * tests/vmm/gmem.h: guest_memfd's part of KVM's interface, which is newer than the headers of
 * Linux 6.1, for little VMMs. Values are those of KVM's API.
 */
#ifndef TESTS_VMM_GMEM_H
#define TESTS_VMM_GMEM_H

#include <linux/kvm.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>

#define GMEM_PAGE	4096u
#define GMEM_MMAP	1u /* flags of a file */
#define GMEM_SHARED	2u
#define GMEM_PRIVATE	8u /* the attribute, and the flag of an exit */
#define GMEM_SLOT_FLAG	4u
#define GMEM_PROTECTED	1u /* VM type */
#define GMEM_EXIT_FAULT 39

struct gmem_create {
	uint64_t size, flags, reserved[6];
};
struct gmem_region {
	uint32_t slot, flags;
	uint64_t gpa, size, hva, offset;
	uint32_t fd, pad1;
	uint64_t pad2[14];
};
struct gmem_attributes {
	uint64_t address, size, attributes, flags;
};
struct gmem_prefault {
	uint64_t gpa, size, flags, padding[5];
};
struct gmem_fault {
	uint64_t flags, gpa, size;
};

#define GMEM_SET_REGION	    _IOW(KVMIO, 0x49, struct gmem_region)
#define GMEM_SET_ATTRIBUTES _IOW(KVMIO, 0xd2, struct gmem_attributes)
#define GMEM_CREATE	    _IOWR(KVMIO, 0xd4, struct gmem_create)
#define GMEM_PREFAULT	    _IOWR(KVMIO, 0xd5, struct gmem_prefault)

static inline int gmem_create(int vm, uint64_t size, uint64_t flags)
{
	struct gmem_create c = {.size = size, .flags = flags};

	return ioctl(vm, GMEM_CREATE, &c);
}

static inline int gmem_bind(int vm, uint32_t slot, uint64_t gpa, uint64_t size, void *mem,
			    int fd, uint64_t offset)
{
	struct gmem_region r = {.slot = slot,
				.flags = GMEM_SLOT_FLAG,
				.gpa = gpa,
				.size = size,
				.hva = (uintptr_t)mem,
				.offset = offset,
				.fd = (uint32_t)fd};

	return ioctl(vm, GMEM_SET_REGION, &r);
}

static inline int gmem_unbind(int vm, uint32_t slot)
{
	struct gmem_region r = {.slot = slot};

	return ioctl(vm, GMEM_SET_REGION, &r);
}

static inline int gmem_convert(int vm, uint64_t gpa, uint64_t size, uint64_t attributes)
{
	struct gmem_attributes a = {.address = gpa, .size = size, .attributes = attributes};

	return ioctl(vm, GMEM_SET_ATTRIBUTES, &a);
}

static inline struct gmem_fault gmem_fault_of(const struct kvm_run *run)
{
	struct gmem_fault f;

	memcpy(&f, run->padding, sizeof(f));
	return f;
}

#endif
