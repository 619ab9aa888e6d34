/* SPDX-License-Identifier: MIT */
/*
 * tests/vmm/private_memory.c: guest_memfd and memory attributes from both sides: what the guest
 * reads, and what its VMM, its VMM's children and the receivers of a descriptor can see of it.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/kvm_para.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "gmem.h"
#include "minivmm.h"
#include "pass_fd.h"
#include "userkvm.h"

#define GPA   0x400000u /* of the slot with private memory */
#define SIZE  0x200000u
#define PUNCH (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)

GUEST(load64, 64, "mov (%rdi), %rax\n hlt");
GUEST(store64, 64, "mov %rsi, (%rdi)\n hlt");
GUEST(locked64, 64, "lock incl (%rdi)\n hlt");
GUEST(call64, 64, "vmcall\n hlt");
GUEST(answer64, 64, "mov $0x1234, %eax\n hlt");

struct machine {
	struct minivmm v;
	int file;
	uint8_t *mem; /* the VMM's side of the slot */
};

static void machine_create(struct machine *m, unsigned type, uint64_t flags)
{
	minivmm_create_type(&m->v, type);
	m->mem = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	EXPECT(m->mem != MAP_FAILED, "mmap");
	m->file = gmem_create(m->v.vm, SIZE, flags);
	EXPECT(m->file >= 0, "create: %s", strerror(errno));
	EXPECT(!gmem_bind(m->v.vm, 1, GPA, SIZE, m->mem, m->file, 0), "bind: %s",
	       strerror(errno));
}

static void machine_destroy(struct machine *m)
{
	minivmm_destroy(&m->v);
	if (m->file >= 0)
		close(m->file);
	munmap(m->mem, SIZE);
}

/* Run the code with these registers; what KVM_RUN says. */
static int run(struct machine *m, struct guest_code code, uint64_t rdi, uint64_t rsi)
{
	struct kvm_regs r;

	minivmm_load(&m->v, MINIVMM_LONG, code);
	minivmm_get_regs(&m->v, &r);
	r.rdi = rdi;
	r.rsi = rsi;
	minivmm_set_regs(&m->v, &r);
	return minivmm_run(&m->v);
}

static uint64_t rax(struct machine *m)
{
	struct kvm_regs r;

	minivmm_get_regs(&m->v, &r);
	return r.rax;
}

static void store(struct machine *m, uint64_t gpa, uint64_t value)
{
	int r = run(m, store64, gpa, value);

	EXPECT(r == KVM_EXIT_HLT, "a store to %llx ends with %d", (unsigned long long)gpa, r);
}

static uint64_t load(struct machine *m, uint64_t gpa)
{
	int r = run(m, load64, gpa, 0);

	EXPECT(r == KVM_EXIT_HLT, "a load of %llx ends with %d", (unsigned long long)gpa, r);
	return rax(m);
}

static void convert(struct machine *m, uint64_t gpa, uint64_t size, uint64_t attributes)
{
	EXPECT(!gmem_convert(m->v.vm, gpa, size, attributes), "convert: %s", strerror(errno));
}

