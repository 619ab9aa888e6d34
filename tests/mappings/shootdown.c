/* SPDX-License-Identifier: MIT */
/*
 * tests/mappings/shootdown.c: a vCPU maps pages anew while another runs through them, and tells it by an interrupt,
 * whose handler invalidates in one of several ways and acknowledges.
 *
 * Each page of memory holds its own number. Of each address there are two words: what it is being mapped to, stored
 * before its entry is changed, and what it is mapped to, stored after the acknowledgement. The one that runs through
 * reads the second before its accesses and the first after them: when they are the same, nothing has changed meanwhile,
 * and every load must have got that page's number; a store must have gone through, or must not have, if the mapping is
 * read-only. It judges itself, so that nothing but its own accesses decides when interrupts come.
 *
 * usage: shootdown [MILLISECONDS [SEED]]
 */
#include "../vmm/minivmm.h"
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define PAGES	   16u
#define PHYSICAL   0x100000u /* of the pages */
#define EXPECTED   0x60000u  /* what each is mapped to, then what it is being mapped to */
#define MAIL	   0x61000u  /* the address, the way, acknowledged; then who shall stop */
#define COUNTS	   0x62000u
#define TABLES	   0x64000u /* a page directory, a page table */
#define TSS_AT(v)  (0x70000u + (v) * 0x1000u)
#define IST_AT(v)  (0x75000u + (v) * 0x1000u)
#define LINEAR	   0x40000000ull
#define SHOOTDOWN  0x40u
#define WRONG_PORT 0x66
#define END_PORT   0x67

/*
 * Both: R11 multiplies the random state R14; R12: EXPECTED, R13: LINEAR, R15: counts.
 * Who maps: R10: the page table, RBP: PHYSICAL, RBX: how many times. Words of R14: 40: which address, 45: which page,
 * 52: read-only, 55: the way. What it is mapped to: RBX << 16 | read-only << 15 | the page. Odd addresses are global.
 */
