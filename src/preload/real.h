/* SPDX-License-Identifier: MIT */
/*
 * preload/real.h: the functions behind our hooks, for those that are more than a system call
 * (cancellation points, stdio, fork handlers). Resolved by the constructor; a hook that is
 * called earlier resolves its own.
 */
#ifndef PRELOAD_REAL_H
#define PRELOAD_REAL_H

#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <glob.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>
#include "base/types.h"

struct statvfs;

#define REAL_FUNCTIONS(X)                                                                      \
	X(int, openat, (int, const char *, int, ...))                                          \
	X(int, close, (int))                                                                   \
	X(int, close_range, (unsigned, unsigned, int))                                         \
	X(int, fclose, (FILE *))                                                               \
	X(FILE *, fopen, (const char *, const char *))                                         \
	X(FILE *, freopen, (const char *, const char *, FILE *))                               \
	X(int, fcntl, (int, int, ...))                                                         \
	X(ssize_t, read, (int, void *, size_t))                                                \
	X(ssize_t, write, (int, const void *, size_t))                                         \
	X(ssize_t, pread, (int, void *, size_t, off_t))                                        \
	X(ssize_t, pwrite, (int, const void *, size_t, off_t))                                 \
	X(ssize_t, readv, (int, const struct iovec *, int))                                    \
	X(ssize_t, writev, (int, const struct iovec *, int))                                   \
	X(ssize_t, preadv, (int, const struct iovec *, int, off_t))                            \
	X(ssize_t, pwritev, (int, const struct iovec *, int, off_t))                           \
	X(ssize_t, preadv2, (int, const struct iovec *, int, off_t, int))                      \
	X(ssize_t, pwritev2, (int, const struct iovec *, int, off_t, int))                     \
	X(ssize_t, sendfile, (int, int, off_t *, size_t))                                      \
	X(ssize_t, splice, (int, off_t *, int, off_t *, size_t, unsigned))                     \
	X(int, fsync, (int))                                                                   \
	X(int, fdatasync, (int))                                                               \
	X(ssize_t, sendmsg, (int, const struct msghdr *, int))                                 \
	X(int, sendmmsg, (int, struct mmsghdr *, unsigned, int))                               \
	X(ssize_t, recvmsg, (int, struct msghdr *, int))                                       \
	X(int, recvmmsg, (int, struct mmsghdr *, unsigned, int, struct timespec *))            \
	X(int, brk, (void *))                                                                  \
	X(void *, sbrk, (intptr_t))                                                            \
	X(int, fallocate, (int, int, off_t, off_t))                                            \
	X(int, posix_fallocate, (int, off_t, off_t))                                           \
	X(char *, realpath, (const char *, char *))                                            \
	X(int, fchmodat, (int, const char *, mode_t, int))                                     \
	X(DIR *, opendir, (const char *))                                                      \
	X(DIR *, fdopendir, (int))                                                             \
	X(int, closedir, (DIR *))                                                              \
	X(void, rewinddir, (DIR *))                                                            \
	X(struct dirent *, readdir, (DIR *))                                                   \
	X(int, scandirat, (int, const char *, struct dirent ***, int (*)(const struct dirent *), \
	  int (*)(const struct dirent **, const struct dirent **)))                            \
	X(int, glob, (const char *, int, int (*)(const char *, int), glob_t *))                \
	X(int, statvfs, (const char *, struct statvfs *))                                      \
	X(long, pathconf, (const char *, int))                                                 \
	X(pid_t, _Fork, (void))                                                                \
	X(int, clone, (int (*)(void *), void *, int, void *, ...))                             \
	X(int, execve, (const char *, char *const[], char *const[]))                           \
	X(int, execvpe, (const char *, char *const[], char *const[]))                          \
	X(int, fexecve, (int, char *const[], char *const[]))                                   \
	X(int, posix_spawn,                                                                    \
	  (pid_t *, const char *, const posix_spawn_file_actions_t *,                          \
	   const posix_spawnattr_t *, char *const[], char *const[]))                           \
	X(int, posix_spawnp,                                                                   \
	  (pid_t *, const char *, const posix_spawn_file_actions_t *,                          \
	   const posix_spawnattr_t *, char *const[], char *const[]))                           \
	X(int, system, (const char *))                                                         \
	X(FILE *, popen, (const char *, const char *))                                         \
	X(int, sigaction, (int, const struct sigaction *, struct sigaction *))                 \
	X(sighandler_t, signal, (int, sighandler_t))                                           \
	X(int, siginterrupt, (int, int))                                                       \
	X(int, sigtimedwait, (const sigset_t *, siginfo_t *, const struct timespec *))         \
	X(int, signalfd, (int, const sigset_t *, int))                                         \
	X(int, faccessat, (int, const char *, int, int))                                       \
	X(int, sigpending, (sigset_t *))                                                       \
	X(int, pthread_create,                                                                 \
	  (pthread_t *, const pthread_attr_t *, void *(*)(void *), void *))                    \
	X(int, pthread_kill, (pthread_t, int))                                                 \
	X(int, pthread_sigqueue, (pthread_t, int, const union sigval))                         \
	X(int, pthread_cancel, (pthread_t))                                                    \
	X(int, pthread_setcanceltype, (int, int *))                                            \
	X(int, __libc_current_sigrtmax, (void))

#define REAL_TYPE(ret, name, args) typedef ret(*real_##name##_t) args;
REAL_FUNCTIONS(REAL_TYPE)
#undef REAL_TYPE

#define REAL_FIELD(ret, name, args) real_##name##_t name;
struct real {
	REAL_FUNCTIONS(REAL_FIELD)
};
#undef REAL_FIELD

extern struct real real;
void real_resolve_all(void);
/* The function, which is stored in its slot of `real` too. */
void *real_resolve(const char *name, void *slot);

/* REAL(close)(fd) calls libc's. */
#define REAL(name)                                                                             \
	(likely(real.name) ? real.name : (real_##name##_t)real_resolve(#name, &real.name))

#endif
