/* SPDX-License-Identifier: MIT */
/*
 * tests/vmm/ring_full.c: what the host writes into guest memory (steal time, clocks, the offer of a
 * paravirtual EOI) is listed in the dirty ring, and a guest that has it write all over its memory
 * leaves when the ring is full, however little it writes itself.
 */
#include "minivmm.h"
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define RING_SIZE    4096u
#define RING_ENTRIES (RING_SIZE / sizeof(struct kvm_dirty_gfn))
#define FIRST	     0x30000u /* the pages the host writes to */
#define LAST	     0x1f0000u
#define NPAGES	     ((LAST - FIRST) >> 12)
#define VECTOR	     0x30

#define EACH_PAGE(text) \
	"mov $0x30000, %ebx\n1: xor %edx, %edx\n" text \
	"add $0x1000, %ebx\n cmp $0x1f0000, %ebx\n jb 1b\n out %al, $0x10\n"
#define WRMSR(index, value) "mov $" #index ", %ecx\n lea " value "(%rbx), %eax\n wrmsr\n"

/* MSR_KVM_STEAL_TIME, MSR_KVM_WALL_CLOCK_NEW, MSR_KVM_SYSTEM_TIME_NEW (x86/msr.rst). */
GUEST(steal, 64, EACH_PAGE(WRMSR(0x4b564d03, "1")));
GUEST(wall, 64, EACH_PAGE(WRMSR(0x4b564d00, "0")));
GUEST(clock_time, 64, EACH_PAGE(WRMSR(0x4b564d01, "1")));
/* MSR_KVM_PV_EOI_EN, then an interrupt to itself by x2APIC's SELF IPI, of whose end it is told there. */
GUEST(eoi, 64, "sti\n" EACH_PAGE(WRMSR(0x4b564d04, "1")
      "mov $0x83f, %ecx\n mov $0x30, %eax\n wrmsr\n nop\n")
      ".org guest_eoi + 0x100\n push %rax\n push %rcx\n push %rdx\n"
      "mov $0x80b, %ecx\n xor %eax, %eax\n xor %edx, %edx\n wrmsr\n"
      "pop %rdx\n pop %rcx\n pop %rax\n iretq\n");

static unsigned char listed[MINIVMM_MEM >> 12];
static volatile struct kvm_dirty_gfn *ring;
static unsigned next;

/* Everything that is in the ring, out of it. */
static unsigned collect(struct minivmm *v)
{
	unsigned n = 0;

	while (ring[next % RING_ENTRIES].flags == KVM_DIRTY_GFN_F_DIRTY) {
		volatile struct kvm_dirty_gfn *e = &ring[next++ % RING_ENTRIES];

		EXPECT(e->offset < sizeof(listed), "page %#llx", (unsigned long long)e->offset);
		listed[e->offset] = 1;
		e->flags |= KVM_DIRTY_GFN_F_RESET;
		n++;
	}
	EXPECT(ioctl(v->vm, KVM_RESET_DIRTY_RINGS, 0) == (int)n, "not %u entries were reset", n);
	return n;
}

static void fill_ring(const char *name, struct guest_code code)
{
	unsigned full = 0;
	struct minivmm v;
	int r;

	memset(listed, 0, sizeof(listed));
	next = 0;
	minivmm_create_with_ring(&v, RING_SIZE);
	ring = mmap(NULL, RING_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, v.vcpu,
		    KVM_DIRTY_LOG_PAGE_OFFSET * getpagesize());
	EXPECT(ring != MAP_FAILED, "mmap: %s", strerror(errno));
	minivmm_load(&v, MINIVMM_LONG, code);
	minivmm_set_gate(&v, MINIVMM_LONG, VECTOR, 0x100);
	minivmm_enable_apic(&v);
	while ((r = minivmm_run(&v)) == KVM_EXIT_DIRTY_RING_FULL) {
		/* Nothing is gained by going on with a full ring, and nothing lost. */
		for (int i = 0; i < 100; i++)
			EXPECT_EXIT(&v, KVM_EXIT_DIRTY_RING_FULL);
		EXPECT(collect(&v) < RING_ENTRIES, "%s: all of the ring is used", name);
		full++;
	}
	EXPECT(r == KVM_EXIT_IO, "%s: exit %s", name, minivmm_exit_name(r));
	collect(&v);
	EXPECT(full >= NPAGES / RING_ENTRIES, "%s: full %u times", name, full);
	for (unsigned page = FIRST >> 12; page < LAST >> 12; page++)
		EXPECT(listed[page], "%s: page %#x is not listed", name, page);
	munmap((void *)ring, RING_SIZE);
	minivmm_destroy(&v);
}

/* The VMM itself has the host write, and never empties the ring. */
static void ignore_full_ring(void)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry msr;
	} m = {{.nmsrs = 1}, {.index = 0x4b564d03}};
	struct minivmm v;

	minivmm_create_with_ring(&v, RING_SIZE);
	minivmm_load(&v, MINIVMM_LONG, steal);
	EXPECT_EXIT(&v, KVM_EXIT_DIRTY_RING_FULL);
	for (uint32_t gpa = FIRST; gpa < LAST; gpa += 4096) {
		m.msr.data = gpa | 1;
		EXPECT(ioctl(v.vcpu, KVM_SET_MSRS, &m) == 1, "KVM_SET_MSRS: %s", strerror(errno));
		EXPECT_EXIT(&v, KVM_EXIT_DIRTY_RING_FULL);
	}
	minivmm_destroy(&v);
}

int main(void)
{
	fill_ring("steal time", steal);
	fill_ring("wall clock", wall);
	fill_ring("clock", clock_time);
	fill_ring("PV EOI", eoi);
	ignore_full_ring();
	return 0;
}
