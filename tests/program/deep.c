/* SPDX-License-Identifier: MIT */
/* A library that names libc's functions, opened with RTLD_DEEPBIND: its search begins at libc. */
#include <fcntl.h>
#include <sys/ioctl.h>

#define EXPORT __attribute__((visibility("default")))

EXPORT int deep_fd = -1;

__attribute__((constructor)) static void begin(void)
{
	deep_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
}

EXPORT int deep_ioctl(int fd, unsigned long request, long arg)
{
	return ioctl(fd, request, arg);
}
