/* SPDX-License-Identifier: MIT */
/*
 * cpu/access.c: the miss paths of cpu/access.h: guest page walk, stage 2, device accesses, pages
 * that hold cached code, and operands that lie on two pages.
 */
#include "cpu/access.h"

#include "cpu/code/op.h"
#include "cpu/fault.h"
#include "cpu/parts.h"
#include "cpu/replay.h"
#include "cpu/system/system.h"
#include "cpu/table/vendor.h"
#include "cpu/watch.h"

#define VECTOR_ALIGN 16 /* bytes; of wider operands too */
#define X87_EXTENDED 10 /* bytes of an operand in double extended precision */

static enum tlb_mode current_mode(const struct cpu *c)
{
	return (enum tlb_mode)c->tlb_mode;
}

static unsigned walk_flags_of(const struct cpu *c, enum tlb_mode mode)
{
	unsigned f = mode == TLB_USER ? WALK_USER : 0;

	if (mode == TLB_KERNEL_AC || !(c->cr4 & CR4_SMAP))
		f |= WALK_AC;
	return f;
}

static void raise_noncanonical(struct cpu *c)
{
	bool stack = c->op && c->op->seg == SEG_SS;

	cpu_raise_error(c, stack ? VEC_SS : VEC_GP, 0);
}

void access_check_canonical(struct cpu *c, u64 la)
{
	if (cpu_lma(c) && !la_canonical(c, la))
		raise_noncanonical(c);
}

/* What mmu/ could not serve ends the instruction one way or another; -ENOENT is the caller's. */
static void NORETURN leave_unserved(struct cpu *c, gpa_t gpa, unsigned access, int r)
{
	if (r == -EINTR)
		cpu_leave(c, CPU_EXIT_INTR);
	if (r == -EAGAIN)
		cpu_restart(c);
	if (r == -ENOMEM)
		cpu_leave(c, CPU_EXIT_NOMEM);
	c->exit.memory.gpa = gpa & PAGE_MASK;
	c->exit.memory.size = PAGE_SIZE;
	c->exit.memory.private_ = c->mmu.fault_private;
	c->exit.memory.error = r;
	c->exit.memory.has_info = true;
	cpu_leave(c, CPU_EXIT_MEMORY);
}

/* What either level of the TLB knows of [la, la + len), which lies in one page. */
static bool resolve_known(struct cpu *c, u64 la, u32 len, bool write, enum tlb_mode mode,
			  struct part *out)
{
	struct tlb *t = &c->mmu.tlb[mode];
	u8 *host = write ? tlb_write(t, la, len) : tlb_read(t, la, len);

	/* An instruction that the VMM has answered must not find memory where it met a device. */
	if (replay_pending(c))
		return false;
	if (!host && mmu_tlb_refill(&c->mmu, mode, la, len, write))
		host = write ? tlb_write(t, la, len) : tlb_read(t, la, len);
	if (!host)
		return false;
	out->gpa = (t->gpa[tlb_slot(la)] & PAGE_MASK) | (la & ~PAGE_MASK);
	out->len = len;
	out->host = host;
	out->code = false; /* not looked at by loads, and stores to code are never let through */
	return true;
}

static void fill(struct cpu *c, enum tlb_mode mode, u64 la, const struct walk *w, const struct mmu_xlat *x)
{
	/* INVLPG must find every entry of a large page. Without PAE it is of 4 MiB. */
	if (w->level > LEVEL_4K)
		mmu_tlb_note_large(&c->mmu, la, c->cr4 & CR4_PAE ? LEVEL_SIZE(w->level) : 4ULL << 20);
	mmu_tlb_fill(&c->mmu, mode, la & PAGE_MASK, w->gpa & PAGE_MASK, x, w->perm, w->global);
}

/*
 * Was a device met at this page last, rather than memory? A driver comes there again, and what is known of
 * memory need not be asked first. No more than a hint: mmu_translate() says what is there now.
 */
static u64 *device_slot(struct cpu *c, u64 la)
{
	return &c->device_page[(la >> PAGE_SHIFT) % ARRAY_SIZE(c->device_page)];
}

