/* SPDX-License-Identifier: MIT */
#include "latency.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>
#include "heard.h"

#define SIGNAL	   (SIGRTMIN + 5)
#define BETWEEN_US 3000

static struct heard vcpu[MAX_VCPUS];
static pthread_t asker;
static int ending; /* atomic */
static __thread struct kvm_run *volatile my_run;
static __thread volatile int signalled;

/* Whenever it comes, this KVM_RUN or the next one ends. */
static void on_signal(int sig)
{
	signalled = 1;
	if (my_run)
		my_run->immediate_exit = 1;
}

/* What came while the VMM's own code ran, which may take as long as it likes, counts from KVM_RUN on. */
void latency_run(u32 index, struct kvm_run *run)
{
	my_run = run;
	heard_listen(&vcpu[index]);
	heard_enters(&vcpu[index]);
}

void latency_returned(u32 index)
{
	if (!signalled)
		return;
	signalled = 0;
	my_run->immediate_exit = 0;
	MUST(!heard_late(&vcpu[index]), "vCPU %u heard a signal late", index);
}

void latency_leave(void)
{
	heard_leave();
}

static void *ask(void *arg)
{
	for (u32 i = 0; !LOAD(ending); i = (i + 1) % machine.nvcpus) {
		usleep(BETWEEN_US);
		heard_ask(&vcpu[i], SIGNAL);
		for (u32 j = 0; j < machine.nvcpus; j++)
			heard_look(&vcpu[j]);
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
