/* SPDX-License-Identifier: MIT */
#include "base/thread.h"

u32 thread_helpers;
