/* SPDX-License-Identifier: MIT */
/*
 * preload/preload.h: what the files of this room share.
 *
 * The library is loaded into every process below `userkvm run`, most of which never touch
 * /dev/kvm. It sleeps in them: until the first descriptor of ours appears (preload_arm()),
 * hooks hand their call on, no signal handler is installed and no thread runs.
 *
 * The rooms below are linked with --wrap for every name hooked here (see meson.build), so their
 * own calls never come back through a hook: they reach inside.c.
 */
#ifndef PRELOAD_PRELOAD_H
#define PRELOAD_PRELOAD_H

#include <alloca.h>
#include <pthread.h>
#include <signal.h>
#include <sys/types.h>
#include "base/types.h"
#include "preload/raw.h"

/* A second name of a hook: on x86-64 what takes 64-bit offsets is the same function. */
#define ALIAS(name, of) EXPORT extern __typeof__(of) name __attribute__((alias(#of), copy(of)))

/* ---- main.c */
extern int preload_armed;
static inline bool armed(void)
{
	return unlikely(__atomic_load_n(&preload_armed, __ATOMIC_ACQUIRE));
}
/* From here on this process is a VMM. Idempotent; any thread; not from a handler. */
void preload_arm(void);
/* Are we in the process that armed? False in a child that shares its memory (vfork). */
bool preload_own_process(void);
/* Around a fork of an armed process. pthread_atfork() has them, unless preload_below_libc(). */
void preload_before_fork(void);
void preload_after_fork_parent(void);
void preload_after_fork_child(void);
/* This process's calls come from src/loader: forks, too. Before anything else. */
void preload_below_libc(void);
bool preload_is_below_libc(void);

/* ---- bynumber.c */
/*
 * Is there a hook for the system call of this number? Then it has been called with these arguments,
 * and *r is what a libc function returns, with errno set.
 */
bool by_number(long nr, const long a[6], long *r);

/* Who we are; what `userkvm doctor` looks for. */
extern const char userkvm_version[];

/* ---- symbols.c: as the library is loaded, when all that is behind us is known */
void symbols_lead_to_us(void);

/* ---- path.c */
/* strlen() that never faults; -1: not a readable path of bounded length. */
long path_length(const char *path);
/* Is `path` (relative to dirfd) the directory entry /dev/kvm? Never faults; keeps errno. */
bool path_is_kvm(int dirfd, const char *path);
/* Is it a symbolic link that ends there? The same. */
bool path_leads_to_kvm(int dirfd, const char *path);
struct stat;
/* Is this the machine's own device? */
bool path_device_is_kvm(const struct stat *st);
/* Is this the directory /dev? */
bool path_is_dev(int fd);
/* As the library is loaded: which directory is /dev, for a process that will see it elsewhere. */
void path_init(void);

/* ---- names.c: is this a call that names.def lists, on /dev/kvm? Then *r is its result. Never faults. */
bool names_answer(long nr, const long *a, long *r);

/* ---- directory.c: getdents64(), in which /dev has a "kvm". Or -errno. */
long directory_entries(int fd, void *buf, size_t size);

/* ---- machine.c: files that tell of the machine. The path has been read by the kernel. */
/* One of these, also where the machine has none? */
bool machine_is_file(const char *path);
/* It was opened, as fd, or -errno: what open() is to return. */
long machine_opened(const char *path, int flags, long fd);
/* One that the machine does not have: what stat() says. */
bool machine_stat(const char *path, struct stat *st);

/* ---- descriptors.c: numbers that may be ours, so that read() of others costs one bit test */
void maybe_ours_set(int fd);
bool maybe_ours(int fd);
bool descriptor_is_ours(int fd);
/* As the library is loaded, or below libc before the program begins: find what came by exec. */
void descriptors_inherited(void);
/* Before and after a number is closed. Keep errno. */
bool descriptor_before_close(int fd);
void descriptor_after_close(bool ours);

/* After dup() and its like: newfd, or -1 with errno set from -newfd. */
int duplicated(int oldfd, long newfd);

