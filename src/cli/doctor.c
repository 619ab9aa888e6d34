/* SPDX-License-Identifier: MIT */
/* cli/doctor.c: `userkvm doctor`: what this machine offers and what userkvm would do. */
#include <argp.h>
#include <cpuid.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>
#include "cli/cli.h"

#define OLDEST_KERNEL_MAJOR  5
#define OLDEST_KERNEL_MINOR  14
#define DEFAULT_MAP_COUNT    65530 /* the kernel's own vm.max_map_count */
#define UFFD_USER_MODE_ONLY_ 1	   /* linux/userfaultfd.h, since 5.11 */

static const char doc[] = "Say what this machine offers and what userkvm would do.\v"
			  "Lines begin with `ok', with `note' for what is worth knowing, or "
			  "with `PROBLEM' for what "
			  "keeps userkvm from working. Nothing is changed.\n"
			  "\n"
			  "Exit status: 0 if `userkvm run' works here, 1 if not.";

enum verdict { OK, NOTE, PROBLEM };

static bool preloaded(void)
{
	return dlsym(RTLD_DEFAULT, "userkvm_version") != NULL;
}

/* ------------------------------------------------------------------ the checks */

static enum verdict check_kernel(char *text, size_t size)
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

static enum verdict check_processor(char *text, size_t size)
{
	unsigned a, b, c, d, c1 = 0, amd = 0;
	const char *vector = "SSE2";
	bool vmx, svm;

	if (__get_cpuid(1, &a, &b, &c, &d))
		c1 = c;
	if (__get_cpuid(0x80000001, &a, &b, &c, &d))
		amd = c;
	vmx = c1 & (1u << 5);  /* SDM vol. 2A, CPUID.1:ECX.VMX */
	svm = amd & (1u << 2); /* AMD APM vol. 3, CPUID Fn8000_0001_ECX */
	if (__builtin_cpu_supports("avx512f"))
		vector = "AVX-512";
	else if (__builtin_cpu_supports("avx2"))
		vector = "AVX2";
	else if (__builtin_cpu_supports("avx"))
		vector = "AVX";
	snprintf(text, size, "%s for guests; hardware virtualization: %s (userkvm uses none)%s",
		 vector,
		 vmx   ? "VMX"
		 : svm ? "SVM"
		       : "none",
		 c1 & (1u << 31) ? "; this machine is a guest itself" : "");
	return OK;
}

static enum verdict check_device(char *text, size_t size)
{
	int fd, version;

	if (preloaded()) {
		snprintf(text, size, "userkvm's own: this doctor runs under userkvm itself");
		return NOTE;
	}
	fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		snprintf(text, size, "%s; userkvm brings its own",
			 errno == ENOENT ? "the machine has none" : strerror(errno));
		return OK;
	}
	version = ioctl(fd, KVM_GET_API_VERSION, 0);
	close(fd);
	snprintf(text, size,
		 "the machine's own %s; programs under userkvm get userkvm's instead",
		 version == KVM_API_VERSION ? "works and is faster"
					    : "does not answer as KVM does");
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

static enum verdict check_memfd(char *text, size_t size)
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
static enum verdict check_code(char *text, size_t size)
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

static enum verdict check_userfaultfd(char *text, size_t size)
{
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY_);

	if (fd < 0) {
		snprintf(text, size,
			 "%s; only VMMs that use it (postcopy migration) will miss it",
			 strerror(errno));
		return NOTE;
	}
	close(fd);
	snprintf(text, size, "there, for VMMs that use it");
	return OK;
}

static enum verdict check_map_count(char *text, size_t size)
{
	long n = read_number("/proc/sys/vm/max_map_count");

	snprintf(text, size, "%ld%s", n,
		 n < DEFAULT_MAP_COUNT ? ", less than the usual 65530: guests with much shared "
					 "memory in many pieces may meet it"
				       : "");
	return n < DEFAULT_MAP_COUNT ? NOTE : OK;
}

