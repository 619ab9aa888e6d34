/* SPDX-License-Identifier: MIT */
/* The local APIC: registers, priority, destinations, IPIs, modes (Intel SDM vol. 3, chapter
 * 11). */
#include "harness.h"

#define ICR_ASSERT  0x4000u
#define ICR_LOGICAL 0x800u
#define ICR_SELF    0x40000u
#define ICR_ALL	    0x80000u
#define ICR_OTHERS  0xc0000u
#define X2_ICR	    0x830
#define X2_ID	    0x802

static void ipi(u32 from, u32 dest, u32 low)
{
	apic_write(from, APIC_ICR2, dest << 24);
	apic_write(from, APIC_ICR, low | ICR_ASSERT);
}

static u64 rdmsr(u32 vcpu, u32 msr)
{
	u64 v;

	assert_int_equal(lapic_msr_read(m.vcpu[vcpu].lapic, msr, &v), 0);
	return v;
}

static int wrmsr(u32 vcpu, u32 msr, u64 v)
{
	return lapic_msr_write(m.vcpu[vcpu].lapic, msr, v);
}

static void reset_values(void **state)
{
	lapic_reset(m.vcpu[0].lapic, false);
	lapic_reset(m.vcpu[1].lapic, false);
	assert_int_equal(lapic_get_base(m.vcpu[0].lapic), 0xfee00900);
	assert_int_equal(lapic_get_base(m.vcpu[1].lapic), 0xfee00800);
	assert_int_equal(apic_read(1, APIC_ID), 1 << 24);
	assert_int_equal(apic_read(1, APIC_LVR), 0x50014);
	assert_int_equal(apic_read(1, APIC_SPIV), 0xff);
	assert_int_equal(apic_read(1, APIC_DFR), 0xffffffff);
	assert_int_equal(apic_read(1, APIC_LVTT), LVT_MASKED);
	assert_int_equal(apic_read(0, APIC_LVT0), DM_EXTINT); /* KVM's quirk, boot processor */
	assert_int_equal(apic_read(1, APIC_LVT0), LVT_MASKED);
	m.flags = IRQCHIP_FLAG_NO_LINT0_QUIRK;
	lapic_reset(m.vcpu[0].lapic, true);
	assert_int_equal(apic_read(0, APIC_LVT0), LVT_MASKED);
}

static void highest_vector_first_and_nesting_by_class(void **state)
{
	ipi(0, 1, 0x41);
	ipi(0, 1, 0x52);
	ipi(0, 1, 0x51);
	assert_int_equal(irq_get(1), 0x52);
	assert_int_equal(apic_read(1, APIC_PPR), 0x50);
	assert_int_equal(irq_has(1), -1); /* 0x51 is of the same class */
	ipi(0, 1, 0x60);
	assert_int_equal(irq_get(1), 0x60);
	apic_write(1, APIC_EOI, 0);
	assert_int_equal(irq_has(1), -1);
	apic_write(1, APIC_EOI, 0);
	assert_int_equal(irq_get(1), 0x51);
	apic_write(1, APIC_EOI, 0);
	assert_int_equal(irq_get(1), 0x41);
	assert_int_equal(apic_read(1, APIC_ISR + 0x20), 0x2);
	apic_write(1, APIC_EOI, 0);
	assert_int_equal(apic_read(1, APIC_PPR), 0);
	apic_write(1, APIC_EOI, 0); /* nothing in service: nothing happens */
}

static void tpr_holds_back_its_class(void **state)
{
	ipi(0, 1, 0x45);
	apic_write(1, APIC_TPR, 0x4f);
	assert_int_equal(apic_read(1, APIC_PPR), 0x4f);
	assert_int_equal(irq_has(1), -1);
	assert_int_equal(lapic_get_cr8(m.vcpu[1].lapic), 4);
	lapic_set_cr8(m.vcpu[1].lapic, 3);
	assert_int_equal(apic_read(1, APIC_TPR), 0x30);
	assert_int_equal(irq_has(1), 0x45);
}

