/* SPDX-License-Identifier: MIT */
/*
 * native/code.c: the code cache of stubs, process-wide: one memfd mapped twice, once to write
 * and once to run, and a hash table from instruction to stub. Stubs are never freed.
 *
 * A bitmap of code bytes says where in each stub the instruction itself starts: it is the only
 * one that may fault, and the only one a kick may break off (base/guard.h). A kick that finds the
 * thread at another byte of a stub lets it go on.
 */
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <cpuid.h>
#include "base/guard.h"
#include "base/pagemem.h"
#include "cpu/native/native.h"
#include "cpu/native/run.h"
#include "cpu/table/features.h"

#define CODE_SIZE  (64UL << 20) /* address space; memory comes with use */
#define SLOT_SIZE  1024UL	/* temporary stubs stand at the end, one a thread */
#define MAX_SLOTS  1024UL
#define HASH_SIZE  (1u << 16)	/* lines; chained */
#define STUB_ALIGN 16

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U /* Linux 6.3 */
#endif

struct stub_entry {
	struct native_insn insn;
	u32 offset;
	struct stub_entry *next;
};

struct native_host native_host;
u8 *native_code;
u8 *native_insn_map HIDDEN; /* bit per byte of code: an instruction starts here */

static pthread_mutex_t code_lock = PTHREAD_MUTEX_INITIALIZER;
static u8 *code_rw;
static size_t code_used;		 /* guarded by code_lock */
static size_t slots_used;		 /* guarded by code_lock */
static __thread s64 slot = -1;		 /* this thread's temporary stub */
static __thread bool transient;
size_t native_code_limit = CODE_SIZE - SLOT_SIZE * MAX_SLOTS;
static struct stub_entry **table;	 /* HASH_SIZE; guarded by code_lock */

void native_fixup(void);

/*
 * Entered in a stub's context after a fault or a kick in it. A fault, or a kick at the
 * instruction itself, returns 1 from the stub; a kick elsewhere goes on where it was.
 */
asm(".pushsection .text\n"
    ".hidden native_fixup\n"
    ".globl native_fixup\n"
    ".type native_fixup, @function\n"
    "native_fixup:\n"
    "	lea -8(%rsp), %rsp\n"
    "	push %rax\n"
    "	lahf\n"
    "	seto %al\n"
    "	push %rax\n"
    "	push %rcx\n"
    "	push %rdx\n"
    "	mov guard_fault@gottpoff(%rip), %rdx\n"
    "	mov %fs:16(%rdx), %rcx\n" /* rip */
    "	cmpl $-1, %fs:8(%rdx)\n"  /* sig */
    "	jne 1f\n"
    "	mov %rcx, 32(%rsp)\n"
    "	sub native_code(%rip), %rcx\n"
    "	mov native_insn_map(%rip), %rdx\n"
    "	bt %rcx, (%rdx)\n"
    "	jc 1f\n"
    "	pop %rdx\n"
    "	pop %rcx\n"
    "	pop %rax\n"
    "	add $0x7f, %al\n"
    "	sahf\n"
    "	pop %rax\n"
    "	ret\n"
    "1:	lea 40(%rsp), %rsp\n"
    "	cmpb $0, native_host(%rip)\n"
    "	je 2f\n"
    "	vzeroupper\n"
    "2:	mov $1, %eax\n"
    "	ret\n"
    ".size native_fixup, . - native_fixup\n"
    ".popsection\n");
_Static_assert(offsetof(struct guard_fault, sig) == 8 && offsetof(struct guard_fault, rip) == 16 &&
	       GUARD_BROKEN_OFF == -1 && offsetof(struct native_host, avx) == 0,
	       "native_fixup knows these");

static void detect_host(void)
{
	u8 image[512] __attribute__((aligned(16)));
	u32 a, b, c, d;

	native_host.avx = feature_on_host(feature_find("avx"));
	native_host.avx512f = feature_on_host(feature_find("avx512f"));
	native_host.avx512bw = feature_on_host(feature_find("avx512bw"));
	__cpuid_count(7, 0, a, b, c, d);
	native_host.fdp_excptn_only = (b >> 6) & 1;
	native_host.no_fcs_fds = (b >> 13) & 1;
	__cpuid(0x80000008, a, b, c, d);
	native_host.linear_bits = (u8)(a >> 8);
	memset(image, 0, sizeof(image));
	asm volatile("fxsave64 %0" : "+m"(image));
	memcpy(&native_host.mxcsr_mask, image + 28, 4);
	if (!native_host.mxcsr_mask)
		native_host.mxcsr_mask = 0xffbf; /* SDM vol. 1, 11.6.6 */
}

