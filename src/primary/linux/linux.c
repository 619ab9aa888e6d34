/* SPDX-License-Identifier: MIT */
/*
 * The primary MMU's operations on a real process.
 *
 * Why a direct frame may say "writable" after a mere read: what the host's page table holds then
 * (the zero page, a page still shared copy-on-write, a clean page of a file) is no promise, but
 * none is needed. The host's MMU checks the guest's store again and does what the mapping asks
 * for, at the same address. The SPTE only has to be no laxer than the mapping's permission. A
 * window has the permission of the mapping it duplicates, and the same holds there.
 *
 * Pages are the kernel's: no frame holds a reference, and accessed and dirty are kept by the host's
 * page tables, so a frame's release has nothing to do.
 */
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "base/guard.h"
#include "primary/linux/internal.h"
#include "primary/linux/maps.h"
#include "primary/linux/notifier.h"

bool primary_linux_no_windows;

int primary_linux_create(void **out)
{
	struct primary_linux *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	rwlock_init(&p->windows_lock);
	registry_add(p);
	maps_hold();
	*out = p;
	return 0;
}

void primary_linux_start(void)
{
	notifier_start();
}

static void linux_destroy(void *primary)
{
	struct primary_linux *p = primary;

	assert(!p->ranges.root);
	registry_remove(p);
	windows_drop(p, 0, ~0ULL);
	rwlock_destroy(&p->windows_lock);
	free(p);
}

/* ------------------------------------------------------------------ faulting in */

/* What the guarded access died of. */
static int guard_error(void)
{
	if (guard_fault.sig == GUARD_BROKEN_OFF)
		return -EAGAIN;
	if (guard_fault.sig == SIGBUS && guard_fault.code == BUS_MCEERR_AR)
		return -EHWPOISON;
	return -EFAULT;
}

int linux_touch(hva_t at, bool write, bool (*interrupted)(void *arg), void *arg)
{
	u32 kicks = guard_kicks;

	if (interrupted && interrupted(arg))
		return -EINTR;
	return guard_touch_unless_kicked((void *)at, write, kicks) ? guard_error() : 0;
}

static int touch(const struct region *r, hva_t at, bool write, bool (*interrupted)(void *arg),
		 void *arg)
{
	/* Secret memory is in the VMM's page tables only: KVM cannot pin it (memfd_secret(2)). */
	if (r->secret || (write ? !r->writable : !r->readable))
		return -EFAULT;
	return r->special ? 0 : linux_touch(at, write, interrupted, arg);
}

/* Largest level whose aligned block around hva lies in [start, end). */
u64 linux_used_ns(void)
{
	struct timespec t;

	/* from our text: a program's own filter lets pass what is called there, and the vDSO's call it may not */
	syscall(SYS_clock_gettime, CLOCK_THREAD_CPUTIME_ID, &t);
	return (u64)t.tv_sec * 1000000000 + (u64)t.tv_nsec;
}

int linux_block_level(hva_t start, hva_t end, hva_t hva)
{
	int level;

	for (level = LEVEL_1G; level > LEVEL_4K; level--) {
		hva_t first = ALIGN_DOWN(hva, LEVEL_SIZE(level));

		if (first >= start && first + LEVEL_SIZE(level) <= end)
			break;
	}
	return level;
}

static int region_level(const struct region *r, hva_t hva)
{
	/* Under a userfaultfd each page is a fault of its own, taken outside guest mode. */
	return r->uffd || r->special ? LEVEL_4K : linux_block_level(r->start, r->end, hva);
}

static bool wants_window(const struct region *r)
{
	return r->shared && !r->special && !r->uffd && !r->guarded && !r->fixed && !primary_linux_no_windows;
}

/*
 * Where to touch: in the window, if there is one, because the vCPU's access goes there, and a page
 * that only the VMM's own mapping shows would cost it a second fault of the host's. A window that
 * is taken away meanwhile answers -EFAULT, or for whatever came in its place: the touch changes
 * nothing there, and the invalidation that took the window makes this fault start over.
 */
static hva_t touch_at(struct primary_linux *p, const struct region *r, hva_t hva)
{
	struct window_piece w;

	return wants_window(r) && windows_find(p, hva, &w) ? hva + w.delta : hva;
}

/* 0; 1: to be reached directly; -EAGAIN. */
static int window_frame(struct primary_linux *p, const struct region *r, hva_t hva, u64 epoch,
			struct frame *f)
{
	struct window_piece w;
	int err;

	if (!windows_find(p, hva, &w)) {
		/* None can be made until no mapping changes, and that may take long. */
		if (!regions_unchanged(epoch))
			return 1;
		err = windows_make(p, r, hva, epoch);
		if (err == -EAGAIN)
			return err;
		if (err) {
			regions_set_fixed(hva);
			return 1;
		}
		if (!windows_find(p, hva, &w))
			return -EAGAIN;
	}
	f->host = (void *)((hva & PAGE_MASK) + w.delta);
	f->max_level = (u8)linux_block_level(MAX(w.start, r->start), MIN(w.end, r->end), hva);
	return 0;
}

static int frame_make(struct primary_linux *p, const struct region *r, hva_t hva, u64 epoch,
		      struct frame *f)
{
	int err = 1;

	*f = (struct frame){
		.host = (void *)(hva & PAGE_MASK),
		.writable = r->writable,
		.dirties = !r->special,
		.unprobed = r->special,
		.max_level = (u8)region_level(r, hva),
		/* A private mapping, too, shows the file's page until it is written. */
		.object = r->ino,
		.index = (r->off + ((hva & PAGE_MASK) - r->start)) >> PAGE_SHIFT,
	};
	if (wants_window(r))
		err = window_frame(p, r, hva, epoch, f);
	f->pfn = (u64)f->host >> PAGE_SHIFT;
	return MIN(err, 0);
}

