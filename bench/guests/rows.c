/* SPDX-License-Identifier: MIT */
/*
 * bench/guests/rows.c: what a guest is measured by, one row a function, the same program natively and
 * in guests. It is static, so that it runs where there is nothing else.
 *
 * usage: rows                             every row
 *        rows NAME...                     these
 *        rows -l                          their names, in order
 *        rows -g                          the names of those that are for guests alone
 *        rows -c NAME TIMES COMMAND...    a command, run TIMES times, is a row
 * Prints a line for each row: "row NAME SECONDS", of the row's work alone.
 */
#include <fcntl.h>
#include <immintrin.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define KIB 1024ul
#define MIB (KIB * KIB)
#define LINE 64ul
#define PAGE 4096ul

static volatile uint64_t sink; /* so that nothing is left out */
static double start;	       /* of the row; one that has to prepare something begins anew after that */

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ------------------------------------------------------------------ computing */

static void integer_loop(void)
{
	uint64_t a = 1, b = 2, c = 3;

	for (unsigned long i = 0; i < 60000000; i++) {
		a += b ^ i;
		b = (b << 7 | b >> 57) + c;
		c ^= a * 5;
	}
	sink = a + b + c;
}

#define ORDER 192
static float left[ORDER][ORDER] __attribute__((aligned(64))), right[ORDER][ORDER] __attribute__((aligned(64))),
	product[ORDER][ORDER] __attribute__((aligned(64)));

static void matrices_fill(void)
{
	for (int i = 0; i < ORDER; i++) {
		for (int j = 0; j < ORDER; j++) {
			left[i][j] = (float)(i + j) / ORDER;
			right[i][j] = (float)(i - j) / ORDER;
			product[i][j] = 0;
		}
	}
}

static void matrix_sse(void)
{
	matrices_fill();
	for (int n = 0; n < 20; n++) {
		for (int i = 0; i < ORDER; i++) {
			for (int k = 0; k < ORDER; k++) {
				__m128 f = _mm_set1_ps(left[i][k]);

				for (int j = 0; j < ORDER; j += 4) {
					__m128 p = _mm_load_ps(&product[i][j]);

					p = _mm_add_ps(p, _mm_mul_ps(f, _mm_load_ps(&right[k][j])));
					_mm_store_ps(&product[i][j], p);
				}
			}
		}
	}
	sink = (uint64_t)product[1][2];
}

__attribute__((target("avx2,fma"))) static void matrix_avx2(void)
{
	matrices_fill();
	for (int n = 0; n < 40; n++) {
		for (int i = 0; i < ORDER; i++) {
			for (int k = 0; k < ORDER; k++) {
				__m256 f = _mm256_set1_ps(left[i][k]);

				for (int j = 0; j < ORDER; j += 8) {
					__m256 p = _mm256_load_ps(&product[i][j]);

					p = _mm256_fmadd_ps(f, _mm256_load_ps(&right[k][j]), p);
					_mm256_store_ps(&product[i][j], p);
				}
			}
		}
	}
	sink = (uint64_t)product[1][2];
}

static uint32_t random_state;

static uint32_t next_random(void)
{
	random_state = random_state * 1664525 + 1013904223;
	return random_state >> 8;
}

#define SORTED 100000
static int ascending(const void *a, const void *b)
{
	int x = *(const int *)a, y = *(const int *)b;

	return (x > y) - (x < y);
}

static void sort(void)
{
	static int v[SORTED];

	random_state = 1;
	for (int n = 0; n < 4; n++) {
		for (int i = 0; i < SORTED; i++)
			v[i] = (int)next_random();
		qsort(v, SORTED, sizeof(v[0]), ascending);
	}
	sink = (uint64_t)v[SORTED / 2];
}

static void format(void)
{
	char text[128];
	uint64_t length = 0;

	for (int i = 0; i < 400000; i++)
		length += (uint64_t)snprintf(text, sizeof(text), "%d %s %08x %lu", i, "a string", i * 7u,
					     (unsigned long)i << 20);
	sink = length;
}

