/* SPDX-License-Identifier: MIT */
/*
 * irqchip/pit.c: the 8254 timer's counting, channel 0's interrupt, and saved state. Ports are
 * in pit_io.c. Rules are the Intel 8254 data sheet's; what a gate held low suspends is not
 * modelled, only the trigger its rising edge is (as in KVM).
 */
#include "irqchip/internal.h"

#define COUNT_BINARY	0x10000u
#define COUNT_BCD	10000u
#define MODE_NONE	0xff /* no control word yet */
#define CHANNEL_SPEAKER 2

/* Clock ticks since the count was loaded. */
static u64 ticks(const struct pit_channel *c, u64 now)
{
	if (now <= c->load_time)
		return 0;
	return (u64)((unsigned __int128)(now - c->load_time) * PIT_HZ / NSEC_PER_SEC);
}

static u32 to_bcd(u32 v)
{
	return v % 10 | (v / 10 % 10) << 4 | (v / 100 % 10) << 8 | (v / 1000 % 10) << 12;
}

static u32 from_bcd(u32 v)
{
	return (v & 0xf) + (v >> 4 & 0xf) * 10 + (v >> 8 & 0xf) * 100 + (v >> 12 & 0xf) * 1000;
}

u32 pit_get_count(const struct pit_channel *c, u64 now)
{
	u32 modulus = c->bcd ? COUNT_BCD : COUNT_BINARY;
	u64 d = ticks(c, now);
	u32 v;

	switch (c->mode) {
	case 2: /* rate generator */
		v = c->count - (u32)(d % c->count);
		break;
	case 3: /* square wave: counts by two */
		v = c->count - (u32)(2 * d % c->count);
		break;
	default: /* the others go on below zero */
		v = (c->count + modulus - (u32)(d % modulus)) % modulus;
		break;
	}
	return c->bcd ? to_bcd(v % COUNT_BCD) : v & 0xffff;
}

/* The OUT pin (8254 data sheet, "Mode definitions"). */
bool pit_get_out(const struct pit_channel *c, u64 now)
{
	u64 d = ticks(c, now);

	switch (c->mode) {
	case 0: /* interrupt on terminal count */
	case 1: /* one-shot: low while it counts */
		return d >= c->count;
	case 2: /* low for the last tick of each period */
		return d % c->count != c->count - 1;
	case 3: /* high for the first half */
		return d % c->count < (c->count + 1) / 2;
	case 4: /* strobes: low for one tick at terminal count */
	case 5:
		return d != c->count;
	default:
		return true;
	}
}

/* ---- channel 0's interrupt */

/* Virtual wire mode: an APIC whose LINT0 is set to NMI takes the 8254 as its watchdog's tick.
 */
static void watchdog_tick(struct irqchip *ic)
{
	for (u32 i = 0; i < ic->nlapics; i++) {
		struct lapic *l = ic->lapics[i];

		if (l && (l->regs[APIC_LVT0 / 4] & DM_MASK) == DM_NMI)
			lapic_local_deliver(l, APIC_LVT0);
	}
}

static void inject(struct irqchip *ic)
{
	struct pit *p = &ic->pit;

	if (p->reinject && !p->irq_ack)
		return;
	p->irq_ack = false;
	routing_set_gsi(ic, IRQ_SOURCE_PIT, GSI_PIT, true);
	routing_set_gsi(ic, IRQ_SOURCE_PIT, GSI_PIT, false);
	watchdog_tick(ic);
}

void pit_expired(void *ctx, u64 now)
{
	struct irqchip *ic = ctx;
	struct pit *p = &ic->pit;
	u64 fired = 1;

	if (p->period) {
		fired += (now - p->timer.deadline) / p->period;
		timer_arm(ic, &p->timer, p->timer.deadline + fired * p->period);
	}
	if (p->reinject)
		p->pending = (u32)MIN((u64)p->pending + fired, UINT32_MAX);
	inject(ic);
}

/* The guest took a tick: the next one that it still owes itself follows. */
void pit_acked(struct irqchip *ic)
{
	struct pit *p = &ic->pit;

	if (!p->present || !p->reinject)
		return;
	p->irq_ack = true;
	if (p->pending && --p->pending)
		inject(ic);
}

/* The guest unmasked the line: what it missed while masked is gone. */
void pit_reset_reinject(struct irqchip *ic)
{
	ic->pit.pending = 0;
	ic->pit.irq_ack = true;
}

void pit_start_timer(struct irqchip *ic)
{
	struct pit *p = &ic->pit;
	const struct pit_channel *c = &p->ch[0];
	u64 ns = (u64)c->count * NSEC_PER_SEC / PIT_HZ;

	timer_cancel(ic, &p->timer);
	pit_reset_reinject(ic);
	if (p->flags & KVM_PIT_FLAGS_HPET_LEGACY)
		return; /* the VMM's HPET has the line */
	switch (c->mode) {
	case 0:
	case 1:
	case 4:
		p->period = 0;
		break;
	case 2:
	case 3:
		ns = MAX(ns, MIN_TIMER_PERIOD);
		p->period = ns;
		break;
	default:
		return;
	}
	timer_arm(ic, &p->timer, c->load_time + ns);
}

