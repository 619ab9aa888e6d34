/* SPDX-License-Identifier: MIT */
/*
 * preload/mapping.c: changes the VMM makes to its own address space, told to primary/linux
 * before and after.
 */
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/uio.h>
#include "abi/abi.h"
#include "base/guard.h"
#include "base/own.h"
#include "base/pagemem.h"
#include "preload/preload.h"
#include "preload/real.h"
#include "primary/linux/linux.h"

#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
/* Since Linux 6.13, on shared memory since 6.15. */
#define MADV_GUARD_INSTALL_ 102
#define MADV_GUARD_REMOVE_  103
#define NO_KEY (-2) /* mprotect() */

/* ------------------------------------------------------------------ mmap, munmap, mremap */

static long map_file(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	struct mask_window w;
	long r;

	mask_enter(&w);
	r = abi_mmap_check(fd, len, prot, flags, off);
	if (r == 0) {
		r = raw6(SYS_mmap, (long)addr, (long)len, prot, flags, fd, off);
		if (r >= 0 || r < -4095)
			abi_mapped(fd, (void *)r, len, prot, off);
	}
	mask_leave(&w);
	return r;
}

/*
 * A library that came with us asks for memory (liburcu, for its readers): it is ours as well, and no
 * guest's.
 */
static bool for_ourselves(const void *caller, const void *addr, int flags)
{
	return armed() && !addr && (flags & MAP_ANONYMOUS) &&
	       own_overlaps((u64)caller, (u64)caller + 1);
}

void *map_for_vmm(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	struct change c = {0};
	long r;

	/* A mere wish is one, too, where nothing of the VMM's is. */
	r = addr ? change_make_room(addr, len) : 0;
	if (r && (flags & MAP_FIXED))
		return (void *)raw_errno(r);
	if ((flags & MAP_FIXED) && !change_begin(&c, "mmap", addr, len, CHANGE_UNMAP))
		return MAP_FAILED;
	if (armed() && !(flags & MAP_ANONYMOUS) && fd >= 0)
		r = map_file(addr, len, prot, flags, fd, off);
	else
		r = raw6(SYS_mmap, (long)addr, (long)len, prot, flags, fd, off);
	return (void *)change_end(&c, r);
}

EXPORT void *mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	void *p;

	if (!for_ourselves(__builtin_return_address(0), addr, flags))
		return map_for_vmm(addr, len, prot, flags, fd, off);
	p = pagemem_alloc(len);
	return p ? p : MAP_FAILED;
}
ALIAS(mmap64, mmap);

static long unmap(void *addr, size_t len)
{
	struct change c = {0};
	int r = change_make_room(addr, len);

	if (r)
		return raw_errno(r);
	if (!change_begin(&c, "munmap", addr, len, CHANGE_UNMAP))
		return -1;
	return change_end(&c, raw2(SYS_munmap, addr, len));
}

EXPORT int munmap(void *addr, size_t len)
{
	u64 at = (u64)addr, end = ALIGN_UP(at + len, PAGE_SIZE);
	struct own_range ours;

	/* Of what the VMM unmaps only its own goes. */
	while (armed() && !(at & ~PAGE_MASK) && own_find(OWN_IMMOVABLE, at, end, &ours)) {
		if (ours.start > at && unmap((void *)at, ours.start - at))
			return -1;
		at = ours.end;
		if (at == end)
			return 0;
	}
	return (int)unmap((void *)at, at == (u64)addr ? len : end - at);
}

