/* SPDX-License-Identifier: MIT */
/* The explorer's scheduler finds what it must find, and finds nothing where nothing is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>

#include "explore/sched.h"
#include "sync/atomic.h"
#include "sync/lock.h"
#include "sync/rcu.h"

static u64 counter;
static struct mutex a, b;

static void add_plain(void *arg)
{
	u64 v = sync_load(&counter);

	sync_store(&counter, v + 1);
}

static void add_atomic(void *arg)
{
	sync_add(&counter, 1);
}

static void add_locked(void *arg)
{
	mutex_lock(&a);
	add_plain(arg);
	mutex_unlock(&a);
}

static void lock_ab(void *arg)
{
	mutex_lock(&a);
	mutex_lock(&b);
	mutex_unlock(&b);
	mutex_unlock(&a);
}

static void lock_ba(void *arg)
{
	mutex_lock(&b);
	mutex_lock(&a);
	mutex_unlock(&a);
	mutex_unlock(&b);
}

struct node {
	sync_rcu_head rcu;
	u64 *value;
	u64 n;
};
static struct node *shared;

static void node_free(sync_rcu_head *h)
{
	sched_free(container_of(h, struct node, rcu));
}

static void reader(void *arg)
{
	struct node *n;

	sync_rcu_read_lock();
	n = sync_rcu_deref(&shared);
	if (n) {
		sched_point("use", n);
		SCHED_CHECK(*n->value == 7, "a reader sees %llu", (unsigned long long)n->n);
	}
	sync_rcu_read_unlock();
}

static void unpublish_early(void *arg)
{
	struct node *n = shared;

	sync_rcu_publish(&shared, NULL);
	sched_free(n);
}

static void unpublish_late(void *arg)
{
	struct node *n = shared;

	sync_rcu_publish(&shared, NULL);
	sync_rcu_call(&n->rcu, node_free);
}

static void unpublish_wait(void *arg)
{
	struct node *n = shared;

	sync_rcu_publish(&shared, NULL);
	sync_rcu_wait();
	sched_free(n);
}

static void make_node(void)
{
	shared = sched_calloc(1, sizeof(*shared));
	shared->n = 7;
	shared->value = &shared->n;
}

struct scenario {
	sched_actor_fn *one, *two;
	bool counts, node;
};

static enum sched_verdict execute(const struct scenario *s)
{
	enum sched_verdict v;

	sched_begin();
	counter = 0;
	mutex_init(&a);
	mutex_init(&b);
	if (s->node)
		make_node();
	sched_spawn("one", s->one, NULL);
	sched_spawn("two", s->two, NULL);
	v = sched_run();
	if (v == SCHED_OK && s->counts && counter != 2)
		v = SCHED_VIOLATION;
	sched_end();
	return v;
}

/* The first bad verdict of an exhaustive search, or OK after the last schedule. */
static enum sched_verdict search(const struct scenario *s, unsigned bound, unsigned *schedules)
{
	enum sched_verdict v;

	*schedules = 0;
	sched_forget();
	sched_configure(SCHED_EXHAUSTIVE, 0, bound, NULL);
	for (;;) {
		v = execute(s);
		++*schedules;
		if (v != SCHED_OK)
			return v;
		if (sched_grew()) {
			sched_configure(SCHED_EXHAUSTIVE, 0, bound, NULL);
			*schedules = 0;
		} else if (!sched_advance()) {
			return v;
		}
	}
}

static void finds_a_lost_update(void **state)
{
	struct scenario s = {add_plain, add_plain, .counts = true};
	struct sched_schedule t;
	unsigned n;

	assert_int_equal(search(&s, 0, &n), SCHED_OK);
	assert_int_equal(search(&s, 1, &n), SCHED_VIOLATION);
	/* and the schedule found shows it again */
	t.n = sched_schedule()->n;
	t.turn = malloc(t.n * sizeof(*t.turn));
	memcpy(t.turn, sched_schedule()->turn, t.n * sizeof(*t.turn));
	sched_configure(SCHED_REPLAY, 0, 0, &t);
	assert_int_equal(execute(&s), SCHED_VIOLATION);
	free(t.turn);
}

static void finds_nothing_in_right_code(void **state)
{
	struct scenario atomic = {add_atomic, add_atomic, .counts = true};
	struct scenario locked = {add_locked, add_locked, .counts = true};
	struct scenario rcu = {reader, unpublish_late, .node = true};
	struct scenario waits = {reader, unpublish_wait, .node = true};
	unsigned n;

	assert_int_equal(search(&atomic, 3, &n), SCHED_OK);
	assert_true(n > 1);
	assert_int_equal(search(&locked, 3, &n), SCHED_OK);
	assert_true(n > 1);
	assert_int_equal(search(&rcu, 3, &n), SCHED_OK);
	assert_int_equal(search(&waits, 3, &n), SCHED_OK);
}

