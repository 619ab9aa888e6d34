/* SPDX-License-Identifier: MIT */
/*
 * primary/linux/maps.h: ask the kernel what is mapped at one address. Any thread; sleeps on
 * nothing but mmap_lock.
 */
#ifndef PRIMARY_LINUX_MAPS_H
#define PRIMARY_LINUX_MAPS_H

#include "primary/linux/internal.h"

/* Hold what the calls below need. Fails silently: they try again. */
void maps_hold(void);
void maps_forked_child(void);
/* This thread has a table of descriptors of its own, and holds another. */
void maps_use_another(void);
/* 0 with the whole mapping around hva in *out (uffd is left false), -EFAULT: none; or -errno. */
int maps_query(hva_t hva, struct region *out);
/* The same; where there is none, the next one above. -EFAULT: there is no more. */
int maps_next(hva_t hva, struct region *out);

struct maps_question {
	hva_t at;	      /* in */
	struct region region; /* out: what maps_next() gives */
	int err;
};

/* n of them by ascending address: where the kernel has no query call, one reading answers them all. */
void maps_next_of(struct maps_question *const *q, u32 n);

#endif
