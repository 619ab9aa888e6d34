/* SPDX-License-Identifier: MIT */
/* hc_fd.c: descriptors as such: what they refuse, duplicates, sockets, forks, order of closing.
 */
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include "hostcalls.h"
#include "pass_fd.h"

static void test_refused(int fd, const char *kind)
{
	char b[16] = {0};
	struct iovec iov = {b, sizeof(b)};
	struct stat st;
	void *p;

	errno = 0;
	line(read(fd, b, 1), "%s read", kind);
	line(write(fd, b, 1), "%s write", kind);
	line(pread(fd, b, 1, 0), "%s pread", kind);
	line(pwrite(fd, b, 1, 0), "%s pwrite", kind);
	line(readv(fd, &iov, 1), "%s readv", kind);
	line(writev(fd, &iov, 1), "%s writev", kind);
	line(lseek(fd, 10, SEEK_SET), "%s lseek", kind);
	line(ftruncate(fd, 0), "%s ftruncate", kind);
	line(ftruncate(fd, 1 << 20), "%s ftruncate up", kind);
	line(fallocate(fd, 0, 0, 4096), "%s fallocate", kind);
	line(fstat(fd, &st), "%s fstat", kind);
	out("%s mode %o size %ld nlink %ld", kind, st.st_mode & ~0666, (long)st.st_size,
	    (long)st.st_nlink);
	p = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
	line(p == MAP_FAILED ? -1 : 0, "%s mmap", kind);
	p = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	line(p == MAP_FAILED ? -1 : 0, "%s mmap to execute", kind);
	p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	line(p == MAP_FAILED ? -1 : 0, "%s mmap private", kind);
	line(fcntl(fd, F_GET_SEALS), "%s F_GET_SEALS", kind);
	line(fcntl(fd, F_GETFD), "%s F_GETFD", kind);
}

static void test_stats(int fd, const char *kind)
{
	struct kvm_stats_header h = {0};
	char b[256] = {0};
	u64 v;

	line(fd < 0 ? -1 : 0, "%s stats descriptor", kind);
	line(pread(fd, &h, sizeof(h), 0), "%s stats header", kind);
	out("%s stats: flags %u, names %d, ordered %d", kind, h.flags, h.name_size > 0,
	    h.id_offset < h.desc_offset && h.desc_offset < h.data_offset);
	line(pread(fd, b, h.name_size, h.id_offset) == h.name_size, "%s stats identity", kind);
	out("%s stats identity begins with kvm-: %d", kind, !strncmp(b, "kvm-", 4));
	line(pread(fd, &v, sizeof(v), h.data_offset), "%s stats datum", kind);
	line(pread(fd, &v, sizeof(v), h.data_offset + (1 << 20)), "%s stats past the end",
	     kind);
	line(write(fd, b, 1), "%s stats write", kind);
	line(read(fd, b, 4), "%s stats read", kind);
	line(call(fd, KVM_GET_API_VERSION, 0), "%s stats ioctl", kind);
	line(mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED ? -1 : 0,
	     "%s stats mmap", kind);
	close(fd);
}

void test_descriptors(void)
{
	struct machine m = machine_new(false);

	test_refused(sys_fd, "system");
	test_refused(m.vm, "VM");
	test_refused(m.vcpu, "vCPU");
	test_stats(ioctl(m.vm, KVM_GET_STATS_FD, 0), "VM");
	test_stats(ioctl(m.vcpu, KVM_GET_STATS_FD, 0), "vCPU");
	machine_free(&m);
}

/* ---- lifetimes */

int hc_through_socket(int fd)
{
	int s[2], got = -1;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, s))
		return -1;
	if (!send_fd(s[0], fd))
		got = receive_fd(s[1]);
	close(s[0]);
	close(s[1]);
	return got;
}

