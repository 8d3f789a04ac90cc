// SPDX-License-Identifier: Apache-2.0
// ttrpc over any stream socket, both sides, on the event loop. One thread. Unary calls; stream frames are answered with
// "not implemented". Nothing blocks: what cannot be written is queued.
#ifndef PROTO_TTRPC_H
#define PROTO_TTRPC_H

#include <stddef.h>
#include <stdint.h>

struct ProtobufCMessage;
struct err;
struct loop;
struct ttrpc_call;
struct ttrpc_client;
struct ttrpc_server;

enum {
	TTRPC_PAYLOAD_MAX = 4 << 20, // of a frame, by the protocol
	TTRPC_QUEUE_MAX =
		64 << 20, // bytes waiting to be written; a peer that lets more pile up is cut off
	TTRPC_CALLS_MAX = 1024, // under way on one connection
	TTRPC_CONNS_MAX = 256,  // of one server
};

enum ttrpc_code {
	TTRPC_OK = 0,
	TTRPC_CANCELED = 1,
	TTRPC_UNKNOWN = 2,
	TTRPC_INVALID_ARGUMENT = 3,
	TTRPC_DEADLINE_EXCEEDED = 4,
	TTRPC_NOT_FOUND = 5,
	TTRPC_ALREADY_EXISTS = 6,
	TTRPC_PERMISSION_DENIED = 7,
	TTRPC_RESOURCE_EXHAUSTED = 8,
	TTRPC_FAILED_PRECONDITION = 9,
	TTRPC_UNIMPLEMENTED = 12,
	TTRPC_INTERNAL = 13,
	TTRPC_UNAVAILABLE = 14,
};

// The errno that stands for a code, and back, for errors that cross.
int ttrpc_code_errno(int code);
enum ttrpc_code ttrpc_errno_code(int code);

// ---- client
// Called exactly once per call: with the peer's answer, DEADLINE_EXCEEDED, or UNAVAILABLE when the connection ends (also
// by ttrpc_client_free). message is for a person ("" when OK). payload is borrowed.
typedef void ttrpc_reply_fn(void *arg, int code, const char *message, const uint8_t *payload,
			    size_t len);

// Takes fd in every case. on_closed (may be NULL) is called once when the peer ends the connection, after the replies of
// the calls under way; the client must then still be freed. Freeing is allowed inside any of its callbacks.
int ttrpc_client_new(struct loop *l, int fd, void (*on_closed)(void *arg), void *arg,
		     struct ttrpc_client **ret_client, struct err *e);
void ttrpc_client_free(struct ttrpc_client *c);
// timeout_ms < 0: none. On failure fn is not called.
int ttrpc_client_call(struct ttrpc_client *c, const char *service, const char *method,
		      const void *payload, size_t len, int timeout_ms, ttrpc_reply_fn *fn,
		      void *arg, struct err *e);
// The same with a message as payload.
int ttrpc_client_call_message(struct ttrpc_client *c, const char *service, const char *method,
			      const struct ProtobufCMessage *msg, int timeout_ms,
			      ttrpc_reply_fn *fn, void *arg, struct err *e);

// ---- server
// Must answer the call exactly once, now or later, by ttrpc_call_reply or ttrpc_call_fail (which free it); a call whose
// connection is gone swallows its answer. Strings and payload are borrowed until the function returns.
typedef void ttrpc_request_fn(void *arg, struct ttrpc_call *call, const char *service,
			      const char *method, const uint8_t *payload, size_t len);

// listen_fd is non-blocking and borrowed; -1: none, connections come by ttrpc_server_add.
int ttrpc_server_new(struct loop *l, int listen_fd, ttrpc_request_fn *fn, void *arg,
		     struct ttrpc_server **ret_server, struct err *e);
int ttrpc_server_add(struct ttrpc_server *s, int fd, struct err *e); // takes fd in every case
// Tries to write what is queued, then closes all connections. Calls not answered yet may still be answered (to nobody).
void ttrpc_server_free(struct ttrpc_server *s);

void ttrpc_call_reply(struct ttrpc_call *call, const void *payload, size_t len);
void ttrpc_call_reply_message(struct ttrpc_call *call, const struct ProtobufCMessage *msg);
void ttrpc_call_fail(struct ttrpc_call *call, enum ttrpc_code code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
// Fails with the code that stands for e's errno, and its text.
void ttrpc_call_fail_err(struct ttrpc_call *call, const struct err *e);

#endif
