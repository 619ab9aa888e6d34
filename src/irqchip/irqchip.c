/* SPDX-License-Identifier: MIT */
/* irqchip/irqchip.c: the whole: creation, the vCPU's question "what is next", device accesses. */
#include "irqchip/internal.h"

#include <stdlib.h>

#define LAPIC_WINDOW  0x1000ULL
#define IOAPIC_WINDOW 0x100ULL

int irqchip_create(void *vm, enum irqchip_mode mode, u32 ioapic_pins,
		   const struct irqchip_ops *ops, struct irqchip **out)
{
	struct irqchip *ic = calloc(1, sizeof(*ic));
	int r;

	if (!ic)
		return -ENOMEM;
	mutex_init(&ic->lock);
	ic->vm = vm;
	ic->mode = mode;
	ic->ioapic_pins = ioapic_pins;
	ic->ops = *ops;
	timers_init(&ic->timers);
	pic_reset_all(ic);
	ioapic_reset(ic);
	r = routing_default(ic);
	if (r) {
		irqchip_destroy(ic);
		return r;
	}
	*out = ic;
	return 0;
}

void irqchip_destroy(struct irqchip *ic)
{
	if (!ic)
		return;
	timers_destroy(ic);
	routing_free(ic);
	mutex_destroy(&ic->lock);
	free(ic);
}

enum irqchip_mode irqchip_mode(const struct irqchip *ic)
{
	return ic->mode;
}

u32 irqchip_flags(const struct irqchip *ic)
{
	return ic->ops.flags ? ic->ops.flags(ic->vm) : 0;
}

void irqchip_acked(struct irqchip *ic, s32 gsi)
{
	if (gsi < 0)
		return;
	if (gsi == GSI_PIT)
		pit_acked(ic);
	if (!ic->ops.gsi_acked)
		return;
	mutex_unlock(&ic->lock);
	ic->ops.gsi_acked(ic->vm, (u32)gsi);
	mutex_lock(&ic->lock);
}

/* ---- what is next for a vCPU. The 8259 comes first, as ExtINT does in KVM. */

static bool pic_speaks_to(struct irqchip *ic, struct lapic *l)
{
	return sync_load_acquire(&ic->pic_output) && (!l || lapic_accepts_pic(l));
}

int irqchip_has_interrupt(struct irqchip *ic, struct lapic *l)
{
	int v = -1;

	if (pic_speaks_to(ic, l)) {
		mutex_lock(&ic->lock);
		if (ic->pic_output)
			v = pic_peek(ic);
		mutex_unlock(&ic->lock);
	}
	if (v < 0 && l)
		v = sync_load_acquire(&l->hint);
	return v;
}

int irqchip_get_interrupt(struct irqchip *ic, struct lapic *l)
{
	int v = -1;

	mutex_lock(&ic->lock);
	if (pic_speaks_to(ic, l))
		v = pic_inta(ic);
	else if (l)
		v = lapic_ack(l);
	mutex_unlock(&ic->lock);
	return v;
}

/* ---- device accesses */

bool irqchip_pio(struct irqchip *ic, u16 port, u32 size, bool write, void *data)
{
	bool taken;

	/* Most ports are the VMM's, and those of a million exits a second need no lock. */
	if (ic->mode != IRQCHIP_KERNEL || !(pic_has_port(port) || pit_has_port(port)))
		return false;
	mutex_lock(&ic->lock);
	taken = pic_pio(ic, port, size, write, data) || pit_pio(ic, port, size, write, data);
	mutex_unlock(&ic->lock);
	return taken;
}

static bool lapic_mmio(struct irqchip *ic, struct lapic *l, gpa_t gpa, u32 size, bool write,
		       void *data)
{
	u64 off = gpa - (lapic_get_base(l) & ~(LAPIC_WINDOW - 1));

	if (off >= LAPIC_WINDOW)
		return false;
	mutex_lock(&ic->lock);
	if (write)
		lapic_mmio_write(l, (u32)off, size, data);
	else
		lapic_mmio_read(l, (u32)off, size, data);
	mutex_unlock(&ic->lock);
	return true;
}

bool irqchip_mmio(struct irqchip *ic, struct lapic *l, gpa_t gpa, u32 size, bool write,
		  void *data)
{
	u64 off;

	if (l && lapic_mmio(ic, l, gpa, size, write, data))
		return true;
	if (ic->mode != IRQCHIP_KERNEL)
		return false;
	off = gpa - sync_load(&ic->ioapic.base);
	if (off >= IOAPIC_WINDOW)
		return false;
	mutex_lock(&ic->lock);
	if (write)
		ioapic_write(ic, (u32)off, size, data);
	else
		ioapic_read(ic, (u32)off, size, data);
	mutex_unlock(&ic->lock);
	return true;
}

/* ---- KVM_GET_IRQCHIP, KVM_SET_IRQCHIP */

int irqchip_get(struct irqchip *ic, struct kvm_irqchip *chip)
{
	if (ic->mode != IRQCHIP_KERNEL)
		return -ENXIO;
	if (chip->chip_id > KVM_IRQCHIP_IOAPIC)
		return -EINVAL;
	mutex_lock(&ic->lock);
	if (chip->chip_id == KVM_IRQCHIP_IOAPIC)
		ioapic_get(ic, &chip->chip.ioapic);
	else
		pic_get(ic, chip->chip_id, &chip->chip.pic);
	mutex_unlock(&ic->lock);
	return 0;
}

int irqchip_set(struct irqchip *ic, const struct kvm_irqchip *chip)
{
	if (ic->mode != IRQCHIP_KERNEL)
		return -ENXIO;
	if (chip->chip_id > KVM_IRQCHIP_IOAPIC)
		return -EINVAL;
	mutex_lock(&ic->lock);
	if (chip->chip_id == KVM_IRQCHIP_IOAPIC)
		ioapic_set(ic, &chip->chip.ioapic);
	else
		pic_set(ic, chip->chip_id, &chip->chip.pic);
	mutex_unlock(&ic->lock);
	return 0;
}
