/* SPDX-License-Identifier: MIT */
/* irqchip/lapic_pv.c: EOIs that a guest makes in memory instead of in the APIC. */
#include "irqchip/internal.h"

static u32 bits_in(const struct lapic *l, enum lapic_reg set)
{
	u32 n = 0;

	for (u32 i = 0; i < 8; i++)
		n += (u32)__builtin_popcount(l->regs[set / 4 + i * 4]);
	return n;
}

/* An I/O APIC pin's EOI is heard by the chip, a resampling irqfd or the PIT. */
static bool pin_has(const struct irqchip *ic, u8 vector)
{
	for (u32 pin = 0; pin < IOAPIC_PINS; pin++) {
		if (ic->ioapic.redir[pin].vector == vector)
			return true;
	}
	return false;
}

bool lapic_eoi_is_silent(struct lapic *l)
{
	struct irqchip *ic = l->ic;
	bool silent = false;
	int v;

	mutex_lock(&ic->lock);
	v = lapic_highest(l, APIC_ISR);
	if (v >= 0 && bits_in(l, APIC_ISR) == 1 && !bits_in(l, APIC_IRR) &&
	    !(l->regs[APIC_TMR / 4 + (u32)v / 32 * 4] & (1u << (v % 32))))
		silent = ic->mode == IRQCHIP_KERNEL ? !pin_has(ic, (u8)v)
						    : !routing_wants_eoi(ic, l, (u8)v);
	mutex_unlock(&ic->lock);
	return silent;
}

void lapic_eoi_now(struct lapic *l)
{
	mutex_lock(&l->ic->lock);
	lapic_eoi(l);
	mutex_unlock(&l->ic->lock);
}
