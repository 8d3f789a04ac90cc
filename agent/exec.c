// SPDX-License-Identifier: Apache-2.0
// Exec: one more process in a container. It is born in the container's cgroup and pid namespace, joins the namespaces of
// the first process, and goes the way of a first process from the container's root on (oci.md 5.2).
#include "agent/cgroup.h"
#include "agent/container.h"

#include <errno.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/namespaces.h"
#include "base/err.h"
#include "base/io.h"
#include "base/own.h"
#include "oci/oci.h"
#include "proto/agent.pb-c.h"
#include "proto/ttrpc.h"

OWN_DEFINE(struct oci_config *, oci_config_free)

// Those that are the agent's own as well are joined without effect, but for a user namespace: that is refused.
static int join_flags(const struct oci_config *c)
{
	int f = CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET | CLONE_NEWCGROUP;

	f |= c->lin.ns[OCI_NS_USER].present ? CLONE_NEWUSER : 0;
	f |= c->lin.ns[OCI_NS_TIME].present ? CLONE_NEWTIME : 0;
	return f;
}

// ---- the child
static int enter(const struct container *c, int init, int ctl, const int fds[3], struct err *e)
{
	int r = child_stdio(fds, e);

	if (r < 0)
		return r;
	if (setns(init, join_flags(c->config)) < 0)
		return err_errno(e, errno, "joining the container's namespaces");
	r = child_container_root(&c->config->lin, e);
	r = r < 0 ? r : child_keyring(c->id, e);
	r = r < 0 ? r : child_close_others(ctl, e);
	if (r == 0 && setsid() < 0)
		return err_errno(e, errno, "setsid");
	return r;
}

static _Noreturn void exec_main(const struct container *c, const struct oci_process *p, int init,
				int ctl, const int fds[3])
{
	static struct child_program prog;
	struct err e = { 0 };
	char go;
	int r;

	child_begin();
	if (io_read_full(ctl, &go, 1) < 0) // until the agent has done its part
		_exit(1);
	r = enter(c, init, ctl, fds, &e);
	if (r == 0 && p->terminal) {
		int master = child_terminal(p, false, &e);

		r = master < 0 ? master : child_ready(ctl, master, &e);
	}
	r = r < 0 ? r : child_become(p, &c->config->lin, &prog, &e);
	if (r == 0)
		child_exec(p, &prog, &e);
	(void)err_wrap(&e, "unable to start container process"); // told here
	child_fail(ctl, &e);
}

// ---- the agent
// The agent's own children are born in whatever pid namespace it has last chosen for them: chosen for one fork only.
static pid_t clone_into(int init, int cgroup, struct err *e)
{
	struct clone_args args = { .flags = cgroup >= 0 ? CLONE_INTO_CGROUP : 0,
				   .exit_signal = SIGCHLD,
				   .cgroup = cgroup >= 0 ? (uint64_t)cgroup : 0 };
	int self AUTO_CLOSE = (int)syscall(SYS_pidfd_open, getpid(), 0);
	pid_t pid;

	if (self < 0)
		return err_errno(e, errno, "pidfd_open");
	if (setns(init, CLONE_NEWPID) < 0)
		return err_set(e, ESRCH, "cannot exec in a stopped container");
	pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
	if (pid == 0)
		return 0;
	if (pid < 0)
		(void)err_errno(e, errno,
				"unable to start container process: clone"); // returned below
	if (setns(self, CLONE_NEWPID) < 0) // to its own: there is nothing that could refuse it
		return err_errno(e, errno, "returning to the agent's pid namespace");
	return pid < 0 ? -e->code : pid;
}

static int launch(struct process *p, const struct oci_process *spec, const char *below,
		  struct err *e)
{
	struct container *c = p->container;
	int fds[3] = { -1, -1, -1 }, ctl = -1;
	int init AUTO_CLOSE = (int)syscall(SYS_pidfd_open, c->init.pid, 0), cgroup AUTO_CLOSE = -1;
	int r = init < 0 ? err_errno(e, errno, "the container's first process") : 0;
	uint32_t owner = 0;

