/* SPDX-License-Identifier: MIT */
/* irqchip/pit_io.c: the 8254's ports, and port 0x61 with the speaker's gate. */
#include "irqchip/internal.h"

#define PORT_CHANNEL0	0x40
#define PORT_CONTROL	0x43
#define PORT_SPEAKER	0x61
#define SPEAKER_CHANNEL 2
#define READ_BACK	3
#define RB_NO_COUNT	0x20
#define RB_NO_STATUS	0x10
#define REFRESH_SHIFT	14 /* ns: port 0x61 bit 4 toggles about every 15 us */

/* How a count's bytes come and go; the first three are also the control word's RW field. */
enum rw { RW_LATCH, RW_LSB, RW_MSB, RW_WORD, RW_WORD_MSB };

static void latch_count(struct irqchip *ic, struct pit_channel *c)
{
	if (c->count_latched)
		return; /* the first latch holds until it is read */
	c->latched_count = (u16)pit_get_count(c, ic->timers.now());
	c->count_latched = c->rw_mode;
}

static void latch_status(struct irqchip *ic, struct pit_channel *c)
{
	if (c->status_latched)
		return;
	c->status = (u8)(pit_get_out(c, ic->timers.now()) << 7 | c->rw_mode << 4 |
			 c->mode << 1 | c->bcd);
	c->status_latched = true;
}

static void write_control(struct irqchip *ic, u8 v)
{
	u32 n = v >> 6;
	struct pit_channel *c = &ic->pit.ch[n];

	if (n == READ_BACK) {
		for (n = 0; n < PIT_CHANNELS; n++) {
			c = &ic->pit.ch[n];
			if (!(v & 2u << n))
				continue;
			if (!(v & RB_NO_COUNT))
				latch_count(ic, c);
			if (!(v & RB_NO_STATUS))
				latch_status(ic, c);
		}
		return;
	}
	if ((v >> 4 & 3) == RW_LATCH) {
		latch_count(ic, c);
		return;
	}
	c->rw_mode = v >> 4 & 3;
	c->read_state = c->rw_mode;
	c->write_state = c->rw_mode;
	c->mode = v >> 1 & 7;
	if (c->mode > 5)
		c->mode &= 3; /* 6 and 7 are 2 and 3 */
	c->bcd = v & 1;
	c->count_latched = 0;
}

static void write_count(struct irqchip *ic, u32 n, u8 v)
{
	struct pit_channel *c = &ic->pit.ch[n];

	switch (c->write_state) {
	case RW_LSB:
		pit_load(ic, n, v);
		break;
	case RW_MSB:
		pit_load(ic, n, (u32)v << 8);
		break;
	case RW_WORD:
		c->write_latch = v;
		c->write_state = RW_WORD_MSB;
		break;
	case RW_WORD_MSB:
		pit_load(ic, n, c->write_latch | (u32)v << 8);
		c->write_state = RW_WORD;
		break;
	}
}

static u8 read_latched(struct pit_channel *c)
{
	u8 v = (u8)c->latched_count;

	switch (c->count_latched) {
	case RW_MSB:
	case RW_WORD_MSB:
		v = c->latched_count >> 8;
		c->count_latched = 0;
		break;
	case RW_WORD:
		c->count_latched = RW_WORD_MSB;
		break;
	default:
		c->count_latched = 0;
	}
	return v;
}

static u8 read_channel(struct irqchip *ic, u32 n)
{
	struct pit_channel *c = &ic->pit.ch[n];
	u32 count;

	if (c->status_latched) {
		c->status_latched = false;
		return c->status;
	}
	if (c->count_latched)
		return read_latched(c);
	count = pit_get_count(c, ic->timers.now());
	switch (c->read_state) {
	case RW_MSB:
		return (u8)(count >> 8);
	case RW_WORD:
		c->read_state = RW_WORD_MSB;
		return (u8)count;
	case RW_WORD_MSB:
		c->read_state = RW_WORD;
		return (u8)(count >> 8);
	default:
		return (u8)count;
	}
}

static u8 read_speaker(struct irqchip *ic)
{
	const struct pit_channel *c = &ic->pit.ch[SPEAKER_CHANNEL];
	u64 now = ic->timers.now();
	bool data_on = ic->pit.flags & KVM_PIT_FLAGS_SPEAKER_DATA_ON;

	return (u8)(pit_get_out(c, now) << 5 | (now >> REFRESH_SHIFT & 1) << 4 | data_on << 1 |
		    c->gate);
}

static void write_speaker(struct irqchip *ic, u8 v)
{
	if (v & 2)
		ic->pit.flags |= KVM_PIT_FLAGS_SPEAKER_DATA_ON;
	else
		ic->pit.flags &= ~(u32)KVM_PIT_FLAGS_SPEAKER_DATA_ON;
	pit_set_gate(ic, SPEAKER_CHANNEL, v & 1);
}

bool pit_has_port(u16 port)
{
	return (port >= PORT_CHANNEL0 && port <= PORT_CONTROL) || port == PORT_SPEAKER;
}

bool pit_pio(struct irqchip *ic, u16 port, u32 size, bool write, void *data)
{
	u8 v = *(u8 *)data, out = 0;

	if (!ic->pit.present || !pit_has_port(port) || (port == PORT_SPEAKER && !ic->pit.speaker))
		return false;
	if (write && port == PORT_SPEAKER)
		write_speaker(ic, v);
	else if (write && port == PORT_CONTROL)
		write_control(ic, v);
	else if (write)
		write_count(ic, port - PORT_CHANNEL0, v);
	else if (port == PORT_SPEAKER)
		out = read_speaker(ic);
	else if (port != PORT_CONTROL) /* which cannot be read */
		out = read_channel(ic, port - PORT_CHANNEL0);
	if (!write) {
		memset(data, 0, size);
		*(u8 *)data = out;
	}
	return true;
}
