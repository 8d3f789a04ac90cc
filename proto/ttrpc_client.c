// SPDX-License-Identifier: Apache-2.0
#include "proto/ttrpc.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/loop.h"
#include "base/own.h"
#include "proto/ttrpc.pb-c.h"
#include "proto/ttrpc_conn.h"

struct pending {
	struct pending *next;
	struct ttrpc_client *client;
	struct loop_source *timer; // NULL: no deadline
	uint32_t stream;
	ttrpc_reply_fn *fn;
	void *arg;
};

struct ttrpc_client {
	struct loop *loop;
	struct ttrpc_conn *conn;
	void (*on_closed)(void *arg);
	void *arg;
	struct pending *pending;
	unsigned n_pending;
	uint32_t next_stream;
	bool closed;
	unsigned
		busy; // handlers on the stack; freed inside one, the memory goes when the last returns
	bool free_after;
};

static void client_enter(struct ttrpc_client *c)
{
	c->busy++;
}

static void client_leave(struct ttrpc_client *c)
{
	if (--c->busy == 0 && c->free_after) {
		ttrpc_conn_free(c->conn);
		free(c);
	}
}

// Takes p off the list and answers it.
static void pending_finish(struct pending *p, int code, const char *message, const uint8_t *payload,
			   size_t len)
{
	struct pending **at = &p->client->pending;

	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	p->client->n_pending--;
	loop_remove(p->timer);
	p->fn(p->arg, code, message, payload, len);
	free(p);
}

static void on_deadline(void *arg)
{
	struct pending *p = arg;
	struct ttrpc_client *c = p->client;

	client_enter(c);
	pending_finish(p, TTRPC_DEADLINE_EXCEEDED, "deadline exceeded", NULL, 0);
	client_leave(c);
}

static void fail_all(struct ttrpc_client *c)
{
	while (c->pending)
		pending_finish(c->pending, TTRPC_UNAVAILABLE, "connection closed", NULL, 0);
}

static void on_frame(void *arg, const struct ttrpc_frame *f)
{
	struct ttrpc_client *c = arg;
	struct pending *p = c->pending;
	Ttrpc__Response *r;

	while (p && p->stream != f->stream)
		p = p->next;
	if (f->type != TTRPC_TYPE_RESPONSE || !p)
		return; // late, or a kind that unary calls do not have
	client_enter(c);
	r = f->payload ? ttrpc__response__unpack(NULL, f->len, f->payload) : NULL;
	if (!r)
		pending_finish(p, TTRPC_INTERNAL, "malformed response", NULL, 0);
	else if (r->status && r->status->code)
		// "Unavailable" is this side's word for a broken connection, and callers wait for more news of that:
		// a peer that answers, and may be hostile, cannot say it.
		pending_finish(
			p, r->status->code == TTRPC_UNAVAILABLE ? TTRPC_UNKNOWN : r->status->code,
			r->status->message, NULL, 0);
	else
		pending_finish(p, TTRPC_OK, "", r->payload.data, r->payload.len);
	if (r)
		ttrpc__response__free_unpacked(r, NULL);
	client_leave(c);
}

static void on_conn_closed(void *arg)
{
	struct ttrpc_client *c = arg;

	client_enter(c);
	c->closed = true;
	fail_all(c);
	if (c->on_closed)
		c->on_closed(c->arg);
	client_leave(c);
}

static const struct ttrpc_conn_ops client_ops = { .frame = on_frame, .closed = on_conn_closed };

int ttrpc_client_new(struct loop *l, int fd, void (*on_closed)(void *arg), void *arg,
		     struct ttrpc_client **ret_client, struct err *e)
{
	struct ttrpc_client *c = calloc(1, sizeof(*c));
	int r;

	if (!c) {
		close_fd(fd);
		return err_errno(e, ENOMEM, "ttrpc client");
	}
	*c = (struct ttrpc_client){
		.loop = l, .on_closed = on_closed, .arg = arg, .next_stream = 1
	};
	r = ttrpc_conn_new(l, fd, &client_ops, c, &c->conn, e);
	if (r < 0) {
		free(c);
		return r;
	}
	*ret_client = c;
	return 0;
}

