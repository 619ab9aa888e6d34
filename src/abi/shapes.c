/* SPDX-License-Identifier: MIT */
/* abi/shapes.c: see shapes.h. Linked to the library and to the command. */
#include "abi/shapes.h"

#include <inttypes.h>
#include <stdio.h>
#include "abi/uapi.h"
#include "userkvm.h"

/* What the headers have no whole struct for. */
struct shape_xsave_head {
	u8 region[16];
};
struct shape_index {
	u32 index;
};
struct shape_word {
	u64 value;
};
struct shape_memory_fault_run {
	u8 before[offsetof(struct kvm_run, padding)];
	struct uapi_memory_fault fault;
};

struct field {
	const char *name;
	u32 at, size;
	const char *format;
};

struct shape {
	const char *name;
	const struct field *fields; /* NULL: the value itself */
	u32 size;
	u32 count_at, array_at; /* of elements */
	const struct shape *element;
};

/* Fields of every shape, then the shapes; elements are told apart by their name. */
#define SHAPE(name, type) static const struct field fields_##name[] = {
#define FIELD(type, member, format)                                                                    \
	{#member, offsetof(type, member), sizeof(((type *)NULL)->member), #format},
#define END {NULL}};
#define ELEMENTS(shape, type, count, array, element)
#define VALUE_SHAPE(name)
#include "abi/shapes.def"
#undef SHAPE
#undef FIELD
#undef END
#undef ELEMENTS
#undef VALUE_SHAPE

enum shape_number {
#define SHAPE(name, type) SHAPE_##name,
#define FIELD(type, member, format)
#define END
#define ELEMENTS(shape, type, count, array, element)
#define VALUE_SHAPE(name) SHAPE_##name,
#include "abi/shapes.def"
#undef SHAPE
#undef FIELD
#undef END
#undef ELEMENTS
#undef VALUE_SHAPE
};

/* A shape with elements is named twice: what stands in its first line stays. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Woverride-init"
static const struct shape shapes[] = {
#define SHAPE(name, type) [SHAPE_##name] = {#name, fields_##name, sizeof(type), 0, 0, NULL},
#define FIELD(type, member, format)
#define END
#define VALUE_SHAPE(name) [SHAPE_##name] = {#name, NULL, 0, 0, 0, NULL},
#define ELEMENTS(shape, type, count, array, el)                                                        \
	[SHAPE_##shape] = {#shape, fields_##shape, offsetof(type, array), offsetof(type, count),       \
			   offsetof(type, array), &shapes[SHAPE_##el]},
#include "abi/shapes.def"
#undef SHAPE
#undef FIELD
#undef END
#undef ELEMENTS
#undef VALUE_SHAPE
};
#pragma GCC diagnostic pop

#define S LEVEL_SYSTEM
#define V LEVEL_VM
#define C LEVEL_VCPU
static const struct shape_call calls[] = {
#define IOCTL(req, level, arg, shape, fn, status, note) {#req, (u32)req, level, arg, &shapes[SHAPE_##shape]},
#define ABSENT(req, level, note)			{#req, (u32)req, level, ARG_NONE, &shapes[SHAPE_none]},
#include "abi/ioctls.def"
#undef IOCTL
#undef ABSENT
};
#undef S
#undef V
#undef C

static const struct {
	const char *name;
	u32 reason;
	const struct shape *shape;
} exits[] = {
#define EXIT(cpu, kvm, fill, shape, note) {#kvm, kvm, &shapes[SHAPE_##shape]},
#define ABSENT_EXIT(kvm, note)		  {#kvm, kvm, &shapes[SHAPE_none]},
#include "abi/exits.def"
#undef EXIT
#undef ABSENT_EXIT
	{"KVM_EXIT_UNKNOWN", KVM_EXIT_UNKNOWN, &shapes[SHAPE_none]},
	{"KVM_EXIT_INTR", KVM_EXIT_INTR, &shapes[SHAPE_none]},
};

static const struct {
	const char *name;
	u32 number;
} caps[] = {
#define CAP(n, value, note) {#n, n},
#define ENABLE_VM(n, fn)
#define ENABLE_VCPU(n, fn)
#include "abi/caps.def"
#undef CAP
#undef ENABLE_VM
#undef ENABLE_VCPU
};

static const struct {
	const char *name, *group;
	struct {
		const char *name, *format;
	} value[4];
} events[] = {
#define EVENT(name, group, a, fa, b, fb, c, fc, d, fd, note)                                           \
	{#name, #group, {{a, #fa}, {b, #fb}, {c, #fc}, {d, #fd}}},
#include "base/trace.def"
#undef EVENT
};

/* ---- looking up */

/* KVM's own names of what uapi.h has under another. */
static const char *public_name(const char *name)
{
	static char copy[ARRAY_SIZE(calls)][40];
	size_t i;

	if (strncmp(name, "UAPI_", 5))
		return name;
	for (i = 0; calls[i].name != name; i++)
		;
	snprintf(copy[i], sizeof(copy[i]), "KVM_%s", name + 5);
	return copy[i];
}

const struct shape_call *shape_nth_call(unsigned i)
{
	return i < ARRAY_SIZE(calls) ? &calls[i] : NULL;
}

const struct shape_call *shape_find_call(u32 level, u32 request)
{
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
		if (calls[i].level == level && calls[i].request == request)
			return &calls[i];
	}
	return NULL;
}

