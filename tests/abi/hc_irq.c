/* SPDX-License-Identifier: MIT */
/* hc_irq.c: interrupt controllers, routing, eventfds, coalesced accesses. */
#include <sys/eventfd.h>
#include "hostcalls.h"

static void test_without(void)
{
	int vm = ioctl(sys_fd, KVM_CREATE_VM, 0), e = eventfd(0, 0);
	struct kvm_irqchip chip = {0};
	struct kvm_pit_config pit = {0};
	struct kvm_pit_state2 ps = {0};
	struct kvm_irq_level l = {0};
	struct kvm_msi msi = {0};
	struct kvm_reinject_control rc = {0};
	struct kvm_irqfd f = {.fd = e, .gsi = 1};
	struct kvm_irq_routing none = {0};

	line(call(vm, KVM_GET_IRQCHIP, &chip), "no irqchip: GET_IRQCHIP");
	line(call(vm, KVM_SET_IRQCHIP, &chip), "no irqchip: SET_IRQCHIP");
	line(call(vm, KVM_CREATE_PIT2, &pit), "no irqchip: CREATE_PIT2");
	line(call(vm, KVM_GET_PIT2, &ps), "no irqchip: GET_PIT2");
	line(call(vm, KVM_SET_PIT2, &ps), "no irqchip: SET_PIT2");
	line(call(vm, KVM_IRQ_LINE, &l), "no irqchip: IRQ_LINE");
	line(call(vm, KVM_IRQ_LINE_STATUS, &l), "no irqchip: IRQ_LINE_STATUS");
	line(call(vm, KVM_SIGNAL_MSI, &msi), "no irqchip: SIGNAL_MSI");
	line(call(vm, KVM_REINJECT_CONTROL, &rc), "no irqchip: REINJECT_CONTROL");
	line(call(vm, KVM_IRQFD, &f), "no irqchip: IRQFD");
	line(call(vm, KVM_SET_GSI_ROUTING, &none), "no irqchip: SET_GSI_ROUTING");
	close(e);
	close(vm);
}

static void test_chips(int vm)
{
	struct kvm_irqchip chip = {0};
	struct kvm_pit_config pit = {0};
	struct kvm_pit_state2 ps;
	struct kvm_pit_state old;
	struct kvm_reinject_control rc = {.pit_reinject = 1};
	u32 i;

	line(call(vm, KVM_CREATE_IRQCHIP, 0), "CREATE_IRQCHIP");
	line(call(vm, KVM_CREATE_IRQCHIP, 0), "CREATE_IRQCHIP again");
	for (i = 0; i < 4; i++) {
		memset(&chip, 0, sizeof(chip));
		chip.chip_id = i;
		line(call(vm, KVM_GET_IRQCHIP, &chip), "GET_IRQCHIP %u", i);
		out("irqchip %u after reset %x", i, digest(&chip.chip, sizeof(chip.chip)));
		line(call(vm, KVM_SET_IRQCHIP, &chip), "SET_IRQCHIP %u", i);
	}
	line(call(vm, KVM_GET_PIT2, &ps), "GET_PIT2 without PIT");
	pit.flags = 2;
	line(call(vm, KVM_CREATE_PIT2, &pit), "CREATE_PIT2 flag 2");
	pit.flags = 0;
	line(call(vm, KVM_CREATE_PIT2, &pit), "CREATE_PIT2");
	line(call(vm, KVM_CREATE_PIT2, &pit), "CREATE_PIT2 again");
	line(call(vm, KVM_CREATE_PIT, 0), "CREATE_PIT after");
	line(call(vm, KVM_GET_PIT2, &ps), "GET_PIT2");
	for (i = 0; i < 3; i++)
		out("pit channel %u: count %x mode %d gate %d rw %d", i, ps.channels[i].count,
		    ps.channels[i].mode, ps.channels[i].gate, ps.channels[i].rw_mode);
	out("pit flags %x", ps.flags);
	ps.flags = KVM_PIT_FLAGS_HPET_LEGACY;
	line(call(vm, KVM_SET_PIT2, &ps), "SET_PIT2");
	line(call(vm, KVM_GET_PIT2, &ps), "GET_PIT2 after");
	out("pit flags %x", ps.flags);
	line(call(vm, KVM_GET_PIT, &old), "GET_PIT");
	line(call(vm, KVM_SET_PIT, &old), "SET_PIT");
	line(call(vm, KVM_REINJECT_CONTROL, &rc), "REINJECT_CONTROL");
}

