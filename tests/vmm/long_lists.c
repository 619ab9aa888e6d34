/* SPDX-License-Identifier: MIT */
/*
 * A guest that makes lists of blocks long, and a signal to its vCPU: KVM_RUN ends soon, in the thread's
 * CPU time.
 *
 * "aliases": one page is executed at 600,000 linear addresses, each of which makes a block, and then its
 * bytes change. "chain": addresses are chosen so that their blocks share a bucket of the hash.
 *
 * How long a walk takes is a matter of memory, which others use as well: a signal that was heard late is
 * held against a walk of ours at that moment.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "heard.h"
#include "minivmm.h"

#define PAGES_2M 0x6000u /* a table whose entries all show the first 2 MiB */
#define LISTS	 0x7000u /* and one whose entries all are that table */
#define FUNCTION 0x9000u /* mov $imm8, %al; ret; and again every 64 bytes of the page */
#define STEP	 64u
#define TABLE	 0x40000u /* of addresses, 8 bytes each, for "chain" */
#define IN_CHAIN 4096u
#define ENOUGH	 1024u /* more than cpu/code/ looks at (FLOW_LONGEST) */
#define BUCKET_BITS 18
#define SWEEPS	 0x3f000u /* how often all have been executed */
/* A walk of all blocks took twice the first on an EPYC at 4 GHz. A stall may add a tick (heard.h). */
#define WORST_NS (HEARD_NS / 2)
#define WORST	 (heard_tick() * 3 / 2 > WORST_NS ? heard_tick() * 3 / 2 : WORST_NS)
#define LINES	 600000u /* of memory, in a ring as random as blocks are */
#define WALKED	 30000u /* of them: no list is that long */

/* RBX, R12: from, to; RBP: the step. */
GUEST(aliases, 64,
      "1: mov %rbx, %rdx\n"
      "2: lea 0x9000(%rdx), %rax\n call *%rax\n add %rbp, %rdx\n cmp %r12, %rdx\n jb 2b\n"
      "incb 0x9001\n incl 0x3f000\n jmp 1b\n");
/* RBX: the table; R12: its end. */
GUEST(chain, 64,
      "1: mov %rbx, %rdx\n"
      "2: call *(%rdx)\n add $8, %rdx\n cmp %r12, %rdx\n jb 2b\n"
      "incl 0x3f000\n jmp 1b\n");

static struct minivmm v;
static struct heard heard;
static pthread_t thread;
static volatile int came;
static _Atomic int stopping;

static struct line {
	struct line *next;
	char room[56];
} lines[LINES];

/* One ring through all of them (Sattolo's). */
static void make_ring(void)
{
	static unsigned order[LINES];
	uint64_t random = 1;

	for (unsigned i = 0; i < LINES; i++)
		order[i] = i;
	for (unsigned i = LINES - 1; i; i--) {
		unsigned j, was = order[i];

		random = random * 6364136223846793005ULL + 1442695040888963407ULL;
		j = (unsigned)((random >> 33) % i);
		order[i] = order[j];
		order[j] = was;
	}
	for (unsigned i = 0; i < LINES; i++)
		lines[order[i]].next = &lines[order[(i + 1) % LINES]];
}

/* CPU time of a walk through the next WALKED of the ring. */
static uint64_t walk_ns(void)
{
	static struct line *volatile at = lines;
	struct timespec a, b;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a);
	for (unsigned i = 0; i < WALKED; i++)
		at = at->next;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &b);
	return (uint64_t)(b.tv_sec - a.tv_sec) * 1000000000 + (uint64_t)b.tv_nsec - (uint64_t)a.tv_nsec;
}

static void on_signal(int sig)
{
	came = 1;
	v.run->immediate_exit = 1;
}

