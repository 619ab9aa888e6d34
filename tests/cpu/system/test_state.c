/* SPDX-License-Identifier: MIT */
/*
 * State as a VMM sees it: what is refused, and that what was set comes back.
 */
#include "fake.h"
#include "cpu/system/msr.h"

static void sregs_round_trip(void **state)
{
	struct kvm_sregs a, b;

	fake_long(3);
	cpu_get_sregs(fake.c, &a);
	assert_int_equal(a.cs.l, 1);
	assert_int_equal(a.cs.dpl, 3);
	assert_int_equal(a.efer, EFER_LME | EFER_LMA | EFER_NX | EFER_SCE);
	cpu_reset(fake.c, false);
	assert_int_equal(cpu_set_sregs(fake.c, &a), 0);
	assert_int_equal(fake.c->mode, MODE_LONG);
	assert_int_equal(fake.c->cpl, 3);
	cpu_get_sregs(fake.c, &b);
	assert_memory_equal(&a, &b, sizeof(a));
}

/* KVM's rules for the bits that make up long mode, each combination. */
static void sregs_long_mode_rules(void **state)
{
	for (unsigned bits = 0; bits < 32; bits++) {
		bool pg = bits & 1, lme = bits & 2, lma = bits & 4, pae = bits & 8, l = bits & 16;
		bool valid = lme && pg ? pae && lma : !lma && !l;
		struct kvm_sregs s, before, after;

		fake_protected(0);
		cpu_get_sregs(fake.c, &before);
		s = before;
		s.cr0 = CR0_PE | CR0_ET | (pg ? CR0_PG : 0);
		s.cr4 = pae ? CR4_PAE : 0;
		s.efer = (lme ? EFER_LME : 0) | (lma ? EFER_LMA : 0);
		s.cs.l = l;
		assert_int_equal(cpu_set_sregs(fake.c, &s), valid ? 0 : -EINVAL);
		cpu_get_sregs(fake.c, &after);
		if (!valid) /* a refused set changes nothing */
			assert_memory_equal(&before, &after, sizeof(before));
	}
}

static void sregs_refused(void **state)
{
	struct kvm_sregs2 s2;
	struct kvm_sregs s;

	fake_long(0);
	cpu_get_sregs(fake.c, &s);
	s.cr4 |= CR4_PKE; /* not in CPUID */
	assert_int_equal(cpu_set_sregs(fake.c, &s), -EINVAL);
	cpu_get_sregs(fake.c, &s);
	s.cr0 |= BIT(40);
	assert_int_equal(cpu_set_sregs(fake.c, &s), -EINVAL);
	cpu_get_sregs(fake.c, &s);
	s.cr3 = BIT(45); /* beyond MAXPHYADDR */
	assert_int_equal(cpu_set_sregs(fake.c, &s), -EINVAL);
	cpu_get_sregs2(fake.c, &s2);
	s2.flags = KVM_SREGS2_FLAGS_PDPTRS_VALID; /* not PAE */
	assert_int_equal(cpu_set_sregs2(fake.c, &s2), -EINVAL);
	s2.flags = 2;
	assert_int_equal(cpu_set_sregs2(fake.c, &s2), -EINVAL);
}

static void sregs2_carries_pdptrs(void **state)
{
	struct kvm_sregs2 s;

	fake_protected(0);
	cpu_get_sregs2(fake.c, &s);
	s.cr0 |= CR0_PG;
	s.cr4 |= CR4_PAE;
	s.flags = KVM_SREGS2_FLAGS_PDPTRS_VALID;
	s.pdptrs[2] = 0x7001;
	assert_int_equal(cpu_set_sregs2(fake.c, &s), 0);
	memset(&s, 0, sizeof(s));
	cpu_get_sregs2(fake.c, &s);
	assert_int_equal(s.flags, KVM_SREGS2_FLAGS_PDPTRS_VALID);
	assert_int_equal(s.pdptrs[2], 0x7001);
}

