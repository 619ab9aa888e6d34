/* SPDX-License-Identifier: MIT */
/*
 * A stress of guest memory: vCPUs read and count while threads of the VMM change its mappings
 * and memslots in every way Linux and KVM have, and every byte a vCPU sees is checked.
 *
 * Guest memory is areas, one memslot each, one kind of backing each. In each page
 *   - words 1 to 8 are counters, one for each vCPU: a count that is not what its vCPU wrote
 *     last is a lost write, to that vCPU and to the others;
 *   - the other words hold the page's stamp, which the VMM writes, or 0 where nothing was
 * written. The oracle is beside it, in memory that nobody changes (struct gpage). It is a
 * sequence lock: a vCPU that saw no change from before its access to after it must have seen
 * exactly the expected value. Beside a change it may see old or new, but of this page of this
 * area only.
 *
 * Nothing here knows of userkvm: the same program runs on the real device.
 */
#ifndef TESTS_STRESS_MEM_STRESS_H
#define TESTS_STRESS_MEM_STRESS_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef int32_t s32;
typedef int64_t s64;
typedef uint64_t u64;

#define PAGE	  4096ULL
#define WORDS	  (PAGE / 8)
#define HUGE_PAGE (2ULL << 20)
#define MAX_VCPUS 8
#define COUNTERS  9 /* words from here up, and word 0, hold the stamp */
#define CODE	  16 /* words from here up share no cache line with the counters */
#define MAX_AREAS 12
#define PAGES	  512 /* of an area at most; a huge page */

/* Guest-physical layout; identity-mapped. */
#define GPA_PML4    0x3000ULL
#define GPA_CODE    0x10000ULL
#define GPA_STACKS  0x20000ULL
#define GPA_CONTROL 0x100000ULL
#define GPA_AREAS   0x40000000ULL
#define AREA_STRIDE 0x1000000ULL
#define GPA_MOVED   0x20000000ULL /* added to an area's address while its memslot is moved */

#define PORT_STOPPED 0x10
#define PORT_FAILED  0x11
#define PORT_LOOK    0x12 /* look at code again, which a VM entry makes a vCPU do */

/* What the oracle knows of a page. Written by the VMM, read by the guest. */
struct gpage {
	u32 seq; /* odd while the content changes */
	u32 away; /* changes in progress that may make it unreachable */
	u32 aways; /* such changes so far */
	u32 stored; /* the VMM's store to it, as in struct control */
	u32 gone; /* it was taken away: a number of its own, and how; 0: it is there */
	u32 reached; /* struct control's `now` when it was reached while gone, but late */
	u64 expected; /* every word but the counters */
};

/* In `gone`: nobody may reach it any more; somebody still may, for a while; or only zeroes are reached. */
#define GONE	   1
#define GONE_SOON  2
#define GONE_ZERO  3
#define GONE_HOW   3 /* a mask */
#define GONE_STEP  4

enum guest_failure {
	GUEST_FINE,
	GUEST_STALE,	/* a stable page held something else than expected */
	GUEST_FOREIGN,	/* neither this page's new content nor its old */
	GUEST_LOST,	/* a counter is not what was written last */
	GUEST_STALE_CODE, /* what was executed is not what the stable page held */
	GUEST_WROTE,	/* a write to a read-only memslot was no exit */
	GUEST_REACHED,	/* what the VMM has taken away was reached */
};

/* How far a vCPU's counter of a page is; others look at it. */
struct gcount {
	u32 seq; /* the page's at the last count, or odd: nobody knows what it holds */
	u32 begun, done;
};

/* An area as the guest knows it. */
struct garea {
	u32 npages;
	u32 flags;
};
#define GAREA_READ_ONLY 1
#define GAREA_UNCHECKED 2 /* nobody knows what it holds */
#define GAREA_SPARSE	4 /* of page 0, only word SPARSE_WORD is known; the others hold no code */
#define SPARSE_WORD	130

/* A vCPU's own; in the control memory. The counters' state is the guest's alone. */
struct gvcpu {
	u64 rng;
	u32 index, nareas;
	/* The access being made. */
	u32 area, page, away, aways;
	u32 hole; /* set by the VMM: the access became an MMIO exit */
	u32 fetching;
	u32 failure;
	u32 looked; /* stores of the VMM's that were over at the last VM entry for their sake */
	u64 found, wanted, word;
	u64 reads, stable, others, fetches, writes, exact, holes;
	struct gcount counts[MAX_AREAS][PAGES];
};

