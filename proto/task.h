// SPDX-License-Identifier: Apache-2.0
// What everyone who speaks the Task service needs beside its messages.
#ifndef PROTO_TASK_H
#define PROTO_TASK_H

#include <time.h>

#include "proto/task.pb-c.h"

#define TASK_SERVICE "containerd.task.v2.Task"

static inline void task_timestamp(Task__Timestamp *ret, const struct timespec *at)
{
	task__timestamp__init(ret);
	ret->seconds = at->tv_sec;
	ret->nanos = (int32_t)at->tv_nsec;
}

#endif
