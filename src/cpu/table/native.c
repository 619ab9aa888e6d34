/* SPDX-License-Identifier: MIT */
/*
 * table/native.c: x87 and vector instructions, by family. All that is CLASS_NATIVE here reads and
 * writes x87, vector, mask and general registers, status flags and its one operand in memory, and
 * nothing else of the host: no privilege, no segment, no time, no identity.
 *
 * A mnemonic's forms can belong to several CPUID bits (VPADDB: avx, avx2, avx512bw with avx512vl);
 * the line names the bit of the oldest form. Bits are spelt as in /proc/cpuinfo.
 */
#include "cpu/native/forms.h"
#include "cpu/native/native.h"

#define LINE(m, class, fn, bit, why) {ZYDIS_MNEMONIC_##m, class, fn, bit, why},

static const char registers[] = "vector registers and its operand only";
static const char arithmetic[] = "vector registers, its operand and the guest's MXCSR only";
static const char stack87[] = "x87 state and its operand only";
static const char control87[] = "control of a unit whose host state is not the guest's";
static const char images[] = "an image of the guest's state, not of the host's";
static const char elements[] = "not one pointer: element by element";
static const char clears[] = "state without a value to compute";

/* Integer or move; arithmetic under MXCSR; the same for both widths of each. */
#define I(m, bit) LINE(m, CLASS_NATIVE, native_decode, bit, registers)
#define F(m, bit) LINE(m, CLASS_NATIVE, native_decode_fp, bit, arithmetic)
#define X(m)	  LINE(m, CLASS_NATIVE, native_decode_x87, "fpu", stack87)
#define C(m, fn, bit, why) LINE(m, CLASS_C, fn, bit, why)
#define C87(m)	  C(m, native_decode_x87_c, "fpu", control87)
#define GATHER(m, bit) C(m, native_decode_gather, bit, elements)
#define SCATTER(m) C(m, native_decode_scatter, "avx512f", elements)
#define XS(m, bit) C(m, native_decode_xsave, bit, images)

/* Suffixes of element types. */
#define I_BW(m, bit)   I(m##B, bit) I(m##W, bit)
#define I_BWD(m, bit)  I_BW(m, bit) I(m##D, bit)
#define I_BWDQ(m, bit) I_BWD(m, bit) I(m##Q, bit)
#define I_DQ(m, bit)   I(m##D, bit) I(m##Q, bit)
#define I_WDQ(m, bit)  I(m##W, bit) I_DQ(m, bit)
#define I_PSPD(m, bit) I(m##PS, bit) I(m##PD, bit)
#define F_PSPD(m, bit) F(m##PS, bit) F(m##PD, bit)
#define F_SSSD(m, bit) F(m##SS, bit) F(m##SD, bit)
#define F_ALL(m, bit)  F_PSPD(m, bit) F_SSSD(m, bit)
/* Legacy single is SSE, double SSE2. */
#define F_SSE(m) F(m##PS, "sse") F(m##SS, "sse") F(m##PD, "sse2") F(m##SD, "sse2")
/* The three operand orders of a fused multiply-add. */
#define FMA(m)	 F_ALL(m##132, "fma") F_ALL(m##213, "fma") F_ALL(m##231, "fma")
#define FMA_P(m) F_PSPD(m##132, "fma") F_PSPD(m##213, "fma") F_PSPD(m##231, "fma")
#define FMA_H(m) F_H(m##132) F_H(m##213) F_H(m##231)
/* AVX-512 FP16. */
#define F_H(m)	F(m##PH, "avx512_fp16") F(m##SH, "avx512_fp16")
/* The same instruction, legacy and VEX. */
#define I2(m, bit)    I(m, bit) I(V##m, "avx")
#define F2(m, bit)    F(m, bit) F(V##m, "avx")
#define F2_SSE(m)     F_SSE(m) F_ALL(V##m, "avx")
#define I2_BW(m, bit) I2(m##B, bit) I2(m##W, bit)
#define I2_BWD(m, bit) I2_BW(m, bit) I2(m##D, bit)

