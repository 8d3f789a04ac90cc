// SPDX-License-Identifier: Apache-2.0
// A pod's processes as a transient scope of systemd, over the system bus ($DBUS_SYSTEM_BUS_ADDRESS). Every call has a
// deadline.
#ifndef RUNTIME_SYSTEMD_SCOPE_H
#define RUNTIME_SYSTEMD_SCOPE_H

#include <stdint.h>
#include <sys/types.h>

struct err;
struct oci_map;

enum { SYSTEMD_NAME_BYTES = 256, SYSTEMD_PATH_BYTES = 4096 };

struct systemd_scope {
	const char *unit, *slice, *id;
	pid_t pid;                                  // its first process
	uint64_t cpu_weight, memory_max, tasks_max; // 0: not set
	const struct oci_map *annotations; // those named org.systemd.property.*; NULL: none
};

// From linux.cgroupsPath "slice:prefix:name" (NULL: system.slice, and a name from id): the slice, the unit, and the path of
// its cgroup from the root. Buffers: SYSTEMD_NAME_BYTES, SYSTEMD_PATH_BYTES for the path.
int systemd_scope_names(const char *cgroups_path, const char *id, char *slice, char *unit,
			char *path, struct err *e);

// Starts it and waits until systemd has done so.
int systemd_scope_start(const struct systemd_scope *s, struct err *e);
int systemd_scope_set_weight(const char *unit, uint64_t cpu_weight, struct err *e);
// Stops it, if it is there, and has its failure forgotten.
int systemd_scope_stop(const char *unit, struct err *e);

#endif