static void unmap_code(void)
{
	pagemem_free(code_rw, CODE_SIZE);
	pagemem_free(native_code, CODE_SIZE);
	pagemem_free(native_insn_map, CODE_SIZE / 8);
}

static int map_code(void)
{
	int fd = (int)syscall(SYS_memfd_create, "userkvm-stubs", MFD_CLOEXEC | MFD_EXEC);
	int r;

	if (fd < 0 && errno == EINVAL)
		fd = (int)syscall(SYS_memfd_create, "userkvm-stubs", MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (syscall(SYS_ftruncate, fd, CODE_SIZE)) {
		r = -errno;
		syscall(SYS_close, fd);
		return r;
	}
	code_rw = pagemem_map(CODE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
	native_code = pagemem_map(CODE_SIZE, PROT_READ | PROT_EXEC, MAP_SHARED, fd);
	native_insn_map = pagemem_alloc(CODE_SIZE / 8);
	r = -ENOMEM;
	syscall(SYS_close, fd);
	if (code_rw && native_code && native_insn_map)
		return 0;
	unmap_code();
	return r;
}

int native_init(void)
{
	int r = 0;

	pthread_mutex_lock(&code_lock);
	if (table)
		goto out;
	detect_host();
	r = map_code();
	if (r)
		goto out;
	table = calloc(HASH_SIZE, sizeof(*table));
	r = table ? guard_add_code_range(native_code, CODE_SIZE, (void *)native_fixup) : -ENOMEM;
	if (r) {
		free(table);
		table = NULL;
		unmap_code();
	}
out:
	pthread_mutex_unlock(&code_lock);
	return r;
}

/* FNV-1a over the whole struct. */
static u32 hash_insn(const struct native_insn *n)
{
	const u8 *p = (const u8 *)n;
	u32 h = 2166136261u;

	for (size_t i = 0; i < sizeof(*n); i++)
		h = (h ^ p[i]) * 16777619u;
	return (h ^ h >> 16) & (HASH_SIZE - 1);
}

/* Under code_lock, since bits of two stubs can share a byte. */
static void set_insn_bit(size_t at)
{
	native_insn_map[at / 8] |= (u8)(1u << (at % 8));
}

void native_stub_transient(bool on)
{
	transient = on;
}

/* Under code_lock. */
static s64 put_transient(const struct native_insn *n)
{
	struct native_asm a;

	native_assemble(n, &a);
	if (slot < 0) {
		if (slots_used == MAX_SLOTS)
			return -ENOSPC;
		slot = (s64)(CODE_SIZE - SLOT_SIZE * ++slots_used);
	}
	memcpy(code_rw + slot, a.bytes, a.len);
	memset(native_insn_map + slot / 8, 0, SLOT_SIZE / 8);
	set_insn_bit((size_t)slot + a.insn);
	return slot;
}

/* Under code_lock. */
static s64 add_stub(const struct native_insn *n, struct stub_entry **line)
{
	struct native_asm a;
	struct stub_entry *e;
	size_t at = ALIGN_UP(code_used, STUB_ALIGN), insn;

	native_assemble(n, &a);
	if (at + a.len > native_code_limit)
		return -ENOSPC;
	e = malloc(sizeof(*e));
	if (!e)
		return -ENOMEM;
	memcpy(code_rw + at, a.bytes, a.len);
	insn = at + a.insn;
	set_insn_bit(insn);
	code_used = at + a.len;
	e->insn = *n;
	e->offset = (u32)at;
	e->next = *line;
	*line = e;
	return (s64)at;
}

s64 native_stub_get(const struct native_insn *n)
{
	struct stub_entry **line, *e;
	s64 r;

	pthread_mutex_lock(&code_lock);
	if (transient) {
		r = put_transient(n);
		goto out;
	}
	line = &table[hash_insn(n)];
	for (e = *line; e; e = e->next) {
		if (!memcmp(&e->insn, n, sizeof(*n)))
			break;
	}
	r = e ? (s64)e->offset : add_stub(n, line);
out:
	pthread_mutex_unlock(&code_lock);
	return r;
}

bool native_stub_assign(struct op *op, const struct native_insn *n)
{
	s64 stub = native_stub_get(n);

	if (stub < 0) {
		op->fn = native_run_uncached;
		return false;
	}
	op->imm = (s32)stub;
	return true;
}
