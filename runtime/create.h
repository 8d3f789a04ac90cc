// SPDX-License-Identifier: Apache-2.0
// Makes a container, in a pod of its own or in the one that it belongs to, in steps that the caller interleaves with its proxy process; all of it is
// undone unless the last step is reached.
#ifndef RUNTIME_CREATE_H
#define RUNTIME_CREATE_H

#include <stdbool.h>
#include <sys/types.h>

#include "runtime/machine.h"

struct client;
struct create;
struct err;
struct hooks_home;
struct placement;

struct create_request {
	const char *root, *id, *bundle; // bundle NULL: the working directory
	const char *cgroup_manager;     // as the option
	const char *host_config;        // path of the host's configuration; NULL: the usual one
	struct machine_options machine;
	bool debug;
	bool detach;                // the caller does not stay: its terminal cannot be used
	bool has_tty;               // the caller has a terminal to lend
	const char *console_socket; // NULL: none
	bool terminal_on_stdio; // the standard streams carry a terminal's two directions, and are none
	int timings_fd;         // for the supervisor's marks; -1: none
};

// Checks everything that can be checked on this side, takes the id, and starts the supervisor, and with it
// the machine, unless the pod is there.
int create_begin(const struct create_request *req, struct create **ret_create, struct err *e);
// Runs the hooks of a create. proxy has the container's namespaces of the host already; home: see hooks.h, NULL or valid
// until create_end.
int create_hooks(struct create *c, pid_t proxy, const struct hooks_home *home, struct err *e);
// Makes the container in the guest; proxy is the process that will stand for it.
int create_container(struct create *c, pid_t proxy, struct err *e);
// Writes state.json (and pid_file if not NULL): from here on the container exists.
int create_commit(struct create *c, pid_t proxy, const char *pid_file, struct err *e);
// Ends with or without commit; without, removes all traces. NULL is accepted.
void create_end(struct create *c);

struct client *create_client(struct create *c); // borrowed
const char *create_pod(const struct create *c); // its id
const struct placement *create_placement(const struct create *c);
bool create_terminal(const struct create *c);          // process.terminal
const char *create_hypervisor(const struct create *c); // auto, mshv, soft

#endif