#define EXPECT_IS(got, want)                                                                   \
	do {                                                                                   \
		uint64_t g_ = (uint64_t)(got), w_ = (uint64_t)(want);                          \
		EXPECT(g_ == w_, "%s is %#llx", #got, (unsigned long long)g_);                 \
	} while (0)
#define EXPECT_ERRNO(call, err)                                                                \
	do {                                                                                   \
		errno = 0;                                                                     \
		long r_ = (long)(call);                                                        \
		EXPECT(r_ == -1 && errno == (err), "%s: %ld, %s", #call, r_, strerror(errno)); \
	} while (0)

/* A run ends with this error and a memory-fault exit for the page. */
static void expect_fault(struct machine *m, int ended, uint64_t gpa, uint64_t flags)
{
	struct gmem_fault f = gmem_fault_of(m->v.run);

	EXPECT(ended == -EFAULT, "the run ends with %d", ended);
	EXPECT_IS(m->v.run->exit_reason, GMEM_EXIT_FAULT);
	EXPECT_IS(f.flags, flags);
	EXPECT_IS(f.gpa, gpa);
	EXPECT_IS(f.size, GMEM_PAGE);
}

/* ---- the guest asks, the VMM converts */

static void ask(struct machine *m, uint64_t gpa, uint64_t pages, uint64_t attributes)
{
	struct kvm_regs r;

	minivmm_load(&m->v, MINIVMM_LONG, call64);
	minivmm_get_regs(&m->v, &r);
	r.rax = KVM_HC_MAP_GPA_RANGE;
	r.rbx = gpa;
	r.rcx = pages;
	r.rdx = attributes;
	minivmm_set_regs(&m->v, &r);
	EXPECT_EXIT(&m->v, KVM_EXIT_HYPERCALL);
	EXPECT_IS(m->v.run->hypercall.nr, KVM_HC_MAP_GPA_RANGE);
	EXPECT_IS(m->v.run->hypercall.args[0], gpa);
	EXPECT_IS(m->v.run->hypercall.args[1], pages);
	EXPECT_IS(m->v.run->hypercall.args[2], attributes);
	convert(m, gpa, pages * GMEM_PAGE,
		attributes & KVM_MAP_GPA_RANGE_ENCRYPTED ? GMEM_PRIVATE : 0);
	m->v.run->hypercall.ret = 0;
	EXPECT_EXIT(&m->v, KVM_EXIT_HLT);
	EXPECT_IS(rax(m), 0);
}

static void conversion(void)
{
	struct kvm_enable_cap cap = {.cap = KVM_CAP_EXIT_HYPERCALL,
				     .args = {1 << KVM_HC_MAP_GPA_RANGE}};
	struct machine m;

	machine_create(&m, GMEM_PROTECTED, 0);
	EXPECT(!ioctl(m.v.vm, KVM_ENABLE_CAP, &cap), "hypercalls to the VMM");
	store(&m, GPA, 1);
	EXPECT_IS(*(uint64_t *)m.mem, 1);
	ask(&m, GPA, 2, KVM_MAP_GPA_RANGE_ENCRYPTED);
	EXPECT_IS(load(&m, GPA), 0);
	store(&m, GPA, 2);
	store(&m, GPA + GMEM_PAGE, 3);
	EXPECT_IS(*(uint64_t *)m.mem, 1);
	EXPECT_IS(*(uint64_t *)(m.mem + GMEM_PAGE), 0);
	*(uint64_t *)m.mem = 4;
	EXPECT_IS(load(&m, GPA), 2);
	ask(&m, GPA, 1, KVM_MAP_GPA_RANGE_DECRYPTED);
	EXPECT_IS(load(&m, GPA), 4);
	EXPECT_IS(load(&m, GPA + GMEM_PAGE), 3);
	machine_destroy(&m);
}

/* Code and page tables are reached like data. */
static void code_in_private_memory(void)
{
	struct machine m;
	struct kvm_regs r;
	uint64_t code = 0;

	machine_create(&m, GMEM_PROTECTED, 0);
	convert(&m, GPA, SIZE, GMEM_PRIVATE);
	memcpy(&code, answer64.start, (size_t)(answer64.end - answer64.start));
	store(&m, GPA + 0x1000, code);
	minivmm_get_regs(&m.v, &r);
	r.rip = GPA + 0x1000;
	minivmm_set_regs(&m.v, &r);
	EXPECT_EXIT(&m.v, KVM_EXIT_HLT);
	EXPECT_IS(rax(&m), 0x1234);
	/* Converted, the same address holds other code: none. */
	convert(&m, GPA, SIZE, 0);
	memset(m.mem + 0x1000, 0xf4, 16);
	minivmm_get_regs(&m.v, &r);
	r.rip = GPA + 0x1000;
	r.rax = 7;
	minivmm_set_regs(&m.v, &r);
	EXPECT_EXIT(&m.v, KVM_EXIT_HLT);
	EXPECT_IS(rax(&m), 7);
	machine_destroy(&m);
}

static int jump(struct machine *m, uint64_t to)
{
	struct kvm_regs r;

	minivmm_load(&m->v, MINIVMM_LONG, load64);
	minivmm_get_regs(&m->v, &r);
	r.rip = to;
	minivmm_set_regs(&m->v, &r);
	return minivmm_run(&m->v);
}

static void mismatches_end_the_run(void)
{
	struct machine m;

	machine_create(&m, GMEM_PROTECTED, 0);
	/* Private, in the slot that has no guest_memfd. */
	convert(&m, 0x100000, GMEM_PAGE, GMEM_PRIVATE);
	expect_fault(&m, run(&m, load64, 0x100008, 0), 0x100000, GMEM_PRIVATE);
	/* Private, where there is no slot; shared there is a device. */
	convert(&m, 0x1000000, GMEM_PAGE, GMEM_PRIVATE);
	expect_fault(&m, run(&m, store64, 0x1000010, 1), 0x1000000, GMEM_PRIVATE);
	expect_fault(&m, jump(&m, 0x1000000), 0x1000000, GMEM_PRIVATE);
	EXPECT_IS(run(&m, load64, 0x1001000, 0), KVM_EXIT_MMIO);
	EXPECT_IS(jump(&m, 0x1001000), KVM_EXIT_INTERNAL_ERROR);
	/* Code, and page tables. */
	expect_fault(&m, jump(&m, 0x100000), 0x100000, GMEM_PRIVATE);
	convert(&m, 0x100000, GMEM_PAGE, 0);
	convert(&m, MINIVMM_PML4, GMEM_PAGE, GMEM_PRIVATE);
	expect_fault(&m, run(&m, load64, GPA, 0), MINIVMM_PML4, GMEM_PRIVATE);
	convert(&m, MINIVMM_PML4, GMEM_PAGE, 0);
	/* Its slot is deleted; or its file closed. */
	convert(&m, GPA, GMEM_PAGE, GMEM_PRIVATE);
	store(&m, GPA, 5);
	EXPECT(!gmem_unbind(m.v.vm, 1), "delete");
	expect_fault(&m, run(&m, load64, GPA, 0), GPA, GMEM_PRIVATE);
	EXPECT(!gmem_bind(m.v.vm, 1, GPA, SIZE, m.mem, m.file, 0), "bind again");
	EXPECT_IS(load(&m, GPA), 5);
	close(m.file);
	m.file = -1;
	EXPECT_IS(load(&m, GPA + GMEM_PAGE), 0); /* shared, it does not need the file */
	expect_fault(&m, run(&m, load64, GPA, 0), GPA, GMEM_PRIVATE);
	/* The VMM mends it, and the guest goes on. */
	convert(&m, GPA, GMEM_PAGE, 0);
	EXPECT_EXIT(&m.v, KVM_EXIT_HLT);
	machine_destroy(&m);
}

static void attribute_arguments(void)
{
	struct gmem_attributes a = {GPA, GMEM_PAGE, 0, 1};
	struct machine p, d;

	machine_create(&p, GMEM_PROTECTED, 0);
	machine_create(&d, 0, 0);
	EXPECT_IS(ioctl(p.v.kvm, KVM_CHECK_EXTENSION, 233), GMEM_PRIVATE);
	EXPECT_IS(ioctl(p.v.vm, KVM_CHECK_EXTENSION, 233), GMEM_PRIVATE);
	EXPECT_IS(ioctl(d.v.vm, KVM_CHECK_EXTENSION, 233), 0);
	EXPECT_IS(ioctl(p.v.vm, KVM_CHECK_EXTENSION, 244), GMEM_MMAP);
	EXPECT_IS(ioctl(d.v.vm, KVM_CHECK_EXTENSION, 244), GMEM_MMAP | GMEM_SHARED);
	EXPECT_IS(ioctl(p.v.kvm, KVM_CHECK_EXTENSION, 235), 3);
	EXPECT_ERRNO(ioctl(p.v.vm, GMEM_SET_ATTRIBUTES, &a), EINVAL);
	EXPECT_ERRNO(gmem_convert(p.v.vm, GPA, 0, GMEM_PRIVATE), EINVAL);
	EXPECT_ERRNO(gmem_convert(p.v.vm, GPA, 100, GMEM_PRIVATE), EINVAL);
	EXPECT_ERRNO(gmem_convert(p.v.vm, GPA + 8, GMEM_PAGE, GMEM_PRIVATE), EINVAL);
	EXPECT_ERRNO(gmem_convert(p.v.vm, -(uint64_t)GMEM_PAGE, 2 * GMEM_PAGE, 0), EINVAL);
	EXPECT_ERRNO(gmem_convert(p.v.vm, GPA, GMEM_PAGE, 1), EINVAL);
	EXPECT_ERRNO(gmem_convert(d.v.vm, GPA, GMEM_PAGE, GMEM_PRIVATE), EINVAL);
	EXPECT(!gmem_convert(d.v.vm, GPA, GMEM_PAGE, 0), "nothing to change");
	EXPECT_ERRNO(gmem_create(p.v.vm, SIZE, GMEM_SHARED), EINVAL);
	machine_destroy(&p);
	machine_destroy(&d);
}

static void prefault_private_memory(void)
{
	struct gmem_prefault f = {.gpa = GPA, .size = SIZE};
	struct machine m;

	machine_create(&m, GMEM_PROTECTED, 0);
	convert(&m, GPA, SIZE / 2, GMEM_PRIVATE);
	EXPECT(!ioctl(m.v.vcpu, GMEM_PREFAULT, &f), "prefault: %s", strerror(errno));
	EXPECT_IS(f.gpa, GPA + SIZE);
	EXPECT_IS(f.size, 0);
	f = (struct gmem_prefault){.gpa = 0x1000000, .size = GMEM_PAGE};
	convert(&m, 0x1000000, GMEM_PAGE, GMEM_PRIVATE);
	EXPECT_ERRNO(ioctl(m.v.vcpu, GMEM_PREFAULT, &f), EFAULT);
	machine_destroy(&m);
}

/* ---- files that can be mapped */

static sigjmp_buf bus;

static void on_bus(int sig)
{
	siglongjmp(bus, 1);
}

static int bus_error(volatile uint8_t *p)
{
	if (sigsetjmp(bus, 1))
		return 1;
	*p = 1;
	return 0;
}

static void a_mappable_file_serves_all(void)
{
	struct machine m;
	uint8_t *p;

	machine_create(&m, 0, GMEM_MMAP | GMEM_SHARED);
	p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, m.file, 0);
	EXPECT(p != MAP_FAILED, "mmap: %s", strerror(errno));
	store(&m, GPA + 0x3000, 6);
	EXPECT_IS(*(uint64_t *)(p + 0x3000), 6);
	EXPECT_IS(*(uint64_t *)(m.mem + 0x3000),
		  0); /* what the slot's address maps is not asked */
	*(uint64_t *)(p + 0x3000) = 7;
	EXPECT_IS(load(&m, GPA + 0x3000), 7);
	EXPECT(!fallocate(m.file, PUNCH, 0x3000, 0x1000), "punch");
	EXPECT_IS(load(&m, GPA + 0x3000), 0);
	EXPECT_IS(*(uint64_t *)(p + 0x3000), 0);
	/* The guest still has it when the VMM's mapping has gone. */
	*(uint64_t *)p = 8;
	munmap(p, SIZE);
	EXPECT_IS(load(&m, GPA), 8);
	machine_destroy(&m);

	/* Mapped before the file is closed, it stays mapped. */
	machine_create(&m, 0, GMEM_MMAP | GMEM_SHARED);
	p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, m.file, 0);
	store(&m, GPA, 9);
	machine_destroy(&m);
	EXPECT_IS(*(uint64_t *)p, 9);
	munmap(p, SIZE);
}

