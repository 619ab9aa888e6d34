/* SPDX-License-Identifier: MIT */
/*
 * Windows as on Linux: a second mapping of a file's page, at a place of its own in the address space,
 * which keeps the page whatever becomes of the VMM's mapping. What lies at a place may be a window, or
 * memory of the VMM's, who maps where it likes.
 *
 * And what tells of changes that nobody announces: an event of the kernel's, read by a helper, whose
 * caller goes on when it is read (primary/linux/notifier.c).
 */
#include <stdlib.h>
#include "primary/model/internal.h"

void model_use_windows(struct model *m)
{
	m->windowed = true;
}

static u64 *place_address(u32 i)
{
	return (u64 *)(MODEL_ARENA + i * PAGE_SIZE);
}

static struct place *place_at(struct model *m, const void *host)
{
	u64 i = ((u64)host - MODEL_ARENA) >> PAGE_SHIFT;

	return (u64)host >= MODEL_ARENA && i < MODEL_PLACES ? &m->place[i] : NULL;
}

/* pt_lock held. The window of hva, made where there is none yet. */
u64 *model_window(struct model *m, hva_t hva, struct page *p)
{
	struct place *free = NULL;

	for (u32 i = 0; i < MODEL_PLACES; i++) {
		struct place *w = &m->place[i];

		if (w->what == PLACE_WINDOW && w->hva == hva)
			return place_address(i);
		if (w->what == PLACE_FREE && !free)
			free = w;
	}
	if (!free)
		abort(); /* scenarios are made to fit */
	model_page_get(p);
	*free = (struct place){PLACE_WINDOW, hva, p, 0};
	return place_address((u32)(free - m->place));
}

/* The windows of [start, end) go, and their places are empty. */
static void drop_windows(struct model *m, hva_t start, hva_t end, enum place_what then)
{
	mutex_lock(&m->pt_lock);
	for (u32 i = 0; i < MODEL_PLACES; i++) {
		struct place *w = &m->place[i];

		if (w->what != PLACE_WINDOW || w->hva < start || w->hva >= end)
			continue;
		model_page_put(m, w->page);
		*w = (struct place){.what = then};
	}
	mutex_unlock(&m->pt_lock);
}

u64 *model_place(struct model *m, u64 *host)
{
	struct place *w = place_at(m, host);

	if (!w)
		return host;
	if (w->what == PLACE_FREE)
		return NULL;
	return w->what == PLACE_VMM ? &w->word : page_word(m, w->page);
}

bool model_in_window(struct model *m, const void *host)
{
	return place_at(m, host);
}

void model_window_check_access(struct model *m, const void *host, hva_t hva)
{
	const struct place *w = place_at(m, host);

	SCHED_CHECK(w->what != PLACE_VMM, "a vCPU reaches what the VMM mapped where a window was");
	SCHED_CHECK(w->hva == ALIGN_DOWN(hva, PAGE_SIZE), "a vCPU reaches another page's window");
}

/* ------------------------------------------------------------------ the VMM maps where a window lies */

u64 *model_map_over_window(struct model *m, hva_t hva)
{
	struct place *w;
	struct mmu_token *t;

	mutex_lock(&m->pt_lock);
	for (w = m->place; w < m->place + MODEL_PLACES; w++) {
		if (w->what == PLACE_WINDOW && w->hva == hva)
			break;
	}
	mutex_unlock(&m->pt_lock);
	if (w == m->place + MODEL_PLACES)
		return NULL;
	t = model_begin(m, hva, 1);
	drop_windows(m, hva, hva + PAGE_SIZE, PLACE_LEFT);
	if (w->what == PLACE_LEFT)
		*w = (struct place){.what = PLACE_VMM};
	model_end(m, t);
	return &w->word;
}

/* ------------------------------------------------------------------ changes that nobody announces */

static bool event_read(void *arg)
{
	return !((struct model *)arg)->event.pending;
}

static bool event_there(void *arg)
{
	return !event_read(arg);
}

void model_munmap_unseen(struct model *m, hva_t hva, u64 n)
{
	rwlock_write_lock(&m->mmap_lock);
	model_take_out(m, hva, n);
	m->event.start = hva;
	m->event.end = hva + n * PAGE_SIZE;
	m->event.pending = true;
	rwlock_write_unlock(&m->mmap_lock);
	sched_wait("the event is read", event_read, m);
}

void model_serve_event(struct model *m)
{
	struct mmu_token *t;

	sched_wait("an event", event_there, m);
	t = model_hide(m);
	m->event.pending = false;
	sched_point("event read", m);
	if (t)
		m->notifier.zap(t, m->event.start, m->event.end);
	drop_windows(m, m->event.start, m->event.end, PLACE_FREE);
	model_end(m, t);
}

void model_windows_destroy(struct model *m)
{
	drop_windows(m, 0, ~0ULL, PLACE_FREE);
}
