// SPDX-License-Identifier: Apache-2.0
// --timings: where the time of a run went, as a table on standard error. This process and the supervisor both set marks;
// the supervisor's come over a pipe as lines "NANOSECONDS NAME".
#ifndef RUNTIME_TIMINGS_H
#define RUNTIME_TIMINGS_H

#include <stdint.h>

struct err;
struct timings;

int timings_new(struct timings **ret_timings, int *ret_supervisor_fd,
		struct err *e);                         // the descriptor is the timings'
void timings_mark(struct timings *t, const char *name); // NULL is accepted
// Reads what the supervisor has written, sorts by time, prints. The supervisor has ended.
void timings_print(struct timings *t);
void timings_free(struct timings *t);

#endif
