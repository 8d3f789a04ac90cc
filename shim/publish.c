// SPDX-License-Identifier: Apache-2.0
#include "shim/publish.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/io.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/own.h"
#include "proto/shim.pb-c.h"
#include "proto/task.h"
#include "proto/ttrpc.h"
#include "shim/address.h"

enum { QUEUE_MAX = 2048, CALL_MS = 5000, RETRY_MS = 1000, BINARY_AFTER = 3 };
#define EVENTS_SERVICE "containerd.services.events.ttrpc.v1.Events"

extern char **environ;

struct event {
	struct event *next;
	unsigned tries;
	char *topic;
	uint8_t *any; // a packed Any: what `containerd publish` reads
	size_t any_len;
	uint8_t *request; // a packed ForwardRequest
	size_t request_len;
};

struct publisher {
	struct loop *loop;
	struct publisher_config cfg;
	struct ttrpc_client *rpc;
	struct loop_source *retry;
	struct event *first, **last;
	unsigned n;
	bool under_way;
	void (*on_empty)(void *arg);
	void *on_empty_arg;
};

static void event_free(struct event *ev)
{
	free(ev->topic);
	free(ev->any);
	free(ev->request);
	free(ev);
}

static void send_first(struct publisher *p);

static void pop(struct publisher *p)
{
	struct event *ev = p->first;

	p->first = ev->next;
	if (!p->first)
		p->last = &p->first;
	p->n--;
	event_free(ev);
	if (!p->first && p->on_empty) {
		void (*fn)(void *) = p->on_empty;

		p->on_empty = NULL;
		fn(p->on_empty_arg);
	}
}

static void on_retry(void *arg)
{
	send_first(arg);
}

static void later(struct publisher *p)
{
	if (p->retry)
		(void)loop_timer_set(p->retry, RETRY_MS); // a timer of ours: cannot fail
	else if (loop_add_timer(p->loop, "publish", RETRY_MS, on_retry, p, &p->retry, NULL) < 0)
		log_error("events are not published: out of memory");
}

static void on_closed(void *arg)
{
	struct publisher *p = arg;

	ttrpc_client_free(take_ptr(&p->rpc)); // the next event opens another
}

// The fallback of a daemon that does not answer: its own program.
static bool by_binary(struct publisher *p, const struct event *ev)
{
	char path[4096], address[4096], ns[512], topic[128];
	char *argv[] = { path,
			 (char[]){ "--address" },
			 address,
			 (char[]){ "publish" },
			 (char[]){ "--namespace" },
			 ns,
			 (char[]){ "--topic" },
			 topic,
			 NULL };
	int pipe_fd[2], rd AUTO_CLOSE = -1, wr AUTO_CLOSE = -1;
	pid_t pid;

	if (!p->cfg.binary || !*p->cfg.binary || ev->any_len > 4096 ||
	    pipe2(pipe_fd, O_CLOEXEC) < 0)
		return false;
	rd = pipe_fd[0];
	wr = pipe_fd[1];
	(void)snprintf(path, sizeof(path), "%s", p->cfg.binary);             // argv's
	(void)snprintf(address, sizeof(address), "%s", p->cfg.grpc_address); // argv's
	(void)snprintf(ns, sizeof(ns), "%s", p->cfg.ns);                     // argv's
	(void)snprintf(topic, sizeof(topic), "%s", ev->topic);               // ours
	// A pipe takes what is no longer than a page at once.
	return io_write_full(wr, ev->any, ev->any_len) == 0 &&
	       io_spawn(path, argv, environ, &rd, 1, 0, &pid, NULL, NULL) == 0;
}

static void on_reply(void *arg, int code, const char *message, const uint8_t *payload, size_t len)
{
	struct publisher *p = arg;
	struct event *ev = p->first;

	(void)payload;
	(void)len;
	p->under_way = false;
	if (code == TTRPC_OK) {
		pop(p);
		send_first(p);
		return;
	}
	log_info("event %s: %s", ev->topic, message);
	ev->tries++;
	if (code != TTRPC_UNAVAILABLE && ev->tries >= BINARY_AFTER && by_binary(p, ev)) {
		pop(p);
		send_first(p);
		return;
	}
	later(p);
}

