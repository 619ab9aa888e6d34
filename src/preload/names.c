/* SPDX-License-Identifier: MIT */
/*
 * preload/names.c: /dev/kvm by its name, in the calls that names.def lists. What a device of root's with
 * mode 0666 would answer, on a file system that has extended attributes and ACLs.
 *
 * What this process changes of it (mode, owner) it sees again; nobody else does.
 */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "abi/abi.h"
#include "preload/preload.h"
#include "preload/real.h"

/* Something to watch that nobody touches. */
#define QUIET "/proc/sys/kernel/ostype"

/* An owner's rights: CAP_FOWNER and CAP_CHOWN, which root has. */
static bool is_owner(void)
{
	return raw0(SYS_geteuid) == 0;
}

/* ------------------------------------------------------------------ mode, owner, times */

static long change_mode(const long *a)
{
	if (!is_owner())
		return -EPERM;
	abi_change_device(&(u32){(u32)a[1] & 07777}, NULL, NULL);
	return 0;
}

static long change_mode_at(const long *a)
{
	return change_mode(a + 1);
}

static long change_owner(const long *a)
{
	u32 user = (u32)a[1], group = (u32)a[2];

	if (user == ~0U && group == ~0U)
		return 0;
	if (!is_owner())
		return -EPERM;
	abi_change_device(NULL, user == ~0U ? NULL : &user, group == ~0U ? NULL : &group);
	return 0;
}

static long change_owner_at(const long *a)
{
	return change_owner(a + 1);
}

/* To now is for everyone who may write. */
static long set_times(const long *a)
{
	return a[1] && !is_owner() ? -EPERM : 0;
}

static long set_times_at(const long *a)
{
	return set_times(a + 1);
}

/* ------------------------------------------------------------------ extended attributes */

enum space { SPACE_ACL, SPACE_TRUSTED, SPACE_SECURITY, SPACE_USER, SPACE_UNKNOWN };

static int space_of(long name)
{
	static const char *const prefix[] = {"system.posix_acl_", "trusted.", "security.", "user."};
	const char *text = (const char *)name;

	if (path_length(text) < 0)
		return -EFAULT;
	if (!*text || strlen(text) > 255 /* XATTR_NAME_MAX */)
		return -ERANGE;
	for (int i = 0; i < (int)ARRAY_SIZE(prefix); i++) {
		if (!strncmp(text, prefix[i], strlen(prefix[i])))
			return i;
	}
	return SPACE_UNKNOWN;
}

/* It has none. */
static long get_attribute(const long *a)
{
	int space = space_of(a[1]);

	return space < 0 ? space : space == SPACE_UNKNOWN ? -EOPNOTSUPP : -ENODATA;
}

/* An ACL that is set says no more than the mode: a hook lets everyone in. */
static long set_attribute(const long *a)
{
	int space = space_of(a[1]);

	switch (space) {
	case SPACE_UNKNOWN:
		return -EOPNOTSUPP;
	case SPACE_USER: /* for files and directories only */
		return -EPERM;
	default:
		return space < 0 ? space : is_owner() ? 0 : -EPERM;
	}
}

static long remove_attribute(const long *a)
{
	long r = set_attribute(a);

	return r ? r : space_of(a[1]) == SPACE_ACL ? 0 : -ENODATA;
}

/* The name stands behind the flags. */
static long get_attribute_at(const long *a)
{
	return get_attribute(a + 2);
}

static long set_attribute_at(const long *a)
{
	return set_attribute(a + 2);
}

static long remove_attribute_at(const long *a)
{
	return remove_attribute(a + 2);
}

static long list_attributes(const long *a)
{
	(void)a;
	return 0;
}

/* ------------------------------------------------------------------ the rest */

static long file_system(const long *a)
{
	return raw2(SYS_statfs, "/dev", a[1]);
}

static long watch(const long *a)
{
	return raw3(SYS_inotify_add_watch, a[0], QUIET, a[2]);
}

/* As a file system answers that has none: what reads it back would be another file. */
static long has_no_handle(const long *a)
{
	(void)a;
	return -EOPNOTSUPP;
}

/*
 * To see a device in another place: /dev/null in its directory stands in, which is a device as well. By its
 * name the program there still gets ours.
 */
