/* SPDX-License-Identifier: MIT */
/*
 * Monitors that aim at what a device in their own process assumes of them: memory that grows by itself,
 * stacks, devices' memory, sealed and keyed memory, more slots or mappings than there is room for, a
 * userfaultfd of their own, descriptors that go. The guest finds what the monitor finds there, or EFAULT.
 */
#include "probe.h"
#include "rawcall.h"
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/udmabuf.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define MARK	   0x5ec5e7u
#define PAGES	   4
#define SIZE	   (PAGES * PROBE_PAGE)
#define SYS_MSEAL  462 /* Linux 6.10 */
#define EVERYWHERE (1ul << 47)
#define SLOT_MAX   (8ul << 40) /* what one memslot may have: 2^31 - 1 pages, rounded down to GiB */

static struct minivmm v;

static void show(const void *mem, size_t size)
{
	probe_slot(&v, PROBE_SLOT, 0, PROBE_GPA, size, mem);
}

static void hide(void)
{
	probe_slot(&v, PROBE_SLOT, 0, PROBE_GPA, 0, NULL);
}

/* The guest finds at `at`, which is off into the slot, what the VMM does. */
static void expect_same(const void *at, size_t off, const char *what)
{
	uint32_t host = 0, guest = 0;
	bool there = probe_host_read(at, &host);
	int r = probe_read(&v, PROBE_GPA + (uint32_t)off, &guest);

	EXPECT(r == (there ? 0 : -EFAULT), "%s: a read ends with %d, the VMM's %s", what, r,
	       there ? "succeeds" : "fails");
	EXPECT(guest == host, "%s: %x is read, and %x is there", what, guest, host);
}

static void expect_efault(size_t off, const char *what)
{
	uint32_t word = 0;
	int r = probe_read(&v, PROBE_GPA + (uint32_t)off, &word);

	EXPECT(r == -EFAULT, "%s: a read ends with %d (%x)", what, r, word);
	r = probe_write(&v, PROBE_GPA + (uint32_t)off, 1);
	EXPECT(r == -EFAULT, "%s: a write ends with %d", what, r);
}

/* ------------------------------------------------------------------ memory that grows */

static bool is_mapped(const void *at)
{
	unsigned char in;

	return !mincore((void *)at, PROBE_PAGE, &in);
}