EXPORT void *mremap(void *old, size_t old_len, size_t new_len, int flags, ...)
{
	struct change from = {0}, to = {0}, guard = {0};
	void *target = NULL;
	bool guarded;
	va_list ap;
	long r;

	va_start(ap, flags);
	if (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP))
		target = va_arg(ap, void *);
	va_end(ap);
	if (change_before_ours(old, MAX(old_len, (size_t)1)) < old_len)
		return (void *)raw_errno(-EFAULT);
	r = flags & MREMAP_FIXED ? change_make_room(target, new_len) : 0;
	if (r)
		return (void *)raw_errno(r);
	guarded = armed() && primary_linux_guarded((u64)old, old_len);
	/* old size 0 takes nothing away: it makes a second mapping */
	if (!change_begin(&from, "mremap", old, old_len, CHANGE_UNMAP))
		return MAP_FAILED;
	if ((flags & MREMAP_FIXED) && !change_begin(&to, "mremap", target, new_len, CHANGE_UNMAP)) {
		r = -errno;
	} else {
		r = raw5(SYS_mremap, old, old_len, new_len, flags, target);
		change_end(&to, r);
	}
	/* Guard pages go with the mapping. */
	if (guarded && (r >= 0 || r < -4095)) {
		change_begin(&guard, "mremap", (void *)r, new_len, CHANGE_GUARD);
		change_end(&guard, r);
	}
	return (void *)change_end(&from, r);
}

EXPORT int remap_file_pages(void *addr, size_t len, int prot, size_t page, int flags)
{
	u64 start = ALIGN_DOWN((u64)addr, PAGE_SIZE);
	struct change c = {0};

	if (change_before_ours((void *)start, len) < len)
		return (int)raw_errno(-EINVAL);
	if (!change_begin(&c, "remap_file_pages", (void *)start, len, CHANGE_UNMAP))
		return -1;
	return (int)change_end(&c, raw5(SYS_remap_file_pages, addr, len, prot, page, flags));
}

/* ------------------------------------------------------------------ System V shared memory */

EXPORT int shmdt(const void *addr)
{
	struct change c = {0};
	u64 len = armed() ? primary_linux_shm_len((u64)addr) : 0;

	/* Perhaps not all of it goes, so what is known of it is kept: a change, not an end. */
	if (!change_begin(&c, "shmdt", addr, len, CHANGE_PROTECT))
		return -1;
	return (int)change_end(&c, raw1(SYS_shmdt, addr));
}

EXPORT void *shmat(int id, const void *addr, int flags)
{
	struct change c = {0};
	struct shmid_ds ds;

	if (armed() && addr && raw3(SYS_shmctl, id, IPC_STAT, &ds) >= 0) {
		u64 at = flags & SHM_RND ? ALIGN_DOWN((u64)addr, PAGE_SIZE) : (u64)addr;
		int r = change_make_room((void *)at, ds.shm_segsz);

		if (r && (flags & SHM_REMAP))
			return (void *)raw_errno(r);
		/* Only then does it take the place of what is there. */
		if ((flags & SHM_REMAP) && !change_begin(&c, "shmat", (void *)at, ds.shm_segsz, CHANGE_UNMAP))
			return MAP_FAILED;
	}
	return (void *)change_end(&c, raw3(SYS_shmat, id, addr, flags));
}

/* ------------------------------------------------------------------ protection and contents */

static int protect(void *addr, size_t len, int prot, int pkey)
{
	u64 reach = change_before_ours(addr, len);
	struct change c = {0};
	long r = 0;

	if (reach || !len) {
		if (!change_begin(&c, "mprotect", addr, reach, CHANGE_PROTECT))
			return -1;
		r = pkey == NO_KEY ? raw3(SYS_mprotect, addr, reach, prot)
				   : raw4(SYS_pkey_mprotect, addr, reach, prot, pkey);
	}
	return (int)change_end(&c, !r && reach < len ? -ENOMEM : r);
}

EXPORT int mprotect(void *addr, size_t len, int prot)
{
	return protect(addr, len, prot, NO_KEY);
}

EXPORT int pkey_mprotect(void *addr, size_t len, int prot, int pkey)
{
	/* -1 means no key, too (pkey_mprotect(2)), but an old kernel has no such call. */
	return protect(addr, len, prot, pkey);
}

