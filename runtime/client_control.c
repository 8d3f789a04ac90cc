// SPDX-License-Identifier: Apache-2.0
// Calls about a running container as a whole.
#include <errno.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/own.h"
#include "proto/metrics.pb-c.h"
#include "proto/task.pb-c.h"
#include "runtime/client_priv.h"
#include "runtime/store.h"

int client_reach(const char *root, const char *id, const char *stopped, struct client **ret_client,
		 struct err *e)
{
	struct store_container c = { 0 };
	int r = store_check_id(id, e);

	if (r < 0 || (r = store_container_read(root, id, &c, e)) < 0)
		return r;
	if (!store_process_alive(&c.supervisor) || client_open(root, c.pod, ret_client, e) < 0)
		r = err_set(e, ESRCH, "%s", stopped);
	store_container_done(&c);
	return r;
}

static int call_empty(struct client *c, const char *method, const ProtobufCMessage *req,
		      struct err *e)
{
	uint8_t *payload = NULL;
	size_t len;
	int r = client_call(c, method, req, CLIENT_GUEST_MS, &payload, &len, e);

	free(payload);
	return r;
}

int client_pause(struct client *c, const char *id, struct err *e)
{
	Task__PauseRequest q;

	task__pause_request__init(&q);
	q.id = unconst(id);
	return call_empty(c, "Pause", &q.base, e);
}

int client_resume(struct client *c, const char *id, struct err *e)
{
	Task__ResumeRequest q;

	task__resume_request__init(&q);
	q.id = unconst(id);
	return call_empty(c, "Resume", &q.base, e);
}

int client_update(struct client *c, const char *id, const char *json, size_t len, struct err *e)
{
	Task__UpdateRequest q;
	Task__Any any;

	task__any__init(&any);
	any.type_url = unconst("types.containerd.io/opencontainers/runtime-spec/1/LinuxResources");
	any.value.data = (uint8_t *)unconst(json);
	any.value.len = len;
	task__update_request__init(&q);
	q.id = unconst(id);
	q.resources = &any;
	return call_empty(c, "Update", &q.base, e);
}

int client_stats(struct client *c, const char *id, struct Metrics__Metrics **ret, struct err *e)
{
	uint8_t *payload AUTO_FREE = NULL;
	Task__StatsResponse *resp;
	Task__StatsRequest q;
	size_t len;
	int r;

	task__stats_request__init(&q);
	q.id = unconst(id);
	r = client_call(c, "Stats", &q.base, CLIENT_GUEST_MS, &payload, &len, e);
	if (r < 0)
		return r;
	resp = task__stats_response__unpack(NULL, len, payload);
	*ret = resp && resp->stats ? metrics__metrics__unpack(NULL, resp->stats->value.len,
							      resp->stats->value.data)
				   : NULL;
	if (resp)
		task__stats_response__free_unpacked(resp, NULL);
	return *ret ? 0 : err_set(e, EPROTO, "Stats: malformed answer");
}

int client_pids(struct client *c, const char *id, uint32_t **ret_pids, size_t *ret_n, struct err *e)
{
	uint8_t *payload AUTO_FREE = NULL;
	Task__PidsResponse *resp;
	uint32_t *pids = NULL;
	Task__PidsRequest q;
	size_t len;
	int r;

	task__pids_request__init(&q);
	q.id = unconst(id);
	r = client_call(c, "Pids", &q.base, CLIENT_QUICK_MS, &payload, &len, e);
	if (r < 0)
		return r;
	resp = task__pids_response__unpack(NULL, len, payload);
	if (resp)
		pids = calloc(resp->n_processes + 1, sizeof(*pids));
	*ret_n = pids ? resp->n_processes : 0;
	for (size_t i = 0; i < *ret_n; i++)
		pids[i] = resp->processes[i]->pid;
	if (resp)
		task__pids_response__free_unpacked(resp, NULL);
	*ret_pids = pids;
	return pids ? 0 : err_set(e, EPROTO, "Pids: malformed answer");
}

int client_processes(struct client *c, const char *id,
		     void (*fn)(const struct client_process *p, void *arg), void *arg,
		     struct err *e)
{
	uint8_t *payload AUTO_FREE = NULL;
	Task__ProcessesResponse *resp;
	Task__ProcessesRequest q;
	size_t len;
	int r;

	task__processes_request__init(&q);
	q.id = unconst(id);
	r = client_call(c, "Processes", &q.base, CLIENT_GUEST_MS, &payload, &len, e);
	if (r < 0)
		return r;
	resp = task__processes_response__unpack(NULL, len, payload);
	if (!resp)
		return err_set(e, EPROTO, "Processes: malformed answer");
	for (size_t i = 0; i < resp->n_processes; i++) {
		const Task__ProcessesResponse__Process *p = resp->processes[i];

		fn(&(struct client_process){ p->uid, p->pid, p->parent, p->cpu_usec, p->command,
					     p->exec_id },
		   arg);
	}
	task__processes_response__free_unpacked(resp, NULL);
	return 0;
}

int client_event(struct client *c, const char *id, uint32_t seen, uint32_t wait_ms,
		 uint32_t *ret_oom, bool *ret_stopped, struct err *e)
{
	uint8_t *payload AUTO_FREE = NULL;
	Task__EventResponse *resp;
	Task__EventRequest q;
	size_t len;
	int r;

	task__event_request__init(&q);
	q.id = unconst(id);
	q.seen_oom = seen;
	q.wait_ms = wait_ms;
	r = client_call(c, "Event", &q.base, (int)wait_ms + CLIENT_QUICK_MS, &payload, &len, e);
	if (r < 0)
		return r;
	resp = task__event_response__unpack(NULL, len, payload);
	if (!resp)
		return err_set(e, EPROTO, "Event: malformed answer");
	*ret_oom = resp->oom;
	*ret_stopped = resp->stopped;
	task__event_response__free_unpacked(resp, NULL);
	return 0;
}
