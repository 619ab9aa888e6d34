/* SPDX-License-Identifier: MIT */
#include "loader/direct.h"

#include <cpuid.h>
#include <errno.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/mman.h>
#include "base/own.h"
#include "base/space.h"
#include "base/types.h"
#include "loader/layout.h"
#include "loader/site.h"
#include "loader/trap.h"
#include "preload/memory.h"
#include "preload/preload.h"
#include "primary/linux/linux.h"

#define SITES	 16		/* places that make ioctls; there is one in a libc */
#define REACH	 (2047ULL << 20) /* bytes that a jump goes, and some less */
#define FARTHEST (1024ULL << 20) /* that a gate is looked for */
#define NEAREST	 (64ULL << 10)

extern void trap_direct(void) HIDDEN;
long direct_call(u64 fd, u64 arg) HIDDEN;

/* ------------------------------------------------------------------ what assembly saves */

#define XSAVE_LEAF  0xd
#define XSAVEC_BIT  2	 /* of subleaf 1's EAX: the instruction is there */
#define XSAVE_FIRST 576	 /* bytes of x87's state, SSE's and the header */
#define STATES	    0xe7 /* x87, SSE, AVX, AVX-512: what our C and a guest change */

u64 direct_states HIDDEN;     /* of these, those that the processor has on; 0: nobody comes directly */
u64 direct_states_size HIDDEN; /* bytes, a multiple of 64 */
u64 direct_epoch HIDDEN = 1;  /* atomic: how often filters were installed */

static void find_states(void)
{
	u32 a, b, c, d, lo, hi, size = XSAVE_FIRST;

	if (!__get_cpuid_count(XSAVE_LEAF, 1, &a, &b, &c, &d) || !(a & XSAVEC_BIT))
		return;
	asm volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
	lo &= STATES;
	for (u32 i = 2; lo >> i; i++) {
		if (!(lo >> i & 1))
			continue;
		__cpuid_count(XSAVE_LEAF, i, a, b, c, d);
		size = (c & 2 ? ALIGN_UP(size, 64) : size) + a;
	}
	direct_states_size = ALIGN_UP(size, 64);
	direct_states = lo;
}

void direct_init(void)
{
	find_states();
	loader_handover->direct = trap_direct;
}

/* From trap.S, on the lent FS base and the program's stack. As the kernel would return it. */
long direct_call(u64 fd, u64 arg)
{
	long a[6] = {(long)fd, KVM_RUN, (long)arg}, r = -1;

	mask_of_call = NULL;
	errno = ENOSYS;
	by_number(SYS_ioctl, a, &r);
	return r == -1 ? -errno : r;
}

/* ------------------------------------------------------------------ sites */

enum site_state { FREE, TAKEN, PATCHED, REFUSED };

static struct site {
	u64 back; /* behind its `syscall'; atomic, stays */
	u64 gate; /* the page; before the state says PATCHED */
	int state; /* atomic */
} sites[SITES];

/* The one that is `back', which may be new; NULL: there are too many. */
static struct site *find_site(u64 back)
{
	for (struct site *s = sites; s < sites + SITES; s++) {
		u64 was = 0;

		if (__atomic_load_n(&s->back, __ATOMIC_ACQUIRE) == back ||
		    __atomic_compare_exchange_n(&s->back, &was, back, false, __ATOMIC_ACQ_REL,
						__ATOMIC_ACQUIRE) ||
		    was == back)
			return s;
	}
	return NULL;
}

static u64 site_load(const struct site *s)
{
	return s->back - SITE_CALL - SITE_LOAD;
}

static u64 site_page(const struct site *s)
{
	return ALIGN_DOWN(site_load(s), PAGE_SIZE);
}

static bool is_patched(const struct site *s)
{
	return __atomic_load_n(&s->state, __ATOMIC_ACQUIRE) == PATCHED;
}

/* ------------------------------------------------------------------ a gate */

