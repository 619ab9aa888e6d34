/* SPDX-License-Identifier: MIT */
/* irqchip/lapic_regs.c: the local APIC's registers, by memory (xAPIC) and by MSR (x2APIC). */
#include "irqchip/internal.h"

#define LVT_COMMON	 0x110ffu /* vector, delivery status, mask */
#define LVT_LINT	 (LVT_COMMON | DM_MASK | 0x2000u | 0x4000u | LVT_LEVEL)
#define X2_MSR_FIRST	 0x800u
#define X2_MSR_LAST	 0x8ffu
#define MSR_TSC_DEADLINE 0x6e0u
#define ICR_BUSY	 0x1000u
#define ICR_X2_RESERVED	 0xfff32000u /* SDM vol. 3, figure 11-28 */

static bool x2(const struct lapic *l)
{
	return l->base & APIC_BASE_X2;
}

/* Errors are collected here and show in ESR after a write to it (SDM vol. 3, 11.5.3). */
void lapic_error(struct lapic *l, u32 bit)
{
	bool first = !(l->errors & bit);

	l->errors |= bit;
	/* Only the first of a kind interrupts; an illegal vector in LVTERR must not recurse. */
	if (first)
		lapic_local_deliver(l, APIC_LVTERR);
}

static bool readable(const struct lapic *l, u32 reg)
{
	switch (reg) {
	case APIC_APR:
	case APIC_DFR:
	case APIC_ICR2:
		return !x2(l);
	case APIC_LVTCMCI:
		return l->feature_cmci;
	case APIC_ID:
	case APIC_LVR:
	case APIC_TPR:
	case APIC_PPR:
	case APIC_LDR:
	case APIC_SPIV:
	case APIC_ESR:
	case APIC_ICR:
	case APIC_TDCR:
		return true;
	default:
		return (reg >= APIC_ISR && reg < APIC_ESR) ||
		       (reg >= APIC_LVTT && reg <= APIC_TMCCT);
	}
}

bool lapic_reg_read(struct lapic *l, u32 reg, u32 *value)
{
	if (!readable(l, reg))
		return false;
	*value = reg == APIC_TMCCT ? lapic_timer_count(l) : l->regs[reg / 4];
	return true;
}

/* Clearing the enable bit masks every LVT entry (SDM vol. 3, 11.4.7.2). */
void lapic_set_spiv(struct lapic *l, u32 value)
{
	u32 mask = 0x3ff;

	if (l->regs[APIC_LVR / 4] & LVR_DIRECTED_EOI)
		mask |= SPIV_DIRECTED_EOI;
	l->regs[APIC_SPIV / 4] = value & mask;
	if (value & SPIV_ENABLE)
		return;
	for (u32 r = APIC_LVTT; r <= APIC_LVTERR; r += 0x10)
		l->regs[r / 4] |= LVT_MASKED;
	if (l->feature_cmci)
		l->regs[APIC_LVTCMCI / 4] |= LVT_MASKED;
}

static void write_lvt(struct lapic *l, u32 reg, u32 value, u32 mask)
{
	if (!(l->regs[APIC_SPIV / 4] & SPIV_ENABLE))
		value |= LVT_MASKED;
	value &= mask;
	if (reg == APIC_LVTT)
		lapic_timer_write_lvt(l, value);
	else
		l->regs[reg / 4] = value;
	if (reg == APIC_LVT0 && l->ic->pic_output && lapic_accepts_pic(l))
		lapic_kick(l); /* the 8259 was waiting for this */
}

/* Registers only xAPIC mode can write: ID, LDR, DFR, ICR2. */
static bool write_xapic(struct lapic *l, u32 reg, u32 value)
{
	if (x2(l))
		return false;
	l->regs[reg / 4] = reg == APIC_DFR ? value | 0x0fffffff : value & 0xff000000;
	return true;
}

static bool write_esr(struct lapic *l, u32 value)
{
	if (x2(l) && value)
		return false;
	l->regs[APIC_ESR / 4] = l->errors;
	l->errors = 0;
	return true;
}

static bool write_lvt_or_timer(struct lapic *l, u32 reg, u32 value)
{
	switch (reg) {
	case APIC_LVTT:
		write_lvt(l, reg, value,
			  LVT_COMMON | (l->feature_tsc_deadline ? LVT_TIMER_MODE
								: LVT_TIMER_PERIODIC));
		return true;
	case APIC_LVTCMCI:
		if (!l->feature_cmci)
			return false;
		write_lvt(l, reg, value, LVT_COMMON | DM_MASK);
		return true;
	case APIC_LVTTHMR:
	case APIC_LVTPC:
		write_lvt(l, reg, value, LVT_COMMON | DM_MASK);
		return true;
	case APIC_LVT0:
	case APIC_LVT1:
		write_lvt(l, reg, value, LVT_LINT);
		return true;
	case APIC_LVTERR:
		write_lvt(l, reg, value, LVT_COMMON);
		return true;
	case APIC_TMICT:
		lapic_timer_write_count(l, value);
		return true;
	case APIC_TDCR:
		lapic_timer_write_divide(l, value & 0xb);
		return true;
	}
	return false;
}

