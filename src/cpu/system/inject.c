/* SPDX-License-Identifier: MIT */
/*
 * system/inject.c: delivery of what stands in the event state, and what a fault met on the way
 * becomes (SDM vol. 3, 6.15, "Interrupt 8", table 6-5).
 */
#include "cpu/system/internal.h"

#define DR6_TRAPS      0xfULL
#define DR6_ACTIVE_LOW 0xffff0ff0ULL
#define DR7_GD	       BIT(13)

/* How a delivery ended. */
enum outcome { DELIVERED, RAISED };

enum fault_class { BENIGN, CONTRIBUTORY, PAGE_FAULT, DOUBLE_FAULT };

static enum fault_class fault_class(u8 vector)
{
	switch (vector) {
	case VEC_DE:
	case VEC_TS:
	case VEC_NP:
	case VEC_SS:
	case VEC_GP:
		return CONTRIBUTORY;
	case VEC_PF:
		return PAGE_FAULT;
	case VEC_DF:
		return DOUBLE_FAULT;
	}
	return BENIGN;
}

/* CR2 and DR6 change when the exception is delivered, not when it is raised. */
static void take_payload(struct cpu *c)
{
	u64 payload = c->exception.payload;

	if (!c->exception.has_payload)
		return;
	c->exception.has_payload = false;
	if (c->exception.vector == VEC_PF)
		c->cr2 = payload;
	else if (c->exception.vector == VEC_DB) {
		/* Payload bits are active high; DR6 keeps some of them active low. */
		c->dr6 = (c->dr6 & ~DR6_TRAPS) | DR6_ACTIVE_LOW | payload;
		c->dr6 ^= payload & DR6_ACTIVE_LOW;
	}
}

/* c->exception was raised while `first` was being delivered. */
static void combine(struct cpu *c, u8 first)
{
	enum fault_class a = fault_class(first), b = fault_class(c->exception.vector);
	bool serious = b == CONTRIBUTORY || b == PAGE_FAULT;

	if (a == DOUBLE_FAULT && serious) {
		c->exception.pending = false;
		c->triple_fault = true;
		return;
	}
	if (!(a == CONTRIBUTORY && b == CONTRIBUTORY) && !(a == PAGE_FAULT && serious))
		return;
	take_payload(c);
	c->exception.vector = VEC_DF;
	c->exception.has_error = true;
	c->exception.error = 0;
}

/*
 * The event stands in its `injected` form, c->exception.pending is false: so afterwards pending
 * tells an exception raised on the way from the ways out that keep the event for another time.
 */
static enum outcome deliver(struct cpu *c, u8 vector, enum event_kind kind, bool has_error,
			    u32 error)
{
	struct unwind_point here, *outer = c->unwind;
	bool unwound;

	c->op = NULL;
	c->unwind = &here;
	unwound = UNWIND_SET(&here);
	if (!unwound)
		event_deliver(c, vector, kind, has_error, error, c->rip);
	c->unwind = outer;
	c->event_ext = false;
	if (!unwound)
		return DELIVERED;
	if (c->exception.pending)
		return RAISED;
	cpu_unwind(c);
}

/* #BP and #OF come from instructions: their gate's DPL counts. A #DB without payload is the fault of
 * DR7.GD, or the VMM's. */
static enum event_kind event_kind(const struct cpu *c)
{
	switch (c->exception.vector) {
	case VEC_BP:
	case VEC_OF:
		return EVENT_INT3;
	case VEC_DB:
		return c->exception.has_payload || c->exception.injected ? EVENT_DEBUG
									 : EVENT_EXCEPTION;
	default:
		return EVENT_EXCEPTION;
	}
}

bool event_exception(struct cpu *c)
{
	u8 vector = c->exception.vector;
	bool has_error = c->exception.has_error;
	u32 error = c->exception.error;
	enum event_kind kind = event_kind(c);

	take_payload(c);
	if (vector == VEC_DB)
		c->dr7 &= ~DR7_GD;
	c->exception.pending = false;
	c->exception.injected = true;
	if (deliver(c, vector, kind, has_error, error) == RAISED) {
		combine(c, vector);
		return false;
	}
	c->exception.injected = false;
	return true;
}

bool event_interrupt(struct cpu *c)
{
	enum event_kind kind = c->interrupt.soft ? EVENT_SOFT_INT : EVENT_EXTERNAL;
	enum outcome r = deliver(c, c->interrupt.vector, kind, false, 0);

	/* An interrupt whose delivery faults is gone: the controller has been told already. */
	c->interrupt.injected = false;
	return r == DELIVERED;
}

bool event_nmi(struct cpu *c)
{
	enum outcome r = deliver(c, VEC_NMI, EVENT_EXTERNAL, false, 0);

	c->nmi_injected = false;
	c->nmi_masked = true;
	return r == DELIVERED;
}
