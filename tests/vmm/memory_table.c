/* SPDX-License-Identifier: MIT */
#include "memory_table.h"
#include "uring.h"
#include "ways.h"
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/io_uring.h>
#include <linux/userfaultfd.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define LARGE	     (2ul << 20)
#define OP_FTRUNCATE 55 /* Linux 6.9 */

#define DONTNEED_LOCKED 24
#define COLLAPSE	25
#define GUARD_INSTALL	102
#define GUARD_REMOVE	103
#ifndef UFFDIO_MOVE
struct move {
	uint64_t dst, src, len, mode;
	int64_t moved;
};
#define UFFDIO_MOVE _IOWR(UFFDIO, 0x05, struct move)
#else
#define move uffdio_move
#endif

struct memory m;
uint8_t *moved;
int other, self;
uint8_t new_page[PROBE_PAGE] __attribute__((aligned(4096)));
static struct iovec new_iov = {new_page, PROBE_PAGE};

/* ------------------------------------------------------------------ mappings */

static long munmap_all(void)
{
	return call(SYS_munmap, m.mem, m.size);
}

static long munmap_page(void)
{
	return call(SYS_munmap, page(1), PROBE_PAGE);
}

static long fixed(uint8_t *at, size_t size, int prot, int flags, int fd, off_t off)
{
	return call(SYS_mmap, at, size, prot, flags | MAP_FIXED, fd, off) == (long)at ? 0 : -1;
}

