/* SPDX-License-Identifier: MIT */
/*
 * native/masked.c: memory operands of which only the elements a mask selects are accessed (EVEX
 * forms with fault suppression, SDM vol. 2, 2.7.5, and the VMASKMOV family). Where the whole
 * operand lies in one page that may be accessed, the instruction itself on the host pointer is
 * exact. Elsewhere the selected elements are accessed one by one, and the stub works on a copy.
 */
#include "cpu/access.h"
#include "cpu/fault.h"
#include "cpu/interpreter/ea.h"
#include "cpu/native/forms.h"
#include "cpu/native/native.h"
#include "cpu/native/run.h"
#include "cpu/table/vendor.h"

/* op->aux */
#define M_REG(a)   ((a) & 15)	     /* mask register, or vector of sign bits */
#define M_ELEM(a)  (((a) >> 4) & 7)  /* log2 of a memory element's bytes */
#define M_COUNT(a) (((a) >> 7) & 7)  /* log2 of the mask bits that count */
/* MASKED_WRITES, MASKED_FP */
#define M_DENSE	   0x1000 /* compress, expand: as many elements as mask bits, from the first */
#define M_VECTOR   0x2000 /* mask bits are sign bits of a vector register */
#define M_AC	   0x4000 /* of up to 8 bytes, which are one access to #AC; longer ones are none */

static u64 low_bits(u32 n)
{
	return n >= 64 ? ~0ULL : (1ULL << n) - 1;
}

static u64 vector_mask(const struct cpu *c, u16 aux)
{
	const u8 *v = c->v[M_REG(aux)].b;
	u32 size = 1u << M_ELEM(aux);
	u64 m = 0;

	for (u32 i = 0; i < 1u << M_COUNT(aux); i++)
		m |= (u64)(v[i * size + size - 1] >> 7) << i;
	return m;
}

/* Bit per memory element that is accessed. */
static u64 active_elements(const struct cpu *c, const struct op *o)
{
	u32 nmask = 1u << M_COUNT(o->aux), nmem = o->r0 >> M_ELEM(o->aux);
	u64 m, active = 0;

	m = o->aux & M_VECTOR ? vector_mask(c, o->aux) : c->k[M_REG(o->aux)] & low_bits(nmask);
	if (o->aux & M_DENSE)
		return low_bits((u32)__builtin_popcountll(m));
	/* A broadcast element is accessed when any that it is copied to is wanted. */
	for (u32 i = 0; i < nmask; i += nmem)
		active |= m >> i;
	return active & low_bits(nmem);
}

static u64 call(struct cpu *c, const struct op *o, void *p)
{
	native_stub_fn *f = native_stub(o->imm);

	return o->aux & MASKED_FP ? native_call_fp(c, f, p) : f(c, p);
}

/* Where element `i` is; its own segment check, if it is for an access. */
static u64 element_la(struct cpu *c, const struct op *o, u32 i, u32 size, bool write)
{
	u64 off = op_offset(c, o) & c->ea_mask;

	if (!(o->flags & OP_EA_SLOW))
		return (off + i * size) & c->ea_mask;
	off = ea_cut(o, off) + i * size;
	if (c->mode == MODE_LONG)
		return o->seg >= SEG_FS ? off + c->seg[o->seg].base : off;
	return ea_linear(c, o->seg, (u32)off, size, write); /* past 64 KiB, not past 4 GiB */
}

static void read_elements(struct cpu *c, const struct op *o, u64 active, u8 *buf)
{
	u32 size = 1u << M_ELEM(o->aux);

	/* Limits of all before the first access. */
	element_la(c, o, 63 - (u32)__builtin_clzll(active), size, false);
	for (; active; active &= active - 1) {
		u32 i = (u32)__builtin_ctzll(active);

		access_read(c, element_la(c, o, i, size, false), buf + i * size, size);
	}
}

/* Two pages at most: the first byte stored and the last one stand for them. */
static void probe_elements(struct cpu *c, const struct op *o, u64 active)
{
	u32 size = 1u << M_ELEM(o->aux);
	u32 first = (u32)__builtin_ctzll(active), last = 63 - (u32)__builtin_clzll(active);
	u64 end = (element_la(c, o, last, size, true) + size - 1) & c->ea_mask;

	access_probe(c, element_la(c, o, first, size, true), 1, true);
	access_probe(c, end, 1, true);
}

static void write_elements(struct cpu *c, const struct op *o, u64 active, const u8 *buf)
{
	u32 size = 1u << M_ELEM(o->aux);

	probe_elements(c, o, active);
	for (; active; active &= active - 1) {
		u32 i = (u32)__builtin_ctzll(active);

		access_write(c, element_la(c, o, i, size, true), buf + i * size, size);
	}
}

