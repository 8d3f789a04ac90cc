// SPDX-License-Identifier: Apache-2.0
// What a pod's guest can see of the host: the share directory of bulkhead-fs. Root file systems and volumes are bind
// mounted into it, in a mount namespace of the supervisor's own, so that they vanish with its last process.
#ifndef RUNTIME_SHARE_H
#define RUNTIME_SHARE_H

#include "oci/oci.h"

#define SHARE_GUEST_PATH "/run/bulkhead/share" // where the agent mounts the share

// Leaves the caller's mount namespace; what is mounted from here on stays below. Unmounts elsewhere still arrive.
int share_enter(struct err *e);
// Makes share_dir a mount of its own, shared so that bulkhead-fs sees what is bound below it later. *ret_fd is its root.
int share_make(const char *share_dir, int *ret_fd, struct err *e);

// Binds the root file system of container `id` and the sources of its bind mounts below share_dir, and writes
// config.json for the guest. bundle and rootfs are absolute. *ret_json is the caller's.
int share_add(const char *share_dir, const char *id, const char *bundle, const char *rootfs,
	      const struct oci_config *c, char **ret_json, size_t *ret_len, struct err *e);
// Undoes share_add, also of half of it. What cannot be undone is left to the end of the namespace.
void share_remove(const char *share_dir, const char *id);

#endif
