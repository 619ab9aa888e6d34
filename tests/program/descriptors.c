/* SPDX-License-Identifier: MIT */
/* A VM uses up none of the program's descriptors, and what the program does with its own is its own. */
#include "../preload/check.h"
#include "../vmm/minivmm.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>

GUEST(writes_port, 16, "mov $0x41, %al\n1: out %al, $0x10\n jmp 1b");
GUEST(writes_once, 16, "mov $0x41, %al\n out %al, $0x10\n out %al, $0x99\n 1: jmp 1b");

static struct minivmm v;
static const int gsi = 4;

static void make(struct guest_code code)
{
	minivmm_create_with_irqchip(&v);
	minivmm_load(&v, MINIVMM_REAL, code);
}

static void limit_numbers(unsigned long n)
{
	struct rlimit l = {n, n};

	CHECK(setrlimit(RLIMIT_NOFILE, &l) == 0);
}

static int ioevent(int fd, unsigned port, unsigned flags)
{
	struct kvm_ioeventfd io = {
		.addr = port, .len = 1, .fd = fd, .flags = KVM_IOEVENTFD_FLAG_PIO | flags};

	return ioctl(v.vm, KVM_IOEVENTFD, &io);
}

static int irqfd(int fd, unsigned flags)
{
	struct kvm_irqfd f = {.fd = (unsigned)fd, .gsi = gsi, .flags = flags};

	return ioctl(v.vm, KVM_IRQFD, &f);
}

/* Until the guest writes to a port that nobody takes. */
static void run_to_exit(void)
{
	int r = minivmm_run(&v);

	if (r != KVM_EXIT_IO || v.run->io.port != 0x99)
		fprintf(stderr, "exit %d, port %#x\n", r, v.run->io.port);
	CHECK(r == KVM_EXIT_IO && v.run->io.port == 0x99);
}

/* With no eventfd at the first port. */
static void run_once(void)
{
	CHECK(minivmm_run(&v) == KVM_EXIT_IO && v.run->io.port == 0x10);
}

static int signalled(int fd)
{
	uint64_t n;

	return read(fd, &n, sizeof(n)) == sizeof(n);
}

/* Is the eventfd taken soon, which is then to raise an interrupt? */
static int taken(int fd)
{
	uint64_t one = 1;
	struct timespec ms = {.tv_nsec = 1000000};

	CHECK(write(fd, &one, sizeof(one)) == sizeof(one));
	for (int i = 0; i < 2000; i++) {
		uint64_t n;

		if (i > 5 && read(fd, &n, sizeof(n)) < 0)
			return 1;
		if (i > 5)
			CHECK(write(fd, &n, sizeof(n)) == sizeof(n));
		nanosleep(&ms, NULL);
	}
	return 0;
}

static void again(void)
{
	minivmm_load(&v, MINIVMM_REAL, writes_once);
}

static void both_work(int event, int irq)
{
	again();
	run_to_exit();
	CHECK(signalled(event));
	CHECK(taken(irq));
}

/* -- numbers of the program's that nobody else writes to */

static void nothing_is_written_to_its_files(int before)
{
	char name[] = "/tmp/userkvm-test-XXXXXX";
	struct stat st;
	int e, f;

	limit_numbers(1024);
	make(writes_once);
	e = eventfd(0, EFD_NONBLOCK);
	CHECK(ioevent(e, 0x10, 0) == 0);
	if (!before)
		run_to_exit();
	f = mkstemp(name);
	unlink(name);
	for (int i = 100; i < 1024; i++)
		CHECK(dup2(f, i) == i);
	again();
	run_to_exit();
	CHECK(fstat(f, &st) == 0 && st.st_size == 0 && signalled(e));
	CHECK(ioevent(e, 0x10, KVM_IOEVENTFD_FLAG_DEASSIGN) == 0);
	for (int i = 100; i < 1024; i++)
		CHECK(fcntl(i, F_GETFD) >= 0);
}

