// SPDX-License-Identifier: Apache-2.0
// The vhost-user back end of virtio-fs: a session over a socket pair, with a ring made by hand in a memfd. INIT, LOOKUP,
// OPEN and READ, then what a guest that breaks its ring and a front end that talks nonsense get.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/loop.h"
#include "base/own.h"
#include "vmm/fs/fs.h"
#include "vmm/virtio/queue.h"
#include "vmm/virtio/vhost_user.h"

enum {
	RAM = 1 << 20,
	SIZE = 8, // of the ring
	DESC = 0x1000,
	AVAIL = 0x2000,
	USED = 0x3000,
	REQ = 0x10000, // the request's bytes
	ARG = 0x11000,
	REPLY = 0x20000,
	INNER = 0x4000, // an indirect table
};
#define GPA 0x100000ull        // where the region lies
#define USER 0x7f0000000000ull // and what the front end calls it

struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

struct ring {
	uint16_t flags, idx, ring[SIZE], event;
};

struct used {
	uint16_t flags, idx;
	struct {
		uint32_t id, len;
	} ring[SIZE];
	uint16_t event;
};

struct world {
	char path[64];
	int dir, front, back, memfd, kick, call, err;
	char *ram;
	struct loop *loop;
	struct fs_server *server;
	struct fs_backend *backend;
	uint16_t avail;
	bool ended;
	int end_code;
};

static void on_end(void *arg, int code, const char *text)
{
	struct world *w = arg;

	assert_false(w->ended);
	assert_non_null(text);
	w->ended = true;
	w->end_code = code;
}

static void turn(struct world *w)
{
	for (unsigned k = 0; k < 8; k++) // whatever is ready, and what that makes ready
		assert_int_equal(loop_once(w->loop, 0, NULL), 0);
}

// ---- the front end

static void tell(struct world *w, struct vhost_user_msg *m, const int *fds, unsigned nfds)
{
	m->h.flags |= VHOST_USER_VERSION;
	if (nfds)
		memcpy(m->fds, fds, nfds * sizeof(int));
	m->nfds = nfds;
	assert_int_equal(vhost_user_send(w->front, m), 0);
	turn(w);
}

static void tell_u64(struct world *w, uint32_t request, uint64_t v, int fd)
{
	struct vhost_user_msg m = { .h = { .request = request, .size = 8 }, .p = { .u64 = v } };

	tell(w, &m, &fd, fd >= 0);
}

static void tell_state(struct world *w, uint32_t request, uint32_t index, uint32_t num)
{
	struct vhost_user_msg m = { .h = { .request = request, .size = 8 },
				    .p = { .state = { index, num } } };

	tell(w, &m, NULL, 0);
}

static uint64_t ask(struct world *w, uint32_t request)
{
	struct vhost_user_msg m = { .h = { .request = request } };

	tell(w, &m, NULL, 0);
	assert_int_equal(vhost_user_recv(w->front, &m), 1);
	assert_int_equal(m.h.request, request);
	assert_int_equal(m.h.flags, VHOST_USER_VERSION | VHOST_USER_REPLY);
	assert_int_equal(m.h.size, 8);
	return m.p.u64;
}

static void tell_memory(struct world *w)
{
	struct vhost_user_msg m = { .h = { .request = VHOST_USER_SET_MEM_TABLE, .size = 8 + 32 } };

	m.p.mem.nregions = 1;
	m.p.mem.regions[0] =
		(struct vhost_user_region){ .gpa = GPA, .size = RAM, .user_addr = USER };
	tell(w, &m, &w->memfd, 1);
}

