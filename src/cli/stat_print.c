/* SPDX-License-Identifier: MIT */
/* cli/stat_print.c: the counters as a table and as JSON, and their names. */
#include <inttypes.h>
#include <linux/kvm.h>
#include <string.h>
#include "cli/stat.h"

#define AT(field) offsetof(struct statpage_vcpu, field)

const struct stat_counter stat_counters[] = {
	{"exits", "EXITS", 10, .computed = statpage_exits},
	{"io_exits", "IO", 9, AT(io_exits)},
	{"io_in_vm", NULL, 0, AT(io_in_vm)},
	{"mmio_exits", "MMIO", 9, AT(mmio_exits)},
	{"mmio_in_vm", "IN-VM", 9, AT(mmio_in_vm)},
	{"halt_exits", "HALTS", 8, AT(halt_exits)},
	{"halt_wakeup", NULL, 0, AT(halt_wakeup)},
	{"irq_window_exits", NULL, 0, AT(irq_window_exits)},
	{"pf_taken", "FAULTS", 8, AT(faults.pf_taken)},
	{"pf_fixed", NULL, 0, AT(faults.pf_fixed)},
	{"tlb_flush", NULL, 0, AT(faults.tlb_flush)},
	{"irq_injections", "IRQS", 8, AT(irq_injections)},
	{"nmi_injections", NULL, 0, AT(nmi_injections)},
	{"exceptions", "EXCEPT", 8, AT(exceptions)},
	{"hypercalls", NULL, 0, AT(hypercalls)},
	{"tlb_misses", NULL, 0, AT(tlb_misses)},
	{"instructions", "INSNS", 15, AT(instructions)},
	{"signal_exits", "SIGNAL", 8, AT(signal_exits)},
	{"code_blocks", NULL, 0, AT(code.blocks)},
	{"code_instructions", NULL, 0, AT(code.instructions)},
	{"code_bytes", NULL, 0, AT(code.bytes)},
	{"code_translated", NULL, 0, AT(code.translated)},
	{"code_chained", NULL, 0, AT(code.chained)},
	{"code_lookups", NULL, 0, AT(code.lookups)},
	{"code_handlers", NULL, 0, AT(code.handlers)},
	{"code_forgets", NULL, 0, AT(code.forgets)},
	{"code_invalidated", NULL, 0, AT(code.invalidated)},
	{"code_evicted", NULL, 0, AT(code.evicted)},
	{"code_checked", NULL, 0, AT(code.checked)},
	{"code_differed", NULL, 0, AT(code.differed)},
};
const unsigned stat_ncounters = sizeof(stat_counters) / sizeof(stat_counters[0]);

u64 stat_count(unsigned k, const struct statpage_vcpu *s)
{
	const struct stat_counter *c = &stat_counters[k];

	return c->computed ? c->computed(s) : *(const u64 *)((const u8 *)s + c->at);
}

bool stat_counted(unsigned k, const struct stat_vm *v)
{
	if (stat_counters[k].at != AT(instructions))
		return true;
	return v->vm->nvcpus && v->vcpu[0].counts;
}

struct statpage_code stat_code(const struct statpage_vm *vm, const struct statpage_vcpu *vcpu)
{
	struct statpage_code all = {0};

	for (u32 i = 0; i < vm->nvcpus; i++) {
		const u64 *from = (const u64 *)&vcpu[i].code;

		for (size_t k = 0; k < sizeof(all) / sizeof(u64); k++)
			((u64 *)&all)[k] += from[k];
	}
	return all;
}

const char *stat_state_name(u32 state)
{
	static const char *const names[] = {"vmm", "guest", "halted"};

	return state < sizeof(names) / sizeof(names[0]) ? names[state] : "?";
}

const char *stat_exit_name(unsigned reason)
{
	static const char *const names[] = {
		[KVM_EXIT_UNKNOWN] = "unknown",
		[KVM_EXIT_IO] = "io",
		[KVM_EXIT_HYPERCALL] = "hypercall",
		[KVM_EXIT_DEBUG] = "debug",
		[KVM_EXIT_HLT] = "hlt",
		[KVM_EXIT_MMIO] = "mmio",
		[KVM_EXIT_IRQ_WINDOW_OPEN] = "irq_window_open",
		[KVM_EXIT_SHUTDOWN] = "shutdown",
		[KVM_EXIT_FAIL_ENTRY] = "fail_entry",
		[KVM_EXIT_INTR] = "intr",
		[KVM_EXIT_SET_TPR] = "set_tpr",
		[KVM_EXIT_INTERNAL_ERROR] = "internal_error",
		[KVM_EXIT_SYSTEM_EVENT] = "system_event",
		[KVM_EXIT_IOAPIC_EOI] = "ioapic_eoi",
		[KVM_EXIT_X86_RDMSR] = "x86_rdmsr",
		[KVM_EXIT_X86_WRMSR] = "x86_wrmsr",
		[KVM_EXIT_DIRTY_RING_FULL] = "dirty_ring_full",
		[39] = "memory_fault", /* newer than this machine's headers may be */
	};

	return reason < sizeof(names) / sizeof(names[0]) ? names[reason] : NULL;
}