__attribute__((noinline)) static unsigned fibonacci(unsigned n)
{
	return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}

static void recursion(void)
{
	volatile unsigned n = 33;

	sink = fibonacci(n);
}

/* ------------------------------------------------------------------ SHA-256 (FIPS 180-4, 6.2) */

static uint32_t sha_k[64];

/* The first 32 bits of the fractional part of a root of n. */
static uint32_t root_bits(unsigned n, bool cube)
{
	long double x = n, r = n;

	for (int i = 0; i < 100; i++)
		r = cube ? (2 * r + x / (r * r)) / 3 : (r + x / r) / 2;
	return (uint32_t)((r - (long double)(uint64_t)r) * 4294967296.0L);
}

static void sha_init(uint32_t h[8])
{
	unsigned n = 0;

	for (unsigned p = 2; n < 64; p++) {
		bool prime = true;

		for (unsigned d = 2; d * d <= p; d++)
			prime &= p % d != 0;
		if (!prime)
			continue;
		if (n < 8)
			h[n] = root_bits(p, false);
		sha_k[n++] = root_bits(p, true);
	}
}

static uint32_t rotate(uint32_t x, int n)
{
	return x >> n | x << (32 - n);
}

static void sha_block(uint32_t h[8], const uint8_t *in)
{
	uint32_t w[64], s[8];

	for (int i = 0; i < 16; i++) {
		memcpy(&w[i], in + 4 * i, 4);
		w[i] = __builtin_bswap32(w[i]);
	}
	for (int i = 16; i < 64; i++) {
		uint32_t a = w[i - 15], b = w[i - 2];

		w[i] = w[i - 16] + (rotate(a, 7) ^ rotate(a, 18) ^ a >> 3) + w[i - 7] +
		       (rotate(b, 17) ^ rotate(b, 19) ^ b >> 10);
	}
	memcpy(s, h, sizeof(s));
	for (int i = 0; i < 64; i++) {
		uint32_t e = s[4], a = s[0], t1, t2;

		t1 = s[7] + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + ((e & s[5]) ^ (~e & s[6])) +
		     sha_k[i] + w[i];
		t2 = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) +
		     ((a & s[1]) ^ (a & s[2]) ^ (s[1] & s[2]));
		memmove(s + 1, s, 7 * sizeof(s[0]));
		s[4] += t1;
		s[0] = t1 + t2;
	}
	for (int i = 0; i < 8; i++)
		h[i] += s[i];
}

static void sha256(void)
{
	static uint8_t data[64 * KIB];
	uint32_t h[8];

	sha_init(h);
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7);
	for (int n = 0; n < 200; n++) {
		for (size_t at = 0; at < sizeof(data); at += 64)
			sha_block(h, data + at);
	}
	sink = h[0];
}

/* ------------------------------------------------------------------ memory */

/* Loads, each from where the one before says, in a random ring through all lines. */
static void chase(size_t bytes, unsigned long steps)
{
	size_t n = bytes / LINE;
	uint8_t *m = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint32_t *order = malloc(n * sizeof(*order));
	void **p;

	if (m == MAP_FAILED || !order)
		exit(1);
	random_state = 3;
	for (size_t i = 0; i < n; i++)
		order[i] = (uint32_t)i;
	for (size_t i = n - 1; i > 0; i--) {
		size_t j = next_random() % (i + 1);
		uint32_t t = order[i];

		order[i] = order[j];
		order[j] = t;
	}
	for (size_t i = 0; i < n; i++)
		*(void **)(m + order[i] * LINE) = m + order[(i + 1) % n] * LINE;
	p = (void **)m;
	start = now();
	for (unsigned long i = 0; i < steps; i++)
		p = *p;
	sink = (uint64_t)p;
	free(order);
	munmap(m, bytes);
}

static void chase_16k(void)
{
	chase(16 * KIB, 40000000);
}

