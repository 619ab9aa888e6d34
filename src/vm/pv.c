/* SPDX-License-Identifier: MIT */
#include "vm/pv.h"

#include <linux/kvm_para.h>
#include "vm/clock.h"

void pv_init(struct vcpu *v)
{
	struct mmu_vcpu *m = &v->cpu->mmu;

	/* A page that was taken away is to be written anew where it is then. */
	mmu_cache_init(&v->clock.time, m, VCPU_REQ_CLOCK);
	mmu_cache_init(&v->clock.wall, m, 0);
	mmu_cache_init(&v->steal.cache, m, 0);
	mmu_cache_init(&v->eoi.cache, m, 0);
	v->steal.fd = -1;
}

void pv_fini(struct vcpu *v)
{
	mmu_cache_fini(&v->clock.time);
	mmu_cache_fini(&v->clock.wall);
	mmu_cache_fini(&v->steal.cache);
	mmu_cache_fini(&v->eoi.cache);
	steal_fini(v);
}

bool pv_offered(struct vcpu *v, u32 feature)
{
	u32 features[4];

	if (!v->enforce_pv_cpuid)
		return true;
	cpu_cpuid(v->cpu, KVM_CPUID_FEATURES, 0, features);
	return features[0] & BIT(feature);
}

int pv_use(struct vcpu *v, struct mmu_cache *c, int (*fn)(struct mmu_cache *c, void *arg),
	   void *arg)
{
	bool in_guest = v->cpu->mmu.mode == MMU_IN_GUEST;
	int r = mmu_cache_use(c, MMU_CACHE_NOWAIT, fn, arg);

	if (r != -EAGAIN)
		return r;
	if (in_guest)
		mmu_vcpu_leave(&v->cpu->mmu);
	r = mmu_cache_use(c, MMU_CACHE_WAIT, fn, arg);
	if (in_guest)
		mmu_vcpu_enter(&v->cpu->mmu);
	return r;
}

int pv_msr_read(struct vcpu *v, u32 msr, u64 *value)
{
	switch (msr) {
	case MSR_KVM_STEAL_TIME:
		*value = v->steal.msr;
		return pv_offered(v, KVM_FEATURE_STEAL_TIME) ? 0 : -EINVAL;
	case MSR_KVM_PV_EOI_EN:
		*value = v->eoi.msr;
		return pv_offered(v, KVM_FEATURE_PV_EOI) ? 0 : -EINVAL;
	default:
		return clock_msr_read(v, msr, value);
	}
}

int pv_msr_write(struct vcpu *v, u32 msr, u64 value)
{
	switch (msr) {
	case MSR_KVM_STEAL_TIME:
		return pv_offered(v, KVM_FEATURE_STEAL_TIME) ? steal_msr_write(v, value)
							     : -EINVAL;
	case MSR_KVM_PV_EOI_EN:
		return pv_offered(v, KVM_FEATURE_PV_EOI) ? pv_eoi_msr_write(v, value) : -EINVAL;
	default:
		return clock_msr_write(v, msr, value);
	}
}

void pv_reset(struct vcpu *v)
{
	v->eoi.pending = false; /* the APIC is reset, too */
	pv_eoi_msr_write(v, 0);
	steal_msr_write(v, 0);
	clock_reset(v);
}

void pv_requests(struct vcpu *v, u32 req)
{
	if ((req & VCPU_REQ_CLOCK) || v->clock.retry)
		clock_update(v);
	/* Something waits for the interrupt in service to end: the guest is to tell the APIC.
	 */
	if (req & VCPU_REQ_EVENT)
		pv_eoi_settle(v);
	steal_update(v);
}

void pv_run_begin(struct vcpu *v)
{
	clock_retry(v);
	steal_update(v);
}

void pv_run_end(struct vcpu *v)
{
	pv_eoi_settle(v);
	steal_preempted(v);
}

void pv_sleep(struct vcpu *v)
{
	steal_preempted(v);
}

void pv_wake(struct vcpu *v)
{
	clock_retry(v);
	steal_update(v);
}

void pv_settle(struct vcpu *v)
{
	pv_eoi_settle(v);
}
