/* SPDX-License-Identifier: MIT */
#include "ioctl_args.h"

#include <stdlib.h>
#include <sys/mman.h>
#include "../vmm/heard.h"
#include "userkvm.h"

#define ARG_NONE  0
#define ARG_VALUE 1
#define ARG_IN	  0
#define ARG_OUT	  0
#define ARG_INOUT 0
#define ARG_RAW	  0
#define S ARGS_SYSTEM
#define V ARGS_VM
#define C ARGS_VCPU
#define IOCTL(req, level, arg, shape, fn, status, note) {req, level, arg},
#define ABSENT(req, level, note)		 {req, level, 0},
const struct args_request args_requests[] = {
#include "abi/ioctls.def"
};
#undef S
#undef V
#undef C
const unsigned args_nrequests = ARRAY_SIZE(args_requests);

static u64 number(const struct args *a)
{
	static const u64 n[] = {0, 1, 2, 3, 4, 7, 8, 15, 16, 31, 63, 64, 255, 256, 0x1000, 0xfff,
				0x10000, 0x100000, 0xfee00000, 0xfec00000, 0x7fffffff, 0x80000000,
				0xffffffff, 1ULL << 32, 1ULL << 40, 1ULL << 52, 1ULL << 63, ~0ULL,
				~0xfffULL, 0x174, 0x1b, 0xc0000080, 0x4b564d00, 0x6e0, 0x830};
	u32 r = rng_next(a->rng);

	if (r & 1)
		return n[(r >> 1) % ARRAY_SIZE(n)];
	return (r & 2) ? rng_next(a->rng) % 32 : (u64)rng_next(a->rng) << 32 | rng_next(a->rng);
}

static u64 guest_address(const struct args *a)
{
	static const u64 n[] = {0, 0x1000, 0x10000, 0x80000, 0xfffe0000, 0xfffff000, 1ULL << 32,
				0xfee00000, 0x200000, 0x40000000};

	return rng_one_in(a->rng, 8) ? number(a) : n[rng_next(a->rng) % ARRAY_SIZE(n)];
}

static u64 host_address(const struct args *a)
{
	static const u64 nothing[] = {0, 0x1000, 1ULL << 46, 1ULL << 63, ~0xfffULL, 0x10001};

	if (rng_one_in(a->rng, 8))
		return nothing[rng_next(a->rng) % ARRAY_SIZE(nothing)];
	return (u64)a->arena + (rng_next(a->rng) % (ARENA_BYTES >> 12) << 12);
}

/* -- by structure; `p` holds random bytes already */

static void region(const struct args *a, struct kvm_userspace_memory_region2 *p)
{
	u64 room;

	p->slot = rng_one_in(a->rng, 16) ? (u32)number(a) : rng_next(a->rng) % 6;
	p->flags = rng_one_in(a->rng, 16) ? (u32)number(a) : rng_next(a->rng) & 3;
	p->guest_phys_addr = guest_address(a);
	p->userspace_addr = host_address(a);
	/* Never more than the arena has, and little elsewhere: the guest may write there, and what
	 * lies behind is the fuzzer's own. */
	room = (u64)a->arena + ARENA_BYTES - p->userspace_addr;
	p->memory_size = (u64)(rng_next(a->rng) % 64) << 12;
	if (room <= ARENA_BYTES)
		p->memory_size = MIN(p->memory_size, room);
	else if (p->userspace_addr >> 47)
		p->memory_size = number(a);
	if (rng_one_in(a->rng, 32))
		p->memory_size |= 1;
	/* The smaller structure has no room for the rest, which is then not looked at. */
	if (!rng_one_in(a->rng, 4))
		return;
	p->flags = KVM_MEM_GUEST_MEMFD;
	p->guest_memfd = (u32)a->gmem;
	p->guest_memfd_offset = rng_one_in(a->rng, 8) ? number(a) : rng_next(a->rng) % 8 << 12;
}

