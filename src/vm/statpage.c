/* SPDX-License-Identifier: MIT */
/* vm/statpage.c: see statpage.h. Raw system calls: nothing here is seen by our interposition. */
#include "vm/statpage.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/pagemem.h"
#include "sync/atomic.h"
#include "base/held.h"
#include "vm/eventfd.h"

#define FILE_SIZE ((1 + VM_MAX_VCPUS) * PAGE_SIZE)

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010 /* linux/fcntl.h, since 5.1 */
#endif

/*
 * Page `n` of the file comes to lie at `at`, too, with what is there now as its contents. The kernel
 * may have taken the page there away when it finds that it cannot (vm.max_map_count): one like it
 * comes back.
 */
static bool put_page(struct vm *vm, u32 n, void *at)
{
	u8 *page = vm->stat.map + n * PAGE_SIZE;

	_Static_assert(VM_MAX_VCPUS <= STATPAGE_MAX_VCPUS, "readers take them all");
	memcpy(page, at, PAGE_SIZE);
	/* Old size 0 makes a second mapping. */
	if ((void *)syscall(SYS_mremap, page, 0L, PAGE_SIZE,
			    MREMAP_MAYMOVE | MREMAP_FIXED, at) == at)
		return true;
	if ((void *)syscall(SYS_mmap, at, PAGE_SIZE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != at)
		abort(); /* nothing is where the counters were */
	memcpy(at, page, PAGE_SIZE);
	return false;
}

/* The memfd, all of it mapped. The seals let no other mapping write, and no one shrink it. */
static bool make_file(struct vm *vm)
{
	int fd = (int)syscall(SYS_memfd_create, STATPAGE_MEMFD, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	struct stat st;
	void *map;

	vm->stat.fd = -1;
	if (fd < 0)
		return false;
	fd = held_renumber(fd);
	map = NULL;
	if (held_resize(fd, FILE_SIZE) && !syscall(SYS_fstat, fd, &st))
		map = pagemem_map(FILE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
	if (!map) {
		syscall(SYS_close, fd);
		return false;
	}
	syscall(SYS_fcntl, fd, F_ADD_SEALS,
		F_SEAL_FUTURE_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
	vm->stat.fd = fd;
	vm->stat.ino = st.st_ino;
	vm->stat.map = map;
	return true;
}

void statpage_create(struct vm *vm)
{
	struct statpage_vm *s = mmu_stat_page(vm->mmu);

	s->version = STATPAGE_VERSION;
	s->pid = vm->pid;
	s->created = clock_ns(CLOCK_BOOTTIME);
	if (!make_file(vm))
		return;
	if (!put_page(vm, 0, s)) {
		statpage_destroy(vm);
		return;
	}
	sync_store_release(&s->magic, STATPAGE_MAGIC);
}

void statpage_add_vcpu(struct vm *vm, struct vcpu *v)
{
	struct statpage_vm *s = mmu_stat_page(vm->mmu);

	v->cpu->stat.id = v->id;
	if (!vm->stat.map || !put_page(vm, 1 + v->index, &v->cpu->stat))
		return;
	sync_store_release(&s->nvcpus, v->index + 1);
}

void statpage_destroy(struct vm *vm)
{
	struct stat st;

	pagemem_unmap(vm->stat.map, FILE_SIZE);
	vm->stat.map = NULL;
	/* The VMM may have closed the number and have made it its own since. */
	if (vm->stat.fd >= 0 && !syscall(SYS_fstat, vm->stat.fd, &st) && st.st_ino == vm->stat.ino)
		syscall(SYS_close, vm->stat.fd);
	vm->stat.fd = -1;
}
