/* SPDX-License-Identifier: MIT */
/*
 * system/cpuid.c: what a guest is told it has: the host's CPUID less what is not carried out, and
 * the VMM's table looked up with KVM's rules.
 */
#include "cpu/native/xstate.h"
#include "cpu/system/internal.h"
#include "cpu/system/msr.h"
#include "cpu/table/features.h"
#include "cpu/table/vendor.h"

#define LEAF_INDEXED  1u /* KVM_CPUID_FLAG_SIGNIFCANT_INDEX */
#define MAX_BASIC     0x1fu
#define MAX_EXTENDED  0x80000008u
/* KVM's cpuid.rst. No device here needs a pause between port accesses. */
#define KVM_FEATURE_BITS                                                                      \
	(B(KVM_FEATURE_CLOCKSOURCE) | B(KVM_FEATURE_CLOCKSOURCE2) |                            \
	 B(KVM_FEATURE_NOP_IO_DELAY) | B(KVM_FEATURE_STEAL_TIME) | B(KVM_FEATURE_PV_EOI) |     \
	 B(KVM_FEATURE_CLOCKSOURCE_STABLE_BIT))
#define DEFAULT_MAXPHYADDR 36  /* without leaf 0x80000008 (SDM vol. 3, 4.1.4) */
#define CR4_ALWAYS                                                                            \
	(CR4_VME | CR4_PVI | CR4_TSD | CR4_DE | CR4_PSE | CR4_PAE | CR4_MCE | CR4_PGE |        \
	 CR4_PCE | CR4_OSFXSR | CR4_OSXMMEXCPT)

#define B(n) (1u << (n))

/* SSE3 PCLMUL SSSE3 FMA CX16 SSE4.1 SSE4.2 MOVBE POPCNT AES XSAVE AVX F16C RDRAND */
#define LEAF1_ECX                                                                             \
	(B(0) | B(1) | B(9) | B(12) | B(13) | B(19) | B(20) | B(22) | B(23) | B(25) | B(26) | \
	 B(28) | B(29) | B(30))
/* PCID, x2APIC, TSC deadline, hypervisor: made here whatever the host has */
#define LEAF1_ECX_ALWAYS (B(17) | B(21) | B(24) | B(31))
#define LEAF1_EDX	 0x078bfbffu /* FPU to SSE2, without PSN, DS, ACPI */
/* FSGSBASE BMI1 AVX2 FDP_EXCPTN_ONLY SMEP BMI2 ERMS INVPCID ZERO_FCS AVX512F DQ RDSEED ADX SMAP
 * IFMA CLFLUSHOPT CLWB CD SHA BW VL */
#define LEAF7_EBX                                                                             \
	(B(0) | B(3) | B(5) | B(6) | B(8) | B(9) | B(13) | B(16) | B(17) | B(18) | B(19) |     \
	 B(21) | B(23) | B(24) | B(28) | B(29) | B(30) | B(31))
/* TSC_ADJUST SMEP INVPCID SMAP: the system architecture is ours */
#define LEAF7_EBX_ALWAYS (B(1) | B(7) | B(10) | B(20))
/* VBMI VBMI2 GFNI VAES VPCLMULQDQ VNNI BITALG VPOPCNTDQ CLDEMOTE MOVDIRI */
#define LEAF7_ECX                                                                             \
	(B(1) | B(6) | B(8) | B(9) | B(10) | B(11) | B(12) | B(14) | B(25) | B(27))
#define LEAF7_ECX_ALWAYS (B(2) | B(22)) /* UMIP RDPID */
#define LEAF7_EDX	 (B(4) | B(23)) /* FSRM AVX512_FP16 */
#define LEAF7_EDX_ALWAYS (B(14) | B(29)) /* SERIALIZE ARCH_CAPABILITIES */
#define LEAF7_1_EAX	 (B(4) | B(5) | B(10) | B(11) | B(12)) /* AVX_VNNI BF16 FZRM FSRS FSRC */
#define LEAFD_1_EAX	 0xfu /* XSAVEOPT, XSAVEC, XGETBV with ECX 1, XSAVES */
#define LEAFD_1_COMPACT	 (B(1) | B(3))
#define XCOMP_ALIGN64	 B(1) /* leaf 0xd, ECX: 64-byte aligned when compacted */
#define EXT1_ECX	 (B(0) | B(5) | B(7) | B(8)) /* LAHF ABM MISALIGNSSE PREFETCHW */
#define EXT1_EDX	 B(26)		      /* 1 GiB pages: as the host, like KVM */
#define EXT1_EDX_ALWAYS	 (B(11) | B(20) | B(27) | B(29)) /* SYSCALL NX RDTSCP LM */
#define EXT7_EDX	 B(8)		      /* invariant TSC */
#define EXT8_EBX	 B(9)		      /* WBNOINVD */