static void unshared_mappings_are_bus_errors(void)
{
	struct machine m;
	uint8_t *p;

	signal(SIGBUS, on_bus);
	machine_create(&m, GMEM_PROTECTED, GMEM_MMAP);
	p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, m.file, 0);
	EXPECT(p != MAP_FAILED, "mmap: %s", strerror(errno));
	EXPECT(bus_error(p), "a mapping shows pages that were not shared");
	/* The file serves shared faults and private ones alike. */
	store(&m, GPA, 10);
	convert(&m, GPA, GMEM_PAGE, GMEM_PRIVATE);
	EXPECT_IS(load(&m, GPA), 10);
	EXPECT(bus_error(p), "a mapping shows a page the guest has written");
	munmap(p, SIZE);
	machine_destroy(&m);
	signal(SIGBUS, SIG_DFL);
}

/* ---- descriptors */

static int pass(int fd)
{
	int pair[2];

	EXPECT(!socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), "socketpair");
	EXPECT(!send_fd(pair[0], fd), "sendmsg");
	close(fd);
	fd = receive_fd(pair[1]);
	EXPECT(fd >= 0, "recvmsg");
	close(pair[0]);
	close(pair[1]);
	return fd;
}

static void descriptors_are_ordinary(void)
{
	struct machine m;
	struct stat st;
	int other;

	machine_create(&m, GMEM_PROTECTED, 0);
	convert(&m, GPA, SIZE, GMEM_PRIVATE);
	store(&m, GPA, 11);
	EXPECT(!fstat(m.file, &st), "fstat");
	EXPECT_IS(st.st_mode, S_IFREG | 0600);
	EXPECT_IS(st.st_size, SIZE);
	EXPECT_IS(st.st_blksize, GMEM_PAGE);
	EXPECT_IS(fcntl(m.file, F_GETFD), 0);
	other = dup(m.file);
	close(m.file);
	EXPECT_IS(load(&m, GPA), 11);
	m.file = pass(other);
	EXPECT_IS(load(&m, GPA), 11);
	EXPECT(!fallocate(m.file, PUNCH, 0, GMEM_PAGE), "punch");
	EXPECT_IS(load(&m, GPA), 0);
	/* The file keeps its VM, and works without any other descriptor of it. */
	minivmm_destroy(&m.v);
	EXPECT(!fallocate(m.file, FALLOC_FL_KEEP_SIZE, 0, SIZE), "allocate");
	EXPECT(!fallocate(m.file, PUNCH, 0, SIZE), "punch");
	close(m.file);
	munmap(m.mem, SIZE);
}

