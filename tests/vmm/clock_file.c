/* SPDX-License-Identifier: MIT */
/*
 * tests/vmm/clock_file.c: the guest's clock and steal time stand in a file that the VMM
 * truncates and lets grow again while the vCPUs run and halt. No truncation waits for a vCPU,
 * and what the host had to say is in the file once it is whole again: truncation takes what was
 * written, never what is still to be written. In the end the file holds what the mapping shows.
 *
 * usage: vmm_clock_file [SECONDS [SEED]]
 */
#include "clock.h"
#include "minivmm.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define NVCPUS	      2
#define HANDLER	      0x40u /* of the NMI, in the code */
#define FILE_GPA      MINIVMM_HOLE /* DS begins there */
#define FILE_SIZE     0x1000u
#define CLOCK_AT      0u     /* in the file, 64 bytes for each vCPU */
#define STEAL_AT      0x200u /* the same */
#define MSR_CLOCK     0x4b564d01u
#define MSR_STEAL     0x4b564d03u
#define HOUR	      3600000000000ull
#define MUCH_TOO_LONG 60000000000ull /* ns; the machine may be busy */
#define FEWEST	      20u /* truncations, however long they take */

/* ECX, EAX, EDX: the clock's MSR. SI: look at the file, too. */
GUEST(worker, 16,
      "wrmsr\n"
      "1: mov $500, %cx\n 2: loop 2b\n"
      "test %si, %si\n jz 3f\n mov 0, %eax\n"
      "3: hlt\n jmp 1b\n"
      ".balign 64\n iret");

static struct {
	int file;
	uint8_t *mapped;
	struct minivmm vcpu[NVCPUS]; /* the first is the VM's */
	pthread_t thread[NVCPUS];
	unsigned long runs[NVCPUS], faults[NVCPUS];
	volatile int stop;
} m;

static int must(int r, const char *what)
{
	EXPECT(r >= 0, "%s: %s", what, strerror(errno));
	return r;
}

static void create_file(void)
{
	char name[] = "/tmp/clock_file.XXXXXX";

	m.file = must(mkstemp(name), "mkstemp");
	unlink(name);
	must(ftruncate(m.file, FILE_SIZE), "ftruncate");
	m.mapped = mmap(NULL, FILE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, m.file, 0);
	EXPECT(m.mapped != MAP_FAILED, "mmap");
}

static void create_vm(void)
{
	struct kvm_userspace_memory_region slot = {.slot = 1,
						   .guest_phys_addr = FILE_GPA,
						   .memory_size = FILE_SIZE,
						   .userspace_addr = (uintptr_t)m.mapped};

	minivmm_create_with_irqchip(&m.vcpu[0]);
	for (unsigned i = 1; i < NVCPUS; i++)
		minivmm_add_vcpu(&m.vcpu[0], i, &m.vcpu[i]);
	must(ioctl(m.vcpu[0].vm, KVM_SET_USER_MEMORY_REGION, &slot), "slot");
}

static void load_vcpu(unsigned i)
{
	struct minivmm *v = &m.vcpu[i];
	struct kvm_mp_state runnable = {KVM_MP_STATE_RUNNABLE};
	struct {
		struct kvm_msrs h;
		struct kvm_msr_entry e;
	} msr = {{.nmsrs = 1},
		 {.index = MSR_STEAL, .data = (FILE_GPA + STEAL_AT + 64 * i) | 1}};
	struct kvm_regs r;
	struct kvm_sregs s;

	minivmm_load(v, MINIVMM_REAL, worker);
	EXPECT(v->mem[MINIVMM_CODE + HANDLER] == 0xcf, "the handler is not at its place");
	minivmm_set_gate(v, MINIVMM_REAL, 2, HANDLER);
	minivmm_get_sregs(v, &s);
	s.ds.base = FILE_GPA;
	minivmm_set_sregs(v, &s);
	minivmm_get_regs(v, &r);
	r.rsp -= 0x100 * i;
	r.rsi = i;
	r.rcx = MSR_CLOCK;
	r.rax = (FILE_GPA + CLOCK_AT + 64 * i) | 1;
	minivmm_set_regs(v, &r);
	must(ioctl(v->vcpu, KVM_SET_MP_STATE, &runnable), "KVM_SET_MP_STATE");
	EXPECT(ioctl(v->vcpu, KVM_SET_MSRS, &msr) == 1, "steal time is refused");
}

