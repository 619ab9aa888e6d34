/* SPDX-License-Identifier: MIT */
/* The two 8259, by the Intel 8259A data sheet. */
#include "harness.h"

#define MASTER 0x20
#define SLAVE  0x70

static void program(u8 icw4)
{
	outb(0x20, 0x11);
	outb(0x21, MASTER);
	outb(0x21, 0x04);
	outb(0x21, icw4);
	outb(0xa0, 0x11);
	outb(0xa1, SLAVE);
	outb(0xa1, 0x02);
	outb(0xa1, icw4);
}

static void pulse(u32 irq)
{
	raise_gsi(irq);
	lower_gsi(irq);
}

static void eoi(void)
{
	outb(0x20, 0x20);
}

static void lower_line_has_priority(void **state)
{
	program(1);
	pulse(5);
	pulse(1);
	assert_int_equal(irq_has(0), MASTER + 1);
	assert_int_equal(irq_get(0), MASTER + 1);
	assert_int_equal(irq_has(0), -1); /* 5 waits for 1 */
	pulse(0);
	assert_int_equal(irq_get(0), MASTER + 0); /* 0 does not */
	eoi();
	assert_int_equal(irq_has(0), -1);
	eoi();
	assert_int_equal(irq_get(0), MASTER + 5);
	eoi();
	assert_int_equal(irq_has(0), -1);
}

static void slave_comes_through_the_cascade(void **state)
{
	program(1);
	pulse(12);
	pulse(8);
	assert_int_equal(irq_get(0), SLAVE + 0);
	outb(0x20, 0x0b);
	assert_int_equal(inb(0x20), 0x04);
	outb(0xa0, 0x20);
	assert_int_equal(irq_has(0), -1); /* the cascade is still in service */
	eoi();
	assert_int_equal(irq_get(0), SLAVE + 4);
}

static void special_fully_nested_lets_the_slave_nest(void **state)
{
	program(0x11);
	pulse(12);
	assert_int_equal(irq_get(0), SLAVE + 4);
	pulse(8);
	assert_int_equal(irq_get(0), SLAVE + 0);
}

static void mask_hides_and_keeps(void **state)
{
	program(1);
	outb(0x21, 0x08);
	assert_int_equal(raise_gsi(3), -1); /* masked at both chips */
	assert_int_equal(irq_has(0), -1);
	assert_int_equal(inb(0x21), 0x08);
	assert_int_equal(inb(0x20), 0x08);
	outb(0x21, 0);
	assert_int_equal(irq_get(0), MASTER + 3);
}

static void special_mask_lets_lower_lines_through(void **state)
{
	program(1);
	pulse(2 + 1);
	assert_int_equal(irq_get(0), MASTER + 3);
	pulse(6);
	assert_int_equal(irq_has(0), -1);
	outb(0x21, 0x08);
	outb(0x20, 0x68); /* set special mask */
	assert_int_equal(irq_get(0), MASTER + 6);
	outb(0x20, 0x48);
	assert_int_equal(irq_has(0), -1);
}

static void rotation_makes_the_served_line_lowest(void **state)
{
	program(1);
	pulse(3);
	assert_int_equal(irq_get(0), MASTER + 3);
	outb(0x20, 0xa0); /* rotate on non-specific EOI */
	pulse(3);
	pulse(4);
	assert_int_equal(irq_get(0), MASTER + 4);
	outb(0x20, 0x64); /* specific EOI of 4 */
	assert_int_equal(irq_get(0), MASTER + 3);
	outb(0x20, 0x63);
	outb(0x20, 0xc7); /* set priority: 7 lowest, 0 highest again */
	pulse(1);
	pulse(4);
	assert_int_equal(irq_get(0), MASTER + 1);
}

static void auto_eoi_leaves_nothing_in_service(void **state)
{
	program(3);
	pulse(4);
	pulse(4);
	assert_int_equal(irq_get(0), MASTER + 4);
	outb(0x20, 0x0b);
	assert_int_equal(inb(0x20), 0);
	pulse(5);
	assert_int_equal(irq_get(0), MASTER + 5);
	assert_int_equal(m.acks[4], 1);
}

