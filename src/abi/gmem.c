/* SPDX-License-Identifier: MIT */
/*
 * abi/gmem.c: guest_memfd as the VMM sees it: KVM_CREATE_GUEST_MEMFD, our own
 * USERKVM_LINK_GUEST_MEMFD, KVM_SET_MEMORY_ATTRIBUTES, and what a guest_memfd answers to the
 * calls any file has.
 *
 * What the VMM holds is a handle: a memfd of the right size with nothing in it, into which
 * nothing can be written, so that whoever gets hold of it learns nothing. The pages are the
 * store's (primary/linux/store.c). A file that may be mapped and starts shared is the
 * exception: its descriptor is the store's own memfd, so that mappings in any process are
 * KVM's.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "abi/internal.h"
#include "base/held.h"
#include "primary/linux/linux.h"
#include "userkvm.h"

#define HANDLE	      NAME_GMEM		    /* cannot be mapped */
#define HANDLE_EMPTY  NAME_GMEM "-unshared" /* can be, and every access is SIGBUS */
#define HANDLE_LINKED NAME_GMEM "-linked"   /* mappings are made from the store's */

static bool shows_pages(u64 flags)
{
	return (flags & GMEM_MAPPABLE) && (flags & GMEM_INIT_SHARED);
}

/* ---- making them */

/* A handle, or -errno. KVM's guest_memfds are not close-on-exec. */
static int handle_create(struct gmem_file *g)
{
	bool mappable = gmem_flags(g) & GMEM_MAPPABLE;
	const char *name = shows_pages(gmem_flags(g)) ? HANDLE_LINKED
			   : mappable		      ? HANDLE_EMPTY
						      : HANDLE;
	/* No page at all: the way to have every access to a mapping be SIGBUS. */
	u64 size = mappable && !shows_pages(gmem_flags(g)) ? 0 : gmem_size(g);
	int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL | (mappable ? 0 : F_SEAL_WRITE);
	int err, fd = (int)syscall(SYS_memfd_create, name, MFD_ALLOW_SEALING);

	if (fd < 0)
		return -errno;
	if ((!size || held_resize(fd, size)) && !syscall(SYS_fcntl, fd, F_ADD_SEALS, seals))
		return fd;
	err = -errno;
	syscall(SYS_close, fd);
	return err;
}

/* The descriptor of g, which is released when that fails. */
static long publish(struct call *c, struct gmem_file *g)
{
	int fd = primary_linux_store_take_fd(gmem_primary_store(g));
	bool linked = fd < 0 && shows_pages(gmem_flags(g));
	struct abi_file *f;
	int r;

	if (fd >= 0)
		syscall(SYS_fcntl, fd, F_SETFD, 0);
	else
		fd = handle_create(g);
	r = fd < 0 ? fd : file_wrap(FILE_GMEM, fd, &f);
	if (r) {
		gmem_release(g);
		return r;
	}
	f->gmem = g;
	f->linked = linked;
	f->avm = c->avm;
	avm_get(c->avm);
	file_publish(f, fd);
	return fd;
}

long vm_ioctl_create_gmem(struct call *c)
{
	const struct uapi_create_guest_memfd *a = (void *)c->buf;
	struct gmem_file *g;
	int r;

	if (a->flags & ~cap_gmem_flags(c->vm))
		return -EINVAL;
	r = gmem_create(c->vm->mmu, a->size, a->flags, &g);
	return r ? r : publish(c, g);
}

struct abi_file *gmem_file_get(int fd, int *err)
{
	struct abi_file *f = file_get(fd);

	*err = -EINVAL;
	if (f && f->kind == FILE_GMEM && f->pid == file_pid())
		return f;
	if (f) {
		if (f->kind == FILE_FOREIGN || f->pid != file_pid())
			*err = -EIO;
		file_put(f);
	} else if (syscall(SYS_fcntl, fd, F_GETFD) < 0) {
		*err = -EBADF;
	}
	return NULL;
}

