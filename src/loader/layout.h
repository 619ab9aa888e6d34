/* SPDX-License-Identifier: MIT */
/*
 * loader/layout.h: where the loader and its libraries lie, in every process that runs under it.
 *
 * A seccomp filter outlives exec, and tells our calls from the program's by the caller's address.
 * So these addresses are the same in all processes: constants of the filter, of the loader's own
 * link (meson.build) and of the libraries that it places. Nobody else is placed here by Linux.
 *
 *	half 0	the loader, and at a random place above it the "world": ld.so, libc, libuserkvm.so
 *		and what they need. Their calls pass.
 *	half 1	the stubs from which a program's own calls are made once more (calls.S), whose calls
 *		pass too, and what boot.c tells the world. A filter of the program's own holds here.
 *
 * Also read by assembly.
 */
#ifndef LOADER_LAYOUT_H
#define LOADER_LAYOUT_H

#define LOADER_HALF_0	    0x6a00 /* bits 32 and up of an address */
#define LOADER_HALF_1	    0x6a01
#define LOADER_TEXT	    0x6a0000000000
#define LOADER_WORLD	    0x6a0010000000 /* the libraries lie from here ... */
#define LOADER_WORLD_PLACES 0x60000000	   /* ... or so many bytes above */
#define LOADER_STUBS	    0x6a0100000000
#define LOADER_SLOTS	    0x6a0100100000
#define LOADER_HANDOVER	    0x6a0100200000

/* Both powers of two. */
#define LOADER_RETURNS 4096 /* places in a program that make calls which are made once more */
#define LOADER_BIRTHS  64   /* places that make threads */

/* Bytes of code of one stub. */
#define LOADER_RETURN_STUB 8
#define LOADER_BIRTH_STUB  64

#define LOADER_GATE                                                                            \
	(LOADER_STUBS + LOADER_RETURNS * LOADER_RETURN_STUB + LOADER_BIRTHS * LOADER_BIRTH_STUB)

#ifndef __ASSEMBLER__
#include "base/types.h"

/* At LOADER_SLOTS: where each stub goes on, or 0 while it is free. */
struct loader_slots {
	u64 returns[LOADER_RETURNS];
	u64 births[LOADER_BIRTHS];
};
#define loader_slots ((struct loader_slots *)LOADER_SLOTS)

/* At LOADER_HANDOVER: what boot.c leaves for start.c, and what lies at a known address from then on. */
struct loader_handover {
	u64 *stack; /* as the kernel made it: argc, argv, environment, auxiliary vector */
	void (*direct)(void); /* trap.S's trap_direct(), where gates lead (direct.c) */
};
#define loader_handover ((struct loader_handover *)LOADER_HANDOVER)
#endif

#endif
