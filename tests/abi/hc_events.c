/* SPDX-License-Identifier: MIT */
/* hc_events.c: CPUID, events, MP state, the local APIC, machine checks, time, kvm_run's fields.
 */
#include <signal.h>
#include "gmem.h"
#include "hostcalls.h"

struct cpuid {
	struct kvm_cpuid2 h;
	struct kvm_cpuid_entry2 e[300];
};

static struct cpuid *room(u32 nent)
{
	static struct cpuid c;

	memset(&c, 0, sizeof(c));
	c.h.nent = nent;
	return &c;
}

static bool apic_bit(int vcpu)
{
	struct cpuid *c = room(256);

	call(vcpu, KVM_GET_CPUID2, c);
	for (u32 i = 0; i < c->h.nent; i++)
		if (c->e[i].function == 1)
			return c->e[i].edx >> 9 & 1;
	return false;
}

/* CPUID's APIC bit is what IA32_APIC_BASE says, not what the VMM gave. */
static void test_apic_bit(void)
{
	struct machine m = machine_new(true);
	struct cpuid *c = room(256);
	struct kvm_sregs s;

	call(sys_fd, KVM_GET_SUPPORTED_CPUID, c);
	for (u32 i = 0; i < c->h.nent; i++)
		if (c->e[i].function == 1)
			c->e[i].edx &= ~(1u << 9);
	line(call(m.vcpu, KVM_SET_CPUID2, c), "SET_CPUID2 without APIC");
	out("APIC bit %d", apic_bit(m.vcpu));
	call(m.vcpu, KVM_GET_SREGS, &s);
	s.apic_base &= ~0x800ULL;
	line(call(m.vcpu, KVM_SET_SREGS, &s), "SET_SREGS disable the APIC");
	out("APIC bit %d", apic_bit(m.vcpu));
	machine_free(&m);
}

/* Where halts do not exit, nobody can kick a vCPU out of one. */
static void test_unhalt_bit(void)
{
	struct kvm_enable_cap cap = {.cap = KVM_CAP_X86_DISABLE_EXITS,
				     .args = {KVM_X86_DISABLE_EXITS_HLT}};
	int vm = ioctl(sys_fd, KVM_CREATE_VM, 0), vcpu;
	struct cpuid *c = room(2);

	line(call(vm, KVM_ENABLE_CAP, &cap), "DISABLE_EXITS before there is a vCPU");
	vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	line(call(vm, KVM_ENABLE_CAP, &cap), "DISABLE_EXITS with a vCPU");
	c->e[0].function = 0x40000000;
	c->e[0].eax = 0x40000001;
	memcpy(&c->e[0].ebx, "KVMKVMKVM\0\0", 12);
	c->e[1].function = 0x40000001;
	c->e[1].eax = 0xff;
	call(vcpu, KVM_SET_CPUID2, c);
	c = room(2);
	line(call(vcpu, KVM_GET_CPUID2, c), "GET_CPUID2 with KVM's features");
	out("features %x", c->e[1].eax);
	close(vcpu);
	close(vm);
}