static void create_gmem(const struct args *a, struct uapi_create_guest_memfd *p)
{
	p->size = rng_one_in(a->rng, 16) ? number(a) : (u64)(rng_next(a->rng) % 64) << 12;
	p->flags = rng_one_in(a->rng, 16) ? number(a) : rng_next(a->rng) & 3;
}

static void link_gmem(const struct args *a, struct userkvm_link_guest_memfd *p)
{
	memset(p, 0, sizeof(*p));
	p->guest_memfd = a->gmem;
	p->flags = rng_one_in(a->rng, 16);
}

static void attributes(const struct args *a, struct uapi_memory_attributes *p)
{
	p->address = guest_address(a);
	p->size = rng_one_in(a->rng, 8) ? number(a) : (u64)(rng_next(a->rng) % 64) << 12;
	p->attributes = rng_one_in(a->rng, 16) ? number(a) : rng_next(a->rng) & 8;
	p->flags = rng_one_in(a->rng, 16);
}

static void get_dirty_log(const struct args *a, struct kvm_dirty_log *p)
{
	p->slot = rng_next(a->rng) % 6;
	p->dirty_bitmap = rng_one_in(a->rng, 8) ? (void *)8 : a->room + ARGS_BYTES / 2;
}

static void clear_dirty_log(const struct args *a, struct kvm_clear_dirty_log *p)
{
	p->slot = rng_next(a->rng) % 6;
	p->num_pages = rng_one_in(a->rng, 4) ? (u32)number(a) : 64;
	p->first_page = rng_one_in(a->rng, 4) ? number(a) : 0;
	p->dirty_bitmap = rng_one_in(a->rng, 8) ? (void *)8 : a->room + ARGS_BYTES / 2;
}

static void device_attr(const struct args *a, struct kvm_device_attr *p)
{
	p->flags = rng_one_in(a->rng, 8);
	p->group = rng_one_in(a->rng, 8) ? (u32)number(a) : 0;
	p->attr = rng_one_in(a->rng, 8) ? number(a) : 0;
	p->addr = rng_one_in(a->rng, 8) ? 8 : (u64)a->room + ARGS_BYTES / 2;
}

static void routing(const struct args *a, struct kvm_irq_routing *p)
{
	p->nr = rng_one_in(a->rng, 16) ? (u32)number(a) : rng_next(a->rng) % 32;
	p->flags = rng_one_in(a->rng, 16);
	for (u32 i = 0; i < MIN(p->nr, 32u); i++) {
		p->entries[i].gsi = rng_next(a->rng) % 32;
		p->entries[i].type = rng_one_in(a->rng, 64) ? rng_next(a->rng) % 6
							     : 1 + rng_next(a->rng) % 2;
		p->entries[i].flags = rng_one_in(a->rng, 256);
		p->entries[i].u.irqchip.irqchip = rng_one_in(a->rng, 64) ? 3 : rng_next(a->rng) % 3;
		p->entries[i].u.irqchip.pin = rng_one_in(a->rng, 64) ? 26 : rng_next(a->rng) % 8;
	}
}

static void irqfd(const struct args *a, struct kvm_irqfd *p)
{
	p->fd = (u32)a->event;
	p->gsi = rng_next(a->rng) % 32;
	p->flags = rng_next(a->rng) % 4;
	p->resamplefd = (u32)a->event;
}

static void ioeventfd(const struct args *a, struct kvm_ioeventfd *p)
{
	p->addr = rng_one_in(a->rng, 2) ? guest_address(a) : rng_next(a->rng) % 16;
	p->len = rng_one_in(a->rng, 8) ? (u32)number(a) : 1u << rng_next(a->rng) % 4;
	p->fd = a->event;
	p->flags = rng_next(a->rng) % 16;
	p->datamatch = rng_next(a->rng) % 4;
}

