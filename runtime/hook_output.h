// SPDX-License-Identifier: Apache-2.0
// What a hook prints on one of its streams: a pipe that is always read, of which the end is kept.
#ifndef RUNTIME_HOOK_OUTPUT_H
#define RUNTIME_HOOK_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>

enum { HOOK_OUTPUT_BYTES = 300 }; // for the error

struct hook_output {
	int fd, child_fd; // our end, which does not block, and the hook's
	size_t len;
	char text[HOOK_OUTPUT_BYTES + 1];
};

// 0, or -errno with both ends -1.
int hook_output_init(struct hook_output *o);

// In the parent, after fork: the hook's end is not ours.
void hook_output_forked(struct hook_output *o);

// Some of what is there; false at its end. Bounded: one that prints without pause does not hold its reader.
bool hook_output_read(struct hook_output *o);

// Reads what is still in the pipe. The last bytes of what was printed, without the newlines at their end.
const char *hook_output_text(struct hook_output *o);

void hook_output_done(struct hook_output *o);

#endif
