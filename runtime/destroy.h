// SPDX-License-Identifier: Apache-2.0
// The end of a container and its pod, whatever is left of them.
#ifndef RUNTIME_DESTROY_H
#define RUNTIME_DESTROY_H

#include <stdbool.h>

struct err;

// Without force only a container that is created or stopped. force: kills it first; an id that is not there is fine.
// Afterwards no process, mount, socket or directory of it exists.
int destroy_container(const char *root, const char *id, bool force, struct err *e);

#endif
