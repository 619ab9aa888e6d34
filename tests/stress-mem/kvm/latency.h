/* SPDX-License-Identifier: MIT */
/*
 * How soon a signal ends KVM_RUN, in the vCPU thread's own CPU time: it is sent while everything else
 * goes on, and more than LATENCY_NS is a failure.
 */
#ifndef STRESS_LATENCY_H
#define STRESS_LATENCY_H

#include <linux/kvm.h>
#include "stress.h"

#define LATENCY_NS 10000000ULL

/* A thread that signals vCPUs begins and ends; the end prints the worst case. */
void latency_begin(void);
void latency_end(void);
/* The vCPU's thread: before each KVM_RUN, and after it. */
void latency_run(u32 index, struct kvm_run *run);
void latency_returned(u32 index);

#endif
