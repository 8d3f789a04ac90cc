// SPDX-License-Identifier: Apache-2.0
// Processes that are added to a container, terminals, and the host processes that stand for both.
#include <errno.h>
#include <signal.h>
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
	AGENT_EXEC_MS = 60000,
	AGENT_QUICK_MS = 5000,
	EXECS_MAX = 256, // of one container
	EXEC_ID_MAX = 255,
	EXIT_NEVER_RAN = 255,
};

// ---- proxies
static void on_proxy(void *arg, uint32_t events)
{
	struct process *p = arg;

	(void)events;
	loop_remove(take_ptr(&p->proxy_src));
	close_fd(take_fd(&p->proxy_fd));
	if (p->exec_id && !p->start_call &&
	    (p->state == PROCESS_STOPPED || p->state == PROCESS_CREATED)) {
		service_exec_remove(p); // the command line's: nobody else deletes it
	} else if (p->state == PROCESS_STOPPED) {
		// It has taken what there was to take: the machine has nothing left to do, if it was the pod's own.
		if (p->task->owner)
			pod_power_off(p->task->service->pod);
		else
			service_drop_unknown(p->task);
	} else if (p->state == PROCESS_CREATING && !p->task->owner) {
		// Its create has died. The guest is asked when it has answered.
	} else {
		// The process that stands for the container was killed: so is the container.
		log_info("the proxy of %s %s is gone: killing it", p->task->id, process_exec_id(p));
		service_signal(p, SIGKILL, !p->exec_id, NULL);
	}
}

int service_take_proxy(struct process *p, const Task__BulkheadCreateOptions *o, struct err *e)
{
	p->proxy.pid = (pid_t)o->proxy_pid;
	p->proxy.start_time = o->proxy_start_time;
	p->streams[0] = o->stdin_stream;
	p->streams[1] = o->stdout_stream;
	p->streams[2] = o->stderr_stream;
	p->proxy_fd = store_process_open(&p->proxy);
	if (p->proxy_fd < 0)
		return err_errno(e, -p->proxy_fd, "proxy process %ld", (long)p->proxy.pid);
	return loop_add_fd(p->task->service->loop, "proxy", p->proxy_fd, EPOLLIN, on_proxy, p,
			   &p->proxy_src, e);
}

// ---- exec
static int check_exec(struct service *s, const Task__ExecRequest *q, struct task **ret,
		      struct err *e)
{
	struct task *t = service_find(s, q->id);
	unsigned n = 0;

	if (!t)
		return err_set(e, ENOENT, "container does not exist");
	if (t->init.state == PROCESS_STOPPED || t->init.state == PROCESS_CREATING)
		return err_set(e, EBUSY, "cannot exec in a stopped container");
	if (!q->exec_id[0] || strlen(q->exec_id) > EXEC_ID_MAX)
		return err_set(e, EINVAL, "exec id: from 1 to %d bytes", EXEC_ID_MAX);
	if (task_process(t, q->exec_id))
		return err_set(e, EEXIST, "exec %s: already exists", q->exec_id);
	for (const struct process *p = t->execs; p; p = p->next)
		n++;
	if (n >= EXECS_MAX)
		return err_set(e, ENOSPC, "more than %d processes by exec in a container",
			       EXECS_MAX);
	*ret = t;
	return 0;
}

static int take_spec(struct process *p, const Task__BulkheadExecOptions *o, struct err *e)
{
	if (!o || !o->proxy)
		return err_set(e, EINVAL, "malformed exec options");
	p->exec.doc = malloc(o->process.len + 1);
	p->exec.cgroup = strdup(o->cgroup);
	if (!p->exec.doc || !p->exec.cgroup)
		return err_errno(e, ENOMEM, "exec");
	memcpy(p->exec.doc, o->process.data, o->process.len);
	p->exec.doc_len = o->process.len;
	p->exec.ignore_paused = o->ignore_paused;
	return service_take_proxy(p, o->proxy, e);
}

// Only remembers: the process is made by Start.
void service_exec(struct service *s, struct ttrpc_call *call, const Task__ExecRequest *q)
{
	Task__BulkheadExecOptions *o = NULL;
	struct process *p = NULL;
	struct task *t = NULL;
	struct err e;
	int r = check_exec(s, q, &t, &e);

	if (r == 0 && (!q->spec || strcmp(q->spec->type_url, "bulkhead.v1.ExecOptions") != 0))
		r = err_set(&e, ENOTSUP, "exec spec of type \"%.80s\"",
			    q->spec ? q->spec->type_url : "");
	if (r == 0 && !(p = task_add_exec(t, q->exec_id, ++s->last_serial)))
		r = err_errno(&e, ENOMEM, "exec");
	if (r == 0) {
		o = task__bulkhead_exec_options__unpack(NULL, q->spec->value.len,
							q->spec->value.data);
		r = take_spec(p, o, &e);
		p->terminal = q->terminal;
	}
	if (o)
		task__bulkhead_exec_options__free_unpacked(o, NULL);
	if (r < 0) {
		if (p)
			task_remove_exec(p);
		ttrpc_call_fail_err(call, &e);
		return;
	}
	ttrpc_call_reply(call, NULL, 0);
}