static void kick_comes_with_an_interrupt(void **state)
{
	u32 before = m.vcpu[1].kicks;

	ipi(0, 1, 0x45);
	assert_int_equal(m.vcpu[1].kicks, before + 1);
	assert_int_equal(m.vcpu[2].kicks, 0);
}

static void software_disabled_takes_no_vector_but_nmi(void **state)
{
	apic_write(1, APIC_LVT1, DM_NMI);
	apic_write(1, APIC_SPIV, 0xff);
	assert_int_equal(apic_read(1, APIC_LVT1), DM_NMI | LVT_MASKED);
	apic_write(1, APIC_LVT1, DM_NMI);
	assert_int_equal(apic_read(1, APIC_LVT1), DM_NMI | LVT_MASKED);
	ipi(0, 1, 0x45);
	ipi(0, 1, DM_NMI);
	apic_enable(1);
	assert_int_equal(irq_has(1), -1);
	assert_int_equal(m.vcpu[1].nmis, 1);
}

static void shorthands(void **state)
{
	ipi(2, 0, 0x40 | ICR_SELF);
	assert_int_equal(irq_get(2), 0x40);
	assert_int_equal(irq_has(0), -1);
	ipi(2, 0, 0x51 | ICR_OTHERS);
	assert_int_equal(irq_has(2), -1);
	assert_int_equal(irq_get(0), 0x51);
	assert_int_equal(irq_get(1), 0x51);
	assert_int_equal(irq_get(3), 0x51);
	ipi(2, 0, 0x62 | ICR_ALL);
	for (u32 i = 0; i < 4; i++)
		assert_int_equal(irq_get(i), 0x62);
	ipi(2, 0xff, 0x73); /* physical broadcast */
	for (u32 i = 0; i < 4; i++)
		assert_int_equal(irq_get(i), 0x73);
}

static void logical_flat(void **state)
{
	for (u32 i = 0; i < 4; i++)
		apic_write(i, APIC_LDR, 1u << (24 + i));
	ipi(0, 0x0a, 0x45 | ICR_LOGICAL);
	assert_int_equal(irq_has(0), -1);
	assert_int_equal(irq_has(1), 0x45);
	assert_int_equal(irq_has(2), -1);
	assert_int_equal(irq_has(3), 0x45);
}

static void logical_cluster(void **state)
{
	for (u32 i = 0; i < 4; i++) {
		apic_write(i, APIC_DFR, 0x0fffffff);
		apic_write(i, APIC_LDR, ((i / 2) << 4 | 1u << (i & 1)) << 24);
	}
	ipi(0, 0x12, 0x45 | ICR_LOGICAL); /* cluster 1, member 1 */
	assert_int_equal(irq_has(3), 0x45);
	for (u32 i = 0; i < 3; i++)
		assert_int_equal(irq_has(i), -1);
}

static void startup_sequence(void **state)
{
	ipi(0, 1, DM_INIT | 0x8000);
	assert_int_equal(m.vcpu[1].inits, 1);
	apic_write(0, APIC_ICR, DM_INIT | 0x8000); /* de-assert does nothing */
	assert_int_equal(m.vcpu[1].inits, 1);
	ipi(0, 1, DM_STARTUP | 0x9a);
	assert_int_equal(m.vcpu[1].sipis, 1);
	assert_int_equal(m.vcpu[1].sipi_vector, 0x9a);
}

static void error_register(void **state)
{
	apic_write(1, APIC_LVTERR, 0xfe);
	ipi(1, 2, 0x05); /* an illegal vector */
	assert_int_equal(apic_read(1, APIC_ESR), 0);
	assert_int_equal(irq_get(1), 0xfe);
	apic_write(1, APIC_ESR, 0);
	assert_int_equal(apic_read(1, APIC_ESR), ESR_SEND_VECTOR);
	apic_write(2, APIC_ESR, 0);
	assert_int_equal(apic_read(2, APIC_ESR), ESR_RECV_VECTOR);
	apic_write(1, APIC_ESR, 0);
	assert_int_equal(apic_read(1, APIC_ESR), 0);
	apic_read(1, 0x40);
	apic_write(1, APIC_ESR, 0);
	assert_int_equal(apic_read(1, APIC_ESR), ESR_REGISTER);
}

