// SPDX-License-Identifier: Apache-2.0
#include "runtime/client.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/loop.h"
#include "base/own.h"
#include "oci/oci.h"
#include "proto/task.h"
#include "proto/ttrpc.h"
#include "runtime/client_priv.h"
#include "runtime/proxy.h"
#include "runtime/store.h"
#include "runtime/usock.h"

const char *const client_status_name[] = { "created", "running", "stopped", "paused" };

struct client {
	struct loop *loop;
	struct ttrpc_client *rpc;
};

void client_close(struct client *c)
{
	if (!c)
		return;
	ttrpc_client_free(c->rpc);
	loop_free(c->loop);
	free(c);
}
OWN_DEFINE(struct client *, client_close)

int client_open(const char *root, const char *pod, struct client **ret_client, struct err *e)
{
	struct client *c AUTO(client_close) = calloc(1, sizeof(*c));
	char dir[STORE_PATH_BYTES];
	int fd, r;

	if (!c)
		return err_errno(e, ENOMEM, "client");
	if ((r = store_pod_path(root, pod, NULL, dir, e)) < 0 || (r = loop_new(&c->loop, e)) < 0)
		return r;
	fd = usock_connect(dir, "supervisor.sock", e);
	if (fd < 0)
		return fd;
	r = ttrpc_client_new(c->loop, fd, NULL, NULL, &c->rpc, e);
	if (r < 0)
		return r;
	*ret_client = take_ptr(&c);
	return 0;
}

// One blocking call. The answer's payload is copied.
struct answer {
	bool done;
	int code;
	char message[1024];
	uint8_t *payload;
	size_t len;
};

static void on_answer(void *arg, int code, const char *message, const uint8_t *payload, size_t len)
{
	struct answer *a = arg;

	a->done = true;
	a->code = code;
	(void)snprintf(a->message, sizeof(a->message), "%s",
		       message); // a cut message is still a message
	if (code == TTRPC_OK && len > 0) {
		a->payload = malloc(len);
		if (!a->payload) {
			a->code = TTRPC_RESOURCE_EXHAUSTED;
			return;
		}
		memcpy(a->payload, payload, len);
		a->len = len;
	}
}

static int call(struct client *c, const char *method, const ProtobufCMessage *req, int timeout_ms,
		struct answer *a, struct err *e)
{
	int r;

	*a = (struct answer){ 0 };
	r = ttrpc_client_call_message(c->rpc, TASK_SERVICE, method, req, timeout_ms, on_answer, a,
				      e);
	while (r == 0 && !a->done)
		r = loop_once(c->loop, -1, e);
	if (r < 0)
		return r;
	if (a->code != TTRPC_OK)
		return err_set(e, ttrpc_code_errno(a->code), "%s",
			       a->code == TTRPC_UNAVAILABLE ? "the pod's supervisor is gone"
							    : a->message);
	return 0;
}

int client_call(struct client *c, const char *method, const ProtobufCMessage *req, int timeout_ms,
		uint8_t **ret_payload, size_t *ret_len, struct err *e)
{
	struct answer a;
	int r = call(c, method, req, timeout_ms, &a, e);

	if (r < 0) {
		free(a.payload);
		return r;
	}
	*ret_payload = a.payload;
	*ret_len = a.len;
	return 0;
}

static int call_empty(struct client *c, const char *method, const ProtobufCMessage *req,
		      int timeout_ms, struct err *e)
{
	struct answer a;
	int r = call(c, method, req, timeout_ms, &a, e);

	free(a.payload);
	return r;
}

static int name_proxy(Task__BulkheadCreateOptions *o, pid_t pid, struct err *e)
{
	struct store_process proxy;
	int r = store_process_read(pid, &proxy);

	if (r < 0)
		return err_errno(e, -r, "proxy process %ld", (long)pid);
	task__bulkhead_create_options__init(o);
	o->proxy_pid = (uint32_t)proxy.pid;
	o->proxy_start_time = proxy.start_time;
	o->stdin_stream = proxy_stream(pid, 0);
	o->stdout_stream = proxy_stream(pid, 1);
	o->stderr_stream = proxy_stream(pid, 2);
	return 0;
}

int client_create(struct client *c, const struct client_create *req, struct err *e)
{
	Task__BulkheadShared shared[OCI_NS_KINDS], *list[OCI_NS_KINDS];
	Task__BulkheadCreateOptions opts;
	Task__CreateRequest q;
	Task__Any any;
	uint8_t *packed AUTO_FREE = NULL;
	int r = name_proxy(&opts, req->proxy, e);

	if (r < 0)
		return r;
	opts.shared = list;
	for (int i = 0; req->shared && i < OCI_NS_KINDS; i++) {
		if (!req->shared[i])
			continue;
		task__bulkhead_shared__init(&shared[i]);
		shared[i].type = unconst(oci_ns_name[i]);
		shared[i].id = req->shared[i];
		list[opts.n_shared++] = &shared[i];
	}
	packed = malloc(task__bulkhead_create_options__get_packed_size(&opts) + 1);
	if (!packed)
		return err_errno(e, ENOMEM, "Create");
	task__any__init(&any);
	any.type_url = unconst("bulkhead.v1.CreateOptions");
	any.value.data = packed;
	any.value.len = task__bulkhead_create_options__pack(&opts, packed);
	task__create_request__init(&q);
	q.id = unconst(req->id);
	q.bundle = unconst(req->bundle);
	q.options = &any;
	return call_empty(c, "Create", &q.base, CLIENT_GUEST_MS, e);
}