void test_cpuid(void)
{
	struct machine m = machine_new(false);
	struct cpuid *c;
	struct kvm_cpuid old = {.nent = 257};
	u32 n;

	line(call(sys_fd, KVM_GET_SUPPORTED_CPUID, room(0)), "SUPPORTED_CPUID room for 0");
	line(call(sys_fd, KVM_GET_SUPPORTED_CPUID, room(1)), "SUPPORTED_CPUID room for 1");
	line(call(sys_fd, KVM_GET_SUPPORTED_CPUID, room(256)), "SUPPORTED_CPUID room for 256");
	line(call(sys_fd, KVM_GET_SUPPORTED_CPUID, room(1000000)),
	     "SUPPORTED_CPUID room for many");
	line(call(sys_fd, KVM_GET_EMULATED_CPUID, room(0)), "EMULATED_CPUID room for 0");
	line(call(sys_fd, KVM_GET_EMULATED_CPUID, room(100)), "EMULATED_CPUID");
	line(call(m.vcpu, KVM_GET_CPUID2, room(10)), "GET_CPUID2 of a new vCPU");
	c = room(10);
	call(m.vcpu, KVM_GET_CPUID2, c);
	out("entries %u", c->h.nent);
	line(call(m.vcpu, KVM_SET_CPUID2, room(0)), "SET_CPUID2 none");
	line(call(m.vcpu, KVM_SET_CPUID2, room(257)), "SET_CPUID2 257");
	line(call(m.vcpu, KVM_SET_CPUID, &old), "SET_CPUID 257");
	c = room(256);
	call(sys_fd, KVM_GET_SUPPORTED_CPUID, c);
	line(call(m.vcpu, KVM_SET_CPUID2, c), "SET_CPUID2 what is supported");
	line(call(m.vcpu, KVM_SET_CPUID2, c), "SET_CPUID2 again");
	c = room(256);
	line(call(m.vcpu, KVM_GET_CPUID2, c), "GET_CPUID2 room for 256");
	n = c->h.nent;
	out("entries: %s", n > 10 && n < 256 ? "the number there" : "other");
	c = room(n - 1);
	line(call(m.vcpu, KVM_GET_CPUID2, c), "GET_CPUID2 one short");
	out("entries: %s", c->h.nent == n	? "the number needed"
			   : c->h.nent == n - 1 ? "as given"
						: "other");
	c = room(n + 1);
	line(call(m.vcpu, KVM_GET_CPUID2, c), "GET_CPUID2 one more");
	out("entries: %s", c->h.nent == n	? "the number there"
			   : c->h.nent == n + 1 ? "as given"
						: "other");
	line(call(m.vcpu, KVM_SET_CPUID2, room(0)), "SET_CPUID2 back to none");
	machine_free(&m);
	test_apic_bit();
	test_unhalt_bit();
}

static void test_flags(const struct machine *m)
{
	struct kvm_vcpu_events e;
	struct kvm_enable_cap cap = {.cap = KVM_CAP_EXCEPTION_PAYLOAD, .args = {1}};
	u32 f;

	line(call(m->vcpu, KVM_GET_VCPU_EVENTS, &e), "GET_VCPU_EVENTS");
	out("flags %x digest %x", e.flags, digest(&e, offsetof(struct kvm_vcpu_events, flags)));
	line(call(m->vcpu, KVM_SET_VCPU_EVENTS, &e), "SET_VCPU_EVENTS what GET gave");
	for (f = 1; f; f <<= 1) {
		e.flags = f;
		line(call(m->vcpu, KVM_SET_VCPU_EVENTS, &e), "SET_VCPU_EVENTS flag %x", f);
	}
	e.flags = 0;
	e.exception.injected = 1;
	e.exception.nr = 32;
	line(call(m->vcpu, KVM_SET_VCPU_EVENTS, &e), "SET_VCPU_EVENTS exception 32");
	e.exception.nr = 2;
	line(call(m->vcpu, KVM_SET_VCPU_EVENTS, &e), "SET_VCPU_EVENTS exception 2");
	e.exception.nr = 14;
	e.exception.has_error_code = 1;
	e.exception.error_code = 3;
	line(call(m->vcpu, KVM_SET_VCPU_EVENTS, &e), "SET_VCPU_EVENTS page fault");
	call(m->vcpu, KVM_GET_VCPU_EVENTS, &e);
	out("exception injected %d nr %d error %d %x pending %d", e.exception.injected,
	    e.exception.nr, e.exception.has_error_code, e.exception.error_code,
	    e.exception.pending);
	line(call(m->vm, KVM_ENABLE_CAP, &cap), "EXCEPTION_PAYLOAD on");
	call(m->vcpu, KVM_GET_VCPU_EVENTS, &e);
	out("flags %x", e.flags);
	e.flags = KVM_VCPUEVENT_VALID_PAYLOAD;
	e.exception.injected = 0;
	e.exception.pending = 1;
	e.exception.nr = 14;
	e.exception_has_payload = 1;
	e.exception_payload = 0x1234000;
	line(call(m->vcpu, KVM_SET_VCPU_EVENTS, &e), "SET_VCPU_EVENTS pending with payload");
	call(m->vcpu, KVM_GET_VCPU_EVENTS, &e);
	out("pending %d injected %d payload %d %llx", e.exception.pending, e.exception.injected,
	    e.exception_has_payload, (unsigned long long)e.exception_payload);
	cap.cap = KVM_CAP_X86_TRIPLE_FAULT_EVENT;
	line(call(m->vm, KVM_ENABLE_CAP, &cap), "TRIPLE_FAULT_EVENT on");
	call(m->vcpu, KVM_GET_VCPU_EVENTS, &e);
	out("flags %x", e.flags);
	e.flags = KVM_VCPUEVENT_VALID_TRIPLE_FAULT;
	line(call(m->vcpu, KVM_SET_VCPU_EVENTS, &e), "SET_VCPU_EVENTS triple fault flag");
	memset(&e, 0, sizeof(e));
	e.nmi.masked = 1;
	e.nmi.pending = 1;
	e.flags = KVM_VCPUEVENT_VALID_NMI_PENDING;
	line(call(m->vcpu, KVM_SET_VCPU_EVENTS, &e), "SET_VCPU_EVENTS NMI");
	call(m->vcpu, KVM_GET_VCPU_EVENTS, &e);
	out("nmi masked %d pending %d injected %d", e.nmi.masked, e.nmi.pending,
	    e.nmi.injected);
	for (f = 2; f < 4; f++) {
		memset(&e, 0, sizeof(e));
		e.nmi.pending = f;
		e.flags = KVM_VCPUEVENT_VALID_NMI_PENDING;
		line(call(m->vcpu, KVM_SET_VCPU_EVENTS, &e), "SET_VCPU_EVENTS %u NMIs", f);
		call(m->vcpu, KVM_GET_VCPU_EVENTS, &e);
		out("pending %d", e.nmi.pending);
	}
	memset(&e, 0, sizeof(e));
	e.flags = KVM_VCPUEVENT_VALID_NMI_PENDING;
	call(m->vcpu, KVM_SET_VCPU_EVENTS, &e);
	for (f = 0; f < 3; f++) {
		line(call(m->vcpu, KVM_NMI, NULL), "NMI %u", f);
		call(m->vcpu, KVM_GET_VCPU_EVENTS, &e);
		out("pending %d", e.nmi.pending);
	}
	memset(&e, 0, sizeof(e));
	e.flags = KVM_VCPUEVENT_VALID_SHADOW;
	e.interrupt.shadow = KVM_X86_SHADOW_INT_STI;
	line(call(m->vcpu, KVM_SET_VCPU_EVENTS, &e), "SET_VCPU_EVENTS shadow");
	call(m->vcpu, KVM_GET_VCPU_EVENTS, &e);
	out("shadow %d", e.interrupt.shadow);
}

