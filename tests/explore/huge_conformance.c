/* SPDX-License-Identifier: MIT */
/*
 * As conformance.c, of huge pages: those that are split and collapse, and hugetlb files and their reservations. Where
 * there are no free ones of the latter, it says so.
 *
 * usage: huge_conformance [SEED [SEQUENCES]]
 */
#include <fcntl.h>
#include <sys/mman.h>

#include "compare_fork.h"
#include "kinds.h"

#define HUGE LEVEL_PAGES(LEVEL_2M)

/* Of headers that are older than what they name. */
#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

/* ------------------------------------------------------------------ huge pages */

/* Pages that are looked at: those that may be mapped by themselves, and one of the rest. */
#define LOOKED (MODEL_PARTS + 1)
#define REST   100

static hva_t huge_address(u64 n)
{
	return MODEL_HUGE_VA + (n < MODEL_PARTS ? n : REST) * PAGE_SIZE;
}

static void map_huge(void)
{
	void *p = mmap((void *)MODEL_HUGE_VA, HUGE * PAGE_SIZE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

	if (p == MAP_FAILED)
		fail("mmap", 0, 0, errno);
	madvise(p, HUGE * PAGE_SIZE, MADV_HUGEPAGE); /* there may be none: the bytes are the same */
	model_mmap(model, MODEL_HUGE_VA, HUGE, true, NULL, 0);
}

static void compare_huge(void)
{
	for (u64 n = 0; n < LOOKED; n++)
		compare_word(huge_address(n), n);
}

static void protect_part(u64 n)
{
	bool writable = below(2);
	int real = mprotect((void *)huge_address(n), PAGE_SIZE, PROT_READ | (writable ? PROT_WRITE : 0)) ? -errno : 0;
	int r = model_mprotect(model, huge_address(n), 1, writable);

	if (r != real)
		fail("mprotect", n, r, real);
}

static void drop_part(u64 n)
{
	madvise((void *)huge_address(n), PAGE_SIZE, MADV_DONTNEED);
	model_dontneed(model, huge_address(n));
}

static void unmap_part(u64 n)
{
	munmap((void *)huge_address(n), PAGE_SIZE);
	model_munmap(model, huge_address(n), 1);
}

/* What the kernel does by itself, when it likes; it is asked to where it can be. */
static void rearrange(u64 n)
{
	switch (below(5)) {
	case 0:
		model_split(model, MODEL_HUGE_VA);
		break;
	case 1:
		madvise((void *)MODEL_HUGE_VA, HUGE * PAGE_SIZE, MADV_COLLAPSE);
		model_collapse(model, MODEL_HUGE_VA);
		break;
	case 2:
		model_migrate(model, huge_address(n));
		break;
	case 3:
		madvise((void *)huge_address(n), PAGE_SIZE, MADV_PAGEOUT);
		model_swap_out(model, huge_address(n));
		break;
	default:
		model_merge(model, huge_address(n), huge_address(below(MODEL_PARTS)));
	}
}

/* Of the rest of the huge page nothing, which is copied as one here. */
static void go_on_in_parent(void)
{
	for (u64 i = below(6); i--;) {
		u64 n = below(MODEL_PARTS);

		if (below(3))
			write_word(huge_address(n), n);
		else
			drop_part(n);
	}
}

static void huge_step(void)
{
	u64 n = below(MODEL_PARTS);

	switch (below(20)) {
	case 0 ... 8:
		n = below(LOOKED);
		write_word(huge_address(n), n);
		break;
	case 9 ... 10:
		drop_part(n);
		break;
	case 11:
		protect_part(n);
		break;
	case 12:
		if (!below(3))
			unmap_part(n);
		break;
	case 13:
		if (!below(3))
			map_huge();
		break;
	case 14:
		compare_fork(model, LOOKED, huge_address, go_on_in_parent);
		break;
	default:
		rearrange(n);
	}
	compare_huge();
}

static void huge_sequence(void)
{
	begin();
	map_huge();
	for (step = 0; step < STEPS; step++)
		huge_step();
	munmap((void *)MODEL_HUGE_VA, HUGE * PAGE_SIZE);
	end();
}

/* ------------------------------------------------------------------ hugetlb */

static struct model_file *files[2];
static int fds[2];

/* Pages of the pool that nobody has or has reserved; of memory that others use as well: asked before each sequence. */
static u64 real_pool(void)
{
	unsigned long long free = 0, reserved = 0;
	char line[128];
	FILE *f = fopen("/proc/meminfo", "r");

	while (f && fgets(line, sizeof(line), f)) {
		sscanf(line, "HugePages_Free: %llu", &free);
		sscanf(line, "HugePages_Rsvd: %llu", &reserved);
	}
	if (f)
		fclose(f);
	return free - reserved;
}

static hva_t block_address(u64 n)
{
	return MODEL_HUGE_VA + n * LEVEL_SIZE(LEVEL_2M);
}

static void unmap_hugetlb(u64 block)
{
	munmap((void *)block_address(block), HUGE * PAGE_SIZE);
	model_munmap(model, block_address(block), HUGE);
}

/* Over nothing: what a call that fails has done to what was there is not the same in all kernels. */
static void map_hugetlb(void)
{
	u64 block = below(MODEL_HUGE_VAS), f = below(2), index = below(2);
	int real, r;
	void *p;

	unmap_hugetlb(block);
	p = mmap((void *)block_address(block), HUGE * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
		 fds[f], (off_t)(index * HUGE * PAGE_SIZE));
	real = p == MAP_FAILED ? -errno : 0;
	r = model_mmap(model, block_address(block), HUGE, true, files[f], index * HUGE);

	if (r != real)
		fail("a hugetlb mmap", block, r, real);
}

static void truncate_hugetlb(void)
{
	u64 f = below(2), n = below(3);

	if (ftruncate(fds[f], (off_t)(n * HUGE * PAGE_SIZE)))
		fail("ftruncate", n, 0, errno);
	if (n * HUGE < model_file_pages(files[f]))
		model_truncate(model, files[f], n * HUGE);
	else
		model_extend(model, files[f], n * HUGE);
}

static void punch_hugetlb(void)
{
	u64 f = below(2), index = below(2);

	if (fallocate(fds[f], FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)(index * HUGE * PAGE_SIZE),
		      HUGE * PAGE_SIZE))
		fail("punch", index, 0, errno);
	model_punch(model, files[f], index * HUGE);
}

