/* SPDX-License-Identifier: MIT */
/* hc_gmem_map.c: guest_memfds that may be mapped, and guests that use them. */
#include <setjmp.h>
#include <signal.h>
#include <sys/wait.h>
#include "hc_gmem.h"
#include "vcpu.h"

#define SIZE 0x10000UL
#define HUGE 0x200000UL
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

/* ------------------------------------------------------------------ touching what may not be there */

static sigjmp_buf after;

static void on_signal(int sig)
{
	siglongjmp(after, sig);
}

/* The byte at p, or -signal. */
static int look(const volatile u8 *p)
{
	int sig = sigsetjmp(after, 1);

	return sig ? -sig : *p;
}

static int put(volatile u8 *p, u8 value)
{
	int sig = sigsetjmp(after, 1);

	if (sig)
		return -sig;
	*p = value;
	return 0;
}

static u8 *map(int fd, size_t len, int prot, int flags, off_t off, const char *what)
{
	void *p = mmap(NULL, len, prot, flags, fd, off);

	line(p == MAP_FAILED ? -1 : 0, "gmem mmap %s", what);
	return p == MAP_FAILED ? NULL : p;
}

/* ------------------------------------------------------------------ mappings */

static void test_kinds(int vm, u64 flags)
{
	static const struct {
		size_t len;
		int prot, flags;
		off_t off;
		const char *what;
	} list[] = {
		{SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, 0, "shared"},
		{SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, 0, "private"},
		{SIZE, PROT_READ, MAP_PRIVATE, 0, "private to read"},
		{SIZE, PROT_READ, MAP_SHARED, 0, "shared to read"},
		{SIZE, PROT_NONE, MAP_SHARED, 0, "shared, nothing allowed"},
		{SIZE, PROT_READ | PROT_EXEC, MAP_SHARED, 0, "to execute"},
		{SIZE, PROT_READ | PROT_WRITE, MAP_SHARED_VALIDATE, 0, "shared, validated"},
		{SIZE, PROT_READ, MAP_SHARED_VALIDATE | MAP_SYNC, 0, "MAP_SYNC"},
		{SIZE, PROT_READ, MAP_SHARED | MAP_HUGETLB, 0, "MAP_HUGETLB"},
		{2 * SIZE, PROT_READ, MAP_SHARED, 0, "longer than the file"},
		{0x1000, PROT_READ, MAP_SHARED, SIZE - 0x1000, "its last page"},
		{0x1000, PROT_READ, MAP_SHARED, SIZE, "past the end"},
		{0x1000, PROT_READ, MAP_SHARED, 1, "an odd offset"},
		{0, PROT_READ, MAP_SHARED, 0, "nothing"},
	};
	int fd = gmem_new(vm, SIZE, flags);
	char what[80];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(list); i++) {
		u8 *p;

		snprintf(what, sizeof(what), "flags %llx %s", (unsigned long long)flags,
			 list[i].what);
		p = map(fd, list[i].len, list[i].prot, list[i].flags, list[i].off, what);
		if (p)
			munmap(p, list[i].len);
	}
	close(fd);
}

