/* SPDX-License-Identifier: MIT */
/*
 * Pages, files and what an access finds. Mappings are in mappings.c, anonymous memory that is shared
 * or away in anon.c, guest_memfd's in store.c, what takes memory away in reclaim.c and device.c, what
 * mmu/ calls in ops.c.
 */
#include <stdlib.h>
#include <sys/mman.h>

#include "primary/model/internal.h"

#define FREE_WORD      0xfeedfacefeedfaceULL
#define STRANGERS_WORD 0x5ec2e75ec2e75ec2ULL

struct model *model_create(void)
{
	static u8 *memory; /* kept: mapping it anew for each execution would cost more than it */
	struct model *m = sched_calloc(1, sizeof(*m));

	if (!memory) {
		memory = mmap(NULL, (1 + MODEL_HUGE_PAGES) * LEVEL_SIZE(LEVEL_2M),
			      PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
			      -1, 0);
		if (memory == MAP_FAILED)
			abort();
	}
	m->memory = memory;
	m->pool = MODEL_POOL;
	rwlock_init(&m->mmap_lock);
	mutex_init(&m->pt_lock);
	return m;
}

void model_destroy(struct model *m)
{
	m->hold = NULL;
	model_windows_destroy(m);
	model_munmap(m, MODEL_VA, MODEL_VA_PAGES);
	model_munmap(m, MODEL_HUGE_VA, MODEL_HUGE_VAS * LEVEL_PAGES(LEVEL_2M));
	model_strangers_exit(m);
	SCHED_CHECK(!m->ranges, "%u ranges are never taken out", m->ranges);
	for (u32 i = 0; i < MODEL_STORES; i++)
		SCHED_CHECK(!m->store[i].used, "a store is never destroyed");
	for (u32 i = 0; i < m->nfiles; i++)
		model_truncate(m, &m->file[i], 0);
	for (u32 i = 0; i < ARRAY_SIZE(m->page); i++) {
		const struct page *p = &m->page[i];

		SCHED_CHECK(!p->counted || !p->refs, "page %u ends with %u references", i, p->refs);
		SCHED_CHECK(!p->pins, "page %u ends pinned", i);
	}
	for (u32 i = 0; i < SCHED_ACTORS; i++)
		SCHED_CHECK(!m->held[i], "%u references of faults end unreleased", m->held[i]);
	sched_free(m);
}

struct model_file *model_file_create(struct model *m, enum model_file_kind kind, u64 npages)
{
	struct model_file *f = &m->file[m->nfiles++];

	f->kind = kind;
	f->npages = npages;
	return f;
}

u64 model_file_pages(const struct model_file *f)
{
	return f->npages;
}

u64 model_file_disk(const struct model_file *f, u64 index)
{
	return f->disk[index];
}

/* -- pages */

static void fill(struct model *m, const struct page *p, u64 word)
{
	for (u64 i = 0; i < page_pages(m, p); i++)
		*page_word_of(m, p, i) = word;
}

/* A free frame among the n from `first` on. */
static struct page *frame_alloc(struct model *m, u32 first, u32 n, u64 index)
{
	for (u32 i = first; i < first + n; i++) {
		struct page *p = &m->page[i];

		if (p->refs || p->poisoned)
			continue;
		*p = (struct page){.refs = 1, .counted = true, .index = index};
		fill(m, p, 0);
		return p;
	}
	abort(); /* scenarios are made to fit */
}

struct page *model_page_alloc(struct model *m, struct model_file *f, u64 index)
{
	struct page *p = frame_alloc(m, 0, MODEL_PAGES, index);

	p->counted = !f || f->kind != MODEL_FILE_PFNMAP;
	p->file = f;
	if (f)
		*page_word(m, p) = f->disk[index];
	return p;
}

struct page *model_huge_alloc(struct model *m, u64 index)
{
	return frame_alloc(m, MODEL_PAGES, MODEL_HUGE_PAGES, index);
}

void model_page_get(struct page *p)
{
	p->refs++;
}

void model_page_put(struct model *m, struct page *p)
{
	SCHED_CHECK(p->refs, "page %llu: a reference is dropped that nobody holds",
		    (unsigned long long)page_number(m, p));
	if (--p->refs)
		return;
	/* DAX: the page is the medium. */
	if (p->file && p->file->kind == MODEL_FILE_DAX)
		p->file->disk[p->index] = *page_word(m, p);
	fill(m, p, FREE_WORD);
	p->file = NULL;
	p->store = NULL;
}