static void chase_4m(void)
{
	chase(4 * MIB, 2000000);
}

static void chase_256m(void)
{
	chase(256 * MIB, 400000);
}

static void first_touch(void)
{
	for (int n = 0; n < 8; n++) {
		size_t bytes = 16 * MIB;
		uint8_t *m = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (m == MAP_FAILED)
			exit(1);
		madvise(m, bytes, MADV_NOHUGEPAGE);
		for (size_t at = 0; at < bytes; at += PAGE)
			m[at] = 1;
		munmap(m, bytes);
	}
}

/* ------------------------------------------------------------------ the kernel */

static void system_call(void)
{
	for (int i = 0; i < 400000; i++)
		sink = (uint64_t)syscall(SYS_getppid);
}

static void wait_for(pid_t pid)
{
	int status;

	if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
		exit(1);
}

static void fork_exit(void)
{
	for (int i = 0; i < 300; i++) {
		pid_t pid = fork();

		if (!pid)
			_exit(0);
		wait_for(pid);
	}
}

static void exec_self(void)
{
	for (int i = 0; i < 200; i++) {
		pid_t pid = vfork();

		if (!pid) {
			execl("/proc/self/exe", "rows", "nothing", (char *)NULL);
			_exit(1);
		}
		wait_for(pid);
	}
}

static void pipes(void)
{
	int there[2], back[2];
	char c = 0;
	pid_t pid;

	if (pipe(there) || pipe(back))
		exit(1);
	pid = fork();
	if (!pid) {
		while (read(there[0], &c, 1) == 1 && c == 0)
			if (write(back[1], &c, 1) != 1)
				break;
		_exit(0);
	}
	for (int i = 0; i < 10000; i++) {
		if (write(there[1], &c, 1) != 1 || read(back[0], &c, 1) != 1)
			exit(1);
	}
	c = 1;
	if (write(there[1], &c, 1) != 1)
		exit(1);
	wait_for(pid);
	for (int i = 0; i < 2; i++) {
		close(there[i]);
		close(back[i]);
	}
}

static uint32_t lock_word __attribute__((aligned(64)));
static uint64_t guarded;

#define LOCKED 1000000
static void *take_lock(void *arg)
{
	for (int i = 0; i < LOCKED; i++) {
		while (__atomic_exchange_n(&lock_word, 1, __ATOMIC_ACQUIRE)) {
			while (__atomic_load_n(&lock_word, __ATOMIC_RELAXED))
				_mm_pause();
		}
		guarded++;
		__atomic_store_n(&lock_word, 0, __ATOMIC_RELEASE);
	}
	return arg;
}

static void two_threads(void *(*fn)(void *))
{
	pthread_t other;

	if (pthread_create(&other, NULL, fn, NULL))
		exit(1);
	fn(NULL);
	pthread_join(other, NULL);
}

static void lock(void)
{
	guarded = 0;
	two_threads(take_lock);
	if (guarded != 2 * LOCKED)
		exit(1);
}

/* Interrupts between processors: each barrier sends one to the processor that the other thread uses. */
static volatile bool barriers_done;

static void *spin(void *arg)
{
	while (!barriers_done)
		_mm_pause();
	return arg;
}

static void interrupts(void)
{
	pthread_t other;

	barriers_done = false;
	syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0);
	if (pthread_create(&other, NULL, spin, NULL))
		exit(1);
	for (int i = 0; i < 20000; i++)
		syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
	barriers_done = true;
	pthread_join(other, NULL);
}

/* A timer's interrupt, and the halt that it ends, each time. */
static void timer(void)
{
	const struct itimerspec soon = {.it_value.tv_nsec = 1};
	int fd = timerfd_create(CLOCK_MONOTONIC, 0);
	uint64_t n;

	for (int i = 0; i < 10000; i++) {
		if (timerfd_settime(fd, 0, &soon, NULL) || read(fd, &n, sizeof(n)) != sizeof(n))
			exit(1);
	}
	close(fd);
}

