/* SPDX-License-Identifier: MIT */
#include "vm/vm.h"

#include <cpuid.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/text.h"
#include "primary/linux/linux.h"
#include "sync/atomic.h"
#include "sync/rcu.h"
#include "vm/clock.h"
#include "vm/env.h"
#include "vm/eventfd.h"
#include "vm/irq.h"
#include "vm/look.h"
#include "vm/msr_filter.h"
#include "vm/pv.h"
#include "vm/statpage.h"

static u64 now_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC_RAW);
}

struct tsc_sample {
	u64 ns, tsc;
};

/* Both clocks at one moment: of several readings the closest, so that one which was interrupted
 * does not count. */
static struct tsc_sample sample_tsc(void)
{
	struct tsc_sample best = {0};
	u64 best_width = ~0ULL;

	for (int i = 0; i < 32; i++) {
		u64 before = clock_tsc(), ns = now_ns(), width = clock_tsc() - before;

		if (width < best_width) {
			best_width = width;
			best = (struct tsc_sample){ns, before + width / 2};
		}
	}
	return best;
}

/* Count TSC ticks over some milliseconds of the raw clock. */
static u32 measure_tsc_khz(void)
{
	const u64 interval = 20000000; /* ns: 50 ppm with a microsecond's jitter at each end */
	struct tsc_sample first = sample_tsc(), last;

	while (now_ns() - first.ns < interval)
		;
	last = sample_tsc();
	return (u32)((last.tsc - first.tsc) * 1000000 / (last.ns - first.ns));
}

/* TSC ticks per millisecond of this host: as a hypervisor or the processor states it, or measured. */
static u32 host_tsc_khz(void)
{
	static u32 khz;
	u32 a, b, c, d;

	if (sync_load(&khz))
		return khz;
	__cpuid(1, a, b, c, d);
	if (c & BIT(31)) { /* under a hypervisor: its timing leaf */
		__cpuid(0x40000000, a, b, c, d);
		if (a >= 0x40000010) {
			__cpuid(0x40000010, a, b, c, d);
			sync_store(&khz, a);
		}
	}
	if (!sync_load(&khz) && __get_cpuid_max(0, NULL) >= 0x15) {
		__cpuid_count(0x15, 0, a, b, c, d);
		if (a && b && c)
			sync_store(&khz, (u32)((u64)c * b / a / 1000));
	}
	if (!sync_load(&khz))
		sync_store(&khz, measure_tsc_khz());
	return khz;
}

/* A defect of this library's, which harms nobody by itself: say so and go on, as KVM's WARN does. */
static void report(const char *what)
{
	text_say("userkvm: %s\n", what);
}

/* A forked child has copies of its parent's VMs, and makes its own beside them. */
static void forget_parents_vms(int pid)
{
	static int ours; /* atomic */
	int before = sync_xchg(&ours, pid);

	if (before && before != pid)
		mmu_forked_child();
}

int vm_create(u32 type, struct vm **out)
{
	struct vm *vm;
	void *primary;
	int r;

	vm = calloc(1, sizeof(*vm));
	if (!vm)
		return -ENOMEM;
	vm->refs = 1;
	vm->type = type;
	sync_store(&mmu_report, report); /* other VMs' threads do the same */
	vm->pid = (int)syscall(SYS_getpid);
	vm->tsc_khz = vm->host_tsc_khz = host_tsc_khz();
	vm->max_vcpu_id = VM_MAX_VCPU_ID;
	vm_clock_init(vm, vm->tsc_khz);
	mutex_init(&vm->lock);
	forget_parents_vms(vm->pid);
	r = primary_linux_create(&primary);
	if (r)
		goto out_free;
	r = mmu_create(&primary_linux_ops, primary, &vm->mmu);
	if (r) {
		primary_linux_ops.destroy(primary);
		goto out_free;
	}
	statpage_create(vm);
	r = vm_irq_create(vm);
	if (r)
		goto out_mmu;
	r = vm_iobus_create(vm);
	if (r)
		goto out_irq;
	*out = vm;
	return 0;
out_irq:
	vm_irq_destroy(vm);
out_mmu:
	statpage_destroy(vm);
	mmu_close(vm->mmu);
out_free:
	mutex_destroy(&vm->clock.lock);
	mutex_destroy(&vm->lock);
	free(vm);
	return r;
}

void vm_get(struct vm *vm)
{
	sync_add(&vm->refs, 1);
}

