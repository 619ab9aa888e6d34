/* SPDX-License-Identifier: MIT */
/* How soon a signal ends KVM_RUN (../../vmm/heard.h): it is sent while everything else goes on. */
#ifndef STRESS_LATENCY_H
#define STRESS_LATENCY_H

#include <linux/kvm.h>
#include "stress.h"

/* A thread that signals vCPUs begins and ends; the end prints the worst case. */
void latency_begin(void);
void latency_end(void);
/* The vCPU's thread: before each KVM_RUN, after it, and when it ends. */
void latency_run(u32 index, struct kvm_run *run);
void latency_returned(u32 index);
void latency_leave(void);

#endif
