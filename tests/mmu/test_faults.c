/* SPDX-License-Identifier: MIT */
/* Faults of every kind, and what the VMM's changes of its mappings do to them. */
#include <linux/perf_event.h>
#include <poll.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include "fixture.h"

#define GPA 0x100000
#define LEN (4ULL << 20)

static void setup(struct fixture *f)
{
	fixture_map(f, LEN, 1 << 21);
	fixture_begin(f, GPA);
}

static void test_load_and_store_reach_the_vmms_memory(void **state)
{
	struct fixture f;
	u64 v = 1;

	setup(&f);
	assert_int_equal(guest_load_once(f.h, GPA, &v), 0);
	assert_int_equal(v, 0);
	assert_int_equal(guest_store_once(f.h, GPA + 0x5008, 0x1122334455667788), 0);
	assert_int_equal(*(u64 *)(f.mem + 0x5008), 0x1122334455667788);
	*(u64 *)f.mem = 7;
	assert_int_equal(guest_load_once(f.h, GPA, &v), 0);
	assert_int_equal(v, 7);
	fixture_end(&f);
}

static void test_no_slot_and_readonly_slot_are_mmio(void **state)
{
	struct hvm vm;
	char *mem = map_aligned(1 << 20, 4096, MAP_PRIVATE);
	struct hvcpu *h;
	u64 v;

	hvm_init(&vm);
	h = hvcpu_new(&vm, 0);
	assert_int_equal(guest_load_once(h, GPA, &v), -ENOENT);
	assert_int_equal(hvm_slot(&vm, 3, MMU_SLOT_READONLY, GPA, 1 << 20, mem), 0);
	assert_int_equal(guest_load_once(h, GPA, &v), 0);
	assert_int_equal(guest_store_once(h, GPA, 1), -ENOENT);
	assert_int_equal(guest_load_once(h, GPA - 8, &v), -ENOENT);
	assert_int_equal(guest_load_once(h, GPA + (1 << 20), &v), -ENOENT);
	hvcpu_free(h);
	hvm_fini(&vm);
	munmap(mem, 1 << 20);
}

