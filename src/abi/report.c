/* SPDX-License-Identifier: MIT */
/*
 * abi/report.c: see report.h.
 *
 * A report reads guest memory only where that waits for nothing: the guest's memory may be behind a
 * userfaultfd whose monitor waits for the very thread that answers.
 */
#include "abi/report.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/guard.h"
#include "base/identity.h"
#include "cpu/inspect.h"
#include "mmu/look.h"
#include "sync/atomic.h"

#define REPORT_ENV   "USERKVM_REPORT"
#define MAX_FILES    16 /* of one process: a guest that dies again and again fills no disk */
#define EVENTS	     100
#define EVENTS_BYTES (32u << 10)
#define X	     PRIx64

/* ---- guest memory */

static int read_guest(void *p, gpa_t gpa, void *buf, u32 len)
{
	struct mmu *mmu = p;
	bool readonly;
	hva_t hva = mmu_gfn_to_hva(mmu, gpa >> PAGE_SHIFT, &readonly);
	u8 there = 0;

	if (!hva)
		return mmu_is_private(mmu, gpa >> PAGE_SHIFT) ? -EACCES : -ENOENT;
	if (syscall(SYS_mincore, hva, PAGE_SIZE, &there))
		return -EFAULT;
	if (!(there & 1))
		return -EAGAIN;
	return guard_copy_from(buf, (void *)(hva + (gpa & ~PAGE_MASK)), len);
}

/* ---- the host's side of a page */

void report_put_slot_flags(struct text *t, u32 flags)
{
	text_put(t, "%s%s%s", flags & MMU_SLOT_READONLY ? ", read-only" : "",
		 flags & MMU_SLOT_LOG_DIRTY ? ", logged" : "", flags & MMU_SLOT_GMEM ? ", guest_memfd" : "");
}

static const char *size_name(int level)
{
	return level == LEVEL_4K ? "4K" : level == LEVEL_2M ? "2M" : "1G";
}

static void put_host_page(struct mmu *mmu, gpa_t gpa, struct text *t)
{
	struct mmu_seen s;

	mmu_look(mmu, gpa >> PAGE_SHIFT, &s);
	text_put(t, "  gpa %" X ": ", gpa);
	if (!s.slot) {
		text_put(t, "no memslot: a device, or nothing\n");
		return;
	}
	text_put(t, "memslot %u at gpa %" X "%s, hva %" X, s.id & 0xffff, s.base << PAGE_SHIFT,
		 s.private_ ? ", private" : "", (u64)(s.hva + (gpa & ~PAGE_MASK)));
	report_put_slot_flags(t, s.flags);
	if (!s.mapped) {
		text_put(t, "\n  stage 2: not mapped now\n");
		return;
	}
	text_put(t, "\n  stage 2: a %s leaf, host %" X "%s%s%s%s\n", size_name(s.level),
		 (u64)(s.host + (gpa & ~PAGE_MASK)), s.host == s.hva ? " (direct)" : " (window)",
		 s.writable ? ", writable" : "", s.accessed ? ", accessed" : "", s.dirty ? ", dirty" : "");
}

/* ---- a vCPU */

void report_put_walk(struct vcpu *v, u64 la, struct text *t)
{
	const struct cpu_memory m = {read_guest, v->vm->mmu};
	gpa_t gpa;

	if (cpu_inspect_walk(v->cpu, la, &m, t, &gpa))
		put_host_page(v->vm->mmu, gpa, t);
}

void report_put_state(struct vcpu *v, struct text *t)
{
	const struct cpu_memory m = {read_guest, v->vm->mmu};
	u64 la = cpu_inspect_rip(v->cpu);

	text_put(t, "\nRegisters\n");
	cpu_inspect_registers(v->cpu, t);
	text_put(t, "\nCode at RIP\n");
	cpu_inspect_code(v->cpu, &m, t);
	text_put(t, "\nWhere RIP, linear %" X ", is\n", la);
	report_put_walk(v, la, t);
}

const char *report_exit_name(u32 reason)
{
	const char *name = shape_exit_name(reason);

	return name ? name : "an unknown exit";
}

/* ---- death */