/* What another process makes of the descriptor, with and without userkvm's help: nothing. */
static void spy(int fd, uint64_t secret)
{
	uint8_t page[GMEM_PAGE];
	void *p = (void *)syscall(SYS_mmap, NULL, SIZE, PROT_READ, MAP_SHARED, fd, 0);

	if (mmap(NULL, SIZE, PROT_READ, MAP_SHARED, fd, 0) != MAP_FAILED)
		_exit(1);
	if (fallocate(fd, PUNCH, 0, GMEM_PAGE) != -1 || errno != EIO)
		_exit(2);
	for (uint64_t at = 0; at < SIZE; at += GMEM_PAGE) {
		if (syscall(SYS_pread64, fd, page, sizeof(page), at) == sizeof(page) &&
		    memmem(page, sizeof(page), &secret, sizeof(secret)))
			_exit(3);
	}
	if (p != MAP_FAILED && memmem(p, SIZE, &secret, sizeof(secret)))
		_exit(4);
	if (syscall(SYS_pwrite64, fd, page, 1, 0) == 1)
		_exit(5);
	close(fd);
	_exit(0);
}

/* Another program, which the descriptor is open in: how many bytes of it are not zero? */
static void expect_nothing_after_exec(int fd)
{
	char command[100], answer[16] = {0};
	FILE *p;

	snprintf(command, sizeof(command), "head -c %u <&%d | tr -d '\\0' | wc -c", SIZE, fd);
	p = popen(command, "r");
	EXPECT(p && fgets(answer, sizeof(answer), p), "popen");
	EXPECT(!strcmp(answer, "0\n"), "a child reads %s bytes that are not zero", answer);
	pclose(p);
}

