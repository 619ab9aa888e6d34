/* SPDX-License-Identifier: MIT */
#include "primary/linux/notifier.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "base/held.h"
#include "base/thread.h"
#include "base/trace.h"
#include "primary/linux/internal.h"
#include "primary/linux/maps.h"

/* Newer than the headers this is built with. */
#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1 /* Linux 5.11 */
#endif
#define FEATURE_WP_HUGETLBFS_SHMEM (1 << 12) /* Linux 5.19 */
#define FEATURE_WP_ASYNC	   (1 << 15) /* Linux 6.7; with it files can be registered, too */

#define EVENTS_AT_ONCE 16
#define RETRY_MS       1  /* out of memory in an invalidation */
#define ANSWER_MS      5  /* between looks at an answer that is on its way */

bool primary_linux_no_notifier;

static struct {
	struct mutex lock;	      /* of what follows */
	struct interval_tree watched; /* [start, last] of pieces that do not overlap */
	int fd;			      /* atomic for the helper; -1: none */
	ino_t ino;		      /* of it */
	bool alone;		      /* the helper has a table of descriptors of its own; the helper's */
	struct mutex life; /* outside every other lock of the room; of what follows */
	bool running;
	struct helper helper; /* lives as long as the process */
} notifier = {.lock = {.m = PTHREAD_MUTEX_INITIALIZER},
	      .life = {.m = PTHREAD_MUTEX_INITIALIZER},
	      .fd = -1};

/* ------------------------------------------------------------------ the descriptor; lock held */

static ino_t inode_of(int fd)
{
	struct stat st;

	return syscall(SYS_fstat, fd, &st) ? 0 : st.st_ino;
}

static int open_with(u64 features)
{
	struct uffdio_api api = {.api = UFFD_API, .features = features};
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);

	if (fd < 0)
		return -1;
	if (!syscall(SYS_ioctl, fd, UFFDIO_API, &api))
		return held_renumber(fd);
	syscall(SYS_close, fd);
	return -1;
}

static void open_userfaultfd(void)
{
	static const u64 more[] = {FEATURE_WP_HUGETLBFS_SHMEM | FEATURE_WP_ASYNC,
				   FEATURE_WP_HUGETLBFS_SHMEM, 0};
	int fd = -1;

	for (size_t i = 0; i < ARRAY_SIZE(more) && fd < 0; i++)
		fd = open_with(UFFD_FEATURE_EVENT_UNMAP | more[i]);
	notifier.ino = inode_of(fd);
	sync_store(&notifier.fd, fd);
}

/*
 * The number, as long as it means what it did in the caller's table of descriptors; or -1. The VMM may have
 * closed it, raw, and opened a userfaultfd of its own since, of whose memory nothing is to be changed.
 */
static int our_fd(void)
{
	int fd = sync_load(&notifier.fd);

	return fd >= 0 && inode_of(fd) == notifier.ino ? fd : -1;
}

/* ------------------------------------------------------------------ what is watched; lock held */

static void put(hva_t start, hva_t end)
{
	struct interval *n = start < end ? pool_alloc() : NULL;

	/* Out of memory: it stays registered, and an event too many does no harm. */
	if (!n)
		return;
	n->start = start;
	n->last = end - 1;
	interval_insert(&notifier.watched, n);
}

/* Forget what is watched of [start, end), and unregister it unless it is gone. */
static void cut(hva_t start, hva_t end, bool gone)
{
	struct interval *n;

	while ((n = interval_find(&notifier.watched, start, end - 1))) {
		hva_t s = n->start, e = n->last + 1;
		struct uffdio_range r = {MAX(s, start), MIN(e, end) - MAX(s, start)};

		interval_remove(&notifier.watched, n);
		pool_free(n);
		put(s, start);
		put(end, e);
		if (!gone)
			syscall(SYS_ioctl, our_fd(), UFFDIO_UNREGISTER, &r);
	}
}

int notifier_watch(hva_t start, hva_t end)
{
	struct uffdio_register r = {.range = {start, end - start},
				    .mode = UFFDIO_REGISTER_MODE_WP};
	hva_t gap, last;
	int err = 0;

	if (primary_linux_no_notifier)
		return -EOPNOTSUPP;
	mutex_lock(&notifier.lock);
	if (interval_gap(&notifier.watched, start, end - 1, &gap, &last)) {
		err = syscall(SYS_ioctl, our_fd(), UFFDIO_REGISTER, &r) ? -errno : 0;
		if (!err) {
			cut(start, end, true);
			put(start, end);
		}
	}
	mutex_unlock(&notifier.lock);
	return err;
}

void notifier_unwatch(hva_t start, hva_t end)
{
	mutex_lock(&notifier.lock);
	if (start < end)
		cut(start, end, false);
	mutex_unlock(&notifier.lock);
}

/* ------------------------------------------------------------------ the helper */

/* We protect nothing, but the mark of somebody's protection may have come along with a mapping. */
static void let_write(u64 address)
{
	struct uffdio_writeprotect w = {.range = {address & PAGE_MASK, PAGE_SIZE}};
	int fd = our_fd();

	/* Not while an event waits to be read: whoever wants to write there will ask again. */
	if (syscall(SYS_ioctl, fd, UFFDIO_WRITEPROTECT, &w))
		syscall(SYS_ioctl, fd, UFFDIO_WAKE, &w.range);
}