bool lapic_reg_write(struct lapic *l, u32 reg, u32 value)
{
	switch (reg) {
	case APIC_ID:
	case APIC_LDR:
	case APIC_DFR:
	case APIC_ICR2:
		return write_xapic(l, reg, value);
	case APIC_TPR:
		l->regs[reg / 4] = value & 0xff;
		break;
	case APIC_EOI:
		if (x2(l) && value)
			return false;
		lapic_eoi(l);
		break;
	case APIC_SPIV:
		lapic_set_spiv(l, value);
		break;
	case APIC_ESR:
		return write_esr(l, value);
	case APIC_ICR:
		l->regs[reg / 4] = value & ~ICR_BUSY;
		lapic_send_ipi(l, value, l->regs[APIC_ICR2 / 4]);
		break;
	case APIC_SELF_IPI:
		if (!x2(l) || value & ~0xffu)
			return false;
		lapic_accept(l, DM_FIXED, (u8)value, true, false);
		break;
	default:
		return write_lvt_or_timer(l, reg, value);
	}
	lapic_update(l);
	if (l->hint >= 0)
		lapic_kick(l);
	return true;
}

/* ---- xAPIC: a page of memory */

static bool mmio_decodes(const struct lapic *l)
{
	return (l->base & APIC_BASE_EN) && !x2(l);
}

/* A disabled APIC and one in x2APIC mode leave a hole that reads as ones (KVM's quirk). */
void lapic_mmio_read(struct lapic *l, u32 off, u32 len, void *data)
{
	u32 value = 0, in = off & 0xf;

	memset(data, 0xff, len);
	if (!mmio_decodes(l))
		return;
	memset(data, 0, len);
	if (in + len > 4)
		return;
	if (lapic_reg_read(l, off & ~0xfu, &value))
		memcpy(data, (u8 *)&value + in, len);
	else if ((off & ~0xfu) != APIC_EOI)
		lapic_error(l, ESR_REGISTER);
}

/* Only aligned doublewords are written; others are undefined (SDM vol. 3, 11.4.1) and ignored.
 */
void lapic_mmio_write(struct lapic *l, u32 off, u32 len, const void *data)
{
	u32 value;

	if (!mmio_decodes(l) || len != 4 || (off & 0xf))
		return;
	memcpy(&value, data, 4);
	if (!lapic_reg_write(l, off, value) && !readable(l, off))
		lapic_error(l, ESR_REGISTER);
}

/* ---- x2APIC: MSRs */

static int x2_read(struct lapic *l, u32 msr, u64 *value)
{
	u32 reg = (msr - X2_MSR_FIRST) << 4, low;

	if (!x2(l) || reg >= APIC_REGS_SIZE || !lapic_reg_read(l, reg, &low))
		return -EINVAL;
	*value = low;
	if (reg == APIC_ICR)
		*value |= (u64)l->regs[APIC_ICR2 / 4] << 32;
	return 0;
}

static int x2_write(struct lapic *l, u32 msr, u64 value)
{
	u32 reg = (msr - X2_MSR_FIRST) << 4;

	if (!x2(l) || reg >= APIC_REGS_SIZE)
		return -EINVAL;
	if (reg == APIC_ICR) {
		if ((u32)value & ICR_X2_RESERVED)
			return -EINVAL;
		l->regs[APIC_ICR2 / 4] = (u32)(value >> 32);
	} else if (value >> 32) {
		return -EINVAL;
	}
	return lapic_reg_write(l, reg, (u32)value) ? 0 : -EINVAL;
}

int lapic_msr_read(struct lapic *l, u32 msr, u64 *value)
{
	int r = 0;

	mutex_lock(&l->ic->lock);
	if (msr == MSR_TSC_DEADLINE)
		*value = lapic_timer_deadline(l);
	else if (msr >= X2_MSR_FIRST && msr <= X2_MSR_LAST)
		r = x2_read(l, msr, value);
	else
		r = -EINVAL;
	mutex_unlock(&l->ic->lock);
	return r;
}

int lapic_msr_write(struct lapic *l, u32 msr, u64 value)
{
	int r = 0;

	mutex_lock(&l->ic->lock);
	if (msr == MSR_TSC_DEADLINE)
		lapic_timer_set_deadline(l, value);
	else if (msr >= X2_MSR_FIRST && msr <= X2_MSR_LAST)
		r = x2_write(l, msr, value);
	else
		r = -EINVAL;
	mutex_unlock(&l->ic->lock);
	return r;
}
