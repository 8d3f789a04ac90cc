// SPDX-License-Identifier: Apache-2.0
// The host process that stands for a container's process: it holds the caller's standard streams, copies them to and from
// the guest with back-pressure, passes signals on, and ends with the container's exit code.
#ifndef RUNTIME_PROXY_H
#define RUNTIME_PROXY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct err;
struct placement;
struct proxy;

struct proxy_config {
	const char *root, *pod, *id;
	const char *exec_id; // NULL: the container's first process
	// Descriptors 1 and 2 are given up as the process's streams end, so that their readers see it; a proxy that still
	// has something to say keeps them.
	bool release;
	bool terminal;                 // the standard streams are a terminal's two directions
	int tty_fd;                    // where its size is asked for; -1: nowhere
	const char *console_socket;    // proxy_fork.h: a pty is made for it; NULL: none
	const struct placement *place; // proxy_fork.h: namespaces it enters; NULL: the caller's
};

// The ids of a process's standard streams are its proxy's: no two live proxies have the same.
static inline uint32_t proxy_stream(pid_t proxy, unsigned fd)
{
	return (uint32_t)proxy << 2 | (fd + 1);
}

// For this process as the proxy. Asks for the guest's streams and, at the supervisor, for the end of the process, which is
// known there. Signals are blocked from here on and delivered by proxy_run.
int proxy_new(const struct proxy_config *cfg, struct proxy **ret_proxy, struct err *e);
// Waits until the guest has accepted the streams.
int proxy_connect(struct proxy *p, struct err *e);
// After proxy_connect. Copies until the process has ended and its output has been taken. Returns the exit code: the container's, 128 + n for
// signal n, 137 when its pod was lost.
uint32_t proxy_run(struct proxy *p);
void proxy_free(struct proxy *p);

#endif
