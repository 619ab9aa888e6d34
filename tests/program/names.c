/* SPDX-License-Identifier: MIT */
/*
 * Every call that names a file, on /dev/kvm, by every way to name it: by its path, in other words, by a
 * descriptor of its directory, by a link. What must come of it is what a device of root's with mode 0666
 * answers. The same table is walked by libc's functions and by system calls, which below the filter
 * are trapped.
 *
 * usage: names [calls]   (calls: only by system call, for a program without hooks)
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif

#define ACL "system.posix_acl_access"

static int failed, walked;
static char value[4096];

/* ------------------------------------------------------------------ the table */

/* Where the path stands among the arguments. */
#define PATH ((long)-0x70617468)
/* The directory that it is relative to. */
#define DIR_ ((long)-0x646972)

struct row {
	const char *name;
	long nr, a[6];
	int as_root, as_other; /* 0, or the errno */
};

static struct stat st;
static struct statx stx;
static struct statfs sfs;
static const struct open_how how = {.flags = O_RDWR | O_CLOEXEC};
static const struct timespec then[2];
static int watcher;
static struct file_handle *handle;

#define A(x) ((long)(x))
#define ROW(call, root, other, ...) {#call, SYS_##call, {__VA_ARGS__}, root, other}

static void fill(struct row **rows, size_t *n)
{
	static struct row table[] = {
		ROW(stat, 0, 0, PATH, A(&st)), ROW(lstat, 0, 0, PATH, A(&st)),
		ROW(newfstatat, 0, 0, DIR_, PATH, A(&st), 0),
		ROW(statx, 0, 0, DIR_, PATH, 0, STATX_ALL, A(&stx)),
		ROW(access, 0, 0, PATH, R_OK | W_OK), ROW(access, EACCES, EACCES, PATH, X_OK),
		ROW(faccessat, 0, 0, DIR_, PATH, R_OK), ROW(faccessat2, 0, 0, DIR_, PATH, W_OK, AT_EACCESS),
		ROW(open, 0, 0, PATH, O_RDWR | O_CLOEXEC), ROW(openat, 0, 0, DIR_, PATH, O_PATH | O_CLOEXEC),
		ROW(openat2, 0, 0, DIR_, PATH, A(&how), sizeof(how)),
		ROW(open, EEXIST, EEXIST, PATH, O_RDWR | O_CREAT | O_EXCL, 0600),
		ROW(open, ENOTDIR, ENOTDIR, PATH, O_RDONLY | O_DIRECTORY),
		ROW(readlink, EINVAL, EINVAL, PATH, A(value), sizeof(value)),
		ROW(readlinkat, EINVAL, EINVAL, DIR_, PATH, A(value), sizeof(value)),
		ROW(truncate, EINVAL, EINVAL, PATH, 0),
		ROW(chmod, 0, EPERM, PATH, 0660), ROW(fchmodat, 0, EPERM, DIR_, PATH, 0640),
		ROW(fchmodat2, 0, EPERM, DIR_, PATH, 0666, 0),
		ROW(chown, 0, EPERM, PATH, 0, 12), ROW(lchown, 0, 0, PATH, -1, -1),
		ROW(fchownat, 0, EPERM, DIR_, PATH, 0, 0, 0),
		ROW(utimensat, 0, 0, DIR_, PATH, 0, 0), ROW(utimensat, 0, EPERM, DIR_, PATH, A(then), 0),
		ROW(utimes, 0, 0, PATH, 0), ROW(utime, 0, 0, PATH, 0), ROW(futimesat, 0, 0, DIR_, PATH, 0),
		ROW(getxattr, ENODATA, ENODATA, PATH, A(ACL), A(value), sizeof(value)),
		ROW(lgetxattr, ENODATA, ENODATA, PATH, A("security.selinux"), A(value), sizeof(value)),
		ROW(getxattr, EOPNOTSUPP, EOPNOTSUPP, PATH, A("name"), A(value), sizeof(value)),
		ROW(setxattr, 0, EPERM, PATH, A(ACL), A(value), 4, 0),
		ROW(lsetxattr, EPERM, EPERM, PATH, A("user.x"), A(value), 4, 0),
		ROW(removexattr, 0, EPERM, PATH, A(ACL)),
		ROW(lremovexattr, EPERM, EPERM, PATH, A("user.x")),
		ROW(listxattr, 0, 0, PATH, A(value), sizeof(value)),
		ROW(llistxattr, 0, 0, PATH, A(value), sizeof(value)),
		ROW(statfs, 0, 0, PATH, A(&sfs)),
		ROW(name_to_handle_at, EOPNOTSUPP, EOPNOTSUPP, DIR_, PATH, 0, A(value), 0),
		ROW(inotify_add_watch, 0, 0, 0, PATH, IN_ATTRIB),
		ROW(mknod, EEXIST, EEXIST, PATH, S_IFCHR | 0600, 0), ROW(mknodat, EEXIST, EEXIST, DIR_, PATH, 0600, 0),
		ROW(mkdir, EEXIST, EEXIST, PATH, 0700), ROW(mkdirat, EEXIST, EEXIST, DIR_, PATH, 0700),
		ROW(symlink, EEXIST, EEXIST, A("x"), PATH), ROW(symlinkat, EEXIST, EEXIST, A("x"), DIR_, PATH),
		ROW(link, EEXIST, EEXIST, A("/dev/null"), PATH),
		ROW(linkat, EEXIST, EEXIST, AT_FDCWD, A("/dev/null"), DIR_, PATH, 0),
		ROW(unlink, EBUSY, EBUSY, PATH), ROW(unlinkat, EBUSY, EBUSY, DIR_, PATH, 0),
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
		if (table[i].nr == SYS_inotify_add_watch)
			table[i].a[0] = watcher;
		if (table[i].nr == SYS_name_to_handle_at)
			table[i].a[2] = A(handle);
	}
	*rows = table;
	*n = sizeof(table) / sizeof(*table);
}

