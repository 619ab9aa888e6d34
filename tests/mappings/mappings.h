/* SPDX-License-Identifier: MIT */
/*
 * tests/mappings/mappings.h: a guest whose page tables change at random under its own code, and a model that
 * says in advance what each of its instructions sees.
 *
 * The guest executes a script: records that store to page tables, invalidate, switch address spaces, hand over
 * to another vCPU, ask the VMM for something, or run a probe. A probe is a short random function of loads,
 * stores, pushes, calls and jumps off a few base registers. Each page of data and of code is mapped at several
 * addresses. Before a probe runs, all that was changed has been invalidated in one of the ways that suffice, so
 * that the architecture leaves nothing open: registers at the end, faults with their addresses and error codes,
 * accessed and dirty bits, and memory must be what the model has. It is the same for every engine.
 */
#ifndef TESTS_MAPPINGS_H
#define TESTS_MAPPINGS_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>
#include "../vmm/minivmm.h"

#define PAGE	   4096u
#define VCPUS	   2u
#define WORLDS	   2u /* one for all vCPUs, or one for each */
#define SPACES	   4u
#define PROBES	   24u
#define COUNT(a)   (sizeof(a) / sizeof((a)[0]))

/* ---- guest-physical. Slot 0 has what the driver, tables and code need, slot 1 the data. */
#define TSS_AT(v)	(0x10000u + (v) * PAGE)
#define IST_AT(v)	(0x15000u + (v) * PAGE) /* its top */
#define MINE_AT(v)	(0x18000u + (v) * PAGE) /* the driver's variables, at GS */
#define TURN_AT		0x1a000u
#define TABLES		0x20000u
#define TABLE_PAGES	64u
#define CODE		0x60000u
#define PROBE_PAGES	4u
#define PROBE_SIZE	512u
#define LEAF_PAGES	8u /* of a world */
#define LEAVES_AT(w)	(CODE + (PROBE_PAGES + (w) * LEAF_PAGES) * PAGE)
#define COMPARED	0x80000u /* from TABLES on up to here the model has all */
#define BLOCKS		1000u	 /* of a batch and a vCPU */
#define SCRIPT_AT(v)	(0x80000u + (v) * 0x20000u)
#define RECORDS		(0x20000u / 32)
#define BLOCKS_AT(v)	(0xc0000u + (v) * 0x40000u)
#define OUTS_AT(v)	(0x140000u + (v) * 0x40000u)
#define DATA		0x400000u
#define DATA_SIZE	0x200000u
#define DATA_FIRST(w)	((w) * 64u) /* the first page of a world */
#define DATA_PAGES	12u	    /* of a world */
#define DATA_COMPARED	(96u * PAGE)

/* ---- linear. The first GiB maps itself, for the supervisor; these two are what it is about. */
#define LOWER	    0x8000000000ull	   /* an address space's own */
#define UPPER	    0xffff800000000000ull /* all spaces have it, where global pages are */
#define LEAF_LA	    (PROBE_PAGES * PAGE)  /* probes first, then leaves */
#define DATA_LA	    0x400000u

/* Bits of page-table entries. */
#define P   1ull
#define RW  2ull
#define US  4ull
#define A   0x20ull
#define D   0x40ull
#define PS  0x80ull
#define G   0x100ull
#define NX  (1ull << 63)
#define FRAME 0x000ffffffffff000ull

#define CR0_WP	  (1ull << 16)
#define CR4_PGE	  (1ull << 7)
#define CR4_PCIDE (1ull << 17)
#define CR4_SMEP  (1ull << 20)
#define CR4_SMAP  (1ull << 21)
#define KEEP	  (1ull << 63) /* in a value for CR3 */
#define EFLAGS_AC (1ull << 18)

/* ---- what the guest is told and says */

enum record_op {
	R_END,
	R_STORE64,   /* b to a */
	R_STORE32,
	R_INVLPG,    /* a */
	R_CR3,	     /* a */
	R_CR4,
	R_CR0,
	R_INVPCID,   /* type a; b and c are the descriptor */
	R_RUN,	     /* the block at a */
	R_WAIT,	     /* until the turn is a */
	R_POST,	     /* the turn is a */
	R_ASK,	     /* the VMM: a port */
	NR_RECORD_OPS
};

struct record {
	uint64_t op, a, b, c;
};

/* What a probe begins with, as the driver pops it. */
struct block {
	uint64_t reg[16]; /* that of RSP means nothing */
	uint64_t rip, cs, rflags, rsp, ss;
	uint64_t pad;
	uint64_t xmm[4][2];
	uint64_t more[2];
};

/* What it ends with. */
struct out {
	uint64_t reg[16]; /* that of RSP means nothing */
	uint64_t vector, error;
	uint64_t rip, cs, rflags, rsp, ss;
	uint64_t cr2; /* of a page fault */
	uint64_t xmm[4][2];
};

