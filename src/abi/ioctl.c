/* SPDX-License-Identifier: MIT */
/*
 * abi/ioctl.c: from a call on a descriptor to its handler: one table, which is also what
 * docs/abi.md is printed from.
 */
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include "abi/internal.h"
#include "abi/trace.h"
#include "base/identity.h"
#include "base/guard.h"
#include "userkvm.h"

#define S LEVEL_SYSTEM
#define V LEVEL_VM
#define C LEVEL_VCPU
static const struct ioctl_entry entries[] = {
#define IOCTL(req, level, arg, shape, fn, status, note) {req, #req, level, arg, fn, status, note},
#define ABSENT(req, level, note)
#include "abi/ioctls.def"
#undef IOCTL
#undef ABSENT
};
#undef S
#undef V
#undef C

int call_copy_array(const void *user, size_t n, size_t size, void **out)
{
	void *p = calloc(n + 1, size);

	if (!p)
		return -ENOMEM;
	if (guard_copy_from(p, user, n * size)) {
		free(p);
		return -EFAULT;
	}
	*out = p;
	return 0;
}

static const struct ioctl_entry *find(u8 level, unsigned long request)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(entries); i++)
		if (entries[i].request == request && entries[i].level == level)
			return &entries[i];
	return NULL;
}

static u8 level_of(enum file_kind kind)
{
	switch (kind) {
	case FILE_SYSTEM:
		return LEVEL_SYSTEM;
	case FILE_VM:
		return LEVEL_VM;
	case FILE_VCPU:
		return LEVEL_VCPU;
	default:
		return 0;
	}
}

/* What KVM answers to a request it does not know, by descriptor. */
static long answer_unknown(u8 level)
{
	return level == LEVEL_SYSTEM || level == LEVEL_VCPU ? -EINVAL : -ENOTTY;
}

static long carry_out(const struct ioctl_entry *e, struct call *c)
{
	size_t size = _IOC_SIZE(e->request);
	long r;

	if (e->arg == ARG_IN || e->arg == ARG_INOUT) {
		if (guard_copy_from(c->buf, c->user, size))
			return -EFAULT;
	} else if (e->arg == ARG_OUT) {
		memset(c->buf, 0, size);
	}
	r = e->fn(c);
	if (r >= 0 && (e->arg == ARG_OUT || e->arg == ARG_INOUT) &&
	    guard_copy_to(c->user, c->buf, size))
		return -EFAULT;
	return r;
}

/* Asks the kernel only if it seems that it is not: a vfork() child may have made it. */
static bool is_of_this_process(const struct abi_file *f)
{
	return f->pid == identity_process() || f->pid == file_pid();
}

/* As carry_out(), for a call known or not. In line where nobody traces: trace_ioctl() has its address. */
static inline __attribute__((always_inline)) long carry_out_any(const void *entry, struct call *c)
{
	return entry ? carry_out(entry, c) : answer_unknown(level_of(c->f->kind));
}

static long look_at_call(int fd, const struct ioctl_entry *e, struct call *c, u8 level, u32 request)
{
	long r;

	TRACE_PROBE(call, fd, request, c->arg);
	if (trace_on(TRACE_call))
		r = trace_ioctl(fd, c, level, request, carry_out_any, e);
	else
		r = carry_out_any(e, c);
	TRACE_PROBE(call_return, fd, request, c->arg, r);
	return r;
}

static long dispatch(int fd, struct abi_file *f, u32 request, void *arg)
{
	const struct ioctl_entry *e;
	u8 level = level_of(f->kind);
	struct call c;
	long r;

	if (f->opened & O_PATH)
		return -EBADF;
	if (f->kind == FILE_FOREIGN || (f->kind != FILE_SYSTEM && !is_of_this_process(f)))
		return -EIO;
	e = find(level, request);
	if (!e && !trace_on(TRACE_call))
		return answer_unknown(level);
	c.f = f;
	c.avm = f->avm;
	c.vm = f->avm ? f->avm->vm : NULL;
	c.v = f->vcpu;
	c.user = arg;
	c.arg = (u64)(uintptr_t)arg;
	if (level != LEVEL_VCPU)
		return look_at_call(fd, e, &c, level, request);
	mutex_lock(&c.v->mutex);
	r = look_at_call(fd, e, &c, level, request);
	mutex_unlock(&c.v->mutex);
	return r;
}

/* The file system layer's own, good on any descriptor. */
static bool is_vfs(unsigned long request)
{
	return request == FIOCLEX || request == FIONCLEX || request == FIONBIO ||
	       request == FIOASYNC || request == FIGETBSZ;
}

bool abi_ioctl(int fd, unsigned long request, void *arg, long *ret)
{
	struct abi_file *f;

	f = is_vfs(request) ? NULL : file_get_again(fd);
	if (!f)
		return false;
	/* The kernel looks at 32 bits of the request. */
	*ret = dispatch(fd, f, (u32)request, arg);
	file_put(f);
	return true;
}

bool abi_makes_descriptor(unsigned long request)
{
	switch ((u32)request) {
	case KVM_CREATE_VM:
	case KVM_CREATE_VCPU:
	case UAPI_CREATE_GUEST_MEMFD:
	case USERKVM_LINK_GUEST_MEMFD:
	case KVM_GET_STATS_FD:
		return true;
	default:
		return false;
	}
}
