// SPDX-License-Identifier: Apache-2.0
// The inode table: what the guest knows of the tree, by (parent, name) and identity, with a bounded cache of O_PATH
// descriptors. A descriptor is only ever got by openat of one name with O_NOFOLLOW below a descriptor got the same way.
#include "vmm/fs/fs_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "base/err.h"
#include "base/own.h"

enum {
	INODE_ROOT = 0, // index
	INODE_BUCKETS_MIN = 1024,
	INODE_CHAIN_KEPT = 4, // directories on the way to a reopened inode that stay open
};

static struct fs_inode *inode_at(struct fs_server *s, uint32_t index)
{
	return &s->inodes.chunks[index / FS_CHUNK_INODES][index % FS_CHUNK_INODES];
}

uint64_t fs_inode_id(const struct fs_inode *i)
{
	// The root is index 0 of generation 0, so its id is FUSE_ROOT_ID.
	return (uint64_t)i->gen << 32 | (i->index + 1);
}

struct fs_inode *fs_inode_get(struct fs_server *s, uint64_t nodeid)
{
	uint32_t index = (uint32_t)nodeid - 1;
	struct fs_inode *i;

	if (index >= s->inodes.nchunks * FS_CHUNK_INODES)
		return NULL;
	i = inode_at(s, index);
	// One without references is only kept as a parent of others: the guest has given its id back.
	if (!i->used || i->gen != (uint32_t)(nodeid >> 32) || i->nlookup == 0)
		return NULL;
	return i;
}

// ---- descriptors, least recently used last

static void lru_remove(struct fs_server *s, struct fs_inode *i)
{
	struct fs_inodes *t = &s->inodes;

	if (i->lru_prev != FS_NONE)
		inode_at(s, i->lru_prev)->lru_next = i->lru_next;
	else
		t->lru_head = i->lru_next;
	if (i->lru_next != FS_NONE)
		inode_at(s, i->lru_next)->lru_prev = i->lru_prev;
	else
		t->lru_tail = i->lru_prev;
	i->lru_prev = i->lru_next = FS_NONE;
}

static void lru_push(struct fs_server *s, struct fs_inode *i)
{
	struct fs_inodes *t = &s->inodes;

	i->lru_prev = FS_NONE;
	i->lru_next = t->lru_head;
	if (t->lru_head != FS_NONE)
		inode_at(s, t->lru_head)->lru_prev = i->index;
	else
		t->lru_tail = i->index;
	t->lru_head = i->index;
}

static void inode_set_fd(struct fs_server *s, struct fs_inode *i, int fd)
{
	i->fd = fd;
	s->inodes.nfds++;
	lru_push(s, i);
}

static void inode_close(struct fs_server *s, struct fs_inode *i)
{
	if (i->fd < 0)
		return;
	if (i->pinned)
		s->inodes.npinned--;
	else
		lru_remove(s, i);
	i->pinned = false;
	close_fd(take_fd(&i->fd));
	s->inodes.nfds--;
}

int fs_fd_make_room(struct fs_server *s)
{
	struct fs_inodes *t = &s->inodes;

	while (t->nfds + s->handles.count >= s->fds_max) {
		if (t->lru_tail == FS_NONE)
			return -ENFILE;
		inode_close(s, inode_at(s, t->lru_tail));
	}
	return 0;
}

static bool inode_is(const struct fs_inode *i, const struct statx *stx)
{
	return i->ino == stx->stx_ino &&
	       i->dev == makedev(stx->stx_dev_major, stx->stx_dev_minor) &&
	       i->mnt == stx->stx_mnt_id && i->type == (stx->stx_mode & S_IFMT);
}

