/* SPDX-License-Identifier: MIT */
/*
 * tests/vmm/ring_race.c: dirty rings are asked for while a vCPU is being made. Either the vCPU is
 * there first and the rings are refused, or it has one.
 */
#include "minivmm.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define ROUNDS	  500
#define RING_SIZE 65536

static int vm;
static pthread_barrier_t start;

static void *enable(void *enabled)
{
	struct kvm_enable_cap e = {.cap = KVM_CAP_DIRTY_LOG_RING, .args = {RING_SIZE}};

	pthread_barrier_wait(&start);
	*(int *)enabled = !ioctl(vm, KVM_ENABLE_CAP, &e);
	return NULL;
}

int main(void)
{
	int kvm = open("/dev/kvm", O_RDWR), with = 0;
	off_t at = KVM_DIRTY_LOG_PAGE_OFFSET * getpagesize();

	pthread_barrier_init(&start, NULL, 2);
	for (int i = 0; i < ROUNDS; i++) {
		int vcpu, enabled;
		pthread_t t;
		char *ring;

		vm = ioctl(kvm, KVM_CREATE_VM, 0);
		EXPECT(!pthread_create(&t, NULL, enable, &enabled), "no thread");
		pthread_barrier_wait(&start);
		for (volatile int n = 0; n < i % 50 * 100;)
			n++;
		vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
		pthread_join(t, NULL);
		EXPECT(vcpu >= 0, "KVM_CREATE_VCPU: %s", strerror(errno));
		if (enabled) {
			ring = mmap(NULL, RING_SIZE, PROT_READ, MAP_SHARED, vcpu, at);
			EXPECT(ring != MAP_FAILED, "mmap: %s", strerror(errno));
			EXPECT(!ring[RING_SIZE - 1], "a ring that is not empty");
			EXPECT(!ioctl(vm, KVM_RESET_DIRTY_RINGS, 0), "an entry in the ring");
			munmap(ring, RING_SIZE);
			with++;
		}
		close(vcpu);
		close(vm);
	}
	printf("ok: rings in %d of %d\n", with, ROUNDS);
	return 0;
}
