/* SPDX-License-Identifier: MIT */
/*
 * The model is Linux's, not ours: random sequences of mmap, munmap, mremap, mprotect, ftruncate,
 * punch, fork, reads and writes on the model and on this process, at the same addresses, with the
 * model's own writeback, swap, merging and migration in between. After each step every
 * page must show the same bytes or the same signal, and each call the same errno; what a forked
 * child sees must agree as well.
 *
 * usage: conformance [SEED [SEQUENCES]]
 */
#include <fcntl.h>
#include <sys/mman.h>

#include "compare_fork.h"

#define STEPS 120
#define NFILES 2

static struct model *model;
static struct model_file *file[NFILES];
static int fd[NFILES];

static hva_t address(u64 page)
{
	return MODEL_VA + page * PAGE_SIZE;
}

static int real_access(u64 page, bool write, u64 *value)
{
	return real_access_at(address(page), write, value);
}

/* ------------------------------------------------------------------ steps */

static void compare_all(void)
{
	for (u64 page = 0; page < MODEL_VA_PAGES; page++) {
		u64 ours = 0, theirs = 0;
		int r = model_read(model, address(page), &ours);
		int real = real_access(page, false, &theirs);

		if (r != real)
			fail("a read", page, r, real);
		if (ours != theirs)
			fail("the word", page, (s64)ours, (s64)theirs);
	}
}

static void do_write(void)
{
	u64 page = below(MODEL_VA_PAGES), value = below(1000000) + 1, copy = value;
	int r = model_write(model, address(page), value);
	int real = real_access(page, true, &copy);

	if (r != real)
		fail("a write", page, r, real);
}

static u64 some_pages(u64 at)
{
	return 1 + below(MIN(4, MODEL_VA_PAGES - at));
}

static void do_mmap(void)
{
	u64 page = below(MODEL_VA_PAGES), n = some_pages(page), f = below(NFILES + 1);
	u64 index = below(MODEL_FILE_PAGES);
	bool anonymous = f == NFILES, writable = below(4);
	int prot = PROT_READ | (writable ? PROT_WRITE : 0);
	void *p;

	if (anonymous)
		p = mmap((void *)address(page), n * PAGE_SIZE, prot,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	else
		p = mmap((void *)address(page), n * PAGE_SIZE, prot, MAP_SHARED | MAP_FIXED, fd[f],
			 (off_t)(index * PAGE_SIZE));
	if (p == MAP_FAILED)
		fail("mmap", page, 0, errno);
	model_mmap(model, address(page), n, writable, anonymous ? NULL : file[f], index);
}

static void do_munmap(void)
{
	u64 page = below(MODEL_VA_PAGES), n = some_pages(page);

	if (munmap((void *)address(page), n * PAGE_SIZE))
		fail("munmap", page, 0, errno);
	model_munmap(model, address(page), n);
}

/* Of one mapping as the model has them; or of nothing, to where nothing is. What a failed mremap has
 * done to its target is not the same in all kernels. */
static void do_mremap(void)
{
	u64 from = below(MODEL_VA_PAGES), to = below(MODEL_VA_PAGES), n = some_pages(MAX(from, to));
	const struct vma *v = model_vma(model, address(from));
	int r, real;

	if (from < to + n && to < from + n)
		return;
	if (v)
		n = MIN(n, v->npages - ((address(from) - v->start) >> PAGE_SHIFT));
	else
		n = 1;
	if (!v && model_vma(model, address(to)))
		return;
	real = mremap((void *)address(from), n * PAGE_SIZE, n * PAGE_SIZE,
		      MREMAP_MAYMOVE | MREMAP_FIXED, (void *)address(to)) == MAP_FAILED
		       ? -errno
		       : 0;
	r = model_mremap(model, address(from), n, address(to));
	if (r != real)
		fail("mremap", from, r, real);
}

static void do_mprotect(void)
{
	u64 page = below(MODEL_VA_PAGES), n = some_pages(page);
	bool writable = below(2);
	int prot = PROT_READ | (writable ? PROT_WRITE : 0);
	int real = mprotect((void *)address(page), n * PAGE_SIZE, prot) ? -errno : 0;
	int r = model_mprotect(model, address(page), n, writable);

	if (r != real)
		fail("mprotect", page, r, real);
}

static void do_truncate(void)
{
	u64 f = below(NFILES), n = below(MODEL_FILE_PAGES + 1);

	if (ftruncate(fd[f], (off_t)(n * PAGE_SIZE)))
		fail("ftruncate", n, 0, errno);
	if (n < model_file_pages(file[f]))
		model_truncate(model, file[f], n);
	else
		model_extend(model, file[f], n);
}

static void do_punch(void)
{
	u64 f = below(NFILES), index = below(MODEL_FILE_PAGES);

	if (fallocate(fd[f], FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)(index * PAGE_SIZE),
		      PAGE_SIZE))
		fail("punch", index, 0, errno);
	model_punch(model, file[f], index);
}

