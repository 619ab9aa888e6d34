/* SPDX-License-Identifier: MIT */
/*
 * cli/doctor_guest.c: a small guest, to see what a /dev/kvm is worth. There are devices that make
 * VMs and vCPUs and then run nothing, or run it for ever.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "cli/doctor.h"

/* Guest-physical memory; the three tables map its first 2 MiB one to one. */
#define MEM_SIZE  0x10000
#define PML4_AT	  0x1000
#define PDPT_AT	  0x2000
#define PD_AT	  0x3000
#define GDT_AT	  0x4000
#define IDT_AT	  0x5000
#define CODE_AT	  0x7000
#define STACK_AT  0xf000
#define TSS_AT	  0xfffbd000 /* for Intel's hosts, as api.rst 4.35 asks; outside the memory */

/* SDM vol. 3, 4.5 (page tables), 3.4.5 (segments), 6.14.1 (gates), 2.5 and 2.2.1 (registers). */
#define PTE_PRESENT_WRITABLE 3
#define PTE_LARGE	     0x80
#define GDT_CODE64	     0x00209b0000000000
#define GDT_DATA	     0x00cf93000000ffff
#define SELECTOR_CODE	     0x08
#define SELECTOR_DATA	     0x10
#define GATE_SIZE	     16
#define GATE_INTERRUPT	     0x8e
#define VECTOR_UD	     6
#define CR0_PE		     (1u << 0)
#define CR0_PG		     (1u << 31)
#define CR4_PAE		     (1u << 5)
#define CR4_OSFXSR	     (1u << 9)
#define EFER_LME	     (1u << 8)
#define EFER_LMA	     (1u << 10)

/*
 * What any kernel does in its first moments: CPUID, a vector instruction, an exception and its
 * return, a control register, a loop that has work in it; then a byte to a port, and a halt.
 */
#define STRING_(x) #x
#define STRING(x)  STRING_(x)
asm(".pushsection .rodata\n"
    "guest_code:\n"
    "	xor %eax, %eax\n"
    "	cpuid\n"
    "	mov $" STRING(GUEST_WORD) ", %eax\n"
    "	movd %eax, %xmm0\n"
    "	paddd %xmm0, %xmm0\n"
    "	movd %xmm0, " STRING(GUEST_RESULT_AT) " + 8\n"
    "	ud2\n"
    "	mov %cr3, %rax\n"
    "	mov %rax, %cr3\n"
    "	xor %eax, %eax\n"
    "	mov $" STRING(GUEST_STEPS) ", %ecx\n"
    "1:	add %rcx, %rax\n"
    "	dec %rcx\n"
    "	jnz 1b\n"
    "	mov %rax, " STRING(GUEST_RESULT_AT) "\n"
    "	out %al, $" STRING(GUEST_PORT) "\n"
    "	hlt\n"
    "guest_invalid_opcode:\n"
    "	incq " STRING(GUEST_RESULT_AT) " + 16\n"
    "	addq $2, (%rsp)\n" /* past the UD2 */
    "	iretq\n"
    "guest_code_end:\n"
    ".popsection\n");
extern const uint8_t guest_code[], guest_invalid_opcode[], guest_code_end[];

struct machine {
	int kvm, vm, vcpu;
	uint8_t *mem;
	struct kvm_run *run;
};

static struct guest_outcome outcome(enum guest_result result, int detail)
{
	return (struct guest_outcome){.result = result, .detail = detail};
}

static void put64(uint8_t *at, uint64_t value)
{
	memcpy(at, &value, sizeof(value));
}

static void put_gate(uint8_t *at, uint64_t handler)
{
	put64(at, (handler & 0xffff) | SELECTOR_CODE << 16 | (uint64_t)GATE_INTERRUPT << 40 |
			  (handler >> 16 & 0xffff) << 48);
	put64(at + 8, handler >> 32);
}

