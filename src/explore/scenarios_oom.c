/* SPDX-License-Identifier: MIT */
/* Memory runs out: each allocation of each call fails in turn. */
#include "explore/scenario.h"

#include "explore/scenarios.h"
#include "explore/world.h"
#include "mmu/invalidate.h"

#define OTHER_GPA (4 * PAGE_SIZE) /* a second memslot over page 1 */
#define MOVED_GPA (16 * PAGE_SIZE)
#define WORD	  0x5a

static struct mmu_vcpu *const v0 = &world.vcpu[0];

static int set_other(u32 flags, gpa_t gpa, u64 size)
{
	struct mmu_region r = {.slot = 1, .flags = flags, .gpa = gpa, .size = size,
			       .hva = WORLD_HVA + PAGE_SIZE};

	return mmu_set_region(world.mmu, &r);
}

static int create_slot(void)
{
	return set_other(0, OTHER_GPA, PAGE_SIZE);
}

static int start_log(void)
{
	return set_other(MMU_SLOT_LOG_DIRTY, OTHER_GPA, PAGE_SIZE);
}

static int move_slot(void)
{
	return set_other(MMU_SLOT_LOG_DIRTY, MOVED_GPA, PAGE_SIZE);
}

static int delete_slot(void)
{
	return set_other(0, 0, 0);
}

static int make_private(void)
{
	return mmu_set_attributes(world.mmu, 8, 4, MMU_ATTR_PRIVATE);
}

static int make_a_hole(void)
{
	return mmu_set_attributes(world.mmu, 9, 1, 0);
}

static int create_and_link_gmem(void)
{
	struct gmem_file *f, *other;
	int r = gmem_create(world.mmu, PAGE_SIZE, 0, &f);

	if (r)
		return r;
	r = gmem_link(f, world.mmu, &other);
	if (!r)
		gmem_release(other);
	gmem_release(f);
	return r;
}

static int harvest(void)
{
	u64 bits;

	return mmu_dirty_get(world.mmu, 1, &bits);
}

static int read_page(u64 page)
{
	u64 value;
	int r;

	mmu_vcpu_enter(v0);
	r = guest_read(v0, page * PAGE_SIZE, &value);
	mmu_vcpu_leave(v0);
	return r;
}

static int fault(void)
{
	return read_page(0);
}

/* Not beside the first: a name of its own, for which there is memory, and then the next one's has to be found. */
static int fault_elsewhere(void)
{
	return read_page(2);
}

static int fault_beside(void)
{
	return read_page(3);
}

static int track_code(void)
{
	int r;

	mmu_vcpu_enter(v0);
	r = mmu_code_track(v0, 0, 1);
	mmu_vcpu_leave(v0);
	return r;
}

static int clear_log(void)
{
	u64 bits = 0;

	return mmu_dirty_clear(world.mmu, 1, 0, 1, &bits);
}

static void check_word(void)
{
	u64 value = 0;

	mmu_vcpu_enter(v0);
	SCHED_CHECK(!guest_read(v0, 0, &value) && value == WORD, "a read fails");
	mmu_vcpu_leave(v0);
}

static void call_all(void *arg)
{
	static int (*const calls[])(void) = {fault,	fault_elsewhere, fault_beside, create_slot, start_log,
					     harvest,	clear_log,	 move_slot,    delete_slot, make_private,
					     make_a_hole, create_and_link_gmem, track_code};

	for (unsigned i = 0; i < ARRAY_SIZE(calls); i++) {
		int r = -ENOMEM;

		for (unsigned n = 1; r; n++) {
			sched_fail_allocation(n);
			r = calls[i]();
			sched_fail_allocation(0);
			SCHED_CHECK(!r || r == -ENOMEM, "call %u ends with %d", i, r);
			if (i)
				check_word();
		}
	}
}

void setup_no_memory(void)
{
	world_create(1, 4, MODEL_FILE_CACHED);
	model_write(world.model, WORLD_HVA, WORD);
	sched_spawn("vmm", call_all, NULL);
}

/* ------------------------------------------------------------------ more tokens than are kept ready */

#define TOKENS 32 /* that are kept ready (mmu/invalidate.c) */

static struct mmu_token *tokens[WORLD_VMS][TOKENS];

/* Elsewhere: no memslot shows it. */
static struct mmu_token *begin_elsewhere(u32 vm)
{
	return mmu_invalidate_begin(world.vm[vm].mmu, WORLD_HUGE_HVA, WORLD_HUGE_HVA + PAGE_SIZE);
}

static bool hold_one(void)
{
	struct mmu_token *t = begin_elsewhere(0);

	if (t)
		mmu_invalidate_end(t);
	return t;
}

static bool hide(void)
{
	struct mmu_token *t = mmu_invalidate_hide(world.mmu);

	if (t)
		mmu_invalidate_end(t);
	return t;
}

static bool punch(void)
{
	int r = gmem_punch(world.vm[0].gmem, 0, 2 * PAGE_SIZE);

	SCHED_CHECK(!r || r == -ENOMEM, "a punch ends with %d", r);
	return !r;
}

static bool convert(void)
{
	int r = mmu_set_attributes(world.mmu, 0, 1, 0);

	SCHED_CHECK(!r || r == -ENOMEM, "a conversion ends with %d", r);
	return !r;
}

/* A conversion needs its piece first: the token is its second allocation. */
static void call_without_tokens(void *arg)
{
	static const struct {
		bool (*call)(void);
		unsigned n;
	} calls[] = {{hold_one, 1}, {hide, 1}, {punch, 1}, {convert, 2}};

	for (unsigned i = 0; i < WORLD_VMS * TOKENS; i++)
		SCHED_CHECK((tokens[i % WORLD_VMS][i / WORLD_VMS] = begin_elsewhere(i % WORLD_VMS)), "a token is missing");
	for (unsigned i = 0; i < ARRAY_SIZE(calls); i++) {
		sched_fail_allocation(calls[i].n);
		SCHED_CHECK(!calls[i].call(), "call %u succeeds without memory", i);
		sched_fail_allocation(0);
		check_word();
	}
	SCHED_CHECK(hold_one(), "a token is missing though there is memory");
	for (unsigned i = 0; i < WORLD_VMS * TOKENS; i++)
		mmu_invalidate_end(tokens[i % WORLD_VMS][i / WORLD_VMS]);
	check_word();
}

/* Page 0 is private, and holds the word that must stay. */
void setup_no_tokens(void)
{
	world_create_gmem(1, 2, 2);
	mmu_vcpu_enter(v0);
	SCHED_CHECK(!guest_write(v0, 0, WORD), "a write fails");
	mmu_vcpu_leave(v0);
	world_second_vm();
	sched_spawn("vmm", call_without_tokens, NULL);
}
