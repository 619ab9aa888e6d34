/* SPDX-License-Identifier: MIT */
/*
 * guest_memfd beside a plain memfd: the first store to each private page beside a host's to a shared
 * mapping, a conversion beside MADV_DONTNEED, which empties the host's page tables as a conversion
 * empties stage 2, and a punch beside a punch. Private memory alone is mapped in large leaves; where
 * every 2 MiB have a shared page, in leaves of 4 KiB.
 */
#include "machine.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define BLOCK	     (2 * MIB)
#define PROTECTED_VM 1
#define PRIVATE	     8 /* attribute */

/* Newer than some machines' headers. */
struct create_guest_memfd {
	u64 size, flags, reserved[6];
};
struct memory_region2 {
	u32 slot, flags;
	u64 gpa, size, hva, offset;
	u32 fd, pad1;
	u64 pad2[14];
};
struct memory_attributes {
	u64 address, size, attributes, flags;
};
#define SET_REGION2	    _IOW(KVMIO, 0x49, struct memory_region2)
#define SET_ATTRIBUTES	    _IOW(KVMIO, 0xd2, struct memory_attributes)
#define CREATE_GUEST_MEMFD  _IOWR(KVMIO, 0xd4, struct create_guest_memfd)

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

static void set_slot(const struct private_slot *s, u64 size)
{
	struct memory_region2 r = {.slot = 1,
				   .flags = size ? 4 : 0,
				   .gpa = DATA_GPA,
				   .size = size,
				   .hva = (u64)s->hva,
				   .fd = (u32)s->fd};

	MUST(!ioctl(machine.vm, SET_REGION2, &r), "memslot");
}

static void convert(u64 at, u64 size, u64 attributes)
{
	struct memory_attributes a = {DATA_GPA + at, size, attributes, 0};

	MUST(!ioctl(machine.vm, SET_ATTRIBUTES, &a), "attributes");
}

static void guest_touch(u64 size)
{
	machine_run(&machine, 0, PROGRAM_TOUCH, 0, DATA_LARGE, DATA_LARGE + size);
}

static struct private_slot slot_make(u64 size, enum leaves l)
{
	struct create_guest_memfd c = {.size = size};
	struct private_slot s = {.size = size, .hva = memory_map(BACKING_MEMFD, size)};

	s.fd = ioctl(machine.vm, CREATE_GUEST_MEMFD, &c);
	MUST(s.fd >= 0, "guest_memfd");
	set_slot(&s, size);
	convert(0, size, PRIVATE);
	for (u64 at = 0; l == SMALL && at < size; at += BLOCK)
		convert(at, PAGE, 0);
	return s;
}

static void slot_end(const struct private_slot *s)
{
	convert(0, s->size, 0);
	set_slot(s, 0);
	close(s->fd);
	memory_unmap(s->hva, s->size);
}

static double guest_fault(u64 size, enum leaves l)
{
	struct private_slot s = slot_make(size, l);
	u64 t = now_ns();

	guest_touch(size);
	t = now_ns() - t;
	slot_end(&s);
	return (double)t;
}

static double guest_convert(u64 size, enum leaves l)
{
	struct private_slot s = slot_make(size, l);
	u64 t;

	guest_touch(size);
	t = now_ns();
	convert(0, size, 0);
	t = now_ns() - t;
	slot_end(&s);
	return (double)t;
}

static double guest_punch(u64 size, enum leaves l)
{
	struct private_slot s = slot_make(size, l);
	u64 t;

	guest_touch(size);
	t = now_ns();
	punch(s.fd, size);
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

static void measure(const char *what, u64 size, double (*guest)(u64, enum leaves),
		    double (*host)(u64), double per, const char *unit, const char *reference)
{
	for (enum leaves l = LARGE; l <= SMALL; l++) {
		struct figure f = {.n = 0};
		char name[96];

		for (unsigned i = 0; i < BENCH_TURNS; i++)
			figure_add(&f, guest(size, l) / per, host(size) / per);
		snprintf(name, sizeof(name), "%s, %s", what, leaves_name[l]);
		figure_print(&f, name, unit, reference, "-");
	}
}

int main(void)
{
	u64 some = 128 * MIB;

	machine_create_type(&machine, PROTECTED_VM);
	measure("private fault", some, guest_fault, host_fault, (double)(some / PAGE), "ns/page",
		"host's own fault, memfd");
	measure("conversion of 2 MiB", BLOCK, guest_convert, host_drop, 1e3, "us",
		"MADV_DONTNEED of a memfd");
	measure("conversion of 1 GiB", GIB, guest_convert, host_drop, 1e3, "us",
		"MADV_DONTNEED of a memfd");
	measure("punch of 1 GiB", GIB, guest_punch, host_punch, 1e6, "ms", "punch of a memfd");
	machine_destroy(&machine);
	return 0;
}
