// SPDX-License-Identifier: Apache-2.0
// Operations that change the tree: making, removing, renaming and linking names. What is made belongs to the guest's
// process from the first moment on (file system ids, with the host's rules for set-gid directories).
#include "vmm/fs/fs_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/own.h"

enum tree_kind { TREE_NODE, TREE_DIR, TREE_SYMLINK };

struct tree_make {
	enum tree_kind kind;
	uint32_t mode;
	dev_t dev;
	const char *target;
};

// Makes parent/name and answers with its entry.
static int tree_make(struct fs_req *r, const char *name, const struct tree_make *m)
{
	struct fs_inode *parent = fs_inode_get(r->s, r->hdr.nodeid);
	int dirfd, rc, err;

	if (!parent)
		return -ESTALE;
	if (r->room < sizeof(struct fuse_entry_out))
		return -EINVAL; // before anything is made
	dirfd = fs_inode_fd(r->s, parent);
	if (dirfd < 0)
		return dirfd;
	err = fs_cred_enter(&r->s->cred, r->hdr.uid, r->hdr.gid);
	if (err < 0)
		return err;
	if (m->kind == TREE_DIR)
		rc = mkdirat(dirfd, name, m->mode & 07777);
	else if (m->kind == TREE_SYMLINK)
		rc = symlinkat(m->target, dirfd, name);
	else
		rc = mknodat(dirfd, name, m->mode & (S_IFMT | 07777), m->dev);
	err = rc < 0 ? -errno : 0;
	fs_cred_leave(&r->s->cred);
	return err < 0 ? err : fs_reply_entry(r, parent, name);
}

int fs_op_mknod(struct fs_req *r)
{
	const struct fuse_mknod_in *in = fs_req_arg(r, sizeof(*in));
	struct tree_make m = { .kind = TREE_NODE };
	const char *name;
	int err;

	if (!in)
		return -EINVAL;
	err = fs_req_name(r, &name);
	if (err < 0)
		return err;
	m.mode = in->mode;
	switch (in->mode & S_IFMT) {
	case S_IFREG:
	case S_IFIFO:
	case S_IFSOCK:
		break;
	case S_IFCHR:
	case S_IFBLK:
		// The kernel's 32-bit form. The node is a name for the guest's own device; the server never opens it.
		m.dev = makedev((in->rdev & 0xfff00) >> 8,
				(in->rdev & 0xff) | ((in->rdev >> 12) & 0xfff00));
		break;
	default:
		return -EINVAL;
	}
	return tree_make(r, name, &m);
}

int fs_op_mkdir(struct fs_req *r)
{
	const struct fuse_mkdir_in *in = fs_req_arg(r, sizeof(*in));
	struct tree_make m = { .kind = TREE_DIR };
	const char *name;
	int err;

	if (!in)
		return -EINVAL;
	err = fs_req_name(r, &name);
	if (err < 0)
		return err;
	m.mode = in->mode;
	return tree_make(r, name, &m);
}

int fs_op_symlink(struct fs_req *r)
{
	struct tree_make m = { .kind = TREE_SYMLINK };
	const char *name;
	int err = fs_req_name(r, &name);

	if (err == 0)
		err = fs_req_string(r, PATH_MAX, &m.target);
	return err < 0 ? err : tree_make(r, name, &m);
}

static int tree_remove(struct fs_req *r, int flags)
{
	struct fs_inode *parent = fs_inode_get(r->s, r->hdr.nodeid);
	const char *name;
	int dirfd, err = fs_req_name(r, &name);

	if (err < 0)
		return err;
	if (!parent)
		return -ESTALE;
	fs_inode_pin_name(r->s, parent, name);
	dirfd = fs_inode_fd(r->s, parent);
	if (dirfd < 0)
		return dirfd;
	return unlinkat(dirfd, name, flags) < 0 ? -errno : 0;
}

int fs_op_unlink(struct fs_req *r)
{
	return tree_remove(r, 0);
}

int fs_op_rmdir(struct fs_req *r)
{
	return tree_remove(r, AT_REMOVEDIR);
}

static int tree_rename(struct fs_req *r, uint64_t newdir, uint32_t flags)
{
	struct fs_inode *from = fs_inode_get(r->s, r->hdr.nodeid), *to = fs_inode_get(r->s, newdir);
	const char *oldname, *newname;
	int fromfd, tofd, err = fs_req_name(r, &oldname);

	if (err == 0)
		err = fs_req_name(r, &newname);
	if (err < 0)
		return err;
	if (!from || !to)
		return -ESTALE;
	if (flags & ~(uint32_t)(RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT))
		return -EINVAL;
	if (!(flags & (RENAME_NOREPLACE | RENAME_EXCHANGE)))
		fs_inode_pin_name(r->s, to, newname); // what is there loses its name
	// The second call cannot push the first one's descriptor out: fs_inode_fd.
	fromfd = fs_inode_fd(r->s, from);
	tofd = fs_inode_fd(r->s, to);
	if (fromfd < 0 || tofd < 0)
		return fromfd < 0 ? fromfd : tofd;
	if (renameat2(fromfd, oldname, tofd, newname, flags) < 0)
		return -errno;
	fs_inode_moved(r->s, to, newname);
	if (flags & RENAME_EXCHANGE)
		fs_inode_moved(r->s, from, oldname);
	return 0;
}

