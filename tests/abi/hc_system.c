/* SPDX-License-Identifier: MIT */
/* hc_system.c: /dev/kvm itself, and every request on every kind of descriptor. */
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include "hostcalls.h"

/*
 * Calls of old kernels and of other machines. Newer headers have dropped the first, and the
 * structure of the second, of which only the size counts here.
 */
#define OLD_SET_MEMORY_REGION _IOC(_IOC_WRITE, KVMIO, 0x40, 24)
#define S390_UCAS_MAP	      _IOC(_IOC_WRITE, KVMIO, 0x50, 24)

#define REQUEST(r)                                                                             \
	{                                                                                      \
		r, #r                                                                          \
	}
static const struct {
	unsigned long request;
	const char *name;
} requests[] = {
	REQUEST(KVM_GET_API_VERSION),
	REQUEST(KVM_CREATE_VM),
	REQUEST(KVM_CHECK_EXTENSION),
	REQUEST(KVM_GET_VCPU_MMAP_SIZE),
	REQUEST(KVM_GET_SUPPORTED_CPUID),
	REQUEST(KVM_GET_EMULATED_CPUID),
	REQUEST(KVM_GET_MSR_INDEX_LIST),
	REQUEST(KVM_GET_MSR_FEATURE_INDEX_LIST),
	REQUEST(KVM_X86_GET_MCE_CAP_SUPPORTED),
	REQUEST(KVM_GET_DEVICE_ATTR),
	REQUEST(KVM_SET_DEVICE_ATTR),
	REQUEST(KVM_HAS_DEVICE_ATTR),
	REQUEST(KVM_ENABLE_CAP),
	REQUEST(KVM_SET_USER_MEMORY_REGION),
	REQUEST(KVM_GET_DIRTY_LOG),
	REQUEST(KVM_CLEAR_DIRTY_LOG),
	REQUEST(KVM_SET_TSS_ADDR),
	REQUEST(KVM_SET_IDENTITY_MAP_ADDR),
	REQUEST(KVM_CREATE_IRQCHIP),
	REQUEST(KVM_GET_IRQCHIP),
	REQUEST(KVM_SET_IRQCHIP),
	REQUEST(KVM_CREATE_PIT),
	REQUEST(KVM_CREATE_PIT2),
	REQUEST(KVM_GET_PIT),
	REQUEST(KVM_SET_PIT),
	REQUEST(KVM_GET_PIT2),
	REQUEST(KVM_SET_PIT2),
	REQUEST(KVM_REINJECT_CONTROL),
	REQUEST(KVM_IRQ_LINE),
	REQUEST(KVM_IRQ_LINE_STATUS),
	REQUEST(KVM_SIGNAL_MSI),
	REQUEST(KVM_SET_GSI_ROUTING),
	REQUEST(KVM_IRQFD),
	REQUEST(KVM_IOEVENTFD),
	REQUEST(KVM_REGISTER_COALESCED_MMIO),
	REQUEST(KVM_UNREGISTER_COALESCED_MMIO),
	REQUEST(KVM_SET_BOOT_CPU_ID),
	REQUEST(KVM_GET_CLOCK),
	REQUEST(KVM_SET_CLOCK),
	REQUEST(KVM_X86_SET_MSR_FILTER),
	REQUEST(KVM_CREATE_DEVICE),
	REQUEST(KVM_SET_NR_MMU_PAGES),
	{OLD_SET_MEMORY_REGION, "KVM_SET_MEMORY_REGION"},
	REQUEST(KVM_RESET_DIRTY_RINGS),
	REQUEST(KVM_XEN_HVM_CONFIG),
	REQUEST(KVM_XEN_HVM_GET_ATTR),
	REQUEST(KVM_XEN_HVM_SET_ATTR),
	REQUEST(KVM_HYPERV_EVENTFD),
	REQUEST(KVM_MEMORY_ENCRYPT_OP),
	REQUEST(KVM_MEMORY_ENCRYPT_REG_REGION),
	REQUEST(KVM_MEMORY_ENCRYPT_UNREG_REGION),
	REQUEST(KVM_RUN),
	REQUEST(KVM_GET_REGS),
	REQUEST(KVM_SET_REGS),
	REQUEST(KVM_GET_SREGS),
	REQUEST(KVM_SET_SREGS),
	REQUEST(KVM_GET_SREGS2),
	REQUEST(KVM_SET_SREGS2),
	REQUEST(KVM_GET_FPU),
	REQUEST(KVM_SET_FPU),
	REQUEST(KVM_GET_XSAVE),
	REQUEST(KVM_GET_XSAVE2),
	REQUEST(KVM_SET_XSAVE),
	REQUEST(KVM_GET_XCRS),
	REQUEST(KVM_SET_XCRS),
	REQUEST(KVM_GET_DEBUGREGS),
	REQUEST(KVM_SET_DEBUGREGS),
	REQUEST(KVM_GET_VCPU_EVENTS),
	REQUEST(KVM_SET_VCPU_EVENTS),
	REQUEST(KVM_GET_MP_STATE),
	REQUEST(KVM_SET_MP_STATE),
	REQUEST(KVM_GET_LAPIC),
	REQUEST(KVM_SET_LAPIC),
	REQUEST(KVM_GET_MSRS),
	REQUEST(KVM_SET_MSRS),
	REQUEST(KVM_SET_CPUID),
	REQUEST(KVM_SET_CPUID2),
	REQUEST(KVM_GET_CPUID2),
	REQUEST(KVM_SET_GUEST_DEBUG),
	REQUEST(KVM_TRANSLATE),
	REQUEST(KVM_INTERRUPT),
	REQUEST(KVM_NMI),
	REQUEST(KVM_SMI),
	REQUEST(KVM_SET_SIGNAL_MASK),
	REQUEST(KVM_TPR_ACCESS_REPORTING),
	REQUEST(KVM_SET_VAPIC_ADDR),
	REQUEST(KVM_X86_SETUP_MCE),
	REQUEST(KVM_X86_SET_MCE),
	REQUEST(KVM_KVMCLOCK_CTRL),
	REQUEST(KVM_GET_NESTED_STATE),
	REQUEST(KVM_SET_NESTED_STATE),
	REQUEST(KVM_GET_SUPPORTED_HV_CPUID),
	REQUEST(KVM_XEN_VCPU_GET_ATTR),
	REQUEST(KVM_XEN_VCPU_SET_ATTR),
	REQUEST(KVM_GET_ONE_REG),
	REQUEST(KVM_SET_ONE_REG),
	REQUEST(KVM_GET_REG_LIST),
	REQUEST(KVM_DIRTY_TLB),
	{S390_UCAS_MAP, "KVM_S390_UCAS_MAP"},
	{_IO(KVMIO, 0xff), "_IO(KVMIO, 0xff)"},
	{_IO(KVMIO, 0x0f), "_IO(KVMIO, 0x0f)"},
	{_IO('x', 0), "_IO('x', 0)"},
	{0, "0"},
};

