/* SPDX-License-Identifier: MIT */
/*
 * hostcalls: host-side calls on /dev/kvm, good and bad, a line each: what was called, what came
 * back, errno, and what was filled in where that does not depend on the machine. The same
 * program runs on a real device and under userkvm; tests/abi/compare.c holds the two outputs
 * together.
 */
#ifndef HOSTCALLS_H
#define HOSTCALLS_H

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

typedef uint8_t u8;
typedef uint32_t u32;
typedef uint64_t u64;

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define BAD_PTR	      ((void *)16)
#define RUN_BYTES     (3 * 4096) /* of a vCPU that is mapped */

/* A fresh VM with one vCPU; irqchip: with the controllers of a PC in the kernel. */
struct machine {
	int vm, vcpu;
	struct kvm_run *run;
};

extern int sys_fd;

struct machine machine_new(bool irqchip);
void machine_free(struct machine *m);

/* Print a line: name, result (descriptors as "fd"), errno's name. errno must be the call's. */
void line(long result, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The same for a call that returns a descriptor on success, which is closed. */
void line_fd(long result, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A line of values that came out. */
void out(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
u32 digest(const void *p, size_t n);

/* ioctl() with errno cleared. */
long call(int fd, unsigned long request, const void *arg);
long call_value(int fd, unsigned long request, unsigned long arg);

void test_open(void);
void test_system(void);
void test_levels(void);
void test_caps(void);
void test_vm(void);
void test_memory(void);
void test_irq(void);
void test_vcpu(void);
void test_cpuid(void);
void test_events(void);
void test_descriptors(void);
void test_lifetimes(void);
void test_gmem(void);

/* fd, sent over a socket and received. */
int hc_through_socket(int fd);

#endif
