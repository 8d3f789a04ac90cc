// SPDX-License-Identifier: Apache-2.0
// bulkhead-agent: PID 1 of the guest. Serves the supervisor on vsock; see proto/agent.proto.
#include "agent/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/own.h"
#include "proto/agent.pb-c.h"
#include "proto/ttrpc.h"

// needs CONFIG_VIRTIO_VSOCKETS

#define AGENT_SERVICE "bulkhead.agent.v1.Agent"

struct listener {
	struct agent *a;
	int fd;
	bool streams;
};

static void hello(struct agent *a, struct ttrpc_call *call, const uint8_t *payload, size_t len)
{
	Agent__HelloRequest *req = agent__hello_request__unpack(NULL, len, payload);
	Agent__HelloResponse resp;
	struct utsname u;
	uint8_t buf[512];
	char version[] = BULKHEAD_VERSION;

	if (!req || req->protocol != 1) {
		ttrpc_call_fail(call, TTRPC_INVALID_ARGUMENT, "hello: protocol 1 is spoken here");
	} else {
		if (a->guest && req->clock_seconds)
			guest_set_clock(req->clock_seconds, req->clock_nanos);
		(void)uname(&u); // cannot fail
		agent__hello_response__init(&resp);
		resp.protocol = 1;
		resp.version = version;
		resp.kernel = u.release;
		ttrpc_call_reply(call, buf, agent__hello_response__pack(&resp, buf));
	}
	if (req)
		agent__hello_request__free_unpacked(req, NULL);
}

static void on_power_timer(void *arg)
{
	(void)arg;
	guest_power_off();
}

// The reply has to leave before the machine does.
static void shutdown_guest(struct agent *a, struct ttrpc_call *call, const uint8_t *payload,
			   size_t len)
{
	struct err e;

	(void)payload;
	(void)len;
	sync();
	if (!a->guest) {
		ttrpc_call_fail(call, TTRPC_FAILED_PRECONDITION, "shutdown: not a guest");
		return;
	}
	if (loop_add_timer(a->loop, "power off", 20, on_power_timer, a, NULL, &e) < 0)
		guest_power_off();
	ttrpc_call_reply(call, NULL, 0);
}

static const struct {
	const char *method;
	void (*fn)(struct agent *a, struct ttrpc_call *call, const uint8_t *payload, size_t len);
} methods[] = {
	{ "Hello", hello },
	{ "Create", containers_create },
	{ "Start", containers_start },
	{ "Exec", containers_exec },
	{ "Kill", containers_kill },
	{ "Wait", containers_wait },
	{ "Delete", containers_delete },
	{ "Resize", containers_resize },
	{ "CloseStdin", containers_close_stdin },
	{ "Pause", containers_pause },
	{ "Resume", containers_resume },
	{ "Update", containers_update },
	{ "Pids", containers_pids },
	{ "Stats", containers_stats },
	{ "Event", containers_event },
	{ "Shutdown", shutdown_guest },
};

static void on_request(void *arg, struct ttrpc_call *call, const char *service, const char *method,
		       const uint8_t *payload, size_t len)
{
	for (unsigned i = 0;
	     strcmp(service, AGENT_SERVICE) == 0 && i < sizeof(methods) / sizeof(*methods); i++)
		if (strcmp(method, methods[i].method) == 0) {
			methods[i].fn(arg, call, payload, len);
			return;
		}
	ttrpc_call_fail(call, TTRPC_UNIMPLEMENTED, "%s/%s: no such method", service, method);
}

static void on_listener(void *arg, uint32_t events)
{
	struct listener *l = arg;
	int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct err e;

	(void)events;
	if (fd < 0)
		return;
	if (l->streams)
		streams_accept(l->a->streams, fd);
	else if (ttrpc_server_add(l->a->server, fd, &e) < 0)
		log_error("%s", e.msg);
}

static int listen_vsock(unsigned port, struct err *e)
{
	struct sockaddr_vm sa = { .svm_family = AF_VSOCK,
				  .svm_cid = VMADDR_CID_ANY,
				  .svm_port = port };
	int fd AUTO_CLOSE = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(fd, 64) < 0)
		return err_errno(e, errno, "vsock port %u", port);
	return take_fd(&fd);
}

static void on_child(void *arg, int signo)
{
	(void)signo;
	containers_reap(arg);
}

static int serve(struct agent *a, struct err *e)
{
	static struct listener requests, streams; // live as long as the process
	int r = loop_new(&a->loop, e);

	r = r < 0 ? r : loop_add_signal(a->loop, "SIGCHLD", SIGCHLD, on_child, a, NULL, e);
	r = r < 0 ? r : ttrpc_server_new(a->loop, -1, on_request, a, &a->server, e);
	r = r < 0 ? r : streams_new(a->loop, &a->streams, e);
	if (r < 0)
		return r;
	streams = (struct listener){ a, listen_vsock(AGENT_STREAM_PORT, e), true };
	requests = (struct listener){ a, streams.fd < 0 ? streams.fd : listen_vsock(AGENT_PORT, e),
				      false };
	if (requests.fd < 0)
		return requests.fd;
	r = loop_add_fd(a->loop, "streams", streams.fd, EPOLLIN, on_listener, &streams, NULL, e);
	r = r < 0 ? r
		  : loop_add_fd(a->loop, "requests", requests.fd, EPOLLIN, on_listener, &requests,
				NULL, e);
	return r < 0 ? r : loop_run(a->loop, e);
}

int main(void)
{
	struct agent a = { .guest = true };
	struct err e = { 0 };

	struct rlimit files = { 65536, 65536 };

	(void)signal(SIGPIPE, SIG_IGN); // writes say it
	(void)setrlimit(RLIMIT_NOFILE,
			&files); // the default of 1024 is short for a pod of many containers
	log_init("agent", STDERR_FILENO, LOG_TEXT, LOG_INFO);
	if (getpid() != 1) {
		(void)fprintf(
			stderr,
			"bulkhead-agent is the first process of a pod's guest; bulkhead starts it there\n");
		return 1;
	}
	if (serve(&a, &e) < 0)
		log_error("%s", e.msg);
	guest_power_off();
}
