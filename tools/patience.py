# SPDX-License-Identifier: MIT
"""Limits of time for programs on a machine that may be busy with others."""
import os
import time


def stat(pid):
    """/proc/PID/stat from the state on: state, parent, process group, session, ...; None if gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as f:
            return f.read().rpartition(")")[2].split()
    except OSError:
        return None


def descendants(pid):
    """The process and all that it began, but for those whose parents have ended."""
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            fields = stat(name)
            if fields:
                parents[int(name)] = int(fields[1])
    found, new = {pid}, {pid}
    while new:
        new = {p for p, parent in parents.items() if parent in new and p not in found}
        found |= new
    return found


def share():
    """Of a processor, for each of those that would run now: 1 when there are enough for all."""
    try:
        with open("/proc/stat", encoding="ascii") as f:
            running = next(int(line.split()[1]) for line in f if line.startswith("procs_running"))
    except (OSError, StopIteration):
        return 1.0  # the kernel does not say
    return min(len(os.sched_getaffinity(0)) / max(running - 1, 1), 1.0)  # less the one that asks


class Clock:
    """The seconds that a program could have used: the wall clock's, less those in which a thread of
    it was ready to run and waited for a processor. What hangs, asleep or in a loop, comes to its
    limit all the same; what is merely slow because others run does not. Waits of processes that
    came and went between two questions are not to be seen, so no second counts for more than the
    part of a processor that there was for each."""

    def __init__(self, pid):
        self.pid = pid
        self.used = 0.0
        self.last = time.monotonic()
        self.waited = self.waits()

    def waits(self):
        """Per thread, the seconds it has waited (the second figure of schedstat is nanoseconds)."""
        waits = {}
        for pid in descendants(self.pid):
            try:
                for tid in os.listdir(f"/proc/{pid}/task"):
                    with open(f"/proc/{pid}/task/{tid}/schedstat", encoding="ascii") as f:
                        waits[tid] = int(f.read().split()[1]) / 1e9
            except (OSError, IndexError):
                pass  # a thread, or the process, has just ended; or the kernel does not count
        return waits

    def seconds(self):
        """Used so far. To be asked often: between two questions, the longest wait is taken off."""
        now, waited = time.monotonic(), self.waits()
        longest = max((w - self.waited.get(tid, 0) for tid, w in waited.items()), default=0)
        elapsed = now - self.last
        self.used += max(min(elapsed - longest, elapsed * share()), 0)
        self.last, self.waited = now, waited
        return self.used
