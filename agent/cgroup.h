// SPDX-License-Identifier: Apache-2.0
// Cgroup v2 groups of containers: made, limited, frozen, signalled, watched, removed. What takes time is told by a callback.
#ifndef AGENT_CGROUP_H
#define AGENT_CGROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct cgroup;
struct cgroups;
struct err;
struct loop;
struct oci_resources;

#define CGROUP_MOUNT "/sys/fs/cgroup"
#define CGROUP_ROOT CGROUP_MOUNT "/pod" // above all containers
enum { CGROUP_PATH_BYTES = 2048 };

// All of them, and the kernel's news of them. The agent goes into a group of its own. The containers' are below another,
// which may use as much memory as can be had without starving the agent and the kernel. on_oom: a process of that group
// was killed for want of memory.
int cgroups_new(struct loop *l, void (*on_oom)(void *arg, struct cgroup *g), void *arg,
		struct cgroups **ret, struct err *e);
// clone(2) of a process that sees groups from CGROUP_ROOT down. It is in the agent's group until cgroup_enter. As fork,
// it returns twice. all may be NULL.
pid_t cgroups_clone(const struct cgroups *all, unsigned long flags);

// Where a container's group is, below the root: its cgroupsPath, also as systemd's slice:prefix:name; "/ID" without one.
int cgroup_path(const char *cgroups_path, const char *id, char ret[CGROUP_PATH_BYTES],
		struct err *e);

// tag is given back by cgroup_tag. On failure nothing stays.
int cgroup_new(struct cgroups *all, const char *path, void *tag, const struct oci_resources *r,
	       struct cgroup **ret, struct err *e);
void *cgroup_tag(const struct cgroup *g);
// Only what r names changes, all of it or nothing.
int cgroup_update(struct cgroup *g, const struct oci_resources *r, struct err *e);

int cgroup_enter(const struct cgroup *g, pid_t pid, struct err *e);
// It becomes the user's to divide, as the kernel says a delegated group is.
int cgroup_give(const struct cgroup *g, uid_t uid, struct err *e);
// The group, or one below it, as a directory of the caller's; below is "" for the group itself and may not lead out of it.
int cgroup_open(const struct cgroup *g, const char *below, struct err *e);
int cgroup_fd(const struct cgroup *g); // borrowed

typedef void cgroup_done_fn(void *arg, int r);
// Stops all processes in it; done is called once, with 0 when they have stopped, or -ETIMEDOUT and they run again.
// -EBUSY: it is being frozen already, and done is not called.
int cgroup_freeze(struct cgroup *g, cgroup_done_fn *done, void *arg);
void cgroup_thaw(struct cgroup *g);
bool cgroup_frozen(const struct cgroup *g); // by cgroup_freeze

void cgroup_kill(struct cgroup *g); // SIGKILL to all in it, frozen ones too
// Signals all in it and below, so that none escapes by forking: they stand still meanwhile.
void cgroup_signal(struct cgroup *g, int signo, cgroup_done_fn *done, void *arg);

// The pids in it and below, as the agent sees them. *ret is the caller's.
int cgroup_pids(const struct cgroup *g, pid_t **ret, size_t *ret_n, struct err *e);

// What the kernel has to tell and has not yet: on_oom comes before this returns.
void cgroup_check(struct cgroup *g);

// Kills what is left and removes the group once it is empty. g is the caller's no more; done (which may be NULL) is
// called once, also when it could not be removed in time.
void cgroup_end(struct cgroup *g, void (*done)(void *arg), void *arg);

#endif
