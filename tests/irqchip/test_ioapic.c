/* SPDX-License-Identifier: MIT */
/* The I/O APIC (82093AA) and the routing table before it. */
#include "harness.h"

#define LEVEL	   0x8000ULL
#define LOGICAL	   0x800ULL
#define REMOTE_IRR 0x4000u
#define DEST(n)	   ((u64)(n) << 56)

static void registers(void **state)
{
	assert_int_equal(ioapic_reg_read(1), 0x00170011);
	ioapic_reg_write(0, 0x0a000000);
	assert_int_equal(ioapic_reg_read(0), 0x0a000000);
	assert_int_equal(ioapic_reg_read(2), 0x0a000000);
	assert_int_equal(ioapic_reg_read(0x10), 0x10000);
	assert_int_equal(ioapic_reg_read(0x10 + 48), 0xffffffff);
	ioapic_reg_write(0x12, 0xffffffff); /* status and remote IRR are read-only */
	assert_int_equal(ioapic_reg_read(0x12) & 0x5000, 0);
}

static void edge_delivers_once_per_edge(void **state)
{
	ioapic_redirect(4, 0x44 | DEST(2));
	assert_int_equal(irqchip_set_gsi(m.ic, 0, 20, true), -1); /* masked pin, no 8259 line */
	assert_true(raise_gsi(4) >= 1);
	assert_int_equal(irq_has(2), 0x44);
	assert_int_equal(irq_has(1), -1);
	assert_int_equal(irq_get(2), 0x44);
	apic_write(2, APIC_EOI, 0);
	raise_gsi(4);
	assert_int_equal(irq_has(2), -1);
	lower_gsi(4);
	raise_gsi(4);
	assert_int_equal(irq_has(2), 0x44);
}

static void level_waits_for_eoi_and_repeats(void **state)
{
	ioapic_redirect(20, 0x55 | LEVEL | DEST(1));
	assert_int_equal(raise_gsi(20), 1);
	assert_int_equal(ioapic_reg_read(0x10 + 40) & REMOTE_IRR, REMOTE_IRR);
	assert_int_equal(raise_gsi(20), -1); /* waits for its EOI */
	assert_int_equal(irq_get(1), 0x55);
	assert_int_equal(irq_has(1), -1);
	apic_write(1, APIC_EOI, 0);
	assert_int_equal(m.acks[20], 1);
	assert_int_equal(irq_get(1), 0x55); /* the line is still active */
	lower_gsi(20);
	apic_write(1, APIC_EOI, 0);
	assert_int_equal(irq_has(1), -1);
	assert_int_equal(ioapic_reg_read(0x10 + 40) & REMOTE_IRR, 0);
}

static void unmasking_an_active_level_delivers(void **state)
{
	ioapic_redirect(20, 0x55 | LEVEL | LVT_MASKED);
	raise_gsi(20);
	assert_int_equal(irq_has(0), -1);
	ioapic_redirect(20, 0x55 | LEVEL);
	assert_int_equal(irq_has(0), 0x55);
}

static void switching_to_edge_clears_remote_irr(void **state)
{
	ioapic_redirect(20, 0x55 | LEVEL);
	raise_gsi(20);
	ioapic_reg_write(0x10 + 40, 0x55 | LVT_MASKED);
	assert_int_equal(ioapic_reg_read(0x10 + 40) & REMOTE_IRR, 0);
}

static void level_sources_are_ored(void **state)
{
	ioapic_redirect(20, 0x55 | LEVEL);
	irqchip_set_gsi(m.ic, IRQ_SOURCE_USER, 20, true);
	irqchip_set_gsi(m.ic, IRQ_SOURCE_IRQFD, 20, true);
	irqchip_set_gsi(m.ic, IRQ_SOURCE_USER, 20, false);
	assert_int_equal(irq_get(0), 0x55);
	apic_write(0, APIC_EOI, 0);
	assert_int_equal(irq_get(0), 0x55); /* the other source holds it */
	irqchip_set_gsi(m.ic, IRQ_SOURCE_IRQFD, 20, false);
	apic_write(0, APIC_EOI, 0);
	assert_int_equal(irq_has(0), -1);
}

static void delivery_modes(void **state)
{
	ioapic_redirect(16, 0x400 | DEST(3)); /* NMI */
	ioapic_redirect(17, 0x500 | DEST(3)); /* INIT */
	ioapic_redirect(18, 0x200 | DEST(3)); /* SMI */
	for (u32 gsi = 16; gsi < 19; gsi++)
		raise_gsi(gsi);
	assert_int_equal(m.vcpu[3].nmis, 1);
	assert_int_equal(m.vcpu[3].inits, 1);
	assert_int_equal(m.vcpu[3].smis, 1);
}

