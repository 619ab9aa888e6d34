/* SPDX-License-Identifier: MIT */
/*
 * native/stub.h: from a decoded instruction to generated code, for the files of native/.
 *
 * native_recode() makes of a guest instruction the bytes the host is to run: 64-bit code, memory
 * operand [rsi], general registers moved to fixed scratch ones, and the lists of registers to
 * load before and store after. native_stub_get() turns that into code, once per VM.
 *
 * A stub is a leaf without a frame: rdi is the cpu, rsi the operand. Registers are stored back
 * after the instruction, so a fault in it leaves the guest's state alone; it returns 1 then
 * (guard_fault says why), else 0.
 */
#ifndef CPU_NATIVE_STUB_H
#define CPU_NATIVE_STUB_H

#include "cpu/code/decode.h"

/* What this host's processor has; decides how registers are loaded. */
struct native_host {
	u8 avx, avx512f, avx512bw;
	u32 mxcsr_mask;
	/* CPUID.7:EBX[6], [13]: FDP only on exceptions; FCS and FDS are not kept. */
	bool fdp_excptn_only, no_fcs_fds;
	bool hides_pointers; /* FXSAVE stores FIP, FDP and FOP only with an exception pending */
	u8 linear_bits; /* of its widest linear address */
};
extern struct native_host native_host;

typedef u64 native_stub_fn(struct cpu *c, void *mem);

extern u8 *native_code; /* where the code cache runs; stubs are offsets from it */

enum native_unit { UNIT_SSE, UNIT_VEX, UNIT_EVEX, UNIT_MMX, UNIT_X87 };

#define NO_GPR 0xff

/* General registers of the host that stand for the guest's: ModRM.reg, ModRM.rm, VEX.vvvv. */
enum native_slot { SLOT_REG, SLOT_RM, SLOT_VVVV, NR_SLOTS };

/* All bytes count in the lookup: make it from zeroes. */
struct native_insn {
	u8 bytes[16];
	u8 len;
	u8 unit; /* enum native_unit */
	u8 width; /* bytes of a vector register that are loaded: 16, 32, 64 */
	bool mem, flags_in, flags_out;
	u8 slot[NR_SLOTS]; /* enum gpr, or NO_GPR */
	u8 slot_in, slot_out; /* bit per slot */
	u8 implicit_in, implicit_out; /* bit per enum gpr: RAX, RCX, RDX */
	u8 k_in, k_out;
	u8 mm_in, mm_out;
	u32 vec_in, vec_out;
};

/* False: a form that is not carried out natively. */
bool native_recode(const struct decoder *d, struct native_insn *n);

/* Offset of the stub from native_code, or -ENOMEM, -ENOSPC. With c->native_temporary it is the vCPU's
 * one temporary stub, good until the next. The vCPU's thread. */
s64 native_stub_get(struct cpu *c, const struct native_insn *n);
/* Set op->imm; false: no room, and op->fn is a handler that does without. */
bool native_stub_assign(struct cpu *c, struct op *op, const struct native_insn *n);
/* Is it time to ask once more for a stub that there was no room for? */
bool native_stub_again(struct cpu *c);
/* Bytes of code a VM's stubs take at most; changed by tests only. */
extern size_t native_code_limit;

/*
 * Execute nothing that was fetched before (SDM vol. 3, 8.1.3 and 8.3): an IRET to the next instruction,
 * which serializes, and traps in no virtual machine, as CPUID would.
 */
static inline void native_serialize(void)
{
	u64 scratch;

	asm volatile("lea -128(%%rsp), %%rsp\n\t" /* the red zone */
		     "mov %%ss, %k0\n\t"
		     "push %0\n\t"
		     "lea 136(%%rsp), %0\n\t" /* as it was */
		     "push %0\n\t"
		     "pushfq\n\t"
		     "mov %%cs, %k0\n\t"
		     "push %0\n\t"
		     "lea 1f(%%rip), %0\n\t"
		     "push %0\n\t"
		     "iretq\n"
		     "1:"
		     : "=&r"(scratch)
		     :
		     : "cc", "memory");
}

/* The code of a stub, and where in it the instruction itself stands. */
struct native_asm {
	u8 bytes[1024];
	u32 len;
	u32 insn;
};
void native_assemble(const struct native_insn *n, struct native_asm *a);
/* For tests, before the first stub is made: each begins by filling the host's registers with this. */
extern bool native_fill_scratch;
extern u64 native_scratch;

static inline native_stub_fn *native_stub(s32 offset)
{
	return (native_stub_fn *)(native_code + offset);
}

/* Run a stub under the guest's MXCSR; the flags an unmasked exception sets are kept too. */
static inline u64 native_call_fp(struct cpu *c, native_stub_fn *f, void *mem)
{
	u64 died;

	if (unlikely(c->mxcsr != c->live_mxcsr))
		asm volatile("ldmxcsr %0" : : "m"(c->mxcsr));
	died = f(c, mem);
	asm volatile("stmxcsr %0" : "=m"(c->mxcsr));
	c->live_mxcsr = c->mxcsr;
	return died;
}

/* A stub returned 1: raise what the host's processor raised. la, write: the memory operand. */
void native_died(struct cpu *c, const struct op *o, u64 la, bool write) NORETURN;

#endif