static long bind_null(const long *a)
{
	static const char null[] = "null";
	const char *source = (const char *)a[0];
	long n = path_length(source);
	char path[PATH_MAX];

	if (!(a[3] & MS_BIND) || n < 3 || n + 2 > PATH_MAX)
		return raw5(SYS_mount, a[0], a[1], a[2], a[3], a[4]);
	memcpy(path, source, (size_t)n - 3);
	memcpy(path + n - 3, null, sizeof(null));
	return raw5(SYS_mount, path, a[1], a[2], a[3], a[4]);
}

static long exists(const long *a)
{
	(void)a;
	return -EEXIST;
}

static long busy(const long *a)
{
	(void)a;
	return -EBUSY;
}

/* ------------------------------------------------------------------ the table */

static const struct named {
	short nr;
	s8 dir, path;
	long (*answer)(const long *a);
} table[] = {
#define NAME(call, dir, path, answer) {SYS_##call, dir, path, answer},
#include "preload/names.def"
};

static bool means_kvm(const struct named *n, const long *a)
{
	if (n->path < 0)
		return descriptor_is_ours((int)a[n->dir]);
	return path_is_kvm(n->dir < 0 ? AT_FDCWD : (int)a[n->dir], (const char *)a[n->path]);
}

bool names_answer(long nr, const long *a, long *r)
{
	const struct named *n = table;

	while (n < table + ARRAY_SIZE(table) && n->nr != nr)
		n++;
	if (n == table + ARRAY_SIZE(table) || !means_kvm(n, a))
		return false;
	*r = n->answer(a);
	return true;
}

/* ------------------------------------------------------------------ libc's functions */

static long call(long nr, long a, long b, long c, long d, long e)
{
	const long args[6] = {a, b, c, d, e};
	long r;

	if (!names_answer(nr, args, &r))
		r = raw5(nr, a, b, c, d, e);
	return raw_errno(r);
}

#define ARG(x) ((long)(x))

EXPORT int chmod(const char *path, mode_t mode)
{
	return (int)call(SYS_chmod, ARG(path), ARG(mode), 0, 0, 0);
}

EXPORT int fchmodat(int dir, const char *path, mode_t mode, int flags)
{
	const long args[6] = {dir, ARG(path), ARG(mode), flags};
	long r;

	if (names_answer(SYS_fchmodat, args, &r))
		return (int)raw_errno(r);
	return REAL(fchmodat)(dir, path, mode, flags);
}

EXPORT int chown(const char *path, uid_t user, gid_t group)
{
	return (int)call(SYS_chown, ARG(path), user, group, 0, 0);
}

EXPORT int lchown(const char *path, uid_t user, gid_t group)
{
	return (int)call(SYS_lchown, ARG(path), user, group, 0, 0);
}

EXPORT int fchownat(int dir, const char *path, uid_t user, gid_t group, int flags)
{
	return (int)call(SYS_fchownat, dir, ARG(path), user, group, flags);
}

struct utimbuf;
EXPORT int utime(const char *path, const struct utimbuf *times)
{
	return (int)call(SYS_utime, ARG(path), ARG(times), 0, 0, 0);
}

EXPORT int utimes(const char *path, const struct timeval *times)
{
	return (int)call(SYS_utimes, ARG(path), ARG(times), 0, 0, 0);
}

EXPORT int futimesat(int dir, const char *path, const struct timeval *times)
{
	return (int)call(SYS_futimesat, dir, ARG(path), ARG(times), 0, 0);
}

EXPORT int utimensat(int dir, const char *path, const struct timespec times[2], int flags)
{
	return (int)(path ? call(SYS_utimensat, dir, ARG(path), ARG(times), flags, 0)
			  : raw_errno(-EINVAL)); /* as libc has it */
}

