/* SPDX-License-Identifier: MIT */
/* abi/trace.h: KVM calls as a tracer sees them, when one looks. Private to abi/. */
#ifndef ABI_TRACE_H
#define ABI_TRACE_H

#include "abi/internal.h"
#include "sync/trace.h"

typedef long call_run(const void *arg, struct call *c);

/* Carry a call out by run(arg, c), and tell the tracer of it. */
COLD long trace_ioctl(int fd, struct call *c, u32 level, u32 request, call_run *run, const void *arg);

#endif
