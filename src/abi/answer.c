/* SPDX-License-Identifier: MIT */
/*
 * abi/answer.c: what `userkvm why`, `walk` and `map` are told (base/trace.h's questions), by the helper
 * thread that serves them. It waits for nothing: it is asked again until the answer is whole.
 *
 * An answer that has no room for all goes as far as whole vCPUs or memslots do; whoever asks goes on
 * from there.
 */
#include <inttypes.h>
#include <stdlib.h>
#include "abi/report.h"
#include "base/clock.h"
#include "mmu/look.h"
#include "sync/atomic.h"
#include "vm/look.h"

#define X	  PRIx64
#define AT_ONCE	  32 /* vCPUs that are asked at a time */
#define SHOWN	  4096 /* bytes of text of one vCPU, at most */
#define WALK_ROOM 1024 /* of one walk */
#define SLOT_ROOM 192  /* of one memslot */
/* A vCPU that runs comes to the end of a block in microseconds, once it has a processor. */
#define PATIENCE_NS (2ULL * NSEC_PER_SEC)

/* ---- one vCPU */

/* What a vCPU said of itself. */
struct shown {
	struct vcpu_look look; /* first */
	struct text t;
	char text[SHOWN];
};

static const char *state_name(const struct vcpu *v)
{
	switch (v->cpu->stat.state) {
	case STATPAGE_RUN:
		return "in KVM_RUN, on its way through guest code";
	case STATPAGE_HALTED:
		return "in KVM_RUN, halted";
	default:
		return "in the VMM";
	}
}

static void put_head(struct vcpu *v, struct text *t)
{
	const struct abi_vcpu *av = v->abi;

	text_put(t, "vCPU %u, %s", v->id, state_name(v));
	if (v->has_run && v->cpu->stat.state == STATPAGE_VMM)
		text_put(t, "; the last run ended with %s", report_exit_name(av->run->exit_reason));
	text_put(t, "\n");
}

static void show(struct vcpu *v, struct vcpu_look *l)
{
	struct shown *s = (struct shown *)l;

	put_head(v, &s->t);
	report_put_state(v, &s->t);
}

/* ---- vCPUs that were asked to show themselves; the helper's thread */

static struct {
	u64 id; /* of the question */
	u64 until; /* CLOCK_MONOTONIC, ns */
	unsigned n;
	struct {
		const struct vcpu *v; /* to tell it by: it may be gone */
		struct shown *s;
	} of[AT_ONCE];
} asked;

static struct shown *shown_of(const struct vcpu *v)
{
	for (unsigned i = 0; i < asked.n; i++) {
		if (asked.of[i].v == v)
			return asked.of[i].s;
	}
	return NULL;
}

static void forget_asked(void)
{
	while (asked.n)
		vcpu_look_put(&asked.of[--asked.n].s->look);
}

static void ask(struct vcpu *v)
{
	struct shown *s = asked.n < AT_ONCE ? calloc(1, sizeof(*s)) : NULL;

	if (!s)
		return;
	s->look = (struct vcpu_look){.show = show, .refs = 1};
	s->t = (struct text){.buf = s->text, .size = sizeof(s->text)};
	asked.of[asked.n].v = v;
	asked.of[asked.n++].s = s;
	vcpu_look_post(v, &s->look);
}

/* One that is in the VMM is looked at from here, under its mutex; one that is halted stands still. */
static bool is_awaited(struct vcpu *v)
{
	struct shown *s = shown_of(v);

	if (!s || vcpu_look_done(&s->look) || v->cpu->stat.state == STATPAGE_HALTED)
		return false;
	if (!mutex_trylock(&v->mutex))
		return true;
	if (vcpu_look_cancel(v, &s->look)) {
		show(v, &s->look);
		sync_store_release(&s->look.done, 1);
	}
	mutex_unlock(&v->mutex);
	return false;
}

static void put_vcpu(struct vcpu *v, struct text *t)
{
	struct shown *s = shown_of(v);

	if (s && vcpu_look_done(&s->look)) {
		text_put(t, "%s", s->text);
		return;
	}
	if (s)
		vcpu_look_cancel(v, &s->look);
	put_head(v, t);
	if (v->cpu->stat.state == STATPAGE_RUN)
		text_put(t, "It came to the end of no block in %u s: it waits for a page of the host's, or for a "
			    "processor. What it was doing then may be older.\n", (unsigned)(PATIENCE_NS / NSEC_PER_SEC));
	report_put_state(v, t);
}

/* ---- all of them */

/* What goes over all VMs and their vCPUs or memslots, each with a number. */
struct over {
	const struct trace_asked *q;
	struct text *t;
	void (*vcpu)(struct over *o, struct vcpu *v);
	u64 n;	  /* the next one's number */
	u64 next; /* where the rest begins; 0: all had room */
	u64 seen; /* vCPUs that the question means */
	u64 of_vm; /* of them, of the VM at hand, with this one */
	u32 vms, awaited;
};

/* Before a vCPU's text: the VM's number where there are several. */
static void put_gap(struct over *o)
{
	text_put(o->t, "%s", o->n > 1 ? "\n" : "");
	if (o->vms > 1 && o->of_vm == 1)
		text_put(o->t, "VM %u\n\n", o->vms);
}

