/* SPDX-License-Identifier: MIT */
/*
 * What the preload says before and after the VMM changes its mappings or a file behind them.
 *
 * Before: every VM concerned forgets its translations, then its windows go. After: the caches of
 * what is mapped are told, then the invalidations end. A change of contents that leaves the
 * mapping as it is (madvise) needs neither where every frame is direct: the host's MMU replaces the
 * page under the same address. Only code cached from it is stale.
 */
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/heap.h"
#include "primary/linux/internal.h"
#include "primary/linux/notifier.h"

/* One VM's part of a change, or one file mapping's. Holds a reference by get() until the end. */
struct begun {
	struct begun *next;
	struct primary_linux *p;
	struct mmu_token *token; /* NULL: nothing to forget */
	hva_t start, end;
};

struct mapping_change {
	struct begun *list;
	hva_t start, end; /* empty for a file's */
	enum primary_change kind;
	bool no_memory;
	bool hide; /* what changes is not known yet */
};

static void add(struct mapping_change *c, struct primary_linux *p, hva_t start, hva_t end)
{
	struct begun *b = pool_alloc();

	if (!b) {
		c->no_memory = true;
		return;
	}
	if (!p->notifier.get(p->notifier.mmu)) {
		pool_free(b);
		return;
	}
	b->p = p;
	b->start = start;
	b->end = end;
	b->next = c->list;
	c->list = b;
}

static void add_vm(struct primary_linux *p, void *arg)
{
	struct mapping_change *c = arg;

	add(c, p, c->start, c->end);
}

/* Does this VM have to forget its translations? */
static bool must_begin(const struct mapping_change *c, const struct begun *b)
{
	return c->kind != CHANGE_CONTENT || regions_uffd_seen() ||
	       windows_overlap(b->p, b->start, b->end);
}

static bool begin_all(struct mapping_change *c)
{
	for (struct begun *b = c->list; b; b = b->next) {
		const struct primary_notifier *n = &b->p->notifier;

		if (!must_begin(c, b))
			continue;
		b->token = c->hide ? n->hide(n->mmu) : n->begin(n->mmu, b->start, b->end);
		if (!b->token)
			return false;
		if (c->kind != CHANGE_CONTENT)
			windows_drop(b->p, b->start, b->end);
	}
	return true;
}

static void end_all(struct mapping_change *c)
{
	while (c->list) {
		struct begun *b = c->list;
		const struct primary_notifier n = b->p->notifier;

		c->list = b->next;
		if (b->token)
			n.end(b->token);
		else
			n.content(n.mmu, b->start, b->end);
		n.put(n.mmu); /* perhaps the last: b->p is gone after this */
		pool_free(b);
	}
}

/* The end of a list that was for looking only. */
static void end_all_unchanged(struct mapping_change *c)
{
	while (c->list) {
		struct begun *b = c->list;
		const struct primary_notifier n = b->p->notifier;

		c->list = b->next;
		n.put(n.mmu);
		pool_free(b);
	}
}

/* Mappings change that no memslot shows: counted, no more. */
static struct mapping_change elsewhere;

/* Begin what c lists; c itself on success. */
static struct mapping_change *start_change(struct mapping_change *c, int *err)
{
	bool content = c->kind == CHANGE_CONTENT;

	/* A range that is marked may become a memslot later. */
	if (!c->list && !c->no_memory && c->kind != CHANGE_UFFD && c->kind != CHANGE_GUARD) {
		pool_free(c);
		return content ? NULL : &elsewhere;
	}
	if (!c->no_memory && begin_all(c)) {
		if (!content)
			regions_forget(c->start, c->end);
		return c;
	}
	primary_linux_change_end(c);
	*err = -ENOMEM;
	return NULL;
}

/* The kernel need not tell of what we have just been told; and two userfaultfds do not go together. */
static void stop_watching(enum primary_change kind, hva_t start, hva_t end)
{
	if (kind == CHANGE_UNMAP || kind == CHANGE_UFFD)
		notifier_unwatch(start, end);
}

void *primary_linux_change_begin(hva_t start, u64 len, enum primary_change kind, int *err)
{
	hva_t first = start & PAGE_MASK, end = ALIGN_UP(start + len, PAGE_SIZE);
	struct mapping_change *c;

	*err = 0;
	if (end <= first || !registry_ours())
		return NULL;
	/*
	 * Before the look for memslots: one that is made meanwhile is not told, but no window of it is
	 * made, and nothing is remembered of its mappings, until the end.
	 */
	if (kind != CHANGE_CONTENT)
		regions_change_begin();
	if (registry_empty() && kind != CHANGE_UFFD && kind != CHANGE_GUARD) {
		stop_watching(kind, first, end);
		return kind == CHANGE_CONTENT ? NULL : &elsewhere;
	}
	c = pool_alloc();
	if (!c) {
		if (kind != CHANGE_CONTENT)
			regions_change_end();
		*err = -ENOMEM;
		return NULL;
	}
	c->kind = kind;
	c->start = first;
	c->end = end;
	registry_each(first, end - 1, add_vm, c);
	c = start_change(c, err);
	if (c)
		stop_watching(kind, first, end);
	return c;
}

