/* SPDX-License-Identifier: MIT */
#include "machine.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>
#include "../vmm/heard.h"
#include "abi/internal.h"
#include "cpu/replay.h"
#include "vm/signals.h"

#define CANARY	    0xc5
#define RO_FILL	    0x5a
#define RUN_NS	    500000   /* of the vCPU's own time */
#define RUN_WALL_NS 20000000 /* and at most this long: a halted vCPU uses none */

static const struct machine_slot layout[NR_MACHINE_SLOTS] = {
	[SLOT_RAM] = {.gpa = 0, .bytes = RAM_BYTES},
	[SLOT_RO] = {.gpa = RO_GPA, .bytes = RO_BYTES, .flags = KVM_MEM_READONLY},
	[SLOT_BAD] = {.gpa = BAD_GPA, .bytes = BAD_BYTES},
	[SLOT_HIGH] = {.gpa = HIGH_GPA, .bytes = HIGH_BYTES},
};

/* The bad slots of the machines that are there. */
static u8 *bad[8];

u32 rnd_seed;

u32 rnd(void)
{
	rnd_seed = rnd_seed * 1664525 + 1013904223;
	return rnd_seed >> 8;
}

/* -- signals */

static bool in_bad_slot(const u8 *p)
{
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		if (bad[i] && p >= bad[i] && p < bad[i] + BAD_BYTES)
			return true;
	return false;
}

static bool of_guest(int sig, const siginfo_t *info)
{
	/* SI_KERNEL: the address was none, and reached nothing. */
	bool memory = (sig == SIGSEGV || sig == SIGBUS) && info->si_code != SI_KERNEL;

	return !memory || in_bad_slot(info->si_addr);
}

static timer_t timer;
static u64 cpu_start, wall_start;
static struct heard heard;

static u64 now(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (u64)ts.tv_sec * 1000000000 + (u64)ts.tv_nsec;
}

static void on_timer(int sig, siginfo_t *info, void *uc)
{
	if (now(CLOCK_THREAD_CPUTIME_ID) - cpu_start > RUN_NS ||
	    now(CLOCK_MONOTONIC) - wall_start > RUN_WALL_NS) {
		heard_asked(&heard, uc);
		signals_leave_run(uc);
	}
}

static void print_worst(void)
{
	printf("a signal is heard within %llu us of the vCPU's CPU time\n", (unsigned long long)heard.worst / 1000);
}

static void set_timer(u64 ns)
{
	struct itimerspec t = {.it_value.tv_nsec = (long)ns, .it_interval.tv_nsec = (long)ns};

	timer_settime(timer, 0, &t, NULL);
}

void machine_init(void)
{
	static bool printed;
	struct sigevent ev = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMIN + 1};

	if (!printed)
		atexit(print_worst);
	printed = true;
	heard_listen(&heard);
	faults_install(of_guest);
	faults_handle(SIGRTMIN + 1, on_timer);
	ev._sigev_un._tid = (pid_t)syscall(SYS_gettid);
	MUST(!timer_create(CLOCK_MONOTONIC, &ev, &timer), "timer");
}

/* -- the VM */

long machine_ioctl(int fd, unsigned long request, void *arg)
{
	long r = -EBADF;

	MUST(abi_ioctl(fd, request, arg, &r), "descriptor %d is not ours", fd);
	signals_call_end();
	return r;
}

static long must(int fd, unsigned long request, void *arg)
{
	long r = machine_ioctl(fd, request, arg);

	MUST(r >= 0, "request %lx: %ld", request, r);
	return r;
}

static void slot_map(struct machine_slot *s, bool shared)
{
	u64 len = s->bytes + 4 * PAGE_SIZE;
	u8 *p = mmap(NULL, len, PROT_NONE,
		     (shared ? MAP_SHARED : MAP_PRIVATE) | MAP_ANONYMOUS, -1, 0);

	MUST(p != MAP_FAILED, "mmap");
	s->host = p + 2 * PAGE_SIZE;
	mprotect(p + PAGE_SIZE, s->bytes + 2 * PAGE_SIZE, PROT_READ | PROT_WRITE);
	memset(s->host - PAGE_SIZE, CANARY, PAGE_SIZE);
	memset(s->host + s->bytes, CANARY, PAGE_SIZE);
}

