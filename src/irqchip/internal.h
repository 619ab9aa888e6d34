/* SPDX-License-Identifier: MIT */
/*
 * irqchip/internal.h: what the files of irqchip/ share.
 *
 * Everything here is guarded by irqchip.lock, except fields marked atomic. Functions named
 * *_locked, and all chip functions below, want the lock held. irqchip_acked() drops and retakes
 * it: who calls something that acknowledges must look at the state anew afterwards.
 */
#ifndef IRQCHIP_INTERNAL_H
#define IRQCHIP_INTERNAL_H

#include "base/clock.h"
#include "base/thread.h"
#include "irqchip/irqchip.h"
#include "sync/atomic.h"
#include "sync/lock.h"

#define IOAPIC_PINS	 24
#define IOAPIC_BASE	 0xfec00000ULL
#define PIC_PINS	 16
#define PIT_HZ		 1193182ULL
#define PIT_CHANNELS	 3
#define GSI_PIT		 0
#define MAX_LAPICS	 1024 /* as KVM_CAP_MAX_VCPUS */
#define MAX_ROUTES	 4096 /* KVM_CAP_IRQ_ROUTING; gsis are below it, too */
#define MIN_TIMER_PERIOD 200000ULL /* ns; what KVM's min_timer_period_us allows a guest */

/* ---- timers (timer.c) */
#define TIMER_IDLE UINT32_MAX

struct ic_timer {
	u64 deadline; /* CLOCK_MONOTONIC ns */
	u32 pos;      /* in the heap, TIMER_IDLE when not armed */
	void (*fn)(void *ctx, u64 now);
	void *ctx;
};

struct ic_timers {
	struct ic_timer **heap; /* by deadline; room for `reserved` */
	u32 n, reserved, room;
	u64 sleeps_until; /* the thread; 0 while it is awake and will look anyway */
	u64 (*now)(void);
	bool manual; /* tests: time moves by timers_run() only, there is no thread */
	bool allowed; /* a guest runs: the thread may be started */
	bool started, stop;
	struct helper thread;
	struct waitq wake;
};

/* ---- local APIC */
enum lapic_reg {
	APIC_ID = 0x20,
	APIC_LVR = 0x30,
	APIC_TPR = 0x80,
	APIC_APR = 0x90,
	APIC_PPR = 0xa0,
	APIC_EOI = 0xb0,
	APIC_LDR = 0xd0,
	APIC_DFR = 0xe0,
	APIC_SPIV = 0xf0,
	APIC_ISR = 0x100,
	APIC_TMR = 0x180,
	APIC_IRR = 0x200,
	APIC_ESR = 0x280,
	APIC_ICR = 0x300,
	APIC_ICR2 = 0x310,
	APIC_LVTCMCI = 0x2f0,
	APIC_LVTT = 0x320,
	APIC_LVTTHMR = 0x330,
	APIC_LVTPC = 0x340,
	APIC_LVT0 = 0x350,
	APIC_LVT1 = 0x360,
	APIC_LVTERR = 0x370,
	APIC_TMICT = 0x380,
	APIC_TMCCT = 0x390,
	APIC_TDCR = 0x3e0,
	APIC_SELF_IPI = 0x3f0,
	APIC_REGS_SIZE = 0x400,
};

#define APIC_BASE_BSP	   BIT(8)
#define APIC_BASE_X2	   BIT(10)
#define APIC_BASE_EN	   BIT(11)
#define APIC_BASE_MODE	   (APIC_BASE_EN | APIC_BASE_X2)
#define APIC_BASE_ADDR	   0xfee00000ULL
#define SPIV_ENABLE	   0x100u
#define SPIV_DIRECTED_EOI  0x1000u
#define LVR_DIRECTED_EOI   0x1000000u
#define LVT_MASKED	   0x10000u
#define LVT_LEVEL	   0x8000u
#define LVT_TIMER_MODE	   0x60000u
#define LVT_TIMER_PERIODIC 0x20000u
#define LVT_TIMER_TSC	   0x40000u
#define ESR_SEND_VECTOR	   BIT(5)
#define ESR_RECV_VECTOR	   BIT(6)
#define ESR_REGISTER	   BIT(7)

/* Delivery modes as they stand in bits 10..8 of ICR, LVT, redirection entries and MSI data. */
enum delivery_mode {
	DM_FIXED = 0x000,
	DM_LOWEST = 0x100,
	DM_SMI = 0x200,
	DM_REMOTE_READ = 0x300,
	DM_NMI = 0x400,
	DM_INIT = 0x500,
	DM_STARTUP = 0x600,
	DM_EXTINT = 0x700,
	DM_MASK = 0x700,
};