/* ------------------------------------------------------------------ walking it */

static void complain(const char *what, const char *way, const char *path, int got, int want)
{
	printf("%s of %s (%s): %s, not %s\n", what, path, way, got ? strerrorname_np(got) : "0",
	       want ? strerrorname_np(want) : "0");
	failed = 1;
}

/* What a look has filled in. */
static void expect_device(const struct row *r, const char *path)
{
	if (strstr(r->name, "stat") && r->nr != SYS_statfs && r->nr != SYS_statx &&
	    (!S_ISCHR(st.st_mode) || st.st_rdev != makedev(10, 232))) {
		printf("%s of %s: mode %o, device %lx\n", r->name, path, st.st_mode, (long)st.st_rdev);
		failed = 1;
	}
	if (r->nr == SYS_statx && (stx.stx_rdev_major != 10 || stx.stx_rdev_minor != 232)) {
		printf("statx of %s: another device\n", path);
		failed = 1;
	}
}

static long by_libc(const struct row *r, const long *a)
{
	switch (r->nr) {
	case SYS_stat: return stat((char *)a[0], (void *)a[1]);
	case SYS_lstat: return lstat((char *)a[0], (void *)a[1]);
	case SYS_newfstatat: return fstatat((int)a[0], (char *)a[1], (void *)a[2], (int)a[3]);
	case SYS_statx: return statx((int)a[0], (char *)a[1], (int)a[2], (unsigned)a[3], (void *)a[4]);
	case SYS_access: return access((char *)a[0], (int)a[1]);
	case SYS_faccessat: return faccessat((int)a[0], (char *)a[1], (int)a[2], 0);
	case SYS_open: return open((char *)a[0], (int)a[1], (int)a[2]);
	case SYS_openat: return openat((int)a[0], (char *)a[1], (int)a[2]);
	case SYS_readlink: return readlink((char *)a[0], (char *)a[1], (size_t)a[2]);
	case SYS_readlinkat: return readlinkat((int)a[0], (char *)a[1], (char *)a[2], (size_t)a[3]);
	case SYS_truncate: return truncate((char *)a[0], a[1]);
	case SYS_chmod: return chmod((char *)a[0], (mode_t)a[1]);
	case SYS_fchmodat: return fchmodat((int)a[0], (char *)a[1], (mode_t)a[2], 0);
	case SYS_chown: return chown((char *)a[0], (uid_t)a[1], (gid_t)a[2]);
	case SYS_lchown: return lchown((char *)a[0], (uid_t)a[1], (gid_t)a[2]);
	case SYS_fchownat: return fchownat((int)a[0], (char *)a[1], (uid_t)a[2], (gid_t)a[3], 0);
	case SYS_utimensat: return utimensat((int)a[0], (char *)a[1], (void *)a[2], (int)a[3]);
	case SYS_getxattr: return getxattr((char *)a[0], (char *)a[1], (void *)a[2], (size_t)a[3]);
	case SYS_lgetxattr: return lgetxattr((char *)a[0], (char *)a[1], (void *)a[2], (size_t)a[3]);
	case SYS_setxattr: return setxattr((char *)a[0], (char *)a[1], (void *)a[2], (size_t)a[3], 0);
	case SYS_lsetxattr: return lsetxattr((char *)a[0], (char *)a[1], (void *)a[2], (size_t)a[3], 0);
	case SYS_removexattr: return removexattr((char *)a[0], (char *)a[1]);
	case SYS_lremovexattr: return lremovexattr((char *)a[0], (char *)a[1]);
	case SYS_listxattr: return listxattr((char *)a[0], (char *)a[1], (size_t)a[2]);
	case SYS_llistxattr: return llistxattr((char *)a[0], (char *)a[1], (size_t)a[2]);
	case SYS_statfs: return statfs((char *)a[0], (void *)a[1]);
	case SYS_inotify_add_watch: return inotify_add_watch((int)a[0], (char *)a[1], (uint32_t)a[2]);
	case SYS_name_to_handle_at:
		return name_to_handle_at((int)a[0], (char *)a[1], (void *)a[2], (void *)a[3], 0);
	case SYS_mknod: return mknod((char *)a[0], (mode_t)a[1], 0);
	case SYS_mkdir: return mkdir((char *)a[0], (mode_t)a[1]);
	case SYS_mkdirat: return mkdirat((int)a[0], (char *)a[1], (mode_t)a[2]);
	case SYS_symlink: return symlink((char *)a[0], (char *)a[1]);
	case SYS_symlinkat: return symlinkat((char *)a[0], (int)a[1], (char *)a[2]);
	case SYS_link: return link((char *)a[0], (char *)a[1]);
	case SYS_linkat: return linkat((int)a[0], (char *)a[1], (int)a[2], (char *)a[3], 0);
	case SYS_unlink: return unlink((char *)a[0]);
	case SYS_unlinkat: return unlinkat((int)a[0], (char *)a[1], 0);
	default: return syscall(r->nr, a[0], a[1], a[2], a[3], a[4], a[5]);
	}
}