bool report_is_death(u32 exit)
{
	return exit == KVM_EXIT_SHUTDOWN || exit == KVM_EXIT_INTERNAL_ERROR || exit == KVM_EXIT_FAIL_ENTRY ||
	       exit == KVM_EXIT_UNKNOWN;
}

static const char *cause(const struct kvm_run *run)
{
	switch (run->exit_reason) {
	case KVM_EXIT_SHUTDOWN:
		return "triple fault (KVM_EXIT_SHUTDOWN)";
	case KVM_EXIT_INTERNAL_ERROR:
		return "KVM_EXIT_INTERNAL_ERROR: an instruction that cannot be carried out";
	default:
		return report_exit_name(run->exit_reason);
	}
}

static void put_event(struct text *t, const struct trace_record *r, u64 now)
{
	const struct call_record *c = (const void *)r->data;
	const struct shape_call *s;

	text_put(t, "  -%" PRIu64 ".%06" PRIu64 "  ", (u64)((now - r->time) / NSEC_PER_SEC),
		 (now - r->time) / 1000 % 1000000);
	if (r->vcpu >= 0)
		text_put(t, "vCPU %d: ", r->vcpu);
	if (r->kind != TRACE_call) {
		text_put(t, "%s ", shape_event_name(r->kind));
		shape_print_event(t, r);
	} else {
		s = shape_find_call(c->level, c->request);
		text_put(t, "%s(", s ? shape_call_name(s) : c->request ? "a call unknown" : "open");
		if (s)
			shape_print_arg(t, s, c);
		text_put(t, ") = %" PRId64 " ", c->ret);
		shape_print_exit(t, c);
	}
	if (r->rip)
		text_put(t, " rip=%#" X, r->rip);
	text_put(t, "\n");
}

static void put_events(struct text *t)
{
	u8 *buf = malloc(EVENTS_BYTES);
	u64 now = clock_ns(CLOCK_MONOTONIC);
	u32 used = buf ? trace_last(EVENTS, buf, EVENTS_BYTES) : 0, at = 0;

	if (!used)
		text_put(t, "\nNobody traced it: `userkvm trace' would have left its last events here.\n");
	else
		text_put(t, "\nWhat came last, in seconds before\n");
	while (at < used) {
		const struct trace_record *r = (const void *)(buf + at);

		put_event(t, r, now);
		at += r->size;
	}
	free(buf);
}

/* A new file of our own making, wherever the name leads. */
static int write_file(const char *dir, u32 n, const struct text *t, char *path, size_t size)
{
	long fd, r = 0;

	if ((size_t)snprintf(path, size, "%s/userkvm-report.%d.%u.txt", dir, identity_process(), n) >= size)
		return -ENAMETOOLONG;
	fd = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	for (u32 at = 0; at < t->len && r >= 0; at += (u32)r) {
		r = syscall(SYS_write, fd, t->buf + at, (long)(t->len - at));
		if (r == 0)
			break;
	}
	syscall(SYS_close, fd);
	return r < 0 ? -errno : 0;
}

static void tell(const char *dir, const struct vcpu *v, const struct kvm_run *run, const struct text *t)
{
	static u32 files; /* atomic */
	char path[512], line[768];
	u32 n = sync_add(&files, 1);
	int len, r;

	if (n >= MAX_FILES)
		return;
	r = write_file(dir, n, t, path, sizeof(path));
	len = snprintf(line, sizeof(line), r ? "userkvm: vCPU %u: %s; no report in %s: %s\n"
					     : "userkvm: vCPU %u: %s; report in %s\n",
		       v->id, cause(run), path, strerror(-r));
	syscall(SYS_write, STDERR_FILENO, line, (long)MIN((size_t)len, sizeof(line) - 1));
}

void report_death(struct vcpu *v, const struct kvm_run *run)
{
	struct text t = {.buf = malloc(TRACE_TEXT_SIZE), .size = TRACE_TEXT_SIZE};
	const char *dir = getenv(REPORT_ENV);
	int e = errno;

	if (!t.buf)
		return;
	text_put(&t, "vCPU %u of process %d, thread %d: %s\n", v->id, identity_process(), identity_thread(),
		 cause(run));
	report_put_state(v, &t);
	put_events(&t);
	trace_keep_report(t.buf);
	if (dir && *dir)
		tell(dir, v, run, &t);
	free(t.buf);
	errno = e;
}
