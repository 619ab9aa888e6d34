/* SPDX-License-Identifier: MIT */
/* tests/bare/legacy/legacy.c: instructions that 64-bit mode took away (SDM vol. 1, 7.3.11;
 * vol. 2 for each). */
#include "bare32.h"

enum { STATUS = FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF | FLAG_OF };

struct adjusted {
	u32 eax, flags;
};

/* Run `text` with this AX and these flags. */
#define ADJUST(text, ax, flags_in)                                                             \
	({                                                                                     \
		struct adjusted r_ = {(ax), (flags_in)};                                       \
		asm volatile("pushl %1\n popfl\n " text "\n pushfl\n popl %1\n"                \
			     "pushl $2\n popfl"                                                \
			     : "+a"(r_.eax), "+r"(r_.flags)                                    \
			     :                                                                 \
			     : "cc");                                                          \
		r_;                                                                            \
	})

/* The manual's own pseudocode, over every AL, AF and CF. */
TEST(daa_and_das)
{
	for (u32 i = 0; i < 1024; i++) {
		u32 al = i & 0xff, flags = (i & 0x100 ? FLAG_AF : 0) | (i & 0x200 ? FLAG_CF : 0);
		bool low = (al & 15) > 9 || (flags & FLAG_AF), cf = flags & FLAG_CF;
		bool high = al > 0x99 || cf;
		struct adjusted a = ADJUST("daa", al | 0xab00, flags | 2),
				s = ADJUST("das", al | 0xab00, flags | 2);
		u8 sum = al + (low ? 6 : 0) + (high ? 0x60 : 0),
		   less = al - (low ? 6 : 0) - (high ? 0x60 : 0);

		CHECK(a.eax == (0xab00u | sum), "daa of %x, %x: %x", al, flags, a.eax);
		CHECK(!!(a.flags & FLAG_CF) == high && !!(a.flags & FLAG_AF) == low,
		      "daa of %x, %x: flags %x", al, flags, a.flags);
		CHECK(!!(a.flags & FLAG_ZF) == !sum && !!(a.flags & FLAG_SF) == sum >> 7 &&
			      !!(a.flags & FLAG_PF) == !__builtin_parity(sum),
		      "daa of %x, %x: flags %x", al, flags, a.flags);
		CHECK(s.eax == (0xab00u | less), "das of %x, %x: %x", al, flags, s.eax);
		/* A borrow of the first step sets CF, too. */
		CHECK(!!(s.flags & FLAG_CF) == (high || (low && al < 6)) &&
			      !!(s.flags & FLAG_AF) == low,
		      "das of %x, %x: flags %x", al, flags, s.flags);
		CHECK(!!(s.flags & FLAG_ZF) == !less && !!(s.flags & FLAG_SF) == less >> 7,
		      "das of %x, %x: flags %x", al, flags, s.flags);
	}
}

TEST(aaa_and_aas)
{
	for (u32 i = 0; i < 512; i++) {
		u32 al = i & 0xff, flags = i & 0x100 ? FLAG_AF : 0;
		bool adjust = (al & 15) > 9 || flags;
		struct adjusted a = ADJUST("aaa", al | 0x7f00, flags | 2),
				s = ADJUST("aas", al | 0x7f00, flags | 2);
		/* The 6 goes to AX, so a carry out of AL reaches AH as well. */
		u32 up = adjust ? (0x7f00 + al + 0x106) & 0xff0f : 0x7f00 | (al & 15),
		    down = adjust ? ((0x7f00 + al - 6) - 0x100) & 0xff0f : 0x7f00 | (al & 15);

		CHECK(a.eax == up, "aaa of %x, %x: %x, not %x", al, flags, a.eax, up);
		CHECK(s.eax == down, "aas of %x, %x: %x, not %x", al, flags, s.eax, down);
		CHECK(!!(a.flags & FLAG_CF) == adjust && !!(a.flags & FLAG_AF) == adjust &&
			      !!(s.flags & FLAG_CF) == adjust && !!(s.flags & FLAG_AF) == adjust,
		      "of %x, %x: flags %x and %x", al, flags, a.flags, s.flags);
	}
}

TEST(aam_and_aad)
{
	for (u32 al = 0; al < 256; al++) {
		struct adjusted m = ADJUST("aam", al | 0xee00, 2),
				seven = ADJUST(".byte 0xd4, 7", al | 0xee00, 2),
				d = ADJUST("aad", 0x0900 | al, 2),
				e = ADJUST(".byte 0xd5, 16", 0x1200 | al, 2);

		CHECK_IS(m.eax, al / 10 << 8 | al % 10);
		CHECK_IS(seven.eax, al / 7 << 8 | al % 7);
		CHECK_IS(d.eax, (al + 90) & 0xff);
		CHECK_IS(e.eax, (al + 0x120) & 0xff);
		CHECK(!!(m.flags & FLAG_ZF) == !(m.eax & 0xff), "flags %x", m.flags);
		CHECK(!!(d.flags & FLAG_SF) == (d.eax >> 7 & 1), "flags %x", d.flags);
	}
	TRY(".byte 0xd4, 0", (), (), "eax");
	CHECK_FAULT(DE, 0);
}

