/* SPDX-License-Identifier: MIT */
/* The kernel's notifier: what a raw munmap leaves, and a VMM that closes descriptors it never opened. */
#include <dirent.h>
#include <limits.h>
#include <string.h>
#include "../waited.h"
#include "fixture.h"
#include "mmu/look.h"
#include "primary/linux/notifier.h"

#define LEN (4ULL << 20)
#define GPA 0x40000000ULL

/* A file's memory, in no memslot yet. */
static void setup(struct fixture *f)
{
	fixture_map_file(f, LEN, 1 << 21);
	hvm_init(&f->vm);
	primary_linux_start();
	f->h = hvcpu_new(&f->vm, 0);
}

/* What is mapped at f->mem stays. */
static void teardown(struct fixture *f)
{
	hvcpu_free(f->h);
	hvm_fini(&f->vm);
	close(f->fd);
}

static int new_uffd(void)
{
	return uffd_open(O_NONBLOCK | UFFD_USER_MODE_ONLY, 0);
}

static bool is_uffd(const char *number)
{
	char path[NAME_MAX + 16], to[64] = "";

	snprintf(path, sizeof(path), "/proc/self/fd/%s", number);
	return readlink(path, to, sizeof(to) - 1) > 0 && strstr(to, "userfaultfd");
}

/* The notifier's, while there is no other. */
static int find_number(void)
{
	DIR *d = opendir("/proc/self/fd");
	struct dirent *e;
	int fd = -1;

	assert_non_null(d);
	while (fd < 0 && (e = readdir(d)))
		if (is_uffd(e->d_name))
			fd = atoi(e->d_name);
	closedir(d);
	return fd;
}

/* May somebody register this page, so that nobody has it now? */
static bool is_free(int fd, char *p)
{
	struct uffdio_range page = {(u64)p, PAGE_SIZE};

	if (uffd_register_unseen(fd, p, PAGE_SIZE)) {
		assert_int_equal(errno, EBUSY);
		return false;
	}
	assert_int_equal(ioctl(fd, UFFDIO_UNREGISTER, &page), 0);
	return true;
}

static void test_a_descriptor_of_the_vmms_with_our_number_is_left_alone(void **state)
{
	int number, asking = new_uffd(), theirs;
	struct fixture f;
	u64 v;

	if (asking < 0)
		skip();
	close(asking);
	setup(&f);
	number = find_number();
	assert_true(number >= 0);
	/* What a window shows is registered with ours. */
	assert_int_equal(hvm_slot(&f.vm, 0, 0, GPA, LEN / 2, f.mem), 0);
	assert_int_equal(guest_load_once(f.h, GPA, &v), 0);
	asking = new_uffd();
	assert_false(is_free(asking, f.mem));

	/* And with nobody's where the number is the VMM's by now. */
	theirs = new_uffd();
	assert_int_equal(dup3(theirs, number, O_CLOEXEC), number);
	assert_int_equal(hvm_slot(&f.vm, 1, 0, GPA + LEN / 2, LEN / 2, f.mem + LEN / 2), 0);
	assert_int_equal(guest_load_once(f.h, GPA + LEN / 2, &v), 0);
	assert_true(is_free(asking, f.mem + LEN / 2));

	close(number);
	close(theirs);
	close(asking);
	teardown(&f);
	munmap(f.mem, LEN);
}

/*
 * Who looks at the windows of all VMs has references on them meanwhile, and may be kept from a processor. What
 * a VM showed is the VMM's to register when the VM is closed, and not when that look ends.
 */
static void test_what_a_closed_vm_showed_is_let_go_while_somebody_looks(void **state)
{
	struct primary_linux *p;
	int uffd = new_uffd();
	struct window_piece w;
	struct fixture f;
	struct mmu *mmu;
	u64 v;

	if (uffd < 0)
		skip();
	setup(&f);
	mmu = f.vm.mmu;
	p = mmu->primary;
	assert_int_equal(hvm_slot(&f.vm, 0, 0, GPA, LEN, f.mem), 0);
	assert_int_equal(guest_load_once(f.h, GPA, &v), 0);
	assert_false(is_free(uffd, f.mem));
	mmu_get(mmu);
	teardown(&f);
	assert_false(windows_find(p, (hva_t)f.mem, &w));
	assert_true(is_free(uffd, f.mem));
	mmu_put(mmu);
	close(uffd);
	munmap(f.mem, LEN);
}

/* Does something still lie there that can be reached? */
static bool is_mapped(void *host)
{
	u64 v;

	return guard_load64(host, &v);
}

/*
 * A VMM that unmaps by pieces waits for no window to be unmapped. Each is out of reach when the call returns;
 * that there is one is over soon after, for pieces that lie side by side as well.
 */
