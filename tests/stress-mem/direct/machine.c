/* SPDX-License-Identifier: MIT */
/*
 * The machine of the thread sanitizer's build: mmu/ over this process's memory, vCPUs that are
 * threads which reach guest memory as cpu/ does, by guarded accesses through their TLB, with a safe
 * point after each. Guest-linear is guest-physical.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/guard.h"
#include "base/own.h"
#include "guest_access.h"
#include "mmu/mmu.h"
#include "primary/linux/linux.h"
#include "sync/rcu.h"

/* What is needed each time, so that a stale translation soon leads to another window's page. */
#define ARENA 0

#define UNINSTRUMENTED __attribute__((no_sanitize("thread")))

struct thread {
	struct mmu_vcpu v;
	pthread_t self; /* valid when `runs` */
	bool runs;
};

static struct {
	struct mmu *mmu;
	struct thread *threads[MAX_VCPUS];
	int kick_signal;
} direct;

/* ------------------------------------------------------------------ kicks */

UNINSTRUMENTED static void on_kick(int sig, siginfo_t *info, void *uc)
{
	guard_break_off(uc);
}

__attribute__((naked)) static void sig_return(void)
{
	asm volatile("mov %0, %%eax; syscall" : : "i"(SYS_rt_sigreturn));
}

/*
 * Straight to the kernel: the thread sanitizer keeps signals back until the thread makes a call,
 * and one that is stuck in a host page fault makes none.
 */
static void install_kick(void)
{
	struct {
		void (*handler)(int, siginfo_t *, void *);
		unsigned long flags;
		void (*restorer)(void);
		u64 mask;
	} sa = {on_kick, SA_SIGINFO | SA_RESTART | 0x04000000 /* SA_RESTORER */, sig_return, 0};

	direct.kick_signal = SIGRTMAX - 2;
	MUST(!syscall(SYS_rt_sigaction, direct.kick_signal, &sa, NULL, sizeof(sa.mask)),
	     "rt_sigaction: %s", strerror(errno));
}

static void kick(void *owner)
{
	struct thread *t = owner;

	if (LOAD(t->runs))
		pthread_kill(t->self, direct.kick_signal);
}

static bool interrupted(void *owner)
{
	return false;
}

static const struct mmu_vcpu_ops ops = {kick, interrupted};

/* ------------------------------------------------------------------ accesses */

static int fill(struct mmu_vcpu *v, gpa_t gpa, unsigned access, struct mmu_xlat *x)
{
	int r = mmu_translate(v, gpa, access, x);

	if (!r)
		mmu_tlb_fill(v, TLB_KERNEL, gpa, gpa, x, MMU_READ | MMU_WRITE, false);
	return r;
}

/* One instruction. False: the host refused. */
static bool access_once(void *p, enum access_kind kind, u64 *v, u64 expected)
{
	bool done = false;

	switch (kind) {
	case ACCESS_LOAD:
		return guard_load64(p, v);
	case ACCESS_STORE:
		return guard_store64(p, *v);
	case ACCESS_COMPARE_EXCHANGE:
		if (!guard_cmpxchg64(p, &expected, *v, &done))
			return false;
		*v = expected;
		return true;
	default:
		/* As a guest's loop over the word would: each round one access. */
		expected = 0;
		while (!done)
			if (!guard_cmpxchg64(p, &expected, *v, &done))
				return false;
		*v = expected;
		return true;
	}
}

/* 0; 1: again; or as mmu_translate(). */
static int access_try(struct mmu_vcpu *v, enum access_kind kind, gpa_t gpa, u64 *value, u64 expected)
{
	unsigned access = kind == ACCESS_LOAD ? MMU_READ : MMU_WRITE;
	struct tlb *t = &v->tlb[TLB_KERNEL];
	u8 *p = access == MMU_READ ? tlb_read(t, gpa, 8) : tlb_write(t, gpa, 8);
	struct mmu_xlat x;
	int r;

	if (!p) {
		r = fill(v, gpa, access, &x);
		if (r)
			return r;
		p = x.host + (gpa & ~PAGE_MASK);
	}
	if (access_once(p, kind, value, expected))
		return 0;
	r = 0;
	if (guard_fault.sig != GUARD_BROKEN_OFF)
		r = mmu_refault(v, gpa, access,
				guard_fault.code == BUS_MCEERR_AR ? -EHWPOISON : -EFAULT);
	return r ? r : 1;
}

