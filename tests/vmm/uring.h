/* SPDX-License-Identifier: MIT */
/* tests/vmm/uring.h: one operation by io_uring, which no library sees. */
#ifndef TESTS_VMM_URING_H
#define TESTS_VMM_URING_H

#include <stdint.h>

struct uring_op {
	unsigned op;
	int fd;
	const void *addr;
	uint64_t off, len;
	unsigned advice;
};
/* The operation's result, -1 and errno: also where there is no io_uring. */
long uring_do(const struct uring_op *o);

#endif
