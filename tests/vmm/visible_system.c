/* SPDX-License-Identifier: MIT */
/*
 * tests/vmm/visible_system.c: a guest at CPL 0 stores all that instructions carried out in C store from
 * buffers (descriptor tables, saves of every kind, MSRs, control registers, CPUID, frames of exceptions),
 * and the VMM gets all that its calls get. Twice, in processes whose stack and heap hold other bytes and
 * whose memory lies elsewhere: both must read the same, so that nothing of the host's is in it.
 */
#include "minivmm.h"
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define STORED	    0x100000u /* where the guest stores, a page a part */
#define STORED_SIZE 0x40000u
#define PART(n)	    ((n) * 0x1000u)
#define STACK_FILL  (64u << 10)
#define LATE	    40

GUEST(tables, 64,
      "sgdt (%rdi)\n sidt 16(%rdi)\n sldt 32(%rdi)\n str 40(%rdi)\n smsw 48(%rdi)\n"
      "sldt %rax\n mov %rax, 56(%rdi)\n str %rax\n mov %rax, 64(%rdi)\n smsw %rax\n mov %rax, 72(%rdi)\n hlt\n");
GUEST(controls, 64,
      "mov %cr0, %rax\n mov %rax, (%rdi)\n mov %cr2, %rax\n mov %rax, 8(%rdi)\n mov %cr3, %rax\n"
      "mov %rax, 16(%rdi)\n mov %cr4, %rax\n mov %rax, 24(%rdi)\n mov %dr0, %rax\n mov %rax, 32(%rdi)\n"
      "mov %dr6, %rax\n mov %rax, 40(%rdi)\n mov %dr7, %rax\n mov %rax, 48(%rdi)\n"
      "xor %ecx, %ecx\n xgetbv\n mov %eax, 56(%rdi)\n mov %edx, 60(%rdi)\n hlt\n");
/* x87 and vector state that differs from the initial one, then every save, aligned and across a page. */
GUEST(saves, 64,
      "fninit\n fld1\n fldpi\n fstpl 0x3000(%rdi)\n fld1\n movd %edi, %xmm3\n movd %edi, %mm2\n"
      "fxsave (%rdi)\n fxsave64 512(%rdi)\n fnsave 1024(%rdi)\n frstor 1024(%rdi)\n fnstenv 1280(%rdi)\n"
      "mov $-1, %eax\n mov $-1, %edx\n xsave 0x1000(%rdi)\n xsaveopt 0x2000(%rdi)\n"
      "lea 0xfc0(%rdi), %rsi\n add $0x3000, %rsi\n xsave (%rsi)\n lea 0x5e00(%rdi), %rsi\n fxsave64 0x100(%rsi)\n"
      "fnsave 0x1d0(%rsi)\n hlt\n");
GUEST(compacted, 64, "mov $-1, %eax\n mov $-1, %edx\n xsavec (%rdi)\n xsaves 0x1000(%rdi)\n hlt\n");
/* RBX MSRs from RSI on; what faults is 0xbad. */
GUEST(msrs, 64,
      "1: mov %esi, %ecx\n cmp $0x10, %ecx\n je 3f\n cmp $0x6e0, %ecx\n je 3f\n rdmsr\n"
      "2: mov %eax, (%rdi)\n mov %edx, 4(%rdi)\n 3: add $8, %rdi\n inc %esi\n dec %ebx\n jnz 1b\n hlt\n"
      ".org guest_msrs + 0x80\n mov $0xbad, %eax\n mov %eax, %edx\n add $8, %rsp\n lea 2b(%rip), %r8\n"
      "mov %r8, (%rsp)\n iretq\n");
/* Frames: of #GP, #UD, #DB, #PF, INT, on a stack of their own. */
GUEST(frames, 64,
      "lea 0x400(%rdi), %rsp\n ud2\n int3\n int $0x30\n mov 0x7000000000, %rax\n pushf\n orl $0x100, (%rsp)\n popf\n nop\n"
      "mov $0x1234, %eax\n mov %ax, %ds\n hlt\n"
      ".org guest_frames + 0x80\n sub $256, %rsp\n mov 256(%rsp), %rax\n hlt\n");

static uint8_t fill;

static __attribute__((noinline)) void fill_stack(void)
{
	uint8_t below[STACK_FILL];

	memset(below, fill, sizeof(below));
	asm volatile("" : : "r"(below) : "memory");
}

static uint64_t digest(uint64_t h, const void *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		h = (h ^ ((const uint8_t *)p)[i]) * 0x100000001b3ULL; /* FNV's prime */
	return h;
}

