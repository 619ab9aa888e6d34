/* SPDX-License-Identifier: MIT */
/* The local APIC's timer, on a clock that moves when told, and the thread that serves it. */
#include <unistd.h>
#include "harness.h"

#define VECTOR		 0xec
#define DIV_1		 0xb
#define DIV_128		 0xa
#define DIV_16		 0x3
#define PERIODIC	 LVT_TIMER_PERIODIC
#define MS		 1000000ULL
#define MSR_TSC_DEADLINE 0x6e0

static bool tick(void)
{
	bool got = irq_get(0) == VECTOR;

	if (got)
		apic_write(0, APIC_EOI, 0);
	return got;
}

static void one_shot(void **state)
{
	apic_write(0, APIC_TDCR, DIV_1);
	apic_write(0, APIC_LVTT, VECTOR);
	apic_write(0, APIC_TMICT, 5 * MS);
	clock_advance(2 * MS);
	assert_int_equal(apic_read(0, APIC_TMCCT), 3 * MS);
	assert_int_equal(irq_has(0), -1);
	clock_advance(3 * MS);
	assert_true(tick());
	assert_int_equal(apic_read(0, APIC_TMCCT), 0);
	clock_advance(100 * MS);
	assert_false(tick());
}

static void divider(void **state)
{
	static const struct {
		u32 code, by;
	} div[] = {
		{0x0, 2},  {0x1, 4},  {0x2, 8},	  {0x3, 16},
		{0x8, 32}, {0x9, 64}, {0xa, 128}, {0xb, 1},
	};

	apic_write(0, APIC_LVTT, VECTOR);
	for (u32 i = 0; i < ARRAY_SIZE(div); i++) {
		apic_write(0, APIC_TDCR, div[i].code);
		apic_write(0, APIC_TMICT, 1000);
		clock_advance(1000 * div[i].by - 1);
		assert_false(tick());
		clock_advance(1);
		assert_true(tick());
	}
}

static void changing_the_divider_keeps_the_count(void **state)
{
	apic_write(0, APIC_LVTT, VECTOR);
	apic_write(0, APIC_TDCR, DIV_1);
	apic_write(0, APIC_TMICT, MS);
	clock_advance(MS / 2);
	apic_write(0, APIC_TDCR, DIV_16);
	assert_int_equal(apic_read(0, APIC_TMCCT), MS / 2);
	clock_advance(8 * MS - 1);
	assert_false(tick());
	clock_advance(1);
	assert_true(tick());
}

static void periodic_and_coalescing(void **state)
{
	apic_write(0, APIC_TDCR, DIV_1);
	apic_write(0, APIC_LVTT, VECTOR | PERIODIC);
	apic_write(0, APIC_TMICT, MS);
	for (u32 i = 0; i < 3; i++) {
		clock_advance(MS);
		assert_true(tick());
	}
	clock_advance(5 * MS + MS / 4); /* a guest that was late gets one */
	assert_true(tick());
	assert_false(tick());
	assert_int_equal(apic_read(0, APIC_TMCCT), MS - MS / 4); /* and the phase is kept */
	apic_write(0, APIC_TMICT, 0);
	clock_advance(5 * MS);
	assert_false(tick());
}

static void too_short_a_period_is_stretched(void **state)
{
	apic_write(0, APIC_TDCR, DIV_1);
	apic_write(0, APIC_LVTT, VECTOR | PERIODIC);
	apic_write(0, APIC_TMICT, 10);
	clock_advance(MIN_TIMER_PERIOD - 1);
	assert_false(tick());
	clock_advance(1);
	assert_true(tick());
}

static void masked_ticks_are_lost(void **state)
{
	apic_write(0, APIC_TDCR, DIV_1);
	apic_write(0, APIC_LVTT, VECTOR | PERIODIC | LVT_MASKED);
	apic_write(0, APIC_TMICT, MS);
	clock_advance(MS);
	assert_false(tick());
	apic_write(0, APIC_LVTT, VECTOR | PERIODIC);
	assert_false(tick());
	clock_advance(MS);
	assert_true(tick());
}

static void tsc_deadline(void **state)
{
	struct lapic *l = m.vcpu[0].lapic;
	u64 v;

	/* Another mode: written to no effect. */
	assert_int_equal(lapic_msr_write(l, MSR_TSC_DEADLINE, 5), 0);
	lapic_msr_read(l, MSR_TSC_DEADLINE, &v);
	assert_int_equal(v, 0);
	apic_write(0, APIC_LVTT, VECTOR | LVT_TIMER_TSC);
	apic_write(0, APIC_TMICT, 1000);
	assert_int_equal(apic_read(0, APIC_TMICT), 0);
	v = (clock_now() + MS) * 2; /* the fake TSC runs at 2 GHz */
	lapic_msr_write(l, MSR_TSC_DEADLINE, v);
	clock_advance(MS - 1);
	assert_false(tick());
	clock_advance(2);
	assert_true(tick());
	lapic_msr_read(l, MSR_TSC_DEADLINE, &v);
	assert_int_equal(v, 0);
	lapic_msr_write(l, MSR_TSC_DEADLINE, 1); /* long past */
	assert_true(tick());
	lapic_msr_write(l, MSR_TSC_DEADLINE, (clock_now() + MS) * 2);
	lapic_msr_write(l, MSR_TSC_DEADLINE, 0);
	clock_advance(2 * MS);
	assert_false(tick());
	lapic_msr_write(l, MSR_TSC_DEADLINE, UINT64_MAX);
	clock_advance(2 * MS);
	assert_false(tick());
}