const struct table_line table_native[] = {
	/* SSE and SSE2 floating point, and their AVX forms. */
	F2_SSE(ADD) F2_SSE(SUB) F2_SSE(MUL) F2_SSE(DIV) F2_SSE(MIN) F2_SSE(MAX) F2_SSE(SQRT)
	F2(RCPPS, "sse") F2(RCPSS, "sse") F2(RSQRTPS, "sse") F2(RSQRTSS, "sse")
	F2_SSE(CMP)
	F2(COMISS, "sse") F2(UCOMISS, "sse") F2(COMISD, "sse2") F2(UCOMISD, "sse2")
	I2(ANDPS, "sse") I2(ANDNPS, "sse") I2(ORPS, "sse") I2(XORPS, "sse")
	I2(ANDPD, "sse2") I2(ANDNPD, "sse2") I2(ORPD, "sse2") I2(XORPD, "sse2")
	I2(SHUFPS, "sse") I2(SHUFPD, "sse2") I2(UNPCKLPS, "sse") I2(UNPCKHPS, "sse")
	I2(UNPCKLPD, "sse2") I2(UNPCKHPD, "sse2")
	F2(CVTDQ2PD, "sse2") F2(CVTDQ2PS, "sse2") F2(CVTPD2DQ, "sse2") F2(CVTPD2PS, "sse2")
	F2(CVTPS2DQ, "sse2") F2(CVTPS2PD, "sse2") F2(CVTSD2SI, "sse2") F2(CVTSD2SS, "sse2")
	F2(CVTSI2SD, "sse2") F2(CVTSI2SS, "sse") F2(CVTSS2SD, "sse2") F2(CVTSS2SI, "sse")
	F2(CVTTPD2DQ, "sse2") F2(CVTTPS2DQ, "sse2") F2(CVTTSD2SI, "sse2") F2(CVTTSS2SI, "sse")
	F(CVTPI2PS, "sse") F(CVTPS2PI, "sse") F(CVTTPS2PI, "sse")
	F(CVTPI2PD, "sse2") F(CVTPD2PI, "sse2") F(CVTTPD2PI, "sse2")

	/* Moves. */
	I2(MOVAPS, "sse") I2(MOVUPS, "sse") I2(MOVSS, "sse") I2(MOVLPS, "sse") I2(MOVHPS, "sse")
	I2(MOVLHPS, "sse") I2(MOVHLPS, "sse") I2(MOVMSKPS, "sse") I2(MOVNTPS, "sse")
	I2(MOVAPD, "sse2") I2(MOVUPD, "sse2") I2(MOVSD, "sse2") I2(MOVLPD, "sse2")
	I2(MOVHPD, "sse2") I2(MOVMSKPD, "sse2") I2(MOVNTPD, "sse2")
	I2(MOVDQA, "sse2") I2(MOVDQU, "sse2") I2(MOVNTDQ, "sse2") I2(MOVD, "mmx") I2(MOVQ, "mmx")
	I(MOVDQ2Q, "sse2") I(MOVQ2DQ, "sse2") I(MOVNTQ, "sse")
	I2(MOVDDUP, "pni") I2(MOVSHDUP, "pni") I2(MOVSLDUP, "pni") I2(LDDQU, "pni")
	I2(MOVNTDQA, "sse4_1")

	/* MMX and SSE2 integer, and their AVX forms. */
	I2_BWD(PADD, "mmx") I2(PADDQ, "sse2") I2_BW(PADDS, "mmx") I2_BW(PADDUS, "mmx")
	I2_BWD(PSUB, "mmx") I2(PSUBQ, "sse2") I2_BW(PSUBS, "mmx") I2_BW(PSUBUS, "mmx")
	I2(PMULLW, "mmx") I2(PMULHW, "mmx") I2(PMULHUW, "sse") I2(PMULUDQ, "sse2")
	I2(PMADDWD, "mmx") I2(PSADBW, "sse") I2_BW(PAVG, "sse")
	I2(PMAXSW, "sse") I2(PMAXUB, "sse") I2(PMINSW, "sse") I2(PMINUB, "sse")
	I2_BWD(PCMPEQ, "mmx") I2_BWD(PCMPGT, "mmx")
	I2(PAND, "mmx") I2(PANDN, "mmx") I2(POR, "mmx") I2(PXOR, "mmx")
	I2(PSLLW, "mmx") I2(PSLLD, "mmx") I2(PSLLQ, "mmx") I2(PSLLDQ, "sse2")
	I2(PSRLW, "mmx") I2(PSRLD, "mmx") I2(PSRLQ, "mmx") I2(PSRLDQ, "sse2")
	I2(PSRAW, "mmx") I2(PSRAD, "mmx")
	I2(PACKSSWB, "mmx") I2(PACKSSDW, "mmx") I2(PACKUSWB, "mmx")
	I2(PUNPCKLBW, "mmx") I2(PUNPCKLWD, "mmx") I2(PUNPCKLDQ, "mmx") I2(PUNPCKLQDQ, "sse2")
	I2(PUNPCKHBW, "mmx") I2(PUNPCKHWD, "mmx") I2(PUNPCKHDQ, "mmx") I2(PUNPCKHQDQ, "sse2")
	I(PSHUFW, "sse") I2(PSHUFD, "sse2") I2(PSHUFHW, "sse2") I2(PSHUFLW, "sse2")
	I2(PEXTRW, "sse") I2(PINSRW, "sse") I2(PMOVMSKB, "sse")

	/* SSE3, SSSE3. */
	F2(ADDSUBPS, "pni") F2(ADDSUBPD, "pni") F2(HADDPS, "pni") F2(HADDPD, "pni")
	F2(HSUBPS, "pni") F2(HSUBPD, "pni")
	I2_BWD(PABS, "ssse3") I2_BWD(PSIGN, "ssse3") I2(PHADDW, "ssse3") I2(PHADDD, "ssse3")
	I2(PHADDSW, "ssse3") I2(PHSUBW, "ssse3") I2(PHSUBD, "ssse3") I2(PHSUBSW, "ssse3")
	I2(PMADDUBSW, "ssse3") I2(PMULHRSW, "ssse3") I2(PSHUFB, "ssse3") I2(PALIGNR, "ssse3")

	/* SSE4.1, SSE4.2. */
	I2(BLENDPS, "sse4_1") I2(BLENDPD, "sse4_1") I2(BLENDVPS, "sse4_1") I2(BLENDVPD, "sse4_1")
	I2(PBLENDW, "sse4_1") I2(PBLENDVB, "sse4_1")
	F2(DPPS, "sse4_1") F2(DPPD, "sse4_1")
	F2(ROUNDPS, "sse4_1") F2(ROUNDPD, "sse4_1") F2(ROUNDSS, "sse4_1") F2(ROUNDSD, "sse4_1")
	I2(EXTRACTPS, "sse4_1") I2(INSERTPS, "sse4_1")
	I2(PEXTRB, "sse4_1") I2(PEXTRD, "sse4_1") I2(PEXTRQ, "sse4_1")
	I2(PINSRB, "sse4_1") I2(PINSRD, "sse4_1") I2(PINSRQ, "sse4_1")
	I2(MPSADBW, "sse4_1") I2(PHMINPOSUW, "sse4_1") I2(PACKUSDW, "sse4_1") I2(PCMPEQQ, "sse4_1")
	I2(PMAXSB, "sse4_1") I2(PMAXSD, "sse4_1") I2(PMAXUW, "sse4_1") I2(PMAXUD, "sse4_1")
	I2(PMINSB, "sse4_1") I2(PMINSD, "sse4_1") I2(PMINUW, "sse4_1") I2(PMINUD, "sse4_1")
	I2(PMOVSXBW, "sse4_1") I2(PMOVSXBD, "sse4_1") I2(PMOVSXBQ, "sse4_1")
	I2(PMOVSXWD, "sse4_1") I2(PMOVSXWQ, "sse4_1") I2(PMOVSXDQ, "sse4_1")
	I2(PMOVZXBW, "sse4_1") I2(PMOVZXBD, "sse4_1") I2(PMOVZXBQ, "sse4_1")
	I2(PMOVZXWD, "sse4_1") I2(PMOVZXWQ, "sse4_1") I2(PMOVZXDQ, "sse4_1")
	I2(PMULDQ, "sse4_1") I2(PMULLD, "sse4_1") I2(PTEST, "sse4_1")
	I2(PCMPGTQ, "sse4_2") I2(PCMPESTRI, "sse4_2") I2(PCMPESTRM, "sse4_2")
	I2(PCMPISTRI, "sse4_2") I2(PCMPISTRM, "sse4_2")

	/* Cryptography. */
	I2(AESENC, "aes") I2(AESENCLAST, "aes") I2(AESDEC, "aes") I2(AESDECLAST, "aes")
	I2(AESIMC, "aes") I2(AESKEYGENASSIST, "aes") I2(PCLMULQDQ, "pclmulqdq")
	I(SHA1MSG1, "sha_ni") I(SHA1MSG2, "sha_ni") I(SHA1NEXTE, "sha_ni") I(SHA1RNDS4, "sha_ni")
	I(SHA256MSG1, "sha_ni") I(SHA256MSG2, "sha_ni") I(SHA256RNDS2, "sha_ni")
	I2(GF2P8AFFINEINVQB, "gfni") I2(GF2P8AFFINEQB, "gfni") I2(GF2P8MULB, "gfni")

	/* AVX and AVX2 of their own. */
	I(VBROADCASTSS, "avx") I(VBROADCASTSD, "avx") I(VBROADCASTF128, "avx")
	I(VBROADCASTI128, "avx2") I_BWDQ(VPBROADCAST, "avx2")
	I(VEXTRACTF128, "avx") I(VEXTRACTI128, "avx2") I(VINSERTF128, "avx") I(VINSERTI128, "avx2")
	I(VPERM2F128, "avx") I(VPERM2I128, "avx2") I_PSPD(VPERMIL, "avx") I_PSPD(VPERM, "avx2")
	I_DQ(VPERM, "avx2") I(VPBLENDD, "avx2") I_PSPD(VTEST, "avx")
	I_DQ(VPSLLV, "avx2") I_DQ(VPSRLV, "avx2") I(VPSRAVD, "avx2")
	F(VCVTPH2PS, "f16c") F(VCVTPS2PH, "f16c")
	I(VPDPBUSD, "avx_vnni") I(VPDPBUSDS, "avx_vnni") I(VPDPWSSD, "avx_vnni")
	I(VPDPWSSDS, "avx_vnni")

	/* Fused multiply-add. */
	FMA(VFMADD) FMA(VFMSUB) FMA(VFNMADD) FMA(VFNMSUB) FMA_P(VFMADDSUB) FMA_P(VFMSUBADD)

	/* Opmasks. */
	I_BWDQ(KADD, "avx512dq") I_BWDQ(KAND, "avx512f") I_BWDQ(KANDN, "avx512f")
	I_BWDQ(KMOV, "avx512f") I_BWDQ(KNOT, "avx512f") I_BWDQ(KOR, "avx512f")
	I_BWDQ(KORTEST, "avx512f") I_BWDQ(KSHIFTL, "avx512f") I_BWDQ(KSHIFTR, "avx512f")
	I_BWDQ(KTEST, "avx512dq") I_BWDQ(KXNOR, "avx512f") I_BWDQ(KXOR, "avx512f")
	I(KUNPCKBW, "avx512f") I(KUNPCKWD, "avx512bw") I(KUNPCKDQ, "avx512bw")

	/* AVX-512 moves, permutes, integer. */
	I(VMOVDQA32, "avx512f") I(VMOVDQA64, "avx512f") I(VMOVDQU32, "avx512f")
	I(VMOVDQU64, "avx512f") I(VMOVDQU8, "avx512bw") I(VMOVDQU16, "avx512bw")
	I(VMOVW, "avx512_fp16") I(VMOVSH, "avx512_fp16")
	I_DQ(VALIGN, "avx512f") I_PSPD(VBLENDM, "avx512f") I_BWDQ(VPBLENDM, "avx512f")
	I(VBROADCASTF32X2, "avx512dq") I(VBROADCASTF32X4, "avx512f") I(VBROADCASTF32X8, "avx512dq")
	I(VBROADCASTF64X2, "avx512dq") I(VBROADCASTF64X4, "avx512f")
	I(VBROADCASTI32X2, "avx512dq") I(VBROADCASTI32X4, "avx512f") I(VBROADCASTI32X8, "avx512dq")
	I(VBROADCASTI64X2, "avx512dq") I(VBROADCASTI64X4, "avx512f")
	I(VPBROADCASTMB2Q, "avx512cd") I(VPBROADCASTMW2D, "avx512cd")
	I(VEXTRACTF32X4, "avx512f") I(VEXTRACTF32X8, "avx512dq") I(VEXTRACTF64X2, "avx512dq")
	I(VEXTRACTF64X4, "avx512f") I(VEXTRACTI32X4, "avx512f") I(VEXTRACTI32X8, "avx512dq")
	I(VEXTRACTI64X2, "avx512dq") I(VEXTRACTI64X4, "avx512f")
	I(VINSERTF32X4, "avx512f") I(VINSERTF32X8, "avx512dq") I(VINSERTF64X2, "avx512dq")
	I(VINSERTF64X4, "avx512f") I(VINSERTI32X4, "avx512f") I(VINSERTI32X8, "avx512dq")
	I(VINSERTI64X2, "avx512dq") I(VINSERTI64X4, "avx512f")
	I(VSHUFF32X4, "avx512f") I(VSHUFF64X2, "avx512f") I(VSHUFI32X4, "avx512f")
	I(VSHUFI64X2, "avx512f")
	I_PSPD(VCOMPRESS, "avx512f") I_PSPD(VEXPAND, "avx512f") I_DQ(VPCOMPRESS, "avx512f")
	I_DQ(VPEXPAND, "avx512f") I_BW(VPCOMPRESS, "avx512_vbmi2") I_BW(VPEXPAND, "avx512_vbmi2")
	I_BWDQ(VPERMI2, "avx512f") I_BWDQ(VPERMT2, "avx512f") I_PSPD(VPERMI2, "avx512f")
	I_PSPD(VPERMT2, "avx512f") I(VPERMB, "avx512vbmi") I(VPERMW, "avx512bw")
	I_DQ(VPAND, "avx512f") I_DQ(VPANDN, "avx512f") I_DQ(VPOR, "avx512f") I_DQ(VPXOR, "avx512f")
	I_DQ(VPTERNLOG, "avx512f")
	I_BWDQ(VPCMP, "avx512f") I_BWDQ(VPCMPU, "avx512f")
	I_BWDQ(VPTESTM, "avx512f") I_BWDQ(VPTESTNM, "avx512f")
	I(VPABSQ, "avx512f") I(VPMAXSQ, "avx512f") I(VPMAXUQ, "avx512f") I(VPMINSQ, "avx512f")
	I(VPMINUQ, "avx512f") I(VPMULLQ, "avx512dq") I(VPSRAQ, "avx512f") I(VPSRAVQ, "avx512f")
	I(VPSLLVW, "avx512bw") I(VPSRLVW, "avx512bw") I(VPSRAVW, "avx512bw")
	I_DQ(VPROL, "avx512f") I_DQ(VPROR, "avx512f") I_DQ(VPROLV, "avx512f") I_DQ(VPRORV, "avx512f")
	I_WDQ(VPSHLD, "avx512_vbmi2") I_WDQ(VPSHRD, "avx512_vbmi2")
	I_WDQ(VPSHLDV, "avx512_vbmi2") I_WDQ(VPSHRDV, "avx512_vbmi2")
	I_BW(VPMOVQ, "avx512f") I(VPMOVQD, "avx512f") I_BW(VPMOVD, "avx512f") I(VPMOVWB, "avx512bw")
	I_BW(VPMOVSQ, "avx512f") I(VPMOVSQD, "avx512f") I_BW(VPMOVSD, "avx512f")
	I(VPMOVSWB, "avx512bw") I_BW(VPMOVUSQ, "avx512f") I(VPMOVUSQD, "avx512f")
	I_BW(VPMOVUSD, "avx512f") I(VPMOVUSWB, "avx512bw")
	I(VPMOVB2M, "avx512bw") I(VPMOVW2M, "avx512bw") I(VPMOVD2M, "avx512dq")
	I(VPMOVQ2M, "avx512dq") I(VPMOVM2B, "avx512bw") I(VPMOVM2W, "avx512bw")
	I(VPMOVM2D, "avx512dq") I(VPMOVM2Q, "avx512dq")
	I_DQ(VPCONFLICT, "avx512cd") I_DQ(VPLZCNT, "avx512cd")
	I_BW(VPOPCNT, "avx512_bitalg") I_DQ(VPOPCNT, "avx512_vpopcntdq")
	I(VPSHUFBITQMB, "avx512_bitalg") I(VPMULTISHIFTQB, "avx512vbmi") I(VDBPSADBW, "avx512bw")
	I(VPMADD52HUQ, "avx512ifma") I(VPMADD52LUQ, "avx512ifma")

	/* AVX-512 floating point. */
	F_PSPD(VFPCLASS, "avx512dq") F_SSSD(VFPCLASS, "avx512dq")
	F_ALL(VFIXUPIMM, "avx512f") F_ALL(VGETEXP, "avx512f") F_ALL(VGETMANT, "avx512f")
	F_ALL(VRANGE, "avx512dq") F_ALL(VREDUCE, "avx512dq") F_ALL(VRNDSCALE, "avx512f")
	F_ALL(VSCALEF, "avx512f") F_ALL(VRCP14, "avx512f") F_ALL(VRSQRT14, "avx512f")
	F(VCVTPD2QQ, "avx512dq") F(VCVTPD2UDQ, "avx512f") F(VCVTPD2UQQ, "avx512dq")
	F(VCVTPS2QQ, "avx512dq") F(VCVTPS2UDQ, "avx512f") F(VCVTPS2UQQ, "avx512dq")
	F(VCVTQQ2PD, "avx512dq") F(VCVTQQ2PS, "avx512dq") F(VCVTUDQ2PD, "avx512f")
	F(VCVTUDQ2PS, "avx512f") F(VCVTUQQ2PD, "avx512dq") F(VCVTUQQ2PS, "avx512dq")
	F(VCVTTPD2QQ, "avx512dq") F(VCVTTPD2UDQ, "avx512f") F(VCVTTPD2UQQ, "avx512dq")
	F(VCVTTPS2QQ, "avx512dq") F(VCVTTPS2UDQ, "avx512f") F(VCVTTPS2UQQ, "avx512dq")
	F(VCVTSD2USI, "avx512f") F(VCVTSS2USI, "avx512f") F(VCVTTSD2USI, "avx512f")
	F(VCVTTSS2USI, "avx512f") F(VCVTUSI2SD, "avx512f") F(VCVTUSI2SS, "avx512f")
	F(VCVTNE2PS2BF16, "avx512_bf16") F(VCVTNEPS2BF16, "avx512_bf16") F(VDPBF16PS, "avx512_bf16")

	/* FP16. */
	F_H(VADD) F_H(VSUB) F_H(VMUL) F_H(VDIV) F_H(VMIN) F_H(VMAX) F_H(VSQRT) F_H(VCMP)
	F_H(VRCP) F_H(VRSQRT) F_H(VFPCLASS) F_H(VGETEXP) F_H(VGETMANT) F_H(VREDUCE)
	F_H(VRNDSCALE) F_H(VSCALEF) F_H(VFMADDC) F_H(VFCMADDC) F_H(VFMULC) F_H(VFCMULC)
	FMA_H(VFMADD) FMA_H(VFMSUB) FMA_H(VFNMADD) FMA_H(VFNMSUB)
	F(VFMADDSUB132PH, "avx512_fp16") F(VFMADDSUB213PH, "avx512_fp16")
	F(VFMADDSUB231PH, "avx512_fp16") F(VFMSUBADD132PH, "avx512_fp16")
	F(VFMSUBADD213PH, "avx512_fp16") F(VFMSUBADD231PH, "avx512_fp16")
	F(VCOMISH, "avx512_fp16") F(VUCOMISH, "avx512_fp16")
	F(VCVTDQ2PH, "avx512_fp16") F(VCVTPD2PH, "avx512_fp16") F(VCVTPH2DQ, "avx512_fp16")
	F(VCVTPH2PD, "avx512_fp16") F(VCVTPH2PSX, "avx512_fp16") F(VCVTPH2QQ, "avx512_fp16")
	F(VCVTPH2UDQ, "avx512_fp16") F(VCVTPH2UQQ, "avx512_fp16") F(VCVTPH2UW, "avx512_fp16")
	F(VCVTPH2W, "avx512_fp16") F(VCVTPS2PHX, "avx512_fp16") F(VCVTQQ2PH, "avx512_fp16")
	F(VCVTSD2SH, "avx512_fp16") F(VCVTSH2SD, "avx512_fp16") F(VCVTSH2SI, "avx512_fp16")
	F(VCVTSH2SS, "avx512_fp16") F(VCVTSH2USI, "avx512_fp16") F(VCVTSI2SH, "avx512_fp16")
	F(VCVTSS2SH, "avx512_fp16") F(VCVTTPH2DQ, "avx512_fp16") F(VCVTTPH2QQ, "avx512_fp16")
	F(VCVTTPH2UDQ, "avx512_fp16") F(VCVTTPH2UQQ, "avx512_fp16") F(VCVTTPH2UW, "avx512_fp16")
	F(VCVTTPH2W, "avx512_fp16") F(VCVTTSH2SI, "avx512_fp16") F(VCVTTSH2USI, "avx512_fp16")
	F(VCVTUDQ2PH, "avx512_fp16") F(VCVTUQQ2PH, "avx512_fp16") F(VCVTUSI2SH, "avx512_fp16")
	F(VCVTUW2PH, "avx512_fp16") F(VCVTW2PH, "avx512_fp16")

	/* x87. */
	X(F2XM1) X(FABS) X(FADD) X(FADDP) X(FBLD) X(FBSTP) X(FCHS) X(FCOM) X(FCOMI) X(FCOMIP)
	X(FCOMP) X(FCOMPP) X(FCOS) X(FDECSTP) X(FDIV) X(FDIVP) X(FDIVR) X(FDIVRP) X(FFREE)
	X(FFREEP) X(FIADD) X(FICOM) X(FICOMP) X(FIDIV) X(FIDIVR) X(FILD) X(FIMUL) X(FINCSTP)
	X(FIST) X(FISTP) X(FISTTP) X(FISUB) X(FISUBR) X(FLD) X(FLD1) X(FLDCW) X(FLDL2E) X(FLDL2T)
	X(FLDLG2) X(FLDLN2) X(FLDPI) X(FLDZ) X(FMUL) X(FMULP) X(FNOP) X(FPATAN) X(FPREM)
	X(FPREM1) X(FPTAN) X(FRNDINT) X(FSCALE) X(FSIN) X(FSINCOS) X(FSQRT) X(FST) X(FSTP)
	X(FSTPNCE) X(FSUB) X(FSUBP) X(FSUBR) X(FSUBRP) X(FTST) X(FUCOM) X(FUCOMI) X(FUCOMIP)
	X(FUCOMP) X(FUCOMPP) X(FXAM) X(FXCH) X(FXTRACT) X(FYL2X) X(FYL2XP1)
	X(FCMOVB) X(FCMOVBE) X(FCMOVE) X(FCMOVNB) X(FCMOVNBE) X(FCMOVNE) X(FCMOVNU) X(FCMOVU)

	C87(FNSTENV) C87(FLDENV) C87(FNSAVE) C87(FRSTOR) C87(FNSTCW) C87(FNSTSW) C87(FNCLEX)
	C87(FNINIT) C87(FWAIT) C87(FENI8087_NOP) C87(FDISI8087_NOP) C87(FSETPM287_NOP)

	C(EMMS, native_decode_emms, "mmx", clears)
	C(VZEROALL, native_decode_vzero, "avx", clears)
	C(VZEROUPPER, native_decode_vzero, "avx", clears)
	C(LDMXCSR, native_decode_mxcsr, "sse", images)
	C(STMXCSR, native_decode_mxcsr, "sse", images)
	C(VLDMXCSR, native_decode_mxcsr, "avx", images)
	C(VSTMXCSR, native_decode_mxcsr, "avx", images)

	/* Not one pointer. */
	C(MASKMOVQ, native_decode_maskmov, "sse", elements)
	C(MASKMOVDQU, native_decode_maskmov, "sse2", elements)
	C(VMASKMOVDQU, native_decode_maskmov, "avx", elements)
	GATHER(VPGATHERDD, "avx2") GATHER(VPGATHERDQ, "avx2") GATHER(VPGATHERQD, "avx2")
	GATHER(VPGATHERQQ, "avx2") GATHER(VGATHERDPS, "avx2") GATHER(VGATHERDPD, "avx2")
	GATHER(VGATHERQPS, "avx2") GATHER(VGATHERQPD, "avx2")
	SCATTER(VPSCATTERDD) SCATTER(VPSCATTERDQ) SCATTER(VPSCATTERQD) SCATTER(VPSCATTERQQ)
	SCATTER(VSCATTERDPS) SCATTER(VSCATTERDPD) SCATTER(VSCATTERQPS) SCATTER(VSCATTERQPD)
	C(VMASKMOVPS, native_decode_vmaskmov, "avx", elements)
	C(VMASKMOVPD, native_decode_vmaskmov, "avx", elements)
	C(VPMASKMOVD, native_decode_vmaskmov, "avx2", elements)
	C(VPMASKMOVQ, native_decode_vmaskmov, "avx2", elements)

	/* State images. */
	C(FXSAVE, native_decode_fxsave, "fxsr", images)
	C(FXSAVE64, native_decode_fxsave, "fxsr", images)
	C(FXRSTOR, native_decode_fxsave, "fxsr", images)
	C(FXRSTOR64, native_decode_fxsave, "fxsr", images)
	XS(XSAVE, "xsave") XS(XSAVE64, "xsave") XS(XRSTOR, "xsave") XS(XRSTOR64, "xsave")
	XS(XSAVEOPT, "xsaveopt") XS(XSAVEOPT64, "xsaveopt") XS(XSAVEC, "xsavec")
	XS(XSAVEC64, "xsavec") XS(XSAVES, "xsaves") XS(XSAVES64, "xsaves") XS(XRSTORS, "xsaves")
	XS(XRSTORS64, "xsaves")
	C(XGETBV, native_decode_xcr, "xsave", images)
	C(XSETBV, native_decode_xcr, "xsave", images)
};
const unsigned table_native_lines = ARRAY_SIZE(table_native);
