// SPDX-License-Identifier: Apache-2.0
#include "runtime/task.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/loop.h"
#include "base/own.h"
#include "proto/ttrpc.h"
#include "runtime/bundle.h"
#include "runtime/share.h"

OWN_DEFINE(struct oci_config *, oci_config_free)

static int task_load(struct task *t, const char *share_dir, struct err *e)
{
	struct oci_config *c AUTO(oci_config_free) = NULL;
	char *rootfs AUTO_FREE = NULL;
	int r = bundle_read(t->bundle, &c, &rootfs, e);

	if (r < 0)
		return r;
	r = share_add(share_dir, t->id, t->bundle, rootfs, c, &t->config, &t->config_len, e);
	t->exported = r == 0;
	t->init.terminal = c->process.terminal;
	return r;
}

int task_new(struct service *s, const char *share_dir, const char *id, const char *bundle,
	     uint64_t serial, struct task **ret_task, struct err *e)
{
	struct task *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return err_errno(e, ENOMEM, "container");
	t->service = s;
	process_init(&t->init, t, serial);
	t->id = strdup(id);
	t->bundle = strdup(bundle);
	if (!t->id || !t->bundle)
		r = err_errno(e, ENOMEM, "container");
	else
		r = task_load(t, share_dir, e);
	if (r < 0) {
		task_free(t, share_dir);
		return r;
	}
	*ret_task = t;
	return 0;
}

void task_free(struct task *t, const char *share_dir)
{
	if (!t)
		return;
	while (t->execs)
		task_remove_exec(t->execs);
	if (t->create_call)
		ttrpc_call_fail(take_ptr(&t->create_call), TTRPC_NOT_FOUND,
				"container does not exist");
	if (t->delete_call)
		ttrpc_call_fail(take_ptr(&t->delete_call), TTRPC_NOT_FOUND,
				"container does not exist");
	process_done(&t->init);
	if (t->exported)
		share_remove(share_dir, t->id);
	loop_remove(t->linger_timer);
	task_sent(t);
	free(t->id);
	free(t->bundle);
	free(t);
}

void task_sent(struct task *t)
{
	free(take_ptr(&t->config));
	for (size_t i = 0; i < OCI_NS_KINDS; i++)
		free(take_ptr(&t->shared[i]));
}

struct process *task_process(struct task *t, const char *exec_id)
{
	struct process *p = *exec_id ? t->execs : &t->init;

	while (*exec_id && p && strcmp(p->exec_id, exec_id) != 0)
		p = p->next;
	return p;
}

struct process *task_add_exec(struct task *t, const char *exec_id, uint64_t serial)
{
	struct process *p = malloc(sizeof(*p));

	if (!p)
		return NULL;
	process_init(p, t, serial);
	p->state = PROCESS_CREATED;
	p->exec_id = strdup(exec_id);
	if (!p->exec_id) {
		free(p);
		return NULL;
	}
	p->next = t->execs;
	t->execs = p;
	return p;
}

void task_remove_exec(struct process *p)
{
	struct process **at = &p->task->execs;

	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	process_done(p);
	free(p);
}