#define GET(name)                                                                              \
	EXPORT ssize_t name(const char *path, const char *attribute, void *value, size_t size) \
	{                                                                                      \
		return call(SYS_##name, ARG(path), ARG(attribute), ARG(value), ARG(size), 0);  \
	}
GET(getxattr)
GET(lgetxattr)

#define SET(name)                                                                              \
	EXPORT int name(const char *path, const char *attribute, const void *value,            \
			size_t size, int flags)                                                \
	{                                                                                      \
		return (int)call(SYS_##name, ARG(path), ARG(attribute), ARG(value), ARG(size), \
				 flags);                                                       \
	}
SET(setxattr)
SET(lsetxattr)

#define REMOVE(name)                                                                           \
	EXPORT int name(const char *path, const char *attribute)                               \
	{                                                                                      \
		return (int)call(SYS_##name, ARG(path), ARG(attribute), 0, 0, 0);              \
	}
REMOVE(removexattr)
REMOVE(lremovexattr)

#define LIST(name)                                                                             \
	EXPORT ssize_t name(const char *path, char *list, size_t size)                         \
	{                                                                                      \
		return call(SYS_##name, ARG(path), ARG(list), ARG(size), 0, 0);                \
	}
LIST(listxattr)
LIST(llistxattr)

EXPORT ssize_t fgetxattr(int fd, const char *attribute, void *value, size_t size)
{
	return call(SYS_fgetxattr, fd, ARG(attribute), ARG(value), ARG(size), 0);
}

EXPORT int fsetxattr(int fd, const char *attribute, const void *value, size_t size, int flags)
{
	return (int)call(SYS_fsetxattr, fd, ARG(attribute), ARG(value), ARG(size), flags);
}

EXPORT int fremovexattr(int fd, const char *attribute)
{
	return (int)call(SYS_fremovexattr, fd, ARG(attribute), 0, 0, 0);
}

EXPORT ssize_t flistxattr(int fd, char *list, size_t size)
{
	return call(SYS_flistxattr, fd, ARG(list), ARG(size), 0, 0);
}

struct statfs;
EXPORT int fstatfs(int fd, struct statfs *out)
{
	return (int)call(SYS_fstatfs, fd, ARG(out), 0, 0, 0);
}
ALIAS(fstatfs64, fstatfs);

EXPORT int statfs(const char *path, struct statfs *out)
{
	return (int)call(SYS_statfs, ARG(path), ARG(out), 0, 0, 0);
}
ALIAS(statfs64, statfs);

EXPORT int statvfs(const char *path, struct statvfs *out)
{
	return REAL(statvfs)(path_is_kvm(AT_FDCWD, path) ? "/dev" : path, out);
}

EXPORT int statvfs64(const char *path, struct statvfs64 *out)
{
	return REAL(statvfs)(path_is_kvm(AT_FDCWD, path) ? "/dev" : path, (struct statvfs *)out);
}

EXPORT long pathconf(const char *path, int name)
{
	return REAL(pathconf)(path_is_kvm(AT_FDCWD, path) ? "/dev" : path, name);
}

EXPORT int inotify_add_watch(int fd, const char *path, uint32_t mask)
{
	return (int)call(SYS_inotify_add_watch, fd, ARG(path), mask, 0, 0);
}

struct file_handle;
EXPORT int name_to_handle_at(int dir, const char *path, struct file_handle *handle, int *mount,
			     int flags)
{
	return (int)call(SYS_name_to_handle_at, dir, ARG(path), ARG(handle), ARG(mount), flags);
}

EXPORT int mount(const char *source, const char *target, const char *type, unsigned long flags,
		 const void *data)
{
	return (int)call(SYS_mount, ARG(source), ARG(target), ARG(type), ARG(flags), ARG(data));
}

EXPORT int mknod(const char *path, mode_t mode, dev_t device)
{
	return (int)call(SYS_mknod, ARG(path), mode, ARG(device), 0, 0);
}

EXPORT int mknodat(int dir, const char *path, mode_t mode, dev_t device)
{
	return (int)call(SYS_mknodat, dir, ARG(path), mode, ARG(device), 0);
}

EXPORT int mkdir(const char *path, mode_t mode)
{
	return (int)call(SYS_mkdir, ARG(path), mode, 0, 0, 0);
}

EXPORT int mkdirat(int dir, const char *path, mode_t mode)
{
	return (int)call(SYS_mkdirat, dir, ARG(path), mode, 0, 0);
}

EXPORT int symlink(const char *target, const char *path)
{
	return (int)call(SYS_symlink, ARG(target), ARG(path), 0, 0, 0);
}

EXPORT int symlinkat(const char *target, int dir, const char *path)
{
	return (int)call(SYS_symlinkat, ARG(target), dir, ARG(path), 0, 0);
}

EXPORT int link(const char *old, const char *path)
{
	return (int)call(SYS_link, ARG(old), ARG(path), 0, 0, 0);
}

EXPORT int linkat(int from, const char *old, int dir, const char *path, int flags)
{
	return (int)call(SYS_linkat, from, ARG(old), dir, ARG(path), flags);
}

EXPORT int unlink(const char *path)
{
	return (int)call(SYS_unlink, ARG(path), 0, 0, 0, 0);
}

EXPORT int unlinkat(int dir, const char *path, int flags)
{
	return (int)call(SYS_unlinkat, dir, ARG(path), flags, 0, 0);
}
