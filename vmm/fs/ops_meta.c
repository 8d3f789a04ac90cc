// SPDX-License-Identifier: Apache-2.0
// Operations on what is known of a file: names, references, attributes, link text, file system figures.
#include "vmm/fs/fs_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/own.h"

enum { NSEC_PER_SEC = 1000000000 };

// STATX came with protocol 7.39, after some linux/fuse.h this builds with.
struct statx_in {
	uint32_t getattr_flags, reserved;
	uint64_t fh;
	uint32_t sx_flags, sx_mask;
};

struct statx_time {
	int64_t sec;
	uint32_t nsec;
	int32_t reserved;
};

struct statx_out {
	uint64_t attr_valid;
	uint32_t attr_valid_nsec, flags;
	uint64_t spare[2];
	uint32_t mask, blksize;
	uint64_t attributes;
	uint32_t nlink, uid, gid;
	uint16_t mode, spare0;
	uint64_t ino, size, blocks, attributes_mask;
	struct statx_time atime, btime, ctime, mtime;
	uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
	uint64_t spare2[14];
};

int fs_op_lookup(struct fs_req *r)
{
	struct fs_inode *parent = fs_inode_get(r->s, r->hdr.nodeid);
	const char *name;
	int err = fs_req_name(r, &name);

	if (err < 0)
		return err;
	if (!parent)
		return -ESTALE;
	return fs_reply_entry(r, parent, name);
}

int fs_op_forget(struct fs_req *r)
{
	const struct fuse_forget_in *in = fs_req_arg(r, sizeof(*in));

	if (!in)
		return -EINVAL;
	fs_inode_forget(r->s, r->hdr.nodeid, in->nlookup);
	return 0;
}

int fs_op_batch_forget(struct fs_req *r)
{
	const struct fuse_batch_forget_in *in = fs_req_arg(r, sizeof(*in));
	const struct fuse_forget_one *one;

	if (!in)
		return -EINVAL;
	for (uint32_t k = 0; k < in->count; k++) {
		one = fs_req_arg(r, sizeof(*one));
		if (!one)
			return -EINVAL;
		fs_inode_forget(r->s, one->nodeid, one->nlookup);
	}
	return 0;
}

// ---- attributes

// What the host says of i, or of the open file fh if has_fh.
static int meta_stat(struct fs_req *r, struct fs_inode *i, bool has_fh, uint64_t fh,
		     struct statx *ret)
{
	int fd;

	if (has_fh) {
		struct fs_handle *h = fs_handle_get(r->s, fh, r->hdr.nodeid, i->type == S_IFDIR);

		if (!h)
			return -EBADF;
		fd = h->fd;
	} else {
		fd = fs_inode_fd(r->s, i);
	}
	return fd < 0 ? fd : fs_statx(fd, "", ret);
}

static int reply_attr(struct fs_req *r, struct fs_inode *i, const struct statx *stx)
{
	struct fuse_attr_out out = { .attr_valid = (uint64_t)fs_cache_time(r->s).tv_sec };

	fs_attr_fill(i, stx, &out.attr);
	return fs_req_reply(r, &out, sizeof(out));
}

int fs_op_getattr(struct fs_req *r)
{
	const struct fuse_getattr_in *in = fs_req_arg(r, sizeof(*in));
	struct fs_inode *i = fs_inode_get(r->s, r->hdr.nodeid);
	struct statx stx;
	int err;

	if (!in)
		return -EINVAL;
	if (!i)
		return -ESTALE;
	err = meta_stat(r, i, in->getattr_flags & FUSE_GETATTR_FH, in->fh, &stx);
	return err < 0 ? err : reply_attr(r, i, &stx);
}

int fs_op_statx(struct fs_req *r)
{
	const struct statx_in *in = fs_req_arg(r, sizeof(*in));
	struct fs_inode *i = fs_inode_get(r->s, r->hdr.nodeid);
	struct statx_out out = { .attr_valid = (uint64_t)fs_cache_time(r->s).tv_sec };
	struct statx stx;
	int err;

	if (!in)
		return -EINVAL;
	if (!i)
		return -ESTALE;
	err = meta_stat(r, i, in->getattr_flags & FUSE_GETATTR_FH, in->fh, &stx);
	if (err < 0)
		return err;
	out.mask = stx.stx_mask & (STATX_BASIC_STATS | STATX_BTIME);
	out.blksize = stx.stx_blksize;
	out.nlink = stx.stx_nlink;
	out.uid = stx.stx_uid;
	out.gid = stx.stx_gid;
	out.mode = stx.stx_mode;
	out.ino = stx.stx_ino;
	out.size = stx.stx_size;
	out.blocks = stx.stx_blocks;
	out.atime =
		(struct statx_time){ .sec = stx.stx_atime.tv_sec, .nsec = stx.stx_atime.tv_nsec };
	out.btime =
		(struct statx_time){ .sec = stx.stx_btime.tv_sec, .nsec = stx.stx_btime.tv_nsec };
	out.ctime =
		(struct statx_time){ .sec = stx.stx_ctime.tv_sec, .nsec = stx.stx_ctime.tv_nsec };
	out.mtime =
		(struct statx_time){ .sec = stx.stx_mtime.tv_sec, .nsec = stx.stx_mtime.tv_nsec };
	out.rdev_major = stx.stx_rdev_major;
	out.rdev_minor = stx.stx_rdev_minor;
	return fs_req_reply(r, &out, sizeof(out));
}