static void *run(void *what)
{
	heard_listen(&heard);
	while (!stopping) {
		int how = minivmm_run(&v);
		uint64_t took, walk;

		EXPECT(how == -EINTR, "exit %s (%d)", minivmm_exit_name(how), how);
		if (!came)
			continue;
		came = 0;
		v.run->immediate_exit = 0;
		took = heard_returned(&heard);
		walk = took <= WORST ? WORST : walk_ns();
		if (took > walk)
			heard_print(stderr, &heard);
		EXPECT(took <= walk, "%s: a signal was heard after %lu us; %u lines took %lu us",
		       (char *)what, took / 1000, WALKED, walk / 1000);
	}
	heard_leave();
	return NULL;
}

static void map_aliases(void)
{
	uint64_t *pd = (uint64_t *)(v.mem + PAGES_2M), *pdpt = (uint64_t *)(v.mem + LISTS);
	uint64_t *pml4 = (uint64_t *)(v.mem + MINIVMM_PML4);

	for (unsigned i = 0; i < 512; i++) {
		pd[i] = 0x83; /* present, writable, large */
		pdpt[i] = PAGES_2M | 3;
	}
	for (unsigned i = 1; i < 256; i++)
		pml4[i] = LISTS | 3;
}

/* A block's bucket, as cpu/code/blocks.c has it; the key is long mode's, and may say AMD. */
static unsigned bucket(uint64_t gpa, uint64_t rip, uint64_t key)
{
	return (unsigned)((gpa ^ rip << 20 ^ key << 40) * 0x9e3779b97f4a7c15ULL >> (64 - BUCKET_BITS));
}

static unsigned find_chain(uint64_t key)
{
	uint64_t *to = (uint64_t *)(v.mem + TABLE);
	unsigned n = 0;

	for (uint64_t at = 1ULL << 39; n < IN_CHAIN && at < 1ULL << 47; at += 1 << 21) {
		for (unsigned gpa = FUNCTION; gpa < FUNCTION + 4096 && n < IN_CHAIN; gpa += STEP) {
			if (bucket(gpa, at + gpa, key) == 7)
				to[n++] = at + gpa;
		}
	}
	EXPECT(n > ENOUGH, "only %u addresses share a bucket", n);
	return n;
}

static void go(const char *what, struct guest_code code, const struct kvm_regs *regs)
{
	volatile uint32_t *sweeps = (uint32_t *)(v.mem + SWEEPS);
	struct kvm_regs r;

	minivmm_load(&v, MINIVMM_LONG, code);
	map_aliases();
	for (unsigned gpa = FUNCTION; gpa < FUNCTION + 4096; gpa += STEP)
		memcpy(v.mem + gpa, "\xb0\x00\xc3", 3);
	minivmm_get_regs(&v, &r);
	r.rbx = regs->rbx;
	r.r12 = regs->r12;
	r.rbp = regs->rbp;
	minivmm_set_regs(&v, &r);
	stopping = 0;
	*sweeps = 0;
	heard.worst = 0;
	EXPECT(!pthread_create(&thread, NULL, run, (void *)what), "no thread");
	while (*sweeps < 3) {
		heard_ask(&heard, SIGUSR1);
		usleep(300);
	}
	stopping = 1;
	while (pthread_kill(thread, SIGUSR1) == 0 && pthread_tryjoin_np(thread, NULL))
		usleep(1000);
	printf("%s: a signal is heard within %lu us\n", what, heard.worst / 1000);
}

int main(void)
{
	struct sigaction sa = {.sa_handler = on_signal};

	sigaction(SIGUSR1, &sa, NULL);
	make_ring();
	printf("%u lines of memory: %lu us\n", WALKED, walk_ns() / 1000);
	minivmm_create(&v);
	go("aliases", aliases, &(struct kvm_regs){.rbx = 1ULL << 39, .rbp = 1 << 21,
						  .r12 = (1ULL << 39) + (600000ULL << 21)});
	go("chain", chain, &(struct kvm_regs){.rbx = TABLE, .r12 = TABLE + 8 * find_chain(0x6)});
	go("chain", chain, &(struct kvm_regs){.rbx = TABLE, .r12 = TABLE + 8 * find_chain(0x4006)});
	return 0;
}
