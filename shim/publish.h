// SPDX-License-Identifier: Apache-2.0
// Events for containerd, in order, each until it has been taken: by ttrpc, or by `containerd publish`; queued while containerd
// is away.
#ifndef SHIM_PUBLISH_H
#define SHIM_PUBLISH_H

#include <stdbool.h>

struct ProtobufCMessage;
struct err;
struct loop;
struct publisher;

// ttrpc_address: a socket's path, "" for none (then nothing is published). Strings are borrowed.
struct publisher_config {
	const char *ttrpc_address, *grpc_address, *binary, *ns;
};
int publisher_new(struct loop *l, const struct publisher_config *cfg, struct publisher **ret,
		  struct err *e);
// type: the message's name below containerd.events.
void publish(struct publisher *p, const char *topic, const char *type,
	     const struct ProtobufCMessage *event);
bool publisher_empty(const struct publisher *p);
// Called once when it is empty next.
void publisher_on_empty(struct publisher *p, void (*fn)(void *arg), void *arg);
void publisher_free(struct publisher *p);

#endif
