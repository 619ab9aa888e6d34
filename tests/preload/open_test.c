/* SPDX-License-Identifier: MIT */
/* The names under which /dev/kvm is opened and looked at, on a machine with or without one. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include "check.h"
#include "fake.h"

int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int dirfd, const char *path, int flags);
int __openat64_2(int dirfd, const char *path, int flags);
int __xstat(int version, const char *path, struct stat *st);
int __fxstat64(int version, int fd, struct stat64 *st);
int euidaccess(const char *path, int mode);

static int is_kvm(int fd)
{
	return fd >= 0 && ioctl(fd, FAKE_API_VERSION, 0) == 12 && close(fd) == 0;
}

static void every_open(void)
{
	CHECK(is_kvm(open("/dev/kvm", O_RDWR)));
	CHECK(is_kvm(open64("/dev/kvm", O_RDWR)));
	CHECK(is_kvm(openat(AT_FDCWD, "/dev/kvm", O_RDWR | O_CLOEXEC)));
	CHECK(is_kvm(openat64(99, "/dev/kvm", O_RDWR)));
	CHECK(is_kvm(__open_2("/dev/kvm", O_RDWR)));
	CHECK(is_kvm(__open64_2("/dev/kvm", O_RDWR)));
	CHECK(is_kvm(__openat_2(AT_FDCWD, "/dev/kvm", O_RDWR)));
	CHECK(is_kvm(__openat64_2(AT_FDCWD, "/dev/kvm", O_RDWR)));
	CHECK(is_kvm(creat("/dev/kvm", 0600)));
	CHECK_ERRNO(open("/dev/kvm", O_RDWR | O_CREAT | O_EXCL, 0600), EEXIST);
	CHECK_ERRNO(open("/dev/kvm", O_RDONLY | O_DIRECTORY), ENOTDIR);
}

static void stream(void)
{
	FILE *f = fopen("/dev/kvm", "r+e");
	struct fake_record r;
	int other = open("/dev/kvm", O_RDWR);

	CHECK(f);
	CHECK(ioctl(fileno(f), FAKE_API_VERSION, 0) == 12);
	CHECK(ioctl(other, FAKE_RECORD, &r) == 0);
	CHECK(fclose(f) == 0);
	CHECK(ioctl(other, FAKE_RECORD, &r) == 0);
	CHECK(r.closed == 1 && r.after_close == 1);
}

static void other_spellings(void)
{
	char dir[] = "/tmp/userkvm-open-XXXXXX", link[64];
	int fd;

	CHECK(is_kvm(open("/dev/./kvm", O_RDWR)));
	CHECK(is_kvm(open("//dev//kvm", O_RDWR)));
	fd = open("/dev", O_RDONLY | O_DIRECTORY);
	CHECK(is_kvm(openat(fd, "kvm", O_RDWR)));
	CHECK(is_kvm(openat(fd, "../dev/kvm", O_RDWR)));
	CHECK(mkdtemp(dir));
	snprintf(link, sizeof(link), "%s/d", dir);
	CHECK(symlink("/dev", link) == 0);
	strcat(link, "/kvm");
	CHECK(is_kvm(open(link, O_RDWR)));
	link[strlen(link) - 4] = '\0';
	CHECK(unlink(link) == 0 && rmdir(dir) == 0);
	CHECK(chdir("/dev") == 0);
	CHECK(is_kvm(open("kvm", O_RDWR)));
	CHECK(is_kvm(open("./kvm", O_RDWR)));
}

static void others_are_left_alone(void)
{
	char dir[] = "/tmp/userkvm-open-XXXXXX";
	char *end;
	int fd;

	CHECK(mkdtemp(dir) && chdir(dir) == 0);
	CHECK_ERRNO(open("kvm", O_RDWR), ENOENT);
	fd = open("kvm", O_RDWR | O_CREAT, 0640);
	CHECK(fd >= 0 && write(fd, "x", 1) == 1);
	CHECK_ERRNO(ioctl(fd, FAKE_API_VERSION, 0), ENOTTY);
	CHECK(unlink("kvm") == 0 && rmdir(dir) == 0);
	CHECK(open("/dev/kvm/", O_RDWR) < 0 && (errno == ENOTDIR || errno == ENOENT));
	CHECK_ERRNO(open("", O_RDWR), ENOENT);
	CHECK_ERRNO(open((char *)1, O_RDWR), EFAULT);
	CHECK_ERRNO(open((char *)-4096, O_RDWR), EFAULT);
	CHECK_ERRNO(access((char *)16, R_OK), EFAULT);
	/* a path that ends where readable memory ends */
	end = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(mprotect(end + 4096, 4096, PROT_NONE) == 0);
	strcpy(end + 4096 - 9, "/dev/kvm");
	CHECK(is_kvm(open(end + 4096 - 9, O_RDWR)));
	memset(end, '/', 4096);
	CHECK_ERRNO(open(end + 1000, O_RDWR), EFAULT);
}

