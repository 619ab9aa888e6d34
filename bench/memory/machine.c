/* SPDX-License-Identifier: MIT */
#include "machine.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include "vcpu.h"

#define LOW_SIZE  (4 * MIB)
#define GPA_CODE  0x1000ULL
#define GPA_PML4  0x100000ULL
#define WORDS	  512ULL
#define PTE_TABLE 3ULL    /* present, writable */
#define PTE_LARGE 0x83ULL /* and a leaf */

static const u8 guest_touch[] = {
	0x48, 0x89, 0x07,			  /* mov %rax, (%rdi) */
	0x48, 0x81, 0xc7, 0x00, 0x10, 0x00, 0x00, /* add $4096, %rdi */
	0x48, 0x39, 0xf7,			  /* cmp %rsi, %rdi */
	0x72, 0xf1,				  /* jb */
	0xf4,					  /* hlt */
};
static const u8 guest_chase[] = {
	0x48, 0x8b, 0x3c, 0x3b, /* mov (%rbx, %rdi), %rdi */
	0x48, 0xff, 0xce,	/* dec %rsi */
	0x75, 0xf7,		/* jnz */
	0xf4,			/* hlt */
};
static const u8 guest_store[] = {
	0x48, 0x89, 0xf9,	/* mov %rdi, %rcx */
	0x48, 0x89, 0x01,	/* mov %rax, (%rcx) */
	0x48, 0x81, 0xc1, 0x00, 0x01, 0x00, 0x00, /* add $256, %rcx */
	0x48, 0x39, 0xf1,	/* cmp %rsi, %rcx */
	0x72, 0xf1,		/* jb, to the store */
	0x48, 0xff, 0xcb,	/* dec %rbx */
	0x75, 0xe9,		/* jnz, to the begin */
	0xf4,			/* hlt */
};
static const struct {
	const u8 *code;
	u64 size, at;
} programs[] = {
	[PROGRAM_TOUCH] = {guest_touch, sizeof(guest_touch), GPA_CODE},
	[PROGRAM_CHASE] = {guest_chase, sizeof(guest_chase), GPA_CODE + 64},
	[PROGRAM_STORE] = {guest_store, sizeof(guest_store), GPA_CODE + 128},
};

static int must(int r, const char *what)
{
	MUST(r >= 0, "%s", what);
	return r;
}

void machine_slot(struct machine *m, u32 slot, u32 flags, u64 gpa, u64 size, void *hva)
{
	struct kvm_userspace_memory_region r = {slot, flags, gpa, size, (u64)hva};

	must(ioctl(m->vm, KVM_SET_USER_MEMORY_REGION, &r), "KVM_SET_USER_MEMORY_REGION");
}

/* The n-th table; the PML4 is the first. */
static u64 *table(struct machine *m, u64 n)
{
	return (u64 *)(m->low + GPA_PML4 + n * PAGE);
}

static u64 table_entry(u64 n)
{
	return (GPA_PML4 + n * PAGE) | PTE_TABLE;
}

/* GiB 0 and 1 map themselves in 2 MiB pages, GiB 2 shows GiB 1 in 4 KiB pages. */
static void write_page_tables(struct machine *m)
{
	u64 first_small = 5;

	table(m, 0)[0] = table_entry(1);
	for (u64 g = 0; g < 3; g++)
		table(m, 1)[g] = table_entry(2 + g);
	for (u64 i = 0; i < 2 * WORDS; i++)
		table(m, 2)[i] = i << 21 | PTE_LARGE;
	for (u64 i = 0; i < DATA_MAX / (2 * MIB); i++)
		table(m, 4)[i] = table_entry(first_small + i);
	for (u64 i = 0; i < DATA_MAX / PAGE; i++)
		table(m, first_small)[i] = (DATA_GPA + i * PAGE) | PTE_TABLE;
}

static void create_vm(struct machine *m, unsigned long type)
{
	m->kvm = must(open("/dev/kvm", O_RDWR | O_CLOEXEC), "/dev/kvm");
	m->vm = must(ioctl(m->kvm, KVM_CREATE_VM, type), "KVM_CREATE_VM");
}

/* Its memory and vCPUs. */
static void furnish(struct machine *m)
{
	m->low = memory_map(BACKING_ANON, LOW_SIZE);
	for (u32 i = 0; i < COUNT(programs); i++)
		memcpy(m->low + programs[i].at, programs[i].code, programs[i].size);
	write_page_tables(m);
	machine_slot(m, 0, 0, 0, LOW_SIZE, m->low);
	m->run_size = (size_t)must(ioctl(m->kvm, KVM_GET_VCPU_MMAP_SIZE, 0), "vcpu mmap size");
	for (u32 i = 0; i < MACHINE_VCPUS; i++) {
		m->vcpu[i] = must(ioctl(m->vm, KVM_CREATE_VCPU, i), "KVM_CREATE_VCPU");
		m->run[i] = mmap(NULL, m->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, m->vcpu[i],
				 0);
		MUST(m->run[i] != MAP_FAILED, "kvm_run");
		must(vcpu_set_long_mode(m->vcpu[i], GPA_PML4), "long mode");
	}
}

void machine_create(struct machine *m)
{
	machine_create_type(m, 0);
}

void machine_create_type(struct machine *m, unsigned long type)
{
	create_vm(m, type);
	furnish(m);
}

void machine_create_with_ring(struct machine *m, u32 bytes)
{
	struct kvm_enable_cap rings = {.cap = KVM_CAP_DIRTY_LOG_RING, .args = {bytes}};

	create_vm(m, 0);
	must(ioctl(m->vm, KVM_ENABLE_CAP, &rings), "KVM_CAP_DIRTY_LOG_RING");
	furnish(m);
}

void machine_destroy(struct machine *m)
{
	for (u32 i = 0; i < MACHINE_VCPUS; i++) {
		munmap(m->run[i], m->run_size);
		close(m->vcpu[i]);
	}
	close(m->vm);
	close(m->kvm);
	memory_unmap(m->low, LOW_SIZE);
}

void machine_run(struct machine *m, u32 vcpu, enum program p, u64 rbx, u64 rdi, u64 rsi)
{
	struct kvm_regs r = {
		.rip = programs[p].at, .rflags = 2, .rbx = rbx, .rdi = rdi, .rsi = rsi};

	must(ioctl(m->vcpu[vcpu], KVM_SET_REGS, &r), "KVM_SET_REGS");
	must(ioctl(m->vcpu[vcpu], KVM_RUN, 0), "KVM_RUN");
	MUST(m->run[vcpu]->exit_reason == KVM_EXIT_HLT, "the guest ends with exit %u",
	     m->run[vcpu]->exit_reason);
}
