/* SPDX-License-Identifier: MIT */
#include "gmem_vm.h"

#include <errno.h>
#include <sys/mman.h>

#define LOW_BYTES 0x2000u /* programs, and a page of punches_done at DONE_GPA */
#define STORE_GPA 0x1000u
#define LOAD_GPA  0x1010u
#define DONE_GPA  0x4000u

static const u8 program_store[] = {
	0x89, 0x07, /* mov %eax, (%edi) */
	0xf4,	    /* hlt */
};
/* Each time: how many punches have ended, then the word. */
static const u8 program_load[] = {
	0x8b, 0x55, 0x00, /* mov 0(%ebp), %edx */
	0x8b, 0x1f,	  /* mov (%edi), %ebx */
	0x49,		  /* dec %ecx */
	0x75, 0xf8,	  /* jnz */
	0xf4,		  /* hlt */
};

static long must(long r, const char *what)
{
	MUST(r >= 0, "%s: %ld", what, r);
	return r;
}

static void set_plain_slot(struct fuzz_vm *v, u32 slot, u64 gpa, u64 size, void *p)
{
	struct kvm_userspace_memory_region r = {
		.slot = slot, .guest_phys_addr = gpa, .memory_size = size, .userspace_addr = (u64)p};

	must(calls_ioctl(v->vm, KVM_SET_USER_MEMORY_REGION, &r), "slot");
}

static long set_slot(struct fuzz_vm *v, bool there)
{
	struct kvm_userspace_memory_region2 r = {
		.slot = 2,
		.flags = there ? KVM_MEM_GUEST_MEMFD : 0,
		.guest_phys_addr = GPA,
		.memory_size = there ? BYTES : 0,
		.userspace_addr = (u64)v->shared,
		.guest_memfd = (u32)v->file,
	};

	return calls_ioctl(v->vm, KVM_SET_USER_MEMORY_REGION2, &r);
}

static void set_flat(struct fuzz_vm *v)
{
	struct kvm_segment s = {.limit = ~0u, .selector = 16, .type = 3, .present = 1, .db = 1,
				.s = 1, .g = 1};
	struct kvm_sregs sregs;

	must(calls_ioctl(v->vcpu, KVM_GET_SREGS, &sregs), "KVM_GET_SREGS");
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = s;
	s.selector = 8;
	s.type = 11;
	sregs.cs = s;
	sregs.cr0 |= 1;
	must(calls_ioctl(v->vcpu, KVM_SET_SREGS, &sregs), "KVM_SET_SREGS");
}

static int make_file(struct fuzz_vm *v, int from)
{
	struct uapi_create_guest_memfd c = {.size = BYTES, .flags = v->protected ? 0 : 3};
	struct userkvm_link_guest_memfd l = {.guest_memfd = from};

	if (from < 0)
		return (int)must(calls_ioctl(v->vm, UAPI_CREATE_GUEST_MEMFD, &c), "guest_memfd");
	return (int)must(calls_ioctl(v->vm, USERKVM_LINK_GUEST_MEMFD, &l), "link");
}

