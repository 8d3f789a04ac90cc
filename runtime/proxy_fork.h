// SPDX-License-Identifier: Apache-2.0
// The proxy as a process of its own: a child of this one, which the caller of the command line inherits.
#ifndef RUNTIME_PROXY_FORK_H
#define RUNTIME_PROXY_FORK_H

#include <sys/types.h>

struct err;
struct proxy_config;

struct proxy_child {
	pid_t pid;
	int sock;
};

// Forks; the child waits. It holds this process's standard streams and nothing else of it. With a console socket, a pty
// takes their place once the child goes on.
int proxy_fork(const struct proxy_config *cfg, struct proxy_child *ret, struct err *e);
// Lets the child connect to the container's streams, and waits until it has.
int proxy_fork_go(struct proxy_child *p, struct err *e);
// Ends a child that is not wanted.
void proxy_fork_kill(struct proxy_child *p);

#endif
