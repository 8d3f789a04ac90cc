// SPDX-License-Identifier: Apache-2.0
// vhost-user back end of the virtio-fs device: the front end says where memory and rings are and hands over each queue's
// kick and call eventfds; from then on requests go between the guest and this process alone.
#include "vmm/fs/fs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/own.h"
#include "vmm/mem/mem.h"
#include "vmm/virtio/queue.h"
#include "vmm/virtio/vhost_user.h"

enum {
	BACKEND_QUEUES = 8, // high priority first, then request queues
	BACKEND_BURST = 64, // requests of one queue before the loop looks at anything else
};

#define BACKEND_FEATURES                                                    \
	(VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX | VIRTIO_F_INDIRECT_DESC | \
	 VHOST_USER_F_PROTOCOL_FEATURES)
#define BACKEND_PROTOCOL_FEATURES (VHOST_USER_PROTOCOL_F_MQ | VHOST_USER_PROTOCOL_F_REPLY_ACK)

struct backend_queue {
	struct fs_backend *b;
	struct queue q;             // q.ready: running
	uint16_t num, base;         // as set, or as they were when it was stopped
	uint64_t desc, avail, used; // front end's user addresses
	bool have_addr, enabled;
	int kick_fd, call_fd, err_fd; // owned
	struct loop_source *kick_src;
};

struct fs_backend {
	struct loop *loop;
	struct fs_server *server;
	int sock; // borrowed
	struct loop_source *sock_src;
	void (*on_end)(void *arg, int code, const char *text);
	void *on_end_arg;
	uint64_t features;
	struct mem *mem;
	struct vhost_user_mem table; // for the translation of user addresses
	struct backend_queue queues[BACKEND_QUEUES];
	struct log_limit bad_limit;
	struct queue_chain chain; // the one being served
};

// ---- queues

// Tells whoever holds the other end. A full counter is as good as a new signal.
static void backend_signal(int fd)
{
	uint64_t one = 1;

	if (fd >= 0 && write(fd, &one, sizeof(one)) < 0)
		return; // EAGAIN: see above
}

static void queue_halt(struct backend_queue *bq)
{
	loop_remove(bq->kick_src);
	bq->kick_src = NULL;
	if (!bq->q.ready)
		return;
	bq->base = bq->q.last_avail;
	queue_stop(&bq->q);
}

static void queue_broke(struct backend_queue *bq)
{
	if (log_limit_ok(&bq->b->bad_limit, 3))
		log_warn("guest broke virtio-fs queue %d: it is stopped until the device is reset",
			 (int)(bq - bq->b->queues));
	loop_remove(bq->kick_src);
	bq->kick_src = NULL;
	backend_signal(bq->err_fd);
}

// Serves up to BACKEND_BURST requests. Returns true if there may be more.
static bool queue_serve(struct backend_queue *bq)
{
	struct queue_chain *c = &bq->b->chain;

	for (unsigned n = 0; n < BACKEND_BURST; n++) {
		int r = queue_pop(&bq->q, c);
		size_t len;

		if (r < 0)
			queue_broke(bq);
		if (r <= 0)
			return false;
		len = fs_server_handle(bq->b->server, c->iov, c->n_out, c->iov + c->n_out, c->n_in);
		queue_push(&bq->q, c->head, (uint32_t)len);
		if (queue_needs_notify(&bq->q))
			backend_signal(bq->call_fd);
	}
	return true;
}