const char *stat_bytes(u64 bytes, char *buf, size_t size)
{
	static const char *const units[] = {"KiB", "MiB", "GiB", "TiB"};
	double n = (double)bytes / 1024;
	unsigned u = 0;

	while (n >= 1024 && u < 3) {
		n /= 1024;
		u++;
	}
	snprintf(buf, size, "%.1f %s", n, units[u]);
	return buf;
}

u64 stat_mapped_bytes(const struct statpage_vm *vm)
{
	return vm->pages[0] * PAGE_SIZE + vm->pages[1] * PAGE_SIZE * 512 +
	       vm->pages[2] * PAGE_SIZE * 512 * 512;
}

/* ------------------------------------------------------------------ the table */

static void print_head(FILE *f, const struct stat_vm *v)
{
	const struct statpage_vm *m = v->vm;
	char slots[32], mapped[32];

	fprintf(f, "%s, pid %d: %u vCPU%s, %.1f s old\n", v->name, v->pid, m->nvcpus,
		m->nvcpus == 1 ? "" : "s", (double)(v->read_at - m->created) / 1e9);
	fprintf(f,
		"memory: %s in %" PRIu64 " slots; mapped %s (%" PRIu64 " of 4 KiB, %" PRIu64
		" of 2 MiB, %" PRIu64 " of 1 GiB); %" PRIu64 " tables, %" PRIu64
		" invalidations, %" PRIu64 " flushes\n",
		stat_bytes(m->memslot_bytes, slots, sizeof(slots)), m->memslots,
		stat_bytes(stat_mapped_bytes(m), mapped, sizeof(mapped)), m->pages[0],
		m->pages[1], m->pages[2], m->tables, m->invalidations, m->remote_flushes);
	if (m->nuffd)
		fprintf(f, "under the VMM's userfaultfd, and reached directly: %" PRIu64 " ranges",
			m->nuffd);
	for (u64 i = 0; i < MIN(m->nuffd, (u64)STATPAGE_UFFD_SHOWN); i++)
		fprintf(f, "%s %" PRIx64 "-%" PRIx64, i ? "," : ":", m->uffd[i].start, m->uffd[i].end);
	if (m->nuffd)
		fprintf(f, "%s\n", m->nuffd > STATPAGE_UFFD_SHOWN ? ", ..." : "");
}

static bool is_column(unsigned k, const struct stat_vm *v)
{
	return stat_counters[k].title && stat_counted(k, v);
}

static void print_vcpus(FILE *f, const struct stat_vm *v)
{
	u64 sum;

	fprintf(f, "%5s %-7s", "VCPU", "STATE");
	for (unsigned k = 0; k < stat_ncounters; k++) {
		if (is_column(k, v))
			fprintf(f, " %*s", stat_counters[k].width, stat_counters[k].title);
	}
	for (u32 i = 0; i < v->vm->nvcpus; i++) {
		fprintf(f, "\n%5u %-7s", v->vcpu[i].id, stat_state_name(v->vcpu[i].state));
		for (unsigned k = 0; k < stat_ncounters; k++) {
			if (is_column(k, v))
				fprintf(f, " %*" PRIu64, stat_counters[k].width,
					stat_count(k, &v->vcpu[i]));
		}
	}
	fprintf(f, "\n%5s %-7s", "all", "");
	for (unsigned k = 0; k < stat_ncounters; k++) {
		if (!is_column(k, v))
			continue;
		sum = 0;
		for (u32 i = 0; i < v->vm->nvcpus; i++)
			sum += stat_count(k, &v->vcpu[i]);
		fprintf(f, " %*" PRIu64, stat_counters[k].width, sum);
	}
	fputc('\n', f);
}

static void print_time(FILE *f, const struct stat_vm *v)
{
	u64 sum[STAT_TIMES] = {0};
	char line[256];

	for (u32 i = 0; i < v->vm->nvcpus; i++) {
		for (unsigned t = 0; t < STAT_TIMES; t++)
			sum[t] += v->time[i][t];
	}
	fprintf(f, "%s\n", stat_time_line(sum, line, sizeof(line)));
}

/* Guest code and what became of it, over all vCPUs. */
static void print_code(FILE *f, const struct stat_vm *v)
{
	struct statpage_code sum = stat_code(v->vm, v->vcpu);
	char bytes[32];

	fprintf(f,
		"code: %" PRIu64 " blocks in %s, %" PRIu64 " translated; %" PRIu64 " chained, %" PRIu64
		" looked up, %" PRIu64 " handlers called; %" PRIu64 " times jumps forgotten, %" PRIu64
		" pages invalidated, %" PRIu64 " times evicted\n",
		sum.blocks, stat_bytes(sum.bytes, bytes, sizeof(bytes)), sum.translated, sum.chained,
		sum.lookups, sum.handlers, sum.forgets, sum.invalidated, sum.evicted);
	if (sum.checked)
		fprintf(f, "check: %" PRIu64 " blocks compared, %" PRIu64 " differed once\n", sum.checked,
			sum.differed);
	if (v->looks)
		print_time(f, v);
}

