/* SPDX-License-Identifier: MIT */
/*
 * tests/vmm/descriptor_bits.c: the processor sets a descriptor's accessed bit and a TSS's busy bit by
 * locked operations (SDM vol. 3, 9.1.2.1). Two vCPUs change one byte of a descriptor, each bits of its
 * own: none is lost. Two vCPUs load one TSS with LTR: one does.
 */
#include "minivmm.h"
#include <pthread.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define LATE   40	/* seconds until the guests are given up */
#define TABLE  0x12000u /* the GDT */
#define WINS   0x13000u /* LTRs that went well; rounds; who is ready */

static struct minivmm v, second;

/*
 * The first loads DS by the descriptor at 0x20 after clearing its accessed bit, and the second sets and
 * clears AVL's neighbour, bit 6 of the same byte (DPL's upper bit), by locked instructions, and looks
 * whether it stays as it was set. DPL 0 or 2 is loaded alike.
 */
GUEST(loads, 64,
      "mov $20000, %ecx\n 1: lock andb $0xfe, 0x12025\n mov $0x20, %eax\n mov %eax, %ds\n"
      "testb $1, 0x12025\n jz 2f\n dec %ecx\n jnz 1b\n movb $1, 0x13010\n hlt\n 2: out %al, $0x11\n");
GUEST(toggles, 64,
      "1: lock orb $0x40, 0x12025\n mov $50, %edx\n 3: testb $0x40, 0x12025\n jz 2f\n dec %edx\n jnz 3b\n"
      "lock andb $0xbf, 0x12025\n mov $50, %edx\n 4: testb $0x40, 0x12025\n jnz 2f\n dec %edx\n jnz 4b\n"
      "cmpb $0, 0x13010\n je 1b\n hlt\n 2: out %al, $0x12\n");

/* EBX: this vCPU's number. #GP comes to 0x80: it was busy. Both meet before each LTR, and after it. */
GUEST(takes, 64,
      "xor %edi, %edi\n mov $2000, %ecx\n"
      "1: inc %edi\n test %ebx, %ebx\n jnz 2f\n lock andb $0xfd, 0x1202d\n"
      "2: lock incl 0x13008\n lea (%rdi, %rdi), %edx\n 3: pause\n cmp %edx, 0x13008\n jb 3b\n"
      "mov $0x28, %eax\n ltr %ax\n lock incl 0x13000\n"
      "4: lock incl 0x1300c\n 5: pause\n cmp %edx, 0x1300c\n jb 5b\n"
      "cmp %edi, 0x13000\n jne 6f\n dec %ecx\n jnz 1b\n hlt\n 6: out %al, $0x11\n"
      ".org guest_takes + 0x80\n add $8, %rsp\n lea 4b(%rip), %rax\n mov %rax, (%rsp)\n iretq\n");

static void *run_second(void *arg)
{
	EXPECT_EXIT(&second, KVM_EXIT_HLT);
	return NULL;
}

static void set_up(struct minivmm *m)
{
	struct kvm_sregs s;

	minivmm_get_sregs(m, &s);
	s.gdt.base = TABLE;
	s.gdt.limit = 7 * 8 - 1;
	minivmm_set_sregs(m, &s);
}

static void run_both(struct guest_code first, struct guest_code other)
{
	uint64_t *gdt = (uint64_t *)(v.mem + TABLE);
	pthread_t thread;
	struct kvm_regs r;

	/* One page of code: the second's lies behind the first's. */
	minivmm_load(&second, MINIVMM_LONG, other);
	minivmm_load(&v, MINIVMM_LONG, first);
	memcpy(v.mem + MINIVMM_CODE + 0x400, other.start, (size_t)(other.end - other.start));
	memcpy(gdt, v.mem + MINIVMM_GDT, 4 * sizeof(*gdt));
	gdt[4] = gdt[2];
	gdt[5] = 0x0000890000000067 | (uint64_t)(TABLE + 0x100) << 16;
	gdt[6] = 0;
	memset(v.mem + WINS, 0, 32);
	set_up(&v);
	set_up(&second);
	minivmm_set_gate(&v, MINIVMM_LONG, 13, 0x80);
	minivmm_set_gate(&second, MINIVMM_LONG, 13, 0x80);
	minivmm_get_regs(&second, &r);
	r.rip += first.start == other.start ? 0 : 0x400;
	r.rbx = 1;
	r.rsp -= 0x1000;
	minivmm_set_regs(&second, &r);
	pthread_create(&thread, NULL, run_second, NULL);
	EXPECT_EXIT(&v, KVM_EXIT_HLT);
	pthread_join(thread, NULL);
}

int main(void)
{
	alarm(hang_limit(LATE));
	minivmm_create(&v);
	minivmm_add_vcpu(&v, 1, &second);
	run_both(loads, toggles);
	run_both(takes, takes);
	return 0;
}
