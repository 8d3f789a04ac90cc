// SPDX-License-Identifier: Apache-2.0
// Containers: from Create to Delete. A container's process waits after its set-up until Start.
#include "agent/agent.h"

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

#include "base/err.h"
#include "base/io.h"
#include "base/loop.h"
#include "base/own.h"
#include "oci/oci.h"
#include "proto/agent.pb-c.h"
#include "proto/ttrpc.h"

enum { WAITERS_MAX = 16 };
enum state { STATE_CREATING, STATE_CREATED, STATE_STARTING, STATE_RUNNING, STATE_STOPPED };

struct container {
	struct agent *a;
	struct container *next;
	char *id;
	struct oci_config *config;
	enum state state;
	uint32_t stream[3]; // ids; 0: /dev/null
	int pipe[3];        // owned: our end until its stream has come
	pid_t pid;
	int ctl; // owned; to the child until execve
	struct loop_source *ctl_source;
	struct relay *relay[3];
	struct ttrpc_call *pending; // Create or Start under way
	struct ttrpc_call *waiters[WAITERS_MAX], *deleting;
	unsigned n_waiters;
	int status; // of waitpid
	bool has_cgroup;
};

// ---- life
static struct container *find(struct agent *a, const char *id)
{
	for (struct container *c = a->containers; c; c = c->next)
		if (strcmp(c->id, id) == 0)
			return c;
	return NULL;
}

static void container_free(struct container *c)
{
	struct container **at = &c->a->containers;

	while (*at && *at != c)
		at = &(*at)->next;
	if (*at)
		*at = c->next;
	for (unsigned i = 0; i < 3; i++) {
		relay_free(c->relay[i]);
		close_fd(c->pipe[i]);
	}
	loop_remove(c->ctl_source);
	close_fd(c->ctl);
	if (c->has_cgroup)
		cgroup_remove(c->id);
	oci_config_free(c->config);
	free(c->id);
	free(c);
}

static void reply_empty(struct ttrpc_call *call)
{
	ttrpc_call_reply(call, NULL, 0);
}

static void reply_exit(struct container *c, struct ttrpc_call *call)
{
	Agent__WaitResponse r;
	uint8_t buf[32];

	agent__wait_response__init(&r);
	r.exit_status = WIFSIGNALED(c->status) ? 128 + (uint32_t)WTERMSIG(c->status)
					       : (uint32_t)WEXITSTATUS(c->status);
	ttrpc_call_reply(call, buf, agent__wait_response__pack(&r, buf));
}

// Waiters are answered when the process has ended and its output is with the host.
static void settle(struct container *c)
{
	if (c->state != STATE_STOPPED)
		return;
	if (!c->relay[1] && !c->relay[2]) {
		for (unsigned i = 0; i < c->n_waiters; i++)
			reply_exit(c, c->waiters[i]);
		c->n_waiters = 0;
	}
	if (c->deleting) {
		struct ttrpc_call *call = c->deleting;

		container_free(c);
		reply_empty(call);
	}
}

static void fail_pending(struct container *c, const struct err *e)
{
	struct ttrpc_call *call = c->pending;

	c->pending = NULL;
	if (call)
		ttrpc_call_fail_err(call, e);
}

// Create came to nothing: nothing stays. The process, if there is one, is reaped as a stranger.
static void abandon(struct container *c, const struct err *e)
{
	fail_pending(c, e);
	streams_discard(c->a->streams, c->stream);
	if (c->pid > 0) {
		(void)kill(c->pid, SIGKILL);    // it may have ended by itself
		(void)waitpid(c->pid, NULL, 0); // killed: this does not wait long
	}
	container_free(c);
}

// ---- stdio
static void relay_done0(void *arg)
{
	((struct container *)arg)->relay[0] = NULL;
}

static void relay_done1(void *arg)
{
	((struct container *)arg)->relay[1] = NULL;
	settle(arg);
}

static void relay_done2(void *arg)
{
	((struct container *)arg)->relay[2] = NULL;
	settle(arg);
}

// Joins the pipes with those streams that have come. The host may connect them before Create or after it; until then
// output waits in the pipe.
static void attach_streams(struct container *c)
{
	static void (*const done[3])(void *) = { relay_done0, relay_done1, relay_done2 };

	for (int i = 0; i < 3; i++) {
		int pipe_end, stream;

		if (c->pipe[i] < 0 || !streams_has(c->a->streams, c->stream[i]))
			continue;
		pipe_end = take_fd(&c->pipe[i]);
		stream = streams_take(c->a->streams, c->stream[i]);
		// Without memory the stream just ends.
		(void)relay_new(c->a->loop, i ? pipe_end : stream, i ? stream : pipe_end, done[i],
				c, &c->relay[i], NULL);
	}
}

