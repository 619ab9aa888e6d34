/* SPDX-License-Identifier: MIT */
/* Does this processor raise unmasked SIMD exceptions? QEMU's TCG has none (known-tcg.txt). Exit status 0: it does. */
#include <signal.h>
#include <unistd.h>
#include <xmmintrin.h>

static void raised(int sig)
{
	_exit(0);
}

int main(void)
{
	signal(SIGFPE, raised);
	_mm_setcsr(_mm_getcsr() & ~_MM_MASK_DIV_ZERO);
	asm volatile("divss %1, %0" : : "x"(1.0f), "x"(0.0f));
	return 1;
}
