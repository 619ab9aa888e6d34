/* SPDX-License-Identifier: MIT */
/*
 * preload/path.c: which paths name /dev/kvm.
 *
 * Runs before every open, stat and access, so the common answer is two page probes and a look
 * at the last component. Whether /dev/kvm exists is not asked. A link to it under another name is
 * found where the call behind us fails, or reaches the machine's own device.
 */
#include <fcntl.h>
#include <limits.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include "preload/preload.h"

/*
 * May this page be read? A path of the VMM's may be a bad pointer, for which the kernel says
 * EFAULT, and no handler is ours yet that would catch our own look at it. rt_sigprocmask()
 * copies the set in before it refuses the unknown `how`.
 */
static bool readable(const char *p)
{
	return raw4(SYS_rt_sigprocmask, -1, (u64)p & ~7ULL, 0, 8) == -EINVAL;
}

long path_length(const char *path)
{
	for (long n = 0; n < PATH_MAX; n++) {
		if ((n == 0 || ((u64)(path + n) & (PAGE_SIZE - 1)) == 0) && !readable(path + n))
			return -1;
		if (!path[n])
			return n;
	}
	return -1;
}

/* Where a sandbox that is being made has the old root under another name, this is still the one. */
static struct {
	dev_t dev;
	ino_t ino; /* 0: there was none */
} first_dev;

void path_init(void)
{
	struct stat st;

	if (raw4(SYS_newfstatat, AT_FDCWD, "/dev", &st, 0))
		return;
	first_dev.dev = st.st_dev;
	first_dev.ino = st.st_ino;
}

static bool same_directory(int dirfd, const char *dir)
{
	struct stat a, b;

	if (raw4(SYS_newfstatat, dirfd, dir, &a, 0))
		return false;
	if (first_dev.ino && a.st_dev == first_dev.dev && a.st_ino == first_dev.ino)
		return true;
	return raw4(SYS_newfstatat, AT_FDCWD, "/dev", &b, 0) == 0 && a.st_dev == b.st_dev &&
	       a.st_ino == b.st_ino;
}

bool path_is_dev(int fd)
{
	struct stat st;

	if (raw2(SYS_fstat, fd, &st) || !S_ISDIR(st.st_mode))
		return false;
	return (st.st_dev == first_dev.dev && st.st_ino == first_dev.ino) ||
	       same_directory(fd, ".");
}

/*
 * Paths that are built here. Not on the stack, which may be a thread's smallest, and not from the
 * heap, since a handler of the VMM's may open a file.
 */
struct paths {
	char at[2][PATH_MAX], target[PATH_MAX];
};

static struct paths *paths_get(void)
{
	long p = raw6(SYS_mmap, 0, sizeof(struct paths), PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p < 0 && p >= -4095 ? NULL : (struct paths *)p;
}

static void paths_put(struct paths *p)
{
	raw2(SYS_munmap, p, sizeof(*p));
}

/* Does what stands before "kvm" in a path of n bytes name the directory? */
static COLD bool in_directory(int dirfd, const char *path, long n)
{
	struct paths *p = paths_get();
	bool r = false;

	if (!p)
		return false;
	memcpy(p->at[0], path, (size_t)n - 3);
	r = same_directory(dirfd, p->at[0]);
	paths_put(p);
	return r;
}

bool path_is_kvm(int dirfd, const char *path)
{
	long n = path_length(path);

	if (n < 3 || memcmp(path + n - 3, "kvm", 3))
		return false;
	if (n == 8 && !memcmp(path, "/dev/kvm", 8))
		return true;
	if (n == 3)
		return same_directory(dirfd, ".");
	return path[n - 4] == '/' && in_directory(dirfd, path, n);
}

/* One step of a path that is a symbolic link: `next`, relative to the link's directory. */
static bool follow(int dirfd, const char *path, char *target, char *next)
{
	const char *slash = strrchr(path, '/');
	size_t dir = slash ? (size_t)(slash - path) + 1 : 0;
	long n = raw4(SYS_readlinkat, dirfd, path, target, PATH_MAX - 1);

	if (n <= 0)
		return false;
	target[n] = '\0';
	if (target[0] == '/')
		dir = 0;
	if (dir + (size_t)n >= PATH_MAX)
		return false;
	memcpy(next, path, dir);
	strcpy(next + dir, target);
	return true;
}

static COLD bool link_leads_to_kvm(int dirfd, const char *path, struct paths *p)
{
	const int max_links = 40; /* MAXSYMLINKS: path_resolution(7) */
	int now = 0;

	if (!follow(dirfd, path, p->target, p->at[0]))
		return false;
	for (int i = 0; i < max_links; i++) {
		if (path_is_kvm(dirfd, p->at[now]))
			return true;
		if (!follow(dirfd, p->at[now], p->target, p->at[!now]))
			return false;
		now = !now;
	}
	return false;
}

bool path_leads_to_kvm(int dirfd, const char *path)
{
	struct paths *p;
	char byte;
	bool r;

	if (path_length(path) < 0 || raw4(SYS_readlinkat, dirfd, path, &byte, 1) <= 0)
		return false;
	p = paths_get();
	if (!p)
		return false;
	r = link_leads_to_kvm(dirfd, path, p);
	paths_put(p);
	return r;
}

bool path_device_is_kvm(const struct stat *st)
{
	return S_ISCHR(st->st_mode) && st->st_rdev == makedev(10, 232);
}
