/* SPDX-License-Identifier: MIT */
/*
 * tests/vmm/run_again.c: an instruction that is broken off amid its stores and run again does what
 * it would have done at first.
 *
 * A page is taken from the guest with a system call that nothing watches, so that one half of a
 * store across two pages finds its page and the other does not: KVM_RUN gives EFAULT. Then the page
 * comes back, and the guest goes on. And half of an operand lies on a device, which is asked amid
 * the instruction: once for each access that the program makes.
 */
#include "minivmm.h"
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PAGE   0x1000u
#define LOW    0x100000u	 /* two pages */
#define HIGH   (LOW + PAGE)
#define EDGE   "0x101000"	 /* HIGH */
#define HOLE   "0x200000"	 /* the end of memory: devices */
#define READY  0x10		 /* ports: both pages have been stored to ... */
#define DONE   0x11		 /* ... and the instruction is done */
#define MAXOPS 64

/* What stands before each case: both pages are stored to, so that stage 2 has them for writing. */
#define TOUCH "movl $0, 0x100000\n movl $0, 0x101ff8\n mov $0x101800, %rsp\n out %al, $0x10\n"

#define CASE(name, text) GUEST(name, 64, TOUCH text "\nout %al, $0x11\n")
CASE(add, "addq $1, " EDGE " - 4");
CASE(lock_add, "lock addq $1, " EDGE " - 4");
CASE(not, "notq " EDGE " - 3");
CASE(xadd, "mov $5, %rax\n xaddq %rax, " EDGE " - 4\n lock xaddq %rax, " EDGE " - 4");
CASE(xchg, "mov $5, %rax\n xchg %rax, " EDGE " - 5");
CASE(bts, "mov $3, %rax\n btcq %rax, " EDGE " - 4");
CASE(cmpxchg8b, "mov $1, %ebx\n mov $2, %ecx\n mov $0x0e0700f9, %eax\n mov $0x2a231c15, %edx\n"
		"lock cmpxchg8b " EDGE " - 4");
CASE(shld, "mov $0x1234567890, %rbx\n shldq $7, %rbx, " EDGE " - 2");
/* What is moved, pushed and popped overlaps what is stored first. */
CASE(movs, "mov $" EDGE " - 4, %rsi\n mov $" EDGE " - 3, %rdi\n movsq");
CASE(rep_movs, "mov $" EDGE " - 20, %rsi\n mov $" EDGE " - 19, %rdi\n mov $3, %ecx\n rep movsq");
CASE(push_m, "mov $" EDGE " + 4, %rsp\n push " EDGE " - 6");
CASE(pop_m, "mov $" EDGE " - 6, %rsp\n pop " EDGE " - 4");
/* It pushes downwards, over frame pointers that it has copied: here the lower page is taken. */
CASE(enter, "mov $" EDGE " + 0x1c, %rsp\n mov $" EDGE " + 0x10, %rbp\n enter $0, $5");
/* The state after it is not that before: it must not be stored twice. */
CASE(fstp, "fninit\n fld1\n fldpi\n fstpt " EDGE " - 4\n fstpl " EDGE " + 16");

struct outcome {
	uint8_t mem[2 * PAGE];
	struct kvm_regs regs;
};

/* Not by libc's function, which userkvm stands in for. */
static void protect(struct minivmm *v, uint32_t page, int prot)
{
	EXPECT(!syscall(SYS_mprotect, v->mem + page, PAGE, prot), "%s", strerror(errno));
}

static void expect_port(struct minivmm *v, unsigned port)
{
	EXPECT(v->run->exit_reason == KVM_EXIT_IO && v->run->io.port == port, "exit %s",
	       minivmm_exit_name((int)v->run->exit_reason));
}

