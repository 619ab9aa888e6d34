/* SPDX-License-Identifier: MIT */
/*
 * Loads that miss the TLB, from memory that is mapped: a ring through more pages than either the
 * vCPU's TLB or the processor's holds, walked by the guest and by the host.
 */
#include "machine.h"

#define SIZE  (128 * MIB)
#define LOADS (4 * SIZE / PAGE)

static struct machine machine;

static void measure(const char *name, void *host_base, u64 guest_base)
{
	struct figure f = {.n = 0};

	machine_run(&machine, 0, PROGRAM_CHASE, guest_base, 0, LOADS);
	for (unsigned i = 0; i < BENCH_TURNS; i++) {
		u64 t = now_ns(), h, g;

		host_chase(host_base, 0, LOADS);
		h = now_ns() - t;
		t = now_ns();
		machine_run(&machine, 0, PROGRAM_CHASE, guest_base, 0, LOADS);
		g = now_ns() - t;
		figure_add(&f, (double)g / LOADS, (double)h / LOADS);
	}
	figure_print(&f, name, "ns", "host's load that misses its TLB", "-");
}

int main(void)
{
	void *p = memory_map(BACKING_ANON, SIZE);

	chase_fill(p, SIZE);
	machine_create(&machine);
	machine_slot(&machine, 1, 0, DATA_GPA, SIZE, p);
	measure("TLB miss, guest's pages 2 MiB", p, DATA_LARGE);
	measure("TLB miss, guest's pages 4 KiB", p, DATA_SMALL);
	machine_slot(&machine, 1, KVM_MEM_LOG_DIRTY_PAGES, DATA_GPA, SIZE, p);
	measure("TLB miss, stage 2 at 4 KiB too", p, DATA_SMALL);
	machine_destroy(&machine);
	memory_unmap(p, SIZE);
	return 0;
}
