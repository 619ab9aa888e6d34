/* SPDX-License-Identifier: MIT */
/*
 * As conformance.c, of the kinds of memory of small pages and the calls that have it by themselves: MADV_FREE, what is
 * soft-dirty, userfaultfd's write protection, and a file that another process has mapped. What this kernel has not, or
 * gives nobody, is said and left out.
 *
 * usage: kinds_conformance [SEED [SEQUENCES]]
 */
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kinds.h"

/* Of headers that are older than what they name. */
#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif
#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif

/* ------------------------------------------------------------------ private memory of small pages */

#define PAGES 4

static hva_t address(u64 page)
{
	return MODEL_VA + page * PAGE_SIZE;
}

static void map_small(void)
{
	if (mmap((void *)MODEL_VA, PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
		 0) == MAP_FAILED)
		fail("mmap", 0, 0, errno);
	model_mmap(model, MODEL_VA, PAGES, true, NULL, 0);
}

/* What is given up by MADV_FREE and not written since is there or gone, as the kernel likes: the model follows. */
static void follow_lazy(u64 page)
{
	u64 ours = 0, theirs = 0;

	if (model_read(model, address(page), &ours) || real_access_at(address(page), false, &theirs))
		fail("a read", page, 0, 0);
	if (ours && !theirs)
		model_reclaim_lazy(model, address(page));
	compare_word(address(page), page);
}

static void lazy_sequence(void)
{
	begin();
	map_small();
	for (step = 0; step < STEPS; step++) {
		u64 page = below(PAGES);

		switch (below(4)) {
		case 0:
			madvise((void *)address(page), PAGE_SIZE, MADV_FREE);
			model_madv_free(model, address(page));
			break;
		case 1:
			madvise((void *)address(page), PAGE_SIZE, MADV_PAGEOUT);
			break;
		default:
			write_word(address(page), page);
		}
		for (page = 0; page < PAGES; page++)
			follow_lazy(page);
	}
	munmap((void *)MODEL_VA, PAGES * PAGE_SIZE);
	end();
}

/* ------------------------------------------------------------------ soft-dirty */

#define PM_SOFT_DIRTY BIT(55)

static bool clear_refs(void)
{
	int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
	bool ok = fd >= 0 && write(fd, "4", 1) == 1;

	if (fd >= 0)
		close(fd);
	return ok;
}

static bool real_soft_dirty(hva_t hva)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	u64 entry = 0;

	if (fd < 0 || pread(fd, &entry, sizeof(entry), (off_t)(hva / PAGE_SIZE * sizeof(entry))) != sizeof(entry))
		fail("pagemap", 0, 0, errno);
	close(fd);
	return entry & PM_SOFT_DIRTY;
}

/* Does this kernel count? A page that was written just now says so. */
static bool counts_soft_dirty(void)
{
	u64 value = 1;

	return clear_refs() && !real_access_at(address(0), true, &value) && real_soft_dirty(address(0));
}

static bool soft_dirty_sequence(void)
{
	bool there;

	begin();
	map_small();
	there = counts_soft_dirty();
	model_write(model, address(0), 1);
	for (step = 0; there && step < STEPS; step++) {
		u64 page = below(PAGES);

		if (below(4)) {
			write_word(address(page), page);
		} else {
			clear_refs();
			model_clear_soft_dirty(model);
		}
		for (page = 0; page < PAGES; page++) {
			if (model_soft_dirty(model, address(page)) != real_soft_dirty(address(page)))
				fail("soft-dirty", page, model_soft_dirty(model, address(page)),
				     real_soft_dirty(address(page)));
			compare_word(address(page), page);
		}
	}
	munmap((void *)MODEL_VA, PAGES * PAGE_SIZE);
	end();
	return there;
}

/* ------------------------------------------------------------------ write protection */

static int uffd;

