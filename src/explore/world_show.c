/* SPDX-License-Identifier: MIT */
/* explore/world_show.c: what there is, for a reader: reads everything as it is, with no lock and no step. */
#include <inttypes.h>

#include "explore/show.h"
#include "explore/world.h"
#include "mmu/invalidate.h"
#include "mmu/tree.h"
#include "mmu/vcpu.h"
#include "mmu/vm.h"

/* Where the entry leads: a frame of the model by number, or a window of it. */
static void show_host(FILE *f, const void *host)
{
	const u64 *word = model_in_window(world.model, host) ? NULL : host;

	if (word)
		fprintf(f, "frame %" PRIu64, model_frame(world.model, host));
	else
		fprintf(f, "a window");
}

static void show_table(FILE *f, const struct table *t, int level, gfn_t gfn)
{
	gfn_t step = 1ULL << 9 * (level - LEVEL_4K);

	for (u32 i = 0; i < TREE_ENTRIES; i++, gfn += step) {
		u64 s = t->spte[i];

		if (spte_table(s)) {
			show_table(f, (const struct table *)(s & SPTE_TABLE_MASK), level - 1, gfn);
		} else if (s & SPTE_FROZEN) {
			fprintf(f, "    stage 2: gfn %" PRIu64 " is frozen\n", gfn);
		} else if (spte_leaf(s)) {
			fprintf(f, "    stage 2: gfn %" PRIu64 " -> ", gfn);
			show_host(f, (const void *)spte_host(s));
			fprintf(f, "%s%s%s%s\n", s & SPTE_WRITABLE ? ", writable" : "",
				s & SPTE_DIRTY ? ", dirty" : "", s & SPTE_ACCESSED ? ", accessed" : "",
				step > 1 ? ", large" : "");
		}
	}
}

static void show_vcpu(FILE *f, struct mmu_vcpu *v)
{
	static const char *const modes[] = {"outside", "in guest mode"};
	const struct tlb *tlb = &v->tlb[TLB_USER];

	fprintf(f, "    vcpu %u: %s", v->index, v->mode < ARRAY_SIZE(modes) ? modes[v->mode] : "between");
	if (v->requests & MMU_REQ_MASK)
		fprintf(f, ", requests %#x", v->requests & MMU_REQ_MASK);
	for (u32 i = 0; i < TLB_ENTRIES; i++) {
		struct tlb_entry e = tlb_get(tlb, i);

		if (e.neg_read == tlb_nothing(i))
			continue;
		fprintf(f, "; TLB: gfn %" PRIu64 " -> ", e.gpa >> PAGE_SHIFT);
		show_host(f, (const void *)(e.delta - e.neg_read));
		fprintf(f, "%s", e.neg_write == tlb_nothing(i) ? "" : ", writable");
	}
	fprintf(f, "\n");
}

static void show_vm(FILE *f, const struct mmu *mmu)
{
	show_table(f, mmu->root, TREE_ROOT_LEVEL, 0);
	if (mmu->nr_tokens)
		fprintf(f, "    tokens: %" PRIu64 " invalidations in progress\n", mmu->nr_tokens);
	if (mmu->exclusive)
		fprintf(f, "    mmu_lock is held for write\n");
}

void world_show(FILE *f)
{
	for (u32 i = 0; i < WORLD_VMS; i++) {
		if (world.vm[i].mmu)
			show_vm(f, world.vm[i].mmu);
	}
	for (u32 i = 0; i < world.nvcpus; i++) {
		if (world.vcpu[i].mmu)
			show_vcpu(f, &world.vcpu[i]);
	}
	model_show(f, world.model);
}
