// SPDX-License-Identifier: Apache-2.0
#include "runtime/pod.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/io.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/own.h"
#include "proto/agent.pb-c.h"
#include "runtime/host_cgroup.h"
#include "runtime/pod_priv.h"
#include "runtime/sizing.h"
#include "runtime/tree.h"

enum { POD_SYNC_MS = 3000 };

OWN_DEFINE(struct pod *, pod_free)

bool pod_is_ready(const struct pod *p)
{
	return p->ready && !p->gone && !p->stopping;
}

bool pod_is_gone(const struct pod *p)
{
	return p->gone;
}

const char *pod_id(const struct pod *p)
{
	return p->id;
}

const char *pod_share_dir(const struct pod *p)
{
	return p->share_dir;
}

int pod_update(struct pod *p, const struct oci_resources *res, struct err *e)
{
	return p->cgroup ? host_cgroup_update(p->cgroup, res, e) : 0;
}

uint64_t pod_memory_total(const struct pod *p)
{
	return sizing_total(p->memory_bytes, p->vcpus);
}

static void child_kill(struct pod_child *c)
{
	if (c->pid > 0)
		(void)syscall(SYS_pidfd_send_signal, c->pidfd, SIGKILL, NULL,
			      0); // may be dead already
}

// Reaps; false while it runs.
static bool child_reap(struct pod_child *c, bool wait, char *why, size_t room)
{
	siginfo_t si = { 0 };

	if (c->pid <= 0)
		return true;
	while (waitid(P_PIDFD, (id_t)c->pidfd, &si, WEXITED | (wait ? 0 : WNOHANG)) < 0) {
		if (errno != EINTR)
			break;
	}
	if (si.si_pid == 0 && !wait)
		return false;
	if (si.si_code == CLD_EXITED)
		(void)snprintf(why, room, "%s exited with status %d", c->name,
			       si.si_status); // cut is fine
	else
		(void)snprintf(why, room, "%s was killed by signal %d", c->name,
			       si.si_status); // cut is fine
	loop_remove(c->src);
	c->src = NULL;
	close_fd(take_fd(&c->pidfd));
	c->pid = 0;
	return true;
}

// The text inside msg="..." of a log line, or the line.
static void plain_message(const char *line, char *out, size_t room)
{
	const char *p = strstr(line, "msg=\"");
	size_t n = 0;

	for (p = p ? p + 5 : line; *p && n + 1 < room; p++) {
		if (*p == '\\' && p[1])
			p++;
		else if (*p == '"')
			break;
		out[n++] = *p;
	}
	out[n] = '\0';
}

static void pod_end(struct pod *p, const char *why)
{
	char said[400], guest[400];

	if (p->gone)
		return;
	pod_control_drain(p);
	pod_log_drain(&p->messages);
	pod_log_drain(&p->console);
	plain_message(p->messages.last, said, sizeof(said));
	plain_message(p->console.last, guest, sizeof(guest));
	p->gone = true;
	pod_control_end(p);
	if (p->end_text[0])
		why = p->end_text; // the machine knows better than the exit status of its process
	if (said[0])
		(void)snprintf(p->why, sizeof(p->why), "%s",
			       said); // a program's own words say most
	else if (guest[0] && !p->stopping)
		(void)snprintf(p->why, sizeof(p->why), "%s (the guest's last words: %s)", why,
			       guest); // cut is fine
	else
		(void)snprintf(p->why, sizeof(p->why), "%s", why); // cut is fine
	loop_remove(p->stop_timer);
	p->stop_timer = NULL;
	pod_agent_end(p);
	p->events->gone(p->arg, p->why);
}

static void on_child(void *arg, uint32_t events)
{
	struct pod_child *c = arg;
	struct pod *p = c->pod;
	char why[128];

	(void)events;
	if (!child_reap(c, false, why, sizeof(why)))
		return;
	// Neither is of use without the other.
	child_kill(&p->vmm);
	child_kill(&p->fs);
	if (p->vmm.pid == 0 || !p->stopping)
		pod_end(p, why);
}

