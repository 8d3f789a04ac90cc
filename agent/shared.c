// SPDX-License-Identifier: Apache-2.0
#include "agent/shared.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/cgroup.h"
#include "agent/container.h"
#include "base/err.h"
#include "base/own.h"
#include "oci/oci.h"
#include "proto/agent.pb-c.h"

// The network is every container's in a pod.
static const struct {
	enum oci_ns kind;
	int flag;
	const char *own; // what the agent's children are born into
} kinds[] = {
	{ OCI_NS_IPC, CLONE_NEWIPC, "/proc/self/ns/ipc" },
	{ OCI_NS_UTS, CLONE_NEWUTS, "/proc/self/ns/uts" },
	{ OCI_NS_PID, CLONE_NEWPID, "/proc/self/ns/pid" },
};
enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };

static int find_kind(const char *type)
{
	for (int k = 0; k < KINDS; k++)
		if (strcmp(type, oci_ns_name[kinds[k].kind]) == 0)
			return k;
	return -ENOENT;
}

int shared_take(struct container *c, const Agent__CreateRequest *req, struct err *e)
{
	for (size_t i = 0; i < req->n_shared; i++) {
		const char *type = req->shared[i]->type;
		struct container *from = container_find(c->a, req->shared[i]->id);
		int k = find_kind(type);

		if (strcmp(type, oci_ns_name[OCI_NS_NETWORK]) == 0)
			continue;
		if (k < 0)
			return err_set(e, EOPNOTSUPP, "linux.namespaces: %.40s: cannot be shared",
				       type);
		if (!from || from->init.pid <= 0)
			return err_set(e, ESRCH,
				       "linux.namespaces: %s: container %.80s does not run", type,
				       req->shared[i]->id);
		c->shared[kinds[k].kind] = from;
	}
	// A path means nothing here by itself.
	for (int k = 0; k < KINDS; k++)
		if (c->config->lin.ns[kinds[k].kind].path && !c->shared[kinds[k].kind])
			return err_set(
				e, EOPNOTSUPP,
				"linux.namespaces: %s: a path: not of a container in this pod",
				oci_ns_name[kinds[k].kind]);
	return 0;
}

static int clone_flags(const struct container *c)
{
	int f = CLONE_NEWNS;

	for (int k = 0; k < KINDS; k++)
		if (c->config->lin.ns[kinds[k].kind].present && !c->shared[kinds[k].kind])
			f |= kinds[k].flag;
	return f; // the cgroup namespace comes once the process is in its group
}

static int join(const struct container *from, int k, struct err *e)
{
	int init AUTO_CLOSE = (int)syscall(SYS_pidfd_open, from->init.pid, 0);

	if (init < 0 || setns(init, kinds[k].flag) < 0)
		return err_errno(e, errno, "linux.namespaces: %s: joining that of container %s",
				 oci_ns_name[kinds[k].kind], from->id);
	return 0;
}

// The agent itself goes where its child is to be born, and back: a child in a user namespace of its own could not.
pid_t shared_clone(const struct container *c, int flags, struct err *e)
{
	int own[KINDS] = { -1, -1, -1 }, r = 0;
	pid_t pid = -1;

	for (int k = 0; r == 0 && k < KINDS; k++) {
		if (!c->shared[kinds[k].kind])
			continue;
		own[k] = open(kinds[k].own, O_RDONLY | O_CLOEXEC);
		r = own[k] < 0 ? err_errno(e, errno, "%s", kinds[k].own)
			       : join(c->shared[kinds[k].kind], k, e);
	}
	if (r == 0) {
		pid = cgroups_clone(c->a->cgroups,
				    (unsigned long)(clone_flags(c) | flags | SIGCHLD));
		if (pid < 0)
			r = err_errno(e, errno, "linux.namespaces: clone");
	}
	for (int k = 0; pid != 0 && k < KINDS; k++) {
		if (own[k] >= 0 && setns(own[k], kinds[k].flag) < 0) // nothing could refuse it
			r = err_errno(e, errno, "returning to the agent's namespaces");
	}
	for (int k = 0; k < KINDS; k++)
		close_fd(own[k]);
	if (r < 0 && pid > 0) {
		(void)kill(pid, SIGKILL);
		(void)waitpid(pid, NULL, 0); // killed: soon
	}
	return r < 0 ? r : pid;
}
