/* SPDX-License-Identifier: MIT */
/*
 * The table of areas: see own.h. It only ever grows; of an area that loses a part, what is left
 * stands in its line and a new one. Each change is one store, in an order in which a reader without
 * the lock sees at most too much.
 */
#include "base/own.h"

#include <link.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "sync/atomic.h"
#include "sync/lock.h"

#define MAX_AREAS   4096
#define FIXED_UNIT  (2ULL << 30) /* two vCPUs with their code and blocks, where there is no room for more */
#define CHUNK_UNIT  (64ULL << 20)
#define LITTLE_UNIT (2ULL << 20) /* where address space is limited */
#define AREA_ALIGN  (1ULL << 30)
#define TRIES	    64

/*
 * Where areas go: above what sanitizers and runtimes name, below where Linux puts executables,
 * libraries and what may lie anywhere. At a random place in there, so that no address that a VMM
 * names by itself is likely to be ours.
 */
#define FIRST (1ULL << 45)
#define LAST  (5ULL << 44)

u64 own_loose_unit = 64ULL << 30;

struct area {
	u64 start, end; /* atomic; empty when end <= start */
	enum own_kind kind;
};

static struct {
	struct mutex lock;
	struct area area[MAX_AREAS];
	u32 n; /* atomic; written under the lock */
	u64 chunk, chunk_end; /* of the newest OWN_CHUNK area: what is left; lock */
	u64 limited;	      /* bytes reserved under a limit so far; lock */
	u64 seed;	      /* a page of ours with free space behind it, see own_blank(); lock */
	struct interval_tree slots; /* lock */
} own = {.lock = {.m = PTHREAD_MUTEX_INITIALIZER}};

/* A thread-sanitized program may not have memory just anywhere. */
void __tsan_init(void) __attribute__((weak));

/* ------------------------------------------------------------------ looking */

static struct own_range range_of(const struct area *a)
{
	return (struct own_range){sync_load(&a->start), sync_load(&a->end)};
}

bool own_overlaps(u64 start, u64 end)
{
	u32 n = sync_load_acquire(&own.n);

	for (u32 i = 0; i < n; i++) {
		struct own_range r = range_of(&own.area[i]);

		if (start < r.end && r.start < end && r.start < r.end)
			return true;
	}
	return false;
}

bool own_find(u32 kinds, u64 start, u64 end, struct own_range *out)
{
	u32 n = sync_load_acquire(&own.n);
	bool any = false;

	for (u32 i = 0; i < n; i++) {
		struct own_range r = range_of(&own.area[i]);

		if (!(kinds & BIT(own.area[i].kind)) || r.start >= r.end || r.end <= start ||
		    end <= r.start)
			continue;
		if (!any || MAX(r.start, start) < out->start)
			*out = (struct own_range){MAX(r.start, start), MIN(r.end, end)};
		any = true;
	}
	return any;
}

void own_clip(u64 at, u64 *start, u64 *end)
{
	u32 n = sync_load_acquire(&own.n);

	for (u32 i = 0; i < n; i++) {
		struct own_range r = range_of(&own.area[i]);

		if (r.start >= r.end)
			continue;
		if (r.end <= at)
			*start = MAX(*start, r.end);
		else if (r.start > at)
			*end = MIN(*end, r.start);
	}
}

bool own_next(enum own_kind kind, u32 *i, struct own_range *out)
{
	u32 n = sync_load_acquire(&own.n);

	while (*i < n) {
		const struct area *a = &own.area[(*i)++];

		*out = range_of(a);
		if (a->kind == kind && out->start < out->end)
			return true;
	}
	return false;
}

/* ------------------------------------------------------------------ address space; the lock is held */

static bool add(enum own_kind kind, u64 start, u64 end)
{
	struct area *a = &own.area[own.n];

	if (own.n == MAX_AREAS)
		return false;
	a->start = start;
	a->end = end;
	a->kind = kind;
	sync_store_release(&own.n, own.n + 1);
	return true;
}

static u64 random_place(u64 len)
{
	u64 r = 0;

	if (syscall(SYS_getrandom, &r, sizeof(r), GRND_NONBLOCK) != sizeof(r))
		r = __builtin_ia32_rdtsc() * 0x9e3779b97f4a7c15ULL;
	return FIRST + ALIGN_DOWN(r % MAX(LAST - FIRST - len, AREA_ALIGN), AREA_ALIGN);
}

static long map_nothing(u64 at, u64 len, int flags)
{
	return syscall(SYS_mmap, at, len, PROT_NONE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | flags, -1, 0L);
}

