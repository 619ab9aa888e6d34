/* SPDX-License-Identifier: MIT */
/* Changes of the VMM's mappings and files reach primary/linux, before and after. */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include "check.h"
#include "fake.h"

#define PAGE	 4096
#define USER_END (1ull << 47)

static int kvm;

static void expect(int kind, const void *start, uint64_t len)
{
	struct fake_record r;

	CHECK(ioctl(kvm, FAKE_RECORD, &r) == 0);
	if (r.begun != 1 || r.kind != kind || r.start != (uint64_t)start || r.len != len)
		fprintf(stderr, "begun %d kind %d start %#lx len %#lx\n", r.begun, r.kind,
			(long)r.start, (long)r.len);
	CHECK(r.begun == 1 && r.ended == 1);
	CHECK(r.kind == kind && r.start == (uint64_t)start && r.len == len);
}

static void expect_nothing(void)
{
	struct fake_record r;

	CHECK(ioctl(kvm, FAKE_RECORD, &r) == 0);
	CHECK(r.begun == 0);
}

static char *map_pages(size_t n)
{
	char *p = mmap(NULL, n * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		       0);

	CHECK(p != MAP_FAILED);
	return p;
}

static void start(void)
{
	kvm = open("/dev/kvm", O_RDWR);
	CHECK(kvm >= 0);
	expect_nothing();
}

static void mappings(void)
{
	char *p, *q;

	p = map_pages(8);
	start();
	expect_nothing();
	CHECK(mmap(p, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == p);
	expect(FAKE_UNMAP, p, PAGE);
	CHECK(mprotect(p, 2 * PAGE, PROT_READ) == 0);
	expect(FAKE_PROTECT, p, 2 * PAGE);
	CHECK_ERRNO(mprotect(p + 1, PAGE, PROT_READ), EINVAL);
	expect(FAKE_PROTECT, p + 1, PAGE);
	CHECK(munmap(p, PAGE - 1) == 0);
	expect(FAKE_UNMAP, p, PAGE);
	q = mremap(p + PAGE, PAGE, 2 * PAGE, MREMAP_MAYMOVE);
	CHECK(q != MAP_FAILED);
	expect(FAKE_UNMAP, p + PAGE, PAGE);
	CHECK_ERRNO(munmap(p + 1, PAGE), EINVAL);
}

static void contents(void)
{
	char *p = map_pages(4);
	struct iovec v[2] = {{p, PAGE}, {p + 2 * PAGE, PAGE}};

	memset(p, 1, 4 * PAGE);
	start();
	CHECK(madvise(p, PAGE, MADV_DONTNEED) == 0);
	expect(FAKE_CONTENT, p, PAGE);
	CHECK(p[0] == 0 && p[PAGE] == 1);
	CHECK(madvise(p, PAGE, MADV_WILLNEED) == 0);
	expect_nothing();
	process_madvise(-1, v, 2, MADV_DONTNEED, 0);
	expect(FAKE_CONTENT, p, 3 * PAGE);
	CHECK_ERRNO(process_madvise(-1, (void *)8, 2, MADV_DONTNEED, 0), EFAULT);
}

static void heap(void)
{
	char *at;

	start();
	CHECK(sbrk(4 * PAGE) != (void *)-1);
	at = sbrk(0);
	expect_nothing();
	CHECK(sbrk(-PAGE) == at);
	expect(FAKE_UNMAP, (void *)(((uint64_t)at - PAGE) & ~4095ull),
	       PAGE + ((uint64_t)at & 4095));
	CHECK(brk(at - 2 * PAGE) == 0);
	expect(FAKE_UNMAP, (void *)(((uint64_t)at - 2 * PAGE) & ~4095ull),
	       PAGE + ((uint64_t)at & 4095));
}

static void files(void)
{
	char name[] = "/tmp/userkvm-files-XXXXXX";
	int fd = mkstemp(name);

	CHECK(ftruncate(fd, 8 * PAGE) == 0);
	start();
	CHECK(ftruncate(fd, PAGE) == 0);
	expect(FAKE_FILE, (void *)PAGE, INT64_MAX - PAGE);
	CHECK(truncate(name, 3 * PAGE) == 0);
	expect(FAKE_FILE, (void *)(3 * PAGE), INT64_MAX - 3 * PAGE);
	fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, PAGE, PAGE);
	expect(FAKE_FILE, (void *)PAGE, PAGE);
	CHECK(posix_fallocate(fd, 0, PAGE) == 0);
	expect_nothing();
	CHECK(close(open(name, O_RDWR | O_TRUNC)) == 0);
	expect(FAKE_FILE, NULL, INT64_MAX);
	CHECK_ERRNO(truncate("/dev/kvm", 0), EINVAL);
	CHECK(unlink(name) == 0);
}