long vm_ioctl_link_gmem(struct call *c)
{
	const struct userkvm_link_guest_memfd *a = (void *)c->buf;
	struct gmem_file *g;
	struct abi_file *f;
	int r;

	if (a->flags)
		return -EINVAL;
	for (size_t i = 0; i < ARRAY_SIZE(a->reserved); i++) {
		if (a->reserved[i])
			return -EINVAL;
	}
	f = gmem_file_get(a->guest_memfd, &r);
	if (!f)
		return r;
	r = gmem_flags(f->gmem) & ~cap_gmem_flags(c->vm) ? -EINVAL : 0;
	if (!r)
		r = gmem_link(f->gmem, c->vm->mmu, &g);
	file_put(f);
	return r ? r : publish(c, g);
}

/* ---- attributes */

long vm_ioctl_set_attributes(struct call *c)
{
	const struct uapi_memory_attributes *a = (void *)c->buf;

	if (a->flags || a->attributes & ~(u64)cap_attributes(c->vm))
		return -EINVAL;
	if (!a->size || a->address + a->size < a->address ||
	    ((a->address | a->size) & ~PAGE_MASK))
		return -EINVAL;
	return mmu_set_attributes(c->vm->mmu, a->address >> PAGE_SHIFT, a->size >> PAGE_SHIFT,
				  a->attributes);
}

/* ---- calls on the descriptor */

/* Can the kernel make sense of the mode, whatever the file says to it? */
static bool is_fallocate_mode(int mode)
{
	switch (mode & ~FALLOC_FL_KEEP_SIZE) {
	case 0:
	case FALLOC_FL_UNSHARE_RANGE:
	case FALLOC_FL_ZERO_RANGE:
		return true;
	case FALLOC_FL_PUNCH_HOLE:
		return mode & FALLOC_FL_KEEP_SIZE;
	case FALLOC_FL_COLLAPSE_RANGE:
	case FALLOC_FL_INSERT_RANGE:
		return !(mode & FALLOC_FL_KEEP_SIZE);
	default:
		return false;
	}
}

/* The kernel's own checks, in its order, then guest_memfd's. 0 or -errno. */
static int fallocate_check(int mode, off_t off, off_t len)
{
	const int taken = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE;
	off_t end;

	if (off < 0 || len <= 0)
		return -EINVAL;
	if (!is_fallocate_mode(mode))
		return -EOPNOTSUPP;
	if (__builtin_add_overflow(off, len, &end))
		return -EFBIG;
	if (!(mode & FALLOC_FL_KEEP_SIZE) || (mode & ~taken)) /* it may not grow */
		return -EOPNOTSUPP;
	return ((u64)(off | len) & ~PAGE_MASK) ? -EINVAL : 0;
}

static int punch(struct abi_file *f, u64 off, u64 len)
{
	void *change;
	int r;

	trace_cause = "fallocate";
	/* What maps it as ordinary shared memory is to know as well. */
	change = primary_linux_store_change_begin(gmem_primary_store(f->gmem), off, len, &r);
	if (!r)
		r = gmem_punch(f->gmem, off, len);
	primary_linux_change_end(change);
	trace_cause = TRACE_NO_CALL;
	return r;
}

long gmem_fallocate(struct abi_file *f, int mode, off_t off, off_t len)
{
	int r = fallocate_check(mode, off, len);

	if (r)
		return r;
	if (f->pid != file_pid())
		return -EIO;
	if (mode & FALLOC_FL_PUNCH_HOLE)
		return punch(f, (u64)off, (u64)len);
	return gmem_allocate(f->gmem, (u64)off, (u64)len);
}

void gmem_fstat(const struct abi_file *f, struct stat *st)
{
	st->st_mode = S_IFREG | 0600;
	st->st_nlink = 1;
	st->st_size = (off_t)gmem_size(f->gmem);
	st->st_blocks = 0;
	st->st_blksize = PAGE_SIZE;
}

int gmem_mmap_check(const struct abi_file *f, int flags)
{
	if (!(gmem_flags(f->gmem) & GMEM_MAPPABLE))
		return -ENODEV;
	return (flags & MAP_TYPE) == MAP_PRIVATE ? -EINVAL : 0;
}

void gmem_mapped(const struct abi_file *f, void *addr, size_t len, int prot, off_t off)
{
	/* Of a linked file the kernel has mapped the handle. Out of memory leaves that: zeroes.
	 */
	if (f->linked && f->pid == file_pid())
		primary_linux_store_map(gmem_primary_store(f->gmem), (u64)off, addr, len, prot);
}
