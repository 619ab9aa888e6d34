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
	u32 at; /* in the page of the VM or the vCPU (base/statpage.h) */
	u64 (*computed)(const struct statpage_vcpu *s); /* instead */
};

#define CUMULATIVE (KVM_STATS_TYPE_CUMULATIVE | KVM_STATS_UNIT_NONE | KVM_STATS_BASE_POW10)
#define BOOLEAN	   (KVM_STATS_TYPE_INSTANT | KVM_STATS_UNIT_BOOLEAN | KVM_STATS_BASE_POW10)
#define INSTANT	   (KVM_STATS_TYPE_INSTANT | KVM_STATS_UNIT_NONE | KVM_STATS_BASE_POW10)

#define IN_VM(field)   offsetof(struct statpage_vm, field)
#define IN_VCPU(field) offsetof(struct statpage_vcpu, field)

/* Names of KVM's own mean here what they mean there; the last of each are userkvm's. */
static const struct stat_line vm_lines[] = {
	{"remote_tlb_flush", CUMULATIVE, IN_VM(remote_flushes)},
	{"pages_4k", INSTANT, IN_VM(pages[0])},
	{"pages_2m", INSTANT, IN_VM(pages[1])},
	{"pages_1g", INSTANT, IN_VM(pages[2])},
	{"invalidations", CUMULATIVE, IN_VM(invalidations)},
};

static u64 blocking(const struct statpage_vcpu *s)
{
	return sync_load(&s->state) == STATPAGE_HALTED;
}

static const struct stat_line vcpu_lines[] = {
	{"pf_taken", CUMULATIVE, IN_VCPU(faults.pf_taken)},
	{"pf_fixed", CUMULATIVE, IN_VCPU(faults.pf_fixed)},
	{"tlb_flush", CUMULATIVE, IN_VCPU(faults.tlb_flush)},
	{"exits", CUMULATIVE, .computed = statpage_exits},
	{"io_exits", CUMULATIVE, IN_VCPU(io_exits)},
	{"mmio_exits", CUMULATIVE, IN_VCPU(mmio_exits)},
	{"signal_exits", CUMULATIVE, IN_VCPU(signal_exits)},
	{"irq_window_exits", CUMULATIVE, IN_VCPU(irq_window_exits)},
	{"halt_exits", CUMULATIVE, IN_VCPU(halt_exits)},
	{"halt_wakeup", CUMULATIVE, IN_VCPU(halt_wakeup)},
	{"hypercalls", CUMULATIVE, IN_VCPU(hypercalls)},
	{"irq_injections", CUMULATIVE, IN_VCPU(irq_injections)},
	{"nmi_injections", CUMULATIVE, IN_VCPU(nmi_injections)},
	{"blocking", BOOLEAN, .computed = blocking},
	{"exceptions", CUMULATIVE, IN_VCPU(exceptions)},
	{"tlb_misses", CUMULATIVE, IN_VCPU(tlb_misses)},
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

static u64 value(const struct abi_file *f, const struct stat_line *l)
{
	const void *page = f->kind == FILE_VM_STATS ? (void *)mmu_stat_page(f->avm->vm->mmu)
						    : &f->vcpu->cpu->stat;

	return l->computed ? l->computed(page) : sync_load((const u64 *)((u8 *)page + l->at));
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
		sync_store(&data[i], value(f, &l[i]));
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
	char id[NAME_SIZE], name[NAME_SIZE];

	snprintf(id, sizeof(id), "kvm-%d/vcpu-%u", c->vm->pid, c->v->id);
	snprintf(name, sizeof(name), NAME_PREFIX "vcpu-stats:%u", c->v->id);
	return stats_open(c, FILE_VCPU_STATS, name, id);
}