static void test_lines(int vm)
{
	struct kvm_irq_level l = {.irq = 5, .level = 1};
	struct kvm_msi msi = {.address_lo = 0xfee00000, .data = 0x30};
	u32 irqs[] = {0, 1, 5, 23, 24, 100, 4095, 5000};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(irqs); i++) {
		l.irq = irqs[i];
		l.level = 1;
		line(call(vm, KVM_IRQ_LINE, &l), "IRQ_LINE %u up", irqs[i]);
		l.level = 0;
		line(call(vm, KVM_IRQ_LINE, &l), "IRQ_LINE %u down", irqs[i]);
		l.level = 1;
		line(call(vm, KVM_IRQ_LINE_STATUS, &l), "IRQ_LINE_STATUS %u up", irqs[i]);
		out("status %d", l.status);
		l.level = 0;
		line(call(vm, KVM_IRQ_LINE_STATUS, &l), "IRQ_LINE_STATUS %u down", irqs[i]);
		out("status %d", l.status);
	}
	line(call(vm, KVM_SIGNAL_MSI, &msi), "SIGNAL_MSI to nobody");
	msi.flags = 8;
	line(call(vm, KVM_SIGNAL_MSI, &msi), "SIGNAL_MSI flag 8");
}

struct routes {
	struct kvm_irq_routing h;
	struct kvm_irq_routing_entry e[8];
};

static void test_routing(int vm)
{
	struct routes r = {.h.nr = 0};
	struct kvm_irq_routing_entry pic = {.gsi = 3, .type = KVM_IRQ_ROUTING_IRQCHIP};
	struct kvm_irq_routing_entry apic = pic, msi = {.gsi = 30, .type = KVM_IRQ_ROUTING_MSI};

	apic.u.irqchip.irqchip = KVM_IRQCHIP_IOAPIC;
	apic.u.irqchip.pin = 3;
	pic.u.irqchip.pin = 3;
	msi.u.msi.address_lo = 0xfee00000;
	line(call(vm, KVM_SET_GSI_ROUTING, &r), "routing: empty");
	r.h.nr = 4097;
	line(call(vm, KVM_SET_GSI_ROUTING, &r), "routing: 4097");
	r.h.nr = 0;
	r.h.flags = 1;
	line(call(vm, KVM_SET_GSI_ROUTING, &r), "routing: flags");
	r.h.flags = 0;
	r.h.nr = 3;
	r.e[0] = pic;
	r.e[1] = apic;
	r.e[2] = msi;
	line(call(vm, KVM_SET_GSI_ROUTING, &r), "routing: PIC, I/O APIC, MSI");
	r.e[1] = pic;
	line(call(vm, KVM_SET_GSI_ROUTING, &r), "routing: a pin of one chip twice");
	r.e[1] = apic;
	r.e[2].gsi = 3;
	line(call(vm, KVM_SET_GSI_ROUTING, &r), "routing: MSI on a GSI with pins");
	r.e[2] = msi;
	r.e[2].type = 77;
	line(call(vm, KVM_SET_GSI_ROUTING, &r), "routing: type 77");
	r.e[2] = msi;
	r.e[2].gsi = 4096;
	line(call(vm, KVM_SET_GSI_ROUTING, &r), "routing: GSI 4096");
	r.e[2] = msi;
	r.e[2].flags = 1;
	line(call(vm, KVM_SET_GSI_ROUTING, &r), "routing: entry flags");
	r.e[2] = apic;
	r.e[2].gsi = 9;
	r.e[2].u.irqchip.pin = 24;
	line(call(vm, KVM_SET_GSI_ROUTING, &r), "routing: I/O APIC pin 24");
	r.e[2].u.irqchip.irqchip = KVM_IRQCHIP_PIC_SLAVE;
	r.e[2].u.irqchip.pin = 8;
	line(call(vm, KVM_SET_GSI_ROUTING, &r), "routing: PIC pin 8");
	r.e[2].u.irqchip.irqchip = 9;
	line(call(vm, KVM_SET_GSI_ROUTING, &r), "routing: chip 9");
}

