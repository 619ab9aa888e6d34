/* SPDX-License-Identifier: MIT */
/*
 * irqchip/lapic_timer.c: the local APIC's timer. The bus runs at 1 GHz, as KVM's does, so a
 * count with divisor 1 is a nanosecond. Ticks that come while one is pending coalesce in the
 * IRR.
 */
#include "irqchip/internal.h"

#define NSEC_PER_MSEC 1000000 /* as a rate in kHz wants it */

static u32 divisor(const struct lapic *l)
{
	u32 tdcr = l->regs[APIC_TDCR / 4];
	u32 code = (tdcr & 3) | (tdcr & 8) >> 1;

	return 1u << ((code + 1) & 7); /* SDM vol. 3, figure 11-10: 2, 4 ... 128, 1 */
}

static u32 mode(const struct lapic *l)
{
	return l->regs[APIC_LVTT / 4] & LVT_TIMER_MODE;
}

static u64 now_ns(const struct lapic *l)
{
	return l->ic->timers.now();
}

static void set_period(struct lapic *l)
{
	l->period = (u64)l->regs[APIC_TMICT / 4] * divisor(l);
	/* A guest must not keep the host busy; KVM has the same bound. */
	if (mode(l) == LVT_TIMER_PERIODIC && l->period && l->period < MIN_TIMER_PERIOD)
		l->period = MIN_TIMER_PERIOD;
}

void lapic_timer_stop(struct lapic *l)
{
	timer_cancel(l->ic, &l->timer);
	l->tsc_deadline = 0;
	l->period = 0;
}

void lapic_timer_expired(void *ctx, u64 now)
{
	struct lapic *l = ctx;

	if (mode(l) == LVT_TIMER_PERIODIC && l->period) {
		u64 missed = (now - l->timer.deadline) / l->period;

		timer_arm(l->ic, &l->timer, l->timer.deadline + (missed + 1) * l->period);
	}
	l->tsc_deadline = 0;
	lapic_local_deliver(l, APIC_LVTT);
}

/* A change between TSC-deadline and the counting modes disarms (SDM vol. 3, 11.5.4.1). */
void lapic_timer_write_lvt(struct lapic *l, u32 value)
{
	u32 old = mode(l);

	l->regs[APIC_LVTT / 4] = value;
	if ((old ^ value) & LVT_TIMER_TSC) {
		lapic_timer_stop(l);
		l->regs[APIC_TMICT / 4] = 0;
	} else if (old != mode(l) && l->timer.pos != TIMER_IDLE && !(value & LVT_TIMER_TSC)) {
		set_period(l);
	}
}

void lapic_timer_write_count(struct lapic *l, u32 value)
{
	if (mode(l) & LVT_TIMER_TSC)
		return;
	timer_cancel(l->ic, &l->timer);
	l->regs[APIC_TMICT / 4] = value;
	set_period(l);
	if (l->period)
		timer_arm(l->ic, &l->timer, now_ns(l) + l->period);
}

u32 lapic_timer_count(const struct lapic *l)
{
	u64 now = now_ns(l);

	if ((mode(l) & LVT_TIMER_TSC) || !l->period || l->timer.pos == TIMER_IDLE ||
	    l->timer.deadline <= now)
		return 0;
	return (u32)((l->timer.deadline - now) / divisor(l));
}

/* What is left of the count keeps its value and runs on at the new rate. */
void lapic_timer_write_divide(struct lapic *l, u32 value)
{
	u32 left = lapic_timer_count(l);

	l->regs[APIC_TDCR / 4] = value;
	if (!left)
		return;
	set_period(l);
	timer_arm(l->ic, &l->timer, now_ns(l) + (u64)left * divisor(l));
}

/*
 * Saved registers were loaded: go on from the current count they hold. A TSC deadline that was
 * set before (it is not among the registers) stays.
 */
void lapic_timer_restore(struct lapic *l, u64 tsc_deadline)
{
	u64 left = (u64)l->regs[APIC_TMCCT / 4] * divisor(l);

	if (mode(l) & LVT_TIMER_TSC) {
		lapic_timer_set_deadline(l, tsc_deadline);
		return;
	}
	set_period(l);
	if (!l->period)
		return;
	/*
	 * A one-shot whose count had run out when it was saved fires at once, as in KVM: whether
	 * its interrupt is in the IRR or its thread had not come to it yet cannot be told, and a
	 * guest bears a tick too many but not the loss of its only one.
	 */
	if ((!left && mode(l) == LVT_TIMER_PERIODIC) || left > l->period)
		left = l->period;
	timer_arm(l->ic, &l->timer, now_ns(l) + left);
}

u64 lapic_timer_deadline(const struct lapic *l)
{
	return mode(l) == LVT_TIMER_TSC ? l->tsc_deadline : 0;
}

/* 0 disarms; a time that has passed fires at once (SDM vol. 3, 11.5.4.1). */
void lapic_timer_set_deadline(struct lapic *l, u64 tsc)
{
	const struct irqchip_ops *ops = &l->ic->ops;
	u64 now = now_ns(l), tsc_now, ns;
	u32 khz;

	if (mode(l) != LVT_TIMER_TSC)
		return;
	timer_cancel(l->ic, &l->timer);
	l->tsc_deadline = tsc;
	if (!tsc)
		return;
	tsc_now = ops->guest_tsc(l->vcpu);
	if (tsc <= tsc_now) {
		lapic_timer_expired(l, now);
		return;
	}
	khz = ops->tsc_khz(l->vcpu);
	ns = (u64)((unsigned __int128)(tsc - tsc_now) * NSEC_PER_MSEC / (khz ? khz : 1)) + 1;
	timer_arm(l->ic, &l->timer, ns > UINT64_MAX - now ? UINT64_MAX : now + ns);
}