/* Address space where neither a mapping nor a slot lies, or 0. */
static u64 find_space(u64 len)
{
	u64 at;

	for (u32 i = 0; i < TRIES && len < LAST - FIRST && !__tsan_init; i++) {
		at = random_place(len);
		if (interval_find(&own.slots, at, at + len - 1))
			continue;
		if (map_nothing(at, len, MAP_FIXED_NOREPLACE) == (long)at)
			return at;
		if (errno != EEXIST)
			return 0;
	}
	at = (u64)map_nothing(0, len, 0);
	if ((long)at == -1)
		return 0;
	if (!interval_find(&own.slots, at, at + len - 1))
		return at;
	syscall(SYS_munmap, at, len);
	return 0;
}

/* ------------------------------------------------------------------ RLIMIT_MEMLOCK; the lock is held */

/*
 * Of a VMM that locks its memory to come (MCL_FUTURE) each new mapping counts as locked, whatever its
 * protection, and is refused where that is over the limit. What a mapping that is not locked grows by
 * does not count. So there is one page to grow from.
 */
static void plant_seed(void)
{
	u64 at = find_space(PAGE_SIZE);

	if (!at)
		return;
	syscall(SYS_munlock, at, PAGE_SIZE);
	if (add(OWN_CHUNK, at, at + PAGE_SIZE))
		own.seed = at;
	else
		syscall(SYS_munmap, at, PAGE_SIZE);
}

/* Inaccessible memory behind the seed, or 0. */
static u64 grow_seed(u64 len)
{
	u64 at = own.seed + PAGE_SIZE;

	if (!own.seed || interval_find(&own.slots, at, at + len - 1) ||
	    (u64)syscall(SYS_mremap, own.seed, PAGE_SIZE, PAGE_SIZE + len, 0L) != own.seed)
		return 0;
	return at;
}

/* The same, for good: what is behind it is the seed from then on. */
static u64 cut_from_seed(u64 len)
{
	u64 at = grow_seed(len + PAGE_SIZE);

	if (at && add(OWN_CHUNK, at + len, at + len + PAGE_SIZE)) {
		own.seed = at + len;
		return at;
	}
	if (at)
		syscall(SYS_munmap, at, len + PAGE_SIZE);
	return 0;
}

bool own_blank(u64 start, u64 end)
{
	bool ok = map_nothing(start, end - start, MAP_FIXED) != -1;
	u64 at;

	if (ok) {
		syscall(SYS_munlock, start, end - start);
		return true;
	}
	if (errno != EAGAIN)
		return false;
	mutex_lock(&own.lock);
	at = grow_seed(end - start);
	ok = at && (u64)syscall(SYS_mremap, at, end - start, end - start,
				MREMAP_MAYMOVE | MREMAP_FIXED, start) == start;
	if (at && !ok)
		syscall(SYS_munmap, at, end - start);
	mutex_unlock(&own.lock);
	return ok;
}

/* ------------------------------------------------------------------ growing; the lock is held */

bool own_space_limited(void)
{
	struct rlimit rl;

	return !getrlimit(RLIMIT_AS, &rl) && rl.rlim_cur != RLIM_INFINITY;
}

/* How much to ask for at first. Under a limit little, and more as more is needed. */
static u64 unit(enum own_kind kind, u64 least)
{
	if (own_space_limited()) {
		u64 len = MAX(least, own.limited / 8);

		return len > LITTLE_UNIT ? ALIGN_UP(len, PAGE_SIZE) : LITTLE_UNIT;
	}
	return ALIGN_UP(least, PAGE_SIZE) + (kind == OWN_LOOSE   ? own_loose_unit
					     : kind == OWN_CHUNK ? CHUNK_UNIT
								 : FIXED_UNIT);
}

static bool reserve(enum own_kind kind, u64 least, struct own_range *out)
{
	u64 len = unit(kind, least), at = 0;

	if (!own.seed)
		plant_seed();
	while (!(at = find_space(len)) && !(errno == EAGAIN && (at = cut_from_seed(len))) &&
	       len / 2 >= least)
		len = ALIGN_UP(len / 2, PAGE_SIZE);
	if (!at)
		return false;
	/* A VMM that locks its memory to come does not mean this. */
	syscall(SYS_munlock, at, len);
	if (!add(kind, at, at + len)) {
		syscall(SYS_munmap, at, len);
		return false;
	}
	own.limited += len;
	*out = (struct own_range){at, at + len};
	return true;
}