static bool met_device(struct cpu *c, u64 la)
{
	return *device_slot(c, la) == (la & PAGE_MASK) + 1;
}

static void note_device(struct cpu *c, u64 la, bool device)
{
	if (device)
		*device_slot(c, la) = (la & PAGE_MASK) + 1;
	else if (met_device(c, la))
		*device_slot(c, la) = 0;
}

/* What needs no more than a look at memory that both MMUs have known to be there. */
static bool resolve_quickly(struct cpu *c, u64 la, unsigned access, enum tlb_mode mode, unsigned wflags,
			    struct walk *w, struct mmu_xlat *x)
{
	if (met_device(c, la) || replay_pending(c) || !walk_known(c, la, access, wflags, w) ||
	    !mmu_translate_present(&c->mmu, w->gpa, access, w->perm & MMU_WRITE, x))
		return false;
	fill(c, mode, la, w, x);
	return true;
}

bool access_refill(struct cpu *c, u64 la, u32 size, bool write, enum tlb_mode mode)
{
	struct mmu_xlat x;
	struct walk w;

	if (!resolve_quickly(c, la, write ? MMU_WRITE : MMU_READ, mode, walk_flags_of(c, mode), &w, &x))
		return false;
	c->stat.tlb_misses++;
	return (write ? tlb_write(&c->mmu.tlb[mode], la, size) : tlb_read(&c->mmu.tlb[mode], la, size)) != NULL;
}

/* Through the guest's own tables. Raises what the walk raises. */
static void walk_or_leave(struct cpu *c, u64 la, unsigned access, unsigned wflags, struct walk *w)
{
	u32 error = 0;
	int r;

	if (walk_known(c, la, access, wflags, w))
		return;
	r = walk_linear(c, la, access, wflags, w, &error);
	if (r > 0)
		cpu_raise_pf(c, la, error);
	if (r == -ENOENT)
		cpu_cannot(c); /* page tables in a hole: KVM cannot emulate that either */
	if (r < 0)
		leave_unserved(c, w->gpa, MMU_READ, r);
}

/* Resolve [la, la + len), which lies in one page. Fills the TLB. */
static void resolve_page(struct cpu *c, u64 la, u32 len, unsigned access, enum tlb_mode mode,
			 unsigned wflags, struct part *out)
{
	u64 place = c->stat.code.place;
	struct mmu_xlat x;
	struct walk w;
	int r;

	if (!met_device(c, la) && resolve_known(c, la, len, access & MMU_WRITE, mode, out))
		return;
	c->stat.tlb_misses++;
	if (resolve_quickly(c, la, access, mode, wflags, &w, &x)) {
		*out = (struct part){x.host + (la & ~PAGE_MASK), w.gpa, len, x.code};
		return;
	}
	c->stat.code.place = STATPAGE_WALK;
	walk_or_leave(c, la, access, wflags, &w);
	out->gpa = w.gpa;
	out->len = len;
	/* What the VMM answered is answered, though it has put memory there meanwhile. */
	r = replay_answers(c, w.gpa, access & MMU_WRITE)
		    ? -ENOENT
		    : mmu_translate(&c->mmu, w.gpa, access, &x);
	c->stat.code.place = place;
	note_device(c, la, r == -ENOENT);
	if (r == -ENOENT) {
		out->host = NULL;
		out->code = false;
		return;
	}
	if (r)
		leave_unserved(c, w.gpa, access, r);
	fill(c, mode, la, &w, &x);
	out->host = x.host + (la & ~PAGE_MASK);
	out->code = x.code;
}

/* Both ends before either page's tables: #GP and #SS come before #PF. */
static void check_canonical(struct cpu *c, u64 la, u32 size)
{
	if (cpu_lma(c) && !(la_canonical(c, la) && la_canonical(c, (la + size - 1) & c->ea_mask)))
		raise_noncanonical(c);
}

/*
 * Resolve an operand of at most 4096 bytes into one or two parts, both good at the same time: a
 * fault on the second page leaves guest mode and may cost the first its pointer.
 */
