/* SPDX-License-Identifier: MIT */
/*
 * cpu/soak/soak.h: random instruction-and-state pairs, on the host's processor and on a whole
 * vCPU (all of cpu/ on the real mmu/), for user mode: what both must agree on.
 *
 * Guest and host reach the same bytes at the same addresses: a page of code and some of data at
 * SOAK_BASE. Nothing beside them is mapped that either could reach in user mode.
 */
#ifndef TESTS_CPU_SOAK_H
#define TESTS_CPU_SOAK_H

#include <Zydis/Zydis.h>
#include "cpu/state.h"
#include "cpu/table/vendor.h"

#define SOAK_BASE      0x10000000ULL
#define SOAK_CODE      (SOAK_BASE + 0x800) /* where the instruction stands, in a page of INT3 */
#define SOAK_CODE_PAGES 2 /* with guest_pair; else one */
#define SOAK_LANDING   (SOAK_BASE + 0x909) /* where indirect branches may go */
#define SOAK_DATA      (SOAK_BASE + 0x4000)
#define SOAK_DATA_SIZE 0x4000ULL
#define SOAK_SIZE      0x10000ULL

enum soak_mode { SOAK_64, SOAK_32, SOAK_16, SOAK_MODES };
extern const char *const soak_mode_name[SOAK_MODES];

/*
 * Selectors: Linux's user segments, and entries of the LDT, which all begin at SOAK_BASE: 16-bit
 * code, data of 64 KiB, data that ends and data that begins (it expands down) amid the pages.
 */
enum {
	SEL_USER32 = 0x23,
	SEL_USER_DS = 0x2b,
	SEL_USER64 = 0x33,
	SEL_LDT_CS = 0x07,
	SEL_LDT_DS = 0x0f,
	SEL_LDT_SHORT = 0x17,
	SEL_LDT_DOWN = 0x1f,
};
#define SOAK_LIMIT 0x6123u /* of the last two */

/* 16-bit segments begin at SOAK_BASE; the others are flat. */
static inline u64 soak_segment_base(enum soak_mode m)
{
	return m == SOAK_16 ? SOAK_BASE : 0;
}
static inline u64 soak_selector_base(u16 sel)
{
	return sel & 4 ? SOAK_BASE : 0;
}
/* CS and SS that a case begins with, and DS and ES unless it says otherwise. */
static inline u16 soak_code_selector(enum soak_mode m)
{
	return m == SOAK_64 ? SEL_USER64 : m == SOAK_32 ? SEL_USER32 : SEL_LDT_CS;
}
static inline u16 soak_stack_selector(enum soak_mode m)
{
	return m == SOAK_16 ? SEL_LDT_DS : SEL_USER_DS;
}
static inline u16 soak_data_selector(enum soak_mode m)
{
	return m == SOAK_64 ? 0 : soak_stack_selector(m);
}

/* x87, SSE, AVX, AVX-512 as far as the host has them, standard format. */
#define SOAK_XSAVE_SIZE 2688 /* to the end of Hi16_ZMM */

struct soak_state {
	u64 reg[16];
	u64 rip, rflags;
	u64 fs_base, gs_base; /* 64-bit mode */
	u16 sel[6];	      /* ES CS SS DS FS GS; CS and SS go in as the mode says */
	u8 xsave[SOAK_XSAVE_SIZE] __attribute__((aligned(64)));
	u64 kernel_gs_base; /* with guest_kernel */
};

/* How it ended: vector of the trap or fault, its error code and address where it has them. */
struct soak_end {
	int vector;
	u32 error;
	u64 cr2;
};

struct soak_case {
	enum soak_mode mode;
	u8 bytes[15];
	ZydisDecodedInstruction i;
	ZydisDecodedOperand o[ZYDIS_MAX_OPERAND_COUNT];
	struct soak_state s;
	u8 mem[SOAK_DATA_SIZE];
};

/* ---- forms.c: which encodings lead to which table line */

/* Once; slow. */
void forms_collect(void);
/* A random encoding of the mnemonic in this mode, into t->bytes, decoded. False: none, or this
 * draw came to nothing. */
bool forms_draw(struct soak_case *t, unsigned mnemonic);
/* Turn the encoding into one that may be none: t->i then is zero but for the length. False: of no
 * use here. */
bool forms_mutate(struct soak_case *t);
bool forms_decode(struct soak_case *t);
bool forms_calls_kernel(const struct soak_case *t);
#define SOAK_MAX_LINES 2048

/* Why the mnemonic is not compared with the host, or NULL. */
const char *soak_not_compared(unsigned mnemonic);
/* Can user mode do no more with it than fault? */
bool soak_privileged(unsigned mnemonic);
bool forms_line_on_host(unsigned line);
/* Components of vector state that go with it. */
u64 forms_xmask(void);

/* ---- generate.c */

extern bool generate_ldt; /* segments of the LDT may be used */
/* State and memory for t's instruction; false: leave this draw. */
bool generate_state(struct soak_case *t);
void generate_memory(struct soak_case *t);
/* Of the segment that memory operand m of the case lies in. */
u64 soak_operand_base(const struct soak_case *t, const ZydisDecodedOperand *m);

/* soak_end.vector of a run on the host that did not end, or called its kernel. */
#define HOST_STUCK  999
#define HOST_CALLED 998

/* ---- emitted.c: is everything allowed that the vCPU's translator has made since it was last asked? */
bool emitted_is_allowed(struct cpu *c);
extern u64 emitted_checked; /* instructions */
/* Does it see what is not? */
bool emitted_finds_faults(void);

