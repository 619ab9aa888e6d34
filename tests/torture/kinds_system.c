/* SPDX-License-Identifier: MIT */
/* tests/torture/kinds_system.c: task switches, faults in delivery, timers, aliases of code. */
#include "torture.h"
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- tasks: 32-bit TSSs that all vCPUs switch to, by every way there is, while others spoil them */

#define NTASKS	  8u
#define TASK_AT	  0x34000u /* 128 bytes each */
#define TASK_SELS 0x20u	   /* selector of the first */
#define TASK_GATE 0x30u	   /* vector */

/*
 * Each round takes a random number of the time stamp: ECX a task, EDX what to do. The handler of all
 * exceptions is at offset 256 and begins anew; some vectors are task gates instead.
 */
GUEST(tasks, 32,
      "1: lock incl 0x30000\n rdtsc\n imul $0x9e3779b1, %eax, %ebx\n mov %ebx, %ecx\n shr $8, %ecx\n"
      "and $7, %ecx\n mov %ebx, %edx\n shr $12, %edx\n and $7, %edx\n"
      "lea 0x20(, %ecx, 8), %eax\n push %eax\n push $0\n"
      "dec %edx\n js 2f\n jz 3f\n dec %edx\n jz 4f\n dec %edx\n jz 5f\n dec %edx\n jz 6f\n dec %edx\n jz 7f\n"
      "dec %edx\n jz 8f\n"
      "int $0x30\n jmp 9f\n"
      "2: ljmp *(%esp)\n jmp 9f\n"
      "3: lcall *(%esp)\n jmp 9f\n"
      "4: pushf\n orl $0x4000, (%esp)\n popf\n iret\n" /* to the task before */
      "5: shl $7, %ecx\n mov %ebx, %eax\n shr $17, %eax\n and $31, %eax\n"
      "mov %ebx, 0x34000(%ecx, %eax, 4)\n jmp 9f\n"
      "6: andb $0xfd, 0x2025(, %ecx, 8)\n jmp 9f\n" /* not busy */
      "7: shl $7, %ecx\n movl $0x40000, 0x34020(%ecx)\n movl $2, 0x34024(%ecx)\n"
      "movl $0x9f000, 0x34038(%ecx)\n movl $0x10, 0x34048(%ecx)\n movl $8, 0x3404c(%ecx)\n"
      "movl $0x10, 0x34050(%ecx)\n movl $0x10, 0x34054(%ecx)\n movl $0x10, 0x34058(%ecx)\n"
      "movl $0x10, 0x3405c(%ecx)\n movl $0, 0x34060(%ecx)\n jmp 9f\n"
      "8: ud2\n"
      "9: add $8, %esp\n and $0x3fff, %esp\n or $0x9c000, %esp\n jmp 1b\n"
      ".org guest_tasks + 256\n mov $0x9f000, %esp\n mov $0x40000, %eax\n jmp *%eax\n");

static void put_task(unsigned n)
{
	uint32_t *t = (uint32_t *)(vcpu[0].mem + TASK_AT + n * 128);
	static const unsigned data_segments[] = {18, 20, 21, 22, 23};

	memset(t, 0, 128);
	t[8] = CODE_AT(0);
	t[9] = 2;
	t[14] = 0x9f000;
	for (unsigned i = 0; i < COUNT(data_segments); i++)
		t[data_segments[i]] = 0x10;
	t[19] = 8;
}

