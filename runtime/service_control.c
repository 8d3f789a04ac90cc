// SPDX-License-Identifier: Apache-2.0
// The calls about a running container as a whole: pause, resume, update, stats, its processes, and what happens to it.
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/own.h"
#include "oci/oci.h"
#include "proto/agent.pb-c.h"
#include "runtime/metrics.h"
#include "runtime/service_priv.h"

enum {
	AGENT_CONTROL_MS = 10000, // the agent's own deadline for a pause is shorter
	EVENT_WAITERS_MAX = 64,   // of one container
	EVENT_WAIT_MS_MAX = 600000,
	PROCESSES_MAX = 8192,
	COMMAND_BYTES_MAX = 1024,
};

// A call of ours that waits for one of the agent's.
struct asked {
	struct service *service;
	struct ttrpc_call *call;
	uint64_t serial;           // of the container's first process
	struct oci_update *update; // owned; of Update: the host's part comes after the guest's
	// The container may be gone: then t is NULL. Answers the call.
	void (*done)(struct task *t, struct ttrpc_call *call, const uint8_t *payload, size_t len);
};

static struct task *task_of(const struct service *s, uint64_t serial)
{
	struct task *t = s->tasks;

	while (t && t->init.serial != serial)
		t = t->next;
	return t;
}

static void asked_free(struct asked *a)
{
	oci_update_free(a->update);
	free(a);
}

// A container of somebody else's pod has its limits in the guest alone.
static int update_host(const struct asked *a, struct err *e)
{
	const struct task *t = task_of(a->service, a->serial);

	if (!a->update || !t || strcmp(t->id, pod_id(a->service->pod)) != 0)
		return 0;
	return pod_update(a->service->pod, &a->update->r, e);
}

static void on_answer(void *arg, int code, const char *message, const uint8_t *payload, size_t len)
{
	struct asked *a = arg;
	struct err e;

	if (code == TTRPC_OK && update_host(a, &e) < 0)
		ttrpc_call_fail_err(a->call, &e);
	else if (code == TTRPC_OK)
		a->done(task_of(a->service, a->serial), a->call, payload, len);
	else if (code == TTRPC_UNAVAILABLE)
		ttrpc_call_fail(a->call, TTRPC_FAILED_PRECONDITION, "container not running");
	else if (code == TTRPC_DEADLINE_EXCEEDED && !*message)
		ttrpc_call_fail(a->call, TTRPC_DEADLINE_EXCEEDED,
				"the guest did not answer in time");
	else
		ttrpc_call_fail(a->call, (enum ttrpc_code)code, "%s", message);
	asked_free(a);
}

static void ask_update(struct task *t, struct ttrpc_call *call, struct oci_update *update,
		       const char *method, const struct ProtobufCMessage *msg,
		       void (*done)(struct task *t, struct ttrpc_call *call, const uint8_t *payload,
				    size_t len))
{
	struct asked *a = malloc(sizeof(*a));
	struct err e;

	if (!a) {
		oci_update_free(update);
		ttrpc_call_fail(call, TTRPC_RESOURCE_EXHAUSTED, "out of memory");
		return;
	}
	*a = (struct asked){ t->service, call, t->init.serial, update, done };
	if (pod_call(t->service->pod, method, msg, AGENT_CONTROL_MS, on_answer, a, &e) < 0) {
		asked_free(a);
		ttrpc_call_fail(call, TTRPC_FAILED_PRECONDITION, "%s", e.msg);
	}
}

static void
ask(struct task *t, struct ttrpc_call *call, const char *method, const struct ProtobufCMessage *msg,
    void (*done)(struct task *t, struct ttrpc_call *call, const uint8_t *payload, size_t len))
{
	ask_update(t, call, NULL, method, msg, done);
}

// The container that a call names, if it has processes; or NULL, and the call is answered: `stopped` if it has none.
static struct task *find_live(struct service *s, struct ttrpc_call *call, const char *id,
			      const char *stopped)
{
	struct task *t = service_find(s, id);

	if (t && (t->init.state == PROCESS_CREATED || t->init.state == PROCESS_RUNNING))
		return t;
	ttrpc_call_fail(call, t ? TTRPC_FAILED_PRECONDITION : TTRPC_NOT_FOUND, "%s",
			t ? stopped : "container does not exist");
	return NULL;
}

// ---- pause, resume, update
static void done_pause(struct task *t, struct ttrpc_call *call, const uint8_t *payload, size_t len)
{
	(void)payload;
	(void)len;
	if (t)
		t->paused = true;
	ttrpc_call_reply(call, NULL, 0);
}

