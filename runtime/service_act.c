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
	AGENT_DELETE_MS = 20000,  // a guest that does not let go in time loses what it holds
	LINGER_MS = 10000,        // for the proxy to take what the container wrote last
	EXIT_UNKNOWN = 255,
};

// Replies of the agent find their process by its number: it may be gone by then.
struct process_ref {
	struct service *service;
	uint64_t serial;
};

struct process *service_ref_take(void *arg)
{
	struct process_ref ref = *(struct process_ref *)arg;

	free(arg);
	for (struct task *t = ref.service->tasks; t; t = t->next) {
		if (t->init.serial == ref.serial)
			return &t->init;
		for (struct process *p = t->execs; p; p = p->next)
			if (p->serial == ref.serial)
				return p;
	}
	return NULL;
}

int service_call_agent(struct process *p, const char *method, const struct ProtobufCMessage *msg,
		       int timeout_ms, ttrpc_reply_fn *fn, struct err *e)
{
	struct process_ref *ref = malloc(sizeof(*ref));
	int r;

	if (!ref)
		return err_errno(e, ENOMEM, "%s", method);
	*ref = (struct process_ref){ .service = p->task->service, .serial = p->serial };
	r = pod_call(ref->service->pod, method, msg, timeout_ms, fn, ref, e);
	if (r < 0)
		free(ref);
	return r;
}

void service_ignore_reply(void *ref, int code, const char *message, const uint8_t *payload,
			  size_t len)
{
	(void)code;
	(void)message;
	(void)payload;
	(void)len;
	(void)service_ref_take(ref); // freed with it
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
	struct process *p = service_ref_take(arg);
	struct task *t = p ? p->task : NULL;
	Task__CreateResponse resp;
	struct err e;

	(void)payload; // the pid in the guest means nothing here
	(void)len;
	if (!t || p->state != PROCESS_CREATING || code == TTRPC_UNAVAILABLE)
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
	if (service_await_end(p, &e) < 0) {
		create_failed(t, TTRPC_INTERNAL, e.msg);
		return;
	}
	p->state = PROCESS_CREATED;
	pod_mark(t->service->pod, "container created");
	task__create_response__init(&resp);
	resp.pid = (uint32_t)p->proxy.pid;
	ttrpc_call_reply_message(take_ptr(&t->create_call), &resp.base);
	if (p->proxy_fd < 0) // its create has died meanwhile
		service_signal(p, SIGKILL, true, NULL);
}

void service_send_create(struct service *s, struct task *t)
{
	Agent__Shared shared[OCI_NS_KINDS], *list[OCI_NS_KINDS];
	Agent__CreateRequest q;
	struct err e;

	(void)s;
	agent__create_request__init(&q);
	q.id = t->id;
	q.bundle = t->bundle;
	q.config.data = (uint8_t *)t->config;
	q.config.len = t->config_len;
	q.stdin_stream = t->init.streams[0];
	q.stdout_stream = t->init.streams[1];
	q.stderr_stream = t->init.streams[2];
	q.shared = list;
	for (int i = 0; i < OCI_NS_KINDS; i++) {
		if (!t->shared[i])
			continue;
		agent__shared__init(&shared[i]);
		memcpy(&shared[i].type, &oci_ns_name[i], sizeof(char *)); // read only
		shared[i].id = t->shared[i];
		list[q.n_shared++] = &shared[i];
	}
	if (service_call_agent(&t->init, "Create", &q.base, AGENT_CREATE_MS, on_created, &e) < 0) {
		create_failed(t, TTRPC_INTERNAL, e.msg);
		return;
	}
	task_sent(t);
}

static int take_shared(struct task *t, const Task__BulkheadShared *from, struct err *e)
{
	int kind = 0;

	while (kind < OCI_NS_KINDS && strcmp(from->type, oci_ns_name[kind]) != 0)
		kind++;
	if (kind == OCI_NS_KINDS)
		return err_set(e, EINVAL, "unknown namespace \"%.40s\"", from->type);
	if (!service_find(t->service, from->id))
		return err_set(e, ENOENT,
			       "linux.namespaces: %s: container %s does not exist in the pod",
			       from->type, from->id);
	free(t->shared[kind]);
	t->shared[kind] = strdup(from->id);
	return t->shared[kind] ? 0 : err_errno(e, ENOMEM, "container");
}

