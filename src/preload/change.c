/* SPDX-License-Identifier: MIT */
/*
 * preload/change.c: a change the VMM makes to its mappings or files, told to primary/linux
 * before and after. In a process that never armed it costs one test.
 */
#include <stdlib.h>
#include "preload/preload.h"
#include "primary/linux/linux.h"

/*
 * For a test of what then still holds: no access outside guest memory, and no crash, whatever the
 * guest sees late.
 */
static bool untold;

void change_init(void)
{
	untold = getenv("USERKVM_NO_HOOKS") != NULL;
}

static u64 page_up(u64 len)
{
	return len > -PAGE_SIZE ? len : ALIGN_UP(len, PAGE_SIZE);
}

static void open_change(struct change *c)
{
	mask_enter(&c->window);
	c->told = true;
}

static bool begun(struct change *c, int err)
{
	if (!err)
		return true;
	change_end(c, err < 0 ? err : -err);
	return false;
}

bool change_begin(struct change *c, const void *start, u64 len, int kind)
{
	int err = 0;

	if (!armed() || untold || !len)
		return true;
	open_change(c);
	c->cookie = primary_linux_change_begin((u64)start, page_up(len),
					       (enum primary_change)kind, &err);
	return begun(c, err);
}

bool change_begin_file(struct change *c, int fd, u64 off, u64 len)
{
	int err = 0;

	if (!armed() || untold)
		return true;
	open_change(c);
	c->cookie = primary_linux_file_change_begin(fd, off, len, &err);
	return begun(c, err);
}

long change_end(struct change *c, long r)
{
	if (c->told) {
		primary_linux_change_end(c->cookie);
		mask_leave(&c->window);
	}
	return raw_errno(r);
}