struct lapic {
	struct irqchip *ic;
	void *vcpu;
	u32 id;	   /* initial APIC id */
	u32 index; /* in ic->lapics[] */
	u64 base;  /* IA32_APIC_BASE; written under the lock, read atomically by anyone */
	bool feature_x2apic, feature_tsc_deadline, feature_cmci;
	u32 errors; /* collected until ESR is written */
	/* Vector deliverable by priority now, or -1; atomic, so that looking costs no lock. */
	int hint;
	u64 tsc_deadline; /* guest TSC; 0: disarmed */
	u64 period;	  /* ns of one full count */
	struct ic_timer timer;
	u32 regs[APIC_REGS_SIZE / 4];
};

/* ---- others */
struct pic {
	u8 last_irr, irr, imr, isr;
	u8 priority_add; /* the line with highest priority */
	u8 irq_base;
	bool read_isr, poll, special_mask, auto_eoi, rotate_on_auto_eoi, fully_nested, init4;
	u8 init_state;
	u8 elcr, elcr_mask;
};

union ioapic_entry {
	u64 bits;
	struct {
		u8 vector;
		u8 delivery_mode : 3;
		u8 dest_mode : 1;
		u8 delivery_status : 1;
		u8 polarity : 1;
		u8 remote_irr : 1;
		u8 level : 1;
		u8 masked : 1;
		u8 reserve : 7;
		u8 reserved[4];
		u8 dest;
	};
};

struct ioapic {
	u64 base;
	u32 select, id;
	u32 irr;	   /* pins whose line is active */
	u32 irr_delivered; /* edges among them that went out */
	union ioapic_entry redir[IOAPIC_PINS];
};

struct pit_channel {
	u32 count; /* 1..65536 */
	u16 latched_count;
	u8 count_latched; /* 0, or the RW mode it was latched with */
	bool status_latched;
	u8 status;
	u8 read_state, write_state, write_latch, rw_mode, mode;
	bool bcd, gate;
	u64 load_time; /* ns */
};

struct pit {
	bool present, speaker; /* port 0x61 is ours */
	u32 flags;	       /* KVM_PIT_FLAGS_* */
	struct pit_channel ch[PIT_CHANNELS];
	struct ic_timer timer; /* channel 0 */
	u64 period;	       /* ns; 0: one-shot */
	bool reinject, irq_ack;
	u32 pending; /* ticks not yet acknowledged by the guest */
};

/* One line of the routing table, by gsi. Several lines may share a gsi. */
struct route {
	u32 gsi;
	enum { ROUTE_PIC, ROUTE_IOAPIC, ROUTE_MSI } type;
	u32 pin; /* PIC: 0..15 */
	struct kvm_msi msi;
};

struct routing {
	struct route *routes; /* sorted by gsi */
	u32 n;
	s32 pic_gsi[PIC_PINS], ioapic_gsi[IOAPIC_PINS]; /* -1: none */
};

struct irqchip {
	struct mutex lock;
	void *vm;
	enum irqchip_mode mode;
	u32 ioapic_pins; /* split: pins of the VMM's I/O APIC, below which gsis want EOIs */
	struct irqchip_ops ops;
	struct lapic *lapics[MAX_LAPICS];
	u32 nlapics; /* slots in use, holes included */
	struct pic pic[2];
	int pic_output; /* atomic: level of the master's INT line */
	struct ioapic ioapic;
	struct pit pit;
	struct routing routing;
	u8 pic_lines[PIC_PINS], ioapic_lines[IOAPIC_PINS]; /* bit per source, ORed */
	struct ic_timers timers;
};

/* An interrupt message on its way to local APICs. */
struct ic_message {
	u32 dest;
	u8 vector;
	bool logical, level_triggered, assert;
	bool redirect_hint; /* an MSI's: to the one with lowest priority */
	u32 delivery;	    /* enum delivery_mode */
};

/* timer.c */
void timers_init(struct ic_timers *t);
void timers_destroy(struct irqchip *ic);
int timer_init(struct irqchip *ic, struct ic_timer *t, void (*fn)(void *, u64), void *ctx);
void timer_fini(struct irqchip *ic, struct ic_timer *t);
void timer_arm(struct irqchip *ic, struct ic_timer *t, u64 deadline);
void timer_cancel(struct irqchip *ic, struct ic_timer *t);
u64 timers_run(struct irqchip *ic); /* fire what is due; next deadline or UINT64_MAX */

