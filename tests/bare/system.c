/* SPDX-License-Identifier: MIT */
/* tests/bare/system.c: control registers, MSRs and the fast system calls (SDM vol.
 * 3, 2.5, 4.10.1, 9.1; vol. 2, MOV to control registers, WRMSR, SYSCALL, SYSRET). */
#include "bare.h"

enum {
	MSR_EFER = 0xc0000080,
	MSR_STAR = 0xc0000081,
	MSR_LSTAR = 0xc0000082,
	MSR_SFMASK = 0xc0000084,
	MSR_FS_BASE = 0xc0000100,
	MSR_GS_BASE = 0xc0000101,
	MSR_KERNEL_GS_BASE = 0xc0000102,
	MSR_TSC_AUX = 0xc0000103,
	MSR_PAT = 0x277,
	MSR_APIC_BASE = 0x1b,
	MSR_SYSENTER_EIP = 0x176
};

/* QEMU 7.2 takes a bad write of CR3 or CR4 for an exit of a nested guest, and repeats it
 * forever. */
#define TCG_HANGS "TCG never comes back from such a write"

#define CHECK_GP_ON(register, value)                                                           \
	do {                                                                                   \
		u64 old_ = read_##register();                                                  \
		TRY("mov %[v], %%" #register, (), ([v] "r"((u64)(value))));                    \
		CHECK_FAULT(GP, 0);                                                            \
		CHECK(read_##register() == old_);                                              \
	} while (0)

TEST(cr0_rules)
{
	u64 cr0 = read_cr0();

	TRY("mov %[v], %%cr0", (), ([v] "r"(cr0 & ~0x10ULL)));
	CHECK_NONE();
	CHECK(read_cr0() & 0x10, "ET is always one");
	TRY("mov %[v], %%cr0", (), ([v] "r"(cr0 | BIT(17)))); /* reserved, ignored */
	CHECK_NONE();
	TRY("smsw %%rax\n and $~1, %%eax\n lmsw %%ax", (), (), "rax");
	CHECK_NONE();
	CHECK(read_cr0() & 1, "LMSW cannot clear PE");
	write_cr0(cr0);
}

TEST(cr0_combinations)
{
	u64 cr0 = read_cr0();

	if (has.tcg)
		return skip("TCG checks none of these and would lose the machine");
	CHECK_GP_ON(cr0, cr0 & ~1ULL);	 /* PG without PE */
	CHECK_GP_ON(cr0, cr0 | BIT(29)); /* NW without CD */
	CHECK_GP_ON(cr0, cr0 | BIT(32));
	CHECK_GP_ON(cr4, read_cr4() & ~BIT(5)); /* PAE in long mode */
	CHECK_GP_ON(cr4, read_cr4() ^ BIT(12)); /* LA57 in long mode */
}

TEST(cr4_rules)
{
	u64 cr4 = read_cr4();

	if (has.tcg)
		return skip(TCG_HANGS);
	CHECK_GP_ON(cr4, cr4 | BIT(15));
	CHECK_GP_ON(cr4, cr4 | BIT(31));
	CHECK_GP_ON(cr4, cr4 | BIT(63));
	if (!has.smep)
		CHECK_GP_ON(cr4, cr4 | CR4_SMEP);
}

TEST(cr3_rules)
{
	u64 cr3 = read_cr3();

	if (has.tcg)
		return skip(TCG_HANGS);
	CHECK_GP_ON(cr3, cr3 | BIT(62));
	if (has.maxphyaddr < 52)
		CHECK_GP_ON(cr3, cr3 | BIT(51));
	TRY("mov %[v], %%cr3", (), ([v] "r"(cr3 | 0x18)));
	CHECK_NONE();
	write_cr3(cr3);
}

TEST(pcid_rules)
{
	u64 cr3 = read_cr3(), cr4 = read_cr4();

	if (!has.pcid)
		return skip("no PCID");
	if (has.tcg)
		return skip(TCG_HANGS);
	write_cr3(cr3 | 8); /* CR3[11:0] must be 0 to set PCIDE */
	CHECK_GP_ON(cr4, cr4 | BIT(17));
	write_cr3(cr3);
	write_cr4(cr4 | BIT(17));
	TRY("mov %[v], %%cr3", (), ([v] "r"(cr3 | 5 | BIT(63))));
	CHECK_NONE();
	CHECK(read_cr3() == (cr3 | 5), "bit 63 does not stay: %lx", read_cr3());
	CHECK_GP_ON(cr3, cr3 | BIT(62));
	/* In use it does not mix with the end of long mode (vol. 3, 4.10.1). */
	CHECK_GP_ON(cr0, read_cr0() & ~BIT(31));
	write_cr3(cr3);
	write_cr4(cr4);
}

static void wrmsr_faults(u32 msr, u64 value)
{
	TRY("wrmsr", (), ("c"(msr), "a"((u32)value), "d"((u32)(value >> 32))));
	CHECK(caught.vector == GP && caught.error == 0, "msr %x value %lx: vector %d", msr,
	      value, (int)caught.vector);
}

TEST(efer_rules)
{
	u64 efer = rdmsr(MSR_EFER);

	wrmsr_faults(MSR_EFER, efer ^ BIT(8)); /* LME with paging on */
	wrmsr_faults(MSR_EFER, efer | BIT(2));
	wrmsr_faults(MSR_EFER, efer | BIT(63));
	CHECK(rdmsr(MSR_EFER) == efer, "%lx", rdmsr(MSR_EFER));
	CHECK((efer & 0x500) == 0x500, "LMA and LME: %lx", efer);
}

TEST(msr_rules)
{
	TRY("rdmsr", (), ("c"(0x12345678)), "rax", "rdx");
	CHECK_FAULT(GP, 0);
	wrmsr_faults(0x12345678, 0);
	wrmsr_faults(MSR_PAT, 0x0007040600070402); /* 2 is no memory type */
	wrmsr_faults(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | 1);
}

/* An MSR of a feature that is not announced is none. */
TEST(msr_of_absent_features)
{
	u32 seven[4], one[4];

	if (has.tcg)
		return skip("TCG knows any");
	cpuid(1, 0, one);
	cpuid(7, 0, seven);
	if (!(seven[3] & (BIT(26) | BIT(27) | BIT(31)))) {
		TRY("rdmsr", (), ("c"(0x48)), "rax", "rdx");
		CHECK_FAULT(GP, 0);
		wrmsr_faults(0x48, 0);
	}
	if (!(seven[3] & BIT(26)))
		wrmsr_faults(0x49, 1);
	if (!(one[2] & BIT(15))) {
		TRY("rdmsr", (), ("c"(0x345)), "rax", "rdx");
		CHECK_FAULT(GP, 0);
	}
	TRY("rdmsr", (), ("c"(0x9e)), "rax", "rdx"); /* SMBASE, outside SMM */
	CHECK_FAULT(GP, 0);
}

/* Memory types that do not exist, and reserved bits (vol. 3, 12.11). */
TEST(mtrr_rules)
{
	u32 one[4];
	u64 cap;

	cpuid(1, 0, one);
	if (has.tcg)
		return skip("TCG takes anything");
	if (!(one[3] & BIT(12)))
		return skip("no MTRR");
	cap = rdmsr(0xfe);
	wrmsr_faults(0xfe, cap);
	wrmsr_faults(0x2ff, 2);
	wrmsr_faults(0x2ff, BIT(9));
	wrmsr_faults(0x250, 0x0606060606060306);
	if (!(cap & 0xff))
		return;
	wrmsr_faults(0x200, 7);
	wrmsr_faults(0x200, BIT(8));
	wrmsr_faults(0x201, BIT(10));
	if (has.maxphyaddr < 52)
		wrmsr_faults(0x201, BIT(51));
	wrmsr(0x201, BIT(11) | 0xff000000);
	CHECK(rdmsr(0x201) == (BIT(11) | 0xff000000), "%lx", rdmsr(0x201));
	wrmsr(0x201, 0);
}

/* Banks are cleared with zeros and switched by ones (vol. 3, 15.3). */
TEST(machine_check_banks)
{
	u32 one[4];

	cpuid(1, 0, one);
	if (has.tcg)
		return skip("TCG takes anything");
	if (!(one[3] & BIT(14)) || !(rdmsr(0x179) & 0xff))
		return skip("no machine-check banks");
	wrmsr_faults(0x400, 0x1234);
	wrmsr(0x400, ~0ULL);
	wrmsr_faults(0x401, 1);
	wrmsr(0x401, 0);
	wrmsr_faults(0x17a, BIT(63));
	wrmsr_faults(0x400 + 4 * (rdmsr(0x179) & 0xff), 0);
}

/* Locked, it stays as it is (vol. 3, 23.7). */
TEST(feature_control_lock)
{
	TRY("rdmsr", (), ("c"(0x3a)), "rax", "rdx");
	if (has.tcg || caught.vector != -1)
		return skip("no IA32_FEATURE_CONTROL");
	if (!(rdmsr(0x3a) & 1))
		wrmsr(0x3a, 1);
	wrmsr_faults(0x3a, 0);
	wrmsr_faults(0x3a, 1);
}

/* Off, xAPIC, x2APIC, and which of the steps between them do not exist (vol. 3, 10.12.5). */
TEST(apic_mode_changes)
{
	u32 one[4];
	u64 base = rdmsr(MSR_APIC_BASE) & ~0xc00ULL;

	cpuid(1, 0, one);
	if (!(one[2] & BIT(21)))
		return skip("no x2APIC");
	wrmsr_faults(MSR_APIC_BASE, base | 0x400);
	wrmsr(MSR_APIC_BASE, base | 0xc00);
	wrmsr_faults(MSR_APIC_BASE, base | 0x800);
	wrmsr_faults(MSR_APIC_BASE, base | 0x400);
	wrmsr_faults(0x802, 1); /* the identifier is read-only */
	wrmsr(MSR_APIC_BASE, base);
	wrmsr_faults(MSR_APIC_BASE, base | 0xc00);
	wrmsr(MSR_APIC_BASE, base | 0x800);
}

SNIPPET(user_cpuid, "xor %eax, %eax\n cpuid");
SNIPPET(user_time, "rdtsc");

TEST(cpuid_faulting)
{
	TRY("rdmsr", (), ("c"(0xce)), "rax", "rdx");
	if (has.tcg || caught.vector != -1 || !(rdmsr(0xce) & BIT(31)))
		return skip("no CPUID faulting");
	wrmsr(0x140, 1);
	run_user(user_code(512, 1, user_cpuid, user_cpuid_end), 0, 0, 0);
	CHECK_FAULT(GP, 0);
	TRY("cpuid", (), ("a"(0)), "rbx", "rcx", "rdx");
	CHECK_NONE();
	wrmsr(0x140, 0);
	run_user(user_code(512, 1, user_cpuid, user_cpuid_end), 0, 0, 0);
	CHECK(caught.vector == VEC_DONE, "vector %d", (int)caught.vector);
	wrmsr_faults(0x140, 2);
}

TEST(time_stamp_disable)
{
	u64 cr4 = read_cr4(), rip = user_code(512, 1, user_time, user_time_end);

	write_cr4(cr4 | CR4_TSD);
	run_user(rip, 0, 0, 0);
	CHECK_FAULT(GP, 0);
	TRY("rdtsc", (), (), "rax", "rdx");
	CHECK_NONE();
	write_cr4(cr4);
	run_user(rip, 0, 0, 0);
	CHECK(caught.vector == VEC_DONE, "vector %d", (int)caught.vector);
}

TEST(msr_canonical)
{
	wrmsr_faults(MSR_LSTAR, BIT(63));
	wrmsr_faults(MSR_KERNEL_GS_BASE, BIT(63));
	if (has.amd) { /* 32 bits of it count */
		TRY("wrmsr", (), ("c"(MSR_SYSENTER_EIP), "a"(0), "d"(BIT(31))));
		CHECK_NONE();
		wrmsr(MSR_SYSENTER_EIP, 0);
	} else {
		wrmsr_faults(MSR_SYSENTER_EIP, BIT(63));
	}
}

TEST(time_stamp)
{
	u64 a, b;

	asm volatile("rdtsc\n shl $32, %%rdx\n or %%rdx, %%rax" : "=a"(a) : : "rdx");
	b = rdmsr(0x10);
	CHECK(b > a, "%lx then %lx", a, b);
	if (has.rdtscp) {
		u32 aux;

		wrmsr(MSR_TSC_AUX, 0x1234);
		asm volatile("rdtscp" : "=c"(aux) : : "rax", "rdx");
		CHECK(aux == 0x1234, "%x", aux);
	}
}

TEST(fsgsbase)
{
	u64 cr4 = read_cr4(), v = 0;

	if (!has.fsgsbase)
		return skip("no FSGSBASE");
	write_cr4(cr4 & ~(u64)CR4_FSGSBASE);
	TRY("rdfsbase %[v]", ([v] "+r"(v)), ());
	CHECK_FAULT(UD, 0);
	write_cr4(cr4 | CR4_FSGSBASE);
	TRY("wrfsbase %[n]\n rdfsbase %[v]", ([v] "=r"(v)), ([n] "r"(0x123456789)));
	CHECK_NONE();
	CHECK(v == 0x123456789 && rdmsr(MSR_FS_BASE) == v, "%lx", v);
	write_cr4(cr4);
	wrmsr(MSR_FS_BASE, 0);
}

TEST(swapgs)
{
	wrmsr(MSR_GS_BASE, 0x1000);
	wrmsr(MSR_KERNEL_GS_BASE, 0x2000);
	TRY("swapgs", (), ());
	CHECK_NONE();
	CHECK(rdmsr(MSR_GS_BASE) == 0x2000 && rdmsr(MSR_KERNEL_GS_BASE) == 0x1000);
	wrmsr(MSR_GS_BASE, 0);
}

extern const u8 user_syscall[], user_syscall_end[], syscall_entry[];
extern volatile u64 syscall_seen[4];
asm(".pushsection .rodata\n"
    "user_syscall: mov $0x1111, %edx\n syscall\n int $0x80\n"
    "user_syscall_end:\n.popsection\n"
    "syscall_entry: mov %rcx, syscall_seen(%rip)\n mov %r11, syscall_seen+8(%rip)\n"
    "pushfq\n pop syscall_seen+16(%rip)\n mov %cs, %edx\n mov %rdx, syscall_seen+24(%rip)\n"
    "sysretq\n");
/* The stack is the user's during the call, as SYSCALL leaves it: it needs SMAP off. */
volatile u64 syscall_seen[4];

TEST(syscall_and_sysret)
{
	u64 efer = rdmsr(MSR_EFER), rip = user_code(512, 1, user_syscall, user_syscall_end);

	wrmsr(MSR_EFER, efer & ~1ULL);
	run_user(rip, 0, 0, 0);
	CHECK_FAULT(UD, 0);
	wrmsr(MSR_EFER, efer | 1);
	wrmsr(MSR_STAR, (u64)(SEL_DATA16 | 3) << 48 | (u64)SEL_CODE64 << 32);
	wrmsr(MSR_LSTAR, (u64)syscall_entry);
	wrmsr(MSR_SFMASK, FLAG_DF | FLAG_TF | FLAG_IF | 1);
	run_user(rip, 0, 0, 1 | FLAG_DF);
	CHECK(caught.vector == VEC_DONE, "vector %d error %x", (int)caught.vector,
	      (u32)caught.error);
	CHECK(syscall_seen[0] == rip + 7, "rcx %lx", syscall_seen[0]);
	CHECK((syscall_seen[1] & (1 | FLAG_DF)) == (1 | FLAG_DF), "r11 %lx", syscall_seen[1]);
	CHECK(!(syscall_seen[2] & (1 | FLAG_DF)), "flags %lx", syscall_seen[2]);
	CHECK(syscall_seen[3] == SEL_CODE64 && caught.cs == SEL_UCODE64 &&
		      caught.ss == SEL_UDATA,
	      "cs %lx, then %lx:%lx", syscall_seen[3], caught.cs, caught.ss);
	CHECK((caught.rflags & (1 | FLAG_DF)) == (1 | FLAG_DF), "flags %lx", caught.rflags);
	wrmsr(MSR_EFER, efer);
}

TEST(extended_control_register)
{
	u32 one[4];
	u64 cr4 = read_cr4();

	if (!has.xsave)
		return skip("no XSAVE");
	cpuid(1, 0, one);
	CHECK(!(one[2] & BIT(27)), "OSXSAVE follows CR4");
	write_cr4(cr4 | CR4_OSXSAVE);
	cpuid(1, 0, one);
	CHECK(one[2] & BIT(27), "OSXSAVE follows CR4");
	TRY("xsetbv", (), ("c"(0), "a"(0), "d"(0))); /* x87 is not optional */
	CHECK_FAULT(GP, 0);
	TRY("xsetbv", (), ("c"(0), "a"(5), "d"(0))); /* AVX without SSE */
	CHECK_FAULT(GP, 0);
	TRY("xsetbv", (), ("c"(1), "a"(1), "d"(0)));
	CHECK_FAULT(GP, 0);
	TRY("xsetbv", (), ("c"(0), "a"(3), "d"(0)));
	CHECK_NONE();
	TRY("xsetbv", (), ("c"(0), "a"(1), "d"(0)));
	CHECK_NONE();
	cpuid(0xd, 1, one);
	if ((one[0] & BIT(3)) && !has.tcg)
		wrmsr_faults(0xda0, 1); /* x87 is no supervisor state */
	write_cr4(cr4);
	TRY("xsetbv", (), ("c"(0), "a"(1), "d"(0)));
	CHECK_FAULT(UD, 0);
}

TEST(cache_and_tlb_instructions)
{
	TRY("clflush (%[p])", (), ([p] "r"(window(700))));
	CHECK_FAULT(PF, 0);
	TRY("clflush (%[p])", (), ([p] "r"(page_pool[0])));
	CHECK_NONE();
	TRY("prefetcht0 (%[p])\n prefetcht0 (%[n])", (),
	    ([p] "r"(window(700)), [n] "r"(BIT(63))));
	CHECK_NONE();
	TRY("invlpg (%[n])", (), ([n] "r"(BIT(63)))); /* not canonical: nothing happens */
	CHECK_NONE();
	TRY("wbinvd", (), ());
	CHECK_NONE();
	TRY(".byte 0xf3, 0x0f, 0x09", (), ()); /* WBNOINVD, or WBINVD where there is none */
	CHECK_NONE();
}
