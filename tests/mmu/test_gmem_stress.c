/* SPDX-License-Identifier: MIT */
/*
 * Two VMs on one store: vCPUs write, convert and read back their own pages and look at
 * everybody's, while other threads punch holes through either VM's file and look at the shared
 * mapping. Every byte is checked.
 *
 * Each page of VM A has one vCPU that owns it: it alone writes and converts it, and knows
 * whether it is private. A word says which page it was written to, whether that was private
 * then, and a number that only grows. So:
 *   - the owner finds what it wrote last to this kind of memory, or, where a hole may have been
 *     punched since, zero; after its own punch, zero;
 *   - nobody finds a private word that was complete before a punch that has returned;
 *   - nobody finds a private word in the shared mapping, nor one of another page anywhere.
 * VM B has all of the store private, and only looks.
 *
 * usage: test_mmu_gmem_stress [seconds [seed]]
 */
#include "harness.h"

#include "mmu/gmem.h"

#define MB	(1ULL << 20)
#define GPA	(16 * MB)
#define SIZE	(8 * MB)
#define PAGES	(SIZE / PAGE_SIZE)
#define MIXED	1024 /* pages with owners in turn; those after have one per 2 MiB */
#define WORDS	(PAGE_SIZE / 8)
#define VCPUS	3
#define PRIVATE (1ULL << 63)
#define BATCH	8 /* pages an owner looks after before its next safe point */

static double seconds = 2;
static unsigned seed = 1;

static struct {
	struct hvm a, b;
	struct gmem_file *file_a, *file_b;
	u64 *shared;
	u64 written[PAGES];		/* atomic: private number that is complete */
	u64 floor[PAGES];		/* atomic: private numbers that a punch has taken */
	u64 begun[PAGES], ended[PAGES]; /* atomic: punches */
	u64 nr_punches, nr_conversions, nr_reads;
	bool stop;
} s;

struct guest {
	struct hvcpu *h;
	unsigned rng;
	u32 index;
};

/* What an owner knows of its pages. */
static struct {
	bool private_;
	u64 number[2]; /* last written, of shared and of private memory; 0: zeroes */
	u64 begun;     /* punches begun when the private one was begun to be written */
	bool exact;    /* and none was in progress then */
	u64 next;
} own[PAGES];

#define LOAD(x)	    __atomic_load_n(&(x), __ATOMIC_SEQ_CST)
#define STORE(x, v) __atomic_store_n(&(x), (v), __ATOMIC_SEQ_CST)
#define ADD(x, v)   __atomic_fetch_add(&(x), (v), __ATOMIC_SEQ_CST)

static u64 word(u64 page, bool private_, u64 number)
{
	return number ? (private_ ? PRIVATE : 0) | number << 16 | page : 0;
}

static void bad(const char *what, u64 page, u64 found, u64 expected)
{
	fprintf(stderr, "%s: page %lu holds %#lx, not %#lx (seed %u)\n", what, page, found,
		expected, seed);
	abort();
}

static u32 owner(u64 page)
{
	return (page < MIXED ? page : page / 512) % VCPUS;
}

static void raise_to(u64 *p, u64 v)
{
	u64 was = LOAD(*p);

	while (was < v && !__atomic_compare_exchange_n(p, &was, v, false, __ATOMIC_SEQ_CST,
						       __ATOMIC_SEQ_CST))
		;
}

static u64 load(struct guest *g, gpa_t gpa)
{
	u64 v = ~0ULL;
	int r = guest_load(g->h, gpa, &v);

	if (r)
		bad("a read fails", (gpa - GPA) / PAGE_SIZE, (u64)-r, 0);
	return v;
}

/* ------------------------------------------------------------------ what anybody may find */

static void judge(u64 page, u64 found, u64 floor, const char *who)
{
	if (!found)
		return;
	if ((found & 0xffff) != page)
		bad(who, page, found, page);
	if ((found & PRIVATE) && (found & ~PRIVATE) >> 16 <= floor)
		bad("what was punched away is read", page, found, floor << 16);
}

static void look(struct guest *g)
{
	u64 page = rand_r(&g->rng) % PAGES, at = rand_r(&g->rng) % WORDS;
	u64 floor = LOAD(s.floor[page]);

	judge(page, load(g, GPA + page * PAGE_SIZE + at * 8), floor,
	      "a page's bytes in another");
	ADD(s.nr_reads, 1);
}

/* ------------------------------------------------------------------ an owner and its pages */