void ttrpc_client_free(struct ttrpc_client *c)
{
	if (!c)
		return;
	c->closed = true;
	c->on_closed = NULL;
	client_enter(c);
	fail_all(c);
	c->free_after = true;
	client_leave(c);
}

static int send_request(struct ttrpc_client *c, uint32_t stream, const char *service,
			const char *method, const void *payload, size_t len, int timeout_ms)
{
	Ttrpc__Request q;
	uint8_t *buf AUTO_FREE = NULL;
	size_t n;

	ttrpc__request__init(&q);
	memcpy(&q.service, &service, sizeof(service)); // the packer does not write to its input
	memcpy(&q.method, &method, sizeof(method));    // as above
	memcpy(&q.payload.data, &payload, sizeof(payload)); // as above
	q.payload.len = len;
	q.timeout_nano = timeout_ms < 0 ? 0 : (int64_t)timeout_ms * 1000000;
	n = ttrpc__request__get_packed_size(&q);
	if (n > TTRPC_PAYLOAD_MAX)
		return -EMSGSIZE;
	buf = malloc(n + 1);
	if (!buf)
		return -ENOMEM;
	(void)ttrpc__request__pack(&q, buf); // writes n bytes
	return ttrpc_conn_send(c->conn, stream, TTRPC_TYPE_REQUEST, buf, n);
}

int ttrpc_client_call(struct ttrpc_client *c, const char *service, const char *method,
		      const void *payload, size_t len, int timeout_ms, ttrpc_reply_fn *fn,
		      void *arg, struct err *e)
{
	struct pending *p;
	int r;

	if (c->closed)
		return err_errno(e, EPIPE, "%s", method);
	if (c->n_pending == TTRPC_CALLS_MAX || c->next_stream > UINT32_MAX - 2)
		return err_errno(e, EBUSY, "%s", method);
	p = calloc(1, sizeof(*p));
	if (!p)
		return err_errno(e, ENOMEM, "%s", method);
	*p = (struct pending){ .client = c, .stream = c->next_stream, .fn = fn, .arg = arg };
	if (timeout_ms >= 0) {
		r = loop_add_timer(c->loop, "ttrpc deadline", timeout_ms, on_deadline, p, &p->timer,
				   e);
		if (r < 0) {
			free(p);
			return r;
		}
	}
	c->next_stream += 2;
	r = send_request(c, p->stream, service, method, payload, len, timeout_ms);
	if (r < 0) {
		loop_remove(p->timer);
		free(p);
		return err_errno(e, -r, "%s", method);
	}
	p->next = c->pending;
	c->pending = p;
	c->n_pending++;
	return 0;
}

static const struct {
	int code, number;
} code_table[] = {
	{ TTRPC_CANCELED, ECANCELED },
	{ TTRPC_INVALID_ARGUMENT, EINVAL },
	{ TTRPC_DEADLINE_EXCEEDED, ETIMEDOUT },
	{ TTRPC_NOT_FOUND, ENOENT },
	{ TTRPC_ALREADY_EXISTS, EEXIST },
	{ TTRPC_PERMISSION_DENIED, EACCES },
	{ TTRPC_RESOURCE_EXHAUSTED, ENOMEM },
	{ TTRPC_FAILED_PRECONDITION, EBUSY },
	{ TTRPC_UNIMPLEMENTED, ENOSYS },
	{ TTRPC_UNAVAILABLE, EPIPE },
	{ TTRPC_UNIMPLEMENTED, ENOTSUP },
	{ TTRPC_PERMISSION_DENIED, EPERM },
	{ TTRPC_NOT_FOUND, ESRCH },
	{ TTRPC_UNAVAILABLE, ECONNREFUSED },
	{ TTRPC_UNAVAILABLE, ECONNRESET },
};

int ttrpc_code_errno(int code)
{
	for (size_t i = 0; i < sizeof(code_table) / sizeof(code_table[0]); i++) {
		if (code_table[i].code == code)
			return code_table[i].number;
	}
	return code == TTRPC_OK ? 0 : EIO;
}

enum ttrpc_code ttrpc_errno_code(int code)
{
	for (size_t i = 0; i < sizeof(code_table) / sizeof(code_table[0]); i++) {
		if (code_table[i].number == code)
			return (enum ttrpc_code)code_table[i].code;
	}
	return TTRPC_UNKNOWN;
}
