/* SPDX-License-Identifier: MIT */
/* The VM, its vCPUs in long mode, and what their exits mean. */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include "latency.h"
#include "stress.h"
#include "vcpu.h"

#define LOW_SIZE (8ULL << 20)
#define STACK	 0x1000ULL

static struct {
	int kvm, vm;
	u8 *low; /* memslot 0 */
	int fd[MAX_VCPUS];
	struct kvm_run *run[MAX_VCPUS];
} kvm;

static int must(int r, const char *what)
{
	MUST(r >= 0, "%s: %s", what, strerror(errno));
	return r;
}

static void set_slot(u32 slot, u32 flags, u64 gpa, u64 size, void *hva)
{
	struct kvm_userspace_memory_region r = {slot, flags, gpa, size, (u64)hva};

	must(ioctl(kvm.vm, KVM_SET_USER_MEMORY_REGION, &r), "KVM_SET_USER_MEMORY_REGION");
}

void machine_slot(u32 area, u32 flags, u64 gpa, u64 size, void *hva)
{
	set_slot(FIRST_SLOT + area, flags, gpa, size, hva);
}

void machine_dirty_get(u32 area, u64 *bitmap)
{
	struct kvm_dirty_log l = {.slot = FIRST_SLOT + area, .dirty_bitmap = bitmap};

	must(ioctl(kvm.vm, KVM_GET_DIRTY_LOG, &l), "KVM_GET_DIRTY_LOG");
}

void machine_dirty_clear(u32 area, u32 npages, u64 *bitmap)
{
	struct kvm_clear_dirty_log l = {
		.slot = FIRST_SLOT + area, .num_pages = npages, .dirty_bitmap = bitmap};

	must(ioctl(kvm.vm, KVM_CLEAR_DIRTY_LOG, &l), "KVM_CLEAR_DIRTY_LOG");
}

/* Identity map of the first 2 GiB in 2 MiB pages. */
static void write_page_tables(void)
{
	u64 *pml4 = (u64 *)(kvm.low + GPA_PML4);

	pml4[0] = (GPA_PML4 + PAGE) | 3;
	for (u64 g = 0; g < 2; g++) {
		pml4[WORDS + g] = (GPA_PML4 + (2 + g) * PAGE) | 3;
		for (u64 i = 0; i < WORDS; i++)
			pml4[(2 + g) * WORDS + i] = (g << 30 | i << 21) | 0x83;
	}
}

static void set_registers(struct vcpu *v, u32 index)
{
	struct kvm_regs r = {.rflags = 2};

	must(vcpu_set_long_mode(kvm.fd[index], GPA_PML4), "long mode");
	r.rip = GPA_CODE + (u64)((const u8 *)guest_main - __start_guest_text);
	r.rsp = GPA_STACKS + (index + 1) * STACK - 8;
	r.rdi = GPA_CONTROL;
	r.rsi = GPA_CONTROL + (u64)((u8 *)v->g - (u8 *)machine.control);
	must(ioctl(kvm.fd[index], KVM_SET_REGS, &r), "KVM_SET_REGS");
}

static void map_ring(u32 index)
{
	size_t size = RING_ENTRIES * sizeof(struct kvm_dirty_gfn);
	off_t at = (off_t)(KVM_DIRTY_LOG_PAGE_OFFSET * PAGE);
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, kvm.fd[index], at);

	MUST(p != MAP_FAILED, "dirty ring: %s", strerror(errno));
	machine.rings[index] = p;
}

static void create_vcpu(u32 index)
{
	struct vcpu *v = &machine.vcpus[index];
	int size =
		must(ioctl(kvm.kvm, KVM_GET_VCPU_MMAP_SIZE, 0), "KVM_GET_VCPU_MMAP_SIZE");

	kvm.fd[index] = must(ioctl(kvm.vm, KVM_CREATE_VCPU, index), "KVM_CREATE_VCPU");
	kvm.run[index] = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, kvm.fd[index], 0);
	MUST(kvm.run[index] != MAP_FAILED, "kvm_run: %s", strerror(errno));
	must(vcpu_take_cpuid(kvm.kvm, kvm.fd[index]), "CPUID");
	v->g = &machine.control->vcpus[index];
	if (machine.log_mode == LOG_RINGS)
		map_ring(index);
}

void machine_reset_rings(void)
{
	must(ioctl(kvm.vm, KVM_RESET_DIRTY_RINGS, 0), "KVM_RESET_DIRTY_RINGS");
}

static void set_log_mode(enum log_mode log_mode)
{
	struct kvm_enable_cap manual = {.cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, .args = {1}};
	struct kvm_enable_cap ring = {.cap = KVM_CAP_DIRTY_LOG_RING_ACQ_REL,
				      .args = {RING_ENTRIES * sizeof(struct kvm_dirty_gfn)}};

	machine.log_mode = log_mode;
	if (log_mode == LOG_CLEAR)
		must(ioctl(kvm.vm, KVM_ENABLE_CAP, &manual), "manual dirty log protection");
	if (log_mode == LOG_RINGS)
		must(ioctl(kvm.vm, KVM_ENABLE_CAP, &ring), "dirty rings");
}

