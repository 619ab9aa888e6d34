/* SPDX-License-Identifier: MIT */
/* The primary MMU of primary.h over the model. */
#include "primary/model/internal.h"

static int fault_in(void *primary, hva_t hva, bool write, bool (*interrupted)(void *arg),
		    void *arg, struct frame *out)
{
	struct model *m = primary;
	int r;

	memset(out, 0, sizeof(*out));
	rwlock_read_lock(&m->mmap_lock);
	r = model_fault(m, hva, write);
	if (!r) {
		struct pte *pte = model_pte(m, hva);
		struct page *p = pte->page;

		out->host = page_word_of(m, p, hva >> PAGE_SHIFT);
		out->pfn = (u64)out->host >> PAGE_SHIFT;
		out->writable = pte->writable;
		out->dirties = p->counted;
		out->max_level = is_huge(m, p) && !model_is_split(m, hva) ? LEVEL_2M : LEVEL_4K;
		out->page = p->counted ? p : NULL;
		out->unprobed = !p->counted;
		out->object = (u64)p->file;
		out->index = p->file ? p->index : 0;
		if (m->windowed && p->file) {
			/* A window holds a reference of its own; this fault holds none. */
			out->host = model_window(m, hva & PAGE_MASK, p);
			out->pfn = (u64)out->host >> PAGE_SHIFT;
			out->page = NULL;
		}
		if (out->page) {
			model_page_get(p);
			m->held[sched_self() + 1]++;
		}
		mutex_unlock(&m->pt_lock);
	}
	rwlock_read_unlock(&m->mmap_lock);
	if (r == -ENXIO)
		r = -EFAULT;
	sched_point("faulted in", (void *)hva);
	return r;
}

/* Callable under mmu_lock: pt_lock is never held over a call of the notifier. */
static void release(void *primary, struct frame *f, bool accessed, bool dirty)
{
	struct model *m = primary;
	struct page *p = f->page;

	if (!p)
		return;
	mutex_lock(&m->pt_lock);
	p->accessed |= accessed;
	p->dirty |= dirty;
	model_page_put(m, p);
	m->held[sched_self() + 1]--;
	mutex_unlock(&m->pt_lock);
	f->page = NULL;
}

static void zapped(void *primary, u64 pfn, bool page_backed, bool accessed, bool dirty)
{
	struct model *m = primary;
	struct page *p = page_at(m, (void *)(pfn << PAGE_SHIFT));

	if (!page_backed)
		return;
	mutex_lock(&m->pt_lock);
	/* The SPTE is live and begin has not returned: the frame cannot have been given away. */
	SCHED_CHECK(p->refs && p->counted, "a zap touches frame %llu, which is free",
		    (unsigned long long)page_number(m, p));
	SCHED_CHECK(!p->stranger, "a zap touches frame %llu, which became another process's",
		    (unsigned long long)page_number(m, p));
	p->accessed |= accessed;
	p->dirty |= dirty;
	mutex_unlock(&m->pt_lock);
}

struct pin {
	struct page *page[MODEL_VA_PAGES];
	u64 n;
};

static void unpin(void *primary, void *cookie)
{
	struct model *m = primary;
	struct pin *pin = cookie;

	mutex_lock(&m->pt_lock);
	for (u64 i = 0; i < pin->n; i++) {
		pin->page[i]->pins--;
		pin->page[i]->dirty = true;
		model_page_put(m, pin->page[i]);
	}
	mutex_unlock(&m->pt_lock);
	sched_free(pin);
}

/* The reference of a fault becomes the pin's, unless a fork has shared the page meanwhile: then -EAGAIN. */
static int pin_page(struct model *m, hva_t hva, struct pin *pin, struct frame *f)
{
	const struct pte *pte = model_pte(m, hva);
	bool shared;

	mutex_lock(&m->pt_lock);
	shared = pte->page != f->page || !pte->writable;
	m->held[sched_self() + 1]--;
	if (shared) {
		model_page_put(m, f->page);
	} else {
		f->page->pins++;
		pin->page[pin->n++] = f->page;
	}
	mutex_unlock(&m->pt_lock);
	return shared ? -EAGAIN : 0;
}

static int pin(void *primary, hva_t hva, u64 len, void **cookie)
{
	struct pin *pin = sched_calloc(1, sizeof(*pin));
	struct frame f;
	int r = 0;

	for (u64 off = 0; off < len && !r; off += PAGE_SIZE) {
		do {
			r = fault_in(primary, hva + off, true, NULL, NULL, &f);
			if (!r && !f.page)
				r = -EFAULT; /* what has no reference count cannot be pinned */
			if (!r)
				r = pin_page(primary, hva + off, pin, &f);
		} while (r == -EAGAIN);
	}
	*cookie = pin;
	if (r)
		unpin(primary, pin);
	return r;
}

bool model_pinned(struct model *m, hva_t hva)
{
	const struct page *p = model_pte(m, hva)->page;

	return p && p->pins;
}

/* Linux's has memory for each range, and may have none. */
int model_need_memory(void)
{
	void *p = sched_malloc(1);

	if (!p)
		return -ENOMEM;
	sched_free(p);
	return 0;
}

static int range_add(void *primary, hva_t start, u64 len)
{
	struct model *m = primary;
	int r = model_need_memory();

	if (!r)
		m->ranges++;
	return r;
}

static void range_remove(void *primary, hva_t start, u64 len)
{
	struct model *m = primary;

	SCHED_CHECK(m->ranges, "a range is taken out that is not there");
	m->ranges--;
}

static void set_notifier(void *primary, const struct primary_notifier *n)
{
	struct model *m = primary;

	m->notifier = *n;
	m->nvms++;
}

static bool may_reach(void *primary, u64 pfn)
{
	return true;
}

static int access_frame(void *primary, hva_t hva, void *host, void *buf, u64 len, bool write)
{
	struct model *m = primary;

	sched_point(write ? "host writes" : "host reads", host);
	model_check_access(m, host, hva, write);
	if (write)
		memcpy(host, buf, len);
	else
		memcpy(buf, host, len);
	return 0;
}

static int copy(struct model *m, hva_t hva, void *buf, u64 len, bool write)
{
	struct frame f;
	u8 *p = buf;

	while (len) {
		u64 off = hva & ~PAGE_MASK, n = MIN(len, PAGE_SIZE - off);
		int r = fault_in(m, hva & PAGE_MASK, write, NULL, NULL, &f);

		if (r)
			return r;
		if (write)
			memcpy((u8 *)f.host + off, p, n);
		else
			memcpy(p, (u8 *)f.host + off, n);
		release(m, &f, true, write);
		hva += n;
		p += n;
		len -= n;
	}
	return 0;
}

static int copy_from(void *primary, hva_t src, void *dst, u64 len)
{
	return copy(primary, src, dst, len, false);
}

static int copy_to(void *primary, hva_t dst, const void *src, u64 len)
{
	return copy(primary, dst, (void *)src, len, true);
}

static void destroy(void *primary)
{
	struct model *m = primary;

	mutex_lock(&m->pt_lock);
	m->notifier.begin = NULL;
	m->nvms--;
	mutex_unlock(&m->pt_lock);
}

const struct primary_ops primary_model_ops = {
	.store = &model_store_ops,
	.fault_in = fault_in,
	.release = release,
	.zapped = zapped,
	.pin = pin,
	.unpin = unpin,
	.range_add = range_add,
	.range_remove = range_remove,
	.set_notifier = set_notifier,
	.may_reach = may_reach,
	.access = access_frame,
	.copy_from = copy_from,
	.copy_to = copy_to,
	.destroy = destroy,
};