static void *run_vcpu(void *arg)
{
	unsigned i = (unsigned)(uintptr_t)arg;

	while (!m.stop) {
		int reason = minivmm_run(&m.vcpu[i]);

		m.runs[i]++;
		/* The guest looked where the file has ended. */
		if (reason == -EFAULT)
			m.faults[i]++;
		else
			EXPECT(m.stop || reason == -EINTR, "vCPU %u: exit %s", i,
			       minivmm_exit_name(reason));
	}
	return NULL;
}

/* An NMI by message: a halted vCPU runs on. */
static void nudge(void)
{
	for (unsigned i = 0; i < NVCPUS; i++) {
		struct kvm_msi msi = {.address_lo = 0xfee00000 | i << 12, .data = 0x400};

		must(ioctl(m.vcpu[0].vm, KVM_SIGNAL_MSI, &msi), "KVM_SIGNAL_MSI");
	}
}

static void resize(off_t size)
{
	uint64_t start = minivmm_now();

	must(ftruncate(m.file, size), "ftruncate");
	EXPECT(minivmm_now() - start < MUCH_TOO_LONG, "ftruncate waited for a vCPU");
}

static void set_clock(uint64_t ns)
{
	struct kvm_clock_data d = {.clock = ns};

	must(ioctl(m.vcpu[0].vm, KVM_SET_CLOCK, &d), "KVM_SET_CLOCK");
}

/* Does this vCPU's clock say `hours`? A whole page is consistent, whenever it is looked at. */
static int clock_says(unsigned i, uint64_t hours)
{
	const volatile struct clock_page *p = (void *)(m.mapped + CLOCK_AT + 64 * i);
	uint32_t version = p->version;
	uint64_t ns, tsc;
	uint32_t mul;

	__sync_synchronize();
	ns = p->ns;
	tsc = p->tsc;
	mul = p->mul;
	__sync_synchronize();
	if (!version || (version & 1) || p->version != version)
		return 0;
	EXPECT(mul && tsc, "half a clock under version %u", version);
	return ns / HOUR == hours;
}

static void await_clocks(uint64_t hours)
{
	uint64_t until = minivmm_now() + MUCH_TOO_LONG;

	for (unsigned i = 0; i < NVCPUS; i++) {
		while (!clock_says(i, hours)) {
			EXPECT(minivmm_now() < until, "vCPU %u: the clock was lost", i);
			nudge();
			usleep(50);
		}
	}
}

static void one_round(uint64_t hours)
{
	switch (rand() % 3) {
	case 0: /* the write comes after */
		resize(0);
		resize(FILE_SIZE);
		set_clock(hours * HOUR);
		break;
	case 1: /* before: what was written is gone, and is written again */
		set_clock(hours * HOUR);
		if (rand() % 2)
			await_clocks(hours);
		resize(0);
		resize(FILE_SIZE);
		break;
	default: /* while there is no page */
		resize(0);
		set_clock(hours * HOUR);
		nudge();
		usleep((useconds_t)(rand() % 300));
		resize(FILE_SIZE);
	}
	await_clocks(hours);
}

static void stop_vcpus(void)
{
	m.stop = 1;
	for (unsigned i = 0; i < NVCPUS; i++) {
		m.vcpu[i].run->immediate_exit = 1;
		pthread_kill(m.thread[i], SIGUSR1);
		pthread_join(m.thread[i], NULL);
	}
}

static void on_signal(int sig) {}

int main(int argc, char **argv)
{
	uint64_t seconds = argc > 1 ? strtoull(argv[1], NULL, 0) : 2, hours = 0;
	unsigned seed = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 0) : (unsigned)time(NULL);
	struct sigaction sa = {.sa_handler = on_signal};
	static uint8_t in_file[FILE_SIZE];
	uint64_t until;

	printf("seed %u\n", seed);
	srand(seed);
	sigaction(SIGUSR1, &sa, NULL);
	create_file();
	create_vm();
	for (unsigned i = 0; i < NVCPUS; i++)
		load_vcpu(i);
	for (unsigned i = 0; i < NVCPUS; i++)
		pthread_create(&m.thread[i], NULL, run_vcpu, (void *)(uintptr_t)i);
	until = minivmm_now() + seconds * 1000000000;
	while (minivmm_now() < until || hours < FEWEST)
		one_round(++hours);
	stop_vcpus();
	must(msync(m.mapped, FILE_SIZE, MS_SYNC), "msync");
	EXPECT(pread(m.file, in_file, FILE_SIZE, 0) == FILE_SIZE, "pread");
	EXPECT(!memcmp(in_file, m.mapped, FILE_SIZE), "the file is not what was mapped");
	printf("ok: %lu truncations, %lu and %lu runs, %lu into the void\n",
	       (unsigned long)hours, m.runs[0], m.runs[1], m.faults[1]);
	return 0;
}
