/* SPDX-License-Identifier: MIT */
/*
 * The first store to each page of fresh memory, by a guest and by the host itself: the same
 * backing, 4 KiB pages. With logging on, stage 2 is of 4 KiB leaves: a fault there for each page.
 * Then the same by two vCPUs and two host threads, half of the memory each.
 */
#include "machine.h"

#include <pthread.h>

#define SIZE (128 * MIB)

static struct machine machine;

struct half {
	u32 vcpu;
	u8 *start, *end; /* of the host's memory, or as the guest sees it */
};

static void *guest_half(void *arg)
{
	struct half *h = arg;

	machine_run(&machine, h->vcpu, PROGRAM_TOUCH, 0, (u64)h->start, (u64)h->end);
	return NULL;
}

static void *host_half(void *arg)
{
	struct half *h = arg;

	host_touch(h->start, h->end);
	return NULL;
}

/* Nanoseconds for all of it, by one or two threads. */
static double timed(void *(*half)(void *), u8 *base, unsigned threads)
{
	struct half h[2] = {{0, base, base + SIZE / threads}, {1, base + SIZE / 2, base + SIZE}};
	pthread_t other;
	u64 t = now_ns();

	if (threads == 2)
		MUST(!pthread_create(&other, NULL, half, &h[1]), "thread");
	half(&h[0]);
	if (threads == 2)
		pthread_join(other, NULL);
	return (double)(now_ns() - t);
}

static double host(enum backing b, unsigned threads)
{
	u8 *p = memory_map(b, SIZE);
	double ns = timed(host_half, p, threads);

	memory_unmap(p, SIZE);
	return ns;
}

static double guest(enum backing b, unsigned threads, u32 flags)
{
	u8 *p = memory_map(b, SIZE);
	double ns;

	machine_slot(&machine, 1, flags, DATA_GPA, SIZE, p);
	ns = timed(guest_half, (u8 *)DATA_LARGE, threads);
	machine_slot(&machine, 1, 0, DATA_GPA, 0, NULL);
	memory_unmap(p, SIZE);
	return ns;
}

static void measure(enum backing b, u32 flags)
{
	struct figure touch = {.n = 0}, scaling = {.n = 0};
	double pages = SIZE / (double)PAGE;
	char name[64];

	for (unsigned i = 0; i < BENCH_TURNS; i++) {
		double h1 = host(b, 1), g1 = guest(b, 1, flags);
		double h2 = host(b, 2), g2 = guest(b, 2, flags);

		figure_add(&touch, g1 / pages, h1 / pages);
		figure_add(&scaling, g1 / g2, h1 / h2);
	}
	snprintf(name, sizeof(name), "first touch, %s%s", backing_name[b], flags ? ", logged" : "");
	figure_print(&touch, name, "ns/page", "host's own fault", "<= 1.3");
	snprintf(name, sizeof(name), "two vCPUs, %s%s", backing_name[b], flags ? ", logged" : "");
	figure_print(&scaling, name, "times one", "two host threads' speed-up", ">= 0.9");
}

int main(void)
{
	machine_create(&machine);
	for (int b = 0; b < NR_BACKINGS; b++) {
		measure((enum backing)b, 0);
		measure((enum backing)b, KVM_MEM_LOG_DIRTY_PAGES);
	}
	machine_destroy(&machine);
	return 0;
}
