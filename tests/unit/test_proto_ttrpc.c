// SPDX-License-Identifier: Apache-2.0
// ttrpc: both sides against one another, and the server against bytes that no client would send.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "base/loop.h"
#include "proto/ttrpc.h"
#include "proto/ttrpc.pb-c.h"
#include "proto/ttrpc_conn.h"

struct rig {
	struct loop *loop;
	struct ttrpc_server *server;
	struct ttrpc_client *client;
	struct ttrpc_call *held;
	int raw; // our end, for tests that are the client themselves
	unsigned requests, closed;
};

static void on_request(void *arg, struct ttrpc_call *call, const char *service, const char *method,
		       const uint8_t *payload, size_t len)
{
	struct rig *r = arg;
	struct err e;

	assert_string_equal(service, "test.Echo");
	r->requests++;
	if (strcmp(method, "Echo") == 0) {
		ttrpc_call_reply(call, payload, len);
	} else if (strcmp(method, "Hold") == 0) {
		r->held = call;
	} else if (strcmp(method, "Busy") == 0) {
		(void)err_set(&e, EBUSY, "in use"); // for the call below
		ttrpc_call_fail_err(call, &e);
	} else {
		ttrpc_call_fail(call, TTRPC_UNIMPLEMENTED, "%s: not implemented", method);
	}
}

static void on_closed(void *arg)
{
	((struct rig *)arg)->closed++;
}

static void rig_init(struct rig *r, bool raw)
{
	struct err e;
	int pair[2];

	*r = (struct rig){ .raw = -1 };
	assert_int_equal(loop_new(&r->loop, &e), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(ttrpc_server_new(r->loop, -1, on_request, r, &r->server, &e), 0);
	assert_int_equal(ttrpc_server_add(r->server, pair[0], &e), 0);
	if (raw)
		r->raw = pair[1];
	else
		assert_int_equal(ttrpc_client_new(r->loop, pair[1], on_closed, r, &r->client, &e),
				 0);
}

static void rig_done(struct rig *r)
{
	ttrpc_client_free(r->client);
	ttrpc_server_free(r->server);
	loop_free(r->loop);
	if (r->raw >= 0)
		(void)close(r->raw); // test's end
}

struct reply {
	int code;
	unsigned times;
	char message[64];
	size_t len;
	uint8_t first;
};

static void on_reply(void *arg, int code, const char *message, const uint8_t *payload, size_t len)
{
	struct reply *p = arg;

	p->times++;
	p->code = code;
	(void)strncpy(p->message, message, sizeof(p->message) - 1); // zeroed: ends
	p->len = len;
	p->first = len ? payload[0] : 0;
}

static void spin(struct rig *r, const unsigned *until)
{
	struct err e;

	for (int i = 0; i < 2000 && !*until; i++)
		assert_int_equal(loop_once(r->loop, 1000, &e), 0);
	assert_true(*until > 0);
}

static void echo_sizes(void **state)
{
	static const size_t sizes[] = { 0, 1, 4096, 70000, TTRPC_PAYLOAD_MAX - 64 };
	uint8_t *data = malloc(TTRPC_PAYLOAD_MAX);
	struct rig r;
	struct err e;

	(void)state;
	assert_non_null(data);
	memset(data, 7, TTRPC_PAYLOAD_MAX);
	rig_init(&r, false);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct reply p = { 0 };

		assert_int_equal(ttrpc_client_call(r.client, "test.Echo", "Echo", data, sizes[i],
						   60000, on_reply, &p, &e),
				 0);
		spin(&r, &p.times);
		assert_int_equal(p.code, TTRPC_OK);
		assert_int_equal(p.len, sizes[i]);
		assert_true(p.len == 0 || p.first == 7);
	}
	assert_int_equal(ttrpc_client_call(r.client, "test.Echo", "Echo", data, TTRPC_PAYLOAD_MAX,
					   0, on_reply, NULL, &e),
			 -EMSGSIZE);
	rig_done(&r);
	free(data);
}

