/* SPDX-License-Identifier: MIT */
/*
 * table/sensitive.c: instructions that read or change what is the host's (SDM vol. 3, 25.1 and
 * table 26-1, vol. 1, chapters 16 to 20): privilege, segments and descriptor tables, time,
 * identity, translation, protection keys, transactions, waits, shadow stacks, enclaves, tiles.
 */
#include "table_test.h"

static const char *const names[] = {
	/* identity, time, random waits */
	"cpuid",
	"rdtsc",
	"rdtscp",
	"rdpid",
	"rdpmc",
	"rdpru",
	"umonitor",
	"umwait",
	"tpause",
	"monitor",
	"mwait",
	"monitorx",
	"mwaitx",
	"pause",
	/* segments and descriptor tables */
	"rdfsbase",
	"rdgsbase",
	"wrfsbase",
	"wrgsbase",
	"swapgs",
	"sgdt",
	"sidt",
	"sldt",
	"str",
	"smsw",
	"lgdt",
	"lidt",
	"lldt",
	"ltr",
	"lmsw",
	"lar",
	"lsl",
	"verr",
	"verw",
	"arpl",
	"lds",
	"les",
	"lfs",
	"lgs",
	"lss",
	"lkgs",
	/* flags whole, interrupts, control transfers */
	"pushf",
	"pushfd",
	"pushfq",
	"popf",
	"popfd",
	"popfq",
	"cli",
	"sti",
	"clac",
	"stac",
	"clui",
	"stui",
	"testui",
	"uiret",
	"senduipi",
	"int",
	"int1",
	"int3",
	"into",
	"bound",
	"iret",
	"iretd",
	"iretq",
	"syscall",
	"sysret",
	"sysenter",
	"sysexit",
	"call",
	"ret",
	"jmp",
	"hlt",
	/* ports, control and debug registers, MSRs */
	"in",
	"insb",
	"insw",
	"insd",
	"out",
	"outsb",
	"outsw",
	"outsd",
	"clts",
	"mov",
	"rdmsr",
	"wrmsr",
	"wrmsrns",
	"rdmsrlist",
	"wrmsrlist",
	"xgetbv",
	"xsetbv",
	/* caches and translation */
	"invd",
	"wbinvd",
	"wbnoinvd",
	"invlpg",
	"invlpga",
	"invlpgb",
	"invpcid",
	"tlbsync",
	"clflush",
	"clflushopt",
	"clwb",
	"clzero",
	"cldemote",
	"serialize",
	"ptwrite",
	"pconfig",
	/* state with components of the kernel's, or a mask of its own */
	"xsave",
	"xsave64",
	"xsavec",
	"xsavec64",
	"xsaveopt",
	"xsaveopt64",
	"xsaves",
	"xsaves64",
	"xrstor",
	"xrstor64",
	"xrstors",
	"xrstors64",
	"fxsave",
	"fxsave64",
	"fxrstor",
	"fxrstor64",
	"ldmxcsr",
	"stmxcsr",
	"rdpkru",
	"wrpkru",
	/* transactions */
	"xbegin",
	"xend",
	"xabort",
	"xtest",
	"xsusldtrk",
	"xresldtrk",
	/* virtualization, enclaves, secure modes */
	"vmcall",
	"vmmcall",
	"vmlaunch",
	"vmresume",
	"vmxon",
	"vmxoff",
	"vmread",
	"vmwrite",
	"vmclear",
	"vmptrld",
	"vmptrst",
	"vmfunc",
	"invept",
	"invvpid",
	"vmrun",
	"vmload",
	"vmsave",
	"stgi",
	"clgi",
	"skinit",
	"vmgexit",
	"encls",
	"enclu",
	"enclv",
	"getsec",
	"seamcall",
	"seamret",
	"seamops",
	"tdcall",
	"rsm",
	"psmash",
	"pvalidate",
	"rmpadjust",
	"rmpupdate",
	/* shadow stacks and indirect-branch tracking */
	"rdsspd",
	"rdsspq",
	"incsspd",
	"incsspq",
	"saveprevssp",
	"rstorssp",
	"wrssd",
	"wrssq",
	"wrussd",
	"wrussq",
	"setssbsy",
	"clrssbsy",
	"endbr32",
	"endbr64",
	/* stores that are not one pointer */
	"enqcmd",
	"enqcmds",
	"movdir64b",
	"maskmovq",
	"maskmovdqu",
	"vmaskmovdqu",
	/* AMX, MPX */
	"ldtilecfg",
	"sttilecfg",
	"tileloadd",
	"tileloaddt1",
	"tilestored",
	"tilerelease",
	"tilezero",
	"tdpbf16ps",
	"tdpbssd",
	"tdpbsud",
	"tdpbusd",
	"tdpbuud",
	"bndmk",
	"bndcl",
	"bndcu",
	"bndcn",
	"bndmov",
	"bndldx",
	"bndstx",
	/* key locker */
	"loadiwkey",
	"encodekey128",
	"encodekey256",
	"aesenc128kl",
	"aesdec128kl",
	"hreset",
};

static bool sensitive[ZYDIS_MNEMONIC_MAX_VALUE + 1];
static unsigned unknown;

static void make_index(void)
{
	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		unsigned m = 0;

		while (m <= ZYDIS_MNEMONIC_MAX_VALUE &&
		       strcmp(ZydisMnemonicGetString((ZydisMnemonic)m), names[i]))
			m++;
		if (m <= ZYDIS_MNEMONIC_MAX_VALUE)
			sensitive[m] = true;
		else
			unknown++;
	}
}

bool is_sensitive(unsigned mnemonic)
{
	static bool made;

	if (!made) {
		make_index();
		made = true;
	}
	return sensitive[mnemonic];
}

unsigned sensitive_unknown(void)
{
	is_sensitive(0);
	return unknown;
}
