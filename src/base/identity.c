/* SPDX-License-Identifier: MIT */
#include "base/identity.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/pagemem.h"
#include "sync/atomic.h"

/* In the page: 0 in a process that has not looked yet. */
struct known {
	int pid; /* atomic */
};

static struct known *page; /* atomic; set once. NULL: the kernel does not clear it */

static __thread struct {
	int pid; /* of the process it was in when it looked */
	int tid;
} self __attribute__((tls_model("initial-exec")));

static struct known *make_page(void)
{
	struct known *none = NULL, *p = pagemem_alloc(PAGE_SIZE);

	if (!p)
		return NULL;
	if (syscall(SYS_madvise, p, PAGE_SIZE, MADV_WIPEONFORK) ||
	    !sync_cmpxchg(&page, &none, p)) {
		pagemem_free(p, PAGE_SIZE);
		return sync_load_acquire(&page);
	}
	return p;
}

int identity_process(void)
{
	struct known *p = sync_load_acquire(&page);
	int pid;

	if (unlikely(!p))
		p = make_page();
	pid = p ? sync_load(&p->pid) : 0;
	if (unlikely(!pid)) {
		pid = (int)syscall(SYS_getpid);
		if (p)
			sync_store(&p->pid, pid);
	}
	return pid;
}

int identity_thread(void)
{
	int pid = identity_process();

	if (unlikely(self.pid != pid)) {
		self.tid = (int)syscall(SYS_gettid);
		self.pid = pid;
	}
	return self.tid;
}

void identity_thread_changed(void)
{
	self.pid = 0;
}
