/* SPDX-License-Identifier: MIT */
/* table/features.c: CPUID bits and what they announce. */
#include "cpu/table/features.h"

#include <cpuid.h>
#include <pthread.h>

enum { A, B_, C_, D };

/* Bits that announce instructions, as /proc/cpuinfo spells them. */
const struct feature features[] = {
	{"fpu", 1, 0, D, 0},
	{"cx8", 1, 0, D, 8},
	{"cmov", 1, 0, D, 15},
	{"clflush", 1, 0, D, 19},
	{"mmx", 1, 0, D, 23},
	{"fxsr", 1, 0, D, 24},
	{"sse", 1, 0, D, 25},
	{"sse2", 1, 0, D, 26},
	{"pni", 1, 0, C_, 0},
	{"pclmulqdq", 1, 0, C_, 1},
	{"ssse3", 1, 0, C_, 9},
	{"fma", 1, 0, C_, 12},
	{"cx16", 1, 0, C_, 13},
	{"sse4_1", 1, 0, C_, 19},
	{"sse4_2", 1, 0, C_, 20},
	{"movbe", 1, 0, C_, 22},
	{"popcnt", 1, 0, C_, 23},
	{"aes", 1, 0, C_, 25},
	{"xsave", 1, 0, C_, 26},
	{"avx", 1, 0, C_, 28},
	{"f16c", 1, 0, C_, 29},
	{"rdrand", 1, 0, C_, 30},
	{"fsgsbase", 7, 0, B_, 0},
	{"bmi1", 7, 0, B_, 3},
	{"hle", 7, 0, B_, 4},
	{"avx2", 7, 0, B_, 5},
	{"bmi2", 7, 0, B_, 8},
	{"invpcid", 7, 0, B_, 10},
	{"rtm", 7, 0, B_, 11},
	{"mpx", 7, 0, B_, 14},
	{"avx512f", 7, 0, B_, 16},
	{"avx512dq", 7, 0, B_, 17},
	{"rdseed", 7, 0, B_, 18},
	{"adx", 7, 0, B_, 19},
	{"smap", 7, 0, B_, 20},
	{"avx512ifma", 7, 0, B_, 21},
	{"clflushopt", 7, 0, B_, 23},
	{"clwb", 7, 0, B_, 24},
	{"avx512pf", 7, 0, B_, 26},
	{"avx512er", 7, 0, B_, 27},
	{"avx512cd", 7, 0, B_, 28},
	{"sha_ni", 7, 0, B_, 29},
	{"avx512bw", 7, 0, B_, 30},
	{"avx512vl", 7, 0, B_, 31},
	{"prefetchwt1", 7, 0, C_, 0},
	{"avx512vbmi", 7, 0, C_, 1},
	{"pku", 7, 0, C_, 3},
	{"waitpkg", 7, 0, C_, 5},
	{"avx512_vbmi2", 7, 0, C_, 6},
	{"shstk", 7, 0, C_, 7},
	{"gfni", 7, 0, C_, 8},
	{"vaes", 7, 0, C_, 9},
	{"vpclmulqdq", 7, 0, C_, 10},
	{"avx512_vnni", 7, 0, C_, 11},
	{"avx512_bitalg", 7, 0, C_, 12},
	{"avx512_vpopcntdq", 7, 0, C_, 14},
	{"rdpid", 7, 0, C_, 22},
	{"keylocker", 7, 0, C_, 23},
	{"cldemote", 7, 0, C_, 25},
	{"movdiri", 7, 0, C_, 27},
	{"movdir64b", 7, 0, C_, 28},
	{"enqcmd", 7, 0, C_, 29},
	{"avx512_4vnniw", 7, 0, D, 2},
	{"avx512_4fmaps", 7, 0, D, 3},
	{"uintr", 7, 0, D, 5},
	{"avx512_vp2intersect", 7, 0, D, 8},
	{"serialize", 7, 0, D, 14},
	{"tsxldtrk", 7, 0, D, 16},
	{"ibt", 7, 0, D, 20},
	{"amx_bf16", 7, 0, D, 22},
	{"avx512_fp16", 7, 0, D, 23},
	{"amx_tile", 7, 0, D, 24},
	{"amx_int8", 7, 0, D, 25},
	{"sha512", 7, 1, A, 0},
	{"sm3", 7, 1, A, 1},
	{"sm4", 7, 1, A, 2},
	{"avx_vnni", 7, 1, A, 4},
	{"avx512_bf16", 7, 1, A, 5},
	{"amx_fp16", 7, 1, A, 21},
	{"avx_ifma", 7, 1, A, 23},
	{"avx_vnni_int8", 7, 1, D, 4},
	{"avx_ne_convert", 7, 1, D, 5},
	{"avx_vnni_int16", 7, 1, D, 10},
	{"xsaveopt", 0xd, 1, A, 0},
	{"xsavec", 0xd, 1, A, 1},
	{"xsaves", 0xd, 1, A, 3},
	{"lahf_lm", 0x80000001, 0, C_, 0},
	{"abm", 0x80000001, 0, C_, 5},
	{"sse4a", 0x80000001, 0, C_, 6},
	{"3dnowprefetch", 0x80000001, 0, C_, 8},
	{"xop", 0x80000001, 0, C_, 11},
	{"fma4", 0x80000001, 0, C_, 16},
	{"tbm", 0x80000001, 0, C_, 21},
	{"rdtscp", 0x80000001, 0, D, 27},
	{"wbnoinvd", 0x80000008, 0, B_, 9},
	{NULL},
};

