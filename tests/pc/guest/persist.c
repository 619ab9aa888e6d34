/* SPDX-License-Identifier: MIT */
/*
 * Runs in a guest: writes persistent memory as a program does that trusts in it, by a mapping
 * of a file with DAX (MAP_SYNC), cache line flushes and fences, and without a system call.
 *
 * usage: persist FILE PAGES   write the file's pages in turn, again and again
 *
 * Word i of page p in round r is (r << 32) + p * 512 + i. "persist: N" says that N pages have
 * been written and flushed, from the first one of the first round, 1, on. The program does not
 * end.
 */
#include <fcntl.h>
#include <immintrin.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE_SIZE  4096
#define PAGE_WORDS (PAGE_SIZE / sizeof(uint64_t))
#define LINE_WORDS (64 / sizeof(uint64_t))
#define SAY_AFTER  64 /* pages */

static void write_page(uint64_t *page, uint64_t round, uint64_t n)
{
	for (uint64_t i = 0; i < PAGE_WORDS; i++)
		page[i] = (round << 32) + n * PAGE_WORDS + i;
	for (uint64_t i = 0; i < PAGE_WORDS; i += LINE_WORDS)
		_mm_clflush(page + i);
	_mm_sfence();
}

int main(int argc, char **argv)
{
	uint64_t npages, written = 0;
	uint64_t(*page)[PAGE_WORDS];
	int fd;

	if (argc != 3)
		return 2;
	npages = strtoul(argv[2], NULL, 0);
	fd = open(argv[1], O_RDWR | O_CREAT, 0600);
	if (fd < 0 || posix_fallocate(fd, 0, (off_t)(npages * PAGE_SIZE))) {
		perror(argv[1]);
		return 1;
	}
	page = mmap(NULL, npages * PAGE_SIZE, PROT_READ | PROT_WRITE,
		    MAP_SHARED_VALIDATE | MAP_SYNC, fd, 0);
	if (page == MAP_FAILED) {
		perror("MAP_SYNC");
		return 1;
	}
	for (uint64_t round = 1;; round++) {
		for (uint64_t n = 0; n < npages; n++) {
			write_page(page[n], round, n);
			if (++written % SAY_AFTER)
				continue;
			printf("persist: %lu\n", written);
			fflush(stdout);
		}
	}
}