// The options of our own command line name the process that stands for the container, and whose namespaces it gets.
static int take_proxy(struct task *t, const Task__CreateRequest *q, struct err *e)
{
	Task__BulkheadCreateOptions *o;
	int r;

	if (!q->options || strcmp(q->options->type_url, "bulkhead.v1.CreateOptions") != 0)
		return err_set(e, ENOTSUP, "create options of type \"%.80s\"",
			       q->options ? q->options->type_url : "");
	o = task__bulkhead_create_options__unpack(NULL, q->options->value.len,
						  q->options->value.data);
	if (!o)
		return err_set(e, EINVAL, "malformed create options");
	r = service_take_proxy(&t->init, o, e);
	for (size_t i = 0; r == 0 && i < o->n_shared; i++)
		r = take_shared(t, o->shared[i], e);
	task__bulkhead_create_options__free_unpacked(o, NULL);
	return r;
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
	if (r == 0 && (q->bundle[0] != '/' || q->n_rootfs || q->checkpoint[0]))
		r = err_set(&e, ENOTSUP, "a checkpoint, rootfs mounts or a relative bundle");
	if (r == 0)
		r = task_new(s, pod_share_dir(s->pod), q->id, q->bundle, ++s->last_serial, &t, &e);
	if (r < 0) {
		ttrpc_call_fail_err(call, &e);
		return;
	}
	t->next = s->tasks;
	s->tasks = t;
	s->n_tasks++;
	t->owner = !s->owned;
	s->owned = true;
	t->create_call = call;
	r = take_proxy(t, q, &e);
	if (r < 0)
		create_failed(t, ttrpc_errno_code(-r), e.msg);
	else if (pod_is_ready(s->pod))
		service_send_create(s, t);
}

static void on_linger(void *arg)
{
	struct task *t = arg;

	// A proxy that lives waits for a reader: its end is the one to go by.
	if (t->init.proxy_fd >= 0)
		(void)loop_timer_set(t->linger_timer, LINGER_MS); // a timer of ours: cannot fail
	else
		pod_power_off(t->service->pod);
}

static void ended(struct process *p, uint32_t exit_status)
{
	struct task *t = p->task;
	bool first = !p->exec_id;

	if (first)
		pod_mark(t->service->pod, "exited");
	service_process_stopped(t->service, p, exit_status);
	// The proxy's end, or a delete, says that all output has been taken; this bounds it.
	if (first && t->owner &&
	    loop_add_timer(t->service->loop, "linger", LINGER_MS, on_linger, t, &t->linger_timer,
			   NULL) < 0)
		pod_power_off(t->service->pod);
	if (first)
		service_drop_unknown(t);
}

static void on_wait_reply(void *arg, int code, const char *message, const uint8_t *payload,
			  size_t len)
{
	struct process *p = service_ref_take(arg);
	Agent__WaitResponse *resp =
		code == TTRPC_OK ? agent__wait_response__unpack(NULL, len, payload) : NULL;

	(void)message;
	if (p && p->state != PROCESS_STOPPED && code != TTRPC_UNAVAILABLE)
		ended(p, resp ? resp->exit_status & 0xff : EXIT_UNKNOWN);
	if (resp)
		agent__wait_response__free_unpacked(resp, NULL);
}

int service_await_end(struct process *p, struct err *e)
{
	Agent__WaitRequest wait;
	char *exec_id AUTO_FREE = strdup(process_exec_id(p));

	if (!exec_id)
		return err_errno(e, ENOMEM, "Wait");
	agent__wait_request__init(&wait);
	wait.id = p->task->id;
	wait.exec_id = exec_id;
	return service_call_agent(p, "Wait", &wait.base, -1, on_wait_reply, e);
}

static void on_started(void *arg, int code, const char *message, const uint8_t *payload, size_t len)
{
	struct process *p = service_ref_take(arg);
	struct ttrpc_call *call = p ? take_ptr(&p->start_call) : NULL;
	Task__StartResponse resp;

	(void)payload;
	(void)len;
	if (!p)
		return;
	if (code == TTRPC_OK && p->state == PROCESS_CREATED)
		p->state = PROCESS_RUNNING;
	pod_mark(p->task->service->pod, "started");
	if (!call)
		return;
	if (code == TTRPC_OK) {
		task__start_response__init(&resp);
		resp.pid = (uint32_t)p->proxy.pid;
		ttrpc_call_reply_message(call, &resp.base);
	} else {
		ttrpc_call_fail(call, TTRPC_UNKNOWN, "%s",
				code == TTRPC_UNAVAILABLE ? "the guest ended during the start"
							  : message);
	}
}

