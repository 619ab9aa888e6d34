/* SPDX-License-Identifier: MIT */
/*
 * tests/vmm/clock_file.c: the guest's clock and steal time stand in a file that the VMM
 * truncates and lets grow again while the vCPUs run and halt. No truncation waits for a vCPU,
 * and what the host had to say is in the file once it is whole again: truncation takes what was
 * written, never what is still to be written. In the end the file holds what the mapping shows.
 *
 * usage: vmm_clock_file [SECONDS [SEED]]
 */
#include "minivmm.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define NVCPUS	      2
#define CODE	      0x8000u
#define HANDLER	      0x40u    /* of the NMI, in the code */
#define RAM	      0x80000u /* at 0 */
#define FILE_GPA      0x90000u /* where real mode reaches it */
#define FILE_SIZE     0x1000u
#define CLOCK_AT      0u     /* in the file, 64 bytes for each vCPU */
#define STEAL_AT      0x200u /* the same */
#define MSR_CLOCK     0x4b564d01u
#define MSR_STEAL     0x4b564d03u
#define HOUR	      3600000000000ull
#define MUCH_TOO_LONG 5000000000ull /* ns; the machine may be busy */

/* ECX, EAX, EDX: the clock's MSR. SI: look at the file, too. */
GUEST(worker, 16,
      "wrmsr\n"
      "mov $0x9000, %ax\n mov %ax, %ds\n"
      "1: mov $500, %cx\n 2: loop 2b\n"
      "test %si, %si\n jz 3f\n mov 0, %eax\n"
      "3: hlt\n jmp 1b\n"
      ".balign 64\n iret");

struct clock_page {
	volatile uint32_t version;
	uint32_t pad0;
	volatile uint64_t tsc_timestamp, system_time;
	volatile uint32_t mul;
	volatile int8_t shift;
	volatile uint8_t flags;
	uint8_t pad[2];
};

static struct {
	int kvm, vm, file;
	uint8_t *ram, *mapped;
	struct {
		int fd;
		struct kvm_run *run;
		pthread_t thread;
		unsigned long runs, faults;
	} vcpu[NVCPUS];
	volatile int stop;
} m;

