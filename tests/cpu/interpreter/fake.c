/* SPDX-License-Identifier: MIT */
#include "fake.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/guard.h"
#include "cpu/access.h"
#include "cpu/code/cache.h"
#include "cpu/code/decode.h"
#include "cpu/fault.h"
#include "cpu/interpreter/interpreter.h"
#include "cpu/native/native.h"
#include "cpu/replay.h"
#include "cpu/system/decode.h"
#include "mmu/mmu.h"

static int raised;
static u64 code_lines[FAKE_SIZE / PAGE_SIZE];

static void tlb_clear(struct cpu *c)
{
	for (unsigned m = 0; m < TLB_MODES; m++) {
		for (unsigned i = 0; i < TLB_ENTRIES; i++)
			tlb_set(&c->mmu.tlb[m], i, (struct tlb_entry){tlb_nothing(i), tlb_nothing(i), 0, 0});
	}
}

struct cpu *fake_create(void)
{
	struct cpu *c = aligned_alloc(PAGE_SIZE, ALIGN_UP(sizeof(*c), PAGE_SIZE));
	void *p = mmap((void *)FAKE_BASE, FAKE_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	if (!c || p == MAP_FAILED)
		abort();
	memset(c, 0, sizeof(*c));
	c->tlb = &c->mmu.tlb[TLB_USER];
	c->flags = FL_FIXED;
	tlb_clear(c);
	if (guard_install() || code_cache_create(c))
		abort();
	fake_set_mode(c, MODE_LONG);
	return c;
}

void fake_set_mode(struct cpu *c, enum cpu_mode mode)
{
	c->mode = (u8)mode;
	c->key = mode | (mode == MODE_COMPAT32 ? BLOCK_KEY_SS32 | BLOCK_KEY_FLAT : 0);
	c->ea_mask = mode == MODE_LONG ? ~0ULL : 0xffffffff;
	c->efer = EFER_LMA | EFER_LME;
	for (unsigned i = 0; i < NR_SEG; i++) {
		c->seg[i].limit = 0xffffffff;
		c->seg[i].attr = (i == SEG_CS ? 0x9b : 0x93) | SEG_ATTR_DB;
	}
}

int fake_run(struct cpu *c)
{
	struct unwind_point here;

	raised = -1;
	c->unwind = &here;
	if (!UNWIND_SET(&here)) {
		for (;;)
			interpreter_run(c);
	}
	return raised;
}

void fake_code_changed(struct cpu *c)
{
	code_cache_distrust(c);
}

static void NORETURN unwind(struct cpu *c, int vector)
{
	c->rip = c->op ? op_rip(c, c->op) : c->rip;
	c->op = NULL;
	raised = vector;
	UNWIND_GO(c->unwind);
}

void cpu_raise(struct cpu *c, u8 vector)
{
	unwind(c, vector);
}

void cpu_raise_error(struct cpu *c, u8 vector, u32 error)
{
	unwind(c, vector);
}

void cpu_leave(struct cpu *c, enum cpu_exit_reason reason)
{
	unwind(c, 1000 + (int)reason);
}

void cpu_unwind(struct cpu *c)
{
	unwind(c, raised);
}

void cpu_restart(struct cpu *c)
{
	unwind(c, FAKE_RESTART);
}

void access_died(struct cpu *c, u64 la, bool write)
{
	unwind(c, VEC_PF);
}

/* -- memory */

static bool inside(u64 la, u64 size)
{
	return la >= FAKE_BASE && la + size <= FAKE_BASE + FAKE_SIZE;
}

static void check(struct cpu *c, u64 la, u64 size)
{
	if (c->mode == MODE_LONG && (u64)((s64)(la << 16) >> 16) != la)
		unwind(c, c->op && c->op->seg == SEG_SS ? VEC_SS : VEC_GP);
	if (!inside(la, size))
		unwind(c, VEC_PF);
}

static void fill(struct cpu *c, u64 la, bool write)
{
	u32 slot = tlb_slot(la);
	u64 page = la & PAGE_MASK;

	c->tlb->neg_read[slot] = -page;
	if (write && !code_lines[(la - FAKE_BASE) / PAGE_SIZE])
		c->tlb->neg_write[slot] = -page;
	c->tlb->delta[slot] = 0;
}

/* A store: code in it is dropped. False: keep to the slow path. */
static void note_write(struct cpu *c, u64 la, u64 size)
{
	for (u64 at = la; at < la + size; at++) {
		u64 *lines = &code_lines[(at - FAKE_BASE) / PAGE_SIZE];

		if (*lines >> ((at & ~PAGE_MASK) / 64) & 1) {
			*lines = 0;
			c->mmu.epoch++;
			c->mmu.code_epoch++;
		}
	}
}

u64 access_load_slow(struct cpu *c, u64 la, u32 size)
{
	u64 v = 0;

	check(c, la, size);
	fill(c, la, false);
	memcpy(&v, (void *)la, size);
	return v;
}

void access_store_slow(struct cpu *c, u64 la, u32 size, u64 value)
{
	check(c, la, size);
	note_write(c, la, size);
	fill(c, la, true);
	memcpy((void *)la, &value, size);
}

void access_read(struct cpu *c, u64 la, void *buf, u32 size)
{
	check(c, la, size);
	memcpy(buf, (void *)la, size);
}

void access_write(struct cpu *c, u64 la, const void *buf, u32 size)
{
	check(c, la, size);
	note_write(c, la, size);
	memcpy((void *)la, buf, size);
}

void *access_ptr(struct cpu *c, u64 la, u32 size, bool write, bool *direct)
{
	check(c, la, size);
	fill(c, la, write);
	if (write)
		note_write(c, la, size);
	/* A page crossing goes through the bounce buffer, as the real one does it. */
	*direct = (la & ~PAGE_MASK) + size <= PAGE_SIZE;
	if (*direct)
		return (void *)la;
	c->bounce.la = la;
	c->bounce.size = write ? size : 0;
	memcpy(c->bounce.buf, (void *)la, size);
	return c->bounce.buf;
}

void access_write_words(struct cpu *c, u64 la, const void *buf, u32 size)
{
	access_write(c, la, buf, size);
}

void *access_direct(struct cpu *c, u64 la, u32 size, bool write)
{
	bool direct;
	void *p = access_ptr(c, la, size, write, &direct);

	return direct ? p : NULL;
}

void access_ptr_done(struct cpu *c, bool direct)
{
	if (!direct)
		memcpy((void *)c->bounce.la, c->bounce.buf, c->bounce.size);
}

void access_probe(struct cpu *c, u64 la, u32 size, bool write)
{
	check(c, la, size);
}

void *access_span(struct cpu *c, u64 la, u32 max, bool write, u32 *len)
{
	*len = (u32)MIN((u64)max, PAGE_SIZE - (la & ~PAGE_MASK));
	check(c, la, 1);
	if (write && code_lines[(la - FAKE_BASE) / PAGE_SIZE])
		return NULL;
	return (void *)la;
}

bool access_fetch(struct cpu *c, u64 la, gpa_t *gpa, u8 **host)
{
	check(c, la, 1);
	*gpa = la & PAGE_MASK;
	*host = (u8 *)(la & PAGE_MASK);
	return false;
}

u32 access_port_in(struct cpu *c, u16 port, u32 size, u8 whole)
{
	return port;
}

void replay_keep_port(struct cpu *c, u16 port, u32 size, u32 value)
{
}

u32 replay_port_string(struct cpu *c, u16 port, u32 size, u32 max, const u8 **data)
{
	*data = c->io_data;
	memcpy(c->io_data, &(u32){port}, size);
	return 1;
}

void access_port_out(struct cpu *c, u16 port, u32 size, u32 value, u8 whole)
{
}

u32 fake_zapped;

/* The memslot of the page has gone, and the request to flush comes soon after. */
static int find_zapped(struct cpu *c)
{
	if (fake_zapped == FAKE_REQUEST)
		sync_or(&c->mmu.requests, MMU_REQ_FLUSH);
	if (fake_zapped++ > 2 * FAKE_REQUEST)
		unwind(c, FAKE_ASTRAY);
	return -ENOENT;
}

int mmu_code_track(struct mmu_vcpu *v, gpa_t gpa, u64 lines)
{
	struct cpu *c = container_of(v, struct cpu, mmu);
	u32 slot = tlb_slot(gpa);

	if (fake_zapped)
		return find_zapped(c);
	code_lines[(gpa - FAKE_BASE) / PAGE_SIZE] |= lines;
	c->tlb->neg_write[slot] = tlb_nothing(slot);
	return 0;
}

void mmu_vcpu_enter(struct mmu_vcpu *v)
{
	v->mode = MMU_IN_GUEST;
}

void mmu_vcpu_leave(struct mmu_vcpu *v)
{
	v->mode = MMU_OUTSIDE;
}

bool mmu_stop_others(struct mmu_vcpu *v)
{
	return true;
}

bool mmu_stops_others(const struct mmu_vcpu *v)
{
	return true;
}

void mmu_start_others(struct mmu_vcpu *v)
{
}

/* -- what other rooms decode */

const struct table_line table_system[1], table_native[1];
const unsigned table_system_lines, table_native_lines;

bool native_decode(struct decoder *d, struct op *op)
{
	return false;
}

#define NOT_HERE(name)                                                                             \
	bool name(struct decoder *d, struct op *op)                                                \
	{                                                                                          \
		return false;                                                                      \
	}
NOT_HERE(system_decode_mov)
NOT_HERE(system_decode_push_seg)
NOT_HERE(system_decode_pop_seg)
NOT_HERE(system_decode_far_jump)
NOT_HERE(system_decode_far_call)
NOT_HERE(system_decode_far_return)

void io_check(struct cpu *c, u16 port, u32 size)
{
}