struct control {
	u32 stop, strict, nvcpus;
	u32 fetches; /* vCPUs run words as code, too: that costs as much as hundreds of reads */
	u32 stores; /* of the VMM's to pages, so far */
	u32 now; /* ms */
	struct garea areas[MAX_AREAS];
	struct gpage pages[MAX_AREAS][PAGES];
	struct gvcpu vcpus[MAX_VCPUS];
};

/*
 * Every word is code, too: mov $number, %eax; ret; and two bytes that say where it belongs, so that
 * a foreign one shows. Numbers grow.
 */
static inline __attribute__((always_inline)) u64 word_of(u32 kind, u32 area, u32 page, u32 n)
{
	return 0xb8 | (u64)n << 8 | 0xc3ULL << 40 |
	       (u64)(kind << 14 | (area & 15) << 10 | (page & 511)) << 48;
}

static inline __attribute__((always_inline)) u64 stamp_of(u32 area, u32 page, u32 n)
{
	return word_of(1, area, page, n);
}

#define COUNT_BITS 28
static inline __attribute__((always_inline)) u64 count_of(u32 vcpu, u32 area, u32 page, u32 n)
{
	return n ? word_of(2, area, page, vcpu << COUNT_BITS | n) : 0;
}

static inline __attribute__((always_inline)) u32 number_of(u64 word)
{
	return (u32)(word >> 8);
}

static inline __attribute__((always_inline)) bool same_place(u64 word, u64 other)
{
	return word >> 40 == other >> 40 && (u8)word == (u8)other;
}

/* ------------------------------------------------------------------ the machine */

enum log_mode {
	LOG_GET,   /* dirty logs, cleared as they are read */
	LOG_CLEAR, /* dirty logs, cleared by hand */
	LOG_RINGS,
	NR_LOG_MODES,
};
#define RING_ENTRIES 1024
#define FIRST_SLOT   1 /* area 0's */

struct vcpu {
	pthread_t thread;
	struct gvcpu *g;
	u64 faults, mmios;
};

struct machine {
	struct control *control;
	u32 nvcpus;
	enum log_mode log_mode;
	struct kvm_dirty_gfn *rings[MAX_VCPUS]; /* of RING_ENTRIES, in LOG_RINGS */
	struct vcpu vcpus[MAX_VCPUS];
};

extern struct machine machine;
extern const u8 __start_guest_text[], __stop_guest_text[];
void guest_main(struct control *control, struct gvcpu *c);

/* Two machines: a client of /dev/kvm (kvm/), and mmu/ with threads as vCPUs (direct/). */
void machine_create(u32 nvcpus, enum log_mode log_mode);
void machine_start(void);
void machine_stop(void);
/* Memslot of an area; size 0 deletes. */
void machine_slot(u32 area, u32 flags, u64 gpa, u64 size, void *hva);
void machine_dirty_get(u32 area, u64 *bitmap);
void machine_dirty_clear(u32 area, u32 npages, u64 *bitmap);
void machine_reset_rings(void);

/* ------------------------------------------------------------------ dirty rings */

/* Take what is in the rings, and let them be used again. */
void rings_collect(void);
/* What was dirty of an area since it was asked last. */
void rings_harvest(u32 area, u64 *bitmap);

/* ------------------------------------------------------------------ what exits mean */

/* The guest found something wrong, and says so. */
void vcpu_failed(struct vcpu *v) __attribute__((noreturn));
/* EFAULT: the guest will try again. */
void vcpu_fault(struct vcpu *v);
/* No memslot at gpa, or a read-only one: the access is over, and found a hole. */
void vcpu_hole(struct vcpu *v, u64 gpa, bool write);

/* ------------------------------------------------------------------ areas */

enum backing {
	PRIVATE_ANON,
	SHARED_ANON,
	MEMFD,
	TMPFS,
	FILE_SHARED,
	FILE_PRIVATE,
	HUGETLB,
	FILE_READ_ONLY, /* shared, a descriptor that cannot write, a read-only memslot */
	PERF,		/* a perf event's buffer: memory of the kernel's, without a reference count */
	VVAR,		/* the kernel's time page; what it holds is not known, and the VMM needs it */
	NR_BACKINGS,
};

struct area {
	enum backing backing;
	u32 index;
	u32 npages, unit; /* 4 KiB pages; changes are of `unit` of them */
	u8 *mem;	  /* at a multiple of HUGE_PAGE */
	u8 *park;	  /* as much address space, for what is moved away */
	int fd;		  /* or -1; twice the area's size */
	int map_fd;	  /* what is mapped: fd, or a read-only descriptor of the same */
	int prot;
	u32 slot_flags;
	u64 gpa;
	u32 off[PAGES];		/* page of the file behind each page */
	u64 content[2 * PAGES]; /* the stamp of each page of the file */
	pthread_mutex_t lock;	/* one change at a time */
	struct gpage *pages;
};

