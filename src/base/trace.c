/* SPDX-License-Identifier: MIT */
/* base/trace.c: see trace.h. Raw system calls: nothing here is seen by our interposition. */
#include "base/trace.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/held.h"
#include "base/identity.h"
#include "base/pagemem.h"
#include "sync/atomic.h"

#define TRACER_WAIT_MS 2000
#define LAST_KEPT      128 /* records a thread remembers the place of */

static const u64 nothing_on;
const u64 *trace_mask = &nothing_on;
__thread const char *trace_cause = TRACE_NO_CALL;

static struct {
	int pid; /* of the process that made it; atomic */
	int fd;
	u64 ino; /* of fd */
	struct trace_page *page; /* a child has it, too, and what it says is not the child's */
	u8 *map;		 /* all of the file; atomic; NULL until an event comes. No child has it */
} trace;

/* What a thread keeps of its ring: nobody else writes it. */
static struct writer {
	u32 tid; /* whose it is, 0: nobody's; atomic */
	u64 head;
	u64 last[LAST_KEPT]; /* where the latest records begin */
	u64 written;	     /* records ever */
} writers[TRACE_RINGS];

static __thread struct {
	int pid; /* of the process in which the ring was taken */
	s32 ring;
	bool busy; /* a signal's handler came in between */
} self;

/* ---- the memfd */

