/* SPDX-License-Identifier: MIT */
/* abi/vcpu.c: calls on a vCPU that carry its registers (KVM's api.rst, "vcpu ioctl"). */
#include <stdlib.h>
#include "abi/internal.h"
#include "abi/sregs.h"
#include "base/guard.h"

long vcpu_ioctl_get_regs(struct call *c)
{
	cpu_get_regs(c->v->cpu, (void *)c->buf);
	return 0;
}

long vcpu_ioctl_set_regs(struct call *c)
{
	cpu_set_regs(c->v->cpu, (void *)c->buf);
	return 0;
}

/* ---- special registers: the APIC base and CR8 are the VM's, the rest the processor's */

static void set_cr8(struct vcpu *v, u64 cr8)
{
	if (!(cr8 & ~0xfULL))
		vcpu_set_cr8(v, cr8);
}

/* The APIC base is set first, since it may refuse, and put back when the processor refuses. */
static int begin_set(struct vcpu *v, u64 base, u64 *old)
{
	*old = vcpu_get_apic_base(v);
	return base == *old ? 0 : vcpu_set_apic_base(v, base, true);
}

void sregs_get(struct vcpu *v, struct kvm_sregs *s)
{
	cpu_get_sregs(v->cpu, s);
	s->cr8 = vcpu_get_cr8(v);
	s->apic_base = vcpu_get_apic_base(v);
}

int sregs_set(struct vcpu *v, const struct kvm_sregs *s)
{
	u64 old;
	int r = begin_set(v, s->apic_base, &old);

	if (r)
		return r;
	r = cpu_set_sregs(v->cpu, s);
	if (r) {
		vcpu_set_apic_base(v, old, true);
		return r;
	}
	set_cr8(v, s->cr8);
	return 0;
}

long vcpu_ioctl_get_sregs(struct call *c)
{
	sregs_get(c->v, (void *)c->buf);
	return 0;
}

long vcpu_ioctl_set_sregs(struct call *c)
{
	return sregs_set(c->v, (void *)c->buf);
}

long vcpu_ioctl_get_sregs2(struct call *c)
{
	struct kvm_sregs2 *s = (void *)c->buf;

	cpu_get_sregs2(c->v->cpu, s);
	s->cr8 = vcpu_get_cr8(c->v);
	s->apic_base = vcpu_get_apic_base(c->v);
	return 0;
}

long vcpu_ioctl_set_sregs2(struct call *c)
{
	const struct kvm_sregs2 *s = (void *)c->buf;
	u64 old;
	int r;

	if (s->flags & ~(u64)KVM_SREGS2_FLAGS_PDPTRS_VALID)
		return -EINVAL;
	r = begin_set(c->v, s->apic_base, &old);
	if (r)
		return r;
	r = cpu_set_sregs2(c->v->cpu, s);
	if (r) {
		vcpu_set_apic_base(c->v, old, true);
		return r;
	}
	set_cr8(c->v, s->cr8);
	return 0;
}

/* ---- vector state */

long vcpu_ioctl_get_fpu(struct call *c)
{
	struct kvm_fpu *f = (void *)c->buf;

	cpu_get_fpu(c->v->cpu, f);
	f->mxcsr = 0; /* KVM's call does not carry it */
	return 0;
}

long vcpu_ioctl_set_fpu(struct call *c)
{
	struct kvm_fpu *f = (void *)c->buf;

	f->mxcsr = c->v->cpu->mxcsr;
	return cpu_set_fpu(c->v->cpu, f);
}

static u32 xsave_bytes(void)
{
	return MAX(cpu_xsave_size(), (u32)sizeof(struct kvm_xsave));
}

static long get_xsave(struct call *c, u32 size)
{
	u8 *area = aligned_alloc(64, ALIGN_UP(size, 64));
	long r;

	if (!area)
		return -ENOMEM;
	memset(area, 0, size);
	cpu_get_xsave(c->v->cpu, area, size);
	r = guard_copy_to(c->user, area, size);
	free(area);
	return r;
}

long vcpu_ioctl_get_xsave(struct call *c)
{
	/* The old form has 4 KiB: what needs more is refused (api.rst, KVM_GET_XSAVE2). */
	if (xsave_bytes() > sizeof(struct kvm_xsave))
		return -EINVAL;
	return get_xsave(c, sizeof(struct kvm_xsave));
}

long vcpu_ioctl_get_xsave2(struct call *c)
{
	return get_xsave(c, xsave_bytes());
}

long vcpu_ioctl_set_xsave(struct call *c)
{
	u32 size = xsave_bytes();
	u8 *area = aligned_alloc(64, ALIGN_UP(size, 64));
	long r;

	if (!area)
		return -ENOMEM;
	r = guard_copy_from(area, c->user, size);
	if (!r)
		r = cpu_set_xsave(c->v->cpu, area, size);
	free(area);
	return r;
}

long vcpu_ioctl_get_xcrs(struct call *c)
{
	cpu_get_xcrs(c->v->cpu, (void *)c->buf);
	return 0;
}

long vcpu_ioctl_set_xcrs(struct call *c)
{
	return cpu_set_xcrs(c->v->cpu, (void *)c->buf);
}

/* ---- debugging */

long vcpu_ioctl_get_debugregs(struct call *c)
{
	cpu_get_debugregs(c->v->cpu, (void *)c->buf);
	return 0;
}

long vcpu_ioctl_set_debugregs(struct call *c)
{
	const struct kvm_debugregs *d = (void *)c->buf;

	return d->flags ? -EINVAL : cpu_set_debugregs(c->v->cpu, d);
}

long vcpu_ioctl_set_guest_debug(struct call *c)
{
	return cpu_set_guest_debug(c->v->cpu, (void *)c->buf);
}

long vcpu_ioctl_translate(struct call *c)
{
	cpu_translate(c->v->cpu, (void *)c->buf);
	return 0;
}
