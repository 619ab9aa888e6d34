/* SPDX-License-Identifier: MIT */
/* vm/requeue.c: see requeue.h. */
#include "vm/requeue.h"

#include <sys/syscall.h>
#include <unistd.h>
#include "base/thread.h"
#include "sync/atomic.h"

#define FIRST_QUEUED 32		/* the kernel's SIGRTMIN: from here on signals queue */
#define NSIGNALS     64		/* its _NSIG */
#define MARK	     0x6b766d75 /* in the padding, which the kernel keeps as it is */
#define LINE_SIZE    16		/* more at once are given back without their order */

/* What the kernel keeps of a siginfo_t: sizeof(struct kernel_siginfo). */
struct kept_info {
	u64 word[6];
};

static u32 dropped[NSIGNALS + 1]; /* atomic: how often the kernel dropped all of a number */

/* Ahead of what the kernel holds, oldest first for each number. */
static __thread struct {
	int n;
	struct ahead {
		int sig;
		u32 dropped;
		struct kept_info info;
	} entry[LINE_SIZE];
} line __attribute__((tls_model("initial-exec")));

static bool to_thread(int sig, const siginfo_t *info)
{
	pid_t pid = (pid_t)syscall(SYS_getpid), tid = (pid_t)syscall(SYS_gettid);

	return syscall(SYS_rt_tgsigqueueinfo, pid, tid, sig, info) == 0;
}

static void remove_entry(int i)
{
	line.n--;
	memmove(&line.entry[i], &line.entry[i + 1],
		(size_t)(line.n - i) * sizeof(line.entry[0]));
}

static void insert_entry(int i, int sig, const siginfo_t *info)
{
	struct ahead *a = &line.entry[i];

	memmove(a + 1, a, (size_t)(line.n - i) * sizeof(*a));
	line.n++;
	a->sig = sig;
	a->dropped = sync_load(&dropped[sig]);
	memcpy(&a->info, info, sizeof(a->info));
}

/*
 * A queue that is full (RLIMIT_SIGPENDING) takes what looks like kill()'s, without its contents
 * (signal(7)): the signal is there, and what it says is in the line.
 */
static void put_marker(int sig, const siginfo_t *info)
{
	siginfo_t marker = *info, bare = {.si_signo = sig, .si_code = SI_USER};

	marker.__pad0 = MARK;
	if (!to_thread(sig, &marker))
		to_thread(sig, &bare);
}

void requeue_to_thread(int sig, const siginfo_t *info)
{
	if (sig < FIRST_QUEUED || line.n == LINE_SIZE) {
		to_thread(sig, info);
		return;
	}
	insert_entry(0, sig, info);
	put_marker(sig, info);
}

/*
 * Sent with kill(), by a timer, a message queue or the kernel. sigqueue() and pthread_sigqueue()
 * cannot be told apart: what they queue stays with the thread, in its order.
 */
static bool sent_to_process(int sig, const siginfo_t *info)
{
	if (info->si_code == SI_QUEUE)
		return sig < FIRST_QUEUED && info->si_pid != (pid_t)syscall(SYS_getpid);
	return info->si_code != SI_TKILL;
}

/*
 * What kill() or the kernel sent may be sent again as it was by the process's first thread only
 * (rt_sigqueueinfo(2)); another one's comes from the process itself.
 */
static void to_process(int sig, const siginfo_t *info)
{
	pid_t pid = (pid_t)syscall(SYS_getpid);

	if (syscall(SYS_rt_sigqueueinfo, pid, sig, info))
		syscall(SYS_kill, pid, sig);
}

void requeue_to_addressee(int sig, const siginfo_t *info)
{
	if (sent_to_process(sig, info))
		to_process(sig, info);
	else
		requeue_to_thread(sig, info);
}

/* The first of this number, or -1. Those that the kernel was made to drop go. */
static int find_entry(int sig)
{
	for (int i = 0; i < line.n;) {
		if (line.entry[i].sig != sig)
			i++;
		else if (line.entry[i].dropped == sync_load(&dropped[sig]))
			return i;
		else
			remove_entry(i);
	}
	return -1;
}

static bool is_pending(int sig)
{
	u64 set = 0;

	syscall(SYS_rt_sigpending, &set, KERNEL_SIGSET_BYTES);
	return set & BIT(sig - 1);
}

static bool is_marker(const siginfo_t *info)
{
	return (u32)info->__pad0 == MARK || (info->si_code == SI_USER && !info->si_pid);
}

void requeue_due(int sig, siginfo_t *info)
{
	bool marker;
	int i;

	if (likely(!line.n))
		goto out;
	i = find_entry(sig);
	if (i < 0)
		goto out;
	marker = is_marker(info);
	if (!marker && !is_pending(sig)) {
		/* its marker was taken by one who did not ask */
		remove_entry(i);
		goto out;
	}
	if (!marker) {
		if (line.n == LINE_SIZE)
			goto out;
		insert_entry(line.n, sig, info);
	}
	memcpy(info, &line.entry[i].info, sizeof(line.entry[i].info));
	remove_entry(i);
out:
	info->__pad0 = 0;
}

void requeue_dropped(int sig)
{
	sync_add(&dropped[sig], 1);
}

void requeue_forked_child(void)
{
	line.n = 0;
}
