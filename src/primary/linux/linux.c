/* SPDX-License-Identifier: MIT */
/*
 * The primary MMU's operations on a real process, with direct frames: a vCPU reaches the page at
 * the VMM's own address.
 *
 * Why a direct frame may say "writable" after a mere read: what the host's page table holds then
 * (the zero page, a page still shared copy-on-write, a clean page of a file) is no promise, but
 * none is needed. The host's MMU checks the guest's store again and does what the mapping asks
 * for, at the same address. The SPTE only has to be no laxer than the mapping's permission.
 */
#include <stdlib.h>
#include "base/guard.h"
#include "primary/linux/internal.h"

bool primary_linux_no_windows;

int primary_linux_create(void **out)
{
	struct primary_linux *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	registry_add(p);
	*out = p;
	return 0;
}

static void linux_destroy(void *primary)
{
	struct primary_linux *p = primary;

	assert(!p->ranges.root);
	registry_remove(p);
	free(p);
}

/* Why the guarded touch failed, as fault_in()'s errno. */
static int touch_errno(bool (*interrupted)(void *arg), void *arg)
{
	if (guard_fault.sig == GUARD_BROKEN_OFF)
		return interrupted && interrupted(arg) ? -EINTR : -EAGAIN;
	if (guard_fault.sig == SIGBUS && guard_fault.code == BUS_MCEERR_AR)
		return -EHWPOISON;
	return -EFAULT;
}

/* Largest level whose aligned block around hva lies in the region. */
static int region_level(const struct region *r, hva_t hva)
{
	int level;

	for (level = LEVEL_1G; level > LEVEL_4K; level--) {
		hva_t start = ALIGN_DOWN(hva, LEVEL_SIZE(level));

		if (start >= r->start && start + LEVEL_SIZE(level) <= r->end)
			break;
	}
	return level;
}

static int linux_fault_in(void *primary, hva_t hva, unsigned flags, bool (*interrupted)(void *arg),
			  void *arg, struct frame *out)
{
	bool write = flags & FAULT_WRITE;
	struct region r;
	int err = regions_find(hva, &r);

	if (err)
		return err;
	if (write ? !r.writable : !r.readable)
		return -EFAULT;
	if (write ? guard_touch_write((void *)hva) : guard_touch_read((void *)hva)) {
		err = touch_errno(interrupted, arg);
		if (err == -EFAULT)
			regions_forget(); /* it may be the cache that is wrong */
		return err;
	}
	*out = (struct frame){
		.host = (void *)(hva & PAGE_MASK),
		.pfn = hva >> PAGE_SHIFT,
		.writable = r.writable,
		.dirties = true,
		.max_level = (u8)region_level(&r, hva),
	};
	return 0;
}

/* Nothing is held for a direct frame: the kernel keeps the page's marks itself. */
static void linux_release(void *primary, struct frame *f, bool accessed, bool dirty)
{
}

static void linux_zapped(void *primary, u64 pfn, bool page_backed, bool accessed, bool dirty)
{
}

static int linux_pin(void *primary, hva_t hva, u64 len, void **cookie)
{
	return -EOPNOTSUPP;
}

static void linux_unpin(void *primary, void *cookie)
{
}

static int linux_level(void *primary, hva_t hva)
{
	struct region r;
	int err = regions_find(hva, &r);

	return err ? err : region_level(&r, hva);
}

static int linux_range_add(void *primary, hva_t start, u64 len)
{
	return registry_range_add(primary, start, len);
}

static void linux_range_remove(void *primary, hva_t start, u64 len)
{
	registry_range_remove(primary, start, len);
}

static int linux_set_notifier(void *primary, const struct primary_notifier *n)
{
	struct primary_linux *p = primary;

	p->notifier = *n; /* before the first range, so nobody looks yet */
	return 0;
}

static int linux_copy_from(void *primary, hva_t src, void *dst, u64 len)
{
	return guard_copy_from(dst, (const void *)src, len);
}

static int linux_copy_to(void *primary, hva_t dst, const void *src, u64 len)
{
	return guard_copy_to((void *)dst, src, len);
}

const struct primary_ops primary_linux_ops = {
	.fault_in = linux_fault_in,
	.release = linux_release,
	.zapped = linux_zapped,
	.pin = linux_pin,
	.unpin = linux_unpin,
	.level = linux_level,
	.range_add = linux_range_add,
	.range_remove = linux_range_remove,
	.set_notifier = linux_set_notifier,
	.copy_from = linux_copy_from,
	.copy_to = linux_copy_to,
	.destroy = linux_destroy,
};
