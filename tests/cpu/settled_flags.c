/* SPDX-License-Identifier: MIT */
/*
 * What base/pext.h finds out of flags that the manuals leave undefined, by one value of each operand, is so whatever the
 * operands are: they depend on nothing but those, or for some of them on what the flags were.
 */
#include <stdio.h>

#include "base/pext.h"
#include "random.h"

#define TRIES 100000

struct operands {
	u64 a, c, d;
};

/* As HOST_FLAGS_BEHIND(), of any operands. */
#define FLAGS_BEHIND(insn, before, o)                                                              \
	({                                                                                         \
		u64 ax_ = (before), cx_ = (o)->c, dx_ = (o)->d;                                    \
		__asm__("addb $127, %%al\n\t"                                                      \
			"sahf\n\t"                                                                 \
			"movq %3, %%rax\n\t" insn "\n\t"                                           \
			"lahf\n\t"                                                                 \
			"seto %%al"                                                                \
			: "+a"(ax_), "+c"(cx_), "+d"(dx_)                                          \
			: "r"((o)->a)                                                              \
			: "cc");                                                                   \
		ax_ & 0xd501;                                                                      \
	})
#define DEPENDS(insn, o) (FLAGS_BEHIND(insn, 0x0200, o) != FLAGS_BEHIND(insn, 0xd701, o))

static bool product_depends(const struct operands *o)
{
	return DEPENDS("imulq %%rdx, %%rcx", o) || DEPENDS("imull %%edx, %%ecx", o) || DEPENDS("imulw %%dx, %%cx", o) ||
	       DEPENDS("imulq $-77, %%rdx, %%rcx", o) || DEPENDS("mulq %%rcx", o) || DEPENDS("mull %%ecx", o) ||
	       DEPENDS("mulw %%cx", o) || DEPENDS("mulb %%cl", o) || DEPENDS("imulq %%rcx", o) ||
	       DEPENDS("imull %%ecx", o) || DEPENDS("imulw %%cx", o) || DEPENDS("imulb %%cl", o);
}

#define BY(n, o)                                                                                   \
	(DEPENDS("shlb $" n ", %%cl", o) || DEPENDS("shrb $" n ", %%cl", o) || DEPENDS("sarb $" n ", %%cl", o) ||       \
	 DEPENDS("shlw $" n ", %%cx", o) || DEPENDS("shrw $" n ", %%cx", o) || DEPENDS("sarw $" n ", %%cx", o) ||       \
	 DEPENDS("shll $" n ", %%ecx", o) || DEPENDS("shrl $" n ", %%ecx", o) || DEPENDS("sarl $" n ", %%ecx", o) ||    \
	 DEPENDS("shlq $" n ", %%rcx", o) || DEPENDS("shrq $" n ", %%rcx", o) || DEPENDS("sarq $" n ", %%rcx", o))

static bool shift_depends(const struct operands *o)
{
	return BY("1", o) || BY("2", o) || BY("7", o) || BY("8", o) || BY("9", o) || BY("15", o) || BY("16", o) ||
	       BY("17", o) || BY("31", o);
}

static bool any_depends(bool (*depends)(const struct operands *o))
{
	for (unsigned i = 0; i < TRIES; i++) {
		struct operands o = {rnd_value(), rnd_value(), rnd_value()};

		if (depends(&o))
			return true;
	}
	return false;
}

static int compare(const char *what, bool said, bool depends)
{
	if (said != depends)
		return 0;
	printf("flags behind %s %s on what they were before\n", what, depends ? "depend" : "do not depend");
	return 1;
}

int main(void)
{
	return compare("shifts", host_shifts_settle_flags(), any_depends(shift_depends)) |
	       compare("multiplications", host_products_settle_flags(), any_depends(product_depends));
}
