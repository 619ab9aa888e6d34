/* SPDX-License-Identifier: MIT */
/*
 * primary/primary.h: the primary MMU (the page tables of the process that owns guest memory), as
 * mmu/ sees it. Two implementations: primary/linux, a real process; primary/model, a host memory
 * manager in miniature for the explorer.
 *
 * Who calls it: mmu/ calls the operations; the implementation calls back through the notifier.
 * What may sleep: fault_in() and pin() may wait for the host for as long as the host likes and
 * end with -EINTR when interrupted() says so. The rest never waits for the host.
 * What it holds: fault_in() is called with no lock held. release() may be called under mmu_lock.
 */
#ifndef PRIMARY_PRIMARY_H
#define PRIMARY_PRIMARY_H

#include "base/types.h"

struct page; /* a page of the primary MMU that has a reference count; the model's, opaque here */

/* Leaf sizes of stage 2 and what a primary mapping can back. */
enum mmu_level {
	LEVEL_4K = 1,
	LEVEL_2M = 2,
	LEVEL_1G = 3,
};

#define LEVEL_SHIFT(l) (PAGE_SHIFT + 9 * ((l)-1))
#define LEVEL_SIZE(l)  (1ULL << LEVEL_SHIFT(l))
#define LEVEL_PAGES(l) (1ULL << (9 * ((l)-1)))

/*
 * What a fault brought in. Whoever releases a frame releases exactly what it says it holds;
 * nothing decides from the pfn whether there is a reference to drop.
 */
struct frame {
	void *host;	   /* where a vCPU reaches the 4 KiB page of the hva that was asked for */
	u64 pfn;	   /* host >> 12: what an SPTE holds, so what zapped() gets back */
	bool writable;	   /* the primary mapping allowed a write at fault time */
	bool dirties;	   /* a write through it dirties a page (page-backed, not PFNMAP) */
	bool unprobed;	   /* not touched, since a read might have side effects (VM_IO) */
	u8 max_level;	   /* largest enum mmu_level whose naturally aligned block (in hva) is one
			      mapping with one permission */
	struct page *page; /* the page whose reference this frame holds, or NULL for none */
	/*
	 * What the page is known by to everyone in the process who may reach it: its place in an
	 * object (a file, by its inode number), consecutive over max_level's block. 0: no object,
	 * whoever reaches the page reaches it at `host`.
	 */
	u64 object, index; /* index: 4 KiB pages */
};

/*
 * Invalidation, called by the implementation before and after the primary MMU takes pages away
 * from [start, end) (hva, bytes). begin() may sleep until no vCPU can use a zapped translation
 * and returns a token for end(). NULL means that it could not be begun (out of memory): the
 * caller must then refuse the change. Not called from a signal handler.
 *
 * get() keeps mmu alive until put(), and is false when it is going away; it blocks on nothing, so
 * an implementation calls it under the lock that destroy() takes. The others are called with no
 * lock held, between a get() and its put(); a token keeps mmu alive by itself until its end.
 */
struct mmu;
struct mmu_token;
#define PRIMARY_UFFD_SHOWN 8
struct primary_range {
	hva_t start, end;
};
struct primary_notifier {
	struct mmu *mmu;
	bool (*get)(struct mmu *mmu);
	void (*put)(struct mmu *mmu);
	struct mmu_token *(*begin)(struct mmu *mmu, hva_t start, hva_t end);
	void (*end)(struct mmu_token *token);
	/*
	 * A begin of everything by one who will know what changes only when it has changed. Nothing is zapped
	 * yet, but hidden from every vCPU until the end. Before that, zap() says what it was.
	 */
	struct mmu_token *(*hide)(struct mmu *mmu);
	void (*zap)(struct mmu_token *token, hva_t start, hva_t end);
	/*
	 * The bytes of [start, end) changed under translations that stay right (a direct frame
	 * whose page the host's MMU replaced): code cached from there is stale. After the change;
	 * returns when no vCPU runs such code unchecked.
	 */
	void (*content)(struct mmu *mmu, hva_t start, hva_t end);
	/*
	 * Was [start, end) accessed since the last age()? age() hands what it clears back by
	 * zapped() and may sleep until no vCPU can access unseen; young() only looks.
	 */
	bool (*age)(struct mmu *mmu, hva_t start, hva_t end);
	bool (*young)(struct mmu *mmu, hva_t start, hva_t end);
	/*
	 * For the VM's statistics: how many ranges of its memslots are under a userfaultfd of the
	 * VMM's now, and the first of them. Blocks on nothing, under any lock of primary/'s.
	 */
	void (*under_uffd)(struct mmu *mmu, u64 n, const struct primary_range *first);
};