static long by_number(const struct row *r, const long *a)
{
	return syscall(r->nr, a[0], a[1], a[2], a[3], a[4], a[5]);
}

static void call(const struct row *r, int dir, const char *path, const char *way,
		 long (*how_called)(const struct row *r, const long *a))
{
	int want = geteuid() ? r->as_other : r->as_root, got;
	int takes_dir = 0, makes_fd = strstr(r->name, "open") != NULL;
	long a[6], ret;

	for (int i = 0; i < 6; i++) {
		takes_dir |= r->a[i] == DIR_;
		a[i] = r->a[i] == PATH ? A(path) : r->a[i] == DIR_ ? dir : r->a[i];
	}
	if (!takes_dir && dir != AT_FDCWD)
		return;
	memset(&st, 0, sizeof(st));
	errno = 0;
	ret = how_called(r, a);
	got = ret < 0 ? errno : 0;
	walked++;
	/* a kernel that is older than the call */
	if (got == ENOSYS && r->nr >= SYS_fchmodat2)
		return;
	if (got != want)
		complain(r->name, way, path, got, want);
	else if (!got)
		expect_device(r, path);
	if (ret >= 0 && makes_fd)
		close((int)ret);
}

/* ------------------------------------------------------------------ names of other kinds */

static void expect(int ok, const char *what)
{
	walked++;
	if (ok)
		return;
	printf("%s\n", what);
	failed = 1;
}

static int only_kvm(const struct dirent *d)
{
	return !strcmp(d->d_name, "kvm");
}

static int count_by_number(void)
{
	int fd = open("/dev", O_RDONLY | O_DIRECTORY), found = 0;
	char buf[2048];
	long n;

	while ((n = syscall(SYS_getdents64, fd, buf, sizeof(buf))) > 0) {
		for (long at = 0; at < n;) {
			const struct dirent64 *d = (const void *)(buf + at);

			found += !strcmp(d->d_name, "kvm");
			at += d->d_reclen;
		}
	}
	close(fd);
	return found;
}

static int count_by_stream(DIR *d)
{
	struct dirent *e;
	int found = 0;

	while ((e = readdir(d)))
		found += only_kvm(e);
	return found;
}

