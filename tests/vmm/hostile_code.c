/* SPDX-License-Identifier: MIT */
/*
 * tests/vmm/hostile_code.c: guests aimed at how code is kept coherent (docs/cpu.md): every store into
 * code is by another name than the code is run by, and there is no serializing instruction.
 */
#include "minivmm.h"
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define LATE   40 /* seconds until the guests are given up */
#define CODE   0x400000u /* two pages of code ... */
#define ALIAS  0x800000u /* ... and the same two again */
#define ROUNDS "2000"

static uint8_t *pages; /* of CODE and ALIAS, as the VMM sees them */

static void set_slot(const struct minivmm *v, unsigned slot, uint64_t gpa, void *hva, uint64_t size,
		     unsigned flags)
{
	struct kvm_userspace_memory_region r = {.slot = slot, .flags = flags, .guest_phys_addr = gpa,
						.memory_size = size, .userspace_addr = (uintptr_t)hva};

	EXPECT(!ioctl(v->vm, KVM_SET_USER_MEMORY_REGION, &r), "%s", strerror(errno));
}

static void create(struct minivmm *v)
{
	minivmm_create(v);
	set_slot(v, 1, CODE, pages, 0x2000, 0);
	set_slot(v, 2, ALIAS, pages, 0x2000, 0);
}

static void put(unsigned at, struct guest_code code)
{
	memcpy(pages + at, code.start, (size_t)(code.end - code.start));
}

/* Runs to its HLT; an OUT is a finding. */
static void expect_good(struct minivmm *v, const char *what)
{
	struct kvm_regs r;
	int reason = minivmm_run(v);

	minivmm_get_regs(v, &r);
	EXPECT(reason == KVM_EXIT_HLT, "%s: exit %s; round %llu, and the code gave %llu", what,
	       minivmm_exit_name(reason), r.rsi, r.rax);
}

/* ---- an instruction that lies on two pages, of which the second is stored into */

GUEST(straddles, 64, "mov $0x11111111, %eax\n ret"); /* two bytes before the end of the page */
GUEST(patches_second, 64,
      "mov $1, %esi\n 1: mov %sil, 0x801002\n call 2f\n cmp %al, %sil\n jne 3f\n"
      "mov %esi, %edx\n shr $8, %edx\n mov %dl, 0x801001\n inc %esi\n cmp $" ROUNDS ", %esi\n jne 1b\n hlt\n"
      "2: mov $0x400ffe, %edx\n call *%rdx\n shr $24, %eax\n ret\n 3: out %al, $0x11\n");

static void straddling(struct minivmm *v)
{
	put(0xffe, straddles);
	minivmm_load(v, MINIVMM_LONG, patches_second);
	expect_good(v, "straddling");
}

/* ---- strings that store over what is run next, and over themselves */

GUEST(strings, 64,
      "mov $1, %esi\n 1: mov %esi, %eax\n mov $0x800101, %edi\n mov $4, %ecx\n rep stosb\n"
      "mov $0x400100, %edx\n call *%rdx\n cmp %al, %sil\n jne 3f\n"
      "mov $0x400200, %edx\n mov %esi, %ebx\n call *%rdx\n cmp %al, %bl\n jne 3f\n"
      "inc %esi\n cmp $" ROUNDS ", %esi\n jne 1b\n hlt\n 3: out %al, $0x11\n");
GUEST(returns, 64, "mov $0, %eax\n ret");
/* In ALIAS's name, what is behind the REP: the immediate of the MOV. */
GUEST(overtakes, 64,
      "mov %ebx, %eax\n lea 1f(%rip), %rdi\n add $0x400001, %rdi\n mov $4, %ecx\n rep stosb\n"
      "1: mov $0, %eax\n ret");

static void by_strings(struct minivmm *v)
{
	put(0x100, returns);
	put(0x200, overtakes);
	minivmm_load(v, MINIVMM_LONG, strings);
	expect_good(v, "strings");
}

/* ---- a page of page tables that is code: the walker sets accessed and dirty in an immediate */

/*
 * At 0x400 of the page (by ALIAS's name a page table, by CODE's the function): the entry before the one
 * that maps the page that is touched ends in 0xb0, and the entry is C3xx: MOV AL, xx; RET.
 */
GUEST(walks, 64,
      "mov $1, %esi\n 1: movb $0x03, 0x800408\n invlpg (%rbx)\n call 2f\n cmp $0x03, %al\n jne 3f\n"
      "mov (%rbx), %edx\n call 2f\n cmp $0x23, %al\n jne 3f\n"
      "mov %edx, (%rbx)\n call 2f\n cmp $0x63, %al\n jne 3f\n"
      "inc %esi\n cmp $" ROUNDS ", %esi\n jne 1b\n hlt\n"
      "2: mov $0x400407, %ecx\n jmp *%rcx\n 3: out %al, $0x11\n");

static void tables_that_are_code(struct minivmm *v)
{
	uint64_t *table = (uint64_t *)(pages + 0x400), *pdpt, *pd;
	struct kvm_regs r;

	minivmm_load(v, MINIVMM_LONG, walks);
	pdpt = (uint64_t *)(v->mem + MINIVMM_PML4 + 0x1000);
	pd = (uint64_t *)(v->mem + 0x7000);
	memset(pages, 0, 0x1000);
	table[0] = 0xb000000000000000;
	table[1] = 0x1c303; /* 0x1c000, with the bits that are the guest's to use */
	pdpt[1] = 0x7000 | 3;
	pd[0] = ALIAS | 3;
	minivmm_get_regs(v, &r);
	r.rbx = 0x40000000 + 0x81 * 0x1000ULL;
	minivmm_set_regs(v, &r);
	expect_good(v, "page tables");
}

