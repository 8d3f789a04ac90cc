// SPDX-License-Identifier: Apache-2.0
// What the files of the client share.
#ifndef RUNTIME_CLIENT_PRIV_H
#define RUNTIME_CLIENT_PRIV_H

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>

#include "base/own.h"
#include "runtime/client.h"

// The supervisor answers what it knows at once; create and start wait for a guest, which has deadlines of its own.
enum { CLIENT_QUICK_MS = 10000, CLIENT_GUEST_MS = 150000 };

// One blocking call. *ret_payload is the caller's; NULL when the answer is empty.
int client_call(struct client *c, const char *method, const ProtobufCMessage *req, int timeout_ms,
		uint8_t **ret_payload, size_t *ret_len, struct err *e);

#endif