static void msrs(const struct args *a, struct kvm_msrs *p)
{
	p->nmsrs = rng_one_in(a->rng, 16) ? (u32)number(a) : rng_next(a->rng) % 16;
	for (u32 i = 0; i < MIN(p->nmsrs, 16u); i++)
		p->entries[i].index = (u32)number(a);
}

static void cpuid(const struct args *a, struct kvm_cpuid2 *p)
{
	p->nent = rng_one_in(a->rng, 8) ? (u32)number(a) : rng_next(a->rng) % 64;
	for (u32 i = 0; i < MIN(p->nent, 64u); i++)
		p->entries[i].function = rng_one_in(a->rng, 2) ? i : (u32)number(a);
}

static void msr_filter(const struct args *a, struct kvm_msr_filter *p)
{
	p->flags = rng_one_in(a->rng, 16) ? (u32)number(a) : rng_next(a->rng) & 1;
	for (unsigned i = 0; i < 16; i++) {
		struct kvm_msr_filter_range *r = &p->ranges[i];

		r->flags = rng_one_in(a->rng, 16) ? (u32)number(a) : 1 + rng_next(a->rng) % 3;
		r->nmsrs = rng_one_in(a->rng, 16) ? (u32)number(a) : rng_next(a->rng) % 512;
		r->base = (u32)number(a);
		r->bitmap = rng_one_in(a->rng, 16) ? (void *)8 : a->room + ARGS_BYTES / 2;
	}
}

static void signal_mask(const struct args *a, struct kvm_signal_mask *p)
{
	u64 set = (u64)rng_next(a->rng) << 32 | rng_next(a->rng);

	p->len = rng_one_in(a->rng, 8) ? (u32)number(a) : 8;
	/* Those of faults, SIGUSR1, SIGALRM and the measure's own are let in. */
	set &= ~(0x3ffULL | 1ULL << 13 | 1ULL << (HEARD_SIGNAL - 1));
	memcpy(p->sigset, &set, 8);
}

static void cap(const struct args *a, struct kvm_enable_cap *p)
{
	static const u32 caps[] = {KVM_CAP_SPLIT_IRQCHIP, KVM_CAP_X2APIC_API,
				   KVM_CAP_X86_DISABLE_EXITS, KVM_CAP_EXCEPTION_PAYLOAD,
				   KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, KVM_CAP_X86_USER_SPACE_MSR,
				   KVM_CAP_MAX_VCPU_ID, KVM_CAP_EXIT_HYPERCALL,
				   KVM_CAP_DISABLE_QUIRKS2, KVM_CAP_X86_TRIPLE_FAULT_EVENT};

	p->cap = rng_one_in(a->rng, 8) ? rng_next(a->rng) % 256
				       : caps[rng_next(a->rng) % ARRAY_SIZE(caps)];
	p->flags = rng_one_in(a->rng, 32);
	p->args[0] = number(a);
}

static void shape(const struct args *a, unsigned long request, void *p)
{
	switch (request) {
	case KVM_SET_USER_MEMORY_REGION:
	case KVM_SET_USER_MEMORY_REGION2:
		region(a, p);
		break;
	case KVM_GET_DIRTY_LOG:
		get_dirty_log(a, p);
		break;
	case KVM_CLEAR_DIRTY_LOG:
		clear_dirty_log(a, p);
		break;
	case KVM_GET_DEVICE_ATTR:
	case KVM_SET_DEVICE_ATTR:
	case KVM_HAS_DEVICE_ATTR:
		device_attr(a, p);
		break;
	case UAPI_CREATE_GUEST_MEMFD:
		create_gmem(a, p);
		break;
	case USERKVM_LINK_GUEST_MEMFD:
		link_gmem(a, p);
		break;
	case UAPI_SET_MEMORY_ATTRIBUTES:
		attributes(a, p);
		break;
	case KVM_SET_GSI_ROUTING:
		routing(a, p);
		break;
	case KVM_IRQFD:
		irqfd(a, p);
		break;
	case KVM_IOEVENTFD:
		ioeventfd(a, p);
		break;
	case KVM_GET_MSRS:
	case KVM_SET_MSRS:
		msrs(a, p);
		break;
	case KVM_SET_CPUID:
	case KVM_SET_CPUID2:
	case KVM_GET_CPUID2:
	case KVM_GET_SUPPORTED_CPUID:
	case KVM_GET_EMULATED_CPUID:
		cpuid(a, p);
		break;
	case KVM_X86_SET_MSR_FILTER:
		msr_filter(a, p);
		break;
	case KVM_SET_SIGNAL_MASK:
		signal_mask(a, p);
		break;
	case KVM_ENABLE_CAP:
		cap(a, p);
		break;
	default:
		break;
	}
}