static void dup2_over_all(void)
{
	nothing_is_written_to_its_files(1);
}

static void dup2_over_all_after_a_run(void)
{
	nothing_is_written_to_its_files(0);
}

/* The number of a held eventfd becomes a file's: by calls we see, and by one we do not. */
static void reuse_of_the_number(void)
{
	char name[] = "/tmp/userkvm-test-XXXXXX";
	struct stat st;
	int e, copy, f;

	make(writes_once);
	e = eventfd(0, EFD_NONBLOCK);
	copy = dup(e);
	CHECK(ioevent(e, 0x10, 0) == 0);
	run_to_exit();
	CHECK(signalled(copy));
	f = mkstemp(name);
	unlink(name);
	for (int i = 0; i < 3; i++) {
		if (i == 0)
			CHECK(dup2(f, e) == e);
		if (i == 1)
			CHECK(close(e) == 0 && dup(f) == e);
		if (i == 2) {
			long r;

			asm volatile("syscall" : "=a"(r) : "0"(33L /* dup2 */), "D"((long)f),
				     "S"((long)copy) : "rcx", "r11", "memory");
			CHECK(r == copy);
		}
		again();
		run_to_exit();
		CHECK(fstat(f, &st) == 0 && st.st_size == 0);
		if (i < 2) {
			struct timespec ms = {.tv_nsec = 1000000};
			int n = 0;

			while (!signalled(copy) && n++ < 2000)
				nanosleep(&ms, NULL);
			CHECK(n < 2000);
		}
	}
}

static void closes_what_it_does_not_know(void)
{
	int e, q;

	for (int way = 0; way < 4; way++) {
		pid_t pid = fork();
		int status;

		if (pid == 0) {
			alarm(hang_limit(10));
			limit_numbers(1024);
			make(writes_once);
			if (way & 1)
				run_once();
			e = eventfd(0, EFD_NONBLOCK);
			q = eventfd(0, EFD_NONBLOCK);
			CHECK(ioevent(e, 0x10, 0) == 0 && irqfd(q, 0) == 0);
			if (way & 2) {
				for (int i = q + 1; i < 1024; i++)
					close(i);
			} else {
				CHECK(close_range((unsigned)q + 1, ~0u, 0) == 0);
			}
			both_work(e, q);
			_exit(0);
		}
		CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	}
}

/* KVM holds the eventfd when the program has closed it. */
static void held_when_closed(void)
{
	for (int before = 0; before < 2; before++) {
		int e, q, e2, q2;

		make(writes_once);
		e = eventfd(0, EFD_NONBLOCK);
		q = eventfd(0, EFD_NONBLOCK);
		e2 = dup(e);
		q2 = dup(q);
		CHECK(ioevent(e, 0x10, 0) == 0 && irqfd(q, 0) == 0);
		if (!before)
			run_to_exit();
		close(e);
		close(q);
		both_work(e2, q2);
		/* named by another number, it is the same */
		CHECK(ioevent(e2, 0x10, KVM_IOEVENTFD_FLAG_DEASSIGN) == 0);
		CHECK_ERRNO(irqfd(q2, 0), EBUSY);
		CHECK(irqfd(q2, KVM_IRQFD_FLAG_DEASSIGN) == 0);
		minivmm_destroy(&v);
	}
}

static void what_is_no_eventfd(void)
{
	int fds[2];

	make(writes_once);
	CHECK(pipe(fds) == 0);
	CHECK_ERRNO(ioevent(fds[1], 0x10, 0), EINVAL);
	CHECK_ERRNO(ioevent(v.kvm, 0x10, 0), EINVAL);
	CHECK_ERRNO(ioevent(999, 0x10, 0), EBADF);
	CHECK_ERRNO(irqfd(open("/", O_PATH), 0), EBADF);
	CHECK_ERRNO(irqfd(open("/dev/null", O_RDWR), 0), EINVAL);
}

/* -- numbers that are counted */

