/* SPDX-License-Identifier: MIT */
/*
 * irqchip/lapic_delivery.c: interrupt messages to local APICs: from the I/O APIC, MSIs, other
 * APICs (IPIs) and the APIC's own local vector table.
 */
#include "irqchip/internal.h"

#define ICR_LOGICAL	   0x800u
#define ICR_ASSERT	   0x4000u
#define ICR_LEVEL	   0x8000u
#define ICR_SHORTHAND	   0xc0000u
#define ICR_SELF	   0x40000u
#define ICR_ALL		   0x80000u
#define ICR_ALL_BUT_SELF   0xc0000u
#define XAPIC_BROADCAST	   0xffu
#define X2APIC_BROADCAST   0xffffffffu
#define DFR_FLAT	   0xfu /* bits 31..28 */
#define FIRST_LEGAL_VECTOR 16

enum { MODE_X2APIC = 1, MODE_FLAT = 2, MODE_CLUSTER = 4 };

void lapic_kick(struct lapic *l)
{
	l->ic->ops.kick(l->vcpu);
}

static bool hw_enabled(const struct lapic *l)
{
	return l->base & APIC_BASE_EN;
}

static bool sw_enabled(const struct lapic *l)
{
	return hw_enabled(l) && (l->regs[APIC_SPIV / 4] & SPIV_ENABLE);
}

static void set_vector_bit(struct lapic *l, enum lapic_reg set, u8 vector, bool on)
{
	u32 *w = &l->regs[set / 4 + vector / 32 * 4];

	if (on)
		*w |= 1u << (vector % 32);
	else
		*w &= ~(1u << (vector % 32));
}

static bool accept_fixed(struct lapic *l, u8 vector, bool assert, bool level_triggered)
{
	if ((level_triggered && !assert) || !sw_enabled(l))
		return false;
	/* Accepted nevertheless: saved states and KVM's own tests put such vectors there. */
	if (vector < FIRST_LEGAL_VECTOR)
		lapic_error(l, ESR_RECV_VECTOR);
	set_vector_bit(l, APIC_TMR, vector, level_triggered);
	set_vector_bit(l, APIC_IRR, vector, true);
	lapic_update(l);
	lapic_kick(l);
	return true;
}

/* SDM vol. 3, 11.8.1. NMI, SMI, INIT and SIPI reach even an APIC that software disabled. */
bool lapic_accept(struct lapic *l, u32 delivery, u8 vector, bool assert, bool level_triggered)
{
	const struct irqchip_ops *ops = &l->ic->ops;

	switch (delivery) {
	case DM_FIXED:
	case DM_LOWEST:
		return accept_fixed(l, vector, assert, level_triggered);
	case DM_SMI:
		ops->smi(l->vcpu);
		return true;
	case DM_NMI:
		ops->nmi(l->vcpu);
		return true;
	case DM_INIT:
		/* A level de-assert only synchronised arbitration on the oldest parts. */
		if (level_triggered && !assert)
			return false;
		ops->init(l->vcpu);
		return true;
	case DM_STARTUP:
		ops->sipi(l->vcpu, vector);
		return true;
	default: /* ExtINT is the 8259's, see lapic_accepts_pic(); remote read does not exist */
		return false;
	}
}

bool lapic_local_deliver(struct lapic *l, enum lapic_reg lvt)
{
	u32 v = l->regs[lvt / 4];
	u32 mode = lvt == APIC_LVTT || lvt == APIC_LVTERR ? (u32)DM_FIXED : v & DM_MASK;
	bool level = lvt == APIC_LVT0 || lvt == APIC_LVT1 ? v & LVT_LEVEL : false;
	bool taken;

	if (!hw_enabled(l) || (v & LVT_MASKED))
		return false;
	taken = lapic_accept(l, mode, (u8)v, true, level);
	if (taken && lvt == APIC_LVTPC)
		l->regs[lvt / 4] |= LVT_MASKED; /* SDM vol. 3, 11.5.1: until software unmasks */
	return taken;
}

