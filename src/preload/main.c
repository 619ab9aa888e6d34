/* SPDX-License-Identifier: MIT */
/*
 * preload/main.c: loading, and the moment a process turns out to be a VMM.
 */
#include <pthread.h>
#include <unistd.h>
#include "abi/abi.h"
#include "base/own.h"
#include "preload/preload.h"
#include "preload/real.h"
#include "primary/linux/linux.h"
#include "sync/rcu.h"

/* Who we are, for `userkvm doctor` and for whoever looks at a process from outside. */
EXPORT const char userkvm_version[] = USERKVM_VERSION;

int preload_armed;
static long own_pid;

bool preload_own_process(void)
{
	return raw0(SYS_getpid) == own_pid;
}

/* ------------------------------------------------------------------ fork */

static __thread struct mask_window forking __attribute__((tls_model("initial-exec")));

static void before_fork(void)
{
	mask_enter(&forking);
	primary_linux_fork_begin();
	sync_rcu_fork_begin();
	dispositions_lock();
}

static void after_fork_parent(void)
{
	dispositions_unlock();
	sync_rcu_fork_end(false);
	primary_linux_fork_end(false);
	mask_leave(&forking);
}

static void after_fork_child(void)
{
	own_pid = raw0(SYS_getpid);
	dispositions_unlock();
	sync_rcu_fork_end(true);
	primary_linux_fork_end(true);
	abi_forked_child();
	mask_forked_child();
	mask_leave(&forking);
}

/* ------------------------------------------------------------------ arming */

static void arm(void)
{
	own_pid = raw0(SYS_getpid);
	own_images(&preload_armed);
	dispositions_adopt();
	pthread_atfork(before_fork, after_fork_parent, after_fork_child);
	__atomic_store_n(&preload_armed, 1, __ATOMIC_RELEASE);
}

void preload_arm(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	if (!armed())
		pthread_once(&once, arm);
}

__attribute__((constructor)) static void load(void)
{
	int e = errno;

	real_resolve_all();
	environment_init();
	change_init();
	descriptors_inherited();
	errno = e;
}
