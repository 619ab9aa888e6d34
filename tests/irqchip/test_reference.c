/* SPDX-License-Identifier: MIT */
/*
 * The same sequences on these controllers and on the machine's own KVM, from the host's side:
 * fresh state, lines up and down under random redirections, messages, routing tables. Skipped
 * on a machine without one.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "harness.h"

#define NVCPUS	3
#define NR_GSIS 24
#define STEPS	4000

static int dev = -1, vm = -1, vcpu[NVCPUS];
static u32 seed;

static u32 rnd(u32 n)
{
	seed = seed * 1664525 + 1013904223;
	return (seed >> 8) % n;
}

static int setup(void **state)
{
	setup_kernel_1(state);
	machine_teardown(state);
	machine_create(IRQCHIP_KERNEL, NVCPUS);
	for (u32 i = 0; i < NVCPUS; i++)
		lapic_reset(m.vcpu[i].lapic, false);
	vm = ioctl(dev, KVM_CREATE_VM, 0);
	assert_int_equal(ioctl(vm, KVM_CREATE_IRQCHIP, 0), 0);
	for (u32 i = 0; i < NVCPUS; i++)
		vcpu[i] = ioctl(vm, KVM_CREATE_VCPU, i);
	return 0;
}

static int teardown(void **state)
{
	for (u32 i = 0; i < NVCPUS; i++)
		close(vcpu[i]);
	close(vm);
	return machine_teardown(state);
}

static void same_chips(void)
{
	for (u32 id = 0; id < 3; id++) {
		struct kvm_irqchip a = {.chip_id = id}, b = a;

		assert_int_equal(irqchip_get(m.ic, &a), 0);
		assert_int_equal(ioctl(vm, KVM_GET_IRQCHIP, &b), 0);
		assert_memory_equal(&a.chip, &b.chip,
				    id == 2 ? sizeof(a.chip.ioapic) : sizeof(a.chip.pic));
	}
}

/* PPR is worked out when it is read by the guest; a saved one may be older in KVM. */
static void same_lapics(void)
{
	for (u32 i = 0; i < NVCPUS; i++) {
		struct kvm_lapic_state a, b;

		lapic_get_state(m.vcpu[i].lapic, &a);
		assert_int_equal(ioctl(vcpu[i], KVM_GET_LAPIC, &b), 0);
		memset(a.regs + APIC_PPR, 0, 4);
		memset(b.regs + APIC_PPR, 0, 4);
		assert_memory_equal(&a, &b, sizeof(a));
	}
}

static void set_lapic(u32 i, u32 reg, u32 value)
{
	struct kvm_lapic_state s;

	lapic_get_state(m.vcpu[i].lapic, &s);
	memcpy(s.regs + reg, &value, 4);
	assert_int_equal(lapic_set_state(m.vcpu[i].lapic, &s), 0);
	assert_int_equal(ioctl(vcpu[i], KVM_SET_LAPIC, &s), 0);
}

static void enable_lapics(void)
{
	for (u32 i = 0; i < NVCPUS; i++) {
		set_lapic(i, APIC_SPIV, 0x1ff);
		set_lapic(i, APIC_LDR, 1u << (24 + i));
	}
}

static void fresh_state(void **state)
{
	struct kvm_pit_config c = {0};
	struct kvm_pit_state2 a, b;

	same_chips();
	same_lapics();
	irqchip_create_pit(m.ic, &c);
	assert_int_equal(ioctl(vm, KVM_CREATE_PIT2, &c), 0);
	irqchip_get_pit2(m.ic, &a);
	assert_int_equal(ioctl(vm, KVM_GET_PIT2, &b), 0);
	for (u32 n = 0; n < 3; n++) /* loaded at different times */
		a.channels[n].count_load_time = b.channels[n].count_load_time = 0;
	assert_memory_equal(&a, &b, sizeof(a));
}

/* Not the cascade, which is no line of a PC's, nor the RTC, whose coalescing KVM tracks apart.
 */
static u32 random_gsi(u32 n)
{
	u32 gsi = rnd(n);

	return gsi == 2 || gsi == 8 ? 5 : gsi;
}

static void set_line(u32 gsi, bool level)
{
	struct kvm_irq_level l = {.irq = gsi, .level = level};
	int r = irqchip_set_gsi(m.ic, IRQ_SOURCE_USER, gsi, level);

	assert_int_equal(ioctl(vm, KVM_IRQ_LINE_STATUS, &l), 0);
	assert_int_equal(r, l.status);
}

/*
 * Fixed and lowest priority, edge and level, masked or not, to one, some, all or nobody. KVM
 * lets the hash of a lowest-priority vector fall on APICs that do not exist and loses it; here
 * it falls on those that do, so logical ids that name others are left out.
 */
static u64 random_entry(void)
{
	static const u8 dests[] = {0, 1, 2, 3, 5, 7, 0x80, 0xff};

	return (16 + rnd(240)) | (u64)rnd(2) << 8 | (u64)rnd(2) << 11 | (u64)rnd(2) << 15 |
	       (u64)!rnd(3) << 16 | (u64)dests[rnd(ARRAY_SIZE(dests))] << 56;
}

