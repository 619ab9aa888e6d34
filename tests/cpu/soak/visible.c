/* SPDX-License-Identifier: MIT */
/*
 * soak/visible.c: random instructions on a vCPU, and a digest of everything that the guest or its VMM
 * can read afterwards. Nothing of the host's shows if the digests do not depend on what the host's
 * registers, stack and heap held, nor on where the host's memory lies: the script `visible` runs this
 * twice, with other contents and, since addresses are random, at other addresses, and compares.
 *
 * Usage: cpu_visible [-n CASES] [-s SEED] [-p BYTE] [-v FIRST]
 * -p: what fills all that the host may leave behind; -v: a line for each case from FIRST on, and its
 * bytes, else a line for each BLOCK.
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/personality.h>
#include <unistd.h>

#include "../lines.h"
#include "../random.h"
#include "cpu/cpu.h"
#include "cpu/native/stub.h"
#include "cpu/native/xstate.h"
#include "soak.h"

#define BLOCK	    1000
#define STACK_FILL  (128u << 10)
#define CURRENT	    0xffffffffUL /* personality(2): ask only */

static u64 wanted = 20000, first_shown = ~0ULL;
static u8 fill;

static u64 hash_bytes(u64 h, const void *p, size_t n)
{
	const u8 *b = p;

	for (; n >= 8; n -= 8, b += 8) {
		u64 v;

		memcpy(&v, b, 8);
		h = (h ^ v) * 0x9e3779b97f4a7c15ULL; /* 2^64 / golden ratio */
		h ^= h >> 29;
	}
	for (; n; n--, b++)
		h = (h ^ *b) * 0x100000001b3ULL; /* FNV's prime */
	return h;
}

/* What the engine's C finds in its buffers before it has filled them. */
static __attribute__((noinline)) void fill_stack(void)
{
	u8 below[STACK_FILL];

	memset(below, fill, sizeof(below));
	asm volatile("" : : "r"(below) : "memory");
}

static void fill_buffers(struct cpu *c)
{
	memset(c->bounce.buf, fill, sizeof(c->bounce.buf));
	memset(c->io_data, fill, sizeof(c->io_data));
	memset(&c->exit, fill, sizeof(c->exit));
	for (u32 i = 0; i < MMIO_MAX_FRAGMENTS; i++)
		memset(&c->replay.done[i], fill, sizeof(c->replay.done[i]));
	fill_stack();
}

/* Of the VMM's calls. */
static u64 hash_vmm_state(u64 h, struct cpu *c)
{
	u8 area[XSAVE_MAX];
	struct kvm_regs r;
	struct kvm_sregs s;
	struct kvm_fpu f;
	struct kvm_debugregs d;
	struct kvm_vcpu_events e;

	memset(area, fill, sizeof(area));
	memset(&s, 0, sizeof(s));
	memset(&d, 0, sizeof(d));
	memset(&e, 0, sizeof(e));
	cpu_get_xsave(c, area, sizeof(area));
	cpu_get_regs(c, &r);
	cpu_get_sregs(c, &s);
	cpu_get_fpu(c, &f);
	cpu_get_debugregs(c, &d);
	cpu_get_events(c, &e);
	h = hash_bytes(h, area, sizeof(area));
	h = hash_bytes(h, &r, sizeof(r));
	h = hash_bytes(h, &s, sizeof(s));
	h = hash_bytes(h, &f, sizeof(f));
	h = hash_bytes(h, &d, sizeof(d));
	return hash_bytes(h, &e, sizeof(e));
}

static u64 run_case(struct soak_case *t)
{
	static struct soak_state s;
	struct soak_end e;
	u64 h;

	s = t->s;
	memset((void *)SOAK_BASE, 0xcc, PAGE_SIZE);
	memcpy((void *)SOAK_CODE, t->bytes, t->i.length);
	memcpy((void *)SOAK_DATA, t->mem, SOAK_DATA_SIZE);
	fill_buffers(guest_vcpu());
	e = guest_run(&s, t->mode);
	h = hash_bytes(0, &e.vector, sizeof(e.vector));
	h = hash_bytes(h, &e.error, sizeof(e.error));
	h = hash_bytes(h, &e.cr2, sizeof(e.cr2));
	h = hash_bytes(h, &s, sizeof(s));
	h = hash_bytes(h, (void *)SOAK_DATA, SOAK_DATA_SIZE);
	h = hash_bytes(h, (void *)SOAK_BASE, PAGE_SIZE);
	return hash_vmm_state(h, guest_vcpu());
}

static bool usable(unsigned line)
{
	return forms_line_on_host(line) && !soak_not_compared(table_line(line)->mnemonic);
}

static bool draw(struct soak_case *t)
{
	unsigned line = (unsigned)(rnd() % table_nr_lines());
	u64 mode = rnd() % 6;

	t->mode = mode < 3 ? SOAK_64 : mode < 5 ? SOAK_32 : SOAK_16;
	return usable(line) && forms_draw(t, table_line(line)->mnemonic) && generate_state(t);
}

static void show(u64 n, u64 h, const struct soak_case *t)
{
	printf("%lu %016lx %s", n, h, soak_mode_name[t->mode]);
	for (unsigned i = 0; i < t->i.length; i++)
		printf(" %02x", t->bytes[i]);
	printf("\n");
}

static int run(void)
{
	static struct soak_case t;
	u64 h, sum = 0;
	int r = host_init();

	if (!r)
		r = guest_init();
	if (r) {
		fprintf(stderr, "cannot begin: %s\n", strerror(-r));
		return 1;
	}
	for (u64 n = 0, draws = 0; n < wanted; draws++) {
		if (draws % 64 == 0)
			generate_memory(&t);
		if (!draw(&t))
			continue;
		if (rnd() % 8 == 0)
			guest_flush_tlb();
		h = run_case(&t);
		sum = hash_bytes(sum, &h, sizeof(h));
		if (n >= first_shown)
			show(n, h, &t);
		if (++n % BLOCK == 0 && first_shown == ~0ULL)
			printf("%lu %016lx\n", n, sum);
	}
	return 0;
}

int main(int argc, char **argv)
{
	int o;

	random_seed = 1;
	while ((o = getopt(argc, argv, "n:s:p:v:")) != -1) {
		if (o == 'n')
			wanted = strtoull(optarg, NULL, 0);
		else if (o == 's')
			random_seed = strtoull(optarg, NULL, 0) | 1;
		else if (o == 'p')
			fill = (u8)strtoul(optarg, NULL, 16);
		else if (o == 'v')
			first_shown = strtoull(optarg, NULL, 0);
		else
			return 2;
	}
	if (personality(CURRENT) & ADDR_NO_RANDOMIZE) {
		fprintf(stderr, "addresses are not random here\n");
		return 1;
	}
	mallopt(M_PERTURB, fill);
	native_fill_scratch = true;
	memset(&native_scratch, fill, sizeof(native_scratch));
	generate_ldt = host_has_ldt();
	forms_collect();
	return run();
}
