// SPDX-License-Identifier: Apache-2.0
// The Task service of one pod: the containers, and what may be done to them in which state. Answers from its own state;
// the guest is only asked to act, and always with a deadline.
#ifndef RUNTIME_SERVICE_H
#define RUNTIME_SERVICE_H

struct err;
struct loop;
struct pod;
struct service;

// on_shutdown is called (on the loop) when the pod has ended after a Shutdown, and its reply is on its way.
int service_new(struct loop *l, int listen_fd, void (*on_shutdown)(void *arg), void *arg,
		struct service **ret_service, struct err *e);
void service_free(struct service *s);
// Before the loop runs; both are borrowed. root is the state directory.
void service_set_pod(struct service *s, struct pod *p, const char *root);

// The pod's events.
void service_pod_ready(struct service *s);
void service_pod_gone(struct service *s, const char *why);

// The caller of the create has died before it was done: ends the pod, and then calls on_shutdown.
void service_abandon(struct service *s);

#endif
