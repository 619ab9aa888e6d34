/* SPDX-License-Identifier: MIT */
/* hc_vm.c: calls on a VM: its vCPUs, memory, clock. */
#include "gmem.h"
#include "hostcalls.h"

static void test_vcpus(void)
{
	int vm = ioctl(sys_fd, KVM_CREATE_VM, 0);
	u64 addr = 0xfffbc000;

	line(call_value(vm, KVM_SET_BOOT_CPU_ID, 5000), "SET_BOOT_CPU_ID 5000");
	line(call_value(vm, KVM_SET_BOOT_CPU_ID, 1UL << 32), "SET_BOOT_CPU_ID 1 << 32");
	line(call_value(vm, KVM_SET_BOOT_CPU_ID, 3), "SET_BOOT_CPU_ID before vCPUs");
	line(call_value(vm, KVM_SET_TSS_ADDR, 0xfffbd000), "SET_TSS_ADDR");
	line(call_value(vm, KVM_SET_TSS_ADDR, 0xffffd000), "SET_TSS_ADDR highest");
	line(call_value(vm, KVM_SET_TSS_ADDR, 0xffffd001), "SET_TSS_ADDR too high");
	line(call_value(vm, KVM_SET_TSS_ADDR, 1UL << 32), "SET_TSS_ADDR 4G");
	line(call(vm, KVM_SET_IDENTITY_MAP_ADDR, &addr), "SET_IDENTITY_MAP_ADDR");
	addr = 0;
	line(call(vm, KVM_SET_IDENTITY_MAP_ADDR, &addr), "SET_IDENTITY_MAP_ADDR 0");
	line_fd(call_value(vm, KVM_CREATE_VCPU, 3), "CREATE_VCPU 3");
	line_fd(call_value(vm, KVM_CREATE_VCPU, 3), "CREATE_VCPU 3 again");
	line_fd(call_value(vm, KVM_CREATE_VCPU, 0), "CREATE_VCPU 0");
	line_fd(call_value(vm, KVM_CREATE_VCPU, 255), "CREATE_VCPU 255");
	line_fd(call_value(vm, KVM_CREATE_VCPU, 1023), "CREATE_VCPU 1023");
	line_fd(call_value(vm, KVM_CREATE_VCPU, 4095), "CREATE_VCPU 4095");
	line_fd(call_value(vm, KVM_CREATE_VCPU, 4096), "CREATE_VCPU 4096");
	line_fd(call_value(vm, KVM_CREATE_VCPU, 0xffffffff), "CREATE_VCPU -1");
	line_fd(call_value(vm, KVM_CREATE_VCPU, 1UL << 32), "CREATE_VCPU 1<<32");
	line(call_value(vm, KVM_SET_BOOT_CPU_ID, 0), "SET_BOOT_CPU_ID after vCPUs");
	line(call(vm, KVM_SET_IDENTITY_MAP_ADDR, &addr), "SET_IDENTITY_MAP_ADDR after vCPUs");
	line(call(vm, KVM_CREATE_IRQCHIP, 0), "CREATE_IRQCHIP after vCPUs");
	close(vm);
}

static void test_max_vcpu_id(void)
{
	struct kvm_enable_cap e = {.cap = KVM_CAP_MAX_VCPU_ID, .args = {8}};
	int vm = ioctl(sys_fd, KVM_CREATE_VM, 0);

	line(call(vm, KVM_ENABLE_CAP, &e), "MAX_VCPU_ID 8");
	line(call(vm, KVM_ENABLE_CAP, &e), "MAX_VCPU_ID 8 again");
	e.args[0] = 16;
	line(call(vm, KVM_ENABLE_CAP, &e), "MAX_VCPU_ID 16");
	line_fd(call_value(vm, KVM_CREATE_VCPU, 8), "CREATE_VCPU 8 of 8");
	line_fd(call_value(vm, KVM_CREATE_VCPU, 7), "CREATE_VCPU 7 of 8");
	close(vm);
}

