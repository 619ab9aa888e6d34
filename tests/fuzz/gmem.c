/* SPDX-License-Identifier: MIT */
/*
 * gmem: create, bind, convert, punch, close and run in random order: two VMs whose guests write and
 * read, and threads that take what they use away, on one store. The oracle (gmem_oracle.h) judges
 * every word that a guest or the VMM finds.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include "gmem_vm.h"

#define VMS    2
#define OTHERS 2   /* threads that are no vCPU's */
#define OPS    600 /* of a thread in a round */
#define LOADS  400 /* of a guest at most, in one run */

struct thread {
	pthread_t id;
	struct rng rng;
	struct fuzz_vm *vm; /* whose vCPU it runs; NULL: it is another */
	struct heard heard;
};

static struct fuzz_vm vms[VMS], keeper; /* the keeper's file is there all the time */
static struct thread thread[VMS + OTHERS];
static u8 *mapped; /* the store, in a round where it may be mapped */
static pthread_barrier_t ready;
static u64 stores, loads, punches, conversions, rebinds, hand_overs;

static void count(u64 *n)
{
	__atomic_fetch_add(n, 1, __ATOMIC_RELAXED);
}

/* Pages that are worth a meeting: few, at the ends of large blocks. */
static u32 some_page(struct rng *r)
{
	static const u16 hot[] = {0, 1, 2, 511, 512, 513, 1023};

	if (rng_one_in(r, 16))
		return rng_next(r) % PAGES;
	return hot[rng_next(r) % ARRAY_SIZE(hot)];
}

static u32 some_range(struct rng *r, u32 *n)
{
	u32 page = some_page(r);

	switch (rng_next(r) % 8) {
	case 0:
		*n = PAGES;
		return 0;
	case 1:
		*n = 512;
		return page & 512;
	case 2:
		*n = 1 + rng_next(r) % (PAGES - page);
		return page;
	default:
		*n = 1;
		return page;
	}
}

/* ------------------------------------------------------------------ a vCPU's thread */

/* Nothing changed all along, so nothing but a signal may have stopped it. */
static void check_end(struct fuzz_vm *v, const struct fuzz_moment *m, int r)
{
	if (!r || r == -EINTR || r == -EAGAIN)
		return;
	MUST(r == -ENOENT || r == -EFAULT, "a run ends with %d", r);
	MUST(!fuzz_vm_bound_since(v, m) || !fuzz_vm_attribute_since(v, m),
	     "a bound page cannot be reached: %d", r);
}

static enum where where(struct fuzz_vm *v, const struct fuzz_moment *m)
{
	if (!v->protected)
		return IN_STORE;
	if (!fuzz_vm_attribute_since(v, m))
		return SOMEWHERE;
	return m->private_ ? IN_STORE : IN_SHARED;
}

static void guest_stores(struct thread *t)
{
	u32 page = some_page(&t->rng), word = oracle_new(t->vm->number, page);
	struct fuzz_moment m = fuzz_vm_now(t->vm, page);
	int r;

	if (!word)
		return;
	r = fuzz_vm_store(t->vm, page, word);
	oracle_written(word, where(t->vm, &m));
	check_end(t->vm, &m, r);
	count(&stores);
}

static void guest_loads(struct thread *t)
{
	u32 page = some_page(&t->rng), times = 1 + rng_next(&t->rng) % LOADS, word, done;
	struct fuzz_moment m = fuzz_vm_now(t->vm, page);
	int r = fuzz_vm_load(t->vm, page, times, &word, &done);

	check_end(t->vm, &m, r);
	if (!r)
		oracle_found(word, t->vm->number, page, where(t->vm, &m), done);
	count(&loads);
}

/* The VM goes, and another carries on with its store. */
static void hand_over(struct thread *t)
{
	struct fuzz_vm *v = t->vm;

	pthread_rwlock_wrlock(&v->life);
	fuzz_vm_end(v);
	fuzz_vm_make(v, v->number, v->protected, keeper.file);
	pthread_rwlock_unlock(&v->life);
	count(&hand_overs);
}

