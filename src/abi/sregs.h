/* SPDX-License-Identifier: MIT */
/* abi/sregs.h: state in KVM's structures, for the calls and for synced registers. mutex held.
 */
#ifndef ABI_SREGS_H
#define ABI_SREGS_H

#include "abi/internal.h"

void sregs_get(struct vcpu *v, struct kvm_sregs *s);
int sregs_set(struct vcpu *v, const struct kvm_sregs *s); /* 0 or -EINVAL */
void events_get(struct vcpu *v, struct kvm_vcpu_events *e);
int events_set(struct vcpu *v, const struct kvm_vcpu_events *e); /* 0 or -EINVAL */

#endif