void service_start(struct service *s, struct ttrpc_call *call, const Task__StartRequest *q)
{
	struct process *p = service_find_process(s, call, q->id, q->exec_id);
	Agent__StartRequest a;
	struct err e;

	if (!p)
		return;
	if (p->state == PROCESS_STOPPED) {
		ttrpc_call_fail(call, TTRPC_FAILED_PRECONDITION,
				"cannot start a %s that has stopped",
				p->exec_id ? "process" : "container");
	} else if (p->task->paused && !p->exec_id) {
		ttrpc_call_fail(call, TTRPC_FAILED_PRECONDITION,
				"cannot start a container in the paused state");
	} else if (p->state != PROCESS_CREATED || p->start_call) {
		ttrpc_call_fail(call, TTRPC_FAILED_PRECONDITION,
				"cannot start an already running %s",
				p->exec_id ? "process" : "container");
	} else if (p->exec_id) {
		service_exec_start(p, call);
	} else {
		agent__start_request__init(&a);
		a.id = p->task->id;
		p->start_call = call;
		if (service_call_agent(p, "Start", &a.base, AGENT_START_MS, on_started, &e) < 0)
			ttrpc_call_fail(take_ptr(&p->start_call), TTRPC_INTERNAL, "%s", e.msg);
	}
}

static void on_kill_timer(void *arg)
{
	struct process *p = arg;

	pod_kill(p->task->service->pod, "a killed container did not end");
}

// The first process that does not end by SIGKILL loses the machine; one by Exec ends with it.
static bool escalate(struct process *p)
{
	if (p->exec_id || p->kill_timer)
		return true;
	return loop_add_timer(p->task->service->loop, "kill", KILL_ESCALATE_MS, on_kill_timer, p,
			      &p->kill_timer, NULL) == 0;
}

void service_signal(struct process *p, uint32_t signo, bool all, ttrpc_reply_fn *fn)
{
	Agent__KillRequest a;
	char *exec_id AUTO_FREE = strdup(process_exec_id(p));

	agent__kill_request__init(&a);
	a.id = p->task->id;
	a.signal = signo;
	a.all = all;
	a.exec_id = exec_id;
	if (!exec_id || p->state == PROCESS_CREATING ||
	    service_call_agent(p, "Kill", &a.base, AGENT_KILL_MS, fn ? fn : service_ignore_reply,
			       NULL) < 0 ||
	    (signo == SIGKILL && !escalate(p)))
		pod_kill(p->task->service->pod, "killed"); // no way to ask: the machine itself goes
}

static void on_killed(void *arg, int code, const char *message, const uint8_t *payload, size_t len)
{
	struct process *p = service_ref_take(arg);
	struct ttrpc_call *call = p ? take_ptr(&p->kill_call) : NULL;

	(void)payload;
	(void)len;
	if (!call)
		return;
	// A guest that does not answer has the signal in its queue; SIGKILL is enforced by the timer.
	if (code == TTRPC_OK || code == TTRPC_DEADLINE_EXCEEDED || code == TTRPC_UNAVAILABLE)
		ttrpc_call_reply(call, NULL, 0);
	else if (code == TTRPC_NOT_FOUND)
		ttrpc_call_fail(call, TTRPC_NOT_FOUND, "%s",
				p->exec_id ? "process already finished" : "container not running");
	else
		ttrpc_call_fail(call, TTRPC_UNKNOWN, "%s", message);
}

void service_kill(struct service *s, struct ttrpc_call *call, const Task__KillRequest *q)
{
	struct process *p = service_find_process(s, call, q->id, q->exec_id);
	bool all;

	if (!p)
		return;
	all = q->all && !p->exec_id;
	if (p->exec_id && (p->state == PROCESS_STOPPED || p->state == PROCESS_CREATED)) {
		ttrpc_call_fail(call, TTRPC_NOT_FOUND, "%s",
				p->state == PROCESS_STOPPED
					? "process already finished"
					: "process not started: no such process");
	} else if (p->state == PROCESS_STOPPED || p->state == PROCESS_CREATING) {
		if (all)
			ttrpc_call_reply(call, NULL, 0);
		else
			ttrpc_call_fail(call, TTRPC_NOT_FOUND, "container not running");
	} else if (q->signal == 0) {
		ttrpc_call_reply(call, NULL, 0);
	} else if (q->signal > 64) {
		ttrpc_call_fail(call, TTRPC_INVALID_ARGUMENT, "unknown signal \"%u\"", q->signal);
	} else if (p->kill_call) { // a second one while the first is on its way: not waited for
		service_signal(p, q->signal, all, NULL);
		ttrpc_call_reply(call, NULL, 0);
	} else {
		p->kill_call = call;
		service_signal(p, q->signal, all, on_killed);
	}
}

