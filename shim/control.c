// SPDX-License-Identifier: Apache-2.0
// The methods about containers that are there.
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/own.h"
#include "proto/shim.pb-c.h"
#include "proto/task.pb-c.h"
#include "proto/ttrpc.h"
#include "shim/job.h"
#include "shim/publish.h"
#include "shim/shim.h"
#include "shim/wire.h"

enum { ASK_MS = 20000, WAITERS_MAX = 1024 };

#define UNPACK(lower, q)                                       \
	__typeof__(task__##lower##__unpack(NULL, 0, NULL)) q = \
		(__typeof__(q))wire_unpack(&task__##lower##__descriptor, call, payload, len)
#define DROP(q)                                                             \
	do {                                                                \
		if (q)                                                      \
			protobuf_c_message_free_unpacked(&(q)->base, NULL); \
	} while (0)

static Task__Status status(const struct shim_process *p)
{
	if (p->state == SHIM_STOPPED)
		return TASK__STATUS__STOPPED;
	if (p->task->paused)
		return TASK__STATUS__PAUSED;
	return p->state == SHIM_RUNNING ? TASK__STATUS__RUNNING : TASK__STATUS__CREATED;
}

void shim_state(struct shim *s, struct ttrpc_call *call, const uint8_t *payload, size_t len)
{
	UNPACK(state_request, q);
	struct shim_process *p = q ? shim_find_process(s, call, q->id, q->exec_id) : NULL;
	Task__StateResponse resp;
	Task__Timestamp at;

	task__state_response__init(&resp);
	if (p) {
		resp.id = p->task->id;
		resp.bundle = p->task->bundle;
		resp.exec_id = p->exec_id;
		resp.pid = shim_process_pid(p);
		resp.status = status(p);
		resp.stdin = p->io.in;
		resp.stdout = p->io.out;
		resp.stderr = p->io.err;
		resp.terminal = p->io.terminal;
		if (p->state == SHIM_STOPPED) {
			task_timestamp(&at, &p->exited_at);
			resp.exit_status = p->exit_status;
			resp.exited_at = &at;
		}
		ttrpc_call_reply_message(call, &resp.base);
	}
	DROP(q);
}

void shim_wait(struct shim *s, struct ttrpc_call *call, const uint8_t *payload, size_t len)
{
	UNPACK(wait_request, q);
	struct shim_process *p = q ? shim_find_process(s, call, q->id, q->exec_id) : NULL;
	struct shim_waiter *w = NULL;
	unsigned n = 0;

	DROP(q);
	if (!p)
		return;
	if (p->state == SHIM_STOPPED) {
		shim_answer_wait(p, call);
		return;
	}
	for (w = p->waiters; w; w = w->next)
		n++;
	w = n < WAITERS_MAX ? calloc(1, sizeof(*w)) : NULL;
	if (!w) {
		ttrpc_call_fail(call, TTRPC_RESOURCE_EXHAUSTED, "too many callers wait");
		return;
	}
	*w = (struct shim_waiter){ .next = p->waiters, .call = call };
	p->waiters = w;
}

void shim_kill(struct shim *s, struct ttrpc_call *call, const uint8_t *payload, size_t len)
{
	UNPACK(kill_request, q);
	struct shim_process *p = q ? shim_find_process(s, call, q->id, q->exec_id) : NULL;

	DROP(q);
	if (!p)
		return;
	if (p->ended || p->state == SHIM_STOPPED)
		ttrpc_call_fail(call, TTRPC_NOT_FOUND, "process already finished: not found");
	else if (p->state == SHIM_REGISTERED)
		ttrpc_call_fail(call, TTRPC_FAILED_PRECONDITION,
				"process has not been started: failed precondition");
	else
		wire_forward(p->task, call, "Kill", payload, len, ASK_MS, NULL);
}

static int add_pid(Task__PidsResponse *resp, const struct shim_process *p)
{
	Task__ProcessInfo *info = calloc(1, sizeof(*info));
	Task__ProcessDetails details;

	task__process_details__init(&details);
	if (!info)
		return -ENOMEM;
	task__process_info__init(info);
	info->pid = (uint32_t)p->proxy;
	resp->processes[resp->n_processes++] = info;
	if (!*p->exec_id)
		return 0;
	details.exec_id = p->exec_id;
	info->info = calloc(1, sizeof(*info->info));
	if (!info->info)
		return -ENOMEM;
	task__any__init(info->info);
	info->info->type_url = strdup("containerd.runc.v1.ProcessDetails");
	info->info->value.data = malloc(task__process_details__get_packed_size(&details) + 1);
	if (!info->info->type_url || !info->info->value.data)
		return -ENOMEM;
	info->info->value.len = task__process_details__pack(&details, info->info->value.data);
	return 0;
}

void shim_pids(struct shim *s, struct ttrpc_call *call, const uint8_t *payload, size_t len)
{
	UNPACK(pids_request, q);
	struct shim_process *init = q ? shim_find_process(s, call, q->id, "") : NULL;
	Task__PidsResponse *resp = calloc(1, sizeof(*resp));
	size_t n = 1;
	int r = 0;

	DROP(q);
	for (struct shim_process *p = init ? init->task->execs : NULL; p; p = p->next)
		n++;
	if (init && resp) {
		task__pids_response__init(resp);
		resp->processes = calloc(n, sizeof(Task__ProcessInfo *));
		r = resp->processes ? add_pid(resp, init) : -ENOMEM;
		for (struct shim_process *p = init->task->execs; r == 0 && p; p = p->next)
			if (p->state == SHIM_RUNNING)
				r = add_pid(resp, p);
		if (r == 0)
			ttrpc_call_reply_message(call, &resp->base);
	}
	if (init && (!resp || r < 0))
		ttrpc_call_fail(call, TTRPC_RESOURCE_EXHAUSTED, "out of memory");
	if (init && resp)
		task__pids_response__free_unpacked(resp, NULL);
	else
		free(resp);
}

static void paused(struct shim_task *t)
{
	Shim__TaskPaused ev;

	shim__task_paused__init(&ev);
	t->paused = true;
	ev.container_id = t->id;
	publish(t->shim->publisher, "/tasks/paused", "TaskPaused", &ev.base);
}

static void resumed(struct shim_task *t)
{
	Shim__TaskResumed ev;

	shim__task_resumed__init(&ev);
	t->paused = false;
	ev.container_id = t->id;
	publish(t->shim->publisher, "/tasks/resumed", "TaskResumed", &ev.base);
}

// A request whose first field is the id, as all of these have.
static void forward(struct shim *s, struct ttrpc_call *call, const char *method,
		    const uint8_t *payload, size_t len, void (*then)(struct shim_task *t))
{
	UNPACK(stats_request, q);
	struct shim_process *p = q ? shim_find_process(s, call, q->id, "") : NULL;

	DROP(q);
	if (p && p->state == SHIM_STOPPED)
		ttrpc_call_fail(call, TTRPC_NOT_FOUND, "container has stopped: not found");
	else if (p)
		wire_forward(p->task, call, method, payload, len, ASK_MS, then);
}

void shim_pause(struct shim *s, struct ttrpc_call *call, const uint8_t *payload, size_t len)
{
	forward(s, call, "Pause", payload, len, paused);
}

void shim_resume(struct shim *s, struct ttrpc_call *call, const uint8_t *payload, size_t len)
{
	forward(s, call, "Resume", payload, len, resumed);
}

void shim_stats(struct shim *s, struct ttrpc_call *call, const uint8_t *payload, size_t len)
{
	forward(s, call, "Stats", payload, len, NULL);
}

void shim_update(struct shim *s, struct ttrpc_call *call, const uint8_t *payload, size_t len)
{
	forward(s, call, "Update", payload, len, NULL);
}

static void on_resized(void *arg, int code, const char *message, const uint8_t *payload, size_t len)
{
	(void)arg;
	(void)payload;
	(void)len;
	if (code != TTRPC_OK)
		log_info("resize: %s", message);
}

void shim_resize_late(struct shim_process *p)
{
	Task__ResizePtyRequest q;
	struct err e;

	task__resize_pty_request__init(&q);
	if (!p->width && !p->height)
		return;
	q.id = p->task->id;
	q.exec_id = p->exec_id;
	q.width = p->width;
	q.height = p->height;
	if (wire_call(p->task, "ResizePty", &q.base, ASK_MS, on_resized, NULL, &e) < 0)
		log_info("resize: %s", e.msg);
}

void shim_resize(struct shim *s, struct ttrpc_call *call, const uint8_t *payload, size_t len)
{
	UNPACK(resize_pty_request, q);
	struct shim_process *p = q ? shim_find_process(s, call, q->id, q->exec_id) : NULL;

	if (p && p->state == SHIM_REGISTERED) {
		p->width = q->width;
		p->height = q->height;
	}
	// Engines ask before the start, after the end, and for what has no terminal.
	if (p && (!p->io.terminal || p->ended || p->state == SHIM_STOPPED ||
		  p->state == SHIM_REGISTERED))
		ttrpc_call_reply(call, NULL, 0);
	else if (p)
		wire_forward(p->task, call, "ResizePty", payload, len, ASK_MS, NULL);
	DROP(q);
}

void shim_close_io(struct shim *s, struct ttrpc_call *call, const uint8_t *payload, size_t len)
{
	UNPACK(close_io_request, q);
	struct shim_process *p = q ? shim_find_process(s, call, q->id, q->exec_id) : NULL;

	if (p && q->stdin)
		shim_stdio_close_in(&p->io);
	if (p)
		ttrpc_call_reply(call, NULL, 0);
	DROP(q);
}

void shim_connect(struct shim *s, struct ttrpc_call *call, const uint8_t *payload, size_t len)
{
	UNPACK(connect_request, q);
	struct shim_task *t = q ? shim_find(s, q->id) : NULL;
	Task__ConnectResponse resp;
	char version[] = SHIM_VERSION_TEXT;

	task__connect_response__init(&resp);
	resp.shim_pid = (uint32_t)getpid();
	resp.task_pid = t ? shim_process_pid(&t->init) : 0;
	resp.version = version;
	if (q)
		ttrpc_call_reply_message(call, &resp.base);
	DROP(q);
}

static void end(void *arg)
{
	struct shim *s = arg;

	loop_stop(s->loop);
}

void shim_shutdown(struct shim *s, struct ttrpc_call *call, const uint8_t *payload, size_t len)
{
	UNPACK(shutdown_request, q);

	if (!q)
		return;
	ttrpc_call_reply(call, NULL, 0);
	if (!s->tasks || q->now) {
		s->shutdown = true;
		if (publisher_empty(s->publisher) || q->now)
			end(s);
		else
			publisher_on_empty(s->publisher, end, s);
	}
	DROP(q);
}

void shim_checkpoint(struct shim *s, struct ttrpc_call *call, const uint8_t *payload, size_t len)
{
	(void)s;
	(void)payload;
	(void)len;
	ttrpc_call_fail(call, TTRPC_UNIMPLEMENTED, "Checkpoint: not implemented");
}
