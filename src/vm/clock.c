/* SPDX-License-Identifier: MIT */
#include "vm/clock.h"

#include <linux/kvm_para.h>
#include "base/clock.h"
#include "vm/pv.h"

#define PVCLOCK_TSC_STABLE    BIT(0)
#define PVCLOCK_GUEST_STOPPED BIT(1)

/* As the guest reads it; little-endian. An odd version says that an update is under way. */
struct pvclock_vcpu_time {
	u32 version;
	u32 pad0;
	u64 tsc_timestamp;
	u64 system_time;       /* ns, at tsc_timestamp */
	u32 tsc_to_system_mul; /* ns = ((tsc << shift) * mul) >> 32 */
	s8 tsc_shift;
	u8 flags;
	u8 pad[2];
} __attribute__((packed));

struct pvclock_wall_clock {
	u32 version;
	u32 sec, nsec; /* of the VM clock's zero */
} __attribute__((packed));

/* ns = ((ticks << shift) * mul) >> 32, with mul as large as 32 bits allow. */
static void scale_of(u32 khz, struct pvclock_vcpu_time *t)
{
	u64 hz = (u64)khz * 1000;

	t->tsc_shift = 0;
	while (hz > 2 * NSEC_PER_SEC) {
		hz >>= 1;
		t->tsc_shift--;
	}
	while (hz <= NSEC_PER_SEC) {
		hz <<= 1;
		t->tsc_shift++;
	}
	t->tsc_to_system_mul = (u32)((NSEC_PER_SEC << 32) / hz);
}

/*
 * The clock is the host's TSC: every vCPU counts from the same moment at the same rate, in the
 * guest's arithmetic, and so does the VMM's view. So no vCPU sees a time another has not reached,
 * and a page that is written anew says what it said before. A vCPU whose TSC is scaled reads the
 * same moment in its own ticks; what its rate's rounding adds is below one in 2^30.
 */
u64 vm_clock_at(struct vm *vm, u64 tsc)
{
	struct pvclock_vcpu_time t;
	u64 ticks, ns;

	scale_of(vm->clock.khz, &t);
	mutex_lock(&vm->clock.lock);
	ticks = tsc > vm->clock.tsc ? tsc - vm->clock.tsc : 0; /* else it was set meanwhile */
	ns = vm->clock.ns;
	mutex_unlock(&vm->clock.lock);
	ticks = t.tsc_shift < 0 ? ticks >> -t.tsc_shift : ticks << t.tsc_shift;
	return ns + (u64)(((unsigned __int128)ticks * t.tsc_to_system_mul) >> 32);
}

void vm_clock_init(struct vm *vm, u32 host_khz)
{
	mutex_init(&vm->clock.lock);
	vm->clock.khz = host_khz;
	vm->clock.tsc = clock_tsc();
}

void vm_clock_set(struct vm *vm, u64 ns)
{
	mutex_lock(&vm->clock.lock);
	vm->clock.tsc = clock_tsc();
	vm->clock.ns = ns;
	mutex_unlock(&vm->clock.lock);
	mmu_request_all(vm->mmu, VCPU_REQ_CLOCK);
}

/* -- MSRs */

static bool offered(struct vcpu *v, u32 msr)
{
	bool old = msr == MSR_KVM_WALL_CLOCK || msr == MSR_KVM_SYSTEM_TIME;

	return pv_offered(v, old ? KVM_FEATURE_CLOCKSOURCE : KVM_FEATURE_CLOCKSOURCE2);
}

static bool is_clock_msr(u32 msr)
{
	return msr == MSR_KVM_WALL_CLOCK_NEW || msr == MSR_KVM_SYSTEM_TIME_NEW || msr == MSR_KVM_WALL_CLOCK ||
	       msr == MSR_KVM_SYSTEM_TIME;
}

int clock_msr_read(struct vcpu *v, u32 msr, u64 *value)
{
	if (is_clock_msr(msr) && !offered(v, msr))
		return -EINVAL;
	switch (msr) {
	case MSR_KVM_WALL_CLOCK_NEW:
	case MSR_KVM_WALL_CLOCK:
		*value = v->clock.wall_msr;
		return 0;
	case MSR_KVM_SYSTEM_TIME_NEW:
	case MSR_KVM_SYSTEM_TIME:
		*value = v->clock.time_msr;
		return 0;
	}
	return -ENOENT;
}

