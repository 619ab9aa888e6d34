/* SPDX-License-Identifier: MIT */
/* tests/vmm/backing.h: the kinds of memory that a VMM may give its guest. */
#ifndef TESTS_VMM_BACKING_H
#define TESTS_VMM_BACKING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BACKING_PAGES 4

/* What a backing is; a call may need some of it. */
#define BACKING_SHARED	 1
#define BACKING_FD	 2  /* there is a descriptor */
#define BACKING_HUGE	 4
#define BACKING_SEGMENT	 8  /* System V */
#define BACKING_HEAP	 16 /* what brk() moves */
#define BACKING_SECRET	 32 /* memfd_secret(), which no guest gets */
#define BACKING_READONLY 64 /* mapped by a descriptor that cannot write */
#define BACKING_GUARDED	 128 /* its last page is a guard page */
#define BACKING_LATE	 256 /* before Linux 6.7 the kernel tells nobody of a raw call */
#define BACKING_PRIVATE	 512

struct memory;
struct backing {
	const char *name;
	bool (*map)(struct memory *m);
	unsigned is;
};

struct memory {
	const struct backing *backing;
	uint8_t *mem;
	size_t size;  /* bytes; at least BACKING_PAGES pages */
	int fd;	      /* or -1 */
	int map_fd;   /* what is mapped: fd, or another descriptor of the same */
	int prot;
};

extern const struct backing backings[];
extern const unsigned nr_backings;

/* False: this machine has none. */
bool memory_map(struct memory *m, const struct backing *b);
/* Whatever has become of it. */
void memory_unmap(struct memory *m);

#endif