/* What KVM_RUN returned with, over all vCPUs. */
static void print_reasons(FILE *f, const struct stat_vm *v)
{
	const char *before = "to the VMM: ";

	for (unsigned r = 0; r < STATPAGE_USER_EXITS; r++) {
		u64 sum = 0;

		for (u32 i = 0; i < v->vm->nvcpus; i++)
			sum += v->vcpu[i].user_exits[r];
		if (!sum)
			continue;
		if (stat_exit_name(r))
			fprintf(f, "%s%s %" PRIu64, before, stat_exit_name(r), sum);
		else
			fprintf(f, "%sexit_%u %" PRIu64, before, r, sum);
		before = ", ";
	}
	if (before[0] == ',')
		fputc('\n', f);
}

void stat_print_table(FILE *f, const struct stat_vms *vms)
{
	for (unsigned i = 0; i < vms->n; i++) {
		if (i)
			fputc('\n', f);
		print_head(f, &vms->vm[i]);
		print_vcpus(f, &vms->vm[i]);
		print_code(f, &vms->vm[i]);
		print_reasons(f, &vms->vm[i]);
	}
}

/* ------------------------------------------------------------------ JSON */

/* A program's name may hold any byte: what is not plain ASCII goes as an escape. */
static void json_string(FILE *f, const char *s)
{
	fputc('"', f);
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (c == '"' || c == '\\' || c < 0x20 || c > 0x7e)
			fprintf(f, "\\u%04x", c);
		else
			fputc(c, f);
	}
	fputc('"', f);
}

static void json_time(FILE *f, const u32 *time)
{
	const char *comma = "";

	fprintf(f, ", \"time\": {");
	for (unsigned i = 0; i < STAT_TIMES; i++) {
		fprintf(f, "%s\"%s\": %u", comma, stat_time_name(i), time[i]);
		comma = ", ";
	}
	fputc('}', f);
}

static void json_vcpu(FILE *f, const struct stat_vm *v, u32 i)
{
	const struct statpage_vcpu *s = &v->vcpu[i];
	const char *comma = "";

	fprintf(f, "{\"id\": %u, \"state\": \"%s\", \"tid\": %u", s->id, stat_state_name(s->state),
		s->tid);
	for (unsigned k = 0; k < stat_ncounters; k++) {
		if (stat_counted(k, v))
			fprintf(f, ", \"%s\": %" PRIu64, stat_counters[k].name, stat_count(k, s));
	}
	if (v->looks)
		json_time(f, v->time[i]);
	fprintf(f, ", \"user_exits\": {");
	for (unsigned r = 0; r < STATPAGE_USER_EXITS; r++) {
		if (!s->user_exits[r])
			continue;
		if (stat_exit_name(r))
			fprintf(f, "%s\"%s\": %" PRIu64, comma, stat_exit_name(r), s->user_exits[r]);
		else
			fprintf(f, "%s\"exit_%u\": %" PRIu64, comma, r, s->user_exits[r]);
		comma = ", ";
	}
	fprintf(f, "}}");
}

static void json_vm(FILE *f, const struct stat_vm *v)
{
	const struct statpage_vm *m = v->vm;

	fprintf(f, "{\"pid\": %d, \"name\": ", v->pid);
	json_string(f, v->name);
	fprintf(f, ", \"age_ns\": %" PRIu64, v->read_at - m->created);
	fprintf(f,
		", \"memory\": {\"memslots\": %" PRIu64 ", \"memslot_bytes\": %" PRIu64
		", \"pages_4k\": %" PRIu64 ", \"pages_2m\": %" PRIu64 ", \"pages_1g\": %" PRIu64
		", \"mapped_bytes\": %" PRIu64 ", \"tables\": %" PRIu64
		", \"invalidations\": %" PRIu64 ", \"remote_tlb_flush\": %" PRIu64
		", \"under_userfaultfd\": %" PRIu64 ", \"userfaultfd\": [",
		m->memslots, m->memslot_bytes, m->pages[0], m->pages[1], m->pages[2],
		stat_mapped_bytes(m), m->tables, m->invalidations, m->remote_flushes, m->nuffd);
	for (u64 i = 0; i < MIN(m->nuffd, (u64)STATPAGE_UFFD_SHOWN); i++)
		fprintf(f, "%s{\"start\": \"0x%" PRIx64 "\", \"end\": \"0x%" PRIx64 "\"}",
			i ? ", " : "", m->uffd[i].start, m->uffd[i].end);
	fprintf(f, "]},\n   \"vcpus\": [");
	for (u32 i = 0; i < m->nvcpus; i++) {
		fputs(i ? ",\n    " : "\n    ", f);
		json_vcpu(f, v, i);
	}
	fprintf(f, "]}");
}

void stat_print_json(FILE *f, const struct stat_vms *vms)
{
	fprintf(f, "{\"version\": %d, \"vms\": [", STATPAGE_VERSION);
	for (unsigned i = 0; i < vms->n; i++) {
		fputs(i ? ",\n  " : "\n  ", f);
		json_vm(f, &vms->vm[i]);
	}
	fprintf(f, "]}\n");
}
