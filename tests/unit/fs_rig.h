// SPDX-License-Identifier: Apache-2.0
// What the tests of the virtio-fs server share: a server on a temporary directory, and FUSE requests made by hand.
#ifndef TESTS_UNIT_FS_RIG_H
#define TESTS_UNIT_FS_RIG_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/err.h"
#include "base/own.h"
#include "vmm/fs/fs.h"
#include "vmm/fs/fs_priv.h"

enum { BUF = 2 << 20, ROOT = FUSE_ROOT_ID };

struct world {
	char path[64]; // the temporary directory; the share is its sub-directory "share"
	int top, share;
	struct fs_server *s;
	uint32_t uid, gid;
	char *out; // the last reply
	size_t out_len;
	size_t out_room;
};

// ---- requests

struct body {
	char bytes[8192];
	size_t len;
};

static inline void put(struct body *b, const void *data, size_t len)
{
	assert_true(b->len + len <= sizeof(b->bytes));
	memcpy(b->bytes + b->len, data, len);
	b->len += len;
}

static inline void put_str(struct body *b, const char *text)
{
	put(b, text, strlen(text) + 1);
}

// Sends op with body, cut in odd pieces as a guest may do, and returns the reply's error (0 or -errno).
static inline int send_raw(struct world *w, const void *req, size_t len)
{
	char *copy AUTO_FREE = malloc(len + 1);
	struct iovec in[3], out[3];
	struct fuse_out_header h;

	assert_non_null(copy);
	memcpy(copy, req, len);
	in[0] = (struct iovec){ copy, len < 7 ? len : 7 };
	in[1] = (struct iovec){ copy + in[0].iov_len, len > 61 ? 54 : len - in[0].iov_len };
	in[2] = (struct iovec){ copy + in[0].iov_len + in[1].iov_len,
				len - in[0].iov_len - in[1].iov_len };
	out[0] = (struct iovec){ w->out, w->out_room < 5 ? w->out_room : 5 };
	out[1] = (struct iovec){ w->out + out[0].iov_len,
				 w->out_room > 25 ? 20 : w->out_room - out[0].iov_len };
	out[2] = (struct iovec){ w->out + out[0].iov_len + out[1].iov_len,
				 w->out_room - out[0].iov_len - out[1].iov_len };
	memset(w->out, 0xa5, w->out_room < 4096 ? w->out_room : 4096);
	w->out_len = fs_server_handle(w->s, in, 3, out, 3);
	if (w->out_len == 0)
		return 1; // no reply
	assert_true(w->out_len >= sizeof(h));
	memcpy(&h, w->out, sizeof(h));
	assert_int_equal(h.len, w->out_len);
	assert_int_equal(h.unique, 0x1122334455667788);
	assert_true(h.error <= 0 && h.error > -4096);
	assert_true(h.error == 0 || h.len == sizeof(h));
	return h.error;
}

static inline int call_data(struct world *w, uint32_t op, uint64_t node, const struct body *b,
			    const void *data, size_t dlen)
{
	struct fuse_in_header h = { .opcode = op, .unique = 0x1122334455667788, .nodeid = node };
	size_t len = sizeof(h) + b->len + dlen;
	char *req AUTO_FREE = malloc(len);

	assert_non_null(req);
	h.len = (uint32_t)len;
	h.uid = w->uid;
	h.gid = w->gid;
	memcpy(req, &h, sizeof(h));
	memcpy(req + sizeof(h), b->bytes, b->len);
	if (dlen)
		memcpy(req + sizeof(h) + b->len, data, dlen);
	return send_raw(w, req, len);
}

static inline int call(struct world *w, uint32_t op, uint64_t node, const struct body *b)
{
	return call_data(w, op, node, b, NULL, 0);
}

static inline const void *reply(const struct world *w)
{
	return w->out + sizeof(struct fuse_out_header);
}

static inline size_t reply_len(const struct world *w)
{
	return w->out_len - sizeof(struct fuse_out_header);
}

