/* SPDX-License-Identifier: MIT */
/* Changes of what lies behind the mappings: advice, files, other processes. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include "changes.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

/* ------------------------------------------------------------------ advice */

void dont_need(struct change *c)
{
	bool keeps = area_is_shared(c->a);

	if (!keeps)
		content_begin(c);
	MUST(!call_madvise(change_addr(c), c->n * PAGE, MADV_DONTNEED), "MADV_DONTNEED: %s",
	     strerror(errno));
	if (!keeps) {
		content_fresh(c);
		content_end(c);
	}
}

static void forget_file_pages(struct area *a, u32 first, u32 n)
{
	for (u32 p = first; p < first + n; p++)
		a->content[a->off[p]] = 0;
}

void remove_pages(struct change *c)
{
	content_begin(c);
	MUST(!call_madvise(change_addr(c), c->n * PAGE, MADV_REMOVE), "MADV_REMOVE: %s",
	     strerror(errno));
	forget_file_pages(c->a, c->first, c->n);
	content_fresh(c);
	content_end(c);
}

/* The kernel may take the pages at any time until they are written. */
void free_pages(struct change *c)
{
	content_begin(c);
	MUST(!call_madvise(change_addr(c), c->n * PAGE, MADV_FREE), "MADV_FREE: %s",
	     strerror(errno));
	change_pause(c);
	area_stamp(c->a, c->first, c->n);
	content_end(c);
}

/* One huge page of small ones, where the kernel can; the bytes stay. */
void collapse(struct change *c)
{
	call_madvise(c->a->mem, c->a->npages * PAGE, MADV_COLLAPSE);
}

/* To the file, to swap, or nowhere: the bytes stay. */
void page_out(struct change *c)
{
	call_madvise(change_addr(c), c->n * PAGE, MADV_PAGEOUT);
}

/* ------------------------------------------------------------------ files */

void punch(struct change *c)
{
	struct area *a = c->a;

	content_begin(c);
	for (u32 p = c->first; p < c->first + c->n; p += a->unit)
		MUST(!call_punch(a->fd, a->off[p] * PAGE, a->unit * PAGE), "punch: %s",
		     strerror(errno));
	forget_file_pages(a, c->first, c->n);
	content_fresh(c);
	content_end(c);
}

/* Of each page of the file from there on. */
static void truncated(const struct change *c, u32 from, void (*fn)(const struct change *one))
{
	struct change one = {.by = c->by, .a = c->a, .n = 1};

	for (one.first = 0; one.first < c->a->npages; one.first++) {
		if (c->a->off[one.first] >= from)
			fn(&one);
	}
}

/* Shorter, and as long as before: what lay beyond is zeroes now, mapped or not. */
void truncate_then_extend(struct change *c)
{
	struct area *a = c->a;
	u32 from = a->npages + c->first;
	struct change one = {.by = c->by, .a = a, .n = 1};

	for (one.first = 0; one.first < a->npages; one.first++) {
		if (a->off[one.first] >= from) {
			content_begin(&one);
			away_begin(&one);
		}
	}
	call_truncate(a->fd, from * PAGE);
	truncated(c, from, gone_begin_truncated);
	change_pause(c);
	truncated(c, from, gone_end);
	call_truncate(a->fd, 2 * a->npages * PAGE);
	for (u32 o = from; o < 2 * a->npages; o++)
		a->content[o] = 0;
	for (one.first = 0; one.first < a->npages; one.first++) {
		if (a->off[one.first] >= from) {
			content_fresh(&one);
			away_end(&one);
			content_end(&one);
		}
	}
}

/* By the descriptor, beside the mapping. */
void write_file(struct change *c)
{
	content_begin(c);
	area_stamp_file(c->a, c->first, c->n);
	content_end(c);
}

/* ------------------------------------------------------------------ processes */

/* The child writes to its copy, which is nobody else's. */
void fork_and_write(struct change *c)
{
	int status, pid = call_fork();

	MUST(pid >= 0, "fork: %s", strerror(errno));
	if (!pid) {
		if (!area_is_shared(c->a))
			for (u32 p = c->first; p < c->first + c->n; p++)
				*(volatile u64 *)(c->a->mem + p * PAGE) = 0xdead;
		_exit(0);
	}
	while (waitpid(pid, &status, 0) < 0)
		MUST(errno == EINTR, "waitpid: %s", strerror(errno));
}
