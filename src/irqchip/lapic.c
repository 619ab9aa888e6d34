/* SPDX-License-Identifier: MIT */
/*
 * irqchip/lapic.c: a local APIC's life: creation, reset, mode transitions, saved state,
 * priority. Registers are in lapic_regs.c, messages in lapic_delivery.c, the timer in
 * lapic_timer.c.
 */
#include "irqchip/internal.h"

#include <stdlib.h>

#define LVR_VERSION	0x14u /* integrated APIC */
#define LVR_LVT_ENTRIES 6u /* without the one for machine checks */

/* Highest bit set among the 256 of IRR, ISR or TMR, or -1. */
int lapic_highest(const struct lapic *l, enum lapic_reg set)
{
	for (int i = 7; i >= 0; i--) {
		u32 w = l->regs[set / 4 + (u32)i * 4];

		if (w)
			return i * 32 + 31 - __builtin_clz(w);
	}
	return -1;
}

/* SDM vol. 3, 11.8.3.1: PPR is the higher of TPR and the class of what is in service. */
void lapic_update(struct lapic *l)
{
	int isr = lapic_highest(l, APIC_ISR), irr = lapic_highest(l, APIC_IRR);
	u32 tpr = l->regs[APIC_TPR / 4], isr_class = isr < 0 ? 0 : (u32)isr & 0xf0;
	u32 ppr = (tpr & 0xf0) >= isr_class ? tpr & 0xff : isr_class;
	bool deliverable =
		(l->base & APIC_BASE_EN) && irr >= 0 && ((u32)irr & 0xf0) > (ppr & 0xf0);

	l->regs[APIC_PPR / 4] = ppr;
	sync_store_release(&l->hint, deliverable ? irr : -1);
}

int lapic_ack(struct lapic *l)
{
	int v = l->hint;

	if (v < 0)
		return -1;
	l->regs[APIC_IRR / 4 + (u32)v / 32 * 4] &= ~(1u << (v % 32));
	l->regs[APIC_ISR / 4 + (u32)v / 32 * 4] |= 1u << (v % 32);
	lapic_update(l);
	return v;
}

void lapic_eoi(struct lapic *l)
{
	int v = lapic_highest(l, APIC_ISR);
	bool level;

	if (v < 0)
		return;
	l->regs[APIC_ISR / 4 + (u32)v / 32 * 4] &= ~(1u << (v % 32));
	level = l->regs[APIC_TMR / 4 + (u32)v / 32 * 4] & (1u << (v % 32));
	lapic_update(l);
	if (l->ic->mode == IRQCHIP_KERNEL) {
		ioapic_eoi(l->ic, l, (u8)v, level);
	} else if (routing_wants_eoi(l->ic, l, (u8)v) &&
		   !(l->regs[APIC_SPIV / 4] & SPIV_DIRECTED_EOI)) {
		l->ic->ops.ioapic_eoi(l->vcpu, (u8)v);
	}
	if (l->hint >= 0)
		lapic_kick(l);
}

/* The ID and, in x2APIC mode, the LDR derived from it (SDM vol. 3, 11.12.10.2). */
void lapic_store_id(struct lapic *l)
{
	if (l->base & APIC_BASE_X2) {
		l->regs[APIC_ID / 4] = l->id;
		l->regs[APIC_LDR / 4] = (l->id >> 4) << 16 | 1u << (l->id & 0xf);
	} else {
		l->regs[APIC_ID / 4] = l->id << 24;
	}
}

static void store_version(struct lapic *l)
{
	u32 v = LVR_VERSION | (LVR_LVT_ENTRIES - 1 + l->feature_cmci) << 16;

	/* Only with the I/O APIC in the VMM, which may have an EOI register. */
	if (l->feature_x2apic && l->ic->mode == IRQCHIP_SPLIT)
		v |= LVR_DIRECTED_EOI;
	l->regs[APIC_LVR / 4] = v;
}

