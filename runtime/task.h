// SPDX-License-Identifier: Apache-2.0
// One container in the supervisor, and its processes. Private to the service.
#ifndef RUNTIME_TASK_H
#define RUNTIME_TASK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "oci/oci.h"
#include "runtime/process.h"

struct err;
struct event_waiter;
struct loop_source;
struct service;
struct ttrpc_call;

struct task {
	struct task *next;
	struct service *service;
	char *id, *bundle;
	char *config; // for the guest, until it has been sent
	size_t config_len;
	struct ttrpc_call *create_call, *delete_call; // to be answered
	struct process init;                          // its state is the container's
	struct process *execs;
	struct loop_source *linger_timer;
	bool paused;
	bool deleting;              // in the guest
	bool owner;                 // the pod's first container: the pod ends with it
	char *shared[OCI_NS_KINDS]; // whose namespace it gets, until it has been sent; owned
	uint32_t oom;               // kills for want of memory so far
	struct event_waiter *event_waiters;
	bool exported; // its files are in the share
};

// Reads and checks the bundle's config.json and puts its files into the share. *ret_task is on no list yet.
int task_new(struct service *s, const char *share_dir, const char *id, const char *bundle,
	     uint64_t serial, struct task **ret_task, struct err *e);
void task_free(struct task *t, const char *share_dir); // answers who still waits
void task_sent(struct task *t);                        // drops what was for the guest

// An empty exec_id is the first process; NULL when there is no such.
struct process *task_process(struct task *t, const char *exec_id);
struct process *task_add_exec(struct task *t, const char *exec_id,
			      uint64_t serial); // NULL: no memory
void task_remove_exec(struct process *p);       // frees it

#endif
