// SPDX-License-Identifier: Apache-2.0
// The cgroup of a pod's processes on the host: supervisor, bulkhead-vmm, bulkhead-fs and proxies. The vCPU threads have a
// group below it, `vcpus`, which alone is under the container's quota and cpuset: devices, file server and supervisor do
// not starve with the guest. See docs/architecture.md, "Resources on the host".
#ifndef RUNTIME_HOST_CGROUP_H
#define RUNTIME_HOST_CGROUP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct err;
struct host_cgroup;
struct host_layout;
struct oci_map;
struct oci_resources;

struct host_cgroup_plan {
	const char *id;
	const char *path; // linux.cgroupsPath; NULL: `id` beside this process's own group
	bool systemd;     // a scope of systemd; path is slice:prefix:name
	const struct oci_resources *resources; // NULL: no limits
	const struct oci_map *annotations;     // org.systemd.property.*; NULL: none
	uint64_t guest_bytes;                  // RAM of the machine; 0: there is none, only a proxy
};

// Makes the group in every hierarchy of l, with its limits, puts process pid into it, and notes in directory `record` what
// there is to remove. Where path is given, what cannot be done is an error; where not, the group is made as far as it can
// be: the limits hold inside the guest in any case. On failure nothing is left. l is borrowed until host_cgroup_free.
int host_cgroup_make(const struct host_layout *l, const struct host_cgroup_plan *plan,
		     const char *record, pid_t pid, struct host_cgroup **ret, struct err *e);
void host_cgroup_free(struct host_cgroup *c); // the groups stay

// Threads of process pid that run the guest go under its limits. What they are is its word: one that is not its own is
// refused.
int host_cgroup_add_vcpus(struct host_cgroup *c, pid_t pid, const pid_t *tids, unsigned n,
			  struct err *e);
int host_cgroup_update(struct host_cgroup *c, const struct oci_resources *res, struct err *e);
// This process goes back to where it was before host_cgroup_make put it in.
void host_cgroup_leave(struct host_cgroup *c);

// Puts a process into the group that is noted in `record`: 1. No note: 0, nothing is done.
int host_cgroup_join(const char *record, pid_t pid, struct err *e);
// Kills what is left in the group noted in `record`, and removes the group and the note. No note: 0.
int host_cgroup_discard(const char *record, struct err *e);

#endif