static void test_irqfd(int vm)
{
	int e = eventfd(0, EFD_NONBLOCK), e2 = eventfd(0, EFD_NONBLOCK);
	struct kvm_irqfd f = {.fd = e, .gsi = 5};
	struct machine other = machine_new(true);

	line(call(vm, KVM_IRQFD, &f), "IRQFD");
	line(call(vm, KVM_IRQFD, &f), "IRQFD again");
	line(call(other.vm, KVM_IRQFD, &f), "IRQFD of another VM");
	f.flags = KVM_IRQFD_FLAG_DEASSIGN;
	line(call(vm, KVM_IRQFD, &f), "IRQFD deassign");
	f.flags = 0;
	line(call(other.vm, KVM_IRQFD, &f), "IRQFD of another VM, free again");
	machine_free(&other);
	f.flags = KVM_IRQFD_FLAG_DEASSIGN;
	line(call(vm, KVM_IRQFD, &f), "IRQFD deassign again");
	f.flags = 8;
	line(call(vm, KVM_IRQFD, &f), "IRQFD flag 8");
	f.flags = 0;
	f.fd = 1000;
	line(call(vm, KVM_IRQFD, &f), "IRQFD closed descriptor");
	f.fd = vm;
	line(call(vm, KVM_IRQFD, &f), "IRQFD not an eventfd");
	f.fd = e;
	f.gsi = 4096;
	line(call(vm, KVM_IRQFD, &f), "IRQFD GSI 4096");
	f.gsi = 6;
	f.flags = KVM_IRQFD_FLAG_RESAMPLE;
	f.resamplefd = e2;
	line(call(vm, KVM_IRQFD, &f), "IRQFD resample");
	f.flags = KVM_IRQFD_FLAG_RESAMPLE | KVM_IRQFD_FLAG_DEASSIGN;
	line(call(vm, KVM_IRQFD, &f), "IRQFD resample deassign");
	f.flags = KVM_IRQFD_FLAG_RESAMPLE;
	f.resamplefd = vm;
	line(call(vm, KVM_IRQFD, &f), "IRQFD resample not an eventfd");
	f.resamplefd = 1000;
	line(call(vm, KVM_IRQFD, &f), "IRQFD resample closed descriptor");
	close(e);
	close(e2);
}

static void test_ioeventfd(int vm)
{
	int e = eventfd(0, EFD_NONBLOCK), e2 = eventfd(0, EFD_NONBLOCK);
	struct kvm_ioeventfd f = {.addr = 0x10000, .len = 4, .fd = e};
	u32 len;

	for (len = 0; len < 10; len++) {
		f.len = len;
		f.flags = 0;
		line(call(vm, KVM_IOEVENTFD, &f), "IOEVENTFD length %u", len);
		f.flags = KVM_IOEVENTFD_FLAG_DATAMATCH;
		f.addr += 0x100;
		line(call(vm, KVM_IOEVENTFD, &f), "IOEVENTFD length %u with data", len);
	}
	f = (struct kvm_ioeventfd){.addr = 0x20000, .len = 4, .fd = e};
	line(call(vm, KVM_IOEVENTFD, &f), "IOEVENTFD");
	line(call(vm, KVM_IOEVENTFD, &f), "IOEVENTFD again");
	f.fd = e2;
	line(call(vm, KVM_IOEVENTFD, &f), "IOEVENTFD another eventfd");
	f.flags = KVM_IOEVENTFD_FLAG_DATAMATCH;
	line(call(vm, KVM_IOEVENTFD, &f), "IOEVENTFD with data beside one without");
	f.flags = KVM_IOEVENTFD_FLAG_DEASSIGN;
	f.fd = e;
	line(call(vm, KVM_IOEVENTFD, &f), "IOEVENTFD deassign");
	line(call(vm, KVM_IOEVENTFD, &f), "IOEVENTFD deassign again");
	f.flags = KVM_IOEVENTFD_FLAG_PIO;
	f.addr = 0x70;
	line(call(vm, KVM_IOEVENTFD, &f), "IOEVENTFD port");
	f.addr = 0x80;
	f.datamatch = 5;
	f.flags |= KVM_IOEVENTFD_FLAG_DATAMATCH;
	line(call(vm, KVM_IOEVENTFD, &f), "IOEVENTFD port with data");
	f.datamatch = 6;
	line(call(vm, KVM_IOEVENTFD, &f), "IOEVENTFD port with other data");
	f.flags = KVM_IOEVENTFD_FLAG_VIRTIO_CCW_NOTIFY;
	line(call(vm, KVM_IOEVENTFD, &f), "IOEVENTFD ccw");
	f.flags = 0x40;
	line(call(vm, KVM_IOEVENTFD, &f), "IOEVENTFD flag 0x40");
	f.flags = 0;
	f.addr = ~0ULL;
	line(call(vm, KVM_IOEVENTFD, &f), "IOEVENTFD address wraps");
	f.addr = 0x40000;
	f.fd = 1000;
	line(call(vm, KVM_IOEVENTFD, &f), "IOEVENTFD closed descriptor");
	f.fd = vm;
	line(call(vm, KVM_IOEVENTFD, &f), "IOEVENTFD not an eventfd");
	close(e);
	close(e2);
}

