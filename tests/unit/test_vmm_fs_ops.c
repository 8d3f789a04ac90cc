// SPDX-License-Identifier: Apache-2.0
// The virtio-fs server, driven by hand-made FUSE requests against a temporary directory: what each operation does, and
// what a hostile guest gets.
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

static void put(struct body *b, const void *data, size_t len)
{
	assert_true(b->len + len <= sizeof(b->bytes));
	memcpy(b->bytes + b->len, data, len);
	b->len += len;
}

static void put_str(struct body *b, const char *text)
{
	put(b, text, strlen(text) + 1);
}

// Sends op with body, cut in odd pieces as a guest may do, and returns the reply's error (0 or -errno).
static int send_raw(struct world *w, const void *req, size_t len)
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

static int call_data(struct world *w, uint32_t op, uint64_t node, const struct body *b,
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

static int call(struct world *w, uint32_t op, uint64_t node, const struct body *b)
{
	return call_data(w, op, node, b, NULL, 0);
}

static const void *reply(const struct world *w)
{
	return w->out + sizeof(struct fuse_out_header);
}

static size_t reply_len(const struct world *w)
{
	return w->out_len - sizeof(struct fuse_out_header);
}

#define CALL_STRUCT(w, op, node, arg)          \
	({                                     \
		struct body b_ = { .len = 0 }; \
		put(&b_, &(arg), sizeof(arg)); \
		call(w, op, node, &b_);        \
	})

static int call_name(struct world *w, uint32_t op, uint64_t node, const char *name)
{
	struct body b = { .len = 0 };

	put_str(&b, name);
	return call(w, op, node, &b);
}

// ---- the everyday calls

static int init_minor(struct world *w, uint32_t major, uint32_t minor, uint32_t flags)
{
	struct fuse_init_in in = {
		.major = major, .minor = minor, .max_readahead = 131072, .flags = flags
	};

	return CALL_STRUCT(w, FUSE_INIT, 0, in);
}

static int lookup(struct world *w, uint64_t dir, const char *name, uint64_t *ret_node)
{
	int r = call_name(w, FUSE_LOOKUP, dir, name);

	if (r == 0 && ret_node)
		*ret_node = ((const struct fuse_entry_out *)reply(w))->nodeid;
	return r;
}

static uint64_t must_lookup(struct world *w, uint64_t dir, const char *name)
{
	uint64_t node = 0;

	assert_int_equal(lookup(w, dir, name, &node), 0);
	assert_int_not_equal(node, 0);
	return node;
}

static void forget(struct world *w, uint64_t node, uint64_t n)
{
	struct fuse_forget_in in = { .nlookup = n };

	assert_int_equal(CALL_STRUCT(w, FUSE_FORGET, node, in), 1);
}

static int open_op(struct world *w, uint32_t op, uint64_t node, uint32_t flags, uint64_t *ret_fh)
{
	struct fuse_open_in in = { .flags = flags };
	int r = CALL_STRUCT(w, op, node, in);

	if (r == 0)
		*ret_fh = ((const struct fuse_open_out *)reply(w))->fh;
	return r;
}

static int release(struct world *w, uint32_t op, uint64_t node, uint64_t fh)
{
	struct fuse_release_in in = { .fh = fh };

	return CALL_STRUCT(w, op, node, in);
}

static int read_at(struct world *w, uint64_t node, uint64_t fh, uint64_t off, uint32_t size)
{
	struct fuse_read_in in = { .fh = fh, .offset = off, .size = size };

	return CALL_STRUCT(w, FUSE_READ, node, in);
}

static int write_at(struct world *w, uint64_t node, uint64_t fh, uint64_t off, const char *text,
		    uint32_t flags)
{
	struct fuse_write_in in = {
		.fh = fh, .offset = off, .size = (uint32_t)strlen(text), .flags = flags
	};
	struct body b = { .len = 0 };

	put(&b, &in, sizeof(in));
	return call_data(w, FUSE_WRITE, node, &b, text, strlen(text));
}

static int create(struct world *w, uint64_t dir, const char *name, uint32_t flags, uint32_t mode,
		  uint64_t *ret_node, uint64_t *ret_fh)
{
	struct fuse_create_in in = { .flags = flags, .mode = mode };
	struct body b = { .len = 0 };
	int r;

	put(&b, &in, sizeof(in));
	put_str(&b, name);
	r = call(w, FUSE_CREATE, dir, &b);
	if (r == 0) {
		*ret_node = ((const struct fuse_entry_out *)reply(w))->nodeid;
		*ret_fh = ((const struct fuse_open_out *)((const char *)reply(w) +
							  sizeof(struct fuse_entry_out)))
				  ->fh;
	}
	return r;
}

static int make_dir(struct world *w, uint64_t dir, const char *name, uint32_t mode)
{
	struct fuse_mkdir_in in = { .mode = mode };
	struct body b = { .len = 0 };

	put(&b, &in, sizeof(in));
	put_str(&b, name);
	return call(w, FUSE_MKDIR, dir, &b);
}

static int make_node(struct world *w, uint64_t dir, const char *name, uint32_t mode, uint32_t rdev)
{
	struct fuse_mknod_in in = { .mode = mode, .rdev = rdev };
	struct body b = { .len = 0 };

	put(&b, &in, sizeof(in));
	put_str(&b, name);
	return call(w, FUSE_MKNOD, dir, &b);
}

static int rename_op(struct world *w, uint64_t from, const char *a, uint64_t to, const char *z,
		     uint32_t flags)
{
	struct fuse_rename2_in in = { .newdir = to, .flags = flags };
	struct body b = { .len = 0 };

	put(&b, &in, sizeof(in));
	put_str(&b, a);
	put_str(&b, z);
	return call(w, FUSE_RENAME2, from, &b);
}

static int getattr(struct world *w, uint64_t node, struct fuse_attr *ret)
{
	struct fuse_getattr_in in = { 0 };
	int r = CALL_STRUCT(w, FUSE_GETATTR, node, in);

	if (r == 0 && ret)
		*ret = ((const struct fuse_attr_out *)reply(w))->attr;
	return r;
}

// ---- the temporary directory

static void must_write(int dirfd, const char *path, const char *text)
{
	int fd AUTO_CLOSE = openat(dirfd, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

static void remove_tree(int dirfd, const char *name)
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

static void start(struct world *w, const struct fs_options *opt)
{
	struct err e = { 0 };

	fs_server_free(w->s);
	w->s = NULL;
	if (fs_server_new(w->share, opt, &w->s, &e) < 0)
		fail_msg("%s", e.msg);
	assert_int_equal(init_minor(w, 7, 40, UINT32_MAX), 0);
}

static int setup(void **state)
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

static int teardown(void **state)
{
	struct world *w = *state;

	fs_server_free(w->s);
	close_fd(w->share);
	close_fd(w->top);
	remove_tree(AT_FDCWD, w->path);
	free(w->out);
	free(w);
	return 0;
}

// ---- good cases

static void test_init(void **state)
{
	struct world *w = *state;
	const struct fuse_init_out *o = reply(w);

	assert_int_equal(reply_len(w), sizeof(*o));
	assert_int_equal(o->major, 7);
	assert_int_equal(o->minor, 38);
	assert_int_equal(o->max_write, 1 << 20);
	assert_int_equal(o->max_pages, 256);
	assert_true(o->flags & FUSE_MAX_PAGES && o->flags & FUSE_DO_READDIRPLUS);
	assert_false(o->flags &
		     (FUSE_POSIX_LOCKS | FUSE_FLOCK_LOCKS | FUSE_POSIX_ACL | FUSE_WRITEBACK_CACHE));
	assert_int_equal(init_minor(w, 7, 31, FUSE_MAX_PAGES), 0);
	assert_int_equal(o->minor, 31);
	assert_int_equal(o->flags, FUSE_MAX_PAGES); // nothing that was not offered
	assert_int_equal(init_minor(w, 8, 0, 0), 0);
	assert_int_equal(o->major, 7);
	assert_int_equal(getattr(w, ROOT, NULL), -EIO); // not agreed yet
	assert_int_equal(init_minor(w, 7, 30, 0), -EPROTO);
	assert_int_equal(init_minor(w, 6, 0, 0), -EPROTO);
}

static void test_lookup_and_attributes(void **state)
{
	struct world *w = *state;
	struct fuse_attr a;
	struct stat st;
	uint64_t node;

	must_write(w->share, "file", "hello");
	node = must_lookup(w, ROOT, "file");
	assert_int_equal(must_lookup(w, ROOT, "file"), node); // the same file is the same inode
	assert_int_equal(fstatat(w->share, "file", &st, 0), 0);
	assert_int_equal(getattr(w, node, &a), 0);
	assert_int_equal(a.ino, st.st_ino);
	assert_int_equal(a.size, 5);
	assert_int_equal(a.mode, S_IFREG | 0644);
	assert_int_equal(a.nlink, 1);
	assert_int_equal(getattr(w, ROOT, &a), 0);
	assert_true(S_ISDIR(a.mode));
	assert_int_equal(lookup(w, ROOT, "none", NULL), -ENOENT); // at the top: not remembered
	assert_int_equal(make_dir(w, ROOT, "d", 0755), 0);
	node = must_lookup(w, ROOT, "d");
	assert_int_equal(lookup(w, node, "none", &node), 0); // below: "remember that there is none"
	assert_int_equal(node, 0);
	assert_int_equal(((const struct fuse_entry_out *)reply(w))->entry_valid, 1);
	node = must_lookup(w, ROOT, "file");
	assert_int_equal(lookup(w, node, "x", NULL), -ENOTDIR);
}

static void test_file_data(void **state)
{
	struct world *w = *state;
	struct fuse_write_in big = { 0 };
	struct body b = { .len = 0 };
	char *data AUTO_FREE = malloc(FS_WRITE_MAX);
	struct fuse_lseek_in seek = { .whence = SEEK_HOLE };
	uint64_t node, fh, fh2;

	assert_non_null(data);
	assert_int_equal(create(w, ROOT, "f", O_RDWR | O_CREAT, 0640, &node, &fh), 0);
	assert_int_equal(write_at(w, node, fh, 0, "0123456789", 0), 0);
	assert_int_equal(((const struct fuse_write_out *)reply(w))->size, 10);
	assert_int_equal(write_at(w, node, fh, 2, "++", O_APPEND),
			 0); // appends whatever the offset says
	assert_int_equal(read_at(w, node, fh, 8, 100), 0);
	assert_int_equal(reply_len(w), 4);
	assert_memory_equal(reply(w), "89++", 4);
	assert_int_equal(read_at(w, node, fh, 12, 100), 0);
	assert_int_equal(reply_len(w), 0);
	seek.fh = fh;
	assert_int_equal(CALL_STRUCT(w, FUSE_LSEEK, node, seek), 0);
	assert_int_equal(((const struct fuse_lseek_out *)reply(w))->offset, 12);

	for (size_t i = 0; i < FS_WRITE_MAX; i++)
		data[i] = (char)(i * 7 + (i >> 9));
	big.fh = fh;
	big.size = FS_WRITE_MAX;
	put(&b, &big, sizeof(big));
	assert_int_equal(call_data(w, FUSE_WRITE, node, &b, data, FS_WRITE_MAX), 0);
	assert_int_equal(read_at(w, node, fh, 0, FS_WRITE_MAX), 0);
	assert_int_equal(reply_len(w), FS_WRITE_MAX);
	assert_memory_equal(reply(w), data, FS_WRITE_MAX);

	assert_int_equal(release(w, FUSE_RELEASE, node, fh), 0);
	assert_int_equal(open_op(w, FUSE_OPEN, node, O_RDONLY, &fh2), 0);
	assert_int_not_equal(fh2, fh);
	assert_int_equal(write_at(w, node, fh2, 0, "x", 0), -EBADF); // not open for that
	assert_int_equal(release(w, FUSE_RELEASE, node, fh2), 0);
	assert_int_equal(open_op(w, FUSE_OPEN, node, O_WRONLY | O_TRUNC, &fh), 0);
	assert_int_equal(release(w, FUSE_RELEASE, node, fh), 0);
	assert_int_equal(call(w, FUSE_FLUSH, node, &b), -ENOSYS);
}

static void test_file_ranges(void **state)
{
	struct world *w = *state;
	struct fuse_copy_file_range_in cp = { 0 };
	struct fuse_fallocate_in fa = { 0 };
	struct fuse_fsync_in fs = { 0 };
	struct fuse_attr a;
	uint64_t n1, n2, f1, f2;

	assert_int_equal(create(w, ROOT, "a", O_RDWR | O_CREAT | O_EXCL, 0600, &n1, &f1), 0);
	assert_int_equal(create(w, ROOT, "a", O_RDWR | O_CREAT | O_EXCL, 0600, &n2, &f2), -EEXIST);
	assert_int_equal(create(w, ROOT, "b", O_RDWR | O_CREAT, 0600, &n2, &f2), 0);
	assert_int_equal(write_at(w, n1, f1, 0, "abcdef", 0), 0);
	cp = (struct fuse_copy_file_range_in){
		.fh_in = f1, .off_in = 2, .nodeid_out = n2, .fh_out = f2, .len = 3
	};
	assert_int_equal(CALL_STRUCT(w, FUSE_COPY_FILE_RANGE, n1, cp), 0);
	assert_int_equal(((const struct fuse_write_out *)reply(w))->size, 3);
	assert_int_equal(read_at(w, n2, f2, 0, 10), 0);
	assert_memory_equal(reply(w), "cde", 3);
	fa = (struct fuse_fallocate_in){ .fh = f1, .offset = 0, .length = 8192 };
	assert_int_equal(CALL_STRUCT(w, FUSE_FALLOCATE, n1, fa), 0);
	assert_int_equal(getattr(w, n1, &a), 0);
	assert_int_equal(a.size, 8192);
	fs.fh = f1;
	assert_int_equal(CALL_STRUCT(w, FUSE_FSYNC, n1, fs), 0);
	fs.fsync_flags = FUSE_FSYNC_FDATASYNC;
	assert_int_equal(CALL_STRUCT(w, FUSE_FSYNC, n1, fs), 0);
	cp.off_in = UINT64_MAX;
	assert_int_equal(CALL_STRUCT(w, FUSE_COPY_FILE_RANGE, n1, cp), -EINVAL);
	fa.offset = UINT64_MAX;
	assert_int_equal(CALL_STRUCT(w, FUSE_FALLOCATE, n1, fa), -EFBIG);
	// CREATE of what is there opens it, and empties it only if asked.
	assert_int_equal(create(w, ROOT, "a", O_RDWR | O_CREAT, 0600, &n2, &f2), 0);
	assert_int_equal(n2, n1);
	assert_int_equal(getattr(w, n1, &a), 0);
	assert_int_equal(a.size, 8192);
	assert_int_equal(create(w, ROOT, "a", O_RDWR | O_CREAT | O_TRUNC, 0600, &n2, &f2), 0);
	assert_int_equal(getattr(w, n1, &a), 0);
	assert_int_equal(a.size, 0);
}

static void test_setattr(void **state)
{
	struct world *w = *state;
	struct fuse_setattr_in in = { .valid = FATTR_MODE, .mode = S_IFREG | 04711 };
	struct fuse_attr a;
	uint64_t node, fh;

	assert_int_equal(create(w, ROOT, "f", O_RDWR | O_CREAT, 0644, &node, &fh), 0);
	assert_int_equal(CALL_STRUCT(w, FUSE_SETATTR, node, in), 0);
	assert_int_equal(((const struct fuse_attr_out *)reply(w))->attr.mode, S_IFREG | 04711);
	in = (struct fuse_setattr_in){ .valid = FATTR_SIZE, .size = 100 };
	assert_int_equal(CALL_STRUCT(w, FUSE_SETATTR, node, in), 0);
	in = (struct fuse_setattr_in){ .valid = FATTR_SIZE | FATTR_FH, .size = 50, .fh = fh };
	assert_int_equal(CALL_STRUCT(w, FUSE_SETATTR, node, in), 0);
	assert_int_equal(getattr(w, node, &a), 0);
	assert_int_equal(a.size, 50);
	in = (struct fuse_setattr_in){
		.valid = FATTR_ATIME | FATTR_MTIME, .atime = 1000, .mtime = 2000, .mtimensec = 5
	};
	assert_int_equal(CALL_STRUCT(w, FUSE_SETATTR, node, in), 0);
	assert_int_equal(getattr(w, node, &a), 0);
	assert_int_equal(a.atime, 1000);
	assert_int_equal(a.mtime, 2000);
	assert_int_equal(a.mtimensec, 5);
	in = (struct fuse_setattr_in){ .valid = FATTR_MTIME, .mtimensec = UTIME_OMIT };
	assert_int_equal(CALL_STRUCT(w, FUSE_SETATTR, node, in), -EINVAL);
	in = (struct fuse_setattr_in){ .valid = FATTR_SIZE, .size = UINT64_MAX };
	assert_int_equal(CALL_STRUCT(w, FUSE_SETATTR, node, in), -EFBIG);
	in = (struct fuse_setattr_in){ .valid = FATTR_SIZE | FATTR_FH, .size = 1, .fh = fh + 1 };
	assert_int_equal(CALL_STRUCT(w, FUSE_SETATTR, node, in), -EBADF);
	in = (struct fuse_setattr_in){ .valid = FATTR_SIZE, .size = 1 };
	assert_int_equal(CALL_STRUCT(w, FUSE_SETATTR, ROOT, in), -EISDIR);
}

static void test_tree(void **state)
{
	struct world *w = *state;
	struct body b = { .len = 0 };
	struct fuse_link_in ln;
	struct fuse_attr a;
	uint64_t d, f, fh, l;

	assert_int_equal(make_dir(w, ROOT, "d", 0750), 0);
	d = must_lookup(w, ROOT, "d");
	assert_int_equal(getattr(w, d, &a), 0);
	assert_int_equal(a.mode, S_IFDIR | 0750);
	assert_int_equal(create(w, d, "f", O_RDWR | O_CREAT, 0600, &f, &fh), 0);
	put_str(&b, "sym");
	put_str(&b, "../../secret");
	assert_int_equal(call(w, FUSE_SYMLINK, d, &b), 0);
	l = must_lookup(w, d, "sym");
	b.len = 0;
	assert_int_equal(call(w, FUSE_READLINK, l, &b), 0);
	assert_int_equal(reply_len(w), 12);
	assert_memory_equal(reply(w), "../../secret", 12);
	assert_int_equal(call(w, FUSE_READLINK, f, &b), -EINVAL);

	ln.oldnodeid = f;
	b.len = 0;
	put(&b, &ln, sizeof(ln));
	put_str(&b, "hard");
	assert_int_equal(call(w, FUSE_LINK, ROOT, &b), 0);
	assert_int_equal(((const struct fuse_entry_out *)reply(w))->nodeid, f);
	assert_int_equal(((const struct fuse_entry_out *)reply(w))->attr.nlink, 2);
	b.len = 0;
	ln.oldnodeid = l;
	put(&b, &ln, sizeof(ln));
	put_str(&b, "hardsym"); // a link to the symbolic link itself
	assert_int_equal(call(w, FUSE_LINK, ROOT, &b), 0);
	assert_int_equal(((const struct fuse_entry_out *)reply(w))->nodeid, l);

	assert_int_equal(rename_op(w, d, "f", ROOT, "g", 0), 0);
	assert_int_equal(must_lookup(w, ROOT, "g"), f);
	assert_int_equal(rename_op(w, ROOT, "g", ROOT, "hardsym", RENAME_NOREPLACE), -EEXIST);
	assert_int_equal(rename_op(w, ROOT, "g", ROOT, "hardsym", RENAME_EXCHANGE), 0);
	assert_int_equal(must_lookup(w, ROOT, "hardsym"), f);
	assert_int_equal(must_lookup(w, ROOT, "g"), l);
	assert_int_equal(rename_op(w, ROOT, "g", ROOT, "h", 0x80), -EINVAL);
	assert_int_equal(call_name(w, FUSE_RMDIR, ROOT, "d"), -ENOTEMPTY);
	assert_int_equal(call_name(w, FUSE_UNLINK, d, "sym"), 0);
	assert_int_equal(call_name(w, FUSE_RMDIR, ROOT, "d"), 0);
	assert_int_equal(getattr(w, d, &a), 0); // without a name, but known
	assert_int_equal(lookup(w, d, "x", &l), 0);
	assert_int_equal(l, 0);
	assert_int_equal(make_dir(w, d, "x", 0755), -ENOENT);
}

static void test_special_files(void **state)
{
	struct world *w = *state;
	struct fuse_attr a;
	uint64_t node, fh;

	assert_int_equal(make_node(w, ROOT, "p", S_IFIFO | 0600, 0), 0);
	node = must_lookup(w, ROOT, "p");
	assert_int_equal(open_op(w, FUSE_OPEN, node, O_RDONLY, &fh),
			 -ENXIO); // must not block either
	assert_int_equal(create(w, ROOT, "p", O_RDWR | O_CREAT, 0600, &node, &fh), -ENXIO);
	assert_int_equal(make_node(w, ROOT, "s", S_IFSOCK | 0600, 0), 0);
	assert_int_equal(make_node(w, ROOT, "r", S_IFREG | 0600, 0), 0);
	assert_int_equal(make_node(w, ROOT, "d", S_IFDIR | 0700, 0), -EINVAL);
	assert_int_equal(make_node(w, ROOT, "x", 0170000 | 0700, 0), -EINVAL);
	if (geteuid() == 0 && make_node(w, ROOT, "null", S_IFCHR | 0666, 1 << 8 | 3) == 0) {
		struct stat st;

		node = must_lookup(w, ROOT, "null");
		assert_int_equal(getattr(w, node, &a), 0);
		assert_int_equal(a.rdev, 1 << 8 | 3);
		assert_int_equal(fstatat(w->share, "null", &st, 0), 0);
		assert_int_equal(st.st_rdev, makedev(1, 3));
		assert_int_equal(open_op(w, FUSE_OPEN, node, O_RDONLY, &fh), -ENXIO);
	}
}

// Lists dir and returns how many names there were; counts the names "fNN" in seen.
static unsigned list(struct world *w, uint64_t dir, uint32_t size, unsigned char *seen,
		     unsigned nseen)
{
	struct fuse_read_in in = { .size = size };
	unsigned names = 0;
	uint64_t fh;

	assert_int_equal(open_op(w, FUSE_OPENDIR, dir, O_RDONLY, &fh), 0);
	in.fh = fh;
	for (;;) {
		const char *p, *end;

		assert_int_equal(CALL_STRUCT(w, FUSE_READDIR, dir, in), 0);
		if (reply_len(w) == 0)
			break;
		assert_true(reply_len(w) <= size);
		p = reply(w);
		for (end = p + reply_len(w); p < end;) {
			struct fuse_dirent ent;
			char name[256];

			memcpy(&ent, p, sizeof(ent));
			memcpy(name, p + sizeof(ent), ent.namelen);
			name[ent.namelen] = '\0';
			p += FUSE_REC_ALIGN(sizeof(ent) + ent.namelen);
			in.offset = ent.off;
			names++;
			if (name[0] == 'f') {
				unsigned k = (unsigned)atoi(name + 1);

				assert_true(k < nseen);
				seen[k]++;
			}
		}
	}
	assert_int_equal(release(w, FUSE_RELEASEDIR, dir, fh), 0);
	return names;
}

static void test_readdir(void **state)
{
	struct world *w = *state;
	unsigned char seen[300];
	struct fs_counters c;
	uint64_t d, fh;

	assert_int_equal(make_dir(w, ROOT, "d", 0755), 0);
	d = must_lookup(w, ROOT, "d");
	for (unsigned k = 0; k < 300; k++) {
		char name[16];

		(void)snprintf(name, sizeof(name), "d/f%u", k); // fits
		must_write(w->share, name, "");
	}
	memset(seen, 0, sizeof(seen));
	assert_int_equal(list(w, d, 4096, seen, 300), 302);
	for (unsigned k = 0; k < 300; k++)
		assert_int_equal(seen[k], 1);
	assert_int_equal(list(w, d, 512, seen, 300), 302);
	// too small for one name
	assert_int_equal(open_op(w, FUSE_OPENDIR, d, O_RDONLY, &fh), 0);
	{
		struct fuse_read_in in = { .fh = fh, .size = 8 };

		assert_int_equal(CALL_STRUCT(w, FUSE_READDIR, d, in), -EINVAL);
		in.size = 4096;
		in.offset = UINT64_MAX;
		assert_true(CALL_STRUCT(w, FUSE_READDIR, d, in) <=
			    0); // the host's answer, whatever it is
		assert_int_equal(CALL_STRUCT(w, FUSE_READ, d, in), -EBADF); // a directory's handle
	}
	fs_server_get_counters(w->s, &c);
	assert_int_equal(c.inodes, 2); // READDIR gives no references
}

static void test_readdirplus(void **state)
{
	struct world *w = *state;
	struct fuse_read_in in = { .size = 4096 };
	const struct fuse_entry_out *entry;
	struct fs_counters c;
	uint64_t fh, node = 0;
	unsigned found = 0;

	must_write(w->share, "f0", "x");
	assert_int_equal(open_op(w, FUSE_OPENDIR, ROOT, O_RDONLY, &fh), 0);
	in.fh = fh;
	assert_int_equal(CALL_STRUCT(w, FUSE_READDIRPLUS, ROOT, in), 0);
	for (const char *p = reply(w), *end = p + reply_len(w); p < end;) {
		struct fuse_dirent ent;

		entry = (const void *)p;
		memcpy(&ent, p + sizeof(*entry), sizeof(ent));
		if (p[sizeof(*entry) + sizeof(ent)] == '.')
			assert_int_equal(entry->nodeid, 0);
		else
			found++, node = entry->nodeid;
		p += sizeof(*entry) + FUSE_REC_ALIGN(sizeof(ent) + ent.namelen);
	}
	assert_int_equal(found, 1);
	assert_int_equal(must_lookup(w, ROOT, "f0"), node);
	forget(w, node, 1);
	assert_int_equal(getattr(w, node, NULL), 0); // one reference from READDIRPLUS is left
	forget(w, node, 1);
	assert_int_equal(getattr(w, node, NULL), -ESTALE);
	fs_server_get_counters(w->s, &c);
	assert_int_equal(c.inodes, 1);
}

static int xattr_size_op(struct world *w, uint32_t op, uint64_t node, const char *name,
			 uint32_t size)
{
	struct fuse_getxattr_in in = { .size = size };
	struct body b = { .len = 0 };

	put(&b, &in, sizeof(in));
	if (name)
		put_str(&b, name);
	return call(w, op, node, &b);
}

static int setxattr_op(struct world *w, uint64_t node, const char *name, const char *value,
		       uint32_t size)
{
	uint32_t in[2] = { size, 0 };
	struct body b = { .len = 0 };

	put(&b, in, sizeof(in));
	put_str(&b, name);
	put(&b, value, strlen(value));
	return call(w, FUSE_SETXATTR, node, &b);
}

static void test_xattr(void **state)
{
	struct world *w = *state;
	uint64_t node, fh;

	assert_int_equal(create(w, ROOT, "f", O_RDWR | O_CREAT, 0644, &node, &fh), 0);
	if (fsetxattr(w->share, "user.probe", "", 0, 0) < 0)
		skip(); // the temporary directory's file system has none
	assert_int_equal(setxattr_op(w, node, "user.a", "value", 5), 0);
	assert_int_equal(xattr_size_op(w, FUSE_GETXATTR, node, "user.a", 0), 0);
	assert_int_equal(((const struct fuse_getxattr_out *)reply(w))->size, 5);
	assert_int_equal(xattr_size_op(w, FUSE_GETXATTR, node, "user.a", 64), 0);
	assert_memory_equal(reply(w), "value", 5);
	assert_int_equal(xattr_size_op(w, FUSE_GETXATTR, node, "user.a", 3), -ERANGE);
	assert_int_equal(xattr_size_op(w, FUSE_GETXATTR, node, "user.b", 3), -ENODATA);
	assert_int_equal(setxattr_op(w, ROOT, "user.d", "dir", 3), 0);
	if (geteuid() == 0)
		assert_int_equal(fsetxattr(w->share, "trusted.hidden", "h", 1, 0), 0);
	assert_int_equal(xattr_size_op(w, FUSE_LISTXATTR, node, NULL, 64), 0);
	assert_int_equal(reply_len(w), 7);
	assert_memory_equal(reply(w), "user.a", 7);
	assert_int_equal(xattr_size_op(w, FUSE_LISTXATTR, ROOT, NULL, 64), 0);
	assert_null(memmem(reply(w), reply_len(w), "trusted", 7));
	assert_int_equal(call_name(w, FUSE_REMOVEXATTR, node, "user.a"), 0);
	assert_int_equal(xattr_size_op(w, FUSE_LISTXATTR, node, NULL, 0), 0);
	assert_int_equal(((const struct fuse_getxattr_out *)reply(w))->size, 0);

	assert_int_equal(setxattr_op(w, node, "trusted.overlay.opaque", "y", 1), -EOPNOTSUPP);
	assert_int_equal(setxattr_op(w, node, "security.selinux", "y", 1), -EOPNOTSUPP);
	assert_int_equal(xattr_size_op(w, FUSE_GETXATTR, node, "system.posix_acl_access", 64),
			 -EOPNOTSUPP);
	assert_int_equal(setxattr_op(w, node, "user.big", "y", 1000),
			 -EINVAL); // says more than it sends
	assert_int_equal(setxattr_op(w, node, "user.big", "y", UINT32_MAX), -E2BIG);
}

static void test_statfs_statx_and_the_rest(void **state)
{
	struct world *w = *state;
	struct body b = { .len = 0 };
	struct fuse_access_in acc = { .mask = R_OK };
	uint64_t statx_in[3] = { 0, 0, (uint64_t)STATX_BASIC_STATS << 32 };
	uint64_t fh;
	struct fuse_fsync_in fs = { 0 };

	assert_int_equal(call(w, FUSE_STATFS, ROOT, &b), 0);
	assert_int_equal(reply_len(w), sizeof(struct fuse_statfs_out));
	assert_int_equal(((const struct fuse_statfs_out *)reply(w))->st.namelen, 255);
	assert_int_equal(CALL_STRUCT(w, FUSE_ACCESS, ROOT, acc), 0);
	acc.mask = 0x100;
	assert_int_equal(CALL_STRUCT(w, FUSE_ACCESS, ROOT, acc), -EINVAL);
	assert_int_equal(CALL_STRUCT(w, 52, ROOT, statx_in), 0); // STATX
	assert_int_equal(reply_len(w), 288);
	assert_int_equal(open_op(w, FUSE_OPENDIR, ROOT, 0, &fh), 0);
	fs.fh = fh;
	assert_int_equal(CALL_STRUCT(w, FUSE_FSYNCDIR, ROOT, fs), 0);
	for (uint32_t op = 0; op < 70; op++) {
		static const uint32_t none[] = {
			FUSE_GETLK, FUSE_SETLK,        FUSE_SETLKW,  FUSE_IOCTL, FUSE_POLL,
			FUSE_BMAP,  FUSE_SETUPMAPPING, FUSE_TMPFILE, 0,          60,
			69
		};

		for (unsigned k = 0; k < sizeof(none) / sizeof(none[0]); k++)
			if (none[k] == op)
				assert_int_equal(call(w, op, ROOT, &b), -ENOSYS);
	}
	assert_int_equal(call(w, FUSE_INTERRUPT, 0, &b), 1);
	assert_int_equal(call(w, FUSE_DESTROY, 0, &b), 0);
	assert_int_equal(getattr(w, ROOT, NULL), -EIO);
}

static void test_owner(void **state)
{
	struct world *w = *state;
	struct fuse_attr a;
	uint64_t node, fh, d;

	if (geteuid() != 0)
		skip();
	w->uid = 1234;
	w->gid = 5678;
	assert_int_equal(create(w, ROOT, "f", O_RDWR | O_CREAT, 0400, &node, &fh), 0);
	assert_int_equal(getattr(w, node, &a), 0);
	assert_int_equal(a.uid, 1234);
	assert_int_equal(a.gid, 5678);
	assert_int_equal(make_dir(w, ROOT, "d", 0700), 0);
	d = must_lookup(w, ROOT, "d");
	assert_int_equal(getattr(w, d, &a), 0);
	assert_int_equal(a.uid, 1234);
	// A set-gid directory gives its group, and another user's directory is the guest kernel's matter.
	assert_int_equal(fchownat(w->share, "d", 77, 88, 0), 0);
	assert_int_equal(fchmodat(w->share, "d", 02700, 0), 0);
	assert_int_equal(make_node(w, d, "n", S_IFREG | 0644, 0), 0);
	assert_int_equal(getattr(w, must_lookup(w, d, "n"), &a), 0);
	assert_int_equal(a.uid, 1234);
	assert_int_equal(a.gid, 88);
	w->uid = UINT32_MAX; // no id, and what the kernel would take for "unchanged"
	assert_int_equal(make_dir(w, ROOT, "e", 0700), -EINVAL);
	assert_int_equal(faccessat(w->share, "e", F_OK, 0), -1);
	assert_int_equal(geteuid(), 0);
}

static void test_set_id_bits(void **state)
{
	struct world *w = *state;
	struct fuse_write_in in = { .size = 1 };
	struct body b = { .len = 0 };
	struct fuse_attr a;
	uint64_t node, fh;

	if (geteuid() != 0)
		skip();
	assert_int_equal(create(w, ROOT, "f", O_RDWR | O_CREAT, 0755, &node, &fh), 0);
	assert_int_equal(fchmodat(w->share, "f", 04755, 0), 0);
	assert_int_equal(write_at(w, node, fh, 0, "x", 0), 0);
	assert_int_equal(getattr(w, node, &a), 0);
	assert_int_equal(a.mode & 07777, 04755); // the guest's root may
	in.fh = fh;
	in.write_flags = FUSE_WRITE_KILL_SUIDGID;
	put(&b, &in, sizeof(in));
	assert_int_equal(call_data(w, FUSE_WRITE, node, &b, "y", 1), 0);
	assert_int_equal(getattr(w, node, &a), 0);
	assert_int_equal(a.mode & 07777, 0755);
}

static void test_readonly(void **state)
{
	struct world *w = *state;
	struct fs_options opt = { .readonly = true, .proc_fd = -1 };
	struct fuse_access_in acc = { .mask = W_OK };
	uint64_t node, fh;

	must_write(w->share, "f", "data");
	start(w, &opt);
	node = must_lookup(w, ROOT, "f");
	assert_int_equal(open_op(w, FUSE_OPEN, node, O_RDWR, &fh), -EROFS);
	assert_int_equal(open_op(w, FUSE_OPEN, node, O_RDONLY | O_TRUNC, &fh), -EROFS);
	assert_int_equal(open_op(w, FUSE_OPEN, node, O_RDONLY, &fh), 0);
	assert_int_equal(read_at(w, node, fh, 0, 10), 0);
	assert_int_equal(write_at(w, node, fh, 0, "x", 0), -EROFS);
	assert_int_equal(make_dir(w, ROOT, "d", 0755), -EROFS);
	assert_int_equal(call_name(w, FUSE_UNLINK, ROOT, "f"), -EROFS);
	assert_int_equal(create(w, ROOT, "g", O_CREAT | O_RDWR, 0644, &node, &fh), -EROFS);
	assert_int_equal(setxattr_op(w, ROOT, "user.a", "x", 1), -EROFS);
	assert_int_equal(CALL_STRUCT(w, FUSE_ACCESS, ROOT, acc), -EROFS);
}

// ---- many files, few descriptors

static void test_more_files_than_descriptors(void **state)
{
	struct world *w = *state;
	struct fs_options opt = { .fds_max = FS_FDS_MIN, .proc_fd = -1 };
	static uint64_t node[2000];
	struct fs_counters c;
	char name[32];
	uint64_t dir[20];

	for (unsigned d = 0; d < 20; d++) {
		(void)snprintf(name, sizeof(name), "d%u", d); // fits
		assert_int_equal(mkdirat(w->share, name, 0755), 0);
		for (unsigned k = 0; k < 100; k++) {
			(void)snprintf(name, sizeof(name), "d%u/f%u", d, k); // fits
			must_write(w->share, name, name);
		}
	}
	start(w, &opt);
	for (unsigned d = 0; d < 20; d++) {
		(void)snprintf(name, sizeof(name), "d%u", d); // fits
		dir[d] = must_lookup(w, ROOT, name);
		for (unsigned k = 0; k < 100; k++) {
			(void)snprintf(name, sizeof(name), "f%u", k); // fits
			node[d * 100 + k] = must_lookup(w, dir[d], name);
		}
	}
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned k = 0; k < 2000; k++) {
			unsigned at = k * 997 % 2000;
			uint64_t fh;

			assert_int_equal(open_op(w, FUSE_OPEN, node[at], O_RDONLY, &fh), 0);
			assert_int_equal(read_at(w, node[at], fh, 0, 100), 0);
			(void)snprintf(name, sizeof(name), "d%u/f%u", at / 100, at % 100); // fits
			assert_int_equal(reply_len(w), strlen(name));
			assert_memory_equal(reply(w), name, strlen(name));
			assert_int_equal(release(w, FUSE_RELEASE, node[at], fh), 0);
		}
		// The same again after every directory got another name, with a file moved to each.
		for (unsigned d = 0; round == 0 && d < 20; d++) {
			char to[32];

			(void)snprintf(name, sizeof(name), "d%u", d); // fits
			(void)snprintf(to, sizeof(to), "e%u", d);     // fits
			assert_int_equal(rename_op(w, ROOT, name, ROOT, to, 0), 0);
			assert_int_equal(rename_op(w, dir[d], "f5", dir[(d + 1) % 20], "moved", 0),
					 0);
		}
	}
	fs_server_get_counters(w->s, &c);
	assert_int_equal(c.inodes, 2021);
	assert_true(c.fds <= FS_FDS_MIN);
	for (unsigned k = 0; k < 2000; k++)
		forget(w, node[k], 1);
	for (unsigned d = 0; d < 20; d++)
		forget(w, dir[d], 1);
	fs_server_get_counters(w->s, &c);
	assert_int_equal(c.inodes, 1);
	assert_int_equal(c.fds, 0);
}

static void test_handles_are_bounded(void **state)
{
	struct world *w = *state;
	struct fs_options opt = { .fds_max = FS_FDS_MIN, .proc_fd = -1 };
	uint64_t node, fh[FS_FDS_MIN];
	unsigned n = 0;
	int r;

	must_write(w->share, "f", "data");
	must_write(w->share, "g", "data");
	start(w, &opt);
	node = must_lookup(w, ROOT, "f");
	while ((r = open_op(w, FUSE_OPEN, node, O_RDONLY, &fh[n])) == 0)
		n++;
	assert_int_equal(r, -ENFILE);
	assert_true(n >= FS_FDS_MIN / 2 && n < FS_FDS_MIN);
	assert_int_equal(getattr(w, must_lookup(w, ROOT, "g"), NULL), 0); // the rest goes on
	assert_int_equal(release(w, FUSE_RELEASE, node, fh[0]), 0);
	assert_int_equal(open_op(w, FUSE_OPEN, node, O_RDONLY, &fh[0]), 0);
}

static void test_deep_tree(void **state)
{
	struct world *w = *state;
	struct fs_options opt = { .fds_max = FS_FDS_MIN, .proc_fd = -1 };
	uint64_t node[400];
	int at AUTO_CLOSE = dup(w->share);

	for (unsigned k = 0; k < 400; k++) {
		int next;

		assert_int_equal(mkdirat(at, "d", 0755), 0);
		next = openat(at, "d", O_PATH | O_CLOEXEC);
		close_fd(at);
		at = next;
	}
	start(w, &opt);
	node[0] = must_lookup(w, ROOT, "d");
	for (unsigned k = 1; k < 400; k++)
		node[k] = must_lookup(w, node[k - 1], "d");
	for (unsigned k = 0; k < 400; k++) { // far apart: the way down is opened anew
		assert_int_equal(getattr(w, node[k * 171 % 400], NULL), 0);
		assert_int_equal(getattr(w, node[399 - k], NULL), 0);
	}
	// Directories the guest has given back stay as parents, but their ids are gone.
	for (unsigned k = 0; k < 399; k++)
		forget(w, node[k], 1);
	assert_int_equal(getattr(w, node[10], NULL), -ESTALE);
	assert_int_equal(getattr(w, node[399], NULL), 0);
	assert_int_equal(must_lookup(w, ROOT, "d"), node[0]);
}

static void test_unlinked_but_known(void **state)
{
	struct world *w = *state;
	struct fs_options opt = { .fds_max = FS_FDS_MIN, .proc_fd = -1 };
	uint64_t node[200], known = 0, fh;
	struct fs_counters c;
	struct fuse_attr a;
	char name[16];

	start(w, &opt);
	for (unsigned k = 0; k < 200; k++) {
		(void)snprintf(name, sizeof(name), "f%u", k); // fits
		assert_int_equal(create(w, ROOT, name, O_RDWR | O_CREAT, 0600, &node[k], &fh), 0);
		assert_int_equal(release(w, FUSE_RELEASE, node[k], fh), 0);
	}
	for (unsigned k = 0; k < 200; k++) {
		(void)snprintf(name, sizeof(name), "f%u", k); // fits
		assert_int_equal(call_name(w, FUSE_UNLINK, ROOT, name), 0);
	}
	for (unsigned k = 0; k < 200; k++) { // as many as can be held, the others are clearly gone
		int r = getattr(w, node[k], &a);

		if (r == 0) {
			known++;
			assert_int_equal(a.nlink, 0);
		} else {
			assert_int_equal(r, -ESTALE);
		}
	}
	assert_true(known > FS_FDS_MIN / 2 && known < FS_FDS_MIN);
	// New files, whose numbers may be those of the old ones, are never taken for them.
	for (unsigned k = 0; k < 200; k++) {
		uint64_t fresh;

		(void)snprintf(name, sizeof(name), "n%u", k); // fits
		must_write(w->share, name, "");
		fresh = must_lookup(w, ROOT, name);
		for (unsigned j = 0; j < 200; j++)
			assert_int_not_equal(fresh, node[j]);
		forget(w, fresh, 1);
	}
	for (unsigned k = 0; k < 200; k++)
		forget(w, node[k], 1);
	fs_server_get_counters(w->s, &c);
	assert_int_equal(c.inodes, 1);
	assert_int_equal(c.fds, 0);
}

// ---- hostile requests

static void test_short_requests(void **state)
{
	struct world *w = *state;
	struct fuse_in_header h = {
		.len = sizeof(h), .opcode = FUSE_GETATTR, .unique = 0x1122334455667788, .nodeid = 1
	};
	char buf[512] = { 0 };
	struct iovec none = { 0 };

	for (size_t len = 0; len < sizeof(h);
	     len++) { // not even a header: an answer, to nobody in particular
		struct iovec in = { .iov_base = &h, .iov_len = len },
			     out = { .iov_base = buf, .iov_len = sizeof(buf) };

		assert_int_equal(fs_server_handle(w->s, &in, 1, &out, 1),
				 sizeof(struct fuse_out_header));
	}
	assert_int_equal(fs_server_handle(w->s, &none, 0, &none, 0), 0);
	for (uint32_t op = 0; op < 64; op++) { // each operation without its arguments
		h.opcode = op;
		h.len = sizeof(h);
		memcpy(buf, &h, sizeof(h));
		if (op != FUSE_INIT && op != FUSE_DESTROY)
			(void)send_raw(w, buf, sizeof(h)); // any answer: the sanitizers watch
		h.len = sizeof(h) + 1;                     // more than there is
		memcpy(buf, &h, sizeof(h));
		assert_true(send_raw(w, buf, sizeof(h)) != 0);
		h.len = 8; // less than a header
		memcpy(buf, &h, sizeof(h));
		assert_true(send_raw(w, buf, sizeof(buf)) != 0);
		h.len = UINT32_MAX;
		memcpy(buf, &h, sizeof(h));
		assert_true(send_raw(w, buf, sizeof(buf)) != 0);
	}
	assert_int_equal(getattr(w, ROOT, NULL), 0); // still serving
}

static void test_every_length_of_every_operation(void **state)
{
	struct world *w = *state;
	struct fuse_in_header h = { .unique = 0x1122334455667788 };
	char buf[320];
	unsigned seed = 1;

	must_write(w->share, "f", "data");
	for (uint32_t op = 0; op < 64; op++) {
		for (size_t len = sizeof(h); len < sizeof(buf); len += 3) {
			for (size_t k = 0; k < sizeof(buf); k++) {
				seed = seed * 1103515245 + 12345;
				buf[k] = (char)(seed >> 16 & (seed & 0x8000000 ? 0xff : 1));
			}
			h.opcode = op;
			h.len = (uint32_t)len;
			h.nodeid = seed >> 20 & 3;
			memcpy(buf, &h, sizeof(h));
			w->out_room = seed >> 24 & 1 ? 4096 : seed >> 25 & 127;
			if (op != FUSE_DESTROY)
				(void)send_raw(w, buf, len); // any answer: the sanitizers watch
			w->out_room = BUF;
			if (op == FUSE_INIT)
				assert_int_equal(init_minor(w, 7, 38, 0), 0);
		}
	}
	assert_int_equal(getattr(w, ROOT, NULL), 0);
}

static void test_hostile_names(void **state)
{
	static const char *const bad[] = { "",          ".",           "..", "/",  "a/b",
					   "../secret", "/etc/passwd", "d/", "./f" };
	struct world *w = *state;
	struct body b = { .len = 0 };
	char longest[300];
	uint64_t node, fh;

	must_write(w->share, "f", "data");
	for (unsigned k = 0; k < sizeof(bad) / sizeof(bad[0]); k++) {
		assert_int_equal(lookup(w, ROOT, bad[k], NULL), -EINVAL);
		assert_int_equal(make_dir(w, ROOT, bad[k], 0755), -EINVAL);
		assert_int_equal(create(w, ROOT, bad[k], O_RDWR | O_CREAT, 0644, &node, &fh),
				 -EINVAL);
		assert_int_equal(make_node(w, ROOT, bad[k], S_IFREG | 0644, 0), -EINVAL);
		assert_int_equal(rename_op(w, ROOT, "f", ROOT, bad[k], 0), -EINVAL);
		assert_int_equal(rename_op(w, ROOT, bad[k], ROOT, "g", 0), -EINVAL);
		assert_int_equal(call_name(w, FUSE_UNLINK, ROOT, bad[k]), -EINVAL);
		assert_int_equal(call_name(w, FUSE_RMDIR, ROOT, bad[k]), -EINVAL);
	}
	put(&b, "f", 1); // no NUL
	assert_int_equal(call(w, FUSE_LOOKUP, ROOT, &b), -EINVAL);
	b.len = 0;
	assert_int_equal(call(w, FUSE_LOOKUP, ROOT, &b), -EINVAL);
	memset(longest, 'n', sizeof(longest));
	longest[255] = '\0';
	assert_int_equal(lookup(w, ROOT, longest, NULL), -ENOENT);
	longest[255] = 'n';
	longest[256] = '\0';
	assert_int_equal(lookup(w, ROOT, longest, NULL), -ENAMETOOLONG);
	b.len = 0;
	put_str(&b, "sym"); // a link without a text
	assert_int_equal(call(w, FUSE_SYMLINK, ROOT, &b), -EINVAL);
}

static void test_hostile_sizes(void **state)
{
	struct world *w = *state;
	struct fuse_write_in in = { .size = 100 };
	struct fuse_batch_forget_in bf = { .count = UINT32_MAX };
	struct body b = { .len = 0 };
	struct fuse_attr a;
	uint64_t node, fh;

	assert_int_equal(create(w, ROOT, "f", O_RDWR | O_CREAT, 0644, &node, &fh), 0);
	in.fh = fh;
	put(&b, &in, sizeof(in));
	assert_int_equal(call_data(w, FUSE_WRITE, node, &b, "short", 5),
			 -EINVAL); // says 100, sends 5
	in.size = UINT32_MAX;
	b.len = 0;
	put(&b, &in, sizeof(in));
	assert_int_equal(call_data(w, FUSE_WRITE, node, &b, "short", 5), -EINVAL);
	assert_int_equal(write_at(w, node, fh, UINT64_MAX, "x", 0), -EINVAL);
	assert_int_equal(getattr(w, node, &a), 0);
	assert_int_equal(a.size, 0);
	assert_int_equal(read_at(w, node, fh, 0, UINT32_MAX), -EINVAL);
	assert_int_equal(read_at(w, node, fh, UINT64_MAX, 4096), -EINVAL);
	w->out_room = 100; // less than READ asks for: a short answer would mean the file's end
	assert_int_equal(read_at(w, node, fh, 0, 4096), -EINVAL);
	assert_int_equal(getattr(w, node, NULL), -EINVAL);
	assert_int_equal(make_dir(w, ROOT, "d", 0755), -EINVAL);
	assert_int_equal(faccessat(w->share, "d", F_OK, 0), -1); // refused before it was done
	w->out_room = 15;                                        // no room for any reply
	assert_int_equal(getattr(w, node, NULL), 1);
	w->out_room = BUF;
	assert_int_equal(CALL_STRUCT(w, FUSE_BATCH_FORGET, 0, bf), 1);
}

static void test_stale_ids(void **state)
{
	struct world *w = *state;
	uint64_t node, fh, again;

	must_write(w->share, "f", "data");
	must_write(w->share, "g", "data");
	node = must_lookup(w, ROOT, "f");
	assert_int_equal(open_op(w, FUSE_OPEN, node, O_RDONLY, &fh), 0);
	assert_int_equal(read_at(w, ROOT, fh, 0, 10), -EBADF);           // another file's
	assert_int_equal(release(w, FUSE_RELEASEDIR, node, fh), -EBADF); // not a directory's
	assert_int_equal(release(w, FUSE_RELEASE, node, fh), 0);
	assert_int_equal(release(w, FUSE_RELEASE, node, fh), -EBADF);
	assert_int_equal(read_at(w, node, fh, 0, 10), -EBADF);
	assert_int_equal(open_op(w, FUSE_OPEN, node, O_RDONLY, &again),
			 0); // the slot again, another generation
	assert_int_equal((uint32_t)again, (uint32_t)fh);
	assert_int_equal(read_at(w, node, fh, 0, 10), -EBADF);
	assert_int_equal(read_at(w, node, UINT64_MAX, 0, 10), -EBADF);

	forget(w, node, 1);
	assert_int_equal(getattr(w, node, NULL), -ESTALE);
	again = must_lookup(w, ROOT, "g");
	assert_int_equal((uint32_t)again, (uint32_t)node);
	assert_int_not_equal(again, node);
	assert_int_equal(getattr(w, node, NULL), -ESTALE);
	assert_int_equal(getattr(w, 0, NULL), -ESTALE);
	assert_int_equal(getattr(w, UINT64_MAX, NULL), -ESTALE);
	assert_int_equal(getattr(w, 5000000, NULL), -ESTALE);
}

static void test_forget_underflow(void **state)
{
	struct world *w = *state;
	uint64_t node;

	must_write(w->share, "f", "data");
	node = must_lookup(w, ROOT, "f");
	forget(w, node, UINT64_MAX);
	assert_int_equal(getattr(w, node, NULL), -ESTALE);
	forget(w, node, 1);
	forget(w, node, UINT64_MAX);
	forget(w, ROOT, UINT64_MAX);
	assert_int_equal(getattr(w, ROOT, NULL), 0);
	assert_int_not_equal(must_lookup(w, ROOT, "f"), node);
}

static void test_links_are_not_followed(void **state)
{
	struct world *w = *state;
	char outside[128];
	uint64_t node, fh, dir;

	assert_int_equal(symlinkat("../secret", w->share, "rel"), 0);
	(void)snprintf(outside, sizeof(outside), "%s/secret", w->path); // fits
	assert_int_equal(symlinkat(outside, w->share, "abs"), 0);
	assert_int_equal(symlinkat("..", w->share, "up"), 0);
	node = must_lookup(w, ROOT, "rel");
	assert_int_equal(open_op(w, FUSE_OPEN, node, O_RDONLY, &fh), -ELOOP);
	assert_int_equal(open_op(w, FUSE_OPEN, must_lookup(w, ROOT, "abs"), O_RDWR | O_TRUNC, &fh),
			 -ELOOP);
	dir = must_lookup(w, ROOT, "up");
	assert_int_equal(open_op(w, FUSE_OPENDIR, dir, O_RDONLY, &fh), -ENOTDIR);
	assert_int_equal(lookup(w, dir, "secret", NULL), -ENOTDIR);
	assert_int_equal(create(w, dir, "new", O_RDWR | O_CREAT, 0644, &node, &fh), -ENOTDIR);
	assert_int_equal(create(w, ROOT, "rel", O_RDWR | O_CREAT | O_TRUNC, 0644, &node, &fh),
			 -ELOOP);
	assert_int_equal(xattr_size_op(w, FUSE_GETXATTR, must_lookup(w, ROOT, "abs"), "user.a", 10),
			 -ENODATA);
	{
		struct fuse_setattr_in in = { .valid = FATTR_SIZE, .size = 0 };

		assert_int_equal(CALL_STRUCT(w, FUSE_SETATTR, must_lookup(w, ROOT, "abs"), in),
				 -ELOOP);
		in = (struct fuse_setattr_in){ .valid = FATTR_MTIME,
					       .mtime = 1 }; // of the link itself
		assert_int_equal(CALL_STRUCT(w, FUSE_SETATTR, must_lookup(w, ROOT, "abs"), in), 0);
	}
	{
		struct stat st;

		assert_int_equal(fstatat(w->top, "secret", &st, 0), 0);
		assert_int_equal(st.st_size, 7);
		assert_true(st.st_mtim.tv_sec > 1);
		assert_int_equal(faccessat(w->top, "new", F_OK, 0), -1);
	}
}

// Between LOOKUP and use, and between two uses, something else takes a name's place.
static void test_swapped_for_a_link(void **state)
{
	struct world *w = *state;
	uint64_t d, f, fh;

	assert_int_equal(mkdirat(w->share, "d", 0755), 0);
	must_write(w->share, "d/secret", "inside");
	must_write(w->share, "f", "inside");
	d = must_lookup(w, ROOT, "d");
	f = must_lookup(w, ROOT, "f");
	assert_int_equal(renameat(w->share, "d", w->share, "d.old"), 0);
	assert_int_equal(symlinkat("..", w->share, "d"), 0);
	assert_int_equal(renameat(w->share, "f", w->share, "f.old"), 0);
	assert_int_equal(symlinkat("../secret", w->share, "f"), 0);
	assert_int_equal(lookup(w, d, "secret", NULL), -ESTALE);
	assert_int_equal(open_op(w, FUSE_OPENDIR, d, O_RDONLY, &fh), -ESTALE);
	assert_int_equal(open_op(w, FUSE_OPEN, f, O_RDONLY, &fh), -ESTALE);
	assert_int_equal(make_dir(w, d, "made", 0755), -ESTALE);
	assert_int_equal(call_name(w, FUSE_UNLINK, d, "secret"), -ESTALE);
	assert_int_equal(faccessat(w->top, "secret", F_OK, 0), 0);
	// found again under its new name, it is the same inode and works
	assert_int_equal(must_lookup(w, ROOT, "d.old"), d);
	assert_int_equal(getattr(w, must_lookup(w, d, "secret"), NULL), 0);
	// a descriptor already held stays with what it named
	assert_int_equal(renameat(w->share, "d.old", w->share, "d.older"), 0);
	assert_int_equal(make_dir(w, d, "made", 0755), 0);
	assert_int_equal(faccessat(w->share, "d.older/made", F_OK, 0), 0);
	// the host swaps parent and child: the records must not form a ring
	assert_int_equal(renameat(w->share, "d.older/made", w->share, "top"), 0);
	assert_int_equal(renameat(w->share, "d.older", w->share, "top/d"), 0);
	{
		uint64_t made = must_lookup(w, ROOT, "top");

		assert_int_equal(must_lookup(w, made, "d"), d);
		assert_int_equal(getattr(w, d, NULL), 0);
		assert_int_equal(getattr(w, made, NULL), 0);
	}
}

static void test_race_of_link_and_directory(void **state)
{
	struct world *w = *state;
	pid_t pid;
	int status;

	assert_int_equal(mkdirat(w->share, "d", 0755), 0);
	assert_int_equal(symlinkat("..", w->share, "l"), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		for (unsigned k = 0; k < 20000; k++)
			if (renameat2(w->share, "d", w->share, "l", RENAME_EXCHANGE) < 0)
				_exit(1);
		_exit(0);
	}
	do {
		uint64_t node, in, fh;

		if (lookup(w, ROOT, "d", &node) < 0)
			continue;
		if (lookup(w, node, "secret", &in) == 0)
			assert_int_equal(in, 0); // never the one outside
		assert_int_not_equal(
			create(w, node, "secret", O_RDWR, 0644, &in, &fh) == 0 &&
				faccessat(w->share, "d/secret", F_OK, AT_SYMLINK_NOFOLLOW) < 0 &&
				faccessat(w->share, "l/secret", F_OK, AT_SYMLINK_NOFOLLOW) < 0,
			1);
		(void)call_name(w, FUSE_UNLINK, node, "secret"); // wherever it is, it is ours
		forget(w, node, 1);
		assert_int_equal(faccessat(w->top, "secret", F_OK, 0), 0);
	} while (waitpid(pid, &status, WNOHANG) == 0);
	assert_int_equal(status, 0);
	{
		int fd AUTO_CLOSE = openat(w->top, "secret", O_RDONLY | O_CLOEXEC);
		char text[8] = "";

		assert_int_equal(read(fd, text, 7), 7);
		assert_string_equal(text, "outside");
	}
}

static void test_mount_below_is_a_submount(void **state)
{
	struct world *w = *state;
	char path[128];
	const struct fuse_entry_out *entry = reply(w);
	uint64_t under, over;

	assert_int_equal(mkdirat(w->share, "m", 0755), 0);
	under = must_lookup(w, ROOT, "m");
	assert_int_equal(entry->attr.flags, 0);
	(void)snprintf(path, sizeof(path), "%s/share/m", w->path); // fits
	if (mount("tmpfs", path, "tmpfs", 0, NULL) < 0)
		skip(); // not allowed here
	over = must_lookup(w, ROOT, "m");
	assert_int_not_equal(over, under);
	assert_int_equal(entry->attr.flags, FUSE_ATTR_SUBMOUNT);
	assert_int_equal(make_dir(w, over, "in", 0755), 0);
	assert_int_equal(entry->attr.flags, 0);
	forget(w, over, UINT32_MAX);
	assert_int_equal(umount2(path, MNT_DETACH), 0);
	assert_int_equal(must_lookup(w, ROOT, "m"), under);
}

static void test_init_again_forgets(void **state)
{
	struct world *w = *state;
	struct fs_counters c;
	uint64_t node, fh;

	must_write(w->share, "f", "data");
	node = must_lookup(w, ROOT, "f");
	assert_int_equal(open_op(w, FUSE_OPEN, node, O_RDONLY, &fh), 0);
	assert_int_equal(init_minor(w, 7, 38, 0), 0);
	fs_server_get_counters(w->s, &c);
	assert_int_equal(c.inodes, 1);
	assert_int_equal(c.handles, 0);
	assert_int_equal(c.fds, 0);
	assert_int_equal(getattr(w, node, NULL), -ESTALE);
	assert_int_equal(read_at(w, node, fh, 0, 1), -EBADF);
	assert_int_not_equal(must_lookup(w, ROOT, "f"), node);
}

static void test_new_refuses(void **state)
{
	struct fs_options opt = { .fds_max = 10, .proc_fd = -1 };
	struct world *w = *state;
	struct fs_server *s = NULL;
	struct err e = { 0 };
	int fd AUTO_CLOSE = -1;

	assert_int_equal(fs_server_new(w->share, &opt, &s, &e), -EMFILE);
	must_write(w->share, "f", "data");
	fd = openat(w->share, "f", O_RDONLY | O_CLOEXEC);
	opt.fds_max = 0;
	assert_int_equal(fs_server_new(fd, &opt, &s, &e), -ENOTDIR);
	assert_string_equal(e.msg, "share directory: Not a directory");
	assert_null(s);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_init),
		T(test_lookup_and_attributes),
		T(test_file_data),
		T(test_file_ranges),
		T(test_setattr),
		T(test_tree),
		T(test_special_files),
		T(test_readdir),
		T(test_readdirplus),
		T(test_xattr),
		T(test_statfs_statx_and_the_rest),
		T(test_owner),
		T(test_set_id_bits),
		T(test_readonly),
		T(test_more_files_than_descriptors),
		T(test_handles_are_bounded),
		T(test_deep_tree),
		T(test_unlinked_but_known),
		T(test_short_requests),
		T(test_every_length_of_every_operation),
		T(test_hostile_names),
		T(test_hostile_sizes),
		T(test_stale_ids),
		T(test_forget_underflow),
		T(test_links_are_not_followed),
		T(test_swapped_for_a_link),
		T(test_race_of_link_and_directory),
		T(test_mount_below_is_a_submount),
		T(test_init_again_forgets),
		T(test_new_refuses),
	};

	return cmocka_run_group_tests_name("vmm_fs_ops", tests, NULL, NULL);
}
