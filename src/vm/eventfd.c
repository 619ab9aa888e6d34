/* SPDX-License-Identifier: MIT */
/* vm/eventfd.c: see eventfd.h. */
#include "vm/eventfd.h"

#include <fcntl.h>
#include <linux/kcmp.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>
#include "base/identity.h"
#include "base/held.h"
#include "sync/atomic.h"
#include "sync/lock.h"
#include "sync/rcu.h"
#include "vm/keeper.h"

#define NUMBERS 65536 /* numbers from here up are always looked at */

struct eventfd {
	struct eventfd *next;
	int number; /* the VMM's own; -1: closed. Atomic; goes under lock, and is used under RCU */
	int spare;  /* a duplicate of ours in the VMM's table, while there is no keeper; -1 */
	int kept;   /* the keeper's; -1: not yet. Atomic */
	bool waits; /* atomic: a write to it may wait, unless O_NONBLOCK was set when it was looked at */
	u32 due;    /* atomic: how often the keeper is to signal it */
};

static struct mutex lock = {.m = PTHREAD_MUTEX_INITIALIZER};
static struct eventfd *held;	   /* guarded by lock */
static u32 nr_due;		   /* atomic: the sum of all `due` */
static u64 numbers[NUMBERS / 64]; /* atomic: numbers that may be an eventfd's */

static bool same_file(pid_t a, int fd_a, pid_t b, int fd_b)
{
	return syscall(SYS_kcmp, a, b, KCMP_FILE, fd_a, fd_b) == 0;
}

/* ------------------------------------------------------------------ what is an eventfd */

static short poll_now(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLOUT};
	struct timespec now = {0};

	return syscall(SYS_ppoll, &p, 1L, &now, NULL, 0L) == 1 ? p.revents : 0;
}

/*
 * Without /proc, which a jail may not have. An eventfd has no type of file, is open for reading
 * and writing, and takes eight bytes, no fewer (eventfd(2)); adding 0 changes nothing, and waits
 * only where the counter has overflowed, for which there is POLLERR.
 */
int eventfd_check(int fd)
{
	long flags = syscall(SYS_fcntl, fd, F_GETFL);
	u64 nothing = 0;
	struct stat st;

	if (flags < 0 || (flags & O_PATH))
		return -EBADF;
	if (syscall(SYS_fstat, fd, &st) || (st.st_mode & S_IFMT) ||
	    (flags & O_ACCMODE) != O_RDWR)
		return -EINVAL;
	if (poll_now(fd) & POLLERR)
		return 0;
	if (syscall(SYS_write, fd, &nothing, sizeof(nothing) / 2) != -1 || errno != EINVAL)
		return -EINVAL;
	return syscall(SYS_write, fd, &nothing, sizeof(nothing)) == sizeof(nothing) ? 0 : -EINVAL;
}

static bool may_wait(int fd)
{
	long flags = syscall(SYS_fcntl, fd, F_GETFL);

	return flags < 0 || !(flags & O_NONBLOCK);
}

bool eventfd_is(const struct eventfd *e, int fd)
{
	int kept = sync_load_acquire(&e->kept);
	int own = e->spare >= 0 ? e->spare : sync_load(&e->number);

	if (kept >= 0)
		return same_file(identity_thread(), fd, keeper_tid(), kept);
	return own == fd || (own >= 0 && same_file(identity_thread(), fd, identity_thread(), own));
}

/* ------------------------------------------------------------------ holding */

static void close_spare(struct eventfd *e)
{
	if (e->spare >= 0)
		syscall(SYS_close, e->spare);
	e->spare = -1;
}

static long fetch(void *arg)
{
	struct eventfd *e = arg;
	int own = e->spare >= 0 ? e->spare : sync_load(&e->number);
	int kept = keeper_fetch(own);

	if (kept >= 0)
		sync_store_release(&e->kept, kept);
	return kept;
}

static long put_away(void *arg)
{
	return syscall(SYS_close, ((struct eventfd *)arg)->kept);
}

/* With lock held. 0 or -errno; a number that was closed behind our back is lost, not an error. */
static int hand_over(struct eventfd *e)
{
	long r = e->kept < 0 ? keeper_call(fetch, e) : 0;

	if (r < 0)
		return r == -EBADF ? 0 : (int)r;
	close_spare(e);
	return 0;
}

static void note_number(int fd)
{
	if (fd < NUMBERS)
		sync_or(&numbers[fd / 64], BIT(fd % 64));
}

int eventfd_hold(int fd, struct eventfd **out)
{
	int r = eventfd_check(fd);
	struct eventfd *e;

	if (r)
		return r;
	e = calloc(1, sizeof(*e));
	if (!e)
		return -ENOMEM;
	e->number = fd;
	e->waits = may_wait(fd);
	e->spare = e->kept = -1;
	mutex_lock(&lock);
	note_number(fd);
	if (keeper_started())
		r = hand_over(e);
	if (!r) {
		e->next = held;
		held = e;
	}
	mutex_unlock(&lock);
	if (r)
		free(e);
	else
		*out = e;
	return r;
}

void eventfd_release(struct eventfd *e)
{
	struct eventfd **p = &held;

	mutex_lock(&lock);
	while (*p && *p != e)
		p = &(*p)->next;
	if (*p)
		*p = e->next;
	mutex_unlock(&lock);
	sync_sub(&nr_due, sync_xchg(&e->due, 0));
	close_spare(e);
	if (e->kept >= 0 && keeper_started())
		keeper_call(put_away, e);
	free(e);
}

/* ------------------------------------------------------------------ signalling */

