// SPDX-License-Identifier: Apache-2.0
// The options of a mount, sorted by what carries them out.
#ifndef AGENT_MOUNT_OPTIONS_H
#define AGENT_MOUNT_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/mount.h>

struct err;
struct oci_mount;

enum mount_extension {
	MOUNT_BIND = 1,
	MOUNT_RBIND = 2, // with MOUNT_BIND
	MOUNT_REMOUNT = 4,
	MOUNT_COPY_UP = 8,
	MOUNT_COPY_SYMLINK = 16,
	MOUNT_SRC_NOFOLLOW = 32,
	MOUNT_DEST_NOFOLLOW = 64,
	MOUNT_IDMAP = 128,
	MOUNT_RIDMAP = 256, // with MOUNT_IDMAP
};

struct mount_options {
	unsigned ext;          // MOUNT_*
	struct mount_attr top; // of the mount itself; what neither sets nor clears stays as it is
	struct mount_attr all; // of it and all below it
	uint64_t propagation;  // MS_*, and MS_REC; 0: as it is
	bool sb_ro, sb_rw;     // the file system's own read-only flag
	char fs[4096];         // for the file system, joined by commas
};

int mount_options_parse(const struct oci_mount *m, struct mount_options *ret, struct err *e);
uint64_t mount_propagation(const char *name); // 0: not one

#endif
