# SPDX-License-Identifier: MIT
"""What userkvm says of its own accord to a VMM, on a processor that no code can be made for."""

INTERPRETED = "userkvm: guest code is interpreted, which is slower: the processor has no BMI2, or a slow PEXT\n"


def without_told(stderr):
    return stderr.replace(INTERPRETED, "")