extern struct area areas[MAX_AREAS];
extern u32 nareas;
extern const char *const backing_names[NR_BACKINGS];

/* False, with the reason printed: this machine has none. */
bool area_create(enum backing backing);
void area_destroy(struct area *a);
/* Map [first, first + n) as the area's kind has it. */
void area_map(struct area *a, u32 first, u32 n);
/* What a page mapped anew, or dropped, holds. */
u64 area_fresh(const struct area *a, u32 page);
static inline bool area_is_shared(const struct area *a)
{
	return a->backing != PRIVATE_ANON && a->backing != FILE_PRIVATE;
}
/* New stamps, stored by the VMM; through its mapping where it can. */
void area_stamp(struct area *a, u32 first, u32 n);
void area_stamp_file(struct area *a, u32 first, u32 n);
/* As if the VMM had stored to these pages: their code is looked at after the next VM entry. */
void area_stored(struct area *a, u32 first, u32 n);
/* Give huge pages back. */
void areas_restore_host(void);
/* All that is checked when no vCPU runs. */
void area_check(struct area *a);

/* Every call that changes mappings or files is made in one of these ways. */
enum way {
	WAY_LIBC, /* a library in between may stand in for it */
	WAY_RAW,  /* an instruction of this program's own, which none sees */
	WAY_CHILD, /* the same by a child that shares memory, beside this thread */
	WAY_VFORK, /* and one that this thread waits for */
	WAY_FOREIGN, /* another process does it to a file; raw, where it is no file */
	NR_WAYS,
};

/* ------------------------------------------------------------------ changes */

#define LOGGED 16

struct logged {
	u64 number;
	double begun, ended; /* seconds from the start; 0: not over */
	u32 kind, area, first, n;
	enum way way;
};

struct changer {
	u32 index, first_seed, seed;
	u64 done;
	const char *doing; /* atomic */
	pthread_t thread;
	struct logged log[LOGGED]; /* the last ones */
};

u32 changer_pick(struct changer *c, u32 n);
/* One change of one area, at random. */
void change_something(struct changer *c);
/* Which changes were made how often. */
void changes_print(void);
/* Names, with commas between: no others are made. False: there is no such. */
bool changes_select(const char *list);
/* The same of the ways they are made in. */
bool changes_select_ways(const char *list);
/* Print each as it is over. */
extern bool changes_logged;
void changes_print_log(const struct changer *c);
double seconds_now(void);

/* ------------------------------------------------------------------ calls */

extern const char *const way_names[NR_WAYS];
extern const u32 ways_there_are; /* bits: in this build */
extern __thread enum way way; /* of this thread's calls */
/* Who stands in for libc's calls does not tell: they are as the others. */
extern bool untold;
/* Expect no more than that no foreign byte is seen, and nobody else's memory touched. */
extern bool weak;
/* Does this kernel tell a library in between of raw calls on a shared file's memory, on other memory? */
extern bool told_of_files, told_at_all;
void ways_look_at_kernel(void);
/* WAY_FOREIGN's process is forked, when all files are open. */
void foreign_start(void);
long foreign_call(long nr, int fd, u64 a, u64 b, u64 c);
/* pwrite() of a page, in the way of this thread's calls. */
void call_pwrite(int fd, const void *page, u64 off);
void *call_mmap(void *addr, size_t len, int prot, int flags, int fd, u64 off);
void call_munmap(void *addr, size_t len);
/* -1 where Linux has no such move. */
long call_mremap(void *addr, size_t old, size_t len, int flags, void *to);
void call_mprotect(void *addr, size_t len, int prot);
int call_madvise(void *addr, size_t len, int advice);
int call_punch(int fd, u64 off, u64 len);
void call_truncate(int fd, u64 len);
int call_ioctl(int fd, unsigned long request, void *arg);
int call_fork(void);

/* Ends the process with a message that names the seed. */
void fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
#define MUST(condition, ...)                                                                   \
	do {                                                                                   \
		if (!(condition))                                                              \
			fail(__VA_ARGS__);                                                     \
	} while (0)

#define LOAD(x)	    __atomic_load_n(&(x), __ATOMIC_SEQ_CST)
#define STORE(x, v) __atomic_store_n(&(x), (v), __ATOMIC_SEQ_CST)
#define ADD(x, v)   __atomic_fetch_add(&(x), (v), __ATOMIC_SEQ_CST)

#endif