static unsigned resolve(struct cpu *c, u64 la, u32 size, unsigned access, enum tlb_mode mode,
			unsigned wflags, struct part part[2])
{
	u32 first = (u32)MIN((u64)size, PAGE_SIZE - (la & ~PAGE_MASK));
	u64 epoch;

	check_canonical(c, la, size);
	do {
		epoch = c->mmu.epoch;
		resolve_page(c, la, first, access, mode, wflags, &part[0]);
		if (first == size)
			return 1;
		resolve_page(c, (la + first) & c->ea_mask, size - first, access, mode, wflags,
			     &part[1]);
	} while (c->mmu.epoch != epoch);
	return 2;
}

/*
 * #AC by SDM vol. 3, table 6-7. It comes before the walk's faults, which the manual leaves open
 * (table 6-2) and processors do so.
 */
void access_check_alignment(struct cpu *c, u64 la, u32 size)
{
	u32 align = size <= 8 ? size : size == X87_EXTENDED ? 8 : 1;

	if (size % VECTOR_ALIGN == 0 && cpu_vendor_does(c, FACT_AC_VECTORS))
		align = VECTOR_ALIGN;

	if (la & (align - 1)) {
		check_canonical(c, la, size);
		cpu_raise_error(c, VEC_AC, 0);
	}
}

static unsigned resolve_unaligned(struct cpu *c, u64 la, u32 size, unsigned access,
				  struct part part[2])
{
	enum tlb_mode mode = current_mode(c);
	unsigned n = resolve(c, la, size, access, mode, walk_flags_of(c, mode), part);

	/* The trap comes when the instruction is done. */
	if (unlikely(c->check_watch))
		watch_data(c, la, size, access & MMU_WRITE);
	return n;
}

static unsigned resolve_current(struct cpu *c, u64 la, u32 size, unsigned access,
				struct part part[2])
{
	if (unlikely(c->check_align) && !(c->op && (c->op->flags & OP_NO_AC)))
		access_check_alignment(c, la, size);
	return resolve_unaligned(c, la, size, access, part);
}

/*
 * Drop cached code that a store is about to change. Other vCPUs may have to answer first, so the
 * pointers are stale afterwards where the epoch says so: true.
 */
static bool note_code_writes(struct cpu *c, const struct part *part, unsigned n)
{
	u64 epoch = c->mmu.epoch;

	for (unsigned i = 0; i < n; i++) {
		if (part[i].code)
			mmu_code_write(&c->mmu, part[i].gpa, part[i].host, part[i].len);
	}
	return c->mmu.epoch != epoch;
}

static void write_sys(struct cpu *c, u64 la, const u8 *buf, u32 size, unsigned wflags)
{
	struct part part[2];
	unsigned n;

	do
		n = resolve(c, la, size, MMU_WRITE, TLB_KERNEL, wflags, part);
	while (note_code_writes(c, part, n));
	parts_write(c, la, part, n, buf);
}

u64 access_load_slow(struct cpu *c, u64 la, u32 size)
{
	struct part part[2];
	unsigned n = resolve_current(c, la, size, MMU_READ, part);

	return parts_load(c, la, size, part, n);
}

void access_store_slow(struct cpu *c, u64 la, u32 size, u64 value)
{
	access_write(c, la, &value, size);
}

void access_read(struct cpu *c, u64 la, void *buf, u32 size)
{
	const void *p = tlb_read(c->tlb, la, size);
	struct part part[2];

	if (likely(p)) {
		if (guard_copy_from(buf, p, size))
			access_died(c, la, false);
		return;
	}
	parts_read(c, la, part, resolve_current(c, la, size, MMU_READ, part), buf);
}

void access_write(struct cpu *c, u64 la, const void *buf, u32 size)
{
	struct part part[2];
	unsigned n;

	do
		n = resolve_current(c, la, size, MMU_WRITE, part);
	while (note_code_writes(c, part, n));
	parts_write(c, la, part, n, buf);
}