static void done_resume(struct task *t, struct ttrpc_call *call, const uint8_t *payload, size_t len)
{
	(void)payload;
	(void)len;
	if (t)
		t->paused = false;
	ttrpc_call_reply(call, NULL, 0);
}

void service_pause(struct service *s, struct ttrpc_call *call, const Task__PauseRequest *q)
{
	struct task *t = find_live(s, call, q->id, "container not running");
	Agent__PauseRequest a;

	if (t && t->paused) {
		ttrpc_call_fail(call, TTRPC_FAILED_PRECONDITION, "container not running");
	} else if (t) {
		agent__pause_request__init(&a);
		a.id = t->id;
		ask(t, call, "Pause", &a.base, done_pause);
	}
}

void service_resume(struct service *s, struct ttrpc_call *call, const Task__ResumeRequest *q)
{
	struct task *t = find_live(s, call, q->id, "container not paused");
	Agent__ResumeRequest a;

	if (t && !t->paused) {
		ttrpc_call_fail(call, TTRPC_FAILED_PRECONDITION, "container not paused");
	} else if (t) {
		agent__resume_request__init(&a);
		a.id = t->id;
		ask(t, call, "Resume", &a.base, done_resume);
	}
}

static void done_empty(struct task *t, struct ttrpc_call *call, const uint8_t *payload, size_t len)
{
	(void)t;
	(void)payload;
	(void)len;
	ttrpc_call_reply(call, NULL, 0);
}

static bool any_is(const Task__Any *any, const char *name)
{
	const char *slash = any ? strrchr(any->type_url, '/') : NULL;

	return any && strcmp(slash ? slash + 1 : any->type_url, name) == 0;
}

// A limit that the guest has not the memory for limits nothing: whoever sets it expects more than there is.
static int check_memory(const struct service *s, const struct oci_resources *res, struct err *e)
{
	uint64_t total = pod_memory_total(s->pod);
	int64_t limit = res->memory_limit.set ? res->memory_limit.v : 0;

	if (limit <= 0 || (uint64_t)limit <= total + total / 50)
		return 0;
	return err_set(e, EINVAL,
		       "memory.limit: %" PRId64 " bytes are more than the guest has (%" PRIu64 ")",
		       limit, total);
}

static int parse_update(const Task__UpdateRequest *q, struct oci_update **ret, struct err *e)
{

	if (!any_is(q->resources, "LinuxResources"))
		return err_set(e, EINVAL, "update: resources of type \"%.80s\"",
			       q->resources ? q->resources->type_url : "");
	return oci_update_parse((const char *)q->resources->value.data, q->resources->value.len,
				ret, e);
}

void service_update(struct service *s, struct ttrpc_call *call, const Task__UpdateRequest *q)
{
	struct task *t = find_live(s, call, q->id, "container not running");
	struct oci_update *u = NULL;
	Agent__UpdateRequest a;
	struct err e;

	if (!t) {
		// answered
	} else if (parse_update(q, &u, &e) < 0 || check_memory(s, &u->r, &e) < 0) {
		oci_update_free(u);
		ttrpc_call_fail_err(call, &e);
	} else {
		agent__update_request__init(&a);
		a.id = t->id;
		a.resources = q->resources->value;
		ask_update(t, call, u, "Update", &a.base, done_empty);
	}
}

// ---- stats
static void done_stats(struct task *t, struct ttrpc_call *call, const uint8_t *payload, size_t len)
{
	Agent__StatsResponse *resp = agent__stats_response__unpack(NULL, len, payload);
	char type[] = "io.containerd.cgroups.v2.Metrics";
	uint8_t *packed AUTO_FREE = NULL;
	Metrics__Metrics *m = NULL;
	Task__StatsResponse out;
	Task__Any any;
	struct err e = { .code = EPROTO, .msg = "the guest's stats make no sense" };

	(void)t;
	if (resp && metrics_read(resp->metrics.data, resp->metrics.len, &m, &e) == 0)
		packed = malloc(metrics__metrics__get_packed_size(m) + 1);
	if (packed) { // packed anew: nothing unknown gets through
		task__any__init(&any);
		task__stats_response__init(&out);
		any.type_url = type;
		any.value.data = packed;
		any.value.len = metrics__metrics__pack(m, packed);
		out.stats = &any;
		ttrpc_call_reply_message(call, &out.base);
	} else {
		ttrpc_call_fail_err(call, &e);
	}
	if (m)
		metrics__metrics__free_unpacked(m, NULL);
	if (resp)
		agent__stats_response__free_unpacked(resp, NULL);
}

