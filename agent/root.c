// SPDX-License-Identifier: Apache-2.0
// The container's root: its mounts and devices, then pivot_root.
#include "agent/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/mounts.h"
#include "agent/namespaces.h"
#include "base/err.h"
#include "base/own.h"
#include "oci/oci.h"

#define NODES_PLACE "/tmp" // of the guest; gone with its root

// The root as a mount of its own, which pivot_root needs. Opened before the process gives the guest's root's ids away.
static int mount_root(const struct oci_config *c, struct err *e)
{
	int root AUTO_CLOSE = -1;

	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return err_errno(e, errno, "making mounts private");
	root = open_tree(AT_FDCWD, c->root.path,
			 OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
	if (root < 0 || move_mount(root, "", AT_FDCWD, c->root.path, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return err_errno(e, errno, "root.path: %s", c->root.path);
	return take_fd(&root);
}

// Where root is shut out, the user may not be: that is seen later.
static int make_cwd(int root, const char *cwd, struct err *e)
{
	int fd AUTO_CLOSE = rootfs_open(root, cwd, ROOTFS_DIR, e);

	return fd < 0 && fd != -EACCES ? err_wrap(e, "process.cwd") : 0;
}

static int fill(int root, const struct oci_config *c, const struct mount_sources *s,
		const struct userns_aid *aid, struct err *e)
{
	int nodes AUTO_CLOSE = -1, r = mounts_make(root, c, s, aid, e);

	if (r < 0)
		return r;
	if (aid->nodes >= 0) {
		if (move_mount(aid->nodes, "", AT_FDCWD, NODES_PLACE, MOVE_MOUNT_F_EMPTY_PATH) < 0)
			return err_errno(e, errno, "linux.devices: " NODES_PLACE);
		nodes = open(NODES_PLACE, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (nodes < 0)
			return err_errno(e, errno, "linux.devices: " NODES_PLACE);
	}
	r = devices_make(root, nodes, c, e);
	return r < 0 ? r : make_cwd(root, c->process.cwd, e);
}

static int pivot(int root, struct err *e)
{
	if (fchdir(root) < 0 || syscall(SYS_pivot_root, ".", ".") < 0)
		return err_errno(e, errno, "pivot_root");
	// The old root lies over the new one: it is what "." now names.
	if (umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		return err_errno(e, errno, "leaving the old root");
	return 0;
}

int child_root(const struct oci_config *c, const struct userns_aid *aid, struct err *e)
{
	struct mount_sources sources = { 0 };
	int root AUTO_CLOSE = mount_root(c, e);
	int r = root < 0 ? root : mounts_open(c, &sources, e);

	r = r < 0 ? r : child_container_root(&c->lin, e);
	r = r < 0 ? r : child_sysctls(&c->lin, true, e);
	r = r < 0 ? r : fill(root, c, &sources, aid, e);
	mounts_close(&sources);
	return r < 0 ? r : pivot(root, e);
}

int child_root_finish(const struct oci_config *c, int *ret_master, struct err *e)
{
	// /dev/console can only be made while the root is still writable.
	if (c->process.terminal) {
		*ret_master = child_terminal(&c->process, true, e);
		if (*ret_master < 0)
			return *ret_master;
	}
	return mounts_finish(c, e);
}
