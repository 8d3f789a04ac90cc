// SPDX-License-Identifier: Apache-2.0
// One run of `bulkhead` by the shim, on the loop.
#ifndef SHIM_JOB_H
#define SHIM_JOB_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct err;
struct shim;
struct shim_task;

// error is what it has logged, for a person; NULL: it has succeeded.
typedef void job_done_fn(struct shim *s, unsigned long long serial, const char *error);

struct job_request {
	const char *const *args; // from the verb on, NULL-terminated
	const int *stdio;        // three descriptors; NULL: none
	const void *input;       // what it can read at /proc/self/fd/4, or NULL
	size_t input_len;
	job_done_fn *done;
	unsigned long long serial; // for done
};

// t: whose --root and other options.
int job_start(struct shim *s, const struct shim_task *t, const struct job_request *q,
	      struct err *e);
// A child has ended. False: it was none of ours.
bool job_ended(struct shim *s, pid_t pid, int status);
void job_free_all(struct shim *s); // they run on

#endif
