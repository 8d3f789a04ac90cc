// SPDX-License-Identifier: Apache-2.0
// The guest's PID 1: its parts. One thread, one loop; container processes are forked children.
#ifndef AGENT_AGENT_H
#define AGENT_AGENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct cgroup;
struct cgroups;
struct err;
struct event;
struct loop;
struct oci_config;
struct oci_linux;
struct oci_memory_policy;
struct oci_process;
struct oci_resources;
struct oci_seccomp;
struct sock_filter;
struct ttrpc_call;
struct ttrpc_server;
struct userns_aid;

#define AGENT_SHARE "/run/bulkhead/share"
enum { AGENT_PORT = 1024, AGENT_STREAM_PORT = 1025, AGENT_CONTAINERS_MAX = 256 };

struct agent {
	struct loop *loop;
	struct ttrpc_server *server;
	struct streams *streams;
	struct container *containers;
	struct cgroups *cgroups;
	struct event *events;          // not told yet, oldest first
	struct ttrpc_call *event_call; // who waits for one
	bool guest;                    // PID 1 of a guest: the machine is ours
	bool prepared;
};

// guest.c: what a guest needs before its first container: mounts, cgroups, loopback. Idempotent.
int guest_prepare(struct agent *a, struct err *e);
// What the kernel remembers of files nobody uses keeps them open on the host: it forgets them.
void guest_release(const struct agent *a);
void guest_set_clock(int64_t seconds, uint32_t nanos);
_Noreturn void guest_power_off(void);

// stream.c: stdio connections by id, and the relays between them and pipes.
struct relay;
int streams_new(struct loop *l, struct streams **ret, struct err *e);
void streams_accept(struct streams *s, int fd); // takes fd: a connection that will send its header
bool streams_has(const struct streams *s, uint32_t id);
int streams_take(struct streams *s,
		 uint32_t id); // the connection of that id, or -1 if it has not come
void streams_discard(struct streams *s, const uint32_t ids[3]); // closes those that have come
void streams_on_arrival(struct streams *s, void (*fn)(void *arg), void *arg);
// Copies from src to dst until src ends; takes both. done is called once.
int relay_new(struct loop *l, int src, int dst, void (*done)(void *arg), void *arg,
	      struct relay **ret, struct err *e);
void relay_free(struct relay *r);
// The writer has ended: what is in src now is still copied, then the relay ends. done may be called at once.
void relay_finish(struct relay *r);
uint64_t relay_moved(const struct relay *r); // bytes written so far; NULL: 0

// container.c: the ttrpc requests.
void containers_create(struct agent *a, struct ttrpc_call *call, const uint8_t *payload,
		       size_t len);
void containers_start(struct agent *a, struct ttrpc_call *call, const uint8_t *payload, size_t len);
void containers_kill(struct agent *a, struct ttrpc_call *call, const uint8_t *payload, size_t len);
void containers_wait(struct agent *a, struct ttrpc_call *call, const uint8_t *payload, size_t len);
void containers_delete(struct agent *a, struct ttrpc_call *call, const uint8_t *payload,
		       size_t len);
void containers_resize(struct agent *a, struct ttrpc_call *call, const uint8_t *payload,
		       size_t len);
void containers_close_stdin(struct agent *a, struct ttrpc_call *call, const uint8_t *payload,
			    size_t len);
void containers_exec(struct agent *a, struct ttrpc_call *call, const uint8_t *payload,
		     size_t len); // exec.c
// control.c
void containers_pause(struct agent *a, struct ttrpc_call *call, const uint8_t *payload, size_t len);
void containers_resume(struct agent *a, struct ttrpc_call *call, const uint8_t *payload,
		       size_t len);
void containers_update(struct agent *a, struct ttrpc_call *call, const uint8_t *payload,
		       size_t len);
void containers_pids(struct agent *a, struct ttrpc_call *call, const uint8_t *payload, size_t len);
void containers_stats(struct agent *a, struct ttrpc_call *call, const uint8_t *payload, size_t len);
// events.c
void containers_event(struct agent *a, struct ttrpc_call *call, const uint8_t *payload, size_t len);
void containers_oom(void *agent, struct cgroup *g); // a process of it was killed