/* Limits of the elements come before #AC. */
static void check_operand(struct cpu *c, const struct op *o, u64 active)
{
	u32 size = 1u << M_ELEM(o->aux);
	u32 first = (u32)__builtin_ctzll(active), last = 63 - (u32)__builtin_clzll(active);
	bool write = o->aux & MASKED_WRITES, each = cpu_vendor_does(c, FACT_AC_VECTORS);

	native_check_alignment(c, o);
	if (likely(!c->check_align) || !(each ? !(o->aux & M_VECTOR) : o->aux & M_AC))
		return;
	element_la(c, o, last, size, write);
	if (each)
		access_check_alignment(c, element_la(c, o, first, size, write), size);
	else
		access_check_alignment(c, element_la(c, o, first, size, write) - first * size,
				       o->r0);
}

/* Of no element nothing is looked at, not even a null segment or the alignment. */
static COLD const struct op *run_elements(struct cpu *c, const struct op *o)
{
	u8 buf[64] __attribute__((aligned(64))) = {0};
	bool write = o->aux & MASKED_WRITES;
	u64 active = active_elements(c, o);

	c->op = o;
	if (active && !write) {
		check_operand(c, o, active);
		read_elements(c, o, active, buf);
	}
	/* What is stored is known, and its exception raised, before memory is looked at; or after. */
	if (active && write && cpu_vendor_does(c, FACT_STORE_FIRST)) {
		check_operand(c, o, active);
		probe_elements(c, o, active);
	}
	if (call(c, o, buf))
		native_died(c, o, 0, write);
	if (active && write) {
		check_operand(c, o, active);
		write_elements(c, o, active, buf);
	}
	return op_after_slow_store(c, o);
}

const struct op *native_run_masked(struct cpu *c, const struct op *o)
{
	bool write = o->aux & MASKED_WRITES;
	u64 la;
	void *p;

	if (unlikely(o->flags & OP_EA_SLOW))
		return run_elements(c, o);
	la = op_ea(c, o, o->r0, write);
	p = write ? tlb_write(c->tlb, la, o->r0) : tlb_read(c->tlb, la, o->r0);
	if (unlikely(!p || (la & o->r1)))
		return run_elements(c, o);
	if (unlikely(call(c, o, p)))
		native_died(c, o, la, write);
	return o + 1;
}

/* Exception classes whose name ends in NF suppress nothing: the operand is accessed whole. */
static bool suppresses_faults(const struct decoder *d)
{
	/* E4NF in the manual: an element of memory serves several masked ones. */
	if (d->i.mnemonic == ZYDIS_MNEMONIC_VGF2P8AFFINEQB ||
	    d->i.mnemonic == ZYDIS_MNEMONIC_VGF2P8AFFINEINVQB ||
	    d->i.mnemonic == ZYDIS_MNEMONIC_VDBPSADBW ||
	    d->i.mnemonic == ZYDIS_MNEMONIC_VCVTNE2PS2BF16)
		return false;
	switch (d->i.meta.exception_class) {
	case ZYDIS_EXCEPTION_CLASS_E1NF:
	case ZYDIS_EXCEPTION_CLASS_E2NF:
	case ZYDIS_EXCEPTION_CLASS_E3NF:
	case ZYDIS_EXCEPTION_CLASS_E4NF:
	case ZYDIS_EXCEPTION_CLASS_E5NF:
	case ZYDIS_EXCEPTION_CLASS_E6NF:
	case ZYDIS_EXCEPTION_CLASS_E9NF:
	case ZYDIS_EXCEPTION_CLASS_E10NF:
	case ZYDIS_EXCEPTION_CLASS_E11NF:
		return false;
	default:
		return true;
	}
}

/* Elements that are copied from memory elements: the second number of Zydis's names. */
static u32 broadcast_count(ZydisBroadcastMode m)
{
	switch (m) {
	case ZYDIS_BROADCAST_MODE_1_TO_2:
		return 2;
	case ZYDIS_BROADCAST_MODE_1_TO_4:
	case ZYDIS_BROADCAST_MODE_2_TO_4:
		return 4;
	case ZYDIS_BROADCAST_MODE_1_TO_8:
	case ZYDIS_BROADCAST_MODE_2_TO_8:
	case ZYDIS_BROADCAST_MODE_4_TO_8:
		return 8;
	case ZYDIS_BROADCAST_MODE_1_TO_16:
	case ZYDIS_BROADCAST_MODE_2_TO_16:
	case ZYDIS_BROADCAST_MODE_4_TO_16:
	case ZYDIS_BROADCAST_MODE_8_TO_16:
		return 16;
	case ZYDIS_BROADCAST_MODE_1_TO_32:
		return 32;
	case ZYDIS_BROADCAST_MODE_1_TO_64:
		return 64;
	default:
		return 0;
	}
}

