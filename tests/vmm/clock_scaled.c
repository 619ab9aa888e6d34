/* SPDX-License-Identifier: MIT */
/*
 * tests/vmm/clock_scaled.c: kvmclock of a vCPU whose TSC does not run at the host's rate, as after a
 * migration from a host of another frequency. What the guest computes from its page and its TSC
 * must lie between the VMM's own views from before and after, also when the VMM moved the TSC.
 */
#include "clock.h"
#include "minivmm.h"
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#define MSR_TSC 0x10
#define TIME_AT 0x6000 /* the clock's page */
#define TSC_AT	0x7000 /* what RDTSC said */
#define ROUNDS	2000
#define SLACK	20000 /* ns: both rates are whole kHz, and a VM is some milliseconds old */

/* The clock on; then RDTSC whenever asked. */
GUEST(guest, 16,
      "mov $0x4b564d01, %ecx\n mov $0x6001, %eax\n xor %edx, %edx\n wrmsr\n"
      "1: out %al, $0x10\n rdtsc\n mov %eax, 0x7000\n mov %edx, 0x7004\n out %al, $0x10\n jmp 1b\n");

static uint64_t vmm_clock(const struct minivmm *v)
{
	struct kvm_clock_data d;

	EXPECT(!ioctl(v->vm, KVM_GET_CLOCK, &d), "KVM_GET_CLOCK: %s", strerror(errno));
	return d.clock;
}

/* Clock and TSC of one answer are of one moment: between two they differ by the same time. */
static void one_moment(const struct minivmm *v, long khz)
{
	struct kvm_clock_data a, b;

	for (int i = 0; i < ROUNDS; i++) {
		EXPECT(!ioctl(v->vm, KVM_GET_CLOCK, &a) && !ioctl(v->vm, KVM_GET_CLOCK, &b),
		       "KVM_GET_CLOCK: %s", strerror(errno));
		if (!(a.flags & b.flags & KVM_CLOCK_HOST_TSC))
			return;
		double ns = (double)(b.host_tsc - a.host_tsc) * 1e6 / (double)khz;
		double off = ns - (double)(b.clock - a.clock);

		EXPECT(off < 3 && off > -3, "TSC and clock differ by %g ns more than before", off);
	}
}

static uint64_t guest_clock(const struct minivmm *v)
{
	struct clock_page t;
	uint64_t tsc, ticks;

	memcpy(&t, v->mem + TIME_AT, sizeof(t));
	memcpy(&tsc, v->mem + TSC_AT, sizeof(tsc));
	ticks = tsc - t.tsc;
	ticks = t.shift < 0 ? ticks >> -t.shift : ticks << t.shift;
	return t.ns + (uint64_t)((unsigned __int128)ticks * t.mul >> 32);
}

static void look(struct minivmm *v, const char *when)
{
	uint64_t before = vmm_clock(v), now, after;

	EXPECT_EXIT(v, KVM_EXIT_IO);
	now = guest_clock(v);
	after = vmm_clock(v);
	EXPECT(now + SLACK >= before && now <= after + SLACK,
	       "%s, TSC at %d kHz: guest %lu ns, VMM %lu to %lu", when,
	       ioctl(v->vcpu, KVM_GET_TSC_KHZ, 0), now, before, after);
	EXPECT_EXIT(v, KVM_EXIT_IO);
}

static void set_tsc(struct minivmm *v, uint64_t to)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry tsc;
	} m = {.head.nmsrs = 1, .tsc = {.index = MSR_TSC, .data = to}};

	EXPECT(ioctl(v->vcpu, KVM_SET_MSRS, &m) == 1, "KVM_SET_MSRS: %s", strerror(errno));
}

static void set_tsc_offset(struct minivmm *v, uint64_t to)
{
	struct kvm_device_attr a = {
		.group = KVM_VCPU_TSC_CTRL, .attr = KVM_VCPU_TSC_OFFSET, .addr = (uintptr_t)&to};

	EXPECT(!ioctl(v->vcpu, KVM_SET_DEVICE_ATTR, &a), "KVM_SET_DEVICE_ATTR: %s",
	       strerror(errno));
}

static void agree(long numerator, long denominator)
{
	struct kvm_clock_data hour = {.clock = 3600000000000};
	struct minivmm v;
	long khz;

	minivmm_create(&v);
	khz = ioctl(v.vcpu, KVM_GET_TSC_KHZ, 0);
	EXPECT(khz > 0, "KVM_GET_TSC_KHZ: %s", strerror(errno));
	one_moment(&v, khz);
	khz = khz * numerator / denominator;
	EXPECT(!ioctl(v.vcpu, KVM_SET_TSC_KHZ, khz), "KVM_SET_TSC_KHZ %ld: %s", khz,
	       strerror(errno));
	EXPECT(ioctl(v.vcpu, KVM_GET_TSC_KHZ, 0) == khz, "another rate");
	minivmm_load(&v, MINIVMM_REAL, guest);
	EXPECT_EXIT(&v, KVM_EXIT_IO);
	for (int i = 0; i < ROUNDS; i++)
		look(&v, "as it was made");
	set_tsc(&v, 1ULL << 50);
	look(&v, "IA32_TSC set");
	set_tsc_offset(&v, 1ULL << 60);
	look(&v, "the offset set");
	EXPECT(!ioctl(v.vm, KVM_SET_CLOCK, &hour), "KVM_SET_CLOCK: %s", strerror(errno));
	look(&v, "the clock set");
	minivmm_destroy(&v);
	printf("ok %ld/%ld of the host's rate\n", numerator, denominator);
}

int main(void)
{
	agree(1, 1);
	agree(10001, 10000); /* KVM takes it for the host's own */
	agree(1001, 1000);
	agree(1, 2);
	agree(3, 1);
	return 0;
}