static void lvt_masks(void **state)
{
	apic_write(0, APIC_LVTT, 0xffffffff);
	assert_int_equal(apic_read(0, APIC_LVTT), 0x710ff);
	lapic_set_features(m.vcpu[0].lapic, true, false);
	apic_write(0, APIC_LVTT, 0xffffffff);
	assert_int_equal(apic_read(0, APIC_LVTT), 0x310ff);
	apic_write(0, APIC_LVTPC, 0xffffffff);
	assert_int_equal(apic_read(0, APIC_LVTPC), 0x117ff);
	apic_write(0, APIC_LVT1, 0xffffffff);
	assert_int_equal(apic_read(0, APIC_LVT1), 0x1f7ff);
	apic_write(0, APIC_LVTERR, 0xffffffff);
	assert_int_equal(apic_read(0, APIC_LVTERR), 0x110ff);
}

static void narrow_accesses(void **state)
{
	u8 b[8];
	struct lapic *l = m.vcpu[1].lapic;

	assert_true(irqchip_mmio(m.ic, l, APIC_BASE_ADDR + APIC_ID + 3, 1, false, b));
	assert_int_equal(b[0], 1);
	b[0] = 0x7;
	irqchip_mmio(m.ic, l, APIC_BASE_ADDR + APIC_TPR, 1, true, b);
	assert_int_equal(apic_read(1, APIC_TPR), 0); /* only doublewords are written */
	assert_false(irqchip_mmio(m.ic, l, APIC_BASE_ADDR + 0x1000, 4, false, b));
}

static void mode_transitions(void **state)
{
	struct lapic *l = m.vcpu[1].lapic;
	const u64 off = 0xfee00000, x = off | APIC_BASE_EN, x2 = x | APIC_BASE_X2;

	assert_int_equal(lapic_set_base(l, off | APIC_BASE_X2, true), -EINVAL);
	assert_int_equal(lapic_set_base(l, x | 1, false), -EINVAL);
	assert_int_equal(lapic_set_base(l, x2, false), 0);
	assert_int_equal(lapic_set_base(l, x, false), -EINVAL);
	assert_int_equal(lapic_set_base(l, off, false), 0);
	assert_int_equal(lapic_set_base(l, x2, false), -EINVAL);
	assert_int_equal(lapic_set_base(l, x2, true), 0);
	assert_int_equal(lapic_set_base(l, x, true), 0);
	lapic_set_features(l, false, true);
	assert_int_equal(lapic_set_base(l, x2, true), -EINVAL);
}

static void disabled_apic_is_a_hole(void **state)
{
	lapic_set_base(m.vcpu[1].lapic, 0xfee00000, false);
	assert_int_equal(apic_read(1, APIC_LVR), 0xffffffff);
	ipi(0, 1, 0x45);
	assert_int_equal(irq_has(1), -1);
	assert_true(lapic_accepts_pic(m.vcpu[1].lapic));
}

/* The 8259's output was up, and held back by the APIC that goes. */
static void disabling_lets_the_pic_through(void **state)
{
	u32 before;

	apic_write(0, APIC_LVT0, LVT_MASKED);
	sync_store(&m.ic->pic_output, 1);
	before = m.vcpu[0].kicks;
	lapic_set_base(m.vcpu[0].lapic, 0xfee00100, false);
	assert_int_equal(m.vcpu[0].kicks, before + 1);
}

