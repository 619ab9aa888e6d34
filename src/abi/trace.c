/* SPDX-License-Identifier: MIT */
/* abi/trace.c: a KVM call as a record for a tracer (abi/shapes.h, base/trace.h). */
#include "abi/trace.h"

#include <sys/ioctl.h>
#include "base/clock.h"
#include "base/guard.h"

/* With room for what follows. */
struct record {
	struct call_record head;
	u8 data[RECORD_ARG_MAX];
};
_Static_assert(sizeof(struct record) + sizeof(struct trace_record) <= TRACE_MAX_RECORD, "it fits");

/* What of the argument there is to read, and its elements. */
static void take_arg(struct record *r, const struct shape_call *c, const void *user)
{
	u32 head = c->arg == ARG_VALUE || c->arg == ARG_NONE ? 0 : shape_head(c->shape);
	u32 size;

	r->head.len = 0;
	if (!head || head > sizeof(r->data) || guard_copy_from(r->data, user, head))
		return;
	size = shape_size(c->shape, r->data, head, sizeof(r->data));
	/* Its end may not be there. */
	r->head.len = guard_copy_from(r->data, user, size) ? head : size;
}

/* How a run ended, and what goes out of a port. */
static void take_run(struct record *r, struct vcpu *v)
{
	const struct kvm_run *run = ((const struct abi_vcpu *)v->abi)->run;
	u64 n = (u64)v->exit->io.size * v->exit->io.count;

	memcpy(r->data, run, RECORD_RUN_HEAD);
	r->head.len = RECORD_RUN_HEAD;
	if (r->head.ret || v->exit->reason != CPU_EXIT_IO || v->exit->io.in)
		return;
	n = MIN(n, (u64)RECORD_PIO);
	memcpy(r->data + RECORD_RUN_HEAD, (const u8 *)run + UAPI_PIO_PAGE * PAGE_SIZE, n);
	r->head.len += (u32)n;
}

static void emit(const struct record *r, const struct vcpu *v)
{
	trace_emit(TRACE_call, v ? (s64)v->id : -1, v ? v->cpu->rip : 0, r,
		   (u32)sizeof(r->head) + r->head.len);
}

long trace_ioctl(int fd, struct call *c, u32 level, u32 request, call_run *run, const void *arg)
{
	const struct shape_call *shape = shape_find_call(level, request);
	struct record r;
	u64 begun;
	long ret;

	r.head = (struct call_record){.request = request, .fd = fd, .arg = c->arg, .level = level};
	if (shape && (_IOC_DIR(request) & _IOC_WRITE))
		take_arg(&r, shape, c->user);
	begun = clock_ns(CLOCK_MONOTONIC);
	ret = run(arg, c);
	r.head.ns = clock_ns(CLOCK_MONOTONIC) - begun;
	r.head.ret = ret;
	if (level == LEVEL_VCPU && request == KVM_RUN)
		take_run(&r, c->v);
	else if (shape && ret >= 0 && (_IOC_DIR(request) & _IOC_READ))
		take_arg(&r, shape, c->user);
	emit(&r, c->v);
	return ret;
}