static void test_use(int vm)
{
	int fd = gmem_new(vm, SIZE, GMEM_MMAP | GMEM_SHARED);
	u8 *p = map(fd, 2 * SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, 0, "to use");
	u8 *q = map(fd, 0x1000, PROT_READ, MAP_SHARED, 0x1000, "once more");
	int status;
	pid_t child;

	if (!p || !q)
		return;
	out("new: %d", look(p + 0x1000));
	out("write: %d", put(p + 0x1000, 7));
	out("read by the other: %d", look(q));
	out("past the end: %d", look(p + SIZE));
	line(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0x1000, 0x1000),
	     "gmem punch while it is mapped");
	out("punched: %d %d", look(p + 0x1000), look(q));
	put(p + 0x1000, 9);
	fflush(stdout);
	child = fork();
	if (!child)
		_exit(look(p + 0x1000) - put(p + 0x1000, 11));
	waitpid(child, &status, 0);
	out("a child read %d and left %d", WEXITSTATUS(status), look(p + 0x1000));
	line(madvise(p, SIZE, MADV_DONTNEED), "gmem MADV_DONTNEED");
	out("after DONTNEED: %d", look(p + 0x1000));
	line(madvise(p, SIZE, MADV_REMOVE), "gmem MADV_REMOVE");
	out("after REMOVE: %d", look(p + 0x1000));
	line(madvise(p, SIZE, MADV_DONTFORK), "gmem MADV_DONTFORK");
	line(madvise(p, SIZE, MADV_HUGEPAGE), "gmem MADV_HUGEPAGE");
	line(madvise(p, SIZE, MADV_POPULATE_READ), "gmem MADV_POPULATE_READ");
	line(msync(p, SIZE, MS_SYNC), "gmem msync");
	line(mprotect(p, SIZE, PROT_READ), "gmem mprotect to read");
	out("write: %d", put(p, 1));
	line(mprotect(p, SIZE, PROT_READ | PROT_WRITE), "gmem mprotect to write");
	line(mprotect(p, SIZE, PROT_READ | PROT_EXEC), "gmem mprotect to execute");
	close(fd);
	out("closed: %d", look(p + 0x2000));
	munmap(q, 0x1000);
	munmap(p, 2 * SIZE);
}

static void test_unshared(int vm)
{
	int fd = gmem_new(vm, SIZE, GMEM_MMAP);
	u8 *p = map(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, 0, "what starts private");

	if (!p)
		return;
	out("read: %d", look(p));
	out("write: %d", put(p, 1));
	line(madvise(p, SIZE, MADV_POPULATE_WRITE), "gmem MADV_POPULATE_WRITE, private");
	munmap(p, SIZE);
	close(fd);
}

/* ------------------------------------------------------------------ guests */

#define CODE	  0x1000 /* a slot of its own, of CODE_SIZE */
#define CODE_SIZE 0x4000
#define DATA	  0x8000

/*
 * In long mode, which any KVM runs rather than emulates: reads the byte at DATA, sends it, stores it
 * + 1 beside it.
 */
static const u8 code[] = {
	0x8a, 0x04, 0x25, 0x00, 0x80, 0x00, 0x00, /* mov al, [DATA] */
	0xe6, 0x10,				  /* out 0x10, al */
	0xff, 0xc0,				  /* inc eax */
	0x88, 0x04, 0x25, 0x01, 0x80, 0x00, 0x00, /* mov [DATA + 1], al */
	0xf4,					  /* hlt */
};

/* Behind the code: tables that map the first 2 MiB as they are. */
#define PML4 (CODE + 0x1000)

static void fill_code_slot(u8 *p)
{
	static const u64 table[] = {0x3003, 0x4003, 0x83}; /* present, writable; large */
	size_t i;

	memcpy(p, code, sizeof(code));
	for (i = 0; i < ARRAY_SIZE(table); i++)
		memcpy(p + 0x1000 * (i + 1), &table[i], sizeof(table[i]));
}

static void start(struct machine *m)
{
	struct kvm_regs regs = {.rip = CODE, .rflags = 2};

	vcpu_set_long_mode(m->vcpu, PML4);
	call(m->vcpu, KVM_SET_REGS, &regs);
}

/* Two lines whatever happens, as every test of this program prints as many on each device. */
static void run(struct machine *m, const char *what)
{
	long r = call(m->vcpu, KVM_RUN, 0);
	u32 reason = m->run->exit_reason;
	struct gmem_fault f = gmem_fault_of(m->run);

	line(r, "gmem guest %s", what);
	if (r && reason == GMEM_EXIT_FAULT)
		out("memory fault: flags %llx gpa %llx size %llx", (unsigned long long)f.flags,
		    (unsigned long long)f.gpa, (unsigned long long)f.size);
	else if (!r && reason == KVM_EXIT_IO)
		out("sent %d", *((u8 *)m->run + m->run->io.data_offset));
	else
		out("exit %u", reason);
}

static void run_whole(struct machine *m, const char *what)
{
	char name[64];

	start(m);
	run(m, what);
	snprintf(name, sizeof(name), "%s, on", what);
	run(m, name);
}

