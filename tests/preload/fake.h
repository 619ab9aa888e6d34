/* SPDX-License-Identifier: MIT */
/*
 * fake.h: what the rooms below the preload are in these tests: a descriptor that is a memfd, a
 * run that waits for a signal, and a record of the changes the preload told of.
 */
#ifndef FAKE_H
#define FAKE_H

#include <stdint.h>
#include <sys/ioctl.h>

#define FAKE_API_VERSION _IO(0xAE, 0x00)
#define FAKE_RUN	 _IO(0xAE, 0x80) /* argument: ms, or 0 for 300; -1 EINTR when a signal ended it */
#define FAKE_TOUCH	 _IO(0xAE, 0xf0) /* read the byte the argument points at */
#define FAKE_SIGMASK                                                                           \
	_IO(0xAE, 0xf1) /* argument: u64 mask, as KVM_SET_SIGNAL_MASK; NULL: none */
#define FAKE_RECORD   _IO(0xAE, 0xf2) /* argument: struct fake_record */
#define FAKE_STAY     _IO(0xAE, 0xf3) /* raise the signal in the argument while inside */
#define FAKE_STAY_RUN _IO(0xAE, 0xf4) /* the same, then run */
#define FAKE_HELPER   _IO(0xAE, 0xf5) /* argument: u64, the mask of a thread made inside */

enum fake_kind {
	FAKE_NONE = -1,
	FAKE_UNMAP,
	FAKE_PROTECT,
	FAKE_CONTENT,
	FAKE_UFFD,
	FAKE_UFFD_GONE,
	FAKE_FILE = 100,
};

struct fake_record {
	int begun, ended; /* changes since the last FAKE_RECORD */
	int kind;	  /* of the last one */
	uint64_t start, len;
	int closed, after_close, duplicated, sent;
	int reentered; /* calls made while another one of the thread was under way */
	int fork_begun, fork_parent, fork_child, forked_child;
};

#endif