void access_write_words(struct cpu *c, u64 la, const void *buf, u32 size)
{
	struct part part[2];
	unsigned n;

	do
		n = resolve_unaligned(c, la, size, MMU_WRITE, part);
	while (note_code_writes(c, part, n));
	parts_write(c, la, part, n, buf);
}

/* The one pointer that reaches all of an operand, or NULL and its parts. */
static void *resolve_direct(struct cpu *c, u64 la, u32 size, bool write, struct part part[2],
			    unsigned *n)
{
	*n = resolve_current(c, la, size, write ? MMU_WRITE : MMU_READ, part);
	return *n == 1 && !(write && part[0].code) ? part[0].host : NULL;
}

void *access_direct(struct cpu *c, u64 la, u32 size, bool write)
{
	void *p = write ? tlb_write(c->tlb, la, size) : tlb_read(c->tlb, la, size);
	struct part part[2];
	unsigned n;

	return likely(p) ? p : resolve_direct(c, la, size, write, part, &n);
}

/*
 * What is read to be written. An instruction that is run again with the VMM's answer gets what it got at first:
 * its store may have been let into the memory behind a read-only memslot.
 */
static void read_old(struct cpu *c, u64 la, u32 size)
{
	typeof(c->replay.old) *old = &c->replay.old;
	u8 *buf = c->bounce.buf;
	struct part part[2];
	unsigned n = resolve_current(c, la, size, MMU_READ, part);

	parts_read(c, la, part, n, buf);
	if (size > sizeof(old->data))
		return; /* no instruction computes with so much */
	if (!replay_pending(c) || old->la != la || old->size != size) {
		old->la = la;
		old->size = size;
		memcpy(old->data, buf, size);
		return;
	}
	for (unsigned i = 0, at = 0; i < n; at += part[i++].len) {
		if (part[i].host)
			memcpy(buf + at, old->data + at, part[i].len);
	}
}

void *access_ptr(struct cpu *c, u64 la, u32 size, bool write, bool *direct)
{
	void *p = write ? tlb_write(c->tlb, la, size) : tlb_read(c->tlb, la, size);
	struct part part[2];
	unsigned n;

	*direct = true;
	if (likely(p))
		return p;
	p = resolve_direct(c, la, size, write, part, &n);
	if (p)
		return p;
	*direct = false;
	c->bounce.la = la;
	c->bounce.size = write ? size : 0;
	/* A read-only memslot has bytes to be read, if no memory to be written. */
	if (write)
		read_old(c, la, size);
	else
		parts_read(c, la, part, n, c->bounce.buf);
	return c->bounce.buf;
}

void access_ptr_done(struct cpu *c, bool direct)
{
	if (direct || !c->bounce.size)
		return;
	access_write(c, c->bounce.la, c->bounce.buf, c->bounce.size);
}

void access_probe(struct cpu *c, u64 la, u32 size, bool write)
{
	struct part part[2];

	if (write ? tlb_write(c->tlb, la, size) : tlb_read(c->tlb, la, size))
		return;
	resolve_current(c, la, size, write ? MMU_WRITE : MMU_READ, part);
}

void *access_span(struct cpu *c, u64 la, u32 max, bool write, u32 *len)
{
	u32 n = (u32)MIN((u64)max, PAGE_SIZE - (la & ~PAGE_MASK));
	void *p = write ? tlb_write(c->tlb, la, n) : tlb_read(c->tlb, la, n);
	struct part part[2];

	*len = n;
	if (likely(p))
		return p;
	/* Each element is to be looked at by itself. */
	if (c->check_align)
		return NULL;
	resolve_current(c, la, n, write ? MMU_WRITE : MMU_READ, part);
	return part[0].host && !(write && part[0].code) ? part[0].host : NULL;
}

/* -- the processor's own accesses */

static unsigned sys_flags(const struct cpu *c)
{
	return WALK_IMPLICIT | (c->cr4 & CR4_SMAP ? 0 : WALK_AC);
}

