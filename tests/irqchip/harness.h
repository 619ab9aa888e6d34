/* SPDX-License-Identifier: MIT */
/*
 * An irqchip with fake vCPUs that count what they are sent, and a clock that moves when told.
 */
#ifndef TESTS_IRQCHIP_HARNESS_H
#define TESTS_IRQCHIP_HARNESS_H

#include <stddef.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include "irqchip/internal.h"

#define MAX_FAKES 8

struct fake_vcpu {
	struct lapic *lapic;
	u32 kicks, nmis, smis, inits, sipis, eois;
	u8 sipi_vector, eoi_vector;
};

struct machine {
	struct irqchip *ic;
	struct fake_vcpu vcpu[MAX_FAKES];
	u32 acks[32]; /* by gsi */
	u32 flags;    /* IRQCHIP_FLAG_* */
	void (*on_ack)(u32 gsi);
};

extern struct machine m;
extern u32 distrusts; /* calls of vm_distrust_code(), which only counts here; atomic */

void machine_create(enum irqchip_mode mode, u32 nvcpus);
int machine_teardown(void **state);
/* An irqchip with every controller and `n` APICs, enabled by software. */
int setup_kernel_1(void **state);
int setup_kernel_4(void **state);
int setup_split_2(void **state);

void clock_advance(u64 ns); /* and fire what is due */
u64 clock_now(void);

u32 apic_read(u32 vcpu, u32 reg);
void apic_write(u32 vcpu, u32 reg, u32 value);
void apic_enable(u32 vcpu); /* SPIV */
void apic_to_x2(u32 vcpu);
int irq_has(u32 vcpu);
int irq_get(u32 vcpu);

u8 inb(u16 port);
void outb(u16 port, u8 value);
u32 ioapic_reg_read(u32 index);
void ioapic_reg_write(u32 index, u32 value);
void ioapic_redirect(u32 pin, u64 entry);
int raise_gsi(u32 gsi);
int lower_gsi(u32 gsi);

#endif
