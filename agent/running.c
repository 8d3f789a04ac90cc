// SPDX-License-Identifier: Apache-2.0
// How a process is run: scheduler, I/O priority, processors, personality, memory policy.
#include "agent/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/ioprio.h>
#include <linux/sched/types.h>
#include <stdio.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "base/own.h"
#include "oci/oci.h"

// needs CONFIG_BLOCK

static int scheduler(const struct oci_scheduler *s, pid_t pid, struct err *e)
{
	struct sched_attr a = {
		.size = sizeof(a),
		.sched_policy = s->policy,
		.sched_flags = s->flags,
		.sched_nice = s->nice,
		.sched_priority = s->priority,
		.sched_runtime = s->runtime,
		.sched_deadline = s->deadline,
		.sched_period = s->period,
	};

	return s->set && syscall(SYS_sched_setattr, pid, &a, 0) < 0
		       ? err_errno(e, errno, "process.scheduler: sched_setattr")
		       : 0;
}

static int oom_score(const struct oci_process *p, pid_t pid, struct err *e)
{
	char path[48], text[24];
	int fd AUTO_CLOSE = -1;

	if (!p->oom_score_adj.set)
		return 0;
	(void)snprintf(path, sizeof(path), "/proc/%ld/oom_score_adj", (long)pid);  // fits
	(void)snprintf(text, sizeof(text), "%lld", (long long)p->oom_score_adj.v); // fits
	fd = open(path, O_WRONLY | O_CLOEXEC);
	return fd < 0 || write(fd, text, strlen(text)) < 0
		       ? err_errno(e, errno, "process.oomScoreAdj")
		       : 0;
}

// Only as far as the process itself may not go: low limits would stand in the way of its set-up.
static int raise_limits(const struct oci_process *p, pid_t pid, struct err *e)
{
	for (size_t i = 0; i < p->n_rlimits; i++) {
		__rlimit_resource_t what = (__rlimit_resource_t)p->rlimits[i].resource;
		struct rlimit l;

		if (prlimit(pid, what, NULL, &l) < 0)
			return err_errno(e, errno, "process.rlimits: %s", p->rlimits[i].type);
		if (p->rlimits[i].hard <= l.rlim_max)
			continue;
		l.rlim_max = p->rlimits[i].hard;
		if (prlimit(pid, what, &l, NULL) < 0)
			return err_errno(e, errno, "process.rlimits: %s", p->rlimits[i].type);
	}
	return 0;
}

int running_from_outside(const struct oci_process *p, pid_t pid, struct err *e)
{
	const struct oci_io_priority *io = &p->io_priority;
	int r = oom_score(p, pid, e);

	r = r < 0 ? r : raise_limits(p, pid, e);
	if (r < 0)
		return r;
	if (io->set && syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, pid,
			       IOPRIO_PRIO_VALUE(io->io_class, io->priority)) < 0)
		return err_errno(e, errno, "process.ioPriority: ioprio_set");
	return scheduler(&p->scheduler, pid, e);
}

int running_affinity(pid_t pid, const char *list, struct err *e)
{
	uint64_t bits[OCI_NODES_MAX / 64];

	if (!list)
		return 0;
	if (oci_list_bits(list, bits, OCI_NODES_MAX / 64) < 0 ||
	    syscall(SYS_sched_setaffinity, pid, sizeof(bits), bits) < 0)
		return err_errno(e, errno, "process.execCPUAffinity: %s: sched_setaffinity", list);
	return 0;
}

int running_memory_policy(const struct oci_memory_policy *p, struct err *e)
{
	// The kernel counts one more than it reads.
	if (p->set &&
	    syscall(SYS_set_mempolicy, p->mode | p->flags, p->nodes, OCI_NODES_MAX + 1) < 0 &&
	    errno != ENOSYS) // one node: every policy means the same
		return err_errno(e, errno, "linux.memoryPolicy: set_mempolicy");
	return 0;
}

int running_personality(const struct oci_linux *l, struct err *e)
{
	return l->has_personality && personality(l->linux32 ? PER_LINUX32 : PER_LINUX) < 0
		       ? err_errno(e, errno, "linux.personality")
		       : 0;
}