/* ---- VMs that come and go while they store into the code of one that runs */

/* EBP: its address of the immediate. A word, both bytes of which are the same. */
GUEST(stores, 64,
      "mov $200, %ecx\n 1: inc %eax\n and $0xff, %eax\n imul $0x101, %eax, %edx\n mov %dx, (%rbp)\n dec %ecx\n"
      "jnz 1b\n hlt\n");
GUEST(word, 64, ".byte 0x66, 0xb8, 0x11, 0x11\n ret\n");
GUEST(calls, 64,
      "1: mov $0x400100, %edx\n call *%rdx\n cmp %al, %ah\n jne 3f\n cmpb $0, 0x12000\n je 1b\n hlt\n"
      "3: out %al, $0x11\n");

static void *run_calls(void *arg)
{
	expect_good(arg, "VMs that come and go");
	return NULL;
}

static void store_in(struct minivmm *other)
{
	struct kvm_regs r;

	minivmm_load(other, MINIVMM_LONG, stores);
	minivmm_get_regs(other, &r);
	r.rbp = ALIAS + 0x102;
	minivmm_set_regs(other, &r);
	EXPECT_EXIT(other, KVM_EXIT_HLT);
}

static void come_and_go(struct minivmm *v)
{
	struct minivmm other;
	pthread_t thread;

	put(0x100, word);
	minivmm_load(v, MINIVMM_LONG, calls);
	v->mem[0x12000] = 0;
	pthread_create(&thread, NULL, run_calls, v);
	for (unsigned i = 0; i < 40; i++) {
		create(&other);
		store_in(&other);
		minivmm_destroy(&other);
	}
	v->mem[0x12000] = 1;
	pthread_join(thread, NULL);
}

/* ---- more VMs than there are bits to know them by, all with code from one page */

#define MANY 70

GUEST(calls_once, 64, "mov $0x400100, %edx\n call *%rdx\n hlt\n");

static void many(struct minivmm *v)
{
	static struct minivmm other[MANY];

	put(0x100, returns);
	for (unsigned i = 0; i < MANY; i++)
		create(&other[i]);
	for (unsigned round = 1; round < 4; round++) {
		struct kvm_regs r;

		pages[0x101] = (uint8_t)round; /* by the VMM: seen at the next entry */
		for (unsigned i = 0; i < MANY; i++) {
			minivmm_load(&other[i], MINIVMM_LONG, calls_once);
			expect_good(&other[i], "many");
			minivmm_get_regs(&other[i], &r);
			EXPECT(r.rax == round, "VM %u runs %#llx in round %u", i, r.rax, round);
		}
		/* The odd ones go and come again. */
		for (unsigned i = 1; i < MANY; i += 2) {
			minivmm_destroy(&other[i]);
			create(&other[i]);
		}
	}
	for (unsigned i = 0; i < MANY; i++)
		minivmm_destroy(&other[i]);
}

/* ---- a name that changes while code is run: the slot that aliases it is moved and logged */

static volatile int moving;
static struct minivmm *moved;

static void *move(void *arg)
{
	while (moving) {
		set_slot(moved, 2, 0, NULL, 0, 0);
		set_slot(moved, 2, ALIAS, pages, 0x2000, KVM_MEM_LOG_DIRTY_PAGES);
		set_slot(moved, 2, ALIAS, pages, 0x2000, 0);
		usleep(300);
	}
	return NULL;
}

static void slots_that_move(struct minivmm *v)
{
	pthread_t thread;
	int reason;
	struct kvm_regs r;

	put(0x100, returns);
	put(0x200, overtakes);
	minivmm_load(v, MINIVMM_LONG, strings);
	moved = v;
	moving = 1;
	pthread_create(&thread, NULL, move, NULL);
	/* What is stored where no slot is comes to the VMM, which stores it. */
	while ((reason = minivmm_run(v)) == KVM_EXIT_MMIO) {
		EXPECT(v->run->mmio.is_write && v->run->mmio.phys_addr - ALIAS < 0x2000, "no store");
		memcpy(pages + (v->run->mmio.phys_addr - ALIAS), v->run->mmio.data, v->run->mmio.len);
	}
	minivmm_get_regs(v, &r);
	moving = 0;
	pthread_join(thread, NULL);
	EXPECT(reason == KVM_EXIT_HLT, "slots that move: exit %s; round %llu, and the code gave %llu",
	       minivmm_exit_name(reason), r.rsi, r.rax);
}

/* Twice: over private memory, and over two mappings of a file. */
static void all(void)
{
	struct minivmm v;

	create(&v);
	straddling(&v);
	by_strings(&v);
	tables_that_are_code(&v);
	come_and_go(&v);
	many(&v);
	slots_that_move(&v);
	minivmm_destroy(&v);
}

int main(void)
{
	int prot = PROT_READ | PROT_WRITE, fd = memfd_create("code", 0);

	alarm(hang_limit(LATE));
	pages = mmap(NULL, 0x2000, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	EXPECT(pages != MAP_FAILED && fd >= 0 && !ftruncate(fd, 0x2000), "%s", strerror(errno));
	all();
	pages = mmap(NULL, 0x2000, prot, MAP_SHARED, fd, 0);
	EXPECT(pages != MAP_FAILED, "%s", strerror(errno));
	all();
	return 0;
}