int clock_msr_write(struct vcpu *v, u32 msr, u64 value)
{
	if (is_clock_msr(msr) && !offered(v, msr))
		return -EINVAL;
	switch (msr) {
	case MSR_KVM_WALL_CLOCK_NEW:
	case MSR_KVM_WALL_CLOCK:
		v->clock.wall_msr = value;
		v->clock.wall_due =
			value && !mmu_cache_set(&v->clock.wall, value,
						sizeof(struct pvclock_wall_clock));
		break;
	case MSR_KVM_SYSTEM_TIME_NEW:
	case MSR_KVM_SYSTEM_TIME:
		v->clock.time_msr = value;
		mmu_cache_unset(&v->clock.time);
		/* As with KVM, a structure across two pages is never written. */
		mmu_cache_set(&v->clock.time, value & ~(u64)KVM_MSR_ENABLED,
			      sizeof(struct pvclock_vcpu_time));
		break;
	default:
		return -ENOENT;
	}
	mmu_vcpu_request(&v->cpu->mmu, VCPU_REQ_CLOCK);
	return 0;
}

void clock_reset(struct vcpu *v)
{
	v->clock.time_msr = 0;
	v->clock.wall_due = v->clock.paused = v->clock.retry = false;
	mmu_cache_unset(&v->clock.time);
	mmu_cache_unset(&v->clock.wall);
}

int clock_guest_paused(struct vcpu *v)
{
	if (!(v->clock.time_msr & KVM_MSR_ENABLED))
		return -EINVAL;
	v->clock.paused = true;
	mmu_vcpu_request(&v->cpu->mmu, VCPU_REQ_CLOCK);
	return 0;
}

/* -- the pages */

struct versioned {
	const void *all; /* the structure; its first word is the version */
	u32 size;
};

/*
 * Write the body between an odd and an even version, so that a vCPU that reads meanwhile reads
 * again.
 */
static int write_versioned(struct mmu_cache *c, void *arg)
{
	const struct versioned *w = arg;
	u32 version;
	int r = mmu_cache_read(c, 0, &version, sizeof(version));

	if (r)
		return r;
	version = (version | 1) + (version & 1 ? 2 : 0);
	if ((r = mmu_cache_write(c, 0, &version, sizeof(version))) ||
	    (r = mmu_cache_write(c, sizeof(version), (const u8 *)w->all + sizeof(version),
				 w->size - (u32)sizeof(version))))
		return r;
	version++;
	return mmu_cache_write(c, 0, &version, sizeof(version));
}

static int write_time(struct vcpu *v)
{
	struct pvclock_vcpu_time t = {.flags = PVCLOCK_TSC_STABLE};
	struct versioned w = {&t, sizeof(t)};
	int r;

	scale_of(v->cpu->tsc_ratio ? v->cpu->tsc_khz : v->vm->clock.khz, &t);
	mutex_lock(&v->vm->clock.lock);
	t.system_time = v->vm->clock.ns;
	t.tsc_timestamp = cpu_tsc_at(v->cpu, v->vm->clock.tsc);
	mutex_unlock(&v->vm->clock.lock);
	if (v->clock.paused)
		t.flags |= PVCLOCK_GUEST_STOPPED;
	r = pv_use(v, &v->clock.time, write_versioned, &w);
	if (!r)
		v->clock.paused = false;
	return r;
}

static int write_wall(struct vcpu *v)
{
	u64 zero = clock_ns(CLOCK_REALTIME) - vm_clock_at(v->vm, clock_tsc());
	struct pvclock_wall_clock wall = {
		.sec = (u32)(zero / NSEC_PER_SEC),
		.nsec = (u32)(zero % NSEC_PER_SEC),
	};
	struct versioned w = {&wall, sizeof(wall)};
	int r = pv_use(v, &v->clock.wall, write_versioned, &w);

	/* Written once: the guest's next request names the place again. */
	if (!r)
		mmu_cache_unset(&v->clock.wall);
	return r;
}

void clock_update(struct vcpu *v)
{
	v->clock.retry = false;
	if (v->clock.wall_due) {
		v->clock.wall_due = write_wall(v) != 0;
		v->clock.retry |= v->clock.wall_due;
	}
	if (v->clock.time_msr & KVM_MSR_ENABLED)
		v->clock.retry |= write_time(v) != 0;
}

void clock_retry(struct vcpu *v)
{
	if (v->clock.retry)
		mmu_vcpu_request(&v->cpu->mmu, VCPU_REQ_CLOCK);
}
