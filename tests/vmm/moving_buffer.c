/* SPDX-License-Identifier: MIT */
/*
 * A device whose buffer the VMM replaces, by mapping others over it, as often as it can, while
 * two vCPUs read and write it. Each buffer carries its generation. A vCPU never reads one that
 * was replaced before it looked, nor bytes that are no buffer's; it reads what it wrote, and
 * once a replacement is done nothing more is written to the buffer that went.
 *
 * usage: vmm_moving_buffer [SECONDS]   of CPU time, for each way to replace it; 2 by default
 */
#include "minivmm.h"
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define NVCPUS	2
#define NPAGES	16
#define PAGE	4096
#define SIZE	(NPAGES * PAGE)
#define NBUFS	8    /* buffers that take turns where the memory is a file's */
#define RATE	1000 /* in a second that the thread which replaces has run, at least */
#define CONTROL 0x60000u
#define BUFFER	0x400000u

/* Shared with the guest, in memory that stays. */
struct control {
	volatile uint64_t begun, completed; /* generations */
	volatile uint64_t stop;
};

struct page {
	uint64_t tag; /* TAG() */
	uint64_t pad[7];
	struct {
		uint64_t value, pad[7];
	} written[NVCPUS]; /* by each vCPU */
	uint64_t rest[512 - 8 - 8 * NVCPUS - 1];
	uint64_t last; /* the same tag */
};

#define TAG(generation, page) ((generation) << 8 | (page))

/*
 * rdi: where in a page this vCPU writes. rsi: 1 if a buffer is filled only after it was mapped,
 * and may be seen empty until it is complete. rbp: control. r14: pages looked at, in the end
 * eax. The completed generation is read before the tag, the one that has begun after it.
 */
GUEST(looks, 64,
      "1: xor %r8d, %r8d\n mov $0x400000, %ebx\n"
      "2: inc %r14\n mov 8(%rbp), %r9\n mov (%rbx), %rax\n call 7f\n"
      "mov 8(%rbp), %r9\n mov 4088(%rbx), %rax\n call 7f\n"
      /* Write, and read it back; a new buffer may have come between the two. */
      "mov 8(%rbp), %r9\n mov %r14, (%rbx,%rdi)\n mov (%rbx,%rdi), %rax\n mov (%rbp), %r10\n"
      "cmp %r14, %rax\n je 3f\n test %rax, %rax\n jnz 9f\n cmp %r9, %r10\n je 9f\n"
      "3: add $4096, %rbx\n inc %r8\n cmp $16, %r8\n jne 2b\n"
      "cmpq $0, 16(%rbp)\n je 1b\n out %al, $0x10\n"
      /* rax is a tag of page r8: of a generation from r9, completed, to what has begun. */
      "7: mov (%rbp), %r10\n test %rax, %rax\n jz 8f\n"
      "movzbl %al, %edx\n cmp %rdx, %r8\n jne 9f\n shr $8, %rax\n"
      "cmp %r9, %rax\n jb 9f\n cmp %rax, %r10\n jb 9f\n ret\n"
      "8: test %rsi, %rsi\n jz 9f\n cmp %r9, %r10\n je 9f\n ret\n"
      "9: out %al, $0x11\n");

static struct minivmm vcpu[NVCPUS]; /* the first is the VM's */
static struct control *control;
static struct page *buffer;		/* what the guest has at BUFFER */
static struct page *staged;		/* the file's buffers, mapped once more */
static struct page gone[NBUFS][NPAGES]; /* what they held when they were replaced */
static int file;

/* ------------------------------------------------------------------ ways to replace it */

static void fill(struct page *p, uint64_t generation)
{
	for (unsigned n = 0; n < NPAGES; n++) {
		memset(p[n].written, 0, sizeof(p[n].written));
		p[n].last = TAG(generation, n);
		__atomic_store_n(&p[n].tag, TAG(generation, n), __ATOMIC_RELEASE);
	}
}

static void *map(void *at, int flags, int fd, uint64_t offset)
{
	void *p = mmap(at, SIZE, PROT_READ | PROT_WRITE, flags | (at ? MAP_FIXED : 0), fd,
		       (off_t)offset);

	EXPECT(p != MAP_FAILED, "mmap");
	return p;
}

static void replace_with_file(uint64_t generation, int flags)
{
	unsigned n = generation % NBUFS, before = (generation - 1) % NBUFS;
	struct page *next = staged + n * NPAGES;

	/* Nobody has written to it since it was replaced the last time. */
	EXPECT(generation <= NBUFS || !memcmp(gone[n], next, SIZE),
	       "a buffer was written after it had gone");
	fill(next, generation);
	control->begun = generation;
	map(buffer, flags, file, (uint64_t)n * SIZE);
	control->completed = generation;
	memcpy(gone[before], staged + before * NPAGES, SIZE);
}

static void with_shared(uint64_t generation)
{
	replace_with_file(generation, MAP_SHARED);
}