void service_stats(struct service *s, struct ttrpc_call *call, const Task__StatsRequest *q)
{
	struct task *t = find_live(s, call, q->id, "container not running");
	Agent__StatsRequest a;

	if (!t)
		return;
	agent__stats_request__init(&a);
	a.id = t->id;
	ask(t, call, "Stats", &a.base, done_stats);
}

// ---- processes
// Of the host: callers look them up there. The proxies stand for what runs in the guest.
void service_pids(struct service *s, struct ttrpc_call *call, const Task__PidsRequest *q)
{
	struct task *t = service_find(s, q->id);
	struct pid_entry {
		Task__ProcessInfo info;
		Task__Any any;
		uint8_t details[300]; // an exec id has at most 255 bytes
	} *v AUTO_FREE = NULL;
	Task__ProcessInfo **list AUTO_FREE = NULL;
	char type[] = "containerd.runc.v1.ProcessDetails";
	Task__PidsResponse resp;
	size_t n = 1;

	if (!t) {
		ttrpc_call_fail(call, TTRPC_NOT_FOUND, "container does not exist");
		return;
	}
	for (const struct process *p = t->execs; p; p = p->next)
		n++;
	v = calloc(n, sizeof(*v));
	list = calloc(n, sizeof(*list));
	if (!v || !list) {
		ttrpc_call_fail(call, TTRPC_RESOURCE_EXHAUSTED, "out of memory");
		return;
	}
	task__pids_response__init(&resp);
	resp.processes = list;
	for (struct process *p = &t->init; p; p = p->exec_id ? p->next : t->execs) {
		struct pid_entry *d = &v[resp.n_processes];
		Task__ProcessDetails details;

		if (p->state == PROCESS_STOPPED || p->proxy.pid == 0)
			continue;
		task__process_info__init(&d->info);
		d->info.pid = (uint32_t)p->proxy.pid;
		if (p->exec_id) {
			task__process_details__init(&details);
			details.exec_id = p->exec_id;
			task__any__init(&d->any);
			d->any.type_url = type;
			d->any.value.data = d->details;
			d->any.value.len = task__process_details__pack(&details, d->details);
			d->info.info = &d->any;
		}
		list[resp.n_processes++] = &d->info;
	}
	ttrpc_call_reply_message(call, &resp.base);
}

// What a guest calls its processes goes to terminals.
static void make_printable(char *text)
{
	for (; *text; text++)
		if (*text < ' ' || *text > '~')
			*text = '?';
}

static uint32_t inner_pid(const Agent__PidsResponse *resp, uint32_t pid)
{
	for (size_t i = 0; i < resp->n_processes; i++)
		if (resp->processes[i]->pid == pid)
			return resp->processes[i]->inner_pid;
	return 0;
}

static bool processes_ok(const Agent__PidsResponse *resp)
{
	if (resp->n_processes > PROCESSES_MAX)
		return false;
	for (size_t i = 0; i < resp->n_processes; i++)
		if (strlen(resp->processes[i]->command) > COMMAND_BYTES_MAX ||
		    strlen(resp->processes[i]->exec_id) > COMMAND_BYTES_MAX)
			return false;
	return true;
}

static void reply_processes(struct ttrpc_call *call, const Agent__PidsResponse *resp)
{
	Task__ProcessesResponse__Process *v AUTO_FREE = calloc(resp->n_processes + 1, sizeof(*v));
	Task__ProcessesResponse__Process **list AUTO_FREE =
		calloc(resp->n_processes + 1, sizeof(*list));
	Task__ProcessesResponse out;

	if (!v || !list) {
		ttrpc_call_fail(call, TTRPC_RESOURCE_EXHAUSTED, "out of memory");
		return;
	}
	task__processes_response__init(&out);
	out.processes = list;
	for (size_t i = 0; i < resp->n_processes; i++) {
		const Agent__PidsResponse__Process *from = resp->processes[i];

		task__processes_response__process__init(&v[i]);
		make_printable(from->command);
		make_printable(from->exec_id);
		v[i].uid = from->uid;
		v[i].pid = from->inner_pid;
		v[i].parent = inner_pid(resp, from->parent);
		v[i].cpu_usec = from->cpu_usec;
		v[i].command = from->command;
		v[i].exec_id = from->exec_id;
		list[out.n_processes++] = &v[i];
	}
	ttrpc_call_reply_message(call, &out.base);
}

