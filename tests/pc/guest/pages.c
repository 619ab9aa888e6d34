/* SPDX-License-Identifier: MIT */
/*
 * Runs in a guest: keeps rewriting memory of its own with a pattern that it checks before every
 * write, while somebody migrates the guest, inflates a balloon in it or does else to its
 * memory.
 *
 * usage: pages NAME MIB RATE   rewrite MIB of memory, RATE pages a second (0: as fast as it
 * goes)
 *
 * SIGUSR1: check every page and say so, on a line that starts with "pages NAME:". SIGTERM: the
 * same, and end. A page that is not as it was left ends the program with status 1 at once.
 */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define PAGE_SIZE  4096
#define PAGE_WORDS (PAGE_SIZE / sizeof(uint64_t))
#define BATCHES	   50 /* a second */
#define NSEC	   1000000000L

static struct {
	const char *name;
	volatile uint64_t (*page)[PAGE_WORDS];
	uint32_t *generation; /* of each page: how often it was written */
	size_t npages;
	uint64_t seed, writes;
} t;
static volatile sig_atomic_t say, end;

/* splitmix64's finalizer: every bit of the argument tells in every bit of the result. */
static uint64_t mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
	return x ^ (x >> 31);
}

/* The first word of a page; the others count up from it. */
static uint64_t first_word(size_t page, uint32_t generation)
{
	return mix(t.seed + page * 0x100000000 + generation);
}

static void write_page(size_t page)
{
	uint64_t word = first_word(page, ++t.generation[page]);

	for (size_t i = 0; i < PAGE_WORDS; i++)
		t.page[page][i] = word + i;
	t.writes++;
}

static void bad(size_t page, size_t i, uint64_t found, uint64_t wanted)
{
	uint32_t generation = t.generation[page], back;

	/* An older generation of the same page says that a write was lost. */
	for (back = 1; back <= generation; back++) {
		if (first_word(page, generation - back) + i == found)
			break;
	}
	printf("pages %s: BAD page %zu word %zu after %lu writes: %#lx, not %#lx", t.name, page,
	       i, t.writes, found, wanted);
	if (back <= generation)
		printf(": it is %u generations old", back);
	printf("\n");
	fflush(stdout);
	exit(1);
}

static void check_page(size_t page)
{
	uint64_t word = first_word(page, t.generation[page]);

	for (size_t i = 0; i < PAGE_WORDS; i++) {
		uint64_t found = t.page[page][i];

		if (found != word + i)
			bad(page, i, found, word + i);
	}
}

static void check_all(void)
{
	for (size_t page = 0; page < t.npages; page++)
		check_page(page);
	printf("pages %s: all %zu right after %lu writes\n", t.name, t.npages, t.writes);
	fflush(stdout);
}

static void on_signal(int sig)
{
	say = 1;
	end = sig == SIGTERM;
}

static void setup(char **argv)
{
	struct sigaction action = {.sa_handler = on_signal};

	t.name = argv[1];
	t.npages = strtoul(argv[2], NULL, 0) * (1024 * 1024 / PAGE_SIZE);
	t.seed = mix((uint64_t)getpid());
	t.page = mmap(NULL, t.npages * PAGE_SIZE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	t.generation = calloc(t.npages, sizeof(*t.generation));
	if (t.page == MAP_FAILED || !t.generation) {
		printf("pages %s: out of memory\n", t.name);
		exit(1);
	}
	sigaction(SIGUSR1, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	for (size_t page = 0; page < t.npages; page++)
		write_page(page);
	printf("pages %s: begins\n", t.name);
	fflush(stdout);
}

/* Some pages at random, as a program touches memory: the whole in no order, a part often. */
static void rewrite_some(size_t n)
{
	static uint64_t random;

	while (n--) {
		uint64_t r = mix(t.seed ^ ++random);
		size_t page = r % t.npages;

		if (r >> 63)
			page /= 8;
		check_page(page);
		write_page(page);
	}
}

int main(int argc, char **argv)
{
	unsigned long rate;

	if (argc != 4)
		return 2;
	setup(argv);
	rate = strtoul(argv[3], NULL, 0);
	while (!end) {
		struct timespec pause = {0, NSEC / BATCHES};

		rewrite_some(rate ? rate / BATCHES : 1000);
		if (rate)
			nanosleep(&pause, NULL);
		if (say) {
			say = 0;
			check_all();
		}
	}
	return 0;
}