const char *shape_call_name(const struct shape_call *c)
{
	return public_name(c->name);
}

const char *shape_nth_exit(unsigned i)
{
	return i < ARRAY_SIZE(exits) ? exits[i].name : NULL;
}

const char *shape_exit_name(u32 reason)
{
	for (size_t i = 0; i < ARRAY_SIZE(exits); i++) {
		if (exits[i].reason == reason)
			return exits[i].name;
	}
	return NULL;
}

u32 shape_head(const struct shape *s)
{
	return s->size;
}

static u32 elements(const struct shape *s, const u8 *data, u32 have)
{
	u32 n;

	if (!s->element || have < s->size)
		return 0;
	memcpy(&n, data + s->count_at, sizeof(n));
	return n;
}

u32 shape_size(const struct shape *s, const void *data, u32 have, u32 max)
{
	u64 size = s->size;

	if (s->element)
		size += (u64)elements(s, data, have) * s->element->size;
	return (u32)MIN(size, max);
}

/* ---- text */

static void put_name(struct text *t, const char *name, bool first)
{
	if (t->json)
		text_put(t, "%s\"%s\":", first ? "" : ",", name);
	else
		text_put(t, "%s%s=", first ? "" : ", ", name);
}

static u64 word(const u8 *p, u32 size)
{
	u64 v = 0;

	memcpy(&v, p, MIN(size, 8u));
	return v;
}

/* JSON has no hexadecimal numbers. */
static void put_hex(struct text *t, u64 v)
{
	text_put(t, t->json ? "%" PRIu64 : v < 10 ? "%" PRIu64 : "%#" PRIx64, v);
}

static void put_bytes(struct text *t, const u8 *p, u32 n)
{
	const u32 shown = MIN(n, 16u);

	text_put(t, "\"");
	for (u32 i = 0; i < shown; i++)
		text_put(t, "%02x", p[i]);
	text_put(t, "\"%s", n > shown && !t->json ? "..." : "");
}

static void put_segment(struct text *t, const u8 *p)
{
	struct kvm_segment s;

	memcpy(&s, p, sizeof(s));
	text_put(t, t->json ? "{\"selector\":%u,\"base\":%llu,\"limit\":%u,\"type\":%u,\"s\":%u,\"dpl\":%u,"
			      "\"present\":%u,\"l\":%u,\"db\":%u,\"g\":%u}"
			    : "{%#x base=%#llx limit=%#x type=%u s=%u dpl=%u p=%u l=%u db=%u g=%u}",
		 s.selector, s.base, s.limit, s.type, s.s, s.dpl, s.present, s.l, s.db, s.g);
}

static void put_table(struct text *t, const u8 *p)
{
	struct kvm_dtable d;

	memcpy(&d, p, sizeof(d));
	text_put(t, t->json ? "{\"base\":%llu,\"limit\":%u}" : "{base=%#llx limit=%#x}", d.base, d.limit);
}

static void put_capability(struct text *t, u64 n)
{
	for (size_t i = 0; i < ARRAY_SIZE(caps); i++) {
		if (caps[i].number == n) {
			text_put(t, t->json ? "\"%s\"" : "%s", caps[i].name);
			return;
		}
	}
	text_put(t, "%" PRIu64, n);
}

static s64 sign(const u8 *p, u32 size)
{
	return size == 4 ? (s32)word(p, 4) : (s64)word(p, size);
}

static void put_field(struct text *t, const struct field *f, const u8 *p)
{
	switch (*f->format) {
	case 'X':
		put_hex(t, word(p, f->size));
		break;
	case 'D':
		text_put(t, "%" PRIu64, word(p, f->size));
		break;
	case 'S':
		text_put(t, "%" PRId64, sign(p, f->size));
		break;
	case 'B':
		put_bytes(t, p, f->size);
		break;
	case 'C':
		put_capability(t, word(p, f->size));
		break;
	case 'I':
		text_put(t, t->json ? "\"%s\"" : "%s", *p == KVM_EXIT_IO_OUT ? "out" : "in");
		break;
	case 'G':
		put_segment(t, p);
		break;
	case 'T':
		put_table(t, p);
		break;
	}
}

