// SPDX-License-Identifier: Apache-2.0
// The inside of a group, shared by cgroup.c (what is done to it) and cgroup_watch.c (what the kernel tells of it).
#ifndef AGENT_CGROUP_PRIV_H
#define AGENT_CGROUP_PRIV_H

#include <stdint.h>

#include "agent/cgroup.h"

struct loop_source;

enum {
	CGROUP_DEPTH_MAX = 32,
	CGROUP_FREEZE_MS = 2000, // a process in the middle of a long system call stops late
	CGROUP_END_MS = 5000,    // killed processes may have much to give back
};

struct cgroups {
	struct loop *loop;
	int fd; // inotify
	int agent_ns_fd,
		pod_ns_fd; // cgroup namespaces: the agent's, and one whose root is CGROUP_ROOT
	void (*on_oom)(void *arg, struct cgroup *g);
	void *arg;
	struct cgroup *first;
};

struct cgroup {
	struct cgroups *all;
	struct cgroup *next;
	void *tag;
	char *path; // below CGROUP_ROOT
	int fd, device_prog;
	int wd[2]; // of cgroup.events and memory.events
	bool watched, frozen, signalling, ending;
	uint64_t oom_kills;
	struct loop_source *timer; // of the freeze or of the end
	cgroup_done_fn *freeze_done;
	void *freeze_arg;
	void (*end_done)(void *arg);
	void *end_arg;
};

// The groups of the agent and of the pod, with all controllers handed on.
int cgroups_prepare(struct cgroups *all, struct err *e);

int cgroup_watch(struct cgroup *g, struct err *e);
void cgroup_unwatch(struct cgroup *g);

// What cgroup.events says. g may be gone afterwards.
void cgroup_look(struct cgroup *g, bool frozen, bool populated);
void cgroup_try_remove(struct cgroup *g);

#endif