static void moved_base(void **state)
{
	struct lapic *l = m.vcpu[1].lapic;
	u32 v;

	assert_int_equal(lapic_set_base(l, 0xd0000000 | APIC_BASE_EN, false), 0);
	assert_true(irqchip_mmio(m.ic, l, 0xd0000030, 4, false, &v));
	assert_int_equal(v, 0x50014);
	assert_false(irqchip_mmio(m.ic, l, 0xfee00030, 4, false, &v));
}

static void x2apic_registers(void **state)
{
	u64 v;

	assert_int_equal(lapic_msr_read(m.vcpu[3].lapic, X2_ID, &v), -EINVAL);
	apic_to_x2(3);
	assert_int_equal(apic_read(3, APIC_LVR), 0xffffffff); /* no memory any more */
	assert_int_equal(rdmsr(3, X2_ID), 3);
	assert_int_equal(rdmsr(3, 0x80d), 8);
	assert_int_equal(rdmsr(3, 0x803), 0x50014);
	assert_int_equal(lapic_msr_read(m.vcpu[3].lapic, 0x80e, &v), -EINVAL); /* DFR */
	assert_int_equal(lapic_msr_read(m.vcpu[3].lapic, 0x831, &v), -EINVAL); /* ICR2 */
	assert_int_equal(lapic_msr_read(m.vcpu[3].lapic, 0x80b, &v), -EINVAL); /* EOI */
	assert_int_equal(wrmsr(3, X2_ID, 5), -EINVAL);
	assert_int_equal(wrmsr(3, 0x803, 0), -EINVAL);
	assert_int_equal(wrmsr(3, 0x80b, 1), -EINVAL);
	assert_int_equal(wrmsr(3, 0x80b, 0), 0);
	assert_int_equal(wrmsr(3, 0x828, 1), -EINVAL); /* ESR takes zero only */
	assert_int_equal(wrmsr(3, 0x808, 1ULL << 32), -EINVAL);
	assert_int_equal(wrmsr(3, 0x808, 0x20), 0);
	assert_int_equal(lapic_get_cr8(m.vcpu[3].lapic), 2);
	assert_int_equal(wrmsr(3, X2_ICR, 0x100000), -EINVAL);
	assert_int_equal(wrmsr(3, 0x8ff, 0), -EINVAL);
}

static void x2apic_ipis(void **state)
{
	for (u32 i = 0; i < 4; i++)
		apic_to_x2(i);
	assert_int_equal(wrmsr(0, X2_ICR, 2ULL << 32 | 0x45 | ICR_ASSERT), 0);
	assert_int_equal(rdmsr(0, X2_ICR), 2ULL << 32 | 0x45 | ICR_ASSERT);
	assert_int_equal(irq_get(2), 0x45);
	assert_int_equal(wrmsr(0, X2_ICR, 0x0000000aULL << 32 | ICR_LOGICAL | 0x56), 0);
	assert_int_equal(irq_has(0), -1);
	assert_int_equal(irq_get(1), 0x56);
	assert_int_equal(irq_get(3), 0x56);
	assert_int_equal(wrmsr(0, X2_ICR, 0x0001000aULL << 32 | ICR_LOGICAL | 0x66), 0);
	assert_int_equal(irq_has(1), -1); /* another cluster */
	assert_int_equal(wrmsr(0, X2_ICR, 0xffffffffULL << 32 | 0x77), 0);
	for (u32 i = 0; i < 4; i++)
		assert_int_equal(irq_get(i), 0x77);
	assert_int_equal(wrmsr(0, 0x83f, 0x88), 0);
	assert_int_equal(irq_get(0), 0x88);
	assert_int_equal(wrmsr(0, 0x83f, 0x188), -EINVAL);
	/* An IPI to 0xff is to APIC 255 and to nobody here. */
	assert_int_equal(wrmsr(0, X2_ICR, 0xffULL << 32 | 0x99), 0);
	assert_int_equal(irq_has(1), -1);
}