static int must(int r, const char *what)
{
	EXPECT(r >= 0, "%s: %s", what, strerror(errno));
	return r;
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static void add_slot(uint32_t slot, uint64_t gpa, uint64_t size, void *host)
{
	struct kvm_userspace_memory_region r = {
		.slot = slot,
		.guest_phys_addr = gpa,
		.memory_size = size,
		.userspace_addr = (uintptr_t)host,
	};

	must(ioctl(m.vm, KVM_SET_USER_MEMORY_REGION, &r), "slot");
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
	m.kvm = must(open("/dev/kvm", O_RDWR | O_CLOEXEC), "/dev/kvm");
	m.vm = must(ioctl(m.kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
	must(ioctl(m.vm, KVM_SET_TSS_ADDR, 0xfffbd000), "KVM_SET_TSS_ADDR");
	must(ioctl(m.vm, KVM_CREATE_IRQCHIP, 0), "KVM_CREATE_IRQCHIP");
	m.ram = mmap(NULL, RAM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	EXPECT(m.ram != MAP_FAILED, "mmap");
	memcpy(m.ram + CODE, worker.start, (size_t)(worker.end - worker.start));
	EXPECT(m.ram[CODE + HANDLER] == 0xcf, "the handler is not at its place");
	m.ram[2 * 4] = HANDLER; /* vector 2 of the real-mode table, offset and segment */
	m.ram[2 * 4 + 3] = CODE >> 12;
	add_slot(0, 0, RAM, m.ram);
	add_slot(1, FILE_GPA, FILE_SIZE, m.mapped);
}

static void create_vcpu(unsigned i)
{
	int size = must(ioctl(m.kvm, KVM_GET_VCPU_MMAP_SIZE, 0), "mmap size");
	struct kvm_mp_state runnable = {KVM_MP_STATE_RUNNABLE};
	struct {
		struct kvm_msrs h;
		struct kvm_msr_entry e;
	} msr = {{.nmsrs = 1},
		 {.index = MSR_STEAL, .data = (FILE_GPA + STEAL_AT + 64 * i) | 1}};
	struct kvm_regs r = {.rip = 0, .rflags = 2, .rsp = 0x7000 - 0x100 * i, .rsi = i};
	struct kvm_sregs s;

	m.vcpu[i].fd = must(ioctl(m.vm, KVM_CREATE_VCPU, i), "KVM_CREATE_VCPU");
	m.vcpu[i].run =
		mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, m.vcpu[i].fd, 0);
	EXPECT(m.vcpu[i].run != MAP_FAILED, "mmap");
	must(ioctl(m.vcpu[i].fd, KVM_GET_SREGS, &s), "KVM_GET_SREGS");
	s.cs.base = CODE;
	s.cs.selector = CODE >> 4;
	must(ioctl(m.vcpu[i].fd, KVM_SET_SREGS, &s), "KVM_SET_SREGS");
	r.rcx = MSR_CLOCK;
	r.rax = (FILE_GPA + CLOCK_AT + 64 * i) | 1;
	must(ioctl(m.vcpu[i].fd, KVM_SET_REGS, &r), "KVM_SET_REGS");
	must(ioctl(m.vcpu[i].fd, KVM_SET_MP_STATE, &runnable), "KVM_SET_MP_STATE");
	EXPECT(ioctl(m.vcpu[i].fd, KVM_SET_MSRS, &msr) == 1, "steal time is refused");
}

static void *run_vcpu(void *arg)
{
	unsigned i = (unsigned)(uintptr_t)arg;

	while (!m.stop) {
		m.vcpu[i].runs++;
		if (!ioctl(m.vcpu[i].fd, KVM_RUN, 0))
			EXPECT(m.stop, "vCPU %u: exit %s", i,
			       minivmm_exit_name((int)m.vcpu[i].run->exit_reason));
		/* The guest looked where the file has ended. */
		else if (errno == EFAULT)
			m.vcpu[i].faults++;
		else
			EXPECT(errno == EINTR, "KVM_RUN: %s", strerror(errno));
	}
	return NULL;
}

/* An NMI by message: a halted vCPU runs on. */
static void nudge(void)
{
	for (unsigned i = 0; i < NVCPUS; i++) {
		struct kvm_msi msi = {.address_lo = 0xfee00000 | i << 12, .data = 0x400};

		must(ioctl(m.vm, KVM_SIGNAL_MSI, &msi), "KVM_SIGNAL_MSI");
	}
}

static void resize(off_t size)
{
	uint64_t start = now_ns();

	must(ftruncate(m.file, size), "ftruncate");
	EXPECT(now_ns() - start < MUCH_TOO_LONG, "ftruncate waited for a vCPU");
}

static void set_clock(uint64_t ns)
{
	struct kvm_clock_data d = {.clock = ns};

	must(ioctl(m.vm, KVM_SET_CLOCK, &d), "KVM_SET_CLOCK");
}

/* Does this vCPU's clock say `hours`? A whole page is consistent, whenever it is looked at. */
static int clock_says(unsigned i, uint64_t hours)
{
	const struct clock_page *p = (void *)(m.mapped + CLOCK_AT + 64 * i);
	uint32_t version = p->version;
	uint64_t ns, tsc;
	uint32_t mul;

	__sync_synchronize();
	ns = p->system_time;
	tsc = p->tsc_timestamp;
	mul = p->mul;
	__sync_synchronize();
	if (!version || (version & 1) || p->version != version)
		return 0;
	EXPECT(mul && tsc, "half a clock under version %u", version);
	return ns / HOUR == hours;
}

static void await_clocks(uint64_t hours)
{
	uint64_t until = now_ns() + MUCH_TOO_LONG;

	for (unsigned i = 0; i < NVCPUS; i++) {
		while (!clock_says(i, hours)) {
			EXPECT(now_ns() < until, "vCPU %u: the clock was lost", i);
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
		pthread_kill(m.vcpu[i].thread, SIGUSR1);
		pthread_join(m.vcpu[i].thread, NULL);
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
		create_vcpu(i);
	for (unsigned i = 0; i < NVCPUS; i++)
		pthread_create(&m.vcpu[i].thread, NULL, run_vcpu, (void *)(uintptr_t)i);
	until = now_ns() + seconds * 1000000000;
	while (now_ns() < until)
		one_round(++hours);
	stop_vcpus();
	must(msync(m.mapped, FILE_SIZE, MS_SYNC), "msync");
	EXPECT(pread(m.file, in_file, FILE_SIZE, 0) == FILE_SIZE, "pread");
	EXPECT(!memcmp(in_file, m.mapped, FILE_SIZE), "the file is not what was mapped");
	printf("ok: %lu truncations, %lu and %lu runs, %lu into the void\n",
	       (unsigned long)hours, m.vcpu[0].runs, m.vcpu[1].runs, m.vcpu[1].faults);
	EXPECT(hours > 10, "only %lu truncations", (unsigned long)hours);
	return 0;
}
