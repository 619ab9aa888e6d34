/* SPDX-License-Identifier: MIT */
#include "uring.h"
#include "rawcall.h"
#include <linux/io_uring.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct {
	int fd;
	unsigned *sq_tail, *sq_array, *cq_head, *cq_tail;
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqes;
} ring = {.fd = -1};

static void *map(size_t size, off_t what)
{
	return mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring.fd, what);
}

/* A ring of one entry; false: this kernel has none, or not for us. */
static int set_up(void)
{
	struct io_uring_params p = {0};
	uint8_t *sq, *cq;

	if (ring.fd >= 0)
		return 1;
	ring.fd = (int)rawcall(SYS_io_uring_setup, 1, &p);
	if (ring.fd < 0)
		return 0;
	sq = map(p.sq_off.array + p.sq_entries * sizeof(unsigned), IORING_OFF_SQ_RING);
	cq = map(p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe), IORING_OFF_CQ_RING);
	ring.sqes = map(p.sq_entries * sizeof(struct io_uring_sqe), IORING_OFF_SQES);
	ring.sq_tail = (unsigned *)(sq + p.sq_off.tail);
	ring.sq_array = (unsigned *)(sq + p.sq_off.array);
	ring.cq_head = (unsigned *)(cq + p.cq_off.head);
	ring.cq_tail = (unsigned *)(cq + p.cq_off.tail);
	ring.cqes = (struct io_uring_cqe *)(cq + p.cq_off.cqes);
	return 1;
}

long uring_do(const struct uring_op *o)
{
	unsigned head;
	long r;

	if (!set_up())
		return -1;
	memset(ring.sqes, 0, sizeof(*ring.sqes));
	ring.sqes->opcode = (uint8_t)o->op;
	ring.sqes->fd = o->fd;
	ring.sqes->addr = (uintptr_t)o->addr;
	ring.sqes->off = o->off;
	ring.sqes->len = (uint32_t)o->len;
	ring.sqes->fadvise_advice = o->advice;
	ring.sq_array[0] = 0;
	__atomic_add_fetch(ring.sq_tail, 1, __ATOMIC_RELEASE);
	if (rawcall(SYS_io_uring_enter, ring.fd, 1, 1, IORING_ENTER_GETEVENTS, 0, 0) != 1)
		return -1;
	head = *ring.cq_head;
	if (head == __atomic_load_n(ring.cq_tail, __ATOMIC_ACQUIRE)) {
		errno = EAGAIN;
		return -1;
	}
	r = ring.cqes[head & 1].res; /* of one entry are two completions */
	__atomic_store_n(ring.cq_head, head + 1, __ATOMIC_RELEASE);
	return rawcall_errno(r);
}
