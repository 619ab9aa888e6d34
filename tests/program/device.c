/* SPDX-License-Identifier: MIT */
/*
 * device [module behind]: /dev/kvm by every way a program can have it, and what its descriptors say
 * of themselves. What is expected was seen on a kernel's device.
 */
#include "../preload/check.h"
#include "../vmm/minivmm.h"
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>

GUEST(writes_once, 16, "out %al, $0x99\n 1: jmp 1b");

static struct minivmm v;
static const char *deep_library, *library_behind;

static void make(void)
{
	minivmm_create_with_irqchip(&v);
	minivmm_load(&v, MINIVMM_REAL, writes_once);
}

static int is_the_device(int fd)
{
	struct stat st, node;
	char byte;

	/* before its first ioctl */
	return fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) && stat("/dev/kvm", &node) == 0 &&
	       st.st_ino == node.st_ino && st.st_dev == node.st_dev && st.st_ino &&
	       read(fd, &byte, 1) == -1 && errno == EINVAL && fcntl(fd, F_GET_SEALS) == -1 &&
	       ioctl(fd, KVM_GET_API_VERSION, 0) == 12;
}

/* -- opened by other names and calls */

static void by_a_link(void)
{
	char dir[] = "/tmp/userkvm-test-XXXXXX", link[64], second[64], *name;
	struct statx x;
	struct stat st, node;
	int fd;
	FILE *f;

	CHECK(mkdtemp(dir));
	snprintf(link, sizeof(link), "%s/device", dir);
	snprintf(second, sizeof(second), "%s/second", dir);
	CHECK(symlink("/dev/kvm", link) == 0 && symlink("device", second) == 0);
	CHECK(stat("/dev/kvm", &node) == 0 && stat(second, &st) == 0);
	CHECK(st.st_ino == node.st_ino && st.st_dev == node.st_dev && st.st_rdev == node.st_rdev);
	CHECK(statx(AT_FDCWD, second, 0, STATX_BASIC_STATS, &x) == 0);
	CHECK(x.stx_ino == node.st_ino && x.stx_mode == node.st_mode);
	CHECK(lstat(second, &st) == 0 && S_ISLNK(st.st_mode));
	CHECK(access(second, R_OK | W_OK) == 0);
	CHECK(faccessat(AT_FDCWD, second, R_OK | W_OK, AT_EACCESS) == 0);
	CHECK_ERRNO(access(second, X_OK), EACCES);
	name = realpath(second, NULL);
	CHECK(name && !strcmp(name, "/dev/kvm"));
	fd = open(second, O_RDWR);
	CHECK(fd >= 0 && is_the_device(fd));
	CHECK((fd = open(second, O_RDWR | O_CREAT, 0600)) >= 0 && is_the_device(fd));
	CHECK_ERRNO(open(second, O_RDWR | O_NOFOLLOW), ELOOP);
	CHECK_ERRNO(open(second, O_RDWR | O_CREAT | O_EXCL, 0600), EEXIST);
	f = fopen(link, "r+");
	CHECK(f && is_the_device(fileno(f)));
	f = freopen(second, "r+", f);
	CHECK(f && is_the_device(fileno(f)));
	CHECK(unlink(link) == 0);
	CHECK_ERRNO(open(second, O_RDWR), ENOENT);
	CHECK(unlink(second) == 0 && rmdir(dir) == 0);
}

static void by_exec(void)
{
	int status, fd;
	pid_t pid;

	make();
	fd = dup(v.kvm); /* without close-on-exec */
	pid = fork();
	if (pid == 0) {
		char number[16];

		snprintf(number, sizeof(number), "%d", fd);
		execl("/proc/self/exe", "device", number, NULL);
		_exit(9);
	}
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}

