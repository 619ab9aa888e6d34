/* SPDX-License-Identifier: MIT */
#include "probe.h"
#include "rawcall.h"
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define READ_AT	 MINIVMM_CODE
#define WRITE_AT (MINIVMM_CODE + 16)

GUEST(probe, 32, "mov (%ebx), %eax\n hlt\n .balign 16\n mov %eax, (%ebx)\n hlt");

void probe_create(struct minivmm *v)
{
	minivmm_create(v);
	minivmm_load(v, MINIVMM_PROT, probe);
}

void probe_slot(struct minivmm *v, unsigned id, unsigned flags, uint64_t gpa, uint64_t size,
		const void *hva)
{
	struct kvm_userspace_memory_region r = {id, flags, gpa, size, (uintptr_t)hva};

	EXPECT(!ioctl(v->vm, KVM_SET_USER_MEMORY_REGION, &r), "slot %u at %p: %s", id, hva,
	       strerror(errno));
}

static int go(struct minivmm *v, uint32_t code, uint32_t gpa, struct kvm_regs *r)
{
	int reason;

	*r = (struct kvm_regs){.rip = code, .rsp = MINIVMM_STACK, .rflags = 2,
			       .rax = r->rax, .rbx = gpa};
	minivmm_set_regs(v, r);
	reason = minivmm_run(v);
	if (reason == KVM_EXIT_MMIO) {
		v->run->immediate_exit = 1;
		EXPECT(minivmm_run(v) == -EINTR, "the exit is completed");
		v->run->immediate_exit = 0;
	}
	minivmm_get_regs(v, r);
	return reason == KVM_EXIT_HLT ? 0 : reason;
}

int probe_read(struct minivmm *v, uint32_t gpa, uint32_t *value)
{
	struct kvm_regs r = {0};
	int e = go(v, READ_AT, gpa, &r);

	if (!e)
		*value = (uint32_t)r.rax;
	return e;
}

int probe_write(struct minivmm *v, uint32_t gpa, uint32_t value)
{
	struct kvm_regs r = {.rax = value};

	return go(v, WRITE_AT, gpa, &r);
}

int probe_run(struct minivmm *v, uint32_t gpa, uint32_t *eax)
{
	struct kvm_regs r = {0};
	int e = go(v, gpa, 0, &r);

	*eax = (uint32_t)r.rax;
	return e;
}

uint32_t probe_must_read(struct minivmm *v, uint32_t gpa)
{
	uint32_t value = 0;
	int e = probe_read(v, gpa, &value);

	EXPECT(!e, "a read of %x ends with %d", gpa, e);
	return value;
}

/* ------------------------------------------------------------------ the VMM's own view */

static int words[2]; /* a pipe; 0, 0: not yet */

static void open_pipe(void)
{
	if (!words[1])
		EXPECT(!pipe(words), "pipe: %s", strerror(errno));
}

bool probe_host_read(const void *at, uint32_t *value)
{
	open_pipe();
	return rawcall(SYS_write, words[1], at, 4) == 4 && rawcall(SYS_read, words[0], value, 4) == 4;
}

bool probe_host_write(void *at, uint32_t value)
{
	uint32_t drained;
	bool ok;

	open_pipe();
	EXPECT(rawcall(SYS_write, words[1], &value, 4) == 4, "a pipe");
	ok = rawcall(SYS_read, words[0], at, 4) == 4;
	if (!ok)
		EXPECT(rawcall(SYS_read, words[0], &drained, 4) == 4, "a pipe");
	return ok;
}

bool probe_host_uses(int fd)
{
	return fd == words[0] || fd == words[1];
}

int probe_memfd(size_t size)
{
	int fd = memfd_create("guest", MFD_CLOEXEC);

	EXPECT(fd >= 0 && !ftruncate(fd, (off_t)size), "memfd: %s", strerror(errno));
	return fd;
}

void *probe_share(int fd, size_t size, off_t off)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, off);

	EXPECT(p != MAP_FAILED, "mmap: %s", strerror(errno));
	return p;
}
