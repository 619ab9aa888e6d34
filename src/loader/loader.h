/* SPDX-License-Identifier: MIT */
/*
 * loader/loader.h: a program that makes its own system calls, run under a filter that traps those
 * which concern us. docs/loader.md tells the whole story.
 */
#ifndef LOADER_LOADER_H
#define LOADER_LOADER_H

#define LOADER_FAILED 125 /* exit status: as cli/cli.h */

/* The main() of the world (world.c): becomes the program. Returns only a status. */
int loader_main(void);

#endif