	if (r == 0 && c->cgroup)
		r = cgroup = cgroup_open(c->cgroup, below, e);
	r = r < 0 ? r : userns_uid(&c->config->lin, spec->uid, &owner, "process.user.uid", e);
	r = r < 0 ? r : process_stdio(p, owner, fds, &ctl, e);
	if (r == 0)
		r = p->pid = clone_into(init, cgroup, e);
	if (r == 0 && p->pid == 0) {
		close_fd(p->ctl); // its end must be seen
		exec_main(c, spec, init, ctl, fds);
	}
	for (unsigned i = 0; i < 3; i++)
		close_fd(fds[i]);
	close_fd(ctl);
	r = r < 0 ? r : running_from_outside(spec, p->pid, e);
	// What counts before the cgroup is entered and what counts after it: it is born in it.
	r = r < 0 ? r
		  : running_affinity(p->pid,
				     spec->affinity_final ? spec->affinity_final
							  : spec->affinity_initial,
				     e);
	r = r < 0 ? r : process_watch(p, e);
	if (r == 0 && io_write_full(p->ctl, "g", 1) < 0)
		r = err_set(e, ECHILD, "the process ended at once");
	return r;
}

static struct process *exec_new(struct container *c, const Agent__ExecRequest *req, bool terminal,
				struct err *e)
{
	struct process *p = calloc(1, sizeof(*p));

	if (!p || !(p->exec_id = strdup(req->exec_id))) {
		free(p);
		(void)err_errno(e, ENOMEM, "exec"); // told by the caller
		return NULL;
	}
	process_init(p, c->a, c,
		     (uint32_t[3]){ req->stdin_stream, req->stdout_stream, req->stderr_stream },
		     terminal);
	p->state = PROCESS_STARTING;
	p->next = c->execs;
	c->execs = p;
	return p;
}

static int check(struct container *c, const Agent__ExecRequest *req, struct err *e)
{
	unsigned n = 0;

	if (c->init.state == PROCESS_STOPPED || c->init.state == PROCESS_CREATING ||
	    c->init.deleting)
		return err_set(e, EBUSY, "cannot exec in a stopped container");
	if (!req->exec_id[0] || strlen(req->exec_id) > 1024)
		return err_set(e, EINVAL, "exec: bad exec id");
	if (container_process(c, req->exec_id))
		return err_set(e, EEXIST, "exec %s: already exists", req->exec_id);
	for (const struct process *p = c->execs; p; p = p->next)
		n++;
	if (n >= CONTAINER_EXECS_MAX)
		return err_set(e, ENOSPC, "more than %d processes by exec", CONTAINER_EXECS_MAX);
	if (c->cgroup && !req->ignore_paused && cgroup_frozen(c->cgroup))
		return err_set(
			e, EBUSY,
			"cannot exec in a paused container (use --ignore-paused to override)");
	return 0;
}

static int exec(struct container *c, struct ttrpc_call *call, const Agent__ExecRequest *req,
		struct err *e)
{
	struct oci_config *doc AUTO(oci_config_free) = NULL;
	struct process *p;
	int r = check(c, req, e);

	if (r < 0 ||
	    (r = oci_process_parse((const char *)req->process.data, req->process.len, &doc, e)) < 0)
		return r;
	r = process_supported(&doc->process, e);
	if (r < 0)
		return r;
	p = exec_new(c, req, doc->process.terminal, e);
	if (!p)
		return -ENOMEM;
	r = launch(p, &doc->process, req->cgroup, e);
	if (r < 0) {
		container_process_failed(p, e); // nobody waits on it yet
		return r;
	}
	p->pending = call;
	return 0;
}

void containers_exec(struct agent *a, struct ttrpc_call *call, const uint8_t *payload, size_t len)
{
	Agent__ExecRequest *req = agent__exec_request__unpack(NULL, len, payload);
	struct container *c = req ? container_find(a, req->id) : NULL;
	struct err e = { 0 };

	if (!c) {
		ttrpc_call_fail(call, TTRPC_NOT_FOUND, "container does not exist");
	} else if (exec(c, call, req, &e) < 0) {
		ttrpc_call_fail_err(call, &e);
	}
	if (req && !(c && container_process(c, req->exec_id)))
		streams_discard(a->streams, (uint32_t[3]){ req->stdin_stream, req->stdout_stream,
							   req->stderr_stream });
	if (req)
		agent__exec_request__free_unpacked(req, NULL);
}
