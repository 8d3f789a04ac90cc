// SPDX-License-Identifier: Apache-2.0
#include "runtime/service.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/own.h"
#include "runtime/service_priv.h"

enum { SERVICE_WAITERS_MAX = 256 };

struct task *service_find(struct service *s, const char *id)
{
	for (struct task *t = s->tasks; t; t = t->next) {
		if (strcmp(t->id, id) == 0)
			return t;
	}
	return NULL;
}

struct process *service_find_process(struct service *s, struct ttrpc_call *call, const char *id,
				     const char *exec_id)
{
	struct task *t = service_find(s, id);
	struct process *p = t ? task_process(t, exec_id) : NULL;

	if (!p)
		ttrpc_call_fail(call, TTRPC_NOT_FOUND, "%s",
				t ? "process does not exist" : "container does not exist");
	return p;
}

static void state(struct service *s, struct ttrpc_call *call, const Task__StateRequest *q)
{
	static const Task__Status status[] = { TASK__STATUS__CREATED, TASK__STATUS__CREATED,
					       TASK__STATUS__RUNNING, TASK__STATUS__STOPPED };
	struct process *p = service_find_process(s, call, q->id, q->exec_id);
	Task__StateResponse resp;
	Task__Timestamp at;

	if (!p)
		return;
	task__state_response__init(&resp);
	resp.id = p->task->id;
	resp.bundle = p->task->bundle;
	resp.exec_id = q->exec_id;
	resp.terminal = p->terminal;
	resp.pid = p->exec_id && p->state == PROCESS_CREATED ? 0 : (uint32_t)p->proxy.pid;
	resp.status = status[p->state];
	if (p->task->paused && p->state != PROCESS_STOPPED)
		resp.status = TASK__STATUS__PAUSED;
	if (p->state == PROCESS_STOPPED) {
		task_timestamp(&at, &p->exited_at);
		resp.exit_status = p->exit_status;
		resp.exited_at = &at;
	}
	ttrpc_call_reply_message(call, &resp.base);
}

static void answer_wait(const struct process *p, struct ttrpc_call *call)
{
	Task__WaitResponse resp;
	Task__Timestamp at;

	task__wait_response__init(&resp);
	task_timestamp(&at, &p->exited_at);
	resp.exit_status = p->exit_status;
	resp.exited_at = &at;
	ttrpc_call_reply_message(call, &resp.base);
}

static void wait_for(struct service *s, struct ttrpc_call *call, const Task__WaitRequest *q)
{
	struct process *p = service_find_process(s, call, q->id, q->exec_id);
	struct process_waiter *w;
	unsigned n = 0;

	if (!p)
		return;
	if (p->state == PROCESS_STOPPED) {
		answer_wait(p, call);
		return;
	}
	for (w = p->waiters; w; w = w->next)
		n++;
	w = n < SERVICE_WAITERS_MAX ? calloc(1, sizeof(*w)) : NULL;
	if (!w) {
		ttrpc_call_fail(call, TTRPC_RESOURCE_EXHAUSTED, "too many callers wait");
		return;
	}
	*w = (struct process_waiter){ .next = p->waiters, .call = call };
	p->waiters = w;
}

static void connect_info(struct service *s, struct ttrpc_call *call, const Task__ConnectRequest *q)
{
	struct task *t = service_find(s, q->id);
	Task__ConnectResponse resp;
	char version[] = BULKHEAD_VERSION;

	task__connect_response__init(&resp);
	resp.shim_pid = (uint32_t)getpid();
	resp.task_pid = t ? (uint32_t)t->init.proxy.pid : 0;
	resp.version = version;
	ttrpc_call_reply_message(call, &resp.base);
}