static void test_munmap_then_efault_then_repair(void **state)
{
	struct fixture f;
	u64 v;

	setup(&f);
	assert_int_equal(guest_store_once(f.h, GPA, 42), 0);
	assert_int_equal(hooked_munmap(f.mem, 4096), 0);
	assert_int_equal(guest_load_once(f.h, GPA, &v), -EFAULT);
	assert_int_equal(guest_load_once(f.h, GPA + 4096, &v), 0);
	assert_ptr_equal(hooked_mmap(f.mem, 4096, PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
			 f.mem);
	assert_int_equal(guest_load_once(f.h, GPA, &v), 0);
	assert_int_equal(v, 0);
	fixture_end(&f);
}

static void test_mprotect_both_ways(void **state)
{
	struct fixture f;
	u64 v;

	setup(&f);
	hooked_mprotect(f.mem, 4096, PROT_READ);
	assert_int_equal(guest_load_once(f.h, GPA, &v), 0);
	assert_int_equal(guest_store_once(f.h, GPA, 1), -EFAULT);
	hooked_mprotect(f.mem, 4096, PROT_READ | PROT_WRITE);
	assert_int_equal(guest_store_once(f.h, GPA, 1), 0);
	hooked_mprotect(f.mem, 4096, PROT_NONE);
	assert_int_equal(guest_load_once(f.h, GPA, &v), -EFAULT);
	fixture_end(&f);
}

static void test_madvise_dontneed_shows_zeros(void **state)
{
	struct fixture f;
	u64 v;

	setup(&f);
	assert_int_equal(guest_store_once(f.h, GPA + 0x3000, 1), 0);
	assert_int_equal(hooked_madvise(f.mem + 0x3000, 4096, MADV_DONTNEED), 0);
	assert_int_equal(guest_load_once(f.h, GPA + 0x3000, &v), 0);
	assert_int_equal(v, 0);
	fixture_end(&f);
}

static void test_mremap_away_shrink_and_grow(void **state)
{
	struct fixture f;
	char *away = map_aligned(LEN, 4096, MAP_PRIVATE);
	u64 v;

	setup(&f);
	assert_int_equal(guest_store_once(f.h, GPA + 0x10000, 3), 0);
	assert_ptr_equal(hooked_mremap(f.mem + 0x10000, 0x2000, 0x2000,
				       MREMAP_MAYMOVE | MREMAP_FIXED, away),
			 away);
	assert_int_equal(*(u64 *)away, 3);
	assert_int_equal(guest_load_once(f.h, GPA + 0x10000, &v), -EFAULT);
	assert_ptr_equal(hooked_mremap(f.mem, 0x10000, 0x8000, 0, NULL), f.mem);
	assert_int_equal(guest_load_once(f.h, GPA + 0x8000, &v), -EFAULT);
	assert_int_equal(guest_load_once(f.h, GPA + 0x7000, &v), 0);
	assert_ptr_equal(hooked_mremap(f.mem, 0x8000, 0x10000, 0, NULL), f.mem);
	assert_int_equal(guest_load_once(f.h, GPA + 0x8000, &v), 0);
	assert_int_equal(v, 0);
	munmap(away, LEN);
	fixture_end(&f);
}

/* Raw system calls, io_uring, another process: what nobody told us of must not be a crash. */
static void test_unseen_changes_are_efault_or_right(void **state)
{
	struct fixture f;
	u64 v;

	setup(&f);
	assert_int_equal(guest_store_once(f.h, GPA, 1), 0);
	munmap(f.mem, 0x2000);
	assert_int_equal(guest_load_once(f.h, GPA, &v), -EFAULT);
	assert_int_equal(guest_store_once(f.h, GPA + 0x1000, 1), -EFAULT);
	mmap(f.mem, 0x2000, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	assert_int_equal(guest_load_once(f.h, GPA, &v), 0);
	assert_int_equal(guest_store_once(f.h, GPA, 1), -EFAULT);
	assert_int_equal(mprotect(f.mem, 0x2000, PROT_READ | PROT_WRITE), 0);
	assert_int_equal(guest_store_once(f.h, GPA, 4), 0);
	assert_int_equal(*(u64 *)f.mem, 4);
	fixture_end(&f);
}

static void test_file_shorter_than_its_mapping(void **state)
{
	int fd = memfd_create("short", MFD_CLOEXEC);
	struct fixture f;
	u64 v;

	for (int flags = MAP_SHARED; flags <= MAP_PRIVATE; flags++) {
		setup(&f);
		assert_int_equal(ftruncate(fd, 0x3000), 0);
		hooked_mmap(f.mem, LEN, PROT_READ | PROT_WRITE, flags, fd, 0);
		assert_int_equal(guest_store_once(f.h, GPA + 0x2000, 1), 0);
		assert_int_equal(guest_store_once(f.h, GPA + 0x3000, 1), -EFAULT);
		assert_int_equal(hooked_ftruncate(fd, 0x4000), 0);
		assert_int_equal(guest_store_once(f.h, GPA + 0x3000, 1), 0);
		assert_int_equal(hooked_ftruncate(fd, 0x1000), 0);
		assert_int_equal(guest_load_once(f.h, GPA + 0x3000, &v), -EFAULT);
		fixture_end(&f);
	}
	close(fd);
}

static void test_poison_is_ehwpoison(void **state)
{
	struct fixture f;
	u64 v;

	setup(&f);
	assert_int_equal(guest_store_once(f.h, GPA + 0x5000, 1), 0);
	if (hooked_madvise(f.mem + 0x5000, 4096, MADV_HWPOISON)) {
		fixture_end(&f);
		skip(); /* needs privilege and a kernel that can */
	}
	assert_int_equal(guest_load_once(f.h, GPA + 0x5000, &v), -EHWPOISON);
	assert_int_equal(guest_load_once(f.h, GPA + 0x4000, &v), 0);
	hooked_mmap(f.mem + 0x5000, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		    0);
	assert_int_equal(guest_load_once(f.h, GPA + 0x5000, &v), 0);
	fixture_end(&f);
}

static void test_fork_copies_and_the_guest_keeps_its_own(void **state)
{
	struct fixture f;
	int status, to_child[2];
	pid_t pid;

	setup(&f);
	assert_int_equal(pipe(to_child), 0);
	assert_int_equal(guest_store_once(f.h, GPA, 1), 0);
	primary_linux_fork_begin();
	pid = fork();
	primary_linux_fork_end(pid == 0);
	if (!pid) {
		char c;
		bool ok = read(to_child[0], &c, 1) == 1 && *(u64 *)f.mem == 1;

		/* The child's own changes are its own business, and take no lock of ours. */
		hooked_munmap(f.mem, LEN);
		_exit(ok ? 0 : 1);
	}
	assert_int_equal(guest_store_once(f.h, GPA, 2), 0);
	assert_int_equal(*(u64 *)f.mem, 2);
	assert_int_equal(write(to_child[1], "x", 1), 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	close(to_child[0]);
	close(to_child[1]);
	fixture_end(&f);
}

/* A perf-event buffer: an anonymous inode's pages, which a driver may move at will. */
static void test_special_mappings_are_served_unprobed(void **state)
{
	struct perf_event_attr attr = {.type = PERF_TYPE_SOFTWARE, .size = sizeof(attr),
				       .config = PERF_COUNT_SW_DUMMY, .exclude_kernel = 1};
	int fd = (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
	struct fixture f;
	u64 v;

	if (fd < 0)
		skip();
	setup(&f);
	munmap(f.mem, 0x2000);
	if (hooked_mmap(f.mem, 0x2000, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED) {
		fixture_end(&f);
		skip();
	}
	assert_int_equal(guest_load_once(f.h, GPA, &v), 0);
	assert_int_equal(v, *(u64 *)f.mem);
	assert_int_equal(guest_load_once(f.h, GPA + 0x2000, &v), 0);
	hooked_munmap(f.mem, 0x2000);
	assert_int_equal(guest_load_once(f.h, GPA, &v), -EFAULT);
	close(fd);
	fixture_end(&f);
}

/* ------------------------------------------------------------------ running vCPUs */

struct reader {
	u64 *expect; /* what the guest must read, or 0: anything */
	u64 reads, errors;
};

static void read_on(struct hvcpu *h, void *arg)
{
	struct reader *r = arg;
	u64 v;

	if (guest_load(h, GPA, &v))
		r->errors++;
	else
		r->reads++;
}

static void test_begin_waits_for_a_running_vcpu(void **state)
{
	struct reader r = {0};
	struct fixture f;
	struct hvcpu *other;
	int err;

	setup(&f);
	other = hvcpu_new(&f.vm, 1);
	hvcpu_start(other, read_on, &r);
	while (__atomic_load_n(&r.reads, __ATOMIC_RELAXED) < 100)
		sched_yield();
	for (int i = 0; i < 200; i++) {
		void *c = primary_linux_change_begin((hva_t)f.mem, 4096, CHANGE_UNMAP, &err);
		u64 before, after;

		/* Between begin and end nothing is read: the vCPU waits in its fault. */
		before = __atomic_load_n(&r.reads, __ATOMIC_SEQ_CST);
		sched_yield();
		after = __atomic_load_n(&r.reads, __ATOMIC_SEQ_CST);
		assert_true(after - before <= 1); /* one may have been counted late */
		primary_linux_change_end(c);
	}
	hvcpu_stop(other);
	assert_int_equal(r.errors, 0);
	hvcpu_free(other);
	fixture_end(&f);
}

struct stays {
	bool in, over; /* atomic */
};

/* In guest mode for as long as it likes, as a thread that has no processor is. */
static void stay_in_guest(struct hvcpu *h, void *arg)
{
	struct stays *s = arg;

	__atomic_store_n(&s->in, true, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&s->over, __ATOMIC_ACQUIRE))
		poll(NULL, 0, 1);
}

static void leave_again_and_again(struct hvcpu *h, void *arg)
{
	mmu_vcpu_leave(&h->v);
	__atomic_fetch_add((u64 *)arg, 1, __ATOMIC_RELAXED);
	mmu_vcpu_enter(&h->v);
}

struct flush {
	struct fixture *f;
	u64 slept, ms;
};

/* How long it took, and how often it slept. */
static void *flush_thread(void *arg)
{
	struct flush *fl = arg;
	struct rusage u, v;
	u64 began = now_ns();
	int err;

	getrusage(RUSAGE_THREAD, &u);
	primary_linux_change_end(primary_linux_change_begin((hva_t)fl->f->mem, 4096, CHANGE_UNMAP, &err));
	getrusage(RUSAGE_THREAD, &v);
	fl->slept = (u64)(v.ru_nvcsw - u.ru_nvcsw);
	fl->ms = (now_ns() - began) / 1000000;
	return NULL;
}

/* A flush that waits for one vCPU is not woken by another: its thread may hear no signal, and cost nothing. */
static void test_a_flush_is_woken_by_whom_it_waits_for(void **state)
{
	enum { LEAVES = 100000, SLEEPS = 10, MS_A_SLEEP = 16 };
	struct hvcpu *stays, *leaves;
	struct stays s = {false, false};
	struct fixture f;
	struct flush fl = {&f, 0, 0};
	u64 n = 0, enough;
	pthread_t t;

	setup(&f);
	assert_int_equal(guest_store_once(f.h, GPA, 1), 0);
	stays = hvcpu_new(&f.vm, 1);
	leaves = hvcpu_new(&f.vm, 2);
	hvcpu_start(stays, stay_in_guest, &s);
	while (!__atomic_load_n(&s.in, __ATOMIC_ACQUIRE))
		sched_yield();
	hvcpu_start(leaves, leave_again_and_again, &n);
	assert_int_equal(pthread_create(&t, NULL, flush_thread, &fl), 0);
	/* It waits when it has asked; then so many leaves more. */
	while (!__atomic_load_n(&stays->kicked, __ATOMIC_SEQ_CST))
		sched_yield();
	enough = __atomic_load_n(&n, __ATOMIC_RELAXED) + LEAVES;
	while (__atomic_load_n(&n, __ATOMIC_RELAXED) < enough)
		sched_yield();
	assert_int_equal(sync_load(&leaves->v.awaited), 0);
	assert_int_equal(sync_load(&f.vm.mmu->nr_waiters), 0);
	__atomic_store_n(&s.over, true, __ATOMIC_RELEASE);
	pthread_join(t, NULL);
	hvcpu_stop(stays);
	hvcpu_stop(leaves);
	assert_true(fl.slept < SLEEPS + fl.ms / MS_A_SLEEP);
	hvcpu_free(stays);
	hvcpu_free(leaves);
	fixture_end(&f);
}

static void test_slots_change_between_begin_and_end(void **state)
{
	struct fixture f;
	void *c;
	int err;
	u64 v;

	/* A monitor that must update memslots before it lets a munmap finish. */
	setup(&f);
	assert_int_equal(guest_store_once(f.h, GPA, 1), 0);
	c = primary_linux_change_begin((hva_t)f.mem, 4096, CHANGE_UNMAP, &err);
	assert_int_equal(hvm_slot(&f.vm, 0, 0, 0, 0, 0), 0);
	assert_int_equal(hvm_slot(&f.vm, 1, 0, 2 * GPA, LEN, f.mem), 0);
	assert_int_equal(guest_load_once(f.h, 2 * GPA + 4096, &v), 0);
	primary_linux_change_end(c);
	assert_int_equal(guest_load_once(f.h, 2 * GPA, &v), 0);
	fixture_end(&f);
}

static void test_the_vm_goes_between_begin_and_end(void **state)
{
	struct fixture f;
	void *c;
	int err;

	setup(&f);
	c = primary_linux_change_begin((hva_t)f.mem, 4096, CHANGE_UNMAP, &err);
	fixture_end(&f);
	primary_linux_change_end(c);
	/* There is nobody left to tell. */
	primary_linux_change_end(
		primary_linux_change_begin((hva_t)f.mem, 4096, CHANGE_UNMAP, &err));
	assert_int_equal(err, 0);
}

/* ------------------------------------------------------------------ userfaultfd */

struct uffd {
	int fd;
	char *mem;
	pthread_t thread;
	u64 served;
};

static void *serve(void *arg)
{
	struct uffd *u = arg;
	struct uffd_msg msg;

	while (read(u->fd, &msg, sizeof(msg)) == sizeof(msg) && msg.arg.pagefault.address) {
		static u64 page[512];
		struct uffdio_copy copy = {.dst = msg.arg.pagefault.address & PAGE_MASK,
					   .src = (u64)page, .len = 4096};

		page[0] = copy.dst - (u64)u->mem + 1;
		if (ioctl(u->fd, UFFDIO_COPY, &copy) && errno != EEXIST)
			break;
		if (++u->served == 16)
			break;
	}
	return NULL;
}

static void test_missing_pages_come_from_another_thread(void **state)
{
	struct uffd u = {.fd = uffd_open(0, 0)};
	struct fixture f;
	u64 v;

	if (u.fd < 0)
		skip();
	setup(&f);
	u.mem = f.mem;
	uffd_register(u.fd, f.mem, LEN);
	pthread_create(&u.thread, NULL, serve, &u);
	for (u64 p = 0; p < 16; p++) {
		assert_int_equal(guest_load_once(f.h, GPA + p * 4096, &v), 0);
		assert_int_equal(v, p * 4096 + 1);
	}
	pthread_join(u.thread, NULL);
	assert_int_equal(u.served, 16);
	close(u.fd);
	fixture_end(&f);
}

struct waiter {
	struct fixture *f;
	int r;
};

static void *wait_in_a_fault(void *arg)
{
	struct waiter *w = arg;
	u64 v;

	w->r = guest_load_once(w->f->h, GPA, &v);
	return NULL;
}

static void test_a_signal_ends_a_wait_for_userfaultfd(void **state)
{
	int fd = uffd_open(0, 0);
	struct fixture f;
	struct waiter w = {.f = &f};
	struct uffd_msg msg;
	pthread_t t;

	if (fd < 0)
		skip();
	setup(&f);
	uffd_register(fd, f.mem, LEN);
	for (int round = 0; round < 20; round++) {
		f.h->interrupt = false;
		assert_int_equal(pthread_create(&t, NULL, wait_in_a_fault, &w), 0);
		if (round & 1)
			assert_int_equal(read(fd, &msg, sizeof(msg)), sizeof(msg)); /* it waits */
		/* Even rounds: the kick may come at any time, and must not be lost. */
		__atomic_store_n(&f.h->interrupt, true, __ATOMIC_SEQ_CST);
		pthread_kill(t, SIGRTMAX - 2);
		pthread_join(t, NULL);
		assert_int_equal(w.r, -EINTR);
	}
	close(fd);
	fixture_end(&f);
}

/*
 * As the kernel reports poison to whoever touches it, on machines that cannot poison a page: the
 * thread is held in its touch by a userfaultfd and gets the SIGBUS there. (The main thread may
 * send its own process a signal with any si_code.)
 */
static void test_poison_found_by_a_fault_is_ehwpoison(void **state)
{
	siginfo_t info = {.si_signo = SIGBUS, .si_code = BUS_MCEERR_AR};
	sigset_t bus;
	int fd = uffd_open(0, 0);
	struct fixture f;
	struct waiter w = {.f = &f};
	struct uffd_msg msg;
	pthread_t t;

	if (fd < 0)
		skip();
	sigemptyset(&bus);
	sigaddset(&bus, SIGBUS);
	setup(&f);
	uffd_register(fd, f.mem, LEN);
	assert_int_equal(pthread_create(&t, NULL, wait_in_a_fault, &w), 0);
	assert_int_equal(read(fd, &msg, sizeof(msg)), sizeof(msg));
	assert_int_equal(pthread_sigmask(SIG_BLOCK, &bus, NULL), 0); /* so that the vCPU takes it */
	assert_int_equal(syscall(SYS_rt_sigqueueinfo, getpid(), SIGBUS, &info), 0);
	pthread_join(t, NULL);
	pthread_sigmask(SIG_UNBLOCK, &bus, NULL);
	assert_int_equal(w.r, -EHWPOISON);
	close(fd);
	fixture_end(&f);
}

static void test_shared_memory_under_userfaultfd_is_direct_and_comes_back(void **state)
{
	int mem = memfd_create("uffd", MFD_CLOEXEC);
	struct uffd u = {.fd = uffd_open(0, 0)};
	struct uffdio_range range;
	struct fixture f;
	void *c;
	int err;
	u64 v;

	if (u.fd < 0)
		skip();
	setup(&f);
	assert_int_equal(ftruncate(mem, LEN), 0);
	hooked_mmap(f.mem, LEN, PROT_READ | PROT_WRITE, MAP_SHARED, mem, 0);
	assert_int_equal(guest_load_once(f.h, GPA + LEN - 8, &v), 0);
	u.mem = f.mem;
	uffd_register(u.fd, f.mem, LEN);
	pthread_create(&u.thread, NULL, serve, &u);
	for (u64 p = 0; p < 16; p++) {
		assert_int_equal(guest_load_once(f.h, GPA + p * 4096, &v), 0);
		assert_int_equal(v, p * 4096 + 1);
	}
	pthread_join(u.thread, NULL);
	assert_int_equal(u.served, 16);
	range = (struct uffdio_range){(u64)f.mem, LEN};
	c = primary_linux_change_begin((hva_t)f.mem, LEN, CHANGE_UFFD_GONE, &err);
	assert_int_equal(ioctl(u.fd, UFFDIO_UNREGISTER, &range), 0);
	primary_linux_change_end(c);
	assert_ptr_not_equal(fixture_host_of(&f, GPA), f.mem);
	close(u.fd);
	close(mem);
	fixture_end(&f);
}

/* The VMM registered it before /dev/kvm was opened, when nobody watched its calls. */
static void test_userfaultfd_from_before_is_found(void **state)
{
	struct uffd u = {.fd = uffd_open(0, 0)};
	struct fixture f;
	u64 v;

	if (u.fd < 0)
		skip();
	fixture_map_file(&f, LEN, 1 << 21);
	assert_int_equal(uffd_register_unseen(u.fd, f.mem, LEN), 0);
	u.mem = f.mem;
	pthread_create(&u.thread, NULL, serve, &u);
	fixture_begin(&f, GPA);
	for (u64 p = 0; p < 16; p++) {
		assert_int_equal(guest_load_once(f.h, GPA + p * 4096, &v), 0);
		assert_int_equal(v, p * 4096 + 1);
	}
	pthread_join(u.thread, NULL);
	close(u.fd);
	fixture_end(&f);
}

/* A VMM that has used up its descriptors, or lives where there is no /proc. */
static void test_memory_is_served_when_the_kernel_tells_nothing(void **state)
{
	struct rlimit old, none;
	struct fixture f;
	u64 v;

	setup(&f);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = (struct rlimit){0, old.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	hooked_mprotect(f.mem + 0x1000, 4096, PROT_READ);
	hooked_munmap(f.mem + 0x2000, 4096);
	assert_int_equal(guest_load_once(f.h, GPA, &v), 0);
	assert_int_equal(guest_store_once(f.h, GPA, 1), 0);
	assert_int_equal(guest_load_once(f.h, GPA + 0x1000, &v), 0);
	assert_int_equal(guest_store_once(f.h, GPA + 0x1000, 1), -EFAULT);
	assert_int_equal(guest_load_once(f.h, GPA + 0x2000, &v), -EFAULT);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	fixture_end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_load_and_store_reach_the_vmms_memory),
		cmocka_unit_test(test_no_slot_and_readonly_slot_are_mmio),
		cmocka_unit_test(test_munmap_then_efault_then_repair),
		cmocka_unit_test(test_mprotect_both_ways),
		cmocka_unit_test(test_madvise_dontneed_shows_zeros),
		cmocka_unit_test(test_mremap_away_shrink_and_grow),
		cmocka_unit_test(test_unseen_changes_are_efault_or_right),
		cmocka_unit_test(test_file_shorter_than_its_mapping),
		cmocka_unit_test(test_poison_is_ehwpoison),
		cmocka_unit_test(test_fork_copies_and_the_guest_keeps_its_own),
		cmocka_unit_test(test_special_mappings_are_served_unprobed),
		cmocka_unit_test(test_begin_waits_for_a_running_vcpu),
		cmocka_unit_test(test_a_flush_is_woken_by_whom_it_waits_for),
		cmocka_unit_test(test_slots_change_between_begin_and_end),
		cmocka_unit_test(test_the_vm_goes_between_begin_and_end),
		cmocka_unit_test(test_missing_pages_come_from_another_thread),
		cmocka_unit_test(test_a_signal_ends_a_wait_for_userfaultfd),
		cmocka_unit_test(test_shared_memory_under_userfaultfd_is_direct_and_comes_back),
		cmocka_unit_test(test_poison_found_by_a_fault_is_ehwpoison),
		cmocka_unit_test(test_userfaultfd_from_before_is_found),
		cmocka_unit_test(test_memory_is_served_when_the_kernel_tells_nothing),
	};

	return cmocka_run_group_tests_name("mmu faults", tests, NULL, NULL);
}
