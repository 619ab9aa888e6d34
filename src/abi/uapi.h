/* SPDX-License-Identifier: MIT */
/*
 * abi/uapi.h: KVM's interface, and what of it is newer than the headers of Linux 6.1. Values
 * and layouts are those of KVM's API.
 */
#ifndef ABI_UAPI_H
#define ABI_UAPI_H

#include <linux/kvm.h>
#include "base/types.h"

#define UAPI_RUN_PAGES	       3  /* kvm_run, port data, coalesced ring */
#define UAPI_PIO_PAGE	       1  /* KVM_PIO_PAGE_OFFSET */
#define UAPI_COALESCED_PAGE    2  /* KVM_COALESCED_MMIO_PAGE_OFFSET */
#define UAPI_RING_PAGE	       64 /* KVM_DIRTY_LOG_PAGE_OFFSET */
#define UAPI_RING_MAX	       (65536 * sizeof(struct kvm_dirty_gfn))
#define UAPI_MAX_CPUID_ENTRIES 256
#define UAPI_MAX_MSRS	       256 /* entries in one KVM_GET_MSRS or KVM_SET_MSRS */
#define UAPI_MAX_ROUTES	       4096
#define UAPI_MIN_MMU_PAGES     64 /* KVM_SET_NR_MMU_PAGES' least */

/*
 * What the installed headers may not have: they are those of any kernel from 6.1 on. Each name is
 * guarded by itself, since kernels brought them one by one.
 */
#ifndef KVM_CAP_USER_MEMORY2 /* 6.8 */
#define KVM_CAP_USER_MEMORY2 231
#endif
#ifndef KVM_CAP_MEMORY_FAULT_INFO /* 6.8 */
#define KVM_CAP_MEMORY_FAULT_INFO 232
#endif
#ifndef KVM_CAP_MEMORY_ATTRIBUTES /* 6.8 */
#define KVM_CAP_MEMORY_ATTRIBUTES 233
#endif
#ifndef KVM_CAP_GUEST_MEMFD /* 6.8 */
#define KVM_CAP_GUEST_MEMFD 234
#endif
#ifndef KVM_CAP_VM_TYPES /* 6.8 */
#define KVM_CAP_VM_TYPES 235
#endif
#ifndef KVM_CAP_PRE_FAULT_MEMORY /* 6.11 */
#define KVM_CAP_PRE_FAULT_MEMORY 236
#endif
#ifndef KVM_CAP_GUEST_MEMFD_FLAGS /* 6.18 */
#define KVM_CAP_GUEST_MEMFD_FLAGS 244
#endif
#ifndef KVM_MEM_GUEST_MEMFD
#define KVM_MEM_GUEST_MEMFD (1UL << 2)
#endif
#ifndef KVM_EXIT_MEMORY_FAULT
#define KVM_EXIT_MEMORY_FAULT 39
#endif

#ifndef KVM_SET_USER_MEMORY_REGION2
struct kvm_userspace_memory_region2 {
	u32 slot;
	u32 flags;
	u64 guest_phys_addr;
	u64 memory_size;
	u64 userspace_addr;
	u64 guest_memfd_offset;
	u32 guest_memfd;
	u32 pad1;
	u64 pad2[14];
};
#define KVM_SET_USER_MEMORY_REGION2 _IOW(KVMIO, 0x49, struct kvm_userspace_memory_region2)
#endif

#ifndef KVM_PRE_FAULT_MEMORY
struct kvm_pre_fault_memory {
	u64 gpa;
	u64 size;
	u64 flags;
	u64 padding[5];
};
#define KVM_PRE_FAULT_MEMORY _IOWR(KVMIO, 0xd5, struct kvm_pre_fault_memory)
#endif

/* A call that no kernel carries out any longer; headers from 6.8 on have no name for it. */
#ifndef KVM_SET_MEMORY_REGION
struct kvm_memory_region {
	u32 slot;
	u32 flags;
	u64 guest_phys_addr;
	u64 memory_size;
};
#define KVM_SET_MEMORY_REGION _IOW(KVMIO, 0x40, struct kvm_memory_region)
#endif

struct uapi_memory_fault {
	u64 flags;
	u64 gpa;
	u64 size;
};

/* Argument of KVM_CREATE_VM. */
#define UAPI_VM_DEFAULT	     0
#define UAPI_VM_SW_PROTECTED 1

struct uapi_memory_attributes {
	u64 address, size, attributes, flags;
};
#define UAPI_SET_MEMORY_ATTRIBUTES _IOW(KVMIO, 0xd2, struct uapi_memory_attributes)
struct uapi_create_guest_memfd {
	u64 size, flags, reserved[6];
};
#define UAPI_CREATE_GUEST_MEMFD _IOWR(KVMIO, 0xd4, struct uapi_create_guest_memfd)

#endif