static int open_client(struct publisher *p)
{
	const char *path = p->cfg.ttrpc_address;
	int fd;

	if (p->rpc)
		return 0;
	if (strncmp(path, "unix://", 7) == 0)
		path += 7;
	fd = address_connect(path);
	return fd < 0 ? -1 : ttrpc_client_new(p->loop, fd, on_closed, p, &p->rpc, NULL);
}

static void send_first(struct publisher *p)
{
	struct event *ev = p->first;
	struct err e = { 0 };

	if (!ev || p->under_way)
		return;
	p->under_way = true;
	if (open_client(p) == 0 &&
	    ttrpc_client_call(p->rpc, EVENTS_SERVICE, "Forward", ev->request, ev->request_len,
			      CALL_MS, on_reply, p, &e) == 0)
		return;
	p->under_way = false;
	later(p);
}

static int fill(struct publisher *p, struct event *ev, const char *topic, const char *type,
		const ProtobufCMessage *event)
{
	Shim__ForwardRequest q;
	Shim__Envelope env;
	Task__Timestamp at;
	Task__Any any;
	char url[96], *ns AUTO_FREE = strdup(p->cfg.ns);
	uint8_t *value AUTO_FREE = malloc(protobuf_c_message_get_packed_size(event) + 1);
	struct timespec now;

	shim__forward_request__init(&q);
	shim__envelope__init(&env);
	task__any__init(&any);
	ev->topic = strdup(topic);
	if (!ev->topic || !ns || !value)
		return -1;
	(void)snprintf(url, sizeof(url), "containerd.events.%s", type); // fits
	any.type_url = url;
	any.value.data = value;
	any.value.len = protobuf_c_message_pack(event, value);
	(void)clock_gettime(CLOCK_REALTIME, &now); // cannot fail for this clock
	task_timestamp(&at, &now);
	env.timestamp = &at;
	env.namespace_ = ns;
	env.topic = ev->topic;
	env.event = &any;
	q.envelope = &env;
	ev->any = malloc(task__any__get_packed_size(&any) + 1);
	ev->request = malloc(shim__forward_request__get_packed_size(&q) + 1);
	if (!ev->any || !ev->request)
		return -1;
	ev->any_len = task__any__pack(&any, ev->any);
	ev->request_len = shim__forward_request__pack(&q, ev->request);
	return 0;
}

void publish(struct publisher *p, const char *topic, const char *type,
	     const struct ProtobufCMessage *event)
{
	struct event *ev;

	if (!*p->cfg.ttrpc_address)
		return;
	ev = p->n < QUEUE_MAX ? calloc(1, sizeof(*ev)) : NULL;
	if (!ev || fill(p, ev, topic, type, event) < 0) {
		log_error("event %s is lost: %s", topic, ev ? "out of memory" : "too many wait");
		if (ev)
			event_free(ev);
		return;
	}
	*p->last = ev;
	p->last = &ev->next;
	p->n++;
	send_first(p);
}

bool publisher_empty(const struct publisher *p)
{
	return !p->first;
}

void publisher_on_empty(struct publisher *p, void (*fn)(void *arg), void *arg)
{
	p->on_empty = fn;
	p->on_empty_arg = arg;
}

int publisher_new(struct loop *l, const struct publisher_config *cfg, struct publisher **ret,
		  struct err *e)
{
	struct publisher *p = calloc(1, sizeof(*p));

	if (!p)
		return err_errno(e, ENOMEM, "publisher");
	p->loop = l;
	p->cfg = *cfg;
	p->last = &p->first;
	*ret = p;
	return 0;
}

void publisher_free(struct publisher *p)
{
	if (!p)
		return;
	p->on_empty = NULL;
	loop_remove(p->retry);
	p->retry = NULL;
	if (p->rpc)
		ttrpc_client_free(p->rpc); // may call on_reply
	loop_remove(p->retry);
	while (p->first)
		pop(p);
	free(p);
}