static void program_ioapic(void)
{
	struct kvm_irqchip c = {.chip_id = KVM_IRQCHIP_IOAPIC};

	irqchip_get(m.ic, &c);
	for (u32 pin = 0; pin < NR_GSIS; pin++) {
		if (!rnd(4))
			c.chip.ioapic.redirtbl[pin].bits = random_entry();
	}
	assert_int_equal(irqchip_set(m.ic, &c), 0);
	assert_int_equal(ioctl(vm, KVM_SET_IRQCHIP, &c), 0);
}

static void program_pic(void)
{
	struct kvm_irqchip c = {.chip_id = rnd(2)};

	irqchip_get(m.ic, &c);
	c.chip.pic.imr = (u8)rnd(256);
	c.chip.pic.elcr = (u8)rnd(256) & c.chip.pic.elcr_mask;
	assert_int_equal(irqchip_set(m.ic, &c), 0);
	assert_int_equal(ioctl(vm, KVM_SET_IRQCHIP, &c), 0);
}

static void lines(void **state)
{
	enable_lapics();
	for (u32 i = 0; i < STEPS; i++) {
		if (!rnd(50))
			program_ioapic();
		if (!rnd(50))
			set_lapic(rnd(NVCPUS), APIC_DFR, rnd(2) ? 0xffffffff : 0x0fffffff);
		set_line(random_gsi(NR_GSIS + 1), rnd(2));
		if (!rnd(10)) {
			struct kvm_irqchip a = {.chip_id = 2}, b = a;

			irqchip_get(m.ic, &a);
			ioctl(vm, KVM_GET_IRQCHIP, &b);
			assert_memory_equal(&a.chip.ioapic, &b.chip.ioapic,
					    sizeof(a.chip.ioapic));
			same_lapics();
		}
	}
}

static void pic_lines(void **state)
{
	for (u32 i = 0; i < STEPS; i++) {
		if (!rnd(50))
			program_pic();
		set_line(random_gsi(16), rnd(2));
		if (!rnd(10)) {
			struct kvm_irqchip a = {.chip_id = rnd(2)}, b = a;

			irqchip_get(m.ic, &a);
			ioctl(vm, KVM_GET_IRQCHIP, &b);
			/* The cascade's latch in the master is ours to keep otherwise. */
			a.chip.pic.irr &= a.chip_id ? 0xff : 0xfb;
			b.chip.pic.irr &= a.chip_id ? 0xff : 0xfb;
			assert_memory_equal(&a.chip.pic, &b.chip.pic, sizeof(a.chip.pic));
		}
	}
}

static void messages(void **state)
{
	enable_lapics();
	for (u32 i = 0; i < STEPS; i++) {
		u64 e = random_entry();
		struct kvm_msi msi = {
			.address_lo = 0xfee00000 | (u32)(e >> 56) << 12 | rnd(4) << 2,
			.data = (u32)e & 0x81ff,
		};
		int ours = irqchip_send_msi(m.ic, &msi),
		    theirs = ioctl(vm, KVM_SIGNAL_MSI, &msi);

		assert_int_equal(ours, theirs < 0 ? -errno : theirs);
		if (!rnd(10))
			same_lapics();
		if (!rnd(50))
			set_lapic(rnd(NVCPUS), APIC_IRR + 0x10 * rnd(8), 0);
	}
}

static void routing_tables(void **state)
{
	struct {
		struct kvm_irq_routing head;
		struct kvm_irq_routing_entry e[8];
	} t;
	u32 good = 0;

	for (u32 i = 0; i < 500; i++) {
		int ours, theirs;

		memset(&t, 0, sizeof(t));
		t.head.nr = rnd(9);
		t.head.flags = !rnd(20);
		for (u32 n = 0; n < 8; n++) {
			struct kvm_irq_routing_entry *e = &t.e[n];

			e->gsi = rnd(8) ? rnd(24) : rnd(5000);
			e->type = rnd(20) ? 1 + rnd(2) : 0;
			e->flags = rnd(20) ? 0 : rnd(3);
			if (e->type == KVM_IRQ_ROUTING_MSI) {
				e->u.msi.address_lo = 0xfee00000;
				e->u.msi.address_hi = rnd(2);
				e->u.msi.data = rnd(256);
			} else {
				e->u.irqchip.irqchip = rnd(20) ? rnd(3) : 3;
				e->u.irqchip.pin = rnd(20) ? rnd(8) : rnd(26);
			}
		}
		ours = irqchip_set_routing(m.ic, t.e, t.head.nr, t.head.flags);
		theirs = ioctl(vm, KVM_SET_GSI_ROUTING, &t) < 0 ? -errno : 0;
		assert_int_equal(ours, theirs);
		good += ours == 0;
		set_line(random_gsi(NR_GSIS), i & 1);
	}
	assert_true(good > 20);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(fresh_state), T(lines), T(pic_lines), T(messages), T(routing_tables),
	};

	dev = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (dev < 0)
		return 77; /* meson's "skipped": no KVM to compare with */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
