/* SPDX-License-Identifier: MIT */
#include "latency.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define SIGNAL	  (SIGRTMIN + 5)
#define BETWEEN_US 3000

static struct {
	int asked, runs; /* atomic */
	u64 since;	 /* its CPU time after it was asked, 0: not known yet; atomic */
	u64 entered;	 /* its CPU time when this KVM_RUN began; its thread's */
	u64 worst;	 /* its thread's */
} vcpu[MAX_VCPUS];
static pthread_t asker;
static int ending; /* atomic */
static __thread struct kvm_run *volatile my_run;
static __thread volatile int heard;

static u64 cpu_time(clockid_t clock)
{
	struct timespec t;

	return clock_gettime(clock, &t) ? 0 : (u64)t.tv_sec * 1000000000 + (u64)t.tv_nsec;
}

static u64 later(u64 a, u64 b)
{
	return a > b ? a : b;
}

/* Whenever it comes, this KVM_RUN or the next one ends. */
static void on_signal(int sig)
{
	heard = 1;
	if (my_run)
		my_run->immediate_exit = 1;
}

void latency_run(u32 index, struct kvm_run *run)
{
	my_run = run;
	vcpu[index].entered = cpu_time(CLOCK_THREAD_CPUTIME_ID);
	STORE(vcpu[index].runs, 1);
}

void latency_returned(u32 index)
{
	u64 since, took;

	if (!heard)
		return;
	heard = 0;
	my_run->immediate_exit = 0;
	/* What came while the VMM's own code ran, which may take as long as it likes, counts from KVM_RUN on. */
	since = LOAD(vcpu[index].since);
	took = since ? cpu_time(CLOCK_THREAD_CPUTIME_ID) - later(since, vcpu[index].entered) : 0;
	if (took > vcpu[index].worst)
		vcpu[index].worst = took;
	STORE(vcpu[index].asked, 0);
	MUST(took <= LATENCY_NS, "vCPU %u heard a signal after %lu us of its CPU time", index, took / 1000);
}

static void *ask(void *arg)
{
	for (u32 i = 0; !LOAD(ending); i = (i + 1) % machine.nvcpus) {
		clockid_t clock;

		usleep(BETWEEN_US);
		if (!LOAD(vcpu[i].runs) || LOAD(vcpu[i].asked) ||
		    pthread_getcpuclockid(machine.vcpus[i].thread, &clock))
			continue;
		STORE(vcpu[i].since, 0);
		STORE(vcpu[i].asked, 1);
		pthread_kill(machine.vcpus[i].thread, SIGNAL);
		STORE(vcpu[i].since, cpu_time(clock));
	}
	return NULL;
}

void latency_begin(void)
{
	struct sigaction sa = {.sa_handler = on_signal};

	sigaction(SIGNAL, &sa, NULL);
	MUST(!pthread_create(&asker, NULL, ask, NULL), "out of threads");
}

void latency_end(void)
{
	u64 worst = 0;

	STORE(ending, 1);
	pthread_join(asker, NULL);
	for (u32 i = 0; i < machine.nvcpus; i++)
		worst = vcpu[i].worst > worst ? vcpu[i].worst : worst;
	printf("a signal is heard within %lu us of a vCPU's CPU time\n", worst / 1000);
}