/*
 * Zydis's instruction sets: the bit that announces each. Zydis adds a vector length, SCALAR or KOP to
 * the name of one of AVX-512's.
 */
static const struct {
	const char *set, *bit;
} sets[] = {
	{"AVX512_VP2INTERSECT", "avx512_vp2intersect"},
	{"AVX512_VBMI2", "avx512_vbmi2"},
	{"AVX512_VBMI", "avx512vbmi"},
	{"AVX512_VNNI", "avx512_vnni"},
	{"AVX512_VPOPCNTDQ", "avx512_vpopcntdq"},
	{"AVX512_BITALG", "avx512_bitalg"},
	{"AVX512_BF16", "avx512_bf16"},
	{"AVX512_IFMA", "avx512ifma"},
	{"AVX512_VAES", "vaes"},
	{"AVX512_VPCLMULQDQ", "vpclmulqdq"},
	{"AVX512_GFNI", "gfni"},
	{"AVX512_4FMAPS", "avx512_4fmaps"},
	{"AVX512_4VNNIW", "avx512_4vnniw"},
	{"AVX512_FP16", "avx512_fp16"},
	{"AVX512BW", "avx512bw"},
	{"AVX512DQ", "avx512dq"},
	{"AVX512CD", "avx512cd"},
	{"AVX512ER", "avx512er"},
	{"AVX512PF", "avx512pf"},
	{"AVX512F", "avx512f"},
	{"AVX_VNNI", "avx_vnni"},
	{"AVX_VNNI_INT8", "avx_vnni_int8"},
	{"AVX_VNNI_INT16", "avx_vnni_int16"},
	{"AVX_NE_CONVERT", "avx_ne_convert"},
	{"AVX_IFMA", "avx_ifma"},
	{"AVX_GFNI", "gfni"},
	{"AVX2GATHER", "avx2"},
	{"AVX2", "avx2"},
	{"AVXAES", "aes"},
	{"AVX", "avx"},
	{"FMA4", "fma4"},
	{"FMA", "fma"},
	{"F16C", "f16c"},
	{"BMI1", "bmi1"},
	{"BMI2", "bmi2"},
	{"ADOX_ADCX", "adx"},
	{"SSE4A", "sse4a"},
	{"SSE42", "sse4_2"},
	{"SSE4", "sse4_1"},
	{"SSSE3", "ssse3"},
	{"SSSE3MMX", "ssse3"},
	{"SSE3", "pni"},
	{"SSE3X87", "pni"},
	{"SSE2", "sse2"},
	{"SSE2MMX", "sse2"},
	{"SSE", "sse"},
	{"SSEMXCSR", "sse"},
	{"SSE_PREFETCH", "sse"},
	{"PENTIUMMMX", "mmx"},
	{"AES", "aes"},
	{"PCLMULQDQ", "pclmulqdq"},
	{"SHA", "sha_ni"},
	{"SHA512", "sha512"},
	{"SM3", "sm3"},
	{"SM4", "sm4"},
	{"GFNI", "gfni"},
	{"VAES", "vaes"},
	{"VPCLMULQDQ", "vpclmulqdq"},
	{"MOVBE", "movbe"},
	{"POPCNT", "popcnt"},
	{"LZCNT", "abm"},
	{"RDRAND", "rdrand"},
	{"RDSEED", "rdseed"},
	{"RDPID", "rdpid"},
	{"RDTSCP", "rdtscp"},
	{"RDWRFSGS", "fsgsbase"},
	{"XSAVEOPT", "xsaveopt"},
	{"XSAVEC", "xsavec"},
	{"XSAVES", "xsaves"},
	{"XSAVE", "xsave"},
	{"FXSAVE", "fxsr"},
	{"FXSAVE64", "fxsr"},
	{"CMPXCHG16B", "cx16"},
	{"CLFLUSHOPT", "clflushopt"},
	{"CLFSH", "clflush"},
	{"CLWB", "clwb"},
	{"CLDEMOTE", "cldemote"},
	{"MOVDIR", "movdiri"},
	{"SERIALIZE", "serialize"},
	{"INVPCID", "invpcid"},
	{"SMAP", "smap"},
	{"WBNOINVD", "wbnoinvd"},
	{"PREFETCHWT1", "prefetchwt1"},
	{"CMOV", "cmov"},
	{"FCMOV", "cmov"},
	{"X87", "fpu"},
	{"FCOMI", "cmov"},
	{"PPRO", "cmov"},
	{"LAHF", "lahf_lm"},
	{"RTM", "rtm"},
	{"WAITPKG", "waitpkg"},
	{"PKU", "pku"},
	{"ENQCMD", "enqcmd"},
	{"UINTR", "uintr"},
	{"AMX_TILE", "amx_tile"},
	{"AMX_INT8", "amx_int8"},
	{"AMX_BF16", "amx_bf16"},
	{"AMX_FP16", "amx_fp16"},
	{"CET", "shstk"},
	{"TSX_LDTRK", "tsxldtrk"},
	{"KEYLOCKER", "keylocker"},
	{"KEYLOCKER_WIDE", "keylocker"},
	{"XOP", "xop"},
	{"TBM", "tbm"},
	{"MPX", "mpx"},
};