static bool is_bsp(const struct lapic *l)
{
	return l->ic->ops.is_bsp ? l->ic->ops.is_bsp(l->vcpu) : l->id == 0;
}

static void reset_locked(struct lapic *l, bool init)
{
	u32 lvr = l->regs[APIC_LVR / 4], id = l->regs[APIC_ID / 4], ldr = l->regs[APIC_LDR / 4];

	lapic_timer_stop(l);
	memset(l->regs, 0, sizeof(l->regs));
	l->regs[APIC_LVR / 4] = lvr;
	if (init) {
		l->regs[APIC_ID / 4] = id;
		l->regs[APIC_LDR / 4] = l->base & APIC_BASE_X2 ? ldr : 0;
	} else {
		l->base = APIC_BASE_ADDR | APIC_BASE_EN | (is_bsp(l) ? APIC_BASE_BSP : 0);
		store_version(l);
		lapic_store_id(l);
	}
	l->regs[APIC_DFR / 4] = 0xffffffff;
	l->regs[APIC_SPIV / 4] = 0xff;
	for (u32 r = APIC_LVTT; r <= APIC_LVTERR; r += 0x10)
		l->regs[r / 4] = LVT_MASKED;
	if (l->feature_cmci)
		l->regs[APIC_LVTCMCI / 4] = LVT_MASKED;
	/* KVM's quirk: as if firmware had set up virtual wire mode on the boot processor. */
	if (is_bsp(l) && !(irqchip_flags(l->ic) & IRQCHIP_FLAG_NO_LINT0_QUIRK))
		l->regs[APIC_LVT0 / 4] = DM_EXTINT;
	l->errors = 0;
	lapic_update(l);
}

void lapic_set_cmci(struct lapic *l, bool there)
{
	mutex_lock(&l->ic->lock);
	l->feature_cmci = there;
	l->regs[APIC_LVTCMCI / 4] = there ? LVT_MASKED : 0;
	store_version(l);
	mutex_unlock(&l->ic->lock);
}

void lapic_cmci(struct lapic *l)
{
	mutex_lock(&l->ic->lock);
	lapic_local_deliver(l, APIC_LVTCMCI);
	mutex_unlock(&l->ic->lock);
}

int lapic_create(struct irqchip *ic, void *vcpu, u32 id, struct lapic **out)
{
	struct lapic *l = calloc(1, sizeof(*l));
	u32 slot;
	int r = -EINVAL;

	if (!l)
		return -ENOMEM;
	l->ic = ic;
	l->vcpu = vcpu;
	l->id = id;
	mutex_lock(&ic->lock);
	for (slot = 0; slot < MAX_LAPICS && ic->lapics[slot];)
		slot++;
	if (slot < MAX_LAPICS)
		r = timer_init(ic, &l->timer, lapic_timer_expired, l);
	if (!r) {
		l->index = slot;
		reset_locked(l, false);
		ic->lapics[slot] = l;
		ic->nlapics = MAX(ic->nlapics, slot + 1);
	}
	mutex_unlock(&ic->lock);
	if (r) {
		free(l);
		return r;
	}
	*out = l;
	return 0;
}

void lapic_destroy(struct lapic *l)
{
	struct irqchip *ic = l->ic;

	mutex_lock(&ic->lock);
	timer_fini(ic, &l->timer);
	ic->lapics[l->index] = NULL;
	mutex_unlock(&ic->lock);
	free(l);
}

void lapic_reset(struct lapic *l, bool init)
{
	mutex_lock(&l->ic->lock);
	reset_locked(l, init);
	mutex_unlock(&l->ic->lock);
}

void lapic_set_features(struct lapic *l, bool x2apic, bool tsc_deadline)
{
	mutex_lock(&l->ic->lock);
	l->feature_x2apic = x2apic;
	l->feature_tsc_deadline = tsc_deadline;
	store_version(l);
	mutex_unlock(&l->ic->lock);
}

u64 lapic_get_base(const struct lapic *l)
{
	return sync_load(&l->base);
}

