/* SPDX-License-Identifier: MIT */
/* abi/stats.h: binary statistics descriptors (KVM's api.rst, KVM_GET_STATS_FD). */
#ifndef ABI_STATS_H
#define ABI_STATS_H

#include "abi/internal.h"

/* Write the counters anew into a statistics descriptor's pages; before each read of it. */
void stats_refresh(struct abi_file *f);

#endif
