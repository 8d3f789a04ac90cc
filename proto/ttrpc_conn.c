// SPDX-License-Identifier: Apache-2.0
#include "proto/ttrpc_conn.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "base/loop.h"
#include "base/own.h"
#include "proto/ttrpc.h"

struct ttrpc_conn {
	struct loop_source *src;
	int fd;
	const struct ttrpc_conn_ops *ops;
	void *arg;
	bool dead;                    // the peer is gone, or has been cut off
	bool in_callback, free_after; // freed inside a callback: the memory goes when it returns
	uint8_t *in;                  // header and payload of the frame that is being read
	size_t in_len, in_room;
	size_t skip; // bytes of a payload that is too large
	uint8_t *out;
	size_t out_len, out_done, out_room;
};

void ttrpc_header_put(uint8_t *p, uint32_t len, uint32_t stream, uint8_t type, uint8_t flags)
{
	for (int i = 0; i < 4; i++) {
		p[i] = (uint8_t)(len >> (24 - 8 * i));
		p[4 + i] = (uint8_t)(stream >> (24 - 8 * i));
	}
	p[8] = type;
	p[9] = flags;
}

void ttrpc_header_get(const uint8_t *p, uint32_t *len, uint32_t *stream, uint8_t *type,
		      uint8_t *flags)
{
	*len = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
	*stream = (uint32_t)p[4] << 24 | (uint32_t)p[5] << 16 | (uint32_t)p[6] << 8 | p[7];
	*type = p[8];
	*flags = p[9];
}

static void conn_destroy(struct ttrpc_conn *c)
{
	loop_remove(c->src);
	close_fd(c->fd);
	free(c->in);
	free(c->out);
	free(c);
}

void ttrpc_conn_free(struct ttrpc_conn *c)
{
	if (!c)
		return;
	if (c->in_callback)
		c->free_after = true;
	else
		conn_destroy(c);
}

static void conn_die(struct ttrpc_conn *c)
{
	if (c->dead)
		return;
	c->dead = true;
	loop_remove(c->src);
	c->src = NULL;
	if (!c->free_after)
		c->ops->closed(c->arg);
}

static int grow(uint8_t **buf, size_t *room, size_t need)
{
	size_t want = *room ? *room : 4096;
	uint8_t *p;

	while (want < need)
		want *= 2;
	if (want == *room)
		return 0;
	p = realloc(*buf, want);
	if (!p)
		return -ENOMEM;
	*buf = p;
	*room = want;
	return 0;
}

// Hands out the whole frames at the head of the buffer.
static void conn_deliver(struct ttrpc_conn *c)
{
	size_t at = 0;

	while (!c->dead && !c->free_after && c->in_len - at >= TTRPC_HEADER_BYTES) {
		struct ttrpc_frame f = { 0 };
		uint32_t len;

		ttrpc_header_get(c->in + at, &len, &f.stream, &f.type, &f.flags);
		if (len > TTRPC_PAYLOAD_MAX) {
			size_t here = c->in_len - at - TTRPC_HEADER_BYTES;
			size_t drop = here < len ? here : len;

			c->skip = len - drop;
			at += TTRPC_HEADER_BYTES + drop;
		} else if (c->in_len - at - TTRPC_HEADER_BYTES < len) {
			break;
		} else {
			f.payload = c->in + at + TTRPC_HEADER_BYTES;
			f.len = len;
			at += TTRPC_HEADER_BYTES + len;
		}
		c->ops->frame(c->arg, &f);
	}
	memmove(c->in, c->in + at, c->in_len - at);
	c->in_len -= at;
}

static void conn_read(struct ttrpc_conn *c)
{
	uint8_t buf[65536];
	ssize_t n = read(c->fd, buf, sizeof(buf));
	size_t off = 0;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		conn_die(c);
		return;
	}
	if (c->skip) {
		off = c->skip < (size_t)n ? c->skip : (size_t)n;
		c->skip -= off;
	}
	// Bounded: at most one frame that is not whole, and what one read brings.
	if (grow(&c->in, &c->in_room, c->in_len + (size_t)n - off) < 0) {
		conn_die(c);
		return;
	}
	memcpy(c->in + c->in_len, buf + off, (size_t)n - off);
	c->in_len += (size_t)n - off;
	conn_deliver(c);
}

static int conn_flush(struct ttrpc_conn *c)
{
	while (c->out_done < c->out_len) {
		ssize_t n =
			send(c->fd, c->out + c->out_done, c->out_len - c->out_done, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return loop_mod_fd(c->src, EPOLLIN | EPOLLOUT);
		if (n < 0)
			return -EPIPE;
		c->out_done += (size_t)n;
	}
	c->out_done = c->out_len = 0;
	return loop_mod_fd(c->src, EPOLLIN);
}

static void conn_event(void *arg, uint32_t events)
{
	struct ttrpc_conn *c = arg;

	c->in_callback = true;
	if (events & EPOLLOUT && conn_flush(c) < 0)
		conn_die(c);
	if (!c->dead && events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		conn_read(c);
	c->in_callback = false;
	if (c->free_after)
		conn_destroy(c);
}

int ttrpc_conn_send(struct ttrpc_conn *c, uint32_t stream, uint8_t type, const void *payload,
		    size_t len)
{
	size_t need;

	if (c->dead || c->free_after)
		return -EPIPE;
	if (len > TTRPC_PAYLOAD_MAX)
		return -EMSGSIZE;
	if (c->out_len - c->out_done + len > TTRPC_QUEUE_MAX)
		return -ENOBUFS;
	if (c->out_done) {
		memmove(c->out, c->out + c->out_done, c->out_len - c->out_done);
		c->out_len -= c->out_done;
		c->out_done = 0;
	}
	need = c->out_len + TTRPC_HEADER_BYTES + len;
	if (grow(&c->out, &c->out_room, need) < 0)
		return -ENOMEM;
	ttrpc_header_put(c->out + c->out_len, (uint32_t)len, stream, type, 0);
	if (len)
		memcpy(c->out + c->out_len + TTRPC_HEADER_BYTES, payload, len);
	c->out_len = need;
	// A failing write is noticed as the end of the connection by the loop: the caller's state is not torn down here.
	return conn_flush(c) < 0 ? -EPIPE : 0;
}

int ttrpc_conn_new(struct loop *l, int fd, const struct ttrpc_conn_ops *ops, void *arg,
		   struct ttrpc_conn **ret, struct err *e)
{
	struct ttrpc_conn *c = calloc(1, sizeof(*c));
	int flags = fcntl(fd, F_GETFL), r;

	if (!c || flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) {
		int code = c ? errno : ENOMEM;

		free(c);
		close_fd(fd);
		return err_errno(e, code, "ttrpc connection");
	}
	*c = (struct ttrpc_conn){ .fd = fd, .ops = ops, .arg = arg };
	r = loop_add_fd(l, "ttrpc", fd, EPOLLIN, conn_event, c, &c->src, e);
	if (r < 0) {
		conn_destroy(c);
		return r;
	}
	*ret = c;
	return 0;
}
