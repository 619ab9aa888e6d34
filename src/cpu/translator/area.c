/* SPDX-License-Identifier: MIT */
#include "cpu/translator/area.h"

#include <sys/mman.h>
#include "base/guard.h"
#include "base/pagemem.h"

static void unmap(struct area *a)
{
	pagemem_unmap(a->run, a->size);
	pagemem_unmap(a->write, a->size);
	a->run = a->write = NULL;
}

int area_create(struct area *a, u32 size, void *fixup, u64 sp_zero)
{
	void *run = NULL;
	int r;

	/* Not a memfd's: perf looks names up (perfmap.h) in memory without a file only. */
	*a = (struct area){.size = size};
	a->write = pagemem_twice(size, PROT_READ | PROT_EXEC, &run);
	if (!a->write)
		return -errno;
	a->run = run;
	r = guard_add_code_range(a->run, size, fixup, sp_zero);
	if (r)
		unmap(a);
	return r;
}

void area_destroy(struct area *a)
{
	guard_remove_code_range(a->run);
	unmap(a);
}
