/* SPDX-License-Identifier: MIT */
/*
 * userkvm.h: what userkvm's /dev/kvm has beyond KVM's interface.
 *
 * A program asks KVM_CHECK_EXTENSION for USERKVM_CAP_* before it uses anything from here: a real
 * /dev/kvm, which knows none of these numbers, answers 0.
 */
#ifndef USERKVM_H
#define USERKVM_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define USERKVM_IO 0xBE /* KVM's own calls are 0xAE */

/*
 * USERKVM_LINK_GUEST_MEMFD, on a VM descriptor: a second guest_memfd file on the pages of another.
 *
 * `guest_memfd` is a guest_memfd descriptor of this process, of any VM of it. The result is a new
 * descriptor, not close-on-exec, of a file of the same size and flags that belongs to the VM the call
 * is made on, and whose memory slots can be bound to it. Both files show the same pages. A hole
 * punched through either is gone from the guests of both VMs before fallocate() returns. Pages live
 * as long as one of their files is open or mapped, so a VM can be destroyed, all of its descriptors
 * closed, and another one carries on with its private memory.
 *
 * Memory attributes are a VM's own and are not handed on.
 *
 * The descriptor of a linked file that may be mapped shows its pages in this process only: whoever
 * receives it over a socket, or inherits it, maps zeroes.
 *
 * Errors: EBADF: guest_memfd is not open. EINVAL: it is not a guest_memfd, or one whose flags this VM
 * may not have (a software-protected VM and a file that starts shared), or flags or reserved is not
 * zero. EIO: it is another process's. EMFILE, ENFILE, ENOMEM.
 */
#define USERKVM_CAP_LINK_GUEST_MEMFD 0x756b0001 /* 1: the call is there */

struct userkvm_link_guest_memfd {
	__s32 guest_memfd;
	__u32 flags;	   /* 0 */
	__u64 reserved[7]; /* 0 */
};
#define USERKVM_LINK_GUEST_MEMFD _IOW(USERKVM_IO, 0x01, struct userkvm_link_guest_memfd)

#endif
