/* SPDX-License-Identifier: MIT */
#include "check.h"

#include "base/guard.h"
#include "vm/signals.h"

/* There in builds with a sanitizer. */
void __sanitizer_print_stack_trace(void) __attribute__((weak));

static bool (*may)(int sig, const siginfo_t *info);

static void on_fault(int sig, siginfo_t *info, void *uc)
{
	if ((!may || may(sig, info)) && guard_handle(sig, info, uc))
		return;
	fprintf(stderr, "signal %d at %p\n", sig, info->si_addr);
	if (__sanitizer_print_stack_trace)
		__sanitizer_print_stack_trace();
	abort();
}

void faults_handle(int sig, void (*fn)(int sig, siginfo_t *info, void *uc))
{
	struct sigaction sa = {.sa_sigaction = fn, .sa_flags = SA_SIGINFO | SA_NODEFER};

	sigemptyset(&sa.sa_mask);
	sigaction(sig, &sa, NULL);
}

void faults_install(bool (*allowed)(int sig, const siginfo_t *info))
{
	static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};

	may = allowed;
	guard_install(); /* for its table; the handlers are ours */
	for (unsigned i = 0; i < ARRAY_SIZE(faults); i++)
		faults_handle(faults[i], on_fault);
	faults_handle(signals_kick_number(), signals_kicked);
}