static int is_device(const struct stat *st)
{
	return S_ISCHR(st->st_mode) && (st->st_mode & 0777) == 0666 &&
	       st->st_rdev == makedev(10, 232);
}

static void every_stat(void)
{
	int fd = open("/dev/kvm", O_RDWR), dir = open("/dev", O_RDONLY);
	struct stat st;
	struct statx x;

	CHECK(stat("/dev/kvm", &st) == 0 && is_device(&st));
	CHECK(lstat("/dev/kvm", &st) == 0 && is_device(&st));
	CHECK(fstat(fd, &st) == 0 && is_device(&st));
	CHECK(fstatat(dir, "kvm", &st, 0) == 0 && is_device(&st));
	CHECK(fstatat(fd, "", &st, AT_EMPTY_PATH) == 0 && is_device(&st));
	CHECK(stat64("/dev/kvm", (struct stat64 *)&st) == 0 && is_device(&st));
	CHECK(fstat64(fd, (struct stat64 *)&st) == 0 && is_device(&st));
	CHECK(__xstat(1, "/dev/kvm", &st) == 0 && is_device(&st));
	CHECK(__fxstat64(1, fd, (struct stat64 *)&st) == 0 && is_device(&st));
	CHECK_ERRNO(__xstat(7, "/dev/kvm", &st), EINVAL);
	CHECK(statx(AT_FDCWD, "/dev/kvm", 0, STATX_BASIC_STATS, &x) == 0);
	CHECK(S_ISCHR(x.stx_mode) && x.stx_rdev_major == 10 && x.stx_rdev_minor == 232);
	CHECK(statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &x) == 0 && S_ISCHR(x.stx_mode));
	CHECK(stat("/dev/null", &st) == 0 && st.st_rdev == makedev(1, 3));
	CHECK(fstat(dir, &st) == 0 && S_ISDIR(st.st_mode));
}

static void every_access(void)
{
	char buf[PATH_MAX];
	int dir = open("/dev", O_RDONLY);

	CHECK(access("/dev/kvm", F_OK) == 0);
	CHECK(access("/dev/kvm", R_OK | W_OK) == 0);
	CHECK_ERRNO(access("/dev/kvm", X_OK), EACCES);
	CHECK_ERRNO(access("/dev/kvm", 8), EINVAL);
	CHECK(faccessat(dir, "kvm", R_OK | W_OK, AT_EACCESS) == 0);
	CHECK(euidaccess("/dev/kvm", W_OK) == 0);
	CHECK(eaccess("/dev/kvm", W_OK) == 0);
	CHECK_ERRNO(readlink("/dev/kvm", buf, sizeof(buf)), EINVAL);
	CHECK_ERRNO(readlinkat(dir, "kvm", buf, sizeof(buf)), EINVAL);
	CHECK(realpath("/dev/../dev/kvm", buf) && !strcmp(buf, "/dev/kvm"));
	CHECK(access("/", X_OK) == 0);
}

