/* SPDX-License-Identifier: MIT */
/*
 * vm/confine.h: `userkvm run --confine`: what the process may still ask of the kernel once its first
 * vCPU runs. For monitors that bring no filter of their own.
 */
#ifndef VM_CONFINE_H
#define VM_CONFINE_H

/* Before a vCPU runs, on its thread. The first call sees to all threads, if it was asked for; 0, or why
 * nothing may run: -errno. Takes a lock the first time only. */
int confine_once(void);

#endif
