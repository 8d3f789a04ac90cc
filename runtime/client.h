// SPDX-License-Identifier: Apache-2.0
// A client of a pod's supervisor: containerd's Task service over ROOT/pods/ID/supervisor.sock. Calls block, each with a
// deadline of its own.
#ifndef RUNTIME_CLIENT_H
#define RUNTIME_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct err;
struct client;
struct store_container;

enum client_status { CLIENT_CREATED, CLIENT_RUNNING, CLIENT_STOPPED, CLIENT_PAUSED };
extern const char *const client_status_name[]; // "created", "running", "stopped", "paused"

struct client_state {
	enum client_status status;
	uint32_t exit_status; // when stopped
};

// -ENOENT or -ECONNREFUSED when there is no supervisor any more.
int client_open(const char *root, const char *pod, struct client **ret_client, struct err *e);
void client_close(struct client *c);

// proxy is the host process that stands for the container's.
struct client_create {
	const char *id, *bundle;
	pid_t proxy;
	char *const *
		shared; // by enum oci_ns: the container whose namespace it gets, or NULL; NULL: none at all
};
int client_create(struct client *c, const struct client_create *req, struct err *e);
int client_start(struct client *c, const char *id, struct err *e);
// One more process, known from here on; it runs after client_exec_start.
struct client_exec {
	const char *id, *exec_id;
	pid_t proxy;
	bool terminal, ignore_paused;
	const char *process; // JSON
	size_t process_len;
	const char *cgroup; // below the container's; "": that one
};
int client_exec(struct client *c, const struct client_exec *req, struct err *e);
int client_exec_start(struct client *c, const char *id, const char *exec_id, struct err *e);
int client_kill(struct client *c, const char *id, uint32_t signo, bool all, struct err *e);
int client_delete(struct client *c, const char *id, uint32_t *ret_exit_status, struct err *e);
int client_get_state(struct client *c, const char *id, struct client_state *ret, struct err *e);

// client_control.c: a running container as a whole. client_reach finds its supervisor; a container without one is stopped,
// and that is an error in the words of `stopped`.
int client_reach(const char *root, const char *id, const char *stopped, struct client **ret_client,
		 struct err *e);
int client_pause(struct client *c, const char *id, struct err *e);
int client_resume(struct client *c, const char *id, struct err *e);
// json is linux.resources.
int client_update(struct client *c, const char *id, const char *json, size_t len, struct err *e);
// *ret: metrics__metrics__free_unpacked.
struct Metrics__Metrics;
int client_stats(struct client *c, const char *id, struct Metrics__Metrics **ret, struct err *e);
// Host pids of what stands for its processes; *ret_pids is the caller's.
int client_pids(struct client *c, const char *id, uint32_t **ret_pids, size_t *ret_n,
		struct err *e);
// The guest's: fn is called for each.
struct client_process {
	uint32_t uid, pid, parent;
	uint64_t cpu_usec;
	const char *command, *exec_id;
};
int client_processes(struct client *c, const char *id,
		     void (*fn)(const struct client_process *p, void *arg), void *arg,
		     struct err *e);
// Waits, at most wait_ms, for more than seen kills for want of memory, or for the end.
int client_event(struct client *c, const char *id, uint32_t seen, uint32_t wait_ms,
		 uint32_t *ret_oom, bool *ret_stopped, struct err *e);

// Blocks until the container has stopped, without a deadline: the supervisor answers for a dead guest, and its own death
// ends the connection (-EPIPE).
int client_wait(struct client *c, const char *id, uint32_t *ret_exit_status, struct err *e);
// The supervisor ends after its reply, unless it has other containers: then *ret_ends is false.
int client_shutdown(struct client *c, bool *ret_ends, struct err *e);

// What a container is now, whoever is left to ask: a container without supervisor is stopped.
int client_look(const char *root, const struct store_container *c, struct client_state *ret,
		struct err *e);

#endif
