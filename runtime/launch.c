// SPDX-License-Identifier: Apache-2.0
#include "runtime/launch.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/own.h"
#include "runtime/client.h"
#include "runtime/create.h"
#include "runtime/destroy.h"
#include "runtime/hooks.h"
#include "runtime/host_place.h"
#include "runtime/proxy.h"
#include "runtime/proxy_fork.h"
#include "runtime/tty.h"
#include "vmm/vmm.h"

OWN_DEFINE(struct create *, create_end)

void launch_warn(const struct create *c)
{
	if (strcmp(create_hypervisor(c), "auto") == 0 &&
	    vmm_hypervisor_probe(VMM_HV_MSHV, NULL) < 0)
		log_warn(
			"no /dev/mshv: the software hypervisor is used. It is slow, and it is not hardware "
			"isolation (--hypervisor soft accepts that without a word)");
}

int launch_check_preserve_fds(const char *n, struct err *e)
{
	if (!n || strcmp(n, "0") == 0)
		return 0;
	if (!*n || n[strspn(n, "0123456789")])
		return err_set(e, EINVAL, "--preserve-fds: \"%.40s\" is not a number", n);
	return err_set(e, ENOTSUP,
		       "--preserve-fds %.40s: descriptors cannot be passed into a guest", n);
}

int launch_request(const struct cli_globals *g, const struct launch_options *o, const char *id,
		   struct create_request *ret, struct err *e)
{
	int r = launch_check_preserve_fds(o->preserve_fds, e);

	if (r < 0)
		return r;
	*ret = (struct create_request){
		.root = g->root,
		.id = id,
		.bundle = o->bundle,
		.cgroup_manager = g->cgroup_manager,
		.host_config = g->config,
		.machine = { .hypervisor = g->hypervisor,
			     .kernel = g->kernel,
			     .initrd = g->initrd,
			     .memory = g->memory,
			     .vcpus = g->vcpus },
		.debug = g->debug,
		.detach = o->detach,
		.console_socket = o->console_socket,
		.terminal_on_stdio = o->terminal_on_stdio,
		.timings_fd = -1,
	};
	return 0;
}

static int place_proxy(const struct create_request *req, const char *pod, pid_t pid, struct err *e)
{
	struct host_place_request q = {
		.manager = req->cgroup_manager,
		.bundle = req->bundle ? req->bundle : ".",
		.id = req->id,
		.pid = pid,
	};

	return strcmp(pod, req->id) == 0 ? host_place_join(req->root, req->id, pod, pid, e)
					 : host_place_member(&q, req->root, pod, e);
}

static int create_with_proxy(const struct create_request *req, const struct launch_options *o,
			     struct proxy_child *proxy, struct err *e)
{
	struct create *c AUTO(create_end) = NULL;
	struct proxy_config cfg = {
		.root = req->root,
		.id = req->id,
		.release = true,
		.tty_fd = req->terminal_on_stdio ? -1 : STDIN_FILENO,
		.console_socket = req->console_socket,
	};
	int r = create_begin(req, &c, e);

	if (r < 0)
		return r;
	launch_warn(c);
	cfg.pod = create_pod(c);
	cfg.place = create_placement(c);
	cfg.terminal = create_terminal(c);
	if ((r = proxy_fork(&cfg, proxy, e)) < 0 ||
	    (r = place_proxy(req, create_pod(c), proxy->pid, e)) < 0 ||
	    (r = create_hooks(c, proxy->pid, NULL, e)) < 0 ||
	    (r = create_container(c, proxy->pid, e)) < 0 || (r = proxy_fork_go(proxy, e)) < 0)
		return r;
	if (o->pidfd_socket && (r = tty_send_pidfd(o->pidfd_socket, proxy->pid, e)) < 0)
		return r;
	return create_commit(c, proxy->pid, o->pid_file, e);
}

static int start_container(const struct create_request *req, struct err *e)
{
	struct client *cl = NULL;
	int r = client_reach(req->root, req->id, "cannot start a container that has stopped", &cl,
			     e);

	if (r == 0)
		r = hooks_start(cl, req->root, req->id, NULL, e);
	client_close(cl);
	if (r < 0)
		(void)destroy_container(req->root, req->id, true,
					NULL); // the start's error is the one to report
	return r;
}

int launch_detached(const struct create_request *req, const struct launch_options *o, bool start,
		    struct err *e)
{
	struct proxy_child proxy = { .sock = -1 };
	int r = create_with_proxy(req, o, &proxy, e);

	if (r < 0) {
		proxy_fork_kill(&proxy);
		return r;
	}
	return start ? start_container(req, e) : 0;
}