static void test_coalesced(int vm)
{
	struct kvm_coalesced_mmio_zone z = {.addr = 0x100000, .size = 0x1000};

	line(call(vm, KVM_REGISTER_COALESCED_MMIO, &z), "COALESCED register");
	line(call(vm, KVM_REGISTER_COALESCED_MMIO, &z), "COALESCED register again");
	line(call(vm, KVM_UNREGISTER_COALESCED_MMIO, &z), "COALESCED unregister");
	line(call(vm, KVM_UNREGISTER_COALESCED_MMIO, &z), "COALESCED unregister again");
	z.pio = 1;
	z.addr = 0x70;
	z.size = 2;
	line(call(vm, KVM_REGISTER_COALESCED_MMIO, &z), "COALESCED port");
	line(call(vm, KVM_UNREGISTER_COALESCED_MMIO, &z), "COALESCED port unregister");
	z.pio = 2;
	line(call(vm, KVM_REGISTER_COALESCED_MMIO, &z), "COALESCED kind 2");
	line(call(vm, KVM_UNREGISTER_COALESCED_MMIO, &z), "COALESCED kind 2 unregister");
}

static void test_split(void)
{
	struct kvm_enable_cap e = {.cap = KVM_CAP_SPLIT_IRQCHIP, .args = {24}};
	int vm = ioctl(sys_fd, KVM_CREATE_VM, 0);
	struct kvm_irqchip chip = {0};
	struct kvm_irq_level l = {.irq = 3};
	struct kvm_pit_config pit = {0};

	e.args[0] = 257;
	line(call(vm, KVM_ENABLE_CAP, &e), "SPLIT_IRQCHIP 257");
	e.args[0] = 24;
	line(call(vm, KVM_ENABLE_CAP, &e), "SPLIT_IRQCHIP 24");
	line(call(vm, KVM_ENABLE_CAP, &e), "SPLIT_IRQCHIP again");
	line(call(vm, KVM_CREATE_IRQCHIP, 0), "CREATE_IRQCHIP after split");
	line(call(vm, KVM_GET_IRQCHIP, &chip), "GET_IRQCHIP with split");
	line(call(vm, KVM_CREATE_PIT2, &pit), "CREATE_PIT2 with split");
	line(call(vm, KVM_IRQ_LINE, &l), "IRQ_LINE with split");
	close(vm);
}

static void test_split_late(void)
{
	struct kvm_enable_cap e = {.cap = KVM_CAP_SPLIT_IRQCHIP, .args = {24}};
	struct machine m = machine_new(false);

	line(call(m.vm, KVM_ENABLE_CAP, &e), "SPLIT_IRQCHIP with a vCPU");
	line(call(m.vm, KVM_CREATE_IRQCHIP, 0), "CREATE_IRQCHIP with a vCPU");
	machine_free(&m);
}

/* vCPU 0 in x2APIC mode, enabled: what does destination 0xff of a message mean? */
static void test_broadcast(u64 api)
{
	struct kvm_enable_cap e = {.cap = KVM_CAP_X2APIC_API, .args = {api}};
	struct machine m = machine_new(true);
	struct {
		struct kvm_cpuid2 h;
		struct kvm_cpuid_entry2 e;
	} id = {{.nent = 1}, {.function = 1, .ecx = 1u << 21 /* x2APIC */}};
	struct kvm_msi msi = {.address_lo = 0xfeeff000, .data = 0x30};
	struct kvm_lapic_state apic;
	struct kvm_sregs s;

	line(call(m.vm, KVM_ENABLE_CAP, &e), "X2APIC_API %u", (u32)api);
	line(call(m.vcpu, KVM_SET_CPUID2, &id), "SET_CPUID2 x2APIC");
	call(m.vcpu, KVM_GET_SREGS, &s);
	s.apic_base |= 1u << 10;
	line(call(m.vcpu, KVM_SET_SREGS, &s), "SET_SREGS x2APIC mode");
	call(m.vcpu, KVM_GET_LAPIC, &apic);
	apic.regs[0xf1] |= 1; /* enabled by software */
	line(call(m.vcpu, KVM_SET_LAPIC, &apic), "SET_LAPIC enabled");
	line(call(m.vm, KVM_SIGNAL_MSI, &msi), "SIGNAL_MSI to 0xff in x2APIC mode, API %u",
	     (u32)api);
	machine_free(&m);
}

void test_irq(void)
{
	int vm = ioctl(sys_fd, KVM_CREATE_VM, 0);

	test_without();
	test_chips(vm);
	test_lines(vm);
	test_routing(vm);
	test_irqfd(vm);
	test_ioeventfd(vm);
	test_coalesced(vm);
	close(vm);
	test_split();
	test_split_late();
	test_broadcast(0);
	test_broadcast(KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK);
}
