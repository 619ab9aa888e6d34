/* SPDX-License-Identifier: MIT */
/*
 * A VMM owns its address space. It maps at addresses of its choice, also where this machine's
 * /dev/kvm keeps something, which then goes elsewhere: the guest reads and writes its memory as
 * before, while a vCPU runs, and nobody touches what the VMM mapped.
 */
#include "probe.h"
#include "rawcall.h"
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SIZE   (4ul << 20)
#define AROUND (1ul << 20) /* of address space beside it */
#define MARK   0x5ec5e7u

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

/* Counts in memory until it is told to stop, on a VM of its own. */
GUEST(counts, 32, "1: incl (%ebx)\n cmpl $0, (%esi)\n je 1b\n hlt");

static struct minivmm probe_vm, running;
static uint8_t *mem;
static volatile uint32_t *stop;

/* Another mapping of the guest's file than the VMM's, or of `name`: where it lies. */
static uint8_t *find(const char *name, size_t *size)
{
	FILE *f = fopen("/proc/self/maps", "re");
	uint8_t *found = NULL;
	char line[512];

	EXPECT(f, "maps");
	while (!found && fgets(line, sizeof(line), f)) {
		uint64_t start, end;

		if (!strstr(line, name) || sscanf(line, "%lx-%lx", &start, &end) != 2)
			continue;
		if ((uint8_t *)start == mem)
			continue;
		found = (uint8_t *)start;
		*size = end - start;
	}
	fclose(f);
	return found;
}

static void *run(void *unused)
{
	struct kvm_regs r = {.rip = MINIVMM_CODE, .rflags = 2, .rbx = PROBE_GPA + 8,
			     .rsi = PROBE_GPA + 0x2000};

	minivmm_set_regs(&running, &r);
	EXPECT_EXIT(&running, KVM_EXIT_HLT);
	return NULL;
}