/* What a kernel does by itself, and no process can see. */
static void do_housekeeping(void)
{
	u64 page = below(MODEL_VA_PAGES), f = below(NFILES);

	switch (below(4)) {
	case 0:
		model_writeback(model, file[f], below(MODEL_FILE_PAGES));
		break;
	case 1:
		model_swap_out(model, address(page));
		break;
	case 2:
		model_merge(model, address(page), address(below(MODEL_VA_PAGES)));
		break;
	default:
		model_migrate(model, address(page));
	}
}

/* ------------------------------------------------------------------ fork */

static void random_step(bool in_fork);

static void go_on_in_parent(void)
{
	for (u64 n = below(8); n--;)
		random_step(true);
}

static void random_step(bool in_fork)
{
	switch (below(in_fork ? 30 : 31)) {
	case 0 ... 8:
		do_write();
		break;
	case 9 ... 12:
		do_mmap();
		break;
	case 13 ... 15:
		do_munmap();
		break;
	case 16 ... 18:
		do_mremap();
		break;
	case 19 ... 20:
		do_truncate();
		break;
	case 21 ... 22:
		do_punch();
		break;
	case 23 ... 26:
		do_housekeeping();
		break;
	case 27 ... 29:
		do_mprotect();
		break;
	default:
		compare_fork(model, MODEL_VA_PAGES, address, go_on_in_parent);
	}
	compare_all();
}

static void sequence(void)
{
	begin_random();
	sched_begin();
	catch_faults();
	model = model_create();
	for (u64 f = 0; f < NFILES; f++) {
		file[f] = model_file_create(model, MODEL_FILE_CACHED, MODEL_FILE_PAGES);
		fd[f] = memfd_create("conformance", MFD_CLOEXEC);
		if (fd[f] < 0 || ftruncate(fd[f], MODEL_FILE_PAGES * PAGE_SIZE))
			fail("memfd", f, 0, errno);
	}
	for (step = 0; step < STEPS; step++)
		random_step(false);
	munmap((void *)MODEL_VA, MODEL_VA_PAGES * PAGE_SIZE);
	for (u64 f = 0; f < NFILES; f++)
		close(fd[f]);
	model_destroy(model);
	sched_end();
	if (sched_verdict() != SCHED_OK) {
		fprintf(stderr, "seed %llu: %s\n", (unsigned long long)seed, sched_why());
		exit(1);
	}
}

int main(int argc, char **argv)
{
	u64 first = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
	u64 n = argc > 2 ? strtoull(argv[2], NULL, 0) : 200;

	for (seed = first; seed < first + n; seed++)
		sequence();
	printf("%llu sequences of %d steps from seed %llu: model and Linux agree\n",
	       (unsigned long long)n, STEPS, (unsigned long long)first);
	return 0;
}