static void run(struct minivmm *v, struct guest_code code, unsigned part, uint64_t rsi, uint64_t rbx)
{
	struct kvm_xcrs x = {.nr_xcrs = 1, .xcrs[0].value = 7};
	struct kvm_sregs s;
	struct kvm_regs r;

	minivmm_load(v, MINIVMM_LONG, code);
	for (unsigned vector = 0; vector < 64; vector++)
		minivmm_set_gate(v, MINIVMM_LONG, vector, 0x80);
	minivmm_get_sregs(v, &s);
	s.cr4 |= 0x40620; /* PAE, OSFXSR, OSXMMEXCPT, OSXSAVE */
	minivmm_set_sregs(v, &s);
	ioctl(v->vcpu, KVM_SET_XCRS, &x);
	minivmm_get_regs(v, &r);
	r.rdi = STORED + PART(part);
	r.rsi = rsi;
	r.rbx = rbx;
	minivmm_set_regs(v, &r);
	fill_stack();
	EXPECT_EXIT(v, KVM_EXIT_HLT);
}

/* The part of what a call gets, from bytes of the fill's. */
static uint64_t got(struct minivmm *v, uint64_t h, unsigned long call, size_t size, bool zero)
{
	static uint8_t buf[16384];

	memset(buf, zero ? 0 : 0x5c, sizeof(buf));
	fill_stack();
	if (ioctl(v->vcpu, call, buf))
		return digest(h, &errno, sizeof(errno));
	return digest(h, buf, size);
}

static uint64_t look(struct minivmm *v)
{
	uint64_t h = 0;

	h = got(v, h, KVM_GET_REGS, sizeof(struct kvm_regs), false);
	h = got(v, h, KVM_GET_SREGS, sizeof(struct kvm_sregs), false);
	h = got(v, h, KVM_GET_SREGS2, sizeof(struct kvm_sregs2), false);
	h = got(v, h, KVM_GET_FPU, sizeof(struct kvm_fpu), false);
	h = got(v, h, KVM_GET_XSAVE, sizeof(struct kvm_xsave), false);
	h = got(v, h, KVM_GET_XSAVE2, 4096, false);
	h = got(v, h, KVM_GET_XCRS, sizeof(struct kvm_xcrs), false);
	h = got(v, h, KVM_GET_DEBUGREGS, sizeof(struct kvm_debugregs), false);
	h = got(v, h, KVM_GET_VCPU_EVENTS, sizeof(struct kvm_vcpu_events), false);
	h = got(v, h, KVM_GET_MP_STATE, sizeof(struct kvm_mp_state), false);
	h = got(v, h, KVM_GET_LAPIC, sizeof(struct kvm_lapic_state), false);
	/* CR8's and the APIC base's places and what an exit filled in. */
	return digest(h, v->run, sizeof(struct kvm_run));
}

/* Digests of all parts, to `out`. */
static void child(int out, uint8_t pattern)
{
	static const struct {
		unsigned from, n;
	} msr[] = {{0, 512}, {0x200, 512}, {0x600, 256}, {0xc0000080, 32}, {0xc0000100, 16}, {0x4b564d00, 16}};
	struct minivmm v;
	uint64_t h[24] = {0};
	unsigned n = 0;

	fill = pattern;
	alarm(hang_limit(LATE));
	minivmm_create(&v);
	run(&v, tables, 0, 0, 0);
	h[n++] = look(&v);
	run(&v, controls, 1, 0, 0);
	h[n++] = look(&v);
	run(&v, saves, 2, 0, 0);
	h[n++] = look(&v);
	run(&v, compacted, 12, 0, 0);
	h[n++] = look(&v);
	run(&v, frames, 16, 0, 0);
	h[n++] = look(&v);
	for (unsigned i = 0; i < sizeof(msr) / sizeof(msr[0]); i++)
		run(&v, msrs, 20 + i, msr[i].from, msr[i].n);
	for (unsigned i = 0; i < 12; i++)
		h[n++] = digest(0, v.mem + STORED + PART(i * 4), PART(4));
	EXPECT(write(out, h, sizeof(h)) == sizeof(h), "%s", strerror(errno));
}

static void run_child(const char *self, const char *pattern, uint64_t h[24])
{
	int ends[2], status;
	pid_t pid;

	EXPECT(!pipe(ends), "%s", strerror(errno));
	pid = fork();
	if (!pid) {
		dup2(ends[1], 1);
		setenv("MALLOC_PERTURB_", strcmp(pattern, "0") ? "254" : "1", 1);
		execl(self, self, pattern, NULL);
		_exit(127);
	}
	close(ends[1]);
	EXPECT(read(ends[0], h, 24 * 8) == 24 * 8, "the child said nothing");
	EXPECT(waitpid(pid, &status, 0) == pid && !status, "the child ended with %#x", status);
}

int main(int argc, char **argv)
{
	uint64_t a[24], b[24];

	if (argc > 1) {
		child(1, strcmp(argv[1], "0") ? 0xfe : 0);
		return 0;
	}
	run_child("/proc/self/exe", "0", a);
	run_child("/proc/self/exe", "1", b);
	for (unsigned i = 0; i < 24; i++)
		EXPECT(a[i] == b[i], "part %u: something of the host's shows", i);
	return 0;
}
