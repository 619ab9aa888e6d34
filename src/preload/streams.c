/* SPDX-License-Identifier: MIT */
/*
 * preload/streams.c: libc's streams over /dev/kvm. libc opens a stream by calls of its own that no
 * hook sees: what came of them is looked at, and put right under the number it has.
 */
#include <fcntl.h>
#include <stdio.h>
#include "preload/preload.h"
#include "preload/real.h"

static int flags_of(const char *mode)
{
	int flags = strchr(mode, '+') ? O_RDWR : mode[0] == 'r' ? O_RDONLY : O_WRONLY;

	return flags | (strchr(mode, 'e') ? O_CLOEXEC : 0) | (mode[0] == 'a' ? O_APPEND : 0) |
	       (strchr(mode, 'x') ? O_CREAT | O_EXCL : 0);
}

static FILE *fail(FILE *f, int err)
{
	REAL(fclose)(f);
	errno = err;
	return NULL;
}

/* The stream's number means what fd means, which goes; fd may be -errno. */
static FILE *lead_to(FILE *f, long fd, int flags)
{
	long r;

	if (fd < 0)
		return fail(f, (int)-fd);
	r = raw3(SYS_dup3, fd, fileno(f), flags & O_CLOEXEC);
	duplicated((int)fd, r);
	close((int)fd);
	return r < 0 ? fail(f, (int)-r) : f;
}

/* libc has opened it by some path. */
static FILE *settle(FILE *f, int flags)
{
	long copy;

	switch (opened_what(fileno(f))) {
	case THE_DEVICE:
		return lead_to(f, open_kvm(flags), flags);
	case ONE_OF_OURS:
		copy = raw1(SYS_dup, fileno(f));
		return lead_to(f, copy < 0 ? copy : open_again((int)copy, flags), flags);
	default:
		return f;
	}
}

static bool leads_to_kvm(const char *path)
{
	return path_is_kvm(AT_FDCWD, path) || path_leads_to_kvm(AT_FDCWD, path);
}

EXPORT FILE *fopen(const char *path, const char *mode)
{
	FILE *f;
	long fd;

	if (leads_to_kvm(path)) {
		fd = open_kvm(flags_of(mode));
	} else {
		f = REAL(fopen)(path, mode);
		if (!path || path_length(path) < 0 || !machine_is_file(path))
			return f ? settle(f, flags_of(mode)) : NULL;
		if (f)
			REAL(fclose)(f);
		fd = raw4(SYS_openat, AT_FDCWD, path, flags_of(mode), 0);
		fd = machine_opened(path, flags_of(mode), fd);
	}
	if (fd < 0) {
		errno = (int)-fd;
		return NULL;
	}
	f = fdopen((int)fd, mode);
	if (!f) {
		int e = errno;

		close((int)fd);
		errno = e;
	}
	return f;
}
ALIAS(fopen64, fopen);

/* libc's part is to make the stream anew, over a file that any machine has. */
EXPORT FILE *freopen(const char *path, const char *mode, FILE *stream)
{
	bool kvm = path && leads_to_kvm(path);
	bool ours = armed() && descriptor_before_close(fileno(stream));
	FILE *f = REAL(freopen)(kvm ? "/dev/null" : path, mode, stream);

	descriptor_after_close(ours);
	if (!f)
		return NULL;
	return kvm ? lead_to(f, open_kvm(flags_of(mode)), flags_of(mode))
		   : settle(f, flags_of(mode));
}
ALIAS(freopen64, freopen);