static void with_private(uint64_t generation)
{
	replace_with_file(generation, MAP_PRIVATE);
}

/* Empty at first, then filled where the guest sees it. */
static void with_anonymous(uint64_t generation)
{
	control->begun = generation;
	map(buffer, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	fill(buffer, generation);
	control->completed = generation;
}

static void with_moved(uint64_t generation)
{
	struct page *next = map(NULL, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	fill(next, generation);
	control->begun = generation;
	EXPECT(mremap(next, SIZE, SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, buffer) == buffer,
	       "mremap");
	control->completed = generation;
}

static const struct way {
	const char *name;
	void (*replace)(uint64_t generation);
	bool filled_late;
} ways[] = {
	{"a file's pages, shared", with_shared, false},
	{"a file's pages, private", with_private, false},
	{"anonymous memory, filled then", with_anonymous, true},
	{"anonymous memory, moved there", with_moved, false},
};

/* ------------------------------------------------------------------ the VM */

static void *run(void *arg)
{
	struct minivmm *v = arg;
	struct kvm_regs r;

	EXPECT_EXIT(v, KVM_EXIT_IO);
	minivmm_get_regs(v, &r);
	EXPECT(v->run->io.port == 0x10,
	       "page %llu of the buffer: read %#llx, generations %llu to %llu, %llu pages "
	       "before",
	       r.r8, r.rax, r.r9, r.r10, r.r14);
	return NULL;
}

static void load(unsigned n, const struct way *way)
{
	struct kvm_regs r;

	minivmm_load(&vcpu[n], MINIVMM_LONG, looks);
	minivmm_get_regs(&vcpu[n], &r);
	r.rsp = MINIVMM_STACK + n * PAGE;
	r.rdi = offsetof(struct page, written[n]);
	r.rsi = way->filled_late;
	r.rbp = CONTROL;
	r.r14 = 0;
	minivmm_set_regs(&vcpu[n], &r);
}

static void create(void)
{
	struct kvm_userspace_memory_region slot = {
		.slot = 1, .guest_phys_addr = BUFFER, .memory_size = SIZE};

	minivmm_create(&vcpu[0]);
	for (unsigned n = 1; n < NVCPUS; n++)
		minivmm_add_vcpu(&vcpu[0], n, &vcpu[n]);
	file = memfd_create("buffers", MFD_CLOEXEC);
	EXPECT(file >= 0 && !ftruncate(file, NBUFS * SIZE), "memfd_create");
	staged = mmap(NULL, NBUFS * SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	EXPECT(staged != MAP_FAILED, "mmap");
	buffer = map(NULL, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	slot.userspace_addr = (uintptr_t)buffer;
	EXPECT(!ioctl(vcpu[0].vm, KVM_SET_USER_MEMORY_REGION, &slot), "the buffer's memslot");
	control = (struct control *)(vcpu[0].mem + CONTROL);
}

static double cpu_time(clockid_t clock)
{
	struct timespec ts;

	EXPECT(!clock_gettime(clock, &ts), "clock_gettime");
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* Time that the threads had, so that others on the machine make no difference. */
static void try(const struct way *way, double seconds)
{
	pthread_t thread[NVCPUS];
	uint64_t generation = 0, looked = 0;
	struct kvm_regs r;
	double until, took;

	*control = (struct control){0};
	way->replace(++generation);
	for (unsigned n = 0; n < NVCPUS; n++) {
		load(n, way);
		EXPECT(!pthread_create(&thread[n], NULL, run, &vcpu[n]), "pthread_create");
	}
	until = cpu_time(CLOCK_PROCESS_CPUTIME_ID) + seconds;
	took = cpu_time(CLOCK_THREAD_CPUTIME_ID);
	while (cpu_time(CLOCK_PROCESS_CPUTIME_ID) < until)
		way->replace(++generation);
	took = cpu_time(CLOCK_THREAD_CPUTIME_ID) - took;
	control->stop = 1;
	for (unsigned n = 0; n < NVCPUS; n++) {
		pthread_join(thread[n], NULL);
		minivmm_get_regs(&vcpu[n], &r);
		looked += r.r14;
	}
	printf("%s: %.0f times, %.0f in a second of its own, %.0f pages looked at between two\n",
	       way->name, (double)generation, (double)generation / took,
	       (double)looked / (double)generation);
	EXPECT((double)generation / took > RATE, "that is not often");
}

int main(int argc, char **argv)
{
	double seconds = argc > 1 ? atof(argv[1]) : 2;

	setvbuf(stdout, NULL, _IOLBF, 0);
	create();
	for (unsigned n = 0; n < sizeof(ways) / sizeof(ways[0]); n++)
		try(&ways[n], seconds);
	for (unsigned n = NVCPUS; n--;)
		n ? minivmm_remove_vcpu(&vcpu[n]) : minivmm_destroy(&vcpu[0]);
	puts("moving_buffer: all as expected");
	return 0;
}