// One row per method: unpack, handle, free.
#define HANDLER(method, type, fn)                                                                 \
	static void handle_##method(struct service *s, struct ttrpc_call *call, const uint8_t *p, \
				    size_t n)                                                     \
	{                                                                                         \
		Task__##type *q = task__##method##_request__unpack(NULL, n, p);                   \
                                                                                                  \
		if (!q) {                                                                         \
			ttrpc_call_fail(call, TTRPC_INVALID_ARGUMENT, "malformed request");       \
			return;                                                                   \
		}                                                                                 \
		fn(s, call, q);                                                                   \
		task__##method##_request__free_unpacked(q, NULL);                                 \
	}
HANDLER(state, StateRequest, state)
HANDLER(create, CreateRequest, service_create)
HANDLER(start, StartRequest, service_start)
HANDLER(exec, ExecRequest, service_exec)
HANDLER(resize_pty, ResizePtyRequest, service_resize)
HANDLER(close_io, CloseIoRequest, service_close_io)
HANDLER(delete, DeleteRequest, service_delete)
HANDLER(pids, PidsRequest, service_pids)
HANDLER(pause, PauseRequest, service_pause)
HANDLER(resume, ResumeRequest, service_resume)
HANDLER(update, UpdateRequest, service_update)
HANDLER(stats, StatsRequest, service_stats)
HANDLER(kill, KillRequest, service_kill)
HANDLER(wait, WaitRequest, wait_for)
HANDLER(connect, ConnectRequest, connect_info)
HANDLER(shutdown, ShutdownRequest, service_shutdown)
HANDLER(processes, ProcessesRequest, service_processes)
HANDLER(event, EventRequest, service_event)

static const struct {
	const char *method;
	void (*fn)(struct service *s, struct ttrpc_call *call, const uint8_t *p, size_t n);
} methods[] = {
	{ "State", handle_state },
	{ "Create", handle_create },
	{ "Start", handle_start },
	{ "Exec", handle_exec },
	{ "ResizePty", handle_resize_pty },
	{ "CloseIO", handle_close_io },
	{ "Delete", handle_delete },
	{ "Pids", handle_pids },
	{ "Pause", handle_pause },
	{ "Resume", handle_resume },
	{ "Update", handle_update },
	{ "Stats", handle_stats },
	{ "Kill", handle_kill },
	{ "Wait", handle_wait },
	{ "Connect", handle_connect },
	{ "Shutdown", handle_shutdown },
	{ "Processes", handle_processes },
	{ "Event", handle_event },
};

static void on_request(void *arg, struct ttrpc_call *call, const char *name, const char *method,
		       const uint8_t *payload, size_t len)
{
	if (strcmp(name, "containerd.task.v2.Task") != 0 &&
	    strcmp(name, "containerd.task.v3.Task") != 0) {
		ttrpc_call_fail(call, TTRPC_UNIMPLEMENTED, "service %.100s: not implemented", name);
		return;
	}
	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
		if (strcmp(methods[i].method, method) == 0) {
			methods[i].fn(arg, call, payload, len);
			return;
		}
	}
	ttrpc_call_fail(call, TTRPC_UNIMPLEMENTED, "%.100s: not implemented", method);
}

void service_process_stopped(struct service *s, struct process *p, uint32_t exit_status)
{
	if (p->state == PROCESS_STOPPED)
		return;
	// The end of the first process is the end of all, and is told last.
	for (struct process *x = p->exec_id ? NULL : p->task->execs, *next; x; x = next) {
		next = x->next;
		service_process_stopped(s, x, 128 + SIGKILL);
	}
	log_info("container %s%s%s has ended: %u", p->task->id, p->exec_id ? " exec " : "",
		 process_exec_id(p), exit_status);
	p->state = PROCESS_STOPPED;
	p->exit_status = exit_status;
	(void)clock_gettime(CLOCK_REALTIME, &p->exited_at); // cannot fail for this clock
	loop_remove(take_ptr(&p->kill_timer));
	if (p->kill_call)
		ttrpc_call_reply(take_ptr(&p->kill_call), NULL,
				 0); // it has ended: what a kill is for
	while (p->waiters) {
		struct process_waiter *w = p->waiters;

		p->waiters = w->next;
		answer_wait(p, w->call);
		free(w);
	}
	if (!p->exec_id)
		service_tell_events(p->task);
	if (p->exec_id && p->proxy_fd < 0 && !p->start_call)
		service_exec_remove(p); // nobody is left who would delete it
}

