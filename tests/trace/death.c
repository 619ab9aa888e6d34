/* SPDX-License-Identifier: MIT */
/*
 * A guest that dies: by a triple fault, or, with "hole", because there is no memory where it jumps to. It
 * waits for a line before it runs, and for one after each death.
 */
#include <linux/kvm.h>
#include <string.h>
#include "../vmm/minivmm.h"

GUEST(triple, 64, "mov $0x1234, %eax\n mov %eax, %ds:0x9000\n out %al, $0x10\n ud2\n");
GUEST(hole, 64, "mov $0x300000, %eax\n jmp *%rax\n");

static int more(void)
{
	char line[16];

	puts("ready");
	fflush(stdout);
	return fgets(line, sizeof(line), stdin) != NULL;
}

int main(int argc, char **argv)
{
	int into_hole = argc > 1 && !strcmp(argv[1], "hole");
	struct minivmm v;

	minivmm_create(&v);
	while (more()) {
		minivmm_load(&v, MINIVMM_LONG, into_hole ? hole : triple);
		if (!into_hole)
			EXPECT_EXIT(&v, KVM_EXIT_IO);
		EXPECT_EXIT(&v, into_hole ? KVM_EXIT_INTERNAL_ERROR : KVM_EXIT_SHUTDOWN);
	}
	return 0;
}
