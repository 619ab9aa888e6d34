/* SPDX-License-Identifier: MIT */
/*
 * vm/iobus.c: what takes a guest's device access before the VMM does: the controllers in the
 * VM, ioeventfds, coalesced zones, in this order.
 *
 * Each bus is one immutable map, replaced as a whole under iobus->lock and read by vCPUs under
 * RCU. A map that was replaced, and the eventfd that left with it, goes after a grace period.
 */
#include "vm/irq.h"

#include <stdlib.h>
#include "sync/atomic.h"
#include "sync/rcu.h"
#include "vm/eventfd.h"

#define MAX_DEVICES 1000 /* KVM's bound on a bus; ioeventfds do not count */
#define PIC_DEVICES 3	 /* two controllers and their edge/level registers */

enum bus { BUS_MMIO, BUS_PIO, BUS_CCW /* s390's; nothing on x86 accesses it */, NR_BUSES };

struct ioevent {
	u64 addr, datamatch;
	u32 len; /* bytes; 0: any */
	bool wildcard;
	struct eventfd *event;
};

struct zone {
	u64 addr;
	u32 size; /* bytes */
};

struct bus_map {
	struct ioevent *events; /* sorted by addr */
	struct zone *zones;
	u32 nevents, nzones;
};

struct vm_iobus {
	struct mutex lock;	       /* guards replacing maps */
	struct mutex ring_lock;	       /* guards putting into the coalesced ring */
	struct bus_map *map[NR_BUSES]; /* RCU; NULL: empty */
};

int vm_iobus_create(struct vm *vm)
{
	struct vm_iobus *b = calloc(1, sizeof(*b));

	if (!b)
		return -ENOMEM;
	mutex_init(&b->lock);
	mutex_init(&b->ring_lock);
	vm->iobus = b;
	return 0;
}

static void map_free(struct bus_map *m)
{
	if (!m)
		return;
	free(m->events);
	free(m->zones);
	free(m);
}

void vm_iobus_destroy(struct vm *vm)
{
	struct vm_iobus *b = vm->iobus;

	if (!b)
		return;
	for (u32 i = 0; i < NR_BUSES; i++) {
		for (u32 j = 0; b->map[i] && j < b->map[i]->nevents; j++)
			eventfd_release(b->map[i]->events[j].event);
		map_free(b->map[i]);
	}
	mutex_destroy(&b->ring_lock);
	mutex_destroy(&b->lock);
	free(b);
	vm->iobus = NULL;
}

/* A copy of a bus's map with room for one more of each, or NULL. */
static struct bus_map *map_copy(const struct bus_map *old)
{
	struct bus_map *m = calloc(1, sizeof(*m));
	u32 nevents = old ? old->nevents : 0, nzones = old ? old->nzones : 0;

	if (!m)
		return NULL;
	m->events = calloc(nevents + 1, sizeof(*m->events));
	m->zones = calloc(nzones + 1, sizeof(*m->zones));
	if (!m->events || !m->zones) {
		map_free(m);
		return NULL;
	}
	if (nevents)
		memcpy(m->events, old->events, nevents * sizeof(*m->events));
	if (nzones)
		memcpy(m->zones, old->zones, nzones * sizeof(*m->zones));
	m->nevents = nevents;
	m->nzones = nzones;
	return m;
}

/* With b->lock held. On return no vCPU uses the old map, which is freed. */
static void map_replace(struct vm_iobus *b, enum bus bus, struct bus_map *m)
{
	struct bus_map *old = b->map[bus];

	sync_rcu_publish(&b->map[bus], m);
	if (!old)
		return;
	sync_rcu_wait();
	map_free(old);
}

/* KVM's controllers are devices of its buses and count like zones. With b->lock held. */
static bool bus_full(const struct vm *vm, enum bus bus)
{
	const struct bus_map *m = vm->iobus->map[bus];
	u32 n = m ? m->nzones : 0;

	if (vm->irqchip && irqchip_mode(vm->irqchip) == IRQCHIP_KERNEL) {
		n += bus == BUS_PIO ? PIC_DEVICES : bus == BUS_MMIO;
		n += bus == BUS_PIO && irqchip_has_pit(vm->irqchip);
	}
	return n >= MAX_DEVICES;
}

/* ---- KVM_IOEVENTFD */

static enum bus bus_of(u32 flags)
{
	if (flags & KVM_IOEVENTFD_FLAG_PIO)
		return BUS_PIO;
	return flags & KVM_IOEVENTFD_FLAG_VIRTIO_CCW_NOTIFY ? BUS_CCW : BUS_MMIO;
}

