/* SPDX-License-Identifier: MIT */
/*
 * preload/directory.c: /dev as a directory, in which there is a "kvm". Where the machine has none it comes
 * as the last entry. What libc reads by calls of its own (scandir, glob) is read by ours instead.
 */
#include <dirent.h>
#include <fcntl.h>
#include <glob.h>
#include <stdlib.h>
#include <sys/stat.h>
#include "preload/memory.h"
#include "preload/preload.h"
#include "preload/real.h"

#define NAME	"kvm"
#define NO_NODE 0x6b766d /* its inode's number, as abi_stat_device() has it */
#define STREAMS 16	 /* over /dev, open at once; one more is read without us */

_Static_assert(sizeof(struct dirent) == sizeof(struct dirent64), "one layout");

/* A stream over /dev. One thread uses it at a time. */
static struct stream {
	DIR *dir; /* atomic; NULL: free */
	bool told;
	struct dirent entry;
} stream[STREAMS];
static u32 streams; /* atomic: in use */

static struct stream *find(DIR *dir)
{
	for (size_t i = 0; __atomic_load_n(&streams, __ATOMIC_ACQUIRE) && i < STREAMS; i++) {
		if (__atomic_load_n(&stream[i].dir, __ATOMIC_ACQUIRE) == dir)
			return &stream[i];
	}
	return NULL;
}