static struct machine guest_new(u8 **code_page)
{
	struct machine m = machine_new(false);
	struct kvm_userspace_memory_region r = {
		.slot = 10, .guest_phys_addr = CODE, .memory_size = CODE_SIZE};

	*code_page = mmap(NULL, CODE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			  0);
	fill_code_slot(*code_page);
	r.userspace_addr = (u64)(uintptr_t)*code_page;
	call(m.vm, KVM_SET_USER_MEMORY_REGION, &r);
	return m;
}

/* A mappable file serves every access; the slot's address does not matter. */
static void test_guest_mapped(u8 *mem)
{
	u8 *page, *p;
	struct machine m = guest_new(&page);
	int fd = gmem_new(m.vm, SIZE, GMEM_MMAP | GMEM_SHARED);
	struct gmem_region r = {.flags = 4,
				.gpa = DATA,
				.size = 0x4000,
				.hva = (u64)(uintptr_t)mem,
				.offset = 0x1000,
				.fd = (u32)fd};

	line(call(m.vm, GMEM_SET_REGION, &r), "gmem guest's slot on a mappable file");
	p = map(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, 0, "beside a guest");
	if (!p)
		return;
	mem[0] = 55;
	p[0x1000] = 66;
	run_whole(&m, "on a mappable file");
	out("the mapping shows %d, the slot's address %d", p[0x1001], mem[1]);
	line(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0x1000, 0x1000),
	     "gmem punch under a guest");
	run_whole(&m, "after a punch");
	out("the mapping shows %d %d", p[0x1000], p[0x1001]);
	munmap(p, SIZE);
	run_whole(&m, "after munmap");
	close(fd);
	run_whole(&m, "after close");
	r.size = 0;
	line(call(m.vm, GMEM_SET_REGION, &r), "gmem guest's slot deleted after close");
	machine_free(&m);
	munmap(page, CODE_SIZE);
}

/* On a file that cannot be mapped, what is not private is the slot's address. */
static void test_guest_private(u8 *mem)
{
	u8 *page;
	struct machine m = guest_new(&page);
	int fd = gmem_new(m.vm, SIZE, 0);
	struct gmem_region r = {.flags = 4,
				.gpa = DATA,
				.size = 0x4000,
				.hva = (u64)(uintptr_t)mem,
				.fd = (u32)fd};

	line(call(m.vm, GMEM_SET_REGION, &r), "gmem guest's slot");
	mem[0] = 77;
	run_whole(&m, "shared");
	out("the slot's address shows %d", mem[1]);
	line(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, SIZE), "gmem punch all");
	run_whole(&m, "shared after a punch");
	close(fd);
	run_whole(&m, "shared after close");
	machine_free(&m);
	munmap(page, CODE_SIZE);
}

/* Its pages are not made one of by whoever has a mapping. */
static void test_collapse(int vm)
{
	int fd = gmem_new(vm, HUGE, GMEM_MMAP | GMEM_SHARED);
	u8 *p = map(fd, HUGE, PROT_READ | PROT_WRITE, MAP_SHARED, 0, "a huge page's size");

	if (!p)
		return;
	put(p, 1);
	line(madvise(p, HUGE, MADV_COLLAPSE), "gmem MADV_COLLAPSE");
	out("after COLLAPSE: %d", look(p));
	munmap(p, HUGE);
	close(fd);
}

void test_gmem_mappings(void)
{
	struct sigaction sa = {.sa_handler = on_signal}, old[2];
	struct machine m = machine_new(false);
	u8 *mem = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	sigaction(SIGBUS, &sa, &old[0]);
	sigaction(SIGSEGV, &sa, &old[1]);
	test_kinds(m.vm, 0);
	test_kinds(m.vm, GMEM_SHARED);
	test_kinds(m.vm, GMEM_MMAP);
	test_kinds(m.vm, GMEM_MMAP | GMEM_SHARED);
	test_use(m.vm);
	test_unshared(m.vm);
	test_collapse(m.vm);
	machine_free(&m);
	test_guest_mapped(mem);
	test_guest_private(mem);
	sigaction(SIGBUS, &old[0], NULL);
	sigaction(SIGSEGV, &old[1], NULL);
	munmap(mem, SIZE);
}
