// SPDX-License-Identifier: Apache-2.0
// The user and time namespaces of a container, and its names. A container with a user namespace has no rights over the
// guest: what takes some, the agent gives it on its way.
#ifndef AGENT_NAMESPACES_H
#define AGENT_NAMESPACES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct err;
struct oci_config;
struct oci_linux;
struct oci_process;

// Mounts that are not attached yet, of a container with a user namespace; -1 both without one. All device nodes by number
// (devices.c), because mknod is refused there; and the guest's /sys.
struct userns_aid {
	int nodes, sysfs;
};
int userns_aid_make(const struct oci_config *c, struct userns_aid *ret, struct err *e);
void userns_aid_close(struct userns_aid *aid);

// From the agent, to a process that is in its new user namespace. Without one they do nothing.
int userns_write_maps(const struct oci_linux *l, pid_t pid, struct err *e);
// The guest's id of a container's; the id itself without a user namespace.
int userns_uid(const struct oci_linux *l, uint32_t uid, uint32_t *ret, const char *field,
	       struct err *e);
int userns_gid(const struct oci_linux *l, uint32_t gid, uint32_t *ret, const char *field,
	       struct err *e);

// In the process: its ids become the container root's.
int child_container_root(const struct oci_linux *l, struct err *e);
int child_time(const struct oci_linux *l, struct err *e);   // a time namespace with its offsets
int child_names(const struct oci_config *c, struct err *e); // hostname and domainname
// sysctl.c: those of the ipc namespace are its root's to write, the others the guest's root's.
int child_sysctls(const struct oci_linux *l, bool ipc, struct err *e);

#endif
