/* SPDX-License-Identifier: MIT */
/*
 * What the kernel says is mapped where: /proc/self/maps, read once and kept until a change of the
 * VMM's own mappings is seen.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "primary/linux/internal.h"

/* A sorted snapshot of the process's mappings. */
struct regions {
	u32 n;
	struct region r[];
};

static struct {
	struct rwlock lock;
	struct regions *now; /* guarded by lock; NULL: must be read anew */
	u64 generation;	     /* atomic: forgets so far */
} cache;

__attribute__((constructor)) static void cache_init(void)
{
	rwlock_init(&cache.lock);
}

void regions_forget(void)
{
	struct regions *old;

	sync_add(&cache.generation, 1);
	rwlock_write_lock(&cache.lock);
	old = cache.now;
	cache.now = NULL;
	rwlock_write_unlock(&cache.lock);
	free(old);
}

static bool lookup(const struct regions *all, hva_t hva, struct region *out)
{
	u32 lo = 0, hi = all->n;

	while (lo < hi) {
		u32 mid = (lo + hi) / 2;

		if (all->r[mid].end <= hva)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == all->n || all->r[lo].start > hva)
		return false;
	*out = all->r[lo];
	return true;
}

/* The whole file, NUL-terminated; NULL when memory or the file is missing. */
static char *read_maps(void)
{
	int fd = (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC);
	size_t size = 256 << 10, n = 0;
	char *buf = fd >= 0 ? malloc(size) : NULL;

	while (buf) {
		long r = syscall(SYS_read, fd, buf + n, size - n - 1);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			break;
		n += (size_t)r;
		if (size - n < 4096) {
			char *more = realloc(buf, size *= 2);

			if (!more)
				free(buf);
			buf = more;
		}
	}
	if (fd >= 0)
		syscall(SYS_close, fd);
	if (buf)
		buf[n] = 0;
	return buf;
}

static struct regions *parse_maps(void)
{
	char *buf = read_maps();
	struct regions *all = NULL;
	u32 lines = 0;

	for (char *p = buf; p && *p; p++)
		lines += *p == '\n';
	if (buf)
		all = malloc(sizeof(*all) + lines * sizeof(all->r[0]));
	if (all)
		all->n = 0;
	for (char *p = buf; all && p && *p; p = strchr(p, '\n') + 1) {
		struct region *r = &all->r[all->n];
		unsigned long start, end, off, ino;
		unsigned major, minor;
		char perm[5];

		if (sscanf(p, "%lx-%lx %4s %lx %x:%x %lu", &start, &end, perm, &off, &major, &minor,
			   &ino) == 7) {
			*r = (struct region){start, end, perm[0] == 'r', perm[1] == 'w',
					     perm[3] == 's', off, (u64)major << 32 | minor, ino};
			all->n++;
		}
		if (!strchr(p, '\n'))
			break;
	}
	free(buf);
	return all;
}

int regions_find(hva_t hva, struct region *out)
{
	struct regions *all, *old = NULL;
	bool have, found = false;
	u64 gen;

	rwlock_read_lock(&cache.lock);
	have = cache.now;
	if (have)
		found = lookup(cache.now, hva, out);
	rwlock_read_unlock(&cache.lock);
	if (found)
		return 0;

	/* Not there, or never read: ask the kernel before saying no, since a mapping may be new. */
	gen = sync_load_acquire(&cache.generation);
	all = parse_maps();
	if (!all)
		return -ENOMEM;
	found = lookup(all, hva, out);
	rwlock_write_lock(&cache.lock);
	/* What was read before somebody's change is not kept after it. */
	if (gen == sync_load(&cache.generation)) {
		old = cache.now;
		cache.now = all;
		all = NULL;
	}
	rwlock_write_unlock(&cache.lock);
	free(all);
	free(old);
	return found ? 0 : -EFAULT;
}