static bool open_uffd(void)
{
	struct uffdio_api api = {.api = UFFD_API, .features = UFFD_FEATURE_PAGEFAULT_FLAG_WP};
	struct uffdio_register reg = {.range = {MODEL_VA, PAGES * PAGE_SIZE}, .mode = UFFDIO_REGISTER_MODE_WP};

	uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
	if (uffd < 0)
		return false;
	if (!ioctl(uffd, UFFDIO_API, &api) && !ioctl(uffd, UFFDIO_REGISTER, &reg))
		return true;
	close(uffd);
	return false;
}

static void guard(u64 page, bool on)
{
	struct uffdio_writeprotect wp = {.range = {address(page), PAGE_SIZE},
					 .mode = on ? UFFDIO_WRITEPROTECT_MODE_WP : 0};

	if (ioctl(uffd, UFFDIO_WRITEPROTECT, &wp))
		fail("write protection", page, 0, errno);
	model_guard(model, address(page), on);
}

struct write {
	u64 page, value;
	int done; /* a pipe's end */
};

static void *write_there(void *arg)
{
	struct write *w = arg;

	*(volatile u64 *)address(w->page) = w->value;
	return write(w->done, "", 1) == 1 ? NULL : arg;
}

/* By a thread: it has written, or somebody is asked, whichever comes. True: it waits. */
static bool starts_to_wait(struct write *w, pthread_t *thread)
{
	int done[2];
	struct pollfd p[2];
	bool waits;

	if (pipe(done))
		fail("a pipe", 0, 0, errno);
	w->done = done[1];
	if (pthread_create(thread, NULL, write_there, w))
		fail("a thread", 0, 0, errno);
	p[0] = (struct pollfd){.fd = uffd, .events = POLLIN};
	p[1] = (struct pollfd){.fd = done[0], .events = POLLIN};
	while (poll(p, 2, -1) < 0)
		;
	waits = p[0].revents & POLLIN;
	close(done[0]);
	return waits;
}

static void write_guarded(u64 page)
{
	struct write w = {page, below(1000000) + 1, -1};
	bool guarded = model_guarded(model, address(page));
	struct uffd_msg msg;
	pthread_t thread;

	if (starts_to_wait(&w, &thread) != guarded)
		fail("a write that waits", page, guarded, !guarded);
	if (guarded) {
		compare_word(address(page), page); /* it has not been made */
		if (read(uffd, &msg, sizeof(msg)) != sizeof(msg))
			fail("an event", page, 0, errno);
		guard(page, false);
	}
	pthread_join(thread, NULL);
	close(w.done);
	model_write(model, address(page), w.value);
}

static bool guard_sequence(void)
{
	bool there;

	begin();
	signal(SIGPIPE, SIG_IGN); /* who reads may have heard enough */
	map_small();
	there = open_uffd();
	for (step = 0; there && step < STEPS; step++) {
		u64 page = below(PAGES);

		switch (below(4)) {
		case 0:
			guard(page, below(2));
			break;
		case 1:
			madvise((void *)address(page), PAGE_SIZE, MADV_DONTNEED);
			model_dontneed(model, address(page));
			break;
		default:
			write_guarded(page);
		}
		for (page = 0; page < PAGES; page++)
			compare_word(address(page), page);
	}
	if (there)
		close(uffd);
	munmap((void *)MODEL_VA, PAGES * PAGE_SIZE);
	end();
	return there;
}

/* ------------------------------------------------------------------ another process */

static struct model_file *shared_file;
static int shared_fd;

#define THEIRS 0x40000000ULL

struct question {
	u64 index, value;
	int write;
};

struct answer {
	u64 value;
	int result;
};

static void answer_all(int in, int out, int fd)
{
	struct question q;
	struct answer a;

	if (mmap((void *)THEIRS, MODEL_FILE_PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) ==
	    MAP_FAILED)
		_exit(1);
	while (read(in, &q, sizeof(q)) == sizeof(q)) {
		a.value = q.write ? q.value : 0;
		a.result = real_access_at(THEIRS + q.index * PAGE_SIZE, q.write, &a.value);
		if (write(out, &a, sizeof(a)) != sizeof(a))
			_exit(1);
	}
	_exit(0);
}

