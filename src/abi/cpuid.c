/* SPDX-License-Identifier: MIT */
/* abi/cpuid.c: the calls that carry lists: CPUID and MSRs. */
#include "abi/cpuid.h"
#include <linux/kvm_para.h>
#include <stdlib.h>
#include "base/guard.h"

#define CPUID1_ECX_OSXSAVE (1u << 27)
#define CPUID1_EDX_APIC	   (1u << 9)
#define CPUID7_ECX_OSPKE   (1u << 4)

long cpuid_copy_out(void *user, const struct cpuid_leaf *l, u32 n)
{
	const size_t list = sizeof(struct kvm_cpuid2);
	u32 i;

	for (i = 0; i < n; i++) {
		struct kvm_cpuid_entry2 e = {
			.function = l[i].function,
			.index = l[i].index,
			.flags = l[i].flags,
			.eax = l[i].eax,
			.ebx = l[i].ebx,
			.ecx = l[i].ecx,
			.edx = l[i].edx,
		};

		if (guard_copy_to(call_user_at(user, list + i * sizeof(e)), &e, sizeof(e)))
			return -EFAULT;
	}
	return guard_copy_to(user, &n, sizeof(n));
}

long msrs_each(void *user, bool out, int (*one)(void *ctx, struct kvm_msr_entry *e), void *ctx)
{
	struct kvm_msr_entry *e;
	void *list = call_user_at(user, sizeof(struct kvm_msrs));
	struct kvm_msrs head;
	u32 i;
	long r;

	if (guard_copy_from(&head, user, sizeof(head)))
		return -EFAULT;
	if (head.nmsrs >= UAPI_MAX_MSRS)
		return -E2BIG;
	r = call_copy_array(list, head.nmsrs, sizeof(*e), (void **)&e);
	if (r)
		return r;
	for (i = 0; i < head.nmsrs; i++)
		if (one(ctx, &e[i]))
			break;
	r = i;
	if (out && guard_copy_to(list, e, head.nmsrs * sizeof(*e)))
		r = -EFAULT;
	free(e);
	return r;
}

static int get_one(void *ctx, struct kvm_msr_entry *e)
{
	u64 value;
	int r = cpu_msr_get(ctx, e->index, true, &value);

	if (!r)
		e->data = value;
	return r;
}

static int set_one(void *ctx, struct kvm_msr_entry *e)
{
	return cpu_msr_set(ctx, e->index, true, e->data);
}

long vcpu_ioctl_get_msrs(struct call *c)
{
	return msrs_each(c->user, true, get_one, c->v->cpu);
}

long vcpu_ioctl_set_msrs(struct call *c)
{
	return msrs_each(c->user, false, set_one, c->v->cpu);
}

/* Bits that follow the vCPU's state: KVM puts its own in before it compares. */
static struct cpuid_leaf runtime_bits(u32 function, u32 index)
{
	struct cpuid_leaf l = {.function = function, .index = index};

	if (function == 1) {
		l.ecx = CPUID1_ECX_OSXSAVE;
		l.edx = CPUID1_EDX_APIC;
	} else if (function == 7 && !index) {
		l.ecx = CPUID7_ECX_OSPKE;
	} else if (function == 0xd && index < 2) {
		l.ebx = ~0u; /* sizes */
	}
	return l;
}

/* After the guest was first entered, CPUID may only be set to what it is (api.rst, KVM_SET_CPUID). */
static bool same_cpuid(struct cpu *cpu, const struct cpuid_leaf *l, u32 n)
{
	struct cpuid_leaf any;
	u32 i, now[4];

	if (n != cpu->ncpuid)
		return false;
	for (i = 0; i < n; i++) {
		const struct cpuid_leaf *o = &cpu->cpuid[i];

		if (l[i].function != o->function || l[i].index != o->index ||
		    l[i].flags != o->flags)
			return false;
		/* What KVM_GET_CPUID2 gave out has the bits that follow the guest's state. */
		cpu_cpuid(cpu, o->function, o->index, now);
		any = runtime_bits(o->function, o->index);
		if (((l[i].eax ^ o->eax) && (l[i].eax ^ now[0])) ||
		    ((l[i].ebx ^ o->ebx) & ~any.ebx && (l[i].ebx ^ now[1]) & ~any.ebx) ||
		    ((l[i].ecx ^ o->ecx) & ~any.ecx && (l[i].ecx ^ now[2]) & ~any.ecx) ||
		    ((l[i].edx ^ o->edx) & ~any.edx && (l[i].edx ^ now[3]) & ~any.edx))
			return false;
	}
	return true;
}

