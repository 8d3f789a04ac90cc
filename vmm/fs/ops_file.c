// SPDX-License-Identifier: Apache-2.0
// Operations on open files. File data goes between the file and the guest's memory directly.
#include "vmm/fs/fs_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/own.h"

int fs_open_flags(const struct fs_server *s, uint32_t flags)
{
	int acc = (int)(flags & O_ACCMODE);

	if (acc == O_ACCMODE)
		return -EINVAL;
	if (s->opt.readonly && (acc != O_RDONLY || (flags & O_TRUNC)))
		return -EROFS;
	if ((flags & O_TRUNC) && acc == O_RDONLY)
		return -EINVAL; // the guest's kernel has asked for write permission, but the host would not
	// Not O_APPEND: with it, the host would put pages the guest writes back from a mapping at the end of the file. Each
	// WRITE says whether it appends. Not O_DIRECT: the guest's buffers are aligned as the guest likes.
	return acc | (int)(flags & (O_TRUNC | O_SYNC | O_DSYNC));
}

uint32_t fs_open_reply_flags(const struct fs_server *s)
{
	// In `auto`, AUTO_INVAL_DATA drops what is stale; without this flag each exec would read its libraries again.
	return s->opt.cache == FS_CACHE_NONE ? 0 : FOPEN_KEEP_CACHE;
}

int fs_op_open(struct fs_req *r)
{
	const struct fuse_open_in *in = fs_req_arg(r, sizeof(*in));
	struct fs_inode *i = fs_inode_get(r->s, r->hdr.nodeid);
	struct fuse_open_out out = { .open_flags = fs_open_reply_flags(r->s) };
	int flags, fd, err;

	if (!in)
		return -EINVAL;
	if (!i)
		return -ESTALE;
	flags = fs_open_flags(r->s, in->flags);
	if (flags < 0)
		return flags;
	if (r->room < sizeof(out))
		return -EINVAL;
	if (in->open_flags & FUSE_OPEN_KILL_SUIDGID)
		fs_cred_drop_fsetid(&r->s->cred);
	fd = fs_reopen(r->s, i, flags);
	if (in->open_flags & FUSE_OPEN_KILL_SUIDGID)
		fs_cred_restore(&r->s->cred);
	if (fd < 0)
		return fd;
	err = fs_handle_add(r->s, fd, r->hdr.nodeid, false, (flags & O_ACCMODE) != O_RDONLY,
			    &out.fh);
	return err < 0 ? err : fs_req_reply(r, &out, sizeof(out));
}

int fs_op_read(struct fs_req *r)
{
	const struct fuse_read_in *in = fs_req_arg(r, sizeof(*in));
	struct fs_handle *h;
	size_t len;
	unsigned n;
	ssize_t got;

	if (!in)
		return -EINVAL;
	h = fs_handle_get(r->s, in->fh, r->hdr.nodeid, false);
	if (!h)
		return -EBADF;
	if (in->offset > INT64_MAX)
		return -EINVAL;
	len = in->size;
	if (len > FS_WRITE_MAX || len > r->room)
		return -EINVAL; // fewer bytes would mean the file's end
	n = fs_iov_part(r->out, r->nout, sizeof(struct fuse_out_header), len, r->s->data);
	got = preadv(h->fd, r->s->data, (int)n, (off_t)in->offset);
	if (got < 0)
		return -errno;
	r->reply_len = (size_t)got;
	return 0;
}

int fs_op_write(struct fs_req *r)
{
	const struct fuse_write_in *in = fs_req_arg(r, sizeof(*in));
	struct fuse_write_out out = { 0 };
	struct fs_handle *h;
	int flags = 0;
	unsigned n;
	ssize_t put;

	if (!in)
		return -EINVAL;
	h = fs_handle_get(r->s, in->fh, r->hdr.nodeid, false);
	if (!h || !h->writable)
		return -EBADF;
	if (in->size > FS_WRITE_MAX || in->size > r->data_len || in->offset > INT64_MAX)
		return -EINVAL;
	if (r->room < sizeof(out))
		return -EINVAL;
	if ((in->flags & O_APPEND) && !(in->write_flags & FUSE_WRITE_CACHE))
		flags |= RWF_APPEND;
	n = fs_iov_part(r->in, r->nin, r->data_off, in->size, r->s->data);
	if (in->write_flags & FUSE_WRITE_KILL_SUIDGID)
		fs_cred_drop_fsetid(&r->s->cred);
	put = pwritev2(h->fd, r->s->data, (int)n, (off_t)in->offset, flags);
	if (put < 0)
		put = -errno;
	if (in->write_flags & FUSE_WRITE_KILL_SUIDGID)
		fs_cred_restore(&r->s->cred);
	if (put < 0)
		return (int)put;
	out.size = (uint32_t)put;
	return fs_req_reply(r, &out, sizeof(out));
}

