/* SPDX-License-Identifier: MIT */
/*
 * abi/internal.h: what the files of abi/ share: descriptors, the call being carried out, the
 * dispatch table.
 *
 * Lock order: the descriptor table's lock is a leaf: nothing is called under it but libc. A vCPU
 * call holds vcpu->mutex throughout, a VM call what vm/ takes itself; abi_vm.lock comes before those.
 */
#ifndef ABI_INTERNAL_H
#define ABI_INTERNAL_H

#include "abi/abi.h"
#include "abi/shapes.h"
#include "abi/uapi.h"
#include "mmu/gmem.h"
#include "sync/lock.h"
#include "vm/vm.h"

enum file_kind {
	FILE_SYSTEM, /* /dev/kvm */
	FILE_VM,
	FILE_VCPU,
	FILE_VM_STATS,
	FILE_VCPU_STATS,
	FILE_GMEM,
	FILE_FOREIGN, /* another process's: every call is EIO */
};

/* Of the memfds behind descriptors, so that another process tells them. */
#define NAME_PREFIX "userkvm:"
#define NAME_SYSTEM NAME_PREFIX "kvm"
#define NAME_GMEM   NAME_PREFIX "gmem" /* with "-" and more: one that can be mapped */

/* One vCPU's pages, mapped by us from its descriptor's memory. They live as long as the VM. */
struct run_pages {
	struct run_pages *next;
	void *map;
	size_t len;
	void *stack; /* of KVM_RUN */
};

/* IA32_MCG_CAP: what the machine-check emulation has (SDM vol. 3, 16.3.1.1). */
#define MCG_CTL_P     BIT(8)
#define MCG_CMCI_P    BIT(10)
#define MCG_SER_P     BIT(24)
#define MCG_SUPPORTED (MCG_CTL_P | MCG_CMCI_P | MCG_SER_P)

/* A VM as abi/ knows it. */
struct abi_vm {
	u32 refs; /* atomic: table entries of the VM, its vCPUs and their statistics */
	struct vm *vm;
	struct mutex lock;	 /* held while a vCPU is made, and while dirty rings are enabled */
	struct run_pages *pages; /* guarded by lock */
	u8 *ring;		 /* the coalesced ring: first vCPU's page; guarded by lock */
	bool max_vcpu_id_set;	 /* guarded by vm->lock */
};

/* What abi/ keeps of a vCPU; vcpu->abi points here. Under vcpu->mutex. */
struct abi_vcpu {
	struct abi_vm *avm;
	struct kvm_run *run;
	void *stack; /* KVM_RUN runs on it (base/stack.h) */
	u32 awaiting; /* KVM_EXIT_* whose answer the next KVM_RUN takes, or 0 */
};

#define FILE_MAX_NUMBERS 8

struct abi_file {
	struct abi_file *next; /* hash chain */
	dev_t dev;
	ino_t ino;
	enum file_kind kind;
	int opened;  /* of its F_GETFL, what F_SETFL does not change */
	int pid;     /* of the process it belongs to */
	u32 refs;    /* atomic: one for being in the table, one per call in progress */
	bool pinned; /* sent over a socket: may be in flight with no number here */
	struct abi_vm *avm;
	struct vcpu *vcpu;
	struct gmem_file *gmem;
	bool linked;   /* a guest_memfd whose mappings are made from its store's */
	bool mappable; /* of a foreign one: the kernel may map it */
	void *map; /* statistics: our mapping */
	size_t map_len;
	int number[FILE_MAX_NUMBERS]; /* where it was seen last, -1: free; a hint, verified */
};

/* Make a descriptor: a sealed memfd of `size` bytes. The number, or -errno. *out is for
 * file_publish(), which makes it known, or file_abandon(). *map: its pages, if size. */
int file_create(enum file_kind kind, const char *name, size_t size, int flags,
		struct abi_file **out);
/* Make one of a memfd that is there already, and closed when that fails. 0 or -errno. */
int file_wrap(enum file_kind kind, int fd, struct abi_file **out);
void file_publish(struct abi_file *f, int fd);
void file_abandon(struct abi_file *f, int fd);
/* The flags of a descriptor that no open() made. */
int opened_with(enum file_kind kind);
/* The object fd refers to, with a reference, or NULL. */
struct abi_file *file_get(int fd);
/* The same, which need not ask the kernel each time: for calls that come many times a second. */
struct abi_file *file_get_again(int fd);
void file_put(struct abi_file *f);
/* In a forked child: the table's lock anew. */
void files_forked_child(void);
/* The id of this process, from the kernel: right in a vforked child too. */
int file_pid(void);
/* Call fn for every VM there is a descriptor of in this process, each once, with a reference. */
void files_each_vm(void (*fn)(struct abi_vm *avm, void *arg), void *arg);
void avm_get(struct abi_vm *avm);
void avm_put(struct abi_vm *avm);

/* ---- calls */
#define CALL_BUF 4096

struct call {
	struct abi_file *f;
	struct abi_vm *avm; /* NULL on the system descriptor */
	struct vm *vm;
	struct vcpu *v; /* vCPU calls; its mutex is held */
	u64 arg;
	void *user; /* the same as a pointer */
	union {
		u8 buf[CALL_BUF];
		u32 u32;
		u64 u64;
	} __attribute__((aligned(64)));
};

typedef long call_fn(struct call *c);

struct ioctl_entry {
	unsigned long request;
	const char *name;
	u8 level;
	u8 arg;
	call_fn *fn;
	const char *status; /* "present", "partial", "absent" */
	const char *note;
};

#define IOCTL(req, level, arg, shape, fn, status, note) call_fn fn;
#define ABSENT(req, level, note)
#include "abi/ioctls.def"
#undef IOCTL
#undef ABSENT

/* nested.c: bytes that KVM_GET_NESTED_STATE may fill in */
long nested_state_size(void);

/* caps.c; vm is NULL on /dev/kvm: what any VM may have */
long cap_check(struct vm *vm, u64 cap);
u64 cap_gmem_flags(const struct vm *vm);
u64 cap_attributes(const struct vm *vm);

/* gmem.c: the guest_memfd of this process that fd refers to, with a reference, or NULL and what KVM
 * answers. What its descriptor answers to a file's calls. */
struct abi_file *gmem_file_get(int fd, int *err);
long gmem_fallocate(struct abi_file *f, int mode, off_t off, off_t len);
void gmem_fstat(const struct abi_file *f, struct stat *st);
int gmem_mmap_check(const struct abi_file *f, int flags);
void gmem_mapped(const struct abi_file *f, void *addr, size_t len, int prot, off_t off);

static inline bool begins(const char *text, const char *with)
{
	return !strncmp(text, with, strlen(with));
}

/* `off` bytes on from a pointer of the VMM's, which may point anywhere: no pointer arithmetic. */
static inline void *call_user_at(void *user, size_t off)
{
	return (void *)((u64)user + off);
}

/* Copy an array whose length the VMM gave, in or out. 0 or -EFAULT, -ENOMEM. */
int call_copy_array(const void *user, size_t n, size_t size, void **out);

#endif
