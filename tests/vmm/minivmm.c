/* SPDX-License-Identifier: MIT */
/* tests/vmm/minivmm.c: see the header. */
#include "minivmm.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include "vcpu.h"

static int must(int result, const char *what)
{
	EXPECT(result >= 0, "%s: %s", what, strerror(errno));
	return result;
}

static void *must_map(size_t size, int prot, int flags, int fd)
{
	void *p = mmap(NULL, size, prot, flags, fd, 0);

	EXPECT(p != MAP_FAILED, "mmap: %s", strerror(errno));
	return p;
}

static void create_vcpu(struct minivmm *v, unsigned id)
{
	v->vcpu = must(ioctl(v->vm, KVM_CREATE_VCPU, id), "KVM_CREATE_VCPU");
	v->run_size = must(ioctl(v->kvm, KVM_GET_VCPU_MMAP_SIZE, 0), "KVM_GET_VCPU_MMAP_SIZE");
	v->run = must_map(v->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, v->vcpu);
	must(vcpu_take_cpuid(v->kvm, v->vcpu), "CPUID");
}

static void create(struct minivmm *v, unsigned type, int irqchip, size_t ring_size)
{
	struct kvm_userspace_memory_region slot = {
		.memory_size = MINIVMM_MEM,
		.flags = ring_size ? KVM_MEM_LOG_DIRTY_PAGES : 0,
	};
	struct kvm_enable_cap rings = {.cap = KVM_CAP_DIRTY_LOG_RING, .args = {ring_size}};

	memset(v, 0, sizeof(*v));
	v->kvm = must(open("/dev/kvm", O_RDWR | O_CLOEXEC), "/dev/kvm");
	EXPECT(ioctl(v->kvm, KVM_GET_API_VERSION, 0) == KVM_API_VERSION, "API version");
	v->vm = must(ioctl(v->kvm, KVM_CREATE_VM, type), "KVM_CREATE_VM");
	v->mem_size = MINIVMM_MEM;
	v->mem = must_map(v->mem_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	slot.userspace_addr = (uintptr_t)v->mem;
	/* Intel hosts without unrestricted guest need it for real mode; it is harmless
	 * elsewhere. */
	ioctl(v->vm, KVM_SET_TSS_ADDR, 0xfffbd000);
	must(ioctl(v->vm, KVM_SET_USER_MEMORY_REGION, &slot), "KVM_SET_USER_MEMORY_REGION");
	if (ring_size)
		must(ioctl(v->vm, KVM_ENABLE_CAP, &rings), "KVM_CAP_DIRTY_LOG_RING");
	if (irqchip)
		must(ioctl(v->vm, KVM_CREATE_IRQCHIP, 0), "KVM_CREATE_IRQCHIP");
	create_vcpu(v, 0);
}

void minivmm_create(struct minivmm *v)
{
	create(v, 0, 0, 0);
}

void minivmm_create_type(struct minivmm *v, unsigned type)
{
	create(v, type, 0, 0);
}

void minivmm_create_with_irqchip(struct minivmm *v)
{
	create(v, 0, 1, 0);
}

void minivmm_create_with_ring(struct minivmm *v, size_t size)
{
	create(v, 0, 1, size);
}

void minivmm_add_vcpu(const struct minivmm *v, unsigned id, struct minivmm *more)
{
	*more = *v;
	create_vcpu(more, id);
}

void minivmm_remove_vcpu(struct minivmm *more)
{
	munmap(more->run, more->run_size);
	close(more->vcpu);
}

void minivmm_destroy(struct minivmm *v)
{
	minivmm_remove_vcpu(v);
	close(v->vm);
	close(v->kvm);
	munmap(v->mem, v->mem_size);
}

void minivmm_get_regs(struct minivmm *v, struct kvm_regs *r)
{
	must(ioctl(v->vcpu, KVM_GET_REGS, r), "KVM_GET_REGS");
}

void minivmm_set_regs(struct minivmm *v, const struct kvm_regs *r)
{
	must(ioctl(v->vcpu, KVM_SET_REGS, r), "KVM_SET_REGS");
}

void minivmm_set_rdi(struct minivmm *v, uint64_t rdi)
{
	struct kvm_regs r;

	minivmm_get_regs(v, &r);
	r.rdi = rdi;
	minivmm_set_regs(v, &r);
}

void minivmm_get_sregs(struct minivmm *v, struct kvm_sregs *s)
{
	must(ioctl(v->vcpu, KVM_GET_SREGS, s), "KVM_GET_SREGS");
}

void minivmm_set_sregs(struct minivmm *v, const struct kvm_sregs *s)
{
	must(ioctl(v->vcpu, KVM_SET_SREGS, s), "KVM_SET_SREGS");
}

/* GDT: null, 32-bit code, data, 64-bit code; flat, as the segment registers are set below. */
static void write_tables(struct minivmm *v)
{
	static const uint64_t gdt[] = {0, 0x00cf9b000000ffff, 0x00cf93000000ffff,
				       0x00af9b000000ffff};
	uint64_t *pml4 = (uint64_t *)(v->mem + MINIVMM_PML4);

	memset(v->mem + MINIVMM_IDT, 0, 0x1000);
	memcpy(v->mem + MINIVMM_GDT, gdt, sizeof(gdt));
	memset(pml4, 0, 0x3000);
	pml4[0] = (MINIVMM_PML4 + 0x1000) | 3;
	pml4[512] = (MINIVMM_PML4 + 0x2000) | 3;
	for (unsigned i = 0; i < 512; i++)
		pml4[1024 + i] = ((uint64_t)i << 21) | 0x83; /* present, writable, large */
}

static void set_flat_segments(struct kvm_sregs *s, enum minivmm_mode mode)
{
	struct kvm_segment code = {.limit = 0xffffffff,
				   .selector = 8,
				   .type = 11,
				   .present = 1,
				   .s = 1,
				   .g = 1,
				   .db = 1};
	struct kvm_segment data = code;

	if (mode == MINIVMM_LONG) {
		code.selector = 0x18;
		code.db = 0;
		code.l = 1;
	}
	data.selector = 0x10;
	data.type = 3;
	s->cs = code;
	s->ds = s->es = s->fs = s->gs = s->ss = data;
	s->gdt.base = MINIVMM_GDT;
	s->gdt.limit = 4 * 8 - 1;
}

static void set_real_segments(struct kvm_sregs *s)
{
	struct kvm_segment *all[] = {&s->cs, &s->ds, &s->es, &s->fs, &s->gs, &s->ss};

	for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		all[i]->base = 0;
		all[i]->selector = 0;
	}
}

