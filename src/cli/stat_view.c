/* SPDX-License-Identifier: MIT */
/* cli/stat_view.c: the live view: one VM, drawn anew each second, with what happened since. */
#include <curses.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "cli/cli.h"
#include "cli/stat.h"

#define REFRESH_MS 1000
#define MAX_COUNTERS 40
#define LINE_SIZE    512
#define NUMBER_WIDTH 6 /* of a column */

enum { ROW_TITLES = -2, ROW_SUMS = -1 };

struct view {
	pid_t pid; /* 0: any process's VMs */
	struct stat_vms *vms;
	unsigned shown;	    /* index into vms */
	bool totals;	    /* since the VM began, instead of per second */
	ino_t ino;	    /* of the VM that `before` is of; 0: none */
	u64 before_at;	    /* ns */
	u32 nbefore;	    /* vCPUs in `before` */
	u64 (*before)[MAX_COUNTERS];
	u64 time[STAT_TIMES]; /* where the VM's vCPUs were seen since the last drawing */
};

static const struct stat_vm *shown(const struct view *w)
{
	return &w->vms->vm[w->shown];
}

/* Keep the counters for the next difference. */
static void remember(struct view *w)
{
	const struct stat_vm *v = shown(w);

	/* A key brings a look before its time: what it shows goes on from the same moment. */
	if (w->ino == v->ino && v->read_at - w->before_at < REFRESH_MS * 1000000ULL * 9 / 10)
		return;
	free(w->before);
	w->before = calloc(v->vm->nvcpus + 1, sizeof(w->before[0]));
	w->ino = w->before ? v->ino : 0;
	w->nbefore = w->before ? v->vm->nvcpus : 0;
	w->before_at = v->read_at;
	for (u32 i = 0; i < w->nbefore; i++) {
		for (unsigned k = 0; k < stat_ncounters; k++)
			w->before[i][k] = stat_count(k, &v->vcpu[i]);
	}
}

/* Per second since `before`, or the total. */
static u64 value(const struct view *w, u32 i, unsigned k)
{
	const struct stat_vm *v = shown(w);
	u64 now = stat_count(k, &v->vcpu[i]), ns = v->read_at - w->before_at;

	if (w->totals)
		return now;
	if (w->ino != v->ino || i >= w->nbefore || !ns)
		return 0;
	return (u64)((double)(now - w->before[i][k]) * 1e9 / (double)ns + 0.5);
}

static u64 sum(const struct view *w, unsigned k)
{
	u64 all = 0;

	for (u32 i = 0; i < shown(w)->vm->nvcpus; i++)
		all += value(w, i, k);
	return all;
}

