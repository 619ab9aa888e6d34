/* SPDX-License-Identifier: MIT */
/*
 * vm/irq.c: irqfds: eventfds that raise GSIs.
 *
 * One helper thread per VM waits for them all with epoll, in the keeper's table of descriptors
 * (vm/keeper.h). It is started when a guest is first run; before, what the VMM itself writes is
 * seen as it writes it, and the rest as the thread begins. It injects with irq->lock held, so that after a deassign, which takes the lock, nothing more
 * comes from that eventfd.
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
#include "vm/keeper.h"

#define STOP_KEY   0 /* epoll key of the thread's own eventfd; irqfds count from 1 */
#define MAX_EVENTS 16

struct irqfd {
	struct irqfd *next;
	struct irqfd *next_taken; /* guarded by taken.lock */
	u64 key;	     /* epoll's; never used again, so a late event finds nothing */
	struct eventfd *event, *resample; /* resample NULL: edge-like */
	u32 gsi;
	bool watched; /* by the thread */
};

/* Every VM's: an eventfd wakes one irqfd only. */
static struct {
	struct mutex lock; /* taken after a VM's */
	struct irqfd *list;
} taken = {.lock = {.m = PTHREAD_MUTEX_INITIALIZER}};

struct vm_irq {
	struct vm *vm;
	struct vm_irq *next; /* of those whose guest has not run; guarded by waiting_lock */
	struct mutex lock; /* guards all but nresample; taken before the irqchip's */
	struct irqfd *list;
	u64 next_key;
	u32 nresample; /* atomic: how many wait for acknowledgements */
	bool begun; /* what was assigned before a guest ran is served */
	bool started;
	struct helper thread;
	int epoll, stop; /* the keeper's; -1 until the thread is started */
};

static struct mutex waiting_lock = {.m = PTHREAD_MUTEX_INITIALIZER};
static struct vm_irq *waiting;

