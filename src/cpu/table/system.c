/* SPDX-License-Identifier: MIT */
/*
 * table/system.c: the system instructions. Every one is carried out in C: natively each would
 * show or change the host's state, or fault. Forms that share a mnemonic with an integer
 * instruction (MOV, PUSH, POP, JMP, CALL, RET) stand in the integer table.
 */
#include "cpu/system/ops.h"

#define PRIVILEGED "privileged: faults on the host, and the state is the guest's"
#define HOST_STATE "would show or change the host's state"
#define TRANSFER   "changes segments, stack or privilege of the guest"

#define C(m, fn, bit, why)                                                                    \
	{.mnemonic = ZYDIS_MNEMONIC_##m, .cls = CLASS_C, .decode = (fn), .cpuid = (bit),       \
	 .reason = (why)}

#define S(m, fn, bit, why, how)                                                               \
	{.mnemonic = ZYDIS_MNEMONIC_##m, .cls = CLASS_C, .decode = (fn), .cpuid = (bit),       \
	 .reason = (why), .serializes = (how)}

const struct table_line table_system[] = {
	C(ARPL, decode_arpl, "", HOST_STATE),
	C(CLAC, decode_clac, "smap", PRIVILEGED),
	C(CLI, decode_cli, "", PRIVILEGED),
	C(CLTS, decode_clts, "", PRIVILEGED),
	S(CPUID, decode_cpuid, "", "the guest's table, not the host's", SERIALIZES),
	C(HLT, decode_hlt, "", PRIVILEGED),
	C(IN, decode_in, "", "ports are the VM's devices"),
	C(INT, decode_int, "", TRANSFER),
	C(INT1, decode_int1, "", TRANSFER),
	C(INT3, decode_int3, "", TRANSFER),
	C(INTO, decode_into, "", TRANSFER),
	S(INVD, decode_cache_flush_all, "", PRIVILEGED, SERIALIZES),
	S(INVLPG, decode_invlpg, "", PRIVILEGED, SERIALIZES_OFTEN),
	S(INVPCID, decode_invpcid, "invpcid", PRIVILEGED, SERIALIZES_OFTEN),
	S(IRET, decode_iret, "", TRANSFER, SERIALIZES_OFTEN),
	S(IRETD, decode_iret, "", TRANSFER, SERIALIZES_OFTEN),
	S(IRETQ, decode_iret, "", TRANSFER, SERIALIZES_OFTEN),
	C(LAR, decode_lar, "", HOST_STATE),
	C(LDS, decode_lds, "", HOST_STATE),
	C(LES, decode_les, "", HOST_STATE),
	C(LFS, decode_lfs, "", HOST_STATE),
	S(LGDT, decode_lgdt, "", PRIVILEGED, SERIALIZES),
	C(LGS, decode_lgs, "", HOST_STATE),
	S(LIDT, decode_lidt, "", PRIVILEGED, SERIALIZES),
	S(LLDT, decode_lldt, "", PRIVILEGED, SERIALIZES),
	C(LMSW, decode_lmsw, "", PRIVILEGED),
	C(LSL, decode_lsl, "", HOST_STATE),
	C(LSS, decode_lss, "", HOST_STATE),
	S(LTR, decode_ltr, "", PRIVILEGED, SERIALIZES),
	C(MONITOR, decode_mwait, "", "KVM's quirk: does nothing"),
	C(MWAIT, decode_mwait, "", "KVM's quirk: does nothing"),
	C(OUT, decode_out, "", "ports are the VM's devices"),
	C(POPF, decode_popf, "", HOST_STATE),
	C(POPFD, decode_popf, "", HOST_STATE),
	C(POPFQ, decode_popf, "", HOST_STATE),
	C(PUSHF, decode_pushf, "", HOST_STATE),
	C(PUSHFD, decode_pushf, "", HOST_STATE),
	C(PUSHFQ, decode_pushf, "", HOST_STATE),
	C(RDFSBASE, decode_rdfsbase, "fsgsbase", HOST_STATE),
	C(RDGSBASE, decode_rdgsbase, "fsgsbase", HOST_STATE),
	C(RDMSR, decode_rdmsr, "", PRIVILEGED),
	C(RDPID, decode_rdpid, "rdpid", HOST_STATE),
	C(RDPMC, decode_rdpmc, "", PRIVILEGED),
	C(RDTSC, decode_rdtsc, "", "the guest's counter has an offset"),
	C(RDTSCP, decode_rdtscp, "rdtscp", "the guest's counter has an offset"),
	S(SERIALIZE, decode_serialize, "serialize", "fetches anew what follows", SERIALIZES),
	C(SGDT, decode_sgdt, "", HOST_STATE),
	C(SIDT, decode_sidt, "", HOST_STATE),
	C(SLDT, decode_sldt, "", HOST_STATE),
	C(SMSW, decode_smsw, "", HOST_STATE),
	C(STAC, decode_stac, "smap", PRIVILEGED),
	C(STI, decode_sti, "", PRIVILEGED),
	C(STR, decode_str, "", HOST_STATE),
	C(SWAPGS, decode_swapgs, "", PRIVILEGED),
	C(SYSCALL, decode_syscall, "", TRANSFER),
	C(SYSENTER, decode_sysenter, "", TRANSFER),
	C(SYSEXIT, decode_sysexit, "", TRANSFER),
	C(SYSRET, decode_sysret, "", TRANSFER),
	C(VERR, decode_verr, "", HOST_STATE),
	C(VERW, decode_verw, "", HOST_STATE),
	C(VMCALL, decode_vmcall, "", "a call to the hypervisor, which is us"),
	C(VMMCALL, decode_vmcall, "", "a call to the hypervisor, which is us"),
	S(WBINVD, decode_cache_flush_all, "", PRIVILEGED, SERIALIZES),
	C(WRFSBASE, decode_wrfsbase, "fsgsbase", HOST_STATE),
	C(WRGSBASE, decode_wrgsbase, "fsgsbase", HOST_STATE),
	S(WRMSR, decode_wrmsr, "", PRIVILEGED, SERIALIZES_OFTEN),
};

const unsigned table_system_lines = ARRAY_SIZE(table_system);
