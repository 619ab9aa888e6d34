/* SPDX-License-Identifier: MIT */
/*
 * bench/cpu/loops.c: loops of machine code on the host, in QEMU under userkvm and in QEMU's TCG, by
 * turns: instructions a microsecond. The guests count the same clock, the host's.
 */
#include <libgen.h>
#include <limits.h>

#include "bench.h"
#include "cpu.h"

#define TURNS 3

static const struct {
	const char *name;
	void (*run)(unsigned long n, void *memory);
	unsigned insns; /* in ten turns */
	unsigned long turns;
} loops[] = {
#define LOOP_ENTRY(name, insns, turns) {#name, loop_##name, insns, turns},
	LOOPS(LOOP_ENTRY)
};

static double ticks_per_us(void)
{
	u64 ns = now_ns(), t = loop_clock();

	while (now_ns() - ns < 50000000)
		;
	return (double)(loop_clock() - t) / ((double)(now_ns() - ns) / 1000);
}

static double mips(unsigned loop, u64 ticks, double rate)
{
	return loops[loop].insns / 10.0 * (double)loops[loop].turns / ((double)ticks / rate);
}

static void on_host(u64 *ticks)
{
	static u8 memory[LOOP_BYTES] __attribute__((aligned(4096)));

	for (unsigned i = 0; i < COUNT(loops); i++) {
		u64 t;

		loops[i].run(loops[i].turns / 16, memory);
		t = loop_clock();
		loops[i].run(loops[i].turns, memory);
		ticks[i] = loop_clock() - t;
	}
}

static void in_guest(const char *under, const char *accel, const char *guest, u64 *ticks)
{
	char command[3 * PATH_MAX], line[128], name[64];
	unsigned long long t;
	FILE *f;

	memset(ticks, 0, COUNT(loops) * sizeof(*ticks));
	snprintf(command, sizeof(command),
		 "%s timeout -k 5 120 qemu-system-x86_64 -accel %s -M microvm -m 64 -kernel %s "
		 "-nodefaults -nographic -serial stdio -no-reboot "
		 "-device isa-debug-exit,iobase=0xf4 </dev/null",
		 under, accel, guest);
	f = popen(command, "r");
	MUST(f, "popen");
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%63s %llu", name, &t) != 2)
			continue;
		for (unsigned i = 0; i < COUNT(loops); i++) {
			if (!strcmp(name, loops[i].name))
				ticks[i] = t;
		}
	}
	pclose(f); /* the exit device's status is odd */
	for (unsigned i = 0; i < COUNT(loops); i++)
		MUST(ticks[i], "no figure for %s under %s", loops[i].name, accel);
}

int main(int argc, char **argv)
{
	static struct figure host[COUNT(loops)], tcg[COUNT(loops)];
	char here[PATH_MAX], guest[PATH_MAX + 32], userkvm[PATH_MAX + 32];
	double rate = ticks_per_us();

	/* They lie in the build directory as this does. */
	MUST(realpath(argv[0], here), "where am I?");
	dirname(here);
	snprintf(guest, sizeof(guest), "%s/loops_guest", here);
	snprintf(userkvm, sizeof(userkvm), "%s/../../src/cli/userkvm run --", here);
	for (unsigned n = 0; n < TURNS; n++) {
		u64 h[COUNT(loops)], k[COUNT(loops)], t[COUNT(loops)];

		on_host(h);
		in_guest(userkvm, "kvm", guest, k);
		in_guest("", "tcg", guest, t);
		for (unsigned i = 0; i < COUNT(loops); i++) {
			figure_add(&host[i], mips(i, k[i], rate), mips(i, h[i], rate));
			figure_add(&tcg[i], mips(i, k[i], rate), mips(i, t[i], rate));
		}
	}
	for (unsigned i = 0; i < COUNT(loops); i++) {
		char name[64];

		snprintf(name, sizeof(name), "loop of %s", loops[i].name);
		figure_print(&host[i], name, "MIPS", "the host", "-");
		snprintf(name, sizeof(name), "loop of %s, TCG", loops[i].name);
		figure_print(&tcg[i], name, "MIPS", "TCG", "-");
	}
	return 0;
}
