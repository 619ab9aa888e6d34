# SPDX-License-Identifier: MIT
"""Text beside an expected one: of a line that is expected, `*` stands for anything, and a line `...` for any lines.

Addresses of the host and ids of processes are not part of it: write `*`.
"""
import re
import sys


def matches(pattern, line):
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), line) is not None


def same(text, expected, what):
    """`expected`: lines. Ends the test with the first line that differs."""
    lines, at, skip = text.splitlines(), 0, False
    for pattern in expected:
        if pattern == "...":
            skip = True
            continue
        while skip and at < len(lines) and not matches(pattern, lines[at]):
            at += 1
        got = lines[at] if at < len(lines) else "the end"
        if at >= len(lines) or not matches(pattern, got):
            sys.exit(f"FAILED: {what}: expected\n  {pattern}\nand there is\n  {got}\nin\n{text}")
        at, skip = at + 1, False
    if at < len(lines) and not skip:
        sys.exit(f"FAILED: {what}: more than expected: {lines[at]}")


def parts(path):
    """A file of several texts, each behind a line `== name`."""
    found, name = {}, None
    with open(path, encoding="utf-8") as f:
        for line in f.read().splitlines():
            if line.startswith("== "):
                name = line[3:]
                found[name] = []
            elif name:
                found[name].append(line)
    return found
