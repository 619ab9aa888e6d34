/* SPDX-License-Identifier: MIT */
/*
 * vm/irq.c: irqfds: eventfds that raise GSIs.
 *
 * One helper thread per VM waits for them all with epoll. It injects with irq->lock held, so
 * that after a deassign, which takes the lock, nothing more comes from that eventfd.
 */
#include "vm/irq.h"

#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/thread.h"
#include "sync/atomic.h"
#include "vm/eventfd.h"

#define STOP_KEY   0 /* epoll key of the thread's own eventfd; irqfds count from 1 */
#define MAX_EVENTS 16

struct irqfd {
	struct irqfd *next;
	u64 key;	     /* epoll's; never used again, so a late event finds nothing */
	u64 id;		     /* of the eventfd */
	int fd, resample_fd; /* held; resample_fd -1: edge-like */
	u32 gsi;
};

struct vm_irq {
	struct vm *vm;
	struct mutex lock; /* guards all but nresample; taken before the irqchip's */
	struct irqfd *list;
	u64 next_key;
	u32 nresample; /* atomic: how many wait for acknowledgements */
	bool started;
	struct helper thread;
	int epoll, stop; /* -1 until the thread is started */
};

static void inject(struct vm_irq *irq, const struct irqfd *f)
{
	struct irqchip *ic = irq->vm->irqchip;

	if (!eventfd_take(f->fd))
		return;
	vm_distrust_code(irq->vm);
	if (f->resample_fd >= 0) {
		irqchip_set_gsi(ic, IRQ_SOURCE_IRQFD, f->gsi, true);
		return;
	}
	irqchip_set_gsi(ic, IRQ_SOURCE_USER, f->gsi, true);
	irqchip_set_gsi(ic, IRQ_SOURCE_USER, f->gsi, false);
}

static void serve(struct vm_irq *irq, u64 key)
{
	mutex_lock(&irq->lock);
	for (struct irqfd *f = irq->list; f; f = f->next) {
		if (f->key == key) {
			inject(irq, f);
			break;
		}
	}
	mutex_unlock(&irq->lock);
}

static void *irqfd_thread(void *arg)
{
	struct vm_irq *irq = arg;
	struct epoll_event ev[MAX_EVENTS];

	for (;;) {
		long n = syscall(SYS_epoll_wait, irq->epoll, ev, MAX_EVENTS, -1);

		for (long i = 0; i < n; i++) {
			if (ev[i].data.u64 == STOP_KEY)
				return NULL;
			serve(irq, ev[i].data.u64);
		}
		if (n < 0 && errno != EINTR)
			return NULL; /* the VMM closed what it does not own */
	}
}

static int watch(struct vm_irq *irq, int fd, u64 key)
{
	/* Edge-triggered: each signal is one event, and a counter that is already up, too. */
	struct epoll_event ev = {.events = EPOLLIN | EPOLLET, .data.u64 = key};

	return syscall(SYS_epoll_ctl, irq->epoll, EPOLL_CTL_ADD, fd, &ev) ? -errno : 0;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		syscall(SYS_close, *fd);
	*fd = -1;
}

static int open_fds(struct vm_irq *irq)
{
	irq->epoll = (int)syscall(SYS_epoll_create1, EPOLL_CLOEXEC);
	if (irq->epoll < 0)
		return -errno;
	irq->epoll = eventfd_renumber(irq->epoll);
	irq->stop = (int)syscall(SYS_eventfd2, 0, EFD_CLOEXEC);
	if (irq->stop < 0)
		return -errno;
	irq->stop = eventfd_renumber(irq->stop);
	return watch(irq, irq->stop, STOP_KEY);
}

/* With irq->lock held. */
static int start(struct vm_irq *irq)
{
	int r;

	if (irq->started)
		return 0;
	r = open_fds(irq);
	if (!r)
		r = thread_start(&irq->thread, irqfd_thread, irq);
	if (r) {
		close_fd(&irq->epoll);
		close_fd(&irq->stop);
		return r;
	}
	irq->started = true;
	return 0;
}

int vm_irq_create(struct vm *vm)
{
	struct vm_irq *irq = calloc(1, sizeof(*irq));

	if (!irq)
		return -ENOMEM;
	irq->vm = vm;
	irq->next_key = STOP_KEY + 1;
	irq->epoll = -1;
	irq->stop = -1;
	mutex_init(&irq->lock);
	vm->irq = irq;
	return 0;
}

/* Its descriptors leave the epoll set with the held duplicate, before that is closed: the VMM's
 * own would keep it in the set. */
static void irqfd_free(struct vm_irq *irq, struct irqfd *f)
{
	syscall(SYS_epoll_ctl, irq->epoll, EPOLL_CTL_DEL, f->fd, NULL);
	eventfd_release(f->fd);
	if (f->resample_fd >= 0)
		eventfd_release(f->resample_fd);
	free(f);
}

