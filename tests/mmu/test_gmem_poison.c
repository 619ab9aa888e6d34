/* SPDX-License-Identifier: MIT */
/*
 * Private memory that fails: the kernel reports it to whoever touches the page, which here is the
 * store's own touch during a fault. As in test_faults.c, for machines that cannot poison a page: the
 * thread is held there by a userfaultfd and gets the SIGBUS.
 */
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include "harness.h"

#include "mmu/gmem.h"

#define MB  (1ULL << 20)
#define GPA 0x10000000ULL

static struct {
	struct hvm vm;
	struct hvcpu *h;
	struct gmem_file *file;
	u8 *mem;
	int r; /* of the access */
	bool done;
} f;

static void setup(void)
{
	struct mmu_region r = {.flags = MMU_SLOT_GMEM, .gpa = GPA, .size = 2 * MB};

	hvm_init(&f.vm);
	f.mem = map_aligned(2 * MB, 2 * MB, MAP_SHARED);
	assert_int_equal(gmem_create(f.vm.mmu, 2 * MB, 0, &f.file), 0);
	f.h = hvcpu_new(&f.vm, 0);
	r.hva = (hva_t)f.mem;
	r.gmem = f.file;
	assert_int_equal(mmu_set_region(f.vm.mmu, &r), 0);
	assert_int_equal(mmu_set_attributes(f.vm.mmu, GPA >> PAGE_SHIFT, 512, MMU_ATTR_PRIVATE), 0);
}

static void teardown(void)
{
	hvcpu_free(f.h);
	gmem_release(f.file);
	hvm_fini(&f.vm);
	munmap(f.mem, 2 * MB);
}

static void *access_page_1(void *arg)
{
	u64 v;

	f.r = guest_load_once(f.h, GPA + PAGE_SIZE, &v);
	__atomic_store_n(&f.done, true, __ATOMIC_SEQ_CST);
	return NULL;
}

/* Missing pages of the store wait for us. -1: this machine has no userfaultfd for us. */
static int hold_touches(void)
{
	struct uffdio_api api = {.api = UFFD_API};
	struct uffdio_register reg = {.mode = UFFDIO_REGISTER_MODE_MISSING};
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	struct mmu_xlat x;

	if (fd < 0)
		return fd;
	assert_int_equal(ioctl(fd, UFFDIO_API, &api), 0);
	mmu_vcpu_enter(&f.h->v);
	assert_int_equal(mmu_translate(&f.h->v, GPA, MMU_READ, &x), 0);
	mmu_vcpu_leave(&f.h->v);
	reg.range.start = (u64)x.host;
	reg.range.len = 2 * MB;
	assert_int_equal(ioctl(fd, UFFDIO_REGISTER, &reg), 0);
	return fd;
}

static void poison_found_by_a_touch_is_ehwpoison(void **state)
{
	siginfo_t info = {.si_signo = SIGBUS, .si_code = BUS_MCEERR_AR};
	struct uffd_msg msg;
	sigset_t bus;
	pthread_t t;
	int fd;

	setup();
	fd = hold_touches();
	if (fd < 0) {
		teardown();
		skip();
	}
	sigemptyset(&bus);
	sigaddset(&bus, SIGBUS);
	/* Once in the guest's access, which has a translation, and once in the fault that follows. */
	assert_int_equal(pthread_create(&t, NULL, access_page_1, NULL), 0);
	assert_int_equal(pthread_sigmask(SIG_BLOCK, &bus, NULL), 0); /* so that the vCPU takes it */
	while (!__atomic_load_n(&f.done, __ATOMIC_SEQ_CST)) {
		struct pollfd p = {.fd = fd, .events = POLLIN};

		if (poll(&p, 1, 10) != 1)
			continue;
		/* A fault that its signal broke off meanwhile is not told of any more. */
		if (read(fd, &msg, sizeof(msg)) != sizeof(msg))
			continue;
		assert_int_equal(syscall(SYS_rt_sigqueueinfo, getpid(), SIGBUS, &info), 0);
	}
	pthread_join(t, NULL);
	pthread_sigmask(SIG_UNBLOCK, &bus, NULL);
	assert_int_equal(f.r, -EHWPOISON);
	assert_true(f.h->v.fault_private);
	close(fd);
	/* The page was not poisoned in truth: it is there when asked for again. */
	access_page_1(NULL);
	assert_int_equal(f.r, 0);
	teardown();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(poison_found_by_a_touch_is_ehwpoison),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
