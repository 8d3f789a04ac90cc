// SPDX-License-Identifier: Apache-2.0
// The virtio-fs server under a hostile guest: broken requests, names that try to leave the share, ids it does not have,
// links and races.
#include "tests/unit/fs_rig.h"

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
	if (mount("tmpfs", path, "tmpfs", 0, NULL) < 0) {
		print_message("# not tested: mount is not allowed here\n");
		return;
	}
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
	assert_int_equal(strncmp(e.msg, "share directory: ", 17), 0);
	assert_null(s);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
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

	return cmocka_run_group_tests_name("vmm_fs_hostile", tests, NULL, NULL);
}
