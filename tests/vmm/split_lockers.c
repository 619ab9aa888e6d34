/* SPDX-License-Identifier: MIT */
/*
 * tests/vmm/split_lockers.c: vCPUs whose locked instructions cross a line stop each other all the
 * time. All of them get their work done; and while the host holds up the access of one, the others
 * run, and a signal ends their KVM_RUN.
 */
#include "minivmm.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NVCPUS	4
#define LOCKS	2000000u /* each */
#define COUNTER 0x1103eu /* crosses a line */
#define MISSING 0x13000u /* a page that userfaultfd holds back; the locked operand ends in it */
#define COUNTS	0x14000u /* what the other vCPU counts */
#define ENTRY	0x100	 /* of that in the code */
#define LATE	40	 /* seconds: nothing takes nearly as long */
#define SIGNALS 20

GUEST(locks, 64, "1: lock incl 0x1103e\n dec %ecx\n jnz 1b\n hlt");
GUEST(one_lock_or_counts, 64,
      "lock incl 0x12ffe\n hlt\n"
      ".org guest_one_lock_or_counts + 0x100\n"
      "1: incq 0x14000\n jmp 1b");

static struct minivmm vcpu[NVCPUS]; /* the first is the VM's */

static void *run_to_halt(void *arg)
{
	struct minivmm *v = arg;
	int reason = minivmm_run(v);

	EXPECT(reason == KVM_EXIT_HLT, "exit %s (%d)", minivmm_exit_name(reason), reason);
	return NULL;
}

static void all_stop_each_other(void)
{
	pthread_t thread[NVCPUS];
	uint32_t count;

	for (unsigned n = 0; n < NVCPUS; n++) {
		struct kvm_regs regs;

		minivmm_load(&vcpu[n], MINIVMM_LONG, locks);
		minivmm_get_regs(&vcpu[n], &regs);
		regs.rcx = LOCKS;
		minivmm_set_regs(&vcpu[n], &regs);
	}
	for (unsigned n = 0; n < NVCPUS; n++)
		pthread_create(&thread[n], NULL, run_to_halt, &vcpu[n]);
	for (unsigned n = 0; n < NVCPUS; n++)
		pthread_join(thread[n], NULL);
	memcpy(&count, vcpu[0].mem + COUNTER, sizeof(count));
	EXPECT(count == NVCPUS * LOCKS, "%u of %u increments", count, NVCPUS * LOCKS);
}

/* -- an access that the host holds up */

static int hold_back(uint8_t *page)
{
	struct uffdio_api api = {.api = UFFD_API};
	struct uffdio_register r = {.range = {(uintptr_t)page, 0x1000},
				    .mode = UFFDIO_REGISTER_MODE_MISSING};
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);

	EXPECT(fd >= 0 && !ioctl(fd, UFFDIO_API, &api), "userfaultfd: %s", strerror(errno));
	EXPECT(!madvise(page, 0x1000, MADV_DONTNEED), "%s", strerror(errno));
	EXPECT(!ioctl(fd, UFFDIO_REGISTER, &r), "%s", strerror(errno));
	return fd;
}

static void wait_until_asked_for(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	struct uffd_msg msg;

	EXPECT(poll(&p, 1, -1) == 1 && read(fd, &msg, sizeof(msg)) == sizeof(msg), "%s",
	       strerror(errno));
	EXPECT(msg.event == UFFD_EVENT_PAGEFAULT, "event %u", msg.event);
}

static int nreturned; /* how often KVM_RUN of the other vCPU ended by a signal */
static int over;

static void *run_interrupted(void *arg)
{
	struct minivmm *v = arg;

	while (!__atomic_load_n(&over, __ATOMIC_ACQUIRE)) {
		int reason = minivmm_run(v);

		EXPECT(reason == -EINTR, "exit %s (%d)", minivmm_exit_name(reason), reason);
		__atomic_add_fetch(&nreturned, 1, __ATOMIC_RELEASE);
	}
	return NULL;
}

static uint64_t counted(void)
{
	return __atomic_load_n((uint64_t *)(vcpu[0].mem + COUNTS), __ATOMIC_RELAXED);
}

/* It counts on, then a signal ends its run, and so again. */
static void signals_are_heard(pthread_t other)
{
	for (int i = 1; i <= SIGNALS; i++) {
		uint64_t before = counted();

		while (counted() == before)
			sched_yield();
		pthread_kill(other, SIGUSR1);
		while (__atomic_load_n(&nreturned, __ATOMIC_ACQUIRE) < i)
			sched_yield();
	}
}

static void one_is_held_up(void)
{
	struct minivmm *locker = &vcpu[0], *other = &vcpu[1];
	uint8_t *page = locker->mem + MISSING;
	struct uffdio_zeropage zero = {.range = {(uintptr_t)page, 0x1000}};
	pthread_t locking, counting;
	struct kvm_regs regs;
	int fd = hold_back(page);

	minivmm_load(locker, MINIVMM_LONG, one_lock_or_counts);
	minivmm_load(other, MINIVMM_LONG, one_lock_or_counts);
	minivmm_get_regs(other, &regs);
	regs.rip += ENTRY;
	minivmm_set_regs(other, &regs);
	pthread_create(&locking, NULL, run_to_halt, locker);
	wait_until_asked_for(fd);
	pthread_create(&counting, NULL, run_interrupted, other);
	signals_are_heard(counting);
	__atomic_store_n(&over, 1, __ATOMIC_RELEASE);
	other->run->immediate_exit = 1;
	pthread_kill(counting, SIGUSR1);
	pthread_join(counting, NULL);
	EXPECT(!ioctl(fd, UFFDIO_ZEROPAGE, &zero), "%s", strerror(errno));
	close(fd);
	pthread_join(locking, NULL);
}

static void on_signal(int sig) {}

int main(void)
{
	struct sigaction sa = {.sa_handler = on_signal};

	sigaction(SIGUSR1, &sa, NULL);
	alarm(hang_limit(LATE));
	minivmm_create(&vcpu[0]);
	for (unsigned n = 1; n < NVCPUS; n++)
		minivmm_add_vcpu(&vcpu[0], n, &vcpu[n]);
	all_stop_each_other();
	one_is_held_up();
	printf("%u locked instructions, %d signals\n", NVCPUS * LOCKS, SIGNALS);
	return 0;
}