static void test_windows_that_went_are_unmapped_in_the_end(void **state)
{
	struct window_piece first, last, w;
	int uffd = new_uffd();
	struct fixture f;
	u64 v;

	if (uffd < 0)
		skip();
	close(uffd);
	setup(&f);
	/* Two, one behind the other. */
	assert_int_equal(hvm_slot(&f.vm, 0, 0, GPA, LEN / 2, f.mem), 0);
	assert_int_equal(hvm_slot(&f.vm, 1, 0, GPA + LEN / 2, LEN / 2, f.mem + LEN / 2), 0);
	assert_int_equal(guest_load_once(f.h, GPA, &v), 0);
	assert_int_equal(guest_load_once(f.h, GPA + LEN / 2, &v), 0);
	assert_true(windows_find(f.vm.mmu->primary, (hva_t)f.mem, &first));
	assert_true(windows_find(f.vm.mmu->primary, (hva_t)f.mem + LEN / 2, &last));
	alarm(HANG_SECONDS);
	for (u64 off = 0; off < LEN; off += LEN / 32) {
		assert_int_equal(syscall(SYS_munmap, f.mem + off, LEN / 32), 0);
		assert_int_not_equal(guest_load_once(f.h, GPA + off, &v), 0);
		assert_false(windows_find(f.vm.mmu->primary, (hva_t)f.mem + off, &w));
	}
	while (is_mapped(f.mem + first.delta) || is_mapped(f.mem + LEN - PAGE_SIZE + last.delta))
		usleep(100);
	alarm(0);
	teardown(&f);
}

#define LONGER_NS 50000000 /* than windows that went are kept for one that does not pause */

/*
 * Nor are they kept for as long as it goes on. Before there is a helper, whose calls these are: it is the
 * VMM's pauses that the test would wait for.
 */
static void test_windows_go_while_the_vmm_unmaps_on(void **state)
{
	u64 began = now_ns(), at = space_take(OWN_LOOSE, LEN, PAGE_SIZE, 0), until = at, now;

	assert_true(at);
	do {
		assert_true(until < at + LEN);
		now = now_ns();
		later_unmap(until, until + PAGE_SIZE);
		until += PAGE_SIZE;
		usleep(100);
	} while (now - began < LONGER_NS);
	assert_true(later_due() <= now);
	while (later_any())
		later_unmap_piece();
	space_give(until, at + LEN);
}

/* A raw call takes away what it names, and no more: a guest's other memory stays mapped. */
static void test_what_a_raw_call_does_not_name_stays_mapped(void **state)
{
	struct mmu_seen there, gone;
	int uffd = new_uffd();
	struct fixture f;
	u64 v;

	if (uffd < 0)
		skip();
	close(uffd);
	setup(&f);
	assert_int_equal(hvm_slot(&f.vm, 0, 0, GPA, LEN, f.mem), 0);
	assert_int_equal(guest_load_once(f.h, GPA, &v), 0);
	assert_int_equal(guest_load_once(f.h, GPA + LEN / 2, &v), 0);
	assert_int_equal(syscall(SYS_munmap, f.mem + LEN / 2, LEN / 2), 0);
	assert_int_equal(guest_load_once(f.h, GPA + LEN / 2, &v), -EFAULT);
	mmu_look(f.vm.mmu, GPA >> PAGE_SHIFT, &there);
	mmu_look(f.vm.mmu, (GPA + LEN / 2) >> PAGE_SHIFT, &gone);
	assert_true(there.mapped);
	assert_false(gone.mapped);
	teardown(&f);
	munmap(f.mem, LEN / 2);
}

#define KEPT_SECONDS 2
#define LOOK_SECONDS 10 /* of the 50 ms, had the threads a processor; half of what ten times KEPT_SECONDS is */

/* A look that was kept waiting, by a lock or for a processor, does not put the next one off. */
static void test_a_look_that_waited_is_followed_by_another_soon(void **state)
{
	struct primary_linux *p;
	struct window_piece w;
	struct fixture f;
	u64 v, since;

	setup(&f);
	p = f.vm.mmu->primary;
	assert_int_equal(hvm_slot(&f.vm, 0, 0, GPA, LEN, f.mem), 0);
	assert_int_equal(guest_load_once(f.h, GPA, &v), 0);
	assert_true(windows_find(p, (hva_t)f.mem, &w));
	rwlock_write_lock(&p->windows_lock);
	sleep(KEPT_SECONDS); /* forty looks would have begun by now, and the first is still waiting */
	rwlock_write_unlock(&p->windows_lock);
	usleep(2 * NOTIFIER_TICK_MS * 1000);
	since = now_ns() - waited_ns();
	assert_int_equal(syscall(SYS_mprotect, f.mem, LEN, PROT_NONE), 0);
	/* Two threads that wait at once wait longer than there is time: the difference may be negative. */
	while (windows_find(p, (hva_t)f.mem, &w) && (s64)(now_ns() - waited_ns() - since) < LOOK_SECONDS * 1000000000LL)
		usleep(1000);
	assert_false(windows_find(p, (hva_t)f.mem, &w));
	teardown(&f);
	munmap(f.mem, LEN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_windows_go_while_the_vmm_unmaps_on),
		cmocka_unit_test(test_windows_that_went_are_unmapped_in_the_end),
		cmocka_unit_test(test_what_a_closed_vm_showed_is_let_go_while_somebody_looks),
		cmocka_unit_test(test_what_a_raw_call_does_not_name_stays_mapped),
		cmocka_unit_test(test_a_look_that_waited_is_followed_by_another_soon),
		cmocka_unit_test(test_a_descriptor_of_the_vmms_with_our_number_is_left_alone),
	};

	return cmocka_run_group_tests_name("mmu notifier", tests, NULL, NULL);
}
