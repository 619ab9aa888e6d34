/* SPDX-License-Identifier: MIT */
/*
 * An instruction for which the code cache has no room is made anew each time it runs: of the bytes
 * it was decoded from, whatever stands in memory by then. Here a device writes over it while the
 * block it is in runs; another vCPU may do so at the same moment.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/mman.h>

#include <cmocka.h>
#include "base/guard.h"
#include "cpu/cpu.h"
#include "cpu/native/stub.h"
#include "primary/linux/linux.h"

#define RAM_SIZE 0x10000
#define CODE	 0x1000
#define DEVICE	 0x2000 /* segment of an address without memory */

static u8 *ram;

/* mov al, [0]; paddb mm0, mm1; hlt */
static const u8 code[] = {0xa0, 0, 0, 0x0f, 0xfc, 0xc1, 0xf4};

static int no_io(void *owner, u16 port, u32 size, bool write, void *data)
{
	return CPU_TO_VMM;
}

/* add bx, ax; nop, where PADDB is */
static int mmio(void *owner, gpa_t gpa, u32 size, bool write, void *data)
{
	memcpy(ram + CODE + 3, (u8[]){0x01, 0xc3, 0x90}, 3);
	memset(data, 0, size);
	return 0;
}

static int no_interrupt(void *owner)
{
	return -1;
}

static bool never(void *owner)
{
	return false;
}

static void no_kick(void *owner) {}

static const struct cpu_env env = {
	.io = no_io,
	.mmio = mmio,
	.has_interrupt = no_interrupt,
	.get_interrupt = no_interrupt,
	.requests = never,
	.interrupted = never,
};
static const struct mmu_vcpu_ops mops = {.kick = no_kick, .interrupted = never};

static struct cpu *make_vcpu(void)
{
	struct mmu_region region = {.size = RAM_SIZE};
	void *primary;
	struct mmu *mmu;
	struct cpu *c;

	ram = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(ram, MAP_FAILED);
	assert_int_equal(guard_install(), 0);
	assert_int_equal(primary_linux_create(&primary), 0);
	assert_int_equal(mmu_create(&primary_linux_ops, primary, &mmu), 0);
	region.hva = (hva_t)ram;
	assert_int_equal(mmu_set_region(mmu, &region), 0);
	assert_int_equal(cpu_create(mmu, 0, &env, NULL, &mops, &c), 0);
	return c;
}

static void of_the_bytes_it_was_decoded_from(void **state)
{
	struct cpu *c = make_vcpu();
	struct kvm_regs r = {.rip = CODE, .rflags = FL_FIXED, .rbx = 7};
	struct kvm_sregs s;
	struct kvm_fpu f;

	native_code_limit = 0;
	memcpy(ram + CODE, code, sizeof(code));
	cpu_get_sregs(c, &s);
	s.cs.base = s.cs.selector = 0;
	s.ds.selector = DEVICE;
	s.ds.base = DEVICE << 4;
	assert_int_equal(cpu_set_sregs(c, &s), 0);
	cpu_set_regs(c, &r);
	cpu_get_fpu(c, &f);
	memset(f.fpr, 5, sizeof(f.fpr));
	cpu_set_fpu(c, &f);
	cpu_run(c);
	assert_int_equal(c->exit.reason, CPU_EXIT_HLT);
	cpu_get_fpu(c, &f);
	assert_int_equal(f.fpr[0][0], 10);
	cpu_get_regs(c, &r);
	assert_int_equal(r.rbx, 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(of_the_bytes_it_was_decoded_from)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
