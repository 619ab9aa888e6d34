/* SPDX-License-Identifier: MIT */
/* loader/site.c: which instructions before a `syscall' may be replaced, and which only look like it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include "loader/site.h"

#define LOAD "\xb8\x10\0\0\0"
#define CALL "\x0f\x05"
#define CODE(text) text, sizeof(text) - 1

static const struct {
	const char *what;
	const char *code;
	size_t n;
	bool may;
} sites[] = {
	{"glibc 2.36, musl 1.2: behind mov %rax, 0x10(%rsp)",
	 CODE("\x44\x24\x20\x48\x89\x44\x24\x10" LOAD CALL), true},
	{"behind nops", CODE("\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90" LOAD CALL), true},
	{"behind a return", CODE("\x90\x90\x90\x90\x90\x90\x90\x90\x90\xc3" LOAD CALL), true},
	{"behind xor %r9d, %r9d", CODE("\x90\x90\x90\x90\x90\x90\x90\x45\x31\xc9" LOAD CALL), true},
	{"movl $16, -0x48(%rsp)", CODE("\x90\x90\x90\x90\x90\x90\x90\xc7\x44\x24" LOAD CALL), false},
	{"movl $16, -0x48(%rbp)", CODE("\x90\x90\x90\x90\x90\x90\x90\x90\xc7\x45" LOAD CALL), false},
	{"mov $16, %r8d", CODE("\x90\x90\x90\x90\x90\x90\x90\x90\x90\x41" LOAD CALL), false},
	{"lea 0x10(%rax), %edi", CODE("\x90\x90\x90\x90\x90\x90\x90\x90\x90\x8d" LOAD CALL), false},
	{"idivl 0x10(%rax), which changes it", CODE("\x90\x90\x90\x90\x90\x90\x90\x90\x90\xf7" LOAD CALL), false},
	{"mov %fs:0x10(%rax), %edi", CODE("\x90\x90\x90\x90\x90\x90\x90\x90\x64\x8b" LOAD CALL), false},
	{"a nop of seven bytes", CODE("\x90\x90\x90\x90\x90\x90\x90\x90\x0f\x1f" LOAD CALL), false},
	{"cmpl $16, -0x48(%rip)", CODE("\x90\x90\x90\x90\x81\x3d\xb8\xff\xff\xff\x10\0\0\0\x90" CALL), false},
	{"another number", CODE("\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90\xb8\x01\0\0\0" CALL), false},
	{"no call", CODE("\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90" LOAD "\x0f\x0b"), false},
};

static void test_sites(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(sites) / sizeof(sites[0]); i++) {
		uint8_t code[SITE_BEFORE + SITE_CALL];

		memset(code, 0x90, sizeof(code));
		memcpy(code + sizeof(code) - sites[i].n, sites[i].code, sites[i].n);
		if (site_has_load(code) != sites[i].may)
			fail_msg("%s: %s", sites[i].what, sites[i].may ? "refused" : "taken");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_sites)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
