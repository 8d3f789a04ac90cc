// SPDX-License-Identifier: Apache-2.0
// One process of a container as the supervisor knows it: the first one, or one that Exec added. Private to the service.
#ifndef RUNTIME_PROCESS_H
#define RUNTIME_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "runtime/store.h"

struct loop_source;
struct task;
struct ttrpc_call;

enum process_state { PROCESS_CREATING, PROCESS_CREATED, PROCESS_RUNNING, PROCESS_STOPPED };

struct process_waiter {
	struct process_waiter *next;
	struct ttrpc_call *call;
};

struct process {
	struct task *task;
	struct process *next; // in the task's list
	uint64_t serial;      // names it in replies of the agent, which can come after its end
	char *exec_id;        // owned; NULL: the task's first process
	enum process_state state;
	uint32_t exit_status;
	struct timespec exited_at;
	bool terminal;
	uint32_t width, height; // of the terminal, as last told; 0: never
	uint32_t streams[3];
	struct {
		char *doc; // owned; the process object
		size_t doc_len;
		char *cgroup; // owned
		bool ignore_paused;
	} exec;                                    // until it has been sent
	struct ttrpc_call *start_call, *kill_call; // to be answered
	struct process_waiter *waiters;
	struct store_process proxy;
	int proxy_fd; // pidfd, -1: none
	struct loop_source *proxy_src, *kill_timer;
};

void process_init(struct process *p, struct task *t, uint64_t serial);
void process_done(struct process *p);                 // answers who still waits
const char *process_exec_id(const struct process *p); // "" for the first

#endif
