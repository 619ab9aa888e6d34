/* SPDX-License-Identifier: MIT */
/*
 * Dirty logging of a slot in 4 KiB pages, a GiB's worth: KVM_GET_DIRTY_LOG that clears, with every
 * page dirty and with none; with manual protection GET and CLEAR apart; and the guest's next store
 * to each page. Compared to the host write-protecting as many mapped pages of its own (mprotect).
 * And what logging costs a guest whose pages are dirty already: stores over 64 MiB, compared to the same with no log.
 */
#include "machine.h"

#include <sys/ioctl.h>
#include <sys/mman.h>

#define SIZE   (256 * MIB)
#define PAGES  (SIZE / PAGE)
#define PER_GIB(ns) ((ns) / 1e6 * (GIB / SIZE)) /* milliseconds */

#define STORED	   (64 * MIB)
#define STORE_TURNS 8
#define MIN(a, b)   ((a) < (b) ? (a) : (b))
#define RING_BYTES (65536 * 16) /* room for every page */

static struct machine machine;
static u64 bitmap[PAGES / 64];
static void *memory, *own; /* the guest's, the host's */

static double dirty_all(void)
{
	u64 t = now_ns();

	machine_run(&machine, 0, PROGRAM_TOUCH, 0, DATA_LARGE, DATA_LARGE + SIZE);
	return (double)(now_ns() - t);
}

static double get(bool all)
{
	struct kvm_dirty_log l = {.slot = 1, .dirty_bitmap = bitmap};
	u64 t = now_ns();

	MUST(!ioctl(machine.vm, KVM_GET_DIRTY_LOG, &l), "KVM_GET_DIRTY_LOG");
	t = now_ns() - t;
	for (u32 i = 0; i < COUNT(bitmap); i++)
		MUST(bitmap[i] == (all ? ~0ULL : 0), "the log shows %#llx",
		     (unsigned long long)bitmap[i]);
	return (double)t;
}

static double clear(void)
{
	struct kvm_clear_dirty_log l = {.slot = 1, .num_pages = PAGES, .dirty_bitmap = bitmap};
	u64 t = now_ns();

	MUST(!ioctl(machine.vm, KVM_CLEAR_DIRTY_LOG, &l), "KVM_CLEAR_DIRTY_LOG");
	return (double)(now_ns() - t);
}

static double host_protect(void)
{
	u64 t = now_ns();

	MUST(!mprotect(own, SIZE, PROT_READ), "mprotect");
	t = now_ns() - t;
	MUST(!mprotect(own, SIZE, PROT_READ | PROT_WRITE), "mprotect");
	host_touch(own, (u8 *)own + SIZE);
	return (double)t;
}

static void start(void)
{
	machine_create(&machine);
	machine_slot(&machine, 1, KVM_MEM_LOG_DIRTY_PAGES, DATA_GPA, SIZE, memory);
	dirty_all();
}

static void harvests(void)
{
	struct figure all = {.n = 0}, none = {.n = 0}, again = {.n = 0};

	start();
	for (unsigned i = 0; i < BENCH_TURNS; i++) {
		double host = PER_GIB(host_protect());

		figure_add(&all, PER_GIB(get(true)), host);
		figure_add(&none, PER_GIB(get(false)), host);
		figure_add(&again, dirty_all() / PAGES, 0);
	}
	figure_print(&all, "harvest, all dirty", "ms/GiB", "host's mprotect", "-");
	figure_print(&none, "harvest, none dirty", "ms/GiB", "host's mprotect", "-");
	figure_print(&again, "guest's store after a harvest", "ns/page", NULL, "-");
	machine_destroy(&machine);
}

static void manual(void)
{
	struct kvm_enable_cap cap = {.cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, .args = {1}};
	struct figure look = {.n = 0}, f = {.n = 0};

	start();
	MUST(!ioctl(machine.vm, KVM_ENABLE_CAP, &cap), "manual protection");
	for (unsigned i = 0; i < BENCH_TURNS; i++) {
		double host = PER_GIB(host_protect());

		figure_add(&look, PER_GIB(get(true)), host);
		figure_add(&f, PER_GIB(clear()), host);
		dirty_all();
	}
	figure_print(&look, "get, manual protection", "ms/GiB", "host's mprotect", "-");
	figure_print(&f, "clear, all dirty", "ms/GiB", "host's mprotect", "-");
	machine_destroy(&machine);
}

/* Of this thread, which is the vCPU's: the rest of the machine may be busy. */
static u64 cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (u64)t.tv_sec * 1000000000 + (u64)t.tv_nsec;
}

/* Of one VM: nanoseconds for each page. */
static double stores(struct machine *m, u64 at)
{
	u64 t = cpu_ns();

	machine_run(m, 0, PROGRAM_STORE, 1, at, at + STORED);
	return (double)(cpu_ns() - t) / (STORED / PAGE);
}

/* Two VMs that take turns with the same memory, one with a log. `at`: by pages of the guest's of 2 MiB or of 4 KiB. */
static void already_dirty(bool ring, u64 at, const char *name)
{
	struct machine logged, other;
	struct figure f = {.n = 0};

	machine_create(&other);
	machine_slot(&other, 1, 0, DATA_GPA, STORED, memory);
	if (ring)
		machine_create_with_ring(&logged, RING_BYTES);
	else
		machine_create(&logged);
	machine_slot(&logged, 1, KVM_MEM_LOG_DIRTY_PAGES, DATA_GPA, STORED, memory);
	stores(&logged, at); /* what is not dirty yet */
	stores(&other, at);
	for (unsigned i = 0; i < BENCH_TURNS; i++) {
		double with = stores(&logged, at), without = stores(&other, at);

		/* The least of each: what else runs takes from their caches. */
		for (unsigned n = 1; n < STORE_TURNS; n++) {
			with = MIN(with, stores(&logged, at));
			without = MIN(without, stores(&other, at));
		}
		figure_add(&f, with, without);
	}
	figure_print(&f, name, "ns/page", "without a log", "<= 1.15");
	machine_destroy(&logged);
	machine_destroy(&other);
}

int main(void)
{
	memory = memory_map(BACKING_ANON, SIZE);
	own = memory_map(BACKING_ANON, SIZE);
	host_touch(own, (u8 *)own + SIZE);
	harvests();
	manual();
	already_dirty(false, DATA_LARGE, "stores to dirty pages, bitmap");
	already_dirty(false, DATA_SMALL, "stores to dirty pages, bitmap, guest's 4 KiB pages");
	already_dirty(true, DATA_LARGE, "stores to dirty pages, ring");
	already_dirty(true, DATA_SMALL, "stores to dirty pages, ring, guest's 4 KiB pages");
	return 0;
}
