/* SPDX-License-Identifier: MIT */
/*
 * abi/report.h: what is to be known of a guest that died (report.c), and answers to whoever asks about
 * one that runs (answer.c: base/trace.h's questions). Private to abi/.
 */
#ifndef ABI_REPORT_H
#define ABI_REPORT_H

#include "abi/internal.h"

/* Answer questions from now on. Idempotent. */
void answer_init(void);
/* KVM_RUN returns with such an exit: is it the end of the guest? */
bool report_is_death(u32 exit);
/*
 * It is: keep a report for `userkvm why`, and where USERKVM_REPORT names a directory, write it to a file
 * there and say so in a line on standard error. The vCPU's thread, outside guest mode.
 */
COLD void report_death(struct vcpu *v, const struct kvm_run *run);

/* Pieces of text that both have. Registers, code and the walk of RIP: while no generated code runs. */
void report_put_state(struct vcpu *v, struct text *t);
/* How la is translated, down to the host's page. */
void report_put_walk(struct vcpu *v, u64 la, struct text *t);
void report_put_slot_flags(struct text *t, u32 flags);
const char *report_exit_name(u32 reason);

#endif
