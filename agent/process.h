// SPDX-License-Identifier: Apache-2.0
// One process of a container: its standard streams or terminal, its way to execve, its end, and who waits for it.
#ifndef AGENT_PROCESS_H
#define AGENT_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct agent;
struct container;
struct err;
struct loop_source;
struct relay;
struct ttrpc_call;

enum { PROCESS_WAITERS_MAX = 16 };
enum process_state {
	PROCESS_CREATING, // being set up
	PROCESS_CREATED,  // waits for its start
	PROCESS_STARTING, // on its way to execve
	PROCESS_RUNNING,
	PROCESS_STOPPED,
};

struct process {
	struct agent *a;
	struct container *container;
	struct process *next; // in the container's list
	char *exec_id;        // owned; NULL: the container's first process
	enum process_state state;
	bool terminal;
	uint32_t stream[3]; // ids; 0: /dev/null
	int pipe[3];        // owned: our end until its stream has come
	int master;         // owned: of the terminal, -1: none
	pid_t pid;
	int ctl; // owned; to the child until execve
	struct loop_source *ctl_source;
	struct relay *relay[3];
	struct ttrpc_call *pending; // Create, Start or Exec under way
	struct ttrpc_call *waiters[PROCESS_WAITERS_MAX], *deleting;
	unsigned n_waiters;
	int status; // of waitpid
	// After the end: has any output moved since the timer was set?
	struct loop_source *stall_timer;
	uint64_t moved;
	bool stalled;
};

// Zeroed memory becomes a process without a child; process_done closes what it has and fails who waits.
void process_init(struct process *p, struct agent *a, struct container *c, const uint32_t stream[3],
		  bool terminal);
void process_done(struct process *p);

// Fills fds[i] with the child's end of stream i: a pipe of the user's, or /dev/null. Also makes the control channel; *ret_ctl is the
// child's end. All four are the caller's, also on failure (-1: none).
int process_stdio(struct process *p, uint32_t owner, int fds[3], int *ret_ctl, struct err *e);
// After the fork: listens to the child.
int process_watch(struct process *p, struct err *e);
void process_hear(struct process *p); // takes one report that is there; p may be gone afterwards
// Joins pipes or terminal with those streams that have come. The host may connect them before or after; until then output
// waits where it is.
void process_attach(struct process *p);

// The child has ended.
void process_ended(struct process *p, int status);
// Nothing can be said about it any more but its status: ended, and its output is with the host, or nobody takes it (nor waits for it).
bool process_settled(const struct process *p);
void process_answer_waiters(struct process *p);
void process_drop_streams(struct process *p); // whoever still reads has had the time
int process_resize(struct process *p, uint32_t width, uint32_t height);

// container.c: what the process tells its container.
void container_process_ready(struct process *p); // set up; a first process waits for Start
void container_process_failed(struct process *p,
			      const struct err *e); // before execve; p may be gone afterwards
void container_process_runs(struct process *p);     // execve has succeeded
void container_settle(struct container *c);         // answers what can be; c may be gone afterwards

#endif