/* `taken`: the page that breaks it off, or 0. */
static void run_case(struct guest_code code, uint32_t taken, struct outcome *o)
{
	struct minivmm v;

	minivmm_create(&v);
	minivmm_load(&v, MINIVMM_LONG, code);
	EXPECT_EXIT(&v, KVM_EXIT_IO);
	expect_port(&v, READY);
	for (unsigned i = 0; i < 64; i++)
		v.mem[HIGH - 32 + i] = (uint8_t)(0x35 + 7 * i);
	if (taken) {
		int r;

		protect(&v, taken, PROT_READ);
		/* Twice: what broke off may break off again. */
		for (int i = 0; i < 2; i++) {
			r = minivmm_run(&v);
			EXPECT(r == -EFAULT, "%s", minivmm_exit_name(r));
		}
		protect(&v, taken, PROT_READ | PROT_WRITE);
	}
	EXPECT_EXIT(&v, KVM_EXIT_IO);
	expect_port(&v, DONE);
	memcpy(o->mem, v.mem + LOW, sizeof(o->mem));
	minivmm_get_regs(&v, &o->regs);
	minivmm_destroy(&v);
}

static void test_second_page(void)
{
	static const struct {
		const char *name;
		const struct guest_code *code;
	} cases[] = {
		{"add", &add},	     {"lock add", &lock_add}, {"not", &not},
		{"xadd", &xadd},     {"xchg", &xchg},	      {"btc", &bts},
		{"cmpxchg8b", &cmpxchg8b}, {"shld", &shld},   {"movs", &movs},
		{"rep movs", &rep_movs},   {"push", &push_m}, {"pop", &pop_m},
		{"enter", &enter},   {"fstp", &fstp},
	};
	static struct outcome at_once, again;

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		run_case(*cases[i].code, 0, &at_once);
		run_case(*cases[i].code, cases[i].code == &enter ? LOW : HIGH, &again);
		for (unsigned at = 0; at < sizeof(again.mem); at++)
			EXPECT(again.mem[at] == at_once.mem[at],
			       "%s: byte %#x is %#x, not %#x", cases[i].name, LOW + at,
			       again.mem[at], at_once.mem[at]);
		EXPECT(!memcmp(&again.regs, &at_once.regs, sizeof(again.regs)), "%s: registers",
		       cases[i].name);
	}
}

/* ---- devices */

#define DEVICE(name, text) GUEST(name, 64, text "\nout %al, $0x11\n")
DEVICE(dev_lock, "lock incl " HOLE);
DEVICE(dev_xchg, "mov $7, %eax\n xchg %eax, " HOLE);
DEVICE(dev_cmpxchg, "mov $0x33, %eax\n mov $7, %ebx\n lock cmpxchg %ebx, " HOLE);
DEVICE(dev_half, "addq $1, " HOLE " - 4");
DEVICE(dev_half_lock, "lock addq $1, " HOLE " - 4");

/* The device holds 0x33 and counts what is asked of it. */
static void run_device(const char *name, struct guest_code code, uint32_t stored, int64_t half)
{
	unsigned reads = 0, writes = 0;
	struct minivmm v;
	int32_t low = -1;

	minivmm_create(&v);
	minivmm_load(&v, MINIVMM_LONG, code);
	memcpy(v.mem + MINIVMM_MEM - 4, &low, 4);
	while (minivmm_run(&v) == KVM_EXIT_MMIO) {
		uint32_t held = 0x33;

		EXPECT(v.run->mmio.phys_addr == MINIVMM_MEM && v.run->mmio.len == 4, "%s", name);
		if (v.run->mmio.is_write)
			EXPECT(!memcmp(v.run->mmio.data, &stored, 4), "%s: %#x stored", name,
			       v.run->mmio.data[0]);
		else
			memcpy(v.run->mmio.data, &held, 4);
		v.run->mmio.is_write ? writes++ : reads++;
		EXPECT(reads + writes < MAXOPS, "%s goes on for ever", name);
	}
	expect_port(&v, DONE);
	EXPECT(reads == 1 && writes == 1, "%s: the device was read %u times and written %u times",
	       name, reads, writes);
	memcpy(&low, v.mem + MINIVMM_MEM - 4, 4);
	EXPECT(low == half, "%s: %d in memory", name, low);
	minivmm_destroy(&v);
}

static void test_devices(void)
{
	run_device("lock inc", dev_lock, 0x34, -1);
	run_device("xchg", dev_xchg, 7, -1);
	run_device("lock cmpxchg", dev_cmpxchg, 7, -1);
	/* 0x33ffffffff and one: the carry reaches the device, the memory is 0. */
	run_device("add", dev_half, 0x34, 0);
	run_device("lock add", dev_half_lock, 0x34, 0);
}

