// SPDX-License-Identifier: Apache-2.0
// The processes of a group as /proc shows them.
#ifndef AGENT_PROCS_H
#define AGENT_PROCS_H

#include <stddef.h>

#include "proto/agent.pb-c.h"

struct cgroup;
struct err;

enum { PROCS_MAX = 8192, PROCS_COMMAND_BYTES = 256 };

struct procs {
	Agent__PidsResponse__Process **v;
	size_t n;
};

// *ret is filled for procs_done also on failure. exec_id stays empty.
int procs_read(const struct cgroup *g, struct procs *ret, struct err *e);
void procs_done(struct procs *p);

#endif
