/* SPDX-License-Identifier: MIT */
/*
 * base/trace.h: trace points, and how their events leave the process.
 *
 * A process that opens /dev/kvm has a memfd named TRACE_MEMFD. Its first page is a struct trace_page,
 * which a tracer that may look at the process's /proc/PID/fd maps and writes: `mask` says which trace
 * points are on. Behind it comes text: the answer to a question that was written into the page, and the
 * report of a guest that died. Then there are TRACE_RINGS rings of TRACE_RING_SIZE bytes; each thread that meets a
 * trace point that is on takes one. A thread writes records to its ring and moves `head`; the tracer
 * reads them and moves `tail`. A ring that is full takes nothing: `lost` counts, and nobody waits.
 *
 * With everything off a trace point is one load of `mask` and one branch. The rings are mapped when the
 * first event comes.
 *
 * What the tracer writes is looked at once, and never used as an index: the heads that count are in
 * memory of the process's own. A tracer that has not said so for TRACE_SILENCE_NS is gone, and the mask
 * is cleared.
 */
#ifndef BASE_TRACE_H
#define BASE_TRACE_H

#include "base/text.h"
#include "base/types.h"

#define TRACE_MEMFD	 "userkvm-trace"
#define TRACE_MAGIC	 0x6563617274766b75ULL /* "ukvtrace", little end first */
#define TRACE_VERSION	 3
#define TRACE_TEXT_SIZE	 (64u << 10) /* of the answer, and of the report; each ends with a NUL */
#define TRACE_ANSWER_AT	 PAGE_SIZE
#define TRACE_REPORT_AT	 (TRACE_ANSWER_AT + TRACE_TEXT_SIZE)
#define TRACE_HEAD_SIZE	 (TRACE_REPORT_AT + TRACE_TEXT_SIZE) /* the rings begin here */
#define TRACE_RINGS	 64
#define TRACE_RING_SIZE	 (1u << 20) /* a power of two */
#define TRACE_FILE_SIZE	 (TRACE_HEAD_SIZE + (u64)TRACE_RINGS * TRACE_RING_SIZE)
#define TRACE_MAX_RECORD 2048 /* bytes */
#define TRACE_SILENCE_NS 10000000000ULL
/* The path of a socket at which a process that opens /dev/kvm hands its memfd over, and waits. */
#define TRACE_SOCKET_ENV "USERKVM_TRACE"

enum trace_kind {
#define EVENT(name, ...) TRACE_##name,
#include "base/trace.def"
#undef EVENT
	TRACE_KINDS,
	TRACE_SKIP = 0xffff, /* the rest of the ring holds nothing */
};

struct trace_page {
	u64 magic; /* TRACE_MAGIC; last to be written */
	u32 version;
	s32 pid;     /* of the process, as it knows itself */
	u64 mask;    /* BIT(enum trace_kind); the tracer's to write; atomic */
	u64 beat;    /* CLOCK_MONOTONIC ns: the tracer was alive; its to write */
	u64 no_ring; /* events of threads that found none */
	/* A question: whoever asks fills in the next four and moves `asked`; atomic. */
	u32 question; /* enum trace_question */
	u32 vcpu;     /* KVM's id, of every VM that has one; TRACE_ANY_VCPU: all */
	u64 value;
	u64 from;	 /* the first vCPU or memslot of the answer, counted over all VMs */
	u64 next;	 /* with the answer: where the rest of it begins; 0: that was all */
	u64 asked, answered; /* the process stores what it saw in `asked` when the answer is there */
	u64 reports; /* guests that died; counts */
	struct trace_ring {
		u64 head; /* bytes ever written; the thread's */
		u64 tail; /* bytes ever read; the tracer's */
		u64 lost; /* records that found no room */
		u64 tid;
	} ring[TRACE_RINGS];
};

#define TRACE_ANY_VCPU 0xffffffffu

enum trace_question {
	TRACE_ASK_STATE, /* registers, code, where RIP is */
	TRACE_ASK_WALK,	 /* how the guest's address `value` is translated */
	TRACE_ASK_MAP,	 /* memslots, and what stage 2 holds */
};

/* A record: multiples of 8 bytes, never across the end of a ring. */
struct trace_record {
	u32 size; /* in bytes, with this */
	u16 kind; /* enum trace_kind */
	s16 vcpu; /* KVM's id, or -1 */
	u64 time; /* CLOCK_MONOTONIC, ns */
	u64 rip;  /* the guest's, or 0 */
	u32 tid;
	u32 unused;
	u64 data[]; /* four values, or what the kind has */
};

/* The mask that is looked at; a word of zeroes until the process has a memfd. */
extern const u64 *trace_mask;
/* The call of the VMM's that this thread is in, for what comes of it. Never NULL. */
#define TRACE_NO_CALL "userkvm" /* it changes something by itself */
extern __thread const char *trace_cause __attribute__((tls_model("initial-exec")));

static inline bool trace_on(enum trace_kind kind)
{
	return unlikely(__atomic_load_n(trace_mask, __ATOMIC_RELAXED) & BIT(kind));
}

/*
 * The process has opened /dev/kvm: make the memfd, and hand it to the tracer that started us, if one
 * did. Idempotent; cheap when done. Sleeps until the tracer answers, two seconds at most. errno is kept.
 */
void trace_start(void);
/* The program is about to forbid itself calls, perhaps sockets: the tracer that started us has to come. */
void trace_meet_nobody(void);

/* Write a record. Any thread, under any lock, in a handler; never sleeps. */
COLD void trace_emit(enum trace_kind kind, s64 vcpu, u64 rip, const void *data, u32 len);
COLD void trace_emit4(enum trace_kind kind, s64 vcpu, u64 rip, u64 a, u64 b, u64 c, u64 d);
/* A question as it was read once. */
struct trace_asked {
	u64 id; /* another one for each */
	u32 question, vcpu;
	u64 value, from;
};
/*
 * Answer a question if there is one; called by a helper thread that looks every some milliseconds. True:
 * the answer is on its way, look again soon. trace_answer puts it into text of TRACE_TEXT_SIZE bytes, and
 * into *next where its rest begins; it waits for nothing, and is false when it wants to be asked again.
 */
bool trace_serve(void);
extern bool (*trace_answer)(const struct trace_asked *q, struct text *t, u64 *next);
/* Keep this as the report of the last guest that died. Any thread. */
void trace_keep_report(const char *text);
/*
 * The latest records of all threads, oldest first, that fit into size bytes and are at most n. Bytes
 * used. Records that others write meanwhile may be missing.
 */
u32 trace_last(u32 n, void *buf, u32 size);
/* Text of up to 16 bytes as the last two values. */
static inline u64 trace_text(const char *s, unsigned half)
{
	char text[16] = {0};
	u64 word;

	for (unsigned i = 0; i < sizeof(text) && s[i]; i++)
		text[i] = s[i];
	memcpy(&word, text + 8 * half, sizeof(word));
	return word;
}

#endif
