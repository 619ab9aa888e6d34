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
/* What stat() of the device and fstat() of a descriptor of ours show. */
void abi_stat_device(struct stat *st);
bool abi_fstat(int fd, struct stat *st); /* true: ours, st corrected */

/* Is fd one of ours? Costs one fstat. */
bool abi_owns(int fd);

/* True: fd is ours and *ret is the call's result. False: pass it to the kernel. */
bool abi_ioctl(int fd, unsigned long request, void *arg, long *ret);
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
void abi_forked_child(void);

#endif
