/* SPDX-License-Identifier: MIT */
/*
 * abi/abi.h: the KVM ABI as the preload hands it calls on descriptors.
 *
 * A userkvm descriptor is a real one: a sealed memfd, told by its inode and never by its number.
 * /dev/kvm itself, VM, vCPU, device, stats and guest_memfd descriptors are such. Calls return what
 * the system call would: >= 0, or -errno.
 *
 * Any thread. ioctls may sleep; the others only for the descriptor table's lock.
 */
#ifndef ABI_ABI_H
#define ABI_ABI_H

#include <stdbool.h>
#include <sys/stat.h>
#include <sys/types.h>
#include "base/types.h"

/* open("/dev/kvm", flags): a new descriptor or -errno. */
int abi_open(int flags);
/*
 * fd was opened by a path, which may have been the name in /proc of one of ours. The descriptor that
 * open() is to return, fd being closed when it is another; or -errno, and fd is closed.
 */
int abi_open_again(int fd, int flags);
/* fcntl() of a descriptor of ours. True: *ret is its result. False: pass it to the kernel. */
bool abi_fcntl(int fd, int cmd, long arg, long *ret);
/*
 * What a link in /proc that says `text` (len bytes) would say beside a kernel's KVM. How much was
 * written to out; 0: the text is not of one of ours.
 */
size_t abi_link_text(const char *text, size_t len, char *out, size_t size);
/* What stat() of the device and fstat() of a descriptor of ours show. */
void abi_stat_device(struct stat *st);
/* What this process has made of the device's mode and owner. NULL: as it is. */
void abi_change_device(const u32 *mode, const u32 *user, const u32 *group);
bool abi_fstat(int fd, struct stat *st); /* true: ours, st corrected */

/* Is fd one of ours? Costs one fstat. */
bool abi_owns(int fd);

/* True: fd is ours and *ret is the call's result. False: pass it to the kernel. */
bool abi_ioctl(int fd, unsigned long request, void *arg, long *ret);
/* Is the result of this call a new descriptor? */
bool abi_makes_descriptor(unsigned long request);
/* mmap of a descriptor of ours: 0: let the kernel do it; -errno: refused. */
int abi_mmap_check(int fd, size_t len, int prot, int flags, off_t off);
/*
 * The kernel did such a mmap at addr: puts the VM's one coalesced ring (KVM_CAP_COALESCED_MMIO)
 * where this vCPU's own page of it would be.
 */
void abi_mapped(int fd, void *addr, size_t len, int prot, off_t off);
/* read, write, pread, ftruncate ... that a KVM descriptor refuses. True: ours, *ret is -errno. */
bool abi_refuses(int fd, const char *call, long *ret);
/* fallocate() reaches guest_memfd. True: ours, *ret is the result. */
bool abi_fallocate(int fd, int mode, off_t off, off_t len, long *ret);

/*
 * Descriptors came or went (close, dup2 over, close_range, exec's close-on-exec seen late):
 * before() may be given a number about to be closed and returns whether it was ours; after() drops
 * objects that no number in this process refers to any more. In a forked or vforked child they do
 * nothing.
 */
bool abi_before_close(int fd);
void abi_after_close(void);
/* A number that may be a new one of an object of ours. */
void abi_appeared(int fd);
/* fd is sent over a socket: it may be in flight with no number here, so its object stays. */
void abi_sent(int fd);
/* The VMM is about to close these numbers, of whatever kind. Not in a vforked child. */
void abi_closing(unsigned first, unsigned last);
/* The VMM has written to this number. False at once unless an eventfd that matters had it. */
bool abi_cares_for_writes(int fd);
void abi_written(void);
/* A descriptor of the VMM's, of whatever kind, may have lost O_NONBLOCK. */
void abi_flags_changed(void);
/* A filter is about to be installed: what VMs need later of threads and descriptors is made now. */
void abi_before_filter(void);
void abi_forked_child(void);

#endif
