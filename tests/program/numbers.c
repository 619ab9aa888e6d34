/* SPDX-License-Identifier: MIT */
/* The numbers of a program with a VM, at their edges. Each case holds beside a kernel's KVM. */
#include <dirent.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include "beside.h"

/* A daemon that has closed the standard ones has a VM under these. */
static void low_numbers(void)
{
	int kvm, vm, vcpu;
	struct stat st;
	void *run;

	CHECK(close(0) == 0 && close(1) == 0);
	kvm = open("/dev/kvm", O_RDWR);
	vm = ioctl(kvm, KVM_CREATE_VM, 0);
	CHECK(kvm == 0 && vm == 1 && refuses_to_read(kvm) && refuses_to_read(vm));
	CHECK(fstat(vm, &st) == 0 && !(st.st_mode & S_IFMT));
	CHECK(close(2) == 0);
	vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	CHECK(vcpu == 2 && refuses_to_read(vcpu));
	CHECK(fcntl(vcpu, F_GETFL) == O_RDWR);
	run = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	CHECK(run != MAP_FAILED);
	CHECK_ERRNO(mmap(NULL, 4096, PROT_EXEC, MAP_SHARED, vcpu, 0), EPERM);
}

static void high_numbers(void)
{
	const int high = 70000;
	struct rlimit l;
	int fd;

	CHECK(getrlimit(RLIMIT_NOFILE, &l) == 0);
	l.rlim_cur = l.rlim_max;
	if (l.rlim_max <= (rlim_t)high || setrlimit(RLIMIT_NOFILE, &l))
		return;
	make(writes_once);
	CHECK(dup2(v.vm, high) == high && close(v.vm) == 0);
	CHECK(refuses_to_read(high) && ioctl(high, KVM_CHECK_EXTENSION, KVM_CAP_IRQCHIP) == 1);
	CHECK(minivmm_run(&v) == KVM_EXIT_IO);
	fd = fcntl(high, F_DUPFD, high + 10);
	CHECK(fd == high + 10 && close(high) == 0 && refuses_to_read(fd));
	CHECK(close_range((unsigned)high, ~0u, 0) == 0);
	CHECK_ERRNO(ioctl(fd, KVM_CHECK_EXTENSION, KVM_CAP_IRQCHIP), EBADF);
}

/* open(), dup() and their kind give the lowest number, whatever runs beside: after a first run. */
static void lowest_number(void)
{
	pthread_t t[2];
	int lowest;

	start_both(t);
	lowest = dup(0);
	CHECK(lowest >= 0 && close(lowest) == 0);
	for (int i = 0; i < 20000; i++) {
		int fd = i % 2 ? dup(0) : open("/dev/null", O_RDONLY);

		if (fd != lowest)
			fprintf(stderr, "%d instead of %d in round %d\n", fd, lowest, i);
		CHECK(fd == lowest && close(fd) == 0);
	}
	end_both(t);
}

/* What a daemon does that keeps nothing it does not know. */
static void closes_what_is_listed(void)
{
	struct dirent *e;
	pthread_t t[2];
	DIR *d;

	start_both(t);
	for (int round = 0; round < 3; round++) {
		CHECK((d = opendir("/proc/self/fd")));
		while ((e = readdir(d))) {
			int fd = atoi(e->d_name);

			if (fd > 2 && fd != dirfd(d) && fd != v.vm && fd != v.vcpu)
				close(fd);
		}
		closedir(d);
		pause_ms(20);
	}
	end_both(t);
	CHECK(minivmm_run(&v) == KVM_EXIT_IO && refuses_to_read(v.vm));
	CHECK(fcntl(v.kvm, F_GETFD) == -1);
}

static void limit_below_all(void)
{
	struct rlimit l = {3, 3};

	make(writes_once);
	CHECK(setrlimit(RLIMIT_NOFILE, &l) == 0);
	CHECK(minivmm_run(&v) == KVM_EXIT_IO);
	CHECK_ERRNO(ioctl(v.kvm, KVM_CREATE_VM, 0), EMFILE);
	CHECK_ERRNO(ioctl(v.vm, KVM_CREATE_VCPU, 1), EMFILE);
	CHECK_ERRNO(dup(v.vm), EMFILE);
	CHECK(close(v.vm) == 0 && refuses_to_read(v.vcpu));
}