_Static_assert(sizeof(struct block) == 256 && sizeof(struct out) == 256, "the driver has these sizes");

#define VECTOR_END 0x30u
#define VECTOR_PF  14u
#define ASK_PORT   0x10
#define KERNEL_CS  0x18u
#define USER_CS	   0x2bu
#define USER_DS	   0x23u

/* ---- random.c's, of one seed */

uint64_t rnd(void);
void rnd_seed(uint64_t seed);
static inline unsigned below(unsigned n)
{
	return (unsigned)(rnd() % n);
}
/* True once in n times. */
static inline bool one_in(unsigned n)
{
	return !below(n);
}

/* ---- model.c: memory as it has to be, and the walk through it */

/* From where an access is made. */
struct view {
	uint64_t cr3;
	bool wp, smap, smep, user, ac;
};

#define READ  1u
#define WRITE 2u
#define FETCH 4u

/* A page fault, or none. */
struct fault {
	bool is;
	uint64_t cr2;
	uint32_t error;
};

extern bool slot_read_only; /* stores to data go to the VMM, which drops them */
enum written { NOT_WRITTEN, IS_WRITTEN, MAY_BE_WRITTEN };
extern uint8_t written[DATA_SIZE / PAGE]; /* pages of data, since the log was taken last */

uint8_t *model_at(uint64_t gpa);
void model_clear(void);
uint64_t model_load64(uint64_t gpa);
void model_store(uint64_t gpa, const void *from, unsigned size);
struct fault model_read(const struct view *v, uint64_t la, void *to, unsigned size);
struct fault model_write(const struct view *v, uint64_t la, const void *from, unsigned size);
/* A store there was near, and a fault came before it: the dirty log may have its page. */
void model_may_write(const struct view *v, uint64_t la);
/* As a read-modify-write begins: the same as a store, and what is there. */
struct fault model_modify(const struct view *v, uint64_t la, void *old, unsigned size);
struct fault model_fetch(const struct view *v, uint64_t la, void *to, unsigned size);

/* ---- probe.c */

/* What call and jump targets in a leaf's page are. */
#define LEAF_PLAIN 0x040u /* mov $number, %eax; ret */
#define LEAF_ON	   0x080u /* mov $number, %eax; jmp to the next page's plain one */
#define LEAF_LOAD  0x0c0u /* mov (%rbx), %eax; ret */
#define LEAF_LAST  0xffeu /* mov $number, %eax; ret, most of it in the next page */

void probes_make(void);		/* all of them, in the model's memory */
void probe_make(unsigned n);	/* one anew */
uint64_t probe_offset(unsigned n); /* from the first page of probes */
bool probe_pops_what_counts(unsigned n); /* and so may not run where stores are dropped */
void leaf_make(uint64_t gpa, uint32_t number);
/* The state that the probe begins with, and what it ends with. */
void probe_expect(unsigned n, const struct view *v, const struct block *b, struct out *o);
void probe_print(unsigned n);

/* ---- script.c: a batch, with what is to come of it */

enum ask {
	ASK_READ_ONLY,
	ASK_WRITABLE,
	ASK_LOG,
	ASK_NO_LOG,
	ASK_TAKE_LOG, /* and compare */
	ASK_MOVE,     /* the memslot to other memory with the same bytes */
	ASK_AGAIN,    /* delete the memslot, and make it anew */
	ASK_PUNCH,    /* drop the mapping's pages: the file has the bytes */
	NR_ASKS
};

struct asked {
	enum ask what;
	uint8_t written[DATA_SIZE / PAGE];
};

enum kind { KIND_ONE, KIND_TURNS, KIND_APART, NR_KINDS };
extern const char *const kind_names[NR_KINDS];

struct batch {
	unsigned vcpus;
	struct record script[VCPUS][RECORDS];
	struct block block[VCPUS][BLOCKS];
	struct out expected[VCPUS][BLOCKS];
	unsigned probe[VCPUS][BLOCKS], record[VCPUS][BLOCKS]; /* which, and where in the script */
	unsigned nrecords[VCPUS], nblocks[VCPUS];
	struct asked asked[64];
	unsigned nasked;
};

extern struct batch batch;
/* Tables, and the registers of vCPUs to begin with. */
void script_begin(enum kind k);
void script_registers(unsigned vcpu, struct kvm_sregs *s);
void script_make(void);
void script_print(unsigned vcpu, unsigned from, unsigned to);

/* ---- machine.c */

void machine_create(void);
/* With `meddle` the VMM changes what the guest does not see, while it runs. False: it differs from the model. */
bool machine_run(bool meddle);
uint64_t machine_digest(void); /* of all that the guest has said */
void machine_destroy(void);

#endif