static int make_memory(struct machine *m)
{
	struct kvm_userspace_memory_region slot = {.memory_size = MEM_SIZE};

	m->mem = mmap(NULL, MEM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (m->mem == MAP_FAILED)
		return -errno;
	put64(m->mem + PML4_AT, PDPT_AT | PTE_PRESENT_WRITABLE);
	put64(m->mem + PDPT_AT, PD_AT | PTE_PRESENT_WRITABLE);
	put64(m->mem + PD_AT, PTE_LARGE | PTE_PRESENT_WRITABLE);
	put64(m->mem + GDT_AT + SELECTOR_CODE, GDT_CODE64);
	put64(m->mem + GDT_AT + SELECTOR_DATA, GDT_DATA);
	put_gate(m->mem + IDT_AT + VECTOR_UD * GATE_SIZE,
		 CODE_AT + (uint64_t)(guest_invalid_opcode - guest_code));
	memcpy(m->mem + CODE_AT, guest_code, (size_t)(guest_code_end - guest_code));
	slot.userspace_addr = (uintptr_t)m->mem;
	return ioctl(m->vm, KVM_SET_USER_MEMORY_REGION, &slot) ? -errno : 0;
}

static int make_vcpu(struct machine *m)
{
	int size;

	m->vcpu = ioctl(m->vm, KVM_CREATE_VCPU, 0);
	if (m->vcpu < 0)
		return -errno;
	size = ioctl(m->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (size < (int)sizeof(*m->run))
		return -EINVAL;
	m->run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, m->vcpu, 0);
	return m->run == MAP_FAILED ? -errno : 0;
}

/* Long mode needs its CPUID bit. */
static int set_cpuid(struct machine *m)
{
	enum { ENTRIES = 256 };
	struct kvm_cpuid2 *list;
	int r = 0;

	list = calloc(1, sizeof(*list) + ENTRIES * sizeof(list->entries[0]));
	if (!list)
		return -ENOMEM;
	list->nent = ENTRIES;
	if (ioctl(m->kvm, KVM_GET_SUPPORTED_CPUID, list) || ioctl(m->vcpu, KVM_SET_CPUID2, list))
		r = -errno;
	free(list);
	return r;
}

static int set_registers(struct machine *m)
{
	struct kvm_regs regs = {.rip = CODE_AT, .rsp = STACK_AT, .rflags = 2};
	struct kvm_segment data = {.type = 3, .present = 1, .s = 1, .db = 1, .g = 1,
				   .limit = 0xffffffff, .selector = SELECTOR_DATA};
	struct kvm_segment cs = {.type = 11, .present = 1, .s = 1, .l = 1, .g = 1,
				 .limit = 0xffffffff, .selector = SELECTOR_CODE};
	struct kvm_sregs s;

	if (ioctl(m->vcpu, KVM_GET_SREGS, &s))
		return -errno;
	s.cs = cs;
	s.ds = s.es = s.fs = s.gs = s.ss = data;
	s.gdt.base = GDT_AT;
	s.gdt.limit = SELECTOR_DATA + 7;
	s.idt.base = IDT_AT;
	s.idt.limit = (VECTOR_UD + 1) * GATE_SIZE - 1;
	s.cr0 |= CR0_PE | CR0_PG;
	s.cr3 = PML4_AT;
	s.cr4 |= CR4_PAE | CR4_OSFXSR;
	s.efer |= EFER_LME | EFER_LMA;
	if (ioctl(m->vcpu, KVM_SET_SREGS, &s) || ioctl(m->vcpu, KVM_SET_REGS, &regs))
		return -errno;
	return 0;
}

/* Time the processor spent here, which does not depend on what else the machine does. */
static uint64_t cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static bool result_right(const struct machine *m)
{
	struct guest_words r;

	memcpy(&r, m->mem + GUEST_RESULT_AT, sizeof(r));
	return r.sum == GUEST_SUM && r.doubled == 2 * GUEST_WORD && r.exceptions == 1;
}

static struct guest_outcome run_to_halt(struct machine *m)
{
	struct kvm_run *run = m->run;
	uint64_t begun = cpu_ns();
	bool wrote = false;

	for (;;) {
		struct guest_outcome o = {.result = GUEST_RAN};

		if (ioctl(m->vcpu, KVM_RUN, 0)) {
			if (errno == EINTR)
				continue;
			return outcome(GUEST_NO_RUN, errno);
		}
		if (run->exit_reason == KVM_EXIT_HLT && wrote) {
			o.ns = cpu_ns() - begun;
			return result_right(m) ? o : outcome(GUEST_WRONG, 0);
		}
		if (run->exit_reason != KVM_EXIT_IO || wrote || run->io.port != GUEST_PORT)
			return outcome(GUEST_BAD_EXIT, (int)run->exit_reason);
		wrote = true;
	}
}

/* What is made here ends with the process, which has no other purpose. */
struct guest_outcome guest_run(void)
{
	struct machine m = {.kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC)};
	int r;

	if (m.kvm < 0)
		return outcome(GUEST_NO_DEVICE, errno);
	r = ioctl(m.kvm, KVM_GET_API_VERSION, 0);
	if (r != KVM_API_VERSION)
		return outcome(GUEST_NOT_KVM, r < 0 ? -1 : r);
	m.vm = ioctl(m.kvm, KVM_CREATE_VM, 0);
	if (m.vm < 0)
		return outcome(GUEST_NO_VM, errno);
	ioctl(m.vm, KVM_SET_TSS_ADDR, TSS_AT); /* harmless where it is not needed */
	r = make_memory(&m);
	if (!r)
		r = make_vcpu(&m);
	if (!r)
		r = set_cpuid(&m);
	if (!r)
		r = set_registers(&m);
	return r ? outcome(GUEST_NO_VM, -r) : run_to_halt(&m);
}

