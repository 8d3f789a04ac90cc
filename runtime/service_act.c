// SPDX-License-Identifier: Apache-2.0
// The calls of the Task service that change something.
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/err.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/own.h"
#include "proto/agent.pb-c.h"
#include "runtime/service_priv.h"

enum {
	AGENT_CREATE_MS = 60000,
	AGENT_START_MS = 60000,
	AGENT_KILL_MS = 1000,     // a kill is answered after this, whatever the guest does
	KILL_ESCALATE_MS = 10000, // SIGKILL without an end: the machine goes
	LINGER_MS = 10000,        // for the proxy to take what the container wrote last
};

static void on_wait_reply(void *arg, int code, const char *message, const uint8_t *payload,
			  size_t len);

// Replies of the agent find their container by id: it may be gone by then.
struct task_ref {
	struct service *service;
	char id[256];
};

static struct task_ref *ref_new(struct task *t)
{
	struct task_ref *ref = calloc(1, sizeof(*ref));

	if (ref) {
		ref->service = t->service;
		(void)snprintf(ref->id, sizeof(ref->id), "%s", t->id); // an id is at most NAME_MAX
	}
	return ref;
}

static struct task *ref_take(struct task_ref *ref)
{
	struct task *t = service_find(ref->service, ref->id);

	free(ref);
	return t;
}

// Calls the agent about a container; on failure nothing was sent.
static int call_agent(struct task *t, const char *method, const struct ProtobufCMessage *msg,
		      int timeout_ms, ttrpc_reply_fn *fn, struct err *e)
{
	struct task_ref *ref = ref_new(t);
	int r = ref ? pod_call(t->service->pod, method, msg, timeout_ms, fn, ref, e)
		    : err_errno(e, ENOMEM, "%s", method);

	if (r < 0)
		free(ref);
	return r;
}

static void create_failed(struct task *t, enum ttrpc_code code, const char *text)
{
	struct ttrpc_call *call = take_ptr(&t->create_call);

	if (call)
		ttrpc_call_fail(call, code, "%s", text);
	service_task_remove(t->service, t);
}

static void on_created(void *arg, int code, const char *message, const uint8_t *payload, size_t len)
{
	struct task *t = ref_take(arg);
	Agent__WaitRequest wait;
	Task__CreateResponse resp;
	struct err e;

	(void)payload; // the pid in the guest means nothing here
	(void)len;
	if (!t || t->state != TASK_CREATING || code == TTRPC_UNAVAILABLE)
		return; // the end of the pod says it
	if (code != TTRPC_OK) {
		create_failed(t,
			      code == TTRPC_DEADLINE_EXCEEDED ? TTRPC_DEADLINE_EXCEEDED
							      : TTRPC_UNKNOWN,
			      code == TTRPC_DEADLINE_EXCEEDED
				      ? "the guest did not create the container in time"
				      : message);
		return;
	}
	agent__wait_request__init(&wait);
	wait.id = t->id;
	if (call_agent(t, "Wait", &wait.base, -1, on_wait_reply, &e) < 0) {
		create_failed(t, TTRPC_INTERNAL, e.msg);
		return;
	}
	t->state = TASK_CREATED;
	pod_mark(t->service->pod, "container created");
	task__create_response__init(&resp);
	resp.pid = (uint32_t)t->proxy.pid;
	service_reply(take_ptr(&t->create_call), &resp.base);
}

void service_send_create(struct service *s, struct task *t)
{
	Agent__CreateRequest q;
	struct err e;

	(void)s;
	agent__create_request__init(&q);
	q.id = t->id;
	q.config.data = (uint8_t *)t->config;
	q.config.len = t->config_len;
	q.stdin_stream = t->streams[0];
	q.stdout_stream = t->streams[1];
	q.stderr_stream = t->streams[2];
	if (call_agent(t, "Create", &q.base, AGENT_CREATE_MS, on_created, &e) < 0) {
		create_failed(t, TTRPC_INTERNAL, e.msg);
		return;
	}
	free(take_ptr(&t->config)); // sent: nobody reads it again
}

static uint32_t stream_number(const char *text)
{
	unsigned v;

	return sscanf(text, "stream:%u", &v) == 1 ? v : 0;
}

static void kill_in_guest(struct task *t, uint32_t signo, bool all, ttrpc_reply_fn *fn);

static void on_proxy(void *arg, uint32_t events)
{
	struct task *t = arg;

	(void)events;
	loop_remove(t->proxy_src);
	t->proxy_src = NULL;
	close_fd(take_fd(&t->proxy_fd));
	if (t->state == TASK_STOPPED) {
		// It has taken what there was to take: the machine has nothing left to do.
		pod_power_off(t->service->pod);
		return;
	}
	// The process that stands for the container was killed: so is the container.
	log_info("the proxy of %s is gone: killing the container", t->id);
	kill_in_guest(t, SIGKILL, true, NULL);
}

