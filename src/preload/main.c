/* SPDX-License-Identifier: MIT */
/*
 * preload/main.c: loading, and the moment a process turns out to be a VMM.
 */
#include <pthread.h>
#include <unistd.h>
#include "abi/abi.h"
#include "base/own.h"
#include "base/thread.h"
#include "preload/preload.h"
#include "preload/real.h"
#include "primary/linux/linux.h"
#include "sync/rcu.h"

/* Who we are, for `userkvm doctor` and for whoever looks at a process from outside. */
EXPORT const char userkvm_version[] = USERKVM_VERSION;

int preload_armed;
static long own_pid;
static bool below_libc;

/* The loader's program has it (loader/world.c): signals are not ours yet while its libraries come. */
extern const char userkvm_world __attribute__((weak, visibility("default")));

void preload_below_libc(void)
{
	below_libc = true;
}

bool preload_is_below_libc(void)
{
	return below_libc;
}

bool preload_own_process(void)
{
	return raw0(SYS_getpid) == own_pid;
}

/* ------------------------------------------------------------------ fork */

static __thread struct mask_window forking __attribute__((tls_model("initial-exec")));

void preload_before_fork(void)
{
	mask_enter(&forking);
	primary_linux_fork_begin();
	sync_rcu_fork_begin();
	dispositions_lock();
}

void preload_after_fork_parent(void)
{
	dispositions_unlock();
	sync_rcu_fork_end(false);
	primary_linux_fork_end(false);
	mask_leave(&forking);
}

void preload_after_fork_child(void)
{
	own_pid = raw0(SYS_getpid);
	thread_forked_child();
	dispositions_unlock();
	sync_rcu_fork_end(true);
	primary_linux_fork_end(true);
	abi_forked_child();
	mask_forked_child();
	cancel_forked_child();
	mask_leave(&forking);
}

/*
 * Registered as the library is loaded, not when it arms: what is registered first is called last before
 * a fork and first after it. The program's own handlers may make any call, so none of ours may be in
 * between with locks held.
 */
static __thread bool fork_told __attribute__((tls_model("initial-exec")));

static void before_fork(void)
{
	fork_told = armed() && !below_libc;
	if (fork_told)
		preload_before_fork();
}

static void after_fork_parent(void)
{
	if (fork_told)
		preload_after_fork_parent();
}

static void after_fork_child(void)
{
	if (fork_told)
		preload_after_fork_child();
}

/* ------------------------------------------------------------------ arming */

static void arm(void)
{
	own_pid = raw0(SYS_getpid);
	own_images(&preload_armed);
	dispositions_adopt();
	__atomic_store_n(&preload_armed, 1, __ATOMIC_RELEASE);
}

void preload_arm(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	int e = errno;

	if (!armed())
		pthread_once(&once, arm);
	errno = e;
}

__attribute__((constructor)) static void load(void)
{
	int e = errno;

	real_resolve_all();
	symbols_lead_to_us();
	path_init();
	environment_init();
	change_init();
	pthread_atfork(before_fork, after_fork_parent, after_fork_child);
	if (!&userkvm_world)
		descriptors_inherited();
	errno = e;
}