static void test_mp(const char *what, bool irqchip)
{
	struct machine m = machine_new(irqchip);
	struct kvm_mp_state s;
	int ap = ioctl(m.vm, KVM_CREATE_VCPU, 1);
	u32 i;

	line(call(m.vcpu, KVM_GET_MP_STATE, &s), "%s: GET_MP_STATE", what);
	out("%s: first vCPU %u", what, s.mp_state);
	call(ap, KVM_GET_MP_STATE, &s);
	out("%s: second vCPU %u", what, s.mp_state);
	for (i = 0; i < 12; i++) {
		s.mp_state = i;
		line(call(ap, KVM_SET_MP_STATE, &s), "%s: SET_MP_STATE %u", what, i);
		call(ap, KVM_GET_MP_STATE, &s);
		out("%s: now %u", what, s.mp_state);
	}
	close(ap);
	machine_free(&m);
}

static void test_interrupt(const char *what, const struct machine *m)
{
	struct kvm_interrupt i = {0x30};
	struct kvm_tpr_access_ctl t = {.enabled = 1};
	struct kvm_vapic_addr a = {0};

	line(call(m->vcpu, KVM_INTERRUPT, &i), "%s: INTERRUPT 0x30", what);
	line(call(m->vcpu, KVM_INTERRUPT, &i), "%s: INTERRUPT again", what);
	i.irq = 256;
	line(call(m->vcpu, KVM_INTERRUPT, &i), "%s: INTERRUPT 256", what);
	line(call(m->vcpu, KVM_NMI, 0), "%s: NMI", what);
	line(call(m->vcpu, KVM_SMI, 0), "%s: SMI", what);
	line(call(m->vcpu, KVM_TPR_ACCESS_REPORTING, &t), "%s: TPR_ACCESS_REPORTING", what);
	t.flags = 1;
	line(call(m->vcpu, KVM_TPR_ACCESS_REPORTING, &t), "%s: TPR_ACCESS_REPORTING flags",
	     what);
	line(call(m->vcpu, KVM_SET_VAPIC_ADDR, &a), "%s: SET_VAPIC_ADDR 0", what);
	a.vapic_addr = 0x12345678000;
	line(call(m->vcpu, KVM_SET_VAPIC_ADDR, &a), "%s: SET_VAPIC_ADDR outside memory", what);
	line(call(m->vcpu, KVM_KVMCLOCK_CTRL, 0), "%s: KVMCLOCK_CTRL", what);
}

