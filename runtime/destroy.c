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
#include "base/own.h"
#include "runtime/client.h"
#include "runtime/store.h"

enum { SUPERVISOR_END_MS = 10000, PROXY_END_MS = 3000 };

OWN_DEFINE(struct client *, client_close)

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

// Through the supervisor. Failures count only where the container must not be taken down.
static int ask_supervisor(const char *root, const struct store_container *c, bool running,
			  struct err *e)
{
	struct client *cl AUTO(client_close) = NULL;
	uint32_t ignored;

	if (client_open(root, c->pod, &cl, NULL) < 0)
		return 0; // it is going: see_off
	if (running) {
		(void)client_kill(cl, c->id, SIGKILL, true, NULL); // the supervisor enforces it
		(void)client_wait(cl, c->id, &ignored, NULL);      // answered for a dead guest too
	}
	if (client_delete(cl, c->id, &ignored, e) == -EBUSY)
		return -EBUSY;           // started between the look and the delete
	(void)client_shutdown(cl, NULL); // see_off deals with a failure
	return 0;
}

static int destroy_locked(const char *root, const char *id, bool force, struct err *e)
{
	struct container_owner o __attribute__((cleanup(own_container_done_))) = { 0 };
	int supervisor AUTO_CLOSE = -1, proxy AUTO_CLOSE = -1;
	struct client_state now;
	bool live;
	int r = store_container_read(root, id, &o.c, e);

	if (r < 0) // a create that died, or a file that is damaged
		return force ? store_remove(root, id, e) : r;
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
		r = ask_supervisor(root, &o.c, r < 0 || live, e);
		if (r < 0)
			return r;
		see_off(supervisor, SUPERVISOR_END_MS);
	}
	see_off(proxy, PROXY_END_MS);
	return store_remove(root, id, e);
}

int destroy_container(const char *root, const char *id, bool force, struct err *e)
{
	int lock AUTO_CLOSE = store_lock(root, id, false, e);

	if (lock < 0)
		return lock == -ENOENT && force ? 0 : lock;
	return destroy_locked(root, id, force, e);
}
