// SPDX-License-Identifier: Apache-2.0
// The way to the agent. The VMM refuses a connection while nothing in the guest listens, so the way is tried again until
// the guest has booted; a listening guest answers "OK", and the first call says hello.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

#include "base/err.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/own.h"
#include "proto/agent.pb-c.h"
#include "runtime/pod_priv.h"

enum {
	AGENT_PORT = 1024,
	AGENT_PROTOCOL = 1,
	AGENT_RETRY_MS = 2,
	AGENT_BOOT_MS = 120000, // the soft partition on a busy machine is slow
	AGENT_HELLO_MS = 30000,
};
#define AGENT_SERVICE "bulkhead.agent.v1.Agent"

static void drop_attempt(struct pod *p)
{
	loop_remove(p->agent_src);
	p->agent_src = NULL;
	close_fd(take_fd(&p->agent_fd));
	p->agent_line.len = 0;
}

static void try_later(struct pod *p)
{
	drop_attempt(p);
	(void)loop_timer_set(p->agent_retry, AGENT_RETRY_MS); // a timer of ours: cannot fail
}

static void on_agent_closed(void *arg)
{
	struct pod *p = arg;

	if (!p->stopping)
		pod_kill(p, "the guest's agent has closed its connection");
}

static void on_hello(void *arg, int code, const char *message, const uint8_t *payload, size_t len)
{
	struct pod *p = arg;
	Agent__HelloResponse *resp;

	if (p->gone || p->stopping)
		return;
	if (code != TTRPC_OK) {
		char why[600];

		(void)snprintf(why, sizeof(why), "the guest's agent: hello: %.500s",
			       message); // fits
		pod_kill(p, why);
		return;
	}
	resp = agent__hello_response__unpack(NULL, len, payload);
	if (!resp || resp->protocol != AGENT_PROTOCOL) {
		pod_kill(p, "the guest's agent speaks another protocol");
	} else {
		log_debug("agent %s on Linux %s", resp->version, resp->kernel);
		p->ready = true;
		loop_remove(p->agent_deadline);
		p->agent_deadline = NULL;
		pod_mark(p, "agent ready");
		p->events->ready(p->arg);
	}
	if (resp)
		agent__hello_response__free_unpacked(resp, NULL);
}

static int say_hello(struct pod *p, struct err *e)
{
	Agent__HelloRequest q;
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now); // cannot fail for this clock
	agent__hello_request__init(&q);
	q.protocol = AGENT_PROTOCOL;
	q.clock_seconds = now.tv_sec;
	q.clock_nanos = (uint32_t)now.tv_nsec;
	return pod_call(p, "Hello", &q.base, AGENT_HELLO_MS, on_hello, p, e);
}

static void on_answer(void *arg, uint32_t events)
{
	struct pod *p = arg;
	struct err e = { 0 };
	int fd, r = usock_guest_answer(p->agent_fd, &p->agent_line);

	(void)events;
	if (r == -EAGAIN)
		return;
	if (r < 0) {
		try_later(p);
		return;
	}
	fd = take_fd(&p->agent_fd);
	drop_attempt(p);
	r = ttrpc_client_new(p->loop, fd, on_agent_closed, p, &p->agent, &e);
	if (r == 0)
		r = say_hello(p, &e);
	if (r < 0)
		pod_kill(p, e.msg);
}

static void on_retry(void *arg)
{
	struct pod *p = arg;
	int r;

	p->agent_fd = usock_guest_connect(p->dir, AGENT_PORT, NULL);
	if (p->agent_fd >= 0 && fcntl(p->agent_fd, F_SETFL, O_NONBLOCK) == 0) {
		r = loop_add_fd(p->loop, "agent", p->agent_fd, EPOLLIN, on_answer, p, &p->agent_src,
				NULL);
		if (r == 0)
			return;
	}
	try_later(p);
}

static void on_deadline(void *arg)
{
	pod_kill(arg, "the guest's agent did not answer in time");
}

int pod_agent_begin(struct pod *p, struct err *e)
{
	int r = loop_add_timer(p->loop, "agent retry", 0, on_retry, p, &p->agent_retry, e);

	if (r < 0)
		return r;
	return loop_add_timer(p->loop, "agent deadline", AGENT_BOOT_MS, on_deadline, p,
			      &p->agent_deadline, e);
}

void pod_agent_end(struct pod *p)
{
	struct ttrpc_client *c = take_ptr(&p->agent);

	drop_attempt(p);
	loop_remove(p->agent_retry);
	loop_remove(p->agent_deadline);
	p->agent_retry = p->agent_deadline = NULL;
	ttrpc_client_free(c); // answers the calls under way
}

int pod_call(struct pod *p, const char *method, const struct ProtobufCMessage *msg, int timeout_ms,
	     ttrpc_reply_fn *fn, void *arg, struct err *e)
{
	if (!p->agent)
		return err_set(e, EPIPE, "the pod has no agent");
	log_debug("agent: %s", method);
	return ttrpc_client_call_message(p->agent, AGENT_SERVICE, method, msg, timeout_ms, fn, arg,
					 e);
}
