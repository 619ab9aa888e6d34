/* SPDX-License-Identifier: MIT */
/* Pages, mappings, and the page cache: what an access finds. The operations that take memory away
 * are in reclaim.c, what mmu/ calls is in ops.c. */
#include <stdlib.h>
#include <sys/mman.h>

#include "primary/model/internal.h"

#define FREE_WORD 0xfeedfacefeedfaceULL

struct model *model_create(void)
{
	static u8 *memory; /* kept: mapping it anew for each execution would cost more than it */
	struct model *m = sched_calloc(1, sizeof(*m));

	if (!memory) {
		memory = mmap(NULL, MODEL_PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (memory == MAP_FAILED)
			abort();
	}
	m->memory = memory;
	rwlock_init(&m->mmap_lock);
	mutex_init(&m->pt_lock);
	return m;
}

void model_destroy(struct model *m)
{
	for (u32 i = 0; i < MODEL_VMAS; i++) {
		if (m->vma[i].used)
			model_munmap(m, m->vma[i].start, m->vma[i].npages);
	}
	for (u32 i = 0; i < m->nfiles; i++)
		model_truncate(m, &m->file[i], 0);
	for (u32 i = 0; i < MODEL_PAGES; i++) {
		const struct page *p = &m->page[i];

		SCHED_CHECK(!p->counted || !p->refs, "page %u ends with %u references", i, p->refs);
		SCHED_CHECK(!p->pins, "page %u ends pinned", i);
	}
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

struct page *model_page_alloc(struct model *m, struct model_file *f, u64 index)
{
	for (u32 i = 0; i < MODEL_PAGES; i++) {
		struct page *p = &m->page[i];

		if (p->refs)
			continue;
		p->refs = 1;
		p->counted = !f || f->kind != MODEL_FILE_PFNMAP;
		p->dirty = p->accessed = false;
		p->file = f;
		p->index = index;
		*page_word(m, p) = f ? f->disk[index] : 0;
		return p;
	}
	abort(); /* scenarios are made to fit */
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
	*page_word(m, p) = FREE_WORD;
	p->file = NULL;
}

/* -- mappings */

struct vma *model_vma(struct model *m, hva_t hva)
{
	for (u32 i = 0; i < MODEL_VMAS; i++) {
		struct vma *v = &m->vma[i];

		if (v->used && hva >= v->start && hva < v->start + v->npages * PAGE_SIZE)
			return v;
	}
	return NULL;
}

void model_mmap(struct model *m, hva_t hva, u64 n, bool writable, struct model_file *f, u64 index)
{
	rwlock_write_lock(&m->mmap_lock);
	for (u32 i = 0; i < MODEL_VMAS; i++) {
		if (m->vma[i].used)
			continue;
		m->vma[i] = (struct vma){true, writable, hva, n, f, index};
		break;
	}
	rwlock_write_unlock(&m->mmap_lock);
}

static struct page *file_page(struct model *m, struct model_file *f, u64 index)
{
	if (index >= f->npages)
		return NULL; /* SIGBUS: beyond the end */
	if (!f->cache[index])
		f->cache[index] = model_page_alloc(m, f, index);
	return f->cache[index];
}

int model_pte_fault(struct model *m, const struct vma *v, hva_t hva, bool write)
{
	u64 off = (hva - v->start) >> PAGE_SHIFT;
	struct pte *pte = model_pte(m, hva);

	if (write && !v->writable)
		return -EFAULT;
	if (!pte->page) {
		struct page *p;

		if (v->file) {
			p = file_page(m, v->file, v->index + off);
			if (!p)
				return -EFAULT;
			model_page_get(p);
		} else {
			p = model_page_alloc(m, NULL, hva >> PAGE_SHIFT);
		}
		pte->page = p;
		pte->writable = pte->dirty = false;
	}
	pte->page->accessed = true;
	if (write) {
		/* A shared file's page becomes dirty when it is made writable. */
		pte->writable = pte->dirty = true;
		pte->page->dirty = true;
	}
	return 0;
}

/* -- the VMM's own accesses */

static int access_word(struct model *m, hva_t hva, bool write, u64 *value)
{
	struct vma *v;
	int r = -EFAULT;

	rwlock_read_lock(&m->mmap_lock);
	v = model_vma(m, hva);
	if (v) {
		mutex_lock(&m->pt_lock);
		r = model_pte_fault(m, v, hva, write);
		if (!r) {
			u64 *w = page_word(m, model_pte(m, hva)->page);

			if (write)
				*w = *value;
			else
				*value = *w;
		}
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

void model_check_access(struct model *m, const void *host, hva_t hva, bool write)
{
	u64 n = (u64)((const u8 *)host - m->memory) >> PAGE_SHIFT;
	const struct pte *pte = model_pte(m, hva);
	const struct vma *v = model_vma(m, hva);
	const struct page *p;

	SCHED_CHECK(n < MODEL_PAGES, "a vCPU leaves the machine's memory");
	p = &m->page[n];
	SCHED_CHECK(p->refs, "a vCPU reaches frame %llu, which is free", (unsigned long long)n);
	if (p->file)
		SCHED_CHECK(!v || !v->file || p->file == v->file,
			    "a vCPU reaches frame %llu, which became another file's",
			    (unsigned long long)n);
	else
		SCHED_CHECK(p->index == hva >> PAGE_SHIFT,
			    "a vCPU reaches frame %llu, which became somebody else's",
			    (unsigned long long)n);
	if (write && pte->page == p && p->file && p->file->kind != MODEL_FILE_PFNMAP)
		SCHED_CHECK(pte->writable,
			    "a vCPU writes frame %llu, which the primary MMU write-protected",
			    (unsigned long long)n);
}
