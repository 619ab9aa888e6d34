/* SPDX-License-Identifier: MIT */
/*
 * tests/vmm/file_limit.c: a VMM that may write no large files. The kernel ends who makes a file longer than
 * RLIMIT_FSIZE by SIGXFSZ, and counts memfds: what a descriptor or a guest_memfd is made of is one. The
 * calls that need them say EFBIG, and work again when the limit is lifted.
 */
#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>
#include "gmem.h"
#include "minivmm.h"

#define MIB (1u << 20)

static volatile int killed;

static void on_limit(int sig)
{
	killed++;
}

static void limit(rlim_t bytes)
{
	struct rlimit rl;

	EXPECT(!getrlimit(RLIMIT_FSIZE, &rl), "getrlimit");
	rl.rlim_cur = bytes < rl.rlim_max ? bytes : rl.rlim_max;
	EXPECT(!setrlimit(RLIMIT_FSIZE, &rl), "setrlimit");
}

static void expect_refused(int fd, const char *what)
{
	EXPECT(fd < 0 && errno == EFBIG, "%s: %d, %s", what, fd, strerror(errno));
	EXPECT(!killed, "%s: SIGXFSZ", what);
}

static void expect_made(int fd, const char *what)
{
	EXPECT(fd >= 0, "%s: %s", what, strerror(errno));
	close(fd);
}

int main(void)
{
	struct minivmm v, plain;

	minivmm_create_type(&v, GMEM_PROTECTED);
	minivmm_create(&plain);
	signal(SIGXFSZ, on_limit);
	limit(GMEM_PAGE);
	expect_refused(ioctl(v.vm, KVM_CREATE_VCPU, 1), "KVM_CREATE_VCPU");
	expect_refused(gmem_create(v.vm, MIB, 0), "KVM_CREATE_GUEST_MEMFD");
	expect_refused(gmem_create(plain.vm, MIB, GMEM_MMAP | GMEM_SHARED), "a mappable one");
	expect_refused(gmem_create(plain.vm, MIB, GMEM_MMAP), "a mappable one of private memory");
	limit(RLIM_INFINITY);
	expect_made(ioctl(v.vm, KVM_CREATE_VCPU, 1), "KVM_CREATE_VCPU");
	expect_made(gmem_create(v.vm, MIB, 0), "KVM_CREATE_GUEST_MEMFD");
	expect_made(gmem_create(plain.vm, MIB, GMEM_MMAP | GMEM_SHARED), "a mappable one");
	expect_made(gmem_create(plain.vm, MIB, GMEM_MMAP), "a mappable one of private memory");
	minivmm_destroy(&plain);
	minivmm_destroy(&v);
	return 0;
}
