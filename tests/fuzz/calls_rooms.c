/* SPDX-License-Identifier: MIT */
/* The preload's part in a few lines: what it tells the rooms of. */
#include "calls.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>
#include "sync/rcu.h"
#include "abi/abi.h"
#include "mmu/mmu.h"
#include "primary/linux/linux.h"
#include "vm/signals.h"
#include "check.h"

int __lsan_do_recoverable_leak_check(void) __attribute__((weak));

/*
 * A sanitizer's allocator is not made for a child of a process with many threads: they stand
 * still while there is a fork.
 */
static pthread_rwlock_t fork_lock = PTHREAD_RWLOCK_INITIALIZER;

static __thread volatile bool in_run, came;

/* It is delivered at once. */
static void on_signal(int sig, siginfo_t *info, void *uc)
{
	if (in_run)
		came = true;
	else if (heard_mine())
		heard_returned(heard_mine());
	signals_leave_run(uc);
}

void calls_init(void)
{
	faults_install(NULL);
	faults_handle(CALLS_SIGNAL, on_signal);
}

int calls_open(void)
{
	return abi_open(O_RDWR | O_CLOEXEC);
}

long calls_ioctl(int fd, unsigned long request, void *arg)
{
	long r;

	pthread_rwlock_rdlock(&fork_lock);
	came = false;
	in_run = request == KVM_RUN && heard_mine();
	if (!abi_ioctl(fd, request, arg, &r))
		r = fcntl(fd, F_GETFD) < 0 ? -EBADF : -ENOTTY;
	in_run = false;
	if (came)
		calls_heard();
	pthread_rwlock_unlock(&fork_lock);
	signals_call_end();
	return r;
}

void calls_close(int fd)
{
	bool ours;

	pthread_rwlock_rdlock(&fork_lock);
	ours = abi_before_close(fd);
	close(fd);
	if (ours)
		abi_after_close();
	pthread_rwlock_unlock(&fork_lock);
}

int calls_dup(int fd)
{
	int r = dup(fd);

	if (r >= 0)
		abi_appeared(r);
	return r < 0 ? -errno : r;
}

long calls_fallocate(int fd, int mode, off_t off, off_t len)
{
	long r;

	pthread_rwlock_rdlock(&fork_lock);
	if (!abi_fallocate(fd, mode, off, len, &r))
		r = fallocate(fd, mode, off, len) < 0 ? -errno : 0;
	pthread_rwlock_unlock(&fork_lock);
	return r;
}

int calls_dup2(int fd, int to)
{
	bool ours;
	int r;

	pthread_rwlock_rdlock(&fork_lock);
	ours = abi_before_close(to);
	r = dup2(fd, to);
	if (r >= 0)
		abi_appeared(r);
	if (ours)
		abi_after_close();
	pthread_rwlock_unlock(&fork_lock);
	return r < 0 ? -errno : r;
}

void *calls_map_vcpu(int fd, size_t len, off_t off)
{
	void *p;

	if (abi_mmap_check(fd, len, PROT_READ | PROT_WRITE, MAP_SHARED, off))
		return NULL;
	p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, off);
	if (p == MAP_FAILED)
		return NULL;
	abi_mapped(fd, p, len, PROT_READ | PROT_WRITE, off);
	return p;
}

void calls_change(void *p, size_t len, enum change what)
{
	static const enum primary_change kinds[NR_CHANGES] = {
		[CHANGE_ZAP] = CHANGE_CONTENT,	     [CHANGE_READ_ONLY] = CHANGE_PROTECT,
		[CHANGE_NONE] = CHANGE_PROTECT,	     [CHANGE_WRITABLE] = CHANGE_PROTECT,
		[CHANGE_REPLACE] = CHANGE_UNMAP,
	};
	void *cookie;
	int err = 0;

	pthread_rwlock_rdlock(&fork_lock);
	cookie = primary_linux_change_begin((hva_t)p, len, kinds[what], &err);
	calls_change_host(p, len, what);
	primary_linux_change_end(cookie);
	pthread_rwlock_unlock(&fork_lock);
}

int calls_fork(int (*fn)(void *arg), void *arg)
{
	pid_t p;

	pthread_rwlock_wrlock(&fork_lock);
	primary_linux_fork_begin();
	p = fork();
	primary_linux_fork_end(!p);
	if (!p) {
		abi_forked_child();
		pthread_rwlock_init(&fork_lock, NULL);
		_exit(fn(arg));
	}
	pthread_rwlock_unlock(&fork_lock);
	return calls_wait(p);
}

void calls_check_leaks(void)
{
	sync_rcu_reap();
	if (__lsan_do_recoverable_leak_check && __lsan_do_recoverable_leak_check())
		abort();
}

void calls_check_balance(void)
{
	MUST(!mmu_imbalances, "%llu invalidations never ended", (unsigned long long)mmu_imbalances);
}