/* What is known of a range that no call of the kernel's shows. */
static void remember_marks(const struct mapping_change *c)
{
	enum primary_change k = c->kind;

	if (k == CHANGE_UNMAP || k == CHANGE_UFFD || k == CHANGE_UFFD_GONE)
		regions_mark(REGION_UFFD, c->start, c->end, k == CHANGE_UFFD);
	if (k == CHANGE_UNMAP || k == CHANGE_GUARD || k == CHANGE_GUARD_GONE)
		regions_mark(REGION_GUARD, c->start, c->end, k == CHANGE_GUARD);
}

bool primary_linux_guarded(hva_t start, u64 len)
{
	return len && regions_marked(REGION_GUARD, start, start + len);
}

void primary_linux_change_end(void *cookie)
{
	struct mapping_change *c = cookie;

	if (!c)
		return;
	if (c == &elsewhere) {
		regions_change_end();
		return;
	}
	if (c->kind != CHANGE_CONTENT) {
		regions_forget(c->start, c->end);
		remember_marks(c);
		regions_change_end();
	}
	end_all(c);
	pool_free(c);
}

/* ------------------------------------------------------------------ changes nobody told of */

/* How long after a look an entry into the guest need not look again: cycles, about a millisecond. */
#define LOOK_CYCLES (1ULL << 21)
#define NS_CYCLES   2 /* about a nanosecond */
/* So many windows of a VM are looked at then: some tens of microseconds. The next entry goes on with the others. */
#define LOOK_WINDOWS 32

bool primary_linux_no_looks;
static u64 looked; /* atomic: time stamp */
static u64 rest;   /* atomic: cycles that an entry leaves after its look, for what that used */

/* Every VM that has windows is stopped: -ENOMEM or 0. */
static int begin_everything(struct mapping_change *c, enum primary_change kind)
{
	c->kind = kind;
	c->start = 0;
	c->end = ~0ULL;
	regions_change_begin();
	registry_each(0, ~0ULL, add_vm, c);
	if (!c->no_memory && begin_all(c))
		return 0;
	regions_change_end();
	end_all(c);
	return -ENOMEM;
}

void *changes_begin_everything(void)
{
	struct mapping_change *c = pool_alloc();

	if (!c)
		return NULL;
	c->hide = true;
	if (!begin_everything(c, CHANGE_CONTENT))
		return c;
	pool_free(c);
	return NULL;
}

void changes_unmapped(void *all, hva_t start, hva_t end)
{
	struct mapping_change *c = all, gone = {.kind = CHANGE_UNMAP, .start = start, .end = end};

	for (struct begun *b = c->list; b; b = b->next) {
		if (b->token)
			b->p->notifier.zap(b->token, start, end);
		windows_drop_first(b->p, start, end);
	}
	regions_forget(start, end);
	remember_marks(&gone);
}

void changes_end_everything(void *all)
{
	struct mapping_change *c = all;

	regions_change_end();
	end_all(c);
	pool_free(c);
}

void changes_drop_everything(void)
{
	struct mapping_change c = {NULL};

	if (begin_everything(&c, CHANGE_PROTECT))
		return; /* out of memory: they are looked at by and by */
	regions_change_end();
	end_all(&c);
}

/* As a change of what the window shows, which has happened. */
static void has_changed(hva_t start, hva_t end, void *unused)
{
	int err;

	primary_linux_change_end(primary_linux_change_begin(start, end - start, CHANGE_UNMAP, &err));
}

static void look_at_all(struct primary_linux *p)
{
	hva_t from = 0;

	windows_look(p, &from, ~0U, has_changed, NULL);
}

static void look_at_some(struct primary_linux *p)
{
	hva_t from = sync_load(&p->look_from);

	windows_look(p, &from, LOOK_WINDOWS, has_changed, NULL);
	sync_store(&p->look_from, from);
}

static void look_again(void (*look)(struct primary_linux *p))
{
	struct mapping_change c = {NULL};

	sync_store(&looked, __builtin_ia32_rdtsc());
	if (primary_linux_no_looks || !windows_any())
		return;
	registry_each(0, ~0ULL, add_vm, &c);
	for (struct begun *b = c.list; b; b = b->next)
		look(b->p);
	end_all_unchanged(&c);
}

void changes_look_again(void)
{
	look_again(look_at_all);
}

void primary_linux_look_at_entry(void)
{
	u64 used;

	if (!windows_any() || __builtin_ia32_rdtsc() - sync_load(&looked) <= MAX(LOOK_CYCLES, sync_load(&rest)))
		return;
	used = linux_used_ns();
	look_again(look_at_some);
	/* Before Linux 6.11 a look reads all of /proc/self/maps, which may take longer than from one to the next. */
	sync_store(&rest, LOOK_SHARE * NS_CYCLES * (linux_used_ns() - used));
}

/* ------------------------------------------------------------------ for statistics */

struct ranges {
	u64 n;
	struct primary_range first[PRIMARY_UFFD_SHOWN];
};

