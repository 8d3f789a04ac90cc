// SPDX-License-Identifier: Apache-2.0
// A container's mounts. Each is made apart, gets its attributes, and is then put on a directory that is held open: nothing
// is looked up a second time, so no one who changes the root's links meanwhile decides where it lands.
#ifndef AGENT_MOUNTS_H
#define AGENT_MOUNTS_H

#include <stdbool.h>
#include <stddef.h>

struct err;
struct oci_config;
struct oci_linux;
struct userns_aid;

// What bind mounts show, by the index of the mount; -1: it is no bind mount.
struct mount_sources {
	int *fd; // owned
	size_t n;
};

// Before the process becomes the container's root, which may not be let into the guest's directories.
int mounts_open(const struct oci_config *c, struct mount_sources *ret, struct err *e);
void mounts_close(struct mount_sources *s);
// root is an O_PATH descriptor of the new root, before pivot_root.
int mounts_make(int root, const struct oci_config *c, const struct mount_sources *s,
		const struct userns_aid *aid, struct err *e);
int mounts_finish(const struct oci_config *c, struct err *e); // after pivot_root: masked, read-only

bool mounts_group_writable(
	const struct oci_config *c); // there is a cgroup mount, and not read-only
int paths_hide(const struct oci_linux *l, struct err *e); // hide.c

// copyup.c: all below one directory into another, which is empty.
int mounts_copy_up(int from, int to, const char *destination, struct err *e);
// filesystem.c: a new mount of a file system, not attached yet. data is joined by commas.
int filesystem_mount(const char *type, const char *source, const char *data, unsigned flags,
		     struct err *e);
int filesystem_change(int at, const char *data, struct err *e); // of what is mounted there

#endif