static void test_lapic(const struct machine *m)
{
	static const int regs[] = {0x20,  0x30,	 0x80,	0xa0,  0xd0,  0xe0,
				   0xf0,  0x280, 0x300, 0x320, 0x330, 0x340,
				   0x350, 0x360, 0x370, 0x380, 0x390, 0x3e0};
	struct kvm_lapic_state s;
	size_t i;

	line(call(m->vcpu, KVM_GET_LAPIC, &s), "GET_LAPIC");
	for (i = 0; i < ARRAY_SIZE(regs); i++)
		out("lapic %x: %x", regs[i], *(u32 *)(s.regs + regs[i]));
	*(u32 *)(s.regs + 0x80) = 0x20;
	line(call(m->vcpu, KVM_SET_LAPIC, &s), "SET_LAPIC");
	line(call(m->vcpu, KVM_GET_LAPIC, &s), "GET_LAPIC after");
	out("tpr %x ppr %x", *(u32 *)(s.regs + 0x80), *(u32 *)(s.regs + 0xa0));
	line(call(m->vcpu, KVM_SET_LAPIC, BAD_PTR), "SET_LAPIC bad pointer");
}

static void test_mce(int vcpu)
{
	static const u64 caps[] = {0,	      10,	 32,	33,	  0x10a,
				   0x100010a, 0x100000a, 0x20a, 0x800000a};
	struct kvm_x86_mce e = {.bank = 1};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(caps); i++)
		line(call(vcpu, KVM_X86_SETUP_MCE, &caps[i]), "SETUP_MCE %llx",
		     (unsigned long long)caps[i]);
	line(call(vcpu, KVM_X86_SET_MCE, &e), "SET_MCE not valid");
	e.status = 1ULL << 63;
	line(call(vcpu, KVM_X86_SET_MCE, &e), "SET_MCE corrected");
	e.bank = 200;
	line(call(vcpu, KVM_X86_SET_MCE, &e), "SET_MCE bank 200");
}

static void test_sigmask(int vcpu)
{
	struct {
		struct kvm_signal_mask m;
		u8 set[8];
	} s = {.m.len = 8};

	line(call(vcpu, KVM_SET_SIGNAL_MASK, NULL), "SET_SIGNAL_MASK none");
	line(call(vcpu, KVM_SET_SIGNAL_MASK, &s), "SET_SIGNAL_MASK");
	s.m.len = 4;
	line(call(vcpu, KVM_SET_SIGNAL_MASK, &s), "SET_SIGNAL_MASK length 4");
	s.m.len = 128;
	line(call(vcpu, KVM_SET_SIGNAL_MASK, &s), "SET_SIGNAL_MASK length 128");
}

static void test_time(int vcpu)
{
	long khz = call(vcpu, KVM_GET_TSC_KHZ, 0);
	u64 offset = 0;
	struct kvm_device_attr a = {.addr = (u64)(uintptr_t)&offset};

	line(call_value(vcpu, KVM_SET_TSC_KHZ, khz), "SET_TSC_KHZ same");
	line(call_value(vcpu, KVM_SET_TSC_KHZ, 0), "SET_TSC_KHZ 0");
	out("TSC rate is the default: %d", call(vcpu, KVM_GET_TSC_KHZ, 0) == khz);
	line(call(vcpu, KVM_HAS_DEVICE_ATTR, &a), "vCPU attr has TSC_OFFSET");
	line(call(vcpu, KVM_GET_DEVICE_ATTR, &a), "vCPU attr get TSC_OFFSET");
	offset = 12345;
	line(call(vcpu, KVM_SET_DEVICE_ATTR, &a), "vCPU attr set TSC_OFFSET");
	offset = 0;
	line(call(vcpu, KVM_GET_DEVICE_ATTR, &a), "vCPU attr get TSC_OFFSET after");
	out("offset %llu", (unsigned long long)offset);
	a.attr = 1;
	line(call(vcpu, KVM_HAS_DEVICE_ATTR, &a), "vCPU attr has 1");
	line(call(vcpu, KVM_GET_DEVICE_ATTR, &a), "vCPU attr get 1");
	line(call(vcpu, KVM_SET_DEVICE_ATTR, &a), "vCPU attr set 1");
	a.attr = 0;
	a.group = 7;
	line(call(vcpu, KVM_HAS_DEVICE_ATTR, &a), "vCPU attr has group 7");
	a.group = 0;
	a.addr = 16;
	line(call(vcpu, KVM_GET_DEVICE_ATTR, &a), "vCPU attr get bad pointer");
	line(call(vcpu, KVM_SET_DEVICE_ATTR, &a), "vCPU attr set bad pointer");
}

