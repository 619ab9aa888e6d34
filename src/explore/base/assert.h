/* SPDX-License-Identifier: MIT */
/* assert.h (explorer's build): an assertion of explored code that fails is a finding. */
#ifndef EXPLORE_BASE_ASSERT_H
#define EXPLORE_BASE_ASSERT_H

void sched_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#define static_assert _Static_assert
#define assert(cond)  ((cond) ? (void)0 : sched_fail("%s() asserts %s", __func__, #cond))

#endif