void test_open(void)
{
	static const struct {
		int flags;
		const char *name;
	} how[] = {
		{O_RDWR, "O_RDWR"},
		{O_RDONLY, "O_RDONLY"},
		{O_WRONLY, "O_WRONLY"},
		{O_RDWR | O_NONBLOCK, "O_NONBLOCK"},
		{O_RDWR | O_TRUNC, "O_TRUNC"},
		{O_RDWR | O_APPEND, "O_APPEND"},
		{O_RDWR | O_CREAT, "O_CREAT"},
		{O_RDWR | O_CREAT | O_EXCL, "O_CREAT|O_EXCL"},
		{O_RDONLY | O_DIRECTORY, "O_DIRECTORY"},
		{O_RDWR | O_CLOEXEC, "O_CLOEXEC"},
		{O_RDWR | O_NOFOLLOW, "O_NOFOLLOW"},
	};
	struct stat st;
	size_t i;
	int fd;

	for (i = 0; i < ARRAY_SIZE(how); i++) {
		errno = 0;
		fd = open("/dev/kvm", how[i].flags, 0600);
		if (fd >= 0 &&
		    fcntl(fd, F_GETFD) != (how[i].flags & O_CLOEXEC ? FD_CLOEXEC : 0))
			out("open %s: close-on-exec is wrong", how[i].name);
		line_fd(fd, "open %s", how[i].name);
	}
	line(stat("/dev/kvm", &st), "stat");
	out("stat type %o rdev %u:%u", st.st_mode & S_IFMT, major(st.st_rdev),
	    minor(st.st_rdev));
	line(fstat(sys_fd, &st), "fstat");
	out("fstat type %o rdev %u:%u size %ld", st.st_mode & S_IFMT, major(st.st_rdev),
	    minor(st.st_rdev), (long)st.st_size);
	line(access("/dev/kvm", F_OK), "access F_OK");
	line(access("/dev/kvm", R_OK | W_OK), "access R_OK|W_OK");
}