static void pending_interrupt_in_the_bitmap(void **state)
{
	struct kvm_sregs s;

	fake_long(0);
	cpu_get_sregs(fake.c, &s);
	s.interrupt_bitmap[1] = BIT(5);
	assert_int_equal(cpu_set_sregs(fake.c, &s), 0);
	assert_true(fake.c->interrupt.injected);
	assert_int_equal(fake.c->interrupt.vector, 64 + 5);
	memset(&s, 0, sizeof(s));
	cpu_get_sregs(fake.c, &s);
	assert_int_equal(s.interrupt_bitmap[1], BIT(5));
}

static void registers(void **state)
{
	struct kvm_regs r;

	fake_long(0);
	memset(&r, 0, sizeof(r));
	r.rsi = 6;
	r.rsp = 4;
	r.r15 = 15;
	r.rip = 0x99;
	r.rflags = FL_FIXED | FL_CF | FL_OF | FL_IF | BIT(3) | BIT(40);
	cpu_set_regs(fake.c, &r);
	assert_int_equal(fake.c->reg[RSI], 6);
	assert_int_equal(fake.c->reg[RSP], 4);
	assert_int_equal(fake.c->reg[R15], 15);
	cpu_get_regs(fake.c, &r);
	/* Flags that do not exist do not come back. */
	assert_int_equal(r.rflags, FL_FIXED | FL_CF | FL_OF | FL_IF);
	assert_int_equal(r.rip, 0x99);
}

static void debugregs(void **state)
{
	struct kvm_debugregs d = {.dr7 = 0x400, .dr6 = 0xffff0ff0};

	fake_long(0);
	d.db[3] = 0x1234;
	assert_int_equal(cpu_set_debugregs(fake.c, &d), 0);
	d.dr7 = BIT(32);
	assert_int_equal(cpu_set_debugregs(fake.c, &d), -EINVAL);
	d.dr7 = 0x400;
	d.flags = 1;
	assert_int_equal(cpu_set_debugregs(fake.c, &d), -EINVAL);
	cpu_get_debugregs(fake.c, &d);
	assert_int_equal(d.db[3], 0x1234);
}

static void events(void **state)
{
	struct kvm_vcpu_events e;

	fake_long(0);
	memset(&e, 0, sizeof(e));
	e.flags = KVM_VCPUEVENT_VALID_SHADOW | KVM_VCPUEVENT_VALID_NMI_PENDING |
		  KVM_VCPUEVENT_VALID_PAYLOAD;
	e.interrupt.shadow = KVM_X86_SHADOW_INT_STI;
	e.nmi.pending = 1;
	e.exception.pending = 1;
	e.exception.nr = VEC_PF;
	e.exception.has_error_code = 1;
	e.exception.error_code = 2;
	e.exception_has_payload = 1;
	e.exception_payload = 0xabc;
	assert_int_equal(cpu_set_events(fake.c, &e), 0);
	assert_int_equal(fake.c->shadow, SHADOW_STI);
	memset(&e, 0xff, sizeof(e));
	cpu_get_events(fake.c, &e);
	assert_int_equal(e.interrupt.shadow, KVM_X86_SHADOW_INT_STI);
	assert_int_equal(e.exception_payload, 0xabc);
	assert_true(e.nmi.pending);
	/* Refused: unknown flags, a vector that is no exception, pending and injected at once. */
	e.flags |= BIT(20);
	assert_int_equal(cpu_set_events(fake.c, &e), -EINVAL);
	cpu_get_events(fake.c, &e);
	e.exception.nr = 32;
	assert_int_equal(cpu_set_events(fake.c, &e), -EINVAL);
	e.exception.nr = VEC_NMI;
	assert_int_equal(cpu_set_events(fake.c, &e), -EINVAL);
	cpu_get_events(fake.c, &e);
	e.exception.injected = 1;
	assert_int_equal(cpu_set_events(fake.c, &e), -EINVAL);
}

