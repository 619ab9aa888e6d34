/* SPDX-License-Identifier: MIT */
/*
 * vCPUs read and write while the VMM changes its mappings at random; every byte is checked.
 *
 * Two areas of guest memory:
 *   - replaced pages: each change puts other memory behind a page, stamped with a number that only
 *     grows. A read must find a stamp between the last change that was complete when it began and
 *     the last that had begun when it was over. A page may also be away (EFAULT, or MMIO while
 *     its slot is deleted), but only while the VMM says so.
 *   - kept pages: changes that keep the bytes (protection to and fro, logging on and off,
 *     slots deleted and made anew, harvests). Each vCPU counts in a word of its own; a count
 *     that is not what it wrote last is a lost write. A harvest that does not name a page must find
 *     it as the harvest before left it.
 *
 * usage: test_mmu_stress [seconds [seed]]
 */
#include <fcntl.h>
#include "harness.h"

#define REPLACED 32 /* pages */
#define KEPT	 64
#define VCPUS	 2
#define GPA_R	 0x200000ULL
#define GPA_K	 0x600000ULL
#define FILE_LEN (4096ULL * 4096)

static u64 seconds;
static unsigned seed = 1;

static struct {
	struct hvm vm;
	char *replaced, *spare, *kept;
	int fd; /* shared memory behind some of them */
	u64 next_off, stamp;
	u64 floor[REPLACED], ceil[REPLACED]; /* atomic: stamps */
	/*
	 * A change that takes a page away is running before it is counted. A vCPU looks at the count
	 * and then whether one runs: it has seen the change, or finds another count afterwards.
	 */
	u32 away[REPLACED];  /* atomic: changes that take the page away, running */
	u64 aways[REPLACED]; /* atomic: such changes so far */
	u32 kept_away;
	u64 kept_aways;
	bool shared;
	unsigned seed;
} s;

struct guest {
	struct hvcpu *h;
	unsigned seed;
	u32 index;
	u64 count[KEPT]; /* last value written to this vCPU's word of each page */
	u64 reads, writes, holes;
};

#define LOAD(x)	    __atomic_load_n(&(x), __ATOMIC_SEQ_CST)
#define STORE(x, v) __atomic_store_n(&(x), (v), __ATOMIC_SEQ_CST)
#define ADD(x, v)   __atomic_fetch_add(&(x), (v), __ATOMIC_SEQ_CST)

static void bad(const char *what, u64 page, u64 found, u64 low, u64 high)
{
	fprintf(stderr, "%s: page %lu holds %lu, expected %lu to %lu (seed %u)\n", what, page,
		found, low, high, seed);
	abort();
}

/* ------------------------------------------------------------------ guests */

static void read_replaced(struct guest *g)
{
	u64 p = (u64)rand_r(&g->seed) % REPLACED, v;
	u64 aways = LOAD(s.aways[p]), low = LOAD(s.floor[p]);
	bool away = LOAD(s.away[p]);
	int r = guest_load(g->h, GPA_R + p * 4096, &v);

	if (r) {
		g->holes++;
		if (!away && LOAD(s.aways[p]) == aways)
			bad("a page that was there cannot be reached", p, (u64)-r, 0, 0);
		return;
	}
	if (v < low || v > LOAD(s.ceil[p]))
		bad("stale or foreign byte", p, v, low, LOAD(s.ceil[p]));
	g->reads++;
}

static void count_kept(struct guest *g)
{
	u64 p = (u64)rand_r(&g->seed) % KEPT, v;
	gpa_t at = GPA_K + p * 4096 + 8 * (1 + g->index);
	u64 aways = LOAD(s.kept_aways);
	bool away = LOAD(s.kept_away);
	int r = guest_load(g->h, at, &v);

	if (!r && v != g->count[p])
		bad("lost write", p, v, g->count[p], g->count[p]);
	if (!r)
		r = guest_store(g->h, at, g->count[p] + 1);
	if (!r) {
		g->count[p]++;
		g->writes++;
		return;
	}
	g->holes++;
	if (!away && LOAD(s.kept_aways) == aways)
		bad("kept memory cannot be reached", p, (u64)-r, 0, 0);
}

static void run_guest(struct hvcpu *h, void *arg)
{
	struct guest *g = arg;

	/* Long ways between safe points give a flush that does not wait a chance to show. */
	for (int i = rand_r(&g->seed) % 64; i >= 0; i--) {
		if (rand_r(&g->seed) & 1)
			read_replaced(g);
		else
			count_kept(g);
	}
}

/* ------------------------------------------------------------------ the VMM */

static u64 pick(u64 n)
{
	return (u64)rand_r(&s.seed) % n;
}