void pod_kill_vmm(struct pod *p)
{
	child_kill(&p->vmm);
}

void pod_kill(struct pod *p, const char *why)
{
	if (p->gone)
		return;
	child_kill(&p->vmm);
	child_kill(&p->fs);
	pod_end(p, why);
}

static void on_stop_timer(void *arg)
{
	pod_kill(arg, "the guest did not stop in time");
}

static void on_shutdown_reply(void *arg, int code, const char *message, const uint8_t *payload,
			      size_t len)
{
	struct pod *p = arg;

	(void)code;
	(void)message;
	(void)payload;
	(void)len;
	// Synced, or not able to: the machine has nothing left to say. A timer, because the client cannot be freed here.
	if (!p->gone && p->stop_timer)
		(void)loop_timer_set(p->stop_timer, 0); // a timer of ours: cannot fail
}

void pod_power_off(struct pod *p)
{
	Agent__ShutdownRequest q;

	if (p->gone || p->stopping)
		return;
	p->stopping = true;
	agent__shutdown_request__init(&q);
	if (!p->ready ||
	    loop_add_timer(p->loop, "stop", POD_SYNC_MS, on_stop_timer, p, &p->stop_timer, NULL) <
		    0 ||
	    pod_call(p, "Shutdown", &q.base, POD_SYNC_MS, on_shutdown_reply, p, NULL) < 0)
		pod_kill(p, "stopped");
}

int pod_boot(struct loop *l, const struct pod_config *cfg, const struct pod_events *events,
	     void *arg, struct pod **ret_pod, struct err *e)
{
	struct pod *p AUTO(pod_free) = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return err_errno(e, ENOMEM, "pod");
	p->loop = l;
	p->events = events;
	p->arg = arg;
	p->id = cfg->id;
	p->memory_bytes = cfg->memory_bytes;
	p->vcpus = cfg->vcpus;
	p->timings_fd = cfg->timings_fd;
	p->cgroup = cfg->cgroup;
	p->vmm = (struct pod_child){ .pod = p, .name = "bulkhead-vmm", .pidfd = -1 };
	p->fs = (struct pod_child){ .pod = p, .name = "bulkhead-fs", .pidfd = -1 };
	p->console.pipe_fd = p->console.file_fd = p->messages.pipe_fd = p->messages.file_fd = -1;
	p->agent_fd = p->control_fd = -1;
	r = store_pod_path(cfg->root, cfg->id, NULL, p->dir, e);
	if (r < 0)
		return r;
	(void)snprintf(p->share_dir, sizeof(p->share_dir), "%s/share", p->dir); // fits
	if ((r = tree_make_dirs(p->share_dir, 0700, e)) < 0 || (r = pod_spawn(p, cfg, e)) < 0)
		return r;
	pod_mark(p, "programs started");
	if ((r = loop_add_fd(l, "bulkhead-vmm", p->vmm.pidfd, EPOLLIN, on_child, &p->vmm,
			     &p->vmm.src, e)) < 0 ||
	    (r = loop_add_fd(l, "bulkhead-fs", p->fs.pidfd, EPOLLIN, on_child, &p->fs, &p->fs.src,
			     e)) < 0 ||
	    (r = pod_control_begin(p, e)) < 0 || (r = pod_agent_begin(p, e)) < 0)
		return r;
	*ret_pod = take_ptr(&p);
	return 0;
}

void pod_free(struct pod *p)
{
	char ignored[128];

	if (!p)
		return;
	p->gone = true;
	child_kill(&p->vmm);
	child_kill(&p->fs);
	(void)child_reap(&p->vmm, true, ignored, sizeof(ignored)); // killed: ends soon
	(void)child_reap(&p->fs, true, ignored, sizeof(ignored));  // as above
	pod_agent_end(p);
	pod_control_end(p);
	loop_remove(p->stop_timer);
	pod_log_close(&p->console);
	pod_log_close(&p->messages);
	close_fd(p->control_fd);
	free(p);
}
