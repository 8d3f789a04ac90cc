// SPDX-License-Identifier: Apache-2.0
// A stream socket as the port of a network device, framed as QEMU does and passt expects: four big-endian bytes of length,
// then the frame, without a header. A peer that lies about lengths ends the port.
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/err.h"
#include "base/own.h"
#include "vmm/virtio/net.h"

enum { STREAM_LENGTH_BYTES = 4, STREAM_FRAME_MIN = 14, STREAM_IOV_MAX = 264 };

struct net_stream {
	struct net_port port;
	// What the socket did not take of a frame that was begun. Nothing is sent before it.
	size_t out_at, out_end;
	size_t in_at, in_end; // received and not yet looked at
	uint8_t out[STREAM_LENGTH_BYTES + NET_FRAME_MAX];
	uint8_t in[2 * (STREAM_LENGTH_BYTES + NET_FRAME_MAX)];
};

static int stream_flush(struct net_port *p)
{
	struct net_stream *s = (struct net_stream *)p;

	while (s->out_at < s->out_end) {
		ssize_t n = send(s->port.fd[0], s->out + s->out_at, s->out_end - s->out_at,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? -EAGAIN : -EPIPE;
		s->out_at += (size_t)n;
	}
	s->out_at = s->out_end = 0;
	return 0;
}

// The rest of a frame of which `sent` bytes have gone.
static void stream_keep(struct net_stream *s, const struct iovec *iov, unsigned n, size_t sent)
{
	for (unsigned i = 0; i < n; i++) {
		size_t skip = sent < iov[i].iov_len ? sent : iov[i].iov_len;

		memcpy(s->out + s->out_end, (const uint8_t *)iov[i].iov_base + skip,
		       iov[i].iov_len - skip);
		s->out_end += iov[i].iov_len - skip;
		sent -= skip;
	}
}

static int stream_send(struct net_port *p, unsigned pair, const struct iovec *iov, unsigned n)
{
	struct net_stream *s = (struct net_stream *)p;
	struct iovec out[STREAM_IOV_MAX];
	struct msghdr m = { .msg_iov = out, .msg_iovlen = n };
	size_t bytes = 0;
	uint32_t length;
	ssize_t sent;
	int r = stream_flush(p);

	(void)pair; // there is one
	if (r < 0)
		return r;
	for (unsigned i = 1; i < n; i++) {
		out[i] = iov[i];
		bytes += iov[i].iov_len;
	}
	if (n > STREAM_IOV_MAX || bytes > NET_FRAME_MAX)
		return -EIO;
	length = htonl((uint32_t)bytes);
	out[0] = (struct iovec){ &length, sizeof(length) }; // in the place of the header
	sent = sendmsg(p->fd[0], &m, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (sent < 0)
		return errno == EAGAIN || errno == EINTR ? -EAGAIN : -EPIPE;
	if ((size_t)sent < sizeof(length) + bytes)
		stream_keep(s, out, n, (size_t)sent);
	return 0;
}

// 1: a whole frame is there, and its length. 0: not yet.
static int stream_frame(const struct net_stream *s, uint32_t *ret_length)
{
	uint32_t length;

	if (s->in_end - s->in_at < STREAM_LENGTH_BYTES)
		return 0;
	memcpy(&length, s->in + s->in_at, sizeof(length));
	length = ntohl(length);
	if (length < STREAM_FRAME_MIN || length > NET_FRAME_MAX)
		return -EPROTO;
	*ret_length = length;
	return s->in_end - s->in_at >= STREAM_LENGTH_BYTES + length;
}

static int stream_fill(struct net_stream *s)
{
	ssize_t n;

	memmove(s->in, s->in + s->in_at, s->in_end - s->in_at);
	s->in_end -= s->in_at;
	s->in_at = 0;
	n = recv(s->port.fd[0], s->in + s->in_end, sizeof(s->in) - s->in_end, MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? -EAGAIN : -EPIPE;
	s->in_end += (size_t)n;
	return n == 0 ? -EPIPE : 0;
}

// Puts header and frame into the vector; what does not fit is an error.
static ssize_t stream_scatter(const struct iovec *iov, unsigned n, const uint8_t *frame, size_t len)
{
	static const struct net_header none = { 0 };
	const uint8_t *from = (const uint8_t *)&none;
	size_t left = NET_HEADER_BYTES, at = 0;
	bool in_header = true;

	for (unsigned i = 0; i < n;) {
		size_t room = iov[i].iov_len - at, part = room < left ? room : left;

		memcpy((uint8_t *)iov[i].iov_base + at, from, part);
		from += part;
		left -= part;
		at += part;
		if (at == iov[i].iov_len) {
			i++;
			at = 0;
		}
		if (left)
			continue;
		if (!in_header)
			return (ssize_t)(NET_HEADER_BYTES + len);
		in_header = false;
		from = frame;
		left = len;
	}
	return -EIO;
}

static ssize_t stream_recv(struct net_port *p, unsigned pair, const struct iovec *iov, unsigned n)
{
	struct net_stream *s = (struct net_stream *)p;
	const uint8_t *frame;
	uint32_t length;
	int r;

	(void)pair; // there is one
	while ((r = stream_frame(s, &length)) == 0) {
		r = stream_fill(s);
		if (r < 0)
			return r;
	}
	if (r < 0)
		return r;
	frame = s->in + s->in_at + STREAM_LENGTH_BYTES;
	s->in_at += STREAM_LENGTH_BYTES + length;
	return stream_scatter(iov, n, frame, length);
}

static int stream_start(struct net_port *p, uint64_t features)
{
	(void)p;
	(void)features; // none of them is the port's
	return 0;
}

static int stream_pairs(struct net_port *p, unsigned n)
{
	(void)p;
	return n == 1 ? 0 : -EINVAL;
}

static void stream_free(struct net_port *p)
{
	free(p);
}

static const struct net_port_ops stream_ops = {
	.send = stream_send,
	.recv = stream_recv,
	.flush = stream_flush,
	.start = stream_start,
	.pairs = stream_pairs,
	.free = stream_free,
};

int net_stream_new(int fd, struct net_port **ret, struct err *e)
{
	struct net_stream *s = calloc(1, sizeof(*s));
	int type = 0;
	socklen_t len = sizeof(type);

	if (!s || getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0 || type != SOCK_STREAM) {
		int code = s ? EINVAL : ENOMEM;

		close_fd(fd);
		free(s);
		return err_errno(e, code, "network: expected a stream socket");
	}
	s->port = (struct net_port){ .ops = &stream_ops, .fd = { fd }, .n_pairs = 1 };
	*ret = &s->port;
	return 0;
}
