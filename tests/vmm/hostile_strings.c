/* SPDX-License-Identifier: MIT */
/*
 * tests/vmm/hostile_strings.c: string instructions at addresses that are not canonical are #GP,
 * wherever such an address lies, repeated or not, and before any device is asked (SDM vol. 1,
 * 3.3.7.1; vol. 2 under each). And what a device answered belongs to the instruction that asked: the
 * next one, which another vCPU has put in its place, asks for itself.
 */
#include "minivmm.h"
#include <string.h>
#include <unistd.h>

#define MAPPED	  0x10000u /* data the good operand points to */
#define FAULTED	  0x10	   /* port: #GP was taken; the device's is another */
#define DEVICE	  0x80
#define COUNT	  0x20
#define HANDLER	  0x80 /* in the code */
#define TOP_PD	  0x6000u
#define TOP_BEGIN 0x7fffffe00000ULL /* 2 MiB below the hole: gpa 0 */

GUEST(strings, 64,
      ".org guest_strings + 0x80\n"
      "out %al, $0x10\n hlt\n"
      ".org guest_strings + 0x90\n");

/* Bytes of a string instruction without REP: size 1, 2, 4, 8 by 66 or REX.W. */
static const struct {
	const char *name;
	uint8_t opcode; /* of the byte form; the next is that of the wider ones */
	int src, dst, quad;
} insn[] = {
	{"movs", 0xa4, 1, 1, 1}, {"cmps", 0xa6, 1, 1, 1}, {"stos", 0xaa, 0, 1, 1},
	{"lods", 0xac, 1, 0, 1}, {"scas", 0xae, 0, 1, 1}, {"ins", 0x6c, 0, 1, 0},
	{"outs", 0x6e, 1, 0, 0},
};

static const uint64_t bad[] = {
	0xc000000000000000, 0xc000000000000ff8, 0xbffffffffffff000, 0xc000000000001000,
	0xc0000000001ff000, 0x4000000000000000, 0x8000000000000000, 0x0000800000000000,
	0xffff7fffffffffff, 0xffff7ffffffffff8, 0x00007fffffffffff, /* the last: its end is bad */
};

static struct minivmm v;

static void map_top(void)
{
	uint64_t *pml4 = (uint64_t *)(v.mem + MINIVMM_PML4), *pdpt = pml4 + 512;
	uint64_t *pd = (uint64_t *)(v.mem + TOP_PD);

	pml4[255] = (MINIVMM_PML4 + 0x1000) | 3;
	pdpt[511] = TOP_PD | 3;
	pd[511] = 0x83;
}

static void put_insn(uint8_t opcode, unsigned size, int rep)
{
	uint8_t code[8], *p = code;

	if (rep)
		*p++ = 0xf3;
	if (size == 2)
		*p++ = 0x66;
	if (size == 8)
		*p++ = 0x48;
	*p++ = (uint8_t)(opcode | (size > 1));
	*p++ = 0xf4;
	memcpy(v.mem + MINIVMM_CODE, code, sizeof(code));
}

static void run_one(unsigned i, unsigned size, int rep, uint64_t rsi, uint64_t rdi, uint64_t left)
{
	struct kvm_regs r = {.rip = MINIVMM_CODE, .rsp = MINIVMM_STACK, .rflags = 2,
			     .rcx = COUNT, .rdx = DEVICE, .rsi = rsi, .rdi = rdi};

	put_insn(insn[i].opcode, size, rep);
	minivmm_set_regs(&v, &r);
	EXPECT_EXIT(&v, KVM_EXIT_IO);
	EXPECT(v.run->io.port == FAULTED, "%s of %u: port %#x is asked before #GP", insn[i].name,
	       size, v.run->io.port);
	minivmm_get_regs(&v, &r);
	EXPECT(r.rcx == left, "%s of %u, from %#lx to %#lx: %llu left", insn[i].name, size, rsi, rdi,
	       r.rcx);
	EXPECT_EXIT(&v, KVM_EXIT_HLT);
}