/*
 * What of the VMM's is mapped at hva: where something of ours is, nothing. Where the kernel does not say (no /proc, no descriptor left) the touch
 * alone decides: one private page, and what the access needs of it.
 */
static int find_region(hva_t hva, bool write, bool anew, struct region *r, u64 *epoch)
{
	int err;

	if (own_overlaps(hva & PAGE_MASK, (hva & PAGE_MASK) + PAGE_SIZE))
		return -EFAULT;
	err = anew ? regions_ask(hva, r, epoch) : regions_find(hva, r, epoch);

	if (!err || err == -EFAULT)
		return err;
	*r = (struct region){
		.start = hva & PAGE_MASK,
		.end = (hva & PAGE_MASK) + PAGE_SIZE,
		.readable = true,
		.writable = write,
	};
	return 0;
}

static int linux_fault_in(void *primary, hva_t hva, bool write, bool (*interrupted)(void *arg),
			  void *arg, struct frame *out)
{
	struct region r;
	u64 epoch;
	int err;

	err = find_region(hva, write, false, &r, &epoch);
	if (!err)
		err = touch(&r, touch_at(primary, &r, hva), write, interrupted, arg);
	if (err == -EFAULT) {
		/* It may be what we remember that is wrong: a change nobody told us of. */
		regions_forget(hva & PAGE_MASK, (hva & PAGE_MASK) + PAGE_SIZE);
		err = find_region(hva, write, true, &r, &epoch);
		if (!err)
			err = touch(&r, hva, write, interrupted, arg);
	}
	return err ? err : frame_make(primary, &r, hva, epoch, out);
}

static void linux_release(void *primary, struct frame *f, bool accessed, bool dirty)
{
	assert(!f->page);
}

static void linux_zapped(void *primary, u64 pfn, bool page_backed, bool accessed, bool dirty)
{
	assert(!page_backed);
}

/* ------------------------------------------------------------------ the rest */

/* User space has no pin that outlives a truncation or a migration, and nothing here needs one:
 * host-side uses go by the hva, guarded, each time. */
static int linux_pin(void *primary, hva_t hva, u64 len, void **cookie)
{
	return -EOPNOTSUPP;
}

static void linux_unpin(void *primary, void *cookie)
{
}

static int linux_range_add(void *primary, hva_t start, u64 len)
{
	int err;

	/* Changes made while no memslot was there were not told to us. */
	regions_change_begin();
	err = registry_range_add(primary, start, len);
	regions_forget(start, start + len);
	regions_change_end();
	return err;
}

static void linux_range_remove(void *primary, hva_t start, u64 len)
{
	registry_range_remove(primary, start, len);
}

static void linux_set_notifier(void *primary, const struct primary_notifier *n)
{
	struct primary_linux *p = primary;

	p->notifier = *n; /* before the first range, so nobody looks yet */
}

static bool linux_may_reach(void *primary, u64 pfn)
{
	hva_t at = pfn << PAGE_SHIFT;

	/* Ours: a store's page, which any VM may have. */
	return registry_has(primary, at) || own_overlaps(at, at + PAGE_SIZE);
}

/* One access of `n` bytes, a power of two. */
static bool access_one(void *host, void *buf, u64 n, bool write)
{
	u64 v = 0;
	bool ok;

	memcpy(&v, buf, n);
	switch (n) {
	case 8:
		ok = write ? guard_store64(host, v) : guard_load64(host, &v);
		break;
	case 4:
		ok = write ? guard_store32(host, (u32)v) : guard_load32(host, (u32 *)&v);
		break;
	case 2:
		ok = write ? guard_store16(host, (u16)v) : guard_load16(host, (u16 *)&v);
		break;
	default:
		ok = write ? guard_store8(host, (u8)v) : guard_load8(host, (u8 *)&v);
	}
	memcpy(buf, &v, write ? 0 : n);
	return ok;
}

static int linux_access(void *primary, hva_t hva, void *host, void *buf, u64 len, bool write)
{
	for (u64 n; len; len -= n, host = (u8 *)host + n, buf = (u8 *)buf + n) {
		for (n = 8; n > len || ((u64)host & (n - 1)); n /= 2)
			;
		if (!access_one(host, buf, n, write))
			return guard_error();
	}
	return 0;
}

static int linux_copy_from(void *primary, hva_t src, void *dst, u64 len)
{
	if (own_overlaps(src, src + len))
		return -EFAULT;
	return guard_copy_from(dst, (const void *)src, len);
}

static int linux_copy_to(void *primary, hva_t dst, const void *src, u64 len)
{
	if (own_overlaps(dst, dst + len))
		return -EFAULT;
	return guard_copy_to((void *)dst, src, len);
}

const struct primary_ops primary_linux_ops = {
	.store = &primary_linux_store_ops,
	.fault_in = linux_fault_in,
	.release = linux_release,
	.zapped = linux_zapped,
	.pin = linux_pin,
	.unpin = linux_unpin,
	.range_add = linux_range_add,
	.range_remove = linux_range_remove,
	.set_notifier = linux_set_notifier,
	.may_reach = linux_may_reach,
	.access = linux_access,
	.copy_from = linux_copy_from,
	.copy_to = linux_copy_to,
	.destroy = linux_destroy,
};