static void userfault(void)
{
	struct uffdio_api api = {.api = UFFD_API};
	struct uffdio_register reg = {.mode = UFFDIO_REGISTER_MODE_MISSING};
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	char *p;

	if (fd < 0) {
		printf("       no userfaultfd here: its calls were not tried\n");
		return;
	}
	p = map_pages(4);
	start();
	CHECK(ioctl(fd, UFFDIO_API, &api) == 0);
	expect_nothing();
	reg.range.start = (uint64_t)p;
	reg.range.len = 2 * PAGE;
	CHECK(ioctl(fd, UFFDIO_REGISTER, &reg) == 0);
	expect(FAKE_UFFD, p, 2 * PAGE);
	CHECK(ioctl(fd, UFFDIO_UNREGISTER, &reg.range) == 0);
	expect(FAKE_UFFD_GONE, p, 2 * PAGE);
	CHECK_ERRNO(ioctl(fd, UFFDIO_REGISTER, (void *)8), EFAULT);
}

/* The kernel's struct uffdio_move; its header may be older. */
struct move {
	uint64_t dst, src, len, mode;
	int64_t moved;
};
#define MOVE _IOWR(UFFDIO, 0x05, struct move)

static void moves(void)
{
	struct uffdio_api api = {.api = UFFD_API};
	struct uffdio_register reg = {.mode = UFFDIO_REGISTER_MODE_MISSING};
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	struct move m = {.len = PAGE};
	char *p;

	if (fd < 0 || ioctl(fd, UFFDIO_API, &api)) {
		printf("       no userfaultfd here: its calls were not tried\n");
		return;
	}
	p = map_pages(4);
	memset(p, 7, PAGE);
	CHECK(madvise(p + 2 * PAGE, PAGE, MADV_DONTNEED) == 0);
	reg.range.start = (uint64_t)p + 2 * PAGE;
	reg.range.len = PAGE;
	CHECK(ioctl(fd, UFFDIO_REGISTER, &reg) == 0);
	start();
	m.src = (uint64_t)p;
	m.dst = (uint64_t)p + 2 * PAGE;
	if (ioctl(fd, MOVE, &m) == 0)
		CHECK(m.moved == PAGE && p[2 * PAGE] == 7 && p[0] == 0);
	/* What the kernel says to it, older ones know it not, is told after. */
	expect(FAKE_CONTENT, p, PAGE);
	CHECK_ERRNO(ioctl(fd, MOVE, (void *)8), EFAULT);
}

static void segments(void)
{
	int id = shmget(IPC_PRIVATE, 3 * PAGE - 1, 0600 | IPC_CREAT);
	char *p, *q = map_pages(4);

	CHECK(id >= 0);
	p = shmat(id, NULL, 0);
	CHECK(p != (void *)-1);
	CHECK(shmctl(id, IPC_RMID, NULL) == 0);
	start();
	/* What it might take away cannot always be known: then it is all from there on. */
	CHECK_ERRNO(shmdt(p + PAGE), EINVAL);
	expect(FAKE_PROTECT, p + PAGE, USER_END - (uint64_t)(p + PAGE));
	/* Over what is there only when that is asked for. */
	CHECK(shmat(id, q, 0) == (void *)-1);
	expect_nothing();
	CHECK(shmat(id, q + 5, SHM_REMAP | SHM_RND) == q);
	expect(FAKE_UNMAP, q, 3 * PAGE);
	CHECK(mprotect(p + PAGE, PAGE, PROT_READ) == 0);
	expect(FAKE_PROTECT, p + PAGE, PAGE);
	/* In three mappings now. */
	CHECK(shmdt(p) == 0);
	expect(FAKE_PROTECT, p, 3 * PAGE);
	CHECK_ERRNO(shmdt(p), EINVAL);
	expect(FAKE_PROTECT, p, USER_END - (uint64_t)p);
	CHECK(shmdt(q) == 0);
	expect(FAKE_PROTECT, q, 3 * PAGE);
}

static void forks(void)
{
	struct fake_record r;
	int status;
	pid_t pid;

	start();
	pid = fork();
	if (pid == 0) {
		CHECK(ioctl(kvm, FAKE_RECORD, &r) == 0);
		CHECK(r.fork_begun == 1 && r.fork_child == 1 && r.forked_child == 1);
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	CHECK(ioctl(kvm, FAKE_RECORD, &r) == 0);
	CHECK(r.fork_begun == 1 && r.fork_parent == 1 && r.fork_child == 0);
}

int main(void)
{
	static const struct check_case cases[] = {
		{"mmap, munmap, mremap, mprotect", mappings},
		{"madvise", contents},
		{"brk and sbrk", heap},
		{"truncation and punching of files", files},
		{"userfaultfd registration", userfault},
		{"pages moved by userfaultfd", moves},
		{"System V shared memory", segments},
		{"fork", forks},
	};

	return check_all(cases, sizeof(cases) / sizeof(cases[0]));
}
