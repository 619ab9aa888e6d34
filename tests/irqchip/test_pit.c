/* SPDX-License-Identifier: MIT */
/* The 8254, by the Intel 8254 data sheet, and its interrupt as KVM reinjects it. */
#include "harness.h"

#define VECTOR 0x30
#define MS     1000000ULL

static int setup(void **state)
{
	struct kvm_pit_config c = {.flags = KVM_PIT_SPEAKER_DUMMY};

	setup_kernel_1(state);
	assert_int_equal(irqchip_create_pit(m.ic, &c), 0);
	assert_int_equal(irqchip_create_pit(m.ic, &c), -EEXIST);
	outb(0x21, 0xff); /* only the I/O APIC listens */
	ioapic_redirect(0, VECTOR);
	return 0;
}

static void advance_ticks(u64 n)
{
	clock_advance((n * NSEC_PER_SEC + PIT_HZ - 1) / PIT_HZ);
}

static void load(u32 channel, u8 mode, u32 count)
{
	outb(0x43, (u8)(channel << 6 | 0x30 | mode << 1));
	outb((u16)(0x40 + channel), (u8)count);
	outb((u16)(0x40 + channel), (u8)(count >> 8));
}

static u32 read_latched(u32 channel)
{
	u32 v;

	outb(0x43, (u8)(channel << 6));
	v = inb((u16)(0x40 + channel));
	return v | (u32)inb((u16)(0x40 + channel)) << 8;
}

static bool out(u32 channel)
{
	outb(0x43, (u8)(0xe0 | 2u << channel)); /* read back: status only */
	return inb((u16)(0x40 + channel)) & 0x80;
}

static bool tick(void)
{
	bool got = irq_get(0) == VECTOR;

	if (got)
		apic_write(0, APIC_EOI, 0);
	return got;
}

static void mode0_counts_down_past_zero(void **state)
{
	u32 left;

	load(2, 0, 1000);
	assert_false(out(2));
	advance_ticks(400);
	assert_int_equal(read_latched(2), 600);
	assert_false(out(2));
	advance_ticks(600);
	assert_true(out(2));
	advance_ticks(1);
	left = read_latched(2);
	assert_true(left == 0xfffe || left == 0xffff);
}

static void mode1_is_low_for_the_pulse(void **state)
{
	load(2, 1, 1000);
	outb(0x61, 1); /* the gate's rising edge triggers */
	advance_ticks(999);
	assert_false(out(2));
	advance_ticks(1);
	assert_true(out(2));
	outb(0x61, 0);
	outb(0x61, 1);
	assert_false(out(2));
}

static void mode2_reloads_and_dips_for_one_tick(void **state)
{
	load(2, 2, 100);
	assert_true(out(2));
	advance_ticks(30);
	assert_int_equal(read_latched(2), 70);
	clock_advance(69 * NSEC_PER_SEC / PIT_HZ + 100);
	assert_int_equal(read_latched(2), 1);
	assert_false(out(2));
	advance_ticks(1);
	assert_true(out(2));
}

static void mode3_is_a_square_wave(void **state)
{
	load(2, 3, 100);
	assert_true(out(2));
	advance_ticks(10);
	assert_int_equal(read_latched(2), 80); /* by twos */
	advance_ticks(40);
	assert_false(out(2));
	advance_ticks(50);
	assert_true(out(2));
	outb(0x43, 0xb0 | 7 << 1); /* 7 is 3 */
	outb(0x43, 0xe0 | 8);
	assert_int_equal(inb(0x42) & 0x3f, 0x36);
}

static void mode4_strobes_once(void **state)
{
	load(2, 4, 1000);
	assert_true(out(2));
	clock_advance(1000 * NSEC_PER_SEC / PIT_HZ + 100);
	assert_false(out(2));
	advance_ticks(1);
	assert_true(out(2));
}

