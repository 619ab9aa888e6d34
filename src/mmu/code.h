/* SPDX-License-Identifier: MIT */
/*
 * mmu/code.h: which pages hold code that a vCPU has cached. The vCPU's calls stand in translate.h.
 */
#ifndef MMU_CODE_H
#define MMU_CODE_H

#include "mmu/names.h"

#define CODE_PAGES (1u << 18) /* 1 GiB of code; the list takes 32 MiB */

/* Pages that the process lists at most: CODE_PAGES, unless a test sets fewer. */
extern u32 code_most_pages;

/* A VM comes and goes. */
void code_join(struct mmu *mmu);
void code_leave(struct mmu *mmu);
/* Is any page marked? */
bool code_any(void);
/* Is any line of the page marked as code? */
bool code_marked(const struct page_name *n);
/* It was written other than by a guest: ask the vCPUs of those who have code from there to look. Not
 * in guest mode, and with no lock held but a host-side cache's. */
void code_written(const struct page_name *n);

#endif