static void lowest_priority_hashes_the_vector(void **state)
{
	for (u32 i = 0; i < 4; i++)
		apic_write(i, APIC_LDR, 1u << (24 + i));
	ioapic_redirect(16, 0x61 | 0x100 | LOGICAL | DEST(0xe)); /* vCPUs 1, 2, 3 */
	assert_int_equal(raise_gsi(16), 1);
	assert_int_equal(0x61 % 3, 1);
	assert_int_equal(irq_has(2), 0x61);
	assert_int_equal(irq_has(1), -1);
	assert_int_equal(irq_has(3), -1);
}

static void state_round_trip(void **state)
{
	struct kvm_irqchip a = {.chip_id = KVM_IRQCHIP_IOAPIC}, b = a;

	outb(0x21, 0xff); /* GSI 4 is the 8259's, too */
	ioapic_redirect(20, 0x55 | LEVEL | LVT_MASKED);
	ioapic_redirect(4, 0x44 | DEST(2));
	raise_gsi(20);
	raise_gsi(4); /* an edge that went out is not pending */
	assert_int_equal(irqchip_get(m.ic, &a), 0);
	assert_int_equal(a.chip.ioapic.base_address, IOAPIC_BASE);
	assert_int_equal(a.chip.ioapic.irr, 1 << 20);
	assert_int_equal(a.chip.ioapic.redirtbl[4].fields.dest_id, 2);
	assert_int_equal(a.chip.ioapic.redirtbl[4].fields.vector, 0x44);
	assert_int_equal(a.chip.ioapic.redirtbl[20].fields.trig_mode, 1);
	assert_int_equal(a.chip.ioapic.redirtbl[20].fields.mask, 1);
	ioapic_redirect(4, 0x99);
	assert_int_equal(irqchip_set(m.ic, &a), 0);
	assert_int_equal(irqchip_get(m.ic, &b), 0);
	assert_memory_equal(&a, &b, sizeof(a));
	a.chip.ioapic.redirtbl[20].fields.mask = 0;
	irqchip_set(m.ic, &a);
	assert_int_equal(irq_has(0), 0x55); /* pending lines are raised again */
}

/* ---- routing */

static struct kvm_irq_routing_entry pin_route(u32 gsi, u32 chip, u32 pin)
{
	return (struct kvm_irq_routing_entry){.gsi = gsi,
					      .type = KVM_IRQ_ROUTING_IRQCHIP,
					      .u.irqchip = {.irqchip = chip, .pin = pin}};
}

static struct kvm_irq_routing_entry msi_route(u32 gsi, u32 address, u32 data)
{
	return (struct kvm_irq_routing_entry){.gsi = gsi,
					      .type = KVM_IRQ_ROUTING_MSI,
					      .u.msi = {.address_lo = address, .data = data}};
}

static int set1(struct kvm_irq_routing_entry e)
{
	return irqchip_set_routing(m.ic, &e, 1, 0);
}

static void default_table_is_the_identity(void **state)
{
	for (u32 gsi = 0; gsi < 24; gsi++) {
		assert_int_equal(m.ic->routing.ioapic_gsi[gsi], gsi);
		if (gsi < 16)
			assert_int_equal(m.ic->routing.pic_gsi[gsi], gsi);
	}
	assert_int_equal(raise_gsi(24), -1);
}

static void routing_is_validated(void **state)
{
	struct kvm_irq_routing_entry two[2], e;

	e = pin_route(4, KVM_IRQCHIP_IOAPIC, 24);
	assert_int_equal(set1(e), -EINVAL);
	e = pin_route(4, KVM_IRQCHIP_PIC_SLAVE, 8);
	assert_int_equal(set1(e), -EINVAL);
	e = pin_route(4, 3, 0);
	assert_int_equal(set1(e), -EINVAL);
	e = pin_route(4096, KVM_IRQCHIP_IOAPIC, 0);
	assert_int_equal(set1(e), -EINVAL);
	e = pin_route(4, KVM_IRQCHIP_IOAPIC, 0);
	e.flags = 1;
	assert_int_equal(set1(e), -EINVAL);
	e.flags = 0;
	e.type = KVM_IRQ_ROUTING_HV_SINT;
	assert_int_equal(set1(e), -EINVAL);
	e.type = KVM_IRQ_ROUTING_XEN_EVTCHN;
	assert_int_equal(set1(e), -EINVAL);
	two[0] = pin_route(4, KVM_IRQCHIP_IOAPIC, 4);
	two[1] = pin_route(4, KVM_IRQCHIP_IOAPIC, 5);
	assert_int_equal(irqchip_set_routing(m.ic, two, 2, 0), -EINVAL);
	two[1] = msi_route(4, 0xfee00000, 0x40);
	assert_int_equal(irqchip_set_routing(m.ic, two, 2, 0), -EINVAL);
	assert_int_equal(irqchip_set_routing(m.ic, two, 1, 1), -EINVAL);
	two[1] = pin_route(4, KVM_IRQCHIP_PIC_MASTER, 4);
	assert_int_equal(irqchip_set_routing(m.ic, two, 2, 0), 0);
	assert_int_equal(irqchip_set_routing(m.ic, two, 0, 0), 0);
	assert_int_equal(raise_gsi(4), -1);
}