static void by_freopen(void)
{
	FILE *f = fopen("/dev/zero", "r");
	int n = fileno(f);

	CHECK(freopen("/dev/kvm", "r+", f) == f && fileno(f) == n && is_the_device(n));
	CHECK(fcntl(n, F_GETFD) == 0);
	CHECK(freopen(NULL, "r+", f) == f && is_the_device(fileno(f)));
	CHECK(freopen("/dev/kvm", "re", f) == f && fcntl(fileno(f), F_GETFD) == FD_CLOEXEC);
	CHECK((fcntl(fileno(f), F_GETFL) & O_ACCMODE) == O_RDONLY);
	CHECK(freopen("/dev/null", "w", f) == f && fputs("text", f) >= 0 && fclose(f) == 0);
	/* a VM's descriptor cannot be opened anew, and is closed by the attempt */
	make();
	f = fdopen(dup(v.vm), "r+");
	n = fileno(f);
	errno = 0;
	CHECK(!freopen(NULL, "r+", f) && errno == ENXIO && fcntl(n, F_GETFD) == -1);
	CHECK(ioctl(v.vm, KVM_CHECK_EXTENSION, KVM_CAP_IRQCHIP) == 1);
}

static int in_child(void *arg)
{
	return 3;
}

/* Ways for a call to get round the functions of libc. */
static void by_number(void)
{
	long kvm = syscall(SYS_openat, AT_FDCWD, "/dev/kvm", O_RDWR | O_CLOEXEC), vm, copy;
	struct open_how how = {.flags = O_RDWR | O_CLOEXEC};
	struct iovec io = {&vm, sizeof(vm)};
	char byte, stack[16384];
	struct stat st;

	CHECK(kvm >= 0 && syscall(SYS_ioctl, kvm, KVM_GET_API_VERSION, 0) == 12);
	vm = syscall(SYS_ioctl, kvm, KVM_CREATE_VM, 0);
	CHECK(vm >= 0);
	copy = syscall(SYS_dup, vm);
	CHECK(copy >= 0 && syscall(SYS_close, vm) == 0);
	CHECK(syscall(SYS_ioctl, copy, KVM_CHECK_EXTENSION, KVM_CAP_IRQCHIP) == 1);
	CHECK_ERRNO(syscall(SYS_ioctl, vm, KVM_CHECK_EXTENSION, KVM_CAP_IRQCHIP), EBADF);
	CHECK_ERRNO(syscall(SYS_read, copy, &vm, sizeof(vm)), EINVAL);
	CHECK_ERRNO(syscall(SYS_pread64, copy, &byte, 1L, 0L), ESPIPE);
	CHECK_ERRNO(syscall(SYS_writev, copy, &io, 1L), EINVAL);
	CHECK_ERRNO(syscall(SYS_preadv, copy, &io, 1L, 0L, 0L), ESPIPE);
	CHECK_ERRNO(preadv2((int)copy, &io, 1, -1, 0), EINVAL);
	CHECK_ERRNO(pwritev2((int)copy, &io, 1, -1, 0), EINVAL);
	CHECK(syscall(SYS_fcntl, copy, F_GETFL) == O_RDWR);
	CHECK(syscall(SYS_fstat, kvm, &st) == 0 && S_ISCHR(st.st_mode));
	CHECK(syscall(SYS_newfstatat, AT_FDCWD, "/dev/kvm", &st, 0) == 0 && S_ISCHR(st.st_mode));
	CHECK(syscall(SYS_faccessat, AT_FDCWD, "/dev/kvm", R_OK | W_OK) == 0);
	CHECK_ERRNO(syscall(SYS_mmap, 0L, 4096L, PROT_READ, MAP_SHARED, copy, 0L), ENODEV);
	kvm = syscall(SYS_openat2, AT_FDCWD, "/dev/kvm", &how, sizeof(how));
	CHECK(kvm >= 0 && is_the_device((int)kvm) && fcntl((int)kvm, F_GETFD) == FD_CLOEXEC);
	CHECK_ERRNO(syscall(SYS_openat2, AT_FDCWD, "/dev/kvm", 1L, sizeof(how)), EFAULT);
	CHECK(syscall(SYS_getpid) == getpid());
	CHECK_ERRNO(syscall(100000), ENOSYS);
	CHECK_ERRNO(syscall(-1), ENOSYS);
	CHECK(clone(in_child, stack + sizeof(stack), CLONE_VM | CLONE_VFORK | SIGCHLD, NULL) > 0);
}

static void caught(int sig, siginfo_t *info, void *uc)
{
	_exit(info->si_addr == (void *)0x10 ? 0 : 2);
}