/* Could one access be both's? */
static bool collides(const struct ioevent *a, const struct ioevent *b)
{
	if (a->addr != b->addr)
		return false;
	if (!a->len || !b->len)
		return true;
	return a->len == b->len && (a->wildcard || b->wildcard || a->datamatch == b->datamatch);
}

static void insert_sorted(struct bus_map *m, const struct ioevent *e)
{
	u32 i = m->nevents++;

	for (; i && m->events[i - 1].addr > e->addr; i--)
		m->events[i] = m->events[i - 1];
	m->events[i] = *e;
}

static int ioeventfd_add(struct vm *vm, enum bus bus, const struct ioevent *e)
{
	struct vm_iobus *b = vm->iobus;
	struct bus_map *old, *m;
	int r = 0;

	mutex_lock(&b->lock);
	old = b->map[bus];
	for (u32 i = 0; old && i < old->nevents && !r; i++)
		r = collides(&old->events[i], e) ? -EEXIST : 0;
	if (!r && bus_full(vm, bus))
		r = -ENOSPC;
	if (!r) {
		m = map_copy(old);
		if (m) {
			insert_sorted(m, e);
			map_replace(b, bus, m);
		} else {
			r = -ENOMEM;
		}
	}
	mutex_unlock(&b->lock);
	return r;
}

static bool length_valid(u32 len)
{
	return len == 0 || len == 1 || len == 2 || len == 4 || len == 8;
}

static int ioeventfd_assign(struct vm *vm, const struct kvm_ioeventfd *a)
{
	struct ioevent e = {.addr = a->addr, .len = a->len};
	int r;

	if (!length_valid(a->len) || a->addr + a->len < a->addr)
		return -EINVAL;
	if (a->flags & ~(u32)KVM_IOEVENTFD_VALID_FLAG_MASK)
		return -EINVAL;
	if (!a->len && (a->flags & KVM_IOEVENTFD_FLAG_DATAMATCH))
		return -EINVAL;
	e.wildcard = !(a->flags & KVM_IOEVENTFD_FLAG_DATAMATCH);
	e.datamatch = e.wildcard ? 0 : a->datamatch;
	r = eventfd_hold(a->fd, &e.event);
	if (r)
		return r;
	r = ioeventfd_add(vm, bus_of(a->flags), &e);
	if (r)
		eventfd_release(e.event);
	return r;
}

static bool named_by(const struct ioevent *e, const struct kvm_ioeventfd *a)
{
	bool wildcard = !(a->flags & KVM_IOEVENTFD_FLAG_DATAMATCH);

	return e->addr == a->addr && e->len == a->len && e->wildcard == wildcard &&
	       (wildcard || e->datamatch == a->datamatch) && eventfd_is(e->event, a->fd);
}

/* Take events[i] out of a bus. */
static int ioeventfd_remove(struct vm_iobus *b, enum bus bus, u32 i)
{
	struct bus_map *m = map_copy(b->map[bus]);
	struct eventfd *event;

	if (!m)
		return -ENOMEM;
	event = m->events[i].event;
	m->nevents--;
	memmove(&m->events[i], &m->events[i + 1], (m->nevents - i) * sizeof(*m->events));
	map_replace(b, bus, m);
	eventfd_release(event);
	return 0;
}

static int ioeventfd_deassign(struct vm *vm, const struct kvm_ioeventfd *a)
{
	struct vm_iobus *b = vm->iobus;
	enum bus bus = bus_of(a->flags);
	struct bus_map *m;
	int r = eventfd_check(a->fd);

	if (r)
		return r;
	r = -ENOENT;
	mutex_lock(&b->lock);
	m = b->map[bus];
	for (u32 i = 0; m && i < m->nevents; i++) {
		if (named_by(&m->events[i], a)) {
			r = ioeventfd_remove(b, bus, i);
			break;
		}
	}
	mutex_unlock(&b->lock);
	return r;
}

int vm_ioeventfd(struct vm *vm, const struct kvm_ioeventfd *a)
{
	return a->flags & KVM_IOEVENTFD_FLAG_DEASSIGN ? ioeventfd_deassign(vm, a)
						      : ioeventfd_assign(vm, a);
}

/* ---- KVM_REGISTER_COALESCED_MMIO and its end */

static bool zone_holds(const struct zone *z, u64 addr, u64 len)
{
	return addr + len >= addr && addr >= z->addr && addr + len <= z->addr + z->size;
}

static int zone_add(struct vm *vm, enum bus bus, const struct kvm_coalesced_mmio_zone *z)
{
	struct vm_iobus *b = vm->iobus;
	struct bus_map *m;

	if (bus_full(vm, bus))
		return -ENOSPC;
	m = map_copy(b->map[bus]);
	if (!m)
		return -ENOMEM;
	m->zones[m->nzones++] = (struct zone){.addr = z->addr, .size = z->size};
	map_replace(b, bus, m);
	return 0;
}

