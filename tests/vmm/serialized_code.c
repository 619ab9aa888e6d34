/* SPDX-License-Identifier: MIT */
/*
 * tests/vmm/serialized_code.c: code that is stored by another name than it is run by, through another
 * memslot over the same page: the next call runs it. And code that a thread of the VMM's stores while
 * the guest polls a flag: after a serializing instruction of any kind (SDM vol. 3, 9.3) the call runs
 * it, if the guest polled with PAUSE or the last look at code is some milliseconds old (docs/cpu.md). A program's
 * CPUID is a reason to look at the program's code in any case.
 */
#include "minivmm.h"
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define ROUNDS	 40
#define FEW	 3 /* of those that wait */
#define LATE	 40 /* seconds until the guest is given up */
#define FUNCTION 0x400000u
#define ALIAS	 0x500000u /* the same page once more */
#define ASKED	 0x12000u  /* the round that the guest waits for */
#define TOLD	 0x13000u  /* the round whose code is stored */
#define TABLES	 0x14000u  /* a GDT with a TSS */

/*
 * r8d: the round, which the function's constant must be after the serializing instruction. The
 * function is called before, so that it is cached. ebp: 0, store by itself through the alias; 1, ask
 * for it and poll; r9d: without PAUSE, and for a while longer, unless r11d; r10d: rounds. The instruction is put at 5.
 */
GUEST(calls, 64,
      "mov $1, %r8d\n"
      "1: mov $0x400000, %ebx\n call *%rbx\n"
      "test %ebp, %ebp\n jnz 2f\n"
      "mov %r8d, 0x500001\n jmp 5f\n"
      "2: mov %r8d, 0x12000\n test %r9d, %r9d\n jnz 4f\n"
      "3: pause\n cmp %r8d, 0x13000\n jne 3b\n jmp 5f\n"
      "4: cmp %r8d, 0x13000\n jne 4b\n test %r11d, %r11d\n jnz 5f\n"
      "rdtsc\n mov %eax, %esi\n 6: rdtsc\n sub %esi, %eax\n cmp $0x2000000, %eax\n jb 6b\n"
      "5: .skip 64, 0x90\n"
      "7: mov $0x400000, %ebx\n call *%rbx\n"
      "cmp %r8d, %eax\n jne 8f\n"
      "inc %r8d\n cmp %r10d, %r8d\n jbe 1b\n out %eax, $0x10\n"
      "8: out %eax, $0x11\n");
GUEST(function, 64, "mov $0, %eax\n ret");

GUEST(nothing, 64, "nop");
GUEST(cpuid, 64, "xor %eax, %eax\n cpuid");
GUEST(serialize, 64, ".byte 0x0f, 0x01, 0xe8");
GUEST(wbinvd, 64, "wbinvd");
GUEST(wbnoinvd, 64, ".byte 0xf3, 0x0f, 0x09");
GUEST(invd, 64, "invd");
GUEST(iret, 64,
      "mov %ss, %eax\n push %rax\n lea 8(%rsp), %rax\n push %rax\n pushfq\n mov %cs, %eax\n push %rax\n"
      "lea 1f(%rip), %rax\n push %rax\n iretq\n 1:");
GUEST(wrmsr, 64, "mov $0xc0000102, %ecx\n xor %eax, %eax\n xor %edx, %edx\n wrmsr");
GUEST(cr0, 64, "mov %cr0, %rax\n mov %rax, %cr0");
GUEST(cr2, 64, "mov %rax, %cr2");
GUEST(cr3, 64, "mov %cr3, %rax\n mov %rax, %cr3");
GUEST(cr4, 64, "mov %cr4, %rax\n mov %rax, %cr4");
GUEST(dr, 64, "mov %rax, %dr0");
GUEST(invlpg, 64, "invlpg 0x1000");
GUEST(invpcid, 64, "push $0\n push $0\n mov $2, %eax\n invpcid (%rsp), %rax\n add $16, %rsp");
GUEST(lgdt, 64, "push $0\n push $0\n sgdt (%rsp)\n lgdt (%rsp)\n add $16, %rsp");
GUEST(lidt, 64, "push $0\n push $0\n sidt (%rsp)\n lidt (%rsp)\n add $16, %rsp");
GUEST(lldt, 64, "xor %eax, %eax\n lldt %ax");
GUEST(ltr, 64, "andb $0xfd, 0x14025\n mov $0x20, %eax\n ltr %ax");

