/* SPDX-License-Identifier: MIT */
/*
 * translator/perfmap.h: /tmp/perf-PID.map, where perf(1) looks for the names of code made at run time:
 * generated code has the name of the guest's code.
 *
 * USERKVM_PERF_MAP in the environment asks for it; its value, if it is the name of a file, is the guest's
 * /proc/kallsyms: kernel code is then named by its symbols, else, as user code, by its page. Lines are
 * appended for as long as the process lives; of code that was dropped perf takes the last. Any thread.
 */
#ifndef CPU_TRANSLATOR_PERFMAP_H
#define CPU_TRANSLATOR_PERFMAP_H

#include "base/types.h"

/* Open it, once for the process, if it is asked for. */
void perfmap_open(void);
/* The code of a block at `rip` of the guest's. Nothing where there is no file. */
void perfmap_add(const void *code, u32 size, u64 rip, bool user);

#endif