static void vcpu_destroy(struct vcpu *v)
{
	struct vcpu_look *asked = sync_xchg(&v->look, NULL);

	if (asked)
		vcpu_look_put(asked);
	if (v->lapic)
		lapic_destroy(v->lapic);
	pv_fini(v);
	cpu_destroy(v->cpu);
	mutex_destroy(&v->mutex);
	free(v);
}

void vm_put(struct vm *vm)
{
	if (sync_sub(&vm->refs, 1) != 1)
		return;
	/* No descriptor is left, so no ioctl runs; the helper threads go first. */
	vm_irq_destroy(vm);
	vm_iobus_destroy(vm);
	for (u32 i = 0; i < vm->nvcpus; i++)
		vcpu_destroy(vm->vcpu[i]);
	if (vm->irqchip)
		irqchip_destroy(vm->irqchip);
	statpage_destroy(vm);
	mmu_close(vm->mmu);
	msr_filter_free(vm->msr_filter);
	mutex_destroy(&vm->clock.lock);
	mutex_destroy(&vm->lock);
	free(vm);
	sync_rcu_reap();
}

int vm_start(struct vm *vm)
{
	int r;

	if (likely(sync_load_acquire(&vm->ran)))
		return 0;
	r = sync_rcu_start();
	if (!r)
		r = eventfds_start();
	if (!r)
		r = vm_irq_start(vm);
	if (r)
		return r;
	primary_linux_start();
	if (vm->irqchip)
		irqchip_start(vm->irqchip);
	sync_store_release(&vm->ran, true);
	return 0;
}

struct vcpu *vm_find_vcpu(struct vm *vm, u32 id)
{
	u32 n = sync_load_acquire(&vm->nvcpus);

	for (u32 i = 0; i < n; i++) {
		if (vm->vcpu[i]->id == id)
			return vm->vcpu[i];
	}
	return NULL;
}

/* With vm->lock held. */
static int create_vcpu_locked(struct vm *vm, u32 id, struct vcpu **out)
{
	struct vcpu *v;
	int r;

	if (id >= vm->max_vcpu_id)
		return -EINVAL;
	if (vm->nvcpus == VM_MAX_VCPUS)
		return -EINVAL;
	if (vm_find_vcpu(vm, id))
		return -EEXIST;
	v = calloc(1, sizeof(*v));
	if (!v)
		return -ENOMEM;
	v->vm = vm;
	v->id = id;
	v->index = vm->nvcpus;
	v->irq_queued = -1;
	v->apic_base = 0xfee00900 & ~(id == vm->bsp_id ? 0ULL : 0x100ULL);
	mutex_init(&v->mutex);
	r = cpu_create(vm->mmu, v->index, &vcpu_cpu_env, v, &vcpu_mmu_ops, &v->cpu);
	if (r)
		goto out_free;
	pv_init(v);
	r = cpu_set_tsc_khz(v->cpu, vm->tsc_khz, vm->host_tsc_khz);
	if (r)
		goto out_cpu;
	v->cpu->tsc_offset = vm->nvcpus ? vm->vcpu[0]->cpu->tsc_offset : -cpu_tsc(v->cpu);
	v->exit = &v->cpu->exit;
	if (vm->irqchip) {
		r = lapic_create(vm->irqchip, v, id, &v->lapic);
		if (r)
			goto out_cpu;
	}
	/* An application processor waits for INIT and SIPI where the APIC is here to bring them. */
	v->mp_state = v->lapic && id != vm->bsp_id ? KVM_MP_STATE_UNINITIALIZED
						   : KVM_MP_STATE_RUNNABLE;
	statpage_add_vcpu(vm, v);
	vm->vcpu[vm->nvcpus] = v;
	sync_store_release(&vm->nvcpus, vm->nvcpus + 1);
	vm_get(vm);
	*out = v;
	return 0;
out_cpu:
	pv_fini(v);
	cpu_destroy(v->cpu);
out_free:
	mutex_destroy(&v->mutex);
	free(v);
	return r;
}

int vm_create_vcpu(struct vm *vm, u32 id, struct vcpu **out)
{
	int r;

	mutex_lock(&vm->lock);
	r = create_vcpu_locked(vm, id, out);
	mutex_unlock(&vm->lock);
	return r;
}

int vm_create_irqchip(struct vm *vm, enum irqchip_mode mode, u32 pins)
{
	int r = 0;

	mutex_lock(&vm->lock);
	if (vm->irqchip)
		r = -EEXIST;
	else if (vm->nvcpus)
		r = mode == IRQCHIP_SPLIT ? -EEXIST : -EINVAL;
	else
		r = irqchip_create(vm, mode, pins, &vcpu_irqchip_ops, &vm->irqchip);
	mutex_unlock(&vm->lock);
	return r;
}