static bool takes_pages(int advice)
{
	switch (advice) {
	case MADV_DONTNEED:
	case MADV_DONTNEED_LOCKED:
	case MADV_FREE:
	case MADV_REMOVE:
	case MADV_COLLAPSE:
	case MADV_HWPOISON:
		return true;
	default:
		return false;
	}
}

/* What kind of change this advice is; -1: none. */
static int change_by_advice(int advice)
{
	if (advice == MADV_GUARD_INSTALL_)
		return CHANGE_GUARD;
	if (advice == MADV_GUARD_REMOVE_)
		return CHANGE_GUARD_GONE;
	return takes_pages(advice) ? CHANGE_CONTENT : -1;
}

EXPORT int madvise(void *addr, size_t len, int advice)
{
	u64 reach = change_before_ours(addr, len);
	int kind = change_by_advice(advice);
	struct change c = {0};
	long r = 0;

	if (kind >= 0 && !change_begin(&c, "madvise", addr, reach, kind))
		return -1;
	if (reach || !len)
		r = raw3(SYS_madvise, addr, reach, advice);
	return (int)change_end(&c, !r && reach < len ? -ENOMEM : r);
}

EXPORT int posix_madvise(void *addr, size_t len, int advice)
{
	/* POSIX_MADV_DONTNEED may not lose data: Linux's libc makes nothing of it */
	if (advice == POSIX_MADV_DONTNEED)
		return 0;
	return (int)-raw3(SYS_madvise, addr, len, advice);
}

/*
 * Whose memory pidfd means does not matter: an invalidation too many is harmless. The ranges
 * are covered by one.
 */
EXPORT ssize_t process_madvise(int pidfd, const struct iovec *iov, size_t n, int advice,
			       unsigned int flags)
{
	int kind = change_by_advice(advice);
	struct change c = {0};

	if (armed() && kind >= 0 && n && n <= UIO_MAXIOV) {
		u64 lo = ~0ULL, hi = 0;

		for (size_t i = 0; i < n; i++) {
			struct iovec v;

			if (guard_copy_from(&v, &iov[i], sizeof(v)))
				return raw_errno(-EFAULT);
			lo = MIN(lo, (u64)v.iov_base);
			hi = MAX(hi, (u64)v.iov_base + v.iov_len);
		}
		if (hi > lo && !change_begin(&c, "process_madvise", (void *)lo, hi - lo, kind))
			return -1;
	}
	return change_end(&c, raw5(SYS_process_madvise, pidfd, iov, n, advice, flags));
}

EXPORT int mlockall(int flags)
{
	struct mask_window w;
	int r;

	if (!armed() || !preload_own_process())
		return (int)raw_errno(raw1(SYS_mlockall, flags));
	mask_enter(&w);
	r = primary_linux_lock_all(flags);
	mask_leave(&w);
	return (int)raw_errno(r);
}

/* ------------------------------------------------------------------ the heap */

/* The break's new place takes [lower, now) away. False: errno is set. */
static bool begin_break(struct change *c, u64 now, u64 lower)
{
	u64 page = ALIGN_DOWN(lower, PAGE_SIZE);

	return lower >= now || change_begin(c, "brk", (void *)page, now - page, CHANGE_UNMAP);
}

static u64 break_now(void)
{
	return armed() ? (u64)raw1(SYS_brk, 0) : 0;
}

EXPORT int brk(void *addr)
{
	struct change c = {0};
	int r;

	if (!begin_break(&c, break_now(), (u64)addr))
		return -1;
	r = REAL(brk)(addr);
	change_end(&c, 0);
	return r;
}

EXPORT void *sbrk(intptr_t delta)
{
	u64 now = delta < 0 ? break_now() : 0;
	struct change c = {0};
	void *r;

	if (now && !begin_break(&c, now, now + (u64)delta))
		return (void *)-1;
	r = REAL(sbrk)(delta);
	change_end(&c, 0);
	return r;
}