/* Accesses to devices of the monitor's: the PCI bridge's address port, and a register of an AHCI controller that
 * no driver uses. The machine is q35, and the caller root of a guest. */
static void port(void)
{
	if (iopl(3))
		exit(1);
	for (int i = 0; i < 50000; i++)
		sink = inl(0xcf8);
}

#define AHCI "/sys/bus/pci/devices/0000:00:1f.2/"
static void mmio(void)
{
	int enable = open(AHCI "enable", O_WRONLY), fd = open(AHCI "resource5", O_RDWR | O_SYNC);
	volatile uint32_t *reg;

	if (enable < 0 || write(enable, "1", 1) != 1)
		exit(1);
	reg = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (reg == MAP_FAILED)
		exit(1);
	for (int i = 0; i < 50000; i++)
		sink = reg[4]; /* the version */
	close(fd);
	close(enable);
}

/* ------------------------------------------------------------------ all of them */

static void nothing(void)
{
}

/* Where a row belongs: nowhere but where it is named; in a guest, where it is named; everywhere. */
enum place { NOWHERE, GUEST, EVERYWHERE };

static const struct {
	const char *name;
	void (*run)(void);
	enum place place;
} rows[] = {
	{"integer", integer_loop, EVERYWHERE},
	{"matrix-sse", matrix_sse, EVERYWHERE},
	{"matrix-avx2", matrix_avx2, EVERYWHERE},
	{"chase-16k", chase_16k, EVERYWHERE},
	{"chase-4m", chase_4m, EVERYWHERE},
	{"chase-256m", chase_256m, EVERYWHERE},
	{"qsort", sort, EVERYWHERE},
	{"snprintf", format, EVERYWHERE},
	{"recursion", recursion, EVERYWHERE},
	{"sha256", sha256, EVERYWHERE},
	{"syscall", system_call, EVERYWHERE},
	{"first-touch", first_touch, EVERYWHERE},
	{"fork", fork_exit, EVERYWHERE},
	{"exec", exec_self, EVERYWHERE},
	{"pipe", pipes, EVERYWHERE},
	{"lock", lock, EVERYWHERE},
	{"ipi", interrupts, EVERYWHERE},
	{"timer", timer, EVERYWHERE},
	{"port", port, GUEST},
	{"mmio", mmio, GUEST},
	{"nothing", nothing, NOWHERE},
};

static bool wanted(const char *name, enum place place, int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], name))
			return true;
	}
	return argc < 2 && place == EVERYWHERE;
}

static void print_row(const char *name)
{
	printf("row %s %.6f\n", name, now() - start);
	fflush(stdout);
}

/* What it prints is not wanted, what it complains about is. */
static void run_command(char **argv)
{
	pid_t pid = vfork();

	if (!pid) {
		int null = open("/dev/null", O_WRONLY | O_CREAT, 0600);

		dup2(null, STDOUT_FILENO);
		execvp(argv[0], argv);
		_exit(127);
	}
	wait_for(pid);
}

static int command_row(const char *name, int times, char **argv)
{
	start = now();
	for (int i = 0; i < times; i++)
		run_command(argv);
	print_row(name);
	return 0;
}

int main(int argc, char **argv)
{
	enum place list = argc != 2 ? NOWHERE
			  : !strcmp(argv[1], "-l") ? EVERYWHERE
			  : !strcmp(argv[1], "-g") ? GUEST
						   : NOWHERE;

	if (argc > 4 && !strcmp(argv[1], "-c"))
		return command_row(argv[2], atoi(argv[3]), argv + 4);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (list ? rows[i].place != list : !wanted(rows[i].name, rows[i].place, argc, argv))
			continue;
		if (rows[i].run == matrix_avx2 &&
		    !(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")))
			continue;
		if (list) {
			puts(rows[i].name);
			continue;
		}
		start = now();
		rows[i].run();
		if (rows[i].place != NOWHERE)
			print_row(rows[i].name);
	}
	return 0;
}