static void hugetlb_step(void)
{
	u64 block = below(MODEL_HUGE_VAS);

	switch (below(12)) {
	case 0 ... 4:
		write_word(block_address(block) + below(HUGE) * PAGE_SIZE, block);
		break;
	case 5 ... 7:
		map_hugetlb();
		break;
	case 8:
		unmap_hugetlb(block);
		break;
	case 9:
		truncate_hugetlb();
		break;
	default:
		punch_hugetlb();
	}
	for (block = 0; block < MODEL_HUGE_VAS; block++)
		compare_word(block_address(block), block);
}

static bool hugetlb_sequence(void)
{
	u64 pool = real_pool();

	if (!pool || pool > MODEL_POOL)
		return false;
	begin();
	model->pool = (u32)pool;
	for (u64 f = 0; f < 2; f++) {
		files[f] = model_file_create(model, MODEL_FILE_HUGETLB, 2 * HUGE);
		fds[f] = memfd_create("conformance", MFD_CLOEXEC | MFD_HUGETLB);
		if (fds[f] < 0 || ftruncate(fds[f], 2 * HUGE * PAGE_SIZE))
			fail("a hugetlb memfd", f, 0, errno);
	}
	for (step = 0; step < STEPS; step++)
		hugetlb_step();
	munmap((void *)MODEL_HUGE_VA, MODEL_HUGE_VAS * HUGE * PAGE_SIZE);
	for (u64 f = 0; f < 2; f++)
		close(fds[f]);
	end();
	return true;
}

int main(int argc, char **argv)
{
	u64 first = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
	u64 n = argc > 2 ? strtoull(argv[2], NULL, 0) : 60;
	u64 hugetlb = 0;

	for (seed = first; seed < first + n; seed++) {
		huge_sequence();
		hugetlb += hugetlb_sequence();
	}
	printf("%llu sequences of %d steps from seed %llu: huge pages: model and Linux agree\n", (unsigned long long)n, STEPS,
	       (unsigned long long)first);
	printf("hugetlb: %llu of them%s\n", (unsigned long long)hugetlb,
	       hugetlb ? "" : " (1 to 3 free huge pages are needed)");
	return 0;
}
