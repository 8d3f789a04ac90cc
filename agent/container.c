// SPDX-License-Identifier: Apache-2.0
// Containers: from Create to Delete. A container's process waits after its set-up until Start.
#include "agent/container.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/cgroup.h"
#include "agent/mounts.h"
#include "agent/namespaces.h"
#include "agent/shared.h"
#include "base/err.h"
#include "base/io.h"
#include "base/loop.h"
#include "base/own.h"
#include "oci/oci.h"
#include "proto/agent.pb-c.h"
#include "proto/ttrpc.h"

// ---- life
struct container *container_find(struct agent *a, const char *id)
{
	for (struct container *c = a->containers; c; c = c->next)
		if (strcmp(c->id, id) == 0)
			return c;
	return NULL;
}

struct process *container_process(struct container *c, const char *exec_id)
{
	struct process *p = *exec_id ? c->execs : &c->init;

	while (*exec_id && p && strcmp(p->exec_id, exec_id) != 0)
		p = p->next;
	return p;
}

void container_remove_exec(struct process *p)
{
	struct process **at = &p->container->execs;

	while (*at && *at != p)
		at = &(*at)->next;
	if (*at)
		*at = p->next;
	process_done(p);
	free(p);
}

static void container_free(struct container *c)
{
	struct container **at = &c->a->containers;

	while (*at && *at != c)
		at = &(*at)->next;
	if (*at)
		*at = c->next;
	while (c->execs)
		container_remove_exec(c->execs);
	process_done(&c->init);
	if (c->cgroup)
		cgroup_end(c->cgroup, NULL, NULL);
	oci_config_free(c->config);
	free(c->bundle);
	free(c->id);
	free(c);
}

static void reply_empty(struct ttrpc_call *call)
{
	ttrpc_call_reply(call, NULL, 0);
}

// Of the processes that Exec added: is one's end still to be told?
static bool execs_pending(const struct container *c)
{
	for (const struct process *p = c->execs; p; p = p->next)
		if (!process_settled(p))
			return true;
	return false;
}

static void on_group_gone(void *arg)
{
	struct container *c = arg;
	struct ttrpc_call *call = take_ptr(&c->init.deleting);
	struct agent *a = c->a;

	container_free(c);
	guest_release(a); // before the host is told
	reply_empty(call);
}

// The first process's end is told after those of the others, which it has brought about.
void container_settle(struct container *c)
{
	struct process *next;

	for (struct process *p = c->execs; p; p = next) {
		next = p->next;
		if (process_settled(p))
			process_answer_waiters(p);
		if (p->state == PROCESS_STOPPED && p->deleting) {
			reply_empty(take_ptr(&p->deleting));
			container_remove_exec(p);
		}
	}
	if (process_settled(&c->init) && !execs_pending(c))
		process_answer_waiters(&c->init);
	if (c->init.state == PROCESS_STOPPED && c->init.deleting && !c->removing) {
		c->removing = true;
		if (c->cgroup)
			cgroup_end(take_ptr(&c->cgroup), on_group_gone, c);
		else
			on_group_gone(c);
	}
}

static void fail_pending(struct process *p, const struct err *e)
{
	if (p->pending)
		ttrpc_call_fail_err(take_ptr(&p->pending), e);
}

static void end_child(const struct process *p)
{
	if (p->pid <= 0)
		return;
	(void)kill(p->pid, SIGKILL);    // it may have ended by itself
	(void)waitpid(p->pid, NULL, 0); // killed: this does not wait long
}

// Create or Exec came to nothing: nothing stays.
static void abandon(struct process *p, const struct err *e)
{
	fail_pending(p, e);
	streams_discard(p->a->streams, p->stream);
	end_child(p);
	if (p->exec_id)
		container_remove_exec(p);
	else
		container_free(p->container);
}

void container_process_failed(struct process *p, const struct err *e)
{
	if (p->exec_id || p->state == PROCESS_CREATING)
		abandon(p, e);
	else
		fail_pending(p, e); // a Start: the process ends by itself, and is then stopped
}

static void reply_pid(struct process *p)
{
	Agent__CreateResponse resp; // ExecResponse has the same form
	uint8_t buf[32];

	agent__create_response__init(&resp);
	resp.pid = (uint32_t)p->pid;
	ttrpc_call_reply(take_ptr(&p->pending), buf, agent__create_response__pack(&resp, buf));
}

