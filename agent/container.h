// SPDX-License-Identifier: Apache-2.0
// One container of the guest: its first process, and those that Exec has added.
#ifndef AGENT_CONTAINER_H
#define AGENT_CONTAINER_H

#include <stdbool.h>

#include "agent/process.h"
#include "oci/oci.h"

struct cgroup;

enum { CONTAINER_EXECS_MAX = 256 };

struct container {
	struct agent *a;
	struct container *next;
	char *id;
	char *bundle; // owned; its path on the host
	struct oci_config *config;
	struct process init; // its state is the container's
	struct process *execs;
	struct cgroup *cgroup; // owned; NULL: none
	struct container
		*shared[OCI_NS_KINDS]; // whose namespaces it gets; only while it is created
	bool removing;                 // its group ends
};

struct container *container_find(struct agent *a, const char *id);
// An empty exec_id is the first process; NULL when there is no such.
struct process *container_process(struct container *c, const char *exec_id);
void container_remove_exec(struct process *p); // frees it

#endif
