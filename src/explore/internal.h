/* SPDX-License-Identifier: MIT */
/* explore/internal.h: what the scheduler's files share. */
#ifndef EXPLORE_INTERNAL_H
#define EXPLORE_INTERNAL_H

#include "explore/sched.h"

/* A step that touches nothing that counts, and whether others may go on before it. */
void explore_step(const char *what, const void *obj, bool choice);
/* sched_wait() without a step before it. */
void explore_wait(const char *what, bool (*cond)(void *arg), void *arg);

/* share.c: note who touches obj, and how: is that a choice? Then it is done. And locks, as they are taken and dropped. */
struct explore_object *explore_touch(const void *obj, enum sched_access access, bool *choice);
void explore_happened(struct explore_object *o, enum sched_access access);
void explore_lock_taken(const void *lock, bool exclusive);
void explore_lock_dropped(const void *lock);
void explore_lock_tried(const void *lock);
bool explore_lock_is_tried(const void *lock);
/* Is every step a choice? */
bool explore_surveys(void);
/* The state before a choice; another execution. */
void explore_state(int current);
void explore_share_reset(void);

/* choose.c: strategies. */
struct explore_choice {
	int list[SCHED_MAX_ACTORS]; /* who can go on: the running one first, then in order of creation */
	int n;
	int current;   /* -1: nobody has run */
	bool can_stay; /* the running one can go on */
};
void explore_choose_begin(void);
void explore_choose_spawned(int actor);
void explore_choose_run(void);
/* Index in the list of who goes on. */
int explore_choose(const struct explore_choice *c);
/* Are the stores of the actor that is interrupted held back? */
bool explore_choose_hold(void);
/* The running actor comes to a step: is its turn over, in a replay? Then whose is it? And a choice that was passed. */
bool explore_turn_over(void);
int explore_turn_next(const struct explore_choice *c);
void explore_passed(void);
bool explore_replays(void);
/* A replay is left here: what follows is random. */
void explore_choose_leave(void);
/* A turn begins; and ends by an interruption. */
void explore_turn_begin(int actor, bool usual);
void explore_turn_interrupted(bool hold);

/* Nobody can go on: does somebody sleep for a while? Then the while is over. */
bool explore_time_may_pass(void);
/* Can nobody but (at most) the running actor go on? */
bool explore_alone(void);
/* Is a given schedule run again, and everything looked at? */
bool explore_strict(void);

/* Run the callbacks whose grace period is over; forget all; run all that are left. */
void explore_rcu_run(void);
void explore_rcu_reset(void);
void explore_rcu_drain(void);

/* buffer.c: has this actor stores that others need not see? Keep them from others, as it stops running;
 * put them back, as it goes on; let others see them for good. */
bool explore_buffered(int actor);
void explore_buffer_hold(int actor);
void explore_buffer_resume(int actor);
void explore_buffer_drain(int actor);
void explore_buffer_reset(void);

void explore_memory_reset(void);
/* A crash at addr: was it memory of this execution, which can only have been freed? */
bool explore_memory_freed(const void *addr);
/* If `leaks`, look for what was not freed. Fails the execution. */
void explore_memory_check(bool leaks);

#endif
