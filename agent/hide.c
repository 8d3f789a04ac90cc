// SPDX-License-Identifier: Apache-2.0
// linux.maskedPaths and linux.readonlyPaths, in the container's root: links there lead nowhere else.
#include "agent/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/err.h"
#include "base/own.h"
#include "oci/oci.h"

static bool missing(void)
{
	return errno == ENOENT || errno == ENOTDIR;
}

// The image may have made /dev/null something else, and what is masked would be that.
static int open_null(struct err *e)
{
	int fd AUTO_CLOSE = open_tree(AT_FDCWD, "/dev/null",
				      OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_errno(e, errno, "/dev/null");
	if (!S_ISCHR(st.st_mode) || st.st_rdev != makedev(1, 3))
		return err_set(e, EINVAL, "/dev/null: not the null device");
	return take_fd(&fd);
}

static int put(int fd, int at, const char *path, const char *field, struct err *e)
{
	return move_mount(fd, "", at, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0
		       ? err_errno(e, errno, "%s: %s", field, path)
		       : 0;
}

static int mask(const char *path, struct err *e)
{
	int at AUTO_CLOSE = open(path, O_PATH | O_CLOEXEC), fd AUTO_CLOSE = -1;
	struct stat st;

	if (at < 0 && missing())
		return 0;
	if (at < 0 || fstat(at, &st) < 0)
		return err_errno(e, errno, "linux.maskedPaths: %s", path);
	fd = S_ISDIR(st.st_mode) ? filesystem_mount("tmpfs", "tmpfs", "ro,nr_blocks=1,nr_inodes=1",
						    MOUNT_ATTR_RDONLY, e)
				 : open_null(e);
	return fd < 0 ? err_wrap(e, "linux.maskedPaths: %s", path)
		      : put(fd, at, path, "linux.maskedPaths", e);
}

static int readonly(const char *path, struct err *e)
{
	int at AUTO_CLOSE = open(path, O_PATH | O_CLOEXEC), fd AUTO_CLOSE = -1;
	struct mount_attr ro = { .attr_set = MOUNT_ATTR_RDONLY };

	if (at < 0)
		return missing() ? 0 : err_errno(e, errno, "linux.readonlyPaths: %s", path);
	fd = open_tree(at, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE);
	if (fd < 0 || mount_setattr(fd, "", AT_EMPTY_PATH, &ro, sizeof(ro)) < 0)
		return err_errno(e, errno, "linux.readonlyPaths: %s", path);
	return put(fd, at, path, "linux.readonlyPaths", e);
}

int paths_hide(const struct oci_linux *l, struct err *e)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < l->readonly_paths.n; i++)
		r = readonly(l->readonly_paths.v[i], e);
	for (size_t i = 0; r == 0 && i < l->masked_paths.n; i++)
		r = mask(l->masked_paths.v[i], e);
	return r;
}