/* At a multiple of 2 MiB, so that leaves can be large. */
static u8 *map_shared(void)
{
	u64 align = 2u << 20;
	u8 *p = mmap(NULL, BYTES + align, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	u64 skip = -(u64)p & (align - 1);

	MUST(p != MAP_FAILED, "mmap");
	if (skip)
		munmap(p, skip);
	munmap(p + skip + BYTES, align - skip);
	return p + skip;
}

void fuzz_vm_make(struct fuzz_vm *v, unsigned number, bool protected, int file)
{
	v->number = number;
	v->protected = protected;
	v->kvm = (int)must(calls_open(), "/dev/kvm");
	v->vm = (int)must(calls_ioctl(v->kvm, KVM_CREATE_VM, (void *)(u64)protected), "VM");
	v->vcpu = (int)must(calls_ioctl(v->vm, KVM_CREATE_VCPU, NULL), "vCPU");
	v->run = calls_map_vcpu(v->vcpu, UAPI_RUN_PAGES * PAGE_SIZE, 0);
	MUST(v->run, "kvm_run");
	v->low = mmap(NULL, LOW_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	MUST(v->low != MAP_FAILED, "mmap");
	memcpy(v->low + STORE_GPA, program_store, sizeof(program_store));
	memcpy(v->low + LOAD_GPA, program_load, sizeof(program_load));
	set_plain_slot(v, 0, 0, LOW_BYTES, v->low);
	set_plain_slot(v, 1, DONE_GPA, PAGE_SIZE, punches_done);
	v->shared = map_shared();
	v->file = make_file(v, file);
	must(set_slot(v, true), "binding");
	v->bound = true;
	memset(v->attribute, 0, sizeof(v->attribute));
	set_flat(v);
}

void fuzz_vm_end(struct fuzz_vm *v)
{
	calls_unmap_vcpu(v->run, UAPI_RUN_PAGES * PAGE_SIZE);
	calls_close(v->vcpu);
	calls_close(v->vm);
	calls_close(v->kvm);
	if (v->file >= 0)
		calls_close(v->file);
	munmap(v->shared, BYTES);
	munmap(v->low, LOW_BYTES);
	v->vm = -1;
}

static void change_begin(u32 *seq)
{
	__atomic_fetch_add(seq, 1, __ATOMIC_SEQ_CST);
}

#define change_end change_begin

void fuzz_vm_convert(struct fuzz_vm *v, u32 page, u32 n, bool private_)
{
	struct uapi_memory_attributes a = {
		.address = GPA + page * PAGE_SIZE,
		.size = n * PAGE_SIZE,
		.attributes = private_ ? 8 : 0,
	};

	pthread_mutex_lock(&v->convert_lock);
	change_begin(&v->convert_seq);
	must(calls_ioctl(v->vm, UAPI_SET_MEMORY_ATTRIBUTES, &a), "conversion");
	memset(v->attribute + page, private_, n);
	change_end(&v->convert_seq);
	pthread_mutex_unlock(&v->convert_lock);
}

void fuzz_vm_rebind(struct fuzz_vm *v, struct rng *r, int keeper)
{
	pthread_mutex_lock(&v->bind_lock);
	change_begin(&v->bind_seq);
	if (v->bound && v->file != keeper && rng_one_in(r, 3)) {
		calls_close(v->file); /* under its slot */
		v->file = -1;
	}
	if (v->bound)
		must(set_slot(v, false), "unbinding");
	v->bound = false;
	if (v->file < 0)
		v->file = make_file(v, keeper);
	if (!rng_one_in(r, 4)) {
		must(set_slot(v, true), "binding");
		v->bound = true;
		MUST(set_slot(v, true) < 0, "bound twice");
	}
	change_end(&v->bind_seq);
	pthread_mutex_unlock(&v->bind_lock);
}

struct fuzz_moment fuzz_vm_now(struct fuzz_vm *v, u32 page)
{
	struct fuzz_moment m;

	m.bind_seq = __atomic_load_n(&v->bind_seq, __ATOMIC_SEQ_CST);
	m.convert_seq = __atomic_load_n(&v->convert_seq, __ATOMIC_SEQ_CST);
	m.bound = __atomic_load_n(&v->bound, __ATOMIC_SEQ_CST);
	m.private_ = __atomic_load_n(&v->attribute[page], __ATOMIC_SEQ_CST);
	return m;
}

static bool unchanged(const u32 *seq, u32 then)
{
	return !(then & 1) && __atomic_load_n(seq, __ATOMIC_SEQ_CST) == then;
}

bool fuzz_vm_bound_since(struct fuzz_vm *v, const struct fuzz_moment *m)
{
	return m->bound && unchanged(&v->bind_seq, m->bind_seq);
}

bool fuzz_vm_attribute_since(struct fuzz_vm *v, const struct fuzz_moment *m)
{
	return unchanged(&v->convert_seq, m->convert_seq);
}

/* -- the guest */

/* What a run left open, as an MMIO read, is completed and no more. */
static void complete(struct fuzz_vm *v)
{
	v->run->immediate_exit = 1;
	calls_ioctl(v->vcpu, KVM_RUN, NULL);
	v->run->immediate_exit = 0;
}

static int run(struct fuzz_vm *v, struct kvm_regs *regs)
{
	long r;

	complete(v);
	regs->rflags = 2;
	must(calls_ioctl(v->vcpu, KVM_SET_REGS, regs), "KVM_SET_REGS");
	r = calls_ioctl(v->vcpu, KVM_RUN, NULL);
	if (r < 0)
		return (int)r;
	must(calls_ioctl(v->vcpu, KVM_GET_REGS, regs), "KVM_GET_REGS");
	switch (v->run->exit_reason) {
	case KVM_EXIT_HLT:
		return 0;
	case KVM_EXIT_MMIO:
		return -ENOENT;
	default:
		MUST(false, "exit %u", v->run->exit_reason);
	}
}

int fuzz_vm_store(struct fuzz_vm *v, u32 page, u32 word)
{
	struct kvm_regs r = {.rip = STORE_GPA, .rdi = GPA + page * PAGE_SIZE, .rax = word};

	return run(v, &r);
}

int fuzz_vm_load(struct fuzz_vm *v, u32 page, u32 times, u32 *word, u32 *done)
{
	struct kvm_regs r = {.rip = LOAD_GPA,
			     .rdi = GPA + page * PAGE_SIZE,
			     .rbp = DONE_GPA + page * sizeof(u32),
			     .rcx = times};
	int err = run(v, &r);

	*word = (u32)r.rbx;
	*done = (u32)r.rdx;
	return err;
}

void fuzz_vm_prefault(struct fuzz_vm *v, u32 page, u32 n)
{
	struct kvm_pre_fault_memory p = {.gpa = GPA + page * PAGE_SIZE, .size = n * PAGE_SIZE};

	calls_ioctl(v->vcpu, KVM_PRE_FAULT_MEMORY, &p);
}
