/* SPDX-License-Identifier: MIT */
/* irqchip/routing.c: from GSIs to pins and messages, and messages (MSIs) to local APICs. */
#include "irqchip/internal.h"

#include <stdlib.h>

#define PINS_PER_PIC   8
#define ISA_IRQS       16
#define MSI_LOGICAL    0x4u    /* address bit 2 */
#define MSI_REDIR_HINT 0x8u    /* address bit 3 */
#define MSI_LEVEL      0x8000u /* data bit 15 */

static int by_gsi(const void *a, const void *b)
{
	const struct route *x = a, *y = b;

	return x->gsi < y->gsi ? -1 : x->gsi > y->gsi;
}

/* First line of a gsi, or NULL. */
static struct route *find(const struct routing *t, u32 gsi)
{
	u32 lo = 0, hi = t->n;

	while (lo < hi) {
		u32 mid = (lo + hi) / 2;

		if (t->routes[mid].gsi < gsi)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < t->n && t->routes[lo].gsi == gsi ? &t->routes[lo] : NULL;
}

static void set_pin_gsis(struct routing *t)
{
	memset(t->pic_gsi, 0xff, sizeof(t->pic_gsi));
	memset(t->ioapic_gsi, 0xff, sizeof(t->ioapic_gsi));
	for (u32 i = 0; i < t->n; i++) {
		const struct route *r = &t->routes[i];

		if (r->type == ROUTE_PIC)
			t->pic_gsi[r->pin] = (s32)r->gsi;
		else if (r->type == ROUTE_IOAPIC)
			t->ioapic_gsi[r->pin] = (s32)r->gsi;
	}
}

/* ---- KVM_SET_GSI_ROUTING */

static int parse_pin(const struct irqchip *ic, const struct kvm_irq_routing_entry *e,
		     struct route *r)
{
	u32 pin = e->u.irqchip.pin;

	if (e->flags || ic->mode != IRQCHIP_KERNEL)
		return -EINVAL;
	switch (e->u.irqchip.irqchip) {
	case KVM_IRQCHIP_PIC_MASTER:
	case KVM_IRQCHIP_PIC_SLAVE:
		if (pin >= PINS_PER_PIC)
			return -EINVAL;
		r->type = ROUTE_PIC;
		r->pin = pin +
			 (e->u.irqchip.irqchip == KVM_IRQCHIP_PIC_SLAVE ? PINS_PER_PIC : 0);
		return 0;
	case KVM_IRQCHIP_IOAPIC:
		if (pin >= IOAPIC_PINS)
			return -EINVAL;
		r->type = ROUTE_IOAPIC;
		r->pin = pin;
		return 0;
	}
	return -EINVAL;
}

static bool msi_valid(const struct irqchip *ic, const struct kvm_msi *msi)
{
	/* With 32-bit ids the address' high part holds bits 31..8 of the destination. */
	return !(irqchip_flags(ic) & IRQCHIP_FLAG_X2APIC_32BIT) || !(msi->address_hi & 0xff);
}

static int parse(const struct irqchip *ic, const struct kvm_irq_routing_entry *e,
		 struct route *r)
{
	*r = (struct route){.gsi = e->gsi};
	if (e->gsi >= MAX_ROUTES)
		return -EINVAL;
	switch (e->type) {
	case KVM_IRQ_ROUTING_IRQCHIP:
		return parse_pin(ic, e, r);
	case KVM_IRQ_ROUTING_MSI:
		if (e->flags & ~(u32)KVM_MSI_VALID_DEVID)
			return -EINVAL;
		r->type = ROUTE_MSI;
		r->msi.address_lo = e->u.msi.address_lo;
		r->msi.address_hi = e->u.msi.address_hi;
		r->msi.data = e->u.msi.data;
		return msi_valid(ic, &r->msi) ? 0 : -EINVAL;
	}
	return -EINVAL; /* Hyper-V's and Xen's are not offered */
}

/* A gsi has one message, or at most one pin on each chip. The two 8259 are two chips. */
static bool clash(const struct route *a, const struct route *b)
{
	if (a->type == ROUTE_MSI || b->type == ROUTE_MSI)
		return true;
	if (a->type != b->type)
		return false;
	return a->type == ROUTE_IOAPIC || a->pin / PINS_PER_PIC == b->pin / PINS_PER_PIC;
}

static bool table_valid(const struct routing *t)
{
	for (u32 i = 0; i < t->n; i++) {
		for (u32 j = i + 1; j < t->n && t->routes[j].gsi == t->routes[i].gsi; j++) {
			if (clash(&t->routes[i], &t->routes[j]))
				return false;
		}
	}
	return true;
}

int irqchip_set_routing(struct irqchip *ic, const struct kvm_irq_routing_entry *e, u32 n,
			u32 flags)
{
	struct routing t = {.n = n};
	struct route *old;

	if (n > MAX_ROUTES || flags)
		return -EINVAL;
	t.routes = calloc(n ? n : 1, sizeof(*t.routes));
	if (!t.routes)
		return -ENOMEM;
	for (u32 i = 0; i < n; i++) {
		if (parse(ic, &e[i], &t.routes[i])) {
			free(t.routes);
			return -EINVAL;
		}
	}
	qsort(t.routes, n, sizeof(*t.routes), by_gsi);
	if (!table_valid(&t)) {
		free(t.routes);
		return -EINVAL;
	}
	set_pin_gsis(&t);
	mutex_lock(&ic->lock);
	old = ic->routing.routes;
	ic->routing = t;
	mutex_unlock(&ic->lock);
	free(old);
	return 0;
}

/* As KVM: GSI n is pin n of the I/O APIC and, up to 15, line n of the 8259 pair. */
int routing_default(struct irqchip *ic)
{
	struct kvm_irq_routing_entry e[IOAPIC_PINS + ISA_IRQS];
	u32 n = 0;

	memset(e, 0, sizeof(e));
	if (ic->mode != IRQCHIP_KERNEL)
		return irqchip_set_routing(ic, e, 0, 0);
	for (u32 gsi = 0; gsi < IOAPIC_PINS; gsi++) {
		e[n].gsi = gsi;
		e[n].type = KVM_IRQ_ROUTING_IRQCHIP;
		e[n].u.irqchip.irqchip = KVM_IRQCHIP_IOAPIC;
		e[n++].u.irqchip.pin = gsi;
		if (gsi >= ISA_IRQS)
			continue;
		e[n].gsi = gsi;
		e[n].type = KVM_IRQ_ROUTING_IRQCHIP;
		e[n].u.irqchip.irqchip =
			gsi < PINS_PER_PIC ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE;
		e[n++].u.irqchip.pin = gsi % PINS_PER_PIC;
	}
	return irqchip_set_routing(ic, e, n, 0);
}

void routing_free(struct irqchip *ic)
{
	free(ic->routing.routes);
}

/* ---- delivery */

static struct ic_message decode_msi(const struct irqchip *ic, const struct kvm_msi *msi)
{
	struct ic_message m = {
		.dest = (msi->address_lo >> 12) & 0xff,
		.vector = (u8)msi->data,
		.logical = msi->address_lo & MSI_LOGICAL,
		.level_triggered = msi->data & MSI_LEVEL,
		.assert = true,
		.delivery = msi->data & DM_MASK,
		.redirect_hint = msi->address_lo & MSI_REDIR_HINT,
	};

