// SPDX-License-Identifier: Apache-2.0
#include "runtime/share.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "base/own.h"
#include "proto/ttrpc.h"
#include "runtime/tree.h"
#include "runtime/volume.h"

enum {
	SHARE_PATH_BYTES = 8192,
	REQUEST_ROOM = 65536, // of a message to the agent, for what goes with the config
};
enum share_ro { SHARE_RW, SHARE_RO_TOP, SHARE_RO_RECURSIVE };

int share_enter(struct err *e)
{
	if (unshare(CLONE_NEWNS) < 0)
		return err_errno(e, errno, "new mount namespace");
	// Slave, not private: a private copy of every mount of the host would keep its file systems busy.
	if (mount("none", "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
		return err_errno(e, errno, "making mounts slaves");
	return 0;
}

int share_make(const char *share_dir, int *ret_fd, struct err *e)
{
	int fd;

	if (mount(share_dir, share_dir, NULL, MS_BIND, NULL) < 0)
		return err_errno(e, errno, "bind mount of %s", share_dir);
	if (mount("none", share_dir, NULL, MS_SHARED, NULL) < 0)
		return err_errno(e, errno, "making %s shared", share_dir);
	fd = open(share_dir, O_PATH | O_DIRECTORY |
				     O_CLOEXEC); // after the mount, so that it is the mount's root
	if (fd < 0)
		return err_errno(e, errno, "open %s", share_dir);
	*ret_fd = fd;
	return 0;
}

// Makes what a bind mount needs to be put on: a directory or an empty file.
static int make_target(const char *path, bool dir, struct err *e)
{
	int fd AUTO_CLOSE = -1;

	if (dir)
		return mkdir(path, 0755) < 0 && errno != EEXIST
			       ? err_errno(e, errno, "mkdir %s", path)
			       : 0;
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
	return fd < 0 ? err_errno(e, errno, "open %s", path) : 0;
}

// Made ready apart and then put in place: the copy that propagates to bulkhead-fs has the flags the mount has when it
// arrives, and no later ones. The guest is not trusted to keep a read-only volume read-only. nosuid and nodev cost nothing:
// what is executed or opened as a device, is so in the guest.
// c and m, which may be NULL: whose ids are mapped.
static int bind_mount(const char *source, const char *target, bool recursive, enum share_ro ro,
		      const struct oci_config *c, const struct oci_mount *m, struct err *e)
{
	struct mount_attr all = { .attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV };
	struct mount_attr top = { .attr_set = MOUNT_ATTR_RDONLY };
	int tree AUTO_CLOSE =
		(int)syscall(SYS_open_tree, AT_FDCWD, source,
			     OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (recursive ? AT_RECURSIVE : 0));

	if (tree < 0)
		return err_errno(e, errno, "bind mount of %s", source);
	if (ro == SHARE_RO_RECURSIVE)
		all.attr_set |= MOUNT_ATTR_RDONLY;
	if (syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &all, sizeof(all)) <
		    0 ||
	    (ro == SHARE_RO_TOP &&
	     syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &top, sizeof(top)) < 0))
		return err_errno(e, errno, "mount attributes of %s", source);
	if (m && volume_map_ids(tree, c, m, e) < 0)
		return -e->code;
	if (syscall(SYS_move_mount, tree, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return err_errno(e, errno, "mounting %s", source);
	return 0;
}

static int add_source(const char *source, const char *target, const struct oci_config *c,
		      const struct oci_mount *m, struct err *e)
{
	struct stat st;
	int r = volume_link(source, target, m, e);

	if (r != 0)
		return r < 0 ? r : 0;
	if (stat(source, &st) < 0)
		return err_errno(e, errno, "stat %s", source);
	if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
		return err_set(e, ENOTSUP, "%s is a %s of the host, which a guest cannot use",
			       source,
			       S_ISSOCK(st.st_mode)   ? "socket"
			       : S_ISFIFO(st.st_mode) ? "fifo"
						      : "device");
	r = make_target(target, S_ISDIR(st.st_mode), e);
	return r < 0 ? r
		     : bind_mount(source, target, m->rbind,
				  volume_has_option(m, "rro")  ? SHARE_RO_RECURSIVE
				  : volume_has_option(m, "ro") ? SHARE_RO_TOP
							       : SHARE_RW,
				  c, m, e);
}

static int add_mount(const char *dir, const char *guest_dir, size_t i, const char *bundle,
		     const struct oci_config *c, struct oci_rewrite_mount *rw, struct err *e)
{
	const struct oci_mount *m = &c->mounts[i];
	char source[SHARE_PATH_BYTES * 2], target[SHARE_PATH_BYTES + 32], *guest = NULL;
	int r;

	if (strcmp(m->destination, "/dev/shm") == 0) {
		rw->shm = true;
		return 0;
	}
	(void)snprintf(source, sizeof(source), "%s%s%s", m->source[0] == '/' ? "" : bundle,
		       m->source[0] == '/' ? "" : "/",
		       m->source); // both are bounded by OCI_PATH_MAX
	(void)snprintf(target, sizeof(target), "%s/mounts/%zu", dir, i); // as above
	r = add_source(source, target, c, m, e);
	if (r < 0)
		return err_wrap(e, "mounts[%zu].source", i);
	if (asprintf(&guest, "%s/mounts/%zu", guest_dir, i) < 0)
		return err_errno(e, ENOMEM, "mounts");
	rw->source = guest;
	return 0;
}

static int add_all(const char *share_dir, const char *id, const char *bundle, const char *rootfs,
		   const struct oci_config *c, struct oci_rewrite_mount *mounts, char **ret_json,
		   size_t *ret_len, struct err *e)
{
	char dir[SHARE_PATH_BYTES], path[SHARE_PATH_BYTES + 16], guest_dir[512], guest_root[600];
	struct oci_rewrite rw = { .root_path = guest_root, .mounts = mounts };
	int r;

	if (snprintf(dir, sizeof(dir), "%s/%s", share_dir, id) >= (int)sizeof(dir) - 64)
		return err_set(e, ENAMETOOLONG, "%s: path too long", share_dir);
	(void)snprintf(guest_dir, sizeof(guest_dir), SHARE_GUEST_PATH "/%s",
		       id); // an id is at most NAME_MAX
	(void)snprintf(guest_root, sizeof(guest_root), "%s/rootfs", guest_dir); // as above
	(void)snprintf(path, sizeof(path), "%s/mounts", dir);                   // checked above
	r = tree_make_dirs(path, 0755, e);
	if (r < 0)
		return r;
	(void)snprintf(path, sizeof(path), "%s/rootfs", dir); // as above
	if ((r = make_target(path, true, e)) < 0 ||
	    (r = bind_mount(rootfs, path, true, SHARE_RW, NULL, NULL, e)) < 0)
		return r;
	for (size_t i = 0; i < c->n_mounts; i++) {
		if (c->mounts[i].bind &&
		    (r = add_mount(dir, guest_dir, i, bundle, c, &mounts[i], e)) < 0)
			return r;
	}
	return oci_config_rewrite(c, &rw, ret_json, ret_len, e);
}

int share_add(const char *share_dir, const char *id, const char *bundle, const char *rootfs,
	      const struct oci_config *c, char **ret_json, size_t *ret_len, struct err *e)
{
	struct oci_rewrite_mount *mounts = calloc(c->n_mounts + 1, sizeof(*mounts));
	int r;

	if (!mounts)
		return err_errno(e, ENOMEM, "mounts");
	r = add_all(share_dir, id, bundle, rootfs, c, mounts, ret_json, ret_len, e);
	for (size_t i = 0; i < c->n_mounts; i++) {
		char *source;

		memcpy(&source, &mounts[i].source, sizeof(source)); // ours: allocated in add_mount
		free(source);
	}
	free(mounts);
	if (r == 0 && *ret_len > TTRPC_PAYLOAD_MAX - REQUEST_ROOM) {
		r = err_set(
			e, E2BIG,
			"config.json: %zu bytes as the guest gets it, more than the %d that fit into a request",
			*ret_len, TTRPC_PAYLOAD_MAX - REQUEST_ROOM);
		free(take_ptr(ret_json));
	}
	if (r < 0)
		share_remove(share_dir, id);
	return r;
}

static void unmount(const char *path)
{
	// Detached: bulkhead-fs may hold files below it. Fails where nothing is mounted.
	(void)umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW);
}

void share_remove(const char *share_dir, const char *id)
{
	char dir[SHARE_PATH_BYTES], path[SHARE_PATH_BYTES + 300];
	struct dirent *ent;
	DIR *d;

	if (snprintf(dir, sizeof(dir), "%s/%s", share_dir, id) >= (int)sizeof(dir) - 64)
		return;
	(void)snprintf(path, sizeof(path), "%s/rootfs", dir); // checked above
	unmount(path);
	(void)snprintf(path, sizeof(path), "%s/mounts", dir); // as above
	d = opendir(path);
	while (d && (ent = readdir(d))) {
		if (ent->d_name[0] == '.')
			continue;
		(void)snprintf(path, sizeof(path), "%s/mounts/%s", dir,
			       ent->d_name); // room for NAME_MAX
		unmount(path);
	}
	if (d)
		(void)closedir(d);    // read only
	(void)tree_remove(dir, NULL); // stops at mounts; the rest goes with the pod's directory
}
