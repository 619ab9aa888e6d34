/* SPDX-License-Identifier: MIT */
/*
 * A slot may lie over addresses where the VMM has nothing. The guest's access there is EFAULT,
 * whatever this machine's /dev/kvm keeps in the process: it reads and writes nothing that is not
 * the VMM's, however much the VMM makes it allocate, and it reaches no other VM's memory.
 *
 * usage: vmm_memory_holes [MIB [KIB]]   of the hole that is scanned, 64 by default; from one page to the
 *					   next where something is reserved, 16384 by default
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

/* ------------------------------------------------------------------ all of user space */

#define USER_END (1ul << 47)
#define SCANNED	 (2ul << 30) /* at a time, what a 32-bit guest has room for */
#define LOOKS	 1	     /* at pages of each, at random */
#define STRIDE	 (16ul << 20) /* in what is reserved, and not accessible */
#define ENDS	 (16 * PROBE_PAGE)

static struct minivmm scanner;
static uint64_t stride = STRIDE;

/* A page the VMM has is the guest's, with the same bytes; what is not the VMM's is nobody's. */
static void look_at(uint64_t base, uint64_t at)
{
	uint32_t host = 0, guest = 0;
	bool there = probe_host_read((void *)at, &host);
	int r = probe_read(&scanner, PROBE_GPA + (uint32_t)(at - base), &guest);

	EXPECT(r == -EFAULT || (!r && there && guest == host), "%lx: a read ends with %d (%x), %x there",
	       at, r, guest, host);
}

static void look_everywhere(void)
{
	for (uint64_t base = 0; base < USER_END; base += SCANNED) {
		uint64_t size = base + SCANNED < USER_END ? SCANNED : SCANNED - PROBE_PAGE;

		probe_slot(&scanner, PROBE_SLOT, 0, PROBE_GPA, size, (void *)base);
		for (unsigned i = 0; i < LOOKS; i++)
			look_at(base, base + (uint64_t)rand() % (size / PROBE_PAGE) * PROBE_PAGE);
		probe_slot(&scanner, PROBE_SLOT, 0, PROBE_GPA, 0, NULL);
	}
}

static bool was_there(const struct mapping *m)
{
	for (size_t i = 0; i < before.n; i++) {
		if (before.m[i].start < m->end && m->start < before.m[i].end)
			return true;
	}
	return false;
}

/* What the VMM has mapped since, itself. */
static bool is_the_vmms(const struct mapping *m, const struct minivmm *const *vms)
{
	for (; *vms; vms++) {
		if (m->start == (uint64_t)(*vms)->mem || m->start == (uint64_t)(*vms)->run)
			return true;
	}
	return strstr(m->line, "[heap]") || strstr(m->line, "[stack]") ||
	       strstr(m->line, "userkvm:vcpu");
}

/* One mapping that is not: page by page, and with a stride where nothing could be read anyway. */
static uint64_t scan(const struct mapping *m)
{
	bool reserved = strstr(m->line, "---p");
	uint64_t scanned = 0;

	for (uint64_t at = m->start; at < m->end; at += SCANNED) {
		uint64_t size = m->end - at < SCANNED ? m->end - at : SCANNED, off, step;
		uint32_t value;

		probe_slot(&scanner, PROBE_SLOT, 0, PROBE_GPA, size, (void *)at);
		for (off = 0; off < size; off += step, scanned++) {
			int r = probe_read(&scanner, PROBE_GPA + off, &value);

			EXPECT(r == -EFAULT, "a read at +%lx: %d: %s", off, r, m->line);
			r = probe_write(&scanner, PROBE_GPA + off, 0x41414141);
			EXPECT(r == -EFAULT, "a write at +%lx: %d: %s", off, r, m->line);
			step = !reserved || off < ENDS || size - off <= ENDS ? PROBE_PAGE : stride;
			if (step > PROBE_PAGE && size - off - ENDS < step)
				step = size - off - ENDS;
		}
		probe_slot(&scanner, PROBE_SLOT, 0, PROBE_GPA, 0, NULL);
	}
	return scanned;
}

/* What is in the process only since it opened /dev/kvm, and what is the library's. */
static void scan_ours(const struct minivmm *const *vms)
{
	unsigned mappings = 0;
	uint64_t pages = 0;

	read_maps(&now);
	for (size_t i = 0; i < now.n; i++) {
		const struct mapping *m = &now.m[i];

		if (is_the_vmms(m, vms) || (!strstr(m->line, "libuserkvm") && was_there(m)))
			continue;
		pages += scan(m);
		mappings++;
	}
	EXPECT(mappings, "something must have been there");
	printf("%u mappings out of reach, %lu pages tried\n", mappings, pages);
}

static void *work_when_there(void *vmm)
{
	struct minivmm *v = vmm;

	while (!__atomic_load_n(&v->vm, __ATOMIC_ACQUIRE))
		usleep(1000);
	return work_on(vmm);
}

/* The VMM works meanwhile; it allocates nothing itself but what `vms` say. */
static void test_everywhere(void)
{
	void *shared = probe_share(probe_memfd(SHARED), SHARED, 0);
	static struct minivmm v;
	const struct minivmm *const vms[] = {&v, &scanner, NULL};
	uint32_t word;
	pthread_t worker;

	EXPECT(!pthread_create(&worker, NULL, work_when_there, &v), "a thread");
	probe_host_read(&word, &word); /* its descriptors */
	read_maps(&before);
	probe_create(&scanner);
	probe_create(&v);
	probe_slot(&v, 2, 0, PROBE_GPA / 2, SHARED, shared);
	probe_must_read(&v, PROBE_GPA / 2);
	scan_ours(vms);
	look_everywhere();
	scan_ours(vms); /* what has come */
	stop = true;
	pthread_join(worker, NULL);
	stop = false;
	EXPECT(probe_must_read(&v, PROBE_GPA / 2) == 0, "the guest's memory");
}

int main(int argc, char **argv)
{
	if (argc > 1)
		hole_size = strtoul(argv[1], NULL, 10) << 20;
	if (argc > 2)
		stride = strtoul(argv[2], NULL, 10) << 10;
	test_everywhere();
	test_hole();
	return 0;
}
