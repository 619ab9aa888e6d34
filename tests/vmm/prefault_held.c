/* SPDX-License-Identifier: MIT */
/*
 * tests/vmm/prefault_held.c: KVM_PRE_FAULT_MEMORY of a page that a userfaultfd holds back ends with a
 * signal: EINTR when nothing was done, success and the rest of the range otherwise (api.rst, 4.143).
 */
#include "minivmm.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SKIP 77
#define PAGE 4096u
#define HELD 0x100000u /* gpa of the page that is held back */

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
	struct uffd_msg m;
	pthread_t t;

	handled = 0;
	EXPECT(!pthread_create(&t, NULL, call_thread, c), "no thread");
	EXPECT(read(uffd, &m, sizeof(m)) == sizeof(m) && m.event == UFFD_EVENT_PAGEFAULT,
	       "no page fault");
	EXPECT(!pthread_kill(t, SIGUSR1), "pthread_kill");
	pthread_join(t, NULL);
	EXPECT(c->handled == 1, "the handler ran %d times before the call returned", c->handled);
}

int main(void)
{
	int uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	struct uffdio_api api = {.api = UFFD_API};
	struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
	struct uffdio_register reg = {.mode = UFFDIO_REGISTER_MODE_MISSING};
	struct call c = {.range = {.gpa = HELD, .size = PAGE}};
	struct uffdio_zeropage zero;

	if (uffd < 0 || ioctl(uffd, UFFDIO_API, &api)) {
		printf("no userfaultfd here: %s\n", strerror(errno));
		return SKIP;
	}
	minivmm_create(&v);
	sigaction(SIGUSR1, &sa, NULL);
	/* Small pages, so that one of them is held. */
	EXPECT(!madvise(v.mem, v.mem_size, MADV_NOHUGEPAGE), "%s", strerror(errno));
	reg.range = (struct uffdio_range){(uintptr_t)v.mem + HELD, PAGE};
	EXPECT(!ioctl(uffd, UFFDIO_REGISTER, &reg), "UFFDIO_REGISTER: %s", strerror(errno));

	interrupt_call(uffd, &c);
	EXPECT(c.result == -1 && c.error == EINTR, "%d, %s", c.result, strerror(c.error));
	EXPECT(c.range.gpa == HELD && c.range.size == PAGE, "the range has moved");

	c.range = (struct pre_fault){.gpa = HELD - 2 * PAGE, .size = 4 * PAGE};
	interrupt_call(uffd, &c);
	EXPECT(!c.result, "%s", strerror(c.error));
	EXPECT(c.range.gpa == HELD && c.range.size == 2 * PAGE, "%#lx left of it, from %#lx",
	       (long)c.range.size, (long)c.range.gpa);

	zero.range = reg.range;
	zero.mode = 0;
	EXPECT(!ioctl(uffd, UFFDIO_ZEROPAGE, &zero), "UFFDIO_ZEROPAGE: %s", strerror(errno));
	call_thread(&c);
	EXPECT(!c.result && !c.range.size, "%d, %#lx left", c.result, (long)c.range.size);
	return 0;
}
