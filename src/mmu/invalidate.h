/* SPDX-License-Identifier: MIT */
/* mmu/invalidate.h: a begin, its token and its end; and what faults ask of them. */
#ifndef MMU_INVALIDATE_H
#define MMU_INVALIDATE_H

#include "mmu/mmu.h"

struct mmu_token;

int tokens_init(struct mmu *mmu);
void tokens_fini(struct mmu *mmu);

/* Completed invalidations whose ranges are remembered, so that others make no fault retry. */
#define MMU_RECENT 256

/*
 * A token's range is one of host addresses (the primary MMU's changes) or one of gfns (conversions,
 * punches); the two kinds never meet. A fault is checked against both.
 */
struct mmu_span {
	hva_t hva, hva_end; /* 0, 0: reached by no host address */
	gfn_t gfn, gfn_end;
};

struct mmu_token *mmu_invalidate_begin(struct mmu *mmu, hva_t start, hva_t end);
struct mmu_token *mmu_invalidate_gfns_begin(struct mmu *mmu, gfn_t start, gfn_t end);
void mmu_invalidate_end(struct mmu_token *t);
/* As primary_notifier.hide and zap. */
struct mmu_token *mmu_invalidate_hide(struct mmu *mmu);
void mmu_invalidate_zap(struct mmu_token *t, hva_t start, hva_t end);
/* What a begin by gfn does, for a caller who keeps faults of the range away by other means. */
void mmu_zap_gfns(struct mmu *mmu, gfn_t start, gfn_t end);
/* A list of tokens that one thread has begun: *list is NULL at first. */
void mmu_tokens_push(struct mmu_token **list, struct mmu_token *t);
struct mmu_token *mmu_tokens_pop(struct mmu_token **list);
struct mmu *mmu_token_mmu(const struct mmu_token *t);
/* Nobody but tokens refers to mmu any more: which of those in progress can have no end to come? */
void mmu_tokens_torn_down(struct mmu *mmu);
/* As primary_notifier.content. */
void mmu_content_changed(struct mmu *mmu, hva_t start, hva_t end);
/* mmu_lock held (either way): is an invalidation that touches the span in progress? */
bool mmu_invalidating(struct mmu *mmu, const struct mmu_span *s);
/* The same: may one have ended since `seq` was read of invalidate_seq? */
bool mmu_invalidated_since(struct mmu *mmu, u64 seq, const struct mmu_span *s);
/*
 * What to make of the primary MMU's answer to a fault whose seq was read before. One call of the VMM
 * may replace a mapping by another. That there is none in between is not for a guest to find; on
 * Linux, what the kernel says of its mappings does show it: -EAGAIN then.
 */
int mmu_fault_result(struct mmu *mmu, int r, u64 seq, const struct mmu_span *s);
/* Is one in progress? Then sleep until one ends, or a short while. */
bool mmu_invalidate_wait(struct mmu *mmu, const struct mmu_span *s);

#endif