static void not_canonical(void)
{
	for (unsigned i = 0; i < sizeof(insn) / sizeof(insn[0]); i++) {
		for (unsigned size = 1; size <= (insn[i].quad ? 8 : 4); size *= 2) {
			for (unsigned b = 0; b < sizeof(bad) / sizeof(bad[0]); b++) {
				if (bad[b] == 0x00007fffffffffff && size == 1)
					continue;
				for (int rep = 0; rep < 2; rep++) {
					if (insn[i].src)
						run_one(i, size, rep, bad[b], MAPPED, COUNT);
					if (insn[i].dst)
						run_one(i, size, rep, MAPPED, bad[b], COUNT);
				}
			}
		}
	}
}

/* The last element that fits is done, the one across the end is not. */
static void up_to_the_end(void)
{
	const uint64_t last = TOP_BEGIN + 0x1fffff;

	run_one(2, 2, 1, 0, last - 20, COUNT - 10);
	run_one(2, 8, 1, 0, last - 31, COUNT - 4);
	run_one(0, 4, 1, MAPPED, last - 18, COUNT - 4);
	run_one(0, 1, 1, last - 6, MAPPED, COUNT - 7);
}

static void answer_in_bytes(uint8_t with)
{
	memset((uint8_t *)v.run + v.run->io.data_offset, with, v.run->io.count * v.run->io.size);
}

/* REP INS of `size` asks; before the answer is taken its place is another's: `code`. */
static int replaced(unsigned size, const char *code, size_t len, struct kvm_regs *r)
{
	*r = (struct kvm_regs){.rip = MINIVMM_CODE, .rsp = MINIVMM_STACK, .rflags = 2,
			       .rcx = COUNT, .rdx = DEVICE, .rax = MINIVMM_HOLE, .rdi = MAPPED};
	put_insn(0x6c, size, 1);
	memset(v.mem + MAPPED, 0, 0x1000);
	minivmm_set_regs(&v, r);
	EXPECT_EXIT(&v, KVM_EXIT_IO);
	EXPECT(v.run->io.port == DEVICE && v.run->io.size == size, "port %#x", v.run->io.port);
	answer_in_bytes(0x11);
	memcpy(v.mem + MINIVMM_CODE, code, len);
	return minivmm_run(&v);
}

static void answers_are_not_another_instructions(void)
{
	struct kvm_regs r;

	/* mov (%rax), %ebx; hlt */
	EXPECT(replaced(1, "\x8b\x18\xf4", 3, &r) == KVM_EXIT_MMIO, "the device is not asked");
	memset(v.run->mmio.data, 0x22, 4);
	EXPECT_EXIT(&v, KVM_EXIT_HLT);
	minivmm_get_regs(&v, &r);
	EXPECT(r.rbx == 0x22222222, "%#llx was read", r.rbx);
	/* in (%dx), %eax; hlt: the same port and size, but not repeated */
	EXPECT(replaced(4, "\xed\xf4", 2, &r) == KVM_EXIT_IO && v.run->io.count == 1,
	       "the port is not asked again");
	answer_in_bytes(0x33);
	EXPECT_EXIT(&v, KVM_EXIT_HLT);
	minivmm_get_regs(&v, &r);
	EXPECT(r.rax == 0x33333333, "%#llx was read", r.rax);
	/* rep insl; hlt, where it was rep insb */
	EXPECT(replaced(1, "\xf3\x6d\xf4", 3, &r) == KVM_EXIT_IO && v.run->io.size == 4,
	       "the port is not asked in another size");
	answer_in_bytes(0x44);
	EXPECT_EXIT(&v, KVM_EXIT_HLT);
	EXPECT(v.mem[MAPPED] == 0x44 && v.mem[MAPPED + 4 * COUNT - 1] == 0x44, "%#x was stored",
	       v.mem[MAPPED]);
}

int main(void)
{
	alarm(hang_limit(30)); /* an instruction that goes on for ever */
	minivmm_create(&v);
	minivmm_load(&v, MINIVMM_LONG, strings);
	minivmm_set_gate(&v, MINIVMM_LONG, 13, HANDLER);
	map_top();
	not_canonical();
	up_to_the_end();
	answers_are_not_another_instructions();
	minivmm_destroy(&v);
	printf("ok\n");
	return 0;
}
