/* SPDX-License-Identifier: MIT */
/*
 * native/stubs.c: a VM's stubs: a hash table from instruction to code, and the segments the code is
 * in, oldest first. Nothing of one VM's is another's, so that no guest can fill what another uses, nor
 * see by the time it takes what another has executed.
 *
 * A VM has at most native_code_limit bytes, and no more segments than its share. One that wants more
 * gives up its oldest segment: its stubs leave the table, and every vCPU of the VM is asked to forget
 * its decoded blocks, in which addresses of stubs stand. When each has, or is not in cpu_run() (and
 * forgets when it enters), the segment is free. Until then what has no stub is executed without one
 * (uncached.c). So a guest that makes up instructions is slow, and nobody waits for anybody.
 *
 * The retired segment and the epoch that goes with it are stored before a vCPU's native_running is
 * read; a vCPU stores native_running before it reads the epoch. Of the two one sees the other.
 */
#include <pthread.h>
#include <stdlib.h>
#include "base/types.h"
#include "cpu/code/cache.h"
#include "cpu/native/code.h"
#include "cpu/native/native.h"
#include "cpu/native/run.h"
#include "sync/atomic.h"

#define HASH_SIZE  (1u << 15) /* lines; chained */
#define STUB_ALIGN 16
#define NO_SEGMENT (-1)
/* An instruction without a stub asks for one again after so many runs. */
#define RETRY_RUNS 64

struct stub_entry {
	struct stub_entry *next, **at; /* in its line, and what points here */
	struct stub_entry *sibling;    /* in the same segment */
	u32 hash, offset;
	struct native_insn insn;
};

struct native_cache {
	struct native_cache *next;
	const struct mmu *mmu; /* of the VM */
	struct cpu *vcpus;
	u64 epoch; /* of the last retired segment; atomic */
	u16 segment[SEGMENTS]; /* oldest first */
	u32 nsegments;
	u32 used;     /* bytes of the newest */
	s32 retired;  /* or NO_SEGMENT */
	struct stub_entry *in[SEGMENTS]; /* by segment */
	struct stub_entry *table[HASH_SIZE];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct native_cache *caches; /* all of this is guarded by lock */
static u32 ncaches;
static bool reused; /* some code stands where there was other code before */

size_t native_code_limit = 16UL << 20;

/* -- a vCPU's membership */

static struct native_cache *cache_of(const struct mmu *mmu)
{
	struct native_cache *n;

	for (n = caches; n; n = n->next) {
		if (n->mmu == mmu)
			return n;
	}
	n = calloc(1, sizeof(*n));
	if (!n)
		return NULL;
	n->mmu = mmu;
	n->retired = NO_SEGMENT;
	n->next = caches;
	caches = n;
	ncaches++;
	return n;
}

int native_attach(struct cpu *c)
{
	struct native_cache *n;
	int r = native_init();

	if (r)
		return r;
	pthread_mutex_lock(&lock);
	n = cache_of(c->mmu.mmu);
	c->native_slot = n ? native_slot_take() : -1;
	r = c->native_slot < 0 ? -ENOMEM : 0;
	if (!r) {
		c->native = n;
		c->native_seen = n->epoch;
		c->native_next = n->vcpus;
		n->vcpus = c;
	}
	pthread_mutex_unlock(&lock);
	return r;
}

static void drop_entries(struct native_cache *n, u32 segment)
{
	for (struct stub_entry *e = n->in[segment], *sibling; e; e = sibling) {
		sibling = e->sibling;
		*e->at = e->next;
		if (e->next)
			e->next->at = e->at;
		free(e);
	}
	n->in[segment] = NULL;
}

static void drop_cache(struct native_cache *n)
{
	struct native_cache **at = &caches;

	while (*at != n)
		at = &(*at)->next;
	*at = n->next;
	ncaches--;
	for (u32 i = 0; i < n->nsegments; i++) {
		drop_entries(n, n->segment[i]);
		native_segment_give(n->segment[i]);
	}
	if (n->retired != NO_SEGMENT)
		native_segment_give((u32)n->retired);
	reused = true;
	free(n);
}

void native_detach(struct cpu *c)
{
	struct cpu **at;

	if (!c->native)
		return;
	pthread_mutex_lock(&lock);
	for (at = &c->native->vcpus; *at != c; at = &(*at)->native_next)
		;
	*at = c->native_next;
	native_slot_give((u32)c->native_slot);
	if (!c->native->vcpus)
		drop_cache(c->native);
	pthread_mutex_unlock(&lock);
	c->native = NULL;
}

void native_catch_up(struct cpu *c)
{
	u64 epoch;

	if (!c->native)
		return;
	epoch = sync_load_acquire(&c->native->epoch);
	if (c->native_seen == epoch)
		return;
	code_cache_clear(c);
	sync_store_release(&c->native_seen, epoch);
}

void native_run_begin(struct cpu *c)
{
	sync_store(&c->native_running, true);
	sync_mb();
	native_catch_up(c);
}

void native_run_end(struct cpu *c)
{
	sync_store_release(&c->native_running, false);
}

/* -- segments; under the lock */

static bool forgotten(const struct native_cache *n)
{
	for (const struct cpu *c = n->vcpus; c; c = c->native_next) {
		if (sync_load_acquire(&c->native_running) &&
		    sync_load_acquire(&c->native_seen) != n->epoch)
			return false;
	}
	return true;
}

static void reclaim(void)
{
	for (struct native_cache *n = caches; n; n = n->next) {
		if (n->retired == NO_SEGMENT || !forgotten(n))
			continue;
		native_segment_give((u32)n->retired);
		n->retired = NO_SEGMENT;
		reused = true;
	}
}

/* Give up the oldest segment. One at a time: there is one to wait for. */
static void retire(struct native_cache *n)
{
	if (n->retired != NO_SEGMENT || !n->nsegments)
		return;
	n->retired = n->segment[0];
	n->nsegments--;
	memmove(n->segment, n->segment + 1, n->nsegments * sizeof(n->segment[0]));
	drop_entries(n, (u32)n->retired);
	sync_add(&n->epoch, 1);
	for (struct cpu *c = n->vcpus; c; c = c->native_next)
		mmu_vcpu_request(&c->mmu, CPU_REQ_STUBS);
}

static struct native_cache *richest(void)
{
	struct native_cache *most = caches;

