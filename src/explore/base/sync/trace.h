/* SPDX-License-Identifier: MIT */
/* sync/trace.h (explorer's build): an execution that is explored is traced by its steps. */
#ifndef SYNC_TRACE_H
#define SYNC_TRACE_H

#define TRACE(event, vcpu, rip, a, b, c, d)	 ((void)(vcpu))
#define TRACE_TEXT(event, vcpu, rip, a, b, text) ((void)(vcpu))

#endif
