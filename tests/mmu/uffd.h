/* SPDX-License-Identifier: MIT */
/* tests/mmu/uffd.h: a userfaultfd of the VMM's, by which a test holds up who touches memory, or unmaps it. */
#ifndef TESTS_MMU_UFFD_H
#define TESTS_MMU_UFFD_H

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include "harness.h"

/* Newer than the headers this may be built with. */
#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1 /* Linux 5.11 */
#endif

/* -1: this machine has none for us. */
static inline int uffd_open(int flags, u64 features)
{
	struct uffdio_api api = {.api = UFFD_API, .features = features};
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | flags);

	if (fd >= 0 && ioctl(fd, UFFDIO_API, &api)) {
		close(fd);
		fd = -1;
	}
	return fd;
}

/* By a call that nobody sees. */
static inline int uffd_register_unseen(int fd, void *p, u64 len)
{
	struct uffdio_register reg = {.range = {(u64)p, len}, .mode = UFFDIO_REGISTER_MODE_MISSING};

	return ioctl(fd, UFFDIO_REGISTER, &reg);
}

/* By one that is hooked. */
static inline void uffd_register(int fd, void *p, u64 len)
{
	int err;
	void *c = primary_linux_change_begin((hva_t)p, len, CHANGE_UFFD, &err);

	assert_int_equal(uffd_register_unseen(fd, p, len), 0);
	primary_linux_change_end(c);
}

#endif