static void failures(void **state)
{
	struct reply p = { 0 }, q = { 0 };
	struct rig r;
	struct err e;

	(void)state;
	rig_init(&r, false);
	assert_int_equal(
		ttrpc_client_call(r.client, "test.Echo", "None", "", 0, -1, on_reply, &p, &e), 0);
	assert_int_equal(
		ttrpc_client_call(r.client, "test.Echo", "Busy", "", 0, -1, on_reply, &q, &e), 0);
	spin(&r, &q.times);
	assert_int_equal(p.code, TTRPC_UNIMPLEMENTED);
	assert_string_equal(p.message, "None: not implemented");
	assert_int_equal(q.code, TTRPC_FAILED_PRECONDITION);
	assert_string_equal(q.message, "in use");
	assert_int_equal(ttrpc_code_errno(q.code), EBUSY);
	rig_done(&r);
}

// A late answer goes nowhere; an answer to a connection that is gone neither.
static void deadline_and_late_answer(void **state)
{
	struct reply p = { 0 }, q = { 0 };
	struct rig r;
	struct err e;

	(void)state;
	rig_init(&r, false);
	assert_int_equal(
		ttrpc_client_call(r.client, "test.Echo", "Hold", "", 0, 5, on_reply, &p, &e), 0);
	spin(&r, &p.times);
	assert_int_equal(p.code, TTRPC_DEADLINE_EXCEEDED);
	if (!r.held)
		spin(&r, &r.requests);
	ttrpc_call_reply(r.held, "x", 1);
	r.held = NULL;
	assert_int_equal(
		ttrpc_client_call(r.client, "test.Echo", "Hold", "", 0, -1, on_reply, &q, &e), 0);
	while (!r.held)
		assert_int_equal(loop_once(r.loop, 1000, &e), 0);
	assert_int_equal(p.times, 1);
	ttrpc_server_free(r.server);
	r.server = NULL;
	spin(&r, &r.closed);
	assert_int_equal(q.code, TTRPC_UNAVAILABLE);
	ttrpc_call_reply(r.held, "x", 1); // to nobody
	assert_int_equal(
		ttrpc_client_call(r.client, "test.Echo", "Echo", "", 0, -1, on_reply, &q, &e),
		-EPIPE);
	rig_done(&r);
}

static void free_in_reply(void *arg, int code, const char *message, const uint8_t *payload,
			  size_t len)
{
	struct rig *r = arg;

	(void)code;
	(void)message;
	(void)payload;
	(void)len;
	ttrpc_client_free(r->client);
	r->client = NULL;
	r->closed++;
}

static void client_freed_inside_callbacks(void **state)
{
	struct reply p = { 0 };
	struct rig r;
	struct err e;

	(void)state;
	rig_init(&r, false);
	assert_int_equal(
		ttrpc_client_call(r.client, "test.Echo", "Hold", "", 0, -1, on_reply, &p, &e), 0);
	assert_int_equal(
		ttrpc_client_call(r.client, "test.Echo", "Echo", "", 0, -1, free_in_reply, &r, &e),
		0);
	spin(&r, &r.closed);
	assert_int_equal(p.code, TTRPC_UNAVAILABLE); // answered by the free
	ttrpc_call_reply(r.held, "", 0);
	rig_done(&r);

	rig_init(&r, false);
	assert_int_equal(
		ttrpc_client_call(r.client, "test.Echo", "Hold", "", 0, -1, free_in_reply, &r, &e),
		0);
	while (!r.held)
		assert_int_equal(loop_once(r.loop, 1000, &e), 0);
	ttrpc_server_free(r.server);
	r.server = NULL;
	spin(&r, &r.closed);
	ttrpc_call_reply(r.held, "", 0);
	rig_done(&r);
}

