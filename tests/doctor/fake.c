/* SPDX-License-Identifier: MIT */
/*
 * A machine for `userkvm doctor` to look at that is unlike this one. Loaded before libc; what is
 * asked for stands in the environment, by name:
 *   FAKE_KVM       what /dev/kvm is: absent, forbidden, old, no-vm, no-run, bad-exit, wrong,
 *                  endless, deadly, slow, fast
 *   FAKE_NO_MEMFD, FAKE_NO_CODE, FAKE_NO_UFFD, FAKE_USER_UFFD, FAKE_OLD_KERNEL, FAKE_FEW_MAPS, FAKE_NO_FSGSBASE
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>
#include "cli/doctor.h"

#define EXPORT	    __attribute__((visibility("default")))
#define NEXT(name)  ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define RUN_SIZE    4096
#define DATA_AT	    2048 /* in struct kvm_run's page: the byte for the port */
#define SLOW_NS	    3000000000ULL
#define BAD_EXIT    KVM_EXIT_INTERNAL_ERROR
#define OLD_VERSION 11

static int device = -1; /* stands for /dev/kvm, the VM and the vCPU alike */
static unsigned runs;
static uint8_t *memory;
static struct kvm_run *page;

static bool asked(const char *name)
{
	return getenv(name) != NULL;
}

static bool kvm_is(const char *what)
{
	const char *is = getenv("FAKE_KVM");

	return is && !strcmp(is, what);
}

static int fail(int error)
{
	errno = error;
	return -1;
}

static int open_device(void)
{
	if (kvm_is("absent"))
		return fail(ENOENT);
	if (kvm_is("forbidden"))
		return fail(EACCES);
	device = (int)syscall(SYS_openat, AT_FDCWD, "/dev/zero", O_RDWR | O_CLOEXEC);
	return device;
}

EXPORT int open64(const char *path, int flags, ...)
{
	mode_t mode;
	va_list ap;

	va_start(ap, flags);
	mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(ap, mode_t) : 0;
	va_end(ap);
	if (!strcmp(path, "/dev/kvm") && asked("FAKE_KVM"))
		return open_device();
	return NEXT(open64)(path, flags, mode);
}

static void burn(uint64_t ns)
{
	struct timespec ts;

	do {
		clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	} while ((uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec < ns);
}

/* The guest's exits: a byte to the port, then a halt with its work done. */
static int run(void)
{
	struct guest_words done = {GUEST_SUM, 2 * GUEST_WORD, 1};

	if (kvm_is("no-run"))
		return fail(EINVAL);
	if (kvm_is("deadly"))
		raise(SIGILL);
	while (kvm_is("endless"))
		pause();
	if (kvm_is("slow") && !runs)
		burn(SLOW_NS);
	if (kvm_is("wrong"))
		done.sum++;
	page->exit_reason = kvm_is("bad-exit") ? BAD_EXIT : runs ? KVM_EXIT_HLT : KVM_EXIT_IO;
	page->io.port = GUEST_PORT;
	page->io.data_offset = DATA_AT;
	memcpy(memory + GUEST_RESULT_AT, &done, sizeof(done));
	runs++;
	return 0;
}

EXPORT int ioctl(int fd, unsigned long request, ...)
{
	void *arg;
	va_list ap;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	if (fd != device || fd < 0)
		return NEXT(ioctl)(fd, request, arg);
	switch (request) {
	case KVM_GET_API_VERSION:
		return kvm_is("old") ? OLD_VERSION : KVM_API_VERSION;
	case KVM_CREATE_VM:
		return kvm_is("no-vm") ? fail(ENOMEM) : device;
	case KVM_CREATE_VCPU:
		return device;
	case KVM_GET_VCPU_MMAP_SIZE:
		return RUN_SIZE;
	case KVM_SET_USER_MEMORY_REGION:
		memory = (uint8_t *)((struct kvm_userspace_memory_region *)arg)->userspace_addr;
		return 0;
	case KVM_RUN:
		return run();
	default:
		return 0;
	}
}

EXPORT void *mmap64(void *addr, size_t size, int prot, int flags, int fd, off64_t off)
{
	if (fd >= 0 && (prot & PROT_EXEC) && asked("FAKE_NO_CODE")) {
		errno = EACCES;
		return MAP_FAILED;
	}
	if (fd < 0 || fd != device)
		return NEXT(mmap64)(addr, size, prot, flags, fd, off);
	page = NEXT(mmap64)(addr, size, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return page;
}

EXPORT int memfd_create(const char *name, unsigned flags)
{
	return asked("FAKE_NO_MEMFD") ? fail(EACCES) : NEXT(memfd_create)(name, flags);
}

EXPORT long syscall(long number, ...)
{
	long a[6];
	va_list ap;

	va_start(ap, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	if (number == SYS_userfaultfd &&
	    (asked("FAKE_NO_UFFD") || (asked("FAKE_USER_UFFD") && !((int)a[0] & 1))))
		return fail(EPERM);
	return NEXT(syscall)(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

EXPORT unsigned long getauxval(unsigned long type)
{
	return type == AT_HWCAP2 && asked("FAKE_NO_FSGSBASE") ? 0 : NEXT(getauxval)(type);
}

EXPORT int uname(struct utsname *u)
{
	int r = NEXT(uname)(u);

	if (asked("FAKE_OLD_KERNEL"))
		strcpy(u->release, "5.10.0-fake");
	return r;
}

EXPORT FILE *fopen64(const char *path, const char *mode)
{
	static char few[] = "1000\n";

	if (!strcmp(path, "/proc/sys/vm/max_map_count") && asked("FAKE_FEW_MAPS"))
		return fmemopen(few, strlen(few), "r");
	return NEXT(fopen64)(path, mode);
}
