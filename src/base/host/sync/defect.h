/* SPDX-License-Identifier: MIT */
/*
 * sync/defect.h (production build): mistakes that history has made, and that the explorer's build
 * can switch on to prove that it would find them. Here none can be: the test is a constant and
 * its branch is not compiled.
 */
#ifndef SYNC_DEFECT_H
#define SYNC_DEFECT_H

#define sync_defect(name) 0

#endif
