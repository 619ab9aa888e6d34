/* SPDX-License-Identifier: MIT */
/*
 * tests/vmm/hypercalls.c: hypercalls between vCPUs (hypercalls.rst). A guest is told of none of them in
 * CPUID and may use them all the same, unless the VMM has CPUID enforced (api.rst,
 * KVM_CAP_ENFORCE_PV_FEATURE_CPUID). A kick ends a halt, or the next one when it comes early.
 */
#include "minivmm.h"
#include <linux/kvm_para.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>

#define VECTOR 0x40
#define CALLED 0x10 /* ports */
#define WOKEN  0x11
#define TAKEN  0x12
#define FLAG   0x6000u /* set by the second vCPU before it halts */

/* The first vCPU makes the call that its registers are; the second halts with interrupts let in. */
GUEST(both, 64,
      "vmcall\n out %eax, $0x10\n"
      ".balign 16\n movb $1, 0x6000\n sti\n hlt\n out %al, $0x11\n"
      /* The handler: an end of interrupt. */
      ".balign 32\n mov $0x80b, %ecx\n xor %eax, %eax\n xor %edx, %edx\n wrmsr\n out %al, $0x12");
#define HALTS	16
#define HANDLER 32

static struct minivmm v[2]; /* APIC ids 0 and 1 */

static void *run(void *arg)
{
	int *port = arg;

	EXPECT_EXIT(&v[1], KVM_EXIT_IO);
	*port = v[1].run->io.port;
	return NULL;
}

static void load_second(void)
{
	struct kvm_regs r;

	minivmm_load(&v[1], MINIVMM_LONG, both);
	minivmm_set_gate(&v[1], MINIVMM_LONG, VECTOR, HANDLER);
	minivmm_get_regs(&v[1], &r);
	r.rip += HALTS;
	minivmm_set_regs(&v[1], &r);
	v[0].mem[FLAG] = 0;
}

/* Made by the first vCPU; its result. */
static int call(uint64_t nr, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3)
{
	struct kvm_regs r = {.rip = MINIVMM_CODE, .rsp = MINIVMM_STACK, .rflags = 2};
	int result;

	r.rax = nr;
	r.rbx = a0;
	r.rcx = a1;
	r.rdx = a2;
	r.rsi = a3;
	minivmm_set_regs(&v[0], &r);
	EXPECT_EXIT(&v[0], KVM_EXIT_IO);
	EXPECT(v[0].run->io.port == CALLED, "port %#x", v[0].run->io.port);
	memcpy(&result, (uint8_t *)v[0].run + v[0].run->io.data_offset, sizeof(result));
	return result;
}

/* The second vCPU halts, or is about to; the call ends that, and this is the port it comes to. */
static int call_while_halted(uint64_t nr, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3, int wanted)
{
	pthread_t t;
	int port, r;

	load_second();
	EXPECT(!pthread_create(&t, NULL, run, &port), "no thread");
	while (!__atomic_load_n(&v[0].mem[FLAG], __ATOMIC_ACQUIRE))
		sched_yield();
	r = call(nr, a0, a1, a2, a3);
	EXPECT(r == wanted, "hypercall %d: %d", (int)nr, r);
	pthread_join(t, NULL);
	return port;
}

int main(void)
{
	struct kvm_enable_cap enforce = {.cap = KVM_CAP_ENFORCE_PV_FEATURE_CPUID, .args = {1}};
	int port;

	minivmm_create_with_irqchip(&v[0]);
	minivmm_add_vcpu(&v[0], 1, &v[1]);
	minivmm_load(&v[0], MINIVMM_LONG, both);
	load_second();
	for (int n = 0; n < 2; n++) {
		struct kvm_mp_state runnable = {KVM_MP_STATE_RUNNABLE};

		EXPECT(!ioctl(v[n].vcpu, KVM_SET_MP_STATE, &runnable), "KVM_SET_MP_STATE");
		minivmm_enable_apic(&v[n]);
	}
	port = call_while_halted(KVM_HC_KICK_CPU, 0, 1, 0, 0, 0);
	EXPECT(port == WOKEN, "port %#x after a kick", port);
	port = call_while_halted(KVM_HC_SEND_IPI, 2, 0, 0, VECTOR, 1);
	EXPECT(port == TAKEN, "port %#x after an IPI", port);
	/* Early, and twice: one halt ends. */
	load_second();
	EXPECT(call(KVM_HC_KICK_CPU, 0, 1, 0, 0) == 0, "a kick");
	EXPECT(call(KVM_HC_KICK_CPU, 0, 1, 0, 0) == 0, "another one");
	run(&port);
	EXPECT(port == WOKEN, "port %#x after an early kick", port);
	port = call_while_halted(KVM_HC_SEND_IPI, 2, 0, 0, VECTOR, 1);
	EXPECT(port == TAKEN, "port %#x: an old kick ended a halt", port);
	/* Nobody has this id. */
	EXPECT(call(KVM_HC_KICK_CPU, 0, 7, 0, 0) == 0, "a kick of nobody");
	EXPECT(call(KVM_HC_SEND_IPI, 4, 0, 0, VECTOR) == 0, "an IPI to nobody");
	EXPECT(call(77, 0, 0, 0, 0) == -KVM_ENOSYS, "no such hypercall");

	EXPECT(!ioctl(v[0].vcpu, KVM_ENABLE_CAP, &enforce), "KVM_ENABLE_CAP");
	EXPECT(call(KVM_HC_KICK_CPU, 0, 1, 0, 0) == -KVM_ENOSYS, "a kick though CPUID is enforced");
	EXPECT(call(KVM_HC_SEND_IPI, 2, 0, 0, VECTOR) == -KVM_ENOSYS, "an IPI though CPUID is enforced");
	minivmm_remove_vcpu(&v[1]);
	minivmm_destroy(&v[0]);
	return 0;
}
