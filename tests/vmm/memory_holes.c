/* SPDX-License-Identifier: MIT */
/*
 * A slot may lie over addresses where the VMM has nothing. The guest's access there is EFAULT,
 * whatever this machine's /dev/kvm keeps in the process: it reads and writes nothing that is not
 * the VMM's, however much the VMM makes it allocate, and it reaches no other VM's memory.
 *
 * usage: vmm_memory_holes [MIB]   of the hole that is scanned, 64 by default
 */
#include "probe.h"
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define ROOM	  (64ul << 20) /* of a slot that is made only to be made */
#define SHARED	  (4ul << 20)
#define FILLERS	  400
#define MAPPINGS  4096
#define NEW_SLOTS 500

struct mapping {
	uint64_t start, end;
	char line[256];
};

struct mappings {
	size_t n;
	struct mapping m[MAPPINGS];
};

static struct mappings before, now;
static uint64_t hole_size = 64ul << 20;

static void read_maps(struct mappings *ms)
{
	FILE *f = fopen("/proc/self/maps", "re");

	EXPECT(f, "maps");
	for (ms->n = 0; ms->n < MAPPINGS; ms->n++) {
		struct mapping *m = &ms->m[ms->n];

		if (!fgets(m->line, sizeof(m->line), f))
			break;
		EXPECT(sscanf(m->line, "%lx-%lx", &m->start, &m->end) == 2, "%s", m->line);
	}
	fclose(f);
}

/* What a device in the process needs memory for: slots, logs, tables, vCPUs. */
static void work_hard(struct minivmm *v)
{
	for (uint64_t off = 0; off < SHARED; off += PROBE_PAGE)
		EXPECT(!probe_write(v, PROBE_GPA / 2 + off, 1), "shared memory");
	for (unsigned i = 0; i < NEW_SLOTS; i++)
		probe_slot(v, 10 + i, 0, (1ull << 36) + i * ROOM, ROOM, (void *)(1ul << 40));
	probe_slot(v, 9, KVM_MEM_LOG_DIRTY_PAGES, 1ull << 38, 1ull << 36, (void *)(1ul << 40));
	/* Not mapped: that would be the VMM's own memory. */
	for (unsigned i = 1; i < 5; i++)
		EXPECT(ioctl(v->vm, KVM_CREATE_VCPU, i) >= 0, "vCPU %u", i);
}

/* Nothing of [hva, hva + size) is there for the guest, neither to read nor to write. */
static void expect_nothing(struct minivmm *v, const void *hva, uint64_t size, const char *what)
{
	uint32_t value;

	probe_slot(v, PROBE_SLOT, 0, PROBE_GPA, size, hva);
	for (uint64_t off = 0; off < size; off += PROBE_PAGE) {
		int r = probe_read(v, PROBE_GPA + off, &value);

		EXPECT(r == -EFAULT, "a read of %s at +%lx: %d", what, off, r);
		r = probe_write(v, PROBE_GPA + off, 0x41414141);
		EXPECT(r == -EFAULT, "a write of %s at +%lx: %d", what, off, r);
	}
	probe_slot(v, PROBE_SLOT, 0, PROBE_GPA, 0, NULL);
}

/* A VMM's thread that makes the device allocate and free, until it is told to stop. */
static volatile bool stop;

static void *work_on(void *vmm)
{
	struct minivmm *v = vmm;

	while (!stop) {
		for (unsigned i = 0; i < NEW_SLOTS && !stop; i++) {
			probe_slot(v, 1000 + i, KVM_MEM_LOG_DIRTY_PAGES, (1ull << 37) + i * ROOM, ROOM,
				   (void *)(1ul << 40));
		}
		for (unsigned i = 0; i < NEW_SLOTS; i++) {
			struct kvm_userspace_memory_region r = {.slot = 1000 + i};

			ioctl(v->vm, KVM_SET_USER_MEMORY_REGION, &r);
		}
	}
	return NULL;
}

static void test_hole(void)
{
	void *hole = mmap(NULL, hole_size, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	void *shared = probe_share(probe_memfd(SHARED), SHARED, 0);
	struct minivmm v;
	pthread_t worker;

	probe_create(&v);
	/* Its stack and its allocator's are the VMM's own: before there is a hole. */
	EXPECT(!pthread_create(&worker, NULL, work_on, &v), "a thread");
	probe_slot(&v, PROBE_SLOT, 0, PROBE_GPA, hole_size, hole);
	/* Smaller holes are full, so that this one is where the next mapping goes. */
	for (int i = 0; i < FILLERS; i++)
		mmap(NULL, (i < FILLERS / 2 ? 16 : 1) * PROBE_PAGE, i & 1 ? PROT_READ : PROT_NONE,
		     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	munmap(hole, hole_size);
	probe_slot(&v, 2, KVM_MEM_LOG_DIRTY_PAGES, PROBE_GPA / 2, SHARED, shared);
	work_hard(&v);
	probe_slot(&v, PROBE_SLOT, 0, PROBE_GPA, 0, NULL);
	expect_nothing(&v, hole, hole_size, "a hole");
	stop = true;
	pthread_join(worker, NULL);
	/* Unharmed. */
	EXPECT(probe_must_read(&v, PROBE_GPA / 2) == 1, "the guest's memory");
	munmap(shared, SHARED);
	minivmm_destroy(&v);
}

static bool was_there(const struct mapping *m)
{
	for (size_t i = 0; i < before.n; i++) {
		if (before.m[i].start < m->end && m->start < before.m[i].end)
			return true;
	}
	return false;
}

/*
 * What is in the process only since it opened /dev/kvm, and what is the library's, page by page at
 * its ends. The VMM allocates nothing itself but what `v` says.
 */
static void test_everywhere(void)
{
	const uint64_t ends = 16 * PROBE_PAGE;
	void *shared = probe_share(probe_memfd(SHARED), SHARED, 0);
	unsigned checked = 0;
	struct minivmm v, w;

	read_maps(&before);
	probe_create(&v);
	probe_slot(&v, 2, 0, PROBE_GPA / 2, SHARED, shared);
	probe_must_read(&v, PROBE_GPA / 2);
	probe_create(&w);
	read_maps(&now);
	for (size_t i = 0; i < now.n; i++) {
		const struct mapping *m = &now.m[i];
		uint64_t size = m->end - m->start;

		if (strstr(m->line, "[heap]") || strstr(m->line, "[stack]") ||
		    strstr(m->line, "userkvm:vcpu") || (void *)m->start == v.mem ||
		    (void *)m->start == w.mem)
			continue;
		if (!strstr(m->line, "libuserkvm") && was_there(m))
			continue;
		expect_nothing(&w, (void *)m->start, size < ends ? size : ends, m->line);
		if (size > ends)
			expect_nothing(&w, (void *)(m->end - ends), ends, m->line);
		checked++;
	}
	EXPECT(checked, "something must have been there");
	printf("%u mappings out of reach\n", checked);
}

int main(int argc, char **argv)
{
	if (argc > 1)
		hole_size = strtoul(argv[1], NULL, 10) << 20;
	test_everywhere();
	test_hole();
	return 0;
}
