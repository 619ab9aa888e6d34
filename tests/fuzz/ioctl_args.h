/* SPDX-License-Identifier: MIT */
/* tests/fuzz/ioctl_args.h: arguments for KVM's calls, from a random number generator. */
#ifndef TESTS_FUZZ_IOCTL_ARGS_H
#define TESTS_FUZZ_IOCTL_ARGS_H

#include "abi/uapi.h"
#include "rounds.h"

#define ARENA_BYTES 0x100000ULL /* guest memory, shared by all threads */
#define ARGS_BYTES  0x8000u	    /* a thread's room for arguments, and no access behind it */

struct args {
	struct rng *rng;
	u8 *room;  /* ARGS_BYTES */
	u8 *arena;
	int event; /* some eventfd, or what was one */
	int gmem;  /* some guest_memfd, or what was one */
};

enum args_level { ARGS_SYSTEM, ARGS_VM, ARGS_VCPU };

struct args_request {
	unsigned long request;
	enum args_level level;
	bool value; /* the argument is a number */
};

extern const struct args_request args_requests[];
extern const unsigned args_nrequests;

/* The argument for a request: a number, or a pointer to something plausible, or to nothing. */
void *args_make(const struct args *a, const struct args_request *q);
/* A call that reads what another sets, or 0: to change a little of what is there. */
unsigned long args_getter(unsigned long set);
void args_flip(const struct args *a, unsigned long set);

#endif
