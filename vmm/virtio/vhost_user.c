// SPDX-License-Identifier: Apache-2.0
#include "vmm/virtio/vhost_user.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>

#include "base/err.h"
#include "base/io.h"
#include "base/own.h"

enum { REPLY_DEADLINE_MS = 5000 };

int vhost_user_send(int sock, const struct vhost_user_msg *msg)
{
	uint8_t buf[sizeof(msg->h) + sizeof(msg->p)];
	ssize_t n;

	if (msg->h.size > sizeof(msg->p))
		return -EMSGSIZE;
	memcpy(buf, &msg->h, sizeof(msg->h));
	memcpy(buf + sizeof(msg->h), &msg->p, msg->h.size);
	n = io_send_fds(sock, buf, sizeof(msg->h) + msg->h.size, msg->fds, msg->nfds);
	if (n < 0)
		return (int)n;
	return (size_t)n == sizeof(msg->h) + msg->h.size ? 0 : -EIO;
}

static int drop_fds(struct vhost_user_msg *m, int code)
{
	for (unsigned i = 0; i < m->nfds; i++)
		close_fd(m->fds[i]);
	m->nfds = 0;
	return code;
}

int vhost_user_recv(int sock, struct vhost_user_msg *ret_msg)
{
	struct vhost_user_msg m = { .nfds = VHOST_USER_REGIONS_MAX };
	ssize_t n = io_recv_fds(sock, &m.h, sizeof(m.h), m.fds, &m.nfds);
	int r;

	if (n <= 0) {
		m.nfds = n < 0 ? 0 : m.nfds;
		return drop_fds(&m, (int)n);
	}
	// A stream socket: what the header's read left is still to come.
	if ((size_t)n < sizeof(m.h)) {
		r = io_read_full(sock, (uint8_t *)&m.h + n, sizeof(m.h) - (size_t)n);
		if (r < 0)
			return drop_fds(&m, r);
	}
	if ((m.h.flags & 3) != VHOST_USER_VERSION || m.h.size > sizeof(m.p))
		return drop_fds(&m, -EPROTO);
	r = m.h.size ? io_read_full(sock, &m.p, m.h.size) : 0;
	if (r < 0)
		return drop_fds(&m, r);
	*ret_msg = m;
	return 1;
}

int vhost_user_call(int sock, struct vhost_user_msg *msg, uint64_t *reply_u64, struct err *e)
{
	struct pollfd p = { .fd = sock, .events = POLLIN };
	struct vhost_user_msg reply;
	int r;

	msg->h.flags = VHOST_USER_VERSION | (reply_u64 ? 0 : VHOST_USER_NEED_REPLY);
	r = vhost_user_send(sock, msg);
	if (r < 0)
		return err_errno(e, -r, "vhost-user request %u", msg->h.request);
	do
		r = poll(&p, 1, REPLY_DEADLINE_MS);
	while (r < 0 && errno == EINTR);
	if (r <= 0)
		return err_set(e, ETIMEDOUT, "vhost-user request %u: no answer within %d ms",
			       msg->h.request, REPLY_DEADLINE_MS);
	r = vhost_user_recv(sock, &reply);
	if (r <= 0)
		return err_set(e, r ? -r : EPIPE, "vhost-user request %u: the back end has gone",
			       msg->h.request);
	(void)drop_fds(&reply, 0); // answers carry none
	if (reply.h.request != msg->h.request || !(reply.h.flags & VHOST_USER_REPLY))
		return err_set(e, EPROTO, "vhost-user request %u: unexpected answer",
			       msg->h.request);
	if (reply_u64) {
		*reply_u64 = reply.p.u64;
		return 0;
	}
	if (reply.h.size != 8 || reply.p.u64 != 0)
		return err_set(e, EPROTO, "vhost-user request %u: refused by the back end",
			       msg->h.request);
	return 0;
}

int vhost_user_call_u64(int sock, enum vhost_user_request req, uint64_t v, uint64_t *reply_u64,
			struct err *e)
{
	struct vhost_user_msg m = { .h = { .request = req, .size = reply_u64 ? 0 : 8 },
				    .p = { .u64 = v } };

	return vhost_user_call(sock, &m, reply_u64, e);
}
