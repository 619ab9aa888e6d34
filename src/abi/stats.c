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
#define BOOLEAN	   (KVM_STATS_TYPE_INSTANT | KVM_STATS_UNIT_BOOLEAN | KVM_STATS_BASE_POW10)
#define INSTANT	   (KVM_STATS_TYPE_INSTANT | KVM_STATS_UNIT_NONE | KVM_STATS_BASE_POW10)

static const struct statpage_vm *vm_page(const struct abi_file *f)
{
	return mmu_stat_page(f->avm->vm->mmu);
}

#define VM_LINE(name, field)                                                                   \
	static u64 vm_##name(const struct abi_file *f)                                         \
	{                                                                                      \
		return sync_load(&vm_page(f)->field);                                          \
	}
VM_LINE(remote_tlb_flush, remote_flushes)
VM_LINE(pages_4k, pages[0])
VM_LINE(pages_2m, pages[1])
VM_LINE(pages_1g, pages[2])
VM_LINE(invalidations, invalidations)

/* Names of KVM's own mean here what they mean there; the last of each are userkvm's. */
static const struct stat_line vm_lines[] = {
	{"remote_tlb_flush", CUMULATIVE, vm_remote_tlb_flush},
	{"pages_4k", INSTANT, vm_pages_4k},
	{"pages_2m", INSTANT, vm_pages_2m},
	{"pages_1g", INSTANT, vm_pages_1g},
	{"invalidations", CUMULATIVE, vm_invalidations},
};

#define VCPU_LINE(name, field)                                                                 \
	static u64 vcpu_##name(const struct abi_file *f)                                       \
	{                                                                                      \
		return sync_load(&f->vcpu->cpu->stat.field);                                   \
	}
VCPU_LINE(pf_taken, faults.pf_taken)
VCPU_LINE(pf_fixed, faults.pf_fixed)
VCPU_LINE(tlb_flush, faults.tlb_flush)
VCPU_LINE(io_exits, io_exits)
VCPU_LINE(mmio_exits, mmio_exits)
VCPU_LINE(signal_exits, signal_exits)
VCPU_LINE(irq_window_exits, irq_window_exits)
VCPU_LINE(halt_exits, halt_exits)
VCPU_LINE(halt_wakeup, halt_wakeup)
VCPU_LINE(hypercalls, hypercalls)
VCPU_LINE(irq_injections, irq_injections)
VCPU_LINE(nmi_injections, nmi_injections)
VCPU_LINE(exceptions, exceptions)
VCPU_LINE(instructions, instructions)
VCPU_LINE(tlb_misses, tlb_misses)

static u64 vcpu_exits(const struct abi_file *f)
{
	return statpage_exits(&f->vcpu->cpu->stat);
}

static u64 vcpu_blocking(const struct abi_file *f)
{
	return sync_load(&f->vcpu->cpu->stat.state) == STATPAGE_HALTED;
}

static const struct stat_line vcpu_lines[] = {
	{"pf_taken", CUMULATIVE, vcpu_pf_taken},
	{"pf_fixed", CUMULATIVE, vcpu_pf_fixed},
	{"tlb_flush", CUMULATIVE, vcpu_tlb_flush},
	{"exits", CUMULATIVE, vcpu_exits},
	{"io_exits", CUMULATIVE, vcpu_io_exits},
	{"mmio_exits", CUMULATIVE, vcpu_mmio_exits},
	{"signal_exits", CUMULATIVE, vcpu_signal_exits},
	{"irq_window_exits", CUMULATIVE, vcpu_irq_window_exits},
	{"halt_exits", CUMULATIVE, vcpu_halt_exits},
	{"halt_wakeup", CUMULATIVE, vcpu_halt_wakeup},
	{"hypercalls", CUMULATIVE, vcpu_hypercalls},
	{"irq_injections", CUMULATIVE, vcpu_irq_injections},
	{"nmi_injections", CUMULATIVE, vcpu_nmi_injections},
	{"blocking", BOOLEAN, vcpu_blocking},
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
