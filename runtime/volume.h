// SPDX-License-Identifier: Apache-2.0
// What a volume is besides a bind mount: ids of its files mapped, or a symbolic link that is not followed.
#ifndef RUNTIME_VOLUME_H
#define RUNTIME_VOLUME_H

#include <stdbool.h>

struct err;
struct oci_config;
struct oci_mount;

bool volume_has_option(const struct oci_mount *m, const char *name);
// Maps the ids of a tree that open_tree has cloned and nobody sees yet, if the mount asks for it. The kernel does it for
// the file server as for everybody: the guest's files have the mapped ids, the host's the others.
int volume_map_ids(int tree, const struct oci_config *c, const struct oci_mount *m, struct err *e);
// Copies the link at source to target when the mount is of the link itself: 1; else 0.
int volume_link(const char *source, const char *target, const struct oci_mount *m, struct err *e);

#endif
