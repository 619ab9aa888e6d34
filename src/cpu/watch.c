/* SPDX-License-Identifier: MIT */
#include "cpu/watch.h"

#include <linux/kvm.h>

/* DR7's R/W field (SDM vol. 3, 17.2.4). */
enum { ON_EXECUTE, ON_WRITE, ON_IO, ON_ACCESS };

struct breakpoint {
	bool enabled;
	unsigned when;
	u64 start, len; /* bytes; aligned down as the processor does */
};

bool watch_is_vmms(const struct cpu *c)
{
	return c->guest_debug & KVM_GUESTDBG_USE_HW_BP;
}

static struct breakpoint breakpoint(const struct cpu *c, unsigned n)
{
	static const u8 length[] = {1, 2, 8, 4};
	bool vmms = watch_is_vmms(c);
	u64 dr7 = vmms ? c->guest_dr7 : c->dr7;
	unsigned field = (unsigned)(dr7 >> (16 + 4 * n));
	u64 len = length[(field >> 2) & 3];

	return (struct breakpoint){
		.enabled = dr7 >> (2 * n) & 3,
		.when = field & 3,
		.start = ALIGN_DOWN(vmms ? c->guest_dr[n] : c->dr[n], len),
		.len = len,
	};
}

u64 watch_code(const struct cpu *c, u64 la)
{
	u64 hits = 0;

	if (!watch_is_vmms(c) && (c->flags & FL_RF))
		return 0;
	for (unsigned n = 0; n < 4; n++) {
		struct breakpoint b = breakpoint(c, n);

		if (b.enabled && b.when == ON_EXECUTE && b.start == la)
			hits |= BIT(n);
	}
	return hits;
}

static void note(struct cpu *c, u64 addr, u32 size, unsigned one, unsigned other)
{
	for (unsigned n = 0; n < 4; n++) {
		struct breakpoint b = breakpoint(c, n);

		if (b.enabled && (b.when == one || b.when == other) && addr < b.start + b.len &&
		    b.start < addr + size)
			c->watch_hits |= (u8)BIT(n);
	}
}

void watch_data(struct cpu *c, u64 la, u32 size, bool write)
{
	note(c, la, size, ON_ACCESS, write ? ON_WRITE : ON_ACCESS);
}

void watch_port(struct cpu *c, u16 port, u32 size)
{
	if (c->cr4 & CR4_DE)
		note(c, port, size, ON_IO, ON_IO);
}
