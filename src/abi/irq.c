/* SPDX-License-Identifier: MIT */
/* abi/irq.c: VM calls on interrupt controllers, routing, eventfds and coalesced accesses. */
#include "vm/irq.h"
#include <stdlib.h>
#include "abi/internal.h"
#include "base/guard.h"

/* Without controllers the answer is given here; a split chip and a missing PIT irqchip/ refuses. */

long vm_ioctl_create_irqchip(struct call *c)
{
	return vm_create_irqchip(c->vm, IRQCHIP_KERNEL, 0);
}

long vm_ioctl_get_irqchip(struct call *c)
{
	return c->vm->irqchip ? irqchip_get(c->vm->irqchip, (void *)c->buf) : -ENXIO;
}

long vm_ioctl_set_irqchip(struct call *c)
{
	return c->vm->irqchip ? irqchip_set(c->vm->irqchip, (void *)c->buf) : -ENXIO;
}

static long create_pit(struct call *c, const struct kvm_pit_config *config)
{
	return c->vm->irqchip ? irqchip_create_pit(c->vm->irqchip, config) : -ENOENT;
}

long vm_ioctl_create_pit(struct call *c)
{
	struct kvm_pit_config config = {.flags = KVM_PIT_SPEAKER_DUMMY};

	return create_pit(c, &config);
}

long vm_ioctl_create_pit2(struct call *c)
{
	return create_pit(c, (void *)c->buf);
}

long vm_ioctl_get_pit2(struct call *c)
{
	return c->vm->irqchip ? irqchip_get_pit2(c->vm->irqchip, (void *)c->buf) : -ENXIO;
}

long vm_ioctl_set_pit2(struct call *c)
{
	return c->vm->irqchip ? irqchip_set_pit2(c->vm->irqchip, (void *)c->buf) : -ENXIO;
}

/* The older calls carry the channels alone. */
long vm_ioctl_get_pit(struct call *c)
{
	struct kvm_pit_state2 s;
	int r;

	if (!c->vm->irqchip)
		return -ENXIO;
	r = irqchip_get_pit2(c->vm->irqchip, &s);
	if (!r)
		memcpy(c->buf, s.channels, sizeof(struct kvm_pit_state));
	return r;
}

long vm_ioctl_set_pit(struct call *c)
{
	struct kvm_pit_state2 s;
	int r;

	if (!c->vm->irqchip)
		return -ENXIO;
	r = irqchip_get_pit2(c->vm->irqchip, &s);
	if (r)
		return r;
	memcpy(s.channels, c->buf, sizeof(struct kvm_pit_state));
	return irqchip_set_pit2(c->vm->irqchip, &s);
}

long vm_ioctl_reinject(struct call *c)
{
	struct kvm_reinject_control rc; /* the request carries no size */

	if (guard_copy_from(&rc, c->user, sizeof(rc)))
		return -EFAULT;
	return c->vm->irqchip ? irqchip_reinject_control(c->vm->irqchip, &rc) : -ENXIO;
}

static long irq_line(struct call *c, int *status)
{
	const struct kvm_irq_level *l = (void *)c->buf;

	if (!c->vm->irqchip)
		return -ENXIO;
	if (l->level)
		vm_distrust_code(c->vm);
	*status = irqchip_set_gsi(c->vm->irqchip, IRQ_SOURCE_USER, l->irq, l->level);
	return 0;
}

long vm_ioctl_irq_line(struct call *c)
{
	int status;

	return irq_line(c, &status);
}

long vm_ioctl_irq_line_status(struct call *c)
{
	struct kvm_irq_level *l = (void *)c->buf;
	int status = 0;
	long r = irq_line(c, &status);

	l->status = status;
	return r;
}

long vm_ioctl_signal_msi(struct call *c)
{
	const struct kvm_msi *m = (void *)c->buf;

	if (!c->vm->irqchip)
		return -EINVAL;
	vm_distrust_code(c->vm);
	return irqchip_send_msi(c->vm->irqchip, m);
}

long vm_ioctl_set_routing(struct call *c)
{
	struct kvm_irq_routing_entry *e = NULL;
	struct kvm_irq_routing head;
	long r;

	if (guard_copy_from(&head, c->user, sizeof(head)))
		return -EFAULT;
	if (!c->vm->irqchip || head.nr > UAPI_MAX_ROUTES || head.flags)
		return -EINVAL;
	r = call_copy_array(call_user_at(c->user, sizeof(head)), head.nr, sizeof(*e), (void **)&e);
	if (r)
		return r;
	r = irqchip_set_routing(c->vm->irqchip, e, head.nr, head.flags);
	if (!r)
		vm_irq_routing_changed(c->vm);
	free(e);
	return r;
}

long vm_ioctl_irqfd(struct call *c)
{
	return vm_irqfd(c->vm, (void *)c->buf);
}

long vm_ioctl_ioeventfd(struct call *c)
{
	return vm_ioeventfd(c->vm, (void *)c->buf);
}

long vm_ioctl_register_coalesced(struct call *c)
{
	return vm_coalesced_zone(c->vm, (void *)c->buf, true);
}

long vm_ioctl_unregister_coalesced(struct call *c)
{
	return vm_coalesced_zone(c->vm, (void *)c->buf, false);
}
