/* SPDX-License-Identifier: MIT */
/*
 * What a device in this process keeps of the memory that it needed for thousands of memslots, with small objects and
 * large ones, is few of the process's mappings, of which Linux allows 65,530 (vm.max_map_count).
 */
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include "minivmm.h"

#define SLOTS	   20000u
#define EVERY	   100u	 /* of them has a large log */
#define PAGE	   4096ull
#define LOGGED	   (512ull << 20)
#define FIRST_GPA  (1ull << 40)
#define SLOT_GPA(i) (FIRST_GPA + (i) * 2 * LOGGED)
#define MOST_MORE  32u /* mappings: not one for each handful of objects */

static struct minivmm v;
static void *memory;

static unsigned count_mappings(void)
{
	FILE *f = fopen("/proc/self/maps", "r");
	unsigned n = 0;
	int c;

	EXPECT(f, "no list of mappings");
	while ((c = fgetc(f)) != EOF)
		n += c == '\n';
	fclose(f);
	return n;
}

static void set_slot(unsigned i, uint64_t size)
{
	struct kvm_userspace_memory_region r = {
		.slot = 1 + i,
		.flags = i % EVERY ? 0 : KVM_MEM_LOG_DIRTY_PAGES,
		.guest_phys_addr = SLOT_GPA(i),
		.memory_size = size,
		.userspace_addr = (uint64_t)memory,
	};

	EXPECT(!ioctl(v.vm, KVM_SET_USER_MEMORY_REGION, &r), "memslot %u: %m", i);
}

static void make_and_destroy(unsigned slots)
{
	minivmm_create(&v);
	for (unsigned i = 0; i < slots; i++)
		set_slot(i, i % EVERY ? PAGE : LOGGED);
	minivmm_destroy(&v);
}

int main(void)
{
	unsigned before, after;

	memory = mmap(NULL, LOGGED, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	EXPECT(memory != MAP_FAILED, "mmap: %m");
	make_and_destroy(0);
	before = count_mappings();
	make_and_destroy(SLOTS);
	after = count_mappings();
	printf("%u mappings before, %u after\n", before, after);
	EXPECT(after <= before + MOST_MORE, "%u memslots that are gone have left %u mappings", SLOTS, after - before);
	return 0;
}
