/* SPDX-License-Identifier: MIT */
/*
 * tests/stat/guest.c: a VMM whose guest does things a known number of times, one kind after the
 * other. It stops after each: a line on its standard output says what was done, and a line on its
 * standard input lets it go on. tests/stat/stat looks at the counters meanwhile.
 */
#include "../vmm/minivmm.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define MARKER	    0x11   /* the guest's port for "done with this" */
#define COUNTS	    0x10000u /* guest-physical: struct counts */
#define PAGES_GPA   0x400000u /* beyond MINIVMM_HOLE; its writes are logged, so in 4 KiB */
#define NPAGES	    64
#define IRQ_VECTOR  0x20
#define UD_HANDLER  0x200 /* in the code */
#define IRQ_HANDLER 0x220

#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif

static void *pages; /* slot 1's */

/* What the guest reads its numbers from; each at least 1. */
struct counts {
	uint64_t ports, mmio, first_page, pages, exceptions, hypercalls, halts;
};

/* Each loop ends in a write to MARKER, the last in one for each interrupt. */
GUEST(counted, 64,
      "again: xor %ebx, %ebx\n mov 0x10000, %rcx\n"
      "1: out %al, $0x10\n dec %rcx\n jnz 1b\n out %al, $0x11\n"
      "mov 0x10008, %rcx\n"
      "1: mov 0x300000, %eax\n dec %rcx\n jnz 1b\n out %al, $0x11\n"
      "mov 0x10010, %rdi\n shl $12, %rdi\n add $0x400000, %rdi\n mov 0x10018, %rcx\n"
      "1: movb $1, (%rdi)\n add $0x1000, %rdi\n dec %rcx\n jnz 1b\n out %al, $0x11\n"
      "mov 0x10020, %rcx\n"
      "1: ud2\n dec %rcx\n jnz 1b\n out %al, $0x11\n"
      "mov 0x10028, %rcx\n"
      "1: mov $0x7fff, %eax\n vmcall\n dec %rcx\n jnz 1b\n out %al, $0x11\n"
      "mov 0x10030, %rcx\n"
      "1: hlt\n dec %rcx\n jnz 1b\n out %al, $0x11\n"
      "sti\n 1: out %al, $0x11\n test %rbx, %rbx\n jz 1b\n cli\n jmp again\n"
      ".org guest_counted + 0x200\n addq $2, (%rsp)\n iretq\n"
      ".org guest_counted + 0x220\n iretq\n");

GUEST(spin, 64, "1: inc %rax\n jmp 1b\n");

static void say(const char *what)
{
	char line[16];

	puts(what);
	fflush(stdout);
	if (!fgets(line, sizeof(line), stdin))
		exit(0); /* whoever looks has seen enough */
}

static void run_to_marker(struct minivmm *v)
{
	for (;;) {
		int reason = minivmm_run(v);

		if (reason == KVM_EXIT_IO && v->run->io.port == MARKER)
			return;
		EXPECT(reason == KVM_EXIT_IO || reason == KVM_EXIT_MMIO || reason == KVM_EXIT_HLT,
		       "exit %s", minivmm_exit_name(reason));
	}
}

static void interrupt_times(struct minivmm *v, unsigned n)
{
	struct kvm_interrupt irq = {.irq = IRQ_VECTOR};

	for (unsigned i = 0; i < n; i++) {
		EXPECT(!ioctl(v->vcpu, KVM_INTERRUPT, &irq), "KVM_INTERRUPT: %s", strerror(errno));
		run_to_marker(v);
	}
}

/* One time through it all, stopping at each marker if somebody looks. */
static void do_counted(struct minivmm *v, const struct counts *c, unsigned irqs, int looked_at)
{
	static const char *const names[] = {"ports",	  "mmio",	"pages", "exceptions",
					    "hypercalls", "halts"};
	struct kvm_regs r;

	EXPECT(counted.start[UD_HANDLER] == 0x48 && counted.start[IRQ_HANDLER] == 0x48,
	       "the handlers are not at their places");
	memcpy(v->mem + COUNTS, c, sizeof(*c));
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		run_to_marker(v);
		if (looked_at)
			say(names[i]);
	}
	run_to_marker(v);
	interrupt_times(v, irqs);
	if (looked_at)
		say("interrupts");
	minivmm_get_regs(v, &r);
	r.rbx = 1; /* and so on to the beginning */
	minivmm_set_regs(v, &r);
}