// Fills fds[i] with the child's end of stream i. Without a stream: /dev/null.
static int make_stdio(struct container *c, int fds[3], struct err *e)
{
	int p[2];

	for (int i = 0; i < 3; i++) {
		if (!c->stream[i]) {
			fds[i] = open("/dev/null", O_RDWR | O_CLOEXEC);
			if (fds[i] < 0)
				return err_errno(e, errno, "/dev/null");
			continue;
		}
		if (pipe2(p, O_CLOEXEC) < 0)
			return err_errno(e, errno, "pipe");
		fds[i] = p[i != 0];
		c->pipe[i] = p[i == 0];
	}
	attach_streams(c);
	return 0;
}

// ---- create
static void on_ctl(void *arg, uint32_t events)
{
	struct container *c = arg;
	struct child_report rep;
	struct err e = { 0 };
	int r = io_read_full(c->ctl, &rep, sizeof(rep));

	(void)events;
	if (r == 0 && rep.code == 0 && c->state == STATE_CREATING) {
		Agent__CreateResponse resp;
		uint8_t buf[32];

		c->state = STATE_CREATED;
		agent__create_response__init(&resp);
		resp.pid = (uint32_t)c->pid;
		ttrpc_call_reply(c->pending, buf, agent__create_response__pack(&resp, buf));
		c->pending = NULL;
		return;
	}
	loop_remove(c->ctl_source);
	c->ctl_source = NULL;
	if (r == 0) { // it failed, and says how
		rep.msg[sizeof(rep.msg) - 1] = '\0';
		(void)err_set(&e, rep.code > 0 ? rep.code : EIO, "%s", rep.msg); // told below
	} else {
		(void)err_set(&e, EPIPE, "the container's process ended before it ran"); // as above
	}
	if (c->state == STATE_CREATING) {
		abandon(c, &e);
	} else if (c->state == STATE_STARTING) {
		close_fd(take_fd(&c->ctl));
		if (r == 0) {
			fail_pending(c, &e); // the process ends by itself: stopped
			return;
		}
		// The end of the stream by close-on-exec: it runs.
		c->state = STATE_RUNNING;
		reply_empty(c->pending);
		c->pending = NULL;
	}
}

static int clone_flags(const struct oci_config *c)
{
	int f = CLONE_NEWNS;

	f |= c->lin.ns[OCI_NS_PID].present ? CLONE_NEWPID : 0;
	f |= c->lin.ns[OCI_NS_IPC].present ? CLONE_NEWIPC : 0;
	f |= c->lin.ns[OCI_NS_UTS].present ? CLONE_NEWUTS : 0;
	return f; // the network is the pod's; the cgroup namespace comes once the process is in its group
}

static int launch(struct container *c, struct err *e)
{
	int fds[3] = { -1, -1, -1 }, pair[2], r;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return err_errno(e, errno, "socketpair");
	c->ctl = pair[0];
	r = make_stdio(c, fds, e);
	if (r == 0) {
		c->pid = (pid_t)syscall(SYS_clone, clone_flags(c->config) | SIGCHLD, 0, NULL, NULL,
					0);
		if (c->pid < 0)
			r = err_errno(e, errno, "linux.namespaces: clone");
		if (c->pid == 0) {
			close_fd(pair[0]); // its end must be seen
			child_main(c->config, pair[1], fds);
		}
	}
	for (unsigned i = 0; i < 3; i++)
		close_fd(fds[i]);
	close_fd(pair[1]);
	if (r == 0 && c->has_cgroup)
		r = cgroup_enter(c->id, c->pid, e);
	r = r < 0 ? r : running_from_outside(&c->config->process, c->pid, e);
	if (r == 0)
		r = loop_add_fd(c->a->loop, "container set-up", c->ctl, EPOLLIN, on_ctl, c,
				&c->ctl_source, e);
	if (r == 0)
		r = io_write_full(c->ctl, "g", 1) < 0
			    ? err_set(e, EPIPE, "the container's process ended at once")
			    : 0;
	return r;
}

static void begin(struct container *c)
{
	struct err e;
	int r = 0;

	if (c->a->guest) {
		r = cgroup_make(c->id, &c->config->lin.resources, &e);
		c->has_cgroup = true; // also half-made: removed with the container
	}
	r = r < 0 ? r : launch(c, &e);
	if (r < 0)
		abandon(c, &e);
}

static void on_arrival(void *arg)
{
	struct agent *a = arg;

	for (struct container *c = a->containers; c; c = c->next)
		attach_streams(c);
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
	c->ctl = c->pipe[0] = c->pipe[1] = c->pipe[2] = -1;
	c->stream[0] = req->stdin_stream;
	c->stream[1] = req->stdout_stream;
	c->stream[2] = req->stderr_stream;
	r = oci_config_parse((const char *)req->config.data, req->config.len, &c->config, e);
	r = r < 0 ? r : config_supported(c->config, e);
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
	} else if (find(a, req->id)) {
		ttrpc_call_fail(call, TTRPC_ALREADY_EXISTS,
				"container with given ID already exists");
	} else if (n >= AGENT_CONTAINERS_MAX) {
		ttrpc_call_fail(call, TTRPC_RESOURCE_EXHAUSTED, "more than %d containers in a pod",
				AGENT_CONTAINERS_MAX);
	} else if (!(c = container_new(a, req, &e))) {
		ttrpc_call_fail_err(call, &e);
	} else {
		c->pending = call;
		streams_on_arrival(a->streams, on_arrival, a);
		begin(c);
	}
	if (req && !c)
		streams_discard(a->streams, (uint32_t[3]){ req->stdin_stream, req->stdout_stream,
							   req->stderr_stream });
	if (req)
		agent__create_request__free_unpacked(req, NULL);
}