static void other_processes_see_nothing(void)
{
	const uint64_t secret = 0x7065726d616e656e;
	struct machine m;
	int status;
	pid_t pid;

	machine_create(&m, GMEM_PROTECTED, 0);
	convert(&m, GPA, SIZE, GMEM_PRIVATE);
	store(&m, GPA + 0x5000, secret);
	pid = fork();
	if (!pid)
		spy(m.file, secret);
	EXPECT(waitpid(pid, &status, 0) == pid, "waitpid");
	EXPECT_IS(status, 0);
	expect_nothing_after_exec(m.file);
	/* The child's close closed nothing of ours. */
	EXPECT_IS(load(&m, GPA + 0x5000), secret);
	machine_destroy(&m);
}

/* ---- two VMs on the same pages: userkvm's own */

static int link_file(int vm, int fd)
{
	struct userkvm_link_guest_memfd l = {.guest_memfd = fd};

	return ioctl(vm, USERKVM_LINK_GUEST_MEMFD, &l);
}

static void linked_files(void)
{
	struct userkvm_link_guest_memfd bad = {.flags = 1};
	struct machine a, b;
	int fd;

	machine_create(&a, GMEM_PROTECTED, 0);
	if (ioctl(a.v.kvm, KVM_CHECK_EXTENSION, USERKVM_CAP_LINK_GUEST_MEMFD) != 1) {
		machine_destroy(&a);
		return; /* a real device */
	}
	machine_create(&b, GMEM_PROTECTED, 0);
	EXPECT_ERRNO(ioctl(b.v.vm, USERKVM_LINK_GUEST_MEMFD, &bad), EINVAL);
	EXPECT_ERRNO(link_file(b.v.vm, -1), EBADF);
	EXPECT_ERRNO(link_file(b.v.vm, b.v.vm), EINVAL);
	EXPECT_ERRNO(gmem_bind(b.v.vm, 2, 0x800000, SIZE, b.mem, a.file, 0), EINVAL);
	convert(&a, GPA, SIZE, GMEM_PRIVATE);
	convert(&b, 0x800000, SIZE, GMEM_PRIVATE);
	fd = link_file(b.v.vm, a.file);
	EXPECT(fd >= 0, "link: %s", strerror(errno));
	EXPECT(!gmem_bind(b.v.vm, 2, 0x800000, SIZE, b.mem, fd, 0), "bind: %s",
	       strerror(errno));
	store(&a, GPA + 0x2000, 12);
	EXPECT_IS(load(&b, 0x802000), 12);
	EXPECT(!fallocate(fd, PUNCH, 0x2000, 0x1000), "punch");
	EXPECT_IS(load(&a, GPA + 0x2000), 0);
	store(&b, 0x802000, 13);
	EXPECT(!fallocate(a.file, PUNCH, 0x2000, 0x1000), "punch");
	EXPECT_IS(load(&b, 0x802000), 0);
	/* Hand-over: nothing of A is left. */
	store(&a, GPA + 0x4000, 14);
	machine_destroy(&a);
	EXPECT_IS(load(&b, 0x804000), 14);
	close(fd);
	expect_fault(&b, run(&b, load64, 0x804000, 0), 0x804000, GMEM_PRIVATE);
	machine_destroy(&b);
}

