/* SPDX-License-Identifier: MIT */
/*
 * tests/vmm/string_broken_off.c: a signal ends a run between two iterations of a string instruction,
 * where it waits for a page. An interrupt that is then delivered pushes RF (SDM vol. 3, 17.3.1.1): no
 * code breakpoint hits when the instruction goes on.
 */
#include "held.h"

#define BEFORE 16u	 /* bytes read in front of it */
#define VECTOR 0x40u
#define RF     (1u << 16)

/* The handler at 32 shows the flags that were pushed. */
GUEST(reads, 64, "rep lodsb\n out %al, $0x11\n.fill 32 - 4, 1, 0x90\n mov 16(%rsp), %rbx\n out %al, $0x10");
#define HANDLER 32

static struct minivmm v;

static void on_signal(int sig)
{
}

static void *run_thread(void *arg)
{
	int *result = arg;

	*result = minivmm_run(&v);
	return NULL;
}

static void begin(struct kvm_regs *r)
{
	struct kvm_sregs s;

	minivmm_load(&v, MINIVMM_LONG, reads);
	minivmm_set_gate(&v, MINIVMM_LONG, VECTOR, HANDLER);
	minivmm_get_sregs(&v, &s);
	minivmm_set_sregs(&v, &s);
	minivmm_get_regs(&v, r);
	r->rsi = HELD - BEFORE;
	r->rcx = 2 * BEFORE;
	r->rflags = 0x202;
	minivmm_set_regs(&v, r);
}

int main(void)
{
	int uffd = held_open(), result = 0;
	struct kvm_interrupt interrupt = {.irq = VECTOR};
	struct sigaction sa = {.sa_handler = on_signal};
	struct kvm_regs r;

	if (uffd < 0)
		return SKIP;
	minivmm_create(&v);
	sigaction(SIGUSR1, &sa, NULL);
	held_back(uffd, &v);
	begin(&r);

	held_interrupt(uffd, run_thread, &result, SIGUSR1);
	EXPECT(result == -EINTR, "exit %d", result);
	minivmm_get_regs(&v, &r);
	EXPECT(r.rcx == BEFORE && r.rip == MINIVMM_CODE, "%llu to go at %llx", r.rcx, r.rip);

	held_bring(uffd, &v);
	EXPECT(!ioctl(v.vcpu, KVM_INTERRUPT, &interrupt), "KVM_INTERRUPT: %s", strerror(errno));
	EXPECT_EXIT(&v, KVM_EXIT_IO);
	minivmm_get_regs(&v, &r);
	EXPECT(r.rip == MINIVMM_CODE + HANDLER + 5 || r.rip == MINIVMM_CODE + HANDLER + 7,
	       "not in the handler: %llx", r.rip);
	EXPECT(r.rcx == BEFORE, "%llu to go", r.rcx);
	EXPECT(r.rbx & RF, "flags %llx were pushed", r.rbx);
	minivmm_destroy(&v);
	return 0;
}