/* Callers wait for this: each goes on when its event is read. */
static void read_events(void *all)
{
	struct uffd_msg m[EVENTS_AT_ONCE];
	long n;

	/* Fewer than there is room for are all there were: who comes now is told of by the next poll(). */
	do {
		n = syscall(SYS_read, notifier.fd, m, sizeof(m));
		for (long i = 0; i < n / (long)sizeof(m[0]); i++) {
			if (m[i].event == UFFD_EVENT_PAGEFAULT)
				let_write(m[i].arg.pagefault.address);
			if (m[i].event != UFFD_EVENT_UNMAP)
				continue;
			mutex_lock(&notifier.lock);
			cut(m[i].arg.remove.start, m[i].arg.remove.end, true);
			mutex_unlock(&notifier.lock);
			changes_unmapped(all, m[i].arg.remove.start, m[i].arg.remove.end);
		}
	} while (n == sizeof(m));
}

static void take_events(void)
{
	void *all;

	/* Without memory there is no invalidation, and so no event is read: the caller waits. */
	while (!(all = changes_begin_everything()))
		poll(NULL, 0, RETRY_MS);
	read_events(all);
	changes_end_everything(all);
}

/* The VMM has closed the number, which it could. What was registered is so no more: windows are made anew. */
static void start_over(void)
{
	mutex_lock(&notifier.lock);
	cut(0, ~0ULL, true);
	open_userfaultfd();
	mutex_unlock(&notifier.lock);
	changes_drop_everything();
}

/*
 * In a table of descriptors of the helper's own, which the VMM cannot close: who waits for an event
 * is never without somebody to read it. Where that may not be, the VMM's table is good enough.
 */
static void keep_to_ourselves(unsigned fd)
{
	if (syscall(SYS_unshare, CLONE_FILES))
		return;
	notifier.alone = true;
	if (fd)
		syscall(SYS_close_range, 0, fd - 1, 0);
	syscall(SYS_close_range, fd + 1, ~0U, 0);
	maps_use_another();
}

/* When the next look is due, after one that began at `began`: it takes a tenth of a processor at most. */
static u64 next_look(u64 began, u64 took)
{
	return began + MAX(NOTIFIER_TICK_MS * 1000000ULL, LOOK_SHARE * took);
}

/* Milliseconds until then, rounded up. */
static int until(u64 then)
{
	u64 now = sync_now_ns();

	return then > now ? (int)((then - now + 999999) / 1000000) : 0;
}

/* Milliseconds to wait for events: somebody may ask meanwhile (trace_serve()), or waits for an answer. */
static int patience(u64 look_at, bool asked)
{
	int ms = until(later_any() ? MIN(look_at, later_due()) : look_at);

	return MIN(ms, asked ? ANSWER_MS : NOTIFIER_TICK_MS);
}

/* What has happened, for poll() to wake the helper: 0 or less, nothing. */
static void serve(int polled, const struct pollfd *p)
{
	if (polled <= 0)
		return;
	if ((p->revents & POLLIN) && (notifier.alone || our_fd() == p->fd))
		take_events();
	else
		start_over();
}

static void *helper(void *unused)
{
	bool asked = false;
	u64 look_at = 0;

	trace_cause = "a raw call";
	if (sync_load(&notifier.fd) >= 0)
		keep_to_ourselves((unsigned)sync_load(&notifier.fd));
	for (;;) {
		struct pollfd p = {sync_load(&notifier.fd), POLLIN, 0};

		serve(poll(&p, 1, patience(look_at, asked)), &p);
		if (later_any() && sync_now_ns() >= later_due())
			later_unmap_piece();
		/* Not after each event: whoever waits for the next one would wait for the look, too. */
		if (sync_now_ns() >= look_at) {
			u64 began = sync_now_ns(), used = linux_used_ns();

			changes_look_again();
			look_at = next_look(began, linux_used_ns() - used);
		}
		changes_report_uffd();
		asked = trace_serve();
		thread_tick();
	}
	return NULL; /* never: who is registered with us must find us */
}

void notifier_start(void)
{
	bool late = false;

	mutex_lock(&notifier.life);
	if (!notifier.running) {
		mutex_lock(&notifier.lock);
		if (notifier.fd < 0)
			open_userfaultfd();
		mutex_unlock(&notifier.lock);
		notifier.running = !thread_start(&notifier.helper, helper, NULL);
		late = notifier.running;
	}
	mutex_unlock(&notifier.life);
	/* windows made before are watched by nobody: they are made anew */
	if (late)
		changes_drop_everything();
}

void notifier_forked_child(void)
{
	/* The number may be somebody's by now; of the parent's memory it says nothing here. */
	mutex_init(&notifier.lock);
	mutex_init(&notifier.life);
	notifier.watched = (struct interval_tree){NULL};
	notifier.fd = -1;
	notifier.running = notifier.alone = false;
	later_forked_child();
}
