// SPDX-License-Identifier: Apache-2.0
// The host process that stands for a container's process: it holds the caller's standard streams, copies them to and from
// the guest with back-pressure, passes signals on, and ends with the container's exit code.
#ifndef RUNTIME_PROXY_H
#define RUNTIME_PROXY_H

#include <stdbool.h>
#include <stdint.h>

struct err;
struct proxy;

// Connects to the guest's three streams and to the supervisor. The container has been created. Signals are blocked from
// here on and delivered by proxy_run. With `release`, descriptors 1 and 2 are given up as the container's streams end, so
// that their readers see it; a process that still has something to say keeps them.
int proxy_new(const char *root, const char *pod, const char *id, bool release,
	      struct proxy **ret_proxy, struct err *e);
// Copies until the container has ended and its output has been taken. Returns the exit code: the container's, 128 + n for
// signal n, 137 when its pod was lost.
uint32_t proxy_run(struct proxy *p);
void proxy_free(struct proxy *p);

#endif
