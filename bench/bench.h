/* SPDX-License-Identifier: MIT */
/*
 * bench/bench.h: what the programs of a benchmark share. A program measures, several times and by
 * turns, what it is about and what that is compared to, and prints a line for each figure:
 *
 *	name value unit reference ratio aim		(separated by tabs)
 *
 * value is the median, `reference` says what it is compared to, ratio is the median of value over
 * reference turn by turn, aim is what the ratio should meet ("<= 1.3") or "-". bench/run starts the
 * programs in several rounds and makes the table.
 */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef uint8_t u8;
typedef uint32_t u32;
typedef uint64_t u64;

#define PAGE   4096ULL
#define MIB    (1ULL << 20)
#define GIB    (1ULL << 30)
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

#define BENCH_TURNS 7

/* What one figure is made of. */
struct figure {
	double value[BENCH_TURNS], reference[BENCH_TURNS];
	unsigned n;
};

static inline u64 now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (u64)ts.tv_sec * 1000000000 + (u64)ts.tv_nsec;
}

void figure_add(struct figure *f, double value, double reference);
/* A line for f; without a reference it says "-" and has no ratio. */
void figure_print(const struct figure *f, const char *name, const char *unit,
		  const char *reference, const char *aim);

/* The process ends with a message. */
void bench_die(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
#define MUST(cond, ...)                                                                            \
	do {                                                                                       \
		if (!(cond))                                                                       \
			bench_die(__VA_ARGS__);                                                    \
	} while (0)

/* Memory in 4 KiB host pages: private and anonymous, or a memfd's, shared. */
enum backing { BACKING_ANON, BACKING_MEMFD, NR_BACKINGS };
extern const char *const backing_name[NR_BACKINGS];
void *memory_map(enum backing b, u64 size);
void memory_unmap(void *p, u64 size);

/* What guest and host both do: a store to each page of [p, end); n loads, each from where the one
 * before says, relative to base. */
void host_touch(void *p, const void *end);
void host_chase(const void *base, u64 first, u64 n);
/* Fill the pages of [base, base + size) for host_chase(): one random ring, a word in each page. */
void chase_fill(void *base, u64 size);

#endif
