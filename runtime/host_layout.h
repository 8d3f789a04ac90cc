// SPDX-License-Identifier: Apache-2.0
// The cgroup hierarchies of the host as this process sees them: v2 alone, v1 (a hierarchy for each controller, or for a
// few), or both at once ("hybrid").
#ifndef RUNTIME_HOST_LAYOUT_H
#define RUNTIME_HOST_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>

struct err;

enum { HOST_HIERARCHIES_MAX = 24, HOST_PATH_BYTES = 4096, HOST_CONTROLLERS_BYTES = 256 };

struct host_hierarchy {
	char *mount; // where it is mounted
	char *own;   // the directory there of this process's group
	char controllers
		[HOST_CONTROLLERS_BYTES]; // "cpu,cpuacct", "name=systemd"; "" for a v2 that has none
	bool v2;
};
struct host_layout {
	struct host_hierarchy v[HOST_HIERARCHIES_MAX];
	unsigned n;
};

// From texts in the form of /proc/self/mountinfo and /proc/self/cgroup; NULL: those files. Nothing mounted is no error.
// ret: host_layout_done, also after a failure.
int host_layout_read(const char *mountinfo, const char *cgroup, struct host_layout *ret,
		     struct err *e);
void host_layout_done(struct host_layout *l);

const char *host_layout_name(const struct host_layout *l); // "v1", "v2", "hybrid" or "none"
bool host_hierarchy_has(const struct host_hierarchy *h, const char *controller);

#endif