static void reply_deleted(struct process *p, struct ttrpc_call *call)
{
	Task__DeleteResponse resp;
	Task__Timestamp at;

	task__delete_response__init(&resp);
	task_timestamp(&at, &p->exited_at);
	resp.pid = (uint32_t)p->proxy.pid;
	resp.exit_status = p->exit_status;
	resp.exited_at = &at;
	ttrpc_call_reply_message(call, &resp.base);
}

static void delete_exec(struct process *p, struct ttrpc_call *call)
{
	if (p->state == PROCESS_RUNNING || p->start_call) {
		ttrpc_call_fail(call, TTRPC_FAILED_PRECONDITION,
				"cannot delete exec %s that is not stopped: running", p->exec_id);
		return;
	}
	reply_deleted(p, call);
	service_exec_remove(p);
}

// The guest has let go of it, or has had its time. The host's mounts are taken away in any case.
static void on_deleted(void *arg, int code, const char *message, const uint8_t *payload, size_t len)
{
	struct process *p = service_ref_take(arg);
	struct ttrpc_call *call = p ? take_ptr(&p->task->delete_call) : NULL;

	(void)payload;
	(void)len;
	if (!p)
		return;
	if (code != TTRPC_OK && code != TTRPC_NOT_FOUND)
		log_warn("deleting %s in the guest: %s", p->task->id, message);
	if (p->state != PROCESS_STOPPED)
		service_process_stopped(p->task->service, p, 128 + SIGKILL);
	if (call)
		reply_deleted(p, call);
	service_task_remove(p->task->service, p->task);
}

static int delete_in_guest(struct task *t, struct err *e)
{
	Agent__DeleteRequest a;
	int r;

	agent__delete_request__init(&a);
	a.id = t->id;
	r = service_call_agent(&t->init, "Delete", &a.base, AGENT_DELETE_MS, on_deleted, e);
	t->deleting = r == 0;
	return r;
}

// A container among others.
static void delete_member(struct task *t, struct ttrpc_call *call)
{
	struct err e;

	if (t->deleting)
		ttrpc_call_fail(call, TTRPC_FAILED_PRECONDITION, "container is being deleted");
	else if (delete_in_guest(t, &e) < 0)
		ttrpc_call_fail(call, TTRPC_INTERNAL, "%s", e.msg);
	else
		t->delete_call = call;
}

void service_drop_unknown(struct task *t)
{
	if (!t->owner && !t->deleting && t->init.state == PROCESS_STOPPED && t->init.proxy_fd < 0 &&
	    !pod_is_gone(t->service->pod) && !store_exists(t->service->root, t->id))
		(void)delete_in_guest(t, NULL); // without memory it stays until the pod goes
}

void service_delete(struct service *s, struct ttrpc_call *call, const Task__DeleteRequest *q)
{
	struct process *p = service_find_process(s, call, q->id, q->exec_id);

	if (!p)
		return;
	if (p->exec_id) {
		delete_exec(p, call);
		return;
	}
	if (p->state == PROCESS_CREATING) {
		ttrpc_call_fail(call, TTRPC_NOT_FOUND, "container does not exist");
		return;
	}
	if (p->state == PROCESS_RUNNING || p->start_call) {
		ttrpc_call_fail(call, TTRPC_FAILED_PRECONDITION,
				"cannot delete container %s that is not stopped: %s", p->task->id,
				p->task->paused ? "paused" : "running");
		return;
	}
	if (p->task->owner && p->state == PROCESS_CREATED)
		pod_kill(s->pod, "its first container is deleted before it ran"); // stops all
	else if (p->task->owner)
		pod_power_off(s->pod);
	else if (!pod_is_gone(s->pod)) {
		delete_member(p->task, call);
		return;
	}
	reply_deleted(p, call);
	service_task_remove(s, p->task);
}
