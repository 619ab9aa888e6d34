/* SPDX-License-Identifier: MIT */
/*
 * ioctls: KVM's calls in random order by several threads that share their descriptors, with
 * duplicates, closes, forks, signals and changes of guest memory between.
 */
#include <errno.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>
#include "calls.h"
#include "check.h"
#include "ioctl_args.h"
#include "userkvm.h"

#define THREADS 4
#define POOL	48
#define OPS	1500 /* of a thread in a round */
#define KICK_US 2000
#define OTHER	9 /* in the pool: no KVM descriptor that takes calls */
#define GMEM	10

static int pool[POOL];   /* descriptors, -1: free; atomic */
static u8 kind[POOL];    /* what was put there last: enum args_level; a hint */
static pthread_barrier_t ready; /* every thread has been made */
static u8 *arena;
static u64 calls, refused, forks;
static bool carried_out[256]; /* by index in args_requests */
static unsigned working; /* threads that have not come to their end */

struct thread {
	pthread_t id;
	struct rng rng;
	struct args args;
	struct kvm_run *run; /* some vCPU's, or NULL */
	struct heard heard;
};
static struct thread thread[THREADS];

/* -- the pool */

static int some_fd(struct thread *t)
{
	return __atomic_load_n(&pool[rng_next(&t->rng) % POOL], __ATOMIC_RELAXED);
}

/* One that takes such calls, more often than not. */
static int some_fd_for(struct thread *t, u8 level)
{
	u32 at = rng_next(&t->rng) % POOL;

	if (rng_one_in(&t->rng, 16))
		return some_fd(t);
	for (u32 n = 0; n < POOL; n++, at = (at + 1) % POOL) {
		int fd = __atomic_load_n(&pool[at], __ATOMIC_RELAXED);

		if (fd >= 0 && kind[at] == level)
			return fd;
	}
	return -1;
}

static void keep_fd(struct thread *t, int fd, u8 what)
{
	u32 at = rng_next(&t->rng) % POOL;
	int old;

	if (fd < 0)
		return;
	old = __atomic_exchange_n(&pool[at], fd, __ATOMIC_RELAXED);
	__atomic_store_n(&kind[at], what, __ATOMIC_RELAXED);
	if (old >= 0)
		calls_close(old);
}

/* -- operations */

static void do_ioctl(struct thread *t, int fd, const struct args_request *q)
{
	unsigned long getter = args_getter(q->request);
	void *arg;
	long r;

	t->args.gmem = some_fd_for(t, GMEM);
	arg = args_make(&t->args, q);
	if (getter && !rng_one_in(&t->rng, 4) &&
	    calls_ioctl(fd, getter, t->args.room) >= 0) {
		args_flip(&t->args, q->request);
		arg = t->args.room;
	}
	r = calls_ioctl(fd, q->request, arg);
	__atomic_fetch_add(&calls, 1, __ATOMIC_RELAXED);
	if (r < 0)
		__atomic_fetch_add(&refused, 1, __ATOMIC_RELAXED);
	else
		__atomic_store_n(&carried_out[q - args_requests], true, __ATOMIC_RELAXED);
	if (r > 2 && q->request == KVM_CREATE_VM)
		keep_fd(t, (int)r, ARGS_VM);
	else if (r > 2 && q->request == KVM_CREATE_VCPU)
		keep_fd(t, (int)r, ARGS_VCPU);
	else if (r > 2 && q->request == KVM_GET_STATS_FD)
		keep_fd(t, (int)r, OTHER);
	else if (r > 2 && (q->request == UAPI_CREATE_GUEST_MEMFD ||
			   q->request == USERKVM_LINK_GUEST_MEMFD))
		keep_fd(t, (int)r, GMEM);
}

static void op_ioctl(struct thread *t)
{
	const struct args_request *q = &args_requests[rng_next(&t->rng) % args_nrequests];

	do_ioctl(t, some_fd_for(t, q->level), q);
}

static void op_request(struct thread *t, unsigned long request)
{
	for (unsigned i = 0; i < args_nrequests; i++)
		if (args_requests[i].request == request) {
			do_ioctl(t, some_fd_for(t, args_requests[i].level),
				 &args_requests[i]);
			return;
		}
}

static void op_garbage(struct thread *t)
{
	unsigned long request = (unsigned long)rng_next(&t->rng);

	if (rng_one_in(&t->rng, 2))
		request = (request & ~0xff00UL) | KVMIO << 8;
	if (request == KVM_SET_SIGNAL_MASK)
		return;
	calls_ioctl(some_fd(t), request, t->args.room);
}