static u64 value(const struct args *a, unsigned long request)
{
	switch (request) {
	case KVM_RUN:
		return rng_one_in(a->rng, 64);
	case KVM_CREATE_VCPU:
		return rng_one_in(a->rng, 16) ? number(a) : rng_next(a->rng) % 4;
	case KVM_CREATE_VM:
		return rng_one_in(a->rng, 16) ? number(a) : rng_next(a->rng) & 1;
	case KVM_CHECK_EXTENSION:
		return rng_next(a->rng) % 256;
	default:
		return number(a);
	}
}

void *args_make(const struct args *a, const struct args_request *q)
{
	size_t size = MAX((size_t)_IOC_SIZE(q->request), (size_t)8), fill;
	u8 *p = a->room;

	if (q->value)
		return (void *)value(a, q->request);
	/* A random signal mask could keep a run from ever being ended. */
	if (q->request != KVM_SET_SIGNAL_MASK && rng_one_in(a->rng, 24)) {
		/* No pointer; one to what may not be touched; one that begins well. */
		static const u64 wrong[] = {0, 1, 8, 1ULL << 47, 1ULL << 63, ~0ULL, ~7ULL};
		u32 n = rng_next(a->rng) % (ARRAY_SIZE(wrong) + 2);

		if (n < ARRAY_SIZE(wrong))
			return (void *)wrong[n];
		return a->room + ARGS_BYTES - rng_next(a->rng) % size;
	}
	fill = MIN(size + 2048, (size_t)ARGS_BYTES);
	for (size_t i = 0; i + 8 <= fill; i += 8) {
		u64 v = rng_one_in(a->rng, 3) ? number(a) : 0;

		memcpy(p + i, &v, 8);
	}
	shape(a, q->request, p);
	return p;
}

unsigned long args_getter(unsigned long set)
{
	static const unsigned long pairs[][2] = {
		{KVM_SET_REGS, KVM_GET_REGS},
		{KVM_SET_SREGS, KVM_GET_SREGS},
		{KVM_SET_SREGS2, KVM_GET_SREGS2},
		{KVM_SET_FPU, KVM_GET_FPU},
		{KVM_SET_XSAVE, KVM_GET_XSAVE},
		{KVM_SET_XCRS, KVM_GET_XCRS},
		{KVM_SET_DEBUGREGS, KVM_GET_DEBUGREGS},
		{KVM_SET_VCPU_EVENTS, KVM_GET_VCPU_EVENTS},
		{KVM_SET_MP_STATE, KVM_GET_MP_STATE},
		{KVM_SET_LAPIC, KVM_GET_LAPIC},
		{KVM_SET_IRQCHIP, KVM_GET_IRQCHIP},
		{KVM_SET_PIT2, KVM_GET_PIT2},
		{KVM_SET_CLOCK, KVM_GET_CLOCK},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(pairs); i++)
		if (pairs[i][0] == set)
			return pairs[i][1];
	return 0;
}

void args_flip(const struct args *a, unsigned long set)
{
	size_t size = _IOC_SIZE(set);

	for (unsigned n = rng_next(a->rng) % 4; n; n--)
		a->room[rng_next(a->rng) % size] ^= (u8)(1u << rng_next(a->rng) % 8);
}
