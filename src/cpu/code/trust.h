/* SPDX-License-Identifier: MIT */
/*
 * code/trust.h: whether a page's blocks still are what memory holds, as far as nobody tells. A page is trusted from
 * when its bytes were compared until there is a reason to compare them again (docs/cpu.md, "Code coherence").
 */
#ifndef CPU_CODE_TRUST_H
#define CPU_CODE_TRUST_H

#include "cpu/code/flow.h"

enum verdict { EQUAL, DIFFERENT, UNKNOWN /* the host refused, or a kick broke it off */ };

/* Does memory still hold the page's lines? p->host is good (code_host_known()). */
enum verdict code_compare(const struct code_page *p);
bool code_host_known(const struct cpu *c, const struct code_page *p);
/* The page's copy is what memory holds. */
void code_trust(struct cpu *c, struct code_page *p);
/* It is entered at CPL 3. */
void code_enter_user(struct cpu *c, struct code_page *p);
/* The block that was executed last ends with an instruction that serializes (enum serializes). */
void code_serialized(struct cpu *c, u8 how);
/* No page is trusted any more, and nobody has to be told: every way is forgotten. */
void code_lose_trust(struct code_cache *cc);
/* All that is entered from now on is as memory has it now, or later. */
void code_note_look(struct cpu *c);

/* Nothing is in the jump cache any more. */
static inline void code_bump_gen(struct cpu *c)
{
	c->code->gen += 1ULL << FLOW_KEY_BITS;
}

#endif
