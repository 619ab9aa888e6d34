/* SPDX-License-Identifier: MIT */
/*
 * tests/vmm/private_smp.c: one to four vCPUs convert their pages to and fro, as a confidential
 * guest does: each writes a page full, reads it back, asks for the other kind of memory, and
 * must then find zeroes. The VMM punches and empties what a conversion leaves behind, and looks
 * at every byte of the mapping it has: a page that was private has left nothing there.
 *
 * The vCPUs' pages lie in turn, so that each large mapping is of all of them.
 *
 * usage: private_smp [iterations [seed]]
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/kvm_para.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "gmem.h"
#include "minivmm.h"

#define GPA	  0x400000u
#define OWN	  64u /* pages of each vCPU: bits of a register */
#define MAX_VCPUS 4u
#define SIZE	  ((uint64_t)MAX_VCPUS * OWN * GMEM_PAGE)

/*
 * r12: GPA; r13: vCPUs; r14: this one; r15: iterations; r11: random numbers; r10: a number that
 * grows; r8: which of the pages are private. A word is number << 32 | page << 8 | 1. Ends with
 * HLT and al 0, or al saying what was wrong.
 */
GUEST(convert64, 64,
      "next:\n"
      " mov %r11, %rax\n shl $13, %rax\n xor %rax, %r11\n"
      " mov %r11, %rax\n shr $7, %rax\n xor %rax, %r11\n"
      " mov %r11, %rax\n shl $17, %rax\n xor %rax, %r11\n"
      /* one of its pages: rsi, at rdi */
      " mov %r11, %r9\n and $63, %r9d\n mov %r9, %rsi\n imul %r13, %rsi\n add %r14, %rsi\n"
      " mov %rsi, %rdi\n shl $12, %rdi\n add %r12, %rdi\n"
      /* write it full, and read that back */
      " inc %r10\n mov %r10, %rax\n shl $32, %rax\n"
      " mov %rsi, %rbp\n shl $8, %rbp\n or %rbp, %rax\n or $1, %rax\n"
      " push %rdi\n mov $512, %ecx\n rep stosq\n pop %rdi\n"
      " push %rdi\n mov $512, %ecx\n repe scasq\n pop %rdi\n jne lost\n"
      /* the other kind */
      " xor %edx, %edx\n btc %r9, %r8\n jc 1f\n mov $0x10, %edx\n"
      "1: mov %rdi, %rbx\n mov $1, %ecx\n mov $12, %eax\n vmcall\n"
      " test %rax, %rax\n jnz refused\n"
      " xor %eax, %eax\n push %rdi\n mov $512, %ecx\n repe scasq\n pop %rdi\n jne stale\n"
      /* a word of anybody's page is that page's or none */
      " mov %r11, %rax\n shr $20, %rax\n xor %edx, %edx\n mov %r13, %rcx\n shl $6, %rcx\n"
      " div %rcx\n mov %rdx, %rsi\n shl $12, %rdx\n add %r12, %rdx\n mov 0x918(%rdx), %rax\n"
      " test %rax, %rax\n jz 2f\n shr $8, %rax\n movzwl %ax, %eax\n cmp %esi, %eax\n"
      " jne strange\n"
      "2: dec %r15\n jnz next\n"
      " mov $0, %al\n hlt\n"
      "lost: mov $1, %al\n hlt\n"
      "refused: mov $2, %al\n hlt\n"
      "stale: mov $3, %al\n hlt\n"
      "strange: mov $4, %al\n hlt\n");

static const char *const wrong[] = {"nothing", "a page does not hold what was written to it",
				    "the VMM refused a conversion",
				    "a page is not empty after its conversion",
				    "a page holds another's words"};

static unsigned iterations = 400, seed = 1;

static struct {
	struct minivmm v[MAX_VCPUS];
	unsigned n;
	int file;
	uint8_t *mem;
} m;

static void expect_zeroes(const uint64_t *page, const char *when)
{
	for (unsigned i = 0; i < GMEM_PAGE / 8; i++)
		EXPECT(!page[i], "%s the mapping holds %#llx (seed %u)", when,
		       (unsigned long long)page[i], seed);
}

/* What the guest wrote to shared memory is all there. */
static void expect_full(const uint64_t *page, uint64_t index)
{
	for (unsigned i = 0; i < GMEM_PAGE / 8; i++)
		EXPECT(page[i] == page[0] && (page[i] & 0xffffffff) == (index << 8 | 1),
		       "a shared page holds %#llx (seed %u)", (unsigned long long)page[i],
		       seed);
}

