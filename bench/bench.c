/* SPDX-License-Identifier: MIT */
#include "bench.h"

#include <errno.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <unistd.h>

const char *const backing_name[NR_BACKINGS] = {"anon", "memfd"};

void bench_die(const char *fmt, ...)
{
	int err = errno;
	va_list ap;

	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, " (%s)\n", strerror(err));
	exit(1);
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(const double *v, unsigned n)
{
	double s[BENCH_TURNS];

	memcpy(s, v, n * sizeof(*v));
	qsort(s, n, sizeof(*s), by_value);
	return s[n / 2];
}

void figure_add(struct figure *f, double value, double reference)
{
	MUST(f->n < BENCH_TURNS, "too many turns");
	f->value[f->n] = value;
	f->reference[f->n++] = reference;
}

void figure_print(const struct figure *f, const char *name, const char *unit,
		  const char *reference, const char *aim)
{
	double ratio[BENCH_TURNS];

	printf("%s\t%.4g\t%s\t", name, median(f->value, f->n), unit);
	if (!reference) {
		printf("-\t-\t%s\n", aim);
		return;
	}
	for (unsigned i = 0; i < f->n; i++)
		ratio[i] = f->value[i] / f->reference[i];
	printf("%s\t%.4g\t%s\n", reference, median(ratio, f->n), aim);
	fflush(stdout);
}

/* ------------------------------------------------------------------ memory */

void *memory_map(enum backing b, u64 size)
{
	int fd = -1, flags = MAP_PRIVATE | MAP_ANONYMOUS;
	void *p;

	if (b == BACKING_MEMFD) {
		fd = memfd_create("bench", MFD_CLOEXEC);
		MUST(fd >= 0 && !ftruncate(fd, (off_t)size), "memfd");
		flags = MAP_SHARED;
	}
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, fd, 0);
	MUST(p != MAP_FAILED, "mmap");
	/* Refused where the host has no huge pages to keep away. */
	madvise(p, size, MADV_NOHUGEPAGE);
	if (fd >= 0)
		close(fd);
	return p;
}

void memory_unmap(void *p, u64 size)
{
	MUST(!munmap(p, size), "munmap");
}

void host_touch(void *p, const void *end)
{
	asm volatile("1: mov %%rax, (%0)\n\tadd $4096, %0\n\tcmp %1, %0\n\tjb 1b"
		     : "+r"(p)
		     : "r"(end)
		     : "memory", "cc");
}

void host_chase(const void *base, u64 first, u64 n)
{
	asm volatile("1: mov (%2, %0), %0\n\tdec %1\n\tjnz 1b"
		     : "+r"(first), "+r"(n)
		     : "r"(base)
		     : "memory", "cc");
}

static u64 random_below(u64 n)
{
	static u64 state = 88172645463325252ULL;

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state % n;
}

void chase_fill(void *base, u64 size)
{
	u64 n = size / PAGE, *at = malloc(n * sizeof(*at));

	MUST(at, "out of memory");
	/* Another line in each page, so that the words do not meet in one set of the cache. */
	for (u64 i = 0; i < n; i++)
		at[i] = i * PAGE + (i * 7 % 64) * 64;
	/* The ring begins at page 0: shuffle the others. */
	for (u64 i = n - 1; i > 1; i--) {
		u64 j = 1 + random_below(i), t = at[i];

		at[i] = at[j];
		at[j] = t;
	}
	for (u64 i = 0; i < n; i++)
		*(u64 *)((u8 *)base + at[i]) = at[(i + 1) % n];
	free(at);
}