static long mmap_over(void)
{
	return fixed(m.mem, m.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static long mmap_other_page(void)
{
	return fixed(page(0), PROBE_PAGE, m.prot, MAP_SHARED, m.map_fd, 2 * PROBE_PAGE);
}

static long mmap_for_reading(void)
{
	return fixed(m.mem, m.size, PROT_READ, MAP_SHARED, m.map_fd, 0);
}

static long mmap_other_file(void)
{
	return fixed(page(1), PROBE_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, other, 0);
}

static long move_to(uint8_t *from, size_t old, size_t new_, int flags)
{
	/* As large pages want it. */
	uint8_t *room = mmap(NULL, m.size + LARGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	moved = (uint8_t *)(((uintptr_t)room + LARGE - 1) & ~(LARGE - 1));
	return call(SYS_mremap, from, old, new_, MREMAP_MAYMOVE | MREMAP_FIXED | flags, moved) ==
			       (long)moved
		       ? 0
		       : -1;
}

static long mremap_away(void)
{
	return move_to(m.mem, m.size, m.size, 0);
}

static long mremap_page_away(void)
{
	return move_to(page(1), PROBE_PAGE, PROBE_PAGE, 0);
}

static long mremap_dontunmap(void)
{
	return move_to(m.mem, m.size, m.size, MREMAP_DONTUNMAP);
}

static long mremap_duplicate(void)
{
	return move_to(m.mem, 0, m.size, 0);
}

static long mremap_shrink(void)
{
	return call(SYS_mremap, m.mem, m.size, m.size / 2, 0) == (long)m.mem ? 0 : -1;
}

static long mremap_over(void)
{
	void *from = mmap(NULL, PROBE_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, other, 0);

	return call(SYS_mremap, from, PROBE_PAGE, PROBE_PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
		    page(1)) == (long)page(1)
		       ? 0
		       : -1;
}

/* Several mappings at once, which Linux moves since 6.17. */
static long mremap_several(void)
{
	if (mprotect(page(1), PROBE_PAGE, PROT_READ))
		return -1;
	return mremap_away();
}

static long mprotect_none(void)
{
	return call(SYS_mprotect, m.mem, m.size, PROT_NONE);
}

static long mprotect_read(void)
{
	return call(SYS_mprotect, page(1), PROBE_PAGE, PROT_READ);
}

static long mprotect_back(void)
{
	long r = call(SYS_mprotect, m.mem, m.size, PROT_NONE);

	return r ? r : call(SYS_mprotect, m.mem, m.size, m.prot);
}

static long pkey_none(void)
{
	return call(SYS_pkey_mprotect, m.mem, m.size, PROT_NONE, -1);
}

static long remap_pages(void)
{
	return call(SYS_remap_file_pages, page(0), PROBE_PAGE, 0, 3, 0);
}

static long shmat_over(void)
{
	int id = shmget(IPC_PRIVATE, PROBE_PAGE, 0600);
	long r = call(SYS_shmat, id, page(1), SHM_REMAP);

	shmctl(id, IPC_RMID, NULL);
	return r == (long)page(1) ? 0 : -1;
}

static long shmdt_all(void)
{
	return call(SYS_shmdt, m.mem);
}

static long brk_lower(void)
{
	long r = call(SYS_brk, page(2));

	return way == BY_LIBC || r == (long)page(2) ? 0 : -1;
}

/* ------------------------------------------------------------------ advice */

static long advise(int advice)
{
	return call(SYS_madvise, page(1), m.backing->is & BACKING_HUGE ? m.size : PROBE_PAGE,
		    advice);
}

#define ADVICE(name, advice)                                                                   \
	static long name(void)                                                                 \
	{                                                                                      \
		return advise(advice);                                                         \
	}
ADVICE(dontneed, MADV_DONTNEED)
ADVICE(dontneed_locked, DONTNEED_LOCKED)
ADVICE(madv_free, MADV_FREE)
ADVICE(madv_remove, MADV_REMOVE)
ADVICE(collapse, COLLAPSE)
ADVICE(pageout, MADV_PAGEOUT)
ADVICE(cold, MADV_COLD)
ADVICE(hugepage, MADV_HUGEPAGE)
ADVICE(dontfork, MADV_DONTFORK)
ADVICE(mergeable, MADV_MERGEABLE)
ADVICE(populate, MADV_POPULATE_WRITE)
ADVICE(guard_install, GUARD_INSTALL)

static long guard_remove(void)
{
	return call(SYS_madvise, page(BACKING_PAGES - 1), PROBE_PAGE, GUARD_REMOVE);
}

static long process_advice(void)
{
	struct iovec v = {page(1), PROBE_PAGE};

	return call(SYS_process_madvise, self, &v, 1, MADV_DONTNEED, 0) == (long)PROBE_PAGE ? 0 : -1;
}

/* ------------------------------------------------------------------ size and content of files */

static const char *path(void)
{
	static char p[32];

	snprintf(p, sizeof(p), "/proc/self/fd/%d", m.fd);
	return p;
}

static long truncate_half(void)
{
	return call(SYS_ftruncate, m.fd, m.size / 2);
}

static long truncate_path(void)
{
	return call(SYS_truncate, path(), PROBE_PAGE);
}

static long truncate_and_extend(void)
{
	long r = call(SYS_ftruncate, m.fd, 0);

	return r ? r : call(SYS_ftruncate, m.fd, m.size);
}

static long open_trunc(void)
{
	return call(SYS_open, path(), O_RDWR | O_TRUNC, 0) < 0 ? -1 : 0;
}

static long creat_again(void)
{
	return call(SYS_creat, path(), 0600) < 0 ? -1 : 0;
}

static long allocate(int mode)
{
	size_t unit = m.backing->is & BACKING_HUGE ? LARGE : PROBE_PAGE;

	return call(SYS_fallocate, m.fd, mode, unit == LARGE ? 0 : unit, unit);
}

static long punch(void)
{
	return allocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
}

static long zero_range(void)
{
	return allocate(FALLOC_FL_ZERO_RANGE);
}

static long collapse_range(void)
{
	return allocate(FALLOC_FL_COLLAPSE_RANGE);
}

static long insert_range(void)
{
	return allocate(FALLOC_FL_INSERT_RANGE);
}

static long preallocate(void)
{
	return allocate(0);
}

/* The new page goes where page 1 of the file is. */
static long wrote(long r)
{
	return r == (long)PROBE_PAGE ? 0 : -1;
}

static long at_page_1(void)
{
	return lseek(m.fd, PROBE_PAGE, SEEK_SET) < 0 || lseek(other, 0, SEEK_SET) < 0 ? -1 : 0;
}

static long pwrite_page(void)
{
	return wrote(call(SYS_pwrite64, m.fd, new_page, PROBE_PAGE, PROBE_PAGE));
}

static long write_page(void)
{
	return at_page_1() ? -1 : wrote(call(SYS_write, m.fd, new_page, PROBE_PAGE));
}

static long writev_page(void)
{
	return at_page_1() ? -1 : wrote(call(SYS_writev, m.fd, &new_iov, 1));
}

static long pwritev_page(void)
{
	return wrote(call(SYS_pwritev, m.fd, &new_iov, 1, PROBE_PAGE, 0));
}

static long sendfile_page(void)
{
	return at_page_1() ? -1 : wrote(call(SYS_sendfile, m.fd, other, 0, PROBE_PAGE));
}

static long splice_page(void)
{
	off_t off = PROBE_PAGE;
	int p[2];
	long r;

	if (pipe(p))
		return -1;
	r = write(p[1], new_page, PROBE_PAGE) == (long)PROBE_PAGE
		    ? wrote(call(SYS_splice, p[0], 0, m.fd, &off, PROBE_PAGE, 0))
		    : -1;
	close(p[0]);
	close(p[1]);
	return r;
}

static long copy_range(void)
{
	off_t from = 0, to = PROBE_PAGE;

	return wrote(call(SYS_copy_file_range, other, &from, m.fd, &to, PROBE_PAGE, 0));
}

/* From the file of another mapping, which a file system that can has share its blocks. */
static long clone_file(void)
{
	int fd = open("/var/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	long r = -1;

	for (unsigned i = 0; fd >= 0 && i < BACKING_PAGES; i++)
		r = pwrite(fd, new_page, PROBE_PAGE, (off_t)(i * PROBE_PAGE));
	if (r > 0)
		r = call(SYS_ioctl, m.fd, FICLONE, fd);
	close(fd);
	return r;
}

/* Not the file: the memory. */
static long pread_into(void)
{
	return wrote(call(SYS_pread64, other, page(1), PROBE_PAGE, 0));
}

static long vm_write(void)
{
	struct iovec to = {page(1), PROBE_PAGE};

	return wrote(call(SYS_process_vm_writev, getpid(), &new_iov, 1, &to, 1, 0));
}

/* ------------------------------------------------------------------ userfaultfd */

static int uffd(uint64_t features)
{
	struct uffdio_api api = {.api = UFFD_API, .features = features};
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd >= 0 && ioctl(fd, UFFDIO_API, &api)) {
		close(fd);
		return -1;
	}
	return fd;
}

/* Page 1 is missing, registered; fill() puts one there. */
static long fill_missing(uint64_t mode, uint64_t features, long (*fill)(int fd))
{
	struct uffdio_register r = {.range = {(uintptr_t)m.mem, m.size}, .mode = mode};
	int fd = uffd(features);
	long err = -1;

	if (fd < 0)
		return -1;
	if (!call(SYS_ioctl, fd, UFFDIO_REGISTER, &r)) {
		err = call(SYS_madvise, page(1), PROBE_PAGE,
			   mode == UFFDIO_REGISTER_MODE_MINOR || m.backing->is & BACKING_PRIVATE
				   ? MADV_DONTNEED
				   : MADV_REMOVE);
		err = err ? err : fill(fd);
		call(SYS_ioctl, fd, UFFDIO_UNREGISTER, &r.range);
	}
	close(fd);
	return err;
}

static long do_copy(int fd)
{
	struct uffdio_copy c = {(uintptr_t)page(1), (uintptr_t)new_page, PROBE_PAGE};

	return call(SYS_ioctl, fd, UFFDIO_COPY, &c);
}

static long do_zero(int fd)
{
	struct uffdio_zeropage z = {{(uintptr_t)page(1), PROBE_PAGE}};

	return call(SYS_ioctl, fd, UFFDIO_ZEROPAGE, &z);
}

static long do_move(int fd)
{
	uint8_t *from = mmap(NULL, PROBE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct move mv = {(uintptr_t)page(1), (uintptr_t)from, PROBE_PAGE, 0, 0};
	long r;

	memcpy(from, new_page, PROBE_PAGE);
	r = call(SYS_ioctl, fd, UFFDIO_MOVE, &mv);
	munmap(from, PROBE_PAGE);
	return r;
}

static long do_continue(int fd)
{
	struct uffdio_continue c = {{(uintptr_t)page(1), PROBE_PAGE}};

	return call(SYS_ioctl, fd, UFFDIO_CONTINUE, &c);
}

static long uffd_copy(void)
{
	return fill_missing(UFFDIO_REGISTER_MODE_MISSING, 0, do_copy);
}

static long uffd_zero(void)
{
	return fill_missing(UFFDIO_REGISTER_MODE_MISSING, 0, do_zero);
}

static long uffd_move(void)
{
	return fill_missing(UFFDIO_REGISTER_MODE_MISSING, 0, do_move);
}

static long uffd_continue(void)
{
	return fill_missing(UFFDIO_REGISTER_MODE_MINOR, UFFD_FEATURE_MINOR_SHMEM, do_continue);
}

/* ------------------------------------------------------------------ io_uring */

static long ring(unsigned op, int fd, const void *addr, uint64_t off, uint64_t len, unsigned advice)
{
	struct uring_op o = {op, fd, addr, off, len, advice};

	return uring_do(&o);
}

static long ring_write(void)
{
	return wrote(ring(IORING_OP_WRITE, m.fd, new_page, PROBE_PAGE, PROBE_PAGE, 0));
}

static long ring_read(void)
{
	return wrote(ring(IORING_OP_READ, other, page(1), 0, PROBE_PAGE, 0));
}

static long ring_punch(void)
{
	/* The mode is where others have a length. */
	return ring(IORING_OP_FALLOCATE, m.fd, (void *)PROBE_PAGE, PROBE_PAGE,
		    FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0);
}

static long ring_ftruncate(void)
{
	return ring(OP_FTRUNCATE, m.fd, NULL, m.size / 2, 0, 0);
}

static long ring_madvise(void)
{
	return ring(IORING_OP_MADVISE, -1, page(1), 0, PROBE_PAGE, MADV_DONTNEED);
}

static long ring_remove(void)
{
	return ring(IORING_OP_MADVISE, -1, page(1), 0, PROBE_PAGE, MADV_REMOVE);
}

/* ------------------------------------------------------------------ the table */

const struct row rows[] = {
	{"munmap", munmap_all},
	{"munmap of a page", munmap_page},
	{"mmap over", mmap_over},
	{"mmap of another page over", mmap_other_page, BACKING_FD, BACKING_SECRET},
	{"mmap for reading over", mmap_for_reading, BACKING_FD},
	{"mmap of another file over", mmap_other_file},
	{"mremap away", mremap_away},
	{"mremap of a page away", mremap_page_away},
	{"mremap MREMAP_DONTUNMAP", mremap_dontunmap},
	{"mremap of size 0", mremap_duplicate, BACKING_SHARED},
	{"mremap smaller", mremap_shrink},
	{"mremap over", mremap_over},
	{"mremap of several", mremap_several},
	{"mprotect, nothing", mprotect_none, 0, 0, ROW_LATE},
	{"mprotect, reading", mprotect_read, 0, 0, ROW_LATE},
	{"mprotect and back", mprotect_back},
	{"pkey_mprotect", pkey_none, 0, 0, ROW_LATE},
	{"remap_file_pages", remap_pages, BACKING_SHARED, 0, ROW_LATE},
	{"shmat over", shmat_over, 0, BACKING_HUGE, ROW_LATE},
	{"shmdt", shmdt_all, BACKING_SEGMENT},
	{"brk", brk_lower, BACKING_HEAP},
	{"MADV_DONTNEED", dontneed},
	{"MADV_DONTNEED_LOCKED", dontneed_locked},
	{"MADV_FREE", madv_free, BACKING_PRIVATE},
	{"MADV_REMOVE", madv_remove},
	{"MADV_COLLAPSE", collapse},
	{"MADV_PAGEOUT", pageout},
	{"MADV_COLD", cold},
	{"MADV_HUGEPAGE", hugepage},
	{"MADV_DONTFORK", dontfork},
	{"MADV_MERGEABLE", mergeable},
	{"MADV_POPULATE_WRITE", populate},
	{"MADV_GUARD_INSTALL", guard_install, 0, 0, ROW_NEVER},
	{"MADV_GUARD_REMOVE", guard_remove, BACKING_GUARDED, 0, ROW_NEVER},
	{"process_madvise", process_advice},
	{"ftruncate", truncate_half, BACKING_FD},
	{"truncate", truncate_path, BACKING_FD},
	{"ftruncate and back", truncate_and_extend, BACKING_FD},
	{"open O_TRUNC", open_trunc, BACKING_FD},
	{"creat", creat_again, BACKING_FD},
	{"FALLOC_FL_PUNCH_HOLE", punch, BACKING_FD},
	{"FALLOC_FL_ZERO_RANGE", zero_range, BACKING_FD},
	{"FALLOC_FL_COLLAPSE_RANGE", collapse_range, BACKING_FD},
	{"FALLOC_FL_INSERT_RANGE", insert_range, BACKING_FD},
	{"fallocate", preallocate, BACKING_FD},
	{"pwrite", pwrite_page, BACKING_FD},
	{"write", write_page, BACKING_FD},
	{"writev", writev_page, BACKING_FD},
	{"pwritev", pwritev_page, BACKING_FD},
	{"sendfile", sendfile_page, BACKING_FD},
	{"splice", splice_page, BACKING_FD},
	{"copy_file_range", copy_range, BACKING_FD},
	{"FICLONE", clone_file, BACKING_FD},
	{"pread into it", pread_into},
	{"process_vm_writev", vm_write},
	{"UFFDIO_COPY", uffd_copy},
	{"UFFDIO_ZEROPAGE", uffd_zero},
	{"UFFDIO_MOVE", uffd_move},
	{"UFFDIO_CONTINUE", uffd_continue, BACKING_SHARED},
	{"IORING_OP_WRITE", ring_write, BACKING_FD},
	{"IORING_OP_READ", ring_read},
	{"IORING_OP_FALLOCATE", ring_punch, BACKING_FD},
	{"IORING_OP_FTRUNCATE", ring_ftruncate, BACKING_FD},
	{"IORING_OP_MADVISE", ring_madvise},
	{"IORING_OP_MADVISE, MADV_REMOVE", ring_remove, BACKING_SHARED},
};
const unsigned nr_rows = sizeof(rows) / sizeof(rows[0]);
