// SPDX-License-Identifier: Apache-2.0
// The inside of a host cgroup: host_cgroup.c (making and entering it), host_cgroup_limits.c, host_cgroup_remove.c (what is
// noted on disk, and the end).
#ifndef RUNTIME_HOST_CGROUP_PRIV_H
#define RUNTIME_HOST_CGROUP_PRIV_H

#include "runtime/host_cgroup.h"
#include "runtime/host_layout.h"

enum { HOST_UNIT_BYTES = 256 };
#define HOST_CGROUP_VCPUS "vcpus"

struct host_group {
	const struct host_hierarchy *h;
	char dir[HOST_PATH_BYTES];
	bool made;  // by us: is removed when something else fails
	bool vcpus; // has the group of the vCPU threads
};
struct host_cgroup {
	bool required; // what cannot be done is an error
	bool machine;  // has vCPU threads
	uint64_t guest_bytes;
	int64_t cpu_quota; // as it is now; -1: none
	uint64_t cpu_period;
	char unit[HOST_UNIT_BYTES]; // systemd's; "" if it is not systemd's
	struct host_group v[HOST_HIERARCHIES_MAX];
	unsigned n;
};

// dir/file, where dir is a path; -errno.
int host_cgroup_put(const char *dir, const char *file, const char *text);
int host_cgroup_put_number(const char *dir, const char *file, long long n);

// The limits of res as far as it sets them. first: those that a new group gets whatever res says, too.
int host_cgroup_limit(struct host_cgroup *c, const struct oci_resources *res, bool first,
		      struct err *e);

// What a scope of systemd is given in place of files; 0: nothing.
struct host_cgroup_scope_limits {
	uint64_t cpu_weight, memory_max, tasks_max;
};
void host_cgroup_scope_limits(const struct host_cgroup *c, const struct oci_resources *res,
			      struct host_cgroup_scope_limits *ret);

int host_cgroup_note(const struct host_cgroup *c, const char *record, struct err *e);
// Kills what is in dir and below it, save this process, and removes them; waits for a bounded time.
int host_cgroup_remove_dir(const char *dir, struct err *e);

#endif
