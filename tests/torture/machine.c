/* SPDX-License-Identifier: MIT */
/* tests/torture/machine.c: a round's VM, its threads, and what every kind is held to. */
#include "torture.h"
#include "patience.h"
#include "../vmm/gmem.h"
#include "../vmm/heard.h"
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define CANARY	    0xca11ab1ec0ffee00ULL
#define CANARY_SIZE 0x4000u /* before and behind the slot */
#define SIGNAL	    SIGUSR1
#define WAIT_NS	    10000000000ULL
#define CR4_VECTORS 0x40620ULL /* PAE, OSFXSR, OSXMMEXCPT, OSXSAVE */

struct minivmm vcpu[MAX_VCPUS];
struct round now;
uint8_t *target;
_Atomic int stopping, ending;
static uint8_t *canaries;

static struct {
	pthread_t thread;
	_Atomic int ended;
	struct heard heard;
	struct kvm_sregs sregs; /* to begin with, and where */
	uint64_t rip;
} vc[MAX_VCPUS];
static __thread volatile struct kvm_run *my_run;
static __thread volatile int signalled;

/* One handler for all exceptions begins the loop anew; NMIs go on where they were. */
GUEST(handlers, 64, "mov %r14, %rsp\n incq 8(%r13)\n jmp *%r15\n .balign 32\n iretq\n");
#define HANDLER_NMI 32u

uint64_t rnd(void)
{
	static uint64_t n;
	uint64_t x = now.seed + __atomic_add_fetch(&n, 1, __ATOMIC_RELAXED) * 0x9e3779b97f4a7c15ULL;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL; /* splitmix64 */
	x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
	return x ^ x >> 31;
}

void finding(const char *format, ...)
{
	va_list args;

	fprintf(stderr, "torture: %s: ", now.kind->name);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	_exit(1);
}

uint64_t *machine_counter(unsigned id)
{
	return (uint64_t *)(vcpu[0].mem + COUNTERS + id * 64);
}

void machine_slot(unsigned slot, uint64_t gpa, uint64_t size, void *hva, uint32_t flags)
{
	struct kvm_userspace_memory_region r = {.slot = slot, .guest_phys_addr = gpa,
						.memory_size = size, .flags = flags,
						.userspace_addr = (uintptr_t)hva};

	if (ioctl(vcpu[0].vm, KVM_SET_USER_MEMORY_REGION, &r))
		finding("memslot %u: %s", slot, strerror(errno));
}

static void make_target(void)
{
	size_t size = TARGET_SIZE + 2 * CANARY_SIZE;
	uint64_t *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		finding("mmap: %s", strerror(errno));
	for (size_t i = 0; i < size / 8; i++)
		p[i] = CANARY + i;
	canaries = (uint8_t *)p;
	target = canaries + CANARY_SIZE;
	machine_slot(1, TARGET, TARGET_SIZE, target, 0);
}

static void check_canaries(void)
{
	const uint64_t *p = (uint64_t *)canaries;
	size_t end = (TARGET_SIZE + 2 * CANARY_SIZE) / 8;

	for (size_t i = 0; i < end; i++) {
		if (i == CANARY_SIZE / 8)
			i = (CANARY_SIZE + TARGET_SIZE) / 8;
		if (p[i] != CANARY + i)
			finding("a canary at %zd bytes from the slot is %#lx",
				(ssize_t)(i * 8) - (ssize_t)CANARY_SIZE, p[i]);
	}
}

/* ---- code */

static uint8_t *put_mov(uint8_t *p, unsigned reg, uint64_t v)
{
	*p++ = 0x48;
	*p++ = (uint8_t)(0xb8 | reg);
	memcpy(p, &v, 8);
	return p + 8;
}

static uint8_t *put_part(uint8_t *p, const struct part *part, unsigned id)
{
	static const uint8_t number[4] = {6, 7, 1, 0};
	uint64_t reg[4] = {rnd(), rnd(), rnd(), rnd()};

	if (part->registers)
		part->registers(id, reg);
	for (unsigned i = 0; i < 4; i++)
		p = put_mov(p, number[i], reg[i]);
	memcpy(p, part->start, (size_t)(part->end - part->start));
	return p + (part->end - part->start);
}

