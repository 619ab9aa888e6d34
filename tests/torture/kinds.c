/* SPDX-License-Identifier: MIT */
/* tests/torture/kinds.c: what the guests do, and what must hold of it. */
#include "torture.h"
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum { RSI, RDI, RCX, RAX }; /* in a part's registers */

/* ---- locks: additions across lines and pages are counted, by all and by each */

GUEST(split_line, 64, "lock addq $1, 0x3403d\n incq 16(%r13)\n");
GUEST(split_page, 64, "lock addq $1, 0x34ffb\n incq 24(%r13)\n");
GUEST(whole, 64, "lock addq $1, 0x34100\n incq 32(%r13)\n");
GUEST(exchange, 64, "xchg %rax, 0x3423d\n cmpxchg16b 0x34280\n");
GUEST(on_device, 64, "lock addl $1, 0x300000\n");

static void cmpxchg_registers(unsigned id, uint64_t reg[4])
{
	reg[RCX] &= 0xff;
}

static const struct part locks_parts[] = {
	{"split_line", guest_split_line, guest_split_line_end, NULL},
	{"split_page", guest_split_page, guest_split_page_end, NULL},
	{"whole", guest_whole, guest_whole_end, NULL},
	{"exchange", guest_exchange, guest_exchange_end, cmpxchg_registers},
	{"on_device", guest_on_device, guest_on_device_end, NULL},
};

/* A vCPU that was stopped between the two has one in the sum that is not in its own count. */
static void locks_check(void)
{
	static const unsigned at[] = {0x3403d, 0x34ffb, 0x34100};

	for (unsigned i = 0; i < 3; i++) {
		uint64_t sum = 0, all;

		memcpy(&all, vcpu[0].mem + at[i], 8);
		for (unsigned id = 0; id < now.vcpus; id++)
			sum += machine_counter(id)[2 + i];
		if (all - sum > now.vcpus)
			finding("%lu additions at %#x, and %lu were made", all, at[i], sum);
	}
}

/* ---- memory: long accesses against a memslot that comes and goes */

GUEST(movs, 64, "rep movsb\n");
GUEST(stos, 64, "rep stosq\n");
GUEST(movs_down, 64, "std\n rep movsl\n cld\n");
GUEST(lods, 64, "rep lodsq\n");
GUEST(scas, 64, "repne scasb\n");
GUEST(cmps, 64, "repe cmpsw\n");
GUEST(xsave, 64, "and $-64, %rdi\n mov $7, %eax\n xor %edx, %edx\n xsave (%rdi)\n");
GUEST(xrstor, 64, "and $-64, %rsi\n mov $7, %eax\n xor %edx, %edx\n xrstor (%rsi)\n");
GUEST(fxsave, 64, "and $-16, %rdi\n fxsave (%rdi)\n");
GUEST(fxrstor, 64, "and $-16, %rsi\n fxrstor (%rsi)\n");
GUEST(fnsave, 64, "fnsave (%rdi)\n frstor (%rdi)\n");
GUEST(vectors, 64, "vmovups (%rsi), %ymm1\n vmovups %ymm1, (%rdi)\n movups (%rdi), %xmm2\n");
GUEST(gather, 64,
      "vpcmpeqd %ymm3, %ymm3, %ymm3\n vpsrld $20, %ymm3, %ymm2\n vpgatherdd %ymm3, (%rsi, %ymm2, 4), "
      "%ymm1\n");
GUEST(masked, 64, "vpcmpeqd %ymm3, %ymm3, %ymm3\n vmaskmovps %ymm1, %ymm3, (%rdi)\n");
GUEST(rmw, 64, "lock xadd %rax, (%rdi)\n incl (%rsi)\n");

/* Somewhere in the slot, its ends too: now and then across them. */
static void target_registers(unsigned id, uint64_t reg[4])
{
	reg[RSI] = TARGET + reg[RSI] % (TARGET_SIZE + 64) - 32;
	reg[RDI] = TARGET + reg[RDI] % (TARGET_SIZE + 64) - 32;
	reg[RCX] %= 600;
}