static void test_clock(int vm)
{
	struct kvm_clock_data d = {0};

	line(call(vm, KVM_GET_CLOCK, &d), "GET_CLOCK");
	out("clock flags %x, realtime %d, TSC %d", d.flags, d.realtime != 0, d.host_tsc != 0);
	d.clock = 1000000000000;
	d.flags = 0;
	line(call(vm, KVM_SET_CLOCK, &d), "SET_CLOCK");
	line(call(vm, KVM_GET_CLOCK, &d), "GET_CLOCK after");
	out("clock was set: %d", d.clock >= 1000000000000 && d.clock < 1010000000000);
	line(call(vm, KVM_SET_CLOCK, &d), "SET_CLOCK with what GET gave");
	d.flags = 1;
	line(call(vm, KVM_SET_CLOCK, &d), "SET_CLOCK flag 1");
	d.flags = 16;
	line(call(vm, KVM_SET_CLOCK, &d), "SET_CLOCK flag 16");
	d.flags = KVM_CLOCK_REALTIME;
	d.clock = 5;
	d.realtime = ~0ULL;
	line(call(vm, KVM_SET_CLOCK, &d), "SET_CLOCK realtime in the future");
	line(call(vm, KVM_GET_CLOCK, &d), "GET_CLOCK after that");
	out("clock is small: %d", d.clock < 10000000000);
}

static void test_filter(int vm)
{
	u8 bitmap[0x700] = {0};
	struct kvm_msr_filter f = {.flags = 0};

	line(call(vm, KVM_X86_SET_MSR_FILTER, &f), "MSR_FILTER allow all");
	f.flags = KVM_MSR_FILTER_DEFAULT_DENY;
	line(call(vm, KVM_X86_SET_MSR_FILTER, &f), "MSR_FILTER deny, no range");
	f.flags = 2;
	line(call(vm, KVM_X86_SET_MSR_FILTER, &f), "MSR_FILTER flag 2");
	f.flags = 0;
	f.ranges[0] = (struct kvm_msr_filter_range){
		.flags = KVM_MSR_FILTER_READ, .nmsrs = 8, .base = 0x10, .bitmap = bitmap};
	line(call(vm, KVM_X86_SET_MSR_FILTER, &f), "MSR_FILTER a range");
	f.ranges[0].bitmap = BAD_PTR;
	line(call(vm, KVM_X86_SET_MSR_FILTER, &f), "MSR_FILTER bad bitmap");
	f.ranges[0].bitmap = bitmap;
	f.ranges[0].flags = 0;
	line(call(vm, KVM_X86_SET_MSR_FILTER, &f), "MSR_FILTER range without flags");
	f.ranges[0].flags = 4;
	line(call(vm, KVM_X86_SET_MSR_FILTER, &f), "MSR_FILTER range flag 4");
	f.ranges[0].flags = KVM_MSR_FILTER_READ;
	f.ranges[0].nmsrs = 0x3000;
	line(call(vm, KVM_X86_SET_MSR_FILTER, &f), "MSR_FILTER largest range");
	f.ranges[0].nmsrs = 0x3001;
	line(call(vm, KVM_X86_SET_MSR_FILTER, &f), "MSR_FILTER range too large");
}

static void test_devices(int vm)
{
	struct kvm_create_device d = {.type = 99};

	line(call(vm, KVM_CREATE_DEVICE, &d), "CREATE_DEVICE 99");
	d.flags = KVM_CREATE_DEVICE_TEST;
	line(call(vm, KVM_CREATE_DEVICE, &d), "CREATE_DEVICE 99 test");
	d.type = KVM_DEV_TYPE_VFIO;
	line(call(vm, KVM_CREATE_DEVICE, &d), "CREATE_DEVICE VFIO test");
	d.type = KVM_DEV_TYPE_FSL_MPIC_20;
	line(call(vm, KVM_CREATE_DEVICE, &d), "CREATE_DEVICE MPIC test");
}

