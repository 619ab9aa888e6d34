/* SPDX-License-Identifier: MIT */
/* cli/trace_read.c: the rings of traced processes, as one sequence of records by time. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/clock.h"
#include "cli/trace.h"

#define LINK_NAME "/memfd:" TRACE_MEMFD " (deleted)"
#define PATH_SIZE 96
#define LOOK_NS	  100000000 /* so often it is looked who has ended */
#define HOLD_NS	  5000000 /* a thread may be so late with a record whose time it has taken */

struct taken {
	pid_t pid;
	u64 order; /* among those of one moment */
	struct trace_record *r;
};

/* Read and not yet given out. */
static struct {
	struct taken *list;
	size_t n, room;
	u64 order;
} held;

static bool fits(int fd)
{
	struct stat st;
	int flags = fcntl(fd, F_GET_SEALS);

	/* What can shrink could end under our hands. */
	return !fstat(fd, &st) && S_ISREG(st.st_mode) && (u64)st.st_size == TRACE_FILE_SIZE && flags > 0 &&
	       (flags & F_SEAL_SHRINK);
}

static int switch_on(struct traced *p, u64 mask)
{
	for (unsigned i = 0; i < TRACE_RINGS; i++) {
		struct trace_ring *r = &p->page->ring[i];

		__atomic_store_n(&r->tail, __atomic_load_n(&r->head, __ATOMIC_ACQUIRE), __ATOMIC_RELEASE);
		p->lost += r->lost;
	}
	p->lost += p->page->no_ring;
	__atomic_store_n(&p->page->beat, clock_ns(CLOCK_MONOTONIC), __ATOMIC_RELAXED);
	__atomic_store_n(&p->page->mask, mask, __ATOMIC_RELEASE);
	return 0;
}

static int map_file(struct traced *p)
{
	if (!fits(p->fd))
		return -EPROTO;
	p->map = mmap(NULL, TRACE_FILE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, p->fd, 0);
	if (p->map == MAP_FAILED)
		return -errno;
	p->page = (void *)p->map;
	if (p->page->magic == TRACE_MAGIC && p->page->version == TRACE_VERSION)
		return 0;
	munmap(p->map, TRACE_FILE_SIZE);
	return -EPROTO;
}

/* It is ours to trace, or nobody's: then it is let go. */
static int add(struct tracer *t, struct traced *p)
{
	struct traced *more = NULL;
	int r = flock(p->fd, LOCK_EX | LOCK_NB) ? -EBUSY : 0;

	if (!r)
		more = realloc(t->of, (t->n + 1) * sizeof(*more));
	if (!more) {
		munmap(p->map, TRACE_FILE_SIZE);
		close(p->fd);
		return r ? r : -ENOMEM;
	}
	t->of = more;
	switch_on(p, t->mask);
	t->of[t->n++] = *p;
	return 0;
}

int tracer_add(struct tracer *t, pid_t pid, int fd)
{
	struct traced p = {.pid = pid, .fd = fd};
	int r = map_file(&p);

	if (!r)
		return add(t, &p);
	close(fd);
	return r;
}

/* The number of the descriptor with the memfd, or -1. */
static int find_number(DIR *dir)
{
	struct dirent *d;

	while ((d = readdir(dir))) {
		char target[sizeof(LINK_NAME) + 1];
		ssize_t n = readlinkat(dirfd(dir), d->d_name, target, sizeof(target));

		if (n == sizeof(LINK_NAME) - 1 && !memcmp(target, LINK_NAME, (size_t)n))
			return atoi(d->d_name);
	}
	return -1;
}

int traced_open(struct traced *p, pid_t pid)
{
	char path[PATH_SIZE];
	int number, r;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = opendir(path);
	if (!dir)
		return errno == ENOENT ? -ESRCH : -errno;
	number = find_number(dir);
	closedir(dir);
	if (number < 0)
		return traced_alive(&(struct traced){.pid = pid}) ? -ENOENT : -ESRCH;
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, number);
	*p = (struct traced){.pid = pid, .fd = open(path, O_RDWR | O_CLOEXEC)};
	r = p->fd < 0 ? -errno : map_file(p);
	if (r && p->fd >= 0)
		close(p->fd);
	return r;
}

int tracer_attach(struct tracer *t, pid_t pid)
{
	struct traced p;
	int r = traced_open(&p, pid);

	return r ? r : add(t, &p);
}

bool traced_alive(const struct traced *p)
{
	char path[PATH_SIZE], line[512], *name_end;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", p->pid);
	f = fopen(path, "re");
	if (!f)
		return false;
	name_end = fgets(line, sizeof(line), f) ? strrchr(line, ')') : NULL;
	fclose(f);
	return name_end && name_end[1] && name_end[2] != 'Z' && name_end[2] != 'X';
}