static void mode5_strobes_after_the_gate(void **state)
{
	load(2, 5, 1000);
	advance_ticks(500);
	outb(0x61, 1);
	assert_int_equal(read_latched(2), 1000);
	clock_advance(1000 * NSEC_PER_SEC / PIT_HZ + 100);
	assert_false(out(2));
}

static void bcd_counts_in_decimal(void **state)
{
	outb(0x43, 0xb1);
	outb(0x42, 0x00);
	outb(0x42, 0x10); /* 1000 */
	advance_ticks(1);
	assert_int_equal(read_latched(2), 0x0999);
	outb(0x43, 0xb1);
	outb(0x42, 0);
	outb(0x42, 0); /* 10000 */
	advance_ticks(1);
	assert_int_equal(read_latched(2), 0x9999);
}

static void byte_access_modes(void **state)
{
	outb(0x43, 0x90); /* channel 2, low byte, mode 0 */
	outb(0x42, 0x80);
	assert_int_equal(inb(0x42), 0x80);
	outb(0x43, 0xa0); /* high byte */
	outb(0x42, 0x12);
	assert_int_equal(inb(0x42), 0x12);
	load(2, 0, 0); /* 0 stands for 65536 */
	assert_int_equal(inb(0x42), 0);
	assert_int_equal(inb(0x42), 0);
	advance_ticks(1);
	assert_int_equal(read_latched(2), 0xffff);
}

static void latch_holds_until_read(void **state)
{
	load(2, 0, 1000);
	outb(0x43, 0x80);
	advance_ticks(100);
	outb(0x43, 0x80); /* ignored: one is held */
	assert_int_equal(inb(0x42), 1000 & 0xff);
	assert_int_equal(inb(0x42), 1000 >> 8);
	assert_int_equal(inb(0x42), 900 & 0xff);
	assert_int_equal(inb(0x42), 900 >> 8);
}

static void read_back_gives_status_then_count(void **state)
{
	load(0, 2, 1000);
	load(2, 0, 500);
	outb(0x43, 0xc0 | 2 | 8); /* both, of channels 0 and 2 */
	assert_int_equal(inb(0x42), 0x30);
	assert_int_equal(inb(0x42), 500 & 0xff);
	assert_int_equal(inb(0x42), 500 >> 8);
	assert_int_equal(inb(0x40), 0x80 | 0x30 | 4);
	assert_int_equal(inb(0x40), 1000 & 0xff);
	assert_int_equal(inb(0x40), 1000 >> 8);
}

static void speaker_port(void **state)
{
	outb(0x61, 3);
	assert_int_equal(inb(0x61) & 3, 3);
	load(2, 0, 1000);
	assert_int_equal(inb(0x61) & 0x20, 0);
	advance_ticks(1000);
	assert_int_equal(inb(0x61) & 0x20, 0x20);
	outb(0x61, 0);
	assert_int_equal(inb(0x61) & 3, 0);
}

static void channel0_interrupts(void **state)
{
	load(0, 2, 11932); /* 10 ms */
	for (u32 i = 0; i < 3; i++) {
		assert_false(tick());
		advance_ticks(11932);
		assert_true(tick());
	}
	load(0, 0, 11932);
	advance_ticks(11932);
	assert_true(tick());
	advance_ticks(119320);
	assert_false(tick());
}

static void missed_ticks_are_reinjected(void **state)
{
	load(0, 2, 11932);
	advance_ticks(3 * 11932);
	assert_true(tick());
	assert_true(tick());
	assert_true(tick());
	assert_false(tick());
}

static void or_dropped_when_the_vmm_says_so(void **state)
{
	struct kvm_reinject_control c = {.pit_reinject = 0};

	assert_int_equal(irqchip_reinject_control(m.ic, &c), 0);
	load(0, 2, 11932);
	advance_ticks(3 * 11932);
	assert_true(tick());
	assert_false(tick());
	advance_ticks(11932);
	assert_true(tick());
}

