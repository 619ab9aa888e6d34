/* SPDX-License-Identifier: MIT */
#include "cpu/translator/perfmap.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "sync/atomic.h"

#define NAME_SIZE 96
/* A symbol further below an address than this is not its function's. */
#define FUNCTION_MOST (1u << 20)

struct symbol {
	u64 at;
	char *name;
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int map = -1; /* written before the first vCPU is there, as are: */
static struct symbol *symbols;
static size_t nsymbols;

static int by_address(const void *a, const void *b)
{
	const struct symbol *x = a, *y = b;

	return x->at < y->at ? -1 : x->at > y->at;
}

/* A line of kallsyms: address, type, name, and a module. */
static bool take_line(const char *line)
{
	static size_t room;
	char name[NAME_SIZE], type;
	u64 at;

	if (sscanf(line, "%lx %c %95s", &at, &type, name) != 3 || !at || !strchr("tTwW", type))
		return true;
	if (nsymbols == room) {
		struct symbol *more = realloc(symbols, (room * 2 + 1024) * sizeof(*more));

		if (!more)
			return false;
		symbols = more;
		room = room * 2 + 1024;
	}
	symbols[nsymbols] = (struct symbol){at, strdup(name)};
	return symbols[nsymbols].name && ++nsymbols;
}

static void read_symbols(const char *path)
{
	char line[512];
	FILE *f = fopen(path, "re");

	if (!f) {
		dprintf(STDERR_FILENO, "userkvm: %s cannot be read: guest code has no symbols\n", path);
		return;
	}
	while (fgets(line, sizeof(line), f) && take_line(line))
		;
	fclose(f);
	if (nsymbols)
		qsort(symbols, nsymbols, sizeof(*symbols), by_address);
	else
		dprintf(STDERR_FILENO, "userkvm: %s has no symbol of a function with an address\n", path);
}

static void open_map(void)
{
	const char *wanted = secure_getenv("USERKVM_PERF_MAP");
	char path[64];

	if (!wanted)
		return;
	if (strchr(wanted, '/'))
		read_symbols(wanted);
	snprintf(path, sizeof(path), "/tmp/perf-%d.map", getpid());
	map = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (map < 0)
		dprintf(STDERR_FILENO, "userkvm: %s cannot be written: perf will see no names\n", path);
}

void perfmap_open(void)
{
	pthread_once(&once, open_map);
}

static const char *symbol_at(u64 rip)
{
	size_t lo = 0, hi = nsymbols;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (symbols[mid].at <= rip)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo && rip - symbols[lo - 1].at < FUNCTION_MOST ? symbols[lo - 1].name : NULL;
}

void perfmap_add(const void *code, u32 size, u64 rip, bool user)
{
	const char *name = map < 0 || user ? NULL : symbol_at(rip);
	char line[64 + NAME_SIZE];
	int n;

	if (map < 0)
		return;
	if (name)
		n = snprintf(line, sizeof(line), "%lx %x %s\n", (u64)code, size, name);
	else
		n = snprintf(line, sizeof(line), "%lx %x guest %s page 0x%lx\n", (u64)code, size,
			     user ? "user" : "kernel", (u64)(rip & PAGE_MASK));
	/* One write a line: vCPUs share the file. What is not written is not named. */
	if (write(map, line, (size_t)n) != n)
		return;
}
