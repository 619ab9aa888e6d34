/* SPDX-License-Identifier: MIT */
/* abi/memory.c: VM calls on guest memory and on what a VM is made of. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include "abi/internal.h"
#include "base/clock.h"
#include "base/guard.h"
#include "base/stack.h"
#include "sync/atomic.h"
#include "vm/clock.h"

/* The highest address of a three-page TSS (Intel VMX: real mode in a task). */
#define TSS_MAX_ADDR 0xffffd000ULL
#define CLOCK_FLAGS  (KVM_CLOCK_TSC_STABLE | KVM_CLOCK_REALTIME | KVM_CLOCK_HOST_TSC)

long vm_ioctl_check_extension(struct call *c)
{
	return cap_check(c->vm, c->arg);
}

static long set_region(struct call *c, struct mmu_region *r)
{
	if (r->flags & ~(u32)(KVM_MEM_LOG_DIRTY_PAGES | KVM_MEM_READONLY | KVM_MEM_GUEST_MEMFD))
		return -EINVAL;
	if (r->slot >> 16) /* one address space */
		return -EINVAL;
	return mmu_set_region(c->vm->mmu, r);
}

long vm_ioctl_set_region(struct call *c)
{
	const struct kvm_userspace_memory_region *m = (void *)c->buf;
	struct mmu_region r = {.slot = m->slot,
			       .flags = m->flags,
			       .gpa = m->guest_phys_addr,
			       .size = m->memory_size,
			       .hva = m->userspace_addr};

	return r.flags & KVM_MEM_GUEST_MEMFD ? -EINVAL : set_region(c, &r);
}

long vm_ioctl_set_region2(struct call *c)
{
	const struct kvm_userspace_memory_region2 *m = (void *)c->buf;
	struct mmu_region r = {.slot = m->slot,
			       .flags = m->flags,
			       .gpa = m->guest_phys_addr,
			       .size = m->memory_size,
			       .hva = m->userspace_addr,
			       .gmem_offset = m->guest_memfd_offset};
	struct abi_file *f;
	long ret;

	if (!(r.flags & KVM_MEM_GUEST_MEMFD))
		return set_region(c, &r);
	/* KVM looks at the descriptor last: a wrong one counts when all else is right. */
	f = gmem_file_get((int)m->guest_memfd, &r.gmem_error);
	r.gmem = f ? f->gmem : NULL;
	ret = set_region(c, &r);
	if (f)
		file_put(f);
	return ret;
}

/* A slot id as the dirty log calls check it. */
static bool bad_slot(u32 slot)
{
	return slot >> 16 || (slot & 0xffff) >= MMU_USER_SLOTS;
}

long vm_ioctl_get_dirty_log(struct call *c)
{
	const struct kvm_dirty_log *l = (void *)c->buf;

	if (c->vm->dirty_ring_size) /* api.rst, 8.29: one or the other */
		return -ENXIO;
	if (bad_slot(l->slot))
		return -EINVAL;
	return mmu_dirty_get(c->vm->mmu, l->slot, l->dirty_bitmap);
}

long vm_ioctl_clear_dirty_log(struct call *c)
{
	const struct kvm_clear_dirty_log *l = (void *)c->buf;

	if (c->vm->dirty_ring_size)
		return -ENXIO;
	if (bad_slot(l->slot) || l->first_page & 63)
		return -EINVAL;
	return mmu_dirty_clear(c->vm->mmu, l->slot, l->first_page, l->num_pages,
			       l->dirty_bitmap);
}

long vm_ioctl_set_nr_mmu_pages(struct call *c)
{
	return (u32)c->arg < UAPI_MIN_MMU_PAGES ? -EINVAL : 0;
}

long vm_ioctl_reset_dirty_rings(struct call *c)
{
	u32 n;
	int r = mmu_ring_reset(c->vm->mmu, &n);

	return r ? r : (long)n;
}

long vm_ioctl_set_tss_addr(struct call *c)
{
	return c->arg > TSS_MAX_ADDR ? -EINVAL : 0;
}

static bool has_vcpus(const struct vm *vm)
{
	return sync_load_acquire(&vm->nvcpus);
}

long vm_ioctl_set_identity_map(struct call *c)
{
	u64 addr;

	if (has_vcpus(c->vm))
		return -EINVAL;
	return guard_copy_from(&addr, c->user, sizeof(addr));
}

long vm_ioctl_set_boot_cpu(struct call *c)
{
	long r = 0;

	mutex_lock(&c->vm->lock);
	if (c->vm->nvcpus)
		r = -EBUSY;
	else if (c->arg > c->vm->max_vcpu_id)
		r = -EINVAL;
	else
		c->vm->bsp_id = (u32)c->arg;
	mutex_unlock(&c->vm->lock);
	return r;
}

