// SPDX-License-Identifier: Apache-2.0
// The inside of a pod, shared by pod.c (life and death), pod_spawn.c (the programs) and pod_agent.c (the connection).
#ifndef RUNTIME_POD_PRIV_H
#define RUNTIME_POD_PRIV_H

#include <sys/types.h>

#include "runtime/pod.h"
#include "runtime/store.h"
#include "runtime/usock.h"

struct loop_source;
struct vmm_control_net_answer;

struct pod_child {
	struct pod *pod;
	const char *name; // "bulkhead-vmm"
	pid_t pid;        // 0: none
	int pidfd;
	struct loop_source *src;
};

// What a child writes to its standard error, or the guest to its console: kept in a bounded file, and its last line in
// memory for the message of a failure.
struct pod_log {
	struct loop_source *src;
	int pipe_fd, file_fd;
	size_t written;
	char line[512], last[512]; // being collected; the last whole one that is not empty
	size_t line_len;
	bool errors_only; // last keeps only lines of level=error
};

enum { POD_MARKS_MAX = 8 };
struct pod_mark {
	const char *name; // literal
	int64_t ns;
};

struct pod {
	struct loop *loop;
	const struct pod_events *events;
	void *arg;
	char dir[STORE_PATH_BYTES], share_dir[STORE_PATH_BYTES + 8];
	const char *id;
	uint64_t memory_bytes;
	unsigned vcpus;
	struct pod_child vmm, fs;
	struct pod_log console, messages;
	int timings_fd, control_fd; // control_fd: of bulkhead-vmm
	struct loop_source *control_src;
	struct pod_mark marks[POD_MARKS_MAX]; // counters asked for, in order
	unsigned n_marks;
	struct host_cgroup *cgroup; // borrowed; NULL: none
	bool vcpus_placed;
	struct vmm_control_net_answer
		*plug_answer; // where PLUGGED goes while somebody waits for it
	bool plug_answered;
	char end_text[512]; // the VMM's last message; "" if there was none
	bool ready, stopping, gone;
	char why[1024];

	// The way to the agent.
	struct ttrpc_client *agent;
	int agent_fd; // while connecting
	struct usock_line agent_line;
	struct loop_source *agent_src, *agent_retry, *agent_deadline;
	struct loop_source *stop_timer;
};

void pod_kill_vmm(struct pod *p);
int pod_spawn(struct pod *p, const struct pod_config *cfg, struct err *e);
int pod_log_open(struct pod *p, struct pod_log *log, const char *name, int *ret_write_fd,
		 struct err *e);
void pod_log_drain(struct pod_log *log); // what is in the pipe
void pod_log_close(struct pod_log *log);
int pod_agent_begin(struct pod *p, struct err *e);
void pod_agent_end(struct pod *p);
int pod_control_begin(struct pod *p, struct err *e);
void pod_control_drain(struct pod *p);
void pod_control_end(struct pod *p);

#endif