static void as_many_as_under_kvm(void)
{
	limit_numbers(1024);
	make(writes_once);
	for (int i = 0; i < 700; i++) {
		int e = eventfd(0, EFD_NONBLOCK);

		CHECK(e >= 0);
		if (i < 500)
			CHECK(ioevent(e, 0x1000 + (unsigned)i, 0) == 0);
		else
			CHECK(irqfd(e, 0) == 0);
	}
	run_once();
}

static void no_room_at_all(void)
{
	int e, q;

	make(writes_once);
	e = eventfd(0, EFD_NONBLOCK);
	q = eventfd(0, EFD_NONBLOCK);
	limit_numbers(16);
	while (dup(e) >= 0)
		;
	CHECK(ioevent(e, 0x10, 0) == 0 && irqfd(q, 0) == 0);
	both_work(e, q);
}

static void without_proc(void)
{
	int e, q;

	make(writes_once);
	e = eventfd(0, EFD_NONBLOCK);
	q = eventfd(0, EFD_NONBLOCK);
	if (chroot("/var/empty") && chroot("/usr/share"))
		_exit(0); /* only root may */
	CHECK(ioevent(e, 0x10, 0) == 0 && irqfd(q, 0) == 0);
	both_work(e, q);
	CHECK(ioevent(e, 0x10, KVM_IOEVENTFD_FLAG_DEASSIGN) == 0);
	CHECK(irqfd(q, KVM_IRQFD_FLAG_DEASSIGN) == 0);
}

/* An interrupt is there as its eventfd is written, with no guest run yet. */
static void irqfd_before_a_run(void)
{
	struct kvm_irqchip chip = {.chip_id = KVM_IRQCHIP_PIC_MASTER};
	uint64_t one = 1;
	int q = eventfd(0, EFD_NONBLOCK);

	make(writes_once);
	CHECK(irqfd(q, 0) == 0);
	CHECK(write(q, &one, sizeof(one)) == sizeof(one) && !signalled(q));
	CHECK(ioctl(v.vm, KVM_GET_IRQCHIP, &chip) == 0);
	CHECK(chip.chip.pic.irr & (1 << gsi));
}

/* A counter that is full is a signal, and whoever adds to it would wait: not the guest. */
static void full_counters(void)
{
	const uint64_t full = UINT64_MAX - 1;
	int off = 0;

	for (int way = 0; way < 4; way++) {
		int e = eventfd(0, way ? EFD_NONBLOCK : 0), copy = dup(e);
		uint64_t n;

		make(writes_once);
		CHECK(ioevent(e, 0x10, 0) == 0);
		run_to_exit();
		CHECK(read(e, &n, sizeof(n)) == sizeof(n) && n == 1);
		CHECK(write(e, &full, sizeof(full)) == sizeof(full));
		if (way == 2)
			CHECK(fcntl(copy, F_SETFL, 0) == 0);
		if (way == 3)
			CHECK(ioctl(copy, FIONBIO, &off) == 0);
		again();
		run_to_exit();
		CHECK(read(e, &n, sizeof(n)) == sizeof(n) && n == full);
	}
}

int main(int argc, char **argv)
{
	static const struct check_case cases[] = {
		{"dup2() over every number", dup2_over_all},
		{"the same after a run", dup2_over_all_after_a_run},
		{"an eventfd's number becomes a file's", reuse_of_the_number},
		{"closing every number it does not know", closes_what_it_does_not_know},
		{"an eventfd is held when the program closed it", held_when_closed},
		{"what is no eventfd is told apart", what_is_no_eventfd},
		{"as many eventfds as the limit has numbers", as_many_as_under_kvm},
		{"no number free", no_room_at_all},
		{"without /proc", without_proc},
		{"counters that are full", full_counters},
		{"an irqfd before a guest has run", irqfd_before_a_run},
	};

	return check_all(cases, sizeof(cases) / sizeof(cases[0]));
}
