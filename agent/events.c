// SPDX-License-Identifier: Apache-2.0
// What has happened to containers that nobody asked for: kept until the host asks for it.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/agent.h"
#include "agent/cgroup.h"
#include "agent/container.h"
#include "base/log.h"
#include "base/own.h"
#include "proto/agent.pb-c.h"
#include "proto/ttrpc.h"

struct event {
	struct event *next;
	char id[];
};

static void tell(struct agent *a)
{
	struct event *ev = a->events;
	Agent__EventResponse resp;

	if (!ev || !a->event_call)
		return;
	a->events = ev->next;
	agent__event_response__init(&resp);
	resp.id = ev->id;
	resp.kind = AGENT__EVENT_RESPONSE__KIND__OOM;
	ttrpc_call_reply_message(take_ptr(&a->event_call), &resp.base);
	free(ev);
}

// One that the host has not heard of yet says it already: there are never more than containers.
void containers_oom(void *agent, struct cgroup *g)
{
	const struct container *c = cgroup_tag(g);
	struct agent *a = agent;
	struct event **at = &a->events, *ev;

	log_info("container %s: a process was killed for want of memory", c->id);
	for (; *at; at = &(*at)->next)
		if (strcmp((*at)->id, c->id) == 0)
			return;
	ev = malloc(sizeof(*ev) + strlen(c->id) + 1);
	if (!ev)
		return;
	ev->next = NULL;
	memcpy(ev->id, c->id, strlen(c->id) + 1);
	*at = ev;
	tell(a);
}

void containers_event(struct agent *a, struct ttrpc_call *call, const uint8_t *payload, size_t len)
{
	(void)payload;
	(void)len;
	if (a->event_call) {
		ttrpc_call_fail(call, TTRPC_FAILED_PRECONDITION, "events: one call at a time");
		return;
	}
	a->event_call = call;
	tell(a);
}