static void test_duplicates(void)
{
	struct machine m = machine_new(false);
	struct kvm_regs r;
	int d = dup(m.vcpu), d2, d3, s;

	close(m.vcpu);
	line(call(d, KVM_GET_REGS, &r), "vCPU by its duplicate");
	d2 = fcntl(d, F_DUPFD_CLOEXEC, 200);
	line(d2, "F_DUPFD_CLOEXEC 200");
	close(d);
	line(call(d2, KVM_GET_REGS, &r), "vCPU by F_DUPFD's");
	d3 = dup2(d2, 201);
	close(d2);
	line(call(d3, KVM_GET_REGS, &r), "vCPU by dup2's");
	s = hc_through_socket(d3);
	line(call(s, KVM_GET_REGS, &r), "vCPU by a socket's");
	close(d3);
	line(call(s, KVM_GET_REGS, &r), "vCPU by a socket's alone");
	line(call(d3, KVM_GET_REGS, &r), "vCPU by a closed number");
	close(s);
	line(call(s, KVM_GET_REGS, &r), "vCPU by a closed number again");
	line_fd(call_value(m.vm, KVM_CREATE_VCPU, 0),
		"CREATE_VCPU 0 after its descriptor closed");
	munmap(m.run, RUN_BYTES);
	close(m.vm);
}

static void test_order(void)
{
	struct machine m = machine_new(false);
	struct kvm_regs r;
	int stats = ioctl(m.vm, KVM_GET_STATS_FD, 0);
	struct kvm_stats_header h;

	close(m.vm);
	line(call(m.vcpu, KVM_GET_REGS, &r), "vCPU after its VM's descriptor closed");
	line(call(m.vm, KVM_CHECK_EXTENSION, 0), "VM by a closed number");
	close(m.vcpu);
	line(pread(stats, &h, sizeof(h), 0), "statistics after everything else closed");
	m.run->immediate_exit = 1;
	out("the mapping is still there: %d", m.run->immediate_exit);
	close(stats);
	munmap(m.run, RUN_BYTES);
}

static void test_dup_over(void)
{
	struct machine m = machine_new(false), n = machine_new(false);
	struct kvm_regs r = {.rax = 1, .rflags = 2};

	call(m.vcpu, KVM_SET_REGS, &r);
	r.rax = 2;
	call(n.vcpu, KVM_SET_REGS, &r);
	line(dup2(m.vcpu, n.vcpu) == n.vcpu, "dup2 onto another vCPU");
	line(call(n.vcpu, KVM_GET_REGS, &r), "GET_REGS by it");
	out("rax %llu", (unsigned long long)r.rax);
	machine_free(&n);
	line(call(m.vcpu, KVM_GET_REGS, &r), "the first is still there");
	machine_free(&m);
}

static void in_child(const struct machine *m)
{
	struct kvm_regs r;
	int vm;

	line(call(m->vm, KVM_CHECK_EXTENSION, 0), "child: VM call");
	line_fd(call_value(m->vm, KVM_CREATE_VCPU, 5), "child: CREATE_VCPU");
	line(call(m->vcpu, KVM_GET_REGS, &r), "child: vCPU call");
	line(call(m->vcpu, KVM_RUN, 0), "child: RUN");
	line(call(sys_fd, KVM_GET_API_VERSION, 0), "child: system call");
	vm = (int)call_value(sys_fd, KVM_CREATE_VM, 0);
	line_fd(call_value(vm, KVM_CREATE_VCPU, 0), "child: a VM of its own");
	close(vm);
	close(m->vcpu);
	close(m->vm);
}

static void test_fork(void)
{
	struct machine m = machine_new(false);
	struct kvm_regs r;
	int status;
	pid_t p;

	fflush(stdout);
	p = fork();
	if (!p) {
		in_child(&m);
		fflush(stdout);
		_exit(0);
	}
	waitpid(p, &status, 0);
	line(status, "child ended");
	line(call(m.vcpu, KVM_GET_REGS, &r), "vCPU after the child closed its");
	p = vfork();
	if (!p) {
		close(m.vcpu);
		_exit(0);
	}
	waitpid(p, &status, 0);
	line(call(m.vcpu, KVM_GET_REGS, &r), "vCPU after a vforked child closed its");
	machine_free(&m);
}

void test_lifetimes(void)
{
	int i;

	test_duplicates();
	test_order();
	test_dup_over();
	test_fork();
	for (i = 0; i < 50; i++) {
		struct machine m = machine_new(i & 1);

		machine_free(&m);
	}
	out("50 machines");
}