/* A line of the screen; what does not fit is cut off. */
static void put_line(int y, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void put_line(int y, const char *format, ...)
{
	char text[LINE_SIZE];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	mvaddnstr(y, 0, text, COLS);
}

/* At most NUMBER_WIDTH characters. */
static const char *number(u64 n, char *buf, size_t size)
{
	if (n < 100000)
		snprintf(buf, size, "%" PRIu64, n);
	else if (n < 10000000)
		snprintf(buf, size, "%" PRIu64 "k", n / 1000);
	else if (n < 10000000000)
		snprintf(buf, size, "%" PRIu64 "M", n / 1000000);
	else
		snprintf(buf, size, "%" PRIu64 "G", n / 1000000000);
	return buf;
}

static u64 sum_of(const struct view *w, const char *name)
{
	unsigned k = 0;

	while (strcmp(stat_counters[k].name, name))
		k++;
	return sum(w, k);
}

static void draw_code(const struct view *w)
{
	const struct stat_vm *v = shown(w);
	struct statpage_code now = stat_code(v->vm, v->vcpu);
	char bytes[32];

	put_line(3, "code:    %" PRIu64 " blocks in %s; %" PRIu64 " translated, %" PRIu64 " chained, %" PRIu64
		 " looked up, %" PRIu64 " handlers, %" PRIu64 " forgotten, %" PRIu64 " invalidated",
		 now.blocks, stat_bytes(now.bytes, bytes, sizeof(bytes)), sum_of(w, "code_translated"),
		 sum_of(w, "code_chained"), sum_of(w, "code_lookups"), sum_of(w, "code_handlers"),
		 sum_of(w, "code_forgets"), sum_of(w, "code_invalidated"));
}

static void draw_head(const struct view *w)
{
	const struct stat_vm *v = shown(w);
	const struct statpage_vm *m = v->vm;
	char slots[LINE_SIZE], mapped[32];

	put_line(0, "VM %u of %u: %s, pid %d, %u vCPUs, %.0f s old", w->shown + 1, w->vms->n,
		 v->name, v->pid, m->nvcpus, (double)(v->read_at - m->created) / 1e9);
	put_line(1, "memory:  %s in %" PRIu64 " slots, mapped %s: %" PRIu64 " x 4K, %" PRIu64
		 " x 2M, %" PRIu64 " x 1G", stat_bytes(m->memslot_bytes, slots, sizeof(slots)),
		 m->memslots, stat_bytes(stat_mapped_bytes(m), mapped, sizeof(mapped)),
		 m->pages[0], m->pages[1], m->pages[2]);
	put_line(2, "stage 2: %" PRIu64 " tables, %" PRIu64 " invalidations, %" PRIu64
		 " flushes of all vCPUs; %" PRIu64 " ranges under a userfaultfd", m->tables,
		 m->invalidations, m->remote_flushes, m->nuffd);
	draw_code(w);
	put_line(4, "%s", stat_time_line(w->time, slots, sizeof(slots)));
	put_line(LINES - 1, "%s   n, p: next, previous VM   t: %s   q: quit",
		 w->totals ? "totals" : "per second", w->totals ? "per second" : "totals");
}

/* The columns, as many as fit, for a vCPU by index or one of ROW_*. */
static void draw_row(const struct view *w, int y, const char *first, const char *state, s64 vcpu)
{
	char row[LINE_SIZE], buf[32];
	int at = snprintf(row, sizeof(row), "%5s %-7s", first, state);
	const char *cell;

	for (unsigned k = 0; k < stat_ncounters; k++) {
		if (!stat_counters[k].title || !stat_counted(k, shown(w)) || at + 1 + NUMBER_WIDTH > COLS)
			continue;
		cell = vcpu == ROW_TITLES ? stat_counters[k].title
		       : vcpu == ROW_SUMS ? number(sum(w, k), buf, sizeof(buf))
					  : number(value(w, (u32)vcpu, k), buf, sizeof(buf));
		at += snprintf(row + at, sizeof(row) - (size_t)at, " %*s", NUMBER_WIDTH, cell);
	}
	put_line(y, "%s", row);
}

/* As many vCPUs as there are lines; the sums count all of them. */
static void draw_vcpus(const struct view *w, int y)
{
	const struct stat_vm *v = shown(w);
	char id[16];
	u32 i;

	for (i = 0; i < v->vm->nvcpus && y < LINES - 2; i++, y++) {
		snprintf(id, sizeof(id), "%u", v->vcpu[i].id);
		draw_row(w, y, id, stat_state_name(v->vcpu[i].state), i);
	}
	if (i < v->vm->nvcpus)
		put_line(y, "%u more", v->vm->nvcpus - i);
}

static void draw(const struct view *w)
{
	erase();
	draw_head(w);
	attron(A_REVERSE);
	draw_row(w, 6, "VCPU", "STATE", ROW_TITLES);
	attroff(A_REVERSE);
	draw_row(w, 7, "all", "", ROW_SUMS);
	draw_vcpus(w, 8);
	refresh();
}

/* Find all VMs again, and the one that was shown among them. False: there is none left. */
static bool look_again(struct view *w)
{
	pid_t pid = shown(w)->pid;
	ino_t ino = shown(w)->ino;

	stat_free(w->vms);
	stat_find(w->pid, w->vms);
	if (w->shown >= w->vms->n)
		w->shown = 0;
	for (unsigned i = 0; i < w->vms->n; i++) {
		if (w->vms->vm[i].pid == pid && w->vms->vm[i].ino == ino)
			w->shown = i;
	}
	return w->vms->n;
}

/* A key, or ERR when a second has gone by; meanwhile it looks where time goes. */
static int wait_for_key(struct view *w)
{
	u64 end = clock_ns(CLOCK_MONOTONIC) + REFRESH_MS * (NSEC_PER_SEC / 1000);
	const struct stat_vm *v = shown(w);
	u32 (*time)[STAT_TIMES] = calloc(v->vm->nvcpus + 1, sizeof(time[0]));
	int key;

	while ((key = getch()) == ERR && clock_ns(CLOCK_MONOTONIC) < end) {
		if (time)
			stat_look(v, time);
	}
	memset(w->time, 0, sizeof(w->time));
	for (u32 i = 0; time && i < v->vm->nvcpus; i++) {
		for (unsigned t = 0; t < STAT_TIMES; t++)
			w->time[t] += time[i][t];
	}
	free(time);
	return key;
}

/* Wait for a key or the next second. False: the user has seen enough. */
static bool answer_key(struct view *w)
{
	int key = wait_for_key(w);

	switch (key) {
	case 'q':
	case 27: /* escape */
		return false;
	case 'n':
	case KEY_DOWN:
	case KEY_RIGHT:
	case '\t':
		w->shown = (w->shown + 1) % w->vms->n;
		break;
	case 'p':
	case KEY_UP:
	case KEY_LEFT:
		w->shown = (w->shown + w->vms->n - 1) % w->vms->n;
		break;
	case 't':
		w->totals = !w->totals;
		break;
	default:
		break;
	}
	return true;
}

static void view_loop(struct view *w)
{
	for (;;) {
		draw(w);
		remember(w);
		if (!answer_key(w) || !look_again(w))
			return;
	}
}

int stat_view(pid_t pid, struct stat_vms *vms)
{
	struct view w = {.pid = pid, .vms = vms};
	SCREEN *screen = newterm(NULL, stdout, stdin);

	_Static_assert(sizeof(w.before[0]) >= MAX_COUNTERS * sizeof(u64), "one row a vCPU");
	if (!screen || stat_ncounters > MAX_COUNTERS) {
		fprintf(stderr, "userkvm: cannot draw on this terminal (TERM=%s); use `userkvm stat "
				"--once'\n", getenv("TERM") ? getenv("TERM") : "");
		return CLI_USAGE;
	}
	set_term(screen);
	cbreak();
	noecho();
	curs_set(0);
	keypad(stdscr, TRUE);
	timeout(STAT_LOOK_MS);
	view_loop(&w);
	endwin();
	delscreen(screen);
	free(w.before);
	if (!vms->n)
		printf("the VM has ended\n");
	return CLI_OK;
}