/* Is it this answer's? */
static bool takes(struct over *o, u32 room)
{
	u64 n = o->n++;

	if (n < o->q->from || o->next)
		return false;
	if (o->t && o->t->size - o->t->len < room && n > o->q->from)
		o->next = n;
	return !o->next;
}

static void over_vcpus(struct abi_vm *avm, void *arg)
{
	struct over *o = arg;
	struct vm *vm = avm->vm;
	u32 n = sync_load_acquire(&vm->nvcpus);

	o->vms++;
	o->of_vm = 0;
	for (u32 i = 0; i < n; i++) {
		struct vcpu *v = vm->vcpu[i];

		if (o->q->vcpu != TRACE_ANY_VCPU && o->q->vcpu != v->id)
			continue;
		o->seen++;
		o->of_vm++;
		if (takes(o, o->q->question == TRACE_ASK_STATE ? SHOWN : WALK_ROOM))
			o->vcpu(o, v);
	}
}

static void ask_one(struct over *o, struct vcpu *v)
{
	ask(v);
}

static void await_one(struct over *o, struct vcpu *v)
{
	o->awaited += is_awaited(v);
}

static void state_of_one(struct over *o, struct vcpu *v)
{
	/* Those behind are asked with the next question. */
	if (!shown_of(v) && o->n - 1 != o->q->from) {
		o->next = o->n - 1;
		return;
	}
	put_gap(o);
	put_vcpu(v, o->t);
}

static void walk_of_one(struct over *o, struct vcpu *v)
{
	put_gap(o);
	text_put(o->t, "vCPU %u: linear %" X ", CR3 %" X "\n", v->id, o->q->value, v->cpu->cr3);
	report_put_walk(v, o->q->value, o->t);
}

static u64 answer_vcpus(const struct trace_asked *q, struct text *t,
			void (*vcpu)(struct over *o, struct vcpu *v))
{
	struct over o = {.q = q, .t = t, .vcpu = vcpu};

	files_each_vm(over_vcpus, &o);
	if (!o.vms)
		text_put(t, "there is no VM now\n");
	else if (!o.seen)
		text_put(t, "there is no such vCPU\n");
	return o.next;
}

/* False: some are to come. */
static bool answer_states(const struct trace_asked *q, struct text *t, u64 *next)
{
	struct over wait = {.q = q, .vcpu = await_one};

	if (asked.id != q->id || !asked.n) {
		struct over first = {.q = q, .vcpu = ask_one};

		forget_asked();
		asked.id = q->id;
		asked.until = clock_ns(CLOCK_MONOTONIC) + PATIENCE_NS;
		files_each_vm(over_vcpus, &first);
	}
	files_each_vm(over_vcpus, &wait);
	if (wait.awaited && clock_ns(CLOCK_MONOTONIC) < asked.until)
		return false;
	*next = answer_vcpus(q, t, state_of_one);
	forget_asked();
	return true;
}

static void slots_of(struct abi_vm *avm, void *arg)
{
	struct over *o = arg;
	u32 n = mmu_look_slots(avm->vm->mmu, NULL, 0);
	struct mmu_slot_seen *s = calloc(n + 1, sizeof(*s));
	struct text *t = o->t;

	o->vms++;
	if (!s)
		return;
	n = MIN(n, mmu_look_slots(avm->vm->mmu, s, n));
	if (o->vms > 1 && o->n >= o->q->from && !o->next)
		text_put(t, "\nVM %u\n", o->vms);
	if (o->n >= o->q->from && !o->next)
		text_put(t, "slot  %-16s  %-16s  %-16s  stage 2: 4K  2M  1G  dirty\n", "gpa", "bytes", "hva");
	for (u32 i = 0; i < n; i++) {
		if (!takes(o, SLOT_ROOM))
			continue;
		text_put(t, "%4u  %016" X "  %016" X "  %016" X "  %" PRIu64 "  %" PRIu64 "  %" PRIu64 "  %" PRIu64,
			 s[i].id & 0xffff, s[i].base << PAGE_SHIFT, s[i].npages << PAGE_SHIFT, s[i].hva,
			 s[i].mapped[0], s[i].mapped[1], s[i].mapped[2], s[i].dirty);
		report_put_slot_flags(t, s[i].flags);
		text_put(t, "\n");
	}
	free(s);
}

static u64 answer_map(const struct trace_asked *q, struct text *t)
{
	struct over o = {.q = q, .t = t};

	files_each_vm(slots_of, &o);
	if (!o.vms)
		text_put(t, "there is no VM now\n");
	return o.next;
}

static bool answer(const struct trace_asked *q, struct text *t, u64 *next)
{
	switch (q->question) {
	case TRACE_ASK_STATE:
		return answer_states(q, t, next);
	case TRACE_ASK_WALK:
		*next = answer_vcpus(q, t, walk_of_one);
		return true;
	case TRACE_ASK_MAP:
		*next = answer_map(q, t);
		return true;
	default:
		return true;
	}
}

void answer_init(void)
{
	trace_answer = answer;
}