/* Memory with the next stamp in its first word, somewhere else. */
static char *stamped(u64 npages, u64 stamp, u64 *off)
{
	char *p;

	*off = s.next_off;
	if (s.shared) {
		/* Offsets come round after a while, long after what was there has been replaced. */
		s.next_off = (s.next_off + npages * 4096) % (FILE_LEN - REPLACED * 4096);
		p = mmap(NULL, npages * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, s.fd,
			 (off_t)*off);
	} else {
		p = mmap(NULL, npages * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			 -1, 0);
	}
	if (p == MAP_FAILED)
		abort();
	for (u64 i = 0; i < npages; i++)
		*(u64 *)(p + i * 4096) = stamp;
	return p;
}

static void set_away(u64 first, u64 n, bool away)
{
	for (u64 i = first; i < first + n; i++) {
		ADD(s.away[i], away ? 1u : -1u);
		if (away)
			ADD(s.aways[i], 1);
	}
}

/* Put new memory behind some pages: mmap over them, or move pages in. */
static void replace(void)
{
	u64 first = pick(REPLACED), n = 1 + pick(REPLACED - first), off, stamp = ++s.stamp;
	char *from = stamped(n, stamp, &off), *to = s.replaced + first * 4096;
	bool by_mmap = s.shared && (pick(2));

	for (u64 i = first; i < first + n; i++)
		STORE(s.ceil[i], stamp);
	if (by_mmap) {
		hooked_mmap(to, n * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, s.fd, (off_t)off);
		munmap(from, n * 4096);
	} else {
		hooked_mremap(from, n * 4096, n * 4096, MREMAP_MAYMOVE | MREMAP_FIXED, to);
	}
	for (u64 i = first; i < first + n; i++)
		STORE(s.floor[i], stamp);
}

static void unmap_and_repair(void)
{
	u64 first = pick(REPLACED), n = 1 + pick(REPLACED - first), off, stamp = ++s.stamp;
	/* Made before the hole, which the kernel might choose for it. */
	char *from = stamped(n, stamp, &off), *to = s.replaced + first * 4096;

	set_away(first, n, true);
	hooked_munmap(to, n * 4096);
	for (u64 i = first; i < first + n; i++)
		STORE(s.ceil[i], stamp);
	hooked_mremap(from, n * 4096, n * 4096, MREMAP_MAYMOVE | MREMAP_FIXED, to);
	for (u64 i = first; i < first + n; i++)
		STORE(s.floor[i], stamp);
	set_away(first, n, false);
}

static void hide_and_show(void)
{
	u64 first = pick(KEPT), n = 1 + pick(KEPT - first);
	static const int prots[] = {PROT_NONE, PROT_READ};

	STORE(s.kept_away, 1);
	ADD(s.kept_aways, 1);
	hooked_mprotect(s.kept + first * 4096, n * 4096, prots[pick(2)]);
	hooked_mprotect(s.kept + first * 4096, n * 4096, PROT_READ | PROT_WRITE);
	STORE(s.kept_away, 0);
}

static void remake_slot(void)
{
	STORE(s.kept_away, 1);
	ADD(s.kept_aways, 1);
	if (hvm_slot(&s.vm, 1, 0, 0, 0, 0) ||
	    hvm_slot(&s.vm, 1, 0, GPA_K, KEPT * 4096, s.kept))
		abort();
	STORE(s.kept_away, 0);
}

static u64 sum_of(u64 page)
{
	u64 sum = 0;

	for (u32 v = 0; v < VCPUS; v++)
		sum += LOAD(((u64 *)(s.kept + page * 4096))[1 + v]);
	return sum;
}

/* Log for a while. Sums only grow, so one that moved is a write. */
static void log_a_while(void)
{
	u64 bits[KEPT / 64], last[KEPT], late[KEPT / 64] = {0};
	int rounds = 1 + (int)pick(20);

	if (hvm_slot(&s.vm, 1, MMU_SLOT_LOG_DIRTY, GPA_K, KEPT * 4096, s.kept))
		abort();
	for (u64 p = 0; p < KEPT; p++)
		last[p] = sum_of(p);
	for (int i = 0; i < rounds; i++) {
		if (mmu_dirty_get(s.vm.mmu, 1, bits))
			abort();
		for (u64 p = 0; p < KEPT; p++) {
			u64 sum = sum_of(p);

			/* Written after the read that made `last`, before this one: in this log,
			 * or after R, and then in the next. */
			if ((late[p / 64] >> (p % 64) & 1) && !(bits[p / 64] >> (p % 64) & 1))
				bad("a write is in no harvest", p, sum, last[p], last[p]);
			late[p / 64] &= ~BIT(p % 64);
			if (sum != last[p] && !(bits[p / 64] >> (p % 64) & 1))
				late[p / 64] |= BIT(p % 64);
			last[p] = sum;
		}
	}
	if (hvm_slot(&s.vm, 1, 0, GPA_K, KEPT * 4096, s.kept))
		abort();
}

