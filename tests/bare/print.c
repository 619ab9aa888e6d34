/* SPDX-License-Identifier: MIT */
/* tests/bare/print.c: the serial port, and what little of libc the suite needs. */
#include "frame.h"

enum { COM1 = 0x3f8, COM1_STATUS = COM1 + 5, TRANSMIT_EMPTY = 0x20 };

void *memcpy(void *d, const void *s, size_t n)
{
	void *start = d;

	asm volatile("rep movsb" : "+D"(d), "+S"(s), "+c"(n) : : "memory");
	return start;
}

void *memset(void *d, int c, size_t n)
{
	void *start = d;

	asm volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(c) : "memory");
	return start;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const u8 *x = a, *y = b;

	for (size_t i = 0; i < n; i++)
		if (x[i] != y[i])
			return x[i] < y[i] ? -1 : 1;
	return 0;
}

static void put_char(char c)
{
	while (!(inb(COM1_STATUS) & TRANSMIT_EMPTY))
		;
	outb(COM1, c);
}

static void put_string(const char *s)
{
	while (*s)
		put_char(*s++);
}

static void put_number(unsigned long n, unsigned base)
{
	char digits[24];
	unsigned i = sizeof(digits);

	digits[--i] = 0;
	do
		digits[--i] = "0123456789abcdef"[n % base];
	while (n /= base);
	put_string(digits + i);
}

/* %s %d %u %x %lx and %%: enough. */
void vprint(const char *format, va_list args)
{
	for (; *format; format++) {
		if (*format != '%') {
			put_char(*format);
			continue;
		}
		bool is_long = *++format == 'l';

		format += is_long;
		if (*format == 's') {
			put_string(va_arg(args, const char *));
		} else if (*format == 'd') {
			int n = va_arg(args, int);

			if (n < 0)
				put_char('-');
			put_number(n < 0 ? -(unsigned long)n : (unsigned long)n, 10);
		} else {
			unsigned long n = is_long ? va_arg(args, unsigned long) : va_arg(args, u32);

			put_number(n, *format == 'x' ? 16 : 10);
		}
	}
}

void print(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vprint(format, args);
	va_end(args);
}