/* The fields that the bytes there are hold; `exit`: without the name of kvm_run's member. */
static void put_fields(struct text *t, const struct shape *s, const u8 *data, u32 len, bool exit)
{
	bool first = true;

	for (const struct field *f = s->fields; f && f->name; f++) {
		const char *dot = exit ? strrchr(f->name, '.') : NULL;

		if (f->at + f->size > len)
			continue;
		put_name(t, dot ? dot + 1 : f->name, first);
		put_field(t, f, data + f->at);
		first = false;
	}
}

#define ELEMENTS_SHOWN 4

static void put_elements(struct text *t, const struct shape *s, const u8 *data, u32 len)
{
	u32 n = elements(s, data, len), i;

	put_name(t, "entries", false);
	text_put(t, "[");
	for (i = 0; i < n && (t->json || i < ELEMENTS_SHOWN); i++) {
		u32 at = s->array_at + i * s->element->size;

		if (at + s->element->size > len)
			break;
		text_put(t, i ? ", {" : "{");
		put_fields(t, s->element, data + at, len - at, false);
		text_put(t, "}");
	}
	text_put(t, i < n && !t->json ? ", ...]" : "]");
}

/* ---- calls */

void shape_print_arg(struct text *t, const struct shape_call *c, const struct call_record *r)
{
	const struct shape *s = c->shape;

	if (s == &shapes[SHAPE_none]) {
		text_put(t, t->json ? "null" : "");
	} else if (s == &shapes[SHAPE_capability]) {
		put_capability(t, r->arg);
	} else if (s == &shapes[SHAPE_number]) {
		text_put(t, "%" PRIu64, r->arg);
	} else if (!s->fields || !r->len) {
		put_hex(t, r->arg);
	} else {
		text_put(t, "{");
		put_fields(t, s, r->data, r->len, false);
		if (s->element)
			put_elements(t, s, r->data, r->len);
		text_put(t, "}");
	}
}

bool shape_exit_of(const struct call_record *r, u32 *reason)
{
	const struct kvm_run *run = (const void *)r->data;

	if (r->level != LEVEL_VCPU || r->request != KVM_RUN || r->len < RECORD_RUN_HEAD)
		return false;
	*reason = r->ret == -EINTR ? KVM_EXIT_INTR : run->exit_reason;
	return !r->ret || r->ret == -EINTR || run->exit_reason == KVM_EXIT_MEMORY_FAULT;
}

void shape_print_exit(struct text *t, const struct call_record *r)
{
	const struct shape *s = &shapes[SHAPE_none];
	const char *name;
	u32 reason;

	if (!shape_exit_of(r, &reason))
		return;
	name = shape_exit_name(reason);
	for (size_t i = 0; i < ARRAY_SIZE(exits); i++) {
		if (exits[i].reason == reason)
			s = exits[i].shape;
	}
	text_put(t, t->json ? "\"exit\":\"%s\",\"fields\":{" : s->fields ? "%s {" : "%s",
		 name ? name : "KVM_EXIT_?");
	put_fields(t, s, r->data, r->len, true);
	if (reason == KVM_EXIT_IO && r->len > RECORD_RUN_HEAD) {
		put_name(t, "data", false);
		put_bytes(t, r->data + RECORD_RUN_HEAD, r->len - RECORD_RUN_HEAD);
	}
	text_put(t, t->json || s->fields ? "}" : "");
}

/* ---- events */

/* Of another process: nothing of it is for the terminal to obey. */
static void put_text(struct text *t, const u8 *p, u32 n)
{
	text_put(t, t->json ? "\"" : "");
	for (u32 i = 0; i < n && p[i]; i++)
		text_put(t, "%c", (p[i] >= 'a' && p[i] <= 'z') || p[i] == '_' || p[i] == ' ' ? p[i] : '?');
	text_put(t, t->json ? "\"" : "");
}

const char *shape_event_name(unsigned kind)
{
	return kind < ARRAY_SIZE(events) ? events[kind].name : NULL;
}

const char *shape_event_group(unsigned kind)
{
	return kind < ARRAY_SIZE(events) ? events[kind].group : NULL;
}

void shape_print_event(struct text *t, const struct trace_record *r)
{
	const unsigned n = (r->size - (u32)sizeof(*r)) / 8;
	bool first = true;

	for (unsigned i = 0; i < 4 && i < n; i++) {
		const char format = *events[r->kind].value[i].format;
		const char *name = events[r->kind].value[i].name;

		if (format == 'N')
			continue;
		put_name(t, name, first);
		first = false;
		if (format == 'W')
			text_put(t, t->json ? "\"%s\"" : "%s", r->data[i] ? "write" : "read");
		else if (format == 'T')
			put_text(t, (const u8 *)&r->data[i], MIN(16u, (n - i) * 8));
		else if (format == 'D')
			text_put(t, "%" PRId64, (s64)r->data[i]);
		else
			put_hex(t, r->data[i]);
	}
}
