/* SPDX-License-Identifier: MIT */
/*
 * base/types.h: the fixed-width names, page arithmetic and small macros every room uses.
 */
#ifndef BASE_TYPES_H
#define BASE_TYPES_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int8_t s8;
typedef int16_t s16;
typedef int32_t s32;
typedef int64_t s64;

/* Guest frame number: a guest-physical address in units of 4 KiB pages. */
typedef u64 gfn_t;
/* Guest-physical address, bytes. */
typedef u64 gpa_t;
/* Host virtual address in the VMM's process, bytes. */
typedef u64 hva_t;

#define PAGE_SHIFT 12
#define PAGE_SIZE  4096ULL
#define PAGE_MASK  (~(PAGE_SIZE - 1))

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define ARRAY_SIZE(a)                (sizeof(a) / sizeof((a)[0]))
#define container_of(p, type, field) ((type *)((char *)(p)-offsetof(type, field)))
#define BIT(n)                       (1ULL << (n))
#define MIN(a, b)                    ((a) < (b) ? (a) : (b))
#define MAX(a, b)                    ((a) > (b) ? (a) : (b))
#define ALIGN_DOWN(x, a)             ((x) & ~((u64)(a)-1))
#define ALIGN_UP(x, a)               (((x) + (u64)(a)-1) & ~((u64)(a)-1))

#define HIDDEN   __attribute__((visibility("hidden")))
#define EXPORT   __attribute__((visibility("default")))
#define NORETURN __attribute__((noreturn))
#define COLD     __attribute__((cold, noinline))
/* Of a function that runs while a guest's vector state is in registers: neither the compiler nor the runtime
 * of the thread sanitizer, which it would call, may use them. */
#define NO_VECTORS __attribute__((target("general-regs-only"), no_sanitize("thread")))

#endif
