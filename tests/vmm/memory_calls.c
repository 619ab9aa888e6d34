/* SPDX-License-Identifier: MIT */
/*
 * Every call that changes a mapping, a file's size or its content, on every kind of memory, made by
 * libc, by number, by an instruction that no library sees, and so by a child that shares memory.
 * Afterwards a guest finds at each page what the VMM finds there itself: the same bytes, the same
 * right to write, the same code, or EFAULT.
 *
 * That holds when the call returns; where nobody tells of it (`late`), at the next look, and how long that
 * took is printed. The table is docs/memory.md's.
 */
#include "memory_table.h"
#include "rawcall.h"
#include "ways.h"
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MAX_ROWS  128
#define PATIENCE  10000 /* ms; a look comes every 50 */
#define CODE	  0x100 /* of each page: mov $number, %eax; hlt */
#define NEW	  0x5ec5e700u

/* ------------------------------------------------------------------ what the two find */

static uint32_t gpa_of(unsigned i)
{
	return PROBE_GPA + (uint32_t)(i * PROBE_PAGE);
}

static char why[128]; /* they differ */

#define SAME(condition, ...)                                                                   \
	do {                                                                                   \
		if (!(condition)) {                                                            \
			snprintf(why, sizeof(why), __VA_ARGS__);                               \
			return false;                                                          \
		}                                                                              \
	} while (0)

static bool same_code(struct minivmm *v, unsigned i)
{
	uint32_t code[2], eax = 0;
	int r;

	if (!probe_host_read(page(i) + CODE, &code[0]) || !probe_host_read(page(i) + CODE + 4, &code[1]) ||
	    (uint8_t)code[0] != 0xb8 || code[1] >> 8 != 0x9090f4)
		return true;
	r = probe_run(v, gpa_of(i) + CODE, &eax);
	SAME(!r && eax == (code[0] >> 8 | code[1] << 24), "page %u: code ends with %d and %x", i, r,
	     eax);
	return true;
}

static bool same_page(struct minivmm *v, unsigned i)
{
	static uint32_t number = 1u << 30;
	uint32_t host = 0, guest = 0;
	bool readable = probe_host_read(page(i), &host), writable = probe_host_write(page(i) + 8, ++number);
	int r = probe_read(v, gpa_of(i), &guest);

	if (m.backing->is & BACKING_SECRET && readable && r == -EFAULT)
		return true;
	SAME(r == (readable ? 0 : -EFAULT), "page %u: a read ends with %d (%x), the VMM's %s", i, r,
	     guest, readable ? "succeeds" : "fails");
	SAME(guest == (readable ? host : 0), "page %u: %x is read, and %x is there", i, guest, host);
	r = probe_write(v, gpa_of(i) + 12, number);
	SAME(r == (writable ? 0 : -EFAULT), "page %u: a write ends with %d, the VMM's %s", i, r,
	     writable ? "succeeds" : "fails");
	if (!readable || !writable)
		return !readable || same_code(v, i);
	SAME(probe_host_read(page(i) + 12, &host) && host == number, "page %u: the write is lost", i);
	SAME(probe_must_read(v, gpa_of(i) + 8) == number, "page %u: the VMM's write is lost", i);
	return same_code(v, i);
}

static bool same(struct minivmm *v)
{
	for (unsigned i = 0; i < BACKING_PAGES; i++) {
		if (!same_page(v, i))
			return false;
	}
	return true;
}

/* ------------------------------------------------------------------ walking it */

static void fill(uint8_t *at, uint32_t mark)
{
	static const uint8_t code[] = {0xb8, 0, 0, 0, 0, 0xf4, 0x90, 0x90};

	memcpy(at, &mark, sizeof(mark));
	memcpy(at + CODE, code, sizeof(code));
	memcpy(at + CODE + 1, &mark, sizeof(mark));
}

static void fill_all(void)
{
	uint8_t buf[PROBE_PAGE] = {0};

	for (unsigned i = 0; i < BACKING_PAGES; i++) {
		fill(buf, 0x1000 + i);
		if (m.backing->is & BACKING_READONLY)
			EXPECT(pwrite(m.fd, buf, PROBE_PAGE, (off_t)(i * PROBE_PAGE)) == PROBE_PAGE, "pwrite");
		else if (!(m.backing->is & BACKING_GUARDED) || i < BACKING_PAGES - 1)
			memcpy(page(i), buf, PROBE_PAGE);
	}
}

static struct {
	unsigned made, late;
	uint64_t longest; /* ns */
} sum;

static bool seen_at_once(const struct row *r)
{
	return way == BY_LIBC || way == BY_NUMBER ||
	       !(r->how & ROW_LATE || m.backing->is & BACKING_LATE);
}

/* False: there is no such call here, for this memory. */
static bool try(struct minivmm *v, const struct row *r)
{
	uint64_t since;
	bool ok;

	fill_all();
	probe_slot(v, PROBE_SLOT, 0, PROBE_GPA, m.size, m.mem);
	EXPECT(same(v), "%s: not even before: %s", m.backing->name, why);
	ok = !r->make();
	since = minivmm_now();
	if (r->how & ROW_NEVER && way >= RAW && m.backing->is & BACKING_SHARED)
		return ok;
	if (!same(v)) {
		EXPECT(!seen_at_once(r), "%s %s of %s: %s", r->name, way_names[way],
		       m.backing->name, why);
		while (!same(v))
			EXPECT(minivmm_now() - since < PATIENCE * 1000000ull, "%s %s of %s: %s",
			       r->name, way_names[way], m.backing->name, why);
		sum.late++;
		if (minivmm_now() - since > sum.longest)
			sum.longest = minivmm_now() - since;
	}
	sum.made += ok;
	return ok;
}

static bool walk_row(struct minivmm *v, const struct backing *b, const struct row *r)
{
	bool ok = false;

	if ((b->is & r->needs) != r->needs || b->is & r->not_on)
		return false;
	for (way = 0; way < WAYS && memory_map(&m, b); way++) {
		moved = NULL;
		ok |= try(v, r);
		probe_slot(v, PROBE_SLOT, 0, PROBE_GPA, 0, NULL);
		if (moved)
			munmap(moved, m.size);
		memory_unmap(&m);
	}
	return ok;
}

static bool there_is(const struct backing *b)
{
	bool ok = memory_map(&m, b);

	if (ok)
		memory_unmap(&m);
	else
		printf("no memory of this kind here: %s\n", b->name);
	return ok;
}

int main(void)
{
	bool made[MAX_ROWS] = {false};
	struct minivmm v;

	setvbuf(stdout, NULL, _IOLBF, 0);
	fill(new_page, NEW);
	other = probe_memfd(PROBE_PAGE);
	self = (int)syscall(SYS_pidfd_open, getpid(), 0);
	EXPECT(write(other, new_page, PROBE_PAGE) == PROBE_PAGE, "descriptors");
	EXPECT(nr_rows <= MAX_ROWS, "%u rows", nr_rows);
	probe_create(&v);
	for (unsigned b = 0; b < nr_backings; b++) {
		if (!there_is(&backings[b]))
			continue;
		for (unsigned r = 0; r < nr_rows; r++)
			made[r] |= walk_row(&v, &backings[b], &rows[r]);
	}
	for (unsigned r = 0; r < nr_rows; r++) {
		if (!made[r])
			printf("no such call here: %s\n", rows[r].name);
	}
	printf("%u calls; %u seen late, the latest after %lu ms\n", sum.made, sum.late,
	       sum.longest / 1000000);
	return 0;
}
