/* SPDX-License-Identifier: MIT */
/*
 * cli/stat_time.c: where a VM's time goes. A vCPU says in its page what it is doing, which costs it a
 * store; who looks a thousand times a second knows the shares.
 */
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include "base/clock.h"
#include "cli/stat.h"

const char *stat_time_name(unsigned time)
{
	static const char *const names[] = {
		[STATPAGE_LOOP] = "events",
		[STATPAGE_GENERATED] = "generated",
		[STATPAGE_HANDLER] = "handlers",
		[STATPAGE_INTERPRETER] = "interpreter",
		[STATPAGE_WALK] = "walks",
		[STAT_FAULT] = "faults",
		[STAT_HALTED] = "halted",
		[STAT_VMM] = "vmm",
	};

	return names[time];
}

static unsigned where(const struct statpage_vcpu *s)
{
	u64 place = s->code.place;

	if (s->state != STATPAGE_RUN)
		return s->state == STATPAGE_HALTED ? STAT_HALTED : STAT_VMM;
	if (s->faults.under_way)
		return STAT_FAULT;
	return place < STATPAGE_PLACES ? (unsigned)place : STATPAGE_LOOP;
}

void stat_look(const struct stat_vm *v, u32 (*time)[STAT_TIMES])
{
	static struct statpage_vcpu s;

	for (u32 i = 0; i < v->vm->nvcpus; i++) {
		if (pread(v->fd, &s, sizeof(s), (off_t)((1 + i) * PAGE_SIZE)) == sizeof(s))
			time[i][where(&s)]++;
	}
}

void stat_watch(struct stat_vms *vms, unsigned ms)
{
	u64 end = clock_ns(CLOCK_MONOTONIC) + ms * (NSEC_PER_SEC / 1000);

	for (unsigned i = 0; i < vms->n; i++)
		vms->vm[i].time = calloc(vms->vm[i].vm->nvcpus + 1, sizeof(vms->vm[i].time[0]));
	do {
		for (unsigned i = 0; i < vms->n; i++) {
			struct stat_vm *v = &vms->vm[i];

			if (!v->time)
				continue;
			stat_look(v, v->time);
			v->looks++;
		}
		usleep(STAT_LOOK_MS * 1000);
	} while (clock_ns(CLOCK_MONOTONIC) < end);
}

const char *stat_time_line(const u64 sum[STAT_TIMES], char *buf, size_t size)
{
	int at = snprintf(buf, size, "time:");
	u64 all = 0;

	for (unsigned t = 0; t < STAT_TIMES; t++)
		all += sum[t];
	for (unsigned t = 0; t < STAT_TIMES && (size_t)at < size; t++)
		at += snprintf(buf + at, size - (size_t)at, "%s %s %.1f %%", t ? "," : "", stat_time_name(t),
			       100.0 * (double)sum[t] / (double)(all ? all : 1));
	return buf;
}
