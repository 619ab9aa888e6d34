/* SPDX-License-Identifier: MIT */
/* cli/doctor_host.c: what this machine has of what userkvm needs or can use. */
#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>
#include "base/pext.h"
#include "cli/cli.h"
#include "cli/doctor.h"

#define OLDEST_KERNEL_MAJOR  5
#define OLDEST_KERNEL_MINOR  14
#define DEFAULT_MAP_COUNT    65530 /* the kernel's own vm.max_map_count */
#define UFFD_USER_MODE_ONLY_ 1	   /* linux/userfaultfd.h, since 5.11 */
#define CODE_BYTES	     (64UL << 20) /* the file of generated code; memory comes with use */
#define OWN_ADDRESS_SPACE    (512UL << 20) /* what a VM takes beside its guest's memory, at most */
#define FEW_DESCRIPTORS	     64

enum verdict check_kernel(char *text, size_t size)
{
	struct utsname u;
	int major = 0, minor = 0;

	uname(&u);
	sscanf(u.release, "%d.%d", &major, &minor);
	if (major > OLDEST_KERNEL_MAJOR ||
	    (major == OLDEST_KERNEL_MAJOR && minor >= OLDEST_KERNEL_MINOR)) {
		snprintf(text, size, "Linux %s", u.release);
		return OK;
	}
	snprintf(text, size, "Linux %s is too old: userkvm needs %d.%d", u.release,
		 OLDEST_KERNEL_MAJOR, OLDEST_KERNEL_MINOR);
	return PROBLEM;
}

/* Appends to a list with commas. */
static void list_add(char *list, size_t size, const char *name)
{
	size_t used = strlen(list);

	snprintf(list + used, size - used, "%s%s", used ? ", " : "", name);
}

/* What guests can have and cannot, beside the SSE2 that every x86-64 has. */
static void list_features(char *has, char *lacks, size_t size)
{
	const struct {
		const char *name;
		bool there;
	} features[] = {
		{"SSE4.2", __builtin_cpu_supports("sse4.2")},
		{"POPCNT", __builtin_cpu_supports("popcnt")},
		{"AES", __builtin_cpu_supports("aes")},
		{"AVX", __builtin_cpu_supports("avx")},
		{"AVX2", __builtin_cpu_supports("avx2")},
		{"FMA", __builtin_cpu_supports("fma")},
		{"BMI2", __builtin_cpu_supports("bmi2")},
		{"AVX-512", __builtin_cpu_supports("avx512f")},
	};

	*has = *lacks = '\0';
	for (size_t i = 0; i < sizeof(features) / sizeof(features[0]); i++)
		list_add(features[i].there ? has : lacks, size, features[i].name);
}

/* `need`: the bits of one register of one CPUID leaf. */
static bool cpuid_has(unsigned leaf, int reg, unsigned need)
{
	unsigned r[4] = {0};

	__get_cpuid_count(leaf, 0, &r[0], &r[1], &r[2], &r[3]);
	return (r[reg] & need) == need;
}

enum { EAX, EBX, ECX, EDX };

enum verdict check_processor(char *text, size_t size)
{
	char has[128], lacks[128];
	bool vmx = cpuid_has(1, ECX, 1u << 5);		/* SDM vol. 2A, CPUID.1:ECX.VMX */
	bool svm = cpuid_has(0x80000001, ECX, 1u << 2); /* APM vol. 3, CPUID Fn8000_0001_ECX */
	bool guest = cpuid_has(1, ECX, 1u << 31);

	list_features(has, lacks, sizeof(has));
	snprintf(text, size,
		 "guests can have %s%s%s%s; hardware virtualization: %s (userkvm uses none)%s",
		 *has ? has : "nothing beyond SSE2", *lacks ? ", but not " : "", lacks,
		 cpuid_has(1, ECX, bit_XSAVE) ? "" : ", nor XSAVE",
		 vmx ? "VMX" : svm ? "SVM" : "none",
		 guest ? "; this machine is a guest itself" : "");
	return OK;
}

/* A guest's time-stamp counter is the host's with an offset. */
enum verdict check_clock(char *text, size_t size)
{
	char source[32] = "unknown";
	FILE *f = fopen("/sys/devices/system/clocksource/clocksource0/current_clocksource", "re");
	bool invariant = cpuid_has(0x80000007, EDX, 1u << 8); /* SDM vol. 3, 18.17.1 */

	if (f) {
		if (fscanf(f, "%31s", source) != 1)
			strcpy(source, "unknown");
		fclose(f);
	}
	if (invariant) {
		snprintf(text, size, "the time-stamp counter runs at one rate; the host's clock: %s",
			 source);
		return OK;
	}
	snprintf(text, size,
		 "the time-stamp counter is not said to run at one rate (the host's clock: %s): "
		 "guests' clocks may be as wrong as it is",
		 source);
	return NOTE;
}

