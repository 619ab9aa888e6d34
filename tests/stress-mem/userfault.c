/* SPDX-License-Identifier: MIT */
/*
 * Faults that another thread serves: the changing thread registers a range, takes its pages
 * away and answers for a while. Where a kernel or a backing has no such kind, nothing happens.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "changes.h"

#define SERVE_MS 2

/* -1: this kernel has not got these features. */
static int uffd_open(u64 features)
{
	struct uffdio_api api = {.api = UFFD_API, .features = features};
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	/* KVM's own faults are the kernel's, which not everybody may serve. */
	if (fd < 0)
		fd = (int)syscall(SYS_userfaultfd,
				  O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
	if (fd >= 0 && ioctl(fd, UFFDIO_API, &api)) {
		close(fd);
		return -1;
	}
	return fd;
}

static struct uffdio_range range_of(const struct change *c)
{
	return (struct uffdio_range){(u64)change_addr(c), c->n * PAGE};
}

static bool uffd_register(int fd, const struct change *c, u64 mode)
{
	struct uffdio_register r = {.range = range_of(c), .mode = mode};

	return !call_ioctl(fd, UFFDIO_REGISTER, &r);
}

static void uffd_unregister(int fd, const struct change *c)
{
	struct uffdio_range r = range_of(c);

	MUST(!call_ioctl(fd, UFFDIO_UNREGISTER, &r), "UFFDIO_UNREGISTER: %s", strerror(errno));
}

/* Answer faults until none has come for a while. */
static void serve(int fd, const struct change *c,
		  void (*answer)(int, const struct change *, u64))
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	struct uffd_msg m;

	for (u32 i = 0; i < 4 * c->n && poll(&p, 1, SERVE_MS) > 0; i++) {
		if (read(fd, &m, sizeof(m)) == (ssize_t)sizeof(m) &&
		    m.event == UFFD_EVENT_PAGEFAULT)
			answer(fd, c, m.arg.pagefault.address & ~(c->a->unit * PAGE - 1));
	}
}

/* False: a change of the mapping stands in the way. */
static bool try_copy_in(int fd, const struct change *c, u64 addr)
{
	u64 page[WORDS] __attribute__((aligned(4096)));
	u32 p = (u32)((addr - (u64)c->a->mem) / PAGE);
	struct uffdio_copy copy = {.dst = addr, .src = (u64)page, .len = PAGE};

	memset(page, 0, sizeof(page));
	page[0] = c->a->pages[p].expected;
	for (u32 w = COUNTERS; w < WORDS; w++)
		page[w] = page[0];
	return !ioctl(fd, UFFDIO_COPY, &copy) || errno != EAGAIN;
}

static void copy_in(int fd, const struct change *c, u64 addr)
{
	while (!try_copy_in(fd, c, addr))
		;
}

/* Each page is expected to hold a new stamp, and only the monitor puts it there. */
static void new_stamps(const struct change *c)
{
	static u32 last;
	u32 number = ADD(last, 1) | 1u << 31;

	for (u32 p = c->first; p < c->first + c->n; p++) {
		u64 stamp = stamp_of(c->a->index, p, number);

		STORE(c->a->pages[p].expected, stamp);
		if (c->a->fd >= 0)
			c->a->content[c->a->off[p]] = stamp;
	}
}

static bool drop_pages(const struct change *c)
{
	if (c->a->backing == PRIVATE_ANON)
		return !call_madvise(change_addr(c), c->n * PAGE, MADV_DONTNEED);
	return !call_madvise(change_addr(c), c->n * PAGE, MADV_REMOVE);
}

void uffd_missing(struct change *c)
{
	int fd = uffd_open(0);

	if (fd < 0)
		return;
	if (uffd_register(fd, c, UFFDIO_REGISTER_MODE_MISSING)) {
		content_begin(c);
		new_stamps(c);
		MUST(drop_pages(c), "pages could not be dropped: %s", strerror(errno));
		serve(fd, c, copy_in);
		for (u32 p = c->first; p < c->first + c->n; p++)
			copy_in(fd, c, (u64)c->a->mem + p * PAGE);
		uffd_unregister(fd, c);
		content_end(c);
	}
	close(fd);
}

static void let_through(int fd, const struct change *c, u64 addr)
{
	struct uffdio_continue go = {.range = {addr, c->a->unit * PAGE}};

	while (ioctl(fd, UFFDIO_CONTINUE, &go) && errno == EAGAIN)
		go.mapped = 0;
}

void uffd_minor(struct change *c)
{
	int fd = uffd_open(c->a->backing == HUGETLB ? UFFD_FEATURE_MINOR_HUGETLBFS
						    : UFFD_FEATURE_MINOR_SHMEM);

	if (fd < 0)
		return;
	if (uffd_register(fd, c, UFFDIO_REGISTER_MODE_MINOR)) {
		call_madvise(change_addr(c), c->n * PAGE, MADV_DONTNEED);
		serve(fd, c, let_through);
		uffd_unregister(fd, c);
	}
	close(fd);
}

static int write_protect(int fd, struct uffdio_range range, u64 mode)
{
	struct uffdio_writeprotect w = {.range = range, .mode = mode};

	return call_ioctl(fd, UFFDIO_WRITEPROTECT, &w);
}

static void allow_write(int fd, const struct change *c, u64 addr)
{
	write_protect(fd, (struct uffdio_range){addr, PAGE}, 0);
}

void uffd_write_protect(struct change *c)
{
	int fd = uffd_open(UFFD_FEATURE_PAGEFAULT_FLAG_WP);

	if (fd < 0)
		return;
	if (uffd_register(fd, c, UFFDIO_REGISTER_MODE_WP)) {
		if (!write_protect(fd, range_of(c), UFFDIO_WRITEPROTECT_MODE_WP)) {
			serve(fd, c, allow_write);
			write_protect(fd, range_of(c), 0);
		}
		uffd_unregister(fd, c);
	}
	close(fd);
}

static void *unmap_thread(void *arg)
{
	struct change *c = arg;

	call_munmap(change_addr(c), c->n * PAGE);
	return NULL;
}

/*
 * The kernel tells a monitor of a munmap and holds its caller up until the monitor has read
 * that. This one updates memslots first.
 */
void uffd_monitor(struct change *c)
{
	int fd = uffd_open(UFFD_FEATURE_EVENT_UNMAP);
	struct pollfd p = {.fd = fd, .events = POLLIN};
	struct change all = *c;
	struct uffd_msg m;
	pthread_t t;

	if (fd < 0)
		return;
	if (!uffd_register(fd, c, UFFDIO_REGISTER_MODE_MISSING)) {
		close(fd);
		return;
	}
	content_begin(c);
	away_begin(c);
	MUST(!pthread_create(&t, NULL, unmap_thread, c), "out of threads");
	for (bool unmapped = false; !unmapped;) {
		MUST(poll(&p, 1, 20000) > 0, "a munmap did not come to its monitor");
		slot_remade(&all);
		while (read(fd, &m, sizeof(m)) == (ssize_t)sizeof(m)) {
			/* The munmap waits for its event to be read, a copy for the munmap. */
			if (m.event == UFFD_EVENT_PAGEFAULT)
				try_copy_in(fd, c, m.arg.pagefault.address & ~(PAGE - 1));
			unmapped |= m.event == UFFD_EVENT_UNMAP;
		}
	}
	pthread_join(t, NULL);
	area_map(c->a, c->first, c->n);
	close(fd);
	content_fresh(c);
	away_end(c);
	content_end(c);
}