/* ---- open.c: a new descriptor of /dev/kvm, or -errno */
long open_kvm(int flags);
/* What a path led to that did not say so. */
enum opened {
	SOME_FILE,
	THE_DEVICE,  /* the machine's, or a link to where it has none */
	ONE_OF_OURS, /* perhaps: anew, by its link in /proc */
};
enum opened opened_what(int fd);
/* Of what may be ONE_OF_OURS: the descriptor to return, or -errno. fd is closed when it is another. */
long open_again(int fd, int flags);

/* ---- mask.c: SEGV, BUS, FPE, ILL, TRAP and the kick, open while our code runs */
struct mask_window {
	bool nested; /* in another one: changes nothing */
	int error;   /* errno outside, which a call that succeeds leaves as it was */
};
/*
 * Around every call of the rooms below made for the VMM: inside, no handler of its runs and no
 * cancellation acts. Not from a handler.
 */
void mask_enter(struct mask_window *w);
void mask_leave(struct mask_window *w);
/* In a forked child's copy of a window: what was sent to the parent is not its. */
void mask_forked_child(void);
/*
 * Below libc (src/loader): the program's mask at the call that this thread carries out for it. The
 * kernel's then has everything blocked outside of windows, since the program's handlers may only run
 * once its own FS base and stack are back: the kernel delivers what was kept when the trap returns.
 * NULL in a process that is preloaded, and in a call that comes without a trap (loader/direct.h).
 */
extern __thread const u64 *mask_of_call __attribute__((tls_model("initial-exec")));
/* The mask outside of this thread's window; false when it is in none. */
bool mask_outer(u64 *mask);
/* The same, or the run's own mask while one goes on: what the VMM takes to be in force now. */
bool mask_view(u64 *mask);
void mask_set_inner(u64 mask);
bool mask_is_synchronous(int sig);
/* What a helper thread blocks: everything but glibc's SIGSETXID, or, below libc, our kick. */
u64 mask_of_helpers(void);
/* From a handler in a window: keep this signal until the window closes; ends a run. */
void mask_keep(int sig, siginfo_t *info, void *uc);
/* The same for a synchronous one that was sent, which stays open; ends no run. */
void mask_stash(int sig, const siginfo_t *info, void *uc);
/* From a handler in a window: end the run, if there is one. */
void mask_end_run(void *uc);

static inline u64 sig_bit(int sig)
{
	return 1ULL << (sig - 1);
}

/* ---- cancel.c: pthread_cancel() of a thread in a window */
/* Has this thread ever asked for asynchronous cancellation? */
bool cancel_subject(void);
/* mask_enter() has disabled cancellation, which was `state` before. */
void cancel_window_opened(int state);
/*
 * Back to `state`, in the window still. True: the thread is cancelled, and nothing was put back;
 * once the window is closed cancel_act() is to be called, which acts as at the edge of a system
 * call.
 */
bool cancel_window_closing(int state);
void cancel_act(int state);
/* From a handler: has this thread been cancelled in a way that ends its call? */
bool cancel_ends_run(void);
/* In a forked child; in a process that has not armed, pthread_atfork() calls it. Idempotent. */
void cancel_forked_child(void);

/* ---- signals.c */
/*
 * Of what is pending and in the set, which loses our kick: the one that is due, as sigtimedwait() without a
 * wait. Or -errno.
 */
int signals_take_pending(sigset_t *set, siginfo_t *info);
/* The program has sent a signal to a thread. */
void signals_sent(void);

/* ---- change.c: a change of the VMM's memory, between telling primary/linux and having done it
 */
struct change {
	bool told; /* the window is open */
	void *cookie;
	struct mask_window window;
};
/*
 * The VMM wants [start, start + len) for itself, which may be where something of ours is: that goes
 * elsewhere. 0; -ENOMEM: it cannot.
 */
int change_make_room(const void *start, u64 len);
/*
 * How much of [start, start + len) lies before anything of ours, when something does: a call of the
 * VMM's goes as far, as it would if nothing were mapped from there on. Else len.
 */
