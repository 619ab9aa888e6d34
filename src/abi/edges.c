/* SPDX-License-Identifier: MIT */
/*
 * abi/edges.c: what the VMM does beside its calls on our descriptors, and a VM hears of: numbers
 * that go, eventfds it writes to, forks.
 */
#include "abi/internal.h"
#include "vm/eventfd.h"
#include "vm/irq.h"
#include "vm/quiet.h"

void abi_closing(unsigned first, unsigned last)
{
	eventfds_closing(first, last);
}

bool abi_cares_for_writes(int fd)
{
	return fd >= 0 && eventfds_may_hold(fd);
}

void abi_written(void)
{
	vm_irqs_written();
}

void abi_flags_changed(void)
{
	eventfds_flags_changed();
}

static void start(struct abi_vm *avm, void *arg)
{
	(void)arg;
	vm_start(avm->vm); /* one that cannot be started now says so when it runs */
}

void abi_before_filter(void)
{
	files_each_vm(start, NULL);
}

void abi_forked_child(void)
{
	files_forked_child();
	eventfds_forked_child();
	vm_irqs_forked_child();
	quiet_forked_child();
}