/* `value`: as written, 0 standing for the largest count. */
void pit_load(struct irqchip *ic, u32 n, u32 value)
{
	struct pit_channel *c = &ic->pit.ch[n];

	if (c->bcd)
		value = from_bcd(value);
	c->count = value ? value : c->bcd ? COUNT_BCD : COUNT_BINARY;
	c->load_time = ic->timers.now();
	if (n == 0)
		pit_start_timer(ic);
}

void pit_set_gate(struct irqchip *ic, u32 n, bool gate)
{
	struct pit_channel *c = &ic->pit.ch[n];
	bool triggers = c->mode == 1 || c->mode == 2 || c->mode == 3 || c->mode == 5;

	if (triggers && gate && !c->gate)
		c->load_time = ic->timers.now();
	c->gate = gate;
}

/* ---- creation and state */

int irqchip_create_pit(struct irqchip *ic, const struct kvm_pit_config *config)
{
	struct pit *p = &ic->pit;
	int r;

	if (ic->mode != IRQCHIP_KERNEL)
		return -ENOENT;
	mutex_lock(&ic->lock);
	r = p->present ? -EEXIST : timer_init(ic, &p->timer, pit_expired, ic);
	if (!r) {
		p->speaker = config->flags & KVM_PIT_SPEAKER_DUMMY;
		p->reinject = true;
		for (u32 n = 0; n < PIT_CHANNELS; n++) {
			p->ch[n].mode = MODE_NONE;
			p->ch[n].gate = n != CHANNEL_SPEAKER;
			pit_load(ic, n, 0);
		}
		p->present = true;
	}
	mutex_unlock(&ic->lock);
	return r;
}

bool irqchip_has_pit(const struct irqchip *ic)
{
	return sync_load(&ic->pit.present);
}

static void save_channel(const struct pit_channel *c, struct kvm_pit_channel_state *s)
{
	*s = (struct kvm_pit_channel_state){
		.count = c->count,
		.latched_count = c->latched_count,
		.count_latched = c->count_latched,
		.status_latched = c->status_latched,
		.status = c->status,
		.read_state = c->read_state,
		.write_state = c->write_state,
		.write_latch = c->write_latch,
		.rw_mode = c->rw_mode,
		.mode = c->mode,
		.bcd = c->bcd,
		.gate = c->gate,
		.count_load_time = (s64)c->load_time,
	};
}

/* A VMM may hand us anything: counts stay in range, so that nothing divides by zero. */
static void restore_channel(struct pit_channel *c, const struct kvm_pit_channel_state *s)
{
	u32 max = s->bcd ? COUNT_BCD : COUNT_BINARY;

	*c = (struct pit_channel){
		.count = s->count && s->count <= max ? s->count : max,
		.latched_count = s->latched_count,
		.count_latched = s->count_latched,
		.status_latched = s->status_latched,
		.status = s->status,
		.read_state = s->read_state,
		.write_state = s->write_state,
		.write_latch = s->write_latch,
		.rw_mode = s->rw_mode,
		.mode = s->mode,
		.bcd = s->bcd,
		.gate = s->gate,
		.load_time = s->count_load_time < 0 ? 0 : (u64)s->count_load_time,
	};
}

int irqchip_get_pit2(struct irqchip *ic, struct kvm_pit_state2 *ps)
{
	if (!irqchip_has_pit(ic))
		return -ENXIO;
	memset(ps, 0, sizeof(*ps));
	mutex_lock(&ic->lock);
	for (u32 n = 0; n < PIT_CHANNELS; n++)
		save_channel(&ic->pit.ch[n], &ps->channels[n]);
	ps->flags = ic->pit.flags;
	mutex_unlock(&ic->lock);
	return 0;
}

int irqchip_set_pit2(struct irqchip *ic, const struct kvm_pit_state2 *ps)
{
	if (!irqchip_has_pit(ic))
		return -ENXIO;
	mutex_lock(&ic->lock);
	for (u32 n = 0; n < PIT_CHANNELS; n++)
		restore_channel(&ic->pit.ch[n], &ps->channels[n]);
	ic->pit.flags = ps->flags & (KVM_PIT_FLAGS_HPET_LEGACY | KVM_PIT_FLAGS_SPEAKER_DATA_ON);
	ic->pit.ch[0].load_time = ic->timers.now();
	pit_start_timer(ic);
	mutex_unlock(&ic->lock);
	return 0;
}

int irqchip_reinject_control(struct irqchip *ic, const struct kvm_reinject_control *c)
{
	if (!irqchip_has_pit(ic))
		return -ENXIO;
	mutex_lock(&ic->lock);
	if (c->pit_reinject && !ic->pit.reinject)
		pit_reset_reinject(ic);
	ic->pit.reinject = c->pit_reinject;
	mutex_unlock(&ic->lock);
	return 0;
}
