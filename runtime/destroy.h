// SPDX-License-Identifier: Apache-2.0
// The end of a container, and of its pod with its last one, whatever is left of them.
#ifndef RUNTIME_DESTROY_H
#define RUNTIME_DESTROY_H

#include <stdbool.h>

struct client;
struct err;

// Without force only a container that is created or stopped. force: kills it first; an id that is not there is fine.
// Afterwards no process, mount, socket or directory of it exists.
int destroy_container(const char *root, const char *id, bool force, struct err *e);

// Kills a container that its supervisor knows, and has it forgotten there; failures are not told.
void destroy_in_pod(struct client *c, const char *id);

#endif
