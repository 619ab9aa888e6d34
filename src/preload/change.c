/* SPDX-License-Identifier: MIT */
/*
 * preload/change.c: a change the VMM makes to its mappings or files, told to primary/linux
 * before and after. In a process that never armed it costs one test.
 */
#include <stdlib.h>
#include "base/own.h"
#include "base/trace.h"
#include "preload/preload.h"
#include "primary/linux/linux.h"

/*
 * For a test of what then still holds: no access outside guest memory, and no crash, whatever the
 * guest sees late.
 */
static bool untold;

void change_init(void)
{
	untold = secure_getenv("USERKVM_NO_HOOKS") != NULL;
}

static u64 page_up(u64 len)
{
	return len > -PAGE_SIZE ? len : ALIGN_UP(len, PAGE_SIZE);
}

static void open_change(struct change *c, const char *call)
{
	mask_enter(&c->window);
	trace_cause = call;
	c->told = true;
}

static bool begun(struct change *c, int err)
{
	if (!err)
		return true;
	change_end(c, err < 0 ? err : -err);
	return false;
}

int change_make_room(const void *start, u64 len)
{
	struct mask_window w;
	int r;

	if (!armed() || untold || !own_overlaps((u64)start, (u64)start + len))
		return 0;
	mask_enter(&w);
	r = primary_linux_step_aside((u64)start, len);
	mask_leave(&w);
	return r;
}

u64 change_before_ours(const void *start, u64 len)
{
	struct own_range ours;

	if (!armed() || !own_find(OWN_PLACED, (u64)start, (u64)start + len, &ours))
		return len;
	return ours.start - (u64)start;
}

bool change_begin(struct change *c, const char *call, const void *start, u64 len, int kind)
{
	int err = 0;

	if (!armed() || untold || !len)
		return true;
	open_change(c, call);
	c->cookie = primary_linux_change_begin((u64)start, page_up(len),
					       (enum primary_change)kind, &err);
	return begun(c, err);
}

bool change_begin_file(struct change *c, const char *call, int fd, u64 off, u64 len)
{
	int err = 0;

	if (!armed() || untold)
		return true;
	open_change(c, call);
	c->cookie = primary_linux_file_change_begin(fd, off, len, &err);
	return begun(c, err);
}

long change_end(struct change *c, long r)
{
	if (c->told) {
		primary_linux_change_end(c->cookie);
		trace_cause = TRACE_NO_CALL;
		mask_leave(&c->window);
	}
	return raw_errno(r);
}
