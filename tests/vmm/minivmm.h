/* SPDX-License-Identifier: MIT */
/*
 * tests/vmm/minivmm.h: a VMM of a few dozen lines, for tests that are clients of /dev/kvm.
 *
 * One VM, one vCPU, one memslot at guest-physical 0, and interrupt controllers if asked for. It
 * knows nothing of userkvm: the same binary runs on the real device. Every function ends the
 * process with a message when a call fails that must not.
 */
#ifndef TESTS_VMM_MINIVMM_H
#define TESTS_VMM_MINIVMM_H

#include <linux/kvm.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include "../hang.h"

/* Guest-physical layout. Everything fits in the smallest memory a test asks for. */
#define MINIVMM_IDT   0x1000u
#define MINIVMM_GDT   0x2000u
#define MINIVMM_PML4  0x3000u /* to 0x5fff: identity map of the first GiB, 2 MiB pages */
#define MINIVMM_CODE  0x8000u
#define MINIVMM_STACK 0x20000u /* grows down */
#define MINIVMM_MEM   0x200000u
#define MINIVMM_HOLE  0x300000u /* beyond the memory: no memslot */

struct minivmm {
	int kvm, vm, vcpu;
	struct kvm_run *run;
	size_t run_size;
	uint8_t *mem;
	size_t mem_size; /* bytes */
};

enum minivmm_mode { MINIVMM_REAL, MINIVMM_PROT, MINIVMM_LONG };

/* Guest code assembled into the test itself: GUEST(name, 64, "hlt"). */
struct guest_code {
	const uint8_t *start, *end;
};

#define GUEST(name, bits, text)                                                                \
	asm(".pushsection .rodata\n.balign 16\n.code" #bits "\nguest_" #name ":\n" text        \
	    "\nguest_" #name "_end:\n.code64\n.popsection\n");                                 \
	extern const uint8_t guest_##name[], guest_##name##_end[];                             \
	static const struct guest_code name                                                    \
		__attribute__((unused)) = {guest_##name, guest_##name##_end}

void minivmm_create(struct minivmm *v);
void minivmm_create_with_irqchip(struct minivmm *v);
/* With dirty rings of so many bytes, interrupt controllers, and a memslot that logs. */
void minivmm_create_with_ring(struct minivmm *v, size_t size);
void minivmm_create_type(struct minivmm *v, unsigned type); /* of VM */
void minivmm_destroy(struct minivmm *v);
/* One more vCPU of v's VM, as a minivmm of its own that shares the rest. It is loaded like the
 * first, and both its descriptor and its mapping go with minivmm_remove_vcpu(). */
void minivmm_add_vcpu(const struct minivmm *v, unsigned id, struct minivmm *more);
void minivmm_remove_vcpu(struct minivmm *more);
/* Copy the code to MINIVMM_CODE and point a vCPU in that mode at it; IDT limit 0, IF clear. */
void minivmm_load(struct minivmm *v, enum minivmm_mode mode, struct guest_code code);
/* A gate for this vector that jumps to `offset` in the loaded code. */
void minivmm_set_gate(struct minivmm *v, enum minivmm_mode mode, unsigned vector,
		      uint32_t offset);
/* The local APIC on, in x2APIC mode. */
void minivmm_enable_apic(struct minivmm *v);
/* KVM_RUN: the exit reason, or -errno. */
int minivmm_run(struct minivmm *v);
void minivmm_get_regs(struct minivmm *v, struct kvm_regs *r);
void minivmm_set_regs(struct minivmm *v, const struct kvm_regs *r);
void minivmm_set_rdi(struct minivmm *v, uint64_t rdi);
void minivmm_get_sregs(struct minivmm *v, struct kvm_sregs *s);
void minivmm_set_sregs(struct minivmm *v, const struct kvm_sregs *s);

const char *minivmm_exit_name(int reason);
uint64_t minivmm_now(void); /* nanoseconds */

#define EXPECT(condition, ...)                                                                 \
	do {                                                                                   \
		if (!(condition)) {                                                            \
			fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #condition);        \
			fprintf(stderr, __VA_ARGS__);                                          \
			fputc('\n', stderr);                                                   \
			exit(1);                                                               \
		}                                                                              \
	} while (0)

#define EXPECT_EXIT(v, reason)                                                                 \
	do {                                                                                   \
		int got_ = minivmm_run(v);                                                     \
		EXPECT(got_ == (reason), "exit %s (%d), not %s", minivmm_exit_name(got_),      \
		       got_, minivmm_exit_name(reason));                                       \
	} while (0)

#endif
