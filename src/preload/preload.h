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

/* ---- path.c */
/* Is `path` (relative to dirfd) the directory entry /dev/kvm? Never faults; keeps errno. */
bool path_is_kvm(int dirfd, const char *path);
/* Is it a symbolic link that ends there? The same. */
bool path_leads_to_kvm(int dirfd, const char *path);
struct stat;
/* Is this the machine's own device? */
bool path_device_is_kvm(const struct stat *st);

/* ---- descriptors.c: numbers that may be ours, so that read() of others costs one bit test */
void maybe_ours_set(int fd);
bool maybe_ours(int fd);
bool descriptor_is_ours(int fd);
/* As the library is loaded: find what came by exec. */
void descriptors_inherited(void);
/* Before and after a number is closed. Keep errno. */
bool descriptor_before_close(int fd);
void descriptor_after_close(bool ours);

/* ---- mask.c: SEGV, BUS, FPE, ILL, TRAP and the kick, open while our code runs */
struct mask_window {
	bool nested; /* in another one: changes nothing */
};
/*
 * Around every call of the rooms below made for the VMM: inside, no handler of its runs and no
 * cancellation acts. Not from a handler.
 */
void mask_enter(struct mask_window *w);
void mask_leave(struct mask_window *w);
/* In a forked child's copy of a window: what was sent to the parent is not its. */
void mask_forked_child(void);
/* The mask outside of this thread's window; false when it is in none. */
bool mask_outer(u64 *mask);
/* The same, or the run's own mask while one goes on: what the VMM takes to be in force now. */
bool mask_view(u64 *mask);
void mask_set_inner(u64 mask);
bool mask_is_synchronous(int sig);
/* What a helper thread blocks: everything but glibc's SIGSETXID. */
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
/* In a child of a fork without handlers; fork() itself calls it by pthread_atfork(). */
void cancel_forked_child(void);

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
 * *c is zero before. False: the change must not be made; errno says why. `kind`: enum
 * primary_change.
 */
bool change_begin(struct change *c, const void *start, u64 len, int kind);
bool change_begin_file(struct change *c, int fd, u64 off, u64 len);
/* Does USERKVM_NO_HOOKS (userkvm run --no-hooks) say that nobody is told? */
void change_init(void);
/* As raw_errno(r). Also after a change that was never begun, when *c is zero. */
long change_end(struct change *c, long r);

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
/* Around an exec: what the VMM ignores is ignored by the kernel too. */
void dispositions_before_exec(void);
void dispositions_after_failed_exec(void);

/* ---- signals.c: sigaction() as the VMM calls it */
int action_of_vmm(int sig, const struct sigaction *act, struct sigaction *old);

/* ---- process.c: pthread_create() of a thread that blocks mask_of_helpers() */
int thread_create_helper(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *),
			 void *arg);

/* ---- environment.c */
/* Size of the buffer, or 0 when envp already preloads us. */
size_t environment_room(char *const envp[]);
char **environment_with_us(char *const envp[], void *room);
void environment_init(void);
/* Evaluates to envp with this library in LD_PRELOAD; lives as long as the calling function. */
#define WITH_US(envp)                                                                          \
	({                                                                                     \
		char *const *e_ = (envp);                                                      \
		size_t room_ = environment_room(e_);                                           \
		room_ ? environment_with_us(e_, alloca(room_)) : (char **)e_;                  \
	})

#endif
