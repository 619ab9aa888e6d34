/* SPDX-License-Identifier: MIT */
/*
 * abi/files.c: the descriptor table.
 *
 * A descriptor is a sealed memfd and is told by its inode, so that dup, fork and SCM_RIGHTS
 * work as the kernel does them. An object leaves the table when a number of its was closed and
 * none in this process refers to it any more; a number seen last is remembered, so that most
 * closes need no look at every open descriptor.
 *
 * Readers of a chain hold table_lock. Chains are whole at every instant, so a forked child may
 * go on with its copy of the table after files_forked_child() made the lock anew.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "abi/internal.h"
#include "base/clock.h"
#include "base/held.h"
#include "base/pagemem.h"
#include "base/stack.h"
#include "sync/atomic.h"

#define TABLE_BUCKETS 256
#define SEEN	      4 /* numbers that a thread remembers; a power of two */

static struct mutex table_lock = {.m = PTHREAD_MUTEX_INITIALIZER};
static struct abi_file *table[TABLE_BUCKETS]; /* guarded by table_lock */
static u32 changes;			      /* of what numbers mean; guarded by table_lock */

/*
 * What a number was when this thread looked last, so that calls in quick succession ask the kernel once.
 * By thread, since a thread may have a table of descriptors of its own. It holds until a close that
 * a hook sees, and until the clock's next tick for those that none sees (a system call of the
 * program's own, io_uring).
 */
struct seen {
	int fd;
	u32 changes;
	u64 tick;	    /* ns */
	struct abi_file *f; /* no reference: leaves the table only with a close */
};
static __thread struct seen seen[SEEN] __attribute__((tls_model("initial-exec")));

/* libc's names may lead back to the preload: these go straight to the kernel. */
static long raw_fstat(int fd, struct stat *st)
{
	return syscall(SYS_fstat, fd, st);
}

static long raw_close(int fd)
{
	return syscall(SYS_close, fd);
}

int file_pid(void)
{
	return (int)syscall(SYS_getpid);
}

static struct abi_file **bucket(ino_t ino)
{
	return &table[(ino ^ (ino >> 8)) % TABLE_BUCKETS];
}

static struct abi_file *table_find(dev_t dev, ino_t ino)
{
	struct abi_file *f;

	for (f = *bucket(ino); f; f = f->next)
		if (f->ino == ino && f->dev == dev)
			return f;
	return NULL;
}

static void table_insert(struct abi_file *f)
{
	struct abi_file **b = bucket(f->ino);

	f->next = *b;
	sync_store_release(b, f);
}

static void table_remove(struct abi_file *f)
{
	struct abi_file **p;

	for (p = bucket(f->ino); *p != f; p = &(*p)->next)
		;
	*p = f->next;
}

static void note_number(struct abi_file *f, int fd)
{
	unsigned i;

	changes++; /* it may have meant something else, closed by a call that no hook sees */
	for (i = 0; i < FILE_MAX_NUMBERS; i++) {
		if (f->number[i] == fd)
			return;
		if (f->number[i] < 0) {
			f->number[i] = fd;
			return;
		}
	}
}

void avm_get(struct abi_vm *avm)
{
	sync_add(&avm->refs, 1);
}

/* The last descriptor of a VM is gone: vm/ has dropped its vCPUs, so nobody uses the pages. */
void avm_put(struct abi_vm *avm)
{
	struct run_pages *p, *next;

	if (sync_sub(&avm->refs, 1) != 1)
		return;
	vm_put(avm->vm);
	for (p = avm->pages; p; p = next) {
		next = p->next;
		pagemem_unmap(p->map, p->len);
		stack_free(p->stack, STACK_SIZE);
		free(p);
	}
	mutex_destroy(&avm->lock);
	free(avm);
}

void file_put(struct abi_file *f)
{
	if (sync_sub(&f->refs, 1) != 1)
		return;
	pagemem_unmap(f->map, f->map_len);
	if (f->gmem)
		gmem_release(f->gmem);
	if (f->kind == FILE_VCPU && f->avm)
		vm_put(f->avm->vm); /* vm_create_vcpu() took it for the descriptor */
	if (f->avm)
		avm_put(f->avm);
	free(f);
}

static struct abi_file *file_alloc(enum file_kind kind, const struct stat *st)
{
	struct abi_file *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->kind = kind;
	f->dev = st->st_dev;
	f->ino = st->st_ino;
	f->opened = opened_with(kind);
	f->pid = file_pid();
	f->refs = 1;
	memset(f->number, 0xff, sizeof(f->number));
	return f;
}

