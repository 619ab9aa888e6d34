/* SPDX-License-Identifier: MIT */
/*
 * explore/explain.c: what rule a finding breaks, and since when it could not be kept any more: the last step from which
 * some other continuation still breaks nothing. Continuations are the usual one and random ones: where
 * none of those helps, none is said to help.
 */
#include "explore/show.h"

#include "explore/explore.h"

#define CONTINUATIONS 100
#define CHANGES	      3 /* of priority in each */

static const struct {
	const char *why; /* a part of what is printed */
	const char *rule;
} rules[] = {
	{"a vCPU reaches what the VMM mapped", "Where the VMM maps memory of its own, no window is left when its "
					       "call goes on: a guest reaches memslots' memory and nothing else."},
	{"a vCPU writes frame", "Once the primary MMU has write-protected a page, no vCPU writes it before a new "
				"fault allows it: the call that protects returns after stage 2 and every TLB forgot."},
	{"a vCPU reaches", "A vCPU reaches what the primary MMU shows at that address now. Before a page is taken "
			   "away, the invalidation's begin has taken its leaf out of stage 2 and out of every TLB, "
			   "and no fault puts it back before the end."},
	{"private memory", "Private memory is reached where the attribute is private and nowhere else, from the "
			   "moment the conversion returns."},
	{"shared memory", "Shared memory is reached where the attribute is shared and nowhere else, from the moment "
			  "the conversion returns."},
	{"a zap touches", "A page's fields are touched under a reference of one's own, or with the leaf live under "
			  "mmu_lock before begin returns: after that there may be no page."},
	{"ends with", "Whoever takes a reference gives back exactly that one, once."},
	{"reference", "Whoever takes a reference gives back exactly that one, once."},
	{"never ended", "Each begin has its end, whatever became of what it was begun for."},
	{"memory that was freed", "What a reader may hold is freed after a grace period, or after its last user."},
	{"never freed", "All memory is given back by whoever owned it last."},
	{"deadlock", "Nobody waits for what nobody will do: each wait names who ends it."},
	{"livelock", "Each loop that tries again ends once the others stand still."},
	{"log", "A write that was made is in the log of its slot, until a harvest that follows it shows it."},
	{"reset", "What a ring's entry stands for is read after the entry was taken out, or is in the ring again."},
	{"collected", "An entry is taken out of a ring once, when its collector has marked it."},
	{"old code runs", "What was translated from a page runs only while the page holds it: who stores there, by "
			  "whatever name, has told every vCPU before the store is seen."},
	{"while the world was stopped", "While a vCPU has stopped the others, none of them is in guest mode."},
	{"the file holds", "A write that was completed reaches its file: the leaf's dirty bit is handed to the page "
			   "before the leaf is gone."},
	{"its memory holds", "A write that was completed is never lost: a dirty page is not taken for its copy in swap."},
	{"read-only memslot", "What a memslot allows is what its vCPUs may do from the moment its change has returned."},
	{"deleted memslot", "A memslot that is deleted is reached no more once the call has returned."},
	{"still used", "A memslot that is deleted is reached no more once the call has returned."},
	{"by a memslot that was deleted", "A memslot that is deleted is reached no more once the call has returned."},
	{"while a page is pinned", "A long-term pin keeps its page where it is: a truncate of DAX waits for it."},
	{" asserts ", "What the function asserts holds whenever it is called."},
	{"map a block of one attribute", "A block of one attribute is mapped by one leaf again, and its small ones are gone."},
	{"to a private gfn", "The host itself reaches no gfn that is private, from the moment the conversion returns."},
	{"into a private gfn", "The host itself reaches no gfn that is private, from the moment the conversion returns."},
	{"was aged", "Whoever uses a page after an age makes it young again: a TLB is filled from leaves that are marked as "
		     "accessed and from no others, and a use of the host's marks its page."},
	{"unmapped", "What a call has taken away is reached no more once the call has returned."},
	{"after", "What a call has taken away is reached no more once the call has returned."},
};

static const char *rule_of(const char *why)
{
	for (unsigned i = 0; i < ARRAY_SIZE(rules); i++) {
		if (strstr(why, rules[i].why))
			return rules[i].rule;
	}
	return "What the scenario says of it.";
}

/* Is there a continuation of the first `steps` steps that breaks nothing? */
static bool can_be_kept(const struct show *w, u32 steps)
{
	bool kept = false;

	sched_survey(true);
	for (u64 seed = 1; seed <= CONTINUATIONS && !kept; seed++) {
		sched_configure(SCHED_REPLAY, seed, seed > 1 ? CHANGES : 0, w->t);
		sched_leave(steps);
		kept = explore_execute(w->s) == SCHED_OK;
	}
	sched_survey(false);
	return kept;
}

void show_explain(FILE *f, const struct show *w)
{
	u32 low = 0, high = w->n; /* it can be kept after `low` steps, and not after `high` */
	const struct show_step *s;

	if (w->verdict == SCHED_OK) {
		fprintf(f, "nothing is found\n");
		return;
	}
	fprintf(f, "What is seen: %s.\nThe rule: %s\n", w->why, rule_of(w->why));
	if (!can_be_kept(w, 0)) {
		fprintf(f, "No schedule of %d was without it.\n", CONTINUATIONS);
		return;
	}
	while (high - low > 1) {
		u32 middle = (low + high) / 2;

		if (can_be_kept(w, middle))
			low = middle;
		else
			high = middle;
	}
	s = &w->step[low];
	fprintf(f, "The last step that could have kept it: step %u of %u, `%s' of %s", low + 1, w->n, s->what,
		sched_name(s->actor));
	if (s->where)
		fprintf(f, " at %s", s->where);
	fprintf(f, ".\nBefore it, another schedule still keeps the rule; after it, none of %d does.\n",
		CONTINUATIONS);
}