/* A counter that is full is a signal already; writing to it might wait. */
static void write_one(int fd, bool waits)
{
	u64 one = 1;

	if (!waits || (poll_now(fd) & POLLOUT))
		syscall(SYS_write, fd, &one, sizeof(one));
}

/* On the keeper's thread. False: who holds the lock waits for that thread. */
static bool signal_due(void)
{
	if (!mutex_trylock(&lock))
		return false;
	for (struct eventfd *e = held; e; e = e->next) {
		for (u32 n = sync_xchg(&e->due, 0); n; n--) {
			write_one(e->kept, true);
			sync_sub(&nr_due, 1);
		}
	}
	mutex_unlock(&lock);
	return true;
}

static long settle(void *unused)
{
	return signal_due();
}

void eventfds_settle(void)
{
	while (unlikely(sync_load(&nr_due))) {
		if (!keeper_call(settle, NULL))
			syscall(SYS_sched_yield);
	}
}

/* Its number may be closed by a call that we do not see: compare before each use. */
void eventfd_signal(struct eventfd *e)
{
	bool waits = sync_load(&e->waits);
	int number, kept;

	sync_rcu_read_lock();
	kept = sync_load_acquire(&e->kept);
	number = sync_load(&e->number);
	if (keeper_table && kept >= 0) {
		write_one(kept, waits);
	} else if (number >= 0 &&
		   (kept < 0 || same_file(identity_thread(), number, keeper_tid(), kept))) {
		write_one(number, waits);
	} else if (kept >= 0) {
		sync_add(&nr_due, 1);
		sync_add(&e->due, 1);
		keeper_wake();
	} else if (e->spare >= 0) {
		write_one(e->spare, waits);
	}
	sync_rcu_read_unlock();
}

int eventfd_kept(const struct eventfd *e)
{
	return sync_load_acquire(&e->kept);
}

/* The descriptor may be a blocking one, and others may read it: ask without waiting. */
static bool take(int fd)
{
	u64 count;
	struct iovec iov = {&count, sizeof(count)};

	return syscall(SYS_preadv2, fd, &iov, 1, -1L, -1L, RWF_NOWAIT) == sizeof(count);
}

static long take_kept(void *arg)
{
	return take(((struct eventfd *)arg)->kept);
}

bool eventfd_take(struct eventfd *e)
{
	int own = e->spare >= 0 ? e->spare : sync_load(&e->number);

	if (sync_load_acquire(&e->kept) >= 0)
		return keeper_call(take_kept, e);
	return own >= 0 && take(own);
}

/* ------------------------------------------------------------------ the VMM's numbers */

int eventfds_start(void)
{
	int r = 0;

	mutex_lock(&lock);
	if (!keeper_started()) {
		keeper_on_wake(signal_due);
		r = keeper_start();
	}
	for (struct eventfd *e = held; !r && e; e = e->next)
		r = hand_over(e);
	mutex_unlock(&lock);
	return r;
}

void eventfds_flags_changed(void)
{
	mutex_lock(&lock);
	for (struct eventfd *e = held; e; e = e->next) {
		int number = e->spare >= 0 ? e->spare : sync_load(&e->number);

		/* without a number of the VMM's nobody but the keeper may write */
		sync_store(&e->waits, number < 0 || may_wait(number));
	}
	mutex_unlock(&lock);
}

bool eventfds_may_hold(int fd)
{
	return fd >= NUMBERS || (sync_load(&numbers[fd / 64]) >> (fd % 64) & 1);
}

static bool may_be_held(unsigned first, unsigned last)
{
	if (last >= NUMBERS)
		return true;
	for (unsigned fd = first; fd <= last; fd++) {
		if (sync_load(&numbers[fd / 64]) >> (fd % 64) & 1)
			return true;
	}
	return false;
}

/* With lock held. Where there is no room for a duplicate of ours there has to be a keeper. */
static void hold_without_number(struct eventfd *e, int from)
{
	long spare = syscall(SYS_fcntl, from, F_DUPFD_CLOEXEC, held_number());

	if (spare >= 0) {
		close_spare(e);
		e->spare = (int)spare;
		note_number(e->spare);
		return;
	}
	keeper_on_wake(signal_due);
	if (!keeper_start())
		hand_over(e);
}

/* With lock held. True: the VMM's number was in use until now. */
static bool leave_numbers(struct eventfd *e, unsigned first, unsigned last)
{
	bool own = e->number >= 0 && (unsigned)e->number >= first && (unsigned)e->number <= last;
	bool spare = e->spare >= 0 && (unsigned)e->spare >= first && (unsigned)e->spare <= last;

	if (e->kept < 0 && (spare || (own && e->spare < 0)))
		hold_without_number(e, spare ? e->spare : e->number);
	if (own)
		sync_store(&e->number, -1);
	return own;
}

void eventfds_closing(unsigned first, unsigned last)
{
	bool any = false;

	if (!may_be_held(first, last))
		return;
	mutex_lock(&lock);
	/* no number is out of the way of a range */
	if (held && first != last && !keeper_started()) {
		keeper_on_wake(signal_due);
		if (!keeper_start()) {
			for (struct eventfd *e = held; e; e = e->next)
				hand_over(e);
		}
	}
	for (struct eventfd *e = held; e; e = e->next)
		any |= leave_numbers(e, first, last);
	mutex_unlock(&lock);
	if (any)
		sync_rcu_wait();
}

void eventfds_forked_child(void)
{
	mutex_init(&lock);
	held = NULL;
	keeper_forked_child();
}