#define T(name) {#name, guest_##name, guest_##name##_end, target_registers}
const struct part memory_parts[NMEMORY_PARTS] = {T(movs),   T(stos),	  T(movs_down), T(lods),   T(scas),
					   T(cmps),   T(xsave),	  T(xrstor),	T(fxsave), T(fxrstor),
					   T(fnsave), T(vectors), T(gather),	T(masked), T(rmw)};

static void memory_step(void)
{
	static uint8_t log[TARGET_SIZE / 4096 / 8 + 8];
	struct kvm_dirty_log get = {.slot = 1, .dirty_bitmap = log};
	uint64_t r = rnd();
	size_t at = r >> 8 & (TARGET_SIZE - 1) & ~0xfffUL, len = 0x1000 * (1 + (r >> 40) % 4);

	if (at + len > TARGET_SIZE)
		len = TARGET_SIZE - at;
	switch (r % 8) {
	case 0: /* away and back */
		machine_slot(1, TARGET, 0, target, 0);
		machine_slot(1, TARGET, TARGET_SIZE, target, 0);
		break;
	case 1: /* elsewhere and back */
		machine_slot(1, TARGET + 2 * TARGET_SIZE, TARGET_SIZE, target, 0);
		machine_slot(1, TARGET, TARGET_SIZE, target, 0);
		break;
	case 2:
		machine_slot(1, TARGET, TARGET_SIZE, target, KVM_MEM_LOG_DIRTY_PAGES);
		ioctl(vcpu[0].vm, KVM_GET_DIRTY_LOG, &get);
		break;
	case 3:
		machine_slot(1, TARGET, TARGET_SIZE, target, 0);
		break;
	case 4:
		mprotect(target + at, len, r & 1 << 30 ? PROT_READ : PROT_NONE);
		usleep(200);
		mprotect(target + at, len, PROT_READ | PROT_WRITE);
		break;
	case 5:
		madvise(target + at, len, MADV_DONTNEED);
		break;
	case 6:
		mmap(target + at, len, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		break;
	default:
		memset(target + at, (int)r, len);
	}
}

/* ---- code: what is executed is what was stored, by whomever */

/* A function all of them call, and into whose MOV they store: both bytes of it in one piece. */
#define FUNCTION 0x38040u /* mov $imm16, %ax; ret */

GUEST(call, 64,
      "mov $0x38040, %edx\n call *%rdx\n movzbl %al, %ecx\n movzbl %ah, %eax\n cmp %eax, %ecx\n je 1f\n"
      "out %al, $0x66\n 1:\n");
GUEST(patch, 64, "and $0xff, %eax\n imul $0x101, %eax\n mov %ax, 0x38042\n");
/* Its own next instruction. */
GUEST(own, 64,
      "lea 1f(%rip), %rdi\n mov %ax, 2(%rdi)\n 1: .byte 0x66, 0xb9, 0, 0\n movzwl %ax, %eax\n"
      "movzwl %cx, %ecx\n cmp %ax, %cx\n je 2f\n out %al, $0x66\n 2:\n");

static const struct part code_parts[] = {
	{"call", guest_call, guest_call_end, NULL},
	{"own", guest_own, guest_own_end, NULL},
	{"patch", guest_patch, guest_patch_end, NULL},
};

static void code_prepare(void)
{
	memcpy(vcpu[0].mem + FUNCTION, "\x66\xb8\x11\x11\xc3", 5);
}

/* ---- mappings: after INVLPG, a load of CR3 or INVPCID the new page is there */

#define TABLE_AT(id) (0xd0000u + (id) * 0x1000u) /* maps 2 MiB from 1 GiB on, times the id */

GUEST(invlpg, 64,
      "mov %rsi, (%rdi)\n invlpg (%rcx)\n mov (%rcx), %rcx\n cmp %rcx, %rax\n je 1f\n out %al, $0x66\n 1:\n");
GUEST(load_cr3, 64,
      "mov %rsi, (%rdi)\n mov %cr3, %rdx\n mov %rdx, %cr3\n mov (%rcx), %rcx\n cmp %rcx, %rax\n je 1f\n"
      "out %al, $0x66\n 1:\n");

GUEST(invpcid, 64,
      "mov %rsi, (%rdi)\n push $0\n push $0\n mov $2, %edx\n invpcid (%rsp), %rdx\n add $16, %rsp\n"
      "mov (%rcx), %rcx\n cmp %rcx, %rax\n je 1f\n out %al, $0x66\n 1:\n");

/* RSI: the entry, RDI: where it is, RCX: what it maps, RAX: what is there. */
static void mapping_registers(unsigned id, uint64_t reg[4])
{
	uint64_t page = PRIVATE_AT(id) + (reg[RSI] % 4) * 0x1000, entry = reg[RDI] % 512;

	reg[RSI] = page | 3;
	reg[RDI] = TABLE_AT(id) + entry * 8;
	reg[RCX] = 0x40000000ULL + id * 0x200000ULL + entry * 0x1000;
	reg[RAX] = page;
}

static const struct part mappings_parts[] = {
	{"invlpg", guest_invlpg, guest_invlpg_end, mapping_registers},
	{"load_cr3", guest_load_cr3, guest_load_cr3_end, mapping_registers},
	{"invpcid", guest_invpcid, guest_invpcid_end, mapping_registers},
};

static void mappings_prepare(void)
{
	uint64_t *pdpt = (uint64_t *)(vcpu[0].mem + MINIVMM_PML4 + 0x1000);
	uint64_t *pd = (uint64_t *)(vcpu[0].mem + 0x7000);

	pdpt[1] = 0x7000 | 3;
	for (unsigned id = 0; id < now.vcpus; id++) {
		pd[id] = TABLE_AT(id) | 3;
		for (uint64_t page = PRIVATE_AT(id); page < PRIVATE_AT(id + 1); page += 0x1000)
			memcpy(vcpu[0].mem + page, &page, 8);
	}
}

/* ---- interrupts: a token is passed on by IPIs, among storms of other events */

#define TOKEN_VECTOR 0x40
#define OTHER_VECTOR 0x41

/* In x2APIC mode; R12: the next one's command register value. */
GUEST(tokens, 64,
      "1: sti\n hlt\n jmp 1b\n"
      ".org guest_tokens + 0x40\n" /* the token */
      "incq (%r13)\n mov $0x80b, %ecx\n xor %eax, %eax\n xor %edx, %edx\n wrmsr\n"
      "mov $0x830, %ecx\n mov %r12d, %eax\n mov %r12, %rdx\n shr $32, %rdx\n wrmsr\n iretq\n"
      ".org guest_tokens + 0x80\n" /* others */
      "push %rax\n push %rcx\n push %rdx\n incq 8(%r13)\n mov $0x80b, %ecx\n xor %eax, %eax\n"
      "xor %edx, %edx\n wrmsr\n pop %rdx\n pop %rcx\n pop %rax\n iretq\n"
      ".org guest_tokens + 0xc0\n iretq\n");

static void interrupts_prepare(void)
{
	for (unsigned id = 0; id < now.vcpus; id++)
		minivmm_load(&vcpu[id], MINIVMM_LONG, tokens);
	for (unsigned id = 0; id < now.vcpus; id++) {
		uint64_t next = (id + 1) % now.vcpus;
		struct kvm_regs r = {.rip = MINIVMM_CODE, .rsp = STACK_AT(id), .rflags = 2,
				     .r12 = next << 32 | 0x4000 | TOKEN_VECTOR,
				     .r13 = COUNTERS + id * 64};
		struct kvm_mp_state runnable = {.mp_state = KVM_MP_STATE_RUNNABLE};

		minivmm_enable_apic(&vcpu[id]);
		minivmm_set_gate(&vcpu[id], MINIVMM_LONG, TOKEN_VECTOR, 0x40);
		minivmm_set_gate(&vcpu[id], MINIVMM_LONG, OTHER_VECTOR, 0x80);
		minivmm_set_gate(&vcpu[id], MINIVMM_LONG, 2, 0xc0);
		minivmm_set_regs(&vcpu[id], &r);
		ioctl(vcpu[id].vcpu, KVM_SET_MP_STATE, &runnable);
	}
}

static void send(unsigned id, uint32_t data)
{
	struct kvm_msi msi = {.address_lo = 0xfee00000 | (id & 0xff) << 12, .data = data};

	ioctl(vcpu[0].vm, KVM_SIGNAL_MSI, &msi);
}

static void interrupts_step(void)
{
	static int begun;
	uint64_t r = rnd();

	if (!begun++)
		send(0, TOKEN_VECTOR);
	for (unsigned i = 0; i < r % 8; i++)
		send((unsigned)(rnd() % now.vcpus), OTHER_VECTOR);
	send((unsigned)(r >> 8) % now.vcpus, 0x400); /* an NMI */
}

static int token_seen(void)
{
	return *(volatile uint64_t *)machine_counter(0) != 0;
}

static void interrupts_end(void)
{
	machine_wait(token_seen);
}

/* It was passed on to the end: nobody has had it twice more than the next. */
static void interrupts_check(void)
{
	uint64_t most = 0, least = ~0ULL;

	for (unsigned id = 0; id < now.vcpus; id++) {
		uint64_t n = *machine_counter(id);

		most = n > most ? n : most;
		least = n < least ? n : least;
	}
	if (most - least > 1)
		finding("the token was %lu times at one vCPU and %lu at another", most, least);
	if (!most)
		finding("the token was lost");
}

/* ---- resets: one vCPU sends INIT, SIPI and NMI to all others, which count in real mode */

#define STARTUP	    0x38000u /* of vector 0x38 */
#define STARTUP_NMI 0x60
#define STARTUP_AT  0x80 /* what they count */

/* R12: a state of random numbers, R11: how many others there are. */
GUEST(resetter, 64,
      "1: incq (%r13)\n movabs $6364136223846793005, %rax\n imul %rax, %r12\n add $1442695041, %r12\n"
      "mov %r12, %rax\n shr $40, %rax\n xor %edx, %edx\n div %r11d\n inc %edx\n"
      "mov %r12, %rbx\n shr $62, %rbx\n lea 2f(%rip), %rcx\n mov (%rcx, %rbx, 4), %eax\n"
      "mov $0x830, %ecx\n wrmsr\n jmp 1b\n .balign 4\n 2: .long 0x4500, 0x4638, 0x4638, 0x4400\n");
GUEST(startup, 16,
      "1: lock incw %cs:0x80\n jmp 1b\n .org guest_startup + 0x60\n iretw\n");

static void resets_prepare(void)
{
	struct kvm_regs r = {.rip = MINIVMM_CODE, .rsp = STACK_AT(0), .rflags = 2, .r13 = COUNTERS,
			     .r12 = rnd(), .r11 = now.vcpus - 1};

	minivmm_load(&vcpu[0], MINIVMM_LONG, resetter);
	minivmm_set_regs(&vcpu[0], &r);
	memcpy(vcpu[0].mem + STARTUP, startup.start, (size_t)(startup.end - startup.start));
	for (unsigned v = 0; v < 256; v++) {
		uint32_t vector = (STARTUP / 16) << 16 | STARTUP_NMI;

		memcpy(vcpu[0].mem + v * 4, &vector, 4);
	}
	for (unsigned id = 0; id < now.vcpus; id++)
		minivmm_enable_apic(&vcpu[id]);
}

static int somebody_started(void)
{
	return *(volatile uint16_t *)(vcpu[0].mem + STARTUP + STARTUP_AT) != 0;
}

static void resets_end(void)
{
	machine_wait(somebody_started);
}

static void resets_check(void)
{
	if (!somebody_started() && *machine_counter(0) > 1000)
		finding("nobody was started by %lu messages", *machine_counter(0));
}

/* ---- tables: descriptors, gates and stacks that change while they are used */

GUEST(far, 64, "lea 1f(%rip), %rdx\n push $0x18\n push %rdx\n lretq\n 1:\n");
GUEST(int3, 64, "int3\n");
GUEST(ud2, 64, "ud2\n");
GUEST(load_segments, 64, "mov %ax, %ds\n mov %cx, %es\n mov %ax, %fs\n");
GUEST(spoil_gdt, 64, "and $0x3f, %edi\n mov %rax, 0x2008(%rdi)\n");
GUEST(spoil_idt, 64, "and $0x1ff, %edi\n mov %rax, 0x1000(%rdi)\n");
GUEST(mend, 64,
      "mov $0x00af9b000000ffff, %rax\n mov %rax, 0x2018\n mov $0x00cf93000000ffff, %rax\n mov %rax, 0x2010\n");
GUEST(bad_stack, 64, "mov %rsi, %rsp\n push %rax\n");
GUEST(load_tr, 64, "ltr %ax\n");
GUEST(load_ldt, 64, "lldt %ax\n");

static void selector_registers(unsigned id, uint64_t reg[4])
{
	reg[RAX] &= 0x2b;
	reg[RCX] &= 0x2b;
}

static const struct part tables_parts[] = {
	{"far", guest_far, guest_far_end, NULL},
	{"int3", guest_int3, guest_int3_end, NULL},
	{"ud2", guest_ud2, guest_ud2_end, NULL},
	{"load_segments", guest_load_segments, guest_load_segments_end, selector_registers},
	{"spoil_gdt", guest_spoil_gdt, guest_spoil_gdt_end, NULL},
	{"spoil_idt", guest_spoil_idt, guest_spoil_idt_end, NULL},
	{"mend", guest_mend, guest_mend_end, NULL},
	{"bad_stack", guest_bad_stack, guest_bad_stack_end, NULL},
	{"load_tr", guest_load_tr, guest_load_tr_end, selector_registers},
	{"load_ldt", guest_load_ldt, guest_load_ldt_end, selector_registers},
};

/* ---- state: the VMM sets anything between runs */

static void random_bytes(void *p, size_t n, unsigned sparse)
{
	for (size_t i = 0; i < n; i++) {
		if (rnd() % sparse == 0)
			((uint8_t *)p)[i] = (uint8_t)rnd();
	}
}

static int state_between(unsigned id)
{
	static const unsigned long get_set[][3] = {
		{KVM_GET_REGS, KVM_SET_REGS, sizeof(struct kvm_regs)},
		{KVM_GET_SREGS, KVM_SET_SREGS, sizeof(struct kvm_sregs)},
		{KVM_GET_FPU, KVM_SET_FPU, sizeof(struct kvm_fpu)},
		{KVM_GET_XSAVE, KVM_SET_XSAVE, sizeof(struct kvm_xsave)},
		{KVM_GET_XCRS, KVM_SET_XCRS, sizeof(struct kvm_xcrs)},
		{KVM_GET_VCPU_EVENTS, KVM_SET_VCPU_EVENTS, sizeof(struct kvm_vcpu_events)},
		{KVM_GET_DEBUGREGS, KVM_SET_DEBUGREGS, sizeof(struct kvm_debugregs)},
		{KVM_GET_MP_STATE, KVM_SET_MP_STATE, sizeof(struct kvm_mp_state)},
	};
	uint8_t buf[8192];
	unsigned which = (unsigned)(rnd() % COUNT(get_set));

	if (rnd() % 64 == 0)
		machine_restart(id);
	if (ioctl(vcpu[id].vcpu, get_set[which][0], buf))
		return 0;
	random_bytes(buf, get_set[which][2], 1 + rnd() % 64);
	ioctl(vcpu[id].vcpu, get_set[which][1], buf);
	return 0;
}

/* ---- life: what a vCPU runs on is taken away */

static unsigned leaves; /* atomic: the vCPU whose thread is to end, or 0 */

static int life_between(unsigned id)
{
	return id && __atomic_compare_exchange_n(&leaves, &id, 0, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

static void life_step(void)
{
	unsigned id = 1 + (unsigned)(rnd() % (MAX_VCPUS - 1));
	static struct minivmm more[MAX_VCPUS];
	pid_t pid;

	switch (rnd() % 5) {
	case 0: /* a child that uses and closes everything */
		pid = fork();
		if (!pid) {
			if (ioctl(vcpu[0].vcpu, KVM_RUN, 0) != -1 || errno != EIO)
				_exit(2);
			for (int fd = 3; fd < 64; fd++)
				close(fd);
			_exit(0);
		}
		if (pid > 0) {
			int status;

			waitpid(pid, &status, 0);
			if (status)
				finding("a child ended with %#x", status);
		}
		break;
	case 1: /* a vCPU that comes, runs a little, and goes */
		if (now.vcpus + id % 8 < MAX_VCPUS && !more[id].mem) {
			minivmm_add_vcpu(&vcpu[0], 100 + id, &more[id]);
			minivmm_remove_vcpu(&more[id]);
		}
		break;
	case 3: /* a vCPU's thread goes, and another takes over */
		if (now.vcpus == 1)
			break;
		id = 1 + id % (now.vcpus - 1);
		__atomic_store_n(&leaves, id, __ATOMIC_SEQ_CST);
		machine_rethread(id);
		break;
	case 2: /* the VM's descriptor */
		close(dup(vcpu[0].vm));
		break;
	default: /* the first one's kvm_run, mapped elsewhere as well */
		munmap(mmap(NULL, vcpu[0].run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu[0].vcpu, 0),
		       vcpu[0].run_size);
	}
}

/* While vCPUs run: kvm_run is mapped over, every descriptor is closed, the process ends or becomes another. */
static void life_end(void)
{
	ending = 1;
	switch (rnd() % 5) {
	case 0:
		for (unsigned id = 0; id < now.vcpus; id++)
			mmap(vcpu[id].run, vcpu[id].run_size, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		break;
	case 1:
		for (unsigned id = 0; id < now.vcpus; id++)
			close(vcpu[id].vcpu);
		close(vcpu[0].vm);
		close(vcpu[0].kvm);
		break;
	case 2:
		_exit(0);
	case 3:
		execl("/bin/true", "true", NULL);
		finding("exec: %s", strerror(errno));
	}
}

#define KIND(name) static const struct kind kind_##name
KIND(locks) = {"locks", locks_parts, COUNT(locks_parts), 8, 0, NULL, NULL, locks_check, NULL, NULL};
KIND(memory) = {"memory", memory_parts, NMEMORY_PARTS, 6, KIND_EXITS, NULL, memory_step, NULL, NULL, NULL};
KIND(code) = {"code", code_parts, COUNT(code_parts), 6, 0, code_prepare, NULL, NULL, NULL, NULL};
KIND(mappings) = {"mappings", mappings_parts, COUNT(mappings_parts), 6, 0, mappings_prepare, NULL, NULL, NULL,
		  NULL};
KIND(interrupts) = {"interrupts", NULL, 0, 64, KIND_IRQCHIP | KIND_PLAIN, interrupts_prepare, interrupts_step,
		    interrupts_check, NULL, interrupts_end};
KIND(resets) = {"resets", NULL, 0, 16, KIND_IRQCHIP | KIND_PLAIN, resets_prepare, NULL, resets_check, NULL,
		resets_end};
KIND(tables) = {"tables", tables_parts, COUNT(tables_parts), 6, KIND_EXITS, NULL, NULL, NULL, NULL, NULL};
KIND(state) = {"state", memory_parts, NMEMORY_PARTS, 4, KIND_EXITS, NULL, NULL, NULL, state_between, NULL};
KIND(life) = {"life", locks_parts, COUNT(locks_parts), 4, 0, NULL, life_step, locks_check, life_between, life_end};

const struct kind *const kinds[] = {
	&kind_locks,  &kind_memory, &kind_code,	 &kind_mappings, &kind_interrupts,
	&kind_resets, &kind_tables, &kind_state, &kind_tasks,	 &kind_timers,
	&kind_rings,  &kind_files,  &kind_private, &kind_aliases,
	&kind_life,
};
/* The thread sanitizer's runtime stands still in the last: where processes fork and threads end amid signals. */
#ifdef __SANITIZE_THREAD__
const unsigned nkinds = COUNT(kinds) - 1;
#else
const unsigned nkinds = COUNT(kinds);
#endif
