// SPDX-License-Identifier: Apache-2.0
// Where the host processes of a container go: from its config.json and the options, to a host cgroup.
#ifndef RUNTIME_HOST_PLACE_H
#define RUNTIME_HOST_PLACE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "runtime/host_layout.h"

struct err;
struct host_cgroup;

struct host_place {
	struct host_layout layout;
	struct host_cgroup *cgroup; // NULL: none
};

struct host_place_request {
	const char *manager; // as --cgroup-manager
	const char *bundle, *id;
	const char *record;   // the directory where it is noted: of the pod, or of a member of one
	uint64_t guest_bytes; // 0: the pod is another's, only a proxy is placed
	pid_t pid;
};

bool host_place_manager_known(const char *manager);

// Makes the group and puts pid into it. ret: host_place_done, also after a failure; the group stays.
int host_place_make(const struct host_place_request *q, struct host_place *ret, struct err *e);
void host_place_done(struct host_place *p);

// The proxy q->pid of a container in another's pod: to that container's cgroupsPath, or without one to the pod's group.
// q->record is not used.
int host_place_member(const struct host_place_request *q, const char *root, const char *pod,
		      struct err *e);
// Puts a proxy where its container's processes are.
int host_place_join(const char *root, const char *id, const char *pod, pid_t pid, struct err *e);

#endif