/* ---- a task switch whose new segments cannot be read: they are in an LDT on a page of its own */

#define TASK_GDT 0x40000u
#define TASK_LDT 0x41000u
#define OLD_TSS	 0x42000u
#define NEW_TSS	 0x43000u
enum { GDT_OLD = 0x18, GDT_NEW = 0x20, GDT_LDT = 0x28, LDT_CODE = 0x4, LDT_DATA = 0xc };

GUEST(tasks, 32,
      "mov $0x18, %eax\n ltr %ax\n mov $7, %ebx\n out %al, $0x10\n"
      "lcall $0x20, $0\n"
      "out %al, $0x12\n"
      ".org guest_tasks + 0x100\n"
      "out %al, $0x11\n iret\n");

static uint64_t descriptor(uint32_t base, uint32_t limit, uint32_t attr)
{
	return (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 | (uint64_t)attr << 40 |
	       (uint64_t)(limit >> 16) << 48;
}

static void write_tasks(struct minivmm *v)
{
	const uint64_t code = 0x00cf9b000000ffff, data = 0x00cf93000000ffff;
	const uint64_t gdt[] = {0, code, data, descriptor(OLD_TSS, 0x67, 0x89),
				descriptor(NEW_TSS, 0x67, 0x89), descriptor(TASK_LDT, 0xf, 0x82)};
	uint32_t *tss = (uint32_t *)(v->mem + NEW_TSS);
	struct kvm_sregs s;

	memcpy(v->mem + TASK_GDT, gdt, sizeof(gdt));
	memcpy(v->mem + TASK_LDT, &code, 8);
	memcpy(v->mem + TASK_LDT + 8, &data, 8);
	tss[8] = MINIVMM_CODE + 0x100; /* EIP, EFLAGS, EBX, ESP, then selectors (SDM vol. 3, 8.2.1) */
	tss[9] = 2;
	tss[13] = 9;
	tss[14] = MINIVMM_STACK;
	for (unsigned i = 18; i < 24; i++)
		tss[i] = LDT_DATA;
	tss[19] = LDT_CODE;
	tss[24] = GDT_LDT;
	minivmm_get_sregs(v, &s);
	s.gdt.base = TASK_GDT;
	s.gdt.limit = sizeof(gdt) - 1;
	minivmm_set_sregs(v, &s);
}

static void test_task_switch(void)
{
	struct kvm_sregs s;
	struct kvm_regs r;
	struct minivmm v;
	int got;

	minivmm_create(&v);
	minivmm_load(&v, MINIVMM_PROT, tasks);
	write_tasks(&v);
	EXPECT_EXIT(&v, KVM_EXIT_IO);
	expect_port(&v, READY);
	protect(&v, TASK_LDT, PROT_NONE);
	for (int i = 0; i < 2; i++) {
		got = minivmm_run(&v);
		EXPECT(got == -EFAULT, "%s", minivmm_exit_name(got));
		minivmm_get_regs(&v, &r);
		minivmm_get_sregs(&v, &s);
		EXPECT(s.tr.selector == GDT_OLD && s.cs.selector == 8 && r.rbx == 7,
		       "half a task: TR %#x, CS %#x", s.tr.selector, s.cs.selector);
	}
	protect(&v, TASK_LDT, PROT_READ | PROT_WRITE);
	EXPECT_EXIT(&v, KVM_EXIT_IO);
	expect_port(&v, DONE);
	minivmm_get_regs(&v, &r);
	minivmm_get_sregs(&v, &s);
	EXPECT(s.tr.selector == GDT_NEW && s.cs.selector == LDT_CODE && r.rbx == 9,
	       "TR %#x, CS %#x", s.tr.selector, s.cs.selector);
	/* And back: both are as busy as they should be. */
	EXPECT_EXIT(&v, KVM_EXIT_IO);
	EXPECT(v.run->io.port == 0x12, "port %#x", v.run->io.port);
	minivmm_get_regs(&v, &r);
	EXPECT(r.rbx == 7, "EBX %llu", r.rbx);
	minivmm_destroy(&v);
}

int main(void)
{
	test_second_page();
	test_devices();
	test_task_switch();
	return 0;
}
