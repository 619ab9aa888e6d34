/* SPDX-License-Identifier: MIT */
/*
 * irqchip/timer.c: the deadlines of an irqchip (APIC timers, the 8254), a heap served by one
 * thread that is started when something is armed and a guest has begun to run.
 */
#include "irqchip/internal.h"

#include <stdlib.h>
#include "base/thread.h"

static void place(struct ic_timers *h, u32 pos, struct ic_timer *t)
{
	h->heap[pos] = t;
	t->pos = pos;
}

static void sift_up(struct ic_timers *h, u32 pos)
{
	struct ic_timer *t = h->heap[pos];

	while (pos && h->heap[(pos - 1) / 2]->deadline > t->deadline) {
		place(h, pos, h->heap[(pos - 1) / 2]);
		pos = (pos - 1) / 2;
	}
	place(h, pos, t);
}

static void sift_down(struct ic_timers *h, u32 pos)
{
	struct ic_timer *t = h->heap[pos];

	for (;;) {
		u32 child = 2 * pos + 1;

		if (child >= h->n)
			break;
		if (child + 1 < h->n && h->heap[child + 1]->deadline < h->heap[child]->deadline)
			child++;
		if (h->heap[child]->deadline >= t->deadline)
			break;
		place(h, pos, h->heap[child]);
		pos = child;
	}
	place(h, pos, t);
}

static void *timer_thread(void *arg)
{
	struct irqchip *ic = arg;

	mutex_lock(&ic->lock);
	while (!ic->timers.stop) {
		u64 next = timers_run(ic);

		ic->timers.sleeps_until = next;
		waitq_wait_until(&ic->timers.wake, &ic->lock, MIN(next, sync_now_ns() + THREAD_TICK_NS));
		ic->timers.sleeps_until = 0;
		if (next == UINT64_MAX) {
			mutex_unlock(&ic->lock);
			thread_tick();
			mutex_lock(&ic->lock);
		}
	}
	mutex_unlock(&ic->lock);
	return NULL;
}

void timers_init(struct ic_timers *t)
{
	t->now = sync_now_ns;
	waitq_init(&t->wake);
}

/* Called without the lock: the thread wants it to end. */
void timers_destroy(struct irqchip *ic)
{
	struct ic_timers *h = &ic->timers;

	mutex_lock(&ic->lock);
	h->stop = true;
	waitq_wake_all(&h->wake);
	mutex_unlock(&ic->lock);
	if (h->started)
		thread_join(&h->thread);
	waitq_destroy(&h->wake);
	free(h->heap);
}

/* Room in the heap is made here, so that arming cannot fail. */
int timer_init(struct irqchip *ic, struct ic_timer *t, void (*fn)(void *, u64), void *ctx)
{
	struct ic_timers *h = &ic->timers;

	if (h->reserved == h->room) {
		u32 room = h->room ? h->room * 2 : 8;
		struct ic_timer **heap = realloc(h->heap, room * sizeof(struct ic_timer *));

		if (!heap)
			return -ENOMEM;
		h->heap = heap;
		h->room = room;
	}
	h->reserved++;
	*t = (struct ic_timer){.pos = TIMER_IDLE, .fn = fn, .ctx = ctx};
	return 0;
}

void timer_fini(struct irqchip *ic, struct ic_timer *t)
{
	timer_cancel(ic, t);
	ic->timers.reserved--;
}

void timer_cancel(struct irqchip *ic, struct ic_timer *t)
{
	struct ic_timers *h = &ic->timers;
	struct ic_timer *last;
	u32 pos = t->pos;

	if (pos == TIMER_IDLE)
		return;
	t->pos = TIMER_IDLE;
	last = h->heap[--h->n];
	if (last == t)
		return;
	place(h, pos, last);
	sift_up(h, pos);
	sift_down(h, last->pos);
}

void timer_arm(struct irqchip *ic, struct ic_timer *t, u64 deadline)
{
	struct ic_timers *h = &ic->timers;

	mutex_assert_held(&ic->lock);
	timer_cancel(ic, t);
	t->deadline = deadline;
	place(h, h->n++, t);
	sift_up(h, t->pos);
	if (h->manual || !h->allowed)
		return;
	/* A guest that only ever moves its deadline on does not wake the thread each time. */
	if (!h->started)
		h->started = thread_start(&h->thread, timer_thread, ic) == 0;
	else if (deadline < h->sleeps_until)
		waitq_wake_all(&h->wake);
}

void irqchip_start(struct irqchip *ic)
{
	struct ic_timers *h = &ic->timers;

	mutex_lock(&ic->lock);
	h->allowed = true;
	if (h->n && !h->started && !h->manual)
		h->started = thread_start(&h->thread, timer_thread, ic) == 0;
	mutex_unlock(&ic->lock);
}

u64 timers_run(struct irqchip *ic)
{
	struct ic_timers *h = &ic->timers;
	u64 now = h->now();

	/* Nothing re-arms at or before `now`, so each timer fires at most once per run. */
	while (h->n && h->heap[0]->deadline <= now) {
		struct ic_timer *t = h->heap[0];

		timer_cancel(ic, t);
		t->fn(t->ctx, now);
	}
	return h->n ? h->heap[0]->deadline : UINT64_MAX;
}