int file_wrap(enum file_kind kind, int fd, struct abi_file **out)
{
	struct stat st;
	int err = raw_fstat(fd, &st) < 0 ? -errno : 0;

	*out = err ? NULL : file_alloc(kind, &st);
	if (*out)
		return 0;
	raw_close(fd);
	return err ? err : -ENOMEM;
}

int file_create(enum file_kind kind, const char *name, size_t size, int flags,
		struct abi_file **out)
{
	struct abi_file *f;
	int fd, err;

	fd = (int)syscall(SYS_memfd_create, name,
			  MFD_ALLOW_SEALING | (flags & O_CLOEXEC ? MFD_CLOEXEC : 0));
	if (fd < 0)
		return -errno;
	err = file_wrap(kind, fd, &f);
	if (err)
		return err;
	if ((size && !held_resize(fd, size)) ||
	    syscall(SYS_fcntl, fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		goto fail;
	if (size) {
		f->map = pagemem_map(size, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
		if (!f->map)
			goto fail;
		f->map_len = size;
	}
	*out = f;
	return fd;
fail:
	err = -errno;
	file_abandon(f, fd);
	return err;
}

void file_publish(struct abi_file *f, int fd)
{
	mutex_lock(&table_lock);
	note_number(f, fd);
	table_insert(f);
	mutex_unlock(&table_lock);
}

void file_abandon(struct abi_file *f, int fd)
{
	raw_close(fd);
	file_put(f);
}

/*
 * A descriptor this process has no object for: inherited across exec, or received from another
 * process. /dev/kvm works like a new one; what belongs to another process's VM gives EIO.
 */
static struct abi_file *adopt(int fd, const struct stat *st)
{
	static const char memfd[] = "/memfd:";
	char link[40], text[sizeof(memfd) + sizeof(NAME_PREFIX) + 24];
	const char *name = text + strlen(memfd);
	struct abi_file *f, *other;
	ssize_t n;

	if (!S_ISREG(st->st_mode) || st->st_nlink)
		return NULL;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = syscall(SYS_readlink, link, text, sizeof(text) - 1);
	if (n < 0)
		return NULL;
	text[n] = 0;
	if (!begins(text, memfd) || !begins(name, NAME_PREFIX))
		return NULL;
	f = file_alloc(FILE_FOREIGN, st);
	if (!f)
		return NULL;
	/* A vCPU's and a shared guest_memfd's pages are there for whoever has the descriptor. */
	f->mappable = !begins(name, NAME_GMEM) || name[strlen(NAME_GMEM)] == '-';
	/* What follows the name is " (deleted)". */
	if (begins(name, NAME_SYSTEM " ") || !strcmp(name, NAME_SYSTEM))
		f->kind = FILE_SYSTEM;
	f->opened = opened_with(f->kind);
	mutex_lock(&table_lock);
	other = table_find(f->dev, f->ino);
	if (other) {
		free(f);
		f = other;
	} else {
		table_insert(f);
	}
	note_number(f, fd);
	sync_add(&f->refs, 1);
	mutex_unlock(&table_lock);
	return f;
}

struct abi_file *file_get(int fd)
{
	struct abi_file *f;
	struct stat st;

	if (raw_fstat(fd, &st) < 0)
		return NULL;
	mutex_lock(&table_lock);
	f = table_find(st.st_dev, st.st_ino);
	if (f)
		sync_add(&f->refs, 1);
	mutex_unlock(&table_lock);
	return f ? f : adopt(fd, &st);
}

struct abi_file *file_get_again(int fd)
{
	struct seen *s = &seen[(unsigned)fd % SEEN];
	u64 tick = clock_ns(CLOCK_MONOTONIC_COARSE);
	struct abi_file *f = NULL;
	u32 before;

	mutex_lock(&table_lock);
	before = changes;
	if (s->f && s->fd == fd && s->tick == tick && s->changes == changes) {
		f = s->f;
		sync_add(&f->refs, 1);
	}
	mutex_unlock(&table_lock);
	if (f)
		return f;
	f = file_get(fd);
	*s = (struct seen){.fd = fd, .changes = before, .tick = tick, .f = f};
	return f;
}

bool abi_owns(int fd)
{
	struct abi_file *f = file_get(fd);

	if (!f)
		return false;
	file_put(f);
	return true;
}

/* ---- closing */

bool abi_before_close(int fd)
{
	struct abi_file *f = file_get(fd);
	bool ours = f && f->pid == file_pid();
	unsigned i;

	if (!f)
		return false;
	mutex_lock(&table_lock);
	changes++; /* in a vforked child, too, whose number may mean something else than its parent's */
	for (i = 0; ours && i < FILE_MAX_NUMBERS; i++)
		if (f->number[i] == fd)
			f->number[i] = -1;
	mutex_unlock(&table_lock);
	file_put(f);
	return ours;
}

void abi_appeared(int fd)
{
	struct abi_file *f = file_get(fd);

	if (!f)
		return;
	mutex_lock(&table_lock);
	note_number(f, fd);
	mutex_unlock(&table_lock);
	file_put(f);
}

void abi_sent(int fd)
{
	struct abi_file *f = file_get(fd);

	if (!f)
		return;
	f->pinned = true;
	file_put(f);
}

static bool number_is(int fd, const struct abi_file *f)
{
	struct stat st;

	return !raw_fstat(fd, &st) && st.st_ino == f->ino && st.st_dev == f->dev;
}

/* Does a number seen before still refer to f? table_lock is held. */
static bool known_number(struct abi_file *f)
{
	unsigned i;

	for (i = 0; i < FILE_MAX_NUMBERS; i++) {
		if (f->number[i] < 0)
			continue;
		if (number_is(f->number[i], f))
			return true;
		f->number[i] = -1;
	}
	return false;
}

struct linux_dirent64 {
	u64 d_ino;
	s64 d_off;
	u16 d_reclen;
	u8 d_type;
	char d_name[];
};

/* Every open number of this process: note those of table entries. table_lock is held. */
static bool scan_numbers(void)
{
	char buf[2048] __attribute__((aligned(8)));
	struct linux_dirent64 *d;
	struct abi_file *f;
	struct stat st;
	long n, off;
	int dir, fd;

	dir = (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/fd",
			   O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return false;
	while ((n = syscall(SYS_getdents64, dir, buf, sizeof(buf))) > 0) {
		for (off = 0; off < n; off += d->d_reclen) {
			d = (void *)(buf + off);
			if (d->d_name[0] < '0' || d->d_name[0] > '9')
				continue;
			fd = atoi(d->d_name);
			if (raw_fstat(fd, &st) < 0)
				continue;
			f = table_find(st.st_dev, st.st_ino);
			if (f)
				note_number(f, fd);
		}
	}
	raw_close(dir);
	return n == 0;
}

/* After a scan: unlink what no number refers to; a list through ->next. table_lock is held. */
static struct abi_file *collect_dead(void)
{
	struct abi_file *f, *next, *dead = NULL;
	int pid = file_pid();
	unsigned i;

	for (i = 0; i < TABLE_BUCKETS; i++) {
		for (f = table[i]; f; f = next) {
			next = f->next;
			if (f->pid != pid || f->pinned || known_number(f))
				continue;
			table_remove(f);
			f->next = dead;
			dead = f;
		}
	}
	return dead;
}

/* Is there an object of this process's without a known number? table_lock is held. */
static bool any_suspect(void)
{
	struct abi_file *f;
	int pid = file_pid();
	unsigned i;

	for (i = 0; i < TABLE_BUCKETS; i++)
		for (f = table[i]; f; f = f->next)
			if (f->pid == pid && !f->pinned && !known_number(f))
				return true;
	return false;
}

void abi_after_close(void)
{
	struct abi_file *f, *dead = NULL;

	mutex_lock(&table_lock);
	changes++; /* whoever looked between before and after */
	if (any_suspect() && scan_numbers())
		dead = collect_dead();
	mutex_unlock(&table_lock);
	while (dead) {
		f = dead;
		dead = f->next;
		file_put(f);
	}
}

void files_forked_child(void)
{
	mutex_init(&table_lock);
}

#define MAX_VMS 64 /* that anybody asks about */

static u32 collect_vms(struct abi_vm **out)
{
	u32 n = 0;

	mutex_lock(&table_lock);
	for (u32 i = 0; i < TABLE_BUCKETS; i++) {
		for (struct abi_file *f = table[i]; f && n < MAX_VMS; f = f->next) {
			if (f->kind != FILE_VM || f->pid != file_pid())
				continue;
			avm_get(f->avm);
			out[n++] = f->avm;
		}
	}
	mutex_unlock(&table_lock);
	return n;
}

void files_each_vm(void (*fn)(struct abi_vm *avm, void *arg), void *arg)
{
	struct abi_vm *vms[MAX_VMS];
	u32 n = collect_vms(vms);

	for (u32 i = 0; i < n; i++) {
		fn(vms[i], arg);
		avm_put(vms[i]);
	}
}
