/* SPDX-License-Identifier: MIT */
/* vm/look.c: see look.h. */
#include "vm/look.h"

#include <stdlib.h>
#include "sync/atomic.h"

bool vcpu_look_post(struct vcpu *v, struct vcpu_look *l)
{
	struct vcpu_look *none = NULL;

	sync_add(&l->refs, 1);
	if (!sync_cmpxchg(&v->look, &none, l)) {
		vcpu_look_put(l);
		return false;
	}
	/* No kick: who is halted is asked nothing, and need not wake for it. */
	mmu_vcpu_request(&v->cpu->mmu, VCPU_REQ_LOOK);
	return true;
}

bool vcpu_look_cancel(struct vcpu *v, struct vcpu_look *l)
{
	struct vcpu_look *posted = l;

	if (!sync_cmpxchg(&v->look, &posted, NULL))
		return false;
	vcpu_look_put(l);
	return true;
}

bool vcpu_look_done(const struct vcpu_look *l)
{
	return sync_load_acquire(&l->done);
}

void vcpu_look_put(struct vcpu_look *l)
{
	if (sync_sub(&l->refs, 1) == 1)
		free(l);
}

void vcpu_look_answer(struct vcpu *v)
{
	struct vcpu_look *l = sync_xchg(&v->look, NULL);

	if (!l)
		return;
	l->show(v, l);
	sync_store_release(&l->done, 1);
	vcpu_look_put(l);
}