static const struct instruction {
	const char *name;
	const uint8_t *start, *end;
} instructions[] = {
#define I(name) {#name, guest_##name, guest_##name##_end}
	I(nothing), /* enough for what another guest stores */
	I(cpuid), I(serialize), I(wbinvd), I(wbnoinvd), I(invd), I(iret), I(wrmsr), I(cr0), I(cr2),
	I(cr3), I(cr4), I(dr), I(invlpg), I(invpcid), I(lgdt), I(lidt), I(lldt), I(ltr),
};
#define NR_INSTRUCTIONS (sizeof(instructions) / sizeof(instructions[0]))

static struct minivmm v;
static uint8_t *function_page; /* as the VMM sees it */
static uint32_t rounds;

static void set_slot(unsigned slot, uint64_t gpa, void *hva, uint64_t size)
{
	struct kvm_userspace_memory_region r = {
		.slot = slot,
		.guest_phys_addr = gpa,
		.memory_size = size,
		.userspace_addr = (uintptr_t)hva,
	};

	EXPECT(!ioctl(v.vm, KVM_SET_USER_MEMORY_REGION, &r), "%s", strerror(errno));
}

/* The slots of the function's page and of its alias. */
static void set_slots(uint8_t *page, uint8_t *alias)
{
	set_slot(1, FUNCTION, page, 0x1000);
	set_slot(2, ALIAS, alias, 0x1000);
	function_page = page;
}

static void delete_slots(void)
{
	set_slot(1, FUNCTION, NULL, 0);
	set_slot(2, ALIAS, NULL, 0);
}

static void *store_when_asked(void *arg)
{
	for (uint32_t n = 1; n <= rounds; n++) {
		while (__atomic_load_n((uint32_t *)(v.mem + ASKED), __ATOMIC_ACQUIRE) != n)
			sched_yield();
		memcpy(function_page + 1, &n, sizeof(n));
		__atomic_store_n((uint32_t *)(v.mem + TOLD), n, __ATOMIC_RELEASE);
	}
	return NULL;
}

/* A GDT like the VMM's, and a TSS in it. */
static void make_tables(void)
{
	uint64_t *gdt = (uint64_t *)(v.mem + TABLES);
	struct kvm_sregs s;

	memcpy(gdt, v.mem + MINIVMM_GDT, 4 * sizeof(*gdt));
	gdt[4] = 0x0000890000000067 | (uint64_t)(TABLES + 0x100) << 16;
	gdt[5] = 0;
	minivmm_get_sregs(&v, &s);
	s.gdt.base = TABLES;
	s.gdt.limit = 6 * sizeof(*gdt) - 1;
	minivmm_set_sregs(&v, &s);
}

/* At CPL 3, all of memory being the program's, and every port. */
static void become_user(void)
{
	uint64_t *table = (uint64_t *)(v.mem + MINIVMM_PML4);
	struct kvm_sregs s;
	struct kvm_regs r;

	for (unsigned i = 0; i < 3 * 512; i++)
		table[i] |= table[i] & 1 ? 4 : 0;
	minivmm_get_sregs(&v, &s);
	s.cs.dpl = s.ss.dpl = s.ds.dpl = s.es.dpl = 3;
	s.cs.selector |= 3;
	s.ss.selector |= 3;
	minivmm_set_sregs(&v, &s);
	minivmm_get_regs(&v, &r);
	r.rflags |= 3 << 12; /* IOPL */
	minivmm_set_regs(&v, &r);
}

enum { OF_KERNEL, OF_PROGRAM };