static void finds_a_deadlock(void **state)
{
	struct scenario s = {lock_ab, lock_ba};
	unsigned n;

	assert_int_equal(search(&s, 1, &n), SCHED_DEADLOCK);
	assert_non_null(strstr(sched_why(), "one waits for mutex"));
}

static void finds_a_missing_grace_period(void **state)
{
	struct scenario s = {reader, unpublish_early, .node = true};
	enum sched_verdict v;
	unsigned n;

	v = search(&s, 1, &n);
	assert_true(v == SCHED_CRASH || v == SCHED_VIOLATION);
}

static void random_finds_a_lost_update(void **state)
{
	struct scenario s = {add_plain, add_plain, .counts = true};
	enum sched_verdict v = SCHED_OK;

	for (u64 seed = 1; seed < 200 && v == SCHED_OK; seed++) {
		sched_configure(SCHED_RANDOM, seed, 2, NULL);
		v = execute(&s);
	}
	assert_int_equal(v, SCHED_VIOLATION);
}

/* -- where nothing that others do could matter there is no choice */

static u64 own[2], word;
static struct rwlock rw;

static void add_own(void *arg)
{
	u64 *mine = arg;

	sync_add(mine, 1);
	sync_add(mine, 1);
}

static void read_word(void *arg)
{
	sync_load(&word);
	sync_load(&word);
}

static void read_locked(void *arg)
{
	rwlock_read_lock(&rw);
	read_word(arg);
	rwlock_read_unlock(&rw);
}

static void write_locked(void *arg)
{
	rwlock_write_lock(&rw);
	sync_store(&word, 1);
	sync_store(&word, 2);
	rwlock_write_unlock(&rw);
}

static void write_word(void *arg)
{
	sync_store(&word, 1);
}

static unsigned schedules_of(sched_actor_fn *one, void *arg, sched_actor_fn *two, void *other)
{
	unsigned n = 0;

	sched_forget();
	sched_configure(SCHED_EXHAUSTIVE, 0, 9, NULL);
	for (;;) {
		sched_begin();
		rwlock_init(&rw);
		sched_spawn("one", one, arg);
		sched_spawn("two", two, other);
		assert_int_equal(sched_run(), SCHED_OK);
		sched_end();
		n++;
		if (sched_grew()) {
			sched_configure(SCHED_EXHAUSTIVE, 0, 9, NULL);
			n = 0;
		} else if (!sched_advance()) {
			return n;
		}
	}
}

static void what_is_not_shared_is_no_choice(void **state)
{
	/* Only who begins. */
	assert_int_equal(schedules_of(add_own, &own[0], add_own, &own[1]), 2);
	assert_int_equal(schedules_of(read_word, NULL, read_word, NULL), 2);
}

static void what_a_lock_excludes_is_no_choice(void **state)
{
	/* And who takes the lock; the words within it are as many as they are. */
	assert_int_equal(schedules_of(read_locked, NULL, write_locked, NULL),
			 schedules_of(write_locked, NULL, write_locked, NULL));
	assert_true(schedules_of(read_locked, NULL, write_word, NULL) >
		    schedules_of(read_locked, NULL, write_locked, NULL));
}

static void a_search_goes_on_where_it_stopped(void **state)
{
	struct scenario s = {add_atomic, add_atomic, .counts = true};
	unsigned all, before = 3, after = 0;
	char *place;

	assert_int_equal(search(&s, 3, &all), SCHED_OK);
	sched_configure(SCHED_EXHAUSTIVE, 0, 3, NULL);
	for (unsigned i = 0; i < before; i++) {
		execute(&s);
		assert_true(sched_advance());
	}
	place = sched_place();
	sched_configure(SCHED_EXHAUSTIVE, 0, 3, NULL);
	assert_true(sched_return(place));
	do {
		execute(&s);
		after++;
	} while (sched_advance());
	assert_int_equal(before + after, all);
	assert_false(sched_return("zz1"));
	free(place);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_a_lost_update),
		cmocka_unit_test(finds_nothing_in_right_code),
		cmocka_unit_test(finds_a_deadlock),
		cmocka_unit_test(finds_a_missing_grace_period),
		cmocka_unit_test(random_finds_a_lost_update),
		cmocka_unit_test(what_is_not_shared_is_no_choice),
		cmocka_unit_test(what_a_lock_excludes_is_no_choice),
		cmocka_unit_test(a_search_goes_on_where_it_stopped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