static void unmasking_forgets_what_was_missed(void **state)
{
	ioapic_redirect(0, VECTOR | LVT_MASKED);
	load(0, 2, 11932);
	advance_ticks(5 * 11932);
	ioapic_redirect(0, VECTOR);
	assert_false(tick());
	advance_ticks(11932);
	assert_true(tick());
	assert_false(tick());
}

static void hpet_takes_the_line_over(void **state)
{
	struct kvm_pit_state2 ps;

	load(0, 2, 11932);
	irqchip_get_pit2(m.ic, &ps);
	ps.flags |= KVM_PIT_FLAGS_HPET_LEGACY;
	assert_int_equal(irqchip_set_pit2(m.ic, &ps), 0);
	advance_ticks(3 * 11932);
	assert_false(tick());
	ps.flags = 0;
	irqchip_set_pit2(m.ic, &ps);
	advance_ticks(11932);
	assert_true(tick());
}

static void nmi_watchdog_by_lint0(void **state)
{
	apic_write(0, APIC_LVT0, DM_NMI);
	load(0, 2, 11932);
	advance_ticks(11932);
	assert_int_equal(m.vcpu[0].nmis, 1);
}

static void state_round_trip(void **state)
{
	struct kvm_pit_state2 a, b;

	load(0, 2, 11932);
	load(1, 2, 18);
	load(2, 3, 4000);
	outb(0x61, 3);
	outb(0x42, 5); /* half a count */
	outb(0x43, 0x80);
	irqchip_get_pit2(m.ic, &a);
	assert_int_equal(a.channels[0].count, 11932);
	assert_int_equal(a.channels[0].mode, 2);
	assert_int_equal(a.channels[2].write_latch, 5);
	assert_int_equal(a.flags, KVM_PIT_FLAGS_SPEAKER_DATA_ON);
	load(2, 0, 1);
	load(0, 0, 1);
	assert_int_equal(irqchip_set_pit2(m.ic, &a), 0);
	irqchip_get_pit2(m.ic, &b);
	assert_memory_equal(&a, &b, sizeof(a));
}

static void hostile_state_divides_by_nothing(void **state)
{
	struct kvm_pit_state2 ps;

	memset(&ps, 0xff, sizeof(ps));
	ps.channels[0].count = 0;
	ps.channels[0].mode = 2;
	ps.channels[2].count = 0;
	ps.channels[2].mode = 3;
	assert_int_equal(irqchip_set_pit2(m.ic, &ps), 0);
	for (u16 port = 0x40; port < 0x43; port++)
		inb(port);
	inb(0x61);
	clock_advance(200 * MS);
}

static void absent_pit(void **state)
{
	struct kvm_pit_state2 ps;
	struct kvm_reinject_control c = {0};
	u8 v;

	assert_false(irqchip_has_pit(m.ic));
	assert_int_equal(irqchip_get_pit2(m.ic, &ps), -ENXIO);
	assert_int_equal(irqchip_set_pit2(m.ic, &ps), -ENXIO);
	assert_int_equal(irqchip_reinject_control(m.ic, &c), -ENXIO);
	assert_false(irqchip_pio(m.ic, 0x40, 1, false, &v));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, machine_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(mode0_counts_down_past_zero),
		T(mode1_is_low_for_the_pulse),
		T(mode2_reloads_and_dips_for_one_tick),
		T(mode3_is_a_square_wave),
		T(mode4_strobes_once),
		T(mode5_strobes_after_the_gate),
		T(bcd_counts_in_decimal),
		T(byte_access_modes),
		T(latch_holds_until_read),
		T(read_back_gives_status_then_count),
		T(speaker_port),
		T(channel0_interrupts),
		T(missed_ticks_are_reinjected),
		T(or_dropped_when_the_vmm_says_so),
		T(unmasking_forgets_what_was_missed),
		T(hpet_takes_the_line_over),
		T(nmi_watchdog_by_lint0),
		T(state_round_trip),
		T(hostile_state_divides_by_nothing),
		cmocka_unit_test_setup_teardown(absent_pit, setup_kernel_1, machine_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
