/* SPDX-License-Identifier: MIT */
#include "fake.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>
#include "abi/abi.h"
#include "base/guard.h"
#include "preload/raw.h"
#include "primary/linux/linux.h"
#include "vm/keeper.h"
#include "vm/quiet.h"
#include "vm/signals.h"
#include "vm/vm.h"

#define SHORT_MS 300 /* of a run */

static struct fake_record record;
static u64 sigmask;
static bool has_sigmask;

/* ------------------------------------------------------------------ abi/ */

int abi_open(int flags)
{
	return (int)raw2(SYS_memfd_create, "fake-kvm", MFD_CLOEXEC | MFD_ALLOW_SEALING);
}

bool abi_owns(int fd)
{
	char link[32], name[32];
	long n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = raw3(SYS_readlink, link, name, sizeof(name) - 1);
	if (n < 0)
		return false;
	name[n] = '\0';
	return !strncmp(name, "/memfd:fake-kvm", 15);
}

int abi_open_again(int fd, int flags)
{
	return fd;
}

bool abi_fcntl(int fd, int cmd, long arg, long *ret)
{
	*ret = -EINVAL;
	return (cmd == F_ADD_SEALS || cmd == F_GET_SEALS) && abi_owns(fd);
}

bool abi_makes_descriptor(unsigned long request)
{
	return false;
}

void abi_flags_changed(void) {}

size_t abi_link_text(const char *text, size_t len, char *out, size_t size)
{
	return 0;
}

void abi_change_device(const u32 *mode, const u32 *user, const u32 *group)
{
}

void abi_before_filter(void)
{
}

void abi_stat_device(struct stat *st)
{
	memset(st, 0, sizeof(*st));
	st->st_mode = S_IFCHR | 0666;
	st->st_rdev = makedev(10, 232);
	st->st_nlink = 1;
}

bool abi_fstat(int fd, struct stat *st)
{
	if (!abi_owns(fd))
		return false;
	abi_stat_device(st);
	return true;
}

static long fake_run(long ms_at_most)
{
	static __thread struct cpu cpu;
	static __thread struct vcpu v;
	sigset_t mask;
	long r = 0;

	v.cpu = &cpu;
	memset(&mask, 0, sizeof(mask));
	memcpy(&mask, &sigmask, sizeof(sigmask));
	signals_run_begin(&v, has_sigmask ? &mask : NULL);
	for (long i = 0; i < ms_at_most && r == 0; i++) {
		struct timespec ms = {0, 1000000};

		nanosleep(&ms, NULL); /* a cancellation point, as waiting is */
		if (signals_pending())
			r = -EINTR;
	}
	signals_run_end(&v);
	return r;
}

static void set_sigmask(const u64 *mask)
{
	has_sigmask = mask != NULL;
	if (mask)
		sigmask = *mask;
}

static void *helper(void *mask)
{
	raw4(SYS_rt_sigprocmask, SIG_BLOCK, 0, mask, 8);
	return NULL;
}

static long make_helper(void *mask)
{
	pthread_t t;

	return pthread_create(&t, NULL, helper, mask) || pthread_join(t, NULL) ? -EAGAIN : 0;
}

bool abi_ioctl(int fd, unsigned long request, void *arg, long *ret)
{
	static __thread int inside;

	if (!abi_owns(fd))
		return false;
	*ret = 0;
	record.reentered += inside++;
	switch (request) {
	case FAKE_API_VERSION:
		*ret = 12;
		break;
	case FAKE_RUN:
		*ret = fake_run(arg ? (long)arg : SHORT_MS);
		break;
	case FAKE_TOUCH:
		*ret = guard_load8(arg, &(u8){0}) ? 0 : -EFAULT;
		break;
	case FAKE_SIGMASK:
		set_sigmask(arg);
		break;
	case FAKE_RECORD:
		memcpy(arg, &record, sizeof(record));
		memset(&record, 0, sizeof(record));
		record.kind = FAKE_NONE;
		break;
	case FAKE_STAY:
	case FAKE_STAY_RUN:
		raw3(SYS_tgkill, raw0(SYS_getpid), raw0(SYS_gettid), (long)arg);
		if (request == FAKE_STAY_RUN)
			*ret = fake_run(SHORT_MS);
		break;
	case FAKE_HELPER:
		*ret = make_helper(arg);
		break;
	default:
		*ret = -ENOTTY;
	}
	inside--;
	return true;
}

int abi_mmap_check(int fd, size_t len, int prot, int flags, off_t off)
{
	return abi_owns(fd) ? -ENODEV : 0;
}

void abi_mapped(int fd, void *addr, size_t len, int prot, off_t off) {}

void abi_sent(int fd)
{
	record.sent += abi_owns(fd);
}

bool abi_refuses(int fd, const char *call, long *ret)
{
	*ret = -EINVAL;
	return abi_owns(fd);
}

bool abi_fallocate(int fd, int mode, off_t off, off_t len, long *ret)
{
	*ret = -ENODEV;
	return abi_owns(fd);
}

bool abi_before_close(int fd)
{
	bool ours = abi_owns(fd);

	record.closed += ours;
	return ours;
}

void abi_after_close(void)
{
	record.after_close++;
}

void abi_closing(unsigned first, unsigned last) {}

bool abi_cares_for_writes(int fd)
{
	return false;
}

void abi_written(void) {}

void abi_appeared(int fd)
{
	record.duplicated++;
}

void abi_forked_child(void)
{
	record.forked_child++;
}

/* ------------------------------------------------------------------ primary/linux */

static void *note(int kind, u64 start, u64 len)
{
	record.begun++;
	record.kind = kind;
	record.start = start;
	record.len = len;
	return &record;
}

void *primary_linux_change_begin(hva_t start, u64 len, enum primary_change kind, int *err)
{
	return note((int)kind, start, len);
}

void *primary_linux_file_change_begin(int fd, u64 off, u64 len, int *err)
{
	return note(FAKE_FILE, off, len);
}

void primary_linux_change_end(void *cookie)
{
	record.ended += cookie != NULL;
}

bool primary_linux_guarded(hva_t start, u64 len)
{
	return false;
}

int primary_linux_step_aside(u64 start, u64 len)
{
	return 0;
}

void primary_linux_fork_begin(void)
{
	record.fork_begun++;
}

void primary_linux_fork_end(bool child)
{
	if (child)
		record.fork_child++;
	else
		record.fork_parent++;
}

/* ------------------------------------------------------------------ vm/ */

bool keeper_started(void)
{
	return false;
}

void quiet_begin(struct vcpu *v, u64 set) {}

void quiet_end(struct vcpu *v) {}

bool quiet_any(void)
{
	return false;
}

void quiet_sent(void) {}
