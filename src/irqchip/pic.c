/* SPDX-License-Identifier: MIT */
/*
 * irqchip/pic.c: two cascaded 8259A interrupt controllers with the edge/level registers of a
 * PC. Rules are the Intel 8259A data sheet's.
 */
#include "irqchip/internal.h"

#define CASCADE_PIN	2
#define SPURIOUS_PIN	7
#define ICW1		0x10
#define ICW1_NEEDS_ICW4 0x01
#define OCW3		0x08
#define ELCR_MASTER	0xf8 /* IRQ 0, 1 and 2 are edge-triggered by wiring */
#define ELCR_SLAVE	0xde /* so are 8 and 13 */

static struct pic *master(struct irqchip *ic)
{
	return &ic->pic[0];
}

static u32 index_of(struct irqchip *ic, const struct pic *p)
{
	return (u32)(p - ic->pic);
}

/* Distance from the highest-priority line to the first one set; 8 for none. */
static u32 priority(const struct pic *p, u8 mask)
{
	u32 n = 0;

	if (!mask)
		return 8;
	while (!(mask & 1u << ((n + p->priority_add) & 7)))
		n++;
	return n;
}

/* The line this controller asks service for, or -1. */
static int request(struct irqchip *ic, const struct pic *p)
{
	u8 in_service = p->isr;
	u32 want = priority(p, p->irr & (u8)~p->imr);

	if (want == 8)
		return -1;
	if (p->special_mask)
		in_service &= (u8)~p->imr;
	/* Special fully nested: the cascade's own level does not hold back the slave. */
	if (p->fully_nested && p == master(ic))
		in_service &= (u8) ~(1u << CASCADE_PIN);
	return want < priority(p, in_service) ? (int)((want + p->priority_add) & 7) : -1;
}

static int set_line(struct pic *p, u32 line, bool level)
{
	u8 bit = (u8)(1u << line);
	int r = 1;

	if (p->elcr & bit) {
		if (level) {
			r = !(p->irr & bit);
			p->irr |= bit;
			p->last_irr |= bit;
		} else {
			p->irr &= (u8)~bit;
			p->last_irr &= (u8)~bit;
		}
	} else if (level) {
		if (!(p->last_irr & bit)) {
			r = !(p->irr & bit);
			p->irr |= bit;
		}
		p->last_irr |= bit;
	} else {
		p->last_irr &= (u8)~bit;
	}
	return p->imr & bit ? -1 : r;
}

static void kick_pic_target(struct irqchip *ic)
{
	for (u32 i = 0; i < ic->nlapics; i++) {
		if (ic->lapics[i] && lapic_accepts_pic(ic->lapics[i])) {
			lapic_kick(ic->lapics[i]);
			return;
		}
	}
}

/* The slave's INT output is the master's line 2, whatever else happened to that latch. */
static void update(struct irqchip *ic)
{
	struct pic *m = master(ic);
	int out;

	m->irr &= (u8) ~(1u << CASCADE_PIN);
	if (request(ic, &ic->pic[1]) >= 0)
		m->irr |= 1u << CASCADE_PIN;
	out = request(ic, m) >= 0;
	if (out && !ic->pic_output) {
		sync_store_release(&ic->pic_output, 1);
		kick_pic_target(ic);
	} else {
		sync_store_release(&ic->pic_output, out);
	}
}

int pic_set_irq(struct irqchip *ic, u32 pin, bool level)
{
	int r = set_line(&ic->pic[pin >> 3], pin & 7, level);

	update(ic);
	return r;
}

/* Service of a line has ended: whoever waits for its EOI hears of it. Drops the lock. */
static void clear_isr(struct irqchip *ic, struct pic *p, u32 line)
{
	u32 pin = line + index_of(ic, p) * 8;

	p->isr &= (u8) ~(1u << line);
	irqchip_acked(ic, ic->routing.pic_gsi[pin]);
}

static void acknowledge(struct irqchip *ic, struct pic *p, u32 line)
{
	p->isr |= (u8)(1u << line);
	if (!(p->elcr & 1u << line))
		p->irr &= (u8) ~(1u << line);
	if (!p->auto_eoi)
		return;
	if (p->rotate_on_auto_eoi)
		p->priority_add = (line + 1) & 7;
	clear_isr(ic, p, line);
}

