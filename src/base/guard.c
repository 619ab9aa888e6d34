/* SPDX-License-Identifier: MIT */
#include "base/guard.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#define MAX_CODE_RANGES 4096 /* one for each vCPU of some VMs */

extern const struct guard_entry __start_guard_table[] HIDDEN;
extern const struct guard_entry __stop_guard_table[] HIDDEN;

__thread struct guard_fault guard_fault __attribute__((tls_model("initial-exec")));
__thread volatile u32 guard_kicks __attribute__((tls_model("initial-exec")));
void (*guard_chain)(int sig, siginfo_t *info, void *uc);

/* The table sorted by address, made once before any handler can look at it. */
struct range_fixup {
	u64 insn;
	u64 fixup;
};
static struct range_fixup *sorted;
static size_t nsorted;

/* Written under code_lock; read by signal handlers, so each line is published by its `len`. */
static struct {
	u64 start;
	u64 len; /* 0: free */
	u64 fixup;
	u64 sp_zero;
} code_ranges[MAX_CODE_RANGES];
static u32 ncode_ranges; /* lines that were ever used; never less */
static pthread_mutex_t code_lock = PTHREAD_MUTEX_INITIALIZER;

static int by_insn(const void *a, const void *b)
{
	const struct range_fixup *x = a, *y = b;

	return x->insn < y->insn ? -1 : x->insn > y->insn;
}

static void sort_table(void)
{
	size_t n = (size_t)(__stop_guard_table - __start_guard_table);
	struct range_fixup *t = malloc(n * sizeof(*t));

	if (!t)
		abort(); /* at load time, before the VMM's main() */
	for (size_t i = 0; i < n; i++) {
		const struct guard_entry *e = &__start_guard_table[i];

		t[i].insn = (u64)&e->insn + (u64)(s64)e->insn;
		t[i].fixup = (u64)&e->fixup + (u64)(s64)e->fixup;
	}
	qsort(t, n, sizeof(*t), by_insn);
	sorted = t;
	nsorted = n;
}

static u64 find_in_table(u64 rip)
{
	size_t lo = 0, hi = nsorted;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (sorted[mid].insn == rip)
			return sorted[mid].fixup;
		if (sorted[mid].insn < rip)
			lo = mid + 1;
		else
			hi = mid;
	}
	return 0;
}

/* The number of the range, or -1. */
static int find_range(u64 rip)
{
	for (u32 i = 0, n = __atomic_load_n(&ncode_ranges, __ATOMIC_ACQUIRE); i < n; i++) {
		u64 len = __atomic_load_n(&code_ranges[i].len, __ATOMIC_ACQUIRE);

		if (len && rip - code_ranges[i].start < len)
			return (int)i;
	}
	return -1;
}

static u64 find_fixup(u64 rip)
{
	u64 fixup = find_in_table(rip);
	int range;

	if (fixup)
		return fixup;
	range = find_range(rip);
	return range < 0 ? 0 : code_ranges[range].fixup;
}

/* The same for a kick, which may have to leave the range's code alone. */
static u64 find_break(u64 rip, u64 sp)
{
	int range = find_range(rip);

	return range >= 0 && (sp & code_ranges[range].sp_zero) ? 0 : find_fixup(rip);
}

int guard_add_code_range(const void *start, size_t len, void *fixup, u64 sp_zero)
{
	int r = -ENOSPC;
	u32 i;

	pthread_mutex_lock(&code_lock);
	for (i = 0; i < ncode_ranges && code_ranges[i].len; i++)
		;
	if (i < MAX_CODE_RANGES) {
		code_ranges[i].start = (u64)start;
		code_ranges[i].fixup = (u64)fixup;
		code_ranges[i].sp_zero = sp_zero;
		__atomic_store_n(&code_ranges[i].len, len, __ATOMIC_RELEASE);
		__atomic_store_n(&ncode_ranges, MAX(ncode_ranges, i + 1), __ATOMIC_RELEASE);
		r = 0;
	}
	pthread_mutex_unlock(&code_lock);
	return r;
}

/*
 * A handler that looks at the line meanwhile, and at what is put there next, looks for another range:
 * its own thread would be executing in this one.
 */
void guard_remove_code_range(const void *start)
{
	pthread_mutex_lock(&code_lock);
	for (u32 i = 0; i < ncode_ranges; i++) {
		if (code_ranges[i].len && code_ranges[i].start == (u64)start)
			__atomic_store_n(&code_ranges[i].len, 0, __ATOMIC_RELEASE);
	}
	pthread_mutex_unlock(&code_lock);
}