static long read_number(const char *path)
{
	FILE *f = fopen(path, "re");
	long n = -1;

	if (!f)
		return -1;
	if (fscanf(f, "%ld", &n) != 1)
		n = -1;
	fclose(f);
	return n;
}

enum verdict check_memfd(char *text, size_t size)
{
	long policy = read_number("/proc/sys/vm/memfd_noexec");
	int fd = memfd_create("userkvm-doctor", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	bool sealed;

	if (fd < 0) {
		snprintf(text, size, "refused (%s)%s: descriptors of VMs and vCPUs are memfds",
			 strerror(errno), policy == 2 ? ", by vm.memfd_noexec=2" : "");
		return PROBLEM;
	}
	sealed = ftruncate(fd, 4096) == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) == 0;
	close(fd);
	snprintf(text, size, sealed ? "can be made and sealed" : "cannot be sealed: %s",
		 strerror(errno));
	return sealed ? OK : PROBLEM;
}

/* Guests' instructions run from a page that is written through one mapping, executed by
 * another. */
enum verdict check_code(char *text, size_t size)
{
	static const unsigned char ret = 0xc3;
	int fd = memfd_create("userkvm-doctor", MFD_CLOEXEC);
	void *p = MAP_FAILED;

	if (fd >= 0 && write(fd, &ret, 1) == 1)
		p = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED) {
		snprintf(text, size, "memory made at run time cannot be executed here: %s",
			 strerror(errno));
		if (fd >= 0)
			close(fd);
		return PROBLEM;
	}
	((void (*)(void))p)();
	munmap(p, 4096);
	close(fd);
	snprintf(text, size, "may be made at run time");
	return OK;
}

enum verdict check_engine(char *text, size_t size)
{
	if (host_has_fast_pext()) {
		snprintf(text, size, "guest code can be translated");
		return OK;
	}
	snprintf(text, size, "the processor has no BMI2, or a slow PEXT: guest code is interpreted, "
			     "several times slower than translated");
	return NOTE;
}

enum verdict check_below_libc(char *text, size_t size)
{
	bool can = target_below_libc();

	snprintf(text, size, can ? "programs that make system calls themselves can be run"
				 : "this processor or kernel has no FSGSBASE: static, musl and Go programs "
				   "cannot be run");
	return can ? OK : NOTE;
}

/* Also asked for without USER_MODE_ONLY: whether the host kernel's own faults may be handled. */
enum verdict check_userfaultfd(char *text, size_t size)
{
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY_), all;

	if (fd < 0) {
		snprintf(text, size, "%s; VMMs that use it (postcopy migration, snapshots of a "
				     "running guest) will miss it, and guest memory that a VMM unmaps by raw "
				     "system calls is out of reach within 50 ms, not at once",
			 strerror(errno));
		return NOTE;
	}
	close(fd);
	all = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	if (all >= 0)
		close(all);
	snprintf(text, size, all >= 0 ? "there, for VMMs that use it, and to hear of what they unmap"
				      : "for a program's own accesses only; QEMU's postcopy wants "
					"vm.unprivileged_userfaultfd=1 or root");
	return all >= 0 ? OK : NOTE;
}

enum verdict check_map_count(char *text, size_t size)
{
	long n = read_number("/proc/sys/vm/max_map_count");

	snprintf(text, size, "%ld%s", n,
		 n < DEFAULT_MAP_COUNT ? ", less than the usual 65530: guests with much shared "
					 "memory in many pieces may meet it"
				       : "");
	return n < DEFAULT_MAP_COUNT ? NOTE : OK;
}

/* A resource limit that is lower than `wanted`, in MiB or as a number; false when it is not. */
static bool low(int resource, unsigned long wanted, unsigned long *limit)
{
	struct rlimit rl;

	if (getrlimit((__rlimit_resource_t)resource, &rl) || rl.rlim_cur == RLIM_INFINITY)
		return false;
	*limit = rl.rlim_cur;
	return rl.rlim_cur < wanted;
}

enum verdict check_limits(char *text, size_t size)
{
	unsigned long n;

	/* Growing a file beyond it is SIGXFSZ. */
	if (low(RLIMIT_FSIZE, CODE_BYTES, &n)) {
		snprintf(text, size,
			 "files of %lu KiB at most (ulimit -f): generated code needs one of %lu MiB",
			 n >> 10, CODE_BYTES >> 20);
		return PROBLEM;
	}
	if (low(RLIMIT_AS, RLIM_INFINITY, &n)) {
		snprintf(text, size,
			 "%lu MiB of address space (ulimit -v): a VM takes up to %lu MiB, and "
			 "shared guest memory a second time",
			 n >> 20, OWN_ADDRESS_SPACE >> 20);
		return NOTE;
	}
	if (low(RLIMIT_NOFILE, FEW_DESCRIPTORS, &n)) {
		snprintf(text, size, "%lu descriptors (ulimit -n): each VM and vCPU takes some", n);
		return NOTE;
	}
	snprintf(text, size, "none in the way");
	return OK;
}