static void ask_other(int to, int from)
{
	struct question q = {below(MODEL_FILE_PAGES), below(1000000) + 1, (int)below(2)};
	struct answer a;
	u64 value = 0;
	int r;

	if (write(to, &q, sizeof(q)) != sizeof(q) || read(from, &a, sizeof(a)) != sizeof(a))
		fail("another process", q.index, 0, errno);
	r = q.write ? model_other_write(model, shared_file, q.index, q.value)
		    : model_other_read(model, shared_file, q.index, &value);
	if (r != a.result)
		fail("another process's access", q.index, r, a.result);
	if (!r && !q.write && value != a.value)
		fail("another process's word", q.index, (s64)value, (s64)a.value);
}

static void change_file(void)
{
	u64 n = below(MODEL_FILE_PAGES + 1);

	if (below(2)) {
		n = MIN(n, MODEL_FILE_PAGES - 1ULL);
		if (fallocate(shared_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)(n * PAGE_SIZE), PAGE_SIZE))
			fail("punch", n, 0, errno);
		model_punch(model, shared_file, n);
		return;
	}
	if (ftruncate(shared_fd, (off_t)(n * PAGE_SIZE)))
		fail("ftruncate", n, 0, errno);
	if (n < model_file_pages(shared_file))
		model_truncate(model, shared_file, n);
	else
		model_extend(model, shared_file, n);
}

static void other_sequence(void)
{
	int to[2], from[2];
	pid_t pid;

	begin();
	shared_file = model_file_create(model, MODEL_FILE_CACHED, MODEL_FILE_PAGES);
	shared_fd = memfd_create("conformance", MFD_CLOEXEC);
	if (shared_fd < 0 || ftruncate(shared_fd, MODEL_FILE_PAGES * PAGE_SIZE) || pipe(to) || pipe(from) || (pid = fork()) < 0)
		fail("another process", 0, 0, errno);
	if (!pid) {
		close(to[1]);
		answer_all(to[0], from[1], shared_fd);
	}
	if (mmap((void *)MODEL_VA, MODEL_FILE_PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, shared_fd,
		 0) == MAP_FAILED)
		fail("mmap", 0, 0, errno);
	model_mmap(model, MODEL_VA, MODEL_FILE_PAGES, true, shared_file, 0);
	for (step = 0; step < STEPS; step++) {
		u64 page = below(MODEL_FILE_PAGES);

		if (below(3))
			ask_other(to[1], from[0]);
		else if (below(2))
			write_word(address(page), page);
		else
			change_file();
		for (page = 0; page < MODEL_FILE_PAGES; page++)
			compare_word(address(page), page);
	}
	munmap((void *)MODEL_VA, MODEL_FILE_PAGES * PAGE_SIZE);
	for (int i = 0; i < 2; i++) {
		close(to[i]);
		close(from[i]);
	}
	close(shared_fd);
	waitpid(pid, NULL, 0);
	end();
}

int main(int argc, char **argv)
{
	u64 first = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
	u64 n = argc > 2 ? strtoull(argv[2], NULL, 0) : 60;
	u64 soft_dirty = 0, guarded = 0;

	for (seed = first; seed < first + n; seed++) {
		lazy_sequence();
		other_sequence();
		soft_dirty += soft_dirty_sequence();
		guarded += guard_sequence();
	}
	printf("%llu sequences of %d steps from seed %llu: MADV_FREE, two processes: model and Linux agree\n",
	       (unsigned long long)n, STEPS, (unsigned long long)first);
	printf("soft-dirty: %llu of them%s; userfaultfd: %llu%s\n", (unsigned long long)soft_dirty,
	       soft_dirty ? "" : " (this kernel does not count)", (unsigned long long)guarded,
	       guarded ? "" : " (not allowed here)");
	return 0;
}