static void poll_acknowledges(void **state)
{
	program(1);
	outb(0x20, 0x0c);
	assert_int_equal(inb(0x20), 0);
	pulse(6);
	outb(0x20, 0x0c);
	assert_int_equal(inb(0x20), 0x86);
	assert_int_equal(irq_has(0), -1);
}

static void level_line_repeats_until_lowered(void **state)
{
	program(1);
	outb(0x4d0, 0xff);
	assert_int_equal(inb(0x4d0), 0xf8);
	outb(0x4d0, 0x20);
	raise_gsi(5);
	assert_int_equal(irq_get(0), MASTER + 5);
	eoi();
	assert_int_equal(m.acks[5], 1);
	assert_int_equal(irq_get(0), MASTER + 5);
	lower_gsi(5);
	eoi();
	assert_int_equal(irq_has(0), -1);
}

static void edge_needs_a_new_edge(void **state)
{
	program(1);
	assert_int_equal(raise_gsi(5), 1);
	assert_int_equal(irq_get(0), MASTER + 5);
	eoi();
	raise_gsi(5);
	assert_int_equal(irq_has(0), -1);
	lower_gsi(5);
	raise_gsi(5);
	assert_int_equal(irq_has(0), MASTER + 5);
}

static void request_gone_is_spurious_7(void **state)
{
	program(1);
	outb(0x4d0, 0x20);
	raise_gsi(5);
	assert_int_equal(irq_has(0), MASTER + 5);
	lower_gsi(5);
	assert_int_equal(irq_has(0), -1);
	mutex_lock(&m.ic->lock);
	assert_int_equal(pic_inta(m.ic), MASTER + 7);
	mutex_unlock(&m.ic->lock);
	outb(0x20, 0x0b);
	assert_int_equal(inb(0x20), 0);
}

static void lint0_decides_who_hears_it(void **state)
{
	program(1);
	pulse(4);
	assert_int_equal(irq_has(0), MASTER + 4);
	assert_int_equal(irq_has(1), -1);
	apic_write(0, APIC_LVT0, LVT_MASKED);
	assert_int_equal(irq_has(0), -1);
	apic_write(1, APIC_LVT0, DM_EXTINT);
	assert_int_equal(irq_get(1), MASTER + 4);
}

static void state_round_trip(void **state)
{
	struct kvm_irqchip a = {.chip_id = KVM_IRQCHIP_PIC_MASTER}, b = a;

	program(1);
	outb(0x4d0, 0x20);
	outb(0x21, 0x40);
	pulse(4);
	pulse(3);
	irq_get(0);
	assert_int_equal(irqchip_get(m.ic, &a), 0);
	assert_int_equal(a.chip.pic.irq_base, MASTER);
	assert_int_equal(a.chip.pic.isr, 0x08);
	assert_int_equal(a.chip.pic.irr, 0x10);
	assert_int_equal(a.chip.pic.imr, 0x40);
	assert_int_equal(a.chip.pic.elcr, 0x20);
	assert_int_equal(a.chip.pic.elcr_mask, 0xf8);
	program(1);
	assert_int_equal(irqchip_set(m.ic, &a), 0);
	assert_int_equal(irqchip_get(m.ic, &b), 0);
	assert_memory_equal(&a, &b, sizeof(a));
	eoi();
	assert_int_equal(irq_get(0), MASTER + 4);
	a.chip_id = 7;
	assert_int_equal(irqchip_get(m.ic, &a), -EINVAL);
	assert_int_equal(irqchip_set(m.ic, &a), -EINVAL);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup_kernel_4, machine_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(lower_line_has_priority),
		T(slave_comes_through_the_cascade),
		T(special_fully_nested_lets_the_slave_nest),
		T(mask_hides_and_keeps),
		T(special_mask_lets_lower_lines_through),
		T(rotation_makes_the_served_line_lowest),
		T(auto_eoi_leaves_nothing_in_service),
		T(poll_acknowledges),
		T(level_line_repeats_until_lowered),
		T(edge_needs_a_new_edge),
		T(request_gone_is_spurious_7),
		T(lint0_decides_who_hears_it),
		T(state_round_trip),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
