/* SPDX-License-Identifier: MIT */
/*
 * vm/statpage.h: a VM's counters, laid open to other processes (base/statpage.h).
 *
 * The memfd's pages are put under the structs that mmu/ and cpu/ count in. Where that cannot be
 * done (no descriptor left, a sandbox), the VM counts all the same and nobody sees it from outside.
 * Called by vm.c while it makes or destroys the VM or holds vm->lock. Private to vm/.
 */
#ifndef VM_STATPAGE_H
#define VM_STATPAGE_H

#include "vm/vm.h"

void statpage_create(struct vm *vm);
/* A vCPU was made, not yet published. */
void statpage_add_vcpu(struct vm *vm, struct vcpu *v);
void statpage_destroy(struct vm *vm);

#endif