/* The ways in which the APICs that software enabled and gave a logical id form it, a bit each. */
static u32 logical_modes(const struct irqchip *ic)
{
	u32 seen = 0;

	for (u32 i = 0; i < ic->nlapics; i++) {
		const struct lapic *l = ic->lapics[i];

		if (!l || !sw_enabled(l))
			continue;
		if (l->base & APIC_BASE_X2)
			seen |= MODE_X2APIC;
		else if (l->regs[APIC_LDR / 4])
			seen |= l->regs[APIC_DFR / 4] >> 28 == DFR_FLAT ? MODE_FLAT : MODE_CLUSTER;
	}
	return seen;
}

static bool one_logical_mode(const struct irqchip *ic)
{
	u32 seen = logical_modes(ic);

	return !(seen & (seen - 1));
}

/* With the quirk that lapic_match() knows disabled, 0xff is one APIC where all are in x2APIC mode. */
static bool is_broadcast(const struct irqchip *ic, const struct ic_message *m)
{
	if (m->dest == XAPIC_BROADCAST && (irqchip_flags(ic) & IRQCHIP_FLAG_NO_BROADCAST_QUIRK))
		return logical_modes(ic) != MODE_X2APIC;
	return m->dest == XAPIC_BROADCAST || m->dest == X2APIC_BROADCAST;
}

static bool match_physical(const struct lapic *l, u32 dest)
{
	if (l->base & APIC_BASE_X2)
		return dest == X2APIC_BROADCAST || dest == l->id;
	return dest == XAPIC_BROADCAST || dest == l->regs[APIC_ID / 4] >> 24;
}

static bool match_logical(const struct lapic *l, u32 dest)
{
	u32 ldr = l->regs[APIC_LDR / 4], id = ldr >> 24;

	if (l->base & APIC_BASE_X2)
		return dest == X2APIC_BROADCAST ||
		       (ldr >> 16 == dest >> 16 && (ldr & dest & 0xffff));
	if (dest == XAPIC_BROADCAST)
		return true;
	if (dest > XAPIC_BROADCAST)
		return false;
	if (l->regs[APIC_DFR / 4] >> 28 == DFR_FLAT)
		return id & dest;
	return id >> 4 == dest >> 4 && (id & dest & 0xf);
}

/*
 * `ipi`: the message comes from an APIC. From a device, 0xff means everyone for an APIC in
 * x2APIC mode, too, unless the VMM disabled that quirk (api.rst, KVM_CAP_X2APIC_API).
 */
bool lapic_match(const struct lapic *l, const struct ic_message *m, bool ipi)
{
	u32 dest = m->dest;

	if (!hw_enabled(l))
		return false;
	if (!ipi && dest == XAPIC_BROADCAST && (l->base & APIC_BASE_X2) &&
	    !(irqchip_flags(l->ic) & IRQCHIP_FLAG_NO_BROADCAST_QUIRK))
		dest = X2APIC_BROADCAST;
	return m->logical ? match_logical(l, dest) : match_physical(l, dest);
}

/*
 * Lowest priority: as KVM does by default, the vector picks among the enabled APICs addressed
 * (vector modulo their number), which spreads devices and keeps each on one vCPU.
 */
static struct lapic *pick_lowest(struct irqchip *ic, const struct ic_message *m, bool ipi)
{
	u32 n = 0, pick;

	for (u32 i = 0; i < ic->nlapics; i++) {
		struct lapic *l = ic->lapics[i];

		n += l && sw_enabled(l) && lapic_match(l, m, ipi);
	}
	if (!n)
		return NULL;
	pick = m->vector % n;
	for (u32 i = 0; i < ic->nlapics; i++) {
		struct lapic *l = ic->lapics[i];

		if (l && sw_enabled(l) && lapic_match(l, m, ipi) && !pick--)
			return l;
	}
	return NULL;
}

static bool to_lowest(const struct ic_message *m)
{
	return m->delivery == DM_LOWEST || m->redirect_hint;
}

