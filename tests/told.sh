# SPDX-License-Identifier: MIT
# To be sourced. On a processor that no code can be made for, userkvm says so once to each process that runs a guest.
# That is no part of what the process says itself.
told_interpreted='userkvm: guest code is interpreted, which is slower: the processor has no BMI2, or a slow PEXT'

# The input without it. A line that a process had begun before goes on after it.
without_told()
{
	sed -z "s/$told_interpreted\n//g"
}
