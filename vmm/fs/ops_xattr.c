// SPDX-License-Identifier: Apache-2.0
// Extended attributes: the user's own, and file capabilities. The rest would mean something to the host and not to the
// guest (labels, ACLs, overlay marks) and is answered with EOPNOTSUPP, and not listed.
#include "vmm/fs/fs_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/own.h"

enum { XATTR_NAME_LEN_MAX = 255 };

static bool xattr_allowed(const char *name)
{
	return strncmp(name, "user.", 5) == 0 || strcmp(name, "security.capability") == 0;
}

static int xattr_name(struct fs_req *r, const char **ret_name)
{
	int err = fs_req_string(r, XATTR_NAME_LEN_MAX + 1, ret_name);

	if (err < 0)
		return err == -ENAMETOOLONG ? -ERANGE : err;
	return xattr_allowed(*ret_name) ? 0 : -EOPNOTSUPP;
}

// Attributes cannot be reached through an O_PATH descriptor. Regular files and directories are opened; links and special
// files, which must not be, have neither user attributes nor capabilities.
static int xattr_open(struct fs_req *r)
{
	struct fs_inode *i = fs_inode_get(r->s, r->hdr.nodeid);
	int dirfd, fd, err;

	if (!i)
		return -ESTALE;
	if (i->type == S_IFREG)
		return fs_reopen(r->s, i, O_RDONLY);
	if (i->type != S_IFDIR)
		return -EOPNOTSUPP;
	err = fs_fd_make_room(r->s);
	if (err < 0)
		return err;
	dirfd = fs_inode_fd(r->s, i);
	if (dirfd < 0)
		return dirfd;
	fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int fs_op_setxattr(struct fs_req *r)
{
	// Without FUSE_SETXATTR_EXT the arguments are the first two fields.
	const struct fuse_setxattr_in *in = fs_req_arg(r, FUSE_COMPAT_SETXATTR_IN_SIZE);
	const char *name, *value;
	int fd AUTO_CLOSE = -1;
	int err;

	if (!in)
		return -EINVAL;
	err = xattr_name(r, &name);
	if (err < 0)
		return err;
	if (in->size > FS_XATTR_MAX)
		return -E2BIG;
	value = fs_req_arg(r, in->size);
	if (!value || (in->flags & ~(uint32_t)(XATTR_CREATE | XATTR_REPLACE)))
		return -EINVAL;
	fd = xattr_open(r);
	if (fd < 0)
		return fd;
	return fsetxattr(fd, name, value, in->size, (int)in->flags) < 0 ? -errno : 0;
}

// A value or list of n bytes, or only its length if the guest asked for that.
static int xattr_reply(struct fs_req *r, uint32_t size, const void *data, size_t n)
{
	struct fuse_getxattr_out out = { .size = (uint32_t)n };

	if (size == 0)
		return fs_req_reply(r, &out, sizeof(out));
	return n > size ? -ERANGE : fs_req_reply(r, data, n);
}

int fs_op_getxattr(struct fs_req *r)
{
	const struct fuse_getxattr_in *in = fs_req_arg(r, sizeof(*in));
	int fd AUTO_CLOSE = -1;
	const char *name;
	ssize_t n;
	int err;

	if (!in)
		return -EINVAL;
	err = xattr_name(r, &name);
	if (err < 0)
		return err;
	fd = xattr_open(r);
	if (fd < 0)
		return fd == -EOPNOTSUPP ? -ENODATA : fd;
	n = fgetxattr(fd, name, r->s->scratch, FS_XATTR_MAX);
	return n < 0 ? -errno : xattr_reply(r, in->size, r->s->scratch, (size_t)n);
}

int fs_op_listxattr(struct fs_req *r)
{
	const struct fuse_getxattr_in *in = fs_req_arg(r, sizeof(*in));
	char *list = (char *)r->s->scratch;
	int fd AUTO_CLOSE = -1;
	size_t kept = 0;
	ssize_t n;

	if (!in)
		return -EINVAL;
	fd = xattr_open(r);
	if (fd == -EOPNOTSUPP)
		return xattr_reply(r, in->size, list, 0);
	if (fd < 0)
		return fd;
	n = flistxattr(fd, list, FS_XATTR_MAX);
	if (n < 0)
		return -errno;
	for (ssize_t at = 0; at < n;) { // the host ends each name with a NUL
		size_t len = strlen(list + at) + 1;

		if (xattr_allowed(list + at)) {
			memmove(list + kept, list + at, len);
			kept += len;
		}
		at += (ssize_t)len;
	}
	return xattr_reply(r, in->size, list, kept);
}

int fs_op_removexattr(struct fs_req *r)
{
	int fd AUTO_CLOSE = -1;
	const char *name;
	int err = xattr_name(r, &name);

	if (err < 0)
		return err;
	fd = xattr_open(r);
	if (fd < 0)
		return fd;
	return fremovexattr(fd, name) < 0 ? -errno : 0;
}
