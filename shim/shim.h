// SPDX-License-Identifier: Apache-2.0
// containerd-shim-bulkhead-v2: one process for each pod between containerd and Bulkhead. It serves containerd's Task
// service, has `bulkhead` do what needs the host (create, start, exec, delete), asks the pod's supervisor the rest, and
// tells containerd what happened. Answers about state come from its own memory: no guest is waited for.
#ifndef SHIM_SHIM_H
#define SHIM_SHIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "shim/stdio.h"

struct err;
struct job;
struct loop;
struct loop_source;
struct publisher;
struct ttrpc_call;
struct ttrpc_client;
struct ttrpc_server;

enum { SHIM_PATH_BYTES = 4096, SHIM_LISTEN_FD = 3 };
#define SHIM_VERSION_TEXT "containerd-shim-bulkhead-v2 " BULKHEAD_VERSION

// The command line (containerd's "shim v2" flags). Borrowed from argv.
struct shim_options {
	const char *ns, *address, *publish_binary, *id, *bundle, *socket, *action;
	bool debug, version, info;
};

enum shim_state { SHIM_REGISTERED, SHIM_CREATED, SHIM_RUNNING, SHIM_STOPPED };

struct shim_waiter {
	struct shim_waiter *next;
	struct ttrpc_call *call;
};

// A container's first process, or one more in it.
struct shim_process {
	struct shim_process *next;
	struct shim_task *task;
	uint64_t serial; // unique in this shim: answers that come later find it, or nothing
	char *exec_id;   // "": the first
	enum shim_state state;
	struct shim_stdio io;
	pid_t proxy;                    // 0: none yet
	bool proxy_gone, ended;         // ended: the supervisor has said how
	bool drain_over;                // it has had its time to be read
	bool busy;                      // a create, start or delete of it is under way
	struct ttrpc_call *call;        // that is answered when that is over
	struct ttrpc_call *delete_call; // waits for the output to be taken
	uint32_t exit_status;
	struct timespec exited_at;
	struct loop_source *drain_timer; // from the end of the process to that of its proxy
	struct shim_waiter *waiters;
	uint32_t width, height; // asked for before the start; 0: not
	char *spec;             // of an exec, until it is started; JSON
	size_t spec_len;
};

struct shim_task {
	struct shim_task *next;
	struct shim *shim;
	char *id, *bundle;
	struct shim_process init, *execs;
	struct ttrpc_client *pod;            // its supervisor; NULL: none, or gone
	char *runtime_root;                  // --root of bulkhead
	char *config;                        // --config of bulkhead, or NULL
	struct Task__CreateRequest *request; // until it is created
	bool systemd_cgroup, mounted, paused;
	uint32_t oom;
};

struct shim {
	struct loop *loop;
	const struct shim_options *options;
	struct ttrpc_server *server;
	struct publisher *publisher;
	struct shim_task *tasks;
	struct job *jobs;
	uint64_t serial;
	struct loop_source *linger; // ends an empty shim whose Shutdown never comes
	bool shutdown;
};

// task.c
struct shim_task *shim_find(struct shim *s, const char *id);
// NULL: call has been failed with NOT_FOUND.
struct shim_process *shim_find_process(struct shim *s, struct ttrpc_call *call, const char *id,
				       const char *exec_id);
struct shim_process *shim_by_serial(struct shim *s, uint64_t serial); // NULL: it is gone
// For callbacks that come when it may be gone. NULL: no memory. A reference that no callback takes is free()d.
void *shim_ref_new(const struct shim_process *p);
struct shim_process *shim_ref_take(void *ref); // as shim_by_serial
int shim_task_new(struct shim *s, const char *id, const char *bundle, struct shim_task **ret,
		  struct err *e);
void shim_task_free(
	struct shim_task *t); // takes it off the list; callers who wait are told that it is gone
bool shim_has_exec(struct shim_task *t, const char *exec_id);
int shim_exec_new(struct shim_task *t, const char *exec_id, struct shim_process **ret,
		  struct err *e);
void shim_exec_free(struct shim_process *p);
uint32_t shim_process_pid(const struct shim_process *p); // as containerd is told it

// exit.c: the end of processes.
// The proxy lives and the supervisor knows it: from here on its end is noticed.
int shim_watch(struct shim_process *p, struct err *e);
void shim_reap(struct shim *s); // children that have ended
void shim_settle(
	struct shim_process *p); // reports the end, if it is complete and nothing holds it back
void shim_answer_wait(const struct shim_process *p, struct ttrpc_call *call);

// service.c
int shim_serve(struct shim *s, int listen_fd, struct err *e);
// lifecycle.c and control.c: the methods. payload is the request.
typedef void shim_method(struct shim *s, struct ttrpc_call *call, const uint8_t *payload,
			 size_t len);
shim_method shim_create, shim_start, shim_exec, shim_delete, shim_state, shim_pids, shim_kill,
	shim_wait, shim_pause, shim_resume, shim_update, shim_stats, shim_resize, shim_close_io,
	shim_connect, shim_shutdown, shim_checkpoint;

void shim_resize_late(struct shim_process *p);  // to what was asked for before it could be done
void shim_delete_go_on(struct shim_process *p); // its proxy has gone

// oom.c: publishes kills for want of memory, as long as the supervisor is there.
void shim_watch_oom(struct shim_task *t);

// The actions of the command line. They print containerd's answer, and return the exit status.
int shim_action_start(const struct shim_options *o);
int shim_action_delete(const struct shim_options *o);
int shim_action_info(const struct shim_options *o);
int shim_daemon(const struct shim_options *o);

#endif