#define CALL_STRUCT(w, op, node, arg)          \
	({                                     \
		struct body b_ = { .len = 0 }; \
		put(&b_, &(arg), sizeof(arg)); \
		call(w, op, node, &b_);        \
	})

static inline int call_name(struct world *w, uint32_t op, uint64_t node, const char *name)
{
	struct body b = { .len = 0 };

	put_str(&b, name);
	return call(w, op, node, &b);
}

// ---- the everyday calls

static inline int init_minor(struct world *w, uint32_t major, uint32_t minor, uint32_t flags)
{
	struct fuse_init_in in = {
		.major = major, .minor = minor, .max_readahead = 131072, .flags = flags
	};

	return CALL_STRUCT(w, FUSE_INIT, 0, in);
}

static inline int lookup(struct world *w, uint64_t dir, const char *name, uint64_t *ret_node)
{
	int r = call_name(w, FUSE_LOOKUP, dir, name);

	if (ret_node)
		*ret_node = 0;
	if (r == 0 && ret_node)
		*ret_node = ((const struct fuse_entry_out *)reply(w))->nodeid;
	return r;
}

static inline uint64_t must_lookup(struct world *w, uint64_t dir, const char *name)
{
	uint64_t node = 0;

	assert_int_equal(lookup(w, dir, name, &node), 0);
	assert_int_not_equal(node, 0);
	return node;
}

static inline void forget(struct world *w, uint64_t node, uint64_t n)
{
	struct fuse_forget_in in = { .nlookup = n };

	assert_int_equal(CALL_STRUCT(w, FUSE_FORGET, node, in), 1);
}

static inline int open_op(struct world *w, uint32_t op, uint64_t node, uint32_t flags,
			  uint64_t *ret_fh)
{
	struct fuse_open_in in = { .flags = flags };
	int r = CALL_STRUCT(w, op, node, in);

	*ret_fh = 0;
	if (r == 0)
		*ret_fh = ((const struct fuse_open_out *)reply(w))->fh;
	return r;
}

static inline int release(struct world *w, uint32_t op, uint64_t node, uint64_t fh)
{
	struct fuse_release_in in = { .fh = fh };

	return CALL_STRUCT(w, op, node, in);
}

static inline int read_at(struct world *w, uint64_t node, uint64_t fh, uint64_t off, uint32_t size)
{
	struct fuse_read_in in = { .fh = fh, .offset = off, .size = size };

	return CALL_STRUCT(w, FUSE_READ, node, in);
}

static inline int write_at(struct world *w, uint64_t node, uint64_t fh, uint64_t off,
			   const char *text, uint32_t flags)
{
	struct fuse_write_in in = {
		.fh = fh, .offset = off, .size = (uint32_t)strlen(text), .flags = flags
	};
	struct body b = { .len = 0 };

	put(&b, &in, sizeof(in));
	return call_data(w, FUSE_WRITE, node, &b, text, strlen(text));
}

static inline int create(struct world *w, uint64_t dir, const char *name, uint32_t flags,
			 uint32_t mode, uint64_t *ret_node, uint64_t *ret_fh)
{
	struct fuse_create_in in = { .flags = flags, .mode = mode };
	struct body b = { .len = 0 };
	int r;

	put(&b, &in, sizeof(in));
	put_str(&b, name);
	r = call(w, FUSE_CREATE, dir, &b);
	*ret_node = *ret_fh = 0;
	if (r == 0) {
		*ret_node = ((const struct fuse_entry_out *)reply(w))->nodeid;
		*ret_fh = ((const struct fuse_open_out *)((const char *)reply(w) +
							  sizeof(struct fuse_entry_out)))
				  ->fh;
	}
	return r;
}

static inline int make_dir(struct world *w, uint64_t dir, const char *name, uint32_t mode)
{
	struct fuse_mkdir_in in = { .mode = mode };
	struct body b = { .len = 0 };

	put(&b, &in, sizeof(in));
	put_str(&b, name);
	return call(w, FUSE_MKDIR, dir, &b);
}

