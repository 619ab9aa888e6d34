/* SPDX-License-Identifier: MIT */
/*
 * Guests that hang. hang VCPUS: so many spin; hang 0: the only one waits for a page that a userfaultfd
 * holds back. It ends with a line.
 */
#include "../vmm/held.h"

#define MOST 256

/* Each round is three blocks, translated after some; RBX has the same value in all of them. */
GUEST(spins, 64, "mov $0x5eed, %ebx\n 1: call 2f\n jmp 1b\n 2: inc %rcx\n ret\n");
GUEST(reads, 64, "mov $0x5eed, %ebx\n mov $0x30000, %esi\n 1: mov (%rsi), %eax\n add $64, %rsi\n jmp 1b\n");

static struct minivmm vcpu[MOST];

static void *run(void *v)
{
	minivmm_run(v);
	return NULL;
}

static void wait_for_line(void)
{
	char line[16];

	puts("ready");
	fflush(stdout);
	if (!fgets(line, sizeof(line), stdin))
		exit(0);
}

/* As vCPU 0, but with a stack of its own. */
static void start(struct minivmm *v, unsigned i)
{
	struct kvm_sregs s;
	struct kvm_regs r;
	pthread_t t;

	minivmm_get_sregs(&vcpu[0], &s);
	minivmm_get_regs(&vcpu[0], &r);
	r.rsp -= 16 * i;
	minivmm_set_sregs(v, &s);
	minivmm_set_regs(v, &r);
	EXPECT(!pthread_create(&t, NULL, run, v), "pthread_create");
}

static void spin(unsigned n)
{
	minivmm_load(&vcpu[0], MINIVMM_LONG, spins);
	for (unsigned i = 1; i < n; i++)
		minivmm_add_vcpu(&vcpu[0], i, &vcpu[i]);
	for (unsigned i = n; i-- > 0;)
		start(&vcpu[i], i);
	wait_for_line();
}

static int held(void)
{
	int uffd = held_open();
	struct uffd_msg m;
	pthread_t t;

	if (uffd < 0)
		return SKIP;
	held_back(uffd, &vcpu[0]);
	minivmm_load(&vcpu[0], MINIVMM_LONG, reads);
	EXPECT(!pthread_create(&t, NULL, run, &vcpu[0]), "pthread_create");
	EXPECT(read(uffd, &m, sizeof(m)) == sizeof(m) && m.event == UFFD_EVENT_PAGEFAULT, "no fault comes");
	wait_for_line();
	return 0;
}

int main(int argc, char **argv)
{
	unsigned n = argc > 1 ? (unsigned)atoi(argv[1]) : 1;

	EXPECT(n <= MOST, "%u vCPUs", n);
	minivmm_create(&vcpu[0]);
	if (!n)
		return held();
	spin(n);
	return 0;
}
