/* SPDX-License-Identifier: MIT */
/* preload/main.c: what happens when the library is loaded into a VMM. */
#include "base/guard.h"

__attribute__((constructor)) static void load(void)
{
	guard_install();
}