/* ---- what is supported */

struct list {
	struct cpuid_leaf *out;
	u32 room, n;
};

static struct cpuid_leaf host_leaf(u32 function, u32 index)
{
	u32 r[4];

	host_cpuid(function, index, r);
	return (struct cpuid_leaf){.function = function, .index = index,
				   .eax = r[0], .ebx = r[1], .ecx = r[2], .edx = r[3]};
}

static void add(struct list *s, struct cpuid_leaf l, u32 flags)
{
	l.flags = flags;
	if (s->n < s->room)
		s->out[s->n] = l;
	s->n++;
}

/* What the host has switched on, as in KVM: AVX-512's three components together or not at all. */
static u64 supported_xcr0(void)
{
	u64 x = xstate_host_components();

	return (x & XMASK_AVX512) == XMASK_AVX512 ? x : x & ~XMASK_AVX512;
}

static void add_leaf1(struct list *s)
{
	struct cpuid_leaf l = host_leaf(1, 0);

	l.ebx &= 0x00ffffff; /* no initial APIC id */
	l.ecx = (l.ecx & LEAF1_ECX) | LEAF1_ECX_ALWAYS;
	l.edx &= LEAF1_EDX;
	add(s, l, 0);
}

static void add_cache_leaves(struct list *s)
{
	for (u32 n = 0;; n++) {
		struct cpuid_leaf l = host_leaf(4, n);

		add(s, l, LEAF_INDEXED);
		if (!(l.eax & 0x1f) || n >= 8)
			return;
	}
}

static void add_leaf7(struct list *s)
{
	struct cpuid_leaf l = host_leaf(7, 0);
	bool more = l.eax >= 1;

	l.eax = more ? 1 : 0;
	l.ebx = (l.ebx & LEAF7_EBX) | LEAF7_EBX_ALWAYS;
	l.ecx = (l.ecx & LEAF7_ECX) | LEAF7_ECX_ALWAYS;
	l.edx = (l.edx & LEAF7_EDX) | LEAF7_EDX_ALWAYS;
	add(s, l, LEAF_INDEXED);
	if (!more)
		return;
	l = host_leaf(7, 1);
	l.eax &= LEAF7_1_EAX;
	l.ebx = l.ecx = l.edx = 0;
	add(s, l, LEAF_INDEXED);
}

static void add_xsave_leaves(struct list *s)
{
	u64 xcr0 = supported_xcr0();
	struct cpuid_leaf l = {.function = 0xd};

	l.eax = (u32)xcr0;
	l.edx = (u32)(xcr0 >> 32);
	l.ebx = l.ecx = xstate_image_size(xcr0, false);
	add(s, l, LEAF_INDEXED);
	l = host_leaf(0xd, 1);
	l.eax &= LEAFD_1_EAX;
	l.ebx = xstate_image_size(xcr0, true);
	l.ecx = l.edx = 0; /* no supervisor components */
	add(s, l, LEAF_INDEXED);
	for (u32 n = 2; n < 63; n++) {
		if (!(xcr0 & BIT(n)))
			continue;
		l = host_leaf(0xd, n);
		l.ecx &= XCOMP_ALIGN64;
		l.edx = 0;
		add(s, l, LEAF_INDEXED);
	}
}

static void add_zero(struct list *s, u32 function)
{
	/* Leaves with subleaves keep their flag, as KVM gives them. */
	bool indexed = function == 0xb || function == 0xf || function == 0x10 ||
		       function == 0x12 || function == 0x14 || function == 0x17 ||
		       function == 0x18 || function == 0x1d || function == 0x1e ||
		       function == 0x1f;

	add(s, (struct cpuid_leaf){.function = function}, indexed ? LEAF_INDEXED : 0);
}

