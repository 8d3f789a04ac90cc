// SPDX-License-Identifier: Apache-2.0
// Kills for want of memory: one call to the supervisor is always under way, and answers when there is something.
#include <stdlib.h>

#include "base/err.h"
#include "base/log.h"
#include "proto/shim.pb-c.h"
#include "proto/ttrpc.h"
#include "shim/publish.h"
#include "shim/shim.h"
#include "shim/wire.h"

enum { EVENT_WAIT_MS = 3600 * 1000, EVENT_SLACK_MS = 60 * 1000 };

static void on_event(void *arg, int code, const char *message, const uint8_t *payload, size_t len)
{
	struct shim_process *p = shim_ref_take(arg);
	Task__EventResponse *resp =
		code == TTRPC_OK ? task__event_response__unpack(NULL, len, payload) : NULL;
	Shim__TaskOOM ev;

	shim__task_oom__init(&ev);
	(void)message;
	if (p && resp && resp->oom > p->task->oom) {
		p->task->oom = resp->oom;
		ev.container_id = p->task->id;
		publish(p->task->shim->publisher, "/tasks/oom", "TaskOOM", &ev.base);
	}
	if (p && resp && !resp->stopped)
		shim_watch_oom(p->task);
	if (resp)
		task__event_response__free_unpacked(resp, NULL);
}

void shim_watch_oom(struct shim_task *t)
{
	Task__EventRequest q;
	void *ref = shim_ref_new(&t->init);
	struct err e;

	task__event_request__init(&q);
	if (!ref)
		return;
	q.id = t->id;
	q.seen_oom = t->oom;
	q.wait_ms = EVENT_WAIT_MS;
	if (wire_call(t, "Event", &q.base, EVENT_WAIT_MS + EVENT_SLACK_MS, on_event, ref, &e) < 0) {
		log_info("%s: kills for want of memory are not told: %s", t->id, e.msg);
		free(ref);
	}
}