u64 access_load_sys(struct cpu *c, u64 la, u32 size)
{
	void *p = tlb_read(&c->mmu.tlb[TLB_KERNEL], la, size);
	struct part part[2];

	if (likely(p)) {
		part[0] = (struct part){.host = p, .len = size};
		return parts_load(c, la, size, part, 1);
	}
	return parts_load(c, la, size, part,
			  resolve(c, la, size, MMU_READ, TLB_KERNEL, sys_flags(c), part));
}

void access_store_sys(struct cpu *c, u64 la, u32 size, u64 value)
{
	write_sys(c, la, (const u8 *)&value, size, sys_flags(c));
}

void access_probe_sys(struct cpu *c, u64 la, u32 size, bool write)
{
	struct part part[2];

	resolve(c, la, size, write ? MMU_WRITE : MMU_READ, TLB_KERNEL, sys_flags(c), part);
}

u8 access_bits_sys(struct cpu *c, u64 la, u8 set, u8 clear)
{
	unsigned shift = (la & 3) * 8;
	struct part part[2];
	u32 *word, old, now;
	bool done;
	u8 byte;

	do
		resolve(c, la, 1, MMU_WRITE, TLB_KERNEL, sys_flags(c), part);
	while (note_code_writes(c, part, 1));
	if (!part[0].host) { /* a device's, where nothing is locked, or a ROM's, which is memory to read */
		byte = (u8)access_load_sys(c, la, 1);
		access_store_sys(c, la, 1, (byte & ~clear) | set);
		return byte;
	}
	word = (u32 *)(part[0].host - (la & 3));
	if (!guard_load32(word, &old))
		access_died(c, la, true);
	do {
		now = (old & ~((u32)clear << shift)) | (u32)set << shift;
		byte = (u8)(old >> shift);
		if (!guard_cmpxchg32(word, &old, now, &done))
			access_died(c, la, true);
	} while (!done);
	return byte;
}

/* By a walk from the top; raises, and leaves for what cannot be fetched from. */
static void fetch_by_walk(struct cpu *c, u64 la, unsigned wflags, struct walk *w, struct mmu_xlat *x)
{
	u32 error = 0;
	int r = walk_linear(c, la, MMU_EXEC, wflags, w, &error);

	if (r > 0)
		cpu_raise_pf(c, la, error);
	if (r == -ENOENT)
		cpu_cannot(c);
	if (r < 0)
		leave_unserved(c, w->gpa, MMU_READ, r);
	r = mmu_translate(&c->mmu, w->gpa, MMU_EXEC, x);
	if (r == -ENOENT)
		cpu_cannot(c); /* KVM does not fetch from a device either */
	if (r)
		leave_unserved(c, w->gpa, MMU_EXEC, r);
}

bool access_fetch(struct cpu *c, u64 la, gpa_t *gpa, u8 **host)
{
	unsigned wflags = c->cpl == 3 ? WALK_USER : 0;
	struct mmu_xlat x;
	struct walk w;

	if (cpu_lma(c) && !la_canonical(c, la))
		cpu_raise_error(c, VEC_GP, 0);
	if (!walk_known(c, la, MMU_EXEC, wflags, &w) ||
	    !mmu_translate_present(&c->mmu, w.gpa, MMU_EXEC, false, &x))
		fetch_by_walk(c, la, wflags, &w, &x);
	*gpa = w.gpa & PAGE_MASK;
	*host = x.host;
	return w.global;
}

/* -- the walker's */

/* Where the page of an entry of `size` bytes is. */
static int ptc_get(struct cpu *c, gpa_t gpa, u32 size, unsigned access, u8 **host)
{
	u64 gfn = gpa >> PAGE_SHIFT;
	typeof(&c->ptc[0]) e = &c->ptc[gfn & (ARRAY_SIZE(c->ptc) - 1)];
	struct mmu_xlat x;
	int r;

	if (e->gfn == gfn + 1 && e->epoch == c->mmu.epoch &&
	    (e->writable || !(access & MMU_WRITE))) {
		*host = e->host;
		return 0;
	}
	r = mmu_translate(&c->mmu, gpa & PAGE_MASK, access, &x);
	if (r)
		return r;
	*host = x.host;
	if (x.code && (access & MMU_WRITE)) {
		u64 epoch = c->mmu.epoch;

		mmu_code_write(&c->mmu, gpa, x.host, size);
		return c->mmu.epoch != epoch ? -EAGAIN : 0;
	}
	e->gfn = gfn + 1;
	e->epoch = c->mmu.epoch;
	e->host = x.host;
	e->writable = (access & MMU_WRITE) && x.writable;
	return 0;
}