static const u8 gate_code[] = {
	0x48, 0x8d, 0x8e, 0, 0, 0, 0,	       /* lea -KVM_RUN(%rsi), %rcx: the flags stay */
	0xe3, 10,			       /* jrcxz 1f */
	0xb8, SYS_ioctl, 0, 0, 0,	       /* 0: mov $SYS_ioctl, %eax */
	0xe9, 0, 0, 0, 0,		       /* jmp to the `syscall' */
	0x48, 0x8d, 0x0d, 0xef, 0xff, 0xff, 0xff, /* 1: lea 0b(%rip), %rcx */
	0x48, 0xa1, 0, 0, 0, 0, 0, 0, 0, 0,    /* movabs loader_handover->direct, %rax */
	0xff, 0xe0,			       /* jmp *%rax */
};
#define GATE_REQUEST 3	/* offsets of what is filled in */
#define GATE_PASS    9	/* what is not for us goes on here, and names the gate */
#define GATE_BACK    15
#define GATE_DIRECT  28

static void fill_gate(u8 *page, const struct site *s)
{
	s32 request = -(s32)KVM_RUN;
	s32 way = (s32)(s->back - SITE_CALL - ((u64)page + GATE_BACK + sizeof(way)));
	void *direct = &loader_handover->direct;

	memcpy(page, gate_code, sizeof(gate_code));
	memcpy(page + GATE_REQUEST, &request, sizeof(request));
	memcpy(page + GATE_BACK, &way, sizeof(way));
	memcpy(page + GATE_DIRECT, &direct, sizeof(direct));
}

static void drop_gate(u64 page)
{
	own_carve(page, page + PAGE_SIZE);
	raw2(SYS_munmap, page, PAGE_SIZE);
}

/*
 * A page from which and to which a jump reaches; below the program, where its heap does not grow. A guest may have
 * slots over holes of the program's: it is in none of them, and no later one shows it.
 */
static u64 map_near(u64 site)
{
	for (u64 away = NEAREST; away <= FARTHEST && away < site; away *= 2) {
		u64 page = own_page_near(ALIGN_DOWN(site - away, PAGE_SIZE));

		if (page && page - site + REACH < 2 * REACH)
			return page;
		if (page)
			drop_gate(page);
	}
	return 0;
}

static bool make_gate(struct site *s)
{
	u64 page = map_near(site_load(s));

	if (!page)
		return false;
	if (!own_commit((void *)page, PAGE_SIZE, PROT_READ | PROT_WRITE)) {
		fill_gate((u8 *)page, s);
		if (!own_commit((void *)page, PAGE_SIZE, PROT_READ | PROT_EXEC)) {
			s->gate = page;
			return true;
		}
	}
	drop_gate(page);
	return false;
}

/* ------------------------------------------------------------------ the program's code */

/*
 * The page that `at' is in becomes a copy with these bytes, made where no guest reaches. It takes the place of the old
 * one at once: a thread there executes the old bytes or the new, and one that meets the change waits in the kernel.
 */
static bool put_bytes(u64 at, const u8 *bytes, size_t n)
{
	u64 page = ALIGN_DOWN(at, PAGE_SIZE);
	struct change change = {0};
	u8 *copy = space_alloc(PAGE_SIZE, PAGE_SIZE);
	long r;

	if (!copy)
		return false;
	memcpy(copy, (void *)page, PAGE_SIZE);
	memcpy(copy + (at - page), bytes, n);
	r = raw3(SYS_mprotect, copy, PAGE_SIZE, PROT_READ | PROT_EXEC);
	if (!r && change_begin(&change, "mremap", (void *)page, PAGE_SIZE, CHANGE_UNMAP)) {
		/* Where it was nobody else's mapping may come to lie before it is given back. */
		r = raw5(SYS_mremap, copy, PAGE_SIZE, PAGE_SIZE,
			 MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, page);
		change_end(&change, 0);
	}
	space_give((u64)copy, (u64)copy + PAGE_SIZE);
	return r == (long)page;
}