int fs_op_rename(struct fs_req *r)
{
	const struct fuse_rename_in *in = fs_req_arg(r, sizeof(*in));

	return in ? tree_rename(r, in->newdir, 0) : -EINVAL;
}

int fs_op_rename2(struct fs_req *r)
{
	const struct fuse_rename2_in *in = fs_req_arg(r, sizeof(*in));

	return in ? tree_rename(r, in->newdir, in->flags) : -EINVAL;
}

int fs_op_link(struct fs_req *r)
{
	const struct fuse_link_in *in = fs_req_arg(r, sizeof(*in));
	struct fs_inode *parent = fs_inode_get(r->s, r->hdr.nodeid), *i;
	const char *name;
	int fd, dirfd, err;

	if (!in)
		return -EINVAL;
	err = fs_req_name(r, &name);
	if (err < 0)
		return err;
	i = fs_inode_get(r->s, in->oldnodeid);
	if (!parent || !i)
		return -ESTALE;
	if (i->type == S_IFDIR)
		return -EPERM;
	if (r->room < sizeof(struct fuse_entry_out))
		return -EINVAL;
	fd = fs_inode_fd(r->s, i);
	dirfd = fs_inode_fd(r->s, parent);
	if (fd < 0 || dirfd < 0)
		return fd < 0 ? fd : dirfd;
	// By /proc/self/fd, since AT_EMPTY_PATH needs CAP_DAC_READ_SEARCH; that link leads to the file itself, also if
	// it is a symbolic link.
	if (linkat(r->s->proc_fd, fs_fd_name(fd).text, dirfd, name, AT_SYMLINK_FOLLOW) < 0)
		return -errno;
	return fs_reply_entry(r, parent, name);
}

// ---- CREATE: make and open at once

struct create_out { // as the protocol has it
	struct fuse_entry_out entry;
	struct fuse_open_out open;
};

// A new regular file, open; -EEXIST if the name is taken by anything, also a link that leads nowhere.
static int create_new(struct fs_req *r, struct fs_inode *parent, const char *name, int flags,
		      uint32_t mode)
{
	int dirfd, fd, err = fs_fd_make_room(r->s);

	if (err < 0)
		return err;
	dirfd = fs_inode_fd(r->s, parent);
	if (dirfd < 0)
		return dirfd;
	err = fs_cred_enter(&r->s->cred, r->hdr.uid, r->hdr.gid);
	if (err < 0)
		return err;
	fd = openat(dirfd, name,
		    flags | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY | O_NONBLOCK,
		    mode & 07777);
	err = fd < 0 ? -errno : fd;
	fs_cred_leave(&r->s->cred);
	return err;
}

int fs_op_create(struct fs_req *r)
{
	const struct fuse_create_in *in = fs_req_arg(r, sizeof(*in));
	struct fs_inode *parent = fs_inode_get(r->s, r->hdr.nodeid), *i;
	struct create_out out = { 0 };
	int fd AUTO_CLOSE = -1;
	const char *name;
	int flags, err;

	if (!in)
		return -EINVAL;
	err = fs_req_name(r, &name);
	if (err < 0)
		return err;
	if (!parent)
		return -ESTALE;
	flags = fs_open_flags(r->s, in->flags);
	if (flags < 0)
		return flags;
	if (r->room < sizeof(out))
		return -EINVAL;
	fd = create_new(r, parent, name, flags & ~O_TRUNC, in->mode);
	if (fd < 0 && (fd != -EEXIST || (in->flags & O_EXCL)))
		return fd;
	err = fs_entry_lookup(r->s, parent, name, &out.entry, &i);
	if (err < 0)
		return err;
	if (fd < 0) { // it was there: as OPEN
		if (in->open_flags & FUSE_OPEN_KILL_SUIDGID)
			fs_cred_drop_fsetid(&r->s->cred);
		fd = fs_reopen(r->s, i, flags);
		if (in->open_flags & FUSE_OPEN_KILL_SUIDGID)
			fs_cred_restore(&r->s->cred);
	}
	err = fd;
	if (fd >= 0)
		err = fs_handle_add(r->s, take_fd(&fd), out.entry.nodeid, false,
				    (flags & O_ACCMODE) != O_RDONLY, &out.open.fh);
	if (err < 0) {
		fs_inode_forget(r->s, out.entry.nodeid, 1); // the guest does not get to know it
		return err;
	}
	out.open.open_flags = fs_open_reply_flags(r->s);
	return fs_req_reply(r, &out, sizeof(out));
}