void containers_reap(struct agent *a); // SIGCHLD
void containers_attach(void *agent);   // a stream has come

// supported.c: what a config asks for that this agent does not do: an error that names the field.
int config_supported(const struct oci_config *c, struct err *e);
int process_supported(const struct oci_process *p, struct err *e);

// devices.c: nodes and links below the root. nodes is -1, or a directory of devices_make_nodes: then they are bound.
int devices_make(int root, int nodes, const struct oci_config *c, struct err *e);
int devices_make_nodes(int dir, const struct oci_config *c, struct err *e); // by number

// rootfs.c: opens path below root and never outside it, by O_PATH.
enum {
	ROOTFS_DIR = 1,
	ROOTFS_FILE = 2, // what is missing is made, the last part as this
	ROOTFS_NOFOLLOW = 4
}; // the last part itself, when it is a symbolic link
int rootfs_open(int root, const char *path, unsigned how, struct err *e);

// root.c: from the guest's root to the container's, in its mount namespace.
int child_root(const struct oci_config *c, const struct userns_aid *aid, struct err *e);
// What is done there; *ret_master is the terminal's other end, if the process has one.
int child_root_finish(const struct oci_config *c, int *ret_master, struct err *e);

// running.c: scheduler, I/O priority, OOM score and the raising of limits, which take privileges that a user namespace does not give: from the agent.
int running_from_outside(const struct oci_process *p, pid_t pid, struct err *e);
int running_affinity(pid_t pid, const char *list,
		     struct err *e); // of execCPUAffinity; NULL: as it is
int running_memory_policy(const struct oci_memory_policy *p,
			  struct err *e); // from here on: the process itself
int running_personality(const struct oci_linux *l, struct err *e);

// child.c: the life of the forked process until execve. ctl: reports and commands; fds: stdio.
struct child_orders { // of Create
	const struct oci_config *config;
	const char *id, *bundle; // bundle: its path on the host
	const struct userns_aid *aid;
};
_Noreturn void child_main(const struct child_orders *o, int ctl, const int fds[3]);
struct child_report { // from child to agent; with the terminal's other end if there is one
	int code;     // 0: ready
	char msg[1000];
};
// seccomp.c
struct child_filter {
	struct sock_filter *insns; // n of them; 0: no filter
	unsigned n, flags;
};
int child_filter_make(const struct oci_seccomp *s, struct child_filter *ret,
		      struct err *e); // s may be NULL
int child_filter_load(const struct child_filter *f, struct err *e);
struct child_program {
	char path[4096];
	struct child_filter filter; // still to be loaded
};
// The steps that a container's first process and an exec have in common, in this order.
// Default dispositions, none blocked; and nobody in the container may trace it before execve (CVE-2016-9962).
void child_begin(void);
int child_stdio(const int fds[3], struct err *e);
int child_close_others(int ctl, struct err *e);
// In the container's root: limits, environment, cwd, user, capabilities, the program's path, seccomp.
int child_become(const struct oci_process *p, const struct oci_linux *l, struct child_program *ret,
		 struct err *e);
// Returns only on failure.
void child_exec(const struct oci_process *p, const struct child_program *prog, struct err *e);
_Noreturn void child_fail(int ctl, const struct err *e);
int child_ready(int ctl, int master, struct err *e); // master may be -1

// keyring.c: a session keyring, by its name the same for all processes of a container.
int child_keyring(const char *id, struct err *e);
// hooks.c: those that run in the container, at its start.
int child_hooks(const struct child_orders *o, struct err *e);
int child_capabilities(const struct oci_process *p,
		       struct err *e); // caps.c: sets, user and groups, in the right order
// terminal.c, in the container's root and a session of its own: a pty of its devpts becomes controlling terminal and
// standard streams, and with `console` also /dev/console. Returns the other end.
int child_terminal(const struct oci_process *p, bool console, struct err *e);

#endif