static void punch(struct gmem_file *f, u64 first, u64 n)
{
	u64 number[64];

	assert_true(n <= ARRAY_SIZE(number));
	for (u64 i = 0; i < n; i++) {
		ADD(s.begun[first + i], 1);
		number[i] = LOAD(s.written[first + i]);
	}
	assert_int_equal(gmem_punch(f, first * PAGE_SIZE, n * PAGE_SIZE), 0);
	for (u64 i = 0; i < n; i++) {
		raise_to(&s.floor[first + i], number[i]);
		ADD(s.ended[first + i], 1);
	}
	ADD(s.nr_punches, 1);
}

static void write_page(struct guest *g, u64 page)
{
	bool private_ = own[page].private_;
	u64 number = ++own[page].next;

	if (private_) {
		own[page].begun = LOAD(s.begun[page]);
		own[page].exact = own[page].begun == LOAD(s.ended[page]);
	}
	for (u64 i = 0; i < WORDS; i++) {
		int r = guest_store(g->h, GPA + page * PAGE_SIZE + i * 8,
				    word(page, private_, number));

		if (r)
			bad("a write fails", page, (u64)-r, 0);
	}
	own[page].number[private_] = number;
	if (private_)
		STORE(s.written[page], number);
}

static void check_page(struct guest *g, u64 page)
{
	bool private_ = own[page].private_;
	u64 expected = word(page, private_, own[page].number[private_]);
	u64 found[WORDS];
	bool exact;

	for (u64 i = 0; i < WORDS; i++)
		found[i] = load(g, GPA + page * PAGE_SIZE + i * 8);
	exact = !private_ || (own[page].exact && LOAD(s.begun[page]) == own[page].begun);
	for (u64 i = 0; i < WORDS; i++) {
		if (found[i] != expected && (exact || found[i]))
			bad(private_ ? "private memory" : "shared memory", page, found[i],
			    expected);
	}
}

static void convert(u64 page, u64 n)
{
	bool to = !own[page].private_;

	assert_int_equal(mmu_set_attributes(s.a.mmu, GPA / PAGE_SIZE + page, n,
					    to ? MMU_ATTR_PRIVATE : 0),
			 0);
	for (u64 i = page; i < page + n; i++)
		own[i].private_ = to;
	ADD(s.nr_conversions, 1);
}

/* Outside guest mode. */
static void convert_some(struct guest *g, u64 page)
{
	if (page < MIXED)
		convert(page, 1);
	else
		convert(page & ~511ULL, 512);
}

static void punch_own(struct guest *g, u64 page)
{
	punch(s.file_a, page, 1);
	own[page].number[1] = 0;
	own[page].begun = LOAD(s.begun[page]);
	own[page].exact = own[page].begun == LOAD(s.ended[page]);
}

static void look_after(struct guest *g)
{
	u64 page = rand_r(&g->rng) % PAGES;
	u32 what = rand_r(&g->rng) % 8;

	while (owner(page) != g->index)
		page = (page + 1) % PAGES;
	if (what < 3) {
		write_page(g, page);
	} else if (what < 6) {
		check_page(g, page);
	} else {
		mmu_vcpu_leave(&g->h->v);
		if (what == 6)
			convert_some(g, page);
		else
			punch_own(g, page);
		mmu_vcpu_enter(&g->h->v);
		check_page(g, page);
	}
}

static void run_owner(struct hvcpu *h, void *arg)
{
	struct guest *g = arg;

	for (int i = 0; i < BATCH; i++) {
		look_after(g);
		for (int k = 0; k < 16; k++)
			look(g);
	}
}

static void run_looker(struct hvcpu *h, void *arg)
{
	for (int i = 0; i < 64; i++)
		look(arg);
}

/* ------------------------------------------------------------------ the VMM's threads */

static void *punch_at_random(void *arg)
{
	unsigned rng = seed + 100;

	while (!LOAD(s.stop)) {
		u64 n = 1 + rand_r(&rng) % 64, first = rand_r(&rng) % (PAGES - n + 1);

		punch(rand_r(&rng) % 2 ? s.file_a : s.file_b, first, n);
		usleep(rand_r(&rng) % 300);
	}
	return NULL;
}

static void *watch_the_mapping(void *arg)
{
	unsigned rng = seed + 200;

	while (!LOAD(s.stop)) {
		u64 page = rand_r(&rng) % PAGES, at = rand_r(&rng) % WORDS;
		u64 found = LOAD(s.shared[page * WORDS + at]);

		if (found & PRIVATE)
			bad("private bytes in the shared mapping", page, found, 0);
		judge(page, found, 0, "the shared mapping");
	}
	return NULL;
}

