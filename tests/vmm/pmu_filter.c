/* SPDX-License-Identifier: MIT */
/*
 * KVM_SET_PMU_EVENT_FILTER: what is well-formed is taken, with counters or without, and what is not
 * gets the error that KVM gives, in its order.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include "minivmm.h"

#define MOST 300 /* events in a filter */

static struct minivmm v;
static struct {
	struct kvm_pmu_event_filter f;
	uint64_t events[MOST + 1];
} filter;

static void expect_set(int error, const void *f, const char *what)
{
	int r = ioctl(v.vm, KVM_SET_PMU_EVENT_FILTER, f);

	EXPECT(error ? r == -1 && errno == error : r == 0, "%s: %d %s", what, r, strerror(errno));
}

static void fill(unsigned action, unsigned nevents)
{
	memset(&filter, 0, sizeof(filter));
	filter.f.action = action;
	filter.f.nevents = nevents;
}

/* The head stands at the end of memory: the events cannot be read. */
static void no_room_for_events(void)
{
	long page = sysconf(_SC_PAGESIZE);
	char *p = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct kvm_pmu_event_filter *f = (void *)(p + page - sizeof(*f));

	EXPECT(p != MAP_FAILED && !munmap(p + page, page), "mmap: %s", strerror(errno));
	f->action = KVM_PMU_EVENT_ALLOW;
	expect_set(0, f, "no event");
	f->nevents = 1;
	expect_set(EFAULT, f, "an event beyond the memory");
	munmap(p, page);
}

int main(void)
{
	minivmm_create(&v);
	EXPECT(ioctl(v.vm, KVM_CHECK_EXTENSION, KVM_CAP_PMU_EVENT_FILTER) == 1, "the capability");
	fill(KVM_PMU_EVENT_ALLOW, 2);
	filter.f.events[0] = 0xc0;
	expect_set(0, &filter, "two events");
	fill(KVM_PMU_EVENT_DENY, MOST);
	expect_set(0, &filter, "as many as may be");
	fill(KVM_PMU_EVENT_DENY, MOST + 1);
	expect_set(E2BIG, &filter, "one more");
	filter.f.flags = ~0u;
	expect_set(EINVAL, &filter, "unknown flags, and one more");
	fill(2, 0);
	expect_set(EINVAL, &filter, "an unknown action");
	expect_set(EFAULT, NULL, "no filter");
	no_room_for_events();
	return 0;
}