/* Nobody can kick a vCPU that halts without an exit out of its halt (cpuid.rst, KVM_FEATURE_PV_UNHALT). */
static void drop_unhalt(struct cpuid_leaf *l, u32 n)
{
	for (u32 i = 0; i < n; i++)
		if (l[i].function == KVM_CPUID_FEATURES)
			l[i].eax &= ~(1u << KVM_FEATURE_PV_UNHALT);
}

static long set_leaves(struct vcpu *v, struct cpuid_leaf *l, u32 n)
{
	long r;

	if (v->vm->halts_itself)
		drop_unhalt(l, n);
	if (v->has_run)
		return same_cpuid(v->cpu, l, n) ? 0 : -EINVAL;
	r = cpu_set_cpuid(v->cpu, l, n);
	if (!r)
		vcpu_cpuid_changed(v);
	return r;
}

static void leaf_from_entry2(struct cpuid_leaf *l, const void *entries, u32 i)
{
	const struct kvm_cpuid_entry2 *e = (const struct kvm_cpuid_entry2 *)entries + i;

	*l = (struct cpuid_leaf){e->function, e->index, e->flags, e->eax, e->ebx, e->ecx, e->edx};
}

static void leaf_from_entry(struct cpuid_leaf *l, const void *entries, u32 i)
{
	const struct kvm_cpuid_entry *e = (const struct kvm_cpuid_entry *)entries + i;

	*l = (struct cpuid_leaf){e->function, 0, 0, e->eax, e->ebx, e->ecx, e->edx};
}

/* Both forms: a count, and `header` bytes from the start as many entries of `size` bytes. */
static long set_entries(struct call *c, size_t header, size_t size,
			void (*leaf_from)(struct cpuid_leaf *l, const void *entries, u32 i))
{
	struct cpuid_leaf *l;
	void *entries;
	u32 n;
	long r;

	if (guard_copy_from(&n, c->user, sizeof(n)))
		return -EFAULT;
	if (n > UAPI_MAX_CPUID_ENTRIES)
		return -E2BIG;
	r = call_copy_array(call_user_at(c->user, header), n, size, &entries);
	if (r)
		return r;
	l = calloc(n + 1, sizeof(*l));
	r = -ENOMEM;
	if (l) {
		for (u32 i = 0; i < n; i++)
			leaf_from(&l[i], entries, i);
		r = set_leaves(c->v, l, n);
	}
	free(l);
	free(entries);
	return r;
}

long vcpu_ioctl_set_cpuid2(struct call *c)
{
	return set_entries(c, sizeof(struct kvm_cpuid2), sizeof(struct kvm_cpuid_entry2),
			   leaf_from_entry2);
}

long vcpu_ioctl_set_cpuid(struct call *c)
{
	return set_entries(c, sizeof(struct kvm_cpuid), sizeof(struct kvm_cpuid_entry),
			   leaf_from_entry);
}

long vcpu_ioctl_get_cpuid2(struct call *c)
{
	struct cpu *cpu = c->v->cpu;
	struct cpuid_leaf *l;
	u32 i, n, now[4];
	long r;

	if (guard_copy_from(&n, c->user, sizeof(n)))
		return -EFAULT;
	if (n < cpu->ncpuid)
		return -E2BIG;
	l = calloc(cpu->ncpuid + 1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	for (i = 0; i < cpu->ncpuid; i++) {
		l[i] = cpu->cpuid[i];
		cpu_cpuid(cpu, l[i].function, l[i].index, now);
		l[i].eax = now[0];
		l[i].ebx = now[1];
		l[i].ecx = now[2];
		l[i].edx = now[3];
	}
	r = cpuid_copy_out(c->user, l, cpu->ncpuid);
	free(l);
	return r;
}
