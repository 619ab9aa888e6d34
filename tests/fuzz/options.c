/* SPDX-License-Identifier: MIT */
/* What the sanitizers are told: the first finding ends the run, and the signals of guest accesses
 * are ours (base/guard.h). What was freed is kept, and when it is as much as is kept, a tenth is given back at once: of
 * the 256 MiB that were the default that takes ten milliseconds, in which a vCPU hears no signal. */
const char *__asan_default_options(void);
const char *__ubsan_default_options(void);

const char *__asan_default_options(void)
{
	return "handle_segv=0:handle_sigbus=0:handle_sigfpe=0:handle_sigill=0:handle_abort=1:"
	       "allocator_may_return_null=1:detect_stack_use_after_return=0:quarantine_size_mb=16";
}

const char *__ubsan_default_options(void)
{
	return "halt_on_error=1:print_stacktrace=1";
}