#define MAX_FEATURES 128
#define XCR0_AVX     0x06 /* SSE and AVX state */
#define XCR0_AVX512  0xe6 /* and opmask, ZMM_Hi256, Hi16_ZMM */

/* A set of features, by their place in features[]. */
struct needs {
	u64 w[MAX_FEATURES / 64];
};
_Static_assert(ARRAY_SIZE(features) <= MAX_FEATURES, "struct needs has room");

static struct needs on_host, hidden, of_set[ZYDIS_ISA_SET_MAX_VALUE + 1];
static bool known[ZYDIS_ISA_SET_MAX_VALUE + 1];
static pthread_once_t once = PTHREAD_ONCE_INIT;

const struct feature *feature_find(const char *name)
{
	for (const struct feature *f = features; f->name; f++) {
		if (!strcmp(f->name, name))
			return f;
	}
	return NULL;
}

/* What Zydis adds to a set's name, if that is all that is left of it. */
static bool is_form(const char *rest)
{
	static const char *const form[] = {"", "_128", "_128N", "_256", "_512", "_SCALAR", "_KOP"};

	for (unsigned i = 0; i < ARRAY_SIZE(form); i++) {
		if (!strcmp(rest, form[i]))
			return true;
	}
	return false;
}

const struct feature *feature_of_set(const char *set)
{
	for (unsigned i = 0; i < ARRAY_SIZE(sets); i++) {
		size_t n = strlen(sets[i].set);

		if (!strncmp(set, sets[i].set, n) && is_form(set + n))
			return feature_find(sets[i].bit);
	}
	return NULL;
}