static int setattr_size(struct fs_req *r, struct fs_inode *i, const struct fuse_setattr_in *in)
{
	int own AUTO_CLOSE = -1;
	int fd, err;

	if (in->size > INT64_MAX)
		return -EFBIG;
	if (in->valid & FATTR_FH) {
		struct fs_handle *h = fs_handle_get(r->s, in->fh, r->hdr.nodeid, false);

		if (!h)
			return -EBADF;
		fd = h->fd;
	} else {
		fd = own = fs_reopen(r->s, i, O_WRONLY);
		if (fd < 0)
			return fd;
	}
	if (in->valid & FATTR_KILL_SUIDGID)
		fs_cred_drop_fsetid(&r->s->cred);
	err = ftruncate(fd, (off_t)in->size) < 0 ? -errno : 0;
	if (in->valid & FATTR_KILL_SUIDGID)
		fs_cred_restore(&r->s->cred);
	return err;
}

static int setattr_times(struct fs_req *r, int fd, const struct fuse_setattr_in *in)
{
	struct timespec ts[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_nsec = UTIME_OMIT } };

	if (in->valid & FATTR_ATIME)
		ts[0] = (struct timespec){ .tv_sec = (time_t)in->atime, .tv_nsec = in->atimensec };
	if (in->valid & FATTR_MTIME)
		ts[1] = (struct timespec){ .tv_sec = (time_t)in->mtime, .tv_nsec = in->mtimensec };
	if (((in->valid & FATTR_ATIME) && in->atimensec >= NSEC_PER_SEC) ||
	    ((in->valid & FATTR_MTIME) && in->mtimensec >= NSEC_PER_SEC))
		return -EINVAL; // UTIME_NOW and UTIME_OMIT are among these
	if (in->valid & FATTR_ATIME_NOW)
		ts[0].tv_nsec = UTIME_NOW;
	if (in->valid & FATTR_MTIME_NOW)
		ts[1].tv_nsec = UTIME_NOW;
	return utimensat(r->s->proc_fd, fs_fd_name(fd).text, ts, 0) < 0 ? -errno : 0;
}

// The order matters: a change of owner takes set-id bits off, a change of size sets times.
static int setattr_apply(struct fs_req *r, struct fs_inode *i, const struct fuse_setattr_in *in)
{
	int fd = fs_inode_fd(r->s, i), err;

	if (fd < 0)
		return fd;
	if (in->valid & (FATTR_UID | FATTR_GID)) {
		uid_t uid = in->valid & FATTR_UID ? in->uid : (uid_t)-1;
		gid_t gid = in->valid & FATTR_GID ? in->gid : (gid_t)-1;

		if (fchownat(fd, "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0)
			return -errno;
	}
	if ((in->valid & FATTR_MODE) &&
	    fchmodat(r->s->proc_fd, fs_fd_name(fd).text, in->mode & 07777, 0) < 0)
		return -errno;
	if (in->valid & FATTR_SIZE) {
		err = setattr_size(r, i, in);
		if (err < 0)
			return err;
	}
	if (in->valid & (FATTR_ATIME | FATTR_MTIME | FATTR_ATIME_NOW | FATTR_MTIME_NOW)) {
		fd = fs_inode_fd(r->s, i); // opening for the size may have pushed it out
		return fd < 0 ? fd : setattr_times(r, fd, in);
	}
	return 0;
}

int fs_op_setattr(struct fs_req *r)
{
	const struct fuse_setattr_in *in = fs_req_arg(r, sizeof(*in));
	struct fs_inode *i = fs_inode_get(r->s, r->hdr.nodeid);
	struct statx stx;
	int err;

	if (!in)
		return -EINVAL;
	if (!i)
		return -ESTALE;
	err = setattr_apply(r, i, in);
	if (err == 0)
		err = meta_stat(r, i, false, 0, &stx);
	return err < 0 ? err : reply_attr(r, i, &stx);
}

// ---- the rest

int fs_op_readlink(struct fs_req *r)
{
	struct fs_inode *i = fs_inode_get(r->s, r->hdr.nodeid);
	char text[PATH_MAX];
	ssize_t n;
	int fd;

	if (!i)
		return -ESTALE;
	if (i->type != S_IFLNK)
		return -EINVAL;
	fd = fs_inode_fd(r->s, i);
	if (fd < 0)
		return fd;
	n = readlinkat(fd, "", text, sizeof(text));
	return n < 0 ? -errno : fs_req_reply(r, text, (size_t)n);
}

int fs_op_statfs(struct fs_req *r)
{
	struct fs_inode *i = fs_inode_get(r->s, r->hdr.nodeid);
	struct fuse_statfs_out out = { 0 };
	struct statvfs st;
	int fd;

	if (!i)
		return -ESTALE;
	fd = fs_inode_fd(r->s, i);
	if (fd < 0)
		return fd;
	if (fstatvfs(fd, &st) < 0)
		return -errno;
	out.st.blocks = st.f_blocks;
	out.st.bfree = st.f_bfree;
	out.st.bavail = st.f_bavail;
	out.st.files = st.f_files;
	out.st.ffree = st.f_ffree;
	out.st.bsize = (uint32_t)st.f_bsize;
	out.st.frsize = (uint32_t)st.f_frsize;
	out.st.namelen = FS_NAME_MAX;
	return fs_req_reply(r, &out, sizeof(out));
}

int fs_op_access(struct fs_req *r)
{
	const struct fuse_access_in *in = fs_req_arg(r, sizeof(*in));

	if (!in || (in->mask & ~(uint32_t)(R_OK | W_OK | X_OK)))
		return -EINVAL;
	if (!fs_inode_get(r->s, r->hdr.nodeid))
		return -ESTALE;
	// virtio-fs mounts check permissions in the guest's kernel, by the attributes; it does not even ask.
	return r->s->opt.readonly && (in->mask & W_OK) ? -EROFS : 0;
}
