/* SPDX-License-Identifier: MIT */
/* What the exits of a vCPU mean, on either machine. */
#include <linux/kvm.h>
#include <sched.h>
#include "stress.h"

struct machine machine;

void vcpu_failed(struct vcpu *v)
{
	static const char *const what[] = {"nothing", "a stale byte", "a foreign byte",
					   "a lost write", "stale code",
					   "a write to a read-only memslot",
					   "what was taken away is reached"};
	struct gvcpu *g = v->g;

	fail("%s: vCPU %u, %s page %u word %lu: found %#lx, expected %#lx, sequence %u",
	     what[g->failure], g->index, backing_names[areas[g->area].backing], g->page,
	     g->word, g->found, g->wanted, LOAD(areas[g->area].pages[g->page].seq));
}

/* An access could not be served, by `what`: its page may be away, or this is wrong. */
static void vcpu_out_of_reach(struct vcpu *v, const char *what)
{
	struct gvcpu *g = v->g;
	struct gpage *p = &machine.control->pages[g->area][g->page];

	MUST(g->away || LOAD(p->away) || LOAD(p->aways) != g->aways,
	     "%s of vCPU %u at %s page %u, which was there (changes before %u, now %u)", what,
	     g->index, backing_names[areas[g->area].backing], g->page, g->aways,
	     LOAD(p->aways));
}

void vcpu_fault(struct vcpu *v)
{
	vcpu_out_of_reach(v, "EFAULT");
	v->faults++;
	sched_yield(); /* whoever took it away brings it back */
}

void vcpu_hole(struct vcpu *v, u64 gpa, bool write)
{
	bool read_only = areas[v->g->area].slot_flags & KVM_MEM_READONLY;

	MUST(gpa / PAGE == (GPA_AREAS + v->g->area * AREA_STRIDE) / PAGE + v->g->page,
	     "an MMIO exit at %#lx, which vCPU %u did not touch", gpa, v->g->index);
	if (!(write && read_only))
		vcpu_out_of_reach(v, "an MMIO exit");
	v->mmios++;
	STORE(v->g->hole, 1);
}