/* A guest's access does not make it grow, as the kernel's on a VMM's behalf does not; the VMM's does. */
static void grows_down(void)
{
	uint8_t *room = mmap(NULL, 512 * PROBE_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint8_t *top = room + 511 * PROBE_PAGE, *low = top - PROBE_PAGE;

	EXPECT(!munmap(room, 512 * PROBE_PAGE), "munmap");
	EXPECT(mmap(top, PROBE_PAGE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_FIXED, -1, 0) == top, "mmap");
	top[0] = 1;
	show(low, 2 * PROBE_PAGE);
	expect_same(top, PROBE_PAGE, "memory that grows");
	expect_efault(0, "below memory that grows");
	EXPECT(!is_mapped(low), "a guest has made the VMM's memory grow");
	*(volatile uint32_t *)low = MARK;
	expect_same(low, 0, "memory that has grown");
	hide();
	munmap(low, 2 * PROBE_PAGE);
}

static void heap_grows(void)
{
	uintptr_t end = ((uintptr_t)sbrk(0) + PROBE_PAGE - 1) & ~(PROBE_PAGE - 1);
	uint32_t *p = (uint32_t *)end;

	show(p, SIZE);
	expect_efault(0, "above the heap");
	EXPECT(rawcall(SYS_brk, end + SIZE) == (long)(end + SIZE), "brk");
	p[0] = MARK;
	expect_same(p, 0, "the heap that has grown");
	EXPECT(rawcall(SYS_brk, end) == (long)end, "brk");
	expect_efault(0, "the heap that has shrunk");
	hide();
	EXPECT(!brk((void *)end), "libc's idea of the heap");
}

static void *show_own_stack(void *unused)
{
	volatile uint32_t word = MARK;
	uintptr_t page = (uintptr_t)&word & ~(PROBE_PAGE - 1), off = (uintptr_t)&word - page;

	show((void *)page, PROBE_PAGE);
	expect_same((void *)&word, off, "a stack");
	EXPECT(!probe_write(&v, PROBE_GPA + (uint32_t)off, 2 * MARK) && word == 2 * MARK,
	       "a write to a stack");
	hide();
	return NULL;
}

static void stacks(void)
{
	pthread_t thread;

	show_own_stack(NULL);
	EXPECT(!pthread_create(&thread, NULL, show_own_stack, NULL), "a thread");
	pthread_join(thread, NULL);
}

/* ------------------------------------------------------------------ devices' memory */

static void device(const char *what, int fd, int flags, int prot, size_t size, off_t off)
{
	uint32_t *p = fd >= 0 ? mmap(NULL, size, prot, flags, fd, off) : MAP_FAILED;

	if (p == MAP_FAILED) {
		printf("no %s here\n", what);
		return;
	}
	show(p, size);
	expect_same(p, 0, what);
	if (prot & PROT_WRITE) {
		EXPECT(!probe_write(&v, PROBE_GPA + 128, MARK), "%s: a write", what);
		expect_same(p + 32, 128, what);
	}
	EXPECT(!rawcall(SYS_munmap, p, size), "munmap");
	expect_efault(0, what);
	hide();
	close(fd);
}

static int udmabuf(void)
{
	int dev = open("/dev/udmabuf", O_RDWR | O_CLOEXEC), fd = -1;
	int mem = memfd_create("udmabuf", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	struct udmabuf_create c = {.memfd = (uint32_t)mem, .size = SIZE};

	if (dev >= 0 && !ftruncate(mem, SIZE) && !fcntl(mem, F_ADD_SEALS, F_SEAL_SHRINK))
		fd = ioctl(dev, UDMABUF_CREATE, &c);
	close(dev);
	close(mem);
	return fd;
}

static void devices(void)
{
	struct io_uring_params ring = {0};
	unsigned long aio = 0;

	device("/dev/zero, shared", open("/dev/zero", O_RDWR), MAP_SHARED, PROT_READ | PROT_WRITE,
	       SIZE, 0);
	device("/dev/zero, private", open("/dev/zero", O_RDWR), MAP_PRIVATE, PROT_READ | PROT_WRITE,
	       SIZE, 0);
	device("io_uring's ring", (int)syscall(SYS_io_uring_setup, 4, &ring), MAP_SHARED,
	       PROT_READ | PROT_WRITE, PROBE_PAGE, IORING_OFF_SQES);
	device("a udmabuf", udmabuf(), MAP_SHARED, PROT_READ | PROT_WRITE, SIZE, 0);
	if (!syscall(SYS_io_setup, 8, &aio)) {
		show((void *)aio, PROBE_PAGE);
		expect_same((void *)aio, 0, "aio's ring");
		hide();
		syscall(SYS_io_destroy, aio);
	}
}

/* ------------------------------------------------------------------ rights */

static void sealed(void)
{
	uint32_t *p = probe_share(probe_memfd(SIZE), SIZE, 0);

	p[0] = MARK;
	if (rawcall(SYS_MSEAL, p, SIZE, 0)) {
		puts("no mseal here");
		return;
	}
	show(p, SIZE);
	expect_same(p, 0, "sealed memory");
	EXPECT(!probe_write(&v, PROBE_GPA, 1) && p[0] == 1, "a write to sealed memory");
	EXPECT(munmap(p, SIZE) == -1 && errno == EPERM, "it is sealed");
	expect_same(p, 0, "sealed memory, after a munmap");
	hide();
}

static void keyed(void)
{
	uint32_t *p = probe_share(probe_memfd(SIZE), SIZE, 0);
	int key = pkey_alloc(0, 0);

	if (key < 0) {
		puts("no protection keys here");
		return;
	}
	p[0] = MARK;
	show(p, SIZE);
	expect_same(p, 0, "memory");
	EXPECT(!pkey_mprotect(p, SIZE, PROT_READ | PROT_WRITE, key), "pkey_mprotect");
	expect_same(p, 0, "memory with a key");
	EXPECT(!pkey_set(key, PKEY_DISABLE_ACCESS), "pkey_set");
	expect_efault(0, "memory with a key that this thread has not");
	EXPECT(!pkey_set(key, 0), "pkey_set");
	expect_same(p, 0, "memory with a key again");
	hide();
	munmap(p, SIZE);
	pkey_free(key);
}

/* ------------------------------------------------------------------ no room */

/* Memslots over all of user space: nothing of ours shows, and what has room goes on. */
static void everywhere(void)
{
	uint32_t *p = probe_share(probe_memfd(SIZE), SIZE, 0);
	const uint64_t size = SLOT_MAX - (1ul << 30);
	unsigned n = 0;

	p[0] = MARK;
	for (uint64_t at = 0; at < EVERYWHERE; at += size, n++) {
		uint64_t len = EVERYWHERE - PROBE_PAGE - at;
		struct kvm_userspace_memory_region r = {100 + n, 0, (1ull << 42) + at,
							len < size ? len : size, at};

		EXPECT(!ioctl(v.vm, KVM_SET_USER_MEMORY_REGION, &r) || errno == EINVAL,
		       "slot %u: %s", n, strerror(errno));
	}
	show(p, SIZE);
	expect_same(p, 0, "memory in two slots");
	EXPECT(ioctl(v.vm, KVM_CREATE_VCPU, 7) >= 0, "a vCPU: %s", strerror(errno));
	for (unsigned i = 0; i < n; i++) {
		struct kvm_userspace_memory_region r = {.slot = 100 + i};

		ioctl(v.vm, KVM_SET_USER_MEMORY_REGION, &r);
	}
	hide();
	munmap(p, SIZE);
}

/* As many mappings as a process may have. */
static void many_mappings(void)
{
	const size_t most = 70000;
	uint8_t *all = mmap(NULL, most * PROBE_PAGE, PROT_NONE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint32_t *p = probe_share(probe_memfd(SIZE), SIZE, 0);
	uint32_t *q = probe_share(probe_memfd(SIZE), SIZE, 0);
	size_t n = 0;

	p[0] = q[0] = MARK;
	show(p, SIZE);
	expect_same(p, 0, "memory");
	while (n < most && !rawcall(SYS_mprotect, all + n * PROBE_PAGE, PROBE_PAGE, PROT_READ))
		n += 2;
	hide();
	show(q, SIZE);
	expect_same(q, 0, "memory without a mapping left");
	for (unsigned i = 0; i < 300; i++)
		probe_slot(&v, 100 + i, KVM_MEM_LOG_DIRTY_PAGES, (1ull << 36) + i * (1ull << 30),
			   i % 2 ? 1ull << 30 : 1ull << 26, (void *)(1ul << 40));
	EXPECT(!probe_write(&v, PROBE_GPA, 1) && q[0] == 1, "a write");
	for (unsigned i = 0; i < 300; i++)
		probe_slot(&v, 100 + i, 0, 0, 0, NULL);
	munmap(all, most * PROBE_PAGE);
	hide();
	show(p, SIZE);
	expect_same(p, 0, "memory, with room again");
	EXPECT(!rawcall(SYS_munmap, p, SIZE), "munmap");
	expect_efault(0, "what was unmapped");
	hide();
	munmap(q, SIZE);
}

/* One call takes away what a thousand slots of two VMs show. */
static void many_slots(void)
{
	const unsigned n = 1000;
	uint8_t *p = probe_share(probe_memfd(n * PROBE_PAGE), n * PROBE_PAGE, 0);
	struct minivmm w;
	uint32_t word;

	probe_create(&w);
	for (unsigned i = 0; i < n; i++) {
		*(uint32_t *)(p + i * PROBE_PAGE) = MARK + i;
		probe_slot(&v, 100 + i, 0, PROBE_GPA + i * PROBE_PAGE, PROBE_PAGE, p + i * PROBE_PAGE);
		probe_slot(&w, 100 + i, 0, PROBE_GPA + (n - 1 - i) * PROBE_PAGE, PROBE_PAGE,
			   p + i * PROBE_PAGE);
		EXPECT(probe_must_read(&v, PROBE_GPA + i * PROBE_PAGE) == MARK + i, "slot %u", i);
		EXPECT(probe_must_read(&w, PROBE_GPA + (n - 1 - i) * PROBE_PAGE) == MARK + i,
		       "slot %u of the other", i);
	}
	EXPECT(!rawcall(SYS_munmap, p + PROBE_PAGE, (n - 1) * PROBE_PAGE), "munmap");
	for (unsigned i = 1; i < n; i++) {
		expect_efault(i * PROBE_PAGE, "what a thousand slots showed");
		EXPECT(probe_read(&w, PROBE_GPA + (n - 1 - i) * PROBE_PAGE, &word) == -EFAULT,
		       "slot %u of the other is still there", i);
	}
	EXPECT(probe_must_read(&v, PROBE_GPA) == MARK, "the page that is left");
	for (unsigned i = 0; i < n; i++)
		probe_slot(&v, 100 + i, 0, 0, 0, NULL);
	minivmm_destroy(&w);
	munmap(p, PROBE_PAGE);
}

/* ------------------------------------------------------------------ dirty logs */

static uint64_t harvest(void)
{
	uint64_t bits = 0;
	struct kvm_dirty_log l = {.slot = PROBE_SLOT, .dirty_bitmap = &bits};

	EXPECT(!ioctl(v.vm, KVM_GET_DIRTY_LOG, &l), "KVM_GET_DIRTY_LOG: %s", strerror(errno));
	return bits;
}

/* What was written is in the log, whoever takes the page away; what is written anew, too. */
static void punched_logged(void)
{
	const int punch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
	int fd = probe_memfd(SIZE);
	uint32_t *p = probe_share(fd, SIZE, 0);

	probe_slot(&v, PROBE_SLOT, KVM_MEM_LOG_DIRTY_PAGES, PROBE_GPA, SIZE, p);
	EXPECT(!probe_write(&v, PROBE_GPA + PROBE_PAGE, MARK), "a write");
	EXPECT(!rawcall(SYS_fallocate, fd, punch, PROBE_PAGE, PROBE_PAGE), "punch");
	EXPECT(!probe_must_read(&v, PROBE_GPA + PROBE_PAGE), "a page that was punched");
	EXPECT(harvest() == 2, "the write before the punch");
	EXPECT(!probe_write(&v, PROBE_GPA + PROBE_PAGE, MARK), "a write");
	EXPECT(harvest() == 2, "the write after the punch");
	EXPECT(!probe_write(&v, PROBE_GPA + 2 * PROBE_PAGE, MARK), "a write");
	EXPECT(!rawcall(SYS_munmap, p, SIZE), "munmap");
	EXPECT(harvest() == 4, "the write before the munmap");
	expect_efault(2 * PROBE_PAGE, "what was unmapped");
	EXPECT(!harvest(), "no write");
	hide();
	close(fd);
}

/* ------------------------------------------------------------------ a userfaultfd of the VMM's */

static int uffd_on(void *p, bool by_libc)
{
	struct uffdio_api api = {.api = UFFD_API};
	struct uffdio_register r = {.range = {(uintptr_t)p, SIZE}, .mode = UFFDIO_REGISTER_MODE_MISSING};
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);

	if (fd < 0 || ioctl(fd, UFFDIO_API, &api))
		return -1;
	if (by_libc ? ioctl(fd, UFFDIO_REGISTER, &r) : (int)rawcall(SYS_ioctl, fd, UFFDIO_REGISTER, &r)) {
		close(fd);
		return -1;
	}
	return fd;
}

struct monitor {
	int uffd;
	uint32_t *missing, *other;
};

/* Before it serves a fault it takes other memory of the guest's away, by a call that nobody announces. */
static void *serve(void *arg)
{
	static uint32_t page[PROBE_PAGE / 4] __attribute__((aligned(4096)));
	struct monitor *m = arg;
	struct uffd_msg msg;
	struct uffdio_copy c = {(uintptr_t)m->missing, (uintptr_t)page, PROBE_PAGE};

	EXPECT(read(m->uffd, &msg, sizeof(msg)) == sizeof(msg), "a fault");
	EXPECT(!rawcall(SYS_munmap, m->other, SIZE), "munmap");
	probe_slot(&v, PROBE_SLOT + 1, 0, 0, 0, NULL);
	page[0] = MARK;
	EXPECT(!ioctl(m->uffd, UFFDIO_COPY, &c), "UFFDIO_COPY: %s", strerror(errno));
	return NULL;
}

static void monitor_unmaps(void)
{
	struct monitor m = {.missing = probe_share(probe_memfd(SIZE), SIZE, 0),
			    .other = probe_share(probe_memfd(SIZE), SIZE, 0)};
	pthread_t thread;

	show(m.missing, SIZE);
	probe_slot(&v, PROBE_SLOT + 1, 0, 2 * PROBE_GPA, SIZE, m.other);
	m.other[0] = MARK;
	EXPECT(probe_must_read(&v, 2 * PROBE_GPA) == MARK, "memory");
	m.uffd = uffd_on(m.missing, true);
	if (m.uffd >= 0) {
		EXPECT(!pthread_create(&thread, NULL, serve, &m), "a thread");
		EXPECT(probe_must_read(&v, PROBE_GPA) == MARK, "what the monitor served");
		pthread_join(thread, NULL);
		close(m.uffd);
	}
	hide();
	munmap(m.missing, SIZE);
}

/* Ours gives way to one that libc registers, and comes back when that has gone. */
static void gives_way(void)
{
	uint32_t *p = probe_share(probe_memfd(SIZE), SIZE, 0);
	int fd;

	p[0] = MARK;
	show(p, SIZE);
	expect_same(p, 0, "memory");
	fd = uffd_on(p, true);
	if (fd >= 0) {
		struct uffdio_range r = {(uintptr_t)p, SIZE};

		expect_same(p, 0, "memory under the VMM's userfaultfd");
		EXPECT(!ioctl(fd, UFFDIO_UNREGISTER, &r), "UFFDIO_UNREGISTER");
		close(fd);
	}
	expect_same(p, 0, "memory again");
	EXPECT(!rawcall(SYS_munmap, p, SIZE), "munmap");
	expect_efault(0, "what was unmapped");
	hide();
}

/* What no slot shows any more is the VMM's to register, by whatever call. */
static void lets_go(void)
{
	uint32_t *p = probe_share(probe_memfd(SIZE), SIZE, 0);
	struct minivmm w;
	int fd = uffd_on(p, false);

	if (fd < 0)
		return;
	close(fd);
	p[0] = MARK;
	probe_create(&w);
	probe_slot(&w, PROBE_SLOT, 0, PROBE_GPA, SIZE, p);
	EXPECT(probe_must_read(&w, PROBE_GPA) == MARK, "memory of the other");
	show(p, SIZE);
	expect_same(p, 0, "memory");
	hide();
	EXPECT(!rawcall(SYS_munmap, (uint8_t *)p + PROBE_PAGE, PROBE_PAGE), "munmap");
	EXPECT(probe_read(&w, PROBE_GPA + PROBE_PAGE, &(uint32_t){0}) == -EFAULT,
	       "the other's slot still shows what was unmapped");
	minivmm_destroy(&w);
	p = mmap((uint8_t *)p + PROBE_PAGE, PROBE_PAGE, PROT_READ | PROT_WRITE,
		 MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	fd = uffd_on((uint8_t *)p - PROBE_PAGE, false);
	EXPECT(fd >= 0, "what no slot shows is still registered: %s", strerror(errno));
	close(fd);
	munmap((uint8_t *)p - PROBE_PAGE, SIZE);
}

/* ------------------------------------------------------------------ descriptors, processes */

/* A child has a copy of memory, and what it does to that is its own. */
static void child_unmaps(void)
{
	uint32_t *p = probe_share(probe_memfd(SIZE), SIZE, 0);
	int status, pid;

	p[0] = MARK;
	show(p, SIZE);
	expect_same(p, 0, "memory");
	pid = fork();
	if (!pid)
		_exit(rawcall(SYS_munmap, p, SIZE) ? 1 : 0);
	EXPECT(pid > 0 && waitpid(pid, &status, 0) == pid && !status, "a child");
	expect_same(p, 0, "memory, after a child has unmapped its copy");
	EXPECT(!rawcall(SYS_munmap, p, SIZE), "munmap");
	expect_efault(0, "what was unmapped");
	hide();
}

/* The last one: every number but the VMM's own is closed, by calls that nobody sees. */
static void closed(void)
{
	uint32_t *p = probe_share(probe_memfd(SIZE), SIZE, 0);
	uint32_t *q = probe_share(probe_memfd(SIZE), SIZE, 0);

	p[0] = q[0] = MARK;
	show(p, SIZE);
	expect_same(p, 0, "memory");
	for (int fd = 3; fd < 1 << 20; fd++) {
		if (fd != v.kvm && fd != v.vm && fd != v.vcpu && !probe_host_uses(fd))
			rawcall(SYS_close, fd);
	}
	EXPECT(!rawcall(SYS_munmap, p, SIZE), "munmap");
	expect_efault(0, "what was unmapped");
	hide();
	show(q, SIZE);
	expect_same(q, 0, "memory, without a descriptor of ours");
	EXPECT(!munmap(q, SIZE), "munmap");
	expect_efault(0, "what was unmapped");
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	alarm(hang_limit(50)); /* a wait for something that waits */
	probe_create(&v);
	grows_down();
	heap_grows();
	stacks();
	devices();
	sealed();
	keyed();
	everywhere();
	many_mappings();
	many_slots();
	punched_logged();
	monitor_unmaps();
	gives_way();
	lets_go();
	child_unmaps();
	closed();
	return 0;
}
