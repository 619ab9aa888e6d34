/* SPDX-License-Identifier: MIT */
/*
 * Which MSRs a guest may touch (KVM's api.rst, KVM_X86_SET_MSR_FILTER). A filter is replaced as a
 * whole and read by vCPUs without a lock.
 */
#include "vm/msr_filter.h"

#include <stdlib.h>
#include "base/guard.h"
#include "sync/rcu.h"
#include "vm/vm.h"

#define MAX_BITMAP_BYTES 0x600 /* KVM_MSR_FILTER_MAX_BITMAP_SIZE */

struct msr_range {
	u32 flags;
	u32 base;
	u32 nmsrs;
	u8 *bitmap; /* a set bit allows */
};

struct msr_filter {
	bool deny_by_default;
	u32 nranges;
	struct msr_range range[KVM_MSR_FILTER_MAX_RANGES];
};

void msr_filter_free(struct msr_filter *f)
{
	if (!f)
		return;
	for (u32 i = 0; i < f->nranges; i++)
		free(f->range[i].bitmap);
	free(f);
}

static int add_range(struct msr_filter *f, const struct kvm_msr_filter_range *u)
{
	struct msr_range *r = &f->range[f->nranges];
	size_t bytes = ALIGN_UP(u->nmsrs, 64) / 8;

	if (!u->nmsrs)
		return 0;
	if (u->flags & ~(u32)(KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE) || !u->flags)
		return -EINVAL;
	if (bytes > MAX_BITMAP_BYTES)
		return -EINVAL;
	r->bitmap = malloc(bytes);
	if (!r->bitmap)
		return -ENOMEM;
	f->nranges++;
	r->flags = u->flags;
	r->base = u->base;
	r->nmsrs = u->nmsrs;
	return guard_copy_from(r->bitmap, u->bitmap, bytes);
}

int vm_set_msr_filter(struct vm *vm, const struct kvm_msr_filter *u)
{
	struct msr_filter *f, *old;
	bool empty = true;
	int r = 0;

	if (u->flags & ~(u32)KVM_MSR_FILTER_DEFAULT_DENY)
		return -EINVAL;
	for (u32 i = 0; i < KVM_MSR_FILTER_MAX_RANGES; i++)
		empty &= !u->ranges[i].nmsrs;
	if (empty && (u->flags & KVM_MSR_FILTER_DEFAULT_DENY))
		return -EINVAL;
	f = calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	f->deny_by_default = u->flags & KVM_MSR_FILTER_DEFAULT_DENY;
	for (u32 i = 0; i < KVM_MSR_FILTER_MAX_RANGES && !r; i++)
		r = add_range(f, &u->ranges[i]);
	if (r) {
		msr_filter_free(f);
		return r;
	}
	mutex_lock(&vm->lock);
	old = vm->msr_filter;
	sync_rcu_publish(&vm->msr_filter, f);
	mutex_unlock(&vm->lock);
	sync_rcu_wait();
	msr_filter_free(old);
	return 0;
}

bool vm_msr_allowed(struct vm *vm, u32 msr, bool write)
{
	u32 want = write ? KVM_MSR_FILTER_WRITE : KVM_MSR_FILTER_READ;
	const struct msr_filter *f;
	bool allowed = true;

	/* x2APIC MSRs are never filtered (api.rst, the warning under KVM_X86_SET_MSR_FILTER). */
	if (msr >= 0x800 && msr <= 0x8ff)
		return true;
	sync_rcu_read_lock();
	f = sync_rcu_deref(&vm->msr_filter);
	if (f) {
		allowed = !f->deny_by_default;
		for (u32 i = 0; i < f->nranges; i++) {
			const struct msr_range *r = &f->range[i];

			if (msr - r->base < r->nmsrs && (r->flags & want)) {
				u32 bit = msr - r->base;

				allowed = r->bitmap[bit / 8] >> (bit % 8) & 1;
				break;
			}
		}
	}
	sync_rcu_read_unlock();
	return allowed;
}
