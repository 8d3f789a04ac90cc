// SPDX-License-Identifier: Apache-2.0
// One container in the supervisor, and who waits for it. Private to the service.
#ifndef RUNTIME_TASK_H
#define RUNTIME_TASK_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "oci/oci.h"
#include "runtime/store.h"

struct loop_source;
struct service;
struct ttrpc_call;

enum task_state { TASK_CREATING, TASK_CREATED, TASK_RUNNING, TASK_STOPPED };

struct task_waiter {
	struct task_waiter *next;
	struct ttrpc_call *call;
};

struct task {
	struct task *next;
	struct service *service;
	char *id, *bundle;
	enum task_state state;
	uint32_t exit_status;
	struct timespec exited_at;
	uint32_t streams[3];
	char *config; // for the guest, until it has been sent
	size_t config_len;
	struct ttrpc_call *create_call, *start_call, *kill_call; // to be answered
	struct task_waiter *waiters;
	struct store_process proxy;
	int proxy_fd; // pidfd, -1: none
	struct loop_source *proxy_src, *kill_timer, *linger_timer;
	bool shared; // its files are in the share
};

// Reads and checks the bundle's config.json and puts its files into the share. *ret_task is on no list yet.
int task_new(struct service *s, const char *share_dir, const char *id, const char *bundle,
	     struct task **ret_task, struct err *e);
void task_free(struct task *t, const char *share_dir); // answers who still waits

#endif