static void on_kick(void *arg, uint32_t events)
{
	struct backend_queue *bq = arg;
	uint64_t count;
	bool more;

	(void)events;
	if (read(bq->kick_fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		return; // not an eventfd that can be read: nothing will come
	queue_kicks_off(&bq->q);
	do
		more = queue_serve(bq);
	while (!more && !bq->q.broken && queue_kicks_on(&bq->q));
	if (more)
		backend_signal(bq->kick_fd); // others first, then this one again
}

static int backend_translate(const struct fs_backend *b, uint64_t user, uint64_t *ret_gpa)
{
	for (unsigned i = 0; i < b->table.nregions; i++) {
		const struct vhost_user_region *r = &b->table.regions[i];

		if (user >= r->user_addr && user - r->user_addr < r->size) {
			*ret_gpa = r->gpa + (user - r->user_addr);
			return 0;
		}
	}
	return -EFAULT;
}

// Starts the queue once everything is there: memory, addresses, a kick, and the front end's word. 0 or -errno.
static int queue_try_start(struct backend_queue *bq)
{
	struct fs_backend *b = bq->b;
	uint64_t desc, avail, used;
	int r;

	if (bq->q.ready || !b->mem || !bq->have_addr || !bq->num || bq->kick_fd < 0 || !bq->enabled)
		return 0;
	if (backend_translate(b, bq->desc, &desc) < 0 ||
	    backend_translate(b, bq->avail, &avail) < 0 ||
	    backend_translate(b, bq->used, &used) < 0)
		return -EFAULT;
	r = queue_start(&bq->q, b->mem, bq->num, desc, avail, used, b->features);
	if (r < 0)
		return r;
	bq->q.last_avail = bq->base;
	// Where the used ring is, only the ring itself knows.
	memcpy(&bq->q.used_idx, (const char *)bq->q.used + sizeof(uint16_t), sizeof(uint16_t));
	bq->q.signalled = bq->q.used_idx;
	r = loop_add_fd(b->loop, "virtio-fs queue", bq->kick_fd, EPOLLIN, on_kick, bq,
			&bq->kick_src, NULL);
	if (r < 0) {
		queue_stop(&bq->q);
		return r;
	}
	backend_signal(bq->kick_fd); // a kick may have come and gone before
	return 0;
}

static int backend_try_start_all(struct fs_backend *b)
{
	for (unsigned i = 0; i < BACKEND_QUEUES; i++) {
		int r = queue_try_start(&b->queues[i]);

		if (r < 0)
			return r;
	}
	return 0;
}

static void backend_halt_all(struct fs_backend *b)
{
	for (unsigned i = 0; i < BACKEND_QUEUES; i++)
		queue_halt(&b->queues[i]);
}

// ---- messages

static int set_mem_table(struct fs_backend *b, const struct vhost_user_msg *m)
{
	struct mem_region regions[VHOST_USER_REGIONS_MAX] = { 0 };
	struct mem *mem;
	int r;

	if (m->h.size < 8 || m->p.mem.nregions > VHOST_USER_REGIONS_MAX ||
	    m->p.mem.nregions != m->nfds ||
	    m->h.size < 8 + m->p.mem.nregions * sizeof(struct vhost_user_region))
		return -EPROTO;
	for (unsigned i = 0; i < m->nfds; i++) {
		const struct vhost_user_region *from = &m->p.mem.regions[i];
		struct stat st;

		// A mapping that goes on behind the file's end would be a SIGBUS the guest can cause.
		if (fstat(m->fds[i], &st) < 0 || from->mmap_offset > INT64_MAX ||
		    from->size > INT64_MAX || from->mmap_offset + from->size > (uint64_t)st.st_size)
			return -EINVAL;
		regions[i] = (struct mem_region){ .gpa = from->gpa,
						  .len = from->size,
						  .fd_offset = from->mmap_offset,
						  .fd = m->fds[i] };
	}
	r = mem_new_from_regions(regions, m->nfds, &mem, NULL);
	if (r < 0)
		return r;
	backend_halt_all(b);
	mem_free(b->mem);
	b->mem = mem;
	b->table = m->p.mem;
	return backend_try_start_all(b);
}

static int set_features(struct fs_backend *b, uint64_t features)
{
	if (features & ~BACKEND_FEATURES)
		return -EINVAL;
	b->features = features;
	// Without the extension there is no SET_VRING_ENABLE: queues run as soon as they have a kick.
	for (unsigned i = 0; i < BACKEND_QUEUES && !(features & VHOST_USER_F_PROTOCOL_FEATURES);
	     i++)
		b->queues[i].enabled = true;
	return backend_try_start_all(b);
}

// Takes the message's descriptor for *slot; "no descriptor" is -1.
static int take_vring_fd(struct vhost_user_msg *m, int *slot)
{
	bool none = m->p.u64 & VHOST_USER_VRING_NOFD;

	if (none ? m->nfds != 0 : m->nfds != 1)
		return -EPROTO;
	close_fd(*slot);
	*slot = none ? -1 : take_fd(&m->fds[0]);
	if (!none)
		m->nfds = 0;
	return 0;
}

static int set_vring_fd(struct fs_backend *b, struct vhost_user_msg *m)
{
	uint64_t index = m->p.u64 & VHOST_USER_VRING_INDEX;
	struct backend_queue *bq;
	int r;

	if (m->h.size != sizeof(m->p.u64) || index >= BACKEND_QUEUES)
		return -EPROTO;
	bq = &b->queues[index];
	if (m->h.request == VHOST_USER_SET_VRING_CALL)
		return take_vring_fd(m, &bq->call_fd);
	if (m->h.request == VHOST_USER_SET_VRING_ERR)
		return take_vring_fd(m, &bq->err_fd);
	queue_halt(bq); // the loop must not watch a descriptor that is replaced
	r = take_vring_fd(m, &bq->kick_fd);
	if (r == 0 && bq->kick_fd < 0)
		return -EOPNOTSUPP; // polling the ring is not done here
	return r < 0 ? r : queue_try_start(bq);
}

static int set_vring_addr(struct fs_backend *b, const struct vhost_user_msg *m)
{
	struct backend_queue *bq;

	if (m->h.size != sizeof(m->p.addr) || m->p.addr.index >= BACKEND_QUEUES)
		return -EPROTO;
	bq = &b->queues[m->p.addr.index];
	queue_halt(bq);
	bq->desc = m->p.addr.desc;
	bq->avail = m->p.addr.avail;
	bq->used = m->p.addr.used;
	bq->have_addr = true;
	return queue_try_start(bq);
}

// SET_VRING_NUM, _BASE, _ENABLE and GET_VRING_BASE, which leaves its answer in m.
static int vring_state(struct fs_backend *b, struct vhost_user_msg *m)
{
	struct backend_queue *bq;

	if (m->h.size != sizeof(m->p.state) || m->p.state.index >= BACKEND_QUEUES ||
	    m->p.state.num > UINT16_MAX)
		return -EPROTO;
	bq = &b->queues[m->p.state.index];
	switch (m->h.request) {
	case VHOST_USER_SET_VRING_NUM:
		queue_halt(bq);
		bq->num = (uint16_t)m->p.state.num;
		break;
	case VHOST_USER_SET_VRING_BASE:
		queue_halt(bq);
		bq->base = (uint16_t)m->p.state.num;
		break;
	case VHOST_USER_SET_VRING_ENABLE:
		bq->enabled = m->p.state.num;
		if (!bq->enabled)
			queue_halt(bq);
		break;
	default: // GET_VRING_BASE: stops until the next kick descriptor
		queue_halt(bq);
		close_fd(take_fd(&bq->kick_fd));
		m->p.state.num = bq->base;
		return 0;
	}
	return queue_try_start(bq);
}

// Does what m asks. 0, 1 if m now holds the answer, or -errno.
static int backend_handle(struct fs_backend *b, struct vhost_user_msg *m)
{
	int r;

	switch (m->h.request) {
	case VHOST_USER_GET_FEATURES:
		m->p.u64 = BACKEND_FEATURES;
		break;
	case VHOST_USER_GET_PROTOCOL_FEATURES:
		m->p.u64 = BACKEND_PROTOCOL_FEATURES;
		break;
	case VHOST_USER_GET_QUEUE_NUM:
		m->p.u64 = BACKEND_QUEUES;
		break;
	case VHOST_USER_SET_FEATURES:
		return m->h.size == 8 ? set_features(b, m->p.u64) : -EPROTO;
	case VHOST_USER_SET_PROTOCOL_FEATURES:
		return m->h.size == 8 && !(m->p.u64 & ~BACKEND_PROTOCOL_FEATURES) ? 0 : -EPROTO;
	case VHOST_USER_SET_OWNER:
		return 0;
	case VHOST_USER_RESET_OWNER:
		backend_halt_all(b);
		return 0;
	case VHOST_USER_SET_MEM_TABLE:
		return set_mem_table(b, m);
	case VHOST_USER_SET_VRING_ADDR:
		return set_vring_addr(b, m);
	case VHOST_USER_SET_VRING_KICK:
	case VHOST_USER_SET_VRING_CALL:
	case VHOST_USER_SET_VRING_ERR:
		return set_vring_fd(b, m);
	case VHOST_USER_GET_VRING_BASE:
		r = vring_state(b, m);
		return r < 0 ? r : 1;
	case VHOST_USER_SET_VRING_NUM:
	case VHOST_USER_SET_VRING_BASE:
	case VHOST_USER_SET_VRING_ENABLE:
		return vring_state(b, m);
	default:
		return -EOPNOTSUPP;
	}
	m->h.size = sizeof(m->p.u64);
	return 1;
}

static void backend_end(struct fs_backend *b, int code, const char *text)
{
	loop_remove(b->sock_src);
	b->sock_src = NULL;
	backend_halt_all(b);
	b->on_end(b->on_end_arg, code, text);
}

static void on_message(void *arg, uint32_t events)
{
	struct fs_backend *b = arg;
	struct vhost_user_msg m;
	bool wants_ack;
	char text[96];
	int r = vhost_user_recv(b->sock, &m);

	(void)events;
	if (r == 0 || r == -ECONNRESET) {
		backend_end(b, 0, "front end has gone");
		return;
	}
	if (r < 0) {
		(void)snprintf(text, sizeof(text), "vhost-user socket: %s",
			       strerror(-r)); // cut is fine
		backend_end(b, -r, text);
		return;
	}
	wants_ack = m.h.flags & VHOST_USER_NEED_REPLY;
	r = backend_handle(b, &m);
	for (unsigned i = 0; i < m.nfds; i++)
		close_fd(m.fds[i]); // those that were kept have been taken out
	m.nfds = 0;
	if (r < 0 && !wants_ack) {
		(void)snprintf(text, sizeof(text), "vhost-user request %u: %s", m.h.request,
			       strerror(-r)); // as above
		backend_end(b, -r, text);
		return;
	}
	if (r < 0)
		log_error("vhost-user request %u: %s", m.h.request, strerror(-r));
	if (r != 1 && wants_ack) {
		m.h.size = sizeof(m.p.u64);
		m.p.u64 = r < 0;
		r = 1;
	}
	if (r != 1)
		return;
	m.h.flags = VHOST_USER_VERSION | VHOST_USER_REPLY;
	r = vhost_user_send(b->sock, &m);
	if (r < 0)
		backend_end(b, r == -EPIPE ? 0 : -r, "vhost-user socket: cannot answer");
}

// ---- life

int fs_backend_new(struct loop *loop, int sock, struct fs_server *server,
		   void (*on_end)(void *arg, int code, const char *text), void *arg,
		   struct fs_backend **ret_backend, struct err *e)
{
	struct fs_backend *b = calloc(1, sizeof(*b));
	int r;

	if (!b)
		return err_errno(e, ENOMEM, "virtio-fs back end");
	b->loop = loop;
	b->server = server;
	b->sock = sock;
	b->on_end = on_end;
	b->on_end_arg = arg;
	for (unsigned i = 0; i < BACKEND_QUEUES; i++) {
		b->queues[i].b = b;
		b->queues[i].kick_fd = b->queues[i].call_fd = b->queues[i].err_fd = -1;
	}
	r = loop_add_fd(loop, "vhost-user socket", sock, EPOLLIN, on_message, b, &b->sock_src, e);
	if (r < 0) {
		fs_backend_free(b);
		return r;
	}
	*ret_backend = b;
	return 0;
}

void fs_backend_free(struct fs_backend *b)
{
	if (!b)
		return;
	loop_remove(b->sock_src);
	backend_halt_all(b);
	for (unsigned i = 0; i < BACKEND_QUEUES; i++) {
		close_fd(b->queues[i].kick_fd);
		close_fd(b->queues[i].call_fd);
		close_fd(b->queues[i].err_fd);
	}
	mem_free(b->mem);
	free(b);
}
