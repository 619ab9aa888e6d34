/* SPDX-License-Identifier: MIT */
/* hc_gmem.h: what the calls on guest_memfds share. */
#ifndef HC_GMEM_H
#define HC_GMEM_H

#include "gmem.h"
#include "hostcalls.h"

/* A descriptor, or the program ends. */
int gmem_new(int vm, u64 size, u64 flags);

void test_gmem_mappings(void);

#endif