// Reads one response from the raw end; its status code.
static int raw_status(struct rig *r, uint32_t *ret_stream)
{
	uint8_t head[TTRPC_HEADER_BYTES], body[4096], type, flags;
	Ttrpc__Response *resp;
	uint32_t len;
	struct err e;
	int code;

	for (int i = 0; i < 2000 && recv(r->raw, head, 1, MSG_PEEK | MSG_DONTWAIT) < 0; i++)
		assert_int_equal(loop_once(r->loop, 1, &e), 0);
	assert_int_equal(recv(r->raw, head, sizeof(head), MSG_WAITALL), sizeof(head));
	ttrpc_header_get(head, &len, ret_stream, &type, &flags);
	assert_int_equal(type, TTRPC_TYPE_RESPONSE);
	assert_true(len <= sizeof(body));
	assert_int_equal(recv(r->raw, body, len, MSG_WAITALL), len);
	resp = ttrpc__response__unpack(NULL, len, body);
	assert_non_null(resp);
	code = resp->status ? resp->status->code : 0;
	ttrpc__response__free_unpacked(resp, NULL);
	return code;
}

static void raw_send(struct rig *r, uint32_t stream, uint8_t type, uint8_t flags,
		     const void *payload, uint32_t len)
{
	uint8_t head[TTRPC_HEADER_BYTES];

	ttrpc_header_put(head, len, stream, type, flags);
	assert_int_equal(write(r->raw, head, sizeof(head)), sizeof(head));
	if (payload)
		assert_int_equal(write(r->raw, payload, len), len);
}

static void bad_frames(void **state)
{
	static const uint8_t junk[] = { 0xff, 0xff, 0xff, 0xff };
	static const uint8_t zeros[65536];
	uint32_t stream = 0;
	struct rig r;
	struct err e;

	(void)state;
	rig_init(&r, true);
	raw_send(&r, 2, TTRPC_TYPE_REQUEST, 0, junk, 0);
	assert_int_equal(raw_status(&r, &stream), TTRPC_INVALID_ARGUMENT); // even
	raw_send(&r, 5, TTRPC_TYPE_REQUEST, 0, junk, sizeof(junk));
	assert_int_equal(raw_status(&r, &stream), TTRPC_INVALID_ARGUMENT); // no request
	assert_int_equal(stream, 5);
	raw_send(&r, 3, TTRPC_TYPE_REQUEST, 0, junk, 0);
	assert_int_equal(raw_status(&r, &stream), TTRPC_INVALID_ARGUMENT); // not rising
	raw_send(&r, 7, 9, 0, junk, sizeof(junk)); // an unknown kind is skipped
	raw_send(&r, 9, TTRPC_TYPE_REQUEST, 2, junk, 0);
	assert_int_equal(raw_status(&r, &stream), TTRPC_UNIMPLEMENTED); // a stream
	assert_int_equal(stream, 9);
	raw_send(&r, 11, TTRPC_TYPE_REQUEST, 0, NULL, TTRPC_PAYLOAD_MAX + 100);
	assert_int_equal(raw_status(&r, &stream), TTRPC_RESOURCE_EXHAUSTED);
	for (size_t left = TTRPC_PAYLOAD_MAX + 100; left;) { // skipped, not taken for frames
		size_t n = left < sizeof(zeros) ? left : sizeof(zeros);

		assert_int_equal(write(r.raw, zeros, n), n);
		left -= n;
		assert_int_equal(loop_once(r.loop, 0, &e), 0);
	}
	raw_send(&r, 13, TTRPC_TYPE_REQUEST, 1, junk, 0);
	assert_int_equal(raw_status(&r, &stream), TTRPC_UNIMPLEMENTED);
	assert_int_equal(stream, 13);
	assert_int_equal(r.requests, 0);
	rig_done(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(echo_sizes),
		cmocka_unit_test(failures),
		cmocka_unit_test(deadline_and_late_answer),
		cmocka_unit_test(client_freed_inside_callbacks),
		cmocka_unit_test(bad_frames),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
