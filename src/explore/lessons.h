/* SPDX-License-Identifier: MIT */
/* explore/lessons.h: five mails about KVM's guest memory, each as a mistake to be watched. */
#ifndef EXPLORE_LESSONS_H
#define EXPLORE_LESSONS_H

#include "explore/explore.h"

struct lesson {
	const char *mail;	/* subject and date */
	const char *happened;	/* in the kernel */
	const char *mistake;	/* what the defect does, in this source */
	const char *scenario;
	enum defect defect;
	const char *rule;	/* here, and where it stands */
};

/* From 1 on; NULL past the last. */
const struct lesson *explore_lesson(unsigned n);

#endif
