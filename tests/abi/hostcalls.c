/* SPDX-License-Identifier: MIT */
/* hostcalls.c: the program's frame; see hostcalls.h. */
#include "hostcalls.h"

int sys_fd;

long call(int fd, unsigned long request, const void *arg)
{
	errno = 0;
	return ioctl(fd, request, arg);
}

long call_value(int fd, unsigned long request, unsigned long arg)
{
	errno = 0;
	return ioctl(fd, request, arg);
}

static void vline(const char *result, int err, const char *fmt, va_list ap)
{
	vprintf(fmt, ap);
	printf(" = %s%s%s\n", result, err ? " " : "", err ? strerrorname_np(err) : "");
}

void line(long result, const char *fmt, ...)
{
	int err = result < 0 ? errno : 0;
	char text[32];
	va_list ap;

	snprintf(text, sizeof(text), "%ld", result);
	va_start(ap, fmt);
	vline(text, err, fmt, ap);
	va_end(ap);
}

void line_fd(long result, const char *fmt, ...)
{
	int err = result < 0 ? errno : 0;
	va_list ap;

	va_start(ap, fmt);
	vline(result < 0 ? "-1" : "fd", err, fmt, ap);
	va_end(ap);
	if (result >= 0)
		close((int)result);
}

void out(const char *fmt, ...)
{
	va_list ap;

	fputs("  ", stdout);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
}

/* FNV-1a. */
u32 digest(const void *p, size_t n)
{
	const u8 *b = p;
	u32 h = 2166136261u;

	while (n--)
		h = (h ^ *b++) * 16777619u;
	return h;
}

struct machine machine_new(bool irqchip)
{
	struct machine m = {.vm = ioctl(sys_fd, KVM_CREATE_VM, 0)};
	struct kvm_pit_config pit = {0};

	if (m.vm >= 0 && irqchip &&
	    (ioctl(m.vm, KVM_CREATE_IRQCHIP, 0) || ioctl(m.vm, KVM_CREATE_PIT2, &pit)))
		out("machine: no irqchip");
	m.vcpu = ioctl(m.vm, KVM_CREATE_VCPU, 0);
	m.run = mmap(NULL, RUN_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, m.vcpu, 0);
	if (m.vm < 0 || m.vcpu < 0 || m.run == MAP_FAILED) {
		perror("hostcalls: machine");
		exit(2);
	}
	return m;
}

void machine_free(struct machine *m)
{
	munmap(m->run, RUN_BYTES);
	close(m->vcpu);
	close(m->vm);
}

static const struct {
	const char *name;
	void (*run)(void);
} tests[] = {
	{"open", test_open},
	{"system", test_system},
	{"levels", test_levels},
	{"caps", test_caps},
	{"vm", test_vm},
	{"memory", test_memory},
	{"irq", test_irq},
	{"vcpu", test_vcpu},
	{"cpuid", test_cpuid},
	{"events", test_events},
	{"descriptors", test_descriptors},
	{"lifetimes", test_lifetimes},
	{"gmem", test_gmem},
};

int main(int argc, char **argv)
{
	size_t i;

	setvbuf(stdout, NULL, _IOLBF, 0);
	sys_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (sys_fd < 0 || ioctl(sys_fd, KVM_GET_API_VERSION, 0) != KVM_API_VERSION) {
		fprintf(stderr, "hostcalls: no /dev/kvm\n");
		return 77;
	}
	for (i = 0; i < ARRAY_SIZE(tests); i++)
		if (argc < 2 || !strcmp(argv[1], tests[i].name))
			tests[i].run();
	return 0;
}