static void add_pages(struct minivmm *v)
{
	struct kvm_userspace_memory_region slot = {
		.slot = 1,
		.flags = KVM_MEM_LOG_DIRTY_PAGES,
		.guest_phys_addr = PAGES_GPA,
		.memory_size = NPAGES << 12,
	};
	pages = mmap(NULL, NPAGES << 12, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	EXPECT(pages != MAP_FAILED, "mmap");
	slot.userspace_addr = (uintptr_t)pages;
	EXPECT(!ioctl(v->vm, KVM_SET_USER_MEMORY_REGION, &slot), "slot: %s", strerror(errno));
}

static void load(struct minivmm *v, struct guest_code code)
{
	minivmm_load(v, MINIVMM_LONG, code);
	minivmm_set_gate(v, MINIVMM_LONG, 6, UD_HANDLER);
	minivmm_set_gate(v, MINIVMM_LONG, IRQ_VECTOR, IRQ_HANDLER);
}

static void *spin_thread(void *arg)
{
	EXPECT(minivmm_run(arg) == -EINTR, "the spinning vCPU left the guest by itself");
	return NULL;
}

static void on_signal(int sig) {}

/* A vCPU that never leaves the guest is seen counting. */
static void do_spin(struct minivmm *v)
{
	pthread_t thread;

	load(v, spin);
	pthread_create(&thread, NULL, spin_thread, v);
	say("spin");
	v->run->immediate_exit = 1;
	pthread_kill(thread, SIGUSR1);
	pthread_join(thread, NULL);
}

/* A child has the pages of the counters, too. What it does is not the VM's. */
static void do_fork(struct minivmm *v)
{
	int status;
	pid_t child = fork();

	if (!child) {
		munmap(v->mem, v->mem_size);
		ioctl(v->vcpu, KVM_RUN, 0);
		pause(); /* until it has been looked at */
		_exit(1);
	}
	printf("child %d\n", child);
	say("fork");
	waitpid(child, &status, 0);
	say("forked");
}

/* Memory under a userfaultfd of this VMM's is reached directly, and where that is is said. */
static void do_userfaultfd(void)
{
	struct uffdio_api api = {.api = UFFD_API};
	struct uffdio_register r = {.range = {(uintptr_t)pages, NPAGES << 12},
				    .mode = UFFDIO_REGISTER_MODE_MISSING};
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);

	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) || ioctl(fd, UFFDIO_REGISTER, &r)) {
		say("userfaultfd: none");
	} else {
		printf("userfaultfd: %llx\n", r.range.start);
		say("registered");
		EXPECT(!ioctl(fd, UFFDIO_UNREGISTER, &r.range), "unregister");
	}
	say("unregistered");
	close(fd);
}

int main(void)
{
	static const struct counts warm = {1, 1, 0, 1, 1, 1, 1}, first = {700, 50, 1, 20, 30, 40, 9},
				   second = {3, 5, 21, 7, 11, 13, 17};
	struct sigaction sa = {.sa_handler = on_signal};
	struct minivmm v, w, other;

	sigaction(SIGUSR1, &sa, NULL);
	minivmm_create(&v);
	add_pages(&v);
	minivmm_add_vcpu(&v, 5, &w);
	load(&v, counted);
	do_counted(&v, &warm, 1, 0);
	say("warm 0");
	do_counted(&v, &first, 60, 1);
	load(&w, counted);
	do_counted(&w, &warm, 1, 0);
	say("warm 5");
	do_counted(&w, &second, 19, 1);
	do_spin(&w);
	do_fork(&v);
	do_userfaultfd();
	minivmm_create(&other);
	say("two");
	minivmm_destroy(&other);
	say("one");
	return 0;
}