/* ---- host.c, guest.c: t->bytes with state *s (in and out) and memory at SOAK_DATA */

extern u64 host_xmask; /* components that are compared */
int host_init(void);
/* Make the LDT's segments; false: the host has none. */
bool host_has_ldt(void);
struct soak_end host_run(struct soak_state *s, enum soak_mode mode);

extern bool guest_translated; /* by the translator, where it knows the instruction; or */
extern bool guest_pair;	      /* a vCPU of either kind; set before: */
/* Set before, with guest_pair: 64-bit code runs at CPL 0 under SMAP, and while IF is clear an interrupt of
 * this vector waits. */
extern bool guest_kernel;
/* Set before, with guest_pair: what is executed a second time is translated, so that traces are; nobody counts. */
extern bool guest_traced;
#define GUEST_INTERRUPT 0x80
/* Has this host's processor a translator? False, having said what it needs, where guests are interpreted alone. */
bool guest_can_translate(void);
int guest_init(void);
/* With guest_pair: which of the two runs. */
void guest_choose(bool translated);
/* Make the run end with vector GUEST_STUCK, if there is one now. From a signal's handler. */
void guest_give_up(void);
u64 guest_instructions(void);
#define GUEST_STUCK (1000 + CPU_EXIT_REQUEST)
struct soak_end guest_run(struct soak_state *s, enum soak_mode mode);
/* CPUID's vendor, from the next run on. 0 or -errno. */
int guest_set_vendor(enum vendor v);
/* Make the next run start without TLB entries. */
void guest_flush_tlb(void);
struct cpu *guest_vcpu(void);

/* ---- in_use.c */

/* Take into the guest's data what the host's has of components in their initial state that it counted as
 * in use. False: there are none, or something else differs of them. */
bool in_use_take(const struct soak_case *t, const u8 *host, u8 *guest);

/* ---- compare.c */

enum { DIFF_NONE, DIFF_VECTOR, DIFF_REG, DIFF_FLAGS, DIFF_XSTATE, DIFF_MEMORY };

/* ---- excuse.c */

/* What a difference may be excused with. */
enum excuse {
	EXCUSE_NONE,
	EXCUSE_FLAGS,
	EXCUSE_ORDER,
	EXCUSE_MASKMOV,
	EXCUSE_CR2,
	EXCUSE_WRAP,
	EXCUSE_PARTS,
	EXCUSE_KERNEL,
	EXCUSE_NULL,
	EXCUSE_UPPER,
	EXCUSE_POINTERS,
	EXCUSE_CANON,
	EXCUSE_REP_LOOP,
	EXCUSE_RESERVED,
	EXCUSE_INT1,
	EXCUSE_OFFSET,
	EXCUSE_IN_USE,
	NR_EXCUSES
};
/* Needed everywhere. */
#define SOAK_EXPECTED                                                                              \
	(1u << EXCUSE_FLAGS | 1u << EXCUSE_KERNEL | 1u << EXCUSE_NULL | 1u << EXCUSE_UPPER |       \
	 1u << EXCUSE_POINTERS)
extern const struct soak_excuse {
	const char *what;
	const char *intel, *amd;   /* the sections that allow it: SDM and APM */
	double max, max_integer;   /* of all pairs; of integer instructions alone */
} soak_excuse[NR_EXCUSES];

struct soak_result {
	int what;    /* DIFF_* */
	u32 excused; /* bit per excuse that was needed */
	u32 mem_at;  /* where memory differs first, and how */
	u64 mem_host, mem_guest;
	struct soak_state host, guest;
	struct soak_end host_end, guest_end;
};
enum excuse excuse_vector(const struct soak_case *t, const struct soak_result *r);
enum excuse excuse_page_fault(const struct soak_case *t, const struct soak_end *h,
			      const struct soak_end *g);
/* Bits that are reserved, which the host ignores where userkvm does not. */
bool excuse_reserved(const struct soak_case *t, const struct soak_result *r);
enum excuse excuse_rip(const struct soak_case *t, const struct soak_result *r);
u64 excuse_undefined_flags(const struct soak_case *t);
/* Two words of memory, of which the host's may be XSTATE_BV with more components in use. */
bool excuse_stores_in_parts(const struct soak_case *t);

/* Those that user mode can see; the others are shown by tests/bare and tests/cpu/system. */
#define USER_FACTS (FACT_STORE_FIRST + 1)
/* facts.c: does it depend on this fact how the case ends? */
bool fact_decides(enum vendor_fact f, const struct soak_case *t, const struct soak_result *r);

/* Both sides of a case (compare.c). */
void soak_compare(const struct soak_case *t, struct soak_result *r);
/* Only the guest's side, told that it is this vendor's; true: other than r has from the last
 * soak_compare(), memory included. */
bool soak_vendor_differs(const struct soak_case *t, const struct soak_result *r, enum vendor v);

/* ---- regress.c: cases as lines of text, made small */

void regress_shrink(struct soak_case *t);
/* The line, into `out`. */
void regress_print(const struct soak_case *t, char *out, size_t size);
/* False: no such line. */
bool regress_parse(const char *line, struct soak_case *t);
bool regress_needs_ldt(const struct soak_case *t);

/* ---- sandbox.c: from here on no system call but those the engine itself needs; `reports`: and
 * those to read cases and print. 0 or -errno. */
int sandbox_enter(bool reports);

#endif