static void answer(struct kvm_run *run)
{
	uint64_t gpa = run->hypercall.args[0], off = gpa - GPA;
	bool private_ = run->hypercall.args[2] & KVM_MAP_GPA_RANGE_ENCRYPTED;
	uint8_t *page = m.mem + off;

	EXPECT(run->hypercall.nr == KVM_HC_MAP_GPA_RANGE && run->hypercall.args[1] == 1 &&
		       off < SIZE,
	       "a call for %#llx", (unsigned long long)gpa);
	if (private_)
		expect_full((uint64_t *)page, off / GMEM_PAGE);
	else
		expect_zeroes((uint64_t *)page, "while its page is private");
	EXPECT(!gmem_convert(m.v[0].vm, gpa, GMEM_PAGE, private_ ? GMEM_PRIVATE : 0),
	       "convert: %s", strerror(errno));
	if (private_)
		EXPECT(!madvise(page, GMEM_PAGE, MADV_REMOVE), "remove: %s", strerror(errno));
	else
		EXPECT(!fallocate(m.file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				  (off_t)off, GMEM_PAGE),
		       "punch: %s", strerror(errno));
	run->hypercall.ret = 0;
}

static void *run_vcpu(void *arg)
{
	struct minivmm *v = arg;
	struct kvm_regs r;
	int reason;

	while ((reason = minivmm_run(v)) == KVM_EXIT_HYPERCALL)
		answer(v->run);
	EXPECT(reason == KVM_EXIT_HLT, "exit %d (seed %u)", reason, seed);
	minivmm_get_regs(v, &r);
	EXPECT(!(uint8_t)r.rax, "%s (seed %u)", wrong[(uint8_t)r.rax % 5], seed);
	return NULL;
}

static void load(struct minivmm *v, unsigned index)
{
	struct kvm_regs r;

	minivmm_load(v, MINIVMM_LONG, convert64);
	minivmm_get_regs(v, &r);
	r.rsp = MINIVMM_STACK - index * GMEM_PAGE;
	r.r8 = r.r10 = 0;
	r.r11 = (uint64_t)seed << 8 | (index + 1);
	r.r12 = GPA;
	r.r13 = m.n;
	r.r14 = index;
	r.r15 = iterations;
	minivmm_set_regs(v, &r);
}

static void with_vcpus(unsigned n)
{
	struct kvm_enable_cap cap = {.cap = KVM_CAP_EXIT_HYPERCALL,
				     .args = {1 << KVM_HC_MAP_GPA_RANGE}};
	pthread_t thread[MAX_VCPUS];

	m.n = n;
	minivmm_create_type(&m.v[0], GMEM_PROTECTED);
	EXPECT(!ioctl(m.v[0].vm, KVM_ENABLE_CAP, &cap), "hypercalls to the VMM");
	for (unsigned i = 1; i < n; i++)
		minivmm_add_vcpu(&m.v[0], i, &m.v[i]);
	m.mem = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	EXPECT(m.mem != MAP_FAILED, "mmap");
	m.file = gmem_create(m.v[0].vm, SIZE, 0);
	EXPECT(m.file >= 0, "create: %s", strerror(errno));
	EXPECT(!gmem_bind(m.v[0].vm, 1, GPA, SIZE, m.mem, m.file, 0), "bind: %s",
	       strerror(errno));
	for (unsigned i = 0; i < n; i++)
		load(&m.v[i], i);
	for (unsigned i = 0; i < n; i++)
		EXPECT(!pthread_create(&thread[i], NULL, run_vcpu, &m.v[i]), "thread");
	for (unsigned i = 0; i < n; i++)
		pthread_join(thread[i], NULL);
	for (unsigned i = 1; i < n; i++)
		minivmm_remove_vcpu(&m.v[i]);
	minivmm_destroy(&m.v[0]);
	close(m.file);
	munmap(m.mem, SIZE);
}

int main(int argc, char **argv)
{
	if (argc > 1)
		iterations = (unsigned)atoi(argv[1]);
	if (argc > 2)
		seed = (unsigned)atoi(argv[2]);
	for (unsigned n = 1; n <= MAX_VCPUS; n++)
		with_vcpus(n);
	printf("%u iterations of 1 to %u vCPUs, seed %u\n", iterations, MAX_VCPUS, seed);
	return 0;
}
