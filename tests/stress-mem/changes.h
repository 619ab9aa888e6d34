/* SPDX-License-Identifier: MIT */
/* A change in the making: which pages of which area, and what the oracle is told of it. */
#ifndef TESTS_STRESS_MEM_CHANGES_H
#define TESTS_STRESS_MEM_CHANGES_H

#include "stress.h"

struct change {
	struct changer *by;
	struct area *a; /* its lock is held */
	u32 first, n;	/* pages */
};

u8 *change_addr(const struct change *c);
void change_pause(const struct change *c);
/* Between them a page's bytes may be old or new; content_fresh() says what is expected then. */
void content_begin(const struct change *c);
void content_end(const struct change *c);
void content_fresh(const struct change *c);
/* Between them a page may be out of reach. */
void away_begin(const struct change *c);
void away_end(const struct change *c);
/*
 * Between these, within those: it is out of reach, by a call that has returned, and who reaches it fails.
 * `told`: the kernel tells a library in between of this call; of others it is some time until that
 * looks, which is waited for, at times, and measured.
 */
void gone_begin(const struct change *c, bool told);
/*
 * The same where its file was cut short, which takes pages from every mapping, whoever made it. Linux adds
 * a large page to the file after a truncation if a fault had begun to clear it before: zeroes are reached.
 */
void gone_begin_truncated(const struct change *c);
void gone_end(const struct change *c);

void unmap_then_map(struct change *c);
void map_over(struct change *c);
void move_away_then_back(struct change *c);
void shrink_then_grow(struct change *c);
void move_leaving_zeroes(struct change *c);
void protect_then_allow(struct change *c);
void dont_need(struct change *c);
void remove_pages(struct change *c);
void free_pages(struct change *c);
void collapse(struct change *c);
void page_out(struct change *c);
void punch(struct change *c);
void truncate_then_extend(struct change *c);
void write_file(struct change *c);
void fork_and_write(struct change *c);
void litter(struct change *c);
void litter_check(void);
void uffd_missing(struct change *c);
void uffd_minor(struct change *c);
void uffd_write_protect(struct change *c);
void uffd_monitor(struct change *c);
void slot_remade(struct change *c);
void slot_read_only(struct change *c);
void slot_moved(struct change *c);
void slot_logged(struct change *c);

#endif