/* ---- records */

const struct call_record *record_call(const struct trace_record *r)
{
	return r->kind == TRACE_call ? (const void *)r->data : NULL;
}

bool record_whole(const struct trace_record *r)
{
	const struct call_record *c = record_call(r);
	u64 data = r->size - sizeof(*r);

	if (r->kind >= TRACE_KINDS)
		return false;
	if (!c)
		return data >= 4 * sizeof(u64);
	return data >= sizeof(*c) && c->len <= data - sizeof(*c);
}

static int hold(const struct traced *p, const struct trace_record *r, u32 size)
{
	struct trace_record *copy;

	if (held.n == held.room) {
		size_t room = held.room ? 2 * held.room : 1024;
		struct taken *more = realloc(held.list, room * sizeof(*more));

		if (!more)
			return -ENOMEM;
		held.list = more;
		held.room = room;
	}
	copy = malloc(size);
	if (!copy)
		return -ENOMEM;
	memcpy(copy, r, size);
	copy->size = size;
	if (!record_whole(copy)) {
		free(copy);
		return 0;
	}
	held.list[held.n++] = (struct taken){p->pid, held.order++, copy};
	return 0;
}

static int drain_ring(const struct traced *p, unsigned i)
{
	struct trace_ring *ring = &p->page->ring[i];
	const u8 *bytes = p->map + TRACE_HEAD_SIZE + (u64)i * TRACE_RING_SIZE;
	u64 head = __atomic_load_n(&ring->head, __ATOMIC_ACQUIRE), tail = ring->tail;
	int err = 0;

	while (tail < head && head - tail <= TRACE_RING_SIZE && !err) {
		u32 at = tail % TRACE_RING_SIZE;
		const struct trace_record *r = (const void *)(bytes + at);
		u32 size = *(const volatile u32 *)&r->size;

		if (size < 8 || size % 8 || at + size > TRACE_RING_SIZE) {
			tail = head; /* not ours */
			break;
		}
		if (size >= sizeof(*r) && size <= TRACE_MAX_RECORD && r->kind != TRACE_SKIP)
			err = hold(p, r, size);
		tail += size;
	}
	__atomic_store_n(&ring->tail, tail, __ATOMIC_RELEASE);
	return err;
}

static int by_time(const void *a, const void *b)
{
	const struct taken *x = a, *y = b;

	if (x->r->time != y->r->time)
		return x->r->time < y->r->time ? -1 : 1;
	return x->order < y->order ? -1 : x->order > y->order;
}

static void give(u64 until, record_fn *fn, void *arg)
{
	size_t i;

	if (held.n)
		qsort(held.list, held.n, sizeof(held.list[0]), by_time);
	for (i = 0; i < held.n && held.list[i].r->time <= until; i++) {
		fn(arg, held.list[i].pid, held.list[i].r);
		free(held.list[i].r);
	}
	held.n -= i;
	memmove(held.list, held.list + i, held.n * sizeof(held.list[0]));
}

/* What it has left is read: no more of it than what found no room. */
static void let_go(struct tracer *t, unsigned i)
{
	struct traced *p = &t->of[i];

	__atomic_store_n(&p->page->mask, 0, __ATOMIC_RELEASE);
	for (unsigned k = 0; k < TRACE_RINGS; k++)
		t->lost += p->page->ring[k].lost;
	t->lost += p->page->no_ring - p->lost;
	munmap(p->map, TRACE_FILE_SIZE);
	close(p->fd);
	*p = t->of[--t->n];
}

static int drain_process(const struct traced *p)
{
	int err = 0;

	for (unsigned k = 0; k < TRACE_RINGS && !err; k++)
		err = drain_ring(p, k);
	return err;
}

int tracer_drain(struct tracer *t, bool all, record_fn *fn, void *arg)
{
	u64 now = clock_ns(CLOCK_MONOTONIC);
	bool look = now - t->looked >= LOOK_NS;
	int err = 0;

	for (unsigned i = t->n; i-- > 0 && !err;) {
		/* One that ends after this look is read again. */
		bool ended = look && !traced_alive(&t->of[i]);

		__atomic_store_n(&t->of[i].page->beat, now, __ATOMIC_RELAXED);
		err = drain_process(&t->of[i]);
		if (ended)
			let_go(t, i);
	}
	if (look)
		t->looked = now;
	give(all ? ~0ULL : now - HOLD_NS, fn, arg);
	return err;
}

u64 tracer_close(struct tracer *t)
{
	while (t->n)
		let_go(t, t->n - 1);
	free(t->of);
	t->of = NULL;
	return t->lost;
}