bool lapic_base_valid(u64 old, u64 value, bool x2apic, bool host_initiated)
{
	u64 reserved = ~(BIT(52) - 1) | 0x2ff | (x2apic ? 0 : APIC_BASE_X2);
	u64 from = old & APIC_BASE_MODE, to = value & APIC_BASE_MODE;

	if ((value & reserved) || to == APIC_BASE_X2)
		return false;
	if (host_initiated)
		return true;
	return !(from == APIC_BASE_MODE && to == APIC_BASE_EN) && !(!from && to == APIC_BASE_MODE);
}

int lapic_set_base(struct lapic *l, u64 value, bool host_initiated)
{
	u64 old;
	int r = -EINVAL;

	mutex_lock(&l->ic->lock);
	old = l->base;
	if (!lapic_base_valid(old, value, l->feature_x2apic, host_initiated))
		goto out;
	r = 0;
	sync_store(&l->base, value);
	if ((old ^ value) & APIC_BASE_MODE && value & APIC_BASE_EN) {
		if ((old & APIC_BASE_X2) && !(value & APIC_BASE_X2))
			l->regs[APIC_LDR / 4] = 0;
		lapic_store_id(l);
	}
	lapic_update(l);
	if (l->hint >= 0 || (l->ic->pic_output && lapic_accepts_pic(l)))
		lapic_kick(l);
out:
	mutex_unlock(&l->ic->lock);
	return r;
}

u64 lapic_get_cr8(const struct lapic *l)
{
	return (sync_load(&l->regs[APIC_TPR / 4]) & 0xf0) >> 4;
}

void lapic_set_cr8(struct lapic *l, u64 cr8)
{
	mutex_lock(&l->ic->lock);
	l->regs[APIC_TPR / 4] = (u32)(cr8 & 0xf) << 4;
	lapic_update(l);
	if (l->hint >= 0)
		lapic_kick(l);
	mutex_unlock(&l->ic->lock);
}

/* In x2APIC mode the state's ID is 32 bits wide with KVM_X2APIC_API_USE_32BIT_IDS, else it
 * stands in the high byte as in xAPIC mode (api.rst, KVM_GET_LAPIC). */
static bool id_in_high_byte(const struct lapic *l)
{
	return !(irqchip_flags(l->ic) & IRQCHIP_FLAG_X2APIC_32BIT);
}

void lapic_get_state(struct lapic *l, struct kvm_lapic_state *s)
{
	u32 id;

	mutex_lock(&l->ic->lock);
	l->regs[APIC_TMCCT / 4] = lapic_timer_count(l);
	memcpy(s->regs, l->regs, sizeof(s->regs));
	if (l->base & APIC_BASE_X2) {
		id = id_in_high_byte(l) ? l->id << 24 : l->id;
		memcpy(s->regs + APIC_ID, &id, 4);
	}
	mutex_unlock(&l->ic->lock);
}

int lapic_set_state(struct lapic *l, const struct kvm_lapic_state *s)
{
	bool x2 = lapic_get_base(l) & APIC_BASE_X2;
	u64 deadline;
	u32 id;

	memcpy(&id, s->regs + APIC_ID, 4);
	if (x2 && !id_in_high_byte(l) && id != l->id)
		return -EINVAL;
	mutex_lock(&l->ic->lock);
	deadline = lapic_timer_deadline(l);
	lapic_timer_stop(l);
	memcpy(l->regs, s->regs, sizeof(s->regs));
	store_version(l);
	if (x2)
		lapic_store_id(l);
	lapic_timer_restore(l, deadline);
	lapic_update(l);
	lapic_kick(l);
	mutex_unlock(&l->ic->lock);
	return 0;
}

bool lapic_accepts_pic(const struct lapic *l)
{
	u32 lvt0 = sync_load(&l->regs[APIC_LVT0 / 4]);

	if (!(sync_load(&l->base) & APIC_BASE_EN))
		return true;
	return !(lvt0 & LVT_MASKED) && (lvt0 & DM_MASK) == DM_EXTINT;
}