TEST(salc)
{
	CHECK_IS(ADJUST(".byte 0xd6", 0x1234, 2).eax, 0x1200);
	CHECK_IS(ADJUST(".byte 0xd6", 0x1234, 3).eax, 0x12ff);
	CHECK_IS(ADJUST(".byte 0xd6", 0x1234, STATUS | 2).flags & STATUS, STATUS);
}

TEST(bound)
{
	static const int bounds[2] = {-5, 9};
	static const int16_t bounds16[2] = {-5, 9};

	for (int i = -8; i < 12; i++) {
		TRY("boundl %[i], %[b]", (), ([i] "r"(i), [b] "m"(bounds)));
		CHECK_VECTOR(i < -5 || i > 9 ? BR : -1);
		TRY("boundw %w[i], %[b]", (), ([i] "r"(i), [b] "m"(bounds16)));
		CHECK_VECTOR(i < -5 || i > 9 ? BR : -1);
	}
	TRY("1: boundl %[i], %[b]", (), ([i] "r"(10), [b] "m"(bounds)));
	CHECK(((u8 *)caught.eip)[0] == 0x62, "BOUND faults: the saved EIP is its own");
	TRY(".byte 0x62, 0xc0", (), ()); /* a register: EVEX needs more, BOUND memory */
	CHECK_FAULT(UD, 0);
}

TEST(into)
{
	u32 at;

	TRY("xor %%eax, %%eax\n into", (), (), "eax");
	CHECK_NONE();
	TRY("movl $1f, %[l]\n movl $0x7fffffff, %%eax\n incl %%eax\n into\n 1: nop",
	    ([l] "=&r"(at)), (), "eax");
	CHECK_VECTOR(OF);
	CHECK_IS(caught.eip, at); /* a trap: after INTO */
}

struct far_pointer {
	u32 offset;
	u16 selector;
} __attribute__((packed));

TEST(far_pointer_loads)
{
	static struct far_pointer p = {0x12345678, SEL_UDATA};
	u32 offset, segment;

	asm volatile("les %2, %0\n mov %%es, %1\n push %%ds\n pop %%es"
		     : "=&r"(offset), "=&r"(segment)
		     : "m"(p));
	CHECK(offset == 0x12345678 && segment == SEL_UDATA, "%x:%x", segment, offset);
	asm volatile("lds %2, %0\n mov %%ds, %1\n push %%es\n pop %%ds"
		     : "=&r"(offset), "=&r"(segment)
		     : "m"(p));
	CHECK(offset == 0x12345678 && segment == SEL_UDATA, "%x:%x", segment, offset);
	/* The 16-bit form: two words; the register's upper half stays. */
	p.offset = SEL_UDATA << 16 | 0x5678;
	offset = 0xffff0000;
	asm volatile("lgsw %2, %w0\n mov %%gs, %1" : "+&r"(offset), "=&r"(segment) : "m"(p));
	CHECK(offset == 0xffff5678 && segment == SEL_UDATA, "%x:%x", segment, offset);
	/* A bad selector changes neither half. */
	p.selector = SEL_LAST + 8;
	offset = 1;
	TRY("les %[p], %[o]", ([o] "+r"(offset)), ([p] "m"(p)));
	CHECK_FAULT(GP, SEL_LAST + 8);
	CHECK_IS(offset, 1);
}

static volatile u32 seen[12];
#define STORE(reg, n) "movl %%" reg ", seen+" #n "\n"

TEST(pusha_and_popa)
{
	/* PUSHA stores the ESP from before; POPA skips it. */
	asm volatile("movl %%esp, seen+32\n pusha\n movl 12(%%esp), %%eax\n movl %%eax, seen\n"
		     "movl $0x600d0001, 16(%%esp)\n movl $0x600d0002, 28(%%esp)\n"
		     "movl $0, 12(%%esp)\n popa\n" STORE("ebx", 4) STORE("eax", 8)
			     STORE("esp", 36)
		     :
		     :
		     : "eax", "ebx", "memory");
	CHECK_IS(seen[0], seen[8]);
	CHECK_IS(seen[9], seen[8]);
	CHECK_IS(seen[1], 0x600d0001);
	CHECK_IS(seen[2], 0x600d0002);
	/* The 16-bit forms: upper halves stay. */
	asm volatile("movl %%esp, seen+32\n movl $0x12345678, %%ebx\n pushaw\n"
		     "movl %%esp, seen+40\n movw $0xabcd, 8(%%esp)\n popaw\n" STORE("ebx", 4)
			     STORE("esp", 36)
		     :
		     :
		     : "eax", "ebx", "memory");
	CHECK_IS(seen[10], seen[8] - 16);
	CHECK_IS(seen[9], seen[8]);
	CHECK_IS(seen[1], 0x1234abcd);
}

