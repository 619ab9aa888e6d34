/* SPDX-License-Identifier: MIT */
/*
 * native/code.c: memory for stubs, process-wide: one memfd mapped twice, once to write and once to
 * run, and divided into segments, which VMs take and give back (stubs.c), and one slot a vCPU for a
 * temporary stub.
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
#include "base/guard.h"
#include "base/held.h"
#include "base/pagemem.h"
#include "cpu/native/native.h"
#include "cpu/native/code.h"
#include "cpu/table/features.h"
#include "cpu/table/vendor.h"

#define SLOT_SIZE 1024UL /* the longest stub fits */
#define MAX_SLOTS 4096UL
#define CODE_SIZE (SEGMENTS * SEGMENT_SIZE + MAX_SLOTS * SLOT_SIZE) /* memory comes with use */

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U /* Linux 6.3 */
#endif

struct native_host native_host;
u8 *native_code;
u8 *native_insn_map HIDDEN; /* bit per byte of code: an instruction starts here */

static pthread_mutex_t init_lock = PTHREAD_MUTEX_INITIALIZER;
static bool initialized; /* guarded by init_lock */
static u8 *code_rw;
/* The rest is the caller's to guard. */
static u16 free_segment[SEGMENTS];
static u32 nfree;
static u16 free_slot[MAX_SLOTS];
static u32 nfree_slots;

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
	u32 r[4];

	native_host.avx = feature_on_host(feature_find("avx"));
	native_host.avx512f = feature_on_host(feature_find("avx512f"));
	native_host.avx512bw = feature_on_host(feature_find("avx512bw"));
	host_cpuid(7, 0, r);
	native_host.fdp_excptn_only = (r[1] >> 6) & 1;
	native_host.no_fcs_fds = (r[1] >> 13) & 1;
	native_host.hides_pointers = vendor_does(vendor_of_host(), FACT_FP_POINTERS);
	host_cpuid(0x80000008, 0, r);
	native_host.linear_bits = (u8)(r[0] >> 8);
	memset(image, 0, sizeof(image));
	asm volatile("fxsave64 %0" : "+m"(image));
	memcpy(&native_host.mxcsr_mask, image + 28, 4);
	if (!native_host.mxcsr_mask)
		native_host.mxcsr_mask = 0xffbf; /* SDM vol. 1, 11.6.6 */
}

static void unmap_code(void)
{
	pagemem_unmap(code_rw, CODE_SIZE);
	pagemem_unmap(native_code, CODE_SIZE);
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
	if (!held_resize(fd, CODE_SIZE)) {
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

/* The first segment and the first slot are the first to be taken. */
static void free_all(void)
{
	for (u32 i = 0; i < SEGMENTS; i++)
		free_segment[nfree++] = (u16)(SEGMENTS - 1 - i);
	for (u32 i = 0; i < MAX_SLOTS; i++)
		free_slot[nfree_slots++] = (u16)(MAX_SLOTS - 1 - i);
}

int native_init(void)
{
	int r = 0;

	pthread_mutex_lock(&init_lock);
	if (initialized)
		goto out;
	detect_host();
	r = map_code();
	if (r)
		goto out;
	r = guard_add_code_range(native_code, CODE_SIZE, (void *)native_fixup, 0);
	if (r) {
		unmap_code();
		goto out;
	}
	free_all();
	initialized = true;
out:
	pthread_mutex_unlock(&init_lock);
	return r;
}

s32 native_segment_take(void)
{
	if (!nfree)
		return -1;
	nfree--;
	memset(native_insn_map + free_segment[nfree] * SEGMENT_SIZE / 8, 0, SEGMENT_SIZE / 8);
	return free_segment[nfree];
}

void native_segment_give(u32 segment)
{
	free_segment[nfree++] = (u16)segment;
}

s32 native_slot_take(void)
{
	if (!nfree_slots)
		return -1;
	return free_slot[--nfree_slots];
}

void native_slot_give(u32 slot)
{
	free_slot[nfree_slots++] = (u16)slot;
}

void native_code_put(u32 at, const struct native_asm *a)
{
	u32 insn = at + a->insn;

	memcpy(code_rw + at, a->bytes, a->len);
	native_insn_map[insn / 8] |= (u8)(1u << (insn % 8));
}

u32 native_slot_put(u32 slot, const struct native_asm *a)
{
	u32 at = (u32)(SEGMENTS * SEGMENT_SIZE + slot * SLOT_SIZE);

	memset(native_insn_map + at / 8, 0, SLOT_SIZE / 8);
	native_code_put(at, a);
	return at;
}
