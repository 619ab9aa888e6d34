/* SPDX-License-Identifier: MIT */
/*
 * An input that the VMM does not answer: the data of its exit are zero, as KVM leaves them, and not
 * those of the output before. gokvm's serial port relies on it.
 */
#include <string.h>
#include "minivmm.h"

GUEST(asks, 16,
      "	mov $0xa5, %al\n"
      "	out %al, $0x10\n"
      "	in $0x11, %al\n"
      "	mov $0xdead, %ax\n"
      "	out %ax, $0x10\n"
      "	mov $0xd00d, %dx; mov $0x9000, %di; mov $3, %cx\n"
      "	rep insb\n"
      "	hlt\n");

static struct minivmm v;

static const uint8_t *io(int direction, unsigned size)
{
	EXPECT_EXIT(&v, KVM_EXIT_IO);
	EXPECT(v.run->io.direction == direction && v.run->io.size == size, "another exit");
	return (uint8_t *)v.run + v.run->io.data_offset;
}

int main(void)
{
	struct kvm_regs r;
	unsigned left = 3;

	minivmm_create(&v);
	minivmm_load(&v, MINIVMM_REAL, asks);
	EXPECT(*io(KVM_EXIT_IO_OUT, 1) == 0xa5, "what went out");
	EXPECT(*io(KVM_EXIT_IO_IN, 1) == 0, "what came in before");
	io(KVM_EXIT_IO_OUT, 2);
	minivmm_get_regs(&v, &r);
	EXPECT((r.rax & 0xffff) == 0xdead, "rax %llx", r.rax);
	memset(v.mem + 0x9000, 0xff, 4);
	while (left) {
		const uint8_t *data = io(KVM_EXIT_IO_IN, 1);

		for (unsigned i = 0; i < v.run->io.count; i++)
			EXPECT(!data[i], "byte %u", i);
		left -= v.run->io.count;
	}
	EXPECT_EXIT(&v, KVM_EXIT_HLT);
	EXPECT(!memcmp(v.mem + 0x9000, "\0\0\0\377", 4), "what rep insb stored");
	return 0;
}
