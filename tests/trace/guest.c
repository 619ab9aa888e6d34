/* SPDX-License-Identifier: MIT */
/*
 * A VMM whose every call is known, for what `userkvm trace` shows of it. With an argument it waits for a
 * line before it runs the guest, so that it can be found first; then it goes on, once a line.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include "../vmm/minivmm.h"

#define SLOT_GPA 0x400000u

GUEST(work, 64,
      "mov $0x41, %al\n out %al, $0x10\n"
      "mov 0x300000, %eax\n"
      "mov $0xc0000102, %ecx\n mov $0x1234, %eax\n xor %edx, %edx\n wrmsr\n rdmsr\n"
      "mov %cr3, %rax\n mov %rax, %cr3\n"
      "mov %eax, 0x400000\n"
      "ud2\n"
      "hlt\n");
#define UD_HANDLER 0x100

static struct minivmm v;
static void *extra;

static void add_slot(void)
{
	struct kvm_userspace_memory_region slot = {
		.slot = 1, .guest_phys_addr = SLOT_GPA, .memory_size = 0x1000};

	extra = mmap(NULL, 0x1000, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	EXPECT(extra != MAP_FAILED, "mmap");
	slot.userspace_addr = (uintptr_t)extra;
	EXPECT(!ioctl(v.vm, KVM_SET_USER_MEMORY_REGION, &slot), "slot");
	slot.slot = 2;
	EXPECT(ioctl(v.vm, KVM_SET_USER_MEMORY_REGION, &slot) == -1 && errno == EEXIST, "overlap");
}

static void run(void)
{
	static const uint8_t iret_over_ud2[] = {0x48, 0x83, 0x04, 0x24, 0x02, 0x48, 0xcf}; /* add $2, (rsp); iretq */

	minivmm_load(&v, MINIVMM_LONG, work);
	memcpy(v.mem + MINIVMM_CODE + UD_HANDLER, iret_over_ud2, sizeof(iret_over_ud2));
	minivmm_set_gate(&v, MINIVMM_LONG, 6, UD_HANDLER);
	EXPECT_EXIT(&v, KVM_EXIT_IO);
	EXPECT_EXIT(&v, KVM_EXIT_MMIO);
	EXPECT_EXIT(&v, KVM_EXIT_HLT);
	EXPECT(!mprotect(extra, 0x1000, PROT_READ), "mprotect");
	EXPECT(!mprotect(extra, 0x1000, PROT_READ | PROT_WRITE), "mprotect");
	EXPECT(ioctl(v.vm, 0xae99) == -1 && errno == ENOTTY, "a call that there is not");
	EXPECT(ioctl(v.kvm, KVM_CHECK_EXTENSION, KVM_CAP_USER_MEMORY) == 1, "capability");
}

static void in_child(void)
{
	pid_t child = fork();
	int status;

	if (!child) {
		int kvm = open("/dev/kvm", O_RDWR);

		_exit(ioctl(kvm, KVM_GET_API_VERSION) != 12);
	}
	EXPECT(waitpid(child, &status, 0) == child && !status, "the child's version");
}

int main(int argc, char **argv)
{
	char line[16];

	minivmm_create(&v);
	add_slot();
	if (argc > 1) {
		do {
			puts("ready");
			fflush(stdout);
			if (!fgets(line, sizeof(line), stdin))
				return 0;
			run();
		} while (1);
	}
	run();
	in_child();
	return 7;
}