static void tasks_prepare(void)
{
	uint64_t *gdt = (uint64_t *)(vcpu[0].mem + MINIVMM_GDT);
	uint64_t *idt = (uint64_t *)(vcpu[0].mem + MINIVMM_IDT);
	struct kvm_sregs s;

	for (unsigned id = 0; id < now.vcpus; id++)
		minivmm_load(&vcpu[id], MINIVMM_PROT, tasks);
	memcpy(vcpu[0].mem + CODE_AT(0), tasks.start, (size_t)(tasks.end - tasks.start));
	for (unsigned i = 0; i < NTASKS; i++) {
		put_task(i);
		gdt[TASK_SELS / 8 + i] = 0x0000890000000067 | (uint64_t)(TASK_AT + i * 128) << 16;
	}
	for (unsigned v = 0; v < 32; v++)
		idt[v] = 0x00048e0000080100; /* to CODE_AT(0) + 256 */
	for (unsigned v = TASK_GATE; v < 256; v += TASK_GATE)
		idt[v] = 0x0000850000000000 | (uint64_t)TASK_SELS << 16;
	idt[8] = 0x0000850000000000 | (uint64_t)(TASK_SELS + 8) << 16;	/* double faults */
	idt[10] = 0x0000850000000000 | (uint64_t)(TASK_SELS + 16) << 16; /* #TS */
	for (unsigned id = 0; id < now.vcpus; id++) {
		minivmm_get_sregs(&vcpu[id], &s);
		s.gdt.limit = 0xfff;
		s.idt.limit = 0x7ff;
		s.tr = (struct kvm_segment){.base = TASK_AT + (id % NTASKS) * 128, .limit = 0x67, .type = 11,
					    .present = 1, .selector = (uint16_t)(TASK_SELS + (id % NTASKS) * 8)};
		minivmm_set_sregs(&vcpu[id], &s);
		machine_starts_here(id, CODE_AT(0));
	}
}

static int switched(void)
{
	return *(volatile uint32_t *)machine_counter(0) >= 100;
}

static void tasks_end(void)
{
	machine_wait(switched);
}

static void tasks_check(void)
{
	if (!switched())
		finding("no more than %u switches", *(uint32_t *)machine_counter(0));
}

const struct kind kind_tasks = {"tasks", NULL, 0, 8, KIND_EXITS | KIND_PLAIN, tasks_prepare, NULL, tasks_check,
				NULL, tasks_end};

/* ---- timers: each vCPU's deadline timer, armed anew for a little later by its own handler */

#define TIMER_VECTOR 0x42
#define STORM_VECTOR 0x43

/* R12: between deadlines at most, in ticks, a power of two; it is halved by the random bits. */
GUEST(timers, 64,
      "mov $0x832, %ecx\n mov $0x40042, %eax\n xor %edx, %edx\n wrmsr\n call 3f\n"
      "1: sti\n hlt\n jmp 1b\n"
      ".org guest_timers + 0x40\n"
      "push %rax\n push %rcx\n push %rdx\n incq (%r13)\n"
      "mov $0x80b, %ecx\n xor %eax, %eax\n xor %edx, %edx\n wrmsr\n call 3f\n"
      "pop %rdx\n pop %rcx\n pop %rax\n iretq\n"
      "3: rdtsc\n imul $0x9e3779b1, %eax, %ecx\n and %r12d, %ecx\n shl $32, %rdx\n or %rdx, %rax\n"
      "add %rcx, %rax\n mov %rax, %rdx\n shr $32, %rdx\n mov $0x6e0, %ecx\n wrmsr\n ret\n"
      ".org guest_timers + 0xc0\n"
      "push %rax\n push %rcx\n push %rdx\n incq 8(%r13)\n mov $0x80b, %ecx\n xor %eax, %eax\n"
      "xor %edx, %edx\n wrmsr\n pop %rdx\n pop %rcx\n pop %rax\n iretq\n");

static void timers_prepare(void)
{
	for (unsigned id = 0; id < now.vcpus; id++)
		minivmm_load(&vcpu[id], MINIVMM_LONG, timers);
	for (unsigned id = 0; id < now.vcpus; id++) {
		struct kvm_regs r = {.rip = MINIVMM_CODE, .rsp = STACK_AT(id), .rflags = 2,
				     .r12 = (1ULL << (4 + rnd() % 16)) - 1, .r13 = COUNTERS + id * 64};
		struct kvm_mp_state runnable = {.mp_state = KVM_MP_STATE_RUNNABLE};

		minivmm_enable_apic(&vcpu[id]);
		minivmm_set_gate(&vcpu[id], MINIVMM_LONG, TIMER_VECTOR, 0x40);
		minivmm_set_gate(&vcpu[id], MINIVMM_LONG, STORM_VECTOR, 0xc0);
		minivmm_set_regs(&vcpu[id], &r);
		ioctl(vcpu[id].vcpu, KVM_SET_MP_STATE, &runnable);
	}
}