void test_vm(void)
{
	int vm = ioctl(sys_fd, KVM_CREATE_VM, 0);
	long khz = call(vm, KVM_GET_TSC_KHZ, 0);

	out("VM TSC rate %d", khz > 0);
	line(call_value(vm, KVM_SET_TSC_KHZ, khz), "VM SET_TSC_KHZ same");
	line(call_value(vm, KVM_SET_TSC_KHZ, 0), "VM SET_TSC_KHZ 0");
	out("VM TSC rate is the default: %d", call(vm, KVM_GET_TSC_KHZ, 0) == khz);
	test_clock(vm);
	test_filter(vm);
	test_devices(vm);
	close(vm);
	test_vcpus();
	test_max_vcpu_id();
}

/* ---- memory regions */

#define MEM_SIZE 0x100000UL

static u8 *mem;

struct region {
	u32 slot, flags;
	u64 gpa, size, off;
	const char *what;
};

static void set(int vm, struct region r)
{
	struct kvm_userspace_memory_region m = {r.slot, r.flags, r.gpa, r.size,
						(u64)(uintptr_t)mem + r.off};

	line(call(vm, KVM_SET_USER_MEMORY_REGION, &m), "region %s", r.what);
}

static void test_regions(int vm)
{
	static const struct region list[] = {
		{0, 0, 0, 0x10000, 0, "create"},
		{0, 0, 0, 0x10000, 0, "the same again"},
		{0, 0, 0, 0x20000, 0, "grow"},
		{0, 0, 0, 0x10000, 0x1000, "other address"},
		{0, KVM_MEM_LOG_DIRTY_PAGES, 0, 0x10000, 0, "logging on"},
		{0, 0, 0, 0x10000, 0, "logging off"},
		{0, KVM_MEM_READONLY, 0, 0x10000, 0, "make read-only"},
		{0, 0, 0x200000, 0x10000, 0, "move"},
		{1, 0, 0x208000, 0x10000, 0x20000, "overlap"},
		{1, 0, 0x210000, 0x10000, 0x20000, "beside"},
		{0, 0, 0x208000, 0x10000, 0, "move onto another"},
		{2, KVM_MEM_READONLY, 0x300000, 0x1000, 0, "read-only"},
		{3, KVM_MEM_READONLY | KVM_MEM_LOG_DIRTY_PAGES, 0x400000, 0x1000, 0,
		 "read-only logged"},
		{4, 4, 0x500000, 0x1000, 0, "flag 4"},
		{4, 8, 0x500000, 0x1000, 0, "flag 8"},
		{4, 0x80000000, 0x500000, 0x1000, 0, "flag 31"},
		{4, 0, 0x500001, 0x1000, 0, "gpa not aligned"},
		{4, 0, 0x500000, 0x1001, 0, "size not aligned"},
		{4, 0, 0x500000, 0x1000, 1, "address not aligned"},
		{4, 0, 0xfffffffffffff000, 0x2000, 0, "gpa wraps"},
		{4, 0, 0x500000, 0xfffffffffffff000, 0, "size wraps"},
		{4, 0, 0x500000, 0x1000, 0x8000000000000000, "kernel address"},
		{32763, 0, 0x600000, 0x1000, 0, "last slot"},
		{32764, 0, 0x700000, 0x1000, 0, "beyond the last slot"},
		{0x10000, 0, 0x700000, 0x1000, 0, "address space 1"},
		{0xffffffff, 0, 0x700000, 0x1000, 0, "slot -1"},
		{9, 0, 0, 0, 0, "delete what is not there"},
		{2, 0, 0, 0, 0, "delete"},
		{2, 0, 0, 0, 0, "delete again"},
		{2, 0, 0x300000, 0x1000, 0, "create in its place"},
		{2, 4, 0, 0, 0, "delete with flag 4"},
		{5, 0, 1ULL << 52, 0x1000, 0, "gpa above 52 bits"},
		{6, 0, 1ULL << 46, 0x1000, 0, "gpa at 46 bits"},
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(list); i++)
		set(vm, list[i]);
}

static void test_region2(int vm)
{
	struct gmem_region m = {
		.slot = 100, .gpa = 0x10000000, .size = 0x1000, .hva = (u64)(uintptr_t)mem};

	line(call(vm, GMEM_SET_REGION, &m), "region2 create");
	m.flags = 1;
	line(call(vm, GMEM_SET_REGION, &m), "region2 logging");
	m.flags = 8;
	line(call(vm, GMEM_SET_REGION, &m), "region2 flag 8");
	m.flags = 0;
	m.size = 0;
	line(call(vm, GMEM_SET_REGION, &m), "region2 delete");
	line(call(vm, GMEM_SET_REGION, NULL), "region2 NULL");
}