static DIR *note(DIR *dir)
{
	for (size_t i = 0; dir && path_is_dev(dirfd(dir)) && i < STREAMS; i++) {
		DIR *none = NULL;

		if (!__atomic_compare_exchange_n(&stream[i].dir, &none, dir, false,
						 __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
			continue;
		stream[i].told = false;
		__atomic_fetch_add(&streams, 1, __ATOMIC_RELEASE);
		break;
	}
	return dir;
}

EXPORT DIR *opendir(const char *path)
{
	return note(REAL(opendir)(path));
}

EXPORT DIR *fdopendir(int fd)
{
	return note(REAL(fdopendir)(fd));
}

EXPORT int closedir(DIR *dir)
{
	struct stream *s = find(dir);

	if (s) {
		__atomic_store_n(&s->dir, NULL, __ATOMIC_RELEASE);
		__atomic_fetch_sub(&streams, 1, __ATOMIC_RELEASE);
	}
	return REAL(closedir)(dir);
}

EXPORT void rewinddir(DIR *dir)
{
	struct stream *s = find(dir);

	if (s)
		s->told = false;
	REAL(rewinddir)(dir);
}

static struct dirent *tell(struct stream *s)
{
	if (s->told)
		return NULL;
	s->told = true;
	s->entry = (struct dirent){.d_ino = NO_NODE,
				   .d_off = INT64_MAX,
				   .d_reclen = sizeof(struct dirent),
				   .d_type = DT_CHR,
				   .d_name = NAME};
	return &s->entry;
}

EXPORT struct dirent *readdir(DIR *dir)
{
	struct stream *s = find(dir);
	struct dirent *d;
	int e = errno;

	if (likely(!s))
		return REAL(readdir)(dir);
	errno = 0;
	d = REAL(readdir)(dir);
	if (!d && errno)
		return NULL;
	errno = e;
	if (!d)
		return tell(s);
	s->told |= !strcmp(d->d_name, NAME);
	return d;
}

EXPORT struct dirent64 *readdir64(DIR *dir)
{
	return (struct dirent64 *)readdir(dir);
}

/* ------------------------------------------------------------------ getdents64() */

#define NUMBERS 1024 /* of descriptors that are kept account of */

static u64 told_bits[NUMBERS / 64]; /* atomic: "kvm" has been told of by this number */

static void set_told(int fd, bool told)
{
	u64 bit = 1ULL << (fd % 64);

	if (told)
		__atomic_fetch_or(&told_bits[fd / 64], bit, __ATOMIC_RELAXED);
	else
		__atomic_fetch_and(&told_bits[fd / 64], ~bit, __ATOMIC_RELAXED);
}

static bool is_told(int fd)
{
	return __atomic_load_n(&told_bits[fd / 64], __ATOMIC_RELAXED) >> (fd % 64) & 1;
}

struct entry {
	u64 ino;
	s64 off;
	u16 len;
	u8 type;
	char name[5 + sizeof(NAME) - 1]; /* to a multiple of eight bytes */
};

/* What the kernel has just written. */
static bool holds_kvm(const char *buf, long n)
{
	for (long at = 0; at < n; at += ((const struct entry *)(buf + at))->len) {
		if (!strcmp(((const struct entry *)(buf + at))->name, NAME))
			return true;
	}
	return false;
}

static long last_entry(int fd, void *buf, size_t size)
{
	struct entry e = {.ino = NO_NODE, .off = INT64_MAX, .len = sizeof(e), .type = DT_CHR, .name = NAME};

	if (is_told(fd)) {
		set_told(fd, false); /* for who goes back to the start */
		return 0;
	}
	if (size < sizeof(e))
		return -EINVAL;
	if (memory_write(buf, &e, sizeof(e)))
		return -EFAULT;
	set_told(fd, true);
	return sizeof(e);
}

long directory_entries(int fd, void *buf, size_t size)
{
	long before, n;

	if (fd < 0 || fd >= NUMBERS || !path_is_dev(fd))
		return raw3(SYS_getdents64, fd, buf, size);
	before = raw3(SYS_lseek, fd, 0, SEEK_CUR);
	n = raw3(SYS_getdents64, fd, buf, size);
	if (before == 0)
		set_told(fd, false);
	if (n > 0 && holds_kvm(buf, n))
		set_told(fd, true);
	return n ? n : last_entry(fd, buf, size);
}

EXPORT ssize_t getdents64(int fd, void *buf, size_t size)
{
	return raw_errno(directory_entries(fd, buf, size));
}

/* ------------------------------------------------------------------ scandir() */

typedef int filter_fn(const struct dirent *);
typedef int compare_fn(const struct dirent **, const struct dirent **);

struct list {
	struct dirent **d;
	size_t n;
};

static bool add(struct list *l, const struct dirent *d)
{
	struct dirent *copy, **more = realloc(l->d, (l->n + 1) * sizeof(*more));

	if (!more)
		return false;
	l->d = more;
	copy = malloc(d->d_reclen);
	if (!copy)
		return false;
	memcpy(copy, d, d->d_reclen);
	l->d[l->n++] = copy;
	return true;
}

static int collect(DIR *dir, struct dirent ***out, filter_fn *filter, compare_fn *compare)
{
	struct list l = {0};
	struct dirent *d;
	bool ok = true;

	while (ok && (d = readdir(dir))) {
		if (!filter || filter(d))
			ok = add(&l, d);
	}
	if (!ok) {
		while (l.n)
			free(l.d[--l.n]);
		free(l.d);
		errno = ENOMEM;
		return -1;
	}
	if (compare && l.n)
		qsort(l.d, l.n, sizeof(*l.d), (int (*)(const void *, const void *))compare);
	*out = l.d;
	return (int)l.n;
}

EXPORT int scandirat(int at, const char *path, struct dirent ***out, filter_fn *filter,
		     compare_fn *compare)
{
	int fd = (int)raw4(SYS_openat, at, path, O_RDONLY | O_DIRECTORY | O_NONBLOCK | O_CLOEXEC, 0), r;
	bool dev = fd >= 0 && path_is_dev(fd);
	DIR *dir = dev ? fdopendir(fd) : NULL;

	if (!dir) {
		if (fd >= 0)
			raw1(SYS_close, fd);
		return REAL(scandirat)(at, path, out, filter, compare);
	}
	r = collect(dir, out, filter, compare);
	closedir(dir);
	return r;
}

EXPORT int scandir(const char *path, struct dirent ***out, filter_fn *filter, compare_fn *compare)
{
	return scandirat(AT_FDCWD, path, out, filter, compare);
}

/* struct dirent64 is struct dirent. */
EXPORT int scandir64(const char *path, struct dirent64 ***out,
		     int (*filter)(const struct dirent64 *),
		     int (*compare)(const struct dirent64 **, const struct dirent64 **))
{
	return scandirat(AT_FDCWD, path, (struct dirent ***)out, (filter_fn *)filter,
			 (compare_fn *)compare);
}

/* ------------------------------------------------------------------ glob() */

/* The hook; the plain name is the kernel's here (inside.c). */
int __real_fstatat(int dirfd, const char *path, struct stat *st, int flags);

static int look(const char *path, struct stat *st)
{
	return __real_fstatat(AT_FDCWD, path, st, 0);
}

static int look_at_link(const char *path, struct stat *st)
{
	return __real_fstatat(AT_FDCWD, path, st, AT_SYMLINK_NOFOLLOW);
}

static void close_stream(void *dir)
{
	closedir(dir);
}

EXPORT int glob(const char *pattern, int flags, int (*failed)(const char *, int), glob_t *g)
{
	int r;

	if (flags & GLOB_ALTDIRFUNC)
		return REAL(glob)(pattern, flags, failed, g);
	g->gl_opendir = (void *(*)(const char *))opendir;
	g->gl_readdir = (struct dirent * (*)(void *))readdir;
	g->gl_closedir = close_stream;
	g->gl_stat = look;
	g->gl_lstat = look_at_link;
	r = REAL(glob)(pattern, flags | GLOB_ALTDIRFUNC, failed, g);
	g->gl_flags &= ~GLOB_ALTDIRFUNC;
	return r;
}

EXPORT int glob64(const char *pattern, int flags, int (*failed)(const char *, int), glob64_t *g)
{
	return glob(pattern, flags, failed, (glob_t *)g);
}
