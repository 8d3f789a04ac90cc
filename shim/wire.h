// SPDX-License-Identifier: Apache-2.0
// Small things around ttrpc: requests, type URLs, calls to a pod's supervisor.
#ifndef SHIM_WIRE_H
#define SHIM_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/task.h"
#include "proto/ttrpc.h"

struct err;
struct shim_task;

// NULL: call has been failed with INVALID_ARGUMENT. The caller frees by protobuf_c_message_free_unpacked.
struct ProtobufCMessage *wire_unpack(const ProtobufCMessageDescriptor *d, struct ttrpc_call *call,
				     const uint8_t *payload, size_t len);
// What follows the last '/' of a type URL is the type.
bool wire_is(const Task__Any *any, const char *type);

// Calls the supervisor of the container's pod; -EPIPE when it is gone.
int wire_call(struct shim_task *t, const char *method, const struct ProtobufCMessage *q,
	      int timeout_ms, ttrpc_reply_fn *fn, void *arg, struct err *e);
// Has the supervisor answer call, as it is. timeout_ms as in ttrpc. then (may be NULL) is called with the container's id
// when it has succeeded, before the answer.
void wire_forward(struct shim_task *t, struct ttrpc_call *call, const char *method,
		  const void *payload, size_t len, int timeout_ms,
		  void (*then)(struct shim_task *t));

#endif
