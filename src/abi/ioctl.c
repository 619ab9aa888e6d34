/* SPDX-License-Identifier: MIT */
/*
 * abi/ioctl.c: from a call on a descriptor to its handler: one table, which is also what
 * docs/abi.md is printed from.
 */
#include <stdlib.h>
#include <sys/ioctl.h>
#include "abi/internal.h"
#include "base/guard.h"
#include "userkvm.h"

#define S LEVEL_SYSTEM
#define V LEVEL_VM
#define C LEVEL_VCPU
static const struct ioctl_entry entries[] = {
#define IOCTL(req, level, arg, fn, status, note) {req, #req, level, arg, fn, status, note},
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

static long dispatch(struct abi_file *f, unsigned long request, void *arg)
{
	const struct ioctl_entry *e;
	u8 level = level_of(f->kind);
	struct call c;
	long r;

	if (f->kind == FILE_FOREIGN || (f->kind != FILE_SYSTEM && f->pid != file_pid()))
		return -EIO;
	e = find(level, request);
	if (!e)
		return answer_unknown(level);
	c.f = f;
	c.avm = f->avm;
	c.vm = f->avm ? f->avm->vm : NULL;
	c.v = f->vcpu;
	c.user = arg;
	c.arg = (u64)(uintptr_t)arg;
	if (level != LEVEL_VCPU)
		return carry_out(e, &c);
	mutex_lock(&c.v->mutex);
	r = carry_out(e, &c);
	mutex_unlock(&c.v->mutex);
	return r;
}

/* The file system layer's own, good on any descriptor. */
static bool is_vfs(unsigned long request)
{
	return request == FIOCLEX || request == FIONCLEX || request == FIONBIO ||
	       request == FIOASYNC;
}

bool abi_ioctl(int fd, unsigned long request, void *arg, long *ret)
{
	struct abi_file *f;

	if (is_vfs(request))
		return false;
	f = file_get(fd);
	if (!f)
		return false;
	/* The kernel looks at 32 bits of the request. */
	*ret = dispatch(f, (u32)request, arg);
	file_put(f);
	return true;
}