int pic_peek(struct irqchip *ic)
{
	int line = request(ic, master(ic)), slave_line;

	if (line < 0)
		return -1;
	if (line != CASCADE_PIN)
		return master(ic)->irq_base + line;
	slave_line = request(ic, &ic->pic[1]);
	return ic->pic[1].irq_base + (slave_line < 0 ? SPURIOUS_PIN : slave_line);
}

/* A request gone before INTA is answered as line 7, which is then not in service. */
int pic_inta(struct irqchip *ic)
{
	struct pic *m = master(ic), *s = &ic->pic[1];
	int line = request(ic, m), vector, slave_line;

	if (line < 0) {
		vector = m->irq_base + SPURIOUS_PIN;
	} else if (line == CASCADE_PIN) {
		slave_line = request(ic, s);
		vector = s->irq_base + (slave_line < 0 ? SPURIOUS_PIN : slave_line);
		acknowledge(ic, m, CASCADE_PIN);
		if (slave_line >= 0)
			acknowledge(ic, s, (u32)slave_line);
	} else {
		vector = m->irq_base + line;
		acknowledge(ic, m, (u32)line);
	}
	update(ic);
	return vector;
}

/* ---- command and data ports */

static void initialise(struct irqchip *ic, struct pic *p, u8 icw1)
{
	u8 served = p->isr | p->irr;

	p->init4 = icw1 & ICW1_NEEDS_ICW4;
	p->last_irr = 0;
	p->irr &= p->elcr; /* the edge latches are cleared, active levels stay */
	p->imr = 0;
	p->isr = 0;
	p->priority_add = 0;
	p->special_mask = false;
	p->read_isr = false;
	p->poll = false;
	if (!p->init4) {
		p->fully_nested = false;
		p->auto_eoi = false;
	}
	p->rotate_on_auto_eoi = false;
	p->init_state = 1;
	/* What was under way will see no EOI any more. */
	for (u32 line = 0; line < 8; line++) {
		if (served & 1u << line)
			irqchip_acked(ic, ic->routing.pic_gsi[line + index_of(ic, p) * 8]);
	}
}

static void write_ocw3(struct pic *p, u8 v)
{
	if (v & 0x04)
		p->poll = true;
	if (v & 0x02)
		p->read_isr = v & 1;
	if (v & 0x40)
		p->special_mask = (v >> 5) & 1;
}

/* OCW2: end of interrupt and rotation. */
static void write_ocw2(struct irqchip *ic, struct pic *p, u8 v)
{
	u32 cmd = v >> 5, line = v & 7, n;

	switch (cmd) {
	case 0: /* rotate on AEOI: off, on */
	case 4:
		p->rotate_on_auto_eoi = cmd == 4;
		break;
	case 1: /* non-specific EOI, without and with rotation */
	case 5:
		n = priority(p, p->isr);
		if (n == 8)
			break;
		line = (n + p->priority_add) & 7;
		if (cmd == 5)
			p->priority_add = (line + 1) & 7;
		clear_isr(ic, p, line);
		break;
	case 3: /* specific EOI */
		clear_isr(ic, p, line);
		break;
	case 6: /* set priority */
		p->priority_add = (line + 1) & 7;
		break;
	case 7: /* specific EOI with rotation */
		p->priority_add = (line + 1) & 7;
		clear_isr(ic, p, line);
		break;
	}
}

static void write_data(struct irqchip *ic, struct pic *p, u8 v)
{
	switch (p->init_state) {
	case 0: /* OCW1 */
		if (p == master(ic) && (p->imr & 1) && !(v & 1))
			pit_reset_reinject(ic);
		p->imr = v;
		break;
	case 1: /* ICW2 */
		p->irq_base = v & 0xf8;
		p->init_state = 2;
		break;
	case 2: /* ICW3: the wiring is a PC's whatever it says */
		p->init_state = p->init4 ? 3 : 0;
		break;
	case 3: /* ICW4 */
		p->fully_nested = (v >> 4) & 1;
		p->auto_eoi = (v >> 1) & 1;
		p->init_state = 0;
		break;
	}
}