// The options of our own command line name the process that stands for the container.
static int take_proxy(struct task *t, const Task__CreateRequest *q, struct err *e)
{
	Task__BulkheadCreateOptions *o;

	if (!q->options || strcmp(q->options->type_url, "bulkhead.v1.CreateOptions") != 0)
		return err_set(e, ENOTSUP, "create options of type \"%.80s\"",
			       q->options ? q->options->type_url : "");
	o = task__bulkhead_create_options__unpack(NULL, q->options->value.len,
						  q->options->value.data);
	if (!o)
		return err_set(e, EINVAL, "malformed create options");
	t->proxy.pid = (pid_t)o->proxy_pid;
	t->proxy.start_time = o->proxy_start_time;
	task__bulkhead_create_options__free_unpacked(o, NULL);
	t->proxy_fd = store_process_open(&t->proxy);
	if (t->proxy_fd < 0)
		return err_errno(e, -t->proxy_fd, "proxy process %ld", (long)t->proxy.pid);
	return loop_add_fd(t->service->loop, "proxy", t->proxy_fd, EPOLLIN, on_proxy, t,
			   &t->proxy_src, e);
}

void service_create(struct service *s, struct ttrpc_call *call, const Task__CreateRequest *q)
{
	struct task *t;
	struct err e;
	int r = store_check_id(q->id, &e);

	if (r == 0 && service_find(s, q->id))
		r = err_set(&e, EEXIST, "container with given ID already exists");
	if (r == 0 && s->n_tasks == SERVICE_TASKS_MAX)
		r = err_set(&e, ENOTSUP, "more than %d container in a pod", SERVICE_TASKS_MAX);
	if (r == 0 && (pod_is_gone(s->pod) || s->shutting_down))
		r = err_set(&e, EIO, "%s",
			    s->gone_why[0] ? s->gone_why : "the pod is shutting down");
	if (r == 0 && (q->bundle[0] != '/' || q->terminal || q->n_rootfs || q->checkpoint[0]))
		r = err_set(&e, ENOTSUP,
			    "a terminal, a checkpoint, rootfs mounts or a relative bundle");
	if (r == 0)
		r = task_new(s, pod_share_dir(s->pod), q->id, q->bundle, &t, &e);
	if (r < 0) {
		ttrpc_call_fail_err(call, &e);
		return;
	}
	t->next = s->tasks;
	s->tasks = t;
	s->n_tasks++;
	t->create_call = call;
	t->streams[0] = stream_number(q->stdin);
	t->streams[1] = stream_number(q->stdout);
	t->streams[2] = stream_number(q->stderr);
	r = take_proxy(t, q, &e);
	if (r < 0)
		create_failed(t, ttrpc_errno_code(-r), e.msg);
	else if (pod_is_ready(s->pod))
		service_send_create(s, t);
}

static void on_linger(void *arg)
{
	struct task *t = arg;

	pod_power_off(t->service->pod);
}

static void on_wait_reply(void *arg, int code, const char *message, const uint8_t *payload,
			  size_t len)
{
	struct task *t = ref_take(arg);
	Agent__WaitResponse *resp =
		code == TTRPC_OK ? agent__wait_response__unpack(NULL, len, payload) : NULL;

	(void)message;
	if (t && t->state != TASK_STOPPED && code != TTRPC_UNAVAILABLE) {
		pod_mark(t->service->pod, "exited");
		service_task_stopped(t->service, t, resp ? resp->exit_status & 0xff : 255);
		// The proxy's end, or a delete, says that all output has been taken; this bounds it.
		if (loop_add_timer(t->service->loop, "linger", LINGER_MS, on_linger, t,
				   &t->linger_timer, NULL) < 0)
			pod_power_off(t->service->pod);
	}
	if (resp)
		agent__wait_response__free_unpacked(resp, NULL);
}

static void on_started(void *arg, int code, const char *message, const uint8_t *payload, size_t len)
{
	struct task *t = ref_take(arg);
	struct ttrpc_call *call = t ? take_ptr(&t->start_call) : NULL;
	Task__StartResponse resp;

	(void)payload;
	(void)len;
	if (!t)
		return;
	if (code == TTRPC_OK && t->state == TASK_CREATED)
		t->state = TASK_RUNNING;
	pod_mark(t->service->pod, "started");
	if (!call)
		return;
	if (code == TTRPC_OK) {
		task__start_response__init(&resp);
		resp.pid = (uint32_t)t->proxy.pid;
		service_reply(call, &resp.base);
	} else {
		ttrpc_call_fail(call, TTRPC_UNKNOWN, "%s",
				code == TTRPC_UNAVAILABLE ? "the guest ended during the start"
							  : message);
	}
}

