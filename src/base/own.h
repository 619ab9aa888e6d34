/* SPDX-License-Identifier: MIT */
/*
 * base/own.h: which address space of the process is userkvm's.
 *
 * A process has two kinds of memory: the VMM's, which slots may show to guests, and ours, which no
 * guest reaches whatever a slot says. All that userkvm allocates lies in areas reserved here, and
 * is known by its address; so do the images of the libraries that came with it. Who resolves a
 * slot's address asks own_overlaps() first, and treats what is ours as if nothing were mapped.
 *
 * An area is reserved only where no slot lies (own_slot_insert()): what a slot shows as a hole may
 * still be in a guest's hands when the VMM made it one without our seeing it.
 *
 * Any thread; no call here allocates or blocks on anything but mmap_lock and the one lock inside,
 * which is innermost. own_overlaps() and own_clip() take no lock.
 */
#ifndef BASE_OWN_H
#define BASE_OWN_H

#include "base/interval.h"

enum own_kind {
	OWN_IMAGE, /* libraries; the loader put them there */
	OWN_CHUNK, /* what own_chunk() hands out, for good */
	OWN_FIXED, /* objects, code, stacks, stores: somebody knows the address */
	OWN_LOOSE, /* windows: dropped at any moment, made again elsewhere */
	OWN_KINDS,
};

/* Does any byte of [start, end) belong to us? */
bool own_overlaps(u64 start, u64 end);
struct own_range {
	u64 start, end;
};
/*
 * The first part of [start, end) that lies in an area of these kinds (a mask); false: none. Images
 * are in neither mask: a VMM may do with its libraries as it likes.
 */
#define OWN_IMMOVABLE (BIT(OWN_CHUNK) | BIT(OWN_FIXED))
#define OWN_PLACED    (OWN_IMMOVABLE | BIT(OWN_LOOSE))
#define OWN_ALL	      (OWN_PLACED | BIT(OWN_IMAGE))
bool own_find(u32 kinds, u64 start, u64 end, struct own_range *out);
/* Shrink [*start, *end) to what is not ours around `at`, which is not ours. */
void own_clip(u64 at, u64 *start, u64 *end);

/* The library that holds `symbol` is ours, and so are those that it needs and libc does not. */
void own_images(const void *symbol);

/*
 * The areas of a kind, one after the other: *i is 0 at first. False: there are no more. They stay
 * as they are only under the lock of whoever takes parts away from them (space.c).
 */
bool own_next(enum own_kind kind, u32 *i, struct own_range *out);
/* A new area with room for `least` bytes, inaccessible. False: no address space. */
bool own_reserve(enum own_kind kind, u64 least);
/* Put inaccessible memory at [start, end) of an area, in place of what is there. False: not possible. */
bool own_blank(u64 start, u64 end);
/*
 * [start, end) of an area is the VMM's from now on; nothing of ours is mapped there any more. False: the
 * table has no line left for what lies behind it, and all of it stays ours.
 */
bool own_carve(u64 start, u64 end);
/* Is address space limited (RLIMIT_AS)? Then it is the VMM's to use up, and ours to spare. */
bool own_space_limited(void);
/*
 * An inaccessible page where the kernel would put one that is to lie at `hint', if no slot lies there; or 0. It is
 * like an image: the VMM may do with it as it likes, and own_carve() tells that it did.
 */
u64 own_page_near(u64 hint);
/*
 * Zeroed memory for good, at a multiple of its size, which is a power of two; or NULL. It lies beside what was asked
 * for before, so that however much it is it takes few of the process's mappings.
 */
void *own_chunk(u64 len);

/* Memory of an area becomes accessible, zeroed if it never was before. 0 or -errno. */
int own_commit(void *at, u64 len, int prot);

/* Where slots lie. The node is the caller's until it is removed. */
void own_slot_insert(struct interval *n);
void own_slot_remove(struct interval *n);

/*
 * In a forked child, where another thread may have held the lock: windows are not inherited, and
 * what there is of the rest stays ours, but is not divided any more.
 */
void own_forked_child(void);

/* Tests change this: bytes that areas of windows are reserved by. */
extern u64 own_loose_unit;

#endif
