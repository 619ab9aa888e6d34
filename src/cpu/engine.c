/* SPDX-License-Identifier: MIT */
#include "cpu/engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/text.h"
#include "cpu/translator/translator.h"
#include "sync/atomic.h"

/* Of the entries of translated blocks, one in so many is compared with the interpreter. */
#define CHECK_EVERY 64

/* The number behind the colon of "check:64", or `otherwise`. */
static u32 number(const char *engine, u32 otherwise)
{
	const char *colon = strchr(engine, ':');

	return colon ? MAX((u32)strtoul(colon + 1, NULL, 10), 1u) : otherwise;
}

/* False: the interpreter alone. */
static bool choose(struct translator_options *o)
{
	const char *engine = secure_getenv("USERKVM_ENGINE");

	*o = (struct translator_options){.heat = TRANSLATOR_HEAT};
	if (!engine)
		return true;
	if (!strncmp(engine, "check", strlen("check"))) {
		o->check_every = number(engine, CHECK_EVERY);
		o->heat = o->check_every == 1 ? 1 : TRANSLATOR_HEAT;
	} else if (!strncmp(engine, "translator", strlen("translator"))) {
		o->heat = number(engine, TRANSLATOR_HEAT);
	}
	return strcmp(engine, "interpreter");
}

/* What `userkvm run --code-cache` has let through. */
static u32 cache_size(void)
{
	const char *size = secure_getenv("USERKVM_CODE_CACHE");
	char *unit = "";
	u64 bytes;

	if (!size)
		return 0;
	bytes = strtoull(size, &unit, 10);
	switch (*unit) {
	case 'G':
		bytes <<= 10; /* fall through */
	case 'M':
		bytes <<= 10; /* fall through */
	case 'K':
		bytes <<= 10;
	}
	return (u32)MAX(MIN(bytes, (u64)TRANSLATOR_CACHE_MOST), (u64)TRANSLATOR_CACHE_LEAST);
}

/* As another processor's generated code is: for tests. */
static enum translator_checks checks(void)
{
	static const char *const names[] = {
		[CHECKS_BY_LOOP] = "loop", [CHECKS_BY_BORROW] = "borrow", [CHECKS_BY_FLAGS] = "flags"};
	const char *how = secure_getenv("USERKVM_CHECKS");
	u32 n = ARRAY_SIZE(names);

	while (how && --n > CHECKS_FOR_HOST && strcmp(how, names[n]))
		;
	return how ? (enum translator_checks)n : CHECKS_FOR_HOST;
}

static const char *reason(int r)
{
	switch (r) {
	case -ENOTSUP:
		return "the processor has no BMI2, or a slow PEXT";
	case -ENOMEM:
		return "there is no memory or address space for generated code (ulimit -v)";
	case -ENOSPC:
		return "there are too many vCPUs";
	default:
		return "the system lets no memory made at run time be executed";
	}
}

static void tell(int r)
{
	static u32 told;
	u32 no = 0;

	if (sync_cmpxchg(&told, &no, 1))
		text_say("userkvm: guest code is interpreted, which is slower: %s\n", reason(r));
}

void engine_attach(struct cpu *c)
{
	struct translator_options o;
	int r;

	c->stat.counts = true;
	if (!choose(&o))
		return;
	o.cache = cache_size();
	o.checks = (u8)checks();
	o.count = secure_getenv("USERKVM_COUNT") != NULL;
	r = translator_create(c, &o);
	if (r)
		tell(r);
	else
		c->stat.counts = o.count;
}

void engine_detach(struct cpu *c)
{
	translator_destroy(c);
}
