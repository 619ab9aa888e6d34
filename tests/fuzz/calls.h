/* SPDX-License-Identifier: MIT */
/*
 * tests/fuzz/calls.h: a VMM's calls, in two builds of the same fuzzer: calls_rooms.c makes them of
 * the rooms (under sanitizers), calls_libc.c of libc (under the preload, or of the real device).
 * Results are >= 0 or -errno.
 */
#ifndef TESTS_FUZZ_CALLS_H
#define TESTS_FUZZ_CALLS_H

#include <signal.h>
#include <sys/types.h>
#include "../vmm/heard.h"
#include "abi/uapi.h"

#define CALLS_SIGNAL SIGUSR1 /* ends a KVM_RUN */

void calls_init(void);
int calls_open(void);
long calls_ioctl(int fd, unsigned long request, void *arg);
void calls_close(int fd);
int calls_dup(int fd);
long calls_fallocate(int fd, int mode, off_t off, off_t len);
int calls_dup2(int fd, int to);
/* Shared, to read and write: of a vCPU, or of a guest_memfd that can be mapped. */
void *calls_map_vcpu(int fd, size_t len, off_t off);
void calls_unmap_vcpu(void *p, size_t len);

enum change {
	CHANGE_ZAP, CHANGE_READ_ONLY, CHANGE_NONE, CHANGE_WRITABLE, CHANGE_REPLACE, NR_CHANGES
};
/* A change of guest memory at the host. */
void calls_change(void *p, size_t len, enum change what);

/* Run fn in a child and wait for it. fn returns the child's exit code. */
int calls_fork(int (*fn)(void *arg), void *arg);

/* calls.c, for the two: the change itself; a child's exit code, or 128 and its signal. */
void calls_change_host(void *p, size_t len, enum change what);
int calls_wait(pid_t child);

/*
 * Where a thread listens (../vmm/heard.h), CALLS_SIGNAL ends its KVM_RUN soon, else the process. calls.c, for
 * the two: it has ended; the worst case of all threads, ns.
 */
void calls_heard(void);
u64 calls_worst(void);

/* What is left that should not be; ends the process. */
void calls_check_leaks(void);

/* Every invalidation that began has ended; ends the process. */
void calls_check_balance(void);

#endif
