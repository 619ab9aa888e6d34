/* SPDX-License-Identifier: MIT */
/*
 * loader/site.h: may the instruction before an ioctl's `syscall' be replaced?
 *
 * It may where it is `mov $16, %eax' in five bytes and is known to be an instruction, rather than the end
 * of a longer one. Pure: looks at bytes alone.
 */
#ifndef LOADER_SITE_H
#define LOADER_SITE_H

#include <stdbool.h>
#include "base/types.h"

#define SITE_LOAD   5  /* bytes of it */
#define SITE_CALL   2  /* of `syscall', which comes next */
#define SITE_BEFORE 15 /* bytes before `syscall' that are looked at: the longest instruction's */

/* No process that is asked about has memory below this. */
#define SITE_NO_MEMORY 4096

/* `code' is SITE_BEFORE bytes and a `syscall' that has just asked for an ioctl. */
bool site_has_load(const u8 *code);

#endif