static void vcpu_op(struct thread *t)
{
	u32 page, n, what = rng_next(&t->rng) % 256;

	if (what < 100) {
		guest_stores(t);
	} else if (what < 240) {
		guest_loads(t);
	} else if (what < 255) {
		page = some_range(&t->rng, &n);
		fuzz_vm_prefault(t->vm, page, n);
	} else {
		hand_over(t);
	}
}

/* ------------------------------------------------------------------ the others */

static void punch(struct fuzz_vm *v, struct rng *r)
{
	u32 n, page = some_range(r, &n);
	u64 len = n * PAGE_SIZE;
	long err;

	if (rng_one_in(r, 8) && page + n == PAGES)
		len += rng_next(r) % 64 * PAGE_SIZE; /* past the end is nothing more */
	pthread_mutex_lock(&v->bind_lock); /* keeps its file */
	oracle_punch_begins(page, n);
	err = calls_fallocate(v->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			      (off_t)(page * PAGE_SIZE), (off_t)len);
	MUST(!err, "a punch ends with %ld", err);
	oracle_punch_ends(page, n);
	pthread_mutex_unlock(&v->bind_lock);
	count(&punches);
}

static void allocate(struct fuzz_vm *v, struct rng *r)
{
	u32 n, page = some_range(r, &n);
	long err = calls_fallocate(v->file, FALLOC_FL_KEEP_SIZE, (off_t)(page * PAGE_SIZE),
				   (off_t)(n * PAGE_SIZE));

	MUST(!err, "an allocation ends with %ld", err);
}

/* What nobody may call so, at least not with success. */
static void odd_fallocate(struct fuzz_vm *v, struct rng *r)
{
	off_t off = (off_t)(rng_next(r) | 1), len = (off_t)rng_next(r) + 1;
	long err = calls_fallocate(v->file, (int)(rng_next(r) % 256), off, len);

	MUST(err < 0, "an odd fallocate ends with %ld", err);
}

static u32 *vmm_word(struct fuzz_vm *v, u32 page)
{
	return (u32 *)((v->protected ? v->shared : mapped) + page * PAGE_SIZE);
}

static void vmm_stores(struct fuzz_vm *v, struct rng *r)
{
	u32 page = some_page(r), word = oracle_new(v->number, page);

	if (!word)
		return;
	__atomic_store_n(vmm_word(v, page), word, __ATOMIC_SEQ_CST);
	oracle_written(word, v->protected ? IN_SHARED : IN_STORE);
}

static void vmm_looks_at(struct fuzz_vm *v, u32 page)
{
	u32 done = __atomic_load_n(&punches_done[page], __ATOMIC_SEQ_CST);

	oracle_found(__atomic_load_n(vmm_word(v, page), __ATOMIC_SEQ_CST), v->number, page,
		     v->protected ? IN_SHARED : IN_STORE, done);
}

static void vmm_looks(struct fuzz_vm *v, struct rng *r)
{
	u32 n, page = some_range(r, &n);

	for (u32 i = page; i < page + n; i++)
		vmm_looks_at(v, i);
}

static void vmm_drops(struct fuzz_vm *v, struct rng *r)
{
	u32 n, page = some_range(r, &n);

	calls_change(v->shared + page * PAGE_SIZE, n * PAGE_SIZE, CHANGE_ZAP);
}

static void convert(struct fuzz_vm *v, struct rng *r)
{
	u32 n, page = some_range(r, &n);

	if (v->protected)
		fuzz_vm_convert(v, page, n, rng_next(r) & 1);
	count(&conversions);
}

static int child(void *arg)
{
	struct fuzz_vm *v = arg;

	alarm(ROUND_SECONDS / 2);
	calls_fallocate(v->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, BYTES);
	calls_close(v->file);
	calls_close(v->vm);
	return 0;
}

/* A child's calls touch nothing of ours. */
static void fork_one(struct fuzz_vm *v)
{
	int r;

	pthread_mutex_lock(&v->bind_lock);
	r = calls_fork(child, v);
	pthread_mutex_unlock(&v->bind_lock);
	MUST(!r, "a child ends with %d", r);
}

