/* SPDX-License-Identifier: MIT */
/*
 * Dirty logging of a slot in 4 KiB pages, a GiB's worth: KVM_GET_DIRTY_LOG that clears, with every
 * page dirty and with none; with manual protection GET and CLEAR apart; and the guest's next store
 * to each page. Compared to the host write-protecting as many mapped pages of its own (mprotect).
 */
#include "machine.h"

#include <sys/ioctl.h>
#include <sys/mman.h>

#define SIZE   (256 * MIB)
#define PAGES  (SIZE / PAGE)
#define PER_GIB(ns) ((ns) / 1e6 * (GIB / SIZE)) /* milliseconds */

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

int main(void)
{
	memory = memory_map(BACKING_ANON, SIZE);
	own = memory_map(BACKING_ANON, SIZE);
	host_touch(own, (u8 *)own + SIZE);
	harvests();
	manual();
	return 0;
}