bool own_reserve(enum own_kind kind, u64 least)
{
	struct own_range r;
	bool ok;

	mutex_lock(&own.lock);
	ok = reserve(kind, least, &r);
	mutex_unlock(&own.lock);
	return ok;
}

u64 own_page_near(u64 hint)
{
	u64 at;

	mutex_lock(&own.lock);
	at = (u64)map_nothing(hint, PAGE_SIZE, 0);
	if ((long)at == -1) {
		at = 0;
	} else if (interval_find(&own.slots, at, at + PAGE_SIZE - 1) || !add(OWN_IMAGE, at, at + PAGE_SIZE)) {
		syscall(SYS_munmap, at, PAGE_SIZE);
		at = 0;
	}
	mutex_unlock(&own.lock);
	return at;
}

int own_commit(void *at, u64 len, int prot)
{
	return syscall(SYS_mprotect, at, len, prot) < 0 ? -errno : 0;
}

void *own_chunk(u64 len)
{
	struct own_range r;
	void *p = NULL;
	u64 at;

	mutex_lock(&own.lock);
	if (ALIGN_UP(own.chunk, len) + len > own.chunk_end && reserve(OWN_CHUNK, 2 * len, &r)) {
		own.chunk = r.start;
		own.chunk_end = r.end;
	}
	at = ALIGN_UP(own.chunk, len);
	if (at + len <= own.chunk_end && !own_commit((void *)at, len, PROT_READ | PROT_WRITE)) {
		p = (void *)at;
		own.chunk = at + len;
	}
	mutex_unlock(&own.lock);
	return p;
}

/* ------------------------------------------------------------------ giving way */

static bool carve(struct area *a, u64 start, u64 end)
{
	struct own_range r = range_of(a);

	if (start >= r.end || r.start >= end || r.start >= r.end)
		return true;
	if (start <= r.start) {
		sync_store_release(&a->start, MIN(end, r.end));
		return true;
	}
	/* What is behind stands in a line of its own before it goes from this one. */
	if (end < r.end && !add(a->kind, end, r.end))
		return false;
	sync_store_release(&a->end, start);
	return true;
}

bool own_carve(u64 start, u64 end)
{
	bool ok = true;

	mutex_lock(&own.lock);
	for (u32 i = 0, n = own.n; i < n; i++)
		ok &= carve(&own.area[i], start, end);
	mutex_unlock(&own.lock);
	return ok;
}

/* ------------------------------------------------------------------ what others say */

/* The libraries that came with ours. */
static bool came_with_us(const char *path)
{
	static const char *const names[] = {"liburcu-bp.so", "liburcu-common.so", "libZydis.so",
					    "libZycore.so"};
	const char *name = strrchr(path, '/');

	for (size_t i = 0; name && i < ARRAY_SIZE(names); i++) {
		if (!strncmp(name + 1, names[i], strlen(names[i])))
			return true;
	}
	return false;
}

static int add_image(struct dl_phdr_info *info, size_t size, void *symbol)
{
	u64 start = ~0ULL, end = 0;

	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];

		if (ph->p_type != PT_LOAD)
			continue;
		start = MIN(start, info->dlpi_addr + ph->p_vaddr);
		end = MAX(end, info->dlpi_addr + ph->p_vaddr + ph->p_memsz);
	}
	if (((u64)symbol >= start && (u64)symbol < end) || came_with_us(info->dlpi_name))
		add(OWN_IMAGE, ALIGN_DOWN(start, PAGE_SIZE), ALIGN_UP(end, PAGE_SIZE));
	return 0;
}

void own_images(const void *symbol)
{
	mutex_lock(&own.lock);
	dl_iterate_phdr(add_image, (void *)symbol);
	mutex_unlock(&own.lock);
}

void own_slot_insert(struct interval *n)
{
	mutex_lock(&own.lock);
	interval_insert(&own.slots, n);
	mutex_unlock(&own.lock);
}

void own_slot_remove(struct interval *n)
{
	mutex_lock(&own.lock);
	interval_remove(&own.slots, n);
	mutex_unlock(&own.lock);
}

/* ------------------------------------------------------------------ fork */

void own_forked_child(void)
{
	mutex_init(&own.lock);
	own.slots = (struct interval_tree){NULL};
	own.chunk = own.chunk_end = own.seed = 0;
	for (u32 i = 0; i < own.n; i++) {
		struct area *a = &own.area[i];

		if (a->kind == OWN_LOOSE)
			a->end = a->start;
		a->kind = OWN_IMAGE;
	}
}
