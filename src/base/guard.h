/* SPDX-License-Identifier: MIT */
/*
 * base/guard.h: memory accesses that may fault and say so.
 *
 * Guest memory belongs to the VMM, which may unmap, truncate or poison it at any time, with or
 * without our seeing it. So every access to it, and to any pointer a VMM hands us, is guarded:
 * the instruction's address stands in the section `guard_table` beside the address to continue
 * at when it faults. A SIGSEGV, SIGBUS, SIGFPE or SIGILL whose instruction is not in the table
 * (and not in a registered code range) is not ours: it goes to guard_chain.
 *
 * A kick (a signal sent to a thread that may be stuck in a host page fault) can only ever break
 * off at a table entry, so a table entry promises: nothing was changed yet that restarting the
 * guest instruction would change twice, or whoever made the access takes it back (cpu/parts.c).
 *
 * Callers: every room. Nothing here sleeps but the access itself (a host page fault may). May be
 * used under any lock that the host page fault cannot want.
 */
#ifndef BASE_GUARD_H
#define BASE_GUARD_H

#include <signal.h>
#include <ucontext.h>
#include "base/types.h"

/* One line of the table; both fields are relative to their own address. */
struct guard_entry {
	s32 insn;
	s32 fixup;
};

/* Inside an asm statement: faults of the instruction at label `insn` continue at `fixup`. */
#define GUARD_ENTRY(insn, fixup)                                                                   \
	".pushsection guard_table,\"a\",@progbits\n"                                               \
	".balign 4\n"                                                                              \
	".long " #insn " - .\n"                                                                    \
	".long " #fixup " - .\n"                                                                   \
	".popsection\n"

/* What the last guarded access of this thread died of. */
struct guard_fault {
	void *addr; /* si_addr */
	int sig;    /* SIGSEGV, SIGBUS, ...; GUARD_BROKEN_OFF for a kick */
	int code;   /* si_code: BUS_MCEERR_AR is memory poison */
	u64 rip;    /* where */
	s16 addr_lsb;
};

#define GUARD_BROKEN_OFF (-1)

extern __thread struct guard_fault guard_fault __attribute__((tls_model("initial-exec")));

/*
 * A range of generated code whose faults belong to one continuation. `fixup` is entered with the
 * faulting context unchanged but for RIP; it finds the reason in guard_fault. A kick breaks nothing off where a bit of
 * `sp_zero` is set in the stack pointer: what runs there is between two instructions that belong together.
 */
int guard_add_code_range(const void *start, size_t len, void *fixup, u64 sp_zero);
/* The range that begins at `start`, if there is one, is none any more; nobody executes in it. */
void guard_remove_code_range(const void *start);

/* Install the handlers for SEGV, BUS, FPE and ILL. Idempotent. 0 or -errno. */
int guard_install(void);

/*
 * The handler itself, for whoever owns the process's signals: true when the fault was a guarded
 * one and `uc` now continues at its fixup.
 */
bool guard_handle(int sig, siginfo_t *info, ucontext_t *uc);

/*
 * From a signal's handler on a thread that runs a vCPU: break off the guarded access it is stuck
 * in, if any. Copies carry on by themselves; the single accesses and touches report failure with
 * guard_fault.sig == GUARD_BROKEN_OFF, and whoever made them asks again.
 */
bool guard_break_off(ucontext_t *uc);

/* Calls of guard_break_off() on this thread, whatever it was doing. */
extern __thread volatile u32 guard_kicks __attribute__((tls_model("initial-exec")));

/* Called for a fault that is not ours; NULL restores the default action and returns to it. */
extern void (*guard_chain)(int sig, siginfo_t *info, void *uc);

/* 0 or -EFAULT. `src` or `dst` is the unsafe side; a partial copy may have been made. */
int guard_copy_from(void *dst, const void *unsafe_src, size_t n);
int guard_copy_to(void *unsafe_dst, const void *src, size_t n);

/*
 * Touch one byte, for read or for write without changing it. 0 or -EFAULT. Broken off at once when
 * guard_kicks no longer is `kicks`: a kick that comes after the caller read guard_kicks and before
 * the access blocks is not lost.
 */