static void test_dirty(int vm)
{
	u64 bitmap[64] = {0};
	struct kvm_dirty_log l = {.slot = 20, .dirty_bitmap = bitmap};
	struct kvm_clear_dirty_log c = {.slot = 20, .num_pages = 64, .dirty_bitmap = bitmap};
	struct kvm_enable_cap e = {.cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, .args = {2}};

	line(call(vm, KVM_GET_DIRTY_LOG, &l), "GET_DIRTY_LOG of no slot");
	set(vm, (struct region){20, 0, 0x2000000, 0x80000, 0, "for the log"});
	line(call(vm, KVM_GET_DIRTY_LOG, &l), "GET_DIRTY_LOG not logged");
	set(vm, (struct region){20, 1, 0x2000000, 0x80000, 0, "for the log, logged"});
	line(call(vm, KVM_GET_DIRTY_LOG, &l), "GET_DIRTY_LOG");
	out("dirty log %x", digest(bitmap, sizeof(bitmap)));
	l.dirty_bitmap = BAD_PTR;
	line(call(vm, KVM_GET_DIRTY_LOG, &l), "GET_DIRTY_LOG bad pointer");
	l.slot = 0x10000;
	line(call(vm, KVM_GET_DIRTY_LOG, &l), "GET_DIRTY_LOG address space 1");
	l.slot = 40000;
	line(call(vm, KVM_GET_DIRTY_LOG, &l), "GET_DIRTY_LOG slot 40000");
	line(call(vm, KVM_CLEAR_DIRTY_LOG, &c), "CLEAR_DIRTY_LOG");
	c.num_pages = 65;
	line(call(vm, KVM_CLEAR_DIRTY_LOG, &c), "CLEAR_DIRTY_LOG 65 pages");
	c.num_pages = 64;
	c.first_page = 1;
	line(call(vm, KVM_CLEAR_DIRTY_LOG, &c), "CLEAR_DIRTY_LOG from page 1");
	c.first_page = 64;
	line(call(vm, KVM_CLEAR_DIRTY_LOG, &c), "CLEAR_DIRTY_LOG second half");
	c.first_page = 128;
	line(call(vm, KVM_CLEAR_DIRTY_LOG, &c), "CLEAR_DIRTY_LOG past the end");
	c.first_page = 64;
	c.num_pages = 128;
	line(call(vm, KVM_CLEAR_DIRTY_LOG, &c), "CLEAR_DIRTY_LOG beyond the end");
	c.num_pages = 64;
	c.dirty_bitmap = BAD_PTR;
	line(call(vm, KVM_CLEAR_DIRTY_LOG, &c), "CLEAR_DIRTY_LOG bad pointer");
	line(call(vm, KVM_ENABLE_CAP, &e), "MANUAL_DIRTY_LOG_PROTECT2 2");
	e.args[0] = 4;
	line(call(vm, KVM_ENABLE_CAP, &e), "MANUAL_DIRTY_LOG_PROTECT2 4");
	e.args[0] = 3;
	line(call(vm, KVM_ENABLE_CAP, &e), "MANUAL_DIRTY_LOG_PROTECT2 3");
	set(vm, (struct region){21, 1, 0x3000000, 0x80000, 0, "logged, initially set"});
	l.slot = 21;
	l.dirty_bitmap = bitmap;
	line(call(vm, KVM_GET_DIRTY_LOG, &l), "GET_DIRTY_LOG initially set");
	out("dirty log %x", digest(bitmap, 128 / 8));
}

void test_memory(void)
{
	int vm = ioctl(sys_fd, KVM_CREATE_VM, 0);

	mem = mmap(NULL, MEM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	test_regions(vm);
	test_region2(vm);
	test_dirty(vm);
	close(vm);
	munmap(mem, MEM_SIZE);
}
