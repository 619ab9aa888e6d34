/* SPDX-License-Identifier: MIT */
/* irqchip/ioapic.c: the 24-pin I/O APIC (Intel 82093AA data sheet). */
#include "irqchip/internal.h"

#define IOREGSEL	0x00
#define IOWIN		0x10
#define REG_ID		0x00
#define REG_VERSION	0x01
#define REG_ARBITRATION 0x02
#define REG_REDIR	0x10
#define VERSION		0x11u /* no EOI register */

/* Send what a pin has: -1 masked or waiting for its EOI, else as lapic_deliver(). */
static int service(struct irqchip *ic, u32 pin)
{
	union ioapic_entry *e = &ic->ioapic.redir[pin];
	struct ic_message m = {
		.dest = e->dest,
		.vector = e->vector,
		.logical = e->dest_mode,
		.level_triggered = e->level,
		.assert = true,
		.delivery = (u32)e->delivery_mode << 8,
	};
	int r;

	if (e->masked || (e->level && e->remote_irr))
		return -1;
	if (!e->level)
		ic->ioapic.irr_delivered |= 1u << pin;
	r = lapic_deliver(ic, &m);
	if (r && e->level) /* also when there is nobody: KVM's own answer */
		e->remote_irr = 1;
	return r;
}

/*
 * `level`: true when active; as KVM, the redirection entry's polarity is kept but lines are
 * always active high here, since who raises a GSI says "active", not "high".
 */
int ioapic_set_irq(struct irqchip *ic, u32 pin, bool level)
{
	struct ioapic *io = &ic->ioapic;
	u32 bit = 1u << pin;
	bool was = io->irr & bit;

	if (!level) {
		io->irr &= ~bit;
		return 1;
	}
	io->irr |= bit;
	if (!io->redir[pin].level) {
		io->irr_delivered &= ~bit;
		if (was)
			return 0;
	}
	return service(ic, pin);
}

/*
 * A local APIC ended service of a vector. Pins with that vector are told to whoever waits for
 * their acknowledgement, edge-triggered ones too (the 8254's ticks count on it);
 * level-triggered ones may interrupt again.
 */
void ioapic_eoi(struct irqchip *ic, struct lapic *l, u8 vector, bool level)
{
	struct ioapic *io = &ic->ioapic;

	for (u32 pin = 0; pin < IOAPIC_PINS; pin++) {
		union ioapic_entry *e = &io->redir[pin];

		if (e->vector != vector)
			continue;
		irqchip_acked(ic, ic->routing.ioapic_gsi[pin]);
		if (!level || !e->level || (l->regs[APIC_SPIV / 4] & SPIV_DIRECTED_EOI))
			continue;
		e->remote_irr = 0;
		if (io->irr & 1u << pin)
			service(ic, pin);
	}
}

/* ---- registers */

static u32 read_window(const struct ioapic *io)
{
	u32 pin = (io->select - REG_REDIR) / 2;

	switch (io->select) {
	case REG_ID:
	case REG_ARBITRATION:
		return (io->id & 0xf) << 24;
	case REG_VERSION:
		return VERSION | (IOAPIC_PINS - 1) << 16;
	}
	if (io->select < REG_REDIR || pin >= IOAPIC_PINS)
		return 0xffffffff;
	return (u32)(io->redir[pin].bits >> (io->select & 1 ? 32 : 0));
}

static void write_redir(struct irqchip *ic, u32 pin, bool high, u32 v)
{
	union ioapic_entry *e = &ic->ioapic.redir[pin], old = *e;

	if (high) {
		e->bits = (e->bits & 0xffffffff) | (u64)v << 32;
	} else {
		e->bits = (e->bits & ~0xffffffffULL) | v;
		/* These two are the chip's; guests clear remote IRR by way of edge mode. */
		e->remote_irr = e->level ? old.remote_irr : 0;
		e->delivery_status = old.delivery_status;
	}
	if (old.masked && !e->masked && ic->routing.ioapic_gsi[pin] == GSI_PIT)
		pit_reset_reinject(ic);
	if (e->level && (ic->ioapic.irr & 1u << pin))
		service(ic, pin);
}

static void write_window(struct irqchip *ic, u32 v)
{
	struct ioapic *io = &ic->ioapic;
	u32 pin = (io->select - REG_REDIR) / 2;

	if (io->select == REG_ID)
		io->id = (v >> 24) & 0xf;
	else if (io->select >= REG_REDIR && pin < IOAPIC_PINS)
		write_redir(ic, pin, io->select & 1, v);
}

void ioapic_read(struct irqchip *ic, u32 off, u32 size, void *data)
{
	u32 v = 0;

	switch (off & 0xf0) {
	case IOREGSEL:
		v = ic->ioapic.select;
		break;
	case IOWIN:
		v = read_window(&ic->ioapic);
		break;
	}
	memset(data, 0, size);
	memcpy(data, &v, MIN(size, 4));
}

void ioapic_write(struct irqchip *ic, u32 off, u32 size, const void *data)
{
	u32 v = 0;

	memcpy(&v, data, MIN(size, 4));
	switch (off & 0xf0) {
	case IOREGSEL:
		ic->ioapic.select = v & 0xff;
		break;
	case IOWIN:
		write_window(ic, v);
		break;
	}
}

/* ---- state */

void ioapic_reset(struct irqchip *ic)
{
	memset(&ic->ioapic, 0, sizeof(ic->ioapic));
	ic->ioapic.base = IOAPIC_BASE;
	for (u32 pin = 0; pin < IOAPIC_PINS; pin++)
		ic->ioapic.redir[pin].masked = 1;
}

void ioapic_get(struct irqchip *ic, struct kvm_ioapic_state *s)
{
	const struct ioapic *io = &ic->ioapic;

	memset(s, 0, sizeof(*s));
	s->base_address = io->base;
	s->ioregsel = io->select;
	s->id = io->id;
	s->irr = io->irr & ~io->irr_delivered;
	for (u32 pin = 0; pin < IOAPIC_PINS; pin++)
		s->redirtbl[pin].bits = io->redir[pin].bits;
}

/* What the saved state had pending is raised again. */
void ioapic_set(struct irqchip *ic, const struct kvm_ioapic_state *s)
{
	struct ioapic *io = &ic->ioapic;

	io->base = s->base_address;
	io->select = s->ioregsel & 0xff;
	io->id = s->id;
	io->irr = 0;
	io->irr_delivered = 0;
	for (u32 pin = 0; pin < IOAPIC_PINS; pin++)
		io->redir[pin].bits = s->redirtbl[pin].bits;
	for (u32 pin = 0; pin < IOAPIC_PINS; pin++) {
		if (s->irr & 1u << pin)
			ioapic_set_irq(ic, pin, true);
	}
}
