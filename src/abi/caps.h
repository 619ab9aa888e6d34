/* SPDX-License-Identifier: MIT */
/* abi/caps.h: what the capabilities' values and arguments are made of. */
#ifndef ABI_CAPS_H
#define ABI_CAPS_H

#include <linux/kvm_para.h>
#include "abi/uapi.h"

#define SYNC_REGS_FIELDS KVM_SYNC_X86_VALID_FIELDS
#define X2APIC_API_FLAGS (KVM_X2APIC_API_USE_32BIT_IDS | KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK)
#define DISABLE_EXITS_VALID                                                                    \
	(KVM_X86_DISABLE_EXITS_HLT | KVM_X86_DISABLE_EXITS_PAUSE | KVM_X86_DISABLE_EXITS_CSTATE)
#define EXIT_HYPERCALL_VALID BIT(KVM_HC_MAP_GPA_RANGE)
#define GUEST_DEBUG_VALID                                                                      \
	(KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP | KVM_GUESTDBG_USE_SW_BP |              \
	 KVM_GUESTDBG_USE_HW_BP | KVM_GUESTDBG_INJECT_DB | KVM_GUESTDBG_INJECT_BP |            \
	 KVM_GUESTDBG_BLOCKIRQ)
/* Those that make a difference here; the others describe what never happens. */
#define QUIRKS_VALID                                                                           \
	(KVM_X86_QUIRK_LINT0_REENABLED | KVM_X86_QUIRK_MISC_ENABLE_NO_MWAIT |                  \
	 KVM_X86_QUIRK_FIX_HYPERCALL_INSN | KVM_X86_QUIRK_MWAIT_NEVER_UD_FAULTS)
#define MSR_EXIT_VALID                                                                         \
	(KVM_MSR_EXIT_REASON_INVAL | KVM_MSR_EXIT_REASON_UNKNOWN | KVM_MSR_EXIT_REASON_FILTER)

#endif
