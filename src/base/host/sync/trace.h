/* SPDX-License-Identifier: MIT */
/*
 * sync/trace.h (production build): TRACE(event, vcpu, rip, a, b, c, d), a trace point of base/trace.def.
 *
 * The values are evaluated, on or off, and must be at hand. The explorer's build has none.
 */
#ifndef SYNC_TRACE_H
#define SYNC_TRACE_H

#include "base/trace.h"

#if defined(__has_include) && __has_include(<sys/sdt.h>) && !defined(__SANITIZE_THREAD__)
#define SDT_USE_VARIADIC
#include <sys/sdt.h>
#define TRACE_PROBE(event, ...) STAP_PROBEV(userkvm, event, __VA_ARGS__)
#else
#define TRACE_PROBE(event, ...) (void)0
#endif

#define TRACE(event, vcpu, rip, a, b, c, d)                                                            \
	do {                                                                                           \
		TRACE_PROBE(event, (s64)(vcpu), (u64)(rip), (u64)(a), (u64)(b), (u64)(c), (u64)(d));   \
		if (trace_on(TRACE_##event))                                                           \
			trace_emit4(TRACE_##event, (s64)(vcpu), (u64)(rip), (u64)(a), (u64)(b),        \
				    (u64)(c), (u64)(d));                                               \
	} while (0)
/* One whose last value is text, of which a probe gets the pointer. */
#define TRACE_TEXT(event, vcpu, rip, a, b, text)                                                       \
	do {                                                                                           \
		TRACE_PROBE(event, (s64)(vcpu), (u64)(rip), (u64)(a), (u64)(b), (text), 0);            \
		if (trace_on(TRACE_##event))                                                           \
			trace_emit4(TRACE_##event, (s64)(vcpu), (u64)(rip), (u64)(a), (u64)(b),        \
				    trace_text(text, 0), trace_text(text, 1));                         \
	} while (0)

#endif
