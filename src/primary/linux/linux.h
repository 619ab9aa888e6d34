/* SPDX-License-Identifier: MIT */
/*
 * primary/linux/linux.h: the primary MMU of a real process.
 *
 * The preload tells it, before and after, of every change the VMM makes to its own mappings; it
 * finds the VMs whose memslots lie there and has them invalidate. It also keeps the windows: a
 * second mapping of shared memory in a region the VMM's calls do not touch, so that the
 * secondary MMU is as separate as KVM's.
 *
 * The hooks make raw system calls, never allocate under a lock and are cheap where no VM has
 * memory. Nothing here may be called from a signal handler.
 */
#ifndef PRIMARY_LINUX_LINUX_H
#define PRIMARY_LINUX_LINUX_H

#include "primary/primary.h"

extern const struct primary_ops primary_linux_ops;

/* One per VM. 0 or -errno. Destroyed through the operations. */
int primary_linux_create(void **out);
/*
 * A guest is about to run: start the helper thread that hears of the VMM's changes from the kernel.
 * No thread of ours is there before. Idempotent; with no lock held.
 */
void primary_linux_start(void);

/*
 * A host change of [start, start + len) is about to happen / has happened. begin() returns an
 * opaque cookie for end(), NULL when there is nothing to end (end(NULL) is fine). It fails (*err
 * set, NULL returned) only when memory ran out; the caller then returns that errno to the VMM.
 * `kind` says what is about to change, so that a change the host's MMU enforces by itself on
 * direct frames need not wait.
 */
enum primary_change {
	CHANGE_UNMAP,	 /* munmap, mmap over, mremap away: the mapping itself goes */
	CHANGE_PROTECT,	 /* mprotect, pkey_mprotect */
	CHANGE_CONTENT,	 /* madvise DONTNEED, REMOVE, FREE, COLLAPSE; brk shrink */
	CHANGE_UFFD,	 /* userfaultfd registered or write-protected */
	CHANGE_UFFD_GONE, /* userfaultfd unregistered */
	CHANGE_GUARD,	  /* madvise GUARD_INSTALL, or a guarded mapping came here */
	CHANGE_GUARD_GONE, /* madvise GUARD_REMOVE */
};
void *primary_linux_change_begin(hva_t start, u64 len, enum primary_change kind, int *err);
void primary_linux_change_end(void *cookie);
/* Are there guard pages in [start, start + len), as far as we were told? */
bool primary_linux_guarded(hva_t start, u64 len);

/*
 * The VMM is about to have [start, start + len) for itself, whatever is there: windows of ours that
 * lie there are dropped, to be made again elsewhere, and what is left is a hole. 0; -ENOMEM: what is
 * there cannot move, or memory ran out.
 */
int primary_linux_step_aside(u64 start, u64 len);

/* Is what is mapped there the process's alone, and not to be written? Sleeps on mmap_lock. */
bool primary_linux_is_private_and_read_only(u64 at);

/* mlockall(flags) of the VMM's memory, of which ours is no part. 0 or -errno. */
int primary_linux_lock_all(int flags);

/* How much shmdt(at) may take away, at most. */
u64 primary_linux_shm_len(hva_t at);

/* The same by file: truncation or punching of [off, off + len) of what fd refers to. */
void *primary_linux_file_change_begin(int fd, u64 off, u64 len, int *err);

/*
 * A vCPU is about to enter the guest, with no lock held: look again, unless somebody just did, at
 * what neither the hooks nor the kernel tell of, or where there is much of it at the next part.
 */
void primary_linux_look_at_entry(void);

/* fork() is about to happen / happened: private memory becomes copy-on-write. */
void primary_linux_fork_begin(void);
void primary_linux_fork_end(bool child);

/*
 * The names of a store's memfd, and what the VMM gets of a mappable one: its descriptor, close on
 * exec, sealed; the caller's from then on. -1: it is not mappable, or was taken.
 */
#define PRIMARY_STORE_NAME	    "userkvm:gmem-pages"
#define PRIMARY_STORE_NAME_MAPPABLE "userkvm:gmem-mappable"
int primary_linux_store_take_fd(void *store);
/*
 * Another mapping of [off, off + len) of the store's pages at `at`, where there is a mapping that it
 * takes the place of; less when the store ends before. 0 or -errno.
 */
int primary_linux_store_map(void *store, u64 off, void *at, u64 len, int prot);
/* As primary_linux_file_change_begin(): a punch of the store, for slots that lie over mappings. */
void *primary_linux_store_change_begin(void *store, u64 off, u64 len, int *err);

/*
 * Tests change these. Windows off: every frame is direct. Notifier off: changes that nobody tells of
 * stay unseen until the next look, or, without looks, for good.
 */
extern bool primary_linux_no_windows, primary_linux_no_notifier, primary_linux_no_looks;

#endif
