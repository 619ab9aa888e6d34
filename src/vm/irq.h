/* SPDX-License-Identifier: MIT */
/*
 * vm/irq.h: what connects eventfds and device accesses to the controllers: irqfds (with
 * resampling), ioeventfds, coalesced MMIO and PIO, and the in-VM device bus.
 *
 * Called by abi/ (setup) and by vcpu.c on the vCPU's thread (bus accesses, which never sleep).
 * irqfds are served by one helper thread of the VM's that blocks all signals (epoll).
 */
#ifndef VM_IRQ_H
#define VM_IRQ_H

#include "vm/vm.h"

int vm_irq_create(struct vm *vm); /* called by vm_create() */
void vm_irq_destroy(struct vm *vm);
/* A guest is about to run, and the keeper is there. 0 or -errno. Idempotent. */
int vm_irq_start(struct vm *vm);

/* The VMM wrote to an eventfd: take what irqfds of guests that never ran hold. */
void vm_irqs_written(void);
void vm_irqs_forked_child(void);

/* KVM_IRQFD: KVM's errno (EINVAL, EBADF, EBUSY, ENOENT ...). */
int vm_irqfd(struct vm *vm, const struct kvm_irqfd *f);
/* Called by the irqchip (gsi_acked): resampling irqfds lower the line and signal. */
void vm_irq_acked(struct vm *vm, u32 gsi);
/* Routing changed: irqfds look up their route anew. */
void vm_irq_routing_changed(struct vm *vm);

int vm_iobus_create(struct vm *vm);
void vm_iobus_destroy(struct vm *vm);
int vm_ioeventfd(struct vm *vm, const struct kvm_ioeventfd *f);
int vm_coalesced_zone(struct vm *vm, const struct kvm_coalesced_mmio_zone *z, bool add);

/*
 * A guest's access to a port or to guest-physical space without memory: true when an ioeventfd,
 * a coalesced zone (writes) or an in-VM controller took it.
 */
bool vm_bus_pio(struct vcpu *v, u16 port, u32 size, bool write, void *data);
bool vm_bus_mmio(struct vcpu *v, gpa_t gpa, u32 size, bool write, void *data);

#endif