/* Mappings of a linked file are of the same pages. */
static void linked_mappable_files(void)
{
	struct machine a, b;
	uint8_t *pa, *pb;
	int fd;

	machine_create(&a, 0, GMEM_MMAP | GMEM_SHARED);
	if (ioctl(a.v.kvm, KVM_CHECK_EXTENSION, USERKVM_CAP_LINK_GUEST_MEMFD) != 1) {
		machine_destroy(&a);
		return; /* a real device */
	}
	machine_create(&b, 0, 0);
	fd = link_file(b.v.vm, a.file);
	EXPECT(fd >= 0, "link: %s", strerror(errno));
	EXPECT(!gmem_bind(b.v.vm, 2, 0x800000, SIZE / 2, b.mem, fd, SIZE / 2), "bind");
	pa = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, a.file, 0);
	pb = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, SIZE / 2);
	EXPECT(pa != MAP_FAILED && pb != MAP_FAILED, "mmap");
	store(&a, GPA + SIZE / 2, 15);
	EXPECT_IS(*(uint64_t *)pb, 15);
	*(uint64_t *)(pb + GMEM_PAGE) = 16;
	EXPECT_IS(load(&b, 0x801000), 16);
	EXPECT_IS(load(&a, GPA + SIZE / 2 + GMEM_PAGE), 16);
	signal(SIGBUS, on_bus);
	EXPECT(bus_error(pb + SIZE / 2), "a mapping goes on beyond the file");
	signal(SIGBUS, SIG_DFL);
	EXPECT(!fallocate(fd, PUNCH, SIZE / 2, SIZE / 2), "punch");
	EXPECT_IS(*(uint64_t *)(pa + SIZE / 2), 0);
	EXPECT_IS(*(uint64_t *)pb, 0);
	munmap(pa, SIZE);
	machine_destroy(&a);
	*(uint64_t *)pb = 17;
	EXPECT_IS(load(&b, 0x800000), 17);
	munmap(pb, SIZE);
	close(fd);
	machine_destroy(&b);
	/* A protected VM's memory does not start shared. */
	machine_create(&a, 0, GMEM_MMAP | GMEM_SHARED);
	machine_create(&b, GMEM_PROTECTED, 0);
	EXPECT_ERRNO(link_file(b.v.vm, a.file), EINVAL);
	machine_destroy(&a);
	machine_destroy(&b);
}

