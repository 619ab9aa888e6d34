# SPDX-License-Identifier: MIT
"""Limits of time for programs on a machine that may be busy with others."""
import os
import time


class Clock:
    """The seconds that a process could have used: the wall clock's, less those in which a thread of
    its was ready to run and waited for a processor. A process that hangs, asleep or in a loop, comes
    to its limit all the same; one that is merely slow because others run does not."""

    def __init__(self, pid):
        self.pid = pid
        self.used = 0.0
        self.last = time.monotonic()
        self.waited = self.waits()

    def waits(self):
        """Per thread, the seconds it has waited (the second figure of schedstat is nanoseconds)."""
        waits = {}
        try:
            for tid in os.listdir(f"/proc/{self.pid}/task"):
                with open(f"/proc/{self.pid}/task/{tid}/schedstat", encoding="ascii") as f:
                    waits[tid] = int(f.read().split()[1]) / 1e9
        except (OSError, IndexError):
            pass  # a thread, or the process, has just ended; or the kernel does not count
        return waits

    def seconds(self):
        """Used so far. To be asked often: between two questions, the longest wait is taken off."""
        now, waited = time.monotonic(), self.waits()
        longest = max((w - self.waited.get(tid, 0) for tid, w in waited.items()), default=0)
        self.used += max(now - self.last - longest, 0)
        self.last, self.waited = now, waited
        return self.used