static void test_lists(void)
{
	struct {
		struct kvm_msr_list l;
		u32 index[2000];
	} l;

	line(call(sys_fd, KVM_GET_MSR_INDEX_LIST, NULL), "GET_MSR_INDEX_LIST NULL");
	l.l.nmsrs = 0;
	line(call(sys_fd, KVM_GET_MSR_INDEX_LIST, &l), "GET_MSR_INDEX_LIST no room");
	out("GET_MSR_INDEX_LIST tells how many: %d", l.l.nmsrs > 10);
	l.l.nmsrs = 2000;
	line(call(sys_fd, KVM_GET_MSR_INDEX_LIST, &l), "GET_MSR_INDEX_LIST");
	l.l.nmsrs = 0;
	line(call(sys_fd, KVM_GET_MSR_FEATURE_INDEX_LIST, &l),
	     "GET_MSR_FEATURE_INDEX_LIST no room");
	out("GET_MSR_FEATURE_INDEX_LIST tells how many: %d", l.l.nmsrs > 0);
	l.l.nmsrs = 2000;
	line(call(sys_fd, KVM_GET_MSR_FEATURE_INDEX_LIST, &l), "GET_MSR_FEATURE_INDEX_LIST");
}

static void test_feature_msrs(void)
{
	struct {
		struct kvm_msrs h;
		struct kvm_msr_entry e[256];
	} m = {.h.nmsrs = 0};

	line(call(sys_fd, KVM_GET_MSRS, NULL), "system GET_MSRS NULL");
	line(call(sys_fd, KVM_GET_MSRS, &m), "system GET_MSRS none");
	m.h.nmsrs = 256;
	line(call(sys_fd, KVM_GET_MSRS, &m), "system GET_MSRS too many");
	m.h.nmsrs = 2;
	m.e[0].index = 0x10a; /* IA32_ARCH_CAPABILITIES */
	m.e[1].index = 0xdead0000;
	line(call(sys_fd, KVM_GET_MSRS, &m), "system GET_MSRS known, unknown");
	m.h.nmsrs = 1;
	m.e[0].index = 0xdead0000;
	line(call(sys_fd, KVM_GET_MSRS, &m), "system GET_MSRS unknown");
}

static void test_attr(void)
{
	u64 v = 0;
	struct kvm_device_attr a = {.addr = (u64)(uintptr_t)&v};

	line(call(sys_fd, KVM_GET_DEVICE_ATTR, &a), "system attr get XCOMP_GUEST_SUPP");
	out("system attr x87 and SSE: %d", (v & 3) == 3);
	line(call(sys_fd, KVM_HAS_DEVICE_ATTR, &a), "system attr has XCOMP_GUEST_SUPP");
	line(call(sys_fd, KVM_SET_DEVICE_ATTR, &a), "system attr set XCOMP_GUEST_SUPP");
	a.attr = 5;
	line(call(sys_fd, KVM_GET_DEVICE_ATTR, &a), "system attr get unknown");
	line(call(sys_fd, KVM_HAS_DEVICE_ATTR, &a), "system attr has unknown");
	a.attr = 0;
	a.group = 3;
	line(call(sys_fd, KVM_GET_DEVICE_ATTR, &a), "system attr get unknown group");
	a.group = 0;
	a.addr = 0;
	line(call(sys_fd, KVM_GET_DEVICE_ATTR, &a), "system attr get to NULL");
	line(call(sys_fd, KVM_HAS_DEVICE_ATTR, &a), "system attr has, NULL");
	a.flags = 1;
	line(call(sys_fd, KVM_HAS_DEVICE_ATTR, &a), "system attr has, flags");
}