static int deliver(struct irqchip *ic, const struct ic_message *m, bool ipi)
{
	struct lapic *l;
	int r = -1;

	/* A physical destination is one APIC, the lowest there is. */
	if (to_lowest(m) && (m->logical || is_broadcast(ic, m))) {
		l = pick_lowest(ic, m, ipi);
		return l ? lapic_accept(l, m->delivery, m->vector, m->assert,
					m->level_triggered)
			 : -1;
	}
	for (u32 i = 0; i < ic->nlapics; i++) {
		l = ic->lapics[i];
		if (!l || !lapic_match(l, m, ipi))
			continue;
		r = MAX(r, 0) +
		    lapic_accept(l, m->delivery, m->vector, m->assert, m->level_triggered);
	}
	return r;
}

/*
 * A message no APIC is addressed by: KVM answers 0 (lost), but -1 where it had to look at each
 * APIC to know: broadcasts, and logical destinations while APICs form their ids differently.
 */
int lapic_deliver(struct irqchip *ic, const struct ic_message *msg)
{
	struct ic_message m = *msg;
	int r;

	/* Lowest priority to everyone by physical id is not defined; KVM sends it to everyone.
	 */
	if (is_broadcast(ic, &m) && !m.logical && m.delivery == DM_LOWEST)
		m.delivery = DM_FIXED;
	r = deliver(ic, &m, false);
	if (r < 0 && ic->nlapics && !is_broadcast(ic, &m) && (!m.logical || one_logical_mode(ic)))
		r = 0;
	return r;
}

static void send_all(struct lapic *from, const struct ic_message *m, bool self)
{
	struct irqchip *ic = from->ic;

	for (u32 i = 0; i < ic->nlapics; i++) {
		struct lapic *l = ic->lapics[i];

		if (!l || !hw_enabled(l) || (l == from && !self))
			continue;
		lapic_accept(l, m->delivery, m->vector, m->assert, m->level_triggered);
	}
}

/* SDM vol. 3, 11.6.1. `icr_high`: the whole destination in x2APIC mode, its high byte else. */
void lapic_send_ipi(struct lapic *l, u32 icr_low, u32 icr_high)
{
	struct ic_message m = {
		.dest = l->base & APIC_BASE_X2 ? icr_high : icr_high >> 24,
		.vector = (u8)icr_low,
		.delivery = icr_low & DM_MASK,
		.logical = icr_low & ICR_LOGICAL,
		.assert = icr_low & ICR_ASSERT,
		.level_triggered = icr_low & ICR_LEVEL,
	};

	if (m.vector < FIRST_LEGAL_VECTOR && m.delivery <= DM_LOWEST)
		lapic_error(l, ESR_SEND_VECTOR);
	switch (icr_low & ICR_SHORTHAND) {
	case ICR_SELF:
		lapic_accept(l, m.delivery, m.vector, m.assert, m.level_triggered);
		break;
	case ICR_ALL:
		send_all(l, &m, true);
		break;
	case ICR_ALL_BUT_SELF:
		send_all(l, &m, false);
		break;
	default:
		deliver(l->ic, &m, true);
	}
}

/* By id, whatever the APIC's mode makes of one. */
static struct lapic *find_apic(struct irqchip *ic, u32 id)
{
	for (u32 i = 0; i < ic->nlapics; i++) {
		struct lapic *l = ic->lapics[i];

		if (l && hw_enabled(l) && l->id == id)
			return l;
	}
	return NULL;
}

int irqchip_send_ipis(struct irqchip *ic, unsigned __int128 bitmap, u32 min, u32 icr)
{
	int n = 0;

	if (icr & (ICR_LOGICAL | ICR_SHORTHAND))
		return -EINVAL;
	mutex_lock(&ic->lock);
	for (u32 bit = 0; bitmap; bit++, bitmap >>= 1) {
		struct lapic *l = bitmap & 1 ? find_apic(ic, min + bit) : NULL;

		if (l)
			n += lapic_accept(l, icr & DM_MASK, (u8)icr, icr & ICR_ASSERT,
					  icr & ICR_LEVEL);
	}
	mutex_unlock(&ic->lock);
	return n;
}

void irqchip_unhalt(struct irqchip *ic, u32 id)
{
	struct lapic *l;

	mutex_lock(&ic->lock);
	l = find_apic(ic, id);
	if (l)
		ic->ops.unhalt(l->vcpu);
	mutex_unlock(&ic->lock);
}
