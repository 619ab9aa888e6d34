/* SPDX-License-Identifier: MIT */
/*
 * Steal time (KVM's x86/msr.rst, MSR_KVM_STEAL_TIME): how long this vCPU's thread was runnable
 * and did not run, as the host's scheduler counts it, and whether the vCPU executes at all just
 * now.
 */
#include "vm/pv.h"

#include <fcntl.h>
#include <linux/kvm_para.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <x86intrin.h>
#include "base/held.h"
#include "sync/atomic.h"
#include "vm/eventfd.h"

#define STEAL_SIZE 64 /* bytes of the area, which is aligned to them */

/* The scheduler is not asked more often: a look costs a system call. */
#define LOOKS_PER_MS 10

/* Offsets in the area. */
enum {
	AT_STEAL = 0,	   /* u64, ns */
	AT_VERSION = 8,	   /* u32, odd while the rest changes */
	AT_PREEMPTED = 16, /* u8 */
};

int steal_msr_write(struct vcpu *v, u64 value)
{
	if (value & KVM_STEAL_RESERVED_MASK)
		return -EINVAL;
	v->steal.msr = value;
	mmu_cache_unset(&v->steal.cache);
	if (!(value & KVM_MSR_ENABLED))
		return 0;
	mmu_cache_set(&v->steal.cache, value & ~(STEAL_SIZE - 1ULL), STEAL_SIZE);
	v->steal.preempted = true; /* so that the first update writes, whatever there is to say */
	mmu_vcpu_request(&v->cpu->mmu, VCPU_REQ_EVENT);
	return 0;
}

/* The VMM may have closed the number, and have made it its own since. */
static bool still_ours(const struct vcpu *v)
{
	struct stat st;

	return v->steal.fd >= 0 && !syscall(SYS_fstat, v->steal.fd, &st) &&
	       st.st_ino == v->steal.ino && st.st_dev == v->steal.dev;
}

void steal_fini(struct vcpu *v)
{
	if (still_ours(v))
		syscall(SYS_close, v->steal.fd);
	v->steal.fd = -1;
}

/* ns that this thread has waited for a processor, or 0 where the kernel does not say. */
static u64 run_delay(struct vcpu *v)
{
	int tid = sync_load(&v->tid);
	char line[96], *p;
	long n;

	if (v->steal.tid != tid || (v->steal.fd >= 0 && !still_ours(v))) {
		struct stat st = {0};

		steal_fini(v);
		v->steal.tid = tid;
		v->steal.counted = false;
		v->steal.fd = (int)syscall(SYS_openat, AT_FDCWD, "/proc/thread-self/schedstat",
					   O_RDONLY | O_CLOEXEC);
		if (v->steal.fd >= 0)
			v->steal.fd = held_renumber(v->steal.fd);
		syscall(SYS_fstat, v->steal.fd, &st);
		v->steal.ino = st.st_ino;
		v->steal.dev = st.st_dev;
	}
	if (v->steal.fd < 0)
		return 0;
	n = syscall(SYS_pread64, v->steal.fd, line, sizeof(line) - 1, 0);
	if (n <= 0)
		return 0;
	line[n] = 0;
	strtoull(line, &p, 10); /* time on a processor comes first */
	return strtoull(p, NULL, 10);
}

/* What has been stolen since the last call. */
static u64 newly_stolen(struct vcpu *v)
{
	u64 now = __rdtsc(), delay, stolen;

	if (v->steal.counted && now - v->steal.looked_at < v->vm->clock.khz / LOOKS_PER_MS)
		return 0;
	delay = run_delay(v);
	/*
	 * Time lost before the guest asked, or by another thread, is none of this vCPU's. And the
	 * VMM may have closed the descriptor: 0 is no count to go on from.
	 */
	stolen = v->steal.counted && delay > v->steal.delay ? delay - v->steal.delay : 0;
	v->steal.counted = true;
	v->steal.looked_at = now;
	v->steal.delay = delay;
	return stolen;
}

struct update {
	u64 stolen, total;
	bool total_known; /* it was read before the update was broken off */
};

static int write_update(struct mmu_cache *c, void *arg)
{
	struct update *u = arg;
	u64 total;
	u32 version;
	u8 preempted = 0;
	int r;

	if ((r = mmu_cache_write(c, AT_PREEMPTED, &preempted, sizeof(preempted))) ||
	    (r = mmu_cache_read(c, AT_VERSION, &version, sizeof(version))) ||
	    (r = mmu_cache_read(c, AT_STEAL, &total, sizeof(total))))
		return r;
	if (!u->total_known)
		u->total = total + u->stolen;
	u->total_known = true;
	version |= 1;
	if ((r = mmu_cache_write(c, AT_VERSION, &version, sizeof(version))) ||
	    (r = mmu_cache_write(c, AT_STEAL, &u->total, sizeof(u->total))))
		return r;
	version++;
	return mmu_cache_write(c, AT_VERSION, &version, sizeof(version));
}

void steal_update(struct vcpu *v)
{
	struct update u = {0};

	if (!(v->steal.msr & KVM_MSR_ENABLED))
		return;
	v->steal.owed += newly_stolen(v);
	u.stolen = v->steal.owed;
	if (!u.stolen && !v->steal.preempted)
		return;
	if (pv_use(v, &v->steal.cache, write_update, &u))
		return; /* owed until it can be written */
	v->steal.owed = 0;
	v->steal.preempted = false;
}

static int write_preempted(struct mmu_cache *c, void *arg)
{
	u8 preempted = KVM_VCPU_PREEMPTED;

	return mmu_cache_write(c, AT_PREEMPTED, &preempted, sizeof(preempted));
}

/* A hint: where it cannot be written at once, it is not. */
void steal_preempted(struct vcpu *v)
{
	if (!(v->steal.msr & KVM_MSR_ENABLED) || v->steal.preempted)
		return;
	mmu_cache_use(&v->steal.cache, MMU_CACHE_NOWAIT, write_preempted, NULL);
	v->steal.preempted = true;
}