static void add_basic(struct list *s)
{
	struct cpuid_leaf l = host_leaf(0, 0);

	l.eax = MAX(0xdu, MIN(l.eax, MAX_BASIC));
	add(s, l, 0);
	for (u32 f = 1; f <= l.eax; f++) {
		switch (f) {
		case 1:
			add_leaf1(s);
			break;
		case 2:
			add(s, host_leaf(2, 0), 0);
			break;
		case 4:
			add_cache_leaves(s);
			break;
		case 6: /* the APIC timer never stops */
			add(s, (struct cpuid_leaf){.function = 6, .eax = B(2)}, 0);
			break;
		case 7:
			add_leaf7(s);
			break;
		case 0xd:
			add_xsave_leaves(s);
			break;
		default:
			add_zero(s, f);
		}
	}
}

static void add_extended(struct list *s)
{
	struct cpuid_leaf l = host_leaf(0x80000000, 0);

	l.eax = MAX_EXTENDED;
	add(s, l, 0);
	l = host_leaf(0x80000001, 0);
	l.ecx &= EXT1_ECX;
	l.edx = (l.edx & EXT1_EDX) | EXT1_EDX_ALWAYS;
	add(s, l, 0);
	for (u32 f = 0x80000002; f <= 0x80000006; f++)
		add(s, host_leaf(f, 0), 0);
	l = host_leaf(0x80000007, 0);
	l.eax = l.ebx = l.ecx = 0;
	l.edx &= EXT7_EDX;
	add(s, l, 0);
	l = host_leaf(0x80000008, 0);
	l.eax = 48u << 8 | (l.eax & 0xff);
	l.ebx &= EXT8_EBX;
	l.ecx = l.edx = 0;
	add(s, l, 0);
}

static void add_kvm(struct list *s)
{
	struct cpuid_leaf l = {.function = KVM_CPUID_SIGNATURE, .eax = KVM_CPUID_FEATURES};

	memcpy(&l.ebx, "KVMK", 4);
	memcpy(&l.ecx, "VMKV", 4);
	memcpy(&l.edx, "M\0\0\0", 4);
	add(s, l, 0);
	add(s, (struct cpuid_leaf){.function = KVM_CPUID_FEATURES, .eax = KVM_FEATURE_BITS}, 0);
}

int cpuid_supported(struct cpuid_leaf *out, u32 *n)
{
	struct list s = {.out = out, .room = *n};

	add_basic(&s);
	add_extended(&s);
	add_kvm(&s);
	if (s.n > *n)
		return -E2BIG;
	*n = s.n;
	return 0;
}

/* ---- what a vCPU was given */

const struct cpuid_leaf *cpuid_find(const struct cpu *c, u32 function, u32 index)
{
	for (u32 n = 0; n < c->ncpuid; n++) {
		const struct cpuid_leaf *l = &c->cpuid[n];

		if (l->function == function &&
		    (!(l->flags & LEAF_INDEXED) || l->index == index))
			return l;
	}
	return NULL;
}

bool cpuid_has(const struct cpu *c, u32 function, enum cpuid_reg reg, unsigned bit)
{
	const struct cpuid_leaf *l = cpuid_find(c, function, 0);

	return l && ((&l->eax)[reg] & B(bit));
}

/* What CR4 may have (SDM vol. 3, 2.5). */
static u64 cr4_of_cpuid(const struct cpu *c)
{
	u64 allowed = CR4_ALWAYS;

	if (cpuid_has(c, 1, ECX, 26))
		allowed |= CR4_OSXSAVE;
	if (cpuid_has(c, 7, EBX, 0))
		allowed |= CR4_FSGSBASE;
	if (cpuid_has(c, 7, EBX, 7))
		allowed |= CR4_SMEP;
	if (cpuid_has(c, 7, EBX, 20))
		allowed |= CR4_SMAP;
	if (cpuid_has(c, 7, ECX, 2))
		allowed |= CR4_UMIP;
	if (cpuid_has(c, 7, ECX, 16))
		allowed |= CR4_LA57;
	if (cpuid_has(c, 1, ECX, 17))
		allowed |= CR4_PCIDE;
	return allowed;
}