static void done_processes(struct task *t, struct ttrpc_call *call, const uint8_t *payload,
			   size_t len)
{
	Agent__PidsResponse *resp = agent__pids_response__unpack(NULL, len, payload);

	(void)t;
	if (resp && processes_ok(resp))
		reply_processes(call, resp);
	else
		ttrpc_call_fail(call, TTRPC_INTERNAL, "the guest's processes make no sense");
	if (resp)
		agent__pids_response__free_unpacked(resp, NULL);
}

void service_processes(struct service *s, struct ttrpc_call *call, const Task__ProcessesRequest *q)
{
	struct task *t = find_live(s, call, q->id, "container not running");
	Agent__PidsRequest a;

	if (!t)
		return;
	agent__pids_request__init(&a);
	a.id = t->id;
	ask(t, call, "Pids", &a.base, done_processes);
}

// ---- events
struct event_waiter {
	struct event_waiter *next;
	struct task *task;
	struct ttrpc_call *call;
	uint32_t seen;
	struct loop_source *timer;
};

static void answer_event(const struct task *t, struct ttrpc_call *call)
{
	Task__EventResponse resp;

	task__event_response__init(&resp);
	resp.oom = t->oom;
	resp.stopped = t->init.state == PROCESS_STOPPED;
	ttrpc_call_reply_message(call, &resp.base);
}

static void waiter_end(struct event_waiter *w)
{
	struct event_waiter **at = &w->task->event_waiters;

	while (*at != w)
		at = &(*at)->next;
	*at = w->next;
	answer_event(w->task, w->call);
	loop_remove(w->timer);
	free(w);
}

static void on_event_timer(void *arg)
{
	waiter_end(arg);
}

void service_event(struct service *s, struct ttrpc_call *call, const Task__EventRequest *q)
{
	struct task *t = service_find(s, q->id);
	uint32_t wait_ms = q->wait_ms < EVENT_WAIT_MS_MAX ? q->wait_ms : EVENT_WAIT_MS_MAX;
	struct event_waiter *w;
	unsigned n = 0;

	if (!t) {
		ttrpc_call_fail(call, TTRPC_NOT_FOUND, "container does not exist");
		return;
	}
	if (t->oom > q->seen_oom || t->init.state == PROCESS_STOPPED) {
		answer_event(t, call);
		return;
	}
	for (w = t->event_waiters; w; w = w->next)
		n++;
	w = n < EVENT_WAITERS_MAX ? calloc(1, sizeof(*w)) : NULL;
	if (!w || loop_add_timer(s->loop, "event", (int)wait_ms, on_event_timer, w, &w->timer,
				 NULL) < 0) {
		free(w);
		ttrpc_call_fail(call, TTRPC_RESOURCE_EXHAUSTED, "too many callers wait");
		return;
	}
	w->task = t;
	w->call = call;
	w->seen = q->seen_oom;
	w->next = t->event_waiters;
	t->event_waiters = w;
}

void service_tell_events(struct task *t)
{
	for (struct event_waiter *w = t->event_waiters, *next; w; w = next) {
		next = w->next;
		if (t->oom > w->seen || t->init.state == PROCESS_STOPPED)
			waiter_end(w);
	}
}

void service_drop_events(struct task *t)
{
	while (t->event_waiters)
		waiter_end(t->event_waiters);
}

static void on_event(void *arg, int code, const char *message, const uint8_t *payload, size_t len)
{
	struct service *s = arg;
	Agent__EventResponse *resp =
		code == TTRPC_OK ? agent__event_response__unpack(NULL, len, payload) : NULL;
	struct task *t = resp && resp->kind == AGENT__EVENT_RESPONSE__KIND__OOM
				 ? service_find(s, resp->id)
				 : NULL;

	if (t && t->oom < UINT32_MAX) {
		log_info("container %s: out of memory, a process was killed", t->id);
		t->oom++;
		service_tell_events(t);
	}
	if (resp) {
		agent__event_response__free_unpacked(resp, NULL);
		service_await_events(s);
	} else if (code != TTRPC_UNAVAILABLE) { // a guest that tells nothing is still a guest
		log_error("events of the guest: %s", code == TTRPC_OK ? "malformed" : message);
	}
}

void service_await_events(struct service *s)
{
	Agent__EventRequest a;
	struct err e;

	agent__event_request__init(&a);
	if (pod_call(s->pod, "Event", &a.base, -1, on_event, s, &e) < 0)
		log_error("events of the guest: %s", e.msg);
}
