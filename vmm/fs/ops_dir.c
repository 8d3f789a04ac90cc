// SPDX-License-Identifier: Apache-2.0
// Operations on open directories. Nothing is kept between two READDIRs but the descriptor: the guest says where to go on
// by the cookie the host gave with the last name.
#include "vmm/fs/fs_priv.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/own.h"

enum { DIR_READ_MIN = 1024 }; // getdents64 needs room for one entry of the longest name

struct dir_entry { // getdents64(2)
	uint64_t ino;
	int64_t off;
	uint16_t reclen;
	uint8_t type;
	char name[];
};

int fs_op_opendir(struct fs_req *r)
{
	const struct fuse_open_in *in = fs_req_arg(r, sizeof(*in));
	struct fs_inode *i = fs_inode_get(r->s, r->hdr.nodeid);
	struct fuse_open_out out = { 0 };
	int dirfd, fd, err;

	if (!in)
		return -EINVAL;
	if (!i)
		return -ESTALE;
	if (i->type != S_IFDIR)
		return -ENOTDIR;
	if (r->room < sizeof(out))
		return -EINVAL;
	err = fs_fd_make_room(r->s);
	if (err < 0)
		return err;
	dirfd = fs_inode_fd(r->s, i);
	if (dirfd < 0)
		return dirfd;
	fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	err = fs_handle_add(r->s, fd, r->hdr.nodeid, true, false, &out.fh);
	if (err < 0)
		return err;
	if (r->s->opt.cache == FS_CACHE_ALWAYS)
		out.open_flags = FOPEN_CACHE_DIR | FOPEN_KEEP_CACHE;
	return fs_req_reply(r, &out, sizeof(out));
}

int fs_op_releasedir(struct fs_req *r)
{
	const struct fuse_release_in *in = fs_req_arg(r, sizeof(*in));
	struct fs_handle *h;

	if (!in)
		return -EINVAL;
	h = fs_handle_get(r->s, in->fh, r->hdr.nodeid, true);
	if (!h)
		return -EBADF;
	fs_handle_close(r->s, h);
	return 0;
}

int fs_op_fsyncdir(struct fs_req *r)
{
	const struct fuse_fsync_in *in = fs_req_arg(r, sizeof(*in));
	struct fs_handle *h;
	int rc;

	if (!in)
		return -EINVAL;
	h = fs_handle_get(r->s, in->fh, r->hdr.nodeid, true);
	if (!h)
		return -EBADF;
	rc = in->fsync_flags & FUSE_FSYNC_FDATASYNC ? fdatasync(h->fd) : fsync(h->fd);
	return rc < 0 ? -errno : 0;
}

static bool dir_is_dot(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

// One entry at out. The guest gets a reference with each entry of READDIRPLUS, except of "." and "..".
static void dir_emit(struct fs_server *s, struct fs_inode *dir, const struct dir_entry *d,
		     bool plus, char *out, size_t len)
{
	struct fuse_dirent ent = { .ino = d->ino, .off = (uint64_t)d->off, .type = d->type };
	size_t at = 0;

	memset(out, 0, len);
	ent.namelen = (uint32_t)strlen(d->name);
	if (strcmp(d->name, "..") == 0 && fs_inode_id(dir) == FUSE_ROOT_ID)
		ent.ino = dir->ino; // what is above the share is nobody's business
	if (plus) {
		struct fuse_entry_out entry;

		// One that went away meanwhile, or is more than the table holds, is listed without an inode: the guest
		// looks it up by itself if it needs it.
		if (dir_is_dot(d->name) || fs_entry_lookup(s, dir, d->name, &entry, NULL) < 0)
			memset(&entry, 0, sizeof(entry));
		memcpy(out, &entry, sizeof(entry));
		at = sizeof(entry);
	}
	memcpy(out + at, &ent, offsetof(struct fuse_dirent, name));
	memcpy(out + at + offsetof(struct fuse_dirent, name), d->name, ent.namelen);
}

static size_t dir_entry_len(const struct dir_entry *d, bool plus)
{
	size_t len = offsetof(struct fuse_dirent, name) + strlen(d->name);

	return FUSE_REC_ALIGN(len) + (plus ? sizeof(struct fuse_entry_out) : 0);
}

// Reads names from cookie `offset` on into the scratch buffer. Returns bytes or -errno.
static long dir_read(struct fs_server *s, struct fs_handle *h, uint64_t offset, size_t want)
{
	long n;

	if (offset != h->pos && lseek(h->fd, (off_t)offset, SEEK_SET) < 0)
		return -errno;
	h->pos = offset;
	if (want < DIR_READ_MIN)
		want = DIR_READ_MIN;
	n = syscall(SYS_getdents64, h->fd, s->scratch, want);
	if (n < 0)
		return -errno;
	if (n > 0) {
		const struct dir_entry *d = NULL;

		for (long at = 0; at < n; at += d->reclen)
			d = (const struct dir_entry *)((const char *)s->scratch + at);
		h->pos = (uint64_t)d->off;
	}
	return n;
}

static int dir_list(struct fs_req *r, bool plus)
{
	const struct fuse_read_in *in = fs_req_arg(r, sizeof(*in));
	struct fs_inode *dir = fs_inode_get(r->s, r->hdr.nodeid);
	size_t room, used = 0;
	struct fs_handle *h;
	bool full = false;

	if (!in)
		return -EINVAL;
	if (!dir)
		return -ESTALE;
	h = fs_handle_get(r->s, in->fh, r->hdr.nodeid, true);
	if (!h)
		return -EBADF;
	room = in->size < r->room ? in->size : r->room;
	if (room > FS_REPLY_MAX)
		room = FS_REPLY_MAX;
	for (uint64_t offset = in->offset; !full;) {
		// As much as surely fits the reply, so that little is read twice.
		long n = dir_read(r->s, h, offset, (room - used) / (plus ? 4 : 1));

		if (n < 0 && used == 0)
			return (int)n;
		if (n <= 0)
			break;
		for (long at = 0; at < n;) {
			const struct dir_entry *d =
				(const struct dir_entry *)((const char *)r->s->scratch + at);
			size_t len = dir_entry_len(d, plus);

			full = len > room - used;
			if (full)
				break;
			dir_emit(r->s, dir, d, plus, (char *)r->s->reply + used, len);
			used += len;
			at += d->reclen;
			offset = (uint64_t)d->off;
		}
	}
	if (full && used == 0)
		return -EINVAL; // not even one name
	return fs_req_reply(r, r->s->reply, used);
}

int fs_op_readdir(struct fs_req *r)
{
	return dir_list(r, false);
}

int fs_op_readdirplus(struct fs_req *r)
{
	return dir_list(r, true);
}