void test_system(void)
{
	u64 mce = 0;

	line(call_value(sys_fd, KVM_GET_API_VERSION, 0), "GET_API_VERSION 0");
	line(call_value(sys_fd, KVM_GET_API_VERSION, 1), "GET_API_VERSION 1");
	line(call_value(sys_fd, KVM_GET_VCPU_MMAP_SIZE, 0), "GET_VCPU_MMAP_SIZE 0");
	line(call_value(sys_fd, KVM_GET_VCPU_MMAP_SIZE, 1), "GET_VCPU_MMAP_SIZE 1");
	line_fd(call_value(sys_fd, KVM_CREATE_VM, 0), "CREATE_VM 0");
	line_fd(call_value(sys_fd, KVM_CREATE_VM, 1), "CREATE_VM 1");
	line_fd(call_value(sys_fd, KVM_CREATE_VM, 99), "CREATE_VM 99");
	line_fd(call_value(sys_fd, KVM_CREATE_VM, 1UL << 32), "CREATE_VM 1<<32");
	line_fd(call_value(sys_fd, KVM_CREATE_VM, ~0UL), "CREATE_VM ~0");
	line(call(sys_fd, KVM_X86_GET_MCE_CAP_SUPPORTED, &mce), "X86_GET_MCE_CAP_SUPPORTED");
	out("MCE capabilities %llx", (unsigned long long)mce);
	test_lists();
	test_feature_msrs();
	test_attr();
}

/* One request on a fresh system, VM and vCPU descriptor. */
static void one_request(unsigned long request, const char *name, const void *arg,
			const char *what)
{
	struct machine m = machine_new(false);
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	int fd[3] = {kvm, m.vm, m.vcpu};
	static const char *const kind[3] = {"system", "VM", "vCPU"};
	long r;
	int i;

	m.run->immediate_exit = 1; /* KVM_RUN is among them */
	for (i = 0; i < 3; i++) {
		r = call(fd[i], request, arg);
		if (request == KVM_CREATE_VM)
			line_fd(r, "%s %s on %s", name, what, kind[i]);
		else
			line(r, "%s %s on %s", name, what, kind[i]);
	}
	close(kvm);
	machine_free(&m);
}

void test_levels(void)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(requests); i++) {
		one_request(requests[i].request, requests[i].name, NULL, "NULL");
		one_request(requests[i].request, requests[i].name, BAD_PTR, "bad pointer");
	}
}

/* Highest capability in the headers of Linux 6.18. */
#define LAST_CAP 245

static bool depends_on_machine(int cap)
{
	return cap == KVM_CAP_NR_VCPUS || cap == KVM_CAP_XSAVE2;
}

static void enable(const char *kind, bool vcpu, u32 cap, u64 arg, const char *what)
{
	struct kvm_enable_cap e = {.cap = cap, .args = {arg}};
	int vm = ioctl(sys_fd, KVM_CREATE_VM, 0);
	int fd = vcpu ? ioctl(vm, KVM_CREATE_VCPU, 0) : vm;

	line(call(fd, KVM_ENABLE_CAP, &e), "%s ENABLE_CAP %u %s", kind, cap, what);
	close(fd);
	if (vcpu)
		close(vm);
}

void test_caps(void)
{
	struct kvm_enable_cap e = {.cap = KVM_CAP_EXCEPTION_PAYLOAD, .flags = 1};
	struct machine m = machine_new(false);
	int i, r, s;

	for (i = 0; i <= LAST_CAP; i++) {
		r = (int)call_value(sys_fd, KVM_CHECK_EXTENSION, i);
		s = (int)call_value(m.vm, KVM_CHECK_EXTENSION, i);
		if (depends_on_machine(i))
			r = r > 0;
		line(r, "CHECK_EXTENSION %d", i);
		if (depends_on_machine(i))
			s = s > 0;
		line(s, "VM CHECK_EXTENSION %d", i);
	}
	line(call_value(sys_fd, KVM_CHECK_EXTENSION, ~0UL), "CHECK_EXTENSION ~0");
	line(call_value(sys_fd, KVM_CHECK_EXTENSION, 1UL << 32), "CHECK_EXTENSION 1<<32");
	line(call(m.vm, KVM_ENABLE_CAP, &e), "VM ENABLE_CAP flags");
	machine_free(&m);
	for (i = 0; i <= LAST_CAP; i++) {
		enable("VM", false, i, 0, "0");
		enable("VM", false, i, ~0ULL, "~0");
		enable("vCPU", true, i, 0, "0");
	}
}
