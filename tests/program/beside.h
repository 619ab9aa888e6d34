/* SPDX-License-Identifier: MIT */
/*
 * tests/program/beside.h: a VM, a thread that runs its vCPU and one that changes its memory, for what a
 * program does beside them.
 */
#ifndef TESTS_PROGRAM_BESIDE_H
#define TESTS_PROGRAM_BESIDE_H

#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>
#include <time.h>
#include "../preload/check.h"
#include "../vmm/minivmm.h"

GUEST(writes_once, 16, "out %al, $0x99\n 1: jmp 1b");
GUEST(writes_on, 16, "1: mov $2000, %cx\n2: loop 2b\n out %al, $0x99\n jmp 1b");
GUEST(spins, 16, "1: jmp 1b");

static struct minivmm v;

static inline void make(struct guest_code code)
{
	minivmm_create_with_irqchip(&v);
	minivmm_load(&v, MINIVMM_REAL, code);
}

static inline int ended(pid_t pid)
{
	int status;

	CHECK(waitpid(pid, &status, 0) == pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static inline void pause_ms(long ms)
{
	struct timespec t = {.tv_nsec = ms * 1000000};

	nanosleep(&t, NULL);
}

static volatile int stop;

static inline void *runs_on(void *arg)
{
	while (!stop)
		CHECK(minivmm_run(&v) == KVM_EXIT_IO);
	return arg;
}

static inline void *changes_memory(void *arg)
{
	while (!stop) {
		mprotect(v.mem + 0x8000, 4096, PROT_READ);
		mprotect(v.mem + 0x8000, 4096, PROT_READ | PROT_WRITE);
		madvise(v.mem + 0x9000, 4096, MADV_DONTNEED);
	}
	return arg;
}

static inline void start_both(pthread_t t[2])
{
	stop = 0;
	make(writes_on);
	CHECK(minivmm_run(&v) == KVM_EXIT_IO);
	CHECK(pthread_create(&t[0], NULL, runs_on, NULL) == 0);
	CHECK(pthread_create(&t[1], NULL, changes_memory, NULL) == 0);
}

static inline void end_both(const pthread_t t[2])
{
	stop = 1;
	CHECK(pthread_join(t[0], NULL) == 0 && pthread_join(t[1], NULL) == 0);
}

static inline int refuses_to_read(int fd)
{
	char byte;

	return read(fd, &byte, 1) == -1 && errno == EINVAL;
}

#endif