static void timers_step(void)
{
	struct kvm_msi msi = {.address_lo = 0xfee00000 | (uint32_t)(rnd() % now.vcpus) << 12,
			      .data = STORM_VECTOR};

	for (unsigned i = 0; i < 4; i++)
		ioctl(vcpu[0].vm, KVM_SIGNAL_MSI, &msi);
}

static int all_came(void)
{
	for (unsigned id = 0; id < now.vcpus; id++) {
		if (!*(volatile uint64_t *)machine_counter(id))
			return 0;
	}
	return 1;
}

static void timers_end(void)
{
	machine_wait(all_came);
}

/* A deadline that was lost is a vCPU that sleeps for good. */
static void timers_check(void)
{
	for (unsigned id = 0; id < now.vcpus; id++) {
		uint64_t n = *machine_counter(id);

		if (!n)
			finding("vCPU %u's timer never came", id);
	}
}

const struct kind kind_timers = {"timers", NULL, 0, 32, KIND_IRQCHIP | KIND_PLAIN, timers_prepare, timers_step,
				 timers_check, NULL, timers_end};

/* ---- aliases: code that is stored into through another memslot over its page, and by another VM */

#define FUNCTION  0x38040u /* mov $imm16, %ax; ret */
#define ALIASES	  0x800000u /* of what is at 0x38000 and of the vCPUs' code, from 0x40000 on */
#define ALIAS_LEN 0x58000u

static struct minivmm other;

GUEST(call_it, 64,
      "mov $0x38040, %edx\n call *%rdx\n movzbl %al, %ecx\n movzbl %ah, %eax\n cmp %eax, %ecx\n je 1f\n"
      "out %al, $0x66\n 1:\n");
GUEST(patch_it, 64, "and $0xff, %eax\n imul $0x101, %eax\n mov %ax, 0x800042\n");
/* Its own next instruction, by its other name. */
GUEST(own_alias, 64,
      "lea 1f(%rip), %rdi\n mov %ax, 2 + 0x7c8000(%rdi)\n 1: .byte 0x66, 0xb9, 0, 0\n movzwl %ax, %eax\n"
      "movzwl %cx, %ecx\n cmp %ax, %cx\n je 2f\n out %al, $0x66\n 2:\n");
GUEST(patches, 64, "1: inc %eax\n and $0xff, %eax\n imul $0x101, %eax, %ecx\n mov %cx, 0x800042\n jmp 1b\n");

static const struct part alias_parts[] = {
	{"call_it", guest_call_it, guest_call_it_end, NULL},
	{"own_alias", guest_own_alias, guest_own_alias_end, NULL},
	{"patch_it", guest_patch_it, guest_patch_it_end, NULL},
};

static void *run_other(void *arg)
{
	while (!stopping)
		minivmm_run(&other);
	return NULL;
}

/* A second VM, whose vCPU hears no signal but ends with the process. */
static void make_other(void)
{
	struct kvm_userspace_memory_region r = {.slot = 5, .guest_phys_addr = ALIASES, .memory_size = 0x1000,
						.userspace_addr = (uintptr_t)vcpu[0].mem + 0x38000};
	pthread_t thread;

	minivmm_create(&other);
	minivmm_load(&other, MINIVMM_LONG, patches);
	if (ioctl(other.vm, KVM_SET_USER_MEMORY_REGION, &r) || pthread_create(&thread, NULL, run_other, NULL))
		finding("no other VM");
}

static void aliases_prepare(void)
{
	memcpy(vcpu[0].mem + FUNCTION, "\x66\xb8\x11\x11\xc3", 5);
	machine_slot(5, ALIASES, ALIAS_LEN, vcpu[0].mem + 0x38000, 0);
	if (rnd() % 2)
		make_other();
}

const struct kind kind_aliases = {"aliases", alias_parts, COUNT(alias_parts), 6, 0, aliases_prepare, NULL, NULL,
				  NULL, NULL};
