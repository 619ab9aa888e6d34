/* SPDX-License-Identifier: MIT */
/* tests/vmm/held.h: a page of a guest's memory that userfaultfd holds back, so that who touches it waits. */
#ifndef TESTS_VMM_HELD_H
#define TESTS_VMM_HELD_H

#include "minivmm.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SKIP 77
#define PAGE 4096u
#define HELD 0x100000u /* its gpa */

/* A userfaultfd, or -1 where there is none: the test has said so and skips. */
static inline int held_open(void)
{
	int uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	struct uffdio_api api = {.api = UFFD_API};

	if (uffd >= 0 && !ioctl(uffd, UFFDIO_API, &api))
		return uffd;
	printf("no userfaultfd here: %s\n", strerror(errno));
	return -1;
}

static inline struct uffdio_range held_range(const struct minivmm *v)
{
	return (struct uffdio_range){(uintptr_t)v->mem + HELD, PAGE};
}

static inline void held_back(int uffd, const struct minivmm *v)
{
	struct uffdio_register reg = {.range = held_range(v), .mode = UFFDIO_REGISTER_MODE_MISSING};

	/* Small pages, so that one of them is held. */
	EXPECT(!madvise(v->mem, v->mem_size, MADV_NOHUGEPAGE), "%s", strerror(errno));
	EXPECT(!ioctl(uffd, UFFDIO_REGISTER, &reg), "UFFDIO_REGISTER: %s", strerror(errno));
}

/* Run fn(arg) in a thread until it wants the page, and send that thread a signal. Returns when fn has. */
static inline void held_interrupt(int uffd, void *(*fn)(void *), void *arg, int sig)
{
	struct uffd_msg m;
	pthread_t t;

	EXPECT(!pthread_create(&t, NULL, fn, arg), "no thread");
	EXPECT(read(uffd, &m, sizeof(m)) == sizeof(m) && m.event == UFFD_EVENT_PAGEFAULT,
	       "no page fault");
	EXPECT(!pthread_kill(t, sig), "pthread_kill");
	pthread_join(t, NULL);
}

/* A page of zeroes. */
static inline void held_bring(int uffd, const struct minivmm *v)
{
	struct uffdio_zeropage zero = {.range = held_range(v)};

	EXPECT(!ioctl(uffd, UFFDIO_ZEROPAGE, &zero), "UFFDIO_ZEROPAGE: %s", strerror(errno));
}

#endif
