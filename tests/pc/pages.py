# SPDX-License-Identifier: MIT
"""Guests in which programs keep rewriting memory of their own, with a pattern that they check before
every write (tests/pc/guest/pages.c).
"""
import os
import re
import time

from machine import ACCEL, Machine, check, skip

PAGE = 4096
CPUS = 2


def guest(*arguments, machine="q35", programs=("pages",), accel_options="", **options):
    return Machine(machine, "-smp", str(CPUS), *arguments, shell=True, programs=programs,
                   accel=ACCEL + accel_options, **options)


def start_pages(m, mib, rate):
    """One of the programs for each processor."""
    for n in range(CPUS):
        m.type(f"pages {n} {mib} {rate} &")
        m.expect(f"pages {n}: begins")


def pages_say(m, signal):
    """The programs check all they have; how many writes they made."""
    m.type(f"killall -{signal} pages")
    at = end = m.seen
    writes = 0
    for n in range(CPUS):
        m.seen = at  # they answer in any order
        m.expect(f"pages {n}: ")
        said = m.expect("\n")
        answer = re.fullmatch(r"all \d+ right after (\d+) writes", said)
        check(answer, f"pages {n}: {said}")
        writes += int(answer[1])
        end = max(end, m.seen)
    m.seen = end  # past all of them: the next time the same would be new answers
    return writes


def check_pages(m):
    """They are right, and were written since."""
    before = pages_say(m, "USR1")
    time.sleep(0.5)
    check(pages_say(m, "USR1") > before, "nothing writes in the guest")


# Where the guest's RAM comes from: QEMU's arguments for `size` bytes of it, as object "ram".
def backend(kind, size, directory):
    if kind == "private":
        return []
    objects = {
        "memfd": "memory-backend-memfd,share=on",
        "file": f"memory-backend-file,share=off,mem-path={directory}/ram",
        "shared-file": f"memory-backend-file,share=on,mem-path={directory}/ram",
        "prealloc": "memory-backend-ram,prealloc=on,prealloc-threads=2",
        "hugetlb": "memory-backend-memfd,share=on,hugetlb=on,hugetlbsize=2M",
    }
    return ["-object", f"{objects[kind]},id=ram,size={size}", "-machine", "memory-backend=ram"]


def userfaultfd_needed():
    with open("/proc/sys/vm/unprivileged_userfaultfd", encoding="ascii") as f:
        if os.geteuid() and f.read().strip() == "0":
            skip("userfaultfd is root's here")