static void *want_anonymous(uint8_t *at, size_t size, int flags)
{
	return mmap(at, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
}

static void *fixed(uint8_t *at, size_t size)
{
	return want_anonymous(at, size, MAP_FIXED);
}

static void *noreplace(uint8_t *at, size_t size)
{
	return want_anonymous(at, size, MAP_FIXED_NOREPLACE);
}

static void *hint(uint8_t *at, size_t size)
{
	return want_anonymous(at, size, 0);
}

static void *moved(uint8_t *at, size_t size)
{
	return mremap(want_anonymous(NULL, size, 0), size, size, MREMAP_MAYMOVE | MREMAP_FIXED, at);
}

static void *unmapped_first(uint8_t *at, size_t size)
{
	EXPECT(!munmap(at, size), "munmap: %s", strerror(errno));
	return noreplace(at, size);
}

static void *segment(uint8_t *at, size_t size, int flags)
{
	int id = shmget(IPC_PRIVATE, size, 0600);
	void *p = shmat(id, at, flags);

	shmctl(id, IPC_RMID, NULL);
	return p;
}

static void *attached(uint8_t *at, size_t size)
{
	return segment(at, size, 0);
}

static void *attached_over(uint8_t *at, size_t size)
{
	return segment(at, size, SHM_REMAP);
}

static const struct {
	const char *name;
	void *(*get)(uint8_t *at, size_t size);
	int detach;
} ways[] = {
	{"mmap MAP_FIXED", fixed},
	{"mmap MAP_FIXED_NOREPLACE", noreplace},
	{"mmap with a hint", hint},
	{"mremap MREMAP_FIXED", moved},
	{"munmap", unmapped_first},
	{"shmat", attached, 1},
	{"shmat SHM_REMAP", attached_over, 1},
};

static void check_guest(uint32_t value)
{
	EXPECT(!probe_write(&probe_vm, PROBE_GPA + 0x1000, value), "a write");
	EXPECT(*(uint32_t *)(mem + 0x1000) == value, "the write arrives");
	*(uint32_t *)(mem + 0x1004) = value;
	EXPECT(probe_must_read(&probe_vm, PROBE_GPA + 0x1004) == value, "the VMM's write is seen");
}

static void take(unsigned way)
{
	volatile uint32_t *count = (uint32_t *)(mem + 8);
	size_t size, words;
	uint32_t *got, before;
	uint8_t *at;

	check_guest(way + 1);
	at = find("memfd:guest", &size);
	EXPECT(at, "%s: is there nothing to map over?", ways[way].name);
	at -= AROUND;
	size += 2 * AROUND;
	words = size / sizeof(*got);
	got = ways[way].get(at, size);
	EXPECT(got == (void *)at, "%s: %p, not %p: %s", ways[way].name, (void *)got, (void *)at,
	       strerror(errno));
	for (size_t i = 0; i < words; i++)
		got[i] = MARK;
	check_guest(way + 100);
	before = *count;
	for (int i = 0; i < 20000 && *count == before; i++)
		usleep(100);
	EXPECT(*count != before, "%s: the running guest counts no more", ways[way].name);
	for (size_t i = 0; i < words; i++)
		EXPECT(got[i] == MARK, "%s: word %zx was written", ways[way].name, i);
	EXPECT(!(ways[way].detach ? shmdt(got) : munmap(got, size)), "it is given back");
	check_guest(way + 200);
}

/* How often the guest's file is mapped in [at, at + size). */
static unsigned still_there(const uint8_t *at, size_t size)
{
	FILE *f = fopen("/proc/self/maps", "re");
	unsigned found = 0;
	char line[512];

	EXPECT(f, "maps");
	while (fgets(line, sizeof(line), f)) {
		uint64_t start;

		found += strstr(line, "memfd:guest") && sscanf(line, "%lx", &start) == 1 &&
			 (uint8_t *)start >= at && (uint8_t *)start < at + size;
	}
	fclose(f);
	return found;
}

/*
 * By a raw call, and a part alone. The part is the VMM's from then on; what is left is unmapped, or it would be
 * memory of one guest's that a slot of another's may show.
 */
static void take_part(void)
{
	static struct minivmm other;
	uint32_t *got, value;
	size_t size, off;
	uint8_t *at;

	check_guest(300);
	at = find("memfd:guest", &size);
	if (!at)
		return; /* another /dev/kvm */
	off = size / 2;
	got = (uint32_t *)rawcall(SYS_mmap, at + off, PROBE_PAGE, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	EXPECT(got == (void *)(at + off), "mmap of a part: %s", strerror(errno));
	for (size_t i = 0; i < PROBE_PAGE / sizeof(*got); i++)
		got[i] = MARK;
	for (int i = 0; i < 20000 && still_there(at, size); i++)
		usleep(1000);
	EXPECT(!still_there(at, size), "what is left of a window is mapped still");
	check_guest(301);
	probe_create(&other);
	probe_slot(&other, PROBE_SLOT, 0, PROBE_GPA, size, at);
	for (size_t o = 0; o < size; o += PROBE_PAGE) {
		int r = probe_read(&other, PROBE_GPA + (uint32_t)o, &value);

		EXPECT(o == off ? !r && value == MARK : r == -EFAULT, "+%zx of it: %d, %x", o, r, value);
	}
	for (size_t i = 0; i < PROBE_PAGE / sizeof(*got); i++)
		EXPECT(got[i] == MARK, "word %zx of a part was written", i);
	minivmm_destroy(&other);
}

/* What does not move is not mapped over, and what is not the VMM's is not its to unmap. */
static void try_immovable(void)
{
	size_t size;
	uint8_t *at = find("userkvm-stubs", &size);

	if (!at)
		return; /* another /dev/kvm */
	EXPECT(fixed(at, size) == MAP_FAILED && errno == ENOMEM, "over code: %s", strerror(errno));
	EXPECT(mprotect(at, size, PROT_NONE) == -1 && errno == ENOMEM, "mprotect of code");
	EXPECT(madvise(at, size, MADV_DONTNEED) == -1 && errno == ENOMEM, "madvise of code");
	EXPECT(mremap(at, size, 2 * size, MREMAP_MAYMOVE) == MAP_FAILED && errno == EFAULT,
	       "mremap of code");
	EXPECT(!munmap(at, size), "munmap of what is not there");
	check_guest(77);
}

int main(void)
{
	pthread_t thread;

	mem = probe_share(probe_memfd(SIZE), SIZE, 0);
	stop = (uint32_t *)(mem + 0x2000);
	probe_create(&probe_vm);
	probe_slot(&probe_vm, PROBE_SLOT, 0, PROBE_GPA, SIZE, mem);
	minivmm_create(&running);
	minivmm_load(&running, MINIVMM_PROT, counts);
	probe_slot(&running, PROBE_SLOT, 0, PROBE_GPA, SIZE, mem);
	EXPECT(!pthread_create(&thread, NULL, run, NULL), "a thread");
	for (unsigned i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
		take(i);
	take_part();
	try_immovable();
	*stop = 1;
	pthread_join(thread, NULL);
	return 0;
}
