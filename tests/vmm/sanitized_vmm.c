/* SPDX-License-Identifier: MIT */
/*
 * A VMM whose runtime is told of stacks and of memory to look for pointers in, as one with the address
 * sanitizer: what it is told is true. The runtime here is this file; its functions are exported.
 */
#include <pthread.h>
#include "minivmm.h"

#define REGIONS 4096

GUEST(halts, 64, "ud2\n");

static struct {
	const void *p;
	size_t size;
} region[REGIONS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned gone;
static __thread struct stack {
	const char *bottom;
	size_t size;
} mine, next;
static __thread unsigned switches;

#define EXPORT __attribute__((visibility("default"))) /* the library is to find them */
EXPORT void __lsan_register_root_region(const void *p, size_t size);
EXPORT void __lsan_unregister_root_region(const void *p, size_t size);
EXPORT void __sanitizer_start_switch_fiber(void **fake, const void *bottom, size_t size);
EXPORT void __sanitizer_finish_switch_fiber(void *fake, const void **bottom, size_t *size);

static void replace(const void *p, size_t size, const void *new_p, size_t new_size)
{
	unsigned i = 0;

	pthread_mutex_lock(&lock);
	while (i < REGIONS && (region[i].p != p || region[i].size != size))
		i++;
	if (i == REGIONS) {
		fprintf(stderr, "%zu bytes at %p were never registered\n", size, p);
		abort();
	}
	region[i].p = new_p;
	region[i].size = new_size;
	pthread_mutex_unlock(&lock);
}

void __lsan_register_root_region(const void *p, size_t size)
{
	replace(NULL, 0, p, size);
}

void __lsan_unregister_root_region(const void *p, size_t size)
{
	replace(p, size, NULL, 0);
	gone++;
}

void __sanitizer_start_switch_fiber(void **fake, const void *bottom, size_t size)
{
	next = (struct stack){bottom, size};
}

void __sanitizer_finish_switch_fiber(void *fake, const void **bottom, size_t *size)
{
	const char *here = __builtin_frame_address(0);

	EXPECT((size_t)(here - next.bottom) < next.size, "%p is not in %zu bytes from %p", (const void *)here,
	       next.size, (const void *)next.bottom);
	if (bottom) {
		*bottom = mine.bottom;
		*size = mine.size;
	}
	mine = next;
	switches++;
}

static void find_stack(void)
{
	pthread_attr_t a;
	void *bottom;

	EXPECT(!pthread_getattr_np(pthread_self(), &a) && !pthread_attr_getstack(&a, &bottom, &mine.size),
	       "no stack");
	mine.bottom = bottom;
	pthread_attr_destroy(&a);
}

int main(void)
{
	struct minivmm v, more;

	find_stack();
	minivmm_create(&v);
	minivmm_add_vcpu(&v, 1, &more);
	minivmm_load(&v, MINIVMM_LONG, halts);
	EXPECT_EXIT(&v, KVM_EXIT_SHUTDOWN);
	EXPECT(switches == 2, "%u switches in a run", switches);
	minivmm_remove_vcpu(&more);
	minivmm_destroy(&v);
	EXPECT(gone, "nothing was given back");
	return 0;
}
