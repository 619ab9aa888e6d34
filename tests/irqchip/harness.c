/* SPDX-License-Identifier: MIT */
#include "harness.h"

#include "sync/atomic.h"
#include "vm/vm.h"

struct machine m;
static u64 fake_now;

static void kick(void *v)
{
	((struct fake_vcpu *)v)->kicks++;
}
static void nmi(void *v)
{
	((struct fake_vcpu *)v)->nmis++;
}
static void smi(void *v)
{
	((struct fake_vcpu *)v)->smis++;
}
static void init(void *v)
{
	((struct fake_vcpu *)v)->inits++;
}

static void sipi(void *vcpu, u8 vector)
{
	struct fake_vcpu *v = vcpu;

	v->sipis++;
	v->sipi_vector = vector;
}

static void eoi_to_vmm(void *vcpu, u8 vector)
{
	struct fake_vcpu *v = vcpu;

	v->eois++;
	v->eoi_vector = vector;
}

static u64 guest_tsc(void *v)
{
	return fake_now * 2;
}

static u32 tsc_khz(void *v)
{
	return 2000000;
}

static void gsi_acked(void *vm, u32 gsi)
{
	struct machine *mm = vm;

	if (gsi < ARRAY_SIZE(mm->acks))
		mm->acks[gsi]++;
	if (mm->on_ack)
		mm->on_ack(gsi);
}

static u32 flags(void *vm)
{
	return ((struct machine *)vm)->flags;
}

static const struct irqchip_ops ops = {
	.kick = kick,
	.nmi = nmi,
	.smi = smi,
	.init = init,
	.sipi = sipi,
	.unhalt = kick,
	.ioapic_eoi = eoi_to_vmm,
	.guest_tsc = guest_tsc,
	.tsc_khz = tsc_khz,
	.gsi_acked = gsi_acked,
	.flags = flags,
};

u64 clock_now(void)
{
	return fake_now;
}

u32 distrusts;

/* vm/vcpu.c's, for vm/irq.c. */
void vm_distrust_code(struct vm *vm)
{
	sync_add(&distrusts, 1);
}

void clock_advance(u64 ns)
{
	fake_now += ns;
	mutex_lock(&m.ic->lock);
	timers_run(m.ic);
	mutex_unlock(&m.ic->lock);
}

void machine_create(enum irqchip_mode mode, u32 nvcpus)
{
	memset(&m, 0, sizeof(m));
	fake_now = NSEC_PER_SEC;
	assert_int_equal(irqchip_create(&m, mode, mode == IRQCHIP_SPLIT ? 24 : 0, &ops, &m.ic),
			 0);
	m.ic->timers.manual = true;
	m.ic->timers.now = clock_now;
	for (u32 i = 0; i < nvcpus; i++) {
		assert_int_equal(lapic_create(m.ic, &m.vcpu[i], i, &m.vcpu[i].lapic), 0);
		lapic_set_features(m.vcpu[i].lapic, true, true);
		apic_enable(i);
	}
}

int machine_teardown(void **state)
{
	for (u32 i = 0; i < MAX_FAKES; i++) {
		if (m.vcpu[i].lapic)
			lapic_destroy(m.vcpu[i].lapic);
	}
	irqchip_destroy(m.ic);
	return 0;
}

int setup_kernel_1(void **state)
{
	machine_create(IRQCHIP_KERNEL, 1);
	return 0;
}

int setup_kernel_4(void **state)
{
	machine_create(IRQCHIP_KERNEL, 4);
	return 0;
}

int setup_split_2(void **state)
{
	machine_create(IRQCHIP_SPLIT, 2);
	return 0;
}

u32 apic_read(u32 vcpu, u32 reg)
{
	u32 v;

	assert_true(irqchip_mmio(m.ic, m.vcpu[vcpu].lapic, APIC_BASE_ADDR + reg, 4, false, &v));
	return v;
}

void apic_write(u32 vcpu, u32 reg, u32 v)
{
	assert_true(irqchip_mmio(m.ic, m.vcpu[vcpu].lapic, APIC_BASE_ADDR + reg, 4, true, &v));
}

void apic_enable(u32 vcpu)
{
	apic_write(vcpu, APIC_SPIV, SPIV_ENABLE | 0xff);
}

void apic_to_x2(u32 vcpu)
{
	struct lapic *l = m.vcpu[vcpu].lapic;

	assert_int_equal(lapic_set_base(l, lapic_get_base(l) | APIC_BASE_X2, false), 0);
}

int irq_has(u32 vcpu)
{
	return irqchip_has_interrupt(m.ic, m.vcpu[vcpu].lapic);
}

int irq_get(u32 vcpu)
{
	return irqchip_get_interrupt(m.ic, m.vcpu[vcpu].lapic);
}

u8 inb(u16 port)
{
	u8 v;

	assert_true(irqchip_pio(m.ic, port, 1, false, &v));
	return v;
}

void outb(u16 port, u8 v)
{
	assert_true(irqchip_pio(m.ic, port, 1, true, &v));
}

u32 ioapic_reg_read(u32 index)
{
	u32 v;

	assert_true(irqchip_mmio(m.ic, NULL, IOAPIC_BASE, 4, true, &index));
	assert_true(irqchip_mmio(m.ic, NULL, IOAPIC_BASE + 0x10, 4, false, &v));
	return v;
}

void ioapic_reg_write(u32 index, u32 v)
{
	assert_true(irqchip_mmio(m.ic, NULL, IOAPIC_BASE, 4, true, &index));
	assert_true(irqchip_mmio(m.ic, NULL, IOAPIC_BASE + 0x10, 4, true, &v));
}

void ioapic_redirect(u32 pin, u64 entry)
{
	ioapic_reg_write(0x11 + 2 * pin, (u32)(entry >> 32));
	ioapic_reg_write(0x10 + 2 * pin, (u32)entry);
}

int raise_gsi(u32 gsi)
{
	return irqchip_set_gsi(m.ic, IRQ_SOURCE_USER, gsi, true);
}

int lower_gsi(u32 gsi)
{
	return irqchip_set_gsi(m.ic, IRQ_SOURCE_USER, gsi, false);
}
