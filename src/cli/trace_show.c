/* SPDX-License-Identifier: MIT */
/* cli/trace_show.c: a record as a line of text or of JSON. */
#include <inttypes.h>
#include "abi/uapi.h"
#include "cli/trace.h"

#define LINE_SIZE 32768

static const char *on_what(u32 level)
{
	return level == LEVEL_SYSTEM ? "kvm" : level == LEVEL_VM ? "vm" : "vcpu";
}

/* "= 7" or "= -1 EINVAL"; what is no errno is a value. */
static void put_result(struct text *t, s64 ret)
{
	const char *name = ret < 0 && ret > -4096 ? strerrorname_np((int)-ret) : NULL;

	if (t->json && name)
		text_put(t, ",\"ret\":-1,\"errno\":\"%s\"", name);
	else if (t->json)
		text_put(t, ",\"ret\":%" PRId64, ret);
	else if (name)
		text_put(t, " = -1 %s", name);
	else
		text_put(t, " = %" PRId64, ret);
}

static void put_call_name(struct text *t, const struct call_record *c, const struct shape_call *s)
{
	if (s)
		text_put(t, "%s", shape_call_name(s));
	else
		text_put(t, "%#x", c->request);
}

static void put_call(struct text *t, const struct call_record *c)
{
	const struct shape_call *s = shape_find_call(c->level, c->request);

	if (!c->request) {
		text_put(t, "open(\"/dev/kvm\")");
		put_result(t, c->ret);
		return;
	}
	text_put(t, "%s %d: ", on_what(c->level), c->fd);
	put_call_name(t, c, s);
	text_put(t, "(");
	if (s)
		shape_print_arg(t, s, c);
	else
		text_put(t, "%#" PRIx64, c->arg);
	text_put(t, ")");
	put_result(t, c->ret);
	text_put(t, " <%" PRIu64 ".%06" PRIu64 ">", c->ns / 1000000000, c->ns / 1000 % 1000000);
	if (c->request == KVM_RUN && c->level == LEVEL_VCPU) {
		text_put(t, " ");
		shape_print_exit(t, c);
	}
}

static void put_call_json(struct text *t, const struct call_record *c)
{
	const struct shape_call *s = shape_find_call(c->level, c->request);
	u32 reason;

	if (!c->request) {
		text_put(t, ",\"call\":\"open\"");
		put_result(t, c->ret);
		return;
	}
	text_put(t, ",\"call\":\"");
	put_call_name(t, c, s);
	text_put(t, "\",\"on\":\"%s\",\"fd\":%d,\"argument\":", on_what(c->level), c->fd);
	if (s)
		shape_print_arg(t, s, c);
	else
		text_put(t, "%" PRIu64, c->arg);
	put_result(t, c->ret);
	text_put(t, ",\"ns\":%" PRIu64, c->ns);
	if (shape_exit_of(c, &reason)) {
		text_put(t, ",");
		shape_print_exit(t, c);
	}
}

static void put_place(const struct show *s, struct text *t, const struct trace_record *r)
{
	char name[256];

	if (!r->rip)
		return;
	symbols_name(s->symbols, r->rip, name, sizeof(name));
	if (t->json)
		text_put(t, *name ? ",\"rip\":%" PRIu64 ",\"symbol\":\"%s\"" : ",\"rip\":%" PRIu64 "%s", r->rip,
			 name);
	else
		text_put(t, *name ? " rip=%#" PRIx64 " %s" : " rip=%#" PRIx64 "%s", r->rip, name);
}

static void show_json(const struct show *s, struct text *t, pid_t pid, const struct trace_record *r)
{
	text_put(t, "{\"time\":%" PRIu64 ",\"pid\":%d,\"tid\":%u", r->time, pid, r->tid);
	if (r->vcpu >= 0)
		text_put(t, ",\"vcpu\":%d", r->vcpu);
	if (r->kind == TRACE_call) {
		put_call_json(t, record_call(r));
	} else {
		text_put(t, ",\"event\":\"%s\",\"values\":{", shape_event_name(r->kind));
		shape_print_event(t, r);
		text_put(t, "}");
	}
	put_place(s, t, r);
	text_put(t, "}");
}

static void show_text(const struct show *s, struct text *t, pid_t pid, const struct trace_record *r)
{
	u64 since = r->time > s->begun ? (r->time - s->begun) / 1000 : 0;

	text_put(t, "%3" PRIu64 ".%06" PRIu64 " ", since / 1000000, since % 1000000);
	if (s->many)
		text_put(t, "%d/", pid);
	text_put(t, "%u ", r->tid);
	if (r->kind == TRACE_call) {
		put_call(t, record_call(r));
	} else {
		text_put(t, r->vcpu >= 0 ? "vCPU %d: %s " : "%.0d%s ", MAX(r->vcpu, 0),
			 shape_event_name(r->kind));
		shape_print_event(t, r);
	}
	put_place(s, t, r);
}

void show_record(const struct show *s, pid_t pid, const struct trace_record *r)
{
	static char line[LINE_SIZE];
	struct text t = {.buf = line, .size = sizeof(line), .json = s->json};

	(s->json ? show_json : show_text)(s, &t, pid, r);
	fprintf(s->out, "%s\n", line);
}
