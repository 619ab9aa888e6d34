/* SPDX-License-Identifier: MIT */
/*
 * files_test: the descriptor table alone, over a fake VM that counts the references given back.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
/* cmocka wants the four above before it */
#include <cmocka.h>
#include "abi/internal.h"
#include "pass_fd.h"

static struct vm fake_vm;
static int given_back; /* references to fake_vm */

void gmem_release(struct gmem_file *file)
{
	fail(); /* none here has one */
}

void vm_put(struct vm *vm)
{
	assert_ptr_equal(vm, &fake_vm);
	given_back++;
}

static int setup(void **state)
{
	given_back = 0;
	return 0;
}

/* As the preload does: tell before, close, tell after. */
static void close_told(int fd)
{
	bool ours = abi_before_close(fd);

	assert_int_equal(syscall(SYS_close, fd), 0);
	if (ours)
		abi_after_close();
}

struct set {
	int vm, vcpu, stats;
};

static int add(struct abi_vm *avm, enum file_kind kind, const char *name, size_t size)
{
	struct abi_file *f;
	int fd = file_create(kind, name, size, O_CLOEXEC, &f);

	assert_true(fd >= 0);
	f->avm = avm;
	file_publish(f, fd);
	return fd;
}

static struct set set_new(void)
{
	struct abi_vm *avm = calloc(1, sizeof(*avm));
	struct set s;

	avm->vm = &fake_vm;
	avm->refs = 3;
	mutex_init(&avm->lock);
	s.vm = add(avm, FILE_VM, "userkvm:vm", 0);
	s.vcpu = add(avm, FILE_VCPU, "userkvm:vcpu:0", 3 * PAGE_SIZE);
	s.stats = add(avm, FILE_VM_STATS, "userkvm:vm-stats", PAGE_SIZE);
	return s;
}

static enum file_kind kind_of(int fd)
{
	struct abi_file *f = file_get(fd);
	enum file_kind k;

	assert_non_null(f);
	k = f->kind;
	file_put(f);
	return k;
}

/* The VM goes with the last of its descriptors, whichever that is: its own reference, and the
 * vCPU's. */
