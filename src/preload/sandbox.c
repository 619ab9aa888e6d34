/* SPDX-License-Identifier: MIT */
#include "preload/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include "abi/abi.h"
#include "base/trace.h"
#include "preload/memory.h"
#include "preload/preload.h"
#include "preload/real.h"

#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif
#ifndef SYS_memfd_secret
#define SYS_memfd_secret 447
#endif

/* What our code asks of the kernel for a program under a filter; docs/loader.md says for what. */
const short sandbox_ours[] = {
	/* the trap itself, windows, signals put back */
	SYS_rt_sigreturn, SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigpending, SYS_rt_sigtimedwait, SYS_sigaltstack,
	SYS_getpid, SYS_gettid, SYS_tgkill, SYS_rt_tgsigqueueinfo, SYS_rt_sigqueueinfo,
	SYS_process_vm_readv, SYS_process_vm_writev,
	/* memory of ours, and the guest's */
	SYS_mmap, SYS_munmap, SYS_mremap, SYS_mprotect, SYS_madvise, SYS_munlock, SYS_mlock2,
	SYS_munlockall, SYS_mincore, SYS_ioctl,
	SYS_userfaultfd, SYS_memfd_create, SYS_memfd_secret, SYS_ftruncate, SYS_fallocate,
	SYS_getrandom, SYS_prlimit64, SYS_sysinfo, SYS_shmctl,
	/* descriptors and eventfds */
	SYS_openat, SYS_close, SYS_close_range, SYS_fstat, SYS_newfstatat, SYS_fcntl, SYS_dup, SYS_dup2,
	SYS_dup3, SYS_read, SYS_write, SYS_pread64, SYS_preadv2, SYS_readlink, SYS_readlinkat, SYS_lseek,
	SYS_getdents64, SYS_eventfd2, SYS_kcmp, SYS_pidfd_open, SYS_pidfd_getfd, SYS_poll, SYS_ppoll,
	SYS_epoll_create1, SYS_epoll_ctl, SYS_epoll_wait,
	/* threads of ours, and waiting */
	SYS_clone, SYS_clone3, SYS_exit, SYS_exit_group, SYS_futex, SYS_membarrier, SYS_sched_yield, SYS_unshare,
	SYS_set_robust_list, SYS_rseq, SYS_prctl, SYS_clock_gettime, SYS_clock_nanosleep, -1,
};

/*
 * What libc, and liburcu, ask of it for us in a preloaded process: locks, threads, waits. They ask the same
 * for the program, so no call is here that leads out of a process.
 */
static const short by_libraries[] = {
	SYS_futex, SYS_membarrier, SYS_clone3, SYS_rseq, SYS_set_robust_list, SYS_exit,
	SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_sched_yield, SYS_clock_nanosleep, SYS_poll, SYS_ppoll,
	SYS_gettid, SYS_madvise, SYS_prlimit64, SYS_sysinfo, SYS_getrandom, -1,
};

/* ------------------------------------------------------------------ the filter */

#define BESIDES 8 /* instructions of a text beside one for each number */

struct program {
	struct sock_filter *f;
	u32 n;
};

static void emit(struct program *p, u16 code, u8 yes, u8 no, u32 k)
{
	p->f[p->n++] = (struct sock_filter){code, yes, no, k};
}

static u32 count(const short *numbers)
{
	u32 n = 0;

	while (numbers[n] >= 0)
		n++;
	return n;
}

/* A text that lies in one piece of 4 GiB. What is not of it goes on behind. */
static void emit_text(struct program *p, const struct sandbox_text *t)
{
	const u32 caller = offsetof(struct seccomp_data, instruction_pointer);
	const u16 load = BPF_LD | BPF_W | BPF_ABS, equal = BPF_JMP | BPF_JEQ | BPF_K;
	u32 n = count(t->numbers);
	u8 behind = (u8)(n + BESIDES - 1); /* less the instruction's own place */

	emit(p, load, 0, 0, caller + 4);
	emit(p, equal, 0, behind - 1, (u32)(t->start >> 32));
	emit(p, load, 0, 0, caller);
	emit(p, BPF_JMP | BPF_JGE | BPF_K, 0, behind - 3, (u32)t->start);
	emit(p, BPF_JMP | BPF_JGT | BPF_K, behind - 4, 0, (u32)(t->end - 1));
	emit(p, load, 0, 0, offsetof(struct seccomp_data, nr));
	for (u32 i = 0; i < n; i++)
		emit(p, equal, (u8)(n - i), 0, (u32)t->numbers[i]);
	emit(p, BPF_JMP | BPF_JA, 0, 0, 1);
	emit(p, BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW);
}

/* All of it, or its part in the first 4 GiB that it touches; *t becomes the rest. */
static struct sandbox_text take_piece(struct sandbox_text *t)
{
	struct sandbox_text piece = *t;

	piece.end = MIN(t->end, ALIGN_DOWN(t->start, 1ULL << 32) + (1ULL << 32));
	t->start = piece.end;
	return piece;
}

static u32 room(const struct sandbox_text *text, size_t n)
{
	u32 sum = 1;

	for (size_t i = 0; i < n; i++)
		sum += 2 * (count(text[i].numbers) + BESIDES);
	return sum;
}