static void note_bad(u8 *from, u8 *to)
{
	unsigned i = 0;

	while (bad[i] != from)
		i++;
	bad[i] = to;
}

static void add_slots(struct machine *m, enum machine_kind kind)
{
	for (u32 i = 0; i < NR_MACHINE_SLOTS; i++) {
		struct machine_slot *s = &m->slot[i];
		struct kvm_userspace_memory_region r = {.slot = i};

		*s = layout[i];
		slot_map(s, kind == MACHINE_SHARED && i != SLOT_BAD);
		if (kind == MACHINE_SHARED && i == SLOT_RAM)
			s->flags |= KVM_MEM_LOG_DIRTY_PAGES;
		r.guest_phys_addr = s->gpa;
		r.memory_size = s->bytes;
		r.userspace_addr = (u64)s->host;
		r.flags = s->flags;
		must(m->vm, KVM_SET_USER_MEMORY_REGION, &r);
	}
	memset(m->slot[SLOT_RO].host, RO_FILL, RO_BYTES);
	note_bad(NULL, m->slot[SLOT_BAD].host);
	mprotect(m->slot[SLOT_BAD].host, BAD_BYTES, PROT_NONE);
}

static void set_cpuid(struct machine *m)
{
	struct kvm_cpuid2 *c = calloc(1, sizeof(*c) + 256 * sizeof(c->entries[0]));

	c->nent = 256;
	must(m->kvm, KVM_GET_SUPPORTED_CPUID, c);
	must(m->vcpu, KVM_SET_CPUID2, c);
	free(c);
}

void machine_create(struct machine *m, enum machine_kind kind)
{
	struct kvm_enable_cap msrs = {.cap = KVM_CAP_X86_USER_SPACE_MSR,
				      .args = {KVM_MSR_EXIT_REASON_UNKNOWN}};
	struct abi_file *f;

	memset(m, 0, sizeof(*m));
	m->kvm = abi_open(O_RDWR);
	m->vm = (int)must(m->kvm, KVM_CREATE_VM, NULL);
	if (kind == MACHINE_IRQCHIP)
		must(m->vm, KVM_CREATE_IRQCHIP, NULL);
	if (kind == MACHINE_SHARED)
		must(m->vm, KVM_ENABLE_CAP, &msrs);
	add_slots(m, kind);
	m->vcpu = (int)must(m->vm, KVM_CREATE_VCPU, NULL);
	m->run = mmap(NULL, UAPI_RUN_PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, m->vcpu, 0);
	MUST(m->run != MAP_FAILED, "mmap of the vCPU");
	f = file_get(m->vcpu);
	m->v = f->vcpu;
	file_put(f);
	set_cpuid(m);
}

static void close_told(int fd)
{
	bool ours = abi_before_close(fd);

	close(fd);
	if (ours)
		abi_after_close();
}

void machine_destroy(struct machine *m)
{
	munmap(m->run, UAPI_RUN_PAGES * PAGE_SIZE);
	close_told(m->vcpu);
	close_told(m->vm);
	close_told(m->kvm);
	note_bad(m->slot[SLOT_BAD].host, NULL);
	for (unsigned i = 0; i < NR_MACHINE_SLOTS; i++)
		munmap(m->slot[i].host - 2 * PAGE_SIZE, m->slot[i].bytes + 4 * PAGE_SIZE);
}

