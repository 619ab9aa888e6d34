/* SPDX-License-Identifier: MIT */
/* tests/bare/run.c: the loop over the tests, and what each comes to. */
#include "frame.h"

enum { DEBUG_EXIT = 0xf4 }; /* -device isa-debug-exit,iobase=0xf4 */

extern const struct test tests_start[], tests_end[];
bool (*interrupt_hook)(struct frame *f);
reg_t abandon_sp;

u64 descriptor(u32 base, u32 limit, u8 access, u8 flags)
{
	return (limit & 0xffff) | ((u64)(base & 0xffffff) << 16) | ((u64)access << 40) |
	       ((u64)(limit >> 16 & 0xf) << 48) | ((u64)(flags & 0xf) << 52) |
	       ((u64)(base >> 24) << 56);
}

static bool failed;
static const char *skipped;

void check_failed(const char *file, int line, const char *what, const char *format, ...)
{
	va_list args;

	/* One line per test is enough to start with; a matrix would print thousands. */
	if (!failed) {
		print("# %s:%d: %s: ", file, line, what);
		va_start(args, format);
		vprint(format, args);
		va_end(args);
		print("\n");
	}
	failed = true;
}

void skip(const char *why)
{
	skipped = why;
}

bool run_guarded(void (*f)(void)); /* stubs.S, boot32.S */

/* Run one test; 1: passed, 0: skipped, -1: failed. */
static int run_test(const struct test *t)
{
	failed = false;
	skipped = NULL;
	run_guarded(t->run);
	if (failed)
		print("not ok %s\n", t->name);
	else if (skipped)
		print("skip %s: %s\n", t->name, skipped);
	else
		print("ok %s\n", t->name);
	return failed ? -1 : !skipped;
}

int main(void)
{
	int passed = 0, bad = 0, skips = 0;

	image_start();
	for (const struct test *t = tests_start; t < tests_end; t++) {
		reg_t cr0 = read_cr0(), cr4 = read_cr4();
		int result;

		interrupt_hook = NULL;
		image_before_test();
		result = run_test(t);
		write_cr0(cr0);
		write_cr4(cr4);
		write_dr7(0x400);
		write_dr6(0xffff0ff0);
		passed += result > 0;
		skips += !result;
		bad += result < 0;
	}
	print("# %d passed, %d failed, %d skipped\n", passed, bad, skips);
	outb(DEBUG_EXIT, bad ? 1 : 0);
	return 0;
}