static inline int make_node(struct world *w, uint64_t dir, const char *name, uint32_t mode,
			    uint32_t rdev)
{
	struct fuse_mknod_in in = { .mode = mode, .rdev = rdev };
	struct body b = { .len = 0 };

	put(&b, &in, sizeof(in));
	put_str(&b, name);
	return call(w, FUSE_MKNOD, dir, &b);
}

static inline int rename_op(struct world *w, uint64_t from, const char *a, uint64_t to,
			    const char *z, uint32_t flags)
{
	struct fuse_rename2_in in = { .newdir = to, .flags = flags };
	struct body b = { .len = 0 };

	put(&b, &in, sizeof(in));
	put_str(&b, a);
	put_str(&b, z);
	return call(w, FUSE_RENAME2, from, &b);
}

static inline int getattr(struct world *w, uint64_t node, struct fuse_attr *ret)
{
	struct fuse_getattr_in in = { 0 };
	int r = CALL_STRUCT(w, FUSE_GETATTR, node, in);

	if (r == 0 && ret)
		*ret = ((const struct fuse_attr_out *)reply(w))->attr;
	return r;
}

// ---- the temporary directory

static inline void must_write(int dirfd, const char *path, const char *text)
{
	int fd AUTO_CLOSE = openat(dirfd, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

static inline void remove_tree(int dirfd, const char *name)
{
	int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *ent;

	while (d && (ent = readdir(d))) {
		if (strcmp(ent->d_name, ".") == 0 || strcmp(ent->d_name, "..") == 0)
			continue;
		if (unlinkat(fd, ent->d_name, 0) < 0)
			remove_tree(fd, ent->d_name);
	}
	if (d)
		closedir(d);
	(void)unlinkat(dirfd, name, AT_REMOVEDIR); // seen in /tmp if it fails
}

static inline void start(struct world *w, const struct fs_options *opt)
{
	struct err e = { 0 };

	fs_server_free(w->s);
	w->s = NULL;
	if (fs_server_new(w->share, opt, &w->s, &e) < 0)
		fail_msg("%s", e.msg);
	assert_int_equal(init_minor(w, 7, 40, UINT32_MAX), 0);
}

static inline int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct fs_options opt = { .cache = FS_CACHE_AUTO, .proc_fd = -1 };

	assert_non_null(w);
	strcpy(w->path, "/tmp/bulkhead-fs-XXXXXX");
	assert_non_null(mkdtemp(w->path));
	w->top = open(w->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(mkdirat(w->top, "share", 0755), 0);
	w->share = openat(w->top, "share", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(w->share >= 0);
	must_write(w->top, "secret", "outside");
	w->out_room = BUF;
	w->out = malloc(BUF);
	assert_non_null(w->out);
	w->uid = geteuid();
	w->gid = getegid();
	(void)umask(0);
	start(w, &opt);
	*state = w;
	return 0;
}

static inline int teardown(void **state)
{
	struct world *w = *state;

	fs_server_free(w->s);
	(void)fchmod(w->share, 0700); // a test may have left it closed to us
	close_fd(w->share);
	close_fd(w->top);
	remove_tree(AT_FDCWD, w->path);
	free(w->out);
	free(w);
	return 0;
}

// ---- extended attributes

static inline int xattr_size_op(struct world *w, uint32_t op, uint64_t node, const char *name,
				uint32_t size)
{
	struct fuse_getxattr_in in = { .size = size };
	struct body b = { .len = 0 };

	put(&b, &in, sizeof(in));
	if (name)
		put_str(&b, name);
	return call(w, op, node, &b);
}

static inline int setxattr_op(struct world *w, uint64_t node, const char *name, const char *value,
			      uint32_t size)
{
	uint32_t in[2] = { size, 0 };
	struct body b = { .len = 0 };

	put(&b, in, sizeof(in));
	put_str(&b, name);
	put(&b, value, strlen(value));
	return call(w, FUSE_SETXATTR, node, &b);
}

#endif
