// SPDX-License-Identifier: Apache-2.0
// The inside of the service: service.c (dispatch and the calls that only look), service_act.c (those that change a
// container), service_exec.c (those that add a process and move its terminal), service_control.c (pause, update, stats).
#ifndef RUNTIME_SERVICE_PRIV_H
#define RUNTIME_SERVICE_PRIV_H

#include "proto/task.h"
#include "proto/ttrpc.h"
#include "runtime/pod.h"
#include "runtime/service.h"
#include "runtime/task.h"

enum { SERVICE_TASKS_MAX = 256 };

struct service {
	struct loop *loop;
	struct ttrpc_server *server;
	struct pod *pod;
	const char *root; // of the state
	struct task *tasks;
	bool owned; // it has had its first container, which the pod ends with
	unsigned n_tasks;
	uint64_t last_serial; // of a process
	void (*on_shutdown)(void *arg);
	void *arg;
	struct ttrpc_call *shutdown_call;
	bool shutting_down, finished;
	struct loop_source *finish_timer;
	char gone_why[1024];
};

struct task *service_find(struct service *s, const char *id);
// The process that a request names, or NULL and the call is answered.
struct process *service_find_process(struct service *s, struct ttrpc_call *call, const char *id,
				     const char *exec_id);

// Calls the agent about a process; on failure nothing was sent. fn gets a reference that service_ref_take turns into the
// process, or NULL when it has been removed meanwhile.
int service_call_agent(struct process *p, const char *method, const struct ProtobufCMessage *msg,
		       int timeout_ms, ttrpc_reply_fn *fn, struct err *e);
struct process *service_ref_take(void *ref);
void service_ignore_reply(void *ref, int code, const char *message, const uint8_t *payload,
			  size_t len);
// Asks the agent to say when the process ends.
int service_await_end(struct process *p, struct err *e);
// Takes the host process that stands for p from the options of our own command line.
int service_take_proxy(struct process *p, const Task__BulkheadCreateOptions *o, struct err *e);
void service_signal(struct process *p, uint32_t signo, bool all, ttrpc_reply_fn *fn);

// The process has ended, for whatever reason; at most once.
void service_process_stopped(struct service *s, struct process *p, uint32_t exit_status);
// Answers the Event calls that have something to hear of t; drop: all of them.
void service_tell_events(struct task *t);
void service_drop_events(struct task *t);
void service_await_events(struct service *s); // listens to the agent's, as long as there is one
// A member that has ended, and that no state.json tells of: its create has died.
void service_drop_unknown(struct task *t);
void service_task_remove(struct service *s, struct task *t);
void service_send_create(struct service *s, struct task *t);
void service_exec_start(struct process *p, struct ttrpc_call *call);
void service_exec_remove(struct process *p);

void service_create(struct service *s, struct ttrpc_call *call, const Task__CreateRequest *q);
void service_start(struct service *s, struct ttrpc_call *call, const Task__StartRequest *q);
void service_exec(struct service *s, struct ttrpc_call *call, const Task__ExecRequest *q);
void service_resize(struct service *s, struct ttrpc_call *call, const Task__ResizePtyRequest *q);
void service_close_io(struct service *s, struct ttrpc_call *call, const Task__CloseIoRequest *q);
void service_kill(struct service *s, struct ttrpc_call *call, const Task__KillRequest *q);
void service_delete(struct service *s, struct ttrpc_call *call, const Task__DeleteRequest *q);
void service_pause(struct service *s, struct ttrpc_call *call, const Task__PauseRequest *q);
void service_resume(struct service *s, struct ttrpc_call *call, const Task__ResumeRequest *q);
void service_update(struct service *s, struct ttrpc_call *call, const Task__UpdateRequest *q);
void service_stats(struct service *s, struct ttrpc_call *call, const Task__StatsRequest *q);
void service_pids(struct service *s, struct ttrpc_call *call, const Task__PidsRequest *q);
void service_processes(struct service *s, struct ttrpc_call *call, const Task__ProcessesRequest *q);
void service_event(struct service *s, struct ttrpc_call *call, const Task__EventRequest *q);
void service_shutdown(struct service *s, struct ttrpc_call *call, const Task__ShutdownRequest *q);

#endif