static void other_op(struct thread *t)
{
	struct rng *r = &t->rng;
	struct fuzz_vm *v = rng_one_in(r, 8) ? &keeper : &vms[rng_next(r) % VMS];
	u32 what = rng_next(r) % 1024;

	if (what < 60) {
		u32 i = rng_next(r) % VMS;

		heard_ask(&thread[i].heard, CALLS_SIGNAL);
		return;
	}
	pthread_rwlock_rdlock(&v->life);
	if (what < 350) {
		punch(v, r);
	} else if (what < 650) {
		convert(v, r);
	} else if (what < 700) {
		fuzz_vm_rebind(v, r, keeper.file);
		count(&rebinds);
	} else if (what < 780) {
		vmm_stores(v, r);
	} else if (what < 950) {
		vmm_looks(v, r);
	} else if (what < 970) {
		vmm_drops(v, r);
	} else if (what < 990) {
		allocate(&keeper, r);
	} else if (what < 1020) {
		odd_fallocate(&keeper, r);
	} else {
		fork_one(v);
	}
	pthread_rwlock_unlock(&v->life);
}

/* ------------------------------------------------------------------ rounds */

static void *work(void *arg)
{
	struct thread *t = arg;

	heard_listen(&t->heard);
	pthread_barrier_wait(&ready);
	for (unsigned n = 0; n < OPS; n++) {
		if (t->vm)
			vcpu_op(t);
		else
			other_op(t);
	}
	heard_leave();
	return NULL;
}

static void make_all(bool protected)
{
	pthread_rwlock_wrlock(&keeper.life);
	fuzz_vm_make(&keeper, VMS, protected, -1);
	mapped = protected ? NULL : calls_map_vcpu(keeper.file, BYTES, 0);
	MUST(protected || mapped, "the store cannot be mapped");
	for (unsigned i = 0; i < VMS; i++) {
		pthread_rwlock_wrlock(&vms[i].life);
		fuzz_vm_make(&vms[i], i, protected, keeper.file);
		pthread_rwlock_unlock(&vms[i].life);
	}
	pthread_rwlock_unlock(&keeper.life);
}

/* Nobody is at work any more: every page once. */
static void look_at_all(void)
{
	for (unsigned i = 0; i < VMS; i++) {
		for (u32 page = 0; page < PAGES; page++)
			vmm_looks_at(&vms[i], page);
	}
}

static void end_all(void)
{
	for (unsigned i = 0; i < VMS; i++)
		fuzz_vm_end(&vms[i]);
	if (mapped)
		calls_unmap_vcpu((void *)mapped, BYTES);
	fuzz_vm_end(&keeper);
}

static void one_round(struct rng *r, u64 round)
{
	oracle_reset();
	make_all(round % 3 != 2);
	pthread_barrier_init(&ready, NULL, ARRAY_SIZE(thread) + 1);
	for (unsigned i = 0; i < ARRAY_SIZE(thread); i++) {
		thread[i].rng = rounds_rng(r, i);
		thread[i].vm = i < VMS ? &vms[i] : NULL;
		MUST(!pthread_create(&thread[i].id, NULL, work, &thread[i]), "thread");
	}
	pthread_barrier_wait(&ready);
	for (unsigned i = ARRAY_SIZE(thread); i-- > 0;)
		pthread_join(thread[i].id, NULL);
	pthread_barrier_destroy(&ready);
	look_at_all();
	end_all();
}

static void locks_init(struct fuzz_vm *v)
{
	pthread_rwlock_init(&v->life, NULL);
	pthread_mutex_init(&v->bind_lock, NULL);
	pthread_mutex_init(&v->convert_lock, NULL);
}

static void init(void)
{
	oracle_init();
	locks_init(&keeper);
	for (unsigned i = 0; i < VMS; i++)
		locks_init(&vms[i]);
}

static void print(void)
{
	printf("%llu guest stores, %llu loads, %llu punches, %llu conversions, %llu rebinds, %llu "
	       "hand-overs\n",
	       (unsigned long long)stores, (unsigned long long)loads, (unsigned long long)punches,
	       (unsigned long long)conversions, (unsigned long long)rebinds,
	       (unsigned long long)hand_overs);
}

int main(int argc, char **argv)
{
	static const struct rounds rounds = {init, one_round, print, .leak_rounds = 16};

	return rounds_main(argc, argv, &rounds);
}
