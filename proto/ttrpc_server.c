// SPDX-License-Identifier: Apache-2.0
#include "proto/ttrpc.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/err.h"
#include "base/loop.h"
#include "base/own.h"
#include "proto/ttrpc.pb-c.h"
#include "proto/ttrpc_conn.h"

// A connection of a server. It stays until its socket is gone and its last call is answered.
struct server_conn {
	struct server_conn *next;
	struct ttrpc_server *server; // NULL once it is off the server's list
	struct ttrpc_conn *conn;     // NULL once the peer is gone
	uint32_t last_stream;
	unsigned n_calls;
};

struct ttrpc_call {
	struct server_conn *conn;
	uint32_t stream;
};

struct ttrpc_server {
	struct loop *loop;
	struct loop_source *listen_src;
	int listen_fd;
	ttrpc_request_fn *fn;
	void *arg;
	struct server_conn *conns;
	unsigned n_conns;
};

static void conn_put(struct server_conn *sc)
{
	if (!sc->server && sc->n_calls == 0)
		free(sc);
}

static void conn_unlink(struct server_conn *sc)
{
	struct server_conn **at = &sc->server->conns;

	while (*at != sc)
		at = &(*at)->next;
	*at = sc->next;
	sc->server->n_conns--;
	sc->server = NULL;
	ttrpc_conn_free(sc->conn);
	sc->conn = NULL;
}

static void on_closed(void *arg)
{
	struct server_conn *sc = arg;

	conn_unlink(sc);
	conn_put(sc);
}

static void send_response(struct server_conn *sc, uint32_t stream, const Ttrpc__Response *resp)
{
	uint8_t *buf AUTO_FREE = NULL;
	size_t n = ttrpc__response__get_packed_size(resp);

	if (!sc->conn)
		return;
	buf = malloc(n + 1);
	if (!buf)
		return;                         // the peer's deadline says so
	(void)ttrpc__response__pack(resp, buf); // writes n bytes
	(void)ttrpc_conn_send(sc->conn, stream, TTRPC_TYPE_RESPONSE, buf,
			      n); // a peer that is gone gets nothing
}

static void send_failure(struct server_conn *sc, uint32_t stream, enum ttrpc_code code,
			 const char *text)
{
	Ttrpc__Response resp;
	Ttrpc__Status status;

	ttrpc__response__init(&resp);
	ttrpc__status__init(&status);
	status.code = (int32_t)code;
	memcpy(&status.message, &text, sizeof(text)); // the packer does not write to its input
	resp.status = &status;
	send_response(sc, stream, &resp);
}

void ttrpc_call_reply(struct ttrpc_call *call, const void *payload, size_t len)
{
	Ttrpc__Response resp;

	ttrpc__response__init(&resp);
	memcpy(&resp.payload.data, &payload,
	       sizeof(payload)); // the packer does not write to its input
	resp.payload.len = len;
	send_response(call->conn, call->stream, &resp);
	call->conn->n_calls--;
	conn_put(call->conn);
	free(call);
}

void ttrpc_call_fail(struct ttrpc_call *call, enum ttrpc_code code, const char *fmt, ...)
{
	char text[2048];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap); // a cut message is still a message
	va_end(ap);
	send_failure(call->conn, call->stream, code, text);
	call->conn->n_calls--;
	conn_put(call->conn);
	free(call);
}

void ttrpc_call_fail_err(struct ttrpc_call *call, const struct err *e)
{
	ttrpc_call_fail(call, ttrpc_errno_code(e->code), "%s", e->msg);
}

static void dispatch(struct server_conn *sc, uint32_t stream, const Ttrpc__Request *q)
{
	struct ttrpc_call *call;

	if (sc->n_calls == TTRPC_CALLS_MAX) {
		send_failure(sc, stream, TTRPC_RESOURCE_EXHAUSTED, "too many calls under way");
		return;
	}
	call = calloc(1, sizeof(*call));
	if (!call) {
		send_failure(sc, stream, TTRPC_RESOURCE_EXHAUSTED, "out of memory");
		return;
	}
	*call = (struct ttrpc_call){ .conn = sc, .stream = stream };
	sc->n_calls++;
	sc->server->fn(sc->server->arg, call, q->service, q->method, q->payload.data,
		       q->payload.len);
}

static void on_frame(void *arg, const struct ttrpc_frame *f)
{
	struct server_conn *sc = arg;
	Ttrpc__Request *q;

	if (f->type != TTRPC_TYPE_REQUEST)
		return; // other kinds are skipped, known or not
	if (f->stream % 2 == 0 || f->stream <= sc->last_stream) {
		send_failure(sc, f->stream, TTRPC_INVALID_ARGUMENT, "stream id not odd and rising");
		return;
	}
	sc->last_stream = f->stream;
	if (!f->payload) {
		send_failure(sc, f->stream, TTRPC_RESOURCE_EXHAUSTED, "message too large");
		return;
	}
	if (f->flags) {
		send_failure(sc, f->stream, TTRPC_UNIMPLEMENTED, "streaming is not implemented");
		return;
	}
	q = ttrpc__request__unpack(NULL, f->len, f->payload);
	if (!q) {
		send_failure(sc, f->stream, TTRPC_INVALID_ARGUMENT, "malformed request");
		return;
	}
	dispatch(sc, f->stream, q);
	ttrpc__request__free_unpacked(q, NULL);
}

static const struct ttrpc_conn_ops server_ops = { .frame = on_frame, .closed = on_closed };

int ttrpc_server_add(struct ttrpc_server *s, int fd, struct err *e)
{
	struct server_conn *sc;
	int r;

	if (s->n_conns == TTRPC_CONNS_MAX) {
		close_fd(fd);
		return err_set(e, EMFILE, "more than %d connections", TTRPC_CONNS_MAX);
	}
	sc = calloc(1, sizeof(*sc));
	if (!sc) {
		close_fd(fd);
		return err_errno(e, ENOMEM, "connection");
	}
	sc->server = s;
	r = ttrpc_conn_new(s->loop, fd, &server_ops, sc, &sc->conn, e);
	if (r < 0) {
		free(sc);
		return r;
	}
	sc->next = s->conns;
	s->conns = sc;
	s->n_conns++;
	return 0;
}

static void on_accept(void *arg, uint32_t events)
{
	struct ttrpc_server *s = arg;
	int fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (fd >= 0)
		(void)ttrpc_server_add(s, fd, NULL); // a connection too many is closed
}

int ttrpc_server_new(struct loop *l, int listen_fd, ttrpc_request_fn *fn, void *arg,
		     struct ttrpc_server **ret_server, struct err *e)
{
	struct ttrpc_server *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return err_errno(e, ENOMEM, "ttrpc server");
	*s = (struct ttrpc_server){ .loop = l, .listen_fd = listen_fd, .fn = fn, .arg = arg };
	if (listen_fd >= 0) {
		r = loop_add_fd(l, "ttrpc listener", listen_fd, EPOLLIN, on_accept, s,
				&s->listen_src, e);
		if (r < 0) {
			free(s);
			return r;
		}
	}
	*ret_server = s;
	return 0;
}

void ttrpc_server_free(struct ttrpc_server *s)
{
	if (!s)
		return;
	loop_remove(s->listen_src);
	while (s->conns) {
		struct server_conn *sc = s->conns;

		conn_unlink(sc);
		conn_put(sc);
	}
	free(s);
}