static bool may_patch(const struct site *s)
{
	u8 code[SITE_BEFORE + SITE_CALL];
	u64 load = site_load(s);

	if (!memory_read(code, NULL, 1)) /* memory at 0 */
		return false;
	return direct_states && load / PAGE_SIZE == (s->back - 1) / PAGE_SIZE &&
	       !memory_read(code, (void *)(s->back - sizeof(code)), sizeof(code)) &&
	       site_has_load(code) && primary_linux_is_private_and_read_only(load);
}

static bool patch(struct site *s)
{
	u8 jump[SITE_LOAD] = {0xe9};
	s32 way;

	if (!may_patch(s) || !make_gate(s))
		return false;
	way = (s32)(s->gate - (site_load(s) + SITE_LOAD));
	memcpy(jump + 1, &way, sizeof(way));
	if (put_bytes(site_load(s), jump, sizeof(jump)))
		return true;
	drop_gate(s->gate);
	s->gate = 0;
	return false;
}

/* Once for each site, by whoever comes first. */
static void patch_once(struct call *c, struct site *s)
{
	int was = FREE;

	if (!__atomic_compare_exchange_n(&s->state, &was, TAKEN, false, __ATOMIC_ACQ_REL,
					 __ATOMIC_ACQUIRE))
		return;
	trap_leave_alternate_stack(c);
	__atomic_store_n(&s->state, patch(s) ? PATCHED : REFUSED, __ATOMIC_RELEASE);
}

/*
 * The epoch is the one in which this thread's last call ended: the kernel asked the filters about this one
 * after that.
 */
void direct_note(struct call *c)
{
	struct lent *me = c->me;
	struct site *s;

	if (c->a[1] != KVM_RUN || !armed())
		return;
	s = find_site(c->back);
	if (!s)
		return;
	patch_once(c, s);
	me->direct = (struct direct){.back = c->back, .fd = (u64)c->a[0], .arg = (u64)c->a[2]};
	if (is_patched(s)) {
		me->direct.epoch = me->epoch;
		me->direct.gate = s->gate + GATE_PASS;
	}
	me->epoch = __atomic_load_n(&direct_epoch, __ATOMIC_ACQUIRE);
}

void direct_ask_again(void)
{
	__atomic_fetch_add(&direct_epoch, 1, __ATOMIC_RELEASE);
}

/* ------------------------------------------------------------------ what the program does with its memory */

static bool meets(u64 at, u64 start, u64 len)
{
	return at + PAGE_SIZE > start && at < start + len;
}

/* Nobody goes through the gate any more: its page becomes the program's. */
static void leave_gate(struct site *s)
{
	u64 gate = __atomic_exchange_n(&s->gate, 0, __ATOMIC_ACQ_REL);

	if (gate)
		own_carve(gate, gate + PAGE_SIZE);
}

static void unpatch(struct site *s)
{
	static const u8 load[SITE_LOAD] = {0xb8, SYS_ioctl};
	int was = PATCHED;

	if (!__atomic_compare_exchange_n(&s->state, &was, TAKEN, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		return;
	/* code that is the program's own by now is left alone */
	if (((u8 *)site_load(s))[0] == 0xe9)
		put_bytes(site_load(s), load, sizeof(load));
	__atomic_store_n(&s->state, REFUSED, __ATOMIC_RELEASE);
}

void direct_make_way(u64 start, u64 len, bool moves)
{
	for (struct site *s = sites; s < sites + SITES; s++) {
		bool takes_gate = s->gate && meets(s->gate, start, len);

		if (is_patched(s) && (takes_gate || (moves && meets(site_page(s), start, len))))
			unpatch(s);
		if (takes_gate && __atomic_load_n(&s->state, __ATOMIC_ACQUIRE) == REFUSED)
			leave_gate(s);
	}
}

u64 direct_before_copy(u64 start, u64 len)
{
	for (struct site *s = sites; s < sites + SITES; s++) {
		u64 page = site_page(s);

		if (is_patched(s) && meets(page, start, len))
			len = page > start ? page - start : 0;
	}
	return len;
}
