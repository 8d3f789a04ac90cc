// SPDX-License-Identifier: Apache-2.0
// Open files and directories of the guest: a table of descriptors, by index and generation.
#include "vmm/fs/fs_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/own.h"

enum { HANDLES_FIRST = 64, FDS_MOVABLE = 32 };

unsigned fs_fds_held_max(const struct fs_server *s)
{
	return s->fds_max - FDS_MOVABLE;
}

static int handles_grow(struct fs_handles *t)
{
	uint32_t room = t->room ? t->room * 2 : HANDLES_FIRST;
	struct fs_handle *v = realloc(t->v, room * sizeof(*v));

	if (!v)
		return -ENOMEM;
	for (uint32_t k = room; k-- > t->room;) {
		v[k] = (struct fs_handle){ .fd = -1, .next_free = t->free };
		t->free = k;
	}
	t->v = v;
	t->room = room;
	return 0;
}

int fs_handle_add(struct fs_server *s, int fd, uint64_t nodeid, bool dir, bool writable,
		  uint64_t *ret_fh)
{
	struct fs_handles *t = &s->handles;
	int owned AUTO_CLOSE = fd;
	struct fs_handle *h;
	uint32_t index;

	if (t->count + s->inodes.npinned >= fs_fds_held_max(s))
		return -ENFILE;
	if (t->free == FS_NONE) {
		int r = handles_grow(t);

		if (r < 0)
			return r;
	}
	index = t->free;
	h = &t->v[index];
	t->free = h->next_free;
	t->count++;
	h->fd = take_fd(&owned);
	h->nodeid = nodeid;
	h->pos = 0;
	h->dir = dir;
	h->writable = writable;
	h->used = true;
	*ret_fh = (uint64_t)h->gen << 32 | index;
	return 0;
}

struct fs_handle *fs_handle_get(struct fs_server *s, uint64_t fh, uint64_t nodeid, bool dir)
{
	uint32_t index = (uint32_t)fh;
	struct fs_handle *h;

	if (index >= s->handles.room)
		return NULL;
	h = &s->handles.v[index];
	if (!h->used || h->gen != (uint32_t)(fh >> 32) || h->nodeid != nodeid || h->dir != dir)
		return NULL;
	return h;
}

void fs_handle_close(struct fs_server *s, struct fs_handle *h)
{
	close_fd(take_fd(&h->fd));
	h->used = false;
	h->gen++;
	h->next_free = s->handles.free;
	s->handles.free = (uint32_t)(h - s->handles.v);
	s->handles.count--;
}

void fs_handles_reset(struct fs_server *s)
{
	for (uint32_t k = 0; k < s->handles.room; k++)
		if (s->handles.v[k].used)
			fs_handle_close(s, &s->handles.v[k]);
}

struct fs_fd_name fs_fd_name(int fd)
{
	struct fs_fd_name n;

	(void)snprintf(n.text, sizeof(n.text), "%d", fd); // an int fits
	return n;
}

int fs_reopen(struct fs_server *s, struct fs_inode *i, int flags)
{
	int path_fd, fd, r;

	// Never a device, fifo or socket of the host: the guest's kernel opens those by itself and does not ask.
	if (i->type == S_IFDIR)
		return -EISDIR;
	if (i->type == S_IFLNK)
		return -ELOOP;
	if (i->type != S_IFREG)
		return -ENXIO;
	path_fd = fs_inode_fd(s, i);
	if (path_fd < 0)
		return path_fd;
	r = fs_fd_make_room(s);
	if (r < 0)
		return r;
	// The one link that is followed is the kernel's own, to the file the descriptor already names.
	fd = openat(s->proc_fd, fs_fd_name(path_fd).text,
		    flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	return fd < 0 ? -errno : fd;
}