void container_process_ready(struct process *p)
{
	if (p->state != PROCESS_CREATING)
		return; // an exec: it goes on to execve by itself
	p->state = PROCESS_CREATED;
	reply_pid(p);
}

void container_process_runs(struct process *p)
{
	if (!p->pending)
		return;
	if (p->exec_id)
		reply_pid(p);
	else
		reply_empty(take_ptr(&p->pending));
}

// ---- create
static int launch(struct container *c, struct err *e)
{
	struct process *p = &c->init;
	const struct oci_linux *l = &c->config->lin;
	struct userns_aid aid = { -1, -1 };
	const struct child_orders orders = { c->config, c->id, c->bundle, &aid };
	int fds[3] = { -1, -1, -1 }, ctl = -1;
	uint32_t owner;
	int r = userns_uid(l, c->config->process.uid, &owner, "process.user.uid", e);

	r = r < 0 ? r : process_stdio(p, owner, fds, &ctl, e);
	r = r < 0 ? r : userns_aid_make(c->config, &aid, e);
	if (r == 0) {
		// The kernel makes the user namespace first, and the others are its own.
		r = p->pid = shared_clone(c, l->ns[OCI_NS_USER].present ? CLONE_NEWUSER : 0, e);
		if (r == 0) {
			close_fd(p->ctl); // its end must be seen
			child_main(&orders, ctl, fds);
		}
	}
	for (unsigned i = 0; i < 3; i++)
		close_fd(fds[i]);
	close_fd(ctl);
	userns_aid_close(&aid);
	if (r >= 0 && c->cgroup)
		r = cgroup_enter(c->cgroup, p->pid, e);
	if (r == 0 && c->cgroup && l->ns[OCI_NS_CGROUP].present && mounts_group_writable(c->config))
		r = cgroup_give(c->cgroup, owner, e);
	r = r < 0 ? r : userns_write_maps(l, p->pid, e);
	r = r < 0 ? r : running_from_outside(&c->config->process, p->pid, e);
	r = r < 0 ? r : process_watch(p, e);
	if (r == 0)
		r = io_write_full(p->ctl, "g", 1) < 0
			    ? err_set(e, ECHILD, "the container's process ended at once")
			    : 0;
	return r;
}

static void begin(struct container *c)
{
	char path[CGROUP_PATH_BYTES];
	struct err e;
	int r = 0;

	if (c->a->guest) {
		r = cgroup_path(c->config->lin.cgroups_path, c->id, path, &e);
		r = r < 0 ? r
			  : cgroup_new(c->a->cgroups, path, c, &c->config->lin.resources,
				       &c->cgroup, &e);
	}
	r = r < 0 ? r : launch(c, &e);
	if (r < 0)
		abandon(&c->init, &e);
}

void containers_attach(void *agent)
{
	struct agent *a = agent;

	for (struct container *c = a->containers; c; c = c->next) {
		process_attach(&c->init);
		for (struct process *p = c->execs; p; p = p->next)
			process_attach(p);
	}
}

static struct container *container_new(struct agent *a, const Agent__CreateRequest *req,
				       struct err *e)
{
	struct container *c = calloc(1, sizeof(*c));
	int r;

	if (!c || !(c->id = strdup(req->id))) {
		free(c);
		(void)err_errno(e, ENOMEM, "container"); // told by the caller
		return NULL;
	}
	c->a = a;
	c->bundle = strdup(req->bundle); // NULL without memory: a hook's state is then without it
	process_init(&c->init, a, c,
		     (uint32_t[3]){ req->stdin_stream, req->stdout_stream, req->stderr_stream },
		     false);
	r = oci_config_parse((const char *)req->config.data, req->config.len, &c->config, e);
	c->init.terminal = r == 0 && c->config->process.terminal;
	r = r < 0 ? r : config_supported(c->config, e);
	r = r < 0 ? r : shared_take(c, req, e);
	r = r < 0 ? r : guest_prepare(a, e);
	if (r < 0) {
		container_free(c);
		return NULL;
	}
	c->next = a->containers;
	a->containers = c;
	return c;
}

