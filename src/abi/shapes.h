/* SPDX-License-Identifier: MIT */
/*
 * abi/shapes.h: what a KVM call, its argument and its result are made of, for whoever shows them: the
 * tracer, which is another process, and the report of a guest's death. From ioctls.def, exits.def and
 * shapes.def; docs/abi.md is printed from the same.
 *
 * Pure: no call here allocates, locks or fails.
 */
#ifndef ABI_SHAPES_H
#define ABI_SHAPES_H

#include "base/text.h"
#include "base/trace.h"

enum level { LEVEL_SYSTEM = 1, LEVEL_VM = 2, LEVEL_VCPU = 4 };

enum arg_kind {
	ARG_NONE,  /* ignored */
	ARG_VALUE, /* the argument itself */
	ARG_IN,	   /* a struct of the request's size, copied in before */
	ARG_OUT,   /* copied out after success */
	ARG_INOUT,
	ARG_RAW, /* the handler copies */
};

/* The data of a `call` record. */
struct call_record {
	u32 request; /* 0: open("/dev/kvm") */
	s32 fd;
	u64 arg;
	s64 ret; /* or -errno */
	u64 ns;	 /* how long it took */
	u32 level; /* enum level; 0: open */
	u32 len; /* of data */
	u8 data[]; /* the argument's bytes; of KVM_RUN, what struct kvm_run begins with, then port data */
};

/* Of a KVM_RUN's data: the head of struct kvm_run, and at most so many bytes of port data. */
#define RECORD_RUN_HEAD 112
#define RECORD_PIO	16
#define RECORD_ARG_MAX	1024 /* of an argument */

struct shape;

struct shape_call {
	const char *name;
	u32 request;
	u8 level, arg;
	const struct shape *shape;
};

/* NULL: no such call is known. */
const struct shape_call *shape_find_call(u32 level, u32 request);
/* As KVM calls it. */
const char *shape_call_name(const struct shape_call *c);
/* The calls one after the other; NULL behind the last. */
const struct shape_call *shape_nth_call(unsigned i);
/* "KVM_EXIT_IO", or NULL. */
const char *shape_exit_name(u32 reason);
const char *shape_nth_exit(unsigned i);
/* Bytes of an argument whose first `have` bytes are at data: with its elements, at most max. */
u32 shape_size(const struct shape *s, const void *data, u32 have, u32 max);
/* Before and after the elements: bytes to look at first. 0: the argument is no pointer. */
u32 shape_head(const struct shape *s);

/* "{slot=0, flags=0}" or "7", in JSON {"slot":0,"flags":0} or 7. */
void shape_print_arg(struct text *t, const struct shape_call *c, const struct call_record *r);
/* "KVM_EXIT_IO {direction=out, ...}", in JSON "exit":"KVM_EXIT_IO","fields":{...}. */
void shape_print_exit(struct text *t, const struct call_record *r);
/* KVM_RUN's exit in the record; false: it ended with an error and no exit. */
bool shape_exit_of(const struct call_record *r, u32 *reason);

/* An event of base/trace.def. */
const char *shape_event_name(unsigned kind);
const char *shape_event_group(unsigned kind);
void shape_print_event(struct text *t, const struct trace_record *r);

#endif