/* A handler that was set by number is beside ours, not in its place. */
static void action_by_number(void)
{
	struct {
		void (*handler)(int, siginfo_t *, void *);
		unsigned long flags;
		void (*restorer)(void);
		unsigned long mask;
	} new = {caught, SA_SIGINFO, NULL, 1}, old;
	struct sigaction seen;

	make();
	CHECK(syscall(SYS_rt_sigaction, SIGSEGV, &new, &old, 8L) == 0);
	CHECK(sigaction(SIGSEGV, NULL, &seen) == 0 && seen.sa_sigaction == caught);
	CHECK(sigismember(&seen.sa_mask, SIGHUP) == 1);
	CHECK(syscall(SYS_rt_sigaction, SIGSEGV, NULL, &old, 8L) == 0);
	CHECK(old.handler == caught && old.mask == 1);
	CHECK_ERRNO(syscall(SYS_rt_sigaction, SIGSEGV, &new, NULL, 4L), EINVAL);
	CHECK_ERRNO(syscall(SYS_rt_sigaction, SIGSEGV, 8L, NULL, 8L), EFAULT);
	CHECK(minivmm_run(&v) == KVM_EXIT_IO); /* accesses of its fault */
	CHECK_ERRNO(ioctl(v.vm, KVM_SET_USER_MEMORY_REGION, 8L), EFAULT);
	asm volatile("movl $1, (%0)" : : "r"(0x10L) : "memory");
}

static void children_by_number(void)
{
	int status;
	long pid;

	make();
	for (int i = 0; i < 2; i++) {
		pid = i ? syscall(SYS_clone, SIGCHLD, 0L, 0L, 0L, 0L) : syscall(SYS_fork);
		if (pid == 0) {
			struct minivmm mine;

			minivmm_create(&mine);
			minivmm_load(&mine, MINIVMM_REAL, writes_once);
			_exit(minivmm_run(&mine) != KVM_EXIT_IO);
		}
		CHECK(pid > 0 && waitpid((pid_t)pid, &status, 0) == pid && status == 0);
	}
	CHECK(minivmm_run(&v) == KVM_EXIT_IO);
}

/* -- functions found by other searches than the first one */

static void by_handle(void)
{
	void *libc = dlopen("libc.so.6", RTLD_NOW);
	int (*io)(int, unsigned long, ...) = dlsym(libc, "ioctl");
	int (*op)(const char *, int, ...) = dlvsym(libc, "open", "GLIBC_2.2.5");
	int (*cl)(int) = dlsym(RTLD_NEXT, "close");
	int fd = op("/dev/kvm", O_RDWR);

	CHECK(fd >= 0 && io(fd, KVM_GET_API_VERSION, 0) == 12);
	CHECK(io == dlsym(RTLD_DEFAULT, "ioctl") && io == dlsym(RTLD_NEXT, "ioctl"));
	CHECK(cl(fd) == 0);
	/* of what we do not stand before, nothing has changed */
	CHECK(dlsym(libc, "getpid") == dlsym(RTLD_DEFAULT, "getpid"));
}

static void by_a_deep_library(void)
{
	void *l = dlopen(deep_library, RTLD_NOW | RTLD_DEEPBIND | RTLD_LOCAL);
	int (*io)(int, unsigned long, long);
	int *fd;

	CHECK(l);
	io = dlsym(l, "deep_ioctl");
	fd = dlsym(l, "deep_fd");
	/* its constructor, before dlopen() had returned */
	CHECK(*fd >= 0 && is_the_device(*fd));
	CHECK(io(*fd, KVM_GET_API_VERSION, 0) == 12);
	CHECK(io(*fd, KVM_CREATE_VM, 0) >= 0);
}

/* Which reaches libc by libc's handle, and not us again. */
static void with_a_library_behind(void)
{
	char list[1024];
	int status;
	pid_t pid;

	snprintf(list, sizeof(list), "%s:%s", getenv("LD_PRELOAD"), library_behind);
	pid = fork();
	if (pid == 0) {
		setenv("LD_PRELOAD", list, 1);
		execl("/proc/self/exe", "device", "behind", NULL);
		_exit(9);
	}
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}