static bool id_ok(const char *id)
{
	return *id && strlen(id) <= 1024 && !strchr(id, '/') && strcmp(id, ".") != 0 &&
	       strcmp(id, "..") != 0;
}

void containers_create(struct agent *a, struct ttrpc_call *call, const uint8_t *payload, size_t len)
{
	Agent__CreateRequest *req = agent__create_request__unpack(NULL, len, payload);
	struct container *c;
	struct err e = { 0 };
	unsigned n = 0;

	for (c = a->containers; c; c = c->next)
		n++;
	if (!req || !id_ok(req->id)) {
		ttrpc_call_fail(call, TTRPC_INVALID_ARGUMENT, "create: bad request");
	} else if (container_find(a, req->id)) {
		ttrpc_call_fail(call, TTRPC_ALREADY_EXISTS,
				"container with given ID already exists");
	} else if (n >= AGENT_CONTAINERS_MAX) {
		ttrpc_call_fail(call, TTRPC_RESOURCE_EXHAUSTED, "more than %d containers in a pod",
				AGENT_CONTAINERS_MAX);
	} else if (!(c = container_new(a, req, &e))) {
		ttrpc_call_fail_err(call, &e);
	} else {
		c->init.pending = call;
		streams_on_arrival(a->streams, containers_attach, a);
		begin(c);
	}
	if (req && !c)
		streams_discard(a->streams, (uint32_t[3]){ req->stdin_stream, req->stdout_stream,
							   req->stderr_stream });
	if (req)
		agent__create_request__free_unpacked(req, NULL);
}

// ---- the other requests
// The process that a request names, or NULL and the call is answered.
static struct process *find_process(struct agent *a, struct ttrpc_call *call, const char *id,
				    const char *exec_id)
{
	struct container *c = container_find(a, id);
	struct process *p = c ? container_process(c, exec_id) : NULL;

	if (!p)
		ttrpc_call_fail(call, TTRPC_NOT_FOUND,
				c ? "process does not exist" : "container does not exist");
	return p;
}

void containers_start(struct agent *a, struct ttrpc_call *call, const uint8_t *payload, size_t len)
{
	Agent__StartRequest *req = agent__start_request__unpack(NULL, len, payload);
	struct process *p = find_process(a, call, req ? req->id : "", "");

	if (!p) {
		// answered
	} else if (p->state != PROCESS_CREATED) {
		ttrpc_call_fail(call, TTRPC_FAILED_PRECONDITION,
				p->state == PROCESS_STOPPED
					? "cannot start a container that has stopped"
					: "cannot start an already running container");
	} else {
		p->state = PROCESS_STARTING;
		p->pending = call;
		(void)io_write_full(p->ctl, "s", 1); // a child that has gone is seen by its end
	}
	if (req)
		agent__start_request__free_unpacked(req, NULL);
}

static void on_signalled(void *arg, int r)
{
	if (r < 0)
		ttrpc_call_fail(arg, ttrpc_errno_code(-r), "kill: %s", strerror(-r));
	else
		reply_empty(arg);
}

void containers_kill(struct agent *a, struct ttrpc_call *call, const uint8_t *payload, size_t len)
{
	Agent__KillRequest *req = agent__kill_request__unpack(NULL, len, payload);
	struct process *p = find_process(a, call, req ? req->id : "", req ? req->exec_id : "");

	if (!p) {
		// answered
	} else if (p->state == PROCESS_STOPPED || p->pid <= 0) {
		ttrpc_call_fail(call, TTRPC_NOT_FOUND,
				p->exec_id ? "process already finished" : "container not running");
	} else if (req->signal >= (uint32_t)NSIG) {
		ttrpc_call_fail(call, TTRPC_INVALID_ARGUMENT, "unknown signal %u", req->signal);
	} else {
		if (req->all && !p->exec_id && p->container->cgroup)
			cgroup_signal(p->container->cgroup, (int)req->signal, on_signalled, call);
		else
			on_signalled(call, kill(p->pid, (int)req->signal) < 0 ? -errno : 0);
	}
	if (req)
		agent__kill_request__free_unpacked(req, NULL);
}

