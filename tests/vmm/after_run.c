/* SPDX-License-Identifier: MIT */
/*
 * tests/vmm/after_run.c: what a vCPU's state is after a run: CPUID is fixed once the guest was entered
 * (api.rst, KVM_SET_CPUID2), by a run that a signal ended too, and the bits that follow the guest's
 * state do not count. Two NMIs that wait are both delivered.
 */
#include "minivmm.h"
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/time.h>

#define ENTRIES 256

GUEST(spins, 64, "1: jmp 1b");
/* An NMI's handler counts; the second comes after the first one's IRET. */
GUEST(counts_nmis, 64, "nop\n mov %ebx, %eax\n out %al, $0x10\n.fill 32 - 5, 1, 0x90\n inc %ebx\n iretq");
#define NMI_HANDLER 32

static struct {
	struct kvm_cpuid2 h;
	struct kvm_cpuid_entry2 e[ENTRIES];
} cpuid;

static struct kvm_cpuid_entry2 *leaf(unsigned function)
{
	for (unsigned i = 0; i < cpuid.h.nent; i++)
		if (cpuid.e[i].function == function && !cpuid.e[i].index)
			return &cpuid.e[i];
	EXPECT(0, "no leaf %x", function);
	return NULL;
}

static int set(struct minivmm *v)
{
	return ioctl(v->vcpu, KVM_SET_CPUID2, &cpuid) ? -errno : 0;
}

static void on_alarm(int signal) {}

static void run_until_signal(struct minivmm *v)
{
	struct itimerval soon = {.it_interval = {.tv_usec = 20000}, .it_value = {.tv_usec = 20000}};
	struct sigaction act = {.sa_handler = on_alarm};
	int r;

	sigaction(SIGALRM, &act, NULL);
	setitimer(ITIMER_REAL, &soon, NULL);
	r = minivmm_run(v);
	memset(&soon, 0, sizeof(soon));
	setitimer(ITIMER_REAL, &soon, NULL);
	EXPECT(r == -EINTR, "exit %d", r);
}

static void cpuid_is_fixed(void)
{
	struct minivmm v;
	unsigned ecx;

	minivmm_create_with_irqchip(&v);
	cpuid.h.nent = ENTRIES;
	EXPECT(!ioctl(v.kvm, KVM_GET_SUPPORTED_CPUID, &cpuid), "%s", strerror(errno));
	EXPECT(set(&v) == 0, "before a run");
	minivmm_load(&v, MINIVMM_LONG, spins);
	/* A run that does not enter the guest fixes nothing. */
	v.run->immediate_exit = 1;
	EXPECT(minivmm_run(&v) == -EINTR, "immediate_exit");
	v.run->immediate_exit = 0;
	ecx = leaf(1)->ecx;
	leaf(1)->ecx ^= 1;
	EXPECT(set(&v) == 0, "after immediate_exit");
	leaf(1)->ecx = ecx;
	EXPECT(set(&v) == 0, "back again");

	run_until_signal(&v);
	EXPECT(set(&v) == 0, "the same");
	leaf(1)->ecx = ecx ^ 1;
	EXPECT(set(&v) == -EINVAL, "another one was accepted after EINTR");
	leaf(1)->ecx = ecx ^ 1u << 27; /* OSXSAVE */
	leaf(1)->edx ^= 1u << 9;       /* APIC */
	leaf(7)->ecx ^= 1u << 4;       /* OSPKE */
	EXPECT(set(&v) == 0, "bits that follow CR4 and IA32_APIC_BASE were compared");
	leaf(7)->ecx ^= 1u << 1;
	EXPECT(set(&v) == -EINVAL, "another bit beside them was accepted");
	minivmm_destroy(&v);
}

static void two_nmis_are_delivered(void)
{
	struct kvm_vcpu_events e;
	struct kvm_sregs s;
	struct kvm_regs r;
	struct minivmm v;

	minivmm_create_with_irqchip(&v);
	minivmm_load(&v, MINIVMM_LONG, counts_nmis);
	minivmm_set_gate(&v, MINIVMM_LONG, 2, NMI_HANDLER);
	minivmm_get_sregs(&v, &s);
	s.idt.base = MINIVMM_IDT;
	s.idt.limit = 0xfff;
	minivmm_set_sregs(&v, &s);
	for (int i = 0; i < 3; i++) /* two are kept */
		EXPECT(!ioctl(v.vcpu, KVM_NMI, 0), "%s", strerror(errno));
	EXPECT(!ioctl(v.vcpu, KVM_GET_VCPU_EVENTS, &e) && e.nmi.pending == 2, "%u pending",
	       e.nmi.pending);
	EXPECT_EXIT(&v, KVM_EXIT_IO);
	minivmm_get_regs(&v, &r);
	EXPECT(r.rbx == 2, "%llu delivered", r.rbx);
	minivmm_destroy(&v);
}

int main(void)
{
	cpuid_is_fixed();
	two_nmis_are_delivered();
	printf("ok\n");
	return 0;
}
