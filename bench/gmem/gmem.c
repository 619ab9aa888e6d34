/* SPDX-License-Identifier: MIT */
/*
 * guest_memfd beside a plain memfd: the first store to each private page beside a host's to a shared
 * mapping, a conversion beside MADV_DONTNEED, which empties the host's page tables as a conversion
 * empties stage 2, and a punch beside a punch. Private memory alone is mapped in large leaves; where
 * every 2 MiB have a shared page, in leaves of 4 KiB.
 */
#include "machine.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
#include "gmem.h"

#define BLOCK (2 * MIB)

static struct machine machine;

enum leaves { LARGE, SMALL };
static const char *const leaves_name[] = {"large leaves", "4 KiB leaves"};

static void punch(int fd, u64 size)
{
	MUST(!fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)size), "punch");
}

/* ------------------------------------------------------------------ the guest's side */

struct private_slot {
	int fd;
	u64 size;
	void *hva;
};

static void convert(u64 at, u64 size, u64 attributes)
{
	MUST(!gmem_convert(machine.vm, DATA_GPA + at, size, attributes), "attributes");
}

static struct private_slot slot_make(u64 size, enum leaves l)
{
	struct private_slot s = {.size = size, .hva = memory_map(BACKING_MEMFD, size)};

	s.fd = gmem_create(machine.vm, size, 0);
	MUST(s.fd >= 0, "guest_memfd");
	MUST(!gmem_bind(machine.vm, 1, DATA_GPA, size, s.hva, s.fd, 0), "memslot");
	convert(0, size, GMEM_PRIVATE);
	for (u64 at = 0; l == SMALL && at < size; at += BLOCK)
		convert(at, PAGE, 0);
	return s;
}

static void slot_end(const struct private_slot *s)
{
	convert(0, s->size, 0);
	MUST(!gmem_unbind(machine.vm, 1), "memslot");
	close(s->fd);
	memory_unmap(s->hva, s->size);
}

static void guest_touch(const struct private_slot *s)
{
	machine_run(&machine, 0, PROGRAM_TOUCH, 0, DATA_LARGE, DATA_LARGE + s->size);
}

static void guest_convert(const struct private_slot *s)
{
	convert(0, s->size, 0);
}

static void guest_punch(const struct private_slot *s)
{
	punch(s->fd, s->size);
}

/* What is not the first touch is done to memory that was touched. */
static double guest_timed(void (*act)(const struct private_slot *), u64 size, enum leaves l)
{
	struct private_slot s = slot_make(size, l);
	u64 t;

	if (act != guest_touch)
		guest_touch(&s);
	t = now_ns();
	act(&s);
	t = now_ns() - t;
	slot_end(&s);
	return (double)t;
}

/* ------------------------------------------------------------------ the host's */

static double host_fault(u64 size)
{
	u8 *p = memory_map(BACKING_MEMFD, size);
	u64 t = now_ns();

	host_touch(p, p + size);
	t = now_ns() - t;
	memory_unmap(p, size);
	return (double)t;
}

static double host_drop(u64 size)
{
	u8 *p = memory_map(BACKING_MEMFD, size);
	u64 t;

	host_touch(p, p + size);
	t = now_ns();
	MUST(!madvise(p, size, MADV_DONTNEED), "madvise");
	t = now_ns() - t;
	memory_unmap(p, size);
	return (double)t;
}

static double host_punch(u64 size)
{
	int fd = memfd_create("bench", MFD_CLOEXEC);
	u8 *p;
	u64 t;

	MUST(fd >= 0 && !ftruncate(fd, (off_t)size), "memfd");
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	MUST(p != MAP_FAILED, "mmap");
	host_touch(p, p + size);
	t = now_ns();
	punch(fd, size);
	t = now_ns() - t;
	munmap(p, size);
	close(fd);
	return (double)t;
}

/* ------------------------------------------------------------------ figures */

static void measure(const char *what, u64 size, void (*guest)(const struct private_slot *),
		    double (*host)(u64), double per, const char *unit, const char *reference)
{
	for (enum leaves l = LARGE; l <= SMALL; l++) {
		struct figure f = {.n = 0};
		char name[96];

		for (unsigned i = 0; i < BENCH_TURNS; i++)
			figure_add(&f, guest_timed(guest, size, l) / per, host(size) / per);
		snprintf(name, sizeof(name), "%s, %s", what, leaves_name[l]);
		figure_print(&f, name, unit, reference, "-");
	}
}

int main(void)
{
	u64 some = 128 * MIB;

	machine_create_type(&machine, GMEM_PROTECTED);
	measure("private fault", some, guest_touch, host_fault, (double)(some / PAGE), "ns/page",
		"host's own fault, memfd");
	measure("conversion of 2 MiB", BLOCK, guest_convert, host_drop, 1e3, "us",
		"MADV_DONTNEED of a memfd");
	measure("conversion of 1 GiB", GIB, guest_convert, host_drop, 1e3, "us",
		"MADV_DONTNEED of a memfd");
	measure("punch of 1 GiB", GIB, guest_punch, host_punch, 1e6, "ms", "punch of a memfd");
	machine_destroy(&machine);
	return 0;
}
