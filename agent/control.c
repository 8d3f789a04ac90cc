// SPDX-License-Identifier: Apache-2.0
// The requests about a container's cgroup: pause, resume, update, pids, stats.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/agent.h"
#include "agent/cgroup.h"
#include "agent/container.h"
#include "agent/procs.h"
#include "agent/stats.h"
#include "base/err.h"
#include "base/own.h"
#include "oci/oci.h"
#include "proto/agent.pb-c.h"
#include "proto/ttrpc.h"

// The container that a request names, if it has processes and a group; or NULL, and the call is answered.
static struct container *find_live(struct agent *a, struct ttrpc_call *call, const char *id)
{
	struct container *c = container_find(a, id);

	if (c && c->cgroup && c->init.state != PROCESS_STOPPED && c->init.state != PROCESS_CREATING)
		return c;
	ttrpc_call_fail(call, c ? TTRPC_FAILED_PRECONDITION : TTRPC_NOT_FOUND,
			c ? "container not running" : "container does not exist");
	return NULL;
}

static void on_frozen(void *arg, int r)
{
	if (r == 0)
		ttrpc_call_reply(arg, NULL, 0);
	else if (r == -ETIMEDOUT)
		ttrpc_call_fail(arg, TTRPC_DEADLINE_EXCEEDED,
				"pause: the container's processes did not stop in time");
	else
		ttrpc_call_fail(arg, ttrpc_errno_code(-r), "pause: %s", strerror(-r));
}

void containers_pause(struct agent *a, struct ttrpc_call *call, const uint8_t *payload, size_t len)
{
	Agent__PauseRequest *req = agent__pause_request__unpack(NULL, len, payload);
	struct container *c = find_live(a, call, req ? req->id : "");

	if (c && cgroup_frozen(c->cgroup))
		ttrpc_call_fail(call, TTRPC_FAILED_PRECONDITION, "container not running");
	else if (c && cgroup_freeze(c->cgroup, on_frozen, call) < 0)
		ttrpc_call_fail(call, TTRPC_FAILED_PRECONDITION, "container is being signalled");
	if (req)
		agent__pause_request__free_unpacked(req, NULL);
}

void containers_resume(struct agent *a, struct ttrpc_call *call, const uint8_t *payload, size_t len)
{
	Agent__ResumeRequest *req = agent__resume_request__unpack(NULL, len, payload);
	struct container *c = find_live(a, call, req ? req->id : "");

	if (c && !cgroup_frozen(c->cgroup)) {
		ttrpc_call_fail(call, TTRPC_FAILED_PRECONDITION, "container not paused");
	} else if (c) {
		cgroup_thaw(c->cgroup);
		ttrpc_call_reply(call, NULL, 0);
	}
	if (req)
		agent__resume_request__free_unpacked(req, NULL);
}

OWN_DEFINE(struct oci_update *, oci_update_free)

void containers_update(struct agent *a, struct ttrpc_call *call, const uint8_t *payload, size_t len)
{
	Agent__UpdateRequest *req = agent__update_request__unpack(NULL, len, payload);
	struct container *c = find_live(a, call, req ? req->id : "");
	struct oci_update *u AUTO(oci_update_free) = NULL;
	struct err e;

	if (!c) {
		// answered
	} else if (oci_update_parse((const char *)req->resources.data, req->resources.len, &u, &e) <
			   0 ||
		   cgroup_update(c->cgroup, &u->r, &e) < 0) {
		ttrpc_call_fail_err(call, &e);
	} else {
		ttrpc_call_reply(call, NULL, 0);
	}
	if (req)
		agent__update_request__free_unpacked(req, NULL);
}

void containers_stats(struct agent *a, struct ttrpc_call *call, const uint8_t *payload, size_t len)
{
	Agent__StatsRequest *req = agent__stats_request__unpack(NULL, len, payload);
	struct container *c = find_live(a, call, req ? req->id : "");
	uint8_t *metrics AUTO_FREE = NULL;
	Agent__StatsResponse resp;
	struct err e;

	agent__stats_response__init(&resp);
	if (c && stats_read(cgroup_fd(c->cgroup), "/proc/net/dev", &metrics, &resp.metrics.len,
			    &e) < 0) {
		ttrpc_call_fail_err(call, &e);
	} else if (c) {
		resp.metrics.data = metrics;
		ttrpc_call_reply_message(call, &resp.base);
	}
	if (req)
		agent__stats_request__free_unpacked(req, NULL);
}

static const char *exec_of(const struct container *c, pid_t pid)
{
	for (const struct process *p = c->execs; p; p = p->next)
		if (p->pid == pid)
			return p->exec_id;
	return NULL;
}

static void reply_pids(const struct container *c, struct ttrpc_call *call, struct err *e)
{
	Agent__PidsResponse resp;
	struct procs procs;
	int r = procs_read(c->cgroup, &procs, e);

	agent__pids_response__init(&resp);
	for (size_t i = 0; r == 0 && i < procs.n; i++) {
		const char *exec_id = exec_of(c, (pid_t)procs.v[i]->pid);

		// Read only, as long as the message lives.
		if (exec_id)
			memcpy(&procs.v[i]->exec_id, &exec_id, sizeof(exec_id));
	}
	resp.processes = procs.v;
	resp.n_processes = procs.n;
	if (r == 0)
		ttrpc_call_reply_message(call, &resp.base);
	else
		ttrpc_call_fail_err(call, e);
	procs_done(&procs);
}

void containers_pids(struct agent *a, struct ttrpc_call *call, const uint8_t *payload, size_t len)
{
	Agent__PidsRequest *req = agent__pids_request__unpack(NULL, len, payload);
	struct container *c = find_live(a, call, req ? req->id : "");
	struct err e;

	if (c)
		reply_pids(c, call, &e);
	if (req)
		agent__pids_request__free_unpacked(req, NULL);
}
