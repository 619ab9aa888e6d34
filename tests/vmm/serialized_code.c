/* SPDX-License-Identifier: MIT */
/*
 * tests/vmm/serialized_code.c: code that was stored where the vCPU that runs it is not told, and a
 * serializing instruction between the news of it and the call (SDM vol. 3, 9.1.3): the call runs what
 * is in memory. The store comes through another memslot over the same page, or from a thread of the
 * VMM's while the guest polls a flag.
 */
#include "minivmm.h"
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define ROUNDS	 40
#define LATE	 100 /* seconds until the guest is given up */
#define FUNCTION 0x400000u
#define ALIAS	 0x500000u /* the same page once more */
#define ASKED	 0x12000u  /* the round that the guest waits for */
#define TOLD	 0x13000u  /* the round whose code is stored */

/*
 * ecx: the round, which the function's constant must be after the serializing instruction. The
 * function is called before, so that it is cached. ebp: 0, store by itself through the alias; 1, ask
 * for it and poll. edi: which instruction serializes.
 */
GUEST(calls, 64,
      "mov $1, %r8d\n"
      "1: mov $0x400000, %ebx\n call *%rbx\n"
      "test %ebp, %ebp\n jnz 2f\n"
      "mov %r8d, 0x500001\n jmp 4f\n"
      "2: mov %r8d, 0x12000\n"
      "3: pause\n cmp %r8d, 0x13000\n jne 3b\n"
      "4: cmp $1, %edi\n je 5f\n jb 6f\n wbinvd\n jmp 7f\n"
      "5: .byte 0x0f, 0x01, 0xe8\n jmp 7f\n" /* SERIALIZE */
      "6: xor %eax, %eax\n cpuid\n"
      "7: mov $0x400000, %ebx\n call *%rbx\n"
      "cmp %r8d, %eax\n jne 8f\n"
      "inc %r8d\n cmp $41, %r8d\n jne 1b\n hlt\n"
      "8: out %eax, $0x11\n");
GUEST(function, 64, "mov $0, %eax\n ret");

enum { CPUID, SERIALIZE, WBINVD, NR_INSTRUCTIONS };
static const char *const instruction[] = {"cpuid", "serialize", "wbinvd"};

static struct minivmm v;
static uint8_t *function_page; /* as the VMM sees it */

static void set_slot(unsigned slot, uint64_t gpa, void *hva, uint64_t size)
{
	struct kvm_userspace_memory_region r = {
		.slot = slot,
		.guest_phys_addr = gpa,
		.memory_size = size,
		.userspace_addr = (uintptr_t)hva,
	};

	EXPECT(!ioctl(v.vm, KVM_SET_USER_MEMORY_REGION, &r), "%s", strerror(errno));
}

/* The slots of the function's page and of its alias. */
static void set_slots(uint8_t *page, uint8_t *alias)
{
	set_slot(1, FUNCTION, page, 0x1000);
	set_slot(2, ALIAS, alias, 0x1000);
	function_page = page;
}

static void delete_slots(void)
{
	set_slot(1, FUNCTION, NULL, 0);
	set_slot(2, ALIAS, NULL, 0);
}

static void *store_when_asked(void *arg)
{
	for (uint32_t n = 1; n <= ROUNDS; n++) {
		while (__atomic_load_n((uint32_t *)(v.mem + ASKED), __ATOMIC_ACQUIRE) != n)
			sched_yield();
		memcpy(function_page + 1, &n, sizeof(n));
		__atomic_store_n((uint32_t *)(v.mem + TOLD), n, __ATOMIC_RELEASE);
	}
	return NULL;
}

static void run(const char *how, unsigned instr, bool poll)
{
	pthread_t storing;
	struct kvm_regs r;
	int reason;

	minivmm_load(&v, MINIVMM_LONG, calls);
	memcpy(function_page, function.start, function.end - function.start);
	memset(v.mem + ASKED, 0, 4);
	memset(v.mem + TOLD, 0, 4);
	minivmm_get_regs(&v, &r);
	r.rdi = instr;
	r.rbp = poll;
	minivmm_set_regs(&v, &r);
	if (poll)
		pthread_create(&storing, NULL, store_when_asked, NULL);
	reason = minivmm_run(&v);
	minivmm_get_regs(&v, &r);
	EXPECT(reason == KVM_EXIT_HLT, "%s, %s: exit %s; in round %llu the function returned %llu", how,
	       instruction[instr], minivmm_exit_name(reason), r.r8, r.rax);
	if (poll)
		pthread_join(storing, NULL);
}

/* CPUID.7:EDX.SERIALIZE, of what the vCPU was given. */
static bool has_serialize(void)
{
	struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entry[256];
	} c = {.head.nent = 256};

	EXPECT(!ioctl(v.kvm, KVM_GET_SUPPORTED_CPUID, &c), "%s", strerror(errno));
	for (unsigned i = 0; i < c.head.nent; i++) {
		if (c.entry[i].function == 7 && !c.entry[i].index)
			return c.entry[i].edx & (1 << 14);
	}
	return false;
}

static void run_all(const char *how, bool poll)
{
	for (unsigned i = 0; i < NR_INSTRUCTIONS; i++) {
		if (i != SERIALIZE || has_serialize())
			run(how, i, poll);
	}
}

int main(void)
{
	int prot = PROT_READ | PROT_WRITE, fd = memfd_create("guest", 0);
	uint8_t *private = mmap(NULL, 0x1000, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint8_t *shared, *again;

	alarm(LATE);
	EXPECT(private != MAP_FAILED && fd >= 0 && !ftruncate(fd, 0x1000), "%s", strerror(errno));
	shared = mmap(NULL, 0x1000, prot, MAP_SHARED, fd, 0);
	again = mmap(NULL, 0x1000, prot, MAP_SHARED, fd, 0);
	EXPECT(shared != MAP_FAILED && again != MAP_FAILED, "%s", strerror(errno));
	minivmm_create(&v);

	set_slots(private, private);
	run_all("two slots of one mapping", false);
	run_all("a thread of the VMM's", true);
	delete_slots();
	set_slots(shared, again);
	run_all("two slots of two mappings of a file", false);
	run_all("a thread of the VMM's, in a file", true);
	return 0;
}