static void test_close_orders(void **state)
{
	static const int order[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
					{1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
	unsigned i, j;

	for (i = 0; i < 6; i++) {
		struct set s = set_new();
		int fd[3] = {s.vm, s.vcpu, s.stats};
		int expect = 0;

		given_back = 0;
		for (j = 0; j < 3; j++) {
			assert_int_equal(given_back, expect);
			close_told(fd[order[i][j]]);
			expect += order[i][j] == 1; /* the vCPU's reference */
		}
		assert_int_equal(given_back, 2);
	}
}

static void test_dup(void **state)
{
	struct set s = set_new();
	int told = dup(s.vm), untold = dup(s.vm);

	abi_appeared(told);
	close_told(s.vcpu);
	close_told(s.stats);
	close_told(s.vm);
	close_told(told);
	assert_int_equal(given_back, 1);
	assert_int_equal(kind_of(untold), FILE_VM);
	close_told(untold);
	assert_int_equal(given_back, 2);
}

/* More duplicates than are remembered. */
static void test_many(void **state)
{
	struct set s = set_new();
	int d[40];
	unsigned i;

	close_told(s.vcpu);
	close_told(s.stats);
	for (i = 0; i < ARRAY_SIZE(d); i++) {
		d[i] = dup(s.vm);
		abi_appeared(d[i]);
	}
	close_told(s.vm);
	for (i = 0; i < ARRAY_SIZE(d); i++) {
		assert_int_equal(given_back, 1);
		assert_int_equal(kind_of(d[i]), FILE_VM);
		close_told(d[i]);
	}
	assert_int_equal(given_back, 2);
}

/* Closed where nobody told us, and the number used again. */
static void test_number_used_again(void **state)
{
	struct set s = set_new();
	int other = memfd_create("other", 0);

	assert_int_equal(dup2(other, s.vm), s.vm);
	assert_false(abi_owns(s.vm));
	assert_false(abi_before_close(s.vm));
	close_told(s.vcpu); /* the next close we hear of finds it out */
	close_told(s.stats);
	assert_int_equal(given_back, 2);
	close(other);
	close(s.vm);
}

static void test_call_in_progress(void **state)
{
	struct set s = set_new();
	struct abi_file *f = file_get(s.vcpu);

	close_told(s.vm);
	close_told(s.stats);
	close_told(s.vcpu);
	assert_int_equal(given_back, 0);
	file_put(f);
	assert_int_equal(given_back, 2);
}

static void test_pages(void **state)
{
	struct set s = set_new();
	struct abi_file *f = file_get(s.vcpu);
	u8 *theirs = mmap(NULL, 3 * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, s.vcpu, 0);

	theirs[5000] = 42;
	assert_int_equal(((u8 *)f->map)[5000], 42);
	assert_int_equal(ftruncate(s.vcpu, 0), -1);
	assert_int_equal(ftruncate(s.vcpu, 1 << 20), -1);
	file_put(f);
	close_told(s.vcpu);
	close_told(s.vm);
	close_told(s.stats);
	theirs[5000]++; /* the VMM's mapping outlives everything */
	munmap(theirs, 3 * PAGE_SIZE);
}

/* ---- other processes */

static int run_child(int (*fn)(const struct set *s), const struct set *s, bool share)
{
	pid_t p = share ? vfork() : fork();
	int status;

	if (!p) {
		if (!share)
			files_forked_child();
		_exit(fn(s));
	}
	assert_int_equal(waitpid(p, &status, 0), p);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int close_all(const struct set *s)
{
	close_told(s->vcpu);
	close_told(s->stats);
	close_told(s->vm);
	return given_back;
}

static void test_fork(void **state)
{
	struct set s = set_new();

	assert_int_equal(run_child(close_all, &s, false), 0);
	assert_int_equal(run_child(close_all, &s, true), 0);
	assert_int_equal(given_back, 0);
	assert_int_equal(kind_of(s.vcpu), FILE_VCPU);
	close_all(&s);
	assert_int_equal(given_back, 2);
}

static int is_not_its_own(const struct set *s)
{
	struct abi_file *f = file_get(s->vm);
	int r = f->pid == file_pid();

	file_put(f);
	return r;
}

static void test_fork_ownership(void **state)
{
	struct set s = set_new();

	assert_int_equal(run_child(is_not_its_own, &s, false), 0);
	close_all(&s);
}

/* Run this program anew with the numbers; it answers with the kinds it sees. */
static int exec_self(const struct set *s)
{
	char a[16], b[16];

	snprintf(a, sizeof(a), "%d", s->vm);
	snprintf(b, sizeof(b), "%d", s->vcpu);
	fcntl(s->vm, F_SETFD, 0);
	fcntl(s->vcpu, F_SETFD, 0);
	execl("/proc/self/exe", "files_test", a, b, NULL);
	return 99;
}

static void test_exec(void **state)
{
	struct set s = set_new();
	int kvm = abi_open(O_RDWR);
	struct set pair = {.vm = kvm, .vcpu = s.vcpu};

	assert_int_equal(run_child(exec_self, &pair, false), FILE_SYSTEM * 16 + FILE_FOREIGN);
	close_told(kvm);
	close_all(&s);
}

static void test_socket(void **state)
{
	struct set s = set_new();
	int pair[2], got;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	abi_sent(s.vm);
	assert_int_equal(send_fd(pair[0], s.vm), 0);
	close_told(s.vcpu);
	close_told(s.stats);
	close_told(s.vm); /* now it is in the socket alone */
	assert_int_equal(given_back, 1);
	got = receive_fd(pair[1]);
	assert_int_equal(kind_of(got), FILE_VM);
	close(got);
	close(pair[0]);
	close(pair[1]);
}

static void test_from_another_process(void **state)
{
	int pair[2], kvm, vm, status;
	pid_t p;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	p = fork();
	if (!p) {
		struct set s;

		files_forked_child();
		s = set_new();
		send_fd(pair[0], abi_open(O_RDWR));
		send_fd(pair[0], s.vm);
		_exit(0);
	}
	kvm = receive_fd(pair[1]);
	vm = receive_fd(pair[1]);
	assert_int_equal(kind_of(kvm), FILE_SYSTEM);
	assert_int_equal(kind_of(vm), FILE_FOREIGN);
	waitpid(p, &status, 0);
	assert_int_equal(kind_of(vm), FILE_FOREIGN);
	close_told(kvm);
	close_told(vm);
	close(pair[0]);
	close(pair[1]);
}

static void test_open_flags(void **state)
{
	int fd = abi_open(O_RDWR | O_CLOEXEC);

	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	close_told(fd);
	fd = abi_open(O_RDWR);
	assert_int_equal(fcntl(fd, F_GETFD), 0);
	assert_true(abi_owns(fd));
	close_told(fd);
	assert_int_equal(abi_open(O_RDONLY | O_DIRECTORY), -ENOTDIR);
	assert_int_equal(abi_open(O_RDWR | O_CREAT | O_EXCL), -EEXIST);
	assert_false(abi_owns(0));
	assert_false(abi_owns(-1));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_close_orders, setup),
		cmocka_unit_test_setup(test_dup, setup),
		cmocka_unit_test_setup(test_many, setup),
		cmocka_unit_test_setup(test_number_used_again, setup),
		cmocka_unit_test_setup(test_call_in_progress, setup),
		cmocka_unit_test_setup(test_pages, setup),
		cmocka_unit_test_setup(test_fork, setup),
		cmocka_unit_test_setup(test_fork_ownership, setup),
		cmocka_unit_test_setup(test_exec, setup),
		cmocka_unit_test_setup(test_socket, setup),
		cmocka_unit_test_setup(test_from_another_process, setup),
		cmocka_unit_test_setup(test_open_flags, setup),
	};

	if (argc == 3)
		return kind_of(atoi(argv[1])) * 16 + kind_of(atoi(argv[2]));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