/* Come and go beside them: bindings of a third file, in a VM that lives for a moment. */
static void *visit(void *arg)
{
	unsigned rng = seed + 300;

	while (!LOAD(s.stop)) {
		struct mmu_region r = {.flags = MMU_SLOT_GMEM, .gpa = GPA, .size = SIZE};
		struct gmem_file *file;
		struct hvcpu *h;
		struct hvm vm;
		u64 page = rand_r(&rng) % PAGES, floor, v;

		hvm_init(&vm);
		assert_int_equal(gmem_link(s.file_a, vm.mmu, &file), 0);
		r.gmem = file;
		r.hva = (hva_t)s.shared;
		assert_int_equal(
			mmu_set_attributes(vm.mmu, GPA / PAGE_SIZE, PAGES, MMU_ATTR_PRIVATE),
			0);
		assert_int_equal(mmu_set_region(vm.mmu, &r), 0);
		h = hvcpu_new(&vm, 0);
		floor = LOAD(s.floor[page]);
		assert_int_equal(guest_load_once(h, GPA + page * PAGE_SIZE, &v), 0);
		judge(page, v, floor, "a visitor");
		hvcpu_free(h);
		if (rand_r(&rng) % 2)
			assert_int_equal(hvm_slot(&vm, 0, 0, 0, 0, NULL), 0);
		gmem_release(file);
		hvm_fini(&vm);
		usleep(1000);
	}
	return NULL;
}

/* ------------------------------------------------------------------ */

static void bind_all(struct hvm *vm, struct gmem_file *file)
{
	struct mmu_region r = {.flags = MMU_SLOT_GMEM,
			       .gpa = GPA,
			       .size = SIZE,
			       .hva = (hva_t)s.shared,
			       .gmem = file};

	assert_int_equal(mmu_set_region(vm->mmu, &r), 0);
}

static void start(struct guest *g, struct hvm *vm, u32 index,
		  void (*body)(struct hvcpu *h, void *arg))
{
	g->h = hvcpu_new(vm, index);
	g->index = index;
	g->rng = seed * 31 + index + (vm == &s.b);
	hvcpu_start(g->h, body, g);
}

static void private_shared_and_punched(void **state)
{
	void *(*const helpers[])(void *arg) = {punch_at_random, watch_the_mapping, visit};
	pthread_t helper[ARRAY_SIZE(helpers)];
	struct guest a[VCPUS] = {0}, b = {0};

	hvm_init(&s.a);
	hvm_init(&s.b);
	s.shared = map_aligned(SIZE, 2 * MB, MAP_SHARED);
	assert_int_equal(gmem_create(s.a.mmu, SIZE, 0, &s.file_a), 0);
	assert_int_equal(gmem_link(s.file_a, s.b.mmu, &s.file_b), 0);
	bind_all(&s.a, s.file_a);
	bind_all(&s.b, s.file_b);
	assert_int_equal(mmu_set_attributes(s.b.mmu, GPA / PAGE_SIZE, PAGES, MMU_ATTR_PRIVATE),
			 0);
	for (u32 i = 0; i < VCPUS; i++)
		start(&a[i], &s.a, i, run_owner);
	start(&b, &s.b, 0, run_looker);
	for (u32 i = 0; i < ARRAY_SIZE(helpers); i++)
		assert_int_equal(pthread_create(&helper[i], NULL, helpers[i], NULL), 0);
	usleep((useconds_t)(seconds * 1e6));
	STORE(s.stop, true);
	for (u32 i = 0; i < ARRAY_SIZE(helpers); i++)
		pthread_join(helper[i], NULL);
	hvcpu_stop(b.h);
	hvcpu_free(b.h);
	for (u32 i = 0; i < VCPUS; i++) {
		hvcpu_stop(a[i].h);
		hvcpu_free(a[i].h);
	}
	gmem_release(s.file_b);
	hvm_fini(&s.b);
	gmem_release(s.file_a);
	hvm_fini(&s.a);
	munmap(s.shared, SIZE);
	assert_int_equal(mmu_imbalances, 0);
	printf("%lu conversions, %lu punches, %lu looks\n", s.nr_conversions, s.nr_punches,
	       s.nr_reads);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(private_shared_and_punched)};

	if (argc > 1)
		seconds = atof(argv[1]);
	if (argc > 2)
		seed = (unsigned)atoi(argv[2]);
	printf("%g seconds, seed %u\n", seconds, seed);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
