/* SPDX-License-Identifier: MIT */
/*
 * loader/image.h: put an ELF file into memory as exec does. Used by the loader itself, before there is
 * a libc, and for the program: so it makes system calls only and allocates nothing.
 */
#ifndef LOADER_IMAGE_H
#define LOADER_IMAGE_H

#include <stdbool.h>
#include "base/types.h"

#define IMAGE_INTERPRETER_MAX 256 /* bytes of a path, with its end */

struct image {
	u64 bias;  /* added to the addresses in the file */
	u64 entry; /* where to go, bias added, and so the next */
	u64 phdr;
	u64 end; /* of the last segment */
	u32 phnum;
	char interpreter[IMAGE_INTERPRETER_MAX]; /* empty: none */
};

/*
 * Map the x86-64 executable or shared object that fd is. `at`: where its first segment goes if the
 * file leaves that open; 0: the kernel says. 0 or -errno; -ENOEXEC: not such a file. After any other
 * error a part of it may be mapped.
 */
int image_map(int fd, u64 at, struct image *out);

#endif
