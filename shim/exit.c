// SPDX-License-Identifier: Apache-2.0
// The end of a process: the supervisor says how, the proxy's own end says that its output has been taken. TaskExit comes
// after both, or two seconds after the first when a reader does not take what there is; never before TaskStart, and the
// first process's never before those of the others.
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/own.h"
#include "proto/shim.pb-c.h"
#include "proto/ttrpc.h"
#include "shim/job.h"
#include "shim/publish.h"
#include "shim/shim.h"
#include "shim/wire.h"

enum { DRAIN_MS = 2000, EXIT_LOST = 255 };

void shim_answer_wait(const struct shim_process *p, struct ttrpc_call *call)
{
	Task__WaitResponse resp;
	Task__Timestamp at;

	task__wait_response__init(&resp);
	task_timestamp(&at, &p->exited_at);
	resp.exit_status = p->exit_status;
	resp.exited_at = &at;
	ttrpc_call_reply_message(call, &resp.base);
}

static void publish_exit(struct shim_process *p)
{
	Shim__TaskExit ev;
	Task__Timestamp at;

	shim__task_exit__init(&ev);
	task_timestamp(&at, &p->exited_at);
	ev.container_id = p->task->id;
	ev.id = *p->exec_id ? p->exec_id : p->task->id;
	ev.pid = (uint32_t)p->proxy;
	ev.exit_status = p->exit_status;
	ev.exited_at = &at;
	publish(p->task->shim->publisher, "/tasks/exit", "TaskExit", &ev.base);
}

static bool drained(const struct shim_process *p)
{
	return p->proxy_gone || p->drain_over;
}

static bool others_live(const struct shim_task *t)
{
	for (const struct shim_process *p = t->execs; p; p = p->next)
		if (p->state == SHIM_RUNNING)
			return true;
	return false;
}

void shim_settle(struct shim_process *p)
{
	if (!p->ended || !drained(p) || p->busy || p->state == SHIM_STOPPED ||
	    (!*p->exec_id && others_live(p->task) && !p->drain_over))
		return;
	p->state = SHIM_STOPPED;
	loop_remove(take_ptr(&p->drain_timer));
	if (p->proxy_gone)
		shim_stdio_close(&p->io);
	publish_exit(p);
	while (p->waiters) {
		struct shim_waiter *w = p->waiters;

		p->waiters = w->next;
		shim_answer_wait(p, w->call);
		free(w);
	}
	if (*p->exec_id)
		shim_settle(&p->task->init);
}

static void on_drain(void *arg)
{
	struct shim_process *p = arg;

	p->drain_over = true;
	shim_settle(p);
}

static void end(struct shim_process *p, uint32_t status, const struct timespec *at)
{
	struct shim_task *t = p->task;

	if (p->ended)
		return;
	p->ended = true;
	p->exit_status = status;
	p->exited_at = *at;
	if (loop_add_timer(t->shim->loop, "drain", DRAIN_MS, on_drain, p, &p->drain_timer, NULL) <
	    0)
		p->drain_over = true;
	shim_settle(p);
}

static void on_wait(void *arg, int code, const char *message, const uint8_t *payload, size_t len)
{
	struct shim_process *p = shim_ref_take(arg);
	Task__WaitResponse *resp =
		code == TTRPC_OK ? task__wait_response__unpack(NULL, len, payload) : NULL;
	struct timespec at;

	(void)message;
	(void)clock_gettime(CLOCK_REALTIME, &at); // cannot fail for this clock
	if (resp && resp->exited_at) {
		at.tv_sec = resp->exited_at->seconds;
		at.tv_nsec = resp->exited_at->nanos;
	}
	if (p)
		end(p, resp ? resp->exit_status : EXIT_LOST, &at); // no answer: its pod is gone
	if (resp)
		task__wait_response__free_unpacked(resp, NULL);
}

int shim_watch(struct shim_process *p, struct err *e)
{
	Task__WaitRequest q;
	void *ref = shim_ref_new(p);
	siginfo_t si;
	int r;

	task__wait_request__init(&q);
	if (!ref)
		return err_errno(e, ENOMEM, "Wait");
	q.id = p->task->id;
	q.exec_id = p->exec_id;
	r = wire_call(p->task, "Wait", &q.base, -1, on_wait, ref, e);
	if (r < 0)
		free(ref);
	// It may have come and gone: then it is nobody's child any more.
	else if (waitid(P_PID, (id_t)p->proxy, &si, WEXITED | WNOHANG | WNOWAIT) < 0)
		p->proxy_gone = true;
	return r;
}

static void proxy_ended(struct shim *s, pid_t pid)
{
	for (struct shim_task *t = s->tasks; t; t = t->next) {
		struct shim_process *p = t->init.proxy == pid ? &t->init : t->execs;

		while (p && p->proxy != pid)
			p = p->next;
		if (!p)
			continue;
		p->proxy_gone = true;
		if (p->state == SHIM_STOPPED)
			shim_stdio_close(&p->io);
		shim_settle(p);
		if (p->delete_call)
			shim_delete_go_on(p);
		return;
	}
}

void shim_reap(struct shim *s)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		if (!job_ended(s, pid, status))
			proxy_ended(s, pid);
}