/* incq (%r13), some parts, jmp to the begin. */
static void put_code(unsigned id)
{
	static const uint8_t count[] = {0x49, 0xff, 0x45, 0x00};
	uint8_t *begin = vcpu[0].mem + CODE_AT(id), *p = begin;
	unsigned n = 1 + (unsigned)(rnd() % 12);
	int32_t back;

	memcpy(p, count, sizeof(count));
	p += sizeof(count);
	for (unsigned i = 0; i < n; i++) {
		unsigned which = (unsigned)(rnd() % now.kind->nparts);

		if (now.parts >> which & 1)
			p = put_part(p, &now.kind->parts[which], id);
	}
	*p++ = 0xe9;
	back = (int32_t)(begin - (p + 4));
	memcpy(p, &back, 4);
}

void machine_restart(unsigned id)
{
	struct kvm_vcpu_events none = {.flags = 0};
	struct kvm_regs r = {.rip = vc[id].rip, .rsp = STACK_AT(id), .rflags = 2,
			     .r13 = COUNTERS + id * 64, .r14 = STACK_AT(id), .r15 = CODE_AT(id)};

	minivmm_set_sregs(&vcpu[id], &vc[id].sregs);
	minivmm_set_regs(&vcpu[id], &r);
	ioctl(vcpu[id].vcpu, KVM_SET_VCPU_EVENTS, &none);
}

void machine_starts_here(unsigned id, uint64_t rip)
{
	minivmm_get_sregs(&vcpu[id], &vc[id].sregs);
	vc[id].rip = rip;
	machine_restart(id);
}

static void load(unsigned id)
{
	struct kvm_xcrs x = {.nr_xcrs = 1, .xcrs[0].value = 7};
	struct kvm_sregs s;

	minivmm_load(&vcpu[id], MINIVMM_LONG, handlers);
	minivmm_get_sregs(&vcpu[id], &s);
	s.cr4 |= CR4_VECTORS;
	minivmm_set_sregs(&vcpu[id], &s);
	if (ioctl(vcpu[id].vcpu, KVM_SET_XCRS, &x))
		finding("XCR0: %s", strerror(errno));
}

static void set_gates(unsigned id)
{
	for (unsigned v = 0; v < 32; v++)
		minivmm_set_gate(&vcpu[id], MINIVMM_LONG, v, v == 2 ? HANDLER_NMI : 0);
}

static void make_vm(void)
{
	if (now.kind->flags & KIND_RING)
		minivmm_create_with_ring(&vcpu[0], RING_BYTES);
	else if (now.kind->flags & KIND_PROTECTED)
		minivmm_create_type(&vcpu[0], GMEM_PROTECTED);
	else if (now.kind->flags & KIND_IRQCHIP)
		minivmm_create_with_irqchip(&vcpu[0]);
	else
		minivmm_create(&vcpu[0]);
	for (unsigned i = 1; i < now.vcpus; i++)
		minivmm_add_vcpu(&vcpu[0], i, &vcpu[i]);
	make_target();
	for (unsigned i = 0; i < now.vcpus; i++)
		load(i);
	for (unsigned i = 0; i < now.vcpus; i++) {
		set_gates(i);
		machine_starts_here(i, CODE_AT(i));
		if (!(now.kind->flags & KIND_PLAIN))
			put_code(i);
	}
	if (now.kind->prepare)
		now.kind->prepare();
}

/* ---- vCPUs' threads */

static void came_back(unsigned id)
{
	if (!signalled)
		return;
	signalled = 0;
	my_run->immediate_exit = 0;
	if (heard_late(&vc[id].heard))
		finding("vCPU %u heard a signal late", id);
}

