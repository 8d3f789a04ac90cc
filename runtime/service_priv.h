// SPDX-License-Identifier: Apache-2.0
// The inside of the service: service.c (dispatch and the calls that only look), service_act.c (those that change).
#ifndef RUNTIME_SERVICE_PRIV_H
#define RUNTIME_SERVICE_PRIV_H

#include "proto/task.pb-c.h"
#include "proto/ttrpc.h"
#include "runtime/pod.h"
#include "runtime/service.h"
#include "runtime/task.h"

enum { SERVICE_TASKS_MAX = 1 }; // a pod of the command line holds one container

struct service {
	struct loop *loop;
	struct ttrpc_server *server;
	struct pod *pod;
	struct task *tasks;
	unsigned n_tasks;
	void (*on_shutdown)(void *arg);
	void *arg;
	struct ttrpc_call *shutdown_call;
	bool shutting_down, finished;
	struct loop_source *finish_timer;
	char gone_why[1024];
};

struct task *service_find(struct service *s, const char *id);
void service_reply(struct ttrpc_call *call, const struct ProtobufCMessage *msg);
void service_reply_empty(struct ttrpc_call *call);
void service_timestamp(Task__Timestamp *ts, const struct timespec *at);

// The container has ended, for whatever reason; at most once.
void service_task_stopped(struct service *s, struct task *t, uint32_t exit_status);
void service_task_remove(struct service *s, struct task *t);
void service_send_create(struct service *s, struct task *t);

void service_create(struct service *s, struct ttrpc_call *call, const Task__CreateRequest *q);
void service_start(struct service *s, struct ttrpc_call *call, const Task__StartRequest *q);
void service_kill(struct service *s, struct ttrpc_call *call, const Task__KillRequest *q);
void service_delete(struct service *s, struct ttrpc_call *call, const Task__DeleteRequest *q);
void service_shutdown(struct service *s, struct ttrpc_call *call, const Task__ShutdownRequest *q);

#endif