static void inject(struct vm_irq *irq, const struct irqfd *f)
{
	struct irqchip *ic = irq->vm->irqchip;

	if (!eventfd_take(f->event))
		return;
	vm_distrust_code(irq->vm);
	if (f->resample) {
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

	keeper_table = true;
	for (;;) {
		long n = syscall(SYS_epoll_wait, irq->epoll, ev, MAX_EVENTS, THREAD_TICK_MS);

		thread_tick();
		for (long i = 0; i < n; i++) {
			if (ev[i].data.u64 == STOP_KEY)
				return NULL;
			serve(irq, ev[i].data.u64);
		}
		if (n < 0 && errno != EINTR)
			return NULL;
	}
}

static int watch_fd(struct vm_irq *irq, int fd, u64 key)
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

/* What follows runs on the keeper's thread. */

static long close_fds(void *arg)
{
	struct vm_irq *irq = arg;

	close_fd(&irq->epoll);
	close_fd(&irq->stop);
	return 0;
}

static long start_thread(void *arg)
{
	struct vm_irq *irq = arg;
	long r;

	irq->epoll = (int)syscall(SYS_epoll_create1, EPOLL_CLOEXEC);
	irq->stop = (int)syscall(SYS_eventfd2, 0, EFD_CLOEXEC);
	r = irq->epoll < 0 || irq->stop < 0 ? -EMFILE : watch_fd(irq, irq->stop, STOP_KEY);
	if (!r)
		r = thread_start(&irq->thread, irqfd_thread, irq);
	if (r)
		close_fds(irq);
	return r;
}

static long stop_thread(void *arg)
{
	struct vm_irq *irq = arg;
	u64 one = 1;

	return syscall(SYS_write, irq->stop, &one, sizeof(one));
}

struct watch {
	struct vm_irq *irq;
	const struct irqfd *f;
};

static long watch(void *arg)
{
	const struct watch *w = arg;

	return watch_fd(w->irq, eventfd_kept(w->f->event), w->f->key);
}

static long unwatch(void *arg)
{
	const struct watch *w = arg;

	return syscall(SYS_epoll_ctl, w->irq->epoll, EPOLL_CTL_DEL,
		       eventfd_kept(w->f->event), NULL);
}

/* With irq->lock held. Without a keeper no guest has run: vm_irq_start() comes later. */
static int serve_irqfd(struct vm_irq *irq, struct irqfd *f)
{
	struct watch w = {irq, f};
	int r = 0;

	if (!keeper_started() || f->watched)
		return 0;
	if (!irq->started) {
		r = (int)keeper_call(start_thread, irq);
		irq->started = !r;
	}
	if (!r)
		r = (int)keeper_call(watch, &w);
	f->watched = !r;
	return r;
}

void vm_irqs_written(void)
{
	mutex_lock(&waiting_lock);
	for (struct vm_irq *irq = waiting; irq; irq = irq->next) {
		mutex_lock(&irq->lock);
		for (struct irqfd *f = irq->list; f; f = f->next)
			inject(irq, f);
		mutex_unlock(&irq->lock);
	}
	mutex_unlock(&waiting_lock);
}

void vm_irqs_forked_child(void)
{
	mutex_init(&waiting_lock);
	waiting = NULL;
	mutex_init(&taken.lock);
	taken.list = NULL;
}

static void wait_no_more(struct vm_irq *irq)
{
	struct vm_irq **p;

	mutex_lock(&waiting_lock);
	for (p = &waiting; *p && *p != irq; p = &(*p)->next)
		;
	if (*p)
		*p = irq->next;
	mutex_unlock(&waiting_lock);
}

int vm_irq_start(struct vm *vm)
{
	struct vm_irq *irq = vm->irq;
	int r = 0;

	mutex_lock(&irq->lock);
	for (struct irqfd *f = irq->list; !irq->begun && !r && f; f = f->next)
		r = serve_irqfd(irq, f);
	irq->begun = !r;
	mutex_unlock(&irq->lock);
	if (!r)
		wait_no_more(irq);
	return r;
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
	mutex_lock(&waiting_lock);
	irq->next = waiting;
	waiting = irq;
	mutex_unlock(&waiting_lock);
	return 0;
}

/* -EBUSY: the eventfd, which is fd's, is an irqfd already, in this VM or another one. */
static int take(struct irqfd *f, int fd)
{
	int r = 0;

	mutex_lock(&taken.lock);
	for (const struct irqfd *o = taken.list; o; o = o->next_taken)
		if (eventfd_is(o->event, fd))
			r = -EBUSY;
	if (!r) {
		f->next_taken = taken.list;
		taken.list = f;
	}
	mutex_unlock(&taken.lock);
	return r;
}

static void give_back(struct irqfd *f)
{
	mutex_lock(&taken.lock);
	for (struct irqfd **at = &taken.list; *at; at = &(*at)->next_taken) {
		if (*at == f) {
			*at = f->next_taken;
			break;
		}
	}
	mutex_unlock(&taken.lock);
}

/* It leaves the epoll set before it is closed: the VMM's own would keep it there. */
static void irqfd_free(struct vm_irq *irq, struct irqfd *f)
{
	struct watch w = {irq, f};

	give_back(f);
	if (f->watched)
		keeper_call(unwatch, &w);
	eventfd_release(f->event);
	if (f->resample)
		eventfd_release(f->resample);
	free(f);
}

void vm_irq_destroy(struct vm *vm)
{
	struct vm_irq *irq = vm->irq;
	struct irqfd *f;

	if (!irq)
		return;
	wait_no_more(irq);
	if (irq->started) {
		keeper_call(stop_thread, irq);
		thread_join(&irq->thread);
	}
	while ((f = irq->list)) {
		irq->list = f->next;
		irqfd_free(irq, f);
	}
	if (irq->started)
		keeper_call(close_fds, irq);
	mutex_destroy(&irq->lock);
	free(irq);
	vm->irq = NULL;
}

/* ---- KVM_IRQFD */

static int add(struct vm_irq *irq, struct irqfd *f, int fd)
{
	int r;

	mutex_lock(&irq->lock);
	r = take(f, fd);
	if (r)
		goto out;
	f->key = irq->next_key++;
	r = serve_irqfd(irq, f);
	if (r) {
		give_back(f);
	} else {
		f->next = irq->list;
		irq->list = f;
		if (f->resample)
			sync_add(&irq->nresample, 1);
	}
out:
	mutex_unlock(&irq->lock);
	return r;
}

static int assign(struct vm *vm, const struct kvm_irqfd *a)
{
	bool resample = a->flags & KVM_IRQFD_FLAG_RESAMPLE;
	struct irqfd *f;
	int r;

	/* Something here has to take the interrupt, and to see its EOI. */
	if (!vm->irqchip || (resample && irqchip_mode(vm->irqchip) != IRQCHIP_KERNEL))
		return -EINVAL;
	f = calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	f->gsi = a->gsi;
	r = eventfd_hold((int)a->fd, &f->event);
	if (r)
		goto out_free;
	if (resample) {
		r = eventfd_hold((int)a->resamplefd, &f->resample);
		if (r)
			goto out_release;
	}
	r = add(vm->irq, f, (int)a->fd);
	if (!r)
		return 0;
	if (f->resample)
		eventfd_release(f->resample);
out_release:
	eventfd_release(f->event);
out_free:
	free(f);
	return r;
}

static bool gsi_resampled(const struct vm_irq *irq, u32 gsi)
{
	for (const struct irqfd *f = irq->list; f; f = f->next) {
		if (f->resample && f->gsi == gsi)
			return true;
	}
	return false;
}

/* The last irqfd that resamples a GSI leaves its line low. */
static void remove_one(struct vm_irq *irq, struct irqfd **at)
{
	struct irqfd *f = *at;

	*at = f->next;
	if (f->resample) {
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
	int r = eventfd_check((int)a->fd);

	if (r)
		return r;
	mutex_lock(&irq->lock);
	while (*at) {
		if ((*at)->gsi == a->gsi && eventfd_is((*at)->event, (int)a->fd))
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
		if (f->resample && f->gsi == gsi)
			eventfd_signal(f->resample);
	}
	mutex_unlock(&irq->lock);
}

/* Routes are looked up at each injection; what is under way by the old ones ends here. */
void vm_irq_routing_changed(struct vm *vm)
{
	mutex_lock(&vm->irq->lock);
	mutex_unlock(&vm->irq->lock);
}