static int make_file(void)
{
	int fd = (int)syscall(SYS_memfd_create, TRACE_MEMFD, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	struct stat st;

	if (fd < 0)
		return -1;
	fd = held_renumber(fd);
	trace.page = NULL;
	trace.ino = 0;
	if (held_resize(fd, TRACE_FILE_SIZE) && !syscall(SYS_fstat, fd, &st))
		trace.page = pagemem_map(TRACE_HEAD_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
	if (!trace.page) {
		syscall(SYS_close, fd);
		return -1;
	}
	trace.ino = st.st_ino;
	/* The tracer writes to it, and cannot make it end under us. */
	syscall(SYS_fcntl, fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
	/* A child looks at the mask before it knows that it is one. */
	syscall(SYS_madvise, (u8 *)trace.page + PAGE_SIZE, TRACE_HEAD_SIZE - PAGE_SIZE, MADV_DONTFORK);
	return fd;
}

static bool send_file(int sock, int fd)
{
	char byte = 0;
	struct iovec iov = {&byte, 1};
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
			   .msg_controllen = sizeof(control)};
	struct cmsghdr *h = CMSG_FIRSTHDR(&m);

	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(h), &fd, sizeof(fd));
	return syscall(SYS_sendmsg, sock, &m, MSG_NOSIGNAL) == 1;
}

/* Let the tracer that started this program have the file, and wait until it has switched on what it wants. */
static void meet_tracer(const char *path, int fd)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	struct timespec ts = {TRACER_WAIT_MS / 1000, 0};
	struct pollfd p;
	int sock;

	if (strlen(path) >= sizeof(to.sun_path))
		return;
	strcpy(to.sun_path, path);
	sock = (int)syscall(SYS_socket, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (sock < 0)
		return;
	p = (struct pollfd){.fd = sock, .events = POLLIN};
	if (!syscall(SYS_connect, sock, &to, sizeof(to)) && send_file(sock, fd))
		syscall(SYS_ppoll, &p, 1L, &ts, NULL, 8L);
	syscall(SYS_close, sock);
}

static bool meets_nobody; /* atomic */

void trace_meet_nobody(void)
{
	sync_store(&meets_nobody, true);
}

void trace_start(void)
{
	int pid = identity_process(), before = sync_load(&trace.pid), fd, e = errno;
	const char *path;

	if (likely(before == pid) || !sync_cmpxchg(&trace.pid, &before, pid))
		return;
	trace_mask = &nothing_on;
	trace.map = NULL;
	memset(writers, 0, sizeof(writers));
	fd = make_file();
	if (fd >= 0) {
		trace.page->version = TRACE_VERSION;
		trace.page->pid = pid;
		sync_store_release(&trace.page->magic, TRACE_MAGIC);
		trace.fd = fd;
		sync_store_release(&trace_mask, &trace.page->mask);
		path = getenv(TRACE_SOCKET_ENV);
		if (path && *path && !sync_load(&meets_nobody))
			meet_tracer(path, fd);
	}
	errno = e;
}

/* ---- rings */

/* The file, whose number the VMM may have closed meanwhile. */
static u8 *map_rings(void)
{
	u8 *none = NULL, *map = sync_load_acquire(&trace.map);
	struct stat st;

	if (map)
		return map;
	if (syscall(SYS_fstat, trace.fd, &st) || st.st_ino != trace.ino)
		return NULL;
	map = pagemem_map(TRACE_FILE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, trace.fd);
	if (!map)
		return NULL;
	syscall(SYS_madvise, map, TRACE_FILE_SIZE, MADV_DONTFORK);
	if (sync_cmpxchg(&trace.map, &none, map))
		return map;
	pagemem_free(map, TRACE_FILE_SIZE);
	return sync_load_acquire(&trace.map);
}

static bool is_gone(u32 tid)
{
	return syscall(SYS_tgkill, trace.pid, tid, 0) && errno == ESRCH;
}

/* A ring nobody has, or one whose thread has ended. -1: there is none. */
static s32 take_ring(u32 tid)
{
	for (unsigned ended = 0; ended < 2; ended++) {
		for (s32 i = 0; i < TRACE_RINGS; i++) {
			u32 had = sync_load(&writers[i].tid);

			if ((had && (!ended || !is_gone(had))) || !sync_cmpxchg(&writers[i].tid, &had, tid))
				continue;
			trace.page->ring[i].tid = tid;
			return i;
		}
	}
	return -1;
}

static s32 own_ring(void)
{
	int pid = identity_process();

	if (self.pid == pid && self.ring >= 0 &&
	    sync_load(&writers[self.ring].tid) == (u32)identity_thread())
		return self.ring;
	self.ring = take_ring((u32)identity_thread());
	self.pid = pid;
	return self.ring;
}

static u8 *ring_bytes(s32 ring)
{
	return trace.map + TRACE_HEAD_SIZE + (u64)ring * TRACE_RING_SIZE;
}

/* Room for size bytes without a break, at the head. NULL: there is none. */
static struct trace_record *make_room(s32 ring, u32 size)
{
	struct writer *w = &writers[ring];
	u64 used = w->head - sync_load_acquire(&trace.page->ring[ring].tail);
	u32 at = w->head % TRACE_RING_SIZE, skip = TRACE_RING_SIZE - at;
	struct trace_record *r;

	if (skip >= size)
		skip = 0;
	if (used > TRACE_RING_SIZE || TRACE_RING_SIZE - used < size + skip)
		return NULL;
	if (skip) {
		r = (struct trace_record *)(ring_bytes(ring) + at);
		r->size = skip;
		r->kind = TRACE_SKIP;
		w->head += skip;
	}
	return (struct trace_record *)(ring_bytes(ring) + w->head % TRACE_RING_SIZE);
}

static void write_record(s32 ring, const struct trace_record *head, const void *data, u32 len)
{
	struct writer *w = &writers[ring];
	struct trace_ring *shared = &trace.page->ring[ring];
	struct trace_record *r = make_room(ring, head->size);

	if (!r) {
		sync_store(&shared->lost, shared->lost + 1);
		return;
	}
	*r = *head;
	memcpy(r->data, data, len);
	w->last[w->written++ % LAST_KEPT] = w->head;
	w->head += head->size;
	sync_store_release(&shared->head, w->head);
}

/* The tracer went away without a word. */
static bool tracer_is_silent(u64 now)
{
	u64 beat = sync_load(&trace.page->beat);

	if (now < beat || now - beat < TRACE_SILENCE_NS)
		return false;
	sync_store(&trace.page->mask, 0);
	return true;
}

void trace_emit(enum trace_kind kind, s64 vcpu, u64 rip, const void *data, u32 len)
{
	struct trace_record head = {.size = (u32)ALIGN_UP(sizeof(head) + len, 8), .kind = (u16)kind,
				    .vcpu = (s16)vcpu, .time = clock_ns(CLOCK_MONOTONIC), .rip = rip};
	int e = errno;
	s32 ring;

	/* A forked child that has opened no /dev/kvm is not traced. */
	if (self.busy || head.size > TRACE_MAX_RECORD || sync_load(&trace.pid) != identity_process())
		return;
	self.busy = true;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	head.tid = (u32)identity_thread();
	if (!tracer_is_silent(head.time) && map_rings()) {
		ring = own_ring();
		if (ring >= 0)
			write_record(ring, &head, data, len);
		else
			sync_add(&trace.page->no_ring, 1);
	}
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	self.busy = false;
	errno = e;
}

void trace_emit4(enum trace_kind kind, s64 vcpu, u64 rip, u64 a, u64 b, u64 c, u64 d)
{
	const u64 data[4] = {a, b, c, d};

	trace_emit(kind, vcpu, rip, data, sizeof(data));
}

/* ---- questions */

bool (*trace_answer)(const struct trace_asked *q, struct text *t, u64 *next);

static char *text_at(u64 at)
{
	return (char *)trace.page + at;
}

bool trace_serve(void)
{
	struct trace_page *p = trace.page;
	struct text t = {.size = TRACE_TEXT_SIZE};
	struct trace_asked q;
	u64 next = 0;

	if (sync_load(&trace.pid) != identity_process() || !p)
		return false;
	q.id = sync_load_acquire(&p->asked);
	if (likely(q.id == sync_load(&p->answered)))
		return false;
	q.question = sync_load(&p->question);
	q.vcpu = sync_load(&p->vcpu);
	q.value = sync_load(&p->value);
	q.from = sync_load(&p->from);
	t.buf = text_at(TRACE_ANSWER_AT);
	*t.buf = '\0';
	if (trace_answer && !trace_answer(&q, &t, &next))
		return true;
	sync_store(&p->next, next);
	sync_store_release(&p->answered, q.id);
	return false;
}

void trace_keep_report(const char *report)
{
	static u32 busy; /* atomic: the one that comes second has lost nothing that the first has not */

	if (sync_load(&trace.pid) != identity_process() || !trace.page || sync_xchg(&busy, 1))
		return;
	strncpy(text_at(TRACE_REPORT_AT), report, TRACE_TEXT_SIZE - 1);
	sync_add(&trace.page->reports, 1);
	sync_store_release(&busy, 0);
}

/* ---- what came last, for a report */

struct latest {
	s32 ring;
	u64 n; /* records from here on */
};

/* A thread's nth record, copied whole, or NULL: it is gone. */
static const struct trace_record *nth(s32 ring, u64 n)
{
	const struct writer *w = &writers[ring];
	u64 at = w->last[n % LAST_KEPT];
	const struct trace_record *r = (void *)(ring_bytes(ring) + at % TRACE_RING_SIZE);

	if (w->head - at > TRACE_RING_SIZE - TRACE_MAX_RECORD || r->size > TRACE_MAX_RECORD ||
	    r->size < sizeof(*r) || at % TRACE_RING_SIZE + r->size > TRACE_RING_SIZE)
		return NULL;
	return r;
}

/* Step back over the newest record of all that were not yet stepped over. */
static const struct trace_record *step_back(u64 *left)
{
	const struct trace_record *best = NULL;
	s32 of = -1;

	for (s32 i = 0; i < TRACE_RINGS; i++) {
		const struct trace_record *r;

		if (!left[i] || writers[i].written - left[i] >= LAST_KEPT)
			continue;
		r = nth(i, left[i] - 1);
		if (r && (!best || r->time > best->time)) {
			best = r;
			of = i;
		}
	}
	if (of >= 0)
		left[of]--;
	return best;
}

u32 trace_last(u32 n, void *buf, u32 size)
{
	u32 used = 0;
	u64 left[TRACE_RINGS];

	if (!sync_load_acquire(&trace.map) || sync_load(&trace.pid) != identity_process())
		return 0;
	for (s32 i = 0; i < TRACE_RINGS; i++)
		left[i] = writers[i].written;
	/* From the end of buf downwards, then to its beginning. */
	while (n--) {
		const struct trace_record *r = step_back(left);

		if (!r || used + r->size > size)
			break;
		used += r->size;
		memcpy((u8 *)buf + size - used, r, r->size);
	}
	memmove(buf, (u8 *)buf + size - used, used);
	return used;
}