/* How many elements the mask counts; they may be wider than the operand's own. */
static u32 mask_count(const struct decoder *d, const ZydisDecodedOperand *mem)
{
	const ZydisDecodedOperand *dst = &d->o[0];
	u32 n = broadcast_count(d->i.avx.broadcast.mode);

	if (n)
		return n;
	switch (d->i.mnemonic) {
	case ZYDIS_MNEMONIC_VFMADDCPH:
	case ZYDIS_MNEMONIC_VFCMADDCPH:
	case ZYDIS_MNEMONIC_VFMULCPH:
	case ZYDIS_MNEMONIC_VFCMULCPH: /* complex numbers of two halves */
		return mem->size / 32u;
	default:
		break;
	}
	if (dst->type == ZYDIS_OPERAND_TYPE_REGISTER &&
	    ZydisRegisterGetClass(dst->reg.value) != ZYDIS_REGCLASS_MASK)
		return MIN(dst->element_count, mem->element_count);
	return mem->element_count;
}

static bool is_dense(ZydisMnemonic m)
{
	switch (m) {
	case ZYDIS_MNEMONIC_VCOMPRESSPD:
	case ZYDIS_MNEMONIC_VCOMPRESSPS:
	case ZYDIS_MNEMONIC_VPCOMPRESSB:
	case ZYDIS_MNEMONIC_VPCOMPRESSW:
	case ZYDIS_MNEMONIC_VPCOMPRESSD:
	case ZYDIS_MNEMONIC_VPCOMPRESSQ:
	case ZYDIS_MNEMONIC_VEXPANDPD:
	case ZYDIS_MNEMONIC_VEXPANDPS:
	case ZYDIS_MNEMONIC_VPEXPANDB:
	case ZYDIS_MNEMONIC_VPEXPANDW:
	case ZYDIS_MNEMONIC_VPEXPANDD:
	case ZYDIS_MNEMONIC_VPEXPANDQ:
		return true;
	default:
		return false;
	}
}

bool native_masked(const struct decoder *d, const ZydisDecodedOperand *mem, bool fp, struct op *op)
{
	u32 nmask, nmem, size;

	if (d->i.encoding != ZYDIS_INSTRUCTION_ENCODING_EVEX ||
	    d->i.avx.mask.reg == ZYDIS_REGISTER_K0 || d->i.avx.mask.reg == ZYDIS_REGISTER_NONE ||
	    !suppresses_faults(d))
		return false;
	nmask = mask_count(d, mem);
	nmem = broadcast_count(d->i.avx.broadcast.mode) ? mem->element_count : nmask;
	if (!nmask || !nmem)
		return false;
	size = mem->size / 8u / nmem;
	op->aux = (u16)((ZydisRegisterGetId(d->i.avx.mask.reg) & 7) |
			__builtin_ctz(size) << 4 | __builtin_ctz(nmask) << 7 | (fp ? MASKED_FP : 0));
	if (mem->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE)
		op->aux |= MASKED_WRITES;
	if (is_dense(d->i.mnemonic))
		op->aux |= M_DENSE;
	if (op->r0 <= 8 && !(op->flags & OP_NO_AC))
		op->aux |= M_AC;
	op->flags |= OP_NO_AC;
	op->fn = native_run_masked;
	return true;
}

/* VMASKMOVPS/PD, VPMASKMOVD/Q: the mask is the register in VEX.vvvv. */
bool native_decode_vmaskmov(struct decoder *d, struct op *op)
{
	const ZydisDecodedOperand *mem, *mask = &d->o[1];

	if (!native_decode(d, op))
		return false;
	mem = d->o[0].type == ZYDIS_OPERAND_TYPE_MEMORY ? &d->o[0] : &d->o[2];
	if (op->fn != native_run_load && op->fn != native_run_store)
		return true; /* traps, or has no stub */
	op->aux = (u16)((ZydisRegisterGetId(mask->reg.value) & 15) |
			__builtin_ctz(mem->element_size / 8u) << 4 |
			__builtin_ctz(mem->element_count) << 7 | M_VECTOR);
	if (mem == &d->o[0])
		op->aux |= MASKED_WRITES;
	op->flags |= OP_NO_AC;
	op->fn = native_run_masked;
	return true;
}