static void run(const char *how, const struct instruction *in, bool poll, bool pauses, int whose)
{
	uint8_t *code = v.mem + MINIVMM_CODE;
	size_t room;
	pthread_t storing;
	struct kvm_regs r;
	int reason;

	minivmm_load(&v, MINIVMM_LONG, calls);
	make_tables();
	for (room = 0; memcmp(code + room, "\x90\x90\x90\x90", 4); room++)
		;
	memcpy(code + room, in->start, (size_t)(in->end - in->start));
	memcpy(function_page, function.start, (size_t)(function.end - function.start));
	memset(v.mem + ASKED, 0, 4);
	memset(v.mem + TOLD, 0, 4);
	minivmm_get_regs(&v, &r);
	r.rbp = poll;
	r.r9 = !pauses;
	r.r11 = whose == OF_PROGRAM;
	r.r10 = rounds = pauses ? ROUNDS : FEW;
	minivmm_set_regs(&v, &r);
	if (whose == OF_PROGRAM)
		become_user();
	if (poll)
		pthread_create(&storing, NULL, store_when_asked, NULL);
	reason = minivmm_run(&v);
	minivmm_get_regs(&v, &r);
	EXPECT(reason == KVM_EXIT_IO && v.run->io.port == 0x10, "%s, %s: exit %s; in round %llu the function returned %llu", how,
	       in->name, minivmm_exit_name(reason), r.r8, r.rax);
	if (poll)
		pthread_join(storing, NULL);
}

/* A register of CPUID.7 as the vCPU was given it. */
static struct kvm_cpuid_entry2 leaf_7(void)
{
	struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entry[256];
	} c = {.head.nent = 256};

	EXPECT(!ioctl(v.kvm, KVM_GET_SUPPORTED_CPUID, &c), "%s", strerror(errno));
	for (unsigned i = 0; i < c.head.nent; i++) {
		if (c.entry[i].function == 7 && !c.entry[i].index)
			return c.entry[i];
	}
	return (struct kvm_cpuid_entry2){0};
}

static bool exists(const struct instruction *in)
{
	if (in->start == guest_serialize)
		return leaf_7().edx & 1 << 14;
	return in->start != guest_invpcid || leaf_7().ebx & 1 << 10;
}

static void run_all(const char *how, bool poll, bool pauses)
{
	for (unsigned i = poll; i < NR_INSTRUCTIONS; i++) {
		if (exists(&instructions[i]))
			run(how, &instructions[i], poll, pauses, OF_KERNEL);
	}
}

static void run_program(bool pauses)
{
	for (unsigned i = 0; i < NR_INSTRUCTIONS; i++) {
		const struct instruction *in = &instructions[i];

		if (exists(in) && (in->start == guest_cpuid || in->start == guest_serialize))
			run(pauses ? "a program" : "a program, without PAUSE", in, true, pauses, OF_PROGRAM);
	}
}

int main(void)
{
	int prot = PROT_READ | PROT_WRITE, fd = memfd_create("guest", 0);
	uint8_t *private = mmap(NULL, 0x1000, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint8_t *shared, *again;

	alarm(hang_limit(LATE));
	EXPECT(private != MAP_FAILED && fd >= 0 && !ftruncate(fd, 0x1000), "%s", strerror(errno));
	shared = mmap(NULL, 0x1000, prot, MAP_SHARED, fd, 0);
	again = mmap(NULL, 0x1000, prot, MAP_SHARED, fd, 0);
	EXPECT(shared != MAP_FAILED && again != MAP_FAILED, "%s", strerror(errno));
	minivmm_create(&v);

	set_slots(private, private);
	run_all("two slots of one mapping", false, true);
	run_all("a thread of the VMM's", true, true);
	run_all("a thread of the VMM's, without PAUSE", true, false);
	run_program(true);
	run_program(false);
	delete_slots();
	set_slots(shared, again);
	run_all("two slots of two mappings of a file", false, true);
	run_all("a thread of the VMM's, in a file", true, true);
	return 0;
}