void machine_reset(struct machine *m)
{
	struct kvm_vcpu_events events = {.flags = KVM_VCPUEVENT_VALID_SHADOW};
	struct kvm_mp_state mp = {.mp_state = KVM_MP_STATE_RUNNABLE};
	struct kvm_guest_debug debug = {0};

	/* What the run before left open is completed and no more. */
	m->run->immediate_exit = 1;
	machine_ioctl(m->vcpu, KVM_RUN, NULL);
	memset(m->run, 0, sizeof(*m->run));
	replay_forget(m->v->cpu);
	m->v->irq_queued = -1;
	m->v->pending_events = 0;
	must(m->vcpu, KVM_SET_MP_STATE, &mp);
	must(m->vcpu, KVM_SET_GUEST_DEBUG, &debug);
	cpu_reset(m->v->cpu, false);
	must(m->vcpu, KVM_SET_VCPU_EVENTS, &events);
	memset(m->slot[SLOT_RAM].host, 0, RAM_BYTES);
	memset(m->slot[SLOT_HIGH].host, 0, HIGH_BYTES);
}

/* -- checks */

static const struct machine_slot *slot_at(const struct machine *m, u64 gpa)
{
	for (unsigned i = 0; i < NR_MACHINE_SLOTS; i++)
		if (gpa - m->slot[i].gpa < m->slot[i].bytes)
			return &m->slot[i];
	return NULL;
}

static void check_io(const struct kvm_run *run)
{
	u64 bytes = (u64)run->io.size * run->io.count;

	MUST(run->io.size == 1 || run->io.size == 2 || run->io.size == 4, "%u", run->io.size);
	MUST(run->io.count && bytes <= PAGE_SIZE, "%u", run->io.count);
	MUST(run->io.data_offset + bytes <= UAPI_RUN_PAGES * PAGE_SIZE, "%llu", run->io.data_offset);
}

static void check_mmio(const struct machine *m)
{
	const struct kvm_run *run = m->run;

	MUST(run->mmio.len >= 1 && run->mmio.len <= 8, "%u", run->mmio.len);
	for (u64 gpa = run->mmio.phys_addr; gpa < run->mmio.phys_addr + run->mmio.len; gpa++) {
		const struct machine_slot *s = slot_at(m, gpa);

		MUST(!s || ((s->flags & KVM_MEM_READONLY) && run->mmio.is_write),
		     "MMIO where there is memory, %llx", (unsigned long long)gpa);
	}
}

static void check_exit(const struct machine *m)
{
	switch (m->run->exit_reason) {
	case KVM_EXIT_IO:
		check_io(m->run);
		break;
	case KVM_EXIT_MMIO:
		check_mmio(m);
		break;
	case KVM_EXIT_HLT:
	case KVM_EXIT_SHUTDOWN:
	case KVM_EXIT_INTERNAL_ERROR:
	case KVM_EXIT_FAIL_ENTRY:
	case KVM_EXIT_DEBUG:
	case KVM_EXIT_IRQ_WINDOW_OPEN:
	case KVM_EXIT_SET_TPR:
	case KVM_EXIT_X86_RDMSR:
	case KVM_EXIT_X86_WRMSR:
	case KVM_EXIT_HYPERCALL:
		break;
	default:
		MUST(false, "exit %u", m->run->exit_reason);
	}
}

int machine_run(struct machine *m)
{
	long r;

	cpu_start = now(CLOCK_THREAD_CPUTIME_ID);
	wall_start = now(CLOCK_MONOTONIC);
	set_timer(RUN_NS);
	r = machine_ioctl(m->vcpu, KVM_RUN, NULL);
	set_timer(0); /* asks no more */
	MUST(!heard_late(&heard), "a signal was heard late");
	if (!r)
		check_exit(m);
	else
		MUST(r == -EINTR || r == -EFAULT || r == -EAGAIN, "KVM_RUN: %ld", r);
	return (int)r;
}

static void check_filled(const u8 *p, u8 fill, u64 n)
{
	MUST(p[0] == fill && !memcmp(p, p + 1, n - 1), "%p", (const void *)p);
}

void machine_check(const struct machine *m)
{
	for (unsigned i = 0; i < NR_MACHINE_SLOTS; i++) {
		check_filled(m->slot[i].host - PAGE_SIZE, CANARY, PAGE_SIZE);
		check_filled(m->slot[i].host + m->slot[i].bytes, CANARY, PAGE_SIZE);
	}
	check_filled(m->slot[SLOT_RO].host, RO_FILL, RO_BYTES);
}
