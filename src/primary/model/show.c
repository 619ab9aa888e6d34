/* SPDX-License-Identifier: MIT */
/* primary/model/show.c: the machine's pages, for a reader of a schedule. */
#include <inttypes.h>

#include "primary/model/internal.h"

u64 model_frame(struct model *m, const void *host)
{
	return page_number(m, page_at(m, host));
}

static void show_page(FILE *f, struct model *m, const struct page *p)
{
	fprintf(f, "    frame %" PRIu64 ": ", page_number(m, p));
	if (p->stranger) {
		fprintf(f, "another process's\n");
		return;
	}
	fprintf(f, "%u references", p->refs);
	if (p->pins)
		fprintf(f, ", %u pins", p->pins);
	if (p->file || p->store)
		fprintf(f, ", page %" PRIu64 " of a %s", p->index, p->file ? "file" : "guest_memfd");
	fprintf(f, "%s%s%s%s; holds %" PRIx64 "\n", p->counted ? "" : ", not counted", p->dirty ? ", dirty" : "",
		p->poisoned ? ", failed" : "", p->merged ? ", merged" : "", *page_word(m, p));
}

static void show_pte(FILE *f, const struct model *m, hva_t hva, const struct pte *pte)
{
	if (pte->page)
		fprintf(f, "    page table: %#" PRIx64 " -> frame %" PRIu64 "%s\n", hva, page_number(m, pte->page),
			pte->writable ? ", writable" : "");
	else if (pte->swapped)
		fprintf(f, "    page table: %#" PRIx64 " is in swap, and holds %" PRIx64 "\n", hva,
			pte->swap_word);
}

static void show_huge(FILE *f, const struct model *m, u32 i)
{
	hva_t hva = MODEL_HUGE_VA + i * LEVEL_SIZE(LEVEL_2M);
	u64 parts = m->split[i] ? MODEL_PARTS : 0;

	for (u64 n = 0; n < parts; n++)
		show_pte(f, m, hva + n * PAGE_SIZE, &m->part[i][n]);
	show_pte(f, m, hva + parts * PAGE_SIZE, &m->huge_pte[i]);
}

void model_show(FILE *f, struct model *m)
{
	for (u32 i = 0; i < MODEL_VA_PAGES; i++)
		show_pte(f, m, MODEL_VA + i * PAGE_SIZE, &m->pte[i]);
	for (u32 i = 0; i < MODEL_HUGE_VAS; i++)
		show_huge(f, m, i);
	for (u32 i = 0; i < ARRAY_SIZE(m->page); i++) {
		if (m->page[i].refs || m->page[i].poisoned)
			show_page(f, m, &m->page[i]);
	}
}