static void op_dup(struct thread *t)
{
	u32 at = rng_next(&t->rng) % POOL;
	int from = __atomic_load_n(&pool[at], __ATOMIC_RELAXED);

	if (from >= 0)
		keep_fd(t, calls_dup(from), kind[at]);
}

/* Over a number of the pool's, which is out of it meanwhile. */
static void op_dup2(struct thread *t)
{
	u32 i = rng_next(&t->rng) % POOL, at = rng_next(&t->rng) % POOL;
	int from = __atomic_load_n(&pool[at], __ATOMIC_RELAXED);
	int to = __atomic_exchange_n(&pool[i], -1, __ATOMIC_RELAXED);

	if (to < 0)
		return;
	if (from >= 0 && from != to)
		calls_dup2(from, to);
	keep_fd(t, to, kind[at]);
}

static void op_close(struct thread *t)
{
	int fd = __atomic_exchange_n(&pool[rng_next(&t->rng) % POOL], -1, __ATOMIC_RELAXED);

	if (fd >= 0)
		calls_close(fd);
}

static void op_map(struct thread *t)
{
	if (t->run) {
		calls_unmap_vcpu(t->run, UAPI_RUN_PAGES * PAGE_SIZE);
		t->run = NULL;
		return;
	}
	t->run = calls_map_vcpu(some_fd_for(t, ARGS_VCPU), UAPI_RUN_PAGES * PAGE_SIZE, 0);
}

/* Registers under which the guest runs code of the arena. */
static void op_prepare(struct thread *t)
{
	struct kvm_regs r = {.rip = rng_next(&t->rng) & 0xffff, .rflags = 2, .rsp = 0x8000};
	struct kvm_sregs *s = (void *)t->args.room;
	struct kvm_userspace_memory_region m = {
		.memory_size = ARENA_BYTES, .userspace_addr = (u64)arena};
	int fd = some_fd_for(t, ARGS_VCPU);

	calls_ioctl(some_fd_for(t, ARGS_VM), KVM_SET_USER_MEMORY_REGION, &m);
	if (calls_ioctl(fd, KVM_GET_SREGS, s) < 0)
		return;
	s->cs.base = s->cs.selector = 0;
	if (rng_one_in(&t->rng, 2))
		s->cr0 |= 1;
	calls_ioctl(fd, KVM_SET_SREGS, s);
	calls_ioctl(fd, KVM_SET_REGS, &r);
	for (unsigned n = 0; n < 4; n++)
		calls_ioctl(fd, KVM_RUN, NULL);
}

static void op_write_run(struct thread *t)
{
	u8 byte = (u8)rng_next(&t->rng);
	struct iovec from = {&byte, 1};
	struct iovec to = {NULL, 1};

	if (!t->run)
		return;
	to.iov_base = (u8 *)t->run + rng_next(&t->rng) % PAGE_SIZE;
	if (rng_one_in(&t->rng, 2)) {
		byte &= 1;
		to.iov_base = &t->run->immediate_exit;
	}
	/* By the kernel: it may not be a vCPU's after all, and have no such page. */
	process_vm_writev(getpid(), &from, 1, &to, 1, 0);
}

static void op_change(struct thread *t)
{
	u64 page = rng_next(&t->rng) % (ARENA_BYTES >> 12);
	u64 most = MIN((ARENA_BYTES >> 12) - page, 16), n = 1 + rng_next(&t->rng) % most;
	enum change what = rng_next(&t->rng) % NR_CHANGES;

	calls_change(arena + (page << 12), n << 12, what);
	if (what == CHANGE_READ_ONLY || what == CHANGE_NONE)
		calls_change(arena + (page << 12), n << 12, CHANGE_WRITABLE);
}

static void op_signal(struct thread *t)
{
	struct thread *to = &thread[rng_next(&t->rng) % THREADS];

	heard_ask(&to->heard, CALLS_SIGNAL);
}

static int child(void *arg)
{
	struct thread *t = arg;

	alarm(ROUND_SECONDS / 2);
	for (unsigned n = 0; n < 20; n++) {
		switch (rng_next(&t->rng) % 4) {
		case 0:
			op_close(t);
			break;
		case 1:
			op_dup(t);
			break;
		default:
			op_ioctl(t);
		}
	}
	return 0;
}

static void op_fork(struct thread *t)
{
	int r = calls_fork(child, t);

	__atomic_fetch_add(&forks, 1, __ATOMIC_RELAXED);
	MUST(!r, "a child ended with %d", r);
}

static void op_event(struct thread *t)
{
	u64 one = 1;

	if (rng_one_in(&t->rng, 8))
		keep_fd(t, eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), OTHER);
	t->args.event = some_fd_for(t, OTHER);
	if (write(t->args.event, &one, sizeof(one)) < 0 && errno == EINTR)
		return;
}

