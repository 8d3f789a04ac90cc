// SPDX-License-Identifier: Apache-2.0
// Namespaces that the containers of a pod share.
#ifndef AGENT_SHARED_H
#define AGENT_SHARED_H

#include <sys/types.h>

#include "proto/agent.pb-c.h"

struct container;
struct err;

// Finds the containers whose namespaces the new one gets: c->shared, for shared_clone right afterwards.
int shared_take(struct container *c, const Agent__CreateRequest *req, struct err *e);
// Forks a child into those and into the new ones that the config asks for, and `flags`. Returns as fork does, or -errno.
pid_t shared_clone(const struct container *c, int flags, struct err *e);

#endif