static void by_pidfd(void)
{
	long pidfd, fd;

	make(writes_once);
	pidfd = syscall(SYS_pidfd_open, getpid(), 0);
	fd = syscall(SYS_pidfd_getfd, pidfd, v.vm, 0);
	CHECK(pidfd >= 0 && fd >= 0 && refuses_to_read((int)fd));
	CHECK(close(v.vm) == 0 && ioctl((int)fd, KVM_CHECK_EXTENSION, KVM_CAP_IRQCHIP) == 1);
	CHECK(minivmm_run(&v) == KVM_EXIT_IO);
}

/* A vCPU that was in a socket and nowhere else. */
static void by_socket(void)
{
	char room[CMSG_SPACE(sizeof(int))] = {0}, byte = 0;
	struct iovec io = {&byte, 1};
	struct msghdr m = {.msg_iov = &io, .msg_iovlen = 1, .msg_control = room,
			   .msg_controllen = sizeof(room)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	int pair[2], fd;
	pid_t pid;

	make(writes_once);
	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
	*c = (struct cmsghdr){CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
	memcpy(CMSG_DATA(c), &v.vcpu, sizeof(int));
	CHECK(sendmsg(pair[0], &m, 0) == 1 && close(v.vcpu) == 0);
	CHECK(recvmsg(pair[1], &m, 0) == 1);
	memcpy(&fd, CMSG_DATA(c), sizeof(int));
	CHECK(refuses_to_read(fd));
	v.vcpu = fd;
	CHECK(minivmm_run(&v) == KVM_EXIT_IO);
	pid = fork();
	if (pid == 0)
		_exit(!(ioctl(fd, KVM_RUN, 0) == -1 && errno == EIO));
	CHECK(ended(pid) == 0);
}

static void waited_for(void)
{
	const int set = EPOLLIN | EPOLLOUT;
	struct epoll_event e = {.events = EPOLLIN};
	int fd[3], ep = epoll_create1(0);

	make(writes_once);
	fd[0] = v.kvm, fd[1] = v.vm, fd[2] = v.vcpu;
	for (int i = 0; i < 3; i++) {
		struct pollfd p = {.fd = fd[i], .events = set};
		struct timeval now = {0};
		fd_set one;

		CHECK(poll(&p, 1, 0) == 1 && p.revents == set);
		CHECK_ERRNO(epoll_ctl(ep, EPOLL_CTL_ADD, fd[i], &e), EPERM);
		FD_ZERO(&one);
		FD_SET(fd[i], &one);
		CHECK(select(fd[i] + 1, &one, NULL, NULL, &now) == 1);
	}
}

static void all_closed_before(void)
{
	closefrom(3);
	make(writes_once);
	CHECK(v.kvm == 3 && v.vm == 4);
	CHECK(close_range(3, ~0u, CLOSE_RANGE_CLOEXEC) == 0);
	CHECK(fcntl(v.kvm, F_GETFD) == FD_CLOEXEC && minivmm_run(&v) == KVM_EXIT_IO);
	closefrom(3);
	CHECK_ERRNO(ioctl(v.vm, KVM_CHECK_EXTENSION, KVM_CAP_IRQCHIP), EBADF);
	make(writes_once);
	CHECK(minivmm_run(&v) == KVM_EXIT_IO);
}

int main(void)
{
	static const struct check_case cases[] = {
		{"numbers 0 to 2", low_numbers},
		{"numbers above 65536", high_numbers},
		{"the lowest number, beside a vCPU", lowest_number},
		{"closing what /proc/self/fd lists", closes_what_is_listed},
		{"a limit below all numbers", limit_below_all},
		{"a number by pidfd_getfd()", by_pidfd},
		{"a vCPU over a socket", by_socket},
		{"poll(), select() and epoll", waited_for},
		{"all closed before and after", all_closed_before},
	};

	return check_all(cases, sizeof(cases) / sizeof(cases[0]));
}
