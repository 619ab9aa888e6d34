/* SPDX-License-Identifier: MIT */
#include "loader/image.h"

#include <elf.h>
#include <errno.h>
#include <sys/mman.h>
#include "preload/raw.h"

#define MAX_SEGMENTS 64 /* program headers; the kernel's bound is 64 KiB of them */

struct file {
	int fd;
	Elf64_Ehdr e;
	Elf64_Phdr ph[MAX_SEGMENTS];
};

static bool failed(long r)
{
	return r < 0 && r >= -4095;
}

static int read_at(int fd, void *to, u64 n, u64 at)
{
	long r = raw4(SYS_pread64, fd, to, n, at);

	return failed(r) ? (int)r : (u64)r == n ? 0 : -ENOEXEC;
}

static int read_headers(struct file *f)
{
	int r = read_at(f->fd, &f->e, sizeof(f->e), 0);

	if (r)
		return r;
	if (*(const u32 *)f->e.e_ident != 0x464c457f || f->e.e_ident[EI_CLASS] != ELFCLASS64 ||
	    f->e.e_machine != EM_X86_64 || (f->e.e_type != ET_EXEC && f->e.e_type != ET_DYN) ||
	    f->e.e_phentsize != sizeof(Elf64_Phdr) || f->e.e_phnum > MAX_SEGMENTS)
		return -ENOEXEC;
	return read_at(f->fd, f->ph, f->e.e_phnum * sizeof(Elf64_Phdr), f->e.e_phoff);
}

/* The reach of the segments, in pages, and how the first is to be aligned. */
static int measure(const struct file *f, u64 *lo, u64 *hi, u64 *align)
{
	*lo = ~0ULL, *hi = 0, *align = PAGE_SIZE;
	for (u32 i = 0; i < f->e.e_phnum; i++) {
		const Elf64_Phdr *p = &f->ph[i];

		if (p->p_type != PT_LOAD)
			continue;
		if (p->p_filesz > p->p_memsz || p->p_vaddr + p->p_memsz < p->p_vaddr)
			return -ENOEXEC;
		*lo = MIN(*lo, ALIGN_DOWN(p->p_vaddr, PAGE_SIZE));
		*hi = MAX(*hi, ALIGN_UP(p->p_vaddr + p->p_memsz, PAGE_SIZE));
		if (p->p_align > *align && !(p->p_align & (p->p_align - 1)))
			*align = p->p_align;
	}
	return *lo < *hi ? 0 : -ENOEXEC;
}

static long map(u64 at, u64 len, int prot, int flags, int fd, u64 off)
{
	return raw6(SYS_mmap, (long)at, (long)len, prot, MAP_PRIVATE | flags, fd, (long)off);
}

/* Address space for all of it: the bias, or -errno. Inaccessible until the segments are mapped. */
static long reserve(const struct file *f, u64 at, u64 lo, u64 hi, u64 align)
{
	u64 room = hi - lo, start;
	long r;

	if (f->e.e_type == ET_EXEC)
		r = map(lo, room, PROT_NONE, MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
	else if (at)
		r = map(ALIGN_UP(at, align), room, PROT_NONE,
			MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
	else
		r = map(0, room + align - PAGE_SIZE, PROT_NONE, MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (failed(r))
		return r;
	if (f->e.e_type == ET_EXEC || at)
		return r - (long)lo;
	start = ALIGN_UP((u64)r, align);
	if (start > (u64)r)
		raw2(SYS_munmap, r, start - (u64)r);
	if ((u64)r + align - PAGE_SIZE > start)
		raw2(SYS_munmap, start + room, (u64)r + align - PAGE_SIZE - start);
	return (long)(start - lo);
}

static void clear(u64 from, u64 to)
{
	for (volatile u8 *p = (volatile u8 *)from; p < (volatile u8 *)to; p++)
		*p = 0;
}

static int map_segment(const struct file *f, const Elf64_Phdr *p, u64 bias)
{
	int prot = (p->p_flags & PF_R ? PROT_READ : 0) | (p->p_flags & PF_W ? PROT_WRITE : 0) |
		   (p->p_flags & PF_X ? PROT_EXEC : 0);
	u64 start = bias + ALIGN_DOWN(p->p_vaddr, PAGE_SIZE);
	u64 file_end = bias + p->p_vaddr + p->p_filesz, end = bias + p->p_vaddr + p->p_memsz;
	u64 mapped = ALIGN_UP(file_end, PAGE_SIZE);
	long r = 0;

	if (p->p_filesz)
		r = map(start, file_end - start, prot, MAP_FIXED, f->fd,
			ALIGN_DOWN(p->p_offset, PAGE_SIZE));
	else
		mapped = start;
	if (failed(r))
		return (int)r;
	/* All that follows in the file's last page is zero, even behind the end: ld.so uses it. */
	if (p->p_filesz && end > file_end && (p->p_flags & PF_W))
		clear(file_end, mapped);
	if (end > mapped)
		r = map(mapped, ALIGN_UP(end, PAGE_SIZE) - mapped, prot, MAP_FIXED | MAP_ANONYMOUS, -1,
			0);
	return failed(r) ? (int)r : 0;
}

static int read_interpreter(const struct file *f, const Elf64_Phdr *p, char *out)
{
	int r;

	if (!p->p_filesz || p->p_filesz > IMAGE_INTERPRETER_MAX)
		return -ENOEXEC;
	r = read_at(f->fd, out, p->p_filesz, p->p_offset);
	out[p->p_filesz - 1] = '\0';
	return r;
}

/* Where the program headers are in memory. */
static u64 find_headers(const struct file *f, u64 bias)
{
	for (u32 i = 0; i < f->e.e_phnum; i++) {
		const Elf64_Phdr *p = &f->ph[i];

		if (p->p_type == PT_PHDR)
			return bias + p->p_vaddr;
		if (p->p_type == PT_LOAD && p->p_offset <= f->e.e_phoff &&
		    f->e.e_phoff - p->p_offset < p->p_filesz)
			return bias + p->p_vaddr + (f->e.e_phoff - p->p_offset);
	}
	return 0;
}

int image_map(int fd, u64 at, struct image *out)
{
	struct file f;
	u64 lo, hi, align;
	long bias;
	int r;

	f.fd = fd;
	r = read_headers(&f);
	if (!r)
		r = measure(&f, &lo, &hi, &align);
	if (r)
		return r;
	bias = reserve(&f, at, lo, hi, align);
	if (failed(bias))
		return (int)bias;
	out->interpreter[0] = '\0';
	for (u32 i = 0; i < f.e.e_phnum && !r; i++) {
		if (f.ph[i].p_type == PT_LOAD)
			r = map_segment(&f, &f.ph[i], (u64)bias);
		else if (f.ph[i].p_type == PT_INTERP)
			r = read_interpreter(&f, &f.ph[i], out->interpreter);
	}
	out->bias = (u64)bias;
	out->entry = (u64)bias + f.e.e_entry;
	out->phdr = find_headers(&f, (u64)bias);
	out->phnum = f.e.e_phnum;
	out->end = (u64)bias + hi;
	return r;
}