static void saved_state_keeps_the_deadline(void **state)
{
	struct lapic *l = m.vcpu[0].lapic;
	struct kvm_lapic_state s;

	apic_write(0, APIC_LVTT, VECTOR | LVT_TIMER_TSC);
	lapic_msr_write(l, MSR_TSC_DEADLINE, (clock_now() + MS) * 2);
	lapic_get_state(l, &s);
	lapic_set_state(l, &s);
	clock_advance(MS + 1);
	assert_true(tick());
}

static void changing_to_deadline_mode_disarms(void **state)
{
	apic_write(0, APIC_TDCR, DIV_1);
	apic_write(0, APIC_LVTT, VECTOR);
	apic_write(0, APIC_TMICT, MS);
	apic_write(0, APIC_LVTT, VECTOR | LVT_TIMER_TSC);
	apic_write(0, APIC_LVTT, VECTOR);
	assert_int_equal(apic_read(0, APIC_TMICT), 0);
	clock_advance(2 * MS);
	assert_false(tick());
}

static void saved_state_goes_on_counting(void **state)
{
	struct kvm_lapic_state s;

	apic_write(0, APIC_TDCR, DIV_1);
	apic_write(0, APIC_LVTT, VECTOR | PERIODIC);
	apic_write(0, APIC_TMICT, 10 * MS);
	clock_advance(4 * MS);
	lapic_get_state(m.vcpu[0].lapic, &s);
	clock_advance(100 * MS);
	lapic_set_state(m.vcpu[0].lapic, &s);
	clock_advance(6 * MS - 1);
	assert_false(tick());
	clock_advance(1);
	assert_true(tick());
	clock_advance(10 * MS);
	assert_true(tick());
}

static void a_count_saved_at_its_end_is_not_lost(void **state)
{
	struct kvm_lapic_state s;

	apic_write(0, APIC_TDCR, DIV_16);
	apic_write(0, APIC_LVTT, VECTOR);
	apic_write(0, APIC_TMICT, MS);
	/* Less than one count is left, and the interrupt has not come. */
	clock_advance(16 * MS - 1);
	lapic_get_state(m.vcpu[0].lapic, &s);
	lapic_reset(m.vcpu[0].lapic, false);
	lapic_set_state(m.vcpu[0].lapic, &s);
	clock_advance(0);
	assert_true(tick());
	clock_advance(100 * MS);
	assert_false(tick());
}

static void reset_stops_it(void **state)
{
	apic_write(0, APIC_TDCR, DIV_1);
	apic_write(0, APIC_LVTT, VECTOR | PERIODIC);
	apic_write(0, APIC_TMICT, MS);
	lapic_reset(m.vcpu[0].lapic, true);
	apic_enable(0);
	apic_write(0, APIC_LVT0, LVT_MASKED);
	apic_write(0, APIC_LVTT, VECTOR | PERIODIC);
	clock_advance(10 * MS);
	assert_false(tick());
}

static u64 real_clock(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (u64)ts.tv_sec * NSEC_PER_SEC + (u64)ts.tv_nsec;
}

static void thread_serves_timers_in_order(void **state)
{
	m.ic->timers.manual = false;
	m.ic->timers.now = real_clock;
	assert_false(m.ic->timers.started);
	for (u32 i = 0; i < 4; i++) {
		/* The third is not due while this runs, however busy the machine is. */
		apic_write(i, APIC_TDCR, i == 2 ? DIV_128 : DIV_1);
		apic_write(i, APIC_LVTT, VECTOR);
	}
	apic_write(2, APIC_TMICT, 4000 * MS);
	apic_write(1, APIC_TMICT, 30 * MS);
	apic_write(0, APIC_TMICT, 5 * MS);
	assert_false(m.ic->timers.started);
	irqchip_start(m.ic); /* a guest runs: the first thread for it */
	assert_true(m.ic->timers.started);
	while (irq_has(1) < 0)
		usleep(1000);
	assert_int_equal(irq_has(0), VECTOR);
	assert_int_equal(irq_has(1), VECTOR);
	assert_int_equal(irq_has(2), -1);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup_kernel_4, machine_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(one_shot),
		T(divider),
		T(changing_the_divider_keeps_the_count),
		T(periodic_and_coalescing),
		T(too_short_a_period_is_stretched),
		T(masked_ticks_are_lost),
		T(tsc_deadline),
		T(saved_state_keeps_the_deadline),
		T(changing_to_deadline_mode_disarms),
		T(saved_state_goes_on_counting),
		T(a_count_saved_at_its_end_is_not_lost),
		T(reset_stops_it),
		T(thread_serves_timers_in_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