void service_task_remove(struct service *s, struct task *t)
{
	struct task **at = &s->tasks;

	while (*at != t)
		at = &(*at)->next;
	*at = t->next;
	s->n_tasks--;
	service_drop_events(t);
	task_free(t, pod_share_dir(s->pod));
}

void service_pod_ready(struct service *s)
{
	service_await_events(s);
	for (struct task *t = s->tasks; t; t = t->next) {
		if (t->create_call)
			service_send_create(s, t);
	}
}

static void on_finish(void *arg)
{
	struct service *s = arg;

	s->on_shutdown(s->arg);
}

static void reply_ends(struct ttrpc_call *call)
{
	Task__ShutdownResponse resp;

	task__shutdown_response__init(&resp);
	resp.ends = true;
	ttrpc_call_reply_message(call, &resp.base);
}

// The reply is written by the loop: the end comes a round later.
static void finish(struct service *s)
{
	if (s->finished || !s->shutting_down)
		return;
	s->finished = true;
	if (s->shutdown_call)
		reply_ends(take_ptr(&s->shutdown_call));
	if (loop_add_timer(s->loop, "finish", 1, on_finish, s, &s->finish_timer, NULL) < 0)
		s->on_shutdown(s->arg);
}

void service_pod_gone(struct service *s, const char *why)
{
	struct task *t = s->tasks;

	log_info("the pod has ended: %s", why);
	(void)snprintf(s->gone_why, sizeof(s->gone_why), "%s", why); // cut is fine
	while (t) {
		struct task *next = t->next;

		if (t->init.state == PROCESS_CREATING) {
			if (t->create_call)
				ttrpc_call_fail(take_ptr(&t->create_call), TTRPC_INTERNAL, "%s",
						why);
			service_task_remove(s, t);
		} else {
			service_process_stopped(s, &t->init, 128 + SIGKILL);
		}
		t = next;
	}
	finish(s);
}

// A create that died may have left a container here that nobody knows.
static bool has_containers(const struct service *s)
{
	for (const struct task *t = s->tasks; t; t = t->next)
		if (t->init.proxy_fd >= 0 || store_exists(s->root, t->id))
			return true;
	return false;
}

void service_shutdown(struct service *s, struct ttrpc_call *call, const Task__ShutdownRequest *q)
{
	if (has_containers(s) && !q->now) {
		ttrpc_call_reply(call, NULL, 0);
		return;
	}
	if (s->shutdown_call) {
		reply_ends(call);
		return;
	}
	s->shutdown_call = call;
	s->shutting_down = true;
	if (pod_is_gone(s->pod))
		finish(s);
	else if (q->now)
		pod_kill(s->pod, "shut down");
	else
		pod_power_off(s->pod);
}

void service_abandon(struct service *s)
{
	s->shutting_down = true;
	if (pod_is_gone(s->pod))
		finish(s);
	else
		pod_kill(s->pod, "its caller has gone");
}

int service_new(struct loop *l, int listen_fd, void (*on_shutdown)(void *arg), void *arg,
		struct service **ret_service, struct err *e)
{
	struct service *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return err_errno(e, ENOMEM, "service");
	*s = (struct service){ .loop = l, .on_shutdown = on_shutdown, .arg = arg };
	r = ttrpc_server_new(l, listen_fd, on_request, s, &s->server, e);
	if (r < 0) {
		free(s);
		return r;
	}
	*ret_service = s;
	return 0;
}

void service_set_pod(struct service *s, struct pod *p, const char *root)
{
	s->pod = p;
	s->root = root;
}

void service_free(struct service *s)
{
	if (!s)
		return;
	while (s->tasks)
		service_task_remove(s, s->tasks);
	ttrpc_server_free(s->server);
	loop_remove(s->finish_timer);
	free(s);
}
