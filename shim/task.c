// SPDX-License-Identifier: Apache-2.0
// What the shim knows: its containers and their processes.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/loop.h"
#include "base/own.h"
#include "proto/task.pb-c.h"
#include "proto/ttrpc.h"
#include "shim/shim.h"

struct shim_task *shim_find(struct shim *s, const char *id)
{
	for (struct shim_task *t = s->tasks; t; t = t->next)
		if (strcmp(t->id, id) == 0)
			return t;
	return NULL;
}

static struct shim_process *find_in(struct shim_task *t, const char *exec_id)
{
	if (!*exec_id)
		return &t->init;
	for (struct shim_process *p = t->execs; p; p = p->next)
		if (strcmp(p->exec_id, exec_id) == 0)
			return p;
	return NULL;
}

bool shim_has_exec(struct shim_task *t, const char *exec_id)
{
	return find_in(t, exec_id) != NULL;
}

struct shim_process *shim_find_process(struct shim *s, struct ttrpc_call *call, const char *id,
				       const char *exec_id)
{
	struct shim_task *t = shim_find(s, id);
	struct shim_process *p = t ? find_in(t, exec_id) : NULL;

	if (!p)
		ttrpc_call_fail(call, TTRPC_NOT_FOUND, "%s %s: not found",
				t ? "process" : "container", t ? exec_id : id);
	return p;
}

struct shim_process *shim_by_serial(struct shim *s, uint64_t serial)
{
	for (struct shim_task *t = s->tasks; t; t = t->next) {
		if (t->init.serial == serial)
			return &t->init;
		for (struct shim_process *p = t->execs; p; p = p->next)
			if (p->serial == serial)
				return p;
	}
	return NULL;
}

struct ref {
	struct shim *shim;
	uint64_t serial;
};

void *shim_ref_new(const struct shim_process *p)
{
	struct ref *ref = malloc(sizeof(*ref));

	if (ref)
		*ref = (struct ref){ .shim = p->task->shim, .serial = p->serial };
	return ref;
}

struct shim_process *shim_ref_take(void *arg)
{
	struct ref ref = *(struct ref *)arg;

	free(arg);
	return shim_by_serial(ref.shim, ref.serial);
}

static void process_done(struct shim_process *p)
{
	while (p->waiters) {
		struct shim_waiter *w = p->waiters;

		p->waiters = w->next;
		ttrpc_call_fail(w->call, TTRPC_NOT_FOUND, "process has been deleted: not found");
		free(w);
	}
	loop_remove(p->drain_timer);
	shim_stdio_done(&p->io);
	free(p->exec_id);
	free(p->spec);
}

static int process_init(struct shim_process *p, struct shim_task *t, const char *exec_id,
			struct err *e)
{
	p->task = t;
	p->serial = ++t->shim->serial;
	p->exec_id = strdup(exec_id);
	p->io = SHIM_STDIO_NONE;
	return p->exec_id ? 0 : err_errno(e, ENOMEM, "process");
}

int shim_task_new(struct shim *s, const char *id, const char *bundle, struct shim_task **ret,
		  struct err *e)
{
	struct shim_task *t = calloc(1, sizeof(*t));

	if (!t)
		return err_errno(e, ENOMEM, "container");
	t->shim = s;
	t->next = s->tasks;
	s->tasks = t;
	t->id = strdup(id);
	t->bundle = strdup(bundle);
	if (process_init(&t->init, t, "", e) < 0 || !t->id || !t->bundle) {
		shim_task_free(t);
		return err_errno(e, ENOMEM, "container");
	}
	loop_remove(take_ptr(&s->linger));
	*ret = t;
	return 0;
}

void shim_task_free(struct shim_task *t)
{
	struct shim_task **at = &t->shim->tasks;

	while (*at != t)
		at = &(*at)->next;
	*at = t->next;
	while (t->execs)
		shim_exec_free(t->execs);
	if (t->pod)
		ttrpc_client_free(take_ptr(&t->pod)); // answers what is under way
	process_done(&t->init);
	if (t->request)
		task__create_request__free_unpacked(t->request, NULL);
	free(t->id);
	free(t->bundle);
	free(t->runtime_root);
	free(t->config);
	free(t);
}

int shim_exec_new(struct shim_task *t, const char *exec_id, struct shim_process **ret,
		  struct err *e)
{
	struct shim_process *p = calloc(1, sizeof(*p));

	if (!p || process_init(p, t, exec_id, e) < 0) {
		free(p);
		return err_errno(e, ENOMEM, "process");
	}
	p->next = t->execs;
	t->execs = p;
	*ret = p;
	return 0;
}

void shim_exec_free(struct shim_process *p)
{
	struct shim_process **at = &p->task->execs;

	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	process_done(p);
	free(p);
}

uint32_t shim_process_pid(const struct shim_process *p)
{
	return p->state == SHIM_REGISTERED ? 0 : (uint32_t)p->proxy;
}
