/* SPDX-License-Identifier: MIT */
/*
 * abi/refuse.c: calls on our descriptors that are no ioctl: what a real KVM descriptor refuses
 * is refused with its errno, though a memfd would take it.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "abi/internal.h"
#include "sync/atomic.h"
#include "abi/stats.h"

/* misc major, KVM's minor. */
#define KVM_RDEV makedev(10, 232)

/* The node that the machine has, or one in /dev that it has not. */
/* Of the device, as chmod() and chown() have left it. Atomic. */
static u32 device_mode = 0666, device_user, device_group;
static bool device_owned; /* by somebody else than the machine says */

void abi_change_device(const u32 *mode, const u32 *user, const u32 *group)
{
	struct stat st;

	abi_stat_device(&st);
	if (mode)
		sync_store(&device_mode, *mode);
	if (user || group) {
		sync_store(&device_user, user ? *user : st.st_uid);
		sync_store(&device_group, group ? *group : st.st_gid);
		sync_store(&device_owned, true);
	}
}

void abi_stat_device(struct stat *st)
{
	const u64 no_node = 0x6b766d; /* an inode number that devtmpfs does not come to */
	struct stat dev = {0};

	if (syscall(SYS_newfstatat, AT_FDCWD, "/dev/kvm", st, 0) || st->st_rdev != KVM_RDEV) {
		syscall(SYS_newfstatat, AT_FDCWD, "/dev", &dev, 0);
		memset(st, 0, sizeof(*st));
		st->st_dev = dev.st_dev;
		st->st_ino = no_node;
		st->st_nlink = 1;
		st->st_rdev = KVM_RDEV;
		st->st_blksize = PAGE_SIZE;
		st->st_atim = st->st_mtim = st->st_ctim = dev.st_ctim;
	}
	st->st_mode = S_IFCHR | sync_load(&device_mode);
	if (sync_load(&device_owned)) {
		st->st_uid = sync_load(&device_user);
		st->st_gid = sync_load(&device_group);
	}
}

bool abi_fstat(int fd, struct stat *st)
{
	struct abi_file *f = file_get(fd);

	if (!f)
		return false;
	if (f->kind == FILE_SYSTEM) {
		abi_stat_device(st);
	} else if (f->kind == FILE_GMEM) {
		gmem_fstat(f, st);
	} else {
		/* An anonymous inode: no type, no size. */
		st->st_mode = 0600;
		st->st_size = 0;
		st->st_blocks = 0;
		st->st_nlink = 1;
		st->st_blksize = PAGE_SIZE;
	}
	file_put(f);
	return true;
}

/* A dirty ring is shared with the vCPU or not mapped at all. */
static bool private_ring(const struct abi_file *f, size_t len, int flags, off_t off)
{
	off_t ring_at = UAPI_RING_PAGE * PAGE_SIZE;

	return f->kind == FILE_VCPU && f->avm->vm->dirty_ring_size &&
	       (flags & MAP_TYPE) == MAP_PRIVATE && off + (off_t)len > ring_at &&
	       off < ring_at + (off_t)f->avm->vm->dirty_ring_size;
}

/* What mmap says to a memfd as to any descriptor of ours, before it looks at which it is. */
static bool kernel_refuses(size_t len, int flags, off_t off)
{
	return !len || ((u64)off & ~PAGE_MASK) || (flags & MAP_HUGETLB) ||
	       ((flags & MAP_TYPE) == MAP_SHARED_VALIDATE && (flags & MAP_SYNC));
}

int abi_mmap_check(int fd, size_t len, int prot, int flags, off_t off)
{
	struct abi_file *f = file_get(fd);
	int r = 0;

	if (!f)
		return 0;
	if (f->opened & O_PATH) {
		file_put(f);
		return -EBADF;
	}
	if (kernel_refuses(len, flags, off)) {
		file_put(f);
		return 0;
	}
	/* Anonymous inodes are not to be executed; the device's are refused as such. */
	if ((prot & PROT_EXEC) && f->kind != FILE_SYSTEM)
		r = -EPERM;
	else if (f->kind == FILE_GMEM)
		r = gmem_mmap_check(f, flags);
	else if (f->kind != FILE_VCPU && !f->mappable)
		r = -ENODEV;
	else if (private_ring(f, len, flags, off))
		r = -EINVAL;
	file_put(f);
	return r;
}