int guard_touch_unless_kicked(void *p, bool write, u32 kicks);

/*
 * Single accesses, inlined. Each is one instruction; on a fault control continues at the label.
 * The empty asm after an asm goto with outputs works around GCC bug 113921.
 */
#define GUARD_LOAD(bits, suffix, reg)                                                              \
	static inline bool guard_load##bits(const void *p, u##bits *out)                           \
	{                                                                                          \
		u##bits v;                                                                         \
		asm volatile goto("1: mov" suffix " %1, %" reg "0\n" GUARD_ENTRY(1b, %l[fault])    \
				  : "=r"(v)                                                        \
				  : "m"(*(const u##bits *)p)                                       \
				  : "memory"                                                       \
				  : fault);                                                        \
		asm("");                                                                           \
		*out = v;                                                                          \
		return true;                                                                       \
	fault:                                                                                     \
		return false;                                                                      \
	}                                                                                          \
	static inline bool guard_store##bits(void *p, u##bits v)                                   \
	{                                                                                          \
		asm volatile goto("1: mov" suffix " %" reg "1, %0\n" GUARD_ENTRY(1b, %l[fault])    \
				  :                                                                \
				  : "m"(*(u##bits *)p), "r"(v)                                     \
				  : "memory"                                                       \
				  : fault);                                                        \
		return true;                                                                       \
	fault:                                                                                     \
		return false;                                                                      \
	}

GUARD_LOAD(8, "b", "b")
GUARD_LOAD(16, "w", "w")
GUARD_LOAD(32, "l", "k")
GUARD_LOAD(64, "q", "q")
#undef GUARD_LOAD

/* Are the 64 bytes at `p` those at `copy`? False on a fault. */
static inline bool guard_same64(const void *p, const void *copy, bool *same)
{
	u32 mask;

	asm volatile goto("1: movdqu (%1), %%xmm0\n"
			  "2: movdqu 16(%1), %%xmm1\n"
			  "3: movdqu 32(%1), %%xmm2\n"
			  "4: movdqu 48(%1), %%xmm3\n"
			  "movdqu (%2), %%xmm4\n movdqu 16(%2), %%xmm5\n"
			  "movdqu 32(%2), %%xmm6\n movdqu 48(%2), %%xmm7\n"
			  "pcmpeqb %%xmm4, %%xmm0\n pcmpeqb %%xmm5, %%xmm1\n"
			  "pcmpeqb %%xmm6, %%xmm2\n pcmpeqb %%xmm7, %%xmm3\n"
			  "pand %%xmm1, %%xmm0\n pand %%xmm3, %%xmm2\n pand %%xmm2, %%xmm0\n"
			  "pmovmskb %%xmm0, %0\n"
			  GUARD_ENTRY(1b, %l[fault]) GUARD_ENTRY(2b, %l[fault])
			  GUARD_ENTRY(3b, %l[fault]) GUARD_ENTRY(4b, %l[fault])
			  : "=r"(mask)
			  : "r"(p), "r"(copy)
			  : "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7"
			  : fault);
	asm("");
	*same = mask == 0xffff;
	return true;
fault:
	return false;
}

/* Locked compare-and-exchange; false on a fault. *old is what was found. */
#define GUARD_CMPXCHG(bits, suffix, reg)                                                           \
	static inline bool guard_cmpxchg##bits(u##bits *p, u##bits *old, u##bits new_, bool *done) \
	{                                                                                          \
		u##bits o = *old;                                                                  \
		u8 ok;                                                                             \
		asm volatile goto("1: lock cmpxchg" suffix " %" reg "3, %2\n\tsete %1\n"          \
				  GUARD_ENTRY(1b, %l[fault])                                       \
				  : "+a"(o), "=q"(ok)                                              \
				  : "m"(*p), "r"(new_)                                             \
				  : "memory", "cc"                                                 \
				  : fault);                                                        \
		asm("");                                                                           \
		*old = o;                                                                          \
		*done = ok;                                                                        \
		return true;                                                                       \
	fault:                                                                                     \
		return false;                                                                      \
	}

GUARD_CMPXCHG(32, "l", "k")
GUARD_CMPXCHG(64, "q", "q")
#undef GUARD_CMPXCHG

#endif
