/* SPDX-License-Identifier: MIT */
/*
 * mlockall(), of the VMM's memory alone. The kernel would lock what is reserved for us as well, and
 * refuse the call where that is more than the VMM may lock. So each of the VMM's mappings is locked by
 * itself, and the limit is held against their sum, as the kernel holds it against the process's.
 */
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "primary/linux/internal.h"
#include "primary/linux/maps.h"

/* Call fn for each mapping of the VMM's. 0 or -errno. */
static int each_mapping(void (*fn)(hva_t start, hva_t end, void *arg), void *arg)
{
	struct own_range ours;
	struct region r;
	hva_t at = 0;
	int err;

	for (; !(err = maps_next(at, &r)); at = r.end) {
		/* Mappings of both may be one to the kernel. */
		for (at = MAX(at, r.start); at < r.end && own_find(OWN_ALL, at, r.end, &ours);
		     at = ours.end) {
			if (at < ours.start)
				fn(at, ours.start, arg);
		}
		if (at < r.end)
			fn(at, r.end, arg);
	}
	return err == -EFAULT ? 0 : err;
}

static void add_size(hva_t start, hva_t end, void *sum)
{
	*(u64 *)sum += end - start;
}

/* What cannot be locked or filled is left as it is, by mlockall(2). */
static void lock_one(hva_t start, hva_t end, void *flags)
{
	syscall(SYS_mlock2, start, end - start, (unsigned)*(int *)flags & MCL_ONFAULT ? MLOCK_ONFAULT : 0);
}

static void unlock_ours(void)
{
	struct own_range r;

	for (u32 kind = 0; kind < OWN_KINDS; kind++) {
		for (u32 i = 0; own_next((enum own_kind)kind, &i, &r);)
			syscall(SYS_munlock, r.start, r.end - r.start);
	}
}

/* Without limits, or with them and the right to pass them. */
static int lock_everything(int flags)
{
	if (syscall(SYS_mlockall, flags))
		return -errno;
	unlock_ours();
	return 0;
}

int primary_linux_lock_all(int flags)
{
	struct rlimit rl;
	u64 sum = 0;
	int err;

	if (!(flags & MCL_CURRENT) || flags & ~(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) ||
	    getrlimit(RLIMIT_MEMLOCK, &rl) || !rl.rlim_cur)
		return lock_everything(flags);
	err = each_mapping(add_size, &sum);
	if (err || sum > rl.rlim_cur)
		return lock_everything(flags);
	/* First what is to come: the call without what is there now, which has nothing to count. */
	if (flags & MCL_FUTURE)
		err = syscall(SYS_mlockall, flags & ~MCL_CURRENT) ? -errno : 0;
	else
		err = syscall(SYS_munlockall) ? -errno : 0;
	return err ? err : each_mapping(lock_one, &flags);
}