// Opens i by its name below dirfd. Returns an fd the caller owns, or -errno.
static int inode_open_at(struct fs_server *s, int dirfd, const struct fs_inode *i)
{
	int fd AUTO_CLOSE = -1;
	struct statx stx;
	int r = fs_fd_make_room(s);

	if (r < 0)
		return r;
	fd = openat(dirfd, i->name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR ? -ESTALE : -errno;
	r = fs_statx(fd, "", &stx);
	if (r < 0)
		return r;
	if (!inode_is(i, &stx))
		return -ESTALE; // the host, or a race, put something else there
	return take_fd(&fd);
}

// The indexes from i (first) up to the child of the nearest ancestor with a descriptor. *ret_chain is the caller's.
static int inode_chain(struct fs_server *s, struct fs_inode *i, uint32_t **ret_chain,
		       uint32_t *ret_len)
{
	uint32_t *chain, len = 0;
	struct fs_inode *p;

	// No chain can be longer than the table, unless the records form a ring.
	for (p = i; p->fd < 0; p = inode_at(s, p->parent))
		if (++len > s->inodes.count)
			return -ESTALE;
	chain = calloc(len, sizeof(*chain));
	if (!chain)
		return -ENOMEM;
	len = 0;
	for (p = i; p->fd < 0; p = inode_at(s, p->parent))
		chain[len++] = p->index;
	*ret_chain = chain;
	*ret_len = len;
	return 0;
}

// Marks i's descriptor as used just now: the next ones to be opened will not push it out.
static void inode_touch(struct fs_server *s, struct fs_inode *i)
{
	if (i->pinned || i->index == INODE_ROOT || s->inodes.lru_head == i->index)
		return;
	lru_remove(s, i);
	lru_push(s, i);
}

int fs_inode_fd(struct fs_server *s, struct fs_inode *i)
{
	uint32_t *chain AUTO_FREE = NULL;
	int held AUTO_CLOSE = -1; // of a directory too far up to be kept
	struct fs_inode *above;
	int dirfd, fd, r;
	uint32_t len;

	if (i->fd >= 0) {
		inode_touch(s, i);
		return i->fd;
	}
	r = inode_chain(s, i, &chain, &len);
	if (r < 0)
		return r;
	above = inode_at(s, inode_at(s, chain[len - 1])->parent);
	inode_touch(s, above);
	dirfd = above->fd;
	while (len-- > 0) {
		struct fs_inode *at = inode_at(s, chain[len]);

		fd = inode_open_at(s, dirfd, at);
		if (fd < 0)
			return fd;
		close_fd(take_fd(&held));
		if (len < INODE_CHAIN_KEPT)
			inode_set_fd(s, at, fd);
		else
			held = fd;
		dirfd = fd;
	}
	return dirfd;
}

// ---- the table

static uint32_t inode_hash(const struct fs_server *s, uint64_t dev, uint64_t ino, uint64_t mnt)
{
	uint64_t h = (ino + 1) * 0x9E3779B97F4A7C15ull;

	h ^= (dev + 1) * 0xC2B2AE3D27D4EB4Full + (mnt + 1) * 0x165667B19E3779F9ull;
	h ^= h >> 32;
	return (uint32_t)h & (s->inodes.nbuckets - 1);
}

static struct fs_inode *inode_find(struct fs_server *s, const struct statx *stx)
{
	uint64_t dev = makedev(stx->stx_dev_major, stx->stx_dev_minor);
	uint32_t at = s->inodes.buckets[inode_hash(s, dev, stx->stx_ino, stx->stx_mnt_id)];

	for (; at != FS_NONE; at = inode_at(s, at)->hash_next)
		if (inode_is(inode_at(s, at), stx))
			return inode_at(s, at);
	return NULL;
}

static void inode_hash_in(struct fs_server *s, struct fs_inode *i)
{
	uint32_t *bucket = &s->inodes.buckets[inode_hash(s, i->dev, i->ino, i->mnt)];

	i->hash_next = *bucket;
	*bucket = i->index;
}

static void inode_hash_out(struct fs_server *s, struct fs_inode *i)
{
	uint32_t *at = &s->inodes.buckets[inode_hash(s, i->dev, i->ino, i->mnt)];

	while (*at != i->index)
		at = &inode_at(s, *at)->hash_next;
	*at = i->hash_next;
}

static int inodes_grow(struct fs_server *s)
{
	struct fs_inodes *t = &s->inodes;
	struct fs_inode *chunk;

	if (t->nchunks >= FS_INODES_MAX / FS_CHUNK_INODES)
		return -ENFILE;
	chunk = calloc(FS_CHUNK_INODES, sizeof(*chunk));
	if (!chunk)
		return -ENOMEM;
	t->chunks[t->nchunks] = chunk;
	for (uint32_t k = FS_CHUNK_INODES; k-- > 0;) {
		chunk[k].index = t->nchunks * FS_CHUNK_INODES + k;
		chunk[k].fd = -1;
		chunk[k].hash_next = t->free;
		t->free = chunk[k].index;
	}
	t->nchunks++;
	return 0;
}

// Twice the buckets. Without memory for them the chains just get longer.
static void inodes_rehash(struct fs_server *s)
{
	struct fs_inodes *t = &s->inodes;
	uint32_t n = t->nbuckets * 2;
	uint32_t *buckets = malloc(n * sizeof(*buckets));

	if (!buckets)
		return;
	memset(buckets, 0xff, n * sizeof(*buckets)); // FS_NONE
	free(t->buckets);
	t->buckets = buckets;
	t->nbuckets = n;
	for (uint32_t k = 0; k < t->nchunks * FS_CHUNK_INODES; k++)
		if (inode_at(s, k)->used && !inode_at(s, k)->nameless)
			inode_hash_in(s, inode_at(s, k));
}

static int inode_new(struct fs_server *s, const struct statx *stx, struct fs_inode **ret_inode)
{
	struct fs_inodes *t = &s->inodes;
	struct fs_inode *i;
	int r;

	if (t->free == FS_NONE) {
		r = inodes_grow(s);
		if (r < 0)
			return r;
	}
	i = inode_at(s, t->free);
	t->free = i->hash_next;
	if (++t->count > t->nbuckets)
		inodes_rehash(s); // i is not yet marked used, so not in it
	i->dev = makedev(stx->stx_dev_major, stx->stx_dev_minor);
	i->ino = stx->stx_ino;
	i->mnt = stx->stx_mnt_id;
	i->type = stx->stx_mode & S_IFMT;
	i->nlookup = 0;
	i->children = 0;
	i->lru_prev = i->lru_next = FS_NONE;
	i->pinned = i->nameless = i->mountpoint = false;
	i->used = true;
	inode_hash_in(s, i);
	*ret_inode = i;
	return 0;
}

// Frees i if nobody needs it, and then, up the tree, whom it was the last to need.
static void inode_put(struct fs_server *s, struct fs_inode *i)
{
	while (i->index != INODE_ROOT && i->nlookup == 0 && i->children == 0) {
		struct fs_inode *parent = inode_at(s, i->parent);

		inode_close(s, i);
		if (!i->nameless)
			inode_hash_out(s, i);
		free(take_ptr(&i->name));
		i->used = false;
		i->gen++;
		i->hash_next = s->inodes.free;
		s->inodes.free = i->index;
		s->inodes.count--;
		parent->children--;
		i = parent;
	}
}

// Is a the same as i or above it?
static bool inode_above(struct fs_server *s, const struct fs_inode *a, const struct fs_inode *i)
{
	while (i != a && i->index != INODE_ROOT)
		i = inode_at(s, i->parent);
	return i == a;
}

// i is to be found at parent/name. 0 or -ENOMEM.
static int inode_set_place(struct fs_server *s, struct fs_inode *i, struct fs_inode *parent,
			   const char *name, bool fresh)
{
	struct fs_inode *old = inode_at(s, i->parent);
	char *copy;

	if (!fresh && i->parent == parent->index && strcmp(i->name, name) == 0)
		return 0;
	// What was known of a directory may be older than what the host did to it: never let the records form a ring.
	if (!fresh && i->type == S_IFDIR && inode_above(s, i, parent))
		return 0;
	copy = strdup(name);
	if (!copy)
		return -ENOMEM;
	free(i->name);
	i->name = copy;
	i->parent = parent->index;
	i->mountpoint = i->type == S_IFDIR && (i->dev != parent->dev || i->mnt != parent->mnt);
	parent->children++;
	if (!fresh) {
		old->children--;
		inode_put(s, old);
	}
	return 0;
}

static void inode_unpin(struct fs_server *s, struct fs_inode *i)
{
	if (!i->pinned)
		return;
	i->pinned = false;
	s->inodes.npinned--;
	lru_push(s, i);
}

int fs_inode_add(struct fs_server *s, struct fs_inode *parent, const char *name,
		 const struct statx *stx, struct fs_inode **ret_inode)
{
	struct fs_inode *i = inode_find(s, stx);
	bool fresh = !i;
	int r;

	if (parent->type != S_IFDIR)
		return -ENOTDIR;
	if (i &&
	    i->index ==
		    INODE_ROOT) // a bind mount of the share in itself: a ring that cannot be recorded
		return -ELOOP;
	if (fresh) {
		r = inode_new(s, stx, &i);
		if (r < 0)
			return r;
		i->parent = INODE_ROOT; // until it has a place
	}
	r = inode_set_place(s, i, parent, name, fresh);
	if (r < 0) {
		if (fresh) {
			inode_at(s, INODE_ROOT)->children++; // inode_put takes it back
			inode_put(s, i);
		}
		return r;
	}
	inode_unpin(s, i); // it has a name, whatever was unlinked before
	i->nlookup++;
	*ret_inode = i;
	return 0;
}

void fs_inode_forget(struct fs_server *s, uint64_t nodeid, uint64_t n)
{
	struct fs_inode *i = fs_inode_get(s, nodeid);

	if (!i || i->index == INODE_ROOT)
		return;
	if (n > i->nlookup) {
		if (log_limit_ok(&s->bad_limit, 3))
			log_warn("guest gives back more references to a file than it has");
		n = i->nlookup;
	}
	i->nlookup -= n;
	inode_put(s, i);
}

void fs_inode_pin_name(struct fs_server *s, struct fs_inode *parent, const char *name)
{
	int dirfd = fs_inode_fd(s, parent);
	struct fs_inode *i;
	struct statx stx;

	if (dirfd < 0 || fs_statx(dirfd, name, &stx) < 0)
		return; // the operation itself will find the same
	i = inode_find(s, &stx);
	if (!i || i->pinned || i->index == INODE_ROOT)
		return;
	if (s->inodes.npinned + s->handles.count < fs_fds_held_max(s) && fs_inode_fd(s, i) >= 0) {
		lru_remove(s, i);
		i->pinned = true;
		s->inodes.npinned++;
	} else if (i->type == S_IFDIR || stx.stx_nlink == 1) {
		// Cannot be held: the guest will get ESTALE. Its number may go to a new file, which must not be taken
		// for this one.
		inode_hash_out(s, i);
		i->nameless = true;
	}
}

void fs_inode_moved(struct fs_server *s, struct fs_inode *parent, const char *name)
{
	int dirfd = fs_inode_fd(s, parent);
	struct fs_inode *i;
	struct statx stx;

	if (dirfd < 0 || fs_statx(dirfd, name, &stx) < 0)
		return;
	i = inode_find(s, &stx);
	if (!i || i->index == INODE_ROOT)
		return;
	if (inode_set_place(s, i, parent, name, false) == 0)
		inode_unpin(s, i); // else out of memory: ESTALE later, as after a host's rename
}

int fs_inodes_init(struct fs_server *s, int root_fd, struct err *e)
{
	struct fs_inodes *t = &s->inodes;
	struct fs_inode *root;
	struct statx stx;
	int r;

	t->free = t->lru_head = t->lru_tail = FS_NONE;
	t->nbuckets = INODE_BUCKETS_MIN;
	t->chunks = calloc(FS_INODES_MAX / FS_CHUNK_INODES, sizeof(struct fs_inode *));
	t->buckets = malloc(t->nbuckets * sizeof(*t->buckets));
	if (!t->chunks || !t->buckets)
		return err_errno(e, ENOMEM, "inode table");
	memset(t->buckets, 0xff, t->nbuckets * sizeof(*t->buckets)); // FS_NONE
	r = fs_statx(root_fd, "", &stx);
	if (r < 0)
		return err_errno(e, -r, "share directory");
	if (!S_ISDIR(stx.stx_mode))
		return err_errno(e, ENOTDIR, "share directory");
	r = inode_new(s, &stx, &root);
	if (r < 0)
		return err_errno(e, -r, "inode table");
	root->nlookup = 1;
	root->parent = INODE_ROOT;
	// Not O_NOFOLLOW of a name: "." of a descriptor the caller chose.
	root->fd = openat(root_fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root->fd < 0)
		return err_errno(e, errno, "share directory");
	return 0;
}

void fs_inodes_reset(struct fs_server *s)
{
	struct fs_inodes *t = &s->inodes;

	t->count = 1;
	t->free = FS_NONE;
	t->nbuckets = INODE_BUCKETS_MIN; // the array may be larger; it is used from here on as this
	memset(t->buckets, 0xff, t->nbuckets * sizeof(*t->buckets));
	for (uint32_t k = t->nchunks * FS_CHUNK_INODES; k-- > 0;) {
		struct fs_inode *i = inode_at(s, k);

		if (k == INODE_ROOT) {
			i->children = 0;
			inode_hash_in(s, i);
			continue;
		}
		if (i->used) {
			inode_close(s, i);
			free(take_ptr(&i->name));
			i->used = false;
			i->gen++;
		}
		i->hash_next = t->free;
		t->free = k;
	}
}

void fs_inodes_done(struct fs_server *s)
{
	struct fs_inodes *t = &s->inodes;

	for (uint32_t k = 0; k < t->nchunks; k++) {
		for (unsigned j = 0; j < FS_CHUNK_INODES; j++) {
			close_fd(t->chunks[k][j].fd);
			free(t->chunks[k][j].name);
		}
		free(t->chunks[k]);
	}
	free(t->chunks);
	free(t->buckets);
}
