/* SPDX-License-Identifier: MIT */
/* How guest.c reaches guest memory when vCPUs are threads of the test: through mmu/'s TLB. */
#ifndef GUEST_ACCESS_H
#define GUEST_ACCESS_H

#include "stress.h"

#define GUEST static inline __attribute__((always_inline))

enum access_kind {
	ACCESS_LOAD,
	ACCESS_STORE,
	ACCESS_EXCHANGE,
	ACCESS_COMPARE_EXCHANGE,
};

/* *v goes in or comes out; false: a hole. `expected` is for the last kind. */
bool machine_access(struct gvcpu *c, enum access_kind kind, const u64 *word, u64 *v, u64 expected);
void guest_out(u16 port);

GUEST bool area_load(struct gvcpu *c, const u64 *word, u64 *v)
{
	return machine_access(c, ACCESS_LOAD, word, v, 0);
}

GUEST bool area_load_string(struct gvcpu *c, const u64 *word, u64 *v)
{
	return area_load(c, word, v);
}

GUEST bool area_store(struct gvcpu *c, u64 *word, u64 v)
{
	return machine_access(c, ACCESS_STORE, word, &v, 0);
}

GUEST bool area_store_string(struct gvcpu *c, u64 *word, u64 v)
{
	return area_store(c, word, v);
}

GUEST bool area_exchange(struct gvcpu *c, u64 *word, u64 *v)
{
	return machine_access(c, ACCESS_EXCHANGE, word, v, 0);
}

GUEST bool area_compare_exchange(struct gvcpu *c, u64 *word, u64 *v, u64 new_)
{
	u64 was = *v;

	*v = new_;
	return machine_access(c, ACCESS_COMPARE_EXCHANGE, word, v, was);
}

/* What the word says as code. */
GUEST bool area_call(struct gvcpu *c, const u64 *word, u32 *v)
{
	u64 w;
	bool ok = area_load(c, word, &w);

	*v = number_of(w);
	return ok;
}

#endif
