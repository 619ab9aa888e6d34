/* SPDX-License-Identifier: MIT */
/*
 * tests/vmm/rom_tables.c: descriptors and page tables in a read-only memslot, with their accessed and
 * dirty bits clear, as a snapshot's may be. The processor wants to set the bits; a ROM takes none, and the
 * guest goes on: for a descriptor by way of the VMM, which hears of a write to the ROM (api.rst,
 * KVM_MEM_READONLY). The memory behind the slot stays as it was.
 */
#include "minivmm.h"
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#define ROM	 0x10000000u
#define ROM_SIZE 0x8000u
#define TABLES	 0x1000u /* in the ROM: PML4, PDPT, PD; the GDT is at 0 */
#define VALUE	 0x100000u

GUEST(loads, 64, "mov $0x10, %eax\n mov %eax, %fs\n mov %eax, %gs\n mov %eax, %ds\n out %al, $0x10");
GUEST(accesses, 64, "mov 0x100000, %ebx\n inc %ebx\n mov %ebx, 0x100000\n out %al, $0x11");

static struct minivmm v;

/* `writes`: of accessed bits, that the VMM may hear of on the way. */
static void run_to(int port, int writes)
{
	int reason;

	while ((reason = minivmm_run(&v)) == KVM_EXIT_MMIO)
		EXPECT(v.run->mmio.is_write && v.run->mmio.phys_addr - ROM < ROM_SIZE && writes--,
		       "%s of %u bytes at %#llx", v.run->mmio.is_write ? "write" : "read", v.run->mmio.len,
		       v.run->mmio.phys_addr);
	EXPECT(reason == KVM_EXIT_IO, "exit %s", minivmm_exit_name(reason));
	EXPECT(v.run->io.port == port, "port %#x", v.run->io.port);
}

int main(void)
{
	struct kvm_userspace_memory_region slot = {.slot = 1,
						   .flags = KVM_MEM_READONLY,
						   .guest_phys_addr = ROM,
						   .memory_size = ROM_SIZE};
	static uint8_t before[ROM_SIZE];
	uint64_t *pml4, value = 41;
	struct kvm_sregs s;
	struct kvm_regs r;
	uint8_t *rom;

	minivmm_create(&v);
	rom = mmap(NULL, ROM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	EXPECT(rom != MAP_FAILED, "mmap");
	memcpy(rom, (uint64_t[]){0, 0x00cf9a000000ffff, 0x00cf92000000ffff, 0x00af9a000000ffff}, 32);
	pml4 = (uint64_t *)(rom + TABLES);
	pml4[0] = (ROM + TABLES + 0x1000) | 3;
	pml4[512] = (ROM + TABLES + 0x2000) | 3;
	pml4[1024] = 0x83; /* the memory, by a large page; neither accessed nor dirty */
	memcpy(before, rom, ROM_SIZE);
	slot.userspace_addr = (uintptr_t)rom;
	EXPECT(!ioctl(v.vm, KVM_SET_USER_MEMORY_REGION, &slot), "KVM_SET_USER_MEMORY_REGION");

	minivmm_load(&v, MINIVMM_LONG, loads);
	minivmm_get_sregs(&v, &s);
	s.gdt.base = ROM;
	minivmm_set_sregs(&v, &s);
	run_to(0x10, 3);

	memcpy(v.mem + VALUE, &value, sizeof(value));
	minivmm_load(&v, MINIVMM_LONG, accesses);
	minivmm_get_sregs(&v, &s);
	s.cr3 = ROM + TABLES;
	minivmm_set_sregs(&v, &s);
	run_to(0x11, 0);
	minivmm_get_regs(&v, &r);
	memcpy(&value, v.mem + VALUE, sizeof(value));
	EXPECT(r.rbx == 42 && value == 42, "%llu, %llu", r.rbx, (unsigned long long)value);
	EXPECT(!memcmp(before, rom, ROM_SIZE), "the memory behind the slot was written");
	minivmm_destroy(&v);
	return 0;
}
