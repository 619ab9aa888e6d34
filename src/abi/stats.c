/* SPDX-License-Identifier: MIT */
/*
 * abi/stats.c: binary statistics (api.rst, KVM_GET_STATS_FD): header, identity string,
 * descriptors, counters. The counters are copied into the descriptor's pages before each read.
 */
#include "abi/stats.h"
#include <fcntl.h>
#include <stdio.h>
#include "sync/atomic.h"

#define NAME_SIZE 48 /* as KVM's: identity string and names, with their zero */

struct stat_line {
	const char *name;
	u32 flags;
	u64 (*get)(const struct abi_file *f);
};

#define CUMULATIVE (KVM_STATS_TYPE_CUMULATIVE | KVM_STATS_UNIT_NONE | KVM_STATS_BASE_POW10)
#define INSTANT	   (KVM_STATS_TYPE_INSTANT | KVM_STATS_UNIT_NONE | KVM_STATS_BASE_POW10)

static struct mmu_stats mmu_stats(const struct abi_file *f)
{
	struct mmu_stats s;

	mmu_get_stats(f->avm->vm->mmu, &s);
	return s;
}

#define VM_LINE(field)                                                                         \
	static u64 vm_##field(const struct abi_file *f)                                        \
	{                                                                                      \
		return mmu_stats(f).field;                                                     \
	}
VM_LINE(pages_4k)
VM_LINE(pages_2m)
VM_LINE(pages_1g)
VM_LINE(remote_flushes)
VM_LINE(invalidations)

static const struct stat_line vm_lines[] = {
	{"remote_tlb_flush", CUMULATIVE, vm_remote_flushes},
	{"pages_4k", INSTANT, vm_pages_4k},
	{"pages_2m", INSTANT, vm_pages_2m},
	{"pages_1g", INSTANT, vm_pages_1g},
	{"invalidations", CUMULATIVE, vm_invalidations},
};

#define VCPU_LINE(name, field)                                                                 \
	static u64 vcpu_##name(const struct abi_file *f)                                       \
	{                                                                                      \
		return sync_load(&f->vcpu->field);                                             \
	}
VCPU_LINE(exits, stat_exits)
VCPU_LINE(signal_exits, stat_signal_exits)
VCPU_LINE(halt_exits, stat_halt_exits)
VCPU_LINE(irq_window, stat_irq_window)
VCPU_LINE(io_exits, cpu->stat_io)
VCPU_LINE(mmio_exits, cpu->stat_mmio)
VCPU_LINE(pf_taken, cpu->mmu.stat_faults)
VCPU_LINE(tlb_flush, cpu->mmu.nr_answers)
VCPU_LINE(irq_injections, cpu->stat_irqs)
VCPU_LINE(exceptions, cpu->stat_exceptions)
VCPU_LINE(instructions, cpu->stat_insns)
VCPU_LINE(tlb_misses, cpu->stat_tlb_miss)

static const struct stat_line vcpu_lines[] = {
	{"exits", CUMULATIVE, vcpu_exits},
	{"io_exits", CUMULATIVE, vcpu_io_exits},
	{"mmio_exits", CUMULATIVE, vcpu_mmio_exits},
	{"signal_exits", CUMULATIVE, vcpu_signal_exits},
	{"irq_window_exits", CUMULATIVE, vcpu_irq_window},
	{"halt_exits", CUMULATIVE, vcpu_halt_exits},
	{"pf_taken", CUMULATIVE, vcpu_pf_taken},
	{"tlb_flush", CUMULATIVE, vcpu_tlb_flush},
	{"irq_injections", CUMULATIVE, vcpu_irq_injections},
	{"exceptions", CUMULATIVE, vcpu_exceptions},
	{"instructions", CUMULATIVE, vcpu_instructions},
	{"tlb_misses", CUMULATIVE, vcpu_tlb_misses},
};

static const struct stat_line *lines_of(enum file_kind kind, u32 *n)
{
	*n = kind == FILE_VM_STATS ? ARRAY_SIZE(vm_lines) : ARRAY_SIZE(vcpu_lines);
	return kind == FILE_VM_STATS ? vm_lines : vcpu_lines;
}

#define DESC_SIZE (sizeof(struct kvm_stats_desc) + NAME_SIZE)

static void fill(struct abi_file *f, const char *id)
{
	struct kvm_stats_header *h = f->map;
	struct kvm_stats_desc *d;
	const struct stat_line *l;
	u32 i, n;

	l = lines_of(f->kind, &n);
	h->name_size = NAME_SIZE;
	h->num_desc = n;
	h->id_offset = sizeof(*h);
	h->desc_offset = h->id_offset + NAME_SIZE;
	h->data_offset = h->desc_offset + n * (u32)DESC_SIZE;
	snprintf((char *)f->map + h->id_offset, NAME_SIZE, "%s", id);
	for (i = 0; i < n; i++) {
		d = (void *)((u8 *)f->map + h->desc_offset + i * DESC_SIZE);
		d->flags = l[i].flags;
		d->size = 1;
		d->offset = i * (u32)sizeof(u64);
		snprintf(d->name, NAME_SIZE, "%s", l[i].name);
	}
}

void stats_refresh(struct abi_file *f)
{
	const struct kvm_stats_header *h = f->map;
	const struct stat_line *l;
	u64 *data;
	u32 i, n;

	if (f->pid != file_pid())
		return;
	l = lines_of(f->kind, &n);
	data = (void *)((u8 *)f->map + h->data_offset);
	for (i = 0; i < n; i++)
		sync_store(&data[i], l[i].get(f));
}

static long stats_open(struct call *c, enum file_kind kind, const char *name, const char *id)
{
	struct abi_file *f;
	u32 n;
	int fd;

	lines_of(kind, &n);
	fd = file_create(kind, name,
			 sizeof(struct kvm_stats_header) + NAME_SIZE +
				 n * (DESC_SIZE + sizeof(u64)),
			 O_CLOEXEC, &f);
	if (fd < 0)
		return fd;
	f->vcpu = c->v;
	f->avm = c->avm;
	avm_get(c->avm);
	fill(f, id);
	stats_refresh(f);
	file_publish(f, fd);
	return fd;
}

long vm_ioctl_stats_fd(struct call *c)
{
	char id[NAME_SIZE];

	snprintf(id, sizeof(id), "kvm-%d", c->vm->pid);
	return stats_open(c, FILE_VM_STATS, "userkvm:vm-stats", id);
}

long vcpu_ioctl_stats_fd(struct call *c)
{
	char id[NAME_SIZE];

	snprintf(id, sizeof(id), "kvm-%d/vcpu-%u", c->vm->pid, c->v->id);
	return stats_open(c, FILE_VCPU_STATS, "userkvm:vcpu-stats", id);
}