void minivmm_load(struct minivmm *v, enum minivmm_mode mode, struct guest_code code)
{
	struct kvm_regs r = {.rip = MINIVMM_CODE, .rsp = MINIVMM_STACK, .rflags = 2};
	struct kvm_sregs s;

	memcpy(v->mem + MINIVMM_CODE, code.start, code.end - code.start);
	write_tables(v);
	minivmm_get_sregs(v, &s);
	s.idt.base = MINIVMM_IDT;
	s.idt.limit = 0;
	if (mode == MINIVMM_REAL) {
		set_real_segments(&s);
		r.rsp = 0x7000;
	} else {
		set_flat_segments(&s, mode);
		s.cr0 |= 1; /* PE */
	}
	if (mode == MINIVMM_LONG) {
		s.cr3 = MINIVMM_PML4;
		s.cr4 |= 1 << 5;   /* PAE */
		s.cr0 |= 1u << 31; /* PG */
		s.efer |= 0x500;   /* LME, LMA */
	}
	minivmm_set_sregs(v, &s);
	minivmm_set_regs(v, &r);
}

void minivmm_set_gate(struct minivmm *v, enum minivmm_mode mode, unsigned vector,
		      uint32_t offset)
{
	uint32_t target = MINIVMM_CODE + offset;
	uint32_t selector = mode == MINIVMM_LONG ? 0x18 : 8;
	unsigned size = mode == MINIVMM_LONG ? 16 : mode == MINIVMM_PROT ? 8 : 4;
	uint32_t gate[4] = {(selector << 16) | (target & 0xffff),
			    (target & 0xffff0000) | 0x8e00};
	struct kvm_sregs s;

	if (mode == MINIVMM_REAL)
		gate[0] = target; /* of segment 0 */
	memcpy(v->mem + MINIVMM_IDT + vector * size, gate, size);
	minivmm_get_sregs(v, &s);
	s.idt.limit = 256 * size - 1;
	minivmm_set_sregs(v, &s);
}

void minivmm_enable_apic(struct minivmm *v)
{
	enum { SPURIOUS = 0xf0 };
	struct kvm_lapic_state l;
	struct kvm_sregs s;
	uint32_t on = 0x1ff; /* vector 0xff */

	minivmm_get_sregs(v, &s);
	s.apic_base |= 0xc00;
	minivmm_set_sregs(v, &s);
	must(ioctl(v->vcpu, KVM_GET_LAPIC, &l), "KVM_GET_LAPIC");
	memcpy(l.regs + SPURIOUS, &on, sizeof(on));
	must(ioctl(v->vcpu, KVM_SET_LAPIC, &l), "KVM_SET_LAPIC");
}

int minivmm_run(struct minivmm *v)
{
	return ioctl(v->vcpu, KVM_RUN, 0) ? -errno : (int)v->run->exit_reason;
}

const char *minivmm_exit_name(int reason)
{
	switch (reason) {
	case KVM_EXIT_IO:
		return "IO";
	case KVM_EXIT_MMIO:
		return "MMIO";
	case KVM_EXIT_HLT:
		return "HLT";
	case KVM_EXIT_SHUTDOWN:
		return "SHUTDOWN";
	case KVM_EXIT_INTERNAL_ERROR:
		return "INTERNAL_ERROR";
	case KVM_EXIT_DEBUG:
		return "DEBUG";
	case KVM_EXIT_FAIL_ENTRY:
		return "FAIL_ENTRY";
	case KVM_EXIT_INTR:
		return "INTR";
	default:
		return reason < 0 ? strerror(-reason) : "another exit";
	}
}

uint64_t minivmm_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}