void model_page_to_stranger(struct model *m, struct page *p)
{
	if (p->refs || p->poisoned)
		return;
	*p = (struct page){.refs = 1, .counted = true, .stranger = true, .index = ~0ULL};
	fill(m, p, STRANGERS_WORD);
}

void model_strangers_exit(struct model *m)
{
	for (u32 i = 0; i < ARRAY_SIZE(m->page); i++) {
		struct page *p = &m->page[i];

		if (!p->stranger)
			continue;
		SCHED_CHECK(*page_word(m, p) == STRANGERS_WORD,
			    "page %u of another process was written", i);
		p->stranger = false;
		model_page_put(m, p);
	}
}

/* -- faults */

struct page *model_file_page(struct model *m, struct model_file *f, u64 index)
{
	if (index >= f->npages)
		return NULL;
	if (f->kind == MODEL_FILE_HUGETLB)
		return model_huge_file_page(m, f, index);
	if (!f->cache[index])
		f->cache[index] = model_page_alloc(m, f, index);
	return f->cache[index];
}

/* Only where all of it is one mapping there is a huge page; elsewhere its parts are pages by themselves. */
static void split_unless_whole(struct model *m, const struct vma *v, hva_t hva)
{
	hva_t start = huge_start(hva);

	if (huge_block(hva) >= 0 && (start < v->start || start + LEVEL_SIZE(LEVEL_2M) > v->start + v->npages * PAGE_SIZE))
		model_split_block(m, hva);
}

/* Make the PTE present, as for a read. pt_lock held. */
static int pte_fill(struct model *m, const struct vma *v, hva_t hva)
{
	struct pte *pte;
	struct page *p;

	if (!v->file)
		split_unless_whole(m, v, hva);
	pte = model_pte(m, hva);
	if (v->file) {
		p = model_file_page(m, v->file, v->index + ((hva - v->start) >> PAGE_SHIFT));
		if (!p)
			return -ENXIO;
		model_page_get(p);
	} else {
		if (pte_step(m, hva) > 1)
			p = model_huge_alloc(m, huge_start(hva) >> PAGE_SHIFT);
		else
			p = model_page_alloc(m, NULL, hva >> PAGE_SHIFT);
		p->maps = 1;
		if (pte->swapped)
			*page_word(m, p) = pte->swap_word;
	}
	pte->page = p;
	/* What comes from swap is nobody else's: writable, and clean until it is written. */
	pte->writable = pte->swapped && v->writable;
	pte->dirty = false;
	return 0;
}

/* pt_lock held. -EAGAIN: the page is somebody else's too and must be copied first; -EBUSY: a monitor is asked. */
static int pte_fault(struct model *m, const struct vma *v, hva_t hva, bool write)
{
	struct pte *pte = model_pte(m, hva);
	int r = 0;

	if (write && !v->writable)
		return -EFAULT;
	if (!pte->page)
		r = pte_fill(m, v, hva);
	if (r)
		return r;
	pte = model_pte(m, hva); /* it may be split now */
	if (pte->page->poisoned)
		return -EHWPOISON;
	if (write && pte->guarded)
		return -EBUSY;
	if (write && pte->page->maps > 1)
		return -EAGAIN;
	pte->page->accessed = true;
	if (write) {
		/* A shared file's page becomes dirty when it is made writable. */
		pte->writable = pte->dirty = pte->soft_dirty = true;
		pte->page->dirty = true;
	}
	return 0;
}

/* Copy on write: the notifier is told, because stage 2 may show the old page for reading. */
static void copy_page(struct model *m, hva_t hva)
{
	struct mmu_token *t;
	struct page *old, *new_;
	struct pte *pte;

	model_split_at(m, hva); /* of a huge page only this part is copied */
	if (pte_step(m, hva) > 1)
		abort(); /* scenarios are made to fit */
	t = model_begin(m, hva, 1);
	pte = model_pte(m, hva);
	mutex_lock(&m->pt_lock);
	old = pte->page;
	if (old && old->maps > 1) {
		new_ = model_page_alloc(m, NULL, hva >> PAGE_SHIFT);
		*page_word(m, new_) = *page_word_of(m, old, hva >> PAGE_SHIFT);
		new_->maps = 1;
		old->maps -= !is_huge(m, old);
		pte->page = new_;
		pte->writable = pte->dirty = pte->swapped = false;
		model_page_put(m, old);
	}
	mutex_unlock(&m->pt_lock);
	model_end(m, t);
}