static void init_keeps_mode_and_id(void **state)
{
	apic_to_x2(3);
	lapic_reset(m.vcpu[3].lapic, true);
	assert_true(lapic_get_base(m.vcpu[3].lapic) & APIC_BASE_X2);
	assert_int_equal(rdmsr(3, X2_ID), 3);
	assert_int_equal(rdmsr(3, 0x80d), 8);
	assert_int_equal(rdmsr(3, 0x80f), 0xff);
}

static void state_round_trip(void **state)
{
	struct kvm_lapic_state a, b;

	apic_write(1, APIC_TPR, 0x20);
	apic_write(1, APIC_LVTT, 0xec);
	ipi(0, 1, 0x45);
	irq_get(1);
	ipi(0, 1, 0x61);
	lapic_get_state(m.vcpu[1].lapic, &a);
	lapic_reset(m.vcpu[1].lapic, false);
	assert_int_equal(irq_has(1), -1);
	assert_int_equal(lapic_set_state(m.vcpu[1].lapic, &a), 0);
	lapic_get_state(m.vcpu[1].lapic, &b);
	assert_memory_equal(&a, &b, sizeof(a));
	assert_int_equal(irq_get(1), 0x61);
	apic_write(1, APIC_EOI, 0);
	assert_int_equal(apic_read(1, APIC_PPR), 0x40);
}

static void state_id_in_x2apic_mode(void **state)
{
	struct kvm_lapic_state s;
	u32 id;

	apic_to_x2(3);
	lapic_get_state(m.vcpu[3].lapic, &s);
	memcpy(&id, s.regs + APIC_ID, 4);
	assert_int_equal(id, 3 << 24);
	assert_int_equal(lapic_set_state(m.vcpu[3].lapic, &s), 0);
	assert_int_equal(rdmsr(3, X2_ID), 3);
	m.flags = IRQCHIP_FLAG_X2APIC_32BIT;
	lapic_get_state(m.vcpu[3].lapic, &s);
	memcpy(&id, s.regs + APIC_ID, 4);
	assert_int_equal(id, 3);
	id = 4;
	memcpy(s.regs + APIC_ID, &id, 4);
	assert_int_equal(lapic_set_state(m.vcpu[3].lapic, &s), -EINVAL);
}

/* KVM_HC_SEND_IPI: a bitmap of ids from the lowest on; nobody is not counted. */
static void ipis_by_a_bitmap(void **state)
{
	assert_int_equal(irqchip_send_ipis(m.ic, 0xb, 0, 0x61 | ICR_ASSERT), 3);
	assert_int_equal(irq_get(0), 0x61);
	assert_int_equal(irq_get(1), 0x61);
	assert_int_equal(irq_has(2), -1);
	assert_int_equal(irq_get(3), 0x61);
	assert_int_equal(irqchip_send_ipis(m.ic, 0x31, 2, 0x72 | ICR_ASSERT), 1);
	assert_int_equal(irq_get(2), 0x72);
	assert_int_equal(irqchip_send_ipis(m.ic, 1, 2, 0x72 | ICR_ASSERT | ICR_LOGICAL), -EINVAL);
	assert_int_equal(irqchip_send_ipis(m.ic, 1, 2, 0x72 | ICR_ASSERT | ICR_ALL), -EINVAL);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup_kernel_4, machine_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(reset_values),
		T(highest_vector_first_and_nesting_by_class),
		T(tpr_holds_back_its_class),
		T(kick_comes_with_an_interrupt),
		T(software_disabled_takes_no_vector_but_nmi),
		T(shorthands),
		T(logical_flat),
		T(logical_cluster),
		T(startup_sequence),
		T(error_register),
		T(lvt_masks),
		T(narrow_accesses),
		T(mode_transitions),
		T(disabled_apic_is_a_hole),
		T(disabling_lets_the_pic_through),
		T(moved_base),
		T(x2apic_registers),
		T(x2apic_ipis),
		T(init_keeps_mode_and_id),
		T(state_round_trip),
		T(state_id_in_x2apic_mode),
		T(ipis_by_a_bitmap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
