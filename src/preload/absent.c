/* SPDX-License-Identifier: MIT */
/* preload/absent.c: rooms that have not landed yet; each definition goes as its room comes. */
#include "abi/abi.h"
#include "vm/signals.h"

#define WEAK __attribute__((weak))

WEAK int abi_open(int flags)
{
	return -ENODEV;
}
WEAK void abi_stat_device(struct stat *st)
{
	memset(st, 0, sizeof(*st));
}
WEAK bool abi_fstat(int fd, struct stat *st)
{
	return false;
}
WEAK bool abi_owns(int fd)
{
	return false;
}
WEAK bool abi_ioctl(int fd, unsigned long request, void *arg, long *ret)
{
	return false;
}
WEAK int abi_mmap_check(int fd, size_t len, int prot, int flags, off_t off)
{
	return 0;
}
WEAK bool abi_refuses(int fd, const char *call, long *ret)
{
	return false;
}
WEAK bool abi_fallocate(int fd, int mode, off_t off, off_t len, long *ret)
{
	return false;
}
WEAK bool abi_before_close(int fd)
{
	return false;
}
WEAK void abi_after_close(void)
{
}
WEAK void abi_duplicated(int oldfd, int newfd)
{
}
WEAK void abi_sent(int fd)
{
}
WEAK void abi_mapped(int fd, void *addr, size_t len, int prot, off_t off)
{
}
WEAK void abi_forked_child(void)
{
}
WEAK int signals_kick_number(void)
{
	return 64;
}
WEAK bool signals_defer(int sig, siginfo_t *info, void *uc)
{
	return false;
}
WEAK bool signals_in_run(void)
{
	return false;
}
WEAK void signals_kicked(int sig, siginfo_t *info, void *uc)
{
}
WEAK void (*signals_let_in)(const sigset_t *mask);
