/* SPDX-License-Identifier: MIT */
/*
 * KVM_GET_NESTED_STATE of a vCPU without nesting: empty, in the form of the host's vendor; what came
 * goes in again, and nothing else does. So a monitor that saves and restores all there is can.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "minivmm.h"

#define HEADER 128 /* bytes: the whole of an empty state */

static struct minivmm v;
static struct {
	struct kvm_nested_state s;
	uint8_t more[8192];
} n;

static void expect_set(int error, const char *what)
{
	int r = ioctl(v.vcpu, KVM_SET_NESTED_STATE, &n);

	EXPECT(error ? r == -1 && errno == error : r == 0, "%s: %d %s", what, r, strerror(errno));
}

static void get(void)
{
	memset(&n, 0xff, sizeof(n));
	n.s.size = sizeof(n);
	EXPECT(ioctl(v.vcpu, KVM_GET_NESTED_STATE, &n) == 0, "get: %s", strerror(errno));
	EXPECT(n.s.size == HEADER && n.more[0] == 0xff, "%u bytes", n.s.size);
}

int main(void)
{
	long most;

	minivmm_create(&v);
	most = ioctl(v.vm, KVM_CHECK_EXTENSION, KVM_CAP_NESTED_STATE);
	EXPECT(most == HEADER + 0x1000 || most == HEADER + 0x2000, "the capability: %ld", most);
	EXPECT(ioctl(v.kvm, KVM_CHECK_EXTENSION, KVM_CAP_NESTED_STATE) == most, "on /dev/kvm");

	n.s.size = HEADER - 1;
	EXPECT(ioctl(v.vcpu, KVM_GET_NESTED_STATE, &n) == -1 && errno == E2BIG && n.s.size == HEADER,
	       "too little room: %s, %u", strerror(errno), n.s.size);
	EXPECT(ioctl(v.vcpu, KVM_GET_NESTED_STATE, NULL) == -1 && errno == EFAULT, "no room");

	get();
	EXPECT((most == HEADER + 0x1000) == (n.s.format == KVM_STATE_NESTED_FORMAT_SVM), "format %u",
	       n.s.format);
	EXPECT(!(n.s.flags & (KVM_STATE_NESTED_GUEST_MODE | KVM_STATE_NESTED_RUN_PENDING)),
	       "flags %x", n.s.flags);
	expect_set(0, "what came");
	n.s.size = HEADER - 1;
	expect_set(EINVAL, "too small");
	get();
	n.s.flags |= KVM_STATE_NESTED_GUEST_MODE;
	expect_set(EINVAL, "guest mode");
	get();
	n.s.flags |= 0x8000;
	expect_set(EINVAL, "an unknown flag");
	get();
	n.s.format ^= 1;
	expect_set(EINVAL, "the other vendor's form");
	get();
	expect_set(0, "what came, again");
	EXPECT(ioctl(v.vcpu, KVM_SET_NESTED_STATE, NULL) == -1 && errno == EFAULT, "no state");
	return 0;
}
