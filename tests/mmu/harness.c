/* SPDX-License-Identifier: MIT */
#include "harness.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

#define KICK_SIGNAL (SIGRTMAX - 2)

static void on_kick(int sig, siginfo_t *info, void *uc)
{
	guard_break_off(uc);
}

static void kick(void *owner)
{
	struct hvcpu *h = owner;

	__atomic_store_n(&h->kicked, true, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&h->threaded, __ATOMIC_ACQUIRE))
		pthread_kill(h->thread, KICK_SIGNAL);
}

static bool interrupted(void *owner)
{
	struct hvcpu *h = owner;

	return __atomic_load_n(&h->interrupt, __ATOMIC_SEQ_CST);
}

static const struct mmu_vcpu_ops vcpu_ops = {kick, interrupted};

void hvm_init(struct hvm *vm)
{
	hvm_init_over(vm, &primary_linux_ops);
}

void hvm_init_over(struct hvm *vm, const struct primary_ops *ops)
{
	struct sigaction sa = {.sa_sigaction = on_kick, .sa_flags = SA_SIGINFO | SA_RESTART};
	void *primary;

	sigaction(KICK_SIGNAL, &sa, NULL);
	assert_int_equal(guard_install(), 0);
	assert_int_equal(primary_linux_create(&primary), 0);
	primary_linux_start();
	assert_int_equal(mmu_create(ops, primary, &vm->mmu), 0);
}

void hvm_fini(struct hvm *vm)
{
	mmu_close(vm->mmu);
}

int hvm_slot(struct hvm *vm, u32 slot, u32 flags, gpa_t gpa, u64 size, void *hva)
{
	struct mmu_region r = {slot, flags, gpa, size, (hva_t)hva};

	return mmu_set_region(vm->mmu, &r);
}

struct hvcpu *hvcpu_new(struct hvm *vm, u32 index)
{
	struct hvcpu *h = calloc(1, sizeof(*h));

	assert_non_null(h);
	mmu_vcpu_init(vm->mmu, &h->v, index, h, &vcpu_ops);
	return h;
}

void hvcpu_free(struct hvcpu *h)
{
	mmu_vcpu_fini(&h->v);
	free(h);
}

static void *vcpu_thread(void *arg)
{
	struct hvcpu *h = arg;

	mmu_vcpu_enter(&h->v);
	while (!__atomic_load_n(&h->stop, __ATOMIC_ACQUIRE)) {
		h->body(h, h->arg);
		mmu_vcpu_safe_point(&h->v);
	}
	mmu_vcpu_leave(&h->v);
	return NULL;
}

void hvcpu_start(struct hvcpu *h, void (*body)(struct hvcpu *h, void *arg), void *arg)
{
	h->body = body;
	h->arg = arg;
	h->stop = false;
	assert_int_equal(pthread_create(&h->thread, NULL, vcpu_thread, h), 0);
	__atomic_store_n(&h->threaded, true, __ATOMIC_RELEASE);
}

void hvcpu_stop(struct hvcpu *h)
{
	__atomic_store_n(&h->stop, true, __ATOMIC_RELEASE);
	pthread_join(h->thread, NULL);
	__atomic_store_n(&h->threaded, false, __ATOMIC_RELEASE);
}

/* ------------------------------------------------------------------ guest accesses */

static int fill(struct hvcpu *h, gpa_t gpa, unsigned access, struct mmu_xlat *x)
{
	u64 epoch;
	int r;

	do {
		r = mmu_translate_present(&h->v, gpa, access, true, x) ? 0 : mmu_translate(&h->v, gpa, access, x);
		epoch = h->v.epoch;
		if (!r && (access & MMU_WRITE) && x->code)
			mmu_code_write(&h->v, gpa, x->host + (gpa & ~PAGE_MASK), 8);
	} while (!r && h->v.epoch != epoch);
	if (!r)
		mmu_tlb_fill(&h->v, TLB_KERNEL, gpa, gpa, x, MMU_READ | MMU_WRITE, false);
	return r;
}

static int died(struct hvcpu *h, gpa_t gpa, unsigned access)
{
	if (guard_fault.sig == GUARD_BROKEN_OFF) {
		mmu_vcpu_safe_point(&h->v);
		return interrupted(h) ? -EINTR : 0;
	}
	return mmu_refault(&h->v, gpa, access, -EFAULT);
}

