/* SPDX-License-Identifier: MIT */
/*
 * Where libcmocka-dev is not installed, tests that use it include this instead: they compile, and
 * each program says what it lacks and ends as skipped. Nothing of them runs.
 */
#ifndef TESTS_NO_CMOCKA_H
#define TESTS_NO_CMOCKA_H

#include <stdio.h>
#include <stdlib.h>

#define NO_CMOCKA_SKIPPED 77 /* meson's status for a skipped test */

struct CMUnitTest {
	const char *name;
	const void *functions[3]; /* test, setup, teardown: named, so that they count as used */
};

#define cmocka_unit_test_setup_teardown(test, setup, teardown)                                     \
	{#test, {(const void *)(test), (const void *)(setup), (const void *)(teardown)}}
#define cmocka_unit_test_setup(test, setup) cmocka_unit_test_setup_teardown(test, setup, NULL)
#define cmocka_unit_test(test)		    cmocka_unit_test_setup_teardown(test, NULL, NULL)

static inline int no_cmocka(const struct CMUnitTest *tests)
{
	(void)tests;
	printf("needs libcmocka-dev; with it installed: meson setup --reconfigure BUILD\n");
	return NO_CMOCKA_SKIPPED;
}

#define cmocka_run_group_tests(tests, setup, teardown)		 no_cmocka(tests)
#define cmocka_run_group_tests_name(name, tests, setup, teardown) no_cmocka(tests)
#define cmocka_set_test_filter(pattern)				 ((void)(pattern))

/* Never reached, but what they are given is compiled. */
#define no_cmocka_assert(condition)                                                                \
	do {                                                                                       \
		if (!(condition))                                                                  \
			abort();                                                                   \
	} while (0)
#define assert_true(c)			  no_cmocka_assert(c)
#define assert_false(c)			  no_cmocka_assert(!(c))
#define assert_null(p)			  no_cmocka_assert(!(p))
#define assert_non_null(p)		  no_cmocka_assert(p)
#define assert_int_equal(a, b)		  no_cmocka_assert((long long)(a) == (long long)(b))
#define assert_int_not_equal(a, b)	  no_cmocka_assert((long long)(a) != (long long)(b))
#define assert_ptr_equal(a, b)		  no_cmocka_assert((const void *)(a) == (const void *)(b))
#define assert_ptr_not_equal(a, b)	  no_cmocka_assert((const void *)(a) != (const void *)(b))
#define assert_memory_equal(a, b, size)	  no_cmocka_assert(!__builtin_memcmp(a, b, size))
#define fail()				  abort()
#define fail_msg(...)			  (printf(__VA_ARGS__), abort())
#define skip()				  abort()
#define print_message(...)		  printf(__VA_ARGS__)

#endif
