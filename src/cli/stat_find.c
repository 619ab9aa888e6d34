/* SPDX-License-Identifier: MIT */
/* cli/stat_find.c: VMs are memfds of a known name among the descriptors of processes. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/clock.h"
#include "cli/stat.h"

#define LINK_NAME "/memfd:" STATPAGE_MEMFD " (deleted)"
#define PATH_SIZE 96 /* /proc, a pid, fd and a number */

static void read_name(pid_t pid, char *name, size_t size)
{
	char path[PATH_SIZE];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	snprintf(name, size, "?");
	f = fopen(path, "re");
	if (!f)
		return;
	if (fgets(name, (int)size, f))
		name[strcspn(name, "\n")] = '\0';
	fclose(f);
	/* A program names itself as it likes: nothing of it is for the terminal to obey. */
	for (; *name; name++) {
		if (!isprint((unsigned char)*name))
			*name = '?';
	}
}

/* The process's id as it sees it itself: the last of the line, in the innermost namespace. */
static int inner_pid(pid_t pid)
{
	char path[PATH_SIZE], line[256];
	int inner = pid;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "re");
	if (!f)
		return pid;
	while (fgets(line, sizeof(line), f)) {
		if (!strncmp(line, "NSpid:", 6))
			inner = atoi(strrchr(line, '\t') + 1);
	}
	fclose(f);
	return inner;
}

static int read_page(int fd, u64 n, void *page)
{
	return pread(fd, page, PAGE_SIZE, (off_t)(n * PAGE_SIZE)) == PAGE_SIZE ? 0 : -EIO;
}

/* Is this entry of a /proc/PID/fd a VM's, going by its name? */
static bool has_name(DIR *dir, const char *entry)
{
	char target[sizeof(LINK_NAME) + 1];
	ssize_t n = readlinkat(dirfd(dir), entry, target, sizeof(target));

	return n == sizeof(LINK_NAME) - 1 && !memcmp(target, LINK_NAME, (size_t)n);
}

/* The process has let go of the VM, or is gone: nobody counts there any more. */
static bool vm_is_gone(const struct stat_vm *v)
{
	char path[PATH_SIZE];
	struct dirent *d;
	bool found = false;
	struct stat st;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", v->pid);
	dir = opendir(path);
	while (dir && !found && (d = readdir(dir)))
		found = has_name(dir, d->d_name) && !fstatat(dirfd(dir), d->d_name, &st, 0) &&
			st.st_ino == v->ino;
	if (dir)
		closedir(dir);
	return !found;
}

/* Whoever made the file may have written what he likes there. */
static bool fits_file(const struct stat_vm *v)
{
	struct stat st;

	return v->vm->nvcpus <= STATPAGE_MAX_VCPUS && !fstat(v->fd, &st) &&
	       (u64)st.st_size >= ((u64)v->vm->nvcpus + 1) * PAGE_SIZE;
}

int stat_read(struct stat_vm *v)
{
	u32 before = v->vm->nvcpus;

	if (vm_is_gone(v) || read_page(v->fd, 0, v->vm) || v->vm->nvcpus < before || !fits_file(v))
		return -ESRCH;
	if (v->vm->nvcpus != before || !v->vcpu) {
		free(v->vcpu);
	free(v->time);
		v->vcpu = aligned_alloc(PAGE_SIZE, (v->vm->nvcpus + 1) * PAGE_SIZE);
		if (!v->vcpu)
			return -ENOMEM;
	}
	v->read_at = clock_ns(CLOCK_BOOTTIME);
	for (u32 i = 0; i < v->vm->nvcpus; i++) {
		if (read_page(v->fd, 1 + i, &v->vcpu[i]))
			return -ESRCH;
	}
	return 0;
}

static void vm_close(struct stat_vm *v)
{
	close(v->fd);
	free(v->vm);
	free(v->vcpu);
}

/* A descriptor of the right name: is it a VM of this very process, in a layout we know? */
static bool vm_open(struct stat_vm *v, const char *path, int inner)
{
	struct stat st;

	v->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (v->fd < 0)
		return false;
	v->vm = aligned_alloc(PAGE_SIZE, PAGE_SIZE);
	if (v->vm && !fstat(v->fd, &st) && S_ISREG(st.st_mode) && !read_page(v->fd, 0, v->vm) &&
	    v->vm->magic == STATPAGE_MAGIC && v->vm->version == STATPAGE_VERSION &&
	    v->vm->pid == inner) {
		v->ino = st.st_ino;
		read_name(v->pid, v->name, sizeof(v->name));
		if (!stat_read(v))
			return true;
	}
	vm_close(v);
	return false;
}

static bool known(const struct stat_vms *vms, const struct stat_vm *v)
{
	for (unsigned i = 0; i < vms->n; i++) {
		if (vms->vm[i].pid == v->pid && vms->vm[i].ino == v->ino)
			return true;
	}
	return false;
}

static int add(struct stat_vms *vms, const struct stat_vm *v)
{
	struct stat_vm *more = realloc(vms->vm, (vms->n + 1) * sizeof(*more));

	if (!more)
		return -ENOMEM;
	vms->vm = more;
	more[vms->n++] = *v;
	return 0;
}

static int find_in(pid_t pid, struct stat_vms *out)
{
	char path[PATH_SIZE];
	int inner = 0, r = 0;
	struct dirent *d;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = opendir(path);
	if (!dir)
		return errno == ENOENT ? -ESRCH : -errno;
	while (!r && (d = readdir(dir))) {
		struct stat_vm v = {.pid = pid};

		if (!has_name(dir, d->d_name))
			continue;
		if (!inner)
			inner = inner_pid(pid);
		snprintf(path, sizeof(path), "/proc/%d/fd/%.16s", pid, d->d_name);
		if (!vm_open(&v, path, inner))
			continue;
		if (known(out, &v))
			vm_close(&v);
		else
			r = add(out, &v);
	}
	closedir(dir);
	return r;
}

static int by_pid_and_age(const void *a, const void *b)
{
	const struct stat_vm *x = a, *y = b;

	if (x->pid != y->pid)
		return x->pid < y->pid ? -1 : 1;
	return x->vm->created < y->vm->created ? -1 : x->vm->created > y->vm->created;
}

static int find_everywhere(struct stat_vms *out)
{
	DIR *proc = opendir("/proc");
	struct dirent *d;
	int r = 0;

	if (!proc)
		return -errno;
	while (r != -ENOMEM && (d = readdir(proc))) {
		if (!isdigit((unsigned char)d->d_name[0]))
			continue;
		r = find_in(atoi(d->d_name), out);
		if (r == -EACCES || r == -EPERM)
			out->hidden++;
	}
	closedir(proc);
	return r == -ENOMEM ? r : 0;
}

int stat_find(pid_t pid, struct stat_vms *out)
{
	int r;

	memset(out, 0, sizeof(*out));
	r = pid ? find_in(pid, out) : find_everywhere(out);
	if (out->n)
		qsort(out->vm, out->n, sizeof(out->vm[0]), by_pid_and_age);
	return r;
}

void stat_free(struct stat_vms *vms)
{
	for (unsigned i = 0; i < vms->n; i++)
		vm_close(&vms->vm[i]);
	free(vms->vm);
	memset(vms, 0, sizeof(*vms));
}