int guest_load(struct hvcpu *h, gpa_t gpa, u64 *v)
{
	for (;;) {
		void *p = tlb_read(&h->v.tlb[TLB_KERNEL], gpa, 8);
		struct mmu_xlat x;
		int r;

		if (p && guard_load64(p, v))
			return 0;
		r = p ? died(h, gpa, MMU_READ) : fill(h, gpa, MMU_READ, &x);
		if (r)
			return r;
	}
}

int guest_store(struct hvcpu *h, gpa_t gpa, u64 v)
{
	for (;;) {
		void *p = tlb_write(&h->v.tlb[TLB_KERNEL], gpa, 8);
		struct mmu_xlat x;
		int r;

		if (!p) {
			r = fill(h, gpa, MMU_WRITE, &x);
			if (r)
				return r;
			p = x.host + (gpa & ~PAGE_MASK);
		}
		if (guard_store64(p, v))
			return 0;
		r = died(h, gpa, MMU_WRITE);
		if (r)
			return r;
	}
}

int guest_load_once(struct hvcpu *h, gpa_t gpa, u64 *v)
{
	int r;

	mmu_vcpu_enter(&h->v);
	r = guest_load(h, gpa, v);
	mmu_vcpu_leave(&h->v);
	return r;
}

int guest_store_once(struct hvcpu *h, gpa_t gpa, u64 v)
{
	int r;

	mmu_vcpu_enter(&h->v);
	r = guest_store(h, gpa, v);
	mmu_vcpu_leave(&h->v);
	return r;
}

/* ------------------------------------------------------------------ the VMM's calls */

static void *begin(void *p, size_t len, enum primary_change kind)
{
	int err;
	void *c = primary_linux_change_begin((hva_t)p, len, kind, &err);

	assert_int_equal(err, 0);
	return c;
}

int hooked_munmap(void *p, size_t len)
{
	void *c = begin(p, len, CHANGE_UNMAP);
	int r = munmap(p, len);

	primary_linux_change_end(c);
	return r;
}

void *hooked_mmap(void *p, size_t len, int prot, int flags, int fd, off_t off)
{
	void *c = begin(p, len, CHANGE_UNMAP);
	void *r = mmap(p, len, prot, flags | MAP_FIXED, fd, off);

	primary_linux_change_end(c);
	return r;
}

int hooked_mprotect(void *p, size_t len, int prot)
{
	void *c = begin(p, len, CHANGE_PROTECT);
	int r = mprotect(p, len, prot);

	primary_linux_change_end(c);
	return r;
}

int hooked_madvise(void *p, size_t len, int advice)
{
	void *c = begin(p, len, CHANGE_CONTENT);
	int r = madvise(p, len, advice);

	primary_linux_change_end(c);
	return r;
}

void *hooked_mremap(void *p, size_t old, size_t len, int flags, void *to)
{
	void *c1 = begin(p, old, CHANGE_UNMAP);
	void *c2 = flags & MREMAP_FIXED ? begin(to, len, CHANGE_UNMAP) : NULL;
	void *r = mremap(p, old, len, flags, to);

	primary_linux_change_end(c2);
	primary_linux_change_end(c1);
	return r;
}

int hooked_ftruncate(int fd, off_t len)
{
	int err, r;
	void *c = primary_linux_file_change_begin(fd, (u64)len, ~0ULL - (u64)len, &err);

	assert_int_equal(err, 0);
	r = ftruncate(fd, len);
	primary_linux_change_end(c);
	return r;
}

int hooked_punch(int fd, off_t off, off_t len)
{
	int err, r;
	void *c = primary_linux_file_change_begin(fd, (u64)off, (u64)len, &err);

	assert_int_equal(err, 0);
	r = fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, off, len);
	primary_linux_change_end(c);
	return r;
}

void *map_aligned(size_t len, size_t align, int flags)
{
	char *p = mmap(NULL, len + align, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *at = (char *)ALIGN_UP((u64)p, align);

	assert_ptr_not_equal(p, MAP_FAILED);
	p = mmap(at, len, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	assert_ptr_equal(p, at);
	return p;
}
