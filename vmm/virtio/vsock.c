// SPDX-License-Identifier: Apache-2.0
// virtio-vsock (virtio 1.2, 5.10), stream sockets, with unix sockets on the host's side.
//
// A connection is a pair of ports and a unix socket. Bytes for the guest are read from the socket straight into receive
// buffers, as many as the guest's credit allows. Bytes from the guest that the socket does not take at once wait in a
// buffer that the credit we gave bounds, and count as forwarded only when the socket has them.
#include "vmm/virtio/virtio.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/own.h"
#include "vmm/virtio/device.h"

// needs CONFIG_VIRTIO_VSOCKETS

enum { VSOCK_RX, VSOCK_TX, VSOCK_EVENT, VSOCK_QUEUES };
enum { TYPE_STREAM = 1 };
enum {
	OP_REQUEST = 1,
	OP_RESPONSE,
	OP_RST,
	OP_SHUTDOWN,
	OP_RW,
	OP_CREDIT_UPDATE,
	OP_CREDIT_REQUEST
};
enum { SHUT_NO_RECEIVE = 1, SHUT_NO_SEND = 2 };
enum {
	CONNS_MAX = 1024,
	BUF_ALLOC = 256 << 10,
	LINE_MAX_BYTES = 32,
	HOST_CID = 2,
	RESETS_MAX = 64
};

struct packet {
	uint64_t src_cid, dst_cid;
	uint32_t src_port, dst_port, len;
	uint16_t type, op;
	uint32_t flags, buf_alloc, fwd_cnt;
} __attribute__((packed));
_Static_assert(sizeof(struct packet) == 44, "struct virtio_vsock_hdr");

enum conn_state {
	CONN_LINE,      // host side: "CONNECT <port>\n" is being read
	CONN_REQUESTED, // the guest has been asked
	CONN_OPEN,
	CONN_LEFT, // the guest has closed and forgotten it; the socket has not taken its last bytes
};

struct conn {
	struct vsock *v;
	struct conn *next;
	enum conn_state state;
	int fd; // owned
	struct loop_source *source;
	uint32_t events; // what the loop watches for
	uint32_t host_port, guest_port;
	uint32_t fwd_cnt, fwd_told;          // bytes the socket took; as the guest knows it
	uint32_t peer_alloc, peer_fwd, sent; // the guest's credit; bytes sent to it
	uint32_t send;                       // bit per op that has to be sent
	uint32_t shut_flags;                 // of OP_SHUTDOWN to be sent
	bool guest_no_send, guest_no_receive, host_eof, readable;
	uint8_t *out; // bytes from the guest that the socket has not taken: a ring of BUF_ALLOC
	uint32_t out_at, out_len;
	char line[LINE_MAX_BYTES];
	unsigned line_len;
};

struct reset {
	uint32_t host_port, guest_port;
};

struct vsock {
	struct virtio_dev dev;
	uint64_t cid;
	int listen_fd, dir_fd; // borrowed
	struct loop_source *listen_source;
	struct conn *conns;
	unsigned n_conns;
	uint32_t next_port;
	struct reset resets[RESETS_MAX]; // answers to packets of no connection
	unsigned n_resets;
	struct log_limit limit;
};

static void pump(struct vsock *v);

// ---- connections
static void conn_watch(struct conn *c, uint32_t events)
{
	if (c->events == events || !c->source)
		return;
	c->events = events;
	(void)loop_mod_fd(c->source, events); // fails only on a descriptor that is not there
}

static void conn_free(struct conn *c)
{
	struct conn **at = &c->v->conns;

	while (*at && *at != c)
		at = &(*at)->next;
	if (*at)
		*at = c->next;
	c->v->n_conns--;
	loop_remove(c->source);
	close_fd(c->fd);
	free(c->out);
	free(c);
}

static uint32_t conn_credit(const struct conn *c)
{
	uint32_t in_flight = c->sent - c->peer_fwd;

	return in_flight < c->peer_alloc ? c->peer_alloc - in_flight : 0;
}