static void add_marked(hva_t start, hva_t end, void *arg)
{
	struct ranges *r = arg;

	if (r->n < PRIMARY_UFFD_SHOWN)
		r->first[r->n] = (struct primary_range){start, end};
	r->n++;
}

static void add_marked_of_slot(hva_t start, hva_t end, void *arg)
{
	regions_each_marked(REGION_UFFD, start, end, add_marked, arg);
}

static void report_vm(struct primary_linux *p, void *unused)
{
	struct ranges r = {0};

	registry_each_range(p, add_marked_of_slot, &r);
	p->notifier.under_uffd(p->notifier.mmu, r.n, r.first);
}

void changes_report_uffd(void)
{
	if (regions_uffd_seen())
		registry_each(0, ~0ULL, report_vm, NULL);
}

/* ------------------------------------------------------------------ stepping aside */

struct aside {
	struct mapping_change c;
	struct own_range part;
};

static void add_windows_at(struct primary_linux *p, void *arg)
{
	struct aside *a = arg;
	struct window_piece w;

	if (windows_at(p, a->part.start, a->part.end, &w))
		add(&a->c, p, w.start, w.end);
}

/* The windows that lie in a->part, one of each VM after the other. */
static bool drop_windows(struct aside *a)
{
	do {
		a->c = (struct mapping_change){.kind = CHANGE_UNMAP};
		registry_each(0, ~0ULL, add_windows_at, a);
		if (a->c.no_memory || !begin_all(&a->c)) {
			end_all(&a->c);
			return false;
		}
		if (!a->c.list)
			return true;
		end_all(&a->c);
	} while (true);
}

/*
 * The address space goes first, so that no window is put there any more; what was mapped there is
 * unmapped when no vCPU and no book leads there.
 */
int primary_linux_step_aside(u64 start, u64 len)
{
	u64 first = start & PAGE_MASK, end = ALIGN_UP(start + len, PAGE_SIZE);
	struct own_range fixed;
	struct aside a;
	int r;

	if (end <= first || !registry_ours())
		return 0;
	if (own_find(OWN_IMMOVABLE, first, end, &fixed))
		return -ENOMEM;
	while ((r = space_leave(first, end, &a.part)) > 0) {
		if (!drop_windows(&a))
			return -ENOMEM;
		syscall(SYS_munmap, a.part.start, a.part.end - a.part.start);
	}
	return r;
}

/* ------------------------------------------------------------------ files */

struct file_change {
	struct mapping_change *c;
	struct primary_linux *p;
	u64 ino, off, end;
};

static void add_piece(const struct region *r, void *arg)
{
	struct file_change *f = arg;
	u64 r_end = r->off + (r->end - r->start);

	if (f->off < r_end && r->off < f->end)
		add(f->c, f->p, r->start + (MAX(f->off, r->off) - r->off),
		    r->start + (MIN(f->end, r_end) - r->off));
}

static void add_range(hva_t start, hva_t end, void *arg)
{
	struct file_change *f = arg;

	regions_each_of_file(f->ino, start, end, add_piece, f);
}

static void add_vms_files(struct primary_linux *p, void *arg)
{
	struct file_change *f = arg;

	f->p = p;
	registry_each_range(p, add_range, f);
}

/*
 * By inode number alone: the device that stat() names is not always the one the mapping has, and
 * an invalidation too many does no harm. The host takes the pages out of windows as well as out
 * of the VMM's own mapping, so windows stay.
 */
void *linux_file_change_begin(u64 ino, u64 off, u64 len, int *err)
{
	struct file_change f = {.ino = ino,
				.off = off & PAGE_MASK,
				.end = off + len < off ? ~0ULL : off + len};

	*err = 0;
	if (!len || registry_empty())
		return NULL;
	f.end = f.end > ~PAGE_SIZE ? f.end : ALIGN_UP(f.end, PAGE_SIZE);
	f.c = pool_alloc();
	if (!f.c) {
		*err = -ENOMEM;
		return NULL;
	}
	f.c->kind = CHANGE_CONTENT;
	registry_each(0, ~0ULL, add_vms_files, &f);
	return start_change(f.c, err);
}

void *primary_linux_file_change_begin(int fd, u64 off, u64 len, int *err)
{
	struct stat st;

	*err = 0;
	if (!len || registry_empty() || syscall(SYS_fstat, fd, &st) || !S_ISREG(st.st_mode))
		return NULL;
	return linux_file_change_begin(st.st_ino, off, len, err);
}

/* ------------------------------------------------------------------ fork */

/*
 * A fork makes private memory copy-on-write and shared memory stay shared. Guests reach private
 * memory by direct frames, where the host's MMU copies on the next write, whoever makes it; and a
 * window, which shows shared memory, is not inherited. So there is nothing to forget, and the
 * child, which finds its pid not to be the registry's, takes none of the locks it may have
 * inherited held. A store that is being made must not be inherited half made.
 */
void primary_linux_fork_begin(void)
{
	stores_fork_begin();
}

void primary_linux_fork_end(bool child)
{
	stores_fork_end(child);
	if (child)
		heap_forked_child();
}
