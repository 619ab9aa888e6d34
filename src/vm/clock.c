/* SPDX-License-Identifier: MIT */
#include "vm/clock.h"

#include <linux/kvm_para.h>
#include <time.h>

#include "sync/atomic.h"

#define MSR_WALL_CLOCK_OLD  0x11
#define MSR_SYSTEM_TIME_OLD 0x12
#define MSR_WALL_CLOCK	    0x4b564d00
#define MSR_SYSTEM_TIME	    0x4b564d01

#define SYSTEM_TIME_ENABLE BIT(0)

#define PVCLOCK_TSC_STABLE    BIT(0)
#define PVCLOCK_GUEST_STOPPED BIT(1)

#define NS_PER_SEC 1000000000ULL

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

static u64 clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (u64)ts.tv_sec * NS_PER_SEC + (u64)ts.tv_nsec;
}

u64 vm_clock_get(struct vm *vm)
{
	return clock_ns(CLOCK_MONOTONIC_RAW) + (u64)sync_load(&vm->clock_offset);
}

void vm_clock_set(struct vm *vm, u64 ns)
{
	sync_store(&vm->clock_offset, (s64)(ns - clock_ns(CLOCK_MONOTONIC_RAW)));
	mmu_request_all(vm->mmu, VCPU_REQ_CLOCK);
}

/* -- MSRs */

/* May the guest use it: always, unless its own CPUID is to be enforced. */
static bool offered(struct vcpu *v, u32 msr)
{
	bool old = msr == MSR_WALL_CLOCK_OLD || msr == MSR_SYSTEM_TIME_OLD;
	u32 features[4];

	if (!v->enforce_pv_cpuid)
		return true;
	cpu_cpuid(v->cpu, KVM_CPUID_FEATURES, 0, features);
	return features[0] & BIT(old ? KVM_FEATURE_CLOCKSOURCE : KVM_FEATURE_CLOCKSOURCE2);
}

static bool is_clock_msr(u32 msr)
{
	return msr == MSR_WALL_CLOCK || msr == MSR_SYSTEM_TIME || msr == MSR_WALL_CLOCK_OLD ||
	       msr == MSR_SYSTEM_TIME_OLD;
}

int clock_msr_read(struct vcpu *v, u32 msr, u64 *value)
{
	if (is_clock_msr(msr) && !offered(v, msr))
		return -EINVAL;
	switch (msr) {
	case MSR_WALL_CLOCK:
	case MSR_WALL_CLOCK_OLD:
		*value = v->clock.wall_msr;
		return 0;
	case MSR_SYSTEM_TIME:
	case MSR_SYSTEM_TIME_OLD:
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
	case MSR_WALL_CLOCK:
	case MSR_WALL_CLOCK_OLD:
		v->clock.wall_msr = value;
		v->clock.wall_due = value != 0;
		break;
	case MSR_SYSTEM_TIME:
	case MSR_SYSTEM_TIME_OLD:
		v->clock.time_msr = value;
		break;
	default:
		return -ENOENT;
	}
	mmu_vcpu_request(&v->cpu->mmu, VCPU_REQ_CLOCK);
	return 0;
}

int clock_guest_paused(struct vcpu *v)
{
	if (!(v->clock.time_msr & SYSTEM_TIME_ENABLE))
		return -EINVAL;
	v->clock.paused = true;
	mmu_vcpu_request(&v->cpu->mmu, VCPU_REQ_CLOCK);
	return 0;
}

/* -- the pages */

/* ns = ((ticks << shift) * mul) >> 32, with mul as large as 32 bits allow. */
static void scale_of(u32 khz, struct pvclock_vcpu_time *t)
{
	u64 hz = (u64)khz * 1000;

	t->tsc_shift = 0;
	while (hz > 2 * NS_PER_SEC) {
		hz >>= 1;
		t->tsc_shift--;
	}
	while (hz <= NS_PER_SEC) {
		hz <<= 1;
		t->tsc_shift++;
	}
	t->tsc_to_system_mul = (u32)((NS_PER_SEC << 32) / hz);
}

/*
 * Write body (which starts after the version word) between an odd and an even version, so that
 * a vCPU that reads meanwhile reads again. What cannot be written is not: the VMM took the
 * memory away, and the guest finds out by itself.
 */
static void write_versioned(struct mmu *mmu, gpa_t gpa, const void *all, u32 size)
{
	u32 version;

	if (mmu_read_guest(mmu, gpa, &version, sizeof(version)))
		return;
	version = (version | 1) + (version & 1 ? 2 : 0);
	if (mmu_write_guest(mmu, gpa, &version, sizeof(version)))
		return;
	if (mmu_write_guest(mmu, gpa + sizeof(version), (const u8 *)all + sizeof(version),
			    size - (u32)sizeof(version)))
		return;
	version++;
	mmu_write_guest(mmu, gpa, &version, sizeof(version));
}

static void write_time(struct vcpu *v)
{
	struct pvclock_vcpu_time t = {.flags = PVCLOCK_TSC_STABLE};
	gpa_t gpa = v->clock.time_msr & ~SYSTEM_TIME_ENABLE;

	scale_of(v->cpu->tsc_khz, &t);
	t.system_time = vm_clock_get(v->vm);
	t.tsc_timestamp = cpu_tsc(v->cpu);
	if (v->clock.paused)
		t.flags |= PVCLOCK_GUEST_STOPPED;
	v->clock.paused = false;
	write_versioned(v->vm->mmu, gpa, &t, sizeof(t));
}

static void write_wall(struct vcpu *v)
{
	u64 zero = clock_ns(CLOCK_REALTIME) - vm_clock_get(v->vm);
	struct pvclock_wall_clock w = {
		.sec = (u32)(zero / NS_PER_SEC),
		.nsec = (u32)(zero % NS_PER_SEC),
	};

	v->clock.wall_due = false;
	write_versioned(v->vm->mmu, v->clock.wall_msr, &w, sizeof(w));
}

void clock_update(struct vcpu *v)
{
	if (v->clock.wall_due)
		write_wall(v);
	if (v->clock.time_msr & SYSTEM_TIME_ENABLE)
		write_time(v);
}