GUEST(code, 64,
      "cmpl $0, 0x61018\n jne 9f\n imul %r11, %r14\n inc %r14\n"
      "mov %r14, %rcx\n shr $40, %rcx\n and $15, %ecx\n mov %r14, %rdx\n shr $45, %rdx\n and $15, %edx\n"
      "mov %r14, %r8\n shr $52, %r8\n and $1, %r8d\n mov %r14, %r9\n shr $55, %r9\n and $3, %r9d\n"
      "test $1, %ecx\n jz 1f\n cmp $1, %r9d\n jne 1f\n xor %r9d, %r9d\n"
      "1: inc %rbx\n mov %rbx, %rax\n shl $16, %rax\n mov %r8, %rsi\n shl $15, %rsi\n or %rsi, %rax\n or %rdx, %rax\n"
      "mov %rax, 128(%r12,%rcx,8)\n"
      "mov %rdx, %rdi\n shl $12, %rdi\n add %rbp, %rdi\n xor $1, %r8d\n lea 1(%r8,%r8), %rsi\n or %rsi, %rdi\n"
      "mov %ecx, %esi\n and $1, %esi\n shl $8, %esi\n or %rsi, %rdi\n mov %rdi, (%r10,%rcx,8)\n"
      "mov %rcx, %rsi\n shl $12, %rsi\n add %r13, %rsi\n invlpg (%rsi)\n"
      "mov %rsi, 0x61000\n mov %r9, 0x61008\n movq $0, 0x61010\n"
      "mov %rcx, %rdi\n mov %rax, %rsi\n mov $0x830, %ecx\n mov $1, %edx\n mov $0x4040, %eax\n wrmsr\n"
      "2: pause\n cmpl $1, 0x61010\n jne 2b\n"
      "mov %rsi, (%r12,%rdi,8)\n incq (%r15)\n jmp guest_code\n"
      "9: movl $1, 0x6101c\n 8: out %eax, $0x67\n jmp 8b\n"

      ".balign 64\n guest_through: cmpl $0, 0x6101c\n jne 8b\n imul %r11, %r14\n inc %r14\n"
      "mov %r14, %rcx\n shr $40, %rcx\n and $15, %ecx\n mov (%r12,%rcx,8), %rsi\n"
      "mov %rcx, %rbx\n shl $12, %rbx\n add %r13, %rbx\n lea 0x800(%rbx), %rsp\n"
      "test $0x4000000, %r14d\n jz 1f\n"
      /* loads that share a look, and the stack's */
      "mov 0x10(%rbx), %rax\n mov 0x100(%rbx), %rdx\n mov 0x200(%rbx), %r8\n pop %r9\n jmp 2f\n"
      /* the same with a store: all of them are looked at as one */
      "1: mov 0x10(%rbx), %rax\n mov 0x100(%rbx), %rdx\n mov %r14, 0x300(%rbx)\n mov 0x200(%rbx), %r8\n push %r14\n"
      "mov 8(%rsp), %r9\n"
      "mov 128(%r12,%rcx,8), %rdi\n cmp %rsi, %rdi\n jne 7f\n test $0x8000, %esi\n jnz 6f\n"
      "2: mov 128(%r12,%rcx,8), %rdi\n cmp %rsi, %rdi\n jne 7f\n and $0x7fff, %edi\n"
      "cmp %rdi, %rax\n jne 6f\n cmp %rdi, %rdx\n jne 6f\n cmp %rdi, %r8\n jne 6f\n cmp %rdi, %r9\n jne 6f\n"
      "incq 8(%r15)\n"
      "7: incq (%r15)\n jmp guest_through\n"
      "6: out %eax, $0x66\n jmp 6b\n"

      /* a page fault: of a store to what is read-only */
      ".balign 64\n guest_fault: mov 128(%r12,%rcx,8), %rdi\n cmp %rsi, %rdi\n jne 5f\n test $0x8000, %esi\n jz 6b\n"
      "incq 16(%r15)\n 5: lea 7b(%rip), %rdi\n mov %rdi, 8(%rsp)\n add $8, %rsp\n iretq\n"

      ".balign 64\n guest_told: push %rax\n push %rcx\n push %rdx\n mov 0x61008, %rcx\n cmp $1, %ecx\n jb 1f\n je 2f\n"
      "cmp $2, %ecx\n je 3f\n"
      "1: mov 0x61000, %rax\n invlpg (%rax)\n jmp 4f\n"
      "2: mov %cr3, %rax\n mov %rax, %cr3\n jmp 4f\n"
      "3: mov %cr4, %rax\n btc $7, %rax\n mov %rax, %cr4\n btc $7, %rax\n mov %rax, %cr4\n"
      "4: movl $1, 0x61010\n mov $0x80b, %ecx\n xor %eax, %eax\n xor %edx, %edx\n wrmsr\n"
      "pop %rdx\n pop %rcx\n pop %rax\n iretq\n");
extern const uint8_t guest_through[], guest_fault[], guest_told[];

static struct minivmm vcpu[2];

static void put64(uint32_t at, uint64_t v)
{
	memcpy(vcpu[0].mem + at, &v, sizeof(v));
}

static uint64_t get64(uint32_t at)
{
	uint64_t v;

	memcpy(&v, vcpu[0].mem + at, sizeof(v));
	return v;
}

static void put_pages(void)
{
	put64(MINIVMM_PML4 + 0x1008, TABLES | 3);
	put64(TABLES, (TABLES + 0x1000) | 3);
	for (unsigned i = 0; i < PAGES; i++) {
		uint64_t *page = (uint64_t *)(vcpu[0].mem + PHYSICAL + i * 0x1000);

		for (unsigned n = 0; n < 512; n++)
			page[n] = i;
		put64(TABLES + 0x1000 + i * 8, (PHYSICAL + i * 0x1000) | 3);
		put64(EXPECTED + i * 8, i);
		put64(EXPECTED + 128 + i * 8, i);
	}
}

