/* SPDX-License-Identifier: MIT */
/* Scenarios about what a vCPU is asked for while it is asked for something else. */
#include "explore/scenario.h"

#include "explore/scenarios.h"
#include "explore/world.h"

static struct mmu_vcpu *const v0 = &world.vcpu[0];

/* ------------------------------------------------------------------ logging is switched on */

static bool started;	  /* the call that starts the log has returned */
static bool wrote_since; /* a write began after it */

static void write_thrice(void *arg)
{
	mmu_vcpu_enter(v0);
	for (u64 i = 1; i <= 3; i++) {
		wrote_since |= started;
		SCHED_CHECK(guest_write(v0, 0, i) == 0, "a write fails");
	}
	mmu_vcpu_leave(v0);
}

static void start_log(void *arg)
{
	SCHED_CHECK(!world_set_slot(1, MMU_SLOT_LOG_DIRTY), "the log cannot be started");
	started = true;
}

void setup_log_start(void)
{
	started = wrote_since = false;
	world_create(1, 1, -1);
	sched_spawn("vcpu", write_thrice, NULL);
	sched_spawn("log", start_log, NULL);
}

void check_log_start(void)
{
	u64 bits = 0;

	SCHED_CHECK(!mmu_dirty_get(world.mmu, 0, &bits), "there is no log");
	SCHED_CHECK(bits || !wrote_since, "a write made after the log began is not in it");
}

/* ------------------------------------------------------------------ code and a flush */

static bool unmapped;

static void read_until_gone(void *arg)
{
	u64 value;

	mmu_vcpu_enter(v0);
	for (int i = 0; i < 3; i++) {
		bool gone = unmapped;
		int r;

		/* Somebody wrote bytes that may be code, and tells. */
		if (i == 1)
			mmu_vcpu_request(v0, MMU_REQ_CODE);
		r = guest_read(v0, 0, &value);
		SCHED_CHECK(r == 0 || r == -EFAULT, "a read ends with %d", r);
		SCHED_CHECK(!(gone && r == 0), "memory is reached after its munmap returned");
	}
	mmu_vcpu_leave(v0);
}

static void unmap(void *arg)
{
	model_munmap(world.model, WORLD_HVA, 1);
	unmapped = true;
}

void setup_requests(void)
{
	unmapped = false;
	world_create(1, 1, -1);
	sched_spawn("vcpu", read_until_gone, NULL);
	sched_spawn("munmap", unmap, NULL);
}