static void a_refused_table_changes_nothing(void **state)
{
	assert_int_equal(set1(pin_route(4, KVM_IRQCHIP_IOAPIC, 24)), -EINVAL);
	assert_int_equal(m.ic->routing.ioapic_gsi[4], 4);
}

static void swapped_timer_as_qemu_routes_it(void **state)
{
	assert_int_equal(set1(pin_route(0, KVM_IRQCHIP_IOAPIC, 2)), 0);
	ioapic_redirect(2, 0x30);
	assert_int_equal(raise_gsi(0), 1);
	assert_int_equal(irq_get(0), 0x30);
	apic_write(0, APIC_EOI, 0);
	assert_int_equal(m.acks[0], 1);
}

static void msi_routes_and_messages(void **state)
{
	struct kvm_msi msi = {.address_lo = 0xfee03000, .data = 0x71};

	assert_int_equal(set1(msi_route(40, 0xfee01000, 0x70)), 0);
	assert_int_equal(raise_gsi(40), 1);
	assert_int_equal(lower_gsi(40), -1);
	assert_int_equal(irq_get(1), 0x70);
	assert_int_equal(irqchip_send_msi(m.ic, &msi), 1);
	assert_int_equal(irq_get(3), 0x71);
	msi.address_lo = 0xfee99000; /* nobody */
	assert_int_equal(irqchip_send_msi(m.ic, &msi), 0);
	msi.flags = KVM_MSI_VALID_DEVID;
	assert_int_equal(irqchip_send_msi(m.ic, &msi), -EINVAL);
	/* 0xff is everyone */
	msi = (struct kvm_msi){.address_lo = 0xfeeff000, .data = 0x72};
	assert_int_equal(irqchip_send_msi(m.ic, &msi), 4);
}

static void msi_with_32_bit_ids(void **state)
{
	struct lapic *big;
	struct fake_vcpu v = {0};
	struct kvm_msi msi = {.address_lo = 0xfee2c000, .address_hi = 0x100, .data = 0x73};

	assert_int_equal(lapic_create(m.ic, &v, 300, &big), 0);
	lapic_set_features(big, true, true);
	lapic_set_base(big, lapic_get_base(big) | APIC_BASE_X2, false);
	assert_int_equal(lapic_msr_write(big, 0x80f, 0x1ff), 0);
	assert_int_equal(irqchip_send_msi(m.ic, &msi),
			 0); /* dest 0x2c without the capability */
	m.flags = IRQCHIP_FLAG_X2APIC_32BIT;
	assert_int_equal(irqchip_send_msi(m.ic, &msi), 1);
	assert_int_equal(irqchip_get_interrupt(m.ic, big), 0x73);
	msi.address_hi = 0x101;
	assert_int_equal(irqchip_send_msi(m.ic, &msi), -EINVAL);
	lapic_destroy(big);
}

static void split_reports_eoi_of_level_routes(void **state)
{
	struct kvm_irq_routing_entry e[2] = {msi_route(5, 0xfee01000, 0x8045),
					     msi_route(6, 0xfee01000, 0x46)};
	u8 v = 0;

	assert_int_equal(set1(pin_route(4, KVM_IRQCHIP_IOAPIC, 4)), -EINVAL);
	assert_int_equal(irqchip_set_routing(m.ic, e, 2, 0), 0);
	assert_false(irqchip_pio(m.ic, 0x20, 1, true, &v));
	raise_gsi(5);
	raise_gsi(6);
	assert_int_equal(irq_get(1), 0x46);
	apic_write(1, APIC_EOI, 0);
	assert_int_equal(irq_get(1), 0x45);
	apic_write(1, APIC_EOI, 0);
	assert_int_equal(m.vcpu[1].eois, 1);
	assert_int_equal(m.vcpu[1].eoi_vector, 0x45);
}

#define T(f)	   cmocka_unit_test_setup_teardown(f, setup_kernel_4, machine_teardown)
#define T_SPLIT(f) cmocka_unit_test_setup_teardown(f, setup_split_2, machine_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(registers),
		T(edge_delivers_once_per_edge),
		T(level_waits_for_eoi_and_repeats),
		T(unmasking_an_active_level_delivers),
		T(switching_to_edge_clears_remote_irr),
		T(level_sources_are_ored),
		T(delivery_modes),
		T(lowest_priority_hashes_the_vector),
		T(state_round_trip),
		T(default_table_is_the_identity),
		T(routing_is_validated),
		T(a_refused_table_changes_nothing),
		T(swapped_timer_as_qemu_routes_it),
		T(msi_routes_and_messages),
		T(msi_with_32_bit_ids),
		T_SPLIT(split_reports_eoi_of_level_routes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
