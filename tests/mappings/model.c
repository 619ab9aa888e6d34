/* SPDX-License-Identifier: MIT */
#include "mappings.h"
#include <string.h>

bool slot_read_only;
uint8_t written[DATA_SIZE / PAGE];
static uint8_t low[COMPARED], data[DATA_SIZE];

uint8_t *model_at(uint64_t gpa)
{
	if (gpa < sizeof(low))
		return low + gpa;
	EXPECT(gpa - DATA < sizeof(data), "the model has no memory at %#lx", gpa);
	return data + (gpa - DATA);
}

void model_clear(void)
{
	memset(low, 0, sizeof(low));
	memset(data, 0, sizeof(data));
	memset(written, 0, sizeof(written));
	slot_read_only = false;
}

uint64_t model_load64(uint64_t gpa)
{
	uint64_t v;

	memcpy(&v, model_at(gpa), sizeof(v));
	return v;
}

void model_store(uint64_t gpa, const void *from, unsigned size)
{
	if (gpa >= DATA && slot_read_only)
		return;
	memcpy(model_at(gpa), from, size);
	if (gpa >= DATA)
		written[(gpa - DATA) / PAGE] = IS_WRITTEN;
}

static bool allowed(const struct view *v, uint64_t rights, bool nx, unsigned access)
{
	if (v->user) {
		if (!(rights & US))
			return false;
	} else if (rights & US) {
		if (access == FETCH && v->smep)
			return false;
		if (access != FETCH && v->smap && !v->ac)
			return false;
	}
	if (access == FETCH)
		return !nx;
	return access == READ || (rights & RW) || (!v->user && !v->wp);
}

static void set_bits(uint64_t gpa, uint64_t bits)
{
	uint64_t entry = model_load64(gpa) | bits;

	memcpy(model_at(gpa), &entry, sizeof(entry));
}

static struct fault faulted(const struct view *v, uint64_t la, uint32_t error, unsigned access)
{
	if (access == WRITE)
		error |= 2;
	if (v->user)
		error |= 4;
	if (access == FETCH)
		error |= 16;
	return (struct fault){true, la, error};
}

/* SDM vol. 3, 4.5 to 4.8: four levels, and a page of 4 KiB or 2 MiB. */
static struct fault walk(const struct view *v, uint64_t la, unsigned access, uint64_t *gpa)
{
	uint64_t table = v->cr3 & FRAME & ~KEEP, rights = RW | US, at[4], entry = 0, mask = 0;
	bool nx = false;
	int level;

	for (level = 3; level >= 0; level--) {
		at[level] = table + (la >> (12 + 9 * level) & 511) * 8;
		entry = model_load64(at[level]);
		if (!(entry & P))
			return faulted(v, la, 0, access);
		rights &= entry;
		nx |= (entry & NX) != 0;
		table = entry & FRAME;
		mask = (1ull << (12 + 9 * level)) - 1;
		if (!level || (entry & PS))
			break;
	}
	if (!allowed(v, rights, nx, access))
		return faulted(v, la, 1, access);
	for (int l = 3; l >= level; l--)
		set_bits(at[l], A | (l == level && access == WRITE ? D : 0));
	*gpa = (table & ~mask) | (la & mask);
	return (struct fault){.is = false};
}

/* One page or two: where the bytes are, and how many in the first. */
static struct fault find(const struct view *v, uint64_t la, unsigned size, unsigned access, uint64_t gpa[2],
			 unsigned *first)
{
	struct fault f = walk(v, la, access, &gpa[0]);

	*first = PAGE - (unsigned)(la & (PAGE - 1));
	if (*first >= size)
		*first = size;
	else if (!f.is)
		f = walk(v, la + *first, access, &gpa[1]);
	return f;
}

void model_may_write(const struct view *v, uint64_t la)
{
	uint64_t table = v->cr3 & FRAME, entry, mask;

	for (int level = 3; level >= 0; level--) {
		entry = model_load64(table + (la >> (12 + 9 * level) & 511) * 8);
		mask = (1ull << (12 + 9 * level)) - 1;
		if (!(entry & P))
			return;
		table = entry & FRAME;
		if (!level || (entry & PS))
			break;
	}
	la = (table & ~mask) | (la & mask);
	if (la >= DATA && !written[(la - DATA) / PAGE])
		written[(la - DATA) / PAGE] = MAY_BE_WRITTEN;
}

static struct fault look(const struct view *v, uint64_t la, void *to, unsigned size, unsigned access)
{
	uint64_t gpa[2];
	unsigned first;
	struct fault f = find(v, la, size, access, gpa, &first);

	if (f.is)
		return f;
	memcpy(to, model_at(gpa[0]), first);
	if (first < size)
		memcpy((uint8_t *)to + first, model_at(gpa[1]), size - first);
	return f;
}

struct fault model_read(const struct view *v, uint64_t la, void *to, unsigned size)
{
	return look(v, la, to, size, READ);
}

struct fault model_modify(const struct view *v, uint64_t la, void *old, unsigned size)
{
	return look(v, la, old, size, WRITE);
}

struct fault model_fetch(const struct view *v, uint64_t la, void *to, unsigned size)
{
	return look(v, la, to, size, FETCH);
}

struct fault model_write(const struct view *v, uint64_t la, const void *from, unsigned size)
{
	uint64_t gpa[2];
	unsigned first;
	struct fault f = find(v, la, size, WRITE, gpa, &first);

	if (f.is)
		return f;
	model_store(gpa[0], from, first);
	if (first < size)
		model_store(gpa[1], (const uint8_t *)from + first, size - first);
	return f;
}