static void advise(void)
{
	/* Drops the VMM's page tables of shared memory, and nothing else. */
	if (s.shared)
		hooked_madvise(s.kept, KEPT * 4096, MADV_DONTNEED);
	else
		hooked_madvise(s.kept, KEPT * 4096, MADV_COLD);
}

/* Another memory behind the same gfns, by their slot. */
static void swap_slot(void)
{
	char *other = s.spare;

	set_away(0, REPLACED, true);
	s.stamp++;
	for (u64 i = 0; i < REPLACED; i++) {
		*(u64 *)(other + i * 4096) = s.stamp;
		STORE(s.ceil[i], s.stamp);
	}
	if (hvm_slot(&s.vm, 0, 0, 0, 0, 0) ||
	    hvm_slot(&s.vm, 0, 0, GPA_R, REPLACED * 4096, other))
		abort();
	for (u64 i = 0; i < REPLACED; i++)
		STORE(s.floor[i], s.stamp);
	set_away(0, REPLACED, false);
	s.spare = s.replaced;
	s.replaced = other;
}

/* The VMM's own memory, which takes the addresses that windows leave. */
static void litter(void)
{
	static char *old[8];
	u64 i = pick(ARRAY_SIZE(old));

	if (old[i])
		munmap(old[i], REPLACED * 4096);
	old[i] = mmap(NULL, REPLACED * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		      -1, 0);
	for (u64 p = 0; p < REPLACED * 4096 / 8; p++)
		((u64 *)old[i])[p] = 1ULL << 60;
}

static void (*const changes[])(void) = {replace,     replace,	  unmap_and_repair, hide_and_show,
					remake_slot, log_a_while, advise,	    swap_slot};

/* ------------------------------------------------------------------ the test */

static void run(bool shared, u64 ns)
{
	struct guest g[VCPUS];
	u64 end = now_ns() + ns, n = 0, off;

	memset(&s, 0, sizeof(s));
	s.shared = shared;
	s.seed = seed;
	s.fd = memfd_create("stress", MFD_CLOEXEC);
	assert_int_equal(ftruncate(s.fd, FILE_LEN), 0);
	s.stamp = 1;
	s.replaced = map_aligned(REPLACED * 4096, 1 << 21, MAP_PRIVATE);
	mremap(stamped(REPLACED, 1, &off), REPLACED * 4096, REPLACED * 4096,
	       MREMAP_MAYMOVE | MREMAP_FIXED, s.replaced);
	s.spare = stamped(REPLACED, 1, &off);
	for (u64 i = 0; i < REPLACED; i++)
		s.floor[i] = s.ceil[i] = 1;
	s.kept = shared ? mmap(NULL, KEPT * 4096, PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_ANONYMOUS, -1, 0)
			: map_aligned(KEPT * 4096, 4096, MAP_PRIVATE);
	hvm_init(&s.vm);
	assert_int_equal(hvm_slot(&s.vm, 0, 0, GPA_R, REPLACED * 4096, s.replaced), 0);
	assert_int_equal(hvm_slot(&s.vm, 1, 0, GPA_K, KEPT * 4096, s.kept), 0);
	memset(g, 0, sizeof(g));
	for (u32 i = 0; i < VCPUS; i++) {
		g[i].index = i;
		g[i].seed = seed * 16 + i + 2;
		g[i].h = hvcpu_new(&s.vm, i);
		hvcpu_start(g[i].h, run_guest, &g[i]);
	}
	while (now_ns() < end) {
		changes[pick(ARRAY_SIZE(changes))]();
		litter();
		n++;
	}
	for (u32 i = 0; i < VCPUS; i++) {
		hvcpu_stop(g[i].h);
		hvcpu_free(g[i].h);
		print_message("%s vCPU %u: %lu reads, %lu writes, %lu holes, beside %lu changes\n",
			      shared ? "shared" : "private", i, g[i].reads, g[i].writes,
			      g[i].holes, n);
		assert_true(g[i].reads > 50 && g[i].writes > 50);
	}
	hvm_fini(&s.vm);
	munmap(s.replaced, REPLACED * 4096);
	munmap(s.spare, REPLACED * 4096);
	munmap(s.kept, KEPT * 4096);
	close(s.fd);
}

static void test_private_memory(void **state)
{
	run(false, seconds ? seconds * 500000000 : 600000000);
}

static void test_shared_memory(void **state)
{
	run(true, seconds ? seconds * 500000000 : 600000000);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_private_memory),
		cmocka_unit_test(test_shared_memory),
	};

	if (argc > 1)
		seconds = strtoul(argv[1], NULL, 10);
	if (argc > 2)
		seed = (unsigned)strtoul(argv[2], NULL, 10);
	return cmocka_run_group_tests_name("mmu stress", tests, NULL, NULL);
}