int fs_op_release(struct fs_req *r)
{
	const struct fuse_release_in *in = fs_req_arg(r, sizeof(*in));
	struct fs_handle *h;

	if (!in)
		return -EINVAL;
	h = fs_handle_get(r->s, in->fh, r->hdr.nodeid, false);
	if (!h)
		return -EBADF;
	fs_handle_close(r->s, h);
	return 0;
}

int fs_op_fsync(struct fs_req *r)
{
	const struct fuse_fsync_in *in = fs_req_arg(r, sizeof(*in));
	struct fs_handle *h;
	int rc;

	if (!in)
		return -EINVAL;
	h = fs_handle_get(r->s, in->fh, r->hdr.nodeid, false);
	if (!h)
		return -EBADF;
	rc = in->fsync_flags & FUSE_FSYNC_FDATASYNC ? fdatasync(h->fd) : fsync(h->fd);
	return rc < 0 ? -errno : 0;
}

int fs_op_fallocate(struct fs_req *r)
{
	const struct fuse_fallocate_in *in = fs_req_arg(r, sizeof(*in));
	struct fs_handle *h;

	if (!in)
		return -EINVAL;
	h = fs_handle_get(r->s, in->fh, r->hdr.nodeid, false);
	if (!h || !h->writable)
		return -EBADF;
	if (in->offset > INT64_MAX || in->length > INT64_MAX)
		return -EFBIG;
	// The host refuses modes it does not know.
	return fallocate(h->fd, (int)in->mode, (off_t)in->offset, (off_t)in->length) < 0 ? -errno
											 : 0;
}

int fs_op_lseek(struct fs_req *r)
{
	const struct fuse_lseek_in *in = fs_req_arg(r, sizeof(*in));
	struct fuse_lseek_out out = { 0 };
	struct fs_handle *h;
	off_t at;

	if (!in)
		return -EINVAL;
	h = fs_handle_get(r->s, in->fh, r->hdr.nodeid, false);
	if (!h)
		return -EBADF;
	if (in->whence != SEEK_DATA && in->whence != SEEK_HOLE)
		return -EINVAL; // the guest does the others by itself
	if (in->offset > INT64_MAX)
		return -EINVAL;
	at = lseek(h->fd, (off_t)in->offset, (int)in->whence);
	if (at < 0)
		return -errno;
	out.offset = (uint64_t)at;
	return fs_req_reply(r, &out, sizeof(out));
}

int fs_op_copy_file_range(struct fs_req *r)
{
	const struct fuse_copy_file_range_in *in = fs_req_arg(r, sizeof(*in));
	struct fuse_write_out out = { 0 };
	struct fs_handle *from, *to;
	loff_t off_in, off_out;
	ssize_t n;

	if (!in)
		return -EINVAL;
	from = fs_handle_get(r->s, in->fh_in, r->hdr.nodeid, false);
	to = fs_handle_get(r->s, in->fh_out, in->nodeid_out, false);
	if (!from || !to || !to->writable)
		return -EBADF;
	if (in->flags || in->off_in > INT64_MAX || in->off_out > INT64_MAX || r->room < sizeof(out))
		return -EINVAL;
	off_in = (loff_t)in->off_in;
	off_out = (loff_t)in->off_out;
	n = copy_file_range(from->fd, &off_in, to->fd, &off_out,
			    in->len > FS_COPY_MAX ? FS_COPY_MAX : in->len, 0);
	if (n < 0)
		return -errno;
	out.size = (uint32_t)n;
	return fs_req_reply(r, &out, sizeof(out));
}

int fs_op_syncfs(struct fs_req *r)
{
	struct fs_inode *i = fs_inode_get(r->s, r->hdr.nodeid);
	int fd AUTO_CLOSE = -1;
	int path_fd, err;

	if (!i)
		return -ESTALE;
	if (i->type != S_IFDIR)
		return -EINVAL; // the guest names the root of a file system
	err = fs_fd_make_room(r->s);
	if (err < 0)
		return err;
	path_fd = fs_inode_fd(r->s, i);
	if (path_fd < 0)
		return path_fd;
	fd = openat(path_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	return syncfs(fd) < 0 ? -errno : 0;
}
