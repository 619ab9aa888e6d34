/* SPDX-License-Identifier: MIT */
/*
 * loader/boot/boot.c: `userkvm-loader`, the file that is executed for every program that runs below
 * libc: it brings our libraries in at addresses that the filter knows, and starts them.
 *
 * There is no libc here: this file is linked at a fixed address, and the filter of the process that
 * executed us may be in force already. The dynamic linker places libraries where the kernel likes,
 * so its calls are looked at while it works (syscall user dispatch): what it maps anywhere goes into
 * our window instead.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <ucontext.h>
#include "loader/image.h"
#include "loader/layout.h"
#include "preload/raw.h"

#ifndef PR_SET_SYSCALL_USER_DISPATCH
#define PR_SET_SYSCALL_USER_DISPATCH 59
#define PR_SYS_DISPATCH_ON	     1
#endif

#define SA_RESTORER	   0x04000000
#define DISPATCH_BLOCK	   1 /* SYSCALL_DISPATCH_FILTER_BLOCK */
#define GAP		   0x10000 /* bytes between two mappings in the window */
#define STACK		   (1UL << 20) /* bytes of the world's stack */
#define EXIT_FAILED	   125	   /* as cli/cli.h has it */
#define WORLD		   "userkvm-world"
#define LOADER_TEXT_LENGTH 0x10000

extern void boot_enter(void *stack, u64 entry) __attribute__((noreturn));
extern void boot_restorer(void) __attribute__((visibility("hidden")));
void boot(u64 *sp) __attribute__((noreturn));

static u8 dispatch = DISPATCH_BLOCK;
static u64 next; /* where in the window the next mapping goes */

/* The compiler calls these. */
void *memcpy(void *to, const void *from, size_t n);
void *memset(void *to, int c, size_t n);

void *memcpy(void *to, const void *from, size_t n)
{
	void *r = to;

	asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
	return r;
}

void *memset(void *to, int c, size_t n)
{
	void *r = to;

	asm volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(c) : "memory");
	return r;
}

static size_t length(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}

static bool begins(const char *s, const char *prefix)
{
	while (*prefix) {
		if (*s++ != *prefix++)
			return false;
	}
	return true;
}

static void say(const char *s)
{
	raw3(SYS_write, 2, s, length(s));
}

__attribute__((noreturn)) static void fail(const char *what, const char *name)
{
	say("userkvm: ");
	say(what);
	say(name);
	say("\n");
	for (;;)
		raw1(SYS_exit_group, EXIT_FAILED);
}

/* ------------------------------------------------------------------ the dynamic linker's calls */

static u64 take_place(u64 len)
{
	u64 at = next;

	next = ALIGN_UP(at + len, PAGE_SIZE) + GAP;
	return at;
}

/* Made here for the dynamic linker, whose registers these are. */
static long carry_out(const greg_t *r)
{
	long nr = r[REG_RAX], at = r[REG_RDI], flags = r[REG_R10];

	if (nr == SYS_mmap && !at) {
		at = (long)take_place((u64)r[REG_RSI]);
		flags |= MAP_FIXED_NOREPLACE;
	}
	/* The program's break is not ours: an allocation that finds none makes a mapping instead. */
	if (nr == SYS_brk)
		return 0;
	/* A thread has one such area, which the program may want. */
	if (nr == SYS_rseq)
		return -ENOSYS;
	return raw6(nr, at, r[REG_RSI], r[REG_RDX], flags, r[REG_R8], r[REG_R9]);
}

static void called(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;

	uc->uc_mcontext.gregs[REG_RAX] = carry_out(uc->uc_mcontext.gregs);
}

struct kernel_sigaction {
	void (*handler)(int sig, siginfo_t *info, void *uc);
	u64 flags;
	void (*restorer)(void);
	u64 mask;
};

