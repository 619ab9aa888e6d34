/* SPDX-License-Identifier: MIT */
/*
 * The model's stores against what stands behind guest_memfd on Linux, a memfd: random faults, stores,
 * loads, allocations and punches on both, of small pages and of huge ones, after each of which every
 * page must hold the same word. No frame stays held, and no page stays when its
 * store is gone.
 *
 * usage: store_conformance [SEED [SEQUENCES]]
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "explore/defects.h"
#include "explore/sched.h"
#include "primary/model/internal.h"

#define STEPS 40
#define SMALL 4
#define HUGE  (2 * LEVEL_PAGES(LEVEL_2M))

static u64 seed, rng;
static unsigned step;

static u64 below(u64 n)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return rng % n;
}

#define MUST(cond, what, ...)                                                                      \
	do {                                                                                       \
		if (cond)                                                                          \
			break;                                                                     \
		fprintf(stderr, "seed %llu, step %u: " what "\n", (unsigned long long)seed, step,  \
			##__VA_ARGS__);                                                            \
		exit(1);                                                                           \
	} while (0)

struct pair {
	struct model *model;
	void *store; /* the model's */
	u64 npages;
	int fd;
	u8 *map; /* Linux's */
};

static u64 *linux_word(struct pair *p, u64 page)
{
	return (u64 *)(p->map + page * PAGE_SIZE);
}

/* Fault in as mmu/ does, and access the word at once. */
static u64 access_word(struct pair *p, u64 page, const u64 *put)
{
	int max = p->npages == HUGE ? LEVEL_2M : LEVEL_4K;
	struct frame f;
	u64 got;

	MUST(!model_store_ops.fault(p->store, page, NULL, NULL, &f),
	     "a fault fails");
	MUST(f.writable && f.dirties && f.max_level == max && f.pfn == (u64)f.host >> PAGE_SHIFT,
	     "a frame says other than its store");
	if (put)
		*(u64 *)f.host = *put;
	got = *(u64 *)f.host;
	primary_model_ops.release(p->model, &f, true, put);
	return got;
}

/* Where large pages meet, and anywhere. */
static u64 some_page(const struct pair *p)
{
	static const u16 edges[] = {0, 1, 511, 512, 1023};

	return p->npages == SMALL || below(4) ? edges[below(5)] % p->npages : below(p->npages);
}

static void one_step(struct pair *p)
{
	u64 page = some_page(p), n = 1 + below(p->npages - page), word = below(1u << 20) + 1, got;

	if (!below(3)) {
		page = 0;
		n = below(2) ? p->npages : MAX(p->npages / 2, 1);
	}
	switch (below(6)) {
	case 0:
		MUST(!model_store_ops.punch(p->store, page, n), "a punch fails");
		MUST(!fallocate(p->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				(off_t)(page * PAGE_SIZE), (off_t)(n * PAGE_SIZE)),
		     "a real punch fails");
		break;
	case 1:
		MUST(!model_store_ops.allocate(p->store, page, n), "an allocation fails");
		MUST(!fallocate(p->fd, 0, (off_t)(page * PAGE_SIZE), (off_t)(n * PAGE_SIZE)),
		     "a real allocation fails");
		break;
	default:
		got = access_word(p, page, &word);
		*linux_word(p, page) = word;
		MUST(got == word, "a store is not there");
	}
}

static void compare(struct pair *p)
{
	for (u64 page = 0; page < p->npages; page++) {
		u64 ours = model_store_word(p->store, page), theirs = *linux_word(p, page);

		MUST(ours == theirs, "page %llu: the model says %llx, Linux %llx",
		     (unsigned long long)page, (unsigned long long)ours, (unsigned long long)theirs);
	}
}

static void sequence(u64 npages)
{
	struct pair p = {.npages = npages, .fd = memfd_create("store", MFD_CLOEXEC)};

	sched_begin();
	p.model = model_create();
	MUST(!model_store_ops.create(p.model, npages, false, &p.store), "no store");
	MUST(p.fd >= 0 && !ftruncate(p.fd, (off_t)(npages * PAGE_SIZE)), "no memfd");
	p.map = mmap(NULL, npages * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, p.fd, 0);
	MUST(p.map != MAP_FAILED, "no mapping");
	for (step = 0; step < STEPS; step++) {
		one_step(&p);
		compare(&p);
		model_strangers_exit(p.model); /* there are few frames */
	}
	model_store_ops.destroy(p.store);
	model_destroy(p.model);
	sched_end();
	MUST(sched_verdict() == SCHED_OK, "%s", sched_why());
	munmap(p.map, npages * PAGE_SIZE);
	close(p.fd);
}

int main(int argc, char **argv)
{
	u64 first = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
	u64 sequences = argc > 2 ? strtoull(argv[2], NULL, 0) : 60;

	for (seed = first; seed < first + sequences; seed++) {
		rng = seed * 0x9e3779b97f4a7c15ULL + 1;
		sequence(seed % 2 ? SMALL : HUGE);
	}
	printf("%llu sequences from seed %llu\n", (unsigned long long)sequences,
	       (unsigned long long)first);
	return 0;
}
