/* SPDX-License-Identifier: MIT */
/*
 * interpreter/fake.h: a vCPU on a flat piece of this process's memory, for testing the interpreter
 * alone: linear = guest-physical = host address inside [FAKE_BASE, FAKE_BASE + FAKE_SIZE), which
 * is mapped readable, writable and executable; everything else is a page fault. No events.
 */
#ifndef TESTS_CPU_FAKE_H
#define TESTS_CPU_FAKE_H

#include "cpu/state.h"

#define FAKE_BASE 0x10000000ULL
#define FAKE_SIZE 0x10000ULL
#define FAKE_CODE FAKE_BASE
#define FAKE_DATA (FAKE_BASE + 0x4000)

struct cpu *fake_create(void);
/* 64-bit mode, or 32-bit compatibility mode with flat segments. */
void fake_set_mode(struct cpu *c, enum cpu_mode mode);
/* Run until something is raised: its vector, or one of these; c->rip is the instruction's. */
#define FAKE_RESTART 2000 /* the instruction is to begin anew */
#define FAKE_ASTRAY  3000 /* it goes round and round */
int fake_run(struct cpu *c);
/* Not 0: no code can be marked, and after so many tries a flush is asked for. */
#define FAKE_REQUEST 10
extern u32 fake_zapped;
/* Code was written from outside, as by the VMM. */
void fake_code_changed(struct cpu *c);

#endif
