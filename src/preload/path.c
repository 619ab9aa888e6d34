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

/* strlen() that never faults; -1: not a readable path of bounded length. */
static long path_length(const char *path)
{
	for (long n = 0; n < PATH_MAX; n++) {
		if ((n == 0 || ((u64)(path + n) & (PAGE_SIZE - 1)) == 0) && !readable(path + n))
			return -1;
		if (!path[n])
			return n;
	}
	return -1;
}

static bool same_directory(int dirfd, const char *dir)
{
	struct stat a, b;

	if (raw4(SYS_newfstatat, dirfd, dir, &a, 0) ||
	    raw4(SYS_newfstatat, AT_FDCWD, "/dev", &b, 0))
		return false;
	return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

bool path_is_kvm(int dirfd, const char *path)
{
	char dir[PATH_MAX];
	long n = path_length(path);

	if (n < 3 || memcmp(path + n - 3, "kvm", 3))
		return false;
	if (n == 8 && !memcmp(path, "/dev/kvm", 8))
		return true;
	if (n == 3)
		return same_directory(dirfd, ".");
	if (path[n - 4] != '/')
		return false;
	memcpy(dir, path, (size_t)n - 3);
	dir[n - 3] = '\0';
	return same_directory(dirfd, dir);
}

/* One step of a path that is a symbolic link: `next`, relative to the link's directory. */
static bool follow(int dirfd, const char *path, char *next)
{
	const char *slash = strrchr(path, '/');
	size_t dir = slash ? (size_t)(slash - path) + 1 : 0;
	char target[PATH_MAX];
	long n = raw4(SYS_readlinkat, dirfd, path, target, sizeof(target) - 1);

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

bool path_leads_to_kvm(int dirfd, const char *path)
{
	const int max_links = 40; /* MAXSYMLINKS: path_resolution(7) */
	char at[2][PATH_MAX];
	int now = 0;

	if (path_length(path) < 0 || !follow(dirfd, path, at[0]))
		return false;
	for (int i = 0; i < max_links; i++) {
		if (path_is_kvm(dirfd, at[now]))
			return true;
		if (!follow(dirfd, at[now], at[!now]))
			return false;
		now = !now;
	}
	return false;
}

bool path_device_is_kvm(const struct stat *st)
{
	return S_ISCHR(st->st_mode) && st->st_rdev == makedev(10, 232);
}