/*
 * Where attributes are set, whether a page is a device's takes a fault to find out. The store's half of
 * a locked access that the VM answers by itself does not come back from it.
 */
static void locked_access_to_a_device(void)
{
	struct kvm_coalesced_mmio_zone zone = {.addr = MINIVMM_HOLE, .size = 8};
	struct machine m;
	uint32_t seven = 7;

	machine_create(&m, GMEM_PROTECTED, 0);
	convert(&m, GPA, GMEM_PAGE, GMEM_PRIVATE);
	EXPECT(!ioctl(m.v.vm, KVM_REGISTER_COALESCED_MMIO, &zone), "coalesce: %s", strerror(errno));
	EXPECT_IS(run(&m, locked64, MINIVMM_HOLE, 0), KVM_EXIT_MMIO);
	EXPECT(!m.v.run->mmio.is_write && m.v.run->mmio.phys_addr == MINIVMM_HOLE, "not the load");
	memcpy(m.v.run->mmio.data, &seven, sizeof(seven));
	EXPECT_EXIT(&m.v, KVM_EXIT_HLT);
	machine_destroy(&m);
}

int main(void)
{
	conversion();
	code_in_private_memory();
	mismatches_end_the_run();
	attribute_arguments();
	prefault_private_memory();
	a_mappable_file_serves_all();
	unshared_mappings_are_bus_errors();
	descriptors_are_ordinary();
	other_processes_see_nothing();
	linked_files();
	linked_mappable_files();
	locked_access_to_a_device();
	return 0;
}
