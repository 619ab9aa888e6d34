/* SPDX-License-Identifier: MIT */
/*
 * Code that loads from a page and most often stores to it is executed once where it only loads: the page's bit in the
 * dirty log stays clear, however the accesses share what they know of the page.
 */
#include <sys/ioctl.h>
#include "minivmm.h"

#define AT    0x100000UL
#define PAGES 4UL
#define PAGE  0x1000UL

GUEST(guest, 64,
      "mov $0x100000, %ebx; mov $200, %ecx; mov $1, %esi\n"
      "again: call add_if; xor $0x1000, %ebx; dec %ecx; jnz again\n"
      "hlt\n"
      "xor %esi, %esi; call add_if\n"
      "hlt\n"
      "mov $1, %esi; call add_if\n"
      "hlt\n"
      "add_if: mov (%rbx), %rax; test %esi, %esi; jz out; inc %rax; mov %rax, (%rbx)\n"
      "out: ret");

static struct minivmm v;

static void slot(unsigned n, uint64_t at, uint64_t size, unsigned flags)
{
	struct kvm_userspace_memory_region m = {n, flags, at, size, (uint64_t)v.mem + at};

	EXPECT(!ioctl(v.vm, KVM_SET_USER_MEMORY_REGION, &m), "slot %u", n);
}

/* Run up to the next HLT: which pages have become dirty. */
static uint64_t dirtied(void)
{
	uint64_t bitmap = 0;
	struct kvm_dirty_log log = {.slot = 1, .dirty_bitmap = &bitmap};
	int reason = minivmm_run(&v);

	EXPECT(reason == KVM_EXIT_HLT, "exit %s", minivmm_exit_name(reason));
	EXPECT(!ioctl(v.vm, KVM_GET_DIRTY_LOG, &log), "the log");
	return bitmap;
}

int main(void)
{
	uint64_t bits;

	minivmm_create(&v);
	minivmm_load(&v, MINIVMM_LONG, guest);
	slot(0, 0, 0, 0);
	slot(0, 0, AT, 0);
	slot(1, AT, PAGES * PAGE, KVM_MEM_LOG_DIRTY_PAGES);
	bits = dirtied();
	EXPECT(bits == 3, "both pages were stored to: %lx", bits);
	bits = dirtied();
	EXPECT(!bits, "nothing was stored: %lx", bits);
	bits = dirtied();
	EXPECT(bits == 1, "one page was stored to: %lx", bits);
	return 0;
}