void vm_irq_destroy(struct vm *vm)
{
	struct vm_irq *irq = vm->irq;
	struct irqfd *f;

	if (!irq)
		return;
	if (irq->started) {
		eventfd_signal(irq->stop);
		thread_join(&irq->thread);
	}
	while ((f = irq->list)) {
		irq->list = f->next;
		irqfd_free(irq, f);
	}
	close_fd(&irq->epoll);
	close_fd(&irq->stop);
	mutex_destroy(&irq->lock);
	free(irq);
	vm->irq = NULL;
}

/* ---- KVM_IRQFD */

/* One eventfd raises one GSI. */
static bool in_use(const struct vm_irq *irq, u64 id)
{
	for (const struct irqfd *f = irq->list; f; f = f->next) {
		if (f->id == id)
			return true;
	}
	return false;
}

static int add(struct vm_irq *irq, struct irqfd *f)
{
	int r;

	mutex_lock(&irq->lock);
	r = in_use(irq, f->id) ? -EBUSY : start(irq);
	if (!r) {
		f->key = irq->next_key++;
		r = watch(irq, f->fd, f->key);
	}
	if (!r) {
		f->next = irq->list;
		irq->list = f;
		if (f->resample_fd >= 0)
			sync_add(&irq->nresample, 1);
	}
	mutex_unlock(&irq->lock);
	return r;
}

static int assign(struct vm *vm, const struct kvm_irqfd *a)
{
	bool resample = a->flags & KVM_IRQFD_FLAG_RESAMPLE;
	struct irqfd *f;
	u64 unused;
	int r;

	/* Something here has to take the interrupt, and to see its EOI. */
	if (!vm->irqchip || (resample && irqchip_mode(vm->irqchip) != IRQCHIP_KERNEL))
		return -EINVAL;
	f = calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	f->gsi = a->gsi;
	f->resample_fd = -1;
	r = f->fd = eventfd_hold((int)a->fd, &f->id);
	if (r < 0)
		goto out_free;
	if (resample) {
		r = f->resample_fd = eventfd_hold((int)a->resamplefd, &unused);
		if (r < 0)
			goto out_release;
	}
	r = add(vm->irq, f);
	if (!r)
		return 0;
	if (f->resample_fd >= 0)
		eventfd_release(f->resample_fd);
out_release:
	eventfd_release(f->fd);
out_free:
	free(f);
	return r;
}

static bool gsi_resampled(const struct vm_irq *irq, u32 gsi)
{
	for (const struct irqfd *f = irq->list; f; f = f->next) {
		if (f->resample_fd >= 0 && f->gsi == gsi)
			return true;
	}
	return false;
}

/* The last irqfd that resamples a GSI leaves its line low. */
static void remove_one(struct vm_irq *irq, struct irqfd **at)
{
	struct irqfd *f = *at;

	*at = f->next;
	if (f->resample_fd >= 0) {
		sync_sub(&irq->nresample, 1);
		if (!gsi_resampled(irq, f->gsi))
			irqchip_set_gsi(irq->vm->irqchip, IRQ_SOURCE_IRQFD, f->gsi, false);
	}
	irqfd_free(irq, f);
}

static int deassign(struct vm *vm, const struct kvm_irqfd *a)
{
	struct vm_irq *irq = vm->irq;
	struct irqfd **at = &irq->list;
	u64 id;
	int r = eventfd_id((int)a->fd, &id);

	if (r)
		return r;
	mutex_lock(&irq->lock);
	while (*at) {
		if ((*at)->id == id && (*at)->gsi == a->gsi)
			remove_one(irq, at);
		else
			at = &(*at)->next;
	}
	mutex_unlock(&irq->lock);
	return 0;
}

int vm_irqfd(struct vm *vm, const struct kvm_irqfd *a)
{
	if (a->flags & ~(u32)(KVM_IRQFD_FLAG_DEASSIGN | KVM_IRQFD_FLAG_RESAMPLE))
		return -EINVAL;
	return a->flags & KVM_IRQFD_FLAG_DEASSIGN ? deassign(vm, a) : assign(vm, a);
}

/* ---- acknowledgements */

void vm_irq_acked(struct vm *vm, u32 gsi)
{
	struct vm_irq *irq = vm->irq;

	if (!sync_load_acquire(&irq->nresample))
		return;
	mutex_lock(&irq->lock);
	if (gsi_resampled(irq, gsi))
		irqchip_set_gsi(vm->irqchip, IRQ_SOURCE_IRQFD, gsi, false);
	for (struct irqfd *f = irq->list; f; f = f->next) {
		if (f->resample_fd >= 0 && f->gsi == gsi)
			eventfd_signal(f->resample_fd);
	}
	mutex_unlock(&irq->lock);
}

/* Routes are looked up at each injection; what is under way by the old ones ends here. */
void vm_irq_routing_changed(struct vm *vm)
{
	mutex_lock(&vm->irq->lock);
	mutex_unlock(&vm->irq->lock);
}