static void watch(void)
{
	struct kernel_sigaction act = {called, SA_SIGINFO | SA_RESTORER, boot_restorer, ~0ULL};
	u64 sys = 1ULL << (SIGSYS - 1);

	raw4(SYS_rt_sigaction, SIGSYS, &act, 0, 8);
	raw4(SYS_rt_sigprocmask, SIG_UNBLOCK, &sys, 0, 8);
	if (raw5(SYS_prctl, PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_ON, LOADER_TEXT,
		 LOADER_TEXT_LENGTH, &dispatch))
		fail("this kernel has no syscall user dispatch", "");
}

/* ------------------------------------------------------------------ the world's stack */

/* What tells a dynamic linker or a libc what to do is meant for the program's. */
static bool is_for_libc(const char *variable)
{
	return begins(variable, "LD_") || begins(variable, "GLIBC_TUNABLES=") ||
	       begins(variable, "MALLOC_");
}

static u64 auxiliary(u64 type, u64 value, const struct image *world,
		     const struct image *linker)
{
	switch (type) {
	case AT_PHDR:
		return world->phdr;
	case AT_PHNUM:
		return world->phnum;
	case AT_ENTRY:
		return world->entry;
	case AT_BASE:
		return linker->bias;
	default:
		return value;
	}
}

/*
 * On memory of its own: the world's environment and auxiliary vector stay there for good, and the stack that
 * the kernel made is the program's, down to where it grows.
 */
static u64 *make_stack(u64 *sp, const struct image *world, const struct image *linker)
{
	u64 argc = sp[0], *env = sp + 1 + argc + 1, *aux = env, *out, *at;
	u64 size, vector;
	long stack;

	while (*aux)
		aux++;
	aux++;
	at = aux;
	while (*at)
		at += 2;
	vector = (u64)(at + 2 - env + 3) * sizeof(*sp); /* with a count, a name and an end before it */
	size = ALIGN_UP(STACK + vector, PAGE_SIZE);
	stack = raw6(SYS_mmap, (long)take_place(size), (long)size, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
	if (stack < 0 && stack >= -4095)
		fail("no memory for a stack", "");
	out = (u64 *)ALIGN_DOWN((u64)stack + size - vector, 16);
	at = out;
	*at++ = 1;
	*at++ = sp[1];
	*at++ = 0;
	for (; *env; env++) {
		if (!is_for_libc((const char *)*env))
			*at++ = *env;
	}
	*at++ = 0;
	for (; *aux; aux += 2) {
		*at++ = *aux;
		*at++ = auxiliary(*aux, aux[1], world, linker);
	}
	*at++ = AT_NULL;
	*at++ = 0;
	return out;
}

static u64 find_auxiliary(const u64 *sp, u64 type)
{
	sp += 1 + sp[0] + 1;
	while (*sp++)
		;
	for (; *sp; sp += 2) {
		if (*sp == type)
			return sp[1];
	}
	return 0;
}

/* ------------------------------------------------------------------ finding and starting it */

static void map_or_fail(const char *path, struct image *image)
{
	long fd = raw4(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);

	if (fd < 0)
		fail("cannot open ", path);
	if (image_map((int)fd, next, image))
		fail("cannot load ", path);
	next = image->end + GAP;
	raw1(SYS_close, fd);
}

/* The world stands beside this file. */
static void find_world(char *path)
{
	long n = raw3(SYS_readlink, "/proc/self/exe", path, PATH_MAX - sizeof(WORLD));

	if (n <= 0)
		fail("cannot read /proc/self/exe", "");
	while (n && path[n - 1] != '/')
		n--;
	memcpy(path + n, WORLD, sizeof(WORLD));
}

void boot(u64 *sp)
{
	const u64 *random = (const u64 *)find_auxiliary(sp, AT_RANDOM);
	struct image world, linker;
	char path[PATH_MAX];

	loader_handover->stack = sp;
	next = ALIGN_DOWN(LOADER_WORLD + (random ? *random : 0) % LOADER_WORLD_PLACES, PAGE_SIZE);
	find_world(path);
	map_or_fail(path, &world);
	map_or_fail(world.interpreter, &linker);
	watch();
	boot_enter(make_stack(sp, &world, &linker), linker.entry);
}
