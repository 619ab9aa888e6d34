/* SPDX-License-Identifier: MIT */
/*
 * What stage 2 itself costs, without a processor around it: bytes of tables for a GiB, a fault on
 * memory the host has mapped, a translation that is there, an invalidation.
 */
#include "rooms.h"
#include "primary/linux/linux.h"

#include <sys/mman.h>

#define SIZE GIB
#define STEP_PAGES 4096u

static struct mmu *mmu;
static struct mmu_vcpu *vcpu;

/* Nanoseconds for each of n pages, from the first on. */
static double translate(u64 n)
{
	struct mmu_xlat x;
	u64 t = now_ns();

	for (u64 i = 0; i < n; i++)
		MUST(!mmu_translate(vcpu, i * PAGE, MMU_READ, &x), "no translation");
	return (double)(now_ns() - t) / (double)n;
}

static u64 table_bytes(void)
{
	struct mmu_stats s;

	mmu_get_stats(mmu, &s);
	return s.table_bytes;
}

/* At a multiple of a GiB, as a slot must be to be mapped in large leaves. Only read: nothing but the
 * host's page of zeroes stands behind it. */
static u8 *reserve(void)
{
	u8 *p = mmap(NULL, 2 * SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	MUST(p != MAP_FAILED, "mmap");
	p = (u8 *)(((u64)p + SIZE - 1) & ~(SIZE - 1));
	MUST(mmap(p, SIZE, PROT_READ | PROT_WRITE,
		  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == p,
	     "mmap");
	madvise(p, SIZE, MADV_NOHUGEPAGE);
	return p;
}

static void bytes(const char *name, u32 flags, u64 size, u8 *p, const char *aim)
{
	struct figure f = {.n = 0};
	u64 before;

	before = table_bytes();
	rooms_slot(mmu, flags, size, p);
	mmu_vcpu_enter(vcpu);
	translate(size / PAGE);
	mmu_vcpu_leave(vcpu);
	figure_add(&f, (double)(table_bytes() - before) * GIB / size / 1024, GIB / 1024.0);
	figure_print(&f, name, "KiB/GiB", "the memory itself", aim);
	rooms_slot(mmu, 0, 0, p);
}

/* The pages are the host's already: what is left is stage 2's own part. */
static void steps(u8 *p)
{
	struct figure fault = {.n = 0}, hit = {.n = 0}, zap = {.n = 0};
	u64 size = STEP_PAGES * PAGE;

	for (unsigned i = 0; i < BENCH_TURNS; i++) {
		double h, t;
		u64 start;
		int err;

		host_touch(p, p + size);
		madvise(p, size, MADV_DONTNEED);
		start = now_ns();
		host_touch(p, p + size);
		h = (double)(now_ns() - start) / STEP_PAGES;
		rooms_slot(mmu, MMU_SLOT_LOG_DIRTY, size, p);
		mmu_vcpu_enter(vcpu);
		figure_add(&fault, translate(STEP_PAGES), h);
		t = translate(STEP_PAGES);
		mmu_vcpu_leave(vcpu);
		figure_add(&hit, t, h);
		start = now_ns();
		for (u64 j = 0; j < STEP_PAGES; j++)
			primary_linux_change_end(primary_linux_change_begin((hva_t)p + j * PAGE, PAGE,
									    CHANGE_UNMAP, &err));
		figure_add(&zap, (double)(now_ns() - start) / STEP_PAGES, h);
		rooms_slot(mmu, 0, 0, p);
	}
	figure_print(&fault, "stage-2 fault alone", "ns", "host's own fault", "-");
	figure_print(&hit, "stage-2 walk alone", "ns", "host's own fault", "-");
	figure_print(&zap, "invalidation, nobody running", "ns", "host's own fault", "-");
}

int main(void)
{
	u8 *p = reserve();

	rooms_create(&mmu, &vcpu);
	/* The tables above a GiB's own do not grow with memory. */
	rooms_slot(mmu, 0, PAGE, p);
	mmu_vcpu_enter(vcpu);
	translate(1);
	mmu_vcpu_leave(vcpu);
	rooms_slot(mmu, 0, 0, p);
	bytes("tables at 4 KiB", MMU_SLOT_LOG_DIRTY, SIZE, p, "<= 0.0025");
	bytes("tables at 2 MiB", 0, SIZE / 2, p, "<= 0.0025");
	bytes("tables at 1 GiB", 0, SIZE, p, "<= 0.0025");
	steps(p);
	mmu_vcpu_fini(vcpu);
	mmu_close(mmu);
	return 0;
}
