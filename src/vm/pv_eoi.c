/* SPDX-License-Identifier: MIT */
/*
 * Paravirtual EOI (KVM's x86/msr.rst, MSR_KVM_PV_EOI_EN): with one interrupt in service, none
 * waiting and nobody who wants to hear of its end, the guest may end it by clearing a bit in
 * its memory. The APIC learns of it the next time anybody looks at it.
 */
#include "vm/pv.h"

#include <linux/kvm_para.h>

#define PV_EOI_ALIGN 4

int pv_eoi_msr_write(struct vcpu *v, u64 value)
{
	gpa_t gpa = value & ~(u64)KVM_MSR_ENABLED;
	bool readonly;

	if (gpa & (PV_EOI_ALIGN - 1))
		return -EINVAL;
	/* Unlike the clocks' and the steal time's, its place must be memory when it is named. */
	if ((value & KVM_MSR_ENABLED) &&
	    (!mmu_gfn_to_hva(v->vm->mmu, gpa >> PAGE_SHIFT, &readonly) || readonly))
		return -EINVAL;
	pv_eoi_settle(v);
	v->eoi.msr = value;
	mmu_cache_unset(&v->eoi.cache);
	if (value & KVM_MSR_ENABLED)
		mmu_cache_set(&v->eoi.cache, gpa, 1);
	return 0;
}

static int write_offer(struct mmu_cache *c, void *arg)
{
	u8 one = 1;

	return mmu_cache_write(c, 0, &one, 1);
}

void pv_eoi_offer(struct vcpu *v)
{
	if (!(v->eoi.msr & KVM_MSR_ENABLED) || !lapic_eoi_is_silent(v->lapic))
		return;
	v->eoi.pending = !pv_use(v, &v->eoi.cache, write_offer, NULL);
}

/* *arg: was the bit cleared by the guest? It is clear afterwards. */
static int take_back(struct mmu_cache *c, void *arg)
{
	bool *ended = arg;
	u8 byte, clear;
	int r = mmu_cache_read(c, 0, &byte, 1);

	if (r)
		return r;
	*ended = !(byte & 1);
	if (*ended)
		return 0;
	clear = byte & ~1;
	return mmu_cache_write(c, 0, &clear, 1);
}

void pv_eoi_settle(struct vcpu *v)
{
	bool ended;
	int r;

	if (!v->eoi.pending)
		return;
	r = pv_use(v, &v->eoi.cache, take_back, &ended);
	if (r == -EINTR)
		return; /* it stays to be seen */
	v->eoi.pending = false;
	/* If the page is gone: an end too many is harmless, one too few is not. */
	if (r || ended)
		lapic_eoi_now(v->lapic);
}
