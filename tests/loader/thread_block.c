/* SPDX-License-Identifier: MIT */
/* A thread's id is found in its block, whatever pointers stand before it (loader/thread_block.h). */
#include "loader/thread_block.h"

#include <pthread.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

static int wrong;

#define EXPECT(cond, what)                                                                         \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			printf("%s\n", what);                                                      \
			wrong = 1;                                                                 \
		}                                                                                  \
	} while (0)

static u64 fs_base(void)
{
	u64 fs;

	asm("mov %%fs:0, %0" : "=r"(fs)); /* a block begins with its own address */
	return fs;
}

/* The word that libc hands to the kernel is the one: it is zero when the thread has ended. */
static u64 offset_here(void)
{
	u32 *word = thread_block_tid(fs_base(), (u32)syscall(SYS_gettid));

	return word ? (u64)word - fs_base() : 0;
}

static void *in_thread(void *at)
{
	*(u64 *)at = offset_here();
	return NULL;
}

int main(void)
{
	static u64 block[THREAD_BLOCK / 8];
	u64 first = offset_here(), other = 0;
	pthread_t t;

	/* An address whose upper half is the id: the thread 15946 had its block at 0x3e4a74f2a6c0. */
	block[0] = 0x3e4a74f2a6c0;
	block[90] = 0x3e4a;
	EXPECT(thread_block_tid((u64)block, 0x3e4a) == (u32 *)&block[90], "half of a pointer is taken for the id");
	EXPECT(!thread_block_tid((u64)block, 0x3e4b), "an id is found that is not there");
	EXPECT(!pthread_create(&t, NULL, in_thread, &other) && !pthread_join(t, NULL), "a thread");
	EXPECT(first && first == other, "libc keeps it at one place in all blocks");
	return wrong;
}