static void write_port(struct irqchip *ic, struct pic *p, bool data, u8 v)
{
	if (data)
		write_data(ic, p, v);
	else if (v & ICW1)
		initialise(ic, p, v);
	else if (v & OCW3)
		write_ocw3(p, v);
	else
		write_ocw2(ic, p, v);
	update(ic);
}

/* The read after a poll command is the acknowledgement: bit 7 says there was one. */
static u8 read_poll(struct irqchip *ic, struct pic *p)
{
	int line = request(ic, p);

	p->poll = false;
	if (line < 0)
		return 0;
	acknowledge(ic, p, (u32)line);
	update(ic);
	return (u8)(0x80 | line);
}

static u8 read_port(struct irqchip *ic, struct pic *p, bool data)
{
	if (p->poll)
		return read_poll(ic, p);
	if (data)
		return p->imr;
	return p->read_isr ? p->isr : p->irr;
}

/* As KVM answers wider accesses: zeros, and writes go nowhere. */
static bool not_a_byte(u32 size, bool write, void *data)
{
	if (!write)
		memset(data, 0, size);
	return true;
}

bool pic_has_port(u16 port)
{
	/* 0x20, 0x21, 0xa0, 0xa1; 0x4d0, 0x4d1 */
	return (port & ~0x81) == 0x20 || (port & ~1) == 0x4d0;
}

bool pic_pio(struct irqchip *ic, u16 port, u32 size, bool write, void *data)
{
	struct pic *p;
	u8 *v = data;

	switch (port) {
	case 0x20:
	case 0x21:
	case 0xa0:
	case 0xa1:
		if (size != 1)
			return not_a_byte(size, write, data);
		p = &ic->pic[port >> 7];
		if (write)
			write_port(ic, p, port & 1, *v);
		else
			*v = read_port(ic, p, port & 1);
		break;
	case 0x4d0:
	case 0x4d1:
		if (size != 1)
			return not_a_byte(size, write, data);
		p = &ic->pic[port & 1];
		if (write)
			p->elcr = *v & p->elcr_mask;
		else
			*v = p->elcr;
		break;
	default:
		return false;
	}
	return true;
}

/* ---- state */

void pic_reset_all(struct irqchip *ic)
{
	memset(ic->pic, 0, sizeof(ic->pic));
	ic->pic[0].elcr_mask = ELCR_MASTER;
	ic->pic[1].elcr_mask = ELCR_SLAVE;
}

void pic_get(struct irqchip *ic, u32 n, struct kvm_pic_state *s)
{
	const struct pic *p = &ic->pic[n];

	*s = (struct kvm_pic_state){
		.last_irr = p->last_irr,
		.irr = p->irr,
		.imr = p->imr,
		.isr = p->isr,
		.priority_add = p->priority_add,
		.irq_base = p->irq_base,
		.read_reg_select = p->read_isr,
		.poll = p->poll,
		.special_mask = p->special_mask,
		.init_state = p->init_state,
		.auto_eoi = p->auto_eoi,
		.rotate_on_auto_eoi = p->rotate_on_auto_eoi,
		.special_fully_nested_mode = p->fully_nested,
		.init4 = p->init4,
		.elcr = p->elcr,
		.elcr_mask = p->elcr_mask,
	};
}

void pic_set(struct irqchip *ic, u32 n, const struct kvm_pic_state *s)
{
	ic->pic[n] = (struct pic){
		.last_irr = s->last_irr,
		.irr = s->irr,
		.imr = s->imr,
		.isr = s->isr,
		.priority_add = s->priority_add & 7,
		.irq_base = s->irq_base,
		.read_isr = s->read_reg_select,
		.poll = s->poll,
		.special_mask = s->special_mask,
		.init_state = s->init_state & 3,
		.auto_eoi = s->auto_eoi,
		.rotate_on_auto_eoi = s->rotate_on_auto_eoi,
		.fully_nested = s->special_fully_nested_mode,
		.init4 = s->init4,
		.elcr = s->elcr,
		.elcr_mask = s->elcr_mask,
	};
	update(ic);
}