/* irqchip.c */
u32 irqchip_flags(const struct irqchip *ic);
void irqchip_acked(struct irqchip *ic, s32 gsi); /* drops the lock around the callback */

/* lapic.c, lapic_regs.c */
int lapic_highest(const struct lapic *l, enum lapic_reg set);
void lapic_update(struct lapic *l); /* PPR and hint, after any change */
int lapic_ack(struct lapic *l);	    /* IRR to ISR: vector or -1 */
void lapic_eoi(struct lapic *l);
void lapic_error(struct lapic *l, u32 bit);
bool lapic_reg_read(struct lapic *l, u32 reg, u32 *value);
bool lapic_reg_write(struct lapic *l, u32 reg, u32 value);
void lapic_mmio_read(struct lapic *l, u32 off, u32 len, void *data);
void lapic_mmio_write(struct lapic *l, u32 off, u32 len, const void *data);
void lapic_set_spiv(struct lapic *l, u32 value);
void lapic_store_id(struct lapic *l);

/* lapic_delivery.c */
bool lapic_accept(struct lapic *l, u32 delivery, u8 vector, bool assert, bool level_triggered);
bool lapic_local_deliver(struct lapic *l, enum lapic_reg lvt);
bool lapic_match(const struct lapic *l, const struct ic_message *m, bool ipi);
int lapic_deliver(struct irqchip *ic, const struct ic_message *m); /* as irqchip_set_gsi */
void lapic_send_ipi(struct lapic *l, u32 icr_low, u32 icr_high);
void lapic_kick(struct lapic *l);

/* lapic_timer.c */
void lapic_timer_expired(void *ctx, u64 now);
void lapic_timer_write_lvt(struct lapic *l, u32 value);
void lapic_timer_write_count(struct lapic *l, u32 value);
void lapic_timer_write_divide(struct lapic *l, u32 value);
u32 lapic_timer_count(const struct lapic *l);
void lapic_timer_restore(struct lapic *l, u64 tsc_deadline);
void lapic_timer_stop(struct lapic *l);
u64 lapic_timer_deadline(const struct lapic *l);
void lapic_timer_set_deadline(struct lapic *l, u64 tsc);

/* pic.c */
void pic_reset_all(struct irqchip *ic);
int pic_set_irq(struct irqchip *ic, u32 pin, bool level);
int pic_peek(struct irqchip *ic); /* vector INTA would give, or -1 */
int pic_inta(struct irqchip *ic); /* may drop the lock */
/* Is the port one of theirs? Needs no lock. */
bool pic_has_port(u16 port);
bool pic_pio(struct irqchip *ic, u16 port, u32 size, bool write, void *data);
void pic_get(struct irqchip *ic, u32 n, struct kvm_pic_state *s);
void pic_set(struct irqchip *ic, u32 n, const struct kvm_pic_state *s);

/* ioapic.c */
void ioapic_reset(struct irqchip *ic);
int ioapic_set_irq(struct irqchip *ic, u32 pin, bool level);
void ioapic_eoi(struct irqchip *ic, struct lapic *l, u8 vector,
		bool level); /* drops the lock */
void ioapic_read(struct irqchip *ic, u32 off, u32 size, void *data);
void ioapic_write(struct irqchip *ic, u32 off, u32 size, const void *data);
void ioapic_get(struct irqchip *ic, struct kvm_ioapic_state *s);
void ioapic_set(struct irqchip *ic, const struct kvm_ioapic_state *s);

/* pit.c, pit_io.c */
u32 pit_get_count(const struct pit_channel *c, u64 now);
bool pit_get_out(const struct pit_channel *c, u64 now);
void pit_load(struct irqchip *ic, u32 n, u32 value);
void pit_set_gate(struct irqchip *ic, u32 n, bool gate);
void pit_start_timer(struct irqchip *ic);
void pit_expired(void *ctx, u64 now);
void pit_acked(struct irqchip *ic);
void pit_reset_reinject(struct irqchip *ic);
bool pit_has_port(u16 port); /* if it is present, and the speaker: needs no lock */
bool pit_pio(struct irqchip *ic, u16 port, u32 size, bool write, void *data);

/* routing.c */
int routing_default(struct irqchip *ic);
void routing_free(struct irqchip *ic);
int routing_set_gsi(struct irqchip *ic, int source, u32 gsi, bool level);
bool routing_wants_eoi(struct irqchip *ic, struct lapic *l, u8 vector);

#endif