static int guest_set(u32 msr, u64 v)
{
	return cpu_msr_set(fake.c, msr, false, v);
}

static void msr_rules(void **state)
{
	u64 v;

	fake_long(0);
	assert_int_equal(guest_set(MSR_LSTAR, 0xffffffff81000000ULL), 0);
	assert_int_equal(guest_set(MSR_LSTAR, BIT(50)), -EINVAL);
	assert_int_equal(cpu_msr_get(fake.c, MSR_LSTAR, false, &v), 0);
	assert_int_equal(v, 0xffffffff81000000ULL);
	assert_int_equal(guest_set(MSR_PAT, 0x0007040600070406ULL), 0);
	assert_int_equal(guest_set(MSR_PAT, 2), -EINVAL);
	assert_int_equal(guest_set(MSR_EFER, EFER_LME | EFER_NX), 0);
	assert_true(fake.c->efer & EFER_LMA); /* not the guest's to change */
	assert_int_equal(guest_set(MSR_EFER, 0), -EINVAL); /* LME with paging on */
	assert_int_equal(guest_set(MSR_EFER, EFER_LME | EFER_SVME), -EINVAL);
	assert_int_equal(guest_set(MSR_TSC_AUX, BIT(32)), -EINVAL);
	assert_int_equal(guest_set(0x12345, 0), -ENOENT);
	assert_int_equal(guest_set(MSR_PLATFORM_INFO, 0), -EINVAL);
	assert_int_equal(cpu_msr_set(fake.c, MSR_PLATFORM_INFO, true, 0), 0);
	assert_int_equal(guest_set(0x200, 6), 0);
	assert_int_equal(guest_set(0x200, 2), -EINVAL); /* a memory type that is none */
	assert_int_equal(guest_set(0x201, BIT(45)), -EINVAL);
}

static void every_listed_msr_is_kept(void **state)
{
	const u32 *list;
	u32 n = cpu_msr_list(&list);
	u64 v;

	fake_long(0);
	for (u32 i = 0; i < n; i++)
		if (list[i] != MSR_TSC_DEADLINE) /* the owner's */
			assert_int_equal(cpu_msr_get(fake.c, list[i], true, &v), 0);
	n = cpu_msr_feature_list(&list);
	for (u32 i = 0; i < n; i++)
		assert_int_equal(cpu_msr_feature(list[i], &v), 0);
}

static void tsc_adjust_follows(void **state)
{
	u64 v;

	fake_long(0);
	assert_int_equal(cpu_msr_set(fake.c, MSR_TSC, true, 0), 0);
	assert_int_equal(cpu_msr_get(fake.c, MSR_TSC_ADJUST, false, &v), 0);
	assert_int_equal(v, 0);
	assert_int_equal(guest_set(MSR_TSC_ADJUST, 1ULL << 40), 0);
	assert_true(cpu_tsc(fake.c) >= 1ULL << 40);
	assert_int_equal(guest_set(MSR_TSC, 0), 0);
	assert_int_equal(cpu_msr_get(fake.c, MSR_TSC_ADJUST, false, &v), 0);
	/* Minus what has gone by since. */
	assert_true((s64)v <= 0 && (s64)v > -(s64)(1ULL << 40));
}

static void tsc_runs_at_its_own_rate(void **state)
{
	u64 guest, host;

	fake_long(0);
	assert_int_equal(cpu_set_tsc_khz(fake.c, 0, 2000000), -EINVAL);
	assert_int_equal(cpu_set_tsc_khz(fake.c, 6000000, 2000000), 0);
	assert_int_equal(cpu_msr_set(fake.c, MSR_TSC, true, 0), 0);
	host = __builtin_ia32_rdtsc();
	guest = cpu_tsc(fake.c);
	while (__builtin_ia32_rdtsc() - host < 1000000)
		;
	guest = cpu_tsc(fake.c) - guest;
	assert_true(guest >= 2999000);
	assert_int_equal(cpu_set_tsc_khz(fake.c, 2000000, 2000000), 0);
	assert_int_equal(fake.c->tsc_ratio, 0);
}

