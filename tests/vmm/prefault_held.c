/* SPDX-License-Identifier: MIT */
/*
 * tests/vmm/prefault_held.c: KVM_PRE_FAULT_MEMORY of a page that a userfaultfd holds back ends with a
 * signal: EINTR when nothing was done, success and the rest of the range otherwise (api.rst, 4.143).
 */
#include "held.h"

/* As in headers of Linux 6.11. */
struct pre_fault {
	uint64_t gpa, size, flags, padding[5];
};
#define PRE_FAULT_MEMORY _IOWR(KVMIO, 0xd5, struct pre_fault)

static struct minivmm v;
static volatile int handled;

static void on_signal(int sig)
{
	handled++;
}

struct call {
	struct pre_fault range;
	int result, error, handled;
};

static void *call_thread(void *arg)
{
	struct call *c = arg;

	c->result = ioctl(v.vcpu, PRE_FAULT_MEMORY, &c->range);
	c->error = errno;
	c->handled = handled;
	return NULL;
}

/* A page from `gpa` on is wanted, and nobody brings it. Then the signal. */
static void interrupt_call(int uffd, struct call *c)
{
	handled = 0;
	held_interrupt(uffd, call_thread, c, SIGUSR1);
	EXPECT(c->handled == 1, "the handler ran %d times before the call returned", c->handled);
}

int main(void)
{
	int uffd = held_open();
	struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
	struct call c = {.range = {.gpa = HELD, .size = PAGE}};

	if (uffd < 0)
		return SKIP;
	minivmm_create(&v);
	sigaction(SIGUSR1, &sa, NULL);
	held_back(uffd, &v);

	interrupt_call(uffd, &c);
	EXPECT(c.result == -1 && c.error == EINTR, "%d, %s", c.result, strerror(c.error));
	EXPECT(c.range.gpa == HELD && c.range.size == PAGE, "the range has moved");

	c.range = (struct pre_fault){.gpa = HELD - 2 * PAGE, .size = 4 * PAGE};
	interrupt_call(uffd, &c);
	EXPECT(!c.result, "%s", strerror(c.error));
	EXPECT(c.range.gpa == HELD && c.range.size == 2 * PAGE, "%#lx left of it, from %#lx",
	       (long)c.range.size, (long)c.range.gpa);

	held_bring(uffd, &v);
	call_thread(&c);
	EXPECT(!c.result && !c.range.size, "%d, %#lx left", c.result, (long)c.range.size);
	return 0;
}
