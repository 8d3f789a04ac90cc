// SPDX-License-Identifier: Apache-2.0
// One ttrpc connection: frames in, frames out. Private to proto/.
#ifndef PROTO_TTRPC_CONN_H
#define PROTO_TTRPC_CONN_H

#include <stddef.h>
#include <stdint.h>

struct err;
struct loop;
struct ttrpc_conn;

enum {
	TTRPC_HEADER_BYTES = 10,
	TTRPC_TYPE_REQUEST = 1,
	TTRPC_TYPE_RESPONSE = 2,
	TTRPC_TYPE_DATA = 3
};

struct ttrpc_frame {
	uint32_t stream;
	uint8_t type, flags;
	const uint8_t
		*payload; // NULL when the peer sent more than TTRPC_PAYLOAD_MAX, which was skipped
	size_t len;
};
struct ttrpc_conn_ops {
	void (*frame)(void *arg, const struct ttrpc_frame *f);
	void (*closed)(void *arg); // at most once; no frame after it
};

void ttrpc_header_put(uint8_t *p, uint32_t len, uint32_t stream, uint8_t type, uint8_t flags);
void ttrpc_header_get(const uint8_t *p, uint32_t *len, uint32_t *stream, uint8_t *type,
		      uint8_t *flags);

int ttrpc_conn_new(struct loop *l, int fd, const struct ttrpc_conn_ops *ops, void *arg,
		   struct ttrpc_conn **ret,
		   struct err *e);          // takes fd in every case
void ttrpc_conn_free(struct ttrpc_conn *c); // safe in its own callbacks
// Queues a frame and writes what the socket takes. -EPIPE when the connection is gone, -ENOBUFS when too much waits.
int ttrpc_conn_send(struct ttrpc_conn *c, uint32_t stream, uint8_t type, const void *payload,
		    size_t len);

#endif