/*
 * Stores: memory of the host's that no user mapping shows unless asked for, behind guest_memfd
 * (mmu/gmem.h). A store belongs to no VM: it outlives the one that made it. Pages are 4 KiB, known
 * by their index, and read as zeroes until written. Callers keep a punch apart from everything else
 * that touches its pages (the store lock), and call with no other lock held but that one.
 */
struct primary_store_ops {
	/*
	 * Make one of `npages`. `primary` is the VM's that asks: a hint of where to make it, not kept.
	 * mappable: the VMM is to reach the pages by a descriptor too. 0 or -errno.
	 */
	int (*create)(void *primary, u64 npages, bool mappable, void **store);
	/*
	 * The frame of page `index`, which is allocated if there is none. As fault_in() for a write;
	 * max_level is that of a block aligned in the store. Released by primary_ops.release(), and
	 * zapped() gets what its SPTE learnt, of any VM that runs on the same primary MMU.
	 */
	int (*fault)(void *store, u64 index, bool (*interrupted)(void *arg), void *arg,
		     struct frame *out);
	/* Have pages there, or take them away: what comes after reads as zeroes. 0 or -errno. */
	int (*allocate)(void *store, u64 index, u64 npages);
	int (*punch)(void *store, u64 index, u64 npages);
	/* Nobody is left who could reach a page. */
	void (*destroy)(void *store);
};

struct primary_ops {
	const struct primary_store_ops *store; /* NULL: no guest_memfd */
	/*
	 * Fault hva in. `interrupted(arg)` is asked before each wait. 0; -EFAULT (no mapping, or
	 * no such permission); -EHWPOISON; -EINTR; -EAGAIN; -ENOMEM.
	 */
	int (*fault_in)(void *primary, hva_t hva, bool write, bool (*interrupted)(void *arg),
			void *arg, struct frame *out);
	/*
	 * End the short pin fault_in() took. `accessed` and `dirty` go to the page. Callable under
	 * mmu_lock.
	 */
	void (*release)(void *primary, struct frame *f, bool accessed, bool dirty);
	/*
	 * A live SPTE of this frame was zapped, aged or harvested under mmu_lock, or a host-side
	 * cache of it used, before begin returns: hand accessed and dirty back. `pfn` and
	 * `page_backed` are what the SPTE remembered.
	 */
	void (*zapped)(void *primary, u64 pfn, bool page_backed, bool accessed, bool dirty);
	/* Long-term pin of [hva, hva + len), visible to whoever truncates; and its end. */
	int (*pin)(void *primary, hva_t hva, u64 len, void **cookie);
	void (*unpin)(void *primary, void *cookie);
	/* hva ranges that back memslots come and go, so that changes to others cost nothing. */
	int (*range_add)(void *primary, hva_t start, u64 len);
	void (*range_remove)(void *primary, hva_t start, u64 len);
	void (*set_notifier)(void *primary, const struct primary_notifier *n);
	/* May a fault of this VM give a frame without an object at host page `pfn`? */
	bool (*may_reach)(void *primary, u64 pfn);
	/*
	 * Copy to or from the frame fault_in() gave for hva, at `host`, which no begin has taken
	 * back. An aligned power of two up to 8 bytes is one access. 0; -EFAULT; -EHWPOISON; -EAGAIN:
	 * a kick broke it off, after a part.
	 */
	int (*access)(void *primary, hva_t hva, void *host, void *buf, u64 len, bool write);
	/* Copy to and from the primary mapping, guarded. 0 or -EFAULT. For mmu/'s own use of guest
	 * memory outside a vCPU. */
	int (*copy_from)(void *primary, hva_t src, void *dst, u64 len);
	int (*copy_to)(void *primary, hva_t dst, const void *src, u64 len);
	void (*destroy)(void *primary);
};

#endif