/* ENTER copies level - 1 frame pointers, then pushes its own (vol. 2, ENTER). */
TEST(enter_nesting)
{
	asm volatile("movl %%esp, %%eax\n pushl %%ebp\n"
		     "pushl $0x33\n pushl $0x22\n pushl $0x11\n leal 12(%%esp), %%ebp\n"
		     "movl %%ebp, seen+32\n movl %%esp, seen+36\n enter $8, $4\n"
		     "movl %%ebp, seen\n movl %%esp, seen+4\n"
		     "movl (%%ebp), %%ecx\n" STORE("ecx", 8) "movl -4(%%ebp), %%ecx\n" STORE(
			     "ecx", 12) "movl -8(%%ebp), %%ecx\n" STORE("ecx", 16)
			     "movl -12(%%ebp), %%ecx\n" STORE("ecx", 20)
				     "movl -16(%%ebp), %%ecx\n" STORE("ecx", 24) "leave\n"
		     "movl %%ebp, seen+28\n movl %%esp, seen+40\n"
		     "movl (%%ebp), %%ebp\n movl %%eax, %%esp"
		     :
		     :
		     : "eax", "ecx", "memory");
	CHECK_IS(seen[0], seen[9] - 4);		 /* the new EBP: where the old one was pushed */
	CHECK_IS(seen[1], seen[0] - 4 * 4 - 8);	 /* three copies, its own, 8 bytes of locals */
	CHECK_IS(seen[2], seen[8]);
	CHECK(seen[3] == 0x33 && seen[4] == 0x22 && seen[5] == 0x11, "%x %x %x", seen[3], seen[4],
	      seen[5]);
	CHECK_IS(seen[6], seen[0]);
	CHECK_IS(seen[7], seen[8]);
	CHECK_IS(seen[10], seen[9]);
}

/* ARPL raises the RPL of its destination to the source's, and says so in ZF. */
TEST(arpl)
{
	for (u32 d = 0; d < 4; d++)
		for (u32 s = 0; s < 4; s++) {
			u32 sel = 0xabcd0010 | d, flags;

			asm volatile("arpl %w2, %w0\n pushfl\n popl %1"
				     : "+r"(sel), "=&r"(flags)
				     : "r"(0x20 | s)
				     : "cc");
			CHECK_IS(sel, 0xabcd0010 | (d < s ? s : d));
			CHECK(!!(flags & FLAG_ZF) == (d < s), "%u %u: flags %x", d, s, flags);
		}
}

/* PUSH and POP of segment registers; a 32-bit push of one writes only or zero-extends the
 * selector (vol. 2, PUSH); POP takes 16 bits of what it moves by 4. */
TEST(segment_pushes)
{
	u32 before, after, v;

	asm volatile("movl %%esp, %0\n pushl %%cs\n movl %%esp, %1\n popl %2"
		     : "=&r"(before), "=&r"(after), "=&r"(v));
	CHECK_IS(after, before - 4);
	CHECK_IS(v & 0xffff, SEL_CODE);
	asm volatile("movl %%esp, %0\n pushl $0xabcd0023\n popl %%es\n movl %%esp, %1\n"
		     "movl %%es, %2\n pushl %%ds\n popl %%es"
		     : "=&r"(before), "=&r"(after), "=&r"(v));
	CHECK_IS(after, before);
	CHECK_IS(v, SEL_UDATA);
	asm volatile("movl %%esp, %0\n pushw %%ss\n movl %%esp, %1\n popw %w2"
		     : "=&r"(before), "=&r"(after), "=&r"(v));
	CHECK_IS(after, before - 2);
	CHECK_IS((u16)v, SEL_DATA);
}

/* 0x82 is 0x80 again; INC and DEC have their short forms and keep CF. */
TEST(short_forms)
{
	struct adjusted a = ADJUST(".byte 0x82, 0xc0, 5", 1, 2), i = ADJUST(".byte 0x40", 0, 3),
			d = ADJUST(".byte 0x48", 0, 2);

	CHECK_IS(a.eax, 6);
	CHECK(i.eax == 1 && (i.flags & FLAG_CF), "%x flags %x", i.eax, i.flags);
	CHECK(d.eax == 0xffffffff && !(d.flags & FLAG_CF), "%x flags %x", d.eax, d.flags);
}

/* What 64-bit mode alone has: undefined here (vol. 2, SYSCALL, SWAPGS, CMPXCHG16B's prefix). */
TEST(undefined_outside_long_mode)
{
	TRY(".byte 0x0f, 0x01, 0xf8", (), ()); /* swapgs */
	CHECK_FAULT(UD, 0);
	TRY(".byte 0xf3, 0x0f, 0xae, 0xc0", (), (), "eax"); /* rdfsbase eax */
	CHECK_FAULT(UD, 0);
}