long vm_ioctl_get_clock(struct call *c)
{
	struct kvm_clock_data *d = (void *)c->buf;
	u64 tsc = clock_tsc(), realtime = clock_ns(CLOCK_REALTIME);

	d->clock = vm_clock_at(c->vm, tsc);
	/* Without a vCPU there is no TSC to relate the clock to. */
	if (!has_vcpus(c->vm))
		return 0;
	d->realtime = realtime;
	d->host_tsc = tsc;
	d->flags = CLOCK_FLAGS;
	return 0;
}

long vm_ioctl_set_clock(struct call *c)
{
	const struct kvm_clock_data *d = (void *)c->buf;
	u64 clock = d->clock, now = clock_ns(CLOCK_REALTIME);

	if (d->flags & ~(u32)CLOCK_FLAGS)
		return -EINVAL;
	/* The time since the clock was read elsewhere; one in the future counts as none. */
	if ((d->flags & KVM_CLOCK_REALTIME) && now > d->realtime)
		clock += now - d->realtime;
	vm_clock_set(c->vm, clock);
	return 0;
}

long vm_ioctl_get_tsc_khz(struct call *c)
{
	return c->vm->tsc_khz;
}

long vm_ioctl_set_tsc_khz(struct call *c)
{
	c->vm->tsc_khz = (u32)c->arg ? (u32)c->arg : c->vm->host_tsc_khz;
	return 0;
}

long vm_ioctl_set_msr_filter(struct call *c)
{
	return vm_set_msr_filter(c->vm, (void *)c->buf);
}

long vm_ioctl_create_device(struct call *c)
{
	return -ENODEV;
}

/* The first vCPU's third page is the VM's ring: KVM has one per VM. avm->lock is held. */
static void set_pages(struct abi_vm *avm, struct vcpu *v, struct run_pages *p)
{
	struct abi_vcpu *av = v->abi;

	p->next = avm->pages;
	avm->pages = p;
	if (!avm->ring)
		avm->ring = (u8 *)p->map + UAPI_COALESCED_PAGE * PAGE_SIZE;
	av->avm = avm;
	av->run = p->map;
	av->stack = p->stack;
	v->immediate_exit = &av->run->immediate_exit;
	v->coalesced_ring = avm->ring;
	if (v->vm->dirty_ring_size)
		mmu_ring_attach(&v->cpu->mmu, p->map + UAPI_RING_PAGE * PAGE_SIZE,
				VCPU_REQ_EVENT);
}

struct vcpu_alloc {
	struct run_pages pages;
	struct abi_vcpu vcpu;
};

/* The dirty ring stands where the VMM will map it; what lies between is never touched. */
static size_t vcpu_file_size(const struct vm *vm)
{
	if (!vm->dirty_ring_size)
		return UAPI_RUN_PAGES * PAGE_SIZE;
	return UAPI_RING_PAGE * PAGE_SIZE + vm->dirty_ring_size;
}

static long create_vcpu(struct call *c)
{
	struct vcpu_alloc *a;
	struct abi_file *f;
	char name[32];
	int fd, r;

	a = calloc(1, sizeof(*a));
	if (!a)
		return -ENOMEM;
	a->pages.stack = stack_alloc(STACK_SIZE);
	fd = -ENOMEM;
	if (!a->pages.stack)
		goto fail;
	snprintf(name, sizeof(name), "userkvm:vcpu:%u", (u32)c->arg);
	fd = file_create(FILE_VCPU, name, vcpu_file_size(c->vm), O_CLOEXEC, &f);
	if (fd < 0)
		goto fail;
	r = vm_create_vcpu(c->vm, (u32)c->arg, &f->vcpu);
	if (r) {
		file_abandon(f, fd);
		fd = r;
		goto fail;
	}
	/* The pages and abi/'s part stay while the VM does: vm/ never drops a vCPU before. */
	a->pages.map = f->map;
	a->pages.len = f->map_len;
	f->map = NULL;
	f->vcpu->abi = &a->vcpu;
	set_pages(c->avm, f->vcpu, &a->pages);
	avm_get(c->avm);
	f->avm = c->avm;
	file_publish(f, fd);
	return fd;
fail:
	stack_free(a->pages.stack, STACK_SIZE);
	free(a);
	return fd;
}

long vm_ioctl_create_vcpu(struct call *c)
{
	long r;

	if (c->arg > UINT32_MAX)
		return -EINVAL;
	mutex_lock(&c->avm->lock);
	r = create_vcpu(c);
	mutex_unlock(&c->avm->lock);
	return r;
}
