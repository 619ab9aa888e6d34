/* SPDX-License-Identifier: MIT */
/*
 * Where a report says that a vCPU is, wherever its thread is found.
 */
#include <stdlib.h>
#include "fake.h"
#include "cpu/code/op.h"
#include "cpu/inspect.h"

#define BLOCK_RIP 0x401000
#define OP_OFF	  7
#define IN_HOST	  0x7f1234567890 /* generated code leaves such an address in c->rip */
#define IN_LOOP	  0x402000

static struct block *block;

static void found_in(enum statpage_place place, const struct op *op, u64 rip, u64 expected)
{
	fake.c->stat.code.place = place;
	fake.c->op = op;
	fake.c->rip = rip;
	assert_int_equal(cpu_inspect_rip(fake.c), expected);
}

static void rip_is_never_the_hosts(void **state)
{
	fake_long(3);
	fake.c->block = block;
	found_in(STATPAGE_GENERATED, NULL, IN_HOST, BLOCK_RIP);
	found_in(STATPAGE_HANDLER, NULL, IN_HOST, BLOCK_RIP);
	found_in(STATPAGE_WALK, NULL, IN_HOST, BLOCK_RIP);
	found_in(STATPAGE_INTERPRETER, NULL, IN_HOST, BLOCK_RIP);
	found_in(STATPAGE_HANDLER, &block->op[1], IN_HOST, BLOCK_RIP + OP_OFF);
}

static void rip_between_blocks(void **state)
{
	fake_long(3);
	fake.c->block = block;
	found_in(STATPAGE_LOOP, NULL, IN_LOOP, IN_LOOP);
	fake.c->block = NULL;
	found_in(STATPAGE_INTERPRETER, NULL, IN_LOOP, IN_LOOP);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rip_is_never_the_hosts),
		cmocka_unit_test(rip_between_blocks),
	};
	int failed;

	block = calloc(1, sizeof(*block) + 2 * sizeof(block->op[0]));
	if (!block)
		return 1;
	block->rip = BLOCK_RIP;
	block->op[1].off = OP_OFF;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	free(block);
	return failed;
}