// ---- the other requests
void containers_start(struct agent *a, struct ttrpc_call *call, const uint8_t *payload, size_t len)
{
	Agent__StartRequest *req = agent__start_request__unpack(NULL, len, payload);
	struct container *c = req ? find(a, req->id) : NULL;

	if (!c) {
		ttrpc_call_fail(call, TTRPC_NOT_FOUND, "container does not exist");
	} else if (c->state != STATE_CREATED) {
		ttrpc_call_fail(call, TTRPC_FAILED_PRECONDITION,
				c->state == STATE_STOPPED
					? "cannot start a container that has stopped"
					: "cannot start an already running container");
	} else {
		c->state = STATE_STARTING;
		c->pending = call;
		(void)io_write_full(c->ctl, "s",
				    1); // a child that has gone is seen as the end of its stream
	}
	if (req)
		agent__start_request__free_unpacked(req, NULL);
}

void containers_kill(struct agent *a, struct ttrpc_call *call, const uint8_t *payload, size_t len)
{
	Agent__KillRequest *req = agent__kill_request__unpack(NULL, len, payload);
	struct container *c = req ? find(a, req->id) : NULL;
	int r = 0;

	if (!c) {
		ttrpc_call_fail(call, TTRPC_NOT_FOUND, "container does not exist");
	} else if (c->state == STATE_STOPPED || c->pid <= 0) {
		ttrpc_call_fail(call, TTRPC_NOT_FOUND, "container not running");
	} else if (req->signal >= (uint32_t)NSIG) {
		ttrpc_call_fail(call, TTRPC_INVALID_ARGUMENT, "unknown signal %u", req->signal);
	} else {
		if (req->all && c->has_cgroup)
			r = cgroup_signal(c->id, (int)req->signal);
		else if (kill(c->pid, (int)req->signal) < 0)
			r = -errno;
		if (r < 0)
			ttrpc_call_fail(call, ttrpc_errno_code(-r), "kill: %s", strerror(-r));
		else
			reply_empty(call);
	}
	if (req)
		agent__kill_request__free_unpacked(req, NULL);
}

void containers_wait(struct agent *a, struct ttrpc_call *call, const uint8_t *payload, size_t len)
{
	Agent__WaitRequest *req = agent__wait_request__unpack(NULL, len, payload);
	struct container *c = req ? find(a, req->id) : NULL;

	if (!c) {
		ttrpc_call_fail(call, TTRPC_NOT_FOUND, "container does not exist");
	} else if (c->n_waiters == WAITERS_MAX) {
		ttrpc_call_fail(call, TTRPC_RESOURCE_EXHAUSTED, "more than %d waiters",
				WAITERS_MAX);
	} else {
		c->waiters[c->n_waiters++] = call;
		settle(c);
	}
	if (req)
		agent__wait_request__free_unpacked(req, NULL);
}

void containers_delete(struct agent *a, struct ttrpc_call *call, const uint8_t *payload, size_t len)
{
	Agent__DeleteRequest *req = agent__delete_request__unpack(NULL, len, payload);
	struct container *c = req ? find(a, req->id) : NULL;

	if (!c) {
		ttrpc_call_fail(call, TTRPC_NOT_FOUND, "container does not exist");
	} else if (c->deleting || c->state == STATE_CREATING) {
		ttrpc_call_fail(call, TTRPC_FAILED_PRECONDITION, "container is being %s",
				c->deleting ? "deleted" : "created");
	} else {
		c->deleting = call;
		if (c->state != STATE_STOPPED) {
			cgroup_kill(c->id);
			(void)kill(c->pid, SIGKILL); // it may just have ended
		}
		for (unsigned i = 0; i < 3; i++) { // whoever still reads has had the time
			relay_free(c->relay[i]);
			c->relay[i] = NULL;
		}
		settle(c);
	}
	if (req)
		agent__delete_request__free_unpacked(req, NULL);
}

void containers_reap(struct agent *a)
{
	for (;;) {
		int status;
		pid_t pid = waitpid(-1, &status, WNOHANG);
		struct container *c = a->containers;

		if (pid <= 0)
			return;
		while (c && c->pid != pid)
			c = c->next;
		if (!c)
			continue;               // an orphan
		if (c->state == STATE_CREATING) // its report, or the end of its stream, says why
			continue;
		c->status = status;
		c->state = c->state == STATE_STARTING ? STATE_STARTING : STATE_STOPPED;
		if (c->state == STATE_STARTING && c->ctl_source)
			on_ctl(c, 0);
		c->state = STATE_STOPPED;
		if (c->has_cgroup)
			cgroup_kill(c->id); // the rest goes with its init
		relay_free(c->relay[0]);
		c->relay[0] = NULL;
		settle(c);
	}
}