static void resize(struct process *p)
{
	Agent__ResizeRequest a;
	char *exec_id AUTO_FREE = strdup(process_exec_id(p));

	agent__resize_request__init(&a);
	a.id = p->task->id;
	a.exec_id = exec_id;
	a.width = p->width;
	a.height = p->height;
	if (exec_id) // a size that does not arrive is no reason to fail anything
		(void)service_call_agent(p, "Resize", &a.base, AGENT_QUICK_MS, service_ignore_reply,
					 NULL);
}

static void start_failed(struct process *p, struct ttrpc_call *call, const char *text)
{
	if (call)
		ttrpc_call_fail(call, TTRPC_UNKNOWN, "%s", text);
	service_process_stopped(p->task->service, p, EXIT_NEVER_RAN);
}

static void on_exec(void *arg, int code, const char *message, const uint8_t *payload, size_t len)
{
	struct process *p = service_ref_take(arg);
	struct ttrpc_call *call = p ? take_ptr(&p->start_call) : NULL;
	Task__StartResponse resp;

	(void)payload; // the pid in the guest means nothing here
	(void)len;
	if (!p)
		return;
	if (code != TTRPC_OK) {
		start_failed(p, call,
			     code == TTRPC_UNAVAILABLE ? "the guest ended during the start"
						       : message);
		return;
	}
	if (p->state == PROCESS_CREATED)
		p->state = PROCESS_RUNNING;
	if (p->width || p->height)
		resize(p);
	if (call) {
		task__start_response__init(&resp);
		resp.pid = (uint32_t)p->proxy.pid;
		ttrpc_call_reply_message(call, &resp.base);
	}
	if (p->proxy_fd < 0) // it went while the guest was busy
		service_signal(p, SIGKILL, false, NULL);
}

void service_exec_start(struct process *p, struct ttrpc_call *call)
{
	char *doc AUTO_FREE = take_ptr(&p->exec.doc);
	Agent__ExecRequest a;
	struct err e;

	agent__exec_request__init(&a);
	a.id = p->task->id;
	a.exec_id = p->exec_id;
	a.process.data = (uint8_t *)doc;
	a.process.len = p->exec.doc_len;
	a.stdin_stream = p->streams[0];
	a.stdout_stream = p->streams[1];
	a.stderr_stream = p->streams[2];
	a.cgroup = p->exec.cgroup;
	a.ignore_paused = p->exec.ignore_paused;
	p->start_call = call;
	// Both at once: the guest is woken once. The agent answers them in order.
	if (service_call_agent(p, "Exec", &a.base, AGENT_EXEC_MS, on_exec, &e) < 0 ||
	    service_await_end(p, &e) < 0)
		start_failed(p, take_ptr(&p->start_call), e.msg);
}

void service_exec_remove(struct process *p)
{
	Agent__DeleteRequest a;

	agent__delete_request__init(&a);
	a.id = p->task->id;
	a.exec_id = p->exec_id;
	if (!p->exec.doc) // it was started; an agent that is gone has forgotten it too
		(void)service_call_agent(p, "Delete", &a.base, AGENT_QUICK_MS, service_ignore_reply,
					 NULL);
	task_remove_exec(p);
}

// ---- terminals and standard input
void service_resize(struct service *s, struct ttrpc_call *call, const Task__ResizePtyRequest *q)
{
	struct process *p = service_find_process(s, call, q->id, q->exec_id);

	if (!p)
		return;
	if (q->width > UINT16_MAX || q->height > UINT16_MAX) {
		ttrpc_call_fail(call, TTRPC_INVALID_ARGUMENT, "terminal size %ux%u", q->width,
				q->height);
		return;
	}
	p->width = q->width;
	p->height = q->height;
	// One that is not there yet gets its size when it is.
	if (p->terminal && p->state != PROCESS_STOPPED && p->state != PROCESS_CREATING &&
	    !(p->exec_id && p->state == PROCESS_CREATED))
		resize(p);
	ttrpc_call_reply(call, NULL, 0);
}

void service_close_io(struct service *s, struct ttrpc_call *call, const Task__CloseIoRequest *q)
{
	struct process *p = service_find_process(s, call, q->id, q->exec_id);
	Agent__CloseStdinRequest a;
	char *exec_id AUTO_FREE = p ? strdup(process_exec_id(p)) : NULL;

	if (!p)
		return;
	agent__close_stdin_request__init(&a);
	a.id = p->task->id;
	a.exec_id = exec_id;
	if (q->stdin && exec_id && (p->state == PROCESS_RUNNING || !p->exec_id))
		(void)service_call_agent(p, "CloseStdin", &a.base, AGENT_QUICK_MS,
					 service_ignore_reply,
					 NULL); // a guest that is gone reads no input
	ttrpc_call_reply(call, NULL, 0);
}