/* ------------------------------------------------------------------ a program under userkvm */

enum probe_status { PROBE_OK = 0, PROBE_NOT_LOADED = 10, PROBE_NO_DEVICE, PROBE_NO_VM };

/* This program once more, with the library: does it get what `run` promises? */
static int probe(void)
{
	int fd, vm;

	if (!preloaded())
		return PROBE_NOT_LOADED;
	fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (fd < 0 || ioctl(fd, KVM_GET_API_VERSION, 0) != KVM_API_VERSION)
		return PROBE_NO_DEVICE;
	vm = ioctl(fd, KVM_CREATE_VM, 0);
	return vm < 0 || ioctl(vm, KVM_CREATE_VCPU, 0) < 0 ? PROBE_NO_VM : PROBE_OK;
}

static int run_probe(const char *library)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		if (library_preload(library) == 0)
			execl("/proc/self/exe", "userkvm", "doctor", "--probe", NULL);
		_exit(PROBE_NOT_LOADED);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static enum verdict check_library(char *text, size_t size)
{
	char library[PATH_MAX];

	if (library_find(library, sizeof(library))) {
		snprintf(text, size,
			 "libuserkvm.so was not found; build or install userkvm again");
		return PROBLEM;
	}
	if (strpbrk(library, " :")) {
		snprintf(text, size,
			 "%s: LD_PRELOAD cannot hold a path with a space or a colon", library);
		return PROBLEM;
	}
	switch (run_probe(library)) {
	case PROBE_OK:
		snprintf(text, size, "%s gives a program /dev/kvm, a VM and a vCPU", library);
		return OK;
	case PROBE_NOT_LOADED:
		snprintf(text, size, "the loader did not load %s through LD_PRELOAD", library);
		return PROBLEM;
	case PROBE_NO_DEVICE:
		snprintf(text, size, "%s is loaded, but does not give /dev/kvm", library);
		return PROBLEM;
	case PROBE_NO_VM:
		snprintf(text, size, "%s gives /dev/kvm, but no VM or no vCPU", library);
		return PROBLEM;
	default:
		snprintf(text, size, "a program with %s did not live", library);
		return PROBLEM;
	}
}

/* ------------------------------------------------------------------ the report */

static const struct check {
	const char *name;
	enum verdict (*run)(char *text, size_t size);
} checks[] = {
	{"kernel", check_kernel},
	{"processor", check_processor},
	{"/dev/kvm", check_device},
	{"memfd", check_memfd},
	{"code", check_code},
	{"userfaultfd", check_userfaultfd},
	{"max_map_count", check_map_count},
	{"library", check_library},
};

static int report(void)
{
	static const char *const label[] = {"ok", "note", "PROBLEM"};
	int problems = 0;

	for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++) {
		char text[PATH_MAX + 256] = "";
		enum verdict v = checks[i].run(text, sizeof(text));

		printf("%-8s %-14s %s\n", label[v], checks[i].name, text);
		problems += v == PROBLEM;
	}
	if (problems)
		printf("\nuserkvm cannot work here: see %s above.\n",
		       problems == 1 ? "the problem" : "the problems");
	else
		printf("\n`userkvm run COMMAND' gives COMMAND, and what it starts, a /dev/kvm "
		       "that "
		       "userkvm carries out.\n");
	return problems ? CLI_PROBLEM : CLI_OK;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	bool *probing = state->input;

	switch (key) {
	case 'P':
		*probing = true;
		return 0;
	case ARGP_KEY_ARG:
		argp_error(state, "doctor takes no arguments");
		return EINVAL;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

int cli_doctor(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{"probe", 'P', NULL, OPTION_HIDDEN, NULL, 0},
		{0},
	};
	static const struct argp argp = {.options = options, .parser = parse, .doc = doc};
	static char name[] = "userkvm doctor";
	bool probing = false;

	argv[0] = name;
	if (argp_parse(&argp, argc, argv, 0, NULL, &probing))
		return CLI_FAILED;
	return probing ? probe() : report();
}