	for (struct native_cache *n = caches; n; n = n->next) {
		if (n->nsegments > most->nsegments)
			most = n;
	}
	return most;
}

/* Segments that a VM may have. */
static u32 share(void)
{
	u32 wanted = (u32)((native_code_limit + SEGMENT_SIZE - 1) / SEGMENT_SIZE);

	return MIN(wanted, MAX((u32)SEGMENTS / ncaches, 1u));
}

static bool take_segment(struct native_cache *n)
{
	s32 segment = n->nsegments < share() ? native_segment_take() : -1;

	if (segment < 0)
		return false;
	n->segment[n->nsegments++] = (u16)segment;
	n->used = 0;
	return true;
}

/* Make room in a new segment. False: not now. */
static bool more_room(struct native_cache *n)
{
	reclaim();
	if (take_segment(n))
		return true;
	retire(n->nsegments >= share() ? n : richest());
	reclaim();
	return take_segment(n);
}

/* -- stubs; under the lock */

/* FNV-1a over the whole struct. */
static u32 hash_insn(const struct native_insn *n)
{
	const u8 *p = (const u8 *)n;
	u32 h = 2166136261u;

	for (size_t i = 0; i < sizeof(*n); i++)
		h = (h ^ p[i]) * 16777619u;
	return h ^ h >> 16;
}

static bool fits(const struct native_cache *n, u32 len)
{
	return n->nsegments &&
	       ALIGN_UP(n->used, STUB_ALIGN) + len <= MIN(SEGMENT_SIZE, native_code_limit);
}

static s64 add_stub(struct native_cache *n, const struct native_insn *insn, u32 hash)
{
	struct stub_entry *e, **line = &n->table[hash & (HASH_SIZE - 1)];
	struct native_asm a;
	u32 at, segment;

	native_assemble(insn, &a);
	if (!fits(n, a.len) && !(more_room(n) && fits(n, a.len)))
		return -ENOSPC;
	e = malloc(sizeof(*e));
	if (!e)
		return -ENOMEM;
	n->used = (u32)ALIGN_UP(n->used, STUB_ALIGN);
	segment = n->segment[n->nsegments - 1];
	at = (u32)(segment * SEGMENT_SIZE + n->used);
	native_code_put(at, &a);
	n->used += a.len;
	*e = (struct stub_entry){.next = *line, .at = line, .sibling = n->in[segment],
				 .hash = hash, .offset = at, .insn = *insn};
	if (*line)
		(*line)->at = &e->next;
	*line = n->in[segment] = e;
	return at;
}

static s64 find_stub(struct native_cache *n, const struct native_insn *insn)
{
	u32 hash = hash_insn(insn);

	for (struct stub_entry *e = n->table[hash & (HASH_SIZE - 1)]; e; e = e->next) {
		if (e->hash == hash && !memcmp(&e->insn, insn, sizeof(*insn)))
			return e->offset;
	}
	return add_stub(n, insn, hash);
}

static s64 temporary_stub(const struct cpu *c, const struct native_insn *insn)
{
	struct native_asm a;

	native_assemble(insn, &a);
	return native_slot_put((u32)c->native_slot, &a);
}

s64 native_stub_get(struct cpu *c, const struct native_insn *insn)
{
	bool serialize;
	s64 r;

	pthread_mutex_lock(&lock);
	r = c->native_temporary ? temporary_stub(c, insn) : find_stub(c->native, insn);
	serialize = reused || c->native_temporary;
	pthread_mutex_unlock(&lock);
	/* Where there was other code, which this processor may have fetched. */
	if (serialize)
		native_serialize();
	return r;
}

bool native_stub_assign(struct cpu *c, struct op *op, const struct native_insn *insn)
{
	s64 stub = native_stub_get(c, insn);

	if (stub < 0) {
		op->fn = native_run_uncached;
		return false;
	}
	op->imm = (s32)stub;
	return true;
}

bool native_stub_again(struct cpu *c)
{
	return c->native_uncached++ % RETRY_RUNS == RETRY_RUNS - 1;
}
