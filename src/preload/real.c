/* SPDX-License-Identifier: MIT */
#include "preload/real.h"

struct real real;

/* Keeps errno: dlsym() may leave one behind, and a hook's caller looks at it. */
void *real_resolve(const char *name, void *slot)
{
	int e = errno;
	void *p = dlsym(RTLD_NEXT, name);

	if (!p)
		abort(); /* every name in the table is in the glibc we are built for */
	errno = e;
	memcpy(slot, &p, sizeof(p));
	return p;
}

void real_resolve_all(void)
{
#define RESOLVE(ret, name, args) (void)REAL(name);
	REAL_FUNCTIONS(RESOLVE)
#undef RESOLVE
}