static void put_gate(unsigned vector, const uint8_t *handler)
{
	uint32_t to = MINIVMM_CODE + (uint32_t)(handler - code.start);
	uint32_t gate[4] = {0x180000 | (to & 0xffff), (to & 0xffff0000) | 0x8e01};

	memcpy(vcpu[0].mem + MINIVMM_IDT + vector * 16, gate, sizeof(gate));
}

static void set_vcpu(unsigned v, uint64_t seed)
{
	struct kvm_mp_state runnable = {.mp_state = KVM_MP_STATE_RUNNABLE};
	struct kvm_regs r = {.rip = MINIVMM_CODE + (v ? (uint64_t)(guest_through - code.start) : 0), .rflags = v ? 0x202 : 2,
			     .rsp = MINIVMM_STACK, .r10 = TABLES + 0x1000, .r11 = 6364136223846793005u, .r12 = EXPECTED,
			     .r13 = LINEAR, .r14 = seed + v, .r15 = COUNTS + v * 64, .rbp = PHYSICAL};
	struct kvm_sregs s;

	minivmm_get_sregs(&vcpu[v], &s);
	s.cr0 |= 1 << 16; /* WP */
	s.cr4 |= 1 << 7;  /* PGE */
	s.idt.limit = 0x1000 - 1;
	s.tr = (struct kvm_segment){.base = TSS_AT(v), .limit = 103, .selector = 0x30, .type = 11, .present = 1};
	minivmm_set_sregs(&vcpu[v], &s);
	put64(TSS_AT(v) + 36, IST_AT(v));
	minivmm_enable_apic(&vcpu[v]);
	minivmm_set_regs(&vcpu[v], &r);
	EXPECT(!ioctl(vcpu[v].vcpu, KVM_SET_MP_STATE, &runnable), "KVM_SET_MP_STATE: %s", strerror(errno));
}

static void *run(void *arg)
{
	unsigned v = (unsigned)(uintptr_t)arg;
	struct kvm_regs r;
	int ended = minivmm_run(&vcpu[v]);

	if (ended == KVM_EXIT_IO && vcpu[v].run->io.port == END_PORT)
		return NULL;
	minivmm_get_regs(&vcpu[v], &r);
	EXPECT(ended == KVM_EXIT_IO && vcpu[v].run->io.port == WRONG_PORT, "vCPU %u: exit %s", v, minivmm_exit_name(ended));
	EXPECT(0, "address %llx is mapped to %#llx, was read as page %llx, %llx, %llx and %llx; told in way %lu", r.rbx, r.rsi,
	       r.rax, r.rdx, r.r8, r.r9, get64(MAIL + 8));
	return NULL;
}

int main(int argc, char **argv)
{
	unsigned ms = argc > 1 ? (unsigned)atoi(argv[1]) : 1000;
	uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 1;
	pthread_t t[2];
	const uint32_t stop = 1;

	minivmm_create_with_irqchip(&vcpu[0]);
	minivmm_add_vcpu(&vcpu[0], 1, &vcpu[1]);
	for (unsigned v = 0; v < 2; v++)
		minivmm_load(&vcpu[v], MINIVMM_LONG, code);
	put_pages();
	put_gate(14, guest_fault);
	put_gate(SHOOTDOWN, guest_told);
	for (unsigned v = 0; v < 2; v++)
		set_vcpu(v, seed);
	for (unsigned v = 0; v < 2; v++)
		EXPECT(!pthread_create(&t[v], NULL, run, (void *)(uintptr_t)v), "no thread");
	usleep(ms * 1000);
	memcpy(vcpu[0].mem + MAIL + 24, &stop, sizeof(stop));
	for (unsigned v = 0; v < 2; v++)
		pthread_join(t[v], NULL);
	printf("%lu mappings, %lu runs, %lu of them undisturbed, %lu faults\n", get64(COUNTS), get64(COUNTS + 64),
	       get64(COUNTS + 72), get64(COUNTS + 80));
	EXPECT(get64(COUNTS) && get64(COUNTS + 72), "nothing was seen");
	return 0;
}