	if (irqchip_flags(ic) & IRQCHIP_FLAG_X2APIC_32BIT)
		m.dest |= msi->address_hi & 0xffffff00;
	return m;
}

static int send_msi(struct irqchip *ic, const struct kvm_msi *msi)
{
	struct ic_message m = decode_msi(ic, msi);

	return msi_valid(ic, msi) ? lapic_deliver(ic, &m) : -EINVAL;
}

int irqchip_send_msi(struct irqchip *ic, const struct kvm_msi *msi)
{
	int r;

	if (msi->flags)
		return -EINVAL;
	mutex_lock(&ic->lock);
	r = send_msi(ic, msi);
	mutex_unlock(&ic->lock);
	return r;
}

/* A line is active while any of its sources is. */
static bool line_level(u8 *sources, int source, bool level)
{
	if (level)
		*sources |= (u8)(1u << source);
	else
		*sources &= (u8) ~(1u << source);
	return *sources;
}

static int set_route(struct irqchip *ic, const struct route *r, int source, bool level)
{
	switch (r->type) {
	case ROUTE_PIC:
		return pic_set_irq(ic, r->pin,
				   line_level(&ic->pic_lines[r->pin], source, level));
	case ROUTE_IOAPIC:
		level = line_level(&ic->ioapic_lines[r->pin], source, level);
		return ioapic_set_irq(ic, r->pin, level);
	case ROUTE_MSI:
		return level ? send_msi(ic, &r->msi) : -1;
	}
	return -1;
}

int routing_set_gsi(struct irqchip *ic, int source, u32 gsi, bool level)
{
	struct route *r = find(&ic->routing, gsi);
	int sum = -1;

	if (!r)
		return -1;
	for (; r < ic->routing.routes + ic->routing.n && r->gsi == gsi; r++) {
		int one = set_route(ic, r, source, level);

		if (one >= 0)
			sum = one + MAX(sum, 0);
	}
	return sum;
}

int irqchip_set_gsi(struct irqchip *ic, int source, u32 gsi, bool level)
{
	int r;

	mutex_lock(&ic->lock);
	r = routing_set_gsi(ic, source, gsi, level);
	mutex_unlock(&ic->lock);
	return r;
}

/* Split irqchip: level-triggered routes of the VMM's I/O APIC pins want to hear of their EOI. */
bool routing_wants_eoi(struct irqchip *ic, struct lapic *l, u8 vector)
{
	const struct routing *t = &ic->routing;

	for (u32 i = 0; i < t->n && t->routes[i].gsi < ic->ioapic_pins; i++) {
		const struct route *r = &t->routes[i];
		struct ic_message m;

		if (r->type != ROUTE_MSI || !(r->msi.data & MSI_LEVEL))
			continue;
		m = decode_msi(ic, &r->msi);
		if (m.vector == vector && lapic_match(l, &m, false))
			return true;
	}
	return false;
}