void cpuid_derive(struct cpu *c)
{
	const struct cpuid_leaf *l = cpuid_find(c, 0, 0);
	u8 bits = DEFAULT_MAXPHYADDR;

	c->vendor = (u8)(l ? vendor_of_leaf0(l->ebx) : vendor_of_host());
	l = cpuid_find(c, 0x80000000, 0);
	if (l && l->eax >= 0x80000008) {
		l = cpuid_find(c, 0x80000008, 0);
		if (l)
			bits = (u8)l->eax;
	}
	c->maxphyaddr = MIN(bits, 52);
	c->reserved_gpa = ~(BIT(c->maxphyaddr) - 1);

	/* Before it has a CPUID a vCPU takes what any could be given. */
	if (!c->ncpuid) {
		c->ncpuid = MAX_CPUID;
		if (cpuid_supported(c->cpuid, &c->ncpuid))
			c->ncpuid = 0;
		c->cr4_allowed = cr4_of_cpuid(c);
		c->ncpuid = 0;
	} else {
		c->cr4_allowed = cr4_of_cpuid(c);
	}

	l = cpuid_find(c, 0xd, 0);
	c->xcr0_allowed = l ? (l->eax | (u64)l->edx << 32) & supported_xcr0() : 0;
	c->xcr0_allowed |= 1;
}

int cpu_set_cpuid(struct cpu *c, const struct cpuid_leaf *e, u32 n)
{
	if (n > MAX_CPUID)
		return -E2BIG;
	for (u32 i = 0; i < n; i++) {
		u32 vaddr = (e[i].eax >> 8) & 0xff;

		/* Linear address widths that exist. */
		if (e[i].function == 0x80000008 && vaddr != 0 && vaddr != 48 && vaddr != 57)
			return -EINVAL;
	}
	memcpy(c->cpuid, e, n * sizeof(*e));
	c->ncpuid = n;
	cpuid_derive(c);
	cpu_update_mode(c);
	return 0;
}

bool cpu_host_is_amd(void)
{
	return vendor_of_host() == VENDOR_AMD;
}

bool cpuid_vendor_is_amd(const struct cpu *c)
{
	return c->ncpuid && c->vendor == VENDOR_AMD;
}

/* Intel answers a leaf beyond its class's last with the last basic leaf (SDM vol. 2, CPUID). */
static const struct cpuid_leaf *beyond(const struct cpu *c, u32 function, u32 index)
{
	const struct cpuid_leaf *basic = cpuid_find(c, 0, 0), *class;

	if (!basic || cpuid_vendor_is_amd(c))
		return NULL;
	if (function >= 0x40000000 && function <= 0x4fffffff)
		class = cpuid_find(c, function & 0xffffff00, 0);
	else
		class = cpuid_find(c, function & 0x80000000, 0);
	if (class && function <= class->eax)
		return NULL;
	return cpuid_find(c, basic->eax, index);
}

/* Bits that follow the vCPU's state. */
static void adjust(const struct cpu *c, u32 function, u32 index, u32 out[4])
{
	u64 apic_base;

	if (function == 1) {
		out[ECX] &= ~B(27);
		if (c->cr4 & CR4_OSXSAVE)
			out[ECX] |= B(27);
		/* The APIC is there while IA32_APIC_BASE says so, whatever the VMM gave. */
		if (c->env && !c->env->msr_read(c->owner, MSR_APIC_BASE, true, &apic_base)) {
			out[EDX] &= ~B(9);
			if (apic_base & APIC_BASE_ENABLE)
				out[EDX] |= B(9);
		}
		if (c->env && c->env->quirk_off &&
		    c->env->quirk_off(c->owner, KVM_X86_QUIRK_MISC_ENABLE_NO_MWAIT)) {
			out[ECX] &= ~B(3);
			if (c->misc_enable & MISC_ENABLE_MWAIT)
				out[ECX] |= B(3);
		}
	}
	if (function == 0xd && index == 0 && out[EAX])
		out[EBX] = xstate_image_size(c->xcr0, false);
	if (function == 0xd && index == 1 && (out[EAX] & LEAFD_1_COMPACT))
		out[EBX] = xstate_image_size(c->xcr0 | c->xss, true);
}

void cpu_cpuid(struct cpu *c, u32 function, u32 index, u32 out[4])
{
	const struct cpuid_leaf *l = cpuid_find(c, function, index);

	if (!l)
		l = beyond(c, function, index);
	memset(out, 0, 4 * sizeof(*out));
	if (l) {
		out[EAX] = l->eax;
		out[EBX] = l->ebx;
		out[ECX] = l->ecx;
		out[EDX] = l->edx;
		adjust(c, l->function, index, out);
		return;
	}
	/* A topology subleaf that is not there still gives its number and the x2APIC id. */
	if (function == 0xb || function == 0x1f) {
		l = cpuid_find(c, function, 1);
		if (l) {
			out[ECX] = index & 0xff;
			out[EDX] = l->edx;
		}
	}
}
