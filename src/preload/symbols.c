/* SPDX-License-Identifier: MIT */
/*
 * preload/symbols.c: libc's own names lead to us.
 *
 * A preloaded library comes first in the program's search, but not in every search: dlsym() with
 * libc's handle begins at libc, and so does a library opened with RTLD_DEEPBIND. Both end at an
 * entry of libc's symbol table, as every search does. There our functions are entered, as the
 * process starts: before the constructors of what is opened later, and with no part in any search.
 *
 * A library that stands between us and libc and defines the same name would then find us where it
 * looks for what is behind itself. Such a name stays as it is.
 */
#include <elf.h>
#include <link.h>
#include <sys/mman.h>
#include "preload/preload.h"
#include "preload/real.h"

/* What a search of one object reads (System V ABI, "Dynamic Section"; DT_GNU_HASH is GNU's). */
struct symbols {
	u64 base;
	int prot; /* of the pages that hold the entries */
	ElfW(Sym) * entry;
	const char *text;
	u32 nr_buckets, first; /* entries below `first` are not defined here */
	const u32 *bucket, *chain;
};

static u64 address_in(const struct link_map *map, u64 value)
{
	/* the loader has added the base where the section may be written */
	return value < map->l_addr ? value + map->l_addr : value;
}

static void read_hash(struct symbols *s, const u32 *hash)
{
	u32 bloom_words = hash[2];

	s->nr_buckets = hash[0];
	s->first = hash[1];
	s->bucket = hash + 4 + bloom_words * (sizeof(u64) / sizeof(u32));
	s->chain = s->bucket + s->nr_buckets;
}

static bool read_symbols(struct symbols *s, const void *inside)
{
	struct link_map *map;
	Dl_info info;

	*s = (struct symbols){0};
	if (!dladdr1(inside, &info, (void **)&map, RTLD_DL_LINKMAP))
		return false;
	s->base = map->l_addr;
	for (const ElfW(Dyn) *d = map->l_ld; d->d_tag != DT_NULL; d++) {
		const void *at = (const void *)address_in(map, d->d_un.d_ptr);

		if (d->d_tag == DT_SYMTAB)
			s->entry = (ElfW(Sym) *)at;
		else if (d->d_tag == DT_STRTAB)
			s->text = at;
		else if (d->d_tag == DT_GNU_HASH)
			read_hash(s, at);
	}
	return s->entry && s->text && s->nr_buckets;
}

static u32 hash_of(const char *name)
{
	u32 h = 5381;

	for (; *name; name++)
		h = h * 33 + (u8)*name;
	return h;
}

/* The entry of this name after `at`, or the first one when that is 0; 0: there is none. */
static u32 next_entry(const struct symbols *s, const char *name, u32 at)
{
	u32 hash = hash_of(name);
	u32 i = at ? at : s->bucket[hash % s->nr_buckets];

	if (i < s->first || (at && (s->chain[i++ - s->first] & 1)))
		return 0;
	for (;; i++) {
		u32 word = s->chain[i - s->first]; /* bit 0: the last of its bucket */

		if ((word | 1) == (hash | 1) && !strcmp(s->text + s->entry[i].st_name, name))
			return i;
		if (word & 1)
			return 0;
	}
}

static bool is_function(const ElfW(Sym) * e)
{
	return e->st_shndx != SHN_UNDEF && e->st_shndx != SHN_ABS &&
	       ELF64_ST_TYPE(e->st_info) == STT_FUNC;
}

/* Is what stands behind our function libc's own? In one of its versions. */
static bool is_next(const struct symbols *libc, const char *name)
{
	u64 next = (u64)dlsym(RTLD_NEXT, name);

	for (u32 i = next_entry(libc, name, 0); i; i = next_entry(libc, name, i)) {
		if (libc->base + libc->entry[i].st_value == next)
			return true;
	}
	return false;
}

/* The sum with libc's base is our address, modulo 2^64. In every version of the name. */
static void redirect(const struct symbols *libc, const char *name, u64 to)
{
	for (u32 i = next_entry(libc, name, 0); i; i = next_entry(libc, name, i)) {
		if (is_function(&libc->entry[i]))
			__atomic_store_n(&libc->entry[i].st_value, to - libc->base,
					 __ATOMIC_RELEASE);
	}
}

/* Of the segment that holds the entries: code may be in the same one. */
static int find_prot(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct symbols *s = arg;

	(void)size;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *p = &info->dlpi_phdr[i];

		if (p->p_type == PT_LOAD &&
		    (u64)s->entry - (info->dlpi_addr + p->p_vaddr) < p->p_memsz) {
			s->prot = ((p->p_flags & PF_R) ? PROT_READ : 0) |
				  ((p->p_flags & PF_W) ? PROT_WRITE : 0) |
				  ((p->p_flags & PF_X) ? PROT_EXEC : 0);
			return 1;
		}
	}
	return 0;
}

/* The pages of libc's symbol table: all of its entries are in a bucket, which holds the last. */
static bool protect(const struct symbols *libc, int prot)
{
	u64 start = (u64)libc->entry & PAGE_MASK, end;
	u32 last = 0;

	for (u32 b = 0; b < libc->nr_buckets; b++)
		last = MAX(last, libc->bucket[b]);
	while (last >= libc->first && !(libc->chain[last - libc->first] & 1))
		last++;
	end = (u64)(libc->entry + last + 1);
	return raw3(SYS_mprotect, start, end - start, prot) == 0;
}

/* After real_resolve_all(): what is looked up later is ours. */
void symbols_lead_to_us(void)
{
	struct symbols libc, own;

	if (!read_symbols(&libc, REAL(__libc_current_sigrtmax)) ||
	    !read_symbols(&own, userkvm_version) || !dl_iterate_phdr(find_prot, &libc) ||
	    !protect(&libc, libc.prot | PROT_WRITE))
		return;
	for (u32 b = 0; b < own.nr_buckets; b++) {
		u32 i = own.bucket[b];

		if (i < own.first)
			continue;
		do {
			const ElfW(Sym) *e = &own.entry[i];
			const char *name = own.text + e->st_name;

			if (is_function(e) && is_next(&libc, name))
				redirect(&libc, name, own.base + e->st_value);
		} while (!(own.chain[i++ - own.first] & 1));
	}
	protect(&libc, libc.prot);
}
