// SPDX-License-Identifier: Apache-2.0
// The virtio-fs server: what each FUSE operation does to a temporary directory, with many files and few descriptors too.
#include "tests/unit/fs_rig.h"

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

static void test_xattr(void **state)
{
	struct world *w = *state;
	uint64_t node, fh;

	assert_int_equal(create(w, ROOT, "f", O_RDWR | O_CREAT, 0644, &node, &fh), 0);
	if (fsetxattr(w->share, "user.probe", "", 0, 0) < 0) {
		print_message("# not tested: no extended attributes in the temporary directory\n");
		return;
	}
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

	if (geteuid() != 0) {
		print_message("# not tested: not root\n");
		return;
	}
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

	if (geteuid() != 0) {
		print_message("# not tested: not root\n");
		return;
	}
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
	};

	return cmocka_run_group_tests_name("vmm_fs_ops", tests, NULL, NULL);
}
