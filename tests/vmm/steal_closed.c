/* SPDX-License-Identifier: MIT */
/*
 * tests/vmm/steal_closed.c: a VMM that closes descriptors it has not opened, as daemons do, closes
 * the one by which userkvm asks how long a vCPU's thread had to wait. The guest's steal time must
 * not jump by more than has passed.
 */
#include "minivmm.h"
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define STEAL_AT 0x6000
#define ROUNDS	 20

GUEST(guest, 16,
      "mov $0x4b564d03, %ecx\n mov $0x6001, %eax\n xor %edx, %edx\n wrmsr\n"
      "1: out %al, $0x10\n jmp 1b\n");

static void close_schedstat(void)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *d;
	char link[256];

	while ((d = readdir(dir))) {
		ssize_t n = readlinkat(dirfd(dir), d->d_name, link, sizeof(link) - 1);

		link[n > 0 ? n : 0] = 0;
		if (strstr(link, "/schedstat"))
			close(atoi(d->d_name));
	}
	closedir(dir);
}

int main(void)
{
	struct minivmm v;
	uint64_t stolen;

	minivmm_create(&v);
	minivmm_load(&v, MINIVMM_REAL, guest);
	for (int i = 0; i < ROUNDS; i++) {
		if (i == ROUNDS / 2)
			close_schedstat();
		usleep(1000);
		EXPECT_EXIT(&v, KVM_EXIT_IO);
		memcpy(&stolen, v.mem + STEAL_AT, sizeof(stolen));
		EXPECT(stolen < 60000000000ull, "%lu ns stolen in round %d", stolen, i);
	}
	minivmm_destroy(&v);
	printf("ok\n");
	return 0;
}