void abi_mapped(int fd, void *addr, size_t len, int prot, off_t off)
{
	off_t ring_at = UAPI_COALESCED_PAGE * PAGE_SIZE;
	struct abi_file *f = file_get(fd);
	const struct abi_vcpu *av;
	void *to;
	u8 *ring;

	if (!f)
		return;
	if (f->kind == FILE_GMEM)
		gmem_mapped(f, addr, len, prot, off);
	if (f->kind != FILE_VCPU || off > ring_at || off + (off_t)len <= ring_at)
		goto out;
	av = f->vcpu->abi;
	ring = f->vcpu->coalesced_ring;
	if (ring == (u8 *)av->run + ring_at)
		goto out;
	/* Old size 0 makes a second mapping of a shared one's pages. */
	to = (u8 *)addr + (ring_at - off);
	if ((void *)syscall(SYS_mremap, ring, 0L, PAGE_SIZE, MREMAP_MAYMOVE | MREMAP_FIXED,
			    to) == to)
		syscall(SYS_mprotect, to, PAGE_SIZE, prot);
out:
	file_put(f);
}

/* As seen on /dev/kvm, VM and vCPU descriptors; readv, pread64 and such by prefix. */
static const char *const refused[] = {"read",	   "pread", "write",	"pwrite",
				      "ftruncate", "fsync", "fdatasync"};

/* The device's mode and owner are nobody's concern; an anonymous inode's cannot be set. */
static bool is_setattr(const char *call)
{
	return !strcmp(call, "fchmod") || !strcmp(call, "fchown");
}

#define TO_KERNEL 1

/* The call's result, or TO_KERNEL. */
static long answer(struct abi_file *f, int fd, const char *call)
{
	if (f->opened & O_PATH)
		return -EBADF;
	if (f->kind == FILE_VM_STATS || f->kind == FILE_VCPU_STATS) {
		if (begins(call, "read") || begins(call, "pread")) {
			stats_refresh(f);
			return TO_KERNEL;
		}
		if (begins(call, "write") || begins(call, "pwrite"))
			return -EBADF; /* opened for reading only */
		if (!strcmp(call, "lseek"))
			return syscall(SYS_lseek, fd, 0L, SEEK_CUR); /* moves by reading only */
	} else if (!strcmp(call, "lseek")) {
		/* there is no position to move */
		return f->kind == FILE_GMEM ? -ESPIPE : 0;
	}
	if (f->kind != FILE_SYSTEM && is_setattr(call))
		return f->kind == FILE_GMEM ? -EINVAL : -EOPNOTSUPP;
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		/* Anonymous inodes have no position to read or write at. */
		if (begins(call, refused[i]))
			return call[0] == 'p' && f->kind != FILE_SYSTEM ? -ESPIPE : -EINVAL;
	}
	return TO_KERNEL;
}

bool abi_refuses(int fd, const char *call, long *ret)
{
	struct abi_file *f = file_get(fd);
	long r;

	if (!f)
		return false;
	r = answer(f, fd, call);
	file_put(f);
	if (r == TO_KERNEL)
		return false;
	*ret = r;
	return true;
}

bool abi_fallocate(int fd, int mode, off_t off, off_t len, long *ret)
{
	struct abi_file *f = file_get(fd);

	if (!f)
		return false;
	*ret = f->opened & O_PATH ? -EBADF
	       : f->kind == FILE_GMEM ? gmem_fallocate(f, mode, off, len)
	       : f->kind == FILE_FOREIGN ? -EIO /* another process's */
					 : -ENODEV;
	file_put(f);
	return true;
}
