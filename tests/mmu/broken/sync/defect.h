/* SPDX-License-Identifier: MIT */
/*
 * sync/defect.h of a test build of production's mmu/: the mistake that -DTEST_DEFECT names is made
 * for good. The names are those of src/explore/defects.h.
 */
#ifndef SYNC_DEFECT_H
#define SYNC_DEFECT_H

#include "explore/defects.h"

#define sync_defect(name) (DEFECT_##name == TEST_DEFECT)

#endif