bool guard_handle(int sig, siginfo_t *info, ucontext_t *uc)
{
	u64 rip = (u64)uc->uc_mcontext.gregs[REG_RIP];
	u64 fixup;

	if (info->si_code <= 0) /* sent by someone, not raised by an instruction */
		return false;
	fixup = find_fixup(rip);
	if (!fixup)
		return false;
	guard_fault.addr = info->si_addr;
	guard_fault.sig = sig;
	guard_fault.code = info->si_code;
	guard_fault.addr_lsb = sig == SIGBUS ? info->si_addr_lsb : 0;
	guard_fault.rip = rip;
	uc->uc_mcontext.gregs[REG_RIP] = (greg_t)fixup;
	return true;
}

bool guard_break_off(ucontext_t *uc)
{
	u64 rip = (u64)uc->uc_mcontext.gregs[REG_RIP];
	u64 fixup = find_break(rip, (u64)uc->uc_mcontext.gregs[REG_RSP]);

	guard_kicks++;
	if (!fixup)
		return false;
	guard_fault.addr = NULL;
	guard_fault.sig = GUARD_BROKEN_OFF;
	guard_fault.code = 0;
	guard_fault.rip = rip;
	uc->uc_mcontext.gregs[REG_RIP] = (greg_t)fixup;
	return true;
}

static void handler(int sig, siginfo_t *info, void *uc)
{
	if (guard_handle(sig, info, uc))
		return;
	if (guard_chain) {
		guard_chain(sig, info, uc);
		return;
	}
	/* Not ours and nobody else's: die of it as if we had never been here. */
	signal(sig, SIG_DFL);
}

int guard_install(void)
{
	static const int sigs[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct sigaction sa = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};

	pthread_once(&once, sort_table);
	sigemptyset(&sa.sa_mask);
	for (size_t i = 0; i < ARRAY_SIZE(sigs); i++) {
		if (sigaction(sigs[i], &sa, NULL))
			return -errno;
	}
	return 0;
}

/*
 * Bytes, because a string move stops exactly at the byte that faults and restarts there; ERMS
 * makes it as fast as anything for a page. A kick's break-off carries on where it stopped.
 */
static int guard_movs(void *dst, const void *src, size_t n)
{
again:
	asm volatile goto("1: rep movsb\n" GUARD_ENTRY(1b, %l[fault])
			  : "+D"(dst), "+S"(src), "+c"(n)
			  :
			  : "memory"
			  : fault);
	return 0;
fault:
	if (guard_fault.sig == GUARD_BROKEN_OFF)
		goto again;
	return -EFAULT;
}

int guard_copy_from(void *dst, const void *unsafe_src, size_t n)
{
	return guard_movs(dst, unsafe_src, n);
}

int guard_copy_to(void *unsafe_dst, const void *src, size_t n)
{
	return guard_movs(unsafe_dst, src, n);
}

int guard_touch_unless_kicked(void *p, bool write, u32 kicks)
{
	volatile u32 *now = &guard_kicks;

	/*
	 * All three instructions stand in the table: a kick anywhere between them breaks off.
	 * Setting no bit, locked, cannot lose another thread's store and leaves the byte alone.
	 */
	if (write)
		asm volatile goto("1: cmpl %2, %1\n2: jne %l[kicked]\n3: lock orb $0, %0\n"
				  GUARD_ENTRY(1b, %l[fault]) GUARD_ENTRY(2b, %l[fault])
				  GUARD_ENTRY(3b, %l[fault])
				  :
				  : "m"(*(u8 *)p), "m"(*now), "r"(kicks)
				  : "memory", "cc"
				  : fault, kicked);
	else
		asm volatile goto("1: cmpl %2, %1\n2: jne %l[kicked]\n3: testb $0, %0\n"
				  GUARD_ENTRY(1b, %l[fault]) GUARD_ENTRY(2b, %l[fault])
				  GUARD_ENTRY(3b, %l[fault])
				  :
				  : "m"(*(u8 *)p), "m"(*now), "r"(kicks)
				  : "memory", "cc"
				  : fault, kicked);
	return 0;
kicked:
	guard_fault.sig = GUARD_BROKEN_OFF;
fault:
	return -EFAULT;
}