static void one_op(struct thread *t)
{
	u32 n = rng_next(&t->rng) % 1000;

	if (n < 20)
		keep_fd(t, calls_open(), ARGS_SYSTEM);
	else if (n < 50)
		op_request(t, KVM_CREATE_VM);
	else if (n < 120)
		op_request(t, KVM_CREATE_VCPU);
	else if (n < 160)
		op_dup(t);
	else if (n < 180)
		op_dup2(t);
	else if (n < 210)
		op_close(t);
	else if (n < 240)
		op_map(t);
	else if (n < 290)
		op_prepare(t);
	else if (n < 320)
		op_write_run(t);
	else if (n < 350)
		op_change(t);
	else if (n < 360)
		op_signal(t);
	else if (n < 364)
		op_fork(t);
	else if (n < 390)
		op_event(t);
	else if (n < 410)
		op_garbage(t);
	else if (n < 450)
		op_request(t, KVM_RUN);
	else
		op_ioctl(t);
}

static void *work(void *arg)
{
	struct thread *t = arg;

	heard_listen(&t->heard);
	pthread_barrier_wait(&ready);
	for (unsigned n = 0; n < OPS; n++)
		one_op(t);
	if (t->run)
		calls_unmap_vcpu(t->run, UAPI_RUN_PAGES * PAGE_SIZE);
	t->run = NULL;
	heard_leave();
	__atomic_fetch_sub(&working, 1, __ATOMIC_RELAXED);
	return NULL;
}

/* -- rounds */

/* Real-mode code: ports, devices, loops, halts, stores over itself. */
static void fill_arena(struct rng *r)
{
	static const u8 code[] = {0xe4, 0x60, 0xe6, 0x80, 0xf4, 0x90, 0x89, 0x07, 0x8b, 0x07, 0xeb,
				  0xfe, 0xe2, 0xfc, 0xf3, 0xaa, 0xcd, 0x10, 0xcf, 0x0f, 0xa2, 0xa4,
				  0x6c, 0x6e, 0xfa, 0xfb, 0xf7, 0xf1, 0x0f, 0x31, 0xd9, 0xe8};

	for (u64 i = 0; i < ARENA_BYTES; i++)
		arena[i] = code[rng_next(r) % sizeof(code)];
}

static void *kick(void *arg)
{
	while (__atomic_load_n(&working, __ATOMIC_RELAXED)) {
		usleep(KICK_US);
		for (unsigned i = 0; i < THREADS; i++)
			heard_ask(&thread[i].heard, CALLS_SIGNAL);
	}
	return NULL;
}

static void one_round(struct rng *r, u64 round)
{
	pthread_t kicker;

	fill_arena(r);
	working = THREADS;
	pthread_barrier_init(&ready, NULL, THREADS + 1);
	for (unsigned i = 0; i < POOL; i++)
		pool[i] = -1;
	for (unsigned i = 0; i < THREADS; i++) {
		thread[i].rng = rounds_rng(r, i);
		thread[i].args.rng = &thread[i].rng;
		thread[i].args.event = -1;
		pthread_create(&thread[i].id, NULL, work, &thread[i]);
	}
	pthread_barrier_wait(&ready);
	pthread_create(&kicker, NULL, kick, NULL);
	pthread_join(kicker, NULL); /* ends when all the others have */
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(thread[i].id, NULL);
	for (unsigned i = 0; i < POOL; i++)
		if (pool[i] >= 0)
			calls_close(pool[i]);
	calls_change(arena, ARENA_BYTES, CHANGE_WRITABLE);
}

static void *room(size_t bytes)
{
	u8 *p = mmap(NULL, bytes + PAGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	MUST(p != MAP_FAILED && !mprotect(p, bytes, PROT_READ | PROT_WRITE), "mmap");
	return p;
}

static void init(void)
{
	arena = room(ARENA_BYTES);
	for (unsigned i = 0; i < THREADS; i++) {
		thread[i].args.room = room(ARGS_BYTES);
		thread[i].args.arena = arena;
	}
}

static void print(void)
{
	unsigned kinds = 0;

	for (unsigned i = 0; i < args_nrequests; i++)
		kinds += carried_out[i];
	printf("%llu calls (%llu refused), %llu forks; %u of %u kinds of call carried out\n",
	       (unsigned long long)calls, (unsigned long long)refused, (unsigned long long)forks,
	       kinds, args_nrequests);
}

int main(int argc, char **argv)
{
	static const struct rounds rounds = {init, one_round, print, .leak_rounds = 4};

	return rounds_main(argc, argv, &rounds);
}
