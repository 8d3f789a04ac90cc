// SPDX-License-Identifier: Apache-2.0
#include "runtime/destroy.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/own.h"
#include "runtime/client.h"
#include "runtime/hooks.h"
#include "runtime/store.h"

enum { SUPERVISOR_END_MS = 10000, PROXY_END_MS = 3000 };

OWN_DEFINE(struct client *, client_close)
OWN_DEFINE(struct oci_config *, oci_config_free)

struct container_owner {
	struct store_container c;
};

static void own_container_done_(struct container_owner *o)
{
	store_container_done(&o->c);
}

// Waits for a process that should end by itself, and then does not wait any more.
static void see_off(int pidfd, int after_ms)
{
	struct pollfd pfd = { .fd = pidfd, .events = POLLIN };
	siginfo_t si;

	if (pidfd < 0)
		return;
	if (poll(&pfd, 1, after_ms) == 0) {
		(void)syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0); // it may have ended
		(void)poll(&pfd, 1, after_ms);                                 // killed: soon
	}
	(void)waitid(P_PIDFD, (id_t)pidfd, &si, WEXITED | WNOHANG); // ours only in `run`
}

static void kill_and_wait(struct client *c, const char *id)
{
	uint32_t ignored;

	(void)client_kill(c, id, SIGKILL, true, NULL); // the supervisor enforces it
	(void)client_wait(c, id, &ignored, NULL);      // answered for a dead guest too
}

void destroy_in_pod(struct client *c, const char *id)
{
	uint32_t ignored;

	kill_and_wait(c, id);
	(void)client_delete(c, id, &ignored, NULL); // with the pod, if not now
}

// Through the supervisor. Failures count only where the container must not be taken down. *ret_ends: the supervisor goes.
static int ask_supervisor(const char *root, const struct store_container *c, bool running,
			  bool *ret_ends, struct err *e)
{
	struct client *cl AUTO(client_close) = NULL;
	uint32_t ignored;

	*ret_ends = true;
	if (client_open(root, c->pod, &cl, NULL) < 0)
		return 0; // it is going: see_off
	if (running)
		kill_and_wait(cl, c->id);
	if (client_delete(cl, c->id, &ignored, e) == -EBUSY)
		return -EBUSY; // started between the look and the delete
	if (client_shutdown(cl, ret_ends, NULL) < 0)
		*ret_ends = true; // see_off deals with it
	return 0;
}

// Nothing is left of it but what its poststop hooks look after. A description of them that cannot be read keeps no
// container from its end.
static int forget(const char *root, const struct store_container *c, struct err *e)
{
	struct oci_config *config AUTO(oci_config_free) = NULL;
	struct hooks_container h = { .id = c->id, .bundle = c->bundle };
	struct err ignored;
	int r;

	if (hooks_load(root, c->id, &config, &ignored) < 0)
		log_warn("hooks of container %s: %s", c->id, ignored.msg);
	r = store_forget(root, c->id, c->pod, e);
	h.config = config;
	if (r == 0 && config)
		hooks_run_poststop(&h);
	return r;
}

// Its state cannot be read: a create that died, or a file that is damaged. Where its bundle is nobody knows then, so
// its poststop hooks cannot be run as the specification wants; whoever has counted on them is told.
static int remove_damaged(const char *root, const char *id, struct err *e)
{
	struct oci_config *config AUTO(oci_config_free) = NULL;
	struct err why;
	int r = hooks_load(root, id, &config, &why);

	if (r < 0)
		log_warn("hooks of container %s: %s", id, why.msg);
	else if (config && config->hooks[OCI_HOOK_POSTSTOP].n)
		log_warn("container %s: its state is damaged: its poststop hooks are not run", id);
	return store_remove(root, id, e);
}

static int destroy_locked(const char *root, const char *id, bool force, struct err *e)
{
	struct container_owner o __attribute__((cleanup(own_container_done_))) = { 0 };
	int supervisor AUTO_CLOSE = -1, proxy AUTO_CLOSE = -1;
	struct client_state now;
	bool live, ends;
	int r = store_container_read(root, id, &o.c, e);

	if (r < 0)
		return force ? remove_damaged(root, id, e) : r;
	r = client_look(root, &o.c, &now, e);
	if (r < 0 && !force)
		return r;
	live = now.status == CLIENT_RUNNING || now.status == CLIENT_PAUSED;
	if (r == 0 && live && !force)
		return err_set(e, EBUSY, "cannot delete container %s that is not stopped: %s", id,
			       client_status_name[now.status]);
	supervisor = store_process_open(&o.c.supervisor);
	proxy = o.c.proxy.pid == getpid() ? -1 : store_process_open(&o.c.proxy);
	if (supervisor >= 0) {
		r = ask_supervisor(root, &o.c, r < 0 || live, &ends, e);
		if (r < 0)
			return r;
		if (ends)
			see_off(supervisor, SUPERVISOR_END_MS);
	}
	see_off(proxy, PROXY_END_MS);
	return forget(root, &o.c, e);
}

int destroy_container(const char *root, const char *id, bool force, struct err *e)
{
	int lock AUTO_CLOSE = store_lock(root, id, false, e);

	if (lock < 0)
		return lock == -ENOENT && force ? 0 : lock;
	return destroy_locked(root, id, force, e);
}
