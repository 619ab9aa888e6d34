/* SPDX-License-Identifier: MIT */
#include "cpu/code/trust.h"

#include <x86intrin.h>
#include "base/guard.h"
#include "cpu/code/decode.h"

/*
 * So many pages are compared at once however soon; and one more for so many cycles. But where a reason follows
 * the one before within so many cycles a page, others are likely to follow it, as when a program's start
 * executes CPUID dozens of times: then only what is entered meanwhile is compared.
 */
#define FEW_PAGES      48ULL
#define CYCLES_A_PAGE  8192
#define QUICK_CYCLES   1024
#define MAX_AFFORDABLE 4096ULL /* saved up in idle times */

void code_note_look(struct cpu *c)
{
	c->code->looked = __rdtsc();
	c->waited = false;
}

void code_lose_trust(struct code_cache *cc)
{
	cc->trust++;
	cc->ntrusted = cc->nuser = 0;
}

/* -- which are trusted */

/* One more than can be listed says that there are. */
static void list(struct code_page **pages, u32 *n, struct code_page *p)
{
	if (*n <= FLOW_TRUSTED && (*n)++ < FLOW_TRUSTED)
		pages[*n - 1] = p;
}

void code_trust(struct cpu *c, struct code_page *p)
{
	struct code_cache *cc = c->code;

	p->verified = cc->trust;
	list(cc->trusted, &cc->ntrusted, p);
	if (p->user)
		list(cc->user, &cc->nuser, p);
	if (cc->engine)
		cc->engine->resume(c, p);
}

void code_enter_user(struct cpu *c, struct code_page *p)
{
	struct code_cache *cc = c->code;

	if (likely(p->user))
		return;
	p->user = true;
	if (p->verified == cc->trust)
		list(cc->user, &cc->nuser, p);
}

/* What leads to the pages that are trusted goes by flow_find() again. */
static void suspend_trusted(struct cpu *c)
{
	const struct code_cache *cc = c->code;

	if (cc->ntrusted > FLOW_TRUSTED) {
		cc->engine->forget(c);
		return;
	}
	for (u32 i = 0; i < cc->ntrusted; i++)
		cc->engine->suspend(c, cc->trusted[i]);
}

/* Every page is compared before it is entered again. */
static void distrust(struct cpu *c)
{
	if (c->code->engine)
		suspend_trusted(c);
	code_lose_trust(c->code);
	code_bump_gen(c);
}

/* The same of those that were entered at CPL 3, which are listed. */
static void distrust_user(struct cpu *c)
{
	struct code_cache *cc = c->code;
	u32 left = 0;

	for (u32 i = 0; i < cc->nuser; i++) {
		if (cc->engine)
			cc->engine->suspend(c, cc->user[i]);
		cc->user[i]->verified = 0;
	}
	cc->nuser = 0;
	for (u32 i = 0; i < cc->ntrusted; i++) {
		if (cc->trusted[i]->verified == cc->trust)
			cc->trusted[left++] = cc->trusted[i];
	}
	cc->ntrusted = left;
	code_bump_gen(c);
}

/* -- comparing */

enum verdict code_compare(const struct code_page *p)
{
	bool same = true;

	for (u64 left = p->lines; left && same; left &= left - 1) {
		unsigned at = (unsigned)__builtin_ctzll(left) * 64;

		if (!guard_same64(p->host + at, p->copy + at, &same))
			return UNKNOWN;
	}
	return same ? EQUAL : DIFFERENT;
}

bool code_host_known(const struct cpu *c, const struct code_page *p)
{
	return p->host && p->host_epoch == c->mmu.code_epoch;
}

static bool is_unchanged(const struct cpu *c, const struct code_page *p)
{
	return !p->lines || (code_host_known(c, p) && code_compare(p) == EQUAL);
}

/* Where they are is known, and none has changed. */
static bool are_unchanged(const struct cpu *c, struct code_page *const *pages, u64 n)
{
	if (c->code->epoch != c->mmu.code_epoch)
		return false;
	for (u64 i = 0; i < n; i++) {
		if (!is_unchanged(c, pages[i]))
			return false;
	}
	return true;
}

/* -- reasons to compare */

/*
 * Code that was entered since the last reason to distrust is most often little, and has not changed.
 * Then every way to it stays good, and nothing is looked up anew.
 */
void code_cache_distrust(struct cpu *c)
{
	struct code_cache *cc = c->code;
	u64 n = cc->ntrusted, cycles = __rdtsc() - cc->looked;

	/* A small part of the time at most: a page takes 300 cycles, and more where caches do not hold it. */
	cc->affordable = MIN(cc->affordable + cycles / CYCLES_A_PAGE, MAX_AFFORDABLE);
	code_note_look(c);
	if ((n > FEW_PAGES && cycles < n * QUICK_CYCLES) || n > MIN(MAX(cc->affordable, FEW_PAGES), (u64)FLOW_TRUSTED) ||
	    !are_unchanged(c, cc->trusted, n))
		distrust(c);
	else if (n > FEW_PAGES)
		cc->affordable -= n;
}

/*
 * A program serializes. What it may have been told of, code in memory that the VMM has filled, is the program's: a
 * kernel has reasons of its own, and is asked for its pages then.
 */
static void look_at_user(struct cpu *c)
{
	struct code_cache *cc = c->code;
	u64 n = cc->nuser, now = __rdtsc(), cycles = now - cc->looked_at_user;

	cc->looked_at_user = now;
	if (n > FLOW_TRUSTED || cc->ntrusted > FLOW_TRUSTED)
		code_cache_distrust(c);
	else if ((n > FEW_PAGES && cycles < n * CYCLES_A_PAGE) || !are_unchanged(c, cc->user, n))
		distrust_user(c);
}

/* Some of the trusted pages, in turn. A program may have thousands of them. */
static void look_at_some(struct cpu *c)
{
	struct code_cache *cc = c->code;

	code_note_look(c);
	if (cc->ntrusted > FLOW_TRUSTED || cc->epoch != c->mmu.code_epoch) {
		distrust(c);
		return;
	}
	for (u32 n = MIN(cc->ntrusted, FLOW_LOOK_PAGES); n; n--) {
		if (cc->next_look >= cc->ntrusted)
			cc->next_look = 0;
		if (!is_unchanged(c, cc->trusted[cc->next_look++])) {
			distrust(c);
			return;
		}
	}
}

void code_serialized(struct cpu *c, u8 how)
{
	if (how == SERIALIZES && c->cpl == 3) {
		look_at_user(c);
	} else if (how == SERIALIZES || c->waited) {
		code_cache_distrust(c);
		return;
	}
	if (__rdtsc() - c->code->looked > FLOW_LOOK_CYCLES)
		look_at_some(c);
}
