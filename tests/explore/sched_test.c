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
	sched_configure(SCHED_EXHAUSTIVE, 0, bound, NULL);
	do {
		v = execute(s);
		++*schedules;
	} while (v == SCHED_OK && sched_advance());
	return v;
}

static void finds_a_lost_update(void **state)
{
	struct scenario s = {add_plain, add_plain, .counts = true};
	struct sched_trace t;
	unsigned n;

	assert_int_equal(search(&s, 0, &n), SCHED_OK);
	assert_int_equal(search(&s, 1, &n), SCHED_VIOLATION);
	/* and the schedule found shows it again */
	t.n = sched_trace()->n;
	t.choice = malloc(t.n);
	memcpy(t.choice, sched_trace()->choice, t.n);
	sched_configure(SCHED_REPLAY, 0, 0, &t);
	assert_int_equal(execute(&s), SCHED_VIOLATION);
	free(t.choice);
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
	assert_true(n > 4);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_a_lost_update),
		cmocka_unit_test(finds_nothing_in_right_code),
		cmocka_unit_test(finds_a_deadlock),
		cmocka_unit_test(finds_a_missing_grace_period),
		cmocka_unit_test(random_finds_a_lost_update),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
