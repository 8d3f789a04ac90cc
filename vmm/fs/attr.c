// SPDX-License-Identifier: Apache-2.0
// Attributes and entries: what the host says of a file, in the protocol's form, with the time the guest may believe it.
#include "vmm/fs/fs_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/sysmacros.h>

enum { FS_ALWAYS_SECONDS = 86400 };

int fs_statx(int dirfd, const char *name, struct statx *ret)
{
	// No automount: a lookup must not make the host mount things.
	int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | (name[0] ? 0 : AT_EMPTY_PATH);

	memset(ret, 0, sizeof(*ret));
	if (statx(dirfd, name, flags, STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID, ret) < 0)
		return -errno;
	if (!(ret->stx_mask & STATX_MNT_ID))
		ret->stx_mnt_id = 0; // before Linux 5.8
	return 0;
}

struct timespec fs_cache_time(const struct fs_server *s)
{
	static const time_t seconds[] = {
		[FS_CACHE_AUTO] = 1, [FS_CACHE_NONE] = 0, [FS_CACHE_ALWAYS] = FS_ALWAYS_SECONDS
	};

	return (struct timespec){ .tv_sec = seconds[s->opt.cache] };
}

// How long a name below parent may be believed. The host adds a container by mounting something in the top directory
// while the guest runs: there, `auto` remembers nothing.
static time_t entry_seconds(const struct fs_server *s, const struct fs_inode *parent)
{
	if (s->opt.cache == FS_CACHE_AUTO && fs_inode_id(parent) == FUSE_ROOT_ID)
		return 0;
	return fs_cache_time(s).tv_sec;
}

// The kernel's 32-bit device number: 12 bits of major between 20 of minor.
static uint32_t attr_rdev(const struct statx *stx)
{
	uint32_t major = stx->stx_rdev_major, minor = stx->stx_rdev_minor;

	return (minor & 0xff) | major << 8 | (minor & ~0xffu) << 12;
}

void fs_attr_fill(const struct fs_inode *i, const struct statx *stx, struct fuse_attr *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->ino = stx->stx_ino;
	ret->size = stx->stx_size;
	ret->blocks = stx->stx_blocks;
	ret->atime = (uint64_t)stx->stx_atime.tv_sec;
	ret->atimensec = stx->stx_atime.tv_nsec;
	ret->mtime = (uint64_t)stx->stx_mtime.tv_sec;
	ret->mtimensec = stx->stx_mtime.tv_nsec;
	ret->ctime = (uint64_t)stx->stx_ctime.tv_sec;
	ret->ctimensec = stx->stx_ctime.tv_nsec;
	ret->mode = stx->stx_mode;
	ret->nlink = stx->stx_nlink;
	ret->uid = stx->stx_uid;
	ret->gid = stx->stx_gid;
	ret->rdev = attr_rdev(stx);
	ret->blksize = stx->stx_blksize;
	// A file system of its own in the guest too: device numbers stay apart, and unmounting it there gives it back.
	ret->flags = i->mountpoint ? FUSE_ATTR_SUBMOUNT : 0;
}

int fs_entry_lookup(struct fs_server *s, struct fs_inode *parent, const char *name,
		    struct fuse_entry_out *ret, struct fs_inode **ret_inode)
{
	int dirfd = fs_inode_fd(s, parent);
	struct fs_inode *i;
	struct statx stx;
	int r;

	if (dirfd < 0)
		return dirfd;
	r = fs_statx(dirfd, name, &stx);
	if (r < 0)
		return r;
	r = fs_inode_add(s, parent, name, &stx, &i);
	if (r < 0)
		return r;
	memset(ret, 0, sizeof(*ret));
	ret->nodeid = fs_inode_id(i);
	ret->entry_valid = (uint64_t)entry_seconds(s, parent);
	ret->attr_valid = (uint64_t)fs_cache_time(s).tv_sec;
	fs_attr_fill(i, &stx, &ret->attr);
	if (ret_inode)
		*ret_inode = i;
	return 0;
}

int fs_reply_entry(struct fs_req *r, struct fs_inode *parent, const char *name)
{
	struct fuse_entry_out out;
	int err;

	if (r->room < sizeof(out))
		return -EINVAL; // before the reference is given
	err = fs_entry_lookup(r->s, parent, name, &out, NULL);
	if (err == -ENOENT && entry_seconds(r->s, parent) > 0) {
		// "There is no such name, and you may remember that": an entry without an inode.
		memset(&out, 0, sizeof(out));
		out.entry_valid = (uint64_t)entry_seconds(r->s, parent);
		return fs_req_reply(r, &out, sizeof(out));
	}
	return err < 0 ? err : fs_req_reply(r, &out, sizeof(out));
}
