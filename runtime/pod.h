// SPDX-License-Identifier: Apache-2.0
// One virtual machine and its file server, as the supervisor sees them: two children with pidfds, a console, and a
// connection to the agent. Nothing here waits for the guest; every call to the agent has a deadline.
#ifndef RUNTIME_POD_H
#define RUNTIME_POD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "proto/ttrpc.h"

struct err;
struct host_cgroup;
struct loop;
struct oci_resources;
struct pod;
struct ProtobufCMessage;
struct vmm_control_net;

struct pod_config {
	const char *root, *id;         // ROOT/pods/ID exists
	const char *hypervisor;        // auto, mshv, kvm, soft
	const char *kernel, *initrd;   // paths
	const char *vmm;               // path of another program than bulkhead-vmm, or NULL
	const char *kernel_parameters; // after ours, or NULL
	uint64_t memory_bytes;
	unsigned vcpus;
	const char *cgroup_manager, *bundle; // of the container that the pod is made for
	struct host_cgroup *cgroup;          // this process is in it; NULL: none. Borrowed
	bool debug;
	int timings_fd; // marks of the boot are written here as lines; -1: nowhere
};

// Each at most once; `gone` ends it all. why is for a person.
struct pod_events {
	void (*ready)(void *arg);
	void (*gone)(void *arg, const char *why);
};

// Makes sockets and the share, starts both programs and begins to look for the agent. The caller is in a mount namespace
// of its own (share_enter).
int pod_boot(struct loop *l, const struct pod_config *cfg, const struct pod_events *events,
	     void *arg, struct pod **ret_pod, struct err *e);
void pod_free(struct pod *p); // kills what runs

bool pod_is_ready(const struct pod *p);
bool pod_is_gone(const struct pod *p);
const char *pod_id(const struct pod *p);
// What the guest's kernel says it has, to within a part in a hundred.
uint64_t pod_memory_total(const struct pod *p);
const char *pod_share_dir(const struct pod *p);

// A call to the agent; msg is packed at once. On failure fn is not called.
int pod_call(struct pod *p, const char *method, const struct ProtobufCMessage *msg, int timeout_ms,
	     ttrpc_reply_fn *fn, void *arg, struct err *e);

// The host's part of an update: quota, shares and cpuset of the vCPU threads.
int pod_update(struct pod *p, const struct oci_resources *res, struct err *e);

// Plugs an interface into the machine, at any time after pod_boot: the guest finds it when the agent binds its driver.
// fds as kind says, at most 8; they stay the caller's. Waits for the VMM, which answers from its loop, for a bounded time.
int pod_plug_net(struct pod *p, const struct vmm_control_net *net, const int *fds, unsigned n,
		 unsigned *ret_slot, struct err *e);

// For --timings: a line with the time, and the machine's counters if it has any. name is a literal.
void pod_mark(struct pod *p, const char *name);

// Asks the agent to sync and stop, for a bounded time, then kills. `gone` follows.
void pod_power_off(struct pod *p);
// Kills the machine now. `gone` follows.
void pod_kill(struct pod *p, const char *why);

#endif