void containers_wait(struct agent *a, struct ttrpc_call *call, const uint8_t *payload, size_t len)
{
	Agent__WaitRequest *req = agent__wait_request__unpack(NULL, len, payload);
	struct process *p = find_process(a, call, req ? req->id : "", req ? req->exec_id : "");

	if (!p) {
		// answered
	} else if (p->n_waiters == PROCESS_WAITERS_MAX) {
		ttrpc_call_fail(call, TTRPC_RESOURCE_EXHAUSTED, "more than %d waiters",
				PROCESS_WAITERS_MAX);
	} else {
		p->waiters[p->n_waiters++] = call;
		container_settle(p->container);
	}
	if (req)
		agent__wait_request__free_unpacked(req, NULL);
}

// Kills what still runs. The end answers the call.
static void delete_process(struct process *p)
{
	struct container *c = p->container;

	if (p->state != PROCESS_STOPPED) {
		if (!p->exec_id && c->cgroup)
			cgroup_kill(c->cgroup);
		if (p->pid > 0)
			(void)kill(p->pid, SIGKILL); // it may just have ended
	}
	process_drop_streams(p);
	container_settle(c);
}

void containers_delete(struct agent *a, struct ttrpc_call *call, const uint8_t *payload, size_t len)
{
	Agent__DeleteRequest *req = agent__delete_request__unpack(NULL, len, payload);
	struct process *p = find_process(a, call, req ? req->id : "", req ? req->exec_id : "");

	if (!p) {
		// answered
	} else if (p->deleting || p->state == PROCESS_CREATING) {
		ttrpc_call_fail(call, TTRPC_FAILED_PRECONDITION, "container is being %s",
				p->deleting ? "deleted" : "created");
	} else {
		p->deleting = call;
		delete_process(p);
	}
	if (req)
		agent__delete_request__free_unpacked(req, NULL);
}

void containers_resize(struct agent *a, struct ttrpc_call *call, const uint8_t *payload, size_t len)
{
	Agent__ResizeRequest *req = agent__resize_request__unpack(NULL, len, payload);
	struct process *p = find_process(a, call, req ? req->id : "", req ? req->exec_id : "");

	if (p && (req->width > UINT16_MAX || req->height > UINT16_MAX)) {
		ttrpc_call_fail(call, TTRPC_INVALID_ARGUMENT, "terminal size %ux%u", req->width,
				req->height);
	} else if (p) {
		(void)process_resize(p, req->width,
				     req->height); // without a terminal: nothing to size
		reply_empty(call);
	}
	if (req)
		agent__resize_request__free_unpacked(req, NULL);
}

void containers_close_stdin(struct agent *a, struct ttrpc_call *call, const uint8_t *payload,
			    size_t len)
{
	Agent__CloseStdinRequest *req = agent__close_stdin_request__unpack(NULL, len, payload);
	struct process *p = find_process(a, call, req ? req->id : "", req ? req->exec_id : "");

	if (p) {
		if (p->relay[0])
			relay_finish(p->relay[0]);
		else
			close_fd(take_fd(&p->pipe[0]));
		reply_empty(call);
	}
	if (req)
		agent__close_stdin_request__free_unpacked(req, NULL);
}

// ---- the end of processes
static struct process *by_pid(struct agent *a, pid_t pid)
{
	for (struct container *c = a->containers; c; c = c->next) {
		if (c->init.pid == pid)
			return &c->init;
		for (struct process *p = c->execs; p; p = p->next)
			if (p->pid == pid)
				return p;
	}
	return NULL;
}

void containers_reap(struct agent *a)
{
	for (;;) {
		int status;
		pid_t pid = waitpid(-1, &status, WNOHANG);
		struct process *p;

		if (pid <= 0)
			return;
		// What it had to say about its way to execve is in its channel.
		while ((p = by_pid(a, pid)) && p->state == PROCESS_STARTING && p->ctl_source)
			process_hear(p);
		if (!p) // an orphan
			continue;
		if (p->state == PROCESS_CREATING) { // its report, or the channel's end, says why
			p->status = status;
			p->pid = 0;
			continue;
		}
		if (p->container->cgroup)
			cgroup_check(
				p->container->cgroup); // why it died is told before that it did
		process_ended(p, status);
		p->pid = 0; // the kernel gives the number to others
		if (!p->exec_id && p->container->cgroup)
			cgroup_kill(p->container->cgroup); // the rest goes with its init
		container_settle(p->container);
	}
}
