/* SPDX-License-Identifier: MIT */
/* sync/defect.h (explorer's build): one defect can be switched on for an execution. */
#ifndef SYNC_DEFECT_H
#define SYNC_DEFECT_H

#include "explore/defects.h"

#define sync_defect(name) (sync_defect_on == DEFECT_##name)

#endif
