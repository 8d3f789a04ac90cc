// SPDX-License-Identifier: Apache-2.0
#include "shim/wire.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "shim/shim.h"

struct ProtobufCMessage *wire_unpack(const ProtobufCMessageDescriptor *d, struct ttrpc_call *call,
				     const uint8_t *payload, size_t len)
{
	ProtobufCMessage *m = protobuf_c_message_unpack(d, NULL, len, payload);

	if (!m)
		ttrpc_call_fail(call, TTRPC_INVALID_ARGUMENT,
				"malformed request: invalid argument");
	return m;
}

bool wire_is(const Task__Any *any, const char *type)
{
	const char *slash = any ? strrchr(any->type_url, '/') : NULL;

	return any && (strcmp(any->type_url, type) == 0 || (slash && strcmp(slash + 1, type) == 0));
}

int wire_call(struct shim_task *t, const char *method, const struct ProtobufCMessage *q,
	      int timeout_ms, ttrpc_reply_fn *fn, void *arg, struct err *e)
{
	if (!t->pod)
		return err_set(e, EPIPE, "the pod of container %s is gone", t->id);
	return ttrpc_client_call_message(t->pod, TASK_SERVICE, method, q, timeout_ms, fn, arg, e);
}

struct forward {
	struct shim *shim;
	uint64_t serial; // of the container's first process
	struct ttrpc_call *call;
	void (*then)(struct shim_task *t);
};

static void on_answer(void *arg, int code, const char *message, const uint8_t *payload, size_t len)
{
	struct forward *f = arg;
	struct shim_process *p = shim_by_serial(f->shim, f->serial);

	if (code == TTRPC_OK && f->then && p)
		f->then(p->task);
	if (code == TTRPC_OK)
		ttrpc_call_reply(f->call, payload, len);
	else if (code == TTRPC_UNAVAILABLE)
		ttrpc_call_fail(f->call, TTRPC_NOT_FOUND, "the container's pod is gone: not found");
	else
		ttrpc_call_fail(f->call, (enum ttrpc_code)code, "%s", message);
	free(f);
}

void wire_forward(struct shim_task *t, struct ttrpc_call *call, const char *method,
		  const void *payload, size_t len, int timeout_ms,
		  void (*then)(struct shim_task *t))
{
	struct forward *f = malloc(sizeof(*f));
	struct err e;

	if (!f) {
		ttrpc_call_fail(call, TTRPC_RESOURCE_EXHAUSTED, "out of memory");
		return;
	}
	*f = (struct forward){
		.shim = t->shim, .serial = t->init.serial, .call = call, .then = then
	};
	if (!t->pod) {
		ttrpc_call_fail(call, TTRPC_NOT_FOUND, "the container's pod is gone: not found");
		free(f);
		return;
	}
	if (ttrpc_client_call(t->pod, TASK_SERVICE, method, payload, len, timeout_ms, on_answer, f,
			      &e) < 0) {
		ttrpc_call_fail_err(call, &e);
		free(f);
	}
}