bool machine_access(struct gvcpu *c, enum access_kind kind, const u64 *word, u64 *v, u64 expected)
{
	struct mmu_vcpu *mv = &direct.threads[c->index]->v;
	struct vcpu *vcpu = &machine.vcpus[c->index];
	int r;

	for (;;) {
		mmu_vcpu_safe_point(mv);
		r = access_try(mv, kind, (gpa_t)word, v, expected);
		if (!r)
			break;
		if (r == 1)
			continue;
		/* An exit to the VMM. */
		mmu_vcpu_leave(mv);
		MUST(r == -ENOENT || r == -EFAULT || r == -EINTR, "an access ends with %d", r);
		if (r == -ENOENT)
			vcpu_hole(vcpu, (gpa_t)word, kind != ACCESS_LOAD);
		else if (r == -EFAULT)
			vcpu_fault(vcpu);
		else if (mmu_ring_full(mv))
			rings_collect();
		mmu_vcpu_enter(mv);
		if (r == -ENOENT)
			return false;
	}
	return true;
}

void guest_out(u16 port)
{
	if (port == PORT_LOOK)
		return; /* no code is run here */
	/* Nobody else: the caller is a vCPU's thread. */
	for (u32 i = 0; i < machine.nvcpus; i++) {
		if (!pthread_equal(direct.threads[i]->self, pthread_self()))
			continue;
		mmu_vcpu_leave(&direct.threads[i]->v);
		if (port == PORT_FAILED)
			vcpu_failed(&machine.vcpus[i]);
	}
	pthread_exit(NULL);
}

/* ------------------------------------------------------------------ the machine */

void machine_slot(u32 area, u32 flags, u64 gpa, u64 size, void *hva)
{
	struct mmu_region r = {FIRST_SLOT + area, flags, gpa, size, (hva_t)hva};
	int err = mmu_set_region(direct.mmu, &r);

	MUST(!err, "memslot: %s", strerror(-err));
}

void machine_dirty_get(u32 area, u64 *bitmap)
{
	int err = mmu_dirty_get(direct.mmu, FIRST_SLOT + area, bitmap);

	MUST(!err, "dirty log: %s", strerror(-err));
}

void machine_dirty_clear(u32 area, u32 npages, u64 *bitmap)
{
	int err = mmu_dirty_clear(direct.mmu, FIRST_SLOT + area, 0, npages, bitmap);

	MUST(!err, "clearing the dirty log: %s", strerror(-err));
}

void machine_reset_rings(void)
{
	u32 n;
	int err = mmu_ring_reset(direct.mmu, &n);

	MUST(!err, "resetting dirty rings: %s", strerror(-err));
}

void machine_create(u32 nvcpus, enum log_mode log_mode)
{
	void *primary;

	own_loose_unit = ARENA;
	install_kick();
	MUST(!guard_install(), "guard_install");
	MUST(!primary_linux_create(&primary), "out of memory");
	primary_linux_start();
	MUST(!mmu_create(&primary_linux_ops, primary, &direct.mmu), "out of memory");
	machine.nvcpus = nvcpus;
	machine.log_mode = log_mode;
	if (log_mode == LOG_CLEAR)
		MUST(!mmu_set_manual_protect(direct.mmu, 1), "manual dirty log protection");
	if (log_mode == LOG_RINGS)
		MUST(!mmu_ring_enable(direct.mmu, RING_ENTRIES), "dirty rings");
	machine.control = calloc(1, sizeof(*machine.control));
	MUST(machine.control, "out of memory");
	for (u32 i = 0; i < nvcpus; i++)
		machine.vcpus[i].g = &machine.control->vcpus[i];
}

static void *vcpu_thread(void *arg)
{
	struct gvcpu *g = arg;
	struct thread *t = direct.threads[g->index];

	t->self = pthread_self();
	STORE(t->runs, true);
	mmu_vcpu_enter(&t->v);
	guest_main(machine.control, g);
	return NULL;
}

void machine_start(void)
{
	for (u32 i = 0; i < machine.nvcpus; i++) {
		struct vcpu *v = &machine.vcpus[i];
		struct thread *t = calloc(1, sizeof(*t));

		MUST(t, "out of memory");
		mmu_vcpu_init(direct.mmu, &t->v, i, t, &ops);
		direct.threads[i] = t;
		if (machine.log_mode == LOG_RINGS) {
			machine.rings[i] = calloc(RING_ENTRIES, sizeof(struct kvm_dirty_gfn));
			MUST(machine.rings[i], "out of memory");
			mmu_ring_attach(&t->v, (struct mmu_dirty_gfn *)machine.rings[i],
					0);
		}
		v->g->index = i;
		v->g->nareas = nareas;
		MUST(!pthread_create(&v->thread, NULL, vcpu_thread, v->g), "out of threads");
	}
}

void machine_stop(void)
{
	STORE(machine.control->stop, 1);
	for (u32 i = 0; i < machine.nvcpus; i++) {
		pthread_join(machine.vcpus[i].thread, NULL);
		mmu_vcpu_fini(&direct.threads[i]->v);
	}
}