/* Wait for the child, at most so long. False when it still lives. */
static bool wait_bounded(pid_t pid, int seconds, int *status)
{
	struct pollfd p = {.events = POLLIN};
	int r;

	p.fd = (int)syscall(SYS_pidfd_open, pid, 0);
	do {
		r = poll(&p, 1, seconds * 1000);
	} while (r < 0 && errno == EINTR);
	close(p.fd);
	return waitpid(pid, status, WNOHANG) == pid;
}

struct guest_outcome guest_run_bounded(int (*child)(int report), int seconds)
{
	struct guest_outcome o = {.result = GUEST_DIED}, said;
	int pipefd[2], status;
	pid_t pid;

	if (pipe2(pipefd, O_CLOEXEC | O_NONBLOCK))
		return o;
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(child(pipefd[1]));
	}
	if (pid < 0)
		goto out;
	if (wait_bounded(pid, seconds, &status)) {
		if (WIFSIGNALED(status))
			o.detail = WTERMSIG(status);
		else if (read(pipefd[0], &said, sizeof(said)) == sizeof(said))
			o = said;
		goto out;
	}
	o.result = GUEST_ENDLESS;
	/* One that even this does not end is left to the kernel. */
	kill(pid, SIGKILL);
	wait_bounded(pid, 1, &status);
out:
	close(pipefd[0]);
	close(pipefd[1]);
	return o;
}

int guest_report(int report, struct guest_outcome o)
{
	return write(report, &o, sizeof(o)) == sizeof(o) ? 0 : 1;
}

static const char *exit_name(int reason)
{
	static const char *const names[] = {
		[KVM_EXIT_UNKNOWN] = "UNKNOWN",
		[KVM_EXIT_EXCEPTION] = "EXCEPTION",
		[KVM_EXIT_IO] = "IO",
		[KVM_EXIT_MMIO] = "MMIO",
		[KVM_EXIT_SHUTDOWN] = "SHUTDOWN",
		[KVM_EXIT_FAIL_ENTRY] = "FAIL_ENTRY",
		[KVM_EXIT_INTR] = "INTR",
		[KVM_EXIT_INTERNAL_ERROR] = "INTERNAL_ERROR",
	};

	if (reason < 0 || (size_t)reason >= sizeof(names) / sizeof(names[0]) || !names[reason])
		return "unexpected";
	return names[reason];
}

void guest_describe(struct guest_outcome o, char *text, size_t size)
{
	switch (o.result) {
	case GUEST_RAN:
		snprintf(text, size, "runs a small guest");
		break;
	case GUEST_NO_DEVICE:
		snprintf(text, size, "cannot be opened: %s", strerror(o.detail));
		break;
	case GUEST_NOT_KVM:
		snprintf(text, size, "does not answer as KVM does: API version %d", o.detail);
		break;
	case GUEST_NO_VM:
		snprintf(text, size, "makes no VM with a vCPU and memory: %s", strerror(o.detail));
		break;
	case GUEST_NO_RUN:
		snprintf(text, size, "makes a VM but runs no guest: KVM_RUN: %s",
			 strerror(o.detail));
		break;
	case GUEST_BAD_EXIT:
		snprintf(text, size,
			 "makes a VM but runs no ordinary guest: a small one ended with exit "
			 "reason %d (%s)",
			 o.detail, exit_name(o.detail));
		break;
	case GUEST_WRONG:
		snprintf(text, size, "runs a small guest wrongly");
		break;
	case GUEST_NOT_LOADED:
		snprintf(text, size, "was not loaded through LD_PRELOAD");
		break;
	case GUEST_ENDLESS:
		snprintf(text, size, "makes a VM, but a small guest does not come to its end");
		break;
	case GUEST_DIED:
		snprintf(text, size, "ended the process that ran a small guest: %s",
			 o.detail ? strsignal(o.detail) : "no reason known");
		break;
	}
}