static void supported_cpuid_is_taken(void **state)
{
	struct cpuid_leaf leaf[MAX_CPUID];
	u32 n = MAX_CPUID, few = 3, out[4];

	fake_reset();
	assert_int_equal(cpuid_supported(leaf, &few), -E2BIG);
	assert_int_equal(cpuid_supported(leaf, &n), 0);
	assert_int_equal(cpu_set_cpuid(fake.c, leaf, n), 0);
	/* Each leaf once, and none of what is not carried out. */
	for (u32 i = 0; i < n; i++)
		for (u32 j = 0; j < i; j++)
			assert_false(leaf[i].function == leaf[j].function &&
				     leaf[i].index == leaf[j].index);
	assert_false(cpuid_has(fake.c, 1, ECX, 3));   /* MONITOR */
	assert_false(cpuid_has(fake.c, 1, ECX, 5));   /* VMX */
	assert_false(cpuid_has(fake.c, 7, EBX, 4));   /* HLE */
	assert_false(cpuid_has(fake.c, 7, EBX, 11));  /* RTM */
	assert_false(cpuid_has(fake.c, 7, ECX, 3));   /* PKU */
	assert_false(cpuid_has(fake.c, 7, EDX, 24));  /* AMX */
	assert_true(cpuid_has(fake.c, 1, ECX, 17));   /* PCID: the system architecture is ours */
	assert_true(cpuid_has(fake.c, 1, ECX, 31));
	/* OSXSAVE follows CR4; a leaf beyond the last is the last basic one on Intel. */
	cpu_cpuid(fake.c, 1, 0, out);
	assert_false(out[ECX] & BIT(27));
	fake.c->cr4 |= CR4_OSXSAVE;
	cpu_cpuid(fake.c, 1, 0, out);
	assert_true(out[ECX] & BIT(27));
	leaf[0].eax = 1;
	leaf[0].ebx = 0x756e6547; /* "Genu" */
	assert_int_equal(cpu_set_cpuid(fake.c, leaf, n), 0);
	cpu_cpuid(fake.c, 0x100, 0, out);
	assert_int_equal(out[EAX], leaf[1].eax);
}

static void power_up(void **state)
{
	struct cpu *c;

	fake_long(3);
	c = fake.c;
	c->lstar = 5;
	c->cr0 &= ~(CR0_CD | CR0_NW);
	cpu_reset(c, true);
	/* INIT keeps MSRs and the cache bits, and nothing of the rest. */
	assert_int_equal(c->lstar, 5);
	assert_int_equal(c->cr0, CR0_ET);
	assert_int_equal(c->mode, MODE_REAL);
	assert_int_equal(c->seg[SEG_CS].base + c->rip, 0xfffffff0);
	assert_int_equal(c->reg[RDX], 0x60fb1);
	cpu_reset(c, false);
	assert_int_equal(c->lstar, 0);
	assert_int_equal(c->cr0, CR0_ET | CR0_CD | CR0_NW);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sregs_round_trip),
		cmocka_unit_test(sregs_long_mode_rules),
		cmocka_unit_test(sregs_refused),
		cmocka_unit_test(sregs2_carries_pdptrs),
		cmocka_unit_test(pending_interrupt_in_the_bitmap),
		cmocka_unit_test(registers),
		cmocka_unit_test(debugregs),
		cmocka_unit_test(events),
		cmocka_unit_test(msr_rules),
		cmocka_unit_test(every_listed_msr_is_kept),
		cmocka_unit_test(tsc_adjust_follows),
		cmocka_unit_test(tsc_runs_at_its_own_rate),
		cmocka_unit_test(supported_cpuid_is_taken),
		cmocka_unit_test(power_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
