// SPDX-License-Identifier: Apache-2.0
// A container's root file system as containerd describes it: mounts, one over the other.
#ifndef SHIM_ROOTFS_H
#define SHIM_ROOTFS_H

#include <stddef.h>

struct err;
struct Task__Mount;

// Mounts them at DIR, or below it where they have a target. On failure nothing is left.
int rootfs_mount(struct Task__Mount *const *mounts, size_t n, const char *dir, struct err *e);
// All that is mounted there; nothing is fine.
void rootfs_unmount(const char *dir);

#endif