u64 change_before_ours(const void *start, u64 len);
/*
 * *c is zero before. False: the change must not be made; errno says why. `call`: the VMM's, for who
 * traces it. `kind`: enum primary_change.
 */
bool change_begin(struct change *c, const char *call, const void *start, u64 len, int kind);
bool change_begin_file(struct change *c, const char *call, int fd, u64 off, u64 len);
/* Does USERKVM_NO_HOOKS (userkvm run --no-hooks) say that nobody is told? */
void change_init(void);
/* As raw_errno(r). Also after a change that was never begun, when *c is zero. */
long change_end(struct change *c, long r);

/* ---- mapping.c */
/* mmap(), whoever calls: the hook of that name looks at its caller. */
void *map_for_vmm(void *addr, size_t len, int prot, int flags, int fd, off_t off);

/* ---- dispositions.c */
/* How many handlers of the VMM's this thread has begun. */
extern __thread u32 handlers_run __attribute__((tls_model("initial-exec")));
/* Put deliver() under what the VMM has installed so far, and our own handlers in place. */
void dispositions_adopt(void);
/* Around fork(), so that the child's copy of the lock is free. In a window. */
void dispositions_lock(void);
void dispositions_unlock(void);
/* sigaction() as the VMM sees it. 0 or -errno. */
int dispositions_set(int sig, const struct sigaction *act, struct sigaction *old);
/*
 * Below libc the kernel is to call `entry` in the place of dispositions_handle(), which that then
 * calls on an FS base of ours; the program's handlers are called by `call`. `kernel` is sigaction()
 * without libc, since the signals libc keeps for itself are not ours there, and SIGSYS is the
 * loader's.
 */
struct dispositions_below {
	void (*entry)(int sig, siginfo_t *info, void *uc);
	void (*call)(sighandler_t handler, int sig, siginfo_t *info, void *uc);
	int (*kernel)(int sig, const struct sigaction *act, struct sigaction *old);
};
void dispositions_below_libc(const struct dispositions_below *below);
/* Below libc: every helper makes this call, which changes what a thread may do. With all signals blocked. */
void dispositions_helpers_call(long nr, const long args[3]);
/* The handler of every signal that is ours or has a handler of the VMM's. */
void dispositions_handle(int sig, siginfo_t *info, void *uc);
/* What the VMM ignores and the kernel has our handler for. */
u64 dispositions_ignored(void);
/* Around an exec where no guest has run: what the VMM ignores is ignored by the kernel too. */
void dispositions_before_exec(void);
void dispositions_after_failed_exec(void);

/* ---- signals.c: sigaction() as the VMM calls it */
int action_of_vmm(int sig, const struct sigaction *act, struct sigaction *old);

/* ---- process.c: pthread_create() of a thread that blocks mask_of_helpers() */
int thread_create_helper(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *),
			 void *arg);

/* ---- environment.c */
/* Size of the buffer, or 0 when envp already preloads us and no signal is to be ignored. */
size_t environment_room(char *const envp[], u64 ignored);
char **environment_with_us(char *const envp[], u64 ignored, void *room);
/* Without us in LD_PRELOAD: for a program that the loader runs. */
size_t environment_room_without_us(char *const envp[]);
char **environment_without_us(char *const envp[], u64 ignored, void *room);
void environment_init(void);
/* Does the whole machine load us (/etc/ld.so.preload)? */
bool environment_is_for_all(void);
/*
 * Evaluates to envp with this library in LD_PRELOAD, and with what the new program is to ignore: of
 * dispositions_ignored(). Lives as long as the calling function.
 */
#define WITH_US(envp, ignored)                                                                 \
	({                                                                                     \
		char *const *e_ = (envp);                                                      \
		u64 ignored_ = (ignored);                                                      \
		size_t room_ = environment_room(e_, ignored_);                                 \
		room_ ? environment_with_us(e_, ignored_, alloca(room_)) : (char **)e_;        \
	})

#endif