static int behind(void)
{
	int *reads = dlsym(RTLD_DEFAULT, "behind_reads"), zero = open("/dev/zero", O_RDONLY), n;
	char byte = 1;

	if (!reads)
		return 1;
	make();
	n = *reads;
	return read(zero, &byte, 1) != 1 || byte || *reads != n + 1 ||
	       read(v.vm, &byte, 1) != -1 || errno != EINVAL || *reads != n + 1;
}

/* -- what descriptors say of themselves */

#define LARGEFILE 0100000

static void status_flags(void)
{
	static const struct {
		int open, says;
	} device[] = {
		{O_RDWR, O_RDWR | LARGEFILE},
		{O_RDONLY, LARGEFILE},
		{O_WRONLY, O_WRONLY | LARGEFILE},
		{O_ACCMODE, O_ACCMODE | LARGEFILE},
		{O_RDWR | O_NONBLOCK | O_CLOEXEC, O_RDWR | O_NONBLOCK | LARGEFILE},
		{O_RDWR | O_APPEND, O_RDWR | O_APPEND | LARGEFILE},
		{O_RDWR | O_SYNC, O_RDWR | O_SYNC | LARGEFILE},
		{O_RDWR | O_ASYNC, O_RDWR | O_ASYNC | LARGEFILE},
		{O_RDWR | O_NOATIME, O_RDWR | O_NOATIME | LARGEFILE},
		{O_RDWR | O_NOFOLLOW, O_RDWR | O_NOFOLLOW | LARGEFILE},
		{O_RDWR | O_NOCTTY | O_TRUNC | O_CREAT, O_RDWR | LARGEFILE},
		{O_PATH, O_PATH},
	};
	int fd, stats;

	for (size_t i = 0; i < sizeof(device) / sizeof(device[0]); i++) {
		fd = open("/dev/kvm", device[i].open, 0600);
		CHECK(fd >= 0 && fcntl(fd, F_GETFL) == device[i].says);
		CHECK(close(fd) == 0);
	}
	CHECK_ERRNO(open("/dev/kvm", O_RDWR | O_DIRECT), EINVAL);
	make();
	CHECK(fcntl(v.vm, F_GETFL) == O_RDWR && fcntl(v.vcpu, F_GETFL) == O_RDWR);
	stats = ioctl(v.vm, KVM_GET_STATS_FD, 0);
	CHECK(stats >= 0 && fcntl(stats, F_GETFL) == O_RDONLY);
	CHECK(lseek(stats, 5, SEEK_SET) == 0 && lseek(stats, 0, SEEK_END) == 0);
	CHECK(fcntl(v.vm, F_SETFL, O_NONBLOCK) == 0);
	CHECK(fcntl(dup(v.vm), F_GETFL) == (O_RDWR | O_NONBLOCK));
	CHECK(fcntl(v.vm, F_SETFL, 0) == 0 && fcntl(v.vm, F_GETFL) == O_RDWR);
	CHECK_ERRNO(fcntl(v.vm, F_SETLEASE, F_RDLCK), EINVAL);
	CHECK_ERRNO(fcntl(v.vm, F_GET_SEALS), EINVAL);
	CHECK_ERRNO(fchmod(v.vm, 0600), EOPNOTSUPP);
}

static void only_a_path(void)
{
	int fd = open("/dev/kvm", O_PATH | O_CLOEXEC);
	char name[64], byte;
	struct stat st;

	CHECK(fd >= 0 && fstat(fd, &st) == 0 && S_ISCHR(st.st_mode));
	CHECK(fcntl(fd, F_GETFD) == FD_CLOEXEC);
	CHECK_ERRNO(ioctl(fd, KVM_GET_API_VERSION, 0), EBADF);
	CHECK_ERRNO(read(fd, &byte, 1), EBADF);
	CHECK_ERRNO(fcntl(fd, F_SETFL, O_NONBLOCK), EBADF);
	CHECK(mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED && errno == EBADF);
	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	fd = open(name, O_RDWR);
	CHECK(fd >= 0 && is_the_device(fd) && fcntl(fd, F_GETFL) == (O_RDWR | LARGEFILE));
}

