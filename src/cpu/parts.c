/* SPDX-License-Identifier: MIT */
#include "cpu/parts.h"

#include "base/guard.h"
#include "cpu/access.h"
#include "cpu/replay.h"

static void device(struct cpu *c, gpa_t gpa, u32 len, bool write, u8 *buf)
{
	while (len) {
		/* Naturally aligned pieces of at most 8 bytes, as a bus would see them. */
		u32 n = 8;

		while (n > len || (gpa & (n - 1)))
			n >>= 1;
		replay_mmio(c, gpa, n, write, buf);
		gpa += n;
		buf += n;
		len -= n;
	}
}

/*
 * An access of a size that fits a register stays one access at the device, whatever its
 * alignment, as KVM presents it.
 */
static void device_part(struct cpu *c, const struct part *p, bool write, u8 *buf)
{
	if (p->len <= 8)
		replay_mmio(c, p->gpa, p->len, write, buf);
	else
		device(c, p->gpa, p->len, write, buf);
}

/* ---- loads */

void parts_read(struct cpu *c, u64 la, const struct part *part, unsigned n, u8 *buf)
{
	for (unsigned i = 0; i < n; i++) {
		if (!part[i].host)
			device_part(c, &part[i], false, buf);
		else if (guard_copy_from(buf, part[i].host, part[i].len))
			access_died(c, la, false);
		la += part[i].len;
		buf += part[i].len;
	}
}

static bool load_whole(const u8 *host, u8 *buf, u32 len)
{
	u64 v64;
	u32 v32;
	u16 v16;

	switch (len) {
	case 1:
		return guard_load8(host, buf);
	case 2:
		if (!guard_load16(host, &v16))
			return false;
		memcpy(buf, &v16, 2);
		return true;
	case 4:
		if (!guard_load32(host, &v32))
			return false;
		memcpy(buf, &v32, 4);
		return true;
	case 8:
		if (!guard_load64(host, &v64))
			return false;
		memcpy(buf, &v64, 8);
		return true;
	}
	return guard_copy_from(buf, host, len) == 0;
}

u64 parts_load(struct cpu *c, u64 la, u32 size, const struct part *part, unsigned n)
{
	u64 v = 0;

	if (n == 1 && part[0].host) {
		if (!load_whole(part[0].host, (u8 *)&v, size))
			access_died(c, la, false);
		return v;
	}
	parts_read(c, la, part, n, (u8 *)&v);
	return v;
}

/* ---- stores */

/* A store that fits a register is one store to the host too: other vCPUs must not see halves. */
static bool store_whole(u8 *host, const u8 *buf, u32 len)
{
	u64 v = 0;

	memcpy(&v, buf, len);
	switch (len) {
	case 1:
		return guard_store8(host, (u8)v);
	case 2:
		return guard_store16(host, (u16)v);
	case 4:
		return guard_store32(host, (u32)v);
	case 8:
		return guard_store64(host, v);
	}
	return false;
}

static bool store_part(const struct part *p, const u8 *buf)
{
	if (p->len <= 8 && !(p->len & (p->len - 1)))
		return store_whole(p->host, buf, p->len);
	return !guard_copy_to(p->host, buf, p->len);
}

/* What stands where a store goes, for take_back(). False: it died. */
static bool keep(const struct part *part, unsigned n, u8 *old, u64 la, u64 *died_at)
{
	for (unsigned i = 0; i < n; i++) {
		*died_at = la;
		if (part[i].host && guard_copy_from(old, part[i].host, part[i].len))
			return false;
		la += part[i].len;
		old += part[i].len;
	}
	return true;
}

/* Parts 0 to `last`, of which the last may be stored in part. What cannot be reached is gone. */
static void take_back(const struct part *part, unsigned last, const u8 *old)
{
	struct guard_fault why = guard_fault;

	for (unsigned i = 0; i <= last; i++) {
		if (part[i].host)
			store_part(&part[i], old);
		old += part[i].len;
	}
	guard_fault = why;
}

/*
 * Devices first: the VMM has to be asked, and then all of this is run again. Nothing of it has
 * reached memory by then.
 */
static void write_devices(struct cpu *c, const struct part *part, unsigned n, const u8 *buf)
{
	for (unsigned i = 0; i < n; i++) {
		if (!part[i].host)
			device_part(c, &part[i], true, (u8 *)buf);
		buf += part[i].len;
	}
}

void parts_write(struct cpu *c, u64 la, const struct part *part, unsigned n, const u8 *buf)
{
	u32 size = part[0].len + (n > 1 ? part[1].len : 0);
	bool keeps = size <= PARTS_UNDO && (n > 1 || size > 8);
	u8 old[PARTS_UNDO];
	u64 died_at;

	write_devices(c, part, n, buf);
	if (keeps && !keep(part, n, old, la, &died_at))
		access_died(c, died_at, true);
	for (unsigned i = 0; i < n; i++) {
		if (part[i].host && !store_part(&part[i], buf)) {
			if (keeps)
				take_back(part, i, old);
			access_died(c, la, true);
		}
		la += part[i].len;
		buf += part[i].len;
	}
}
