// SPDX-License-Identifier: Apache-2.0
#include "runtime/process.h"

#include <stdlib.h>

#include "base/loop.h"
#include "base/own.h"
#include "proto/ttrpc.h"

void process_init(struct process *p, struct task *t, uint64_t serial)
{
	*p = (struct process){ .task = t, .serial = serial, .proxy_fd = -1 };
}

const char *process_exec_id(const struct process *p)
{
	return p->exec_id ? p->exec_id : "";
}

static void fail_call(const struct process *p, struct ttrpc_call *call)
{
	if (call)
		ttrpc_call_fail(call, TTRPC_NOT_FOUND,
				p->exec_id ? "process does not exist" : "container does not exist");
}

void process_done(struct process *p)
{
	fail_call(p, take_ptr(&p->start_call));
	fail_call(p, take_ptr(&p->kill_call));
	while (p->waiters) {
		struct process_waiter *w = p->waiters;

		p->waiters = w->next;
		fail_call(p, w->call);
		free(w);
	}
	loop_remove(p->proxy_src);
	loop_remove(p->kill_timer);
	close_fd(p->proxy_fd);
	free(p->exec_id);
	free(p->exec.doc);
	free(p->exec.cgroup);
}
