/* SPDX-License-Identifier: MIT */
/* From block to block where no link and no jump cache leads. */
#include "cpu/code/flow.h"

static bool links_allowed(u32 key)
{
	/* Elsewhere CS's base and limit, which no block knows, have to be looked at. */
	return !(key & BLOCK_KEY_STEP) &&
	       ((key & BLOCK_KEY_MODE) == MODE_LONG || (key & BLOCK_KEY_FLAT));
}

const struct op *flow_link_slow(struct cpu *c, unsigned which, u64 target)
{
	struct block *from = c->block, *to;
	u64 gen = c->code->gen;

	if ((from->key & BLOCK_KEY_STEP) || flow_pending(c))
		return op_leave(c, target);
	to = flow_cached(c, target);
	if (to && to->page != from->page)
		return flow_enter(c, to);
	to = flow_find(c, target, c->key);
	/* A new generation may mean that `from` is gone. */
	if (gen == c->code->gen && links_allowed(to->key) && from->key == to->key &&
	    from->page == to->page && !from->page2 && !to->page2 &&
	    to->gpa - from->gpa == to->rip - from->rip)
		from->link[which] = to;
	return flow_enter(c, to);
}

const struct op *flow_jump_slow(struct cpu *c, u64 target)
{
	if ((c->block->key & BLOCK_KEY_STEP) || flow_pending(c))
		return op_leave(c, target);
	return flow_enter(c, flow_find(c, target, c->key));
}
