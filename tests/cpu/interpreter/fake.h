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
/* Run until something is raised: its vector; c->rip is the instruction's. */
int fake_run(struct cpu *c);
/* Code was written from outside, as by the VMM. */
void fake_code_changed(struct cpu *c);

#endif