// What the loop should wait for on the connection's socket.
static void conn_update(struct conn *c)
{
	uint32_t ev = 0;

	if (c->state == CONN_LINE)
		ev = EPOLLIN;
	else if (c->state == CONN_OPEN) {
		if (!c->host_eof && !c->readable && !c->guest_no_receive && conn_credit(c))
			ev |= EPOLLIN;
		if (c->out_len)
			ev |= EPOLLOUT;
	} else if (c->state == CONN_LEFT) {
		ev = EPOLLOUT;
	}
	conn_watch(c, ev);
}

// Sends what waits to the socket. False: the connection has to be reset.
static bool conn_flush(struct conn *c)
{
	while (c->out_len) {
		uint32_t part = BUF_ALLOC - c->out_at;
		ssize_t n;

		part = part < c->out_len ? part : c->out_len;
		n = send(c->fd, c->out + c->out_at, part, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return true;
		if (n < 0)
			return false;
		c->out_at = (c->out_at + (uint32_t)n) % BUF_ALLOC;
		c->out_len -= (uint32_t)n;
		c->fwd_cnt += (uint32_t)n;
	}
	if (c->guest_no_send)
		(void)shutdown(c->fd,
			       SHUT_WR); // fails if the other side has gone, which is as good
	return true;
}

// Bytes from the guest. False: reset.
static bool conn_data(struct conn *c, const struct queue_chain *chain, uint32_t len)
{
	size_t skip = sizeof(struct packet), done = 0;

	if (len > BUF_ALLOC - c->out_len) /* guest: more than the credit it was given */
		return false;
	// Without a backlog the socket takes them straight from guest memory.
	for (unsigned i = 0; i < chain->n_out && !c->out_len && done < len; i++) {
		size_t part;
		ssize_t n;

		if (skip >= chain->iov[i].iov_len) {
			skip -= chain->iov[i].iov_len;
			continue;
		}
		part = chain->iov[i].iov_len - skip;
		part = part < len - done ? part : len - done;
		n = send(c->fd, (uint8_t *)chain->iov[i].iov_base + skip, part,
			 MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return false;
		if (n > 0) {
			done += (size_t)n;
			c->fwd_cnt += (uint32_t)n;
		}
		if (n < (ssize_t)part)
			break;
		skip = 0;
	}
	if (done == len)
		return true;
	if (!c->out) {
		c->out = malloc(BUF_ALLOC);
		if (!c->out)
			return false;
		c->out_at = 0;
	}
	while (done < len) {
		uint32_t at = (c->out_at + c->out_len) % BUF_ALLOC, part = BUF_ALLOC - at;

		part = part < len - done ? part : (uint32_t)(len - done);
		part = (uint32_t)queue_copy_out(chain, sizeof(struct packet) + done, c->out + at,
						part);
		if (!part)
			return false;
		c->out_len += part;
		done += part;
	}
	return true;
}

static struct conn *conn_find(struct vsock *v, uint32_t host_port, uint32_t guest_port)
{
	for (struct conn *c = v->conns; c; c = c->next)
		if (c->state != CONN_LINE && c->state != CONN_LEFT && c->host_port == host_port &&
		    c->guest_port == guest_port)
			return c;
	return NULL;
}

static void on_conn(void *arg, uint32_t events);

// A new connection on fd (owned from here on, also on failure).
static struct conn *conn_new(struct vsock *v, int fd, enum conn_state state)
{
	struct conn *c = v->n_conns < CONNS_MAX ? calloc(1, sizeof(*c)) : NULL;

	if (!c) {
		close_fd(fd);
		return NULL;
	}
	*c = (struct conn){ .v = v, .fd = fd, .state = state, .next = v->conns };
	v->conns = c;
	v->n_conns++;
	if (loop_add_fd(v->dev.host.loop, "vsock connection", fd, 0, on_conn, c, &c->source, NULL) <
	    0) {
		conn_free(c);
		return NULL;
	}
	conn_update(c);
	return c;
}

static void reset_queue(struct vsock *v, uint32_t host_port, uint32_t guest_port)
{
	if (v->n_resets < RESETS_MAX) // a guest that asks for more than it reads does without
		v->resets[v->n_resets++] = (struct reset){ host_port, guest_port };
}

static void conn_reset(struct conn *c)
{
	struct vsock *v = c->v;

	if (c->state != CONN_LINE && c->state != CONN_LEFT)
		reset_queue(v, c->host_port, c->guest_port);
	conn_free(c);
}

// A guest that has closed waits some seconds for the reset that ends a connection, and then resets it itself: that is no
// reason for a slow reader to lose what was sent before.
static void conn_leave(struct conn *c)
{
	if (!c->guest_no_send || !c->out_len) {
		conn_free(c);
		return;
	}
	c->state = CONN_LEFT;
	c->send = 0;
	conn_update(c);
}

// ---- the host's side
static bool line_done(struct conn *c)
{
	unsigned long port;
	char *end;

	c->line[c->line_len] = '\0';
	if (strncmp(c->line, "CONNECT ", 8) != 0)
		return false;
	errno = 0;
	port = strtoul(c->line + 8, &end, 10);
	if (errno || end == c->line + 8 || *end || port > UINT32_MAX)
		return false;
	c->guest_port = (uint32_t)port;
	do
		c->host_port = c->v->next_port++;
	while (c->host_port < 1024 || conn_find(c->v, c->host_port, c->guest_port));
	c->state = CONN_REQUESTED;
	c->send |= 1 << OP_REQUEST;
	return true;
}

// Byte by byte: what follows the line is the stream's. False: no such request.
static bool line_read(struct conn *c)
{
	while (c->state == CONN_LINE) {
		char ch;
		ssize_t n = recv(c->fd, &ch, 1, MSG_DONTWAIT);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return true;
		if (n <= 0)
			return false;
		if (ch == '\n')
			return line_done(c);
		if (c->line_len + 1 >= LINE_MAX_BYTES)
			return false;
		c->line[c->line_len++] = ch;
	}
	return true;
}

static void on_conn(void *arg, uint32_t events)
{
	struct conn *c = arg;
	struct vsock *v = c->v;
	bool ok = true;

	pthread_mutex_lock(&v->dev.lock);
	if (c->state == CONN_LINE) {
		ok = line_read(c);
	} else if (c->state == CONN_REQUESTED) {
		ok = !(events & (EPOLLHUP | EPOLLERR)); // the host has lost interest
	} else if (c->state == CONN_LEFT) {
		ok = !(events & (EPOLLHUP | EPOLLERR)) && conn_flush(c) && c->out_len;
	} else {
		if (events & EPOLLOUT)
			ok = conn_flush(c) &&
			     !(c->guest_no_receive && c->guest_no_send && !c->out_len);
		if (ok && (events & (EPOLLIN | EPOLLHUP | EPOLLERR))) {
			c->readable = true;
			// With nothing watched for, a hang-up would be told over and over.
			if ((events & (EPOLLHUP | EPOLLERR)) &&
			    (c->host_eof || c->guest_no_receive))
				ok = false;
		}
	}
	if (!ok)
		conn_reset(c);
	else
		conn_update(c);
	pump(v);
	pthread_mutex_unlock(&v->dev.lock);
}

static void on_listen(void *arg, uint32_t events)
{
	struct vsock *v = arg;
	int fd = accept4(v->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (fd < 0)
		return;
	pthread_mutex_lock(&v->dev.lock);
	if (!conn_new(v, fd, CONN_LINE) && log_limit_ok(&v->limit, 1))
		log_warn("vsock: more than %d connections", CONNS_MAX);
	pthread_mutex_unlock(&v->dev.lock);
}

// The guest asks for a port of the host: a unix socket beside ours.
static int host_connect(struct vsock *v, uint32_t port)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd AUTO_CLOSE = -1;

	if (v->dir_fd < 0)
		return -1;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -1;
	(void)snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d/vsock.sock_%u", v->dir_fd,
		       port); // fits
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		return -1;
	return take_fd(&fd);
}

// ---- packets to the guest
static void header(const struct vsock *v, struct packet *p, uint32_t host_port, uint32_t guest_port,
		   uint16_t op)
{
	*p = (struct packet){ .src_cid = HOST_CID,
			      .dst_cid = v->cid,
			      .src_port = host_port,
			      .dst_port = guest_port,
			      .type = TYPE_STREAM,
			      .op = op,
			      .buf_alloc = BUF_ALLOC };
}

// True if a receive buffer was there and has been used.
static bool send_control(struct vsock *v, const struct packet *p)
{
	struct queue *q = &v->dev.queue[VSOCK_RX];
	struct queue_chain chain;

	if (queue_pop(q, &chain) != 1)
		return false;
	queue_push(q, chain.head, (uint32_t)queue_copy_in(&chain, 0, p, sizeof(*p)));
	return true;
}

static bool conn_send_control(struct conn *c, uint16_t op)
{
	struct packet p;

	header(c->v, &p, c->host_port, c->guest_port, op);
	p.fwd_cnt = c->fwd_cnt;
	p.flags = op == OP_SHUTDOWN ? c->shut_flags : 0;
	if (!send_control(c->v, &p))
		return false;
	c->fwd_told = c->fwd_cnt;
	c->send &= ~(1u << op);
	return true;
}

// Reads from the socket into a receive buffer. False: no buffer.
static bool conn_send_data(struct conn *c)
{
	struct vsock *v = c->v;
	struct queue *q = &v->dev.queue[VSOCK_RX];
	struct queue_chain chain;
	struct iovec iov[QUEUE_IOV_MAX];
	struct packet p;
	size_t room, skip = sizeof(p), n_iov = 0;
	ssize_t n;

	if (queue_pop(q, &chain) != 1)
		return false;
	room = chain.in_bytes > sizeof(p) ? chain.in_bytes - sizeof(p) : 0;
	room = room < conn_credit(c) ? room : conn_credit(c);
	for (unsigned i = chain.n_out; i < chain.n_out + chain.n_in && room; i++) {
		struct iovec part = chain.iov[i];

		if (skip >= part.iov_len) {
			skip -= part.iov_len;
			continue;
		}
		part.iov_base = (uint8_t *)part.iov_base + skip;
		part.iov_len = part.iov_len - skip < room ? part.iov_len - skip : room;
		skip = 0;
		room -= part.iov_len;
		iov[n_iov++] = part;
	}
	n = n_iov ? readv(c->fd, iov, (int)n_iov) : -1;
	if (n <= 0) {
		queue_unpop(q);
		c->readable = false;
		if (n == 0 || (n_iov && errno != EAGAIN && errno != EINTR)) {
			c->host_eof = true;
			c->shut_flags |= SHUT_NO_SEND;
			c->send |= 1 << OP_SHUTDOWN;
		}
		return true;
	}
	header(v, &p, c->host_port, c->guest_port, OP_RW);
	p.len = (uint32_t)n;
	p.fwd_cnt = c->fwd_told = c->fwd_cnt;
	(void)queue_copy_in(&chain, 0, &p, sizeof(p)); // room for it was seen above
	queue_push(q, chain.head, (uint32_t)(sizeof(p) + (size_t)n));
	c->sent += (uint32_t)n;
	return true;
}

// One round for a connection. False: out of receive buffers.
static bool conn_pump(struct conn *c)
{
	static const uint16_t order[] = { OP_REQUEST, OP_RESPONSE, OP_CREDIT_UPDATE };

	if (c->state == CONN_OPEN && (uint32_t)(c->fwd_cnt - c->fwd_told) >= BUF_ALLOC / 4)
		c->send |= 1 << OP_CREDIT_UPDATE;
	for (unsigned i = 0; i < 3; i++)
		if ((c->send >> order[i] & 1) && !conn_send_control(c, order[i]))
			return false;
	while (c->state == CONN_OPEN && c->readable && !c->host_eof && conn_credit(c))
		if (!conn_send_data(c))
			return false;
	// After the data.
	if ((c->send >> OP_SHUTDOWN & 1) && !conn_send_control(c, OP_SHUTDOWN))
		return false;
	return true;
}

static void pump_resets(struct vsock *v)
{
	while (v->n_resets) {
		struct packet p;

		header(v, &p, v->resets[0].host_port, v->resets[0].guest_port, OP_RST);
		if (!send_control(v, &p))
			return;
		v->n_resets--;
		memmove(v->resets, v->resets + 1, v->n_resets * sizeof(v->resets[0]));
	}
}

// Moves what can be moved to the guest; notifies once.
static void pump(struct vsock *v)
{
	struct queue *q = &v->dev.queue[VSOCK_RX];

	if (!q->ready || q->broken)
		return;
	do {
		bool room = true;

		queue_kicks_off(q);
		pump_resets(v);
		for (struct conn *c = v->conns; c && room; c = c->next) {
			room = conn_pump(c);
			conn_update(c);
		}
		if (room)
			break; // nothing waits for buffers: kicks may stay off
	} while (queue_kicks_on(q));
	virtio_dev_notify(&v->dev, VSOCK_RX);
	if (q->broken)
		v->dev.broken(&v->dev, "the guest broke the receive queue's rules");
}

// ---- packets from the guest
static void guest_request(struct vsock *v, const struct packet *p)
{
	int fd = host_connect(v, p->dst_port);
	struct conn *c = fd >= 0 ? conn_new(v, fd, CONN_OPEN) : NULL;

	if (!c) {
		reset_queue(v, p->dst_port, p->src_port);
		return;
	}
	c->host_port = p->dst_port;
	c->guest_port = p->src_port;
	c->peer_alloc = p->buf_alloc;
	c->peer_fwd = p->fwd_cnt;
	c->send |= 1 << OP_RESPONSE;
}

static bool guest_response(struct conn *c)
{
	char line[LINE_MAX_BYTES];
	int n;

	if (c->state != CONN_REQUESTED)
		return false;
	c->state = CONN_OPEN;
	n = snprintf(line, sizeof(line), "OK %u\n", c->host_port);
	// A fresh socket takes a few bytes; one that does not has gone.
	return send(c->fd, line, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT) == n;
}

// False: the connection is to be reset.
static bool guest_shutdown(struct conn *c, uint32_t flags)
{
	c->guest_no_receive |= flags & SHUT_NO_RECEIVE;
	c->guest_no_send |= (flags & SHUT_NO_SEND) != 0;
	if (c->guest_no_receive)
		(void)shutdown(c->fd, SHUT_RD); // as in conn_flush
	if (!conn_flush(c))
		return false;
	// Both: the guest is done, and waits for a reset once its bytes are out.
	return !(c->guest_no_receive && c->guest_no_send && !c->out_len);
}

static void guest_packet(struct vsock *v, const struct packet *p, const struct queue_chain *chain)
{
	struct conn *c;
	bool ok = true;

	if (p->src_cid != v->cid || p->dst_cid != HOST_CID ||
	    p->len > chain->out_bytes - sizeof(*p))
		return; /* guest: not ours, or a lie */
	c = conn_find(v, p->dst_port, p->src_port);
	if (p->type != TYPE_STREAM || (!c && p->op != OP_REQUEST)) {
		if (p->op != OP_RST)
			reset_queue(v, p->dst_port, p->src_port);
		return;
	}
	if (!c) {
		guest_request(v, p);
		return;
	}
	c->peer_alloc = p->buf_alloc;
	c->peer_fwd = p->fwd_cnt;
	switch (p->op) {
	case OP_RESPONSE:
		ok = guest_response(c);
		break;
	case OP_RST:
		conn_leave(c);
		return;
	case OP_SHUTDOWN:
		ok = guest_shutdown(c, p->flags);
		break;
	case OP_RW:
		ok = c->state == CONN_OPEN && conn_data(c, chain, p->len);
		break;
	case OP_CREDIT_UPDATE:
		break;
	case OP_CREDIT_REQUEST:
		c->send |= 1 << OP_CREDIT_UPDATE;
		break;
	default:
		ok = false;
		break;
	}
	if (!ok)
		conn_reset(c);
	else
		conn_update(c);
}

static void vsock_kick(struct virtio_dev *d, unsigned index)
{
	struct vsock *v = (struct vsock *)d;
	struct queue *q = &d->queue[VSOCK_TX];
	struct queue_chain chain;

	if (index == VSOCK_TX) {
		do {
			queue_kicks_off(q);
			while (queue_pop(q, &chain) == 1) {
				struct packet p;

				if (queue_copy_out(&chain, 0, &p, sizeof(p)) ==
				    sizeof(p)) /* guest: read once */
					guest_packet(v, &p, &chain);
				queue_push(q, chain.head, 0);
			}
		} while (queue_kicks_on(q));
		virtio_dev_notify(d, VSOCK_TX);
	}
	if (index != VSOCK_EVENT) // no event is ever sent
		pump(v);
}

// ---- the device
static void vsock_config_read(struct virtio_dev *d, uint64_t off, void *data, unsigned len)
{
	const struct vsock *v = (const struct vsock *)d;

	if (off < sizeof(v->cid) && len <= sizeof(v->cid) - off)
		memcpy(data, (const uint8_t *)&v->cid + off, len);
}

static int vsock_activate(struct virtio_dev *d)
{
	(void)d;
	return 0;
}

static void vsock_reset(struct virtio_dev *d)
{
	struct vsock *v = (struct vsock *)d;

	while (v->conns)
		conn_free(v->conns);
	v->n_resets = 0;
}

static void vsock_free(struct virtio_dev *d)
{
	struct vsock *v = (struct vsock *)d;

	vsock_reset(d);
	loop_remove(v->listen_source);
	free(v);
}

static const struct virtio_dev_ops vsock_ops = {
	.name = "vsock",
	.id = VIRTIO_ID_VSOCK,
	.n_queues = VSOCK_QUEUES,
	.queue_size = { 128, 128, 8 },
	.config_read = vsock_config_read,
	.activate = vsock_activate,
	.reset = vsock_reset,
	.kick = vsock_kick,
	.free = vsock_free,
};

int virtio_vsock_new(const struct dev_host *host, uint64_t guest_cid, int listen_fd, int dir_fd,
		     struct virtio_dev **ret, struct err *e)
{
	struct vsock *v;
	int r;

	if (guest_cid < 3 || guest_cid >= UINT32_MAX)
		return err_set(e, EINVAL, "vsock cid %llu: expected 3 to %u",
			       (unsigned long long)guest_cid, UINT32_MAX - 1);
	v = calloc(1, sizeof(*v));
	if (!v)
		return err_errno(e, ENOMEM, "vsock");
	virtio_dev_init(&v->dev, &vsock_ops, host);
	v->cid = guest_cid;
	v->listen_fd = listen_fd;
	v->dir_fd = dir_fd;
	v->next_port = 1u << 30;
	r = fcntl(listen_fd, F_SETFL, O_NONBLOCK) < 0 ? err_errno(e, errno, "vsock listener") : 0;
	r = r < 0 ? r
		  : loop_add_fd(host->loop, "vsock listener", listen_fd, EPOLLIN, on_listen, v,
				&v->listen_source, e);
	if (r < 0) {
		free(v);
		return r;
	}
	*ret = &v->dev;
	return 0;
}