/* KVM_RUN as far as it goes without entering a guest. */
static void test_run(const struct machine *m)
{
	struct kvm_run *run = m->run;

	line(call_value(m->vcpu, KVM_RUN, 1), "RUN argument 1");
	run->immediate_exit = 1;
	run->exit_reason = 77;
	line(call_value(m->vcpu, KVM_RUN, 0), "RUN immediate exit");
	out("reason %u if %d flags %x cr8 %llx apic_base %llx ready %d", run->exit_reason,
	    run->if_flag, run->flags, (unsigned long long)run->cr8,
	    (unsigned long long)run->apic_base, run->ready_for_interrupt_injection);
	run->kvm_valid_regs = 1ULL << 40;
	line(call_value(m->vcpu, KVM_RUN, 0), "RUN valid_regs bit 40");
	run->kvm_valid_regs = 0;
	run->kvm_dirty_regs = 1ULL << 40;
	line(call_value(m->vcpu, KVM_RUN, 0), "RUN dirty_regs bit 40");
	run->kvm_dirty_regs = KVM_SYNC_X86_REGS;
	memset(&run->s.regs.regs, 0, sizeof(run->s.regs.regs));
	run->s.regs.regs.rbx = 0x4242;
	run->s.regs.regs.rflags = 2;
	run->kvm_valid_regs = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS | KVM_SYNC_X86_EVENTS;
	line(call_value(m->vcpu, KVM_RUN, 0), "RUN dirty general registers");
	out("rbx %llx dirty %llx cs %x", (unsigned long long)run->s.regs.regs.rbx,
	    (unsigned long long)run->kvm_dirty_regs, run->s.regs.sregs.cs.selector);
	run->kvm_dirty_regs = KVM_SYNC_X86_SREGS;
	run->s.regs.sregs.cr4 = 1ULL << 40;
	line(call_value(m->vcpu, KVM_RUN, 0), "RUN dirty special registers, bad");
}

static void test_prefault(int vcpu)
{
	struct gmem_prefault p = {.gpa = 0x100000000, .size = 0x1000};

	line(call(vcpu, GMEM_PREFAULT, &p), "PRE_FAULT_MEMORY nothing there");
	p.size = 0;
	line(call(vcpu, GMEM_PREFAULT, &p), "PRE_FAULT_MEMORY size 0");
	p.size = 0x1001;
	line(call(vcpu, GMEM_PREFAULT, &p), "PRE_FAULT_MEMORY size not aligned");
	p.size = 0x1000;
	p.flags = 1;
	line(call(vcpu, GMEM_PREFAULT, &p), "PRE_FAULT_MEMORY flags");
	p.flags = 0;
	p.gpa = ~0xfffULL;
	p.size = 0x2000;
	line(call(vcpu, GMEM_PREFAULT, &p), "PRE_FAULT_MEMORY wraps");
	line(call(vcpu, GMEM_PREFAULT, NULL), "PRE_FAULT_MEMORY NULL");
}

void test_events(void)
{
	struct machine m = machine_new(false);

	test_flags(&m);
	machine_free(&m);
	m = machine_new(false);
	test_interrupt("APIC in the VMM", &m);
	machine_free(&m);
	m = machine_new(true);
	test_interrupt("APIC in the kernel", &m);
	machine_free(&m);
	test_mp("APIC in the VMM", false);
	test_mp("APIC in the kernel", true);
	m = machine_new(true);
	test_lapic(&m);
	test_mce(m.vcpu);
	test_sigmask(m.vcpu);
	test_time(m.vcpu);
	test_prefault(m.vcpu);
	test_run(&m);
	machine_free(&m);
	m = machine_new(false);
	test_run(&m);
	machine_free(&m);
}