void service_start(struct service *s, struct ttrpc_call *call, const Task__StartRequest *q)
{
	struct task *t = service_find(s, q->id);
	Agent__StartRequest a;
	struct err e;

	if (!t) {
		ttrpc_call_fail(call, TTRPC_NOT_FOUND, "container does not exist");
	} else if (t->state == TASK_STOPPED) {
		ttrpc_call_fail(call, TTRPC_FAILED_PRECONDITION,
				"cannot start a container that has stopped");
	} else if (t->state != TASK_CREATED || t->start_call) {
		ttrpc_call_fail(call, TTRPC_FAILED_PRECONDITION,
				"cannot start an already running container");
	} else {
		agent__start_request__init(&a);
		a.id = t->id;
		t->start_call = call;
		if (call_agent(t, "Start", &a.base, AGENT_START_MS, on_started, &e) < 0)
			ttrpc_call_fail(take_ptr(&t->start_call), TTRPC_INTERNAL, "%s", e.msg);
	}
}

static void on_kill_timer(void *arg)
{
	struct task *t = arg;

	pod_kill(t->service->pod, "a killed container did not end");
}

static void on_signal_lost(void *arg, int code, const char *message, const uint8_t *payload,
			   size_t len)
{
	(void)code; // the escalation timer deals with a guest that does not act
	(void)message;
	(void)payload;
	(void)len;
	(void)ref_take(arg); // freed with it
}

static void kill_in_guest(struct task *t, uint32_t signo, bool all, ttrpc_reply_fn *fn)
{
	struct service *s = t->service;
	Agent__KillRequest a;

	agent__kill_request__init(&a);
	a.id = t->id;
	a.signal = signo;
	a.all = all;
	if (t->state == TASK_CREATING ||
	    call_agent(t, "Kill", &a.base, AGENT_KILL_MS, fn ? fn : on_signal_lost, NULL) < 0 ||
	    (signo == SIGKILL && !t->kill_timer &&
	     loop_add_timer(s->loop, "kill", KILL_ESCALATE_MS, on_kill_timer, t, &t->kill_timer,
			    NULL) < 0))
		pod_kill(s->pod, "killed"); // no way to ask: the machine itself goes
}

static void on_killed(void *arg, int code, const char *message, const uint8_t *payload, size_t len)
{
	struct task *t = ref_take(arg);
	struct ttrpc_call *call = t ? take_ptr(&t->kill_call) : NULL;

	(void)payload;
	(void)len;
	if (!call)
		return;
	// A guest that does not answer has the signal in its queue; SIGKILL is enforced by the timer.
	if (code == TTRPC_OK || code == TTRPC_DEADLINE_EXCEEDED || code == TTRPC_UNAVAILABLE)
		service_reply_empty(call);
	else if (code == TTRPC_NOT_FOUND)
		ttrpc_call_fail(call, TTRPC_NOT_FOUND, "container not running");
	else
		ttrpc_call_fail(call, TTRPC_UNKNOWN, "%s", message);
}

void service_kill(struct service *s, struct ttrpc_call *call, const Task__KillRequest *q)
{
	struct task *t = service_find(s, q->id);

	if (!t) {
		ttrpc_call_fail(call, TTRPC_NOT_FOUND, "container does not exist");
	} else if (t->state == TASK_STOPPED || t->state == TASK_CREATING) {
		if (q->all)
			service_reply_empty(call);
		else
			ttrpc_call_fail(call, TTRPC_NOT_FOUND, "container not running");
	} else if (q->signal == 0) {
		service_reply_empty(call);
	} else if (q->signal > 64) {
		ttrpc_call_fail(call, TTRPC_INVALID_ARGUMENT, "unknown signal \"%u\"", q->signal);
	} else if (t->kill_call) { // a second one while the first is on its way: not waited for
		kill_in_guest(t, q->signal, q->all, NULL);
		service_reply_empty(call);
	} else {
		t->kill_call = call;
		kill_in_guest(t, q->signal, q->all, on_killed);
	}
}

void service_delete(struct service *s, struct ttrpc_call *call, const Task__DeleteRequest *q)
{
	struct task *t = service_find(s, q->id);
	Task__DeleteResponse resp;
	Task__Timestamp at;

	if (!t || t->state == TASK_CREATING) {
		ttrpc_call_fail(call, TTRPC_NOT_FOUND, "container does not exist");
		return;
	}
	if (t->state == TASK_RUNNING || t->start_call) {
		ttrpc_call_fail(call, TTRPC_FAILED_PRECONDITION,
				"cannot delete container %s that is not stopped: running", t->id);
		return;
	}
	if (t->state == TASK_CREATED)
		pod_kill(s->pod,
			 "its only container is deleted before it ran"); // stops the container too
	else
		pod_power_off(s->pod);
	task__delete_response__init(&resp);
	service_timestamp(&at, &t->exited_at);
	resp.pid = (uint32_t)t->proxy.pid;
	resp.exit_status = t->exit_status;
	resp.exited_at = &at;
	service_reply(call, &resp.base);
	service_task_remove(s, t);
}