static void opened_again(void)
{
	static const int ways[] = {O_RDWR, O_RDONLY, O_RDWR | O_TRUNC, O_RDWR | O_CREAT};
	int of[4], fd, lowest;
	char name[64], text[64];

	make();
	of[0] = v.vm;
	of[1] = v.vcpu;
	of[2] = ioctl(v.vm, KVM_GET_STATS_FD, 0);
	of[3] = ioctl(v.vcpu, KVM_GET_STATS_FD, 0);
	CHECK((lowest = dup(0)) >= 0 && close(lowest) == 0);
	for (int i = 0; i < 4; i++) {
		snprintf(name, sizeof(name), "/proc/self/fd/%d", of[i]);
		for (int k = 0; k < 4; k++)
			CHECK_ERRNO(open(name, ways[k], 0600), ENXIO);
		CHECK(!fopen(name, "r+") && errno == ENXIO);
		CHECK_ERRNO(open(name, O_RDWR | O_DIRECTORY), ENOTDIR);
		fd = open(name, O_PATH);
		CHECK(fd == lowest && fcntl(fd, F_GETFL) == O_PATH);
		CHECK_ERRNO(ioctl(fd, KVM_CHECK_EXTENSION, KVM_CAP_IRQCHIP), EBADF);
		CHECK(close(fd) == 0);
	}
	snprintf(name, sizeof(name), "/dev/fd/%d", v.kvm);
	fd = open(name, O_RDONLY);
	CHECK(fd == lowest && is_the_device(fd) && fcntl(fd, F_GETFL) == LARGEFILE);
	CHECK(close(v.kvm) == 0 && ioctl(fd, KVM_GET_API_VERSION, 0) == 12);
	/* other files without a name are what they were */
	snprintf(name, sizeof(name), "/proc/self/fd/%d", memfd_create("mine", 0));
	fd = open(name, O_RDWR);
	CHECK(fd >= 0 && write(fd, name, 5) == 5);
	snprintf(name, sizeof(name), "/proc/self/fd/%d", v.vcpu);
	memset(text, 0, sizeof(text));
	CHECK(readlink(name, text, sizeof(text)) == 21 && !strcmp(text, "anon_inode:kvm-vcpu:0"));
	CHECK(readlink(name, text, 4) == 4 && !memcmp(text, "anon", 4));
}

/* A call that succeeds leaves errno as it was. */
static void errno_is_left(void)
{
	int copy;

	errno = 77;
	make();
	copy = dup(v.vm);
	CHECK(ioctl(v.vm, KVM_CHECK_EXTENSION, KVM_CAP_IRQCHIP) == 1 && errno == 77);
	CHECK(close(copy) == 0 && errno == 77);
	CHECK(dup2(v.vm, copy) == copy && close_range((unsigned)copy, (unsigned)copy, 0) == 0);
	CHECK(errno == 77);
	CHECK(minivmm_run(&v) == KVM_EXIT_IO && errno == 77);
}

int main(int argc, char **argv)
{
	static const struct check_case cases[] = {
		{"the device by a symbolic link", by_a_link},
		{"the device by exec, before its first ioctl", by_exec},
		{"the device by freopen()", by_freopen},
		{"calls by number, through syscall()", by_number},
		{"a handler by number", action_by_number},
		{"children by number", children_by_number},
		{"functions by libc's handle", by_handle},
		{"functions from a library with RTLD_DEEPBIND", by_a_deep_library},
		{"a library preloaded behind ours", with_a_library_behind},
		{"status flags", status_flags},
		{"a descriptor that is only a path", only_a_path},
		{"descriptors opened again by their link in /proc", opened_again},
		{"errno after calls that succeed", errno_is_left},
	};

	if (argc == 2 && !strcmp(argv[1], "behind"))
		return behind();
	if (argc == 2)
		return !is_the_device(atoi(argv[1]));
	EXPECT(argc == 3, "device MODULE BEHIND");
	deep_library = argv[1];
	library_behind = argv[2];
	return check_all(cases, sizeof(cases) / sizeof(cases[0]));
}