static bool not_guarded(void *arg)
{
	return !((const struct pte *)arg)->guarded;
}

int model_fault(struct model *m, hva_t hva, bool write)
{
	const struct vma *v = model_vma(m, hva);
	int r;

	if (!v)
		return -EFAULT;
	for (;;) {
		mutex_lock(&m->pt_lock);
		r = pte_fault(m, v, hva, write);
		if (!r)
			return 0;
		m->guard_hits |= r == -EBUSY;
		mutex_unlock(&m->pt_lock);
		if (r == -EBUSY)
			sched_wait("a monitor's answer", not_guarded, model_pte(m, hva));
		else if (r == -EAGAIN)
			copy_page(m, hva);
		else
			return r;
	}
}

/* -- the VMM's own accesses */

static int access_word(struct model *m, hva_t hva, bool write, u64 *value)
{
	int r;

	rwlock_read_lock(&m->mmap_lock);
	r = model_fault(m, hva, write);
	if (!r) {
		u64 *w = page_word_of(m, model_pte(m, hva)->page, hva >> PAGE_SHIFT);

		if (write)
			*w = *value;
		else
			*value = *w;
		mutex_unlock(&m->pt_lock);
	}
	rwlock_read_unlock(&m->mmap_lock);
	return r;
}

int model_read(struct model *m, hva_t hva, u64 *value)
{
	return access_word(m, hva, false, value);
}

int model_write(struct model *m, hva_t hva, u64 value)
{
	return access_word(m, hva, true, &value);
}

/* -- what a vCPU may reach */

/* The frame at `host`, where a vCPU believes to reach a page with this index of its owner's. */
static const struct page *check_frame(struct model *m, const void *host, u64 index)
{
	const struct page *p = page_at(m, host);
	u64 n;

	if (!p) {
		sched_fail("a vCPU leaves the machine's memory");
		abort(); /* only actors get here, and they end there */
	}
	n = page_number(m, p);
	SCHED_CHECK(p->refs, "a vCPU reaches frame %llu, which is free", (unsigned long long)n);
	SCHED_CHECK(!p->stranger, "a vCPU reaches frame %llu, which became another process's",
		    (unsigned long long)n);
	SCHED_CHECK(((u64)host & PAGE_MASK) == (u64)page_word_of(m, p, index),
		    "a vCPU reaches another page of frame %llu", (unsigned long long)n);
	return p;
}

bool model_is_private(struct model *m, const void *host)
{
	const struct page *p = page_at(m, host);

	return p && p->store;
}

void model_store_check_access(struct model *m, const void *host, struct model_store *s, u64 index)
{
	const struct page *p = check_frame(m, host, index);

	SCHED_CHECK(p->store == s && p->index == ALIGN_DOWN(index, s->step),
		    "a vCPU reaches frame %llu, which is not page %llu of its store",
		    (unsigned long long)page_number(m, p), (unsigned long long)index);
}

void model_check_access(struct model *m, const void *host, hva_t hva, bool write)
{
	const struct page *p = check_frame(m, host, hva >> PAGE_SHIFT);
	const struct pte *pte = model_pte(m, hva);
	const struct vma *v = model_vma(m, hva);
	u64 n = page_number(m, p);

	SCHED_CHECK(!p->store, "a vCPU reaches frame %llu of a store for shared memory",
		    (unsigned long long)n);
	if (p->file)
		SCHED_CHECK(!v || !v->file || p->file == v->file,
			    "a vCPU reaches frame %llu, which became another file's",
			    (unsigned long long)n);
	else if (!p->merged)
		SCHED_CHECK(p->index == ALIGN_DOWN(hva >> PAGE_SHIFT, page_pages(m, p)),
			    "a vCPU reaches frame %llu, which became somebody else's",
			    (unsigned long long)n);
	/* A PTE changes only after begin has returned: so no translation may outlive the change. */
	SCHED_CHECK(pte && pte->page == p,
		    "a vCPU reaches frame %llu, which the primary MMU no longer shows there",
		    (unsigned long long)n);
	if (write)
		SCHED_CHECK(pte->writable,
			    "a vCPU writes frame %llu, which the primary MMU write-protected",
			    (unsigned long long)n);
}

u32 model_held(const struct model *m)
{
	return m->held[sched_self() + 1];
}