static void start_queue(struct world *w, uint32_t index, uint16_t base)
{
	struct vhost_user_msg m = { .h = { .request = VHOST_USER_SET_VRING_ADDR,
					   .size = sizeof(m.p.addr) } };

	tell_state(w, VHOST_USER_SET_VRING_NUM, index, SIZE);
	tell_state(w, VHOST_USER_SET_VRING_BASE, index, base);
	m.p.addr = (struct vhost_user_vring_addr){
		.index = index, .desc = USER + DESC, .avail = USER + AVAIL, .used = USER + USED
	};
	tell(w, &m, NULL, 0);
	tell_u64(w, VHOST_USER_SET_VRING_CALL, index, w->call);
	tell_u64(w, VHOST_USER_SET_VRING_ERR, index, w->err);
	tell_u64(w, VHOST_USER_SET_VRING_KICK, index, w->kick);
	tell_state(w, VHOST_USER_SET_VRING_ENABLE, index, 1);
}

// ---- the guest

static struct desc *desc_at(struct world *w, unsigned k)
{
	return (struct desc *)(void *)(w->ram + DESC) + k;
}

static struct ring *avail_of(struct world *w)
{
	return (void *)(w->ram + AVAIL);
}

static struct used *used_of(struct world *w)
{
	return (void *)(w->ram + USED);
}

static bool signalled(int fd)
{
	uint64_t n;

	return read(fd, &n, sizeof(n)) == sizeof(n);
}

static void kick(struct world *w, uint16_t head)
{
	uint64_t one = 1;

	avail_of(w)->ring[w->avail % SIZE] = head;
	avail_of(w)->event = w->avail; // tell me when it is done
	avail_of(w)->idx = ++w->avail;
	assert_int_equal(write(w->kick, &one, sizeof(one)), sizeof(one));
	turn(w);
}

// One request in two parts and a reply, as three descriptors; returns the reply's error.
static int request(struct world *w, uint32_t op, uint64_t node, const void *arg, size_t len,
		   bool indirect)
{
	struct fuse_in_header h = {
		.len = (uint32_t)(sizeof(h) + len), .opcode = op, .unique = 7, .nodeid = node
	};
	struct fuse_out_header out;
	struct desc *d = indirect ? (void *)(w->ram + INNER) : desc_at(w, 2);
	uint16_t first = indirect ? 0 : 2;

	memcpy(w->ram + REQ, &h, sizeof(h));
	memcpy(w->ram + ARG, arg, len);
	memset(w->ram + REPLY, 0, 8192);
	d[0] = (struct desc){ GPA + REQ, sizeof(h), 1, (uint16_t)(first + 1) };
	d[1] = (struct desc){ GPA + ARG, (uint32_t)len, 1, (uint16_t)(first + 2) };
	d[2] = (struct desc){ GPA + REPLY, 8192, 2, 0 };
	if (indirect)
		*desc_at(w, 2) = (struct desc){ GPA + INNER, 3 * sizeof(*d), 4, 0 };
	kick(w, 2);
	assert_int_equal(used_of(w)->idx, w->avail);
	assert_int_equal(used_of(w)->ring[(w->avail - 1) % SIZE].id, 2);
	assert_true(signalled(w->call));
	memcpy(&out, w->ram + REPLY, sizeof(out));
	assert_int_equal(used_of(w)->ring[(w->avail - 1) % SIZE].len, out.len);
	assert_int_equal(out.unique, 7);
	return out.error;
}

static const void *reply(const struct world *w)
{
	return w->ram + REPLY + sizeof(struct fuse_out_header);
}

static void init(struct world *w)
{
	struct fuse_init_in in = { .major = 7, .minor = 40, .flags = UINT32_MAX };

	assert_int_equal(request(w, FUSE_INIT, 0, &in, sizeof(in), false), 0);
	assert_int_equal(((const struct fuse_init_out *)reply(w))->major, 7);
}

// ---- set up