/* An exit that the kind allows: go on. */
static void answer(unsigned id, int exit)
{
	struct kvm_run *run = vcpu[id].run;
	int hostile = now.kind->flags & KIND_EXITS;

	switch (exit) {
	case -EINTR:
	case -EAGAIN: /* the first INIT */
	case KVM_EXIT_INTR:
	case KVM_EXIT_HLT:
	case KVM_EXIT_DEBUG:
	case KVM_EXIT_DIRTY_RING_FULL:
		return;
	case KVM_EXIT_IO:
		if (run->io.port == WRONG_PORT && !hostile) {
			struct kvm_regs r;

			minivmm_get_regs(&vcpu[id], &r);
			finding("vCPU %u saw %#llx, and %#llx was due", id, r.rax, r.rcx);
		}
		return;
	case KVM_EXIT_MMIO:
		memset(run->mmio.data, 0x5a, sizeof(run->mmio.data));
		return;
	case -EFAULT:
	case -ENOEXEC:
	case KVM_EXIT_SHUTDOWN:
	case KVM_EXIT_INTERNAL_ERROR:
	case KVM_EXIT_FAIL_ENTRY:
		if (hostile) {
			machine_restart(id);
			return;
		}
	}
	finding("vCPU %u: exit %s (%d)", id, minivmm_exit_name(exit), exit);
}

static void *vcpu_thread(void *arg)
{
	unsigned id = (unsigned)(uintptr_t)arg;
	int exit;

	my_run = vcpu[id].run;
	heard_listen(&vc[id].heard);
	while (!stopping) {
		if (now.kind->between && now.kind->between(id))
			break;
		exit = minivmm_run(&vcpu[id]);
		came_back(id);
		if (ending || (exit == -EINTR && stopping))
			break;
		answer(id, exit);
	}
	heard_leave();
	vc[id].ended = 1;
	return NULL;
}

/* Whenever it comes, the next KVM_RUN or this one ends. */
static void on_signal(int sig)
{
	signalled = 1;
	if (my_run)
		my_run->immediate_exit = 1;
}

/* Ask a vCPU to come out, unless it has not come out since it was asked last. */
static void ask(unsigned id)
{
	heard_ask(&vc[id].heard, SIGNAL);
	for (unsigned i = 0; i < now.vcpus; i++)
		heard_look(&vc[i].heard);
}

static void stop_all(void)
{
	stopping = 1;
	for (unsigned i = 0; i < now.vcpus; i++) {
		while (!vc[i].ended) {
			ask(i);
			usleep(500);
			if (heard_so_far(&vc[i].heard) > 10 * heard_limit() && !vc[i].ended) {
				heard_print(stderr, &vc[i].heard);
				finding("vCPU %u hears no signal", i);
			}
		}
		pthread_join(vc[i].thread, NULL);
	}
}

static void start(unsigned id)
{
	if (pthread_create(&vc[id].thread, NULL, vcpu_thread, (void *)(uintptr_t)id))
		finding("no thread");
}

/* kind->between() makes it end. */
void machine_rethread(unsigned id)
{
	while (!vc[id].ended) {
		ask(id);
		usleep(200);
	}
	pthread_join(vc[id].thread, NULL);
	vc[id].ended = 0;
	start(id);
}

void machine_wait(int (*so)(void))
{
	struct patience p = patience_with(getpid());

	while (!so() && patience_spent(&p) < WAIT_NS)
		usleep(1000);
}

void machine_run(const struct round *r, unsigned ms)
{
	struct sigaction sa = {.sa_handler = on_signal};
	uint64_t end, worst = 0, loops = 0;

	now = *r;
	sigaction(SIGNAL, &sa, NULL);
	make_vm();
	for (unsigned i = 0; i < now.vcpus; i++)
		start(i);
	for (end = minivmm_now() + ms * 1000000ULL; minivmm_now() < end;) {
		if (now.kind->step)
			now.kind->step();
		ask((unsigned)(rnd() % now.vcpus));
		usleep((useconds_t)(rnd() % 2000));
	}
	if (now.kind->end)
		now.kind->end();
	stop_all();
	check_canaries();
	if (now.kind->check)
		now.kind->check();
	for (unsigned i = 0; i < now.vcpus; i++) {
		worst = vc[i].heard.worst > worst ? vc[i].heard.worst : worst;
		loops += *machine_counter(i);
	}
	printf("%-10s %2u vCPUs, %10lu loops, a signal is heard within %lu us\n", now.kind->name,
	       now.vcpus, loops, worst / 1000);
	fflush(stdout);
	_exit(0);
}