static void needs_add(struct needs *n, const struct feature *f)
{
	unsigned i = f ? (unsigned)(f - features) : 0;

	if (f)
		n->w[i / 64] |= BIT(i % 64);
}

static bool needs_has(const struct needs *n, const struct feature *f)
{
	unsigned i = (unsigned)(f - features);

	return n->w[i / 64] & BIT(i % 64);
}

static bool begins(const char *s, const char *with)
{
	return !strncmp(s, with, strlen(with));
}

static struct needs needs_of_set(const char *set)
{
	bool evex = begins(set, "AVX512"), scalar = strstr(set, "128N") || strstr(set, "SCALAR");
	struct needs n = {0};

	needs_add(&n, feature_of_set(set));
	if (begins(set, "AVX") || begins(set, "VAES") || begins(set, "VPCLMULQDQ") ||
	    begins(set, "FMA") || begins(set, "F16C"))
		needs_add(&n, feature_find("avx"));
	if (evex)
		needs_add(&n, feature_find("avx512f"));
	if (evex && !scalar && (strstr(set, "_128") || strstr(set, "_256")))
		needs_add(&n, feature_find("avx512vl"));
	return n;
}

void host_cpuid(u32 leaf, u32 index, u32 r[4])
{
	__cpuid(leaf & 0x80000000, r[0], r[1], r[2], r[3]);
	if (r[0] < leaf)
		memset(r, 0, 4 * sizeof(*r));
	else
		__cpuid_count(leaf, index, r[0], r[1], r[2], r[3]);
}

static bool announced(const struct feature *f)
{
	u32 r[4];

	host_cpuid(f->leaf, f->index, r);
	return r[f->reg] >> f->bit & 1;
}

/* State the kernel has not switched on makes its instructions #UD (SDM vol. 1, 14.3 and 15.2). */
static bool state_enabled(const struct feature *f)
{
	u32 a, b, c, d, wanted = begins(f->name, "avx512") ? XCR0_AVX512 : XCR0_AVX;

	if (strcmp(f->name, "avx") && !begins(f->name, "avx512"))
		return true;
	__cpuid(1, a, b, c, d);
	if (!(c & bit_OSXSAVE))
		return false;
	asm volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
	return (a & wanted) == wanted;
}

static void ask_host(void)
{
	for (const struct feature *f = features; f->name; f++) {
		if (announced(f) && state_enabled(f))
			needs_add(&on_host, f);
	}
	for (unsigned s = 0; s <= ZYDIS_ISA_SET_MAX_VALUE; s++) {
		const char *name = ZydisISASetGetString((ZydisISASet)s);

		of_set[s] = needs_of_set(name);
		known[s] = feature_of_set(name);
	}
}

bool feature_on_host(const struct feature *f)
{
	pthread_once(&once, ask_host);
	return needs_has(&on_host, f) && !needs_has(&hidden, f);
}

bool feature_runs(const ZydisDecodedInstruction *i)
{
	const struct needs *n = &of_set[i->meta.isa_set];
	u64 missing = 0;

	pthread_once(&once, ask_host);
	/* A later Zydis may give instructions of a name in the table an encoding more, of a set that
	 * nothing is known of here (AVX-IFMA's were such). Every such encoding is announced. */
	if (i->encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY && !known[i->meta.isa_set])
		return false;
	for (unsigned w = 0; w < ARRAY_SIZE(n->w); w++)
		missing |= n->w[w] & ~(on_host.w[w] & ~hidden.w[w]);
	return !missing;
}

void features_hide(const char *names)
{
	struct needs h = {0};
	size_t n;

	for (const char *m = names; *m; m += n + (m[n] == ',')) {
		n = strcspn(m, ",");
		for (const struct feature *f = features; n && f->name; f++) {
			if (!strncmp(f->name, m, n))
				needs_add(&h, f);
		}
	}
	hidden = h;
}
