// SPDX-License-Identifier: Apache-2.0
#include "proto/ttrpc.h"

#include <errno.h>
#include <protobuf-c/protobuf-c.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/own.h"

int ttrpc_client_call_message(struct ttrpc_client *c, const char *service, const char *method,
			      const struct ProtobufCMessage *msg, int timeout_ms,
			      ttrpc_reply_fn *fn, void *arg, struct err *e)
{
	uint8_t *buf AUTO_FREE = malloc(protobuf_c_message_get_packed_size(msg) + 1);

	if (!buf)
		return err_errno(e, ENOMEM, "%s", method);
	return ttrpc_client_call(c, service, method, buf, protobuf_c_message_pack(msg, buf),
				 timeout_ms, fn, arg, e);
}

void ttrpc_call_reply_message(struct ttrpc_call *call, const struct ProtobufCMessage *msg)
{
	uint8_t *buf AUTO_FREE = malloc(protobuf_c_message_get_packed_size(msg) + 1);

	if (buf)
		ttrpc_call_reply(call, buf, protobuf_c_message_pack(msg, buf));
	else
		ttrpc_call_fail(call, TTRPC_RESOURCE_EXHAUSTED, "out of memory");
}
