/* SPDX-License-Identifier: MIT */
/*
 * tests/torture/kinds_slots.c: memory that is collected by dirty rings, that a file backs which shrinks
 * and grows, that is private.
 */
#include "torture.h"
#include "../vmm/gmem.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define NPAGES	     (TARGET_SIZE / 4096)

/* ---- rings: what the VMM has copied of the pages that were collected is what is there in the end */

#define RING_SIZE  (RING_BYTES / sizeof(struct kvm_dirty_gfn))

static uint8_t copy[TARGET_SIZE];
static struct kvm_dirty_gfn *ring[MAX_VCPUS];
static uint32_t next_entry[MAX_VCPUS];
static uint8_t collected[NPAGES];
static int hostile; /* the VMM writes nonsense into the rings, too */

static void rings_prepare(void)
{
	machine_slot(1, TARGET, TARGET_SIZE, target, KVM_MEM_LOG_DIRTY_PAGES);
	memcpy(copy, target, TARGET_SIZE);
	hostile = rnd() % 4 == 0;
	for (unsigned id = 0; id < now.vcpus; id++) {
		struct kvm_mp_state runnable = {.mp_state = KVM_MP_STATE_RUNNABLE};

		ioctl(vcpu[id].vcpu, KVM_SET_MP_STATE, &runnable);
		ring[id] = mmap(NULL, RING_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu[id].vcpu,
				KVM_DIRTY_LOG_PAGE_OFFSET * 4096L);
		if (ring[id] == MAP_FAILED)
			finding("no ring: %s", strerror(errno));
	}
}

static void collect(unsigned id)
{
	for (;;) {
		struct kvm_dirty_gfn *e = &ring[id][next_entry[id] % RING_SIZE];

		if (__atomic_load_n(&e->flags, __ATOMIC_ACQUIRE) != KVM_DIRTY_GFN_F_DIRTY)
			return;
		if (e->slot == 1 && e->offset < NPAGES)
			collected[e->offset] = 1;
		__atomic_store_n(&e->flags, KVM_DIRTY_GFN_F_RESET, __ATOMIC_RELEASE);
		next_entry[id]++;
	}
}

static void rings_step(void)
{
	for (unsigned id = 0; id < now.vcpus; id++)
		collect(id);
	if (hostile) {
		uint64_t r = rnd();
		struct kvm_dirty_gfn *e = &ring[r % now.vcpus][(r >> 8) % RING_SIZE];

		__atomic_store_n(&e->flags, (uint32_t)(r >> 32) & 3, __ATOMIC_RELAXED);
		__atomic_store_n(&e->slot, (uint32_t)(r >> 36), __ATOMIC_RELAXED);
		__atomic_store_n(&e->offset, rnd(), __ATOMIC_RELAXED);
	}
	if (ioctl(vcpu[0].vm, KVM_RESET_DIRTY_RINGS, 0) < 0 && !hostile)
		finding("a reset of the rings fails: %s", strerror(errno));
	for (unsigned p = 0; p < NPAGES; p++) {
		if (collected[p])
			memcpy(copy + p * 4096, target + p * 4096, 4096);
		collected[p] = 0;
	}
}

static void rings_check(void)
{
	rings_step();
	if (!hostile && memcmp(copy, target, TARGET_SIZE))
		finding("a page was written and is in no ring");
}

/* A full ring: the main thread empties it. */
static int rings_between(unsigned id)
{
	if (vcpu[id].run->exit_reason == KVM_EXIT_DIRTY_RING_FULL)
		usleep(100);
	return 0;
}

const struct kind kind_rings = {"rings", memory_parts, NMEMORY_PARTS, 6, KIND_EXITS | KIND_RING, rings_prepare,
				rings_step, rings_check, rings_between, NULL};

/* ---- files: a memslot over a file that shrinks, grows, is punched, written and mapped anew, raw */

static int file;

static void files_prepare(void)
{
	int prot = PROT_READ | PROT_WRITE;

	file = memfd_create("torture", 0);
	if (file < 0 || ftruncate(file, TARGET_SIZE) ||
	    mmap(target, TARGET_SIZE, prot, MAP_SHARED | MAP_FIXED, file, 0) != target)
		finding("no file: %s", strerror(errno));
}

static void files_step(void)
{
	static uint8_t bytes[4096];
	uint64_t r = rnd();
	off_t at = (off_t)(r >> 8 & (TARGET_SIZE - 1) & ~0xfffUL);

	switch (r % 6) {
	case 0:
		if (ftruncate(file, at) || ftruncate(file, TARGET_SIZE))
			finding("truncate: %s", strerror(errno));
		break;
	case 1:
		fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, 8192);
		break;
	case 2:
		memset(bytes, (int)r, sizeof(bytes));
		if (pwrite(file, bytes, sizeof(bytes), at) != sizeof(bytes))
			finding("pwrite: %s", strerror(errno));
		break;
	case 3:
		madvise(target + at, 4096, MADV_REMOVE);
		break;
	case 4:
		syscall(SYS_munmap, target + at, 4096);
		syscall(SYS_mmap, target + at, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, at);
		break;
	default:
		mprotect(target + at, 4096, PROT_READ);
		usleep(200);
		mprotect(target + at, 4096, PROT_READ | PROT_WRITE);
	}
}

const struct kind kind_files = {"files", memory_parts, NMEMORY_PARTS, 6, KIND_EXITS, files_prepare, files_step, NULL,
				NULL, NULL};

/* ---- private: pages come and go between private and shared; what is always private never shows */

#define KEPT(page) ((page) % 4 == 3)

static int gmem = -1;
static uint8_t seen[4096];

static void convert(unsigned page, unsigned n, int private)
{
	struct gmem_attributes a = {.address = TARGET + page * 4096UL, .size = n * 4096UL,
				    .attributes = private ? GMEM_PRIVATE : 0};

	if (ioctl(vcpu[0].vm, GMEM_SET_ATTRIBUTES, &a))
		finding("a conversion fails: %s", strerror(errno));
}

static void private_prepare(void)
{
	gmem = gmem_create(vcpu[0].vm, TARGET_SIZE, 0);
	machine_slot(1, TARGET, 0, target, 0);
	if (gmem < 0 || gmem_bind(vcpu[0].vm, 1, TARGET, TARGET_SIZE, target, gmem, 0))
		finding("no private memory: %s", strerror(errno));
	memset(target, 0xee, TARGET_SIZE);
	memset(seen, 0xee, sizeof(seen));
	for (unsigned p = 0; p < NPAGES; p++) {
		if (KEPT(p))
			convert(p, 1, 1);
	}
}

static void private_step(void)
{
	uint64_t r = rnd();
	unsigned page = (unsigned)(r >> 8) % NPAGES & ~3u;

	switch (r % 3) {
	case 0:
		convert(page, 3, r >> 32 & 1);
		break;
	case 1:
		fallocate(gmem, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, page * 4096L, 4 * 4096);
		break;
	default:
		madvise(target + page * 4096UL, 3 * 4096UL, MADV_DONTNEED);
	}
}

static void private_check(void)
{
	for (unsigned p = 0; p < NPAGES; p++) {
		if (KEPT(p) && memcmp(target + p * 4096, seen, 4096))
			finding("what was written to private page %u shows", p);
	}
}

const struct kind kind_private = {"private", memory_parts, NMEMORY_PARTS, 6, KIND_EXITS | KIND_PROTECTED,
				  private_prepare, private_step, private_check, NULL, NULL};