static int setup(void **state)
{
	struct fs_options opt = { .fds_max = FS_FDS_MIN, .proc_fd = -1 };
	struct world *w = calloc(1, sizeof(*w));
	struct err e = { 0 };
	int sv[2], fd;

	assert_non_null(w);
	strcpy(w->path, "/tmp/bulkhead-fs-XXXXXX");
	assert_non_null(mkdtemp(w->path));
	w->dir = open(w->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fd = openat(w->dir, "file", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	assert_int_equal(write(fd, "contents", 8), 8);
	close_fd(fd);
	w->memfd = memfd_create("ram", MFD_CLOEXEC);
	assert_int_equal(ftruncate(w->memfd, RAM), 0);
	w->ram = mmap(NULL, RAM, PROT_READ | PROT_WRITE, MAP_SHARED, w->memfd, 0);
	assert_true(w->ram != MAP_FAILED);
	w->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	w->call = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	w->err = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	w->front = sv[0];
	w->back = sv[1];
	assert_int_equal(loop_new(&w->loop, &e), 0);
	assert_int_equal(fs_server_new(w->dir, &opt, &w->server, &e), 0);
	assert_int_equal(fs_backend_new(w->loop, w->back, w->server, on_end, w, &w->backend, &e),
			 0);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	fs_backend_free(w->backend);
	fs_server_free(w->server);
	loop_free(w->loop);
	(void)munmap(w->ram, RAM);         // what mmap gave
	(void)unlinkat(w->dir, "file", 0); // seen in /tmp if they fail
	(void)rmdir(w->path);
	close_fd(w->dir);
	close_fd(w->front);
	close_fd(w->back);
	close_fd(w->memfd);
	close_fd(w->kick);
	close_fd(w->call);
	close_fd(w->err);
	free(w);
	return 0;
}

static void negotiate(struct world *w)
{
	uint64_t offered = ask(w, VHOST_USER_GET_FEATURES);

	assert_int_equal(offered, VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX | VIRTIO_F_INDIRECT_DESC |
					  VHOST_USER_F_PROTOCOL_FEATURES);
	assert_true(ask(w, VHOST_USER_GET_PROTOCOL_FEATURES) & VHOST_USER_PROTOCOL_F_REPLY_ACK);
	tell_u64(w, VHOST_USER_SET_PROTOCOL_FEATURES, VHOST_USER_PROTOCOL_F_REPLY_ACK, -1);
	assert_true(ask(w, VHOST_USER_GET_QUEUE_NUM) >= 2);
	tell_u64(w, VHOST_USER_SET_FEATURES, offered, -1);
	tell_memory(w);
	start_queue(w, 1, 0);
	assert_false(w->ended);
}

// ---- tests

static void test_session(void **state)
{
	struct fuse_open_in op = { .flags = O_RDONLY };
	struct fuse_read_in rd = { .size = 4096 };
	struct fuse_forget_in fg = { .nlookup = 1 };
	struct fs_counters c;
	struct world *w = *state;
	struct vhost_user_msg m = { 0 };
	uint64_t node;

	negotiate(w);
	init(w);
	assert_int_equal(request(w, FUSE_LOOKUP, 1, "file", 5, true), 0);
	node = ((const struct fuse_entry_out *)reply(w))->nodeid;
	assert_int_equal(request(w, FUSE_OPEN, node, &op, sizeof(op), false), 0);
	rd.fh = ((const struct fuse_open_out *)reply(w))->fh;
	assert_int_equal(request(w, FUSE_READ, node, &rd, sizeof(rd), true), 0);
	assert_memory_equal(reply(w), "contents", 9);
	assert_int_equal(used_of(w)->ring[(w->avail - 1) % SIZE].len,
			 sizeof(struct fuse_out_header) + 8);

	// FORGET has no reply, and no room for one
	{
		struct fuse_in_header h = { .len = sizeof(h) + sizeof(fg),
					    .opcode = FUSE_FORGET,
					    .nodeid = node };

		memcpy(w->ram + REQ, &h, sizeof(h));
		memcpy(w->ram + REQ + sizeof(h), &fg, sizeof(fg));
		*desc_at(w, 5) = (struct desc){ GPA + REQ, h.len, 0, 0 };
		kick(w, 5);
		assert_int_equal(used_of(w)->idx, w->avail);
		assert_int_equal(used_of(w)->ring[(w->avail - 1) % SIZE].len, 0);
		assert_true(signalled(w->call));
		fs_server_get_counters(w->server, &c);
		assert_int_equal(c.inodes, 1);
	}

	// stopped, it says where it was, and does not serve
	m.h.request = VHOST_USER_GET_VRING_BASE;
	m.h.size = 8;
	m.p.state.index = 1;
	tell(w, &m, NULL, 0);
	assert_int_equal(vhost_user_recv(w->front, &m), 1);
	assert_int_equal(m.p.state.num, w->avail);
	kick(w, 5);
	assert_int_equal(used_of(w)->idx, w->avail - 1);
	// and goes on from there when started again, also with what came meanwhile
	start_queue(w, 1, m.p.state.num);
	assert_int_equal(used_of(w)->idx, w->avail);

	close_fd(take_fd(&w->front));
	turn(w);
	assert_true(w->ended);
	assert_int_equal(w->end_code, 0);
}

static void test_memory_may_change(void **state)
{
	struct world *w = *state;

	negotiate(w);
	init(w);
	tell_memory(w); // again: queues stop, and start where they were
	assert_int_equal(request(w, FUSE_LOOKUP, 1, "file", 5, false), 0);
	tell_state(w, VHOST_USER_SET_VRING_ENABLE, 1, 0);
	kick(w, 2);
	assert_int_equal(used_of(w)->idx, w->avail - 1);
	tell_state(w, VHOST_USER_SET_VRING_ENABLE, 1, 1);
	assert_int_equal(used_of(w)->idx, w->avail);
	assert_false(w->ended);
}

static void test_many_requests_in_one_kick(void **state)
{
	struct fuse_in_header h = { .len = sizeof(h) + 8, .opcode = FUSE_FORGET, .nodeid = 99 };
	struct world *w = *state;
	uint64_t one = 1;

	negotiate(w);
	init(w);
	memcpy(w->ram + REQ, &h, sizeof(h));
	*desc_at(w, 5) = (struct desc){ GPA + REQ, h.len, 0, 0 };
	for (unsigned round = 0; round < 40; round++) { // past the ring's end several times
		for (unsigned k = 0; k < SIZE; k++)
			avail_of(w)->ring[w->avail++ % SIZE] = 5;
		avail_of(w)->event = (uint16_t)(w->avail - 1);
		avail_of(w)->idx = w->avail;
		assert_int_equal(write(w->kick, &one, sizeof(one)), sizeof(one));
		turn(w);
		assert_int_equal(used_of(w)->idx, w->avail);
		assert_true(signalled(w->call));
	}
}

static void test_broken_ring(void **state)
{
	struct world *w = *state;

	negotiate(w);
	init(w);
	*desc_at(w, 0) = (struct desc){ GPA + RAM - 8, 64, 0, 0 }; // past the end of memory
	kick(w, 0);
	assert_true(signalled(w->err));
	assert_int_equal(used_of(w)->idx, w->avail - 1);
	kick(w, 2); // stays stopped, the session does not end
	assert_int_equal(used_of(w)->idx, w->avail - 2);
	assert_false(w->ended);
	assert_int_equal(ask(w, VHOST_USER_GET_QUEUE_NUM), 8);
}

static void test_rings_elsewhere(void **state)
{
	struct vhost_user_msg m = { .h = { .request = VHOST_USER_SET_VRING_ADDR,
					   .size = sizeof(m.p.addr) } };
	struct world *w = *state;

	negotiate(w);
	m.h.flags = VHOST_USER_NEED_REPLY;
	m.p.addr = (struct vhost_user_vring_addr){
		.index = 1, .desc = 0x1000, .avail = USER, .used = USER
	};
	tell(w, &m, NULL, 0);
	assert_int_equal(vhost_user_recv(w->front, &m), 1);
	assert_int_not_equal(m.p.u64, 0); // refused, and said so
	assert_false(w->ended);
}

static void test_front_end_talks_nonsense(void **state)
{
	static const struct {
		struct vhost_user_msg m;
		int code;
	} bad[] = {
		{ { .h = { .request = 99 } }, EOPNOTSUPP },
		{ { .h = { .request = VHOST_USER_SET_FEATURES, .size = 8 }, .p = { .u64 = 1 } },
		  EINVAL },
		{ { .h = { .request = VHOST_USER_SET_FEATURES, .size = 4 } }, EPROTO },
		{ { .h = { .request = VHOST_USER_SET_VRING_NUM, .size = 8 },
		    .p = { .state = { 8, 8 } } },
		  EPROTO },
		{ { .h = { .request = VHOST_USER_SET_VRING_NUM, .size = 8 },
		    .p = { .state = { 1, 70000 } } },
		  EPROTO },
		{ { .h = { .request = VHOST_USER_SET_VRING_KICK, .size = 8 }, .p = { .u64 = 1 } },
		  EPROTO }, // no fd
		{ { .h = { .request = VHOST_USER_SET_VRING_KICK, .size = 8 },
		    .p = { .u64 = 0x101 } },
		  EOPNOTSUPP },
		{ { .h = { .request = VHOST_USER_SET_MEM_TABLE, .size = 40 },
		    .p = { .mem = { .nregions = 1 } } },
		  EPROTO },
	};
	struct world *w;

	(void)teardown(state);
	for (unsigned k = 0; k < sizeof(bad) / sizeof(bad[0]); k++) {
		struct vhost_user_msg m = bad[k].m;

		assert_int_equal(setup(state), 0);
		w = *state;
		tell(w, &m, NULL, 0);
		assert_true(w->ended);
		assert_int_equal(w->end_code, bad[k].code);
		(void)teardown(state);
	}
	assert_int_equal(setup(state), 0);
	w = *state;
	assert_int_equal(write(w->front, "GET / HTTP/1.1\r\n\r\n", 18), 18);
	turn(w);
	assert_true(w->ended);
	assert_int_equal(w->end_code, EPROTO);
}

static void test_memory_past_its_file(void **state)
{
	struct vhost_user_msg m = { .h = { .request = VHOST_USER_SET_MEM_TABLE, .size = 8 + 32 } };
	struct world *w = *state;

	m.p.mem.nregions = 1;
	m.p.mem.regions[0] =
		(struct vhost_user_region){ .gpa = GPA, .size = 2 * RAM, .user_addr = USER };
	tell(w, &m, &w->memfd, 1);
	assert_true(w->ended);
	assert_int_equal(w->end_code, EINVAL);
}

#ifndef __SANITIZE_ADDRESS__ // it makes system calls of its own
// The whole of test_session's serving under the filter, in a process that then tries what it must not.
static void test_seccomp(void **state)
{
	struct world *w = *state;
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		struct fs_options opt = { .fds_max = FS_FDS_MIN, .proc_fd = -1 };
		struct fuse_open_in op = { .flags = O_RDONLY };
		uint64_t node;

		// A server of this process: /proc/self is another now.
		fs_backend_free(w->backend);
		fs_server_free(w->server);
		if (fs_server_new(w->dir, &opt, &w->server, NULL) < 0 ||
		    fs_backend_new(w->loop, w->back, w->server, on_end, w, &w->backend, NULL) < 0 ||
		    fs_seccomp(NULL) < 0)
			_exit(1);
		negotiate(w);
		init(w);
		if (request(w, FUSE_LOOKUP, 1, "file", 5, true) != 0)
			_exit(2);
		node = ((const struct fuse_entry_out *)reply(w))->nodeid;
		if (request(w, FUSE_OPEN, node, &op, sizeof(op), false) != 0)
			_exit(3);
		if (socket(AF_UNIX, SOCK_STREAM, 0) >= 0 || errno != EPERM)
			_exit(4);
		if (execl("/bin/true", "true", (char *)NULL) == 0 || errno != EPERM)
			_exit(5);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}
#endif

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_session),
		T(test_memory_may_change),
		T(test_many_requests_in_one_kick),
		T(test_broken_ring),
		T(test_rings_elsewhere),
		T(test_front_end_talks_nonsense),
		T(test_memory_past_its_file),
#ifndef __SANITIZE_ADDRESS__
		T(test_seccomp),
#endif
	};

	return cmocka_run_group_tests_name("vmm_fs_backend", tests, NULL, NULL);
}