u8 *access_phys_known(struct cpu *c, gpa_t page)
{
	u64 gfn = page >> PAGE_SHIFT;
	typeof(&c->ptc[0]) e = &c->ptc[gfn & (ARRAY_SIZE(c->ptc) - 1)];

	return e->gfn == gfn + 1 && e->epoch == c->mmu.epoch ? e->host : NULL;
}

/* Was a guarded access broken off by a kick, or did the host refuse it? */
static int phys_died(struct cpu *c, gpa_t gpa, unsigned access)
{
	int r;

	if (guard_fault.sig == GUARD_BROKEN_OFF)
		return -EAGAIN;
	r = mmu_refault(&c->mmu, gpa, access,
			guard_fault.sig == SIGBUS && guard_fault.code == BUS_MCEERR_AR
				? -EHWPOISON
				: -EFAULT);
	return r ? r : -EAGAIN;
}

int access_phys_load(struct cpu *c, gpa_t gpa, u32 size, u64 *value)
{
	u8 *host;
	u32 v32;
	int r = ptc_get(c, gpa, size, MMU_READ, &host);

	if (r)
		return r;
	host += gpa & ~PAGE_MASK;
	if (size == 8)
		return guard_load64(host, value) ? 0 : phys_died(c, gpa, MMU_READ);
	if (!guard_load32(host, &v32))
		return phys_died(c, gpa, MMU_READ);
	*value = v32;
	return 0;
}

int access_phys_cmpxchg(struct cpu *c, gpa_t gpa, u32 size, u64 old, u64 new_, bool *done)
{
	u8 *host;
	u32 old32 = (u32)old;
	bool ok;
	int r = ptc_get(c, gpa, size, MMU_READ | MMU_WRITE, &host);

	if (r)
		return r;
	host += gpa & ~PAGE_MASK;
	ok = size == 8 ? guard_cmpxchg64((u64 *)host, &old, new_, done)
		       : guard_cmpxchg32((u32 *)host, &old32, (u32)new_, done);
	return ok ? 0 : phys_died(c, gpa, MMU_WRITE);
}

/* -- what the host refused */

void access_died(struct cpu *c, u64 la, bool write)
{
	unsigned access = write ? MMU_WRITE : MMU_READ;
	enum tlb_mode mode = current_mode(c);
	struct walk w;
	u32 error;
	int r;

	if (guard_fault.sig == GUARD_BROKEN_OFF)
		cpu_restart(c);
	r = guard_fault.sig == SIGBUS && guard_fault.code == BUS_MCEERR_AR ? -EHWPOISON : -EFAULT;
	/* The guest's tables were walked for this access before; they may have changed since, and
	 * then running the instruction again finds out. */
	if (walk_linear(c, la, access, walk_flags_of(c, mode) | WALK_NO_SET, &w, &error))
		cpu_restart(c);
	r = mmu_refault(&c->mmu, w.gpa, access, r);
	if (r && r != -ENOENT)
		leave_unserved(c, w.gpa, access, r);
	cpu_restart(c);
}

/* -- ports */

u32 access_port_in(struct cpu *c, u16 port, u32 size, u8 whole)
{
	u32 v = 0;

	if (unlikely(c->check_watch))
		watch_port(c, port, size);
	replay_port(c, port, size, false, &v, whole);
	return v;
}

void access_port_out(struct cpu *c, u16 port, u32 size, u32 value, u8 whole)
{
	if (unlikely(c->check_watch))
		watch_port(c, port, size);
	replay_port(c, port, size, true, &value, whole);
}
