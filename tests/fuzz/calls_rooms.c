/* SPDX-License-Identifier: MIT */
/* The preload's part in a few lines: what it tells the rooms of. */
#include "calls.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <urcu/urcu-bp.h>
#include "abi/abi.h"
#include "base/guard.h"
#include "mmu/mmu.h"
#include "primary/linux/linux.h"
#include "vm/signals.h"

int __lsan_do_recoverable_leak_check(void) __attribute__((weak));
void __sanitizer_print_stack_trace(void) __attribute__((weak));

/*
 * A sanitizer's allocator is not made for a child of a process with many threads: they stand
 * still while there is a fork.
 */
static pthread_rwlock_t fork_lock = PTHREAD_RWLOCK_INITIALIZER;

static void on_fault(int sig, siginfo_t *info, void *uc)
{
	if (guard_handle(sig, info, uc))
		return;
	fprintf(stderr, "signal %d at %p\n", sig, info->si_addr);
	if (__sanitizer_print_stack_trace)
		__sanitizer_print_stack_trace();
	abort();
}

static void on_signal(int sig, siginfo_t *info, void *uc)
{
	signals_leave_run(uc);
}

static void handle(int sig, void (*fn)(int, siginfo_t *, void *))
{
	struct sigaction sa = {.sa_sigaction = fn, .sa_flags = SA_SIGINFO | SA_NODEFER};

	sigemptyset(&sa.sa_mask);
	sigaction(sig, &sa, NULL);
}

void calls_init(void)
{
	static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};

	guard_install(); /* for its table; the handlers are ours */
	for (unsigned i = 0; i < ARRAY_SIZE(faults); i++)
		handle(faults[i], on_fault);
	handle(signals_kick_number(), signals_kicked);
	handle(CALLS_SIGNAL, on_signal);
}

int calls_open(void)
{
	return abi_open(O_RDWR | O_CLOEXEC);
}

long calls_ioctl(int fd, unsigned long request, void *arg)
{
	long r;

	signals_call_begin();
	pthread_rwlock_rdlock(&fork_lock);
	if (!abi_ioctl(fd, request, arg, &r))
		r = fcntl(fd, F_GETFD) < 0 ? -EBADF : -ENOTTY;
	pthread_rwlock_unlock(&fork_lock);
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
		abi_duplicated(fd, r);
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
		abi_duplicated(fd, r);
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

void calls_unmap_vcpu(void *p, size_t len)
{
	munmap(p, len);
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
	if (what == CHANGE_ZAP)
		madvise(p, len, MADV_DONTNEED);
	else if (what == CHANGE_REPLACE)
		mmap(p, len, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1,
		     0);
	else
		mprotect(p, len,
			 what == CHANGE_NONE	   ? PROT_NONE
			 : what == CHANGE_WRITABLE ? PROT_READ | PROT_WRITE
						   : PROT_READ);
	primary_linux_change_end(cookie);
	pthread_rwlock_unlock(&fork_lock);
}

int calls_fork(int (*fn)(void *arg), void *arg)
{
	int status = 0;
	void *cookie;
	pid_t p;

	pthread_rwlock_wrlock(&fork_lock);
	cookie = primary_linux_fork_begin();
	p = fork();
	primary_linux_fork_end(cookie, !p);
	if (!p) {
		abi_forked_child();
		pthread_rwlock_init(&fork_lock, NULL);
		_exit(fn(arg));
	}
	pthread_rwlock_unlock(&fork_lock);
	while (p > 0 && waitpid(p, &status, 0) < 0 && errno == EINTR)
		;
	return p < 0 ? 0 : WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void calls_check_leaks(void)
{
	urcu_bp_barrier();
	if (__lsan_do_recoverable_leak_check && __lsan_do_recoverable_leak_check())
		abort();
}

void calls_check_balance(void)
{
	if (!mmu_imbalances)
		return;
	fprintf(stderr, "%llu invalidations never ended\n", (unsigned long long)mmu_imbalances);
	abort();
}