/* The program's instructions find the registers zero, as they expect. */
static int fill(struct program *p, const struct sandbox_text *text, size_t n,
		const struct sock_fprog *theirs)
{
	for (size_t i = 0; i < n; i++) {
		struct sandbox_text t = text[i];

		while (t.start < t.end) {
			struct sandbox_text piece = take_piece(&t);

			emit_text(p, &piece);
		}
	}
	emit(p, BPF_LD | BPF_IMM, 0, 0, 0);
	if (p->n + theirs->len > BPF_MAXINSNS)
		return -EINVAL;
	p->n += theirs->len;
	return memory_read(p->f + p->n - theirs->len, theirs->filter,
			   theirs->len * sizeof(*theirs->filter));
}

static long install(long nr, const long *a, const struct sock_fprog *mine)
{
	if (nr == SYS_seccomp)
		return raw3(SYS_seccomp, a[0], a[1], mine);
	return raw5(SYS_prctl, a[0], a[1], mine, a[3], a[4]);
}

long sandbox_install(long nr, const long *a, const struct sandbox_text *text, size_t n)
{
	struct sock_fprog theirs, mine;
	struct program p = {0};
	long r;

	if (memory_read(&theirs, (void *)a[2], sizeof(theirs)))
		return -EFAULT;
	if (!theirs.len || theirs.len > BPF_MAXINSNS)
		return -EINVAL;
	p.f = malloc((room(text, n) + theirs.len) * sizeof(*p.f));
	if (!p.f)
		return -ENOMEM;
	r = fill(&p, text, n, &theirs);
	trace_meet_nobody();
	mine = (struct sock_fprog){(u16)p.n, p.f};
	if (!r)
		r = install(nr, a, &mine);
	free(p.f);
	return r;
}

/* ------------------------------------------------------------------ a preloaded process */

#define TEXTS 8 /* of ours, libc and liburcu's libraries */

struct texts {
	struct sandbox_text at[TEXTS];
	size_t n;
};

static bool holds(const struct dl_phdr_info *info, const ElfW(Phdr) *p, const void *address)
{
	u64 start = info->dlpi_addr + p->p_vaddr;

	return (u64)address >= start && (u64)address - start < p->p_memsz;
}

static int find_texts(struct dl_phdr_info *info, size_t size, void *out)
{
	const void *own = (const void *)sandbox_install, *libc = (const void *)REAL(close);
	struct texts *t = out;

	(void)size;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *p = &info->dlpi_phdr[i];
		bool ours = holds(info, p, own);

		if (p->p_type != PT_LOAD || !(p->p_flags & PF_X) || t->n == TEXTS ||
		    (!ours && !holds(info, p, libc) && !strstr(info->dlpi_name, "/liburcu")))
			continue;
		t->at[t->n].start = info->dlpi_addr + p->p_vaddr;
		t->at[t->n].end = t->at[t->n].start + p->p_memsz;
		t->at[t->n++].numbers = ours ? sandbox_ours : by_libraries;
	}
	return 0;
}

/*
 * A program that has no VM, on a machine where all programs load us, is not one whose sandbox is to be
 * opened. Threads of ours begin now: under the filter their start would be one of its calls.
 */
long sandbox_install_preloaded(long nr, const long *a)
{
	struct texts t = {.n = 0};
	struct mask_window w;
	long r;

	if (!armed() && environment_is_for_all())
		return raw5(nr, a[0], a[1], a[2], a[3], a[4]);
	if (armed() && preload_own_process()) {
		mask_enter(&w);
		abi_before_filter();
		mask_leave(&w);
	}
	dl_iterate_phdr(find_texts, &t);
	r = sandbox_install(nr, a, t.at, t.n);
	return r;
}

EXPORT int prctl(int option, ...)
{
	long a[6] = {option};
	va_list ap;

	va_start(ap, option);
	for (int i = 1; i < 5; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	if (option == PR_SET_SECCOMP && a[1] == SECCOMP_MODE_FILTER)
		return (int)raw_errno(sandbox_install_preloaded(SYS_prctl, a));
	return (int)raw_errno(raw5(SYS_prctl, a[0], a[1], a[2], a[3], a[4]));
}

/* ------------------------------------------------------------------ Landlock */

/* The rule is made for /dev/null, which is a device as well: the kernel is asked for neither. */
long sandbox_add_rule(const long *a)
{
	struct landlock_path_beneath_attr rule;
	long fd, r;

	if (a[1] != LANDLOCK_RULE_PATH_BENEATH || memory_read(&rule, (void *)a[2], sizeof(rule)) ||
	    !descriptor_is_ours(rule.parent_fd))
		return raw4(SYS_landlock_add_rule, a[0], a[1], a[2], a[3]);
	fd = raw3(SYS_openat, AT_FDCWD, "/dev/null", O_PATH | O_CLOEXEC);
	if (fd < 0)
		return 0; /* a root without: nothing to allow */
	rule.parent_fd = (int)fd;
	r = raw4(SYS_landlock_add_rule, a[0], a[1], &rule, a[3]);
	raw1(SYS_close, fd);
	return r;
}