static void duplicates(void)
{
	int fd = open("/dev/kvm", O_RDWR), a, b;
	struct fake_record r;

	CHECK(ioctl(fd, FAKE_RECORD, &r) == 0);
	a = dup(fd);
	CHECK(is_kvm(a));
	CHECK(is_kvm(fcntl(fd, F_DUPFD_CLOEXEC, 100)));
	b = open("/dev/null", O_RDWR);
	CHECK(dup2(fd, b) == b);
	CHECK(dup2(b, b) == b);
	CHECK(is_kvm(b));
	CHECK(dup3(fd, 200, O_CLOEXEC) == 200 && is_kvm(200));
	CHECK(ioctl(fd, FAKE_RECORD, &r) == 0);
	CHECK(r.duplicated == 4 && r.closed == 4);
	a = dup(fd);
	CHECK(dup2(1, a) == a);
	CHECK(ioctl(fd, FAKE_RECORD, &r) == 0);
	CHECK(r.closed == 1 && r.after_close == 1);
	a = dup(fd);
	CHECK(close_range((unsigned)a, (unsigned)a, 0) == 0);
	CHECK(ioctl(fd, FAKE_RECORD, &r) == 0);
	CHECK(r.after_close == 1);
	CHECK_ERRNO(close(a), EBADF);
	CHECK_ERRNO(dup(a), EBADF);
	CHECK_ERRNO(fcntl(fd, F_GET_SEALS), EINVAL);
	/* what fails closes nothing */
	CHECK_ERRNO(dup2(999, fd), EBADF);
	CHECK_ERRNO(dup3(1, fd, ~0), EINVAL);
	CHECK_ERRNO(read(fd, &r, 1), EINVAL);
}

static void sent(void)
{
	union {
		struct cmsghdr h;
		char room[CMSG_SPACE(2 * sizeof(int))];
	} control;
	int fd = open("/dev/kvm", O_RDWR), pair[2], fds[2] = {1, fd};
	char c = 0;
	struct iovec v = {&c, 1};
	struct msghdr m = {.msg_iov = &v,
			   .msg_iovlen = 1,
			   .msg_control = &control,
			   .msg_controllen = sizeof(control)};
	struct fake_record r;

	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
	CHECK(ioctl(fd, FAKE_RECORD, &r) == 0);
	control.h.cmsg_len = CMSG_LEN(sizeof(fds));
	control.h.cmsg_level = SOL_SOCKET;
	control.h.cmsg_type = SCM_RIGHTS;
	memcpy(CMSG_DATA(&control.h), fds, sizeof(fds));
	CHECK(sendmsg(pair[0], &m, 0) == 1);
	CHECK(ioctl(fd, FAKE_RECORD, &r) == 0 && r.sent == 1);
	CHECK(recvmsg(pair[1], &m, 0) == 1);
	memcpy(fds, CMSG_DATA(&control.h), sizeof(fds));
	CHECK(is_kvm(fds[1]));
}

static void refused(void)
{
	int fd = open("/dev/kvm", O_RDWR), again = dup(fd);
	char c = 0;
	struct iovec v = {&c, 1};

	CHECK_ERRNO(read(again, &c, 1), EINVAL);
	CHECK_ERRNO(write(fd, &c, 1), EINVAL);
	CHECK_ERRNO(pread(fd, &c, 1, 0), EINVAL);
	CHECK_ERRNO(pwrite(fd, &c, 1, 0), EINVAL);
	CHECK_ERRNO(readv(fd, &v, 1), EINVAL);
	CHECK_ERRNO(writev(fd, &v, 1), EINVAL);
	CHECK_ERRNO(lseek(fd, 0, SEEK_SET), EINVAL);
	CHECK_ERRNO(ftruncate(fd, 4096), EINVAL);
	CHECK_ERRNO(fallocate(fd, 0, 0, 4096), ENODEV);
	CHECK(posix_fallocate(fd, 0, 4096) == ENODEV);
	CHECK_ERRNO(mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0), ENODEV);
	CHECK_ERRNO(ioctl(fd, _IO('x', 1), 0), ENOTTY);
}

int main(void)
{
	static const struct check_case cases[] = {
		{"every way to open", every_open},
		{"a stdio stream", stream},
		{"other spellings of the path", other_spellings},
		{"other paths are left alone", others_are_left_alone},
		{"every way to stat", every_stat},
		{"access and names", every_access},
		{"duplicates and closes are told", duplicates},
		{"descriptors sent over a socket", sent},
		{"what a KVM descriptor refuses", refused},
	};

	return check_all(cases, sizeof(cases) / sizeof(cases[0]));
}