int client_exec(struct client *c, const struct client_exec *req, struct err *e)
{
	Task__BulkheadCreateOptions proxy;
	Task__BulkheadExecOptions opts;
	Task__ExecRequest q;
	Task__Any any;
	uint8_t *packed AUTO_FREE = NULL;
	int r = name_proxy(&proxy, req->proxy, e);

	if (r < 0)
		return r;
	task__bulkhead_exec_options__init(&opts);
	opts.proxy = &proxy;
	opts.process.data = (uint8_t *)unconst(req->process);
	opts.process.len = req->process_len;
	opts.cgroup = unconst(req->cgroup);
	opts.ignore_paused = req->ignore_paused;
	packed = malloc(task__bulkhead_exec_options__get_packed_size(&opts));
	if (!packed)
		return err_errno(e, ENOMEM, "Exec");
	task__any__init(&any);
	any.type_url = unconst("bulkhead.v1.ExecOptions");
	any.value.data = packed;
	any.value.len = task__bulkhead_exec_options__pack(&opts, packed);
	task__exec_request__init(&q);
	q.id = unconst(req->id);
	q.exec_id = unconst(req->exec_id);
	q.terminal = req->terminal;
	q.spec = &any;
	return call_empty(c, "Exec", &q.base, CLIENT_QUICK_MS, e);
}

int client_exec_start(struct client *c, const char *id, const char *exec_id, struct err *e)
{
	Task__StartRequest q;

	task__start_request__init(&q);
	q.id = unconst(id);
	q.exec_id = unconst(exec_id);
	return call_empty(c, "Start", &q.base, CLIENT_GUEST_MS, e);
}

int client_start(struct client *c, const char *id, struct err *e)
{
	return client_exec_start(c, id, "", e);
}

int client_kill(struct client *c, const char *id, uint32_t signo, bool all, struct err *e)
{
	Task__KillRequest q;

	task__kill_request__init(&q);
	q.id = unconst(id);
	q.signal = signo;
	q.all = all;
	return call_empty(c, "Kill", &q.base, CLIENT_QUICK_MS, e);
}

int client_delete(struct client *c, const char *id, uint32_t *ret_exit_status, struct err *e)
{
	Task__DeleteResponse *resp;
	Task__DeleteRequest q;
	struct answer a;
	int r;

	task__delete_request__init(&q);
	q.id = unconst(id);
	r = call(c, "Delete", &q.base, CLIENT_QUICK_MS, &a, e);
	if (r < 0)
		return r;
	resp = task__delete_response__unpack(NULL, a.len, a.payload);
	if (resp && ret_exit_status)
		*ret_exit_status = resp->exit_status;
	if (resp)
		task__delete_response__free_unpacked(resp, NULL);
	free(a.payload);
	return 0;
}

int client_get_state(struct client *c, const char *id, struct client_state *ret, struct err *e)
{
	Task__StateResponse *resp;
	Task__StateRequest q;
	struct answer a;
	int r;

	task__state_request__init(&q);
	q.id = unconst(id);
	r = call(c, "State", &q.base, CLIENT_QUICK_MS, &a, e);
	if (r < 0)
		return r;
	resp = task__state_response__unpack(NULL, a.len, a.payload);
	free(a.payload);
	if (!resp)
		return err_set(e, EPROTO, "State: malformed answer");
	ret->status = resp->status == TASK__STATUS__RUNNING   ? CLIENT_RUNNING
		      : resp->status == TASK__STATUS__CREATED ? CLIENT_CREATED
		      : resp->status == TASK__STATUS__PAUSED  ? CLIENT_PAUSED
							      : CLIENT_STOPPED;
	ret->exit_status = resp->exit_status;
	task__state_response__free_unpacked(resp, NULL);
	return 0;
}

int client_wait(struct client *c, const char *id, uint32_t *ret_exit_status, struct err *e)
{
	Task__WaitResponse *resp;
	Task__WaitRequest q;
	struct answer a;
	int r;

	task__wait_request__init(&q);
	q.id = unconst(id);
	r = call(c, "Wait", &q.base, -1, &a, e);
	if (r < 0)
		return r;
	resp = task__wait_response__unpack(NULL, a.len, a.payload);
	free(a.payload);
	if (!resp)
		return err_set(e, EPROTO, "Wait: malformed answer");
	*ret_exit_status = resp->exit_status;
	task__wait_response__free_unpacked(resp, NULL);
	return 0;
}

int client_shutdown(struct client *c, bool *ret_ends, struct err *e)
{
	Task__ShutdownResponse *resp;
	Task__ShutdownRequest q;
	struct answer a;
	int r;

	task__shutdown_request__init(&q);
	r = call(c, "Shutdown", &q.base, CLIENT_QUICK_MS, &a, e);
	if (r < 0)
		return r;
	resp = task__shutdown_response__unpack(NULL, a.len, a.payload);
	free(a.payload);
	if (!resp)
		return err_set(e, EPROTO, "Shutdown: malformed answer");
	*ret_ends = resp->ends;
	task__shutdown_response__free_unpacked(resp, NULL);
	return 0;
}

int client_look(const char *root, const struct store_container *c, struct client_state *ret,
		struct err *e)
{
	struct client *cl AUTO(client_close) = NULL;
	struct client_state stopped = { .status = CLIENT_STOPPED, .exit_status = 128 + SIGKILL };
	int r;

	*ret = stopped;
	if (!store_process_alive(&c->supervisor))
		return 0;
	r = client_open(root, c->pod, &cl, e);
	if (r == 0)
		r = client_get_state(cl, c->id, ret, e);
	// Between the look at the process and the question it can have ended, or forgotten the container.
	if (r < 0 && (r == -ENOENT || r == -ECONNREFUSED || r == -EPIPE ||
		      !store_process_alive(&c->supervisor))) {
		*ret = stopped;
		return 0;
	}
	return r;
}