/* Every zone that holds the one named goes; that there is none is no error, as in KVM. */
static int zone_remove(struct vm_iobus *b, enum bus bus,
		       const struct kvm_coalesced_mmio_zone *z)
{
	struct bus_map *m = map_copy(b->map[bus]);
	u32 n = 0;

	if (!m)
		return -ENOMEM;
	for (u32 i = 0; i < m->nzones; i++) {
		if (!zone_holds(&m->zones[i], z->addr, z->size))
			m->zones[n++] = m->zones[i];
	}
	m->nzones = n;
	map_replace(b, bus, m);
	return 0;
}

int vm_coalesced_zone(struct vm *vm, const struct kvm_coalesced_mmio_zone *z, bool add)
{
	struct vm_iobus *b = vm->iobus;
	enum bus bus = z->pio ? BUS_PIO : BUS_MMIO;
	int r;

	if (z->pio > 1)
		return -EINVAL;
	mutex_lock(&b->lock);
	r = add ? zone_add(vm, bus, z) : zone_remove(b, bus, z);
	mutex_unlock(&b->lock);
	return r;
}

/* ---- the guest's accesses */

static bool event_takes(const struct ioevent *e, u32 size, const void *data)
{
	u64 v = 0;

	if (!e->len)
		return true;
	if (e->len != size)
		return false;
	memcpy(&v, data, size);
	return e->wildcard || v == e->datamatch;
}

static bool signal_event(const struct bus_map *m, u64 addr, u32 size, const void *data)
{
	u32 lo = 0, hi = m->nevents;

	while (lo < hi) {
		u32 mid = (lo + hi) / 2;

		if (m->events[mid].addr < addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	for (; lo < m->nevents && m->events[lo].addr == addr; lo++) {
		if (event_takes(&m->events[lo], size, data)) {
			eventfd_signal(m->events[lo].event);
			return true;
		}
	}
	return false;
}

static bool in_zone(const struct bus_map *m, u64 addr, u32 size)
{
	for (u32 i = 0; i < m->nzones; i++) {
		if (zone_holds(&m->zones[i], addr, size))
			return true;
	}
	return false;
}

/* False when the ring is full (the VMM then empties it on the exit), or its indices make no
 * sense: the VMM can write them. */
static bool ring_put(struct vcpu *v, bool pio, u64 addr, u32 size, const void *data)
{
	const u32 max = (PAGE_SIZE - sizeof(struct kvm_coalesced_mmio_ring)) /
			sizeof(struct kvm_coalesced_mmio);
	struct kvm_coalesced_mmio_ring *ring = (void *)v->coalesced_ring;
	struct kvm_coalesced_mmio *e;
	bool room;
	u32 last;

	if (!ring || size > sizeof(e->data))
		return false;
	mutex_lock(&v->vm->iobus->ring_lock);
	last = sync_load(&ring->last);
	room = last < max && (last + 1) % max != sync_load_acquire(&ring->first);
	if (room) {
		e = &ring->coalesced_mmio[last];
		e->phys_addr = addr;
		e->len = size;
		memcpy(e->data, data, size);
		e->pio = pio;
		sync_store_release(&ring->last, (last + 1) % max);
	}
	mutex_unlock(&v->vm->iobus->ring_lock);
	return room;
}

/* Ioeventfds and coalesced zones take writes only. An eventfd is signalled when this returns. */
static bool bus_write(struct vcpu *v, enum bus bus, u64 addr, u32 size, const void *data)
{
	const struct bus_map *m;
	bool taken = false, coalesce = false;

	sync_rcu_read_lock();
	m = sync_rcu_deref(&v->vm->iobus->map[bus]);
	if (m) {
		taken = signal_event(m, addr, size, data);
		coalesce = !taken && in_zone(m, addr, size);
	}
	sync_rcu_read_unlock();
	if (taken)
		eventfds_settle();
	return taken || (coalesce && ring_put(v, bus == BUS_PIO, addr, size, data));
}

bool vm_bus_pio(struct vcpu *v, u16 port, u32 size, bool write, void *data)
{
	struct irqchip *ic = v->vm->irqchip;

	if (ic && irqchip_pio(ic, port, size, write, data))
		return true;
	return write && bus_write(v, BUS_PIO, port, size, data);
}

bool vm_bus_mmio(struct vcpu *v, gpa_t gpa, u32 size, bool write, void *data)
{
	struct irqchip *ic = v->vm->irqchip;

	if (ic && irqchip_mmio(ic, v->lapic, gpa, size, write, data))
		return true;
	return write && bus_write(v, BUS_MMIO, gpa, size, data);
}
