// SPDX-License-Identifier: Apache-2.0
// Which method does what. containerd's two versions of the Task service have the same messages.
#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "proto/ttrpc.h"
#include "shim/shim.h"

static const char *const services[] = { "containerd.task.v2.Task", "containerd.task.v3.Task" };

static const struct {
	const char *name;
	shim_method *method;
} methods[] = {
	{ "Checkpoint", shim_checkpoint },
	{ "CloseIO", shim_close_io },
	{ "Connect", shim_connect },
	{ "Create", shim_create },
	{ "Delete", shim_delete },
	{ "Exec", shim_exec },
	{ "Kill", shim_kill },
	{ "Pause", shim_pause },
	{ "Pids", shim_pids },
	{ "ResizePty", shim_resize },
	{ "Resume", shim_resume },
	{ "Shutdown", shim_shutdown },
	{ "Start", shim_start },
	{ "State", shim_state },
	{ "Stats", shim_stats },
	{ "Update", shim_update },
	{ "Wait", shim_wait },
};

static bool known_service(const char *service)
{
	for (size_t i = 0; i < sizeof(services) / sizeof(services[0]); i++)
		if (strcmp(services[i], service) == 0)
			return true;
	return false;
}

static void on_request(void *arg, struct ttrpc_call *call, const char *service, const char *method,
		       const uint8_t *payload, size_t len)
{
	struct shim *s = arg;

	if (!known_service(service)) {
		ttrpc_call_fail(call, TTRPC_UNIMPLEMENTED, "service %s: not implemented", service);
		return;
	}
	log_debug("%s", method);
	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
		if (strcmp(methods[i].name, method) == 0) {
			methods[i].method(s, call, payload, len);
			return;
		}
	ttrpc_call_fail(call, TTRPC_UNIMPLEMENTED, "method %s: not implemented", method);
}

int shim_serve(struct shim *s, int listen_fd, struct err *e)
{
	return ttrpc_server_new(s->loop, listen_fd, on_request, s, &s->server, e);
}