void machine_create(u32 nvcpus, enum log_mode log_mode)
{
	_Static_assert(GPA_CONTROL + sizeof(struct control) <= LOW_SIZE, "control memory");
	kvm.kvm = must(open("/dev/kvm", O_RDWR | O_CLOEXEC), "/dev/kvm");
	kvm.vm = must(ioctl(kvm.kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
	machine.nvcpus = nvcpus;
	set_log_mode(log_mode);
	kvm.low = mmap(NULL, LOW_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			   -1, 0);
	MUST(kvm.low != MAP_FAILED, "memory: %s", strerror(errno));
	/* A child's copy on write would move it between two loads of ours: it is not inherited.
	 */
	madvise(kvm.low, LOW_SIZE, MADV_DONTFORK);
	machine.control = (struct control *)(kvm.low + GPA_CONTROL);
	memcpy(kvm.low + GPA_CODE, __start_guest_text,
	       (size_t)(__stop_guest_text - __start_guest_text));
	write_page_tables();
	ioctl(kvm.vm, KVM_SET_TSS_ADDR, 0xfffbd000);
	set_slot(0, 0, 0, LOW_SIZE, kvm.low);
	for (u32 i = 0; i < nvcpus; i++)
		create_vcpu(i);
}

/* The guest called a word that is zero, and without an IDT that is a shutdown: it returns zero. */
static bool ran_zeroes(struct vcpu *v, u32 index)
{
	u64 page = GPA_AREAS + v->g->area * AREA_STRIDE + v->g->page * PAGE;
	struct kvm_regs r;

	must(ioctl(kvm.fd[index], KVM_GET_REGS, &r), "KVM_GET_REGS");
	if (!LOAD(v->g->fetching) || r.rip / PAGE != page / PAGE || r.rip % sizeof(u64))
		return false;
	r.rax = 0;
	r.rip = *(u64 *)(kvm.low + r.rsp);
	r.rsp += 8;
	must(ioctl(kvm.fd[index], KVM_SET_REGS, &r), "KVM_SET_REGS");
	return true;
}

/* False: the guest has stopped. */
static bool guest_called(struct vcpu *v, u32 port)
{
	if (port == PORT_FAILED)
		vcpu_failed(v);
	return port == PORT_LOOK;
}

/* An exit that none of this can bring about. */
static void __attribute__((noreturn)) fail_at_exit(struct vcpu *v, u32 index)
{
	struct kvm_regs r;
	struct kvm_sregs s;

	must(ioctl(kvm.fd[index], KVM_GET_REGS, &r), "KVM_GET_REGS");
	must(ioctl(kvm.fd[index], KVM_GET_SREGS, &s), "KVM_GET_SREGS");
	fail("exit reason %u of vCPU %u: RIP %llx RSP %llx RAX %llx CR2 %llx, at area %u page %u%s",
	     kvm.run[index]->exit_reason, index, r.rip, r.rsp, r.rax, s.cr2, v->g->area, v->g->page,
	     LOAD(v->g->fetching) ? ", which it runs" : "");
}

/* False: the guest has stopped. */
static bool run_once(struct vcpu *v, u32 index)
{
	struct kvm_run *run = kvm.run[index];
	int r, error;

	latency_run(index, run);
	r = ioctl(kvm.fd[index], KVM_RUN, 0);
	error = errno;
	latency_returned(index);
	errno = error;
	if (r) {
		if (errno == EINTR || errno == EAGAIN)
			return true;
		MUST(errno == EFAULT, "KVM_RUN: %s", strerror(errno));
		vcpu_fault(v);
		return true;
	}
	switch (run->exit_reason) {
	case KVM_EXIT_MMIO:
		vcpu_hole(v, run->mmio.phys_addr, run->mmio.is_write);
		return true;
	case KVM_EXIT_IO:
		return guest_called(v, run->io.port);
	case KVM_EXIT_DIRTY_RING_FULL:
		rings_collect();
		return true;
	case KVM_EXIT_INTERNAL_ERROR:
		MUST(LOAD(v->g->fetching), "an internal error of vCPU %u", index);
		vcpu_fault(v);
		return true;
	case KVM_EXIT_SHUTDOWN:
		if (ran_zeroes(v, index))
			return true;
		/* fall through */
	default:
		fail_at_exit(v, index);
	}
}

static void *vcpu_thread(void *arg)
{
	struct vcpu *v = arg;

	while (run_once(v, v->g->index))
		;
	latency_leave();
	return NULL;
}

void machine_start(void)
{
	for (u32 i = 0; i < machine.nvcpus; i++) {
		struct vcpu *v = &machine.vcpus[i];

		v->g->index = i;
		v->g->nareas = nareas;
		set_registers(v, i);
		MUST(!pthread_create(&v->thread, NULL, vcpu_thread, v), "out of threads");
	}
	latency_begin();
}

void machine_stop(void)
{
	latency_end();
	STORE(machine.control->stop, 1);
	for (u32 i = 0; i < machine.nvcpus; i++)
		pthread_join(machine.vcpus[i].thread, NULL);
}
