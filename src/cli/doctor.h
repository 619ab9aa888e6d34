/* SPDX-License-Identifier: MIT */
/*
 * cli/doctor.h: the parts of `userkvm doctor`. A check fills in a sentence of its own and says how
 * grave it is.
 */
#ifndef CLI_DOCTOR_H
#define CLI_DOCTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum verdict { OK, NOTE, PROBLEM };

/* What the host has (doctor_host.c). */
enum verdict check_kernel(char *text, size_t size);
enum verdict check_processor(char *text, size_t size);
enum verdict check_clock(char *text, size_t size);
enum verdict check_memfd(char *text, size_t size);
enum verdict check_code(char *text, size_t size);
enum verdict check_engine(char *text, size_t size);
enum verdict check_below_libc(char *text, size_t size);
enum verdict check_userfaultfd(char *text, size_t size);
enum verdict check_map_count(char *text, size_t size);
enum verdict check_limits(char *text, size_t size);

/* What a device does with a small guest (doctor_guest.c). */
enum guest_result {
	GUEST_RAN = 0,
	GUEST_NO_DEVICE, /* cannot be opened; detail is the errno */
	GUEST_NOT_KVM,	 /* another API version; detail is what it says */
	GUEST_NO_VM,	 /* no VM, vCPU or memory; detail is the errno */
	GUEST_NO_RUN,	 /* KVM_RUN failed; detail is the errno */
	GUEST_BAD_EXIT,	 /* detail is an exit reason that the guest gives no cause for */
	GUEST_WRONG,	 /* it ran and computed something else */
	GUEST_NOT_LOADED, /* the library that should have run it is not there */
	GUEST_ENDLESS,	 /* no end within the time */
	GUEST_DIED,	 /* the process that ran it was ended by signal `detail`, or ended early */
};

struct guest_outcome {
	enum guest_result result;
	int detail;
	uint64_t ns; /* GUEST_RAN: processor time from the first KVM_RUN to the halt */
};

/* The guest's own, and what it must have left in its memory when it halts. */
#define GUEST_PORT	0x80
#define GUEST_STEPS	300000
#define GUEST_SUM	((uint64_t)GUEST_STEPS * (GUEST_STEPS + 1) / 2)
#define GUEST_WORD	0x01020304
#define GUEST_RESULT_AT 0x6000 /* guest-physical */

struct guest_words {
	uint64_t sum;	     /* GUEST_SUM */
	uint64_t doubled;    /* GUEST_WORD, added to itself in a vector register */
	uint64_t exceptions; /* 1 */
};

/*
 * Run a small guest in long mode on /dev/kvm as this process sees it: what a kernel does in its
 * first moments, some hundred thousand instructions of a loop, and a halt. In this process, for as long as the device takes.
 */
struct guest_outcome guest_run(void);
/*
 * What `child`, in a process of its own, reports with guest_report(); it is killed after so many
 * seconds. Its return value is its exit status.
 */
struct guest_outcome guest_run_bounded(int (*child)(int report), int seconds);
int guest_report(int report, struct guest_outcome o);
/* A sentence's end about it: what the device does or does not. */
void guest_describe(struct guest_outcome o, char *text, size_t size);

#endif
