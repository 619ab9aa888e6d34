/* SPDX-License-Identifier: MIT */
/* compare_fork.h: what a child reads, here and in the model. */
#ifndef TESTS_EXPLORE_COMPARE_FORK_H
#define TESTS_EXPLORE_COMPARE_FORK_H

#include <sys/wait.h>
#include <unistd.h>

#include "compare.h"

#define FORK_LOOKS 16

/* What a process reads at some of its addresses. */
struct seen {
	s64 result[FORK_LOOKS];
	u64 word[FORK_LOOKS];
};

/* In the child: wait until the parent has done what it does meanwhile, look, and tell it. */
static void child_looks(int go, int out, u64 n, hva_t (*address)(u64 n))
{
	struct seen seen = {{0}, {0}};
	char c;

	if (read(go, &c, 1) != 1)
		_exit(1);
	for (u64 i = 0; i < n; i++)
		seen.result[i] = real_access_at(address(i), false, &seen.word[i]);
	_exit(write(out, &seen, sizeof(seen)) != sizeof(seen));
}

static void compare_child(struct model_child *c, const struct seen *seen, u64 n, hva_t (*address)(u64 n))
{
	for (u64 i = 0; i < n; i++) {
		u64 word = 0;
		int r = model_child_read(c, address(i), &word);

		if (r != seen->result[i])
			fail("a child's read", i, r, seen->result[i]);
		if (word != seen->word[i])
			fail("a child's word", i, (s64)word, (s64)seen->word[i]);
	}
}

/*
 * Fork, here and in the model, and compare what the child reads at n addresses after `meanwhile`: what the parent does
 * then, private memory of the child's must not show.
 */
static void compare_fork(struct model *m, u64 n, hva_t (*address)(u64 n), void (*meanwhile)(void))
{
	int go[2], out[2];
	struct model_child *c;
	struct seen seen;
	pid_t pid;

	if (n > FORK_LOOKS || pipe(go) || pipe(out) || (pid = fork()) < 0)
		fail("fork", n, 0, errno);
	if (!pid)
		child_looks(go[0], out[1], n, address);
	c = model_fork(m);
	meanwhile();
	if (write(go[1], "", 1) != 1 || read(out[0], &seen, sizeof(seen)) != sizeof(seen))
		fail("a child", 0, 0, errno);
	compare_child(c, &seen, n, address);
	model_child_exit(c);
	waitpid(pid, NULL, 0);
	for (int i = 0; i < 2; i++) {
		close(go[i]);
		close(out[i]);
	}
}

#endif