static void directories(void)
{
	DIR *d = opendir("/dev");
	struct dirent **list;
	glob_t g;
	int n;

	expect(count_by_stream(d) == 1, "readdir() of /dev finds no kvm, or two");
	rewinddir(d);
	expect(count_by_stream(d) == 1, "readdir() of /dev from the start finds no kvm, or two");
	closedir(d);
	n = scandir("/dev", &list, only_kvm, alphasort);
	expect(n == 1 && !strcmp(list[0]->d_name, "kvm"), "scandir() of /dev");
	expect(glob("/dev/kv?", 0, NULL, &g) == 0 && g.gl_pathc == 1 && !strcmp(g.gl_pathv[0], "/dev/kvm"),
	       "glob() of /dev/kv?");
	expect(glob("/dev/kvm", GLOB_MARK, NULL, &g) == 0 && g.gl_pathc == 1 &&
		       !strcmp(g.gl_pathv[0], "/dev/kvm"),
	       "glob() of /dev/kvm");
	expect(glob("/dev/nul?", 0, NULL, &g) == 0 && g.gl_pathc == 1, "glob() of another");
}

static void descriptors(void)
{
	int fd = open("/dev/kvm", O_RDWR);
	char link[64], text[64] = "";

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	expect(readlink(link, text, sizeof(text) - 1) == 8 && !strcmp(text, "/dev/kvm"), "its link in /proc");
	expect(fgetxattr(fd, ACL, value, sizeof(value)) == -1 && errno == ENODATA, "fgetxattr()");
	expect(flistxattr(fd, value, sizeof(value)) == 0, "flistxattr()");
	expect(fstatfs(fd, &sfs) == 0 && statfs("/dev", (void *)value) == 0 &&
		       sfs.f_type == ((struct statfs *)value)->f_type,
	       "fstatfs()");
	expect(fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == makedev(10, 232), "fstat()");
	expect(realpath("/dev/./kvm", text) && !strcmp(text, "/dev/kvm"), "realpath()");
	close(fd);
}

static int holds(const char *path, const char *text)
{
	static char all[1 << 20];
	int fd = open(path, O_RDONLY);
	ssize_t n, size = 0;

	while (fd >= 0 && (n = read(fd, all + size, sizeof(all) - 1 - (size_t)size)) > 0)
		size += n;
	all[size] = '\0';
	close(fd);
	return strstr(all, text) != NULL;
}

static void machine(void)
{
	int amd = holds("/proc/cpuinfo", "AuthenticAMD") || holds("/proc/cpuinfo", "HygonGenuine");
	const char *nested = amd ? "/sys/module/kvm_amd/parameters/nested"
				 : "/sys/module/kvm_intel/parameters/nested";

	expect(holds("/proc/cpuinfo", amd ? " svm" : " vmx"), "/proc/cpuinfo has no flag");
	expect(stat("/sys/module/kvm", &st) == 0 && S_ISDIR(st.st_mode), "/sys/module/kvm");
	expect(access(nested, R_OK) == 0 && stat(nested, &st) == 0, nested);
	expect(holds(nested, amd ? "0" : "N"), "what it says of nested guests");
}

int main(int argc, char **argv)
{
	char linked[] = "/tmp/userkvm-names-XXXXXX";
	int dev = open("/dev", O_RDONLY | O_DIRECTORY), calls = argc > 1;
	struct row *rows;
	size_t n;

	/* unanswered, some of these calls would change the machine's device: see names-ways */
	if (geteuid() == 0 && access("/dev/throw-away", F_OK)) {
		printf("only in a /dev that may be thrown away\n");
		return 1;
	}
	watcher = inotify_init();
	handle = calloc(1, 200);
	close(mkstemp(linked));
	unlink(linked);
	expect(symlink("/dev/kvm", linked) == 0, "a link");
	fill(&rows, &n);
	for (size_t i = 0; i < n; i++) {
		for (int libc = !calls; libc >= 0; libc--) {
			long (*by)(const struct row *, const long *) = libc ? by_libc : by_number;
			const char *way = libc ? "libc" : "system call";

			call(&rows[i], AT_FDCWD, "/dev/kvm", way, by);
			call(&rows[i], AT_FDCWD, "/dev//./../dev/kvm", way, by);
			call(&rows[i], dev, "kvm", way, by);
		}
	}
	/* what a link leads to is the kernel's to say: there is a file */
	if (access("/dev/throw-away-with-file", F_OK))
		expect(stat(linked, &st) == 0 && S_ISCHR(st.st_mode), "stat() of a link to it");
	unlink(linked);
	expect(count_by_number() == 1, "getdents64() of /dev finds no kvm, or two");
	descriptors();
	machine();
	if (!calls)
		directories();
	printf("%d calls\n", walked);
	return failed;
}
