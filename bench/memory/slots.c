/* SPDX-License-Identifier: MIT */
/* Making and deleting a memslot of one page with 1, 1,000 and 30,000 others in the VM, compared to
 * the host's mmap and munmap of a page. */
#include "machine.h"

#include <sys/mman.h>

#define MAX_SLOTS 30000u
#define PAIRS	  200

static struct machine machine;
static u8 *memory;

/* Every second page: no two slots touch. Slot 0 is the machine's own. */
static void set(u32 slot, u64 size)
{
	machine_slot(&machine, slot, 0, DATA_GPA + slot * 2 * PAGE, size, memory + slot * PAGE);
}

static double pair(u32 slot)
{
	u64 t = now_ns();

	for (u32 i = 0; i < PAIRS; i++) {
		set(slot, PAGE);
		set(slot, 0);
	}
	return (double)(now_ns() - t) / PAIRS;
}

static double host_pair(void)
{
	u64 t = now_ns();

	for (u32 i = 0; i < PAIRS; i++)
		memory_unmap(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), PAGE);
	return (double)(now_ns() - t) / PAIRS;
}

int main(void)
{
	static const u32 others[] = {1, 1000, MAX_SLOTS};
	u32 have = 1;
	char name[64];

	memory = memory_map(BACKING_ANON, (MAX_SLOTS + 2) * PAGE);
	machine_create(&machine);
	for (u32 i = 0; i < COUNT(others); i++) {
		struct figure f = {.n = 0};

		for (; have < others[i]; have++)
			set(have, PAGE);
		for (unsigned t = 0; t < BENCH_TURNS; t++) {
			double host = host_pair();

			/* One that stands before most of the others, and one after them. */
			figure_add(&f, pair(t % 2 ? MAX_SLOTS + 1 : have) / 1e3, host / 1e3);
		}
		snprintf(name, sizeof(name), "slot made and deleted, %u others", others[i]);
		figure_print(&f, name, "us", "host's mmap and munmap", "-");
	}
	machine_destroy(&machine);
	return 0;
}
