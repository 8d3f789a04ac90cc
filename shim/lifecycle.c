// SPDX-License-Identifier: Apache-2.0
// Create, Start, Exec, Delete: what `bulkhead` is run for.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/io.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/own.h"
#include "proto/shim.pb-c.h"
#include "proto/task.pb-c.h"
#include "proto/ttrpc.h"
#include "runtime/runtime.h"
#include "shim/bundle.h"
#include "shim/job.h"
#include "shim/publish.h"
#include "shim/rootfs.h"
#include "shim/shim.h"
#include "shim/wire.h"

enum { DELETE_DRAIN_MS = 10000, EXEC_ID_MAX = 76 };

// The words that callers look for stand after ours, so only the code is chosen here.
static void fail(struct ttrpc_call *call, const char *what, const char *text)
{
	enum ttrpc_code code =
		strstr(text, "already exists") ? TTRPC_ALREADY_EXISTS : TTRPC_UNKNOWN;
	const char *said = strstr(text, " failed: ");

	ttrpc_call_fail(call, code, "OCI runtime %s failed: %s", what, said ? said + 9 : text);
}

// ---- create
static int take_options(struct shim_task *t, const Task__Any *any, struct err *e)
{
	int r = 0;

	if (wire_is(any, "containerd.runc.v1.Options") || wire_is(any, "runc.v1.Options")) {
		Shim__RuncOptions *o =
			shim__runc_options__unpack(NULL, any->value.len, any->value.data);

		if (!o)
			return err_set(e, EINVAL, "options: malformed");
		t->systemd_cgroup = o->systemd_cgroup;
		r = bundle_set_root(t->bundle, o->root, t->shim->options->ns, e);
		shim__runc_options__free_unpacked(o, NULL);
	} else if (wire_is(any, "runtimeoptions.v1.Options")) {
		Shim__RuntimeOptions *o =
			shim__runtime_options__unpack(NULL, any->value.len, any->value.data);

		if (!o)
			return err_set(e, EINVAL, "options: malformed");
		if (*o->config_path && !(t->config = strdup(o->config_path)))
			r = err_errno(e, ENOMEM, "options");
		shim__runtime_options__free_unpacked(o, NULL);
	}
	r = r < 0 ? r : bundle_root(t->bundle, t->shim->options->ns, &t->runtime_root, e);
	return r;
}

static void publish_create(struct shim_task *t)
{
	Task__CreateRequest *q = take_ptr(&t->request);
	Shim__TaskCreate ev;
	Shim__TaskIO io;

	shim__task_create__init(&ev);
	shim__task_io__init(&io);
	io.stdin = t->init.io.in;
	io.stdout = t->init.io.out;
	io.stderr = t->init.io.err;
	io.terminal = t->init.io.terminal;
	ev.container_id = t->id;
	ev.bundle = t->bundle;
	ev.rootfs = q->rootfs;
	ev.n_rootfs = q->n_rootfs;
	ev.io = &io;
	ev.checkpoint = q->checkpoint;
	ev.pid = (uint32_t)t->init.proxy;
	publish(t->shim->publisher, "/tasks/create", "TaskCreate", &ev.base);
	task__create_request__free_unpacked(q, NULL);
}

static void pod_closed(void *arg)
{
	struct shim_task *t = arg;

	log_info("container %s: the pod's supervisor has gone", t->id);
	ttrpc_client_free(take_ptr(&t->pod));
}

static int read_pid(const char *path, pid_t *ret, struct err *e)
{
	char *text AUTO_FREE = NULL;
	size_t len;
	int r = io_read_file(AT_FDCWD, path, 32, &text, &len, e);
	long pid = r < 0 ? 0 : strtol(text, NULL, 10);

	if (r < 0)
		return r;
	*ret = (pid_t)pid;
	return pid > 0 ? 0 : err_set(e, EINVAL, "%s: \"%s\" is no pid", path, text);
}

static int pid_path(const struct shim_process *p, char *buf, size_t size, struct err *e)
{
	int n = snprintf(buf, size, "%s/%s.pid", p->task->bundle,
			 *p->exec_id ? p->exec_id : "init");

	return n < (int)size ? 0 : err_set(e, ENAMETOOLONG, "%s", p->task->bundle);
}

// The program has succeeded: who stands for the process, and when does it end?
static int adopt(struct shim_process *p, struct err *e)
{
	struct shim_task *t = p->task;
	char path[SHIM_PATH_BYTES];
	int fd, r = pid_path(p, path, sizeof(path), e);

	shim_stdio_given(&p->io);
	if (r < 0 || (r = read_pid(path, &p->proxy, e)) < 0)
		return r;
	if (!t->pod) {
		fd = runtime_connect(t->runtime_root, t->id, e);
		if (fd < 0)
			return fd;
		r = ttrpc_client_new(t->shim->loop, fd, pod_closed, t, &t->pod, e);
	}
	return r < 0 ? r : shim_watch(p, e);
}

static void drop_task(struct shim_task *t)
{
	char rootfs[SHIM_PATH_BYTES];

	if (t->mounted &&
	    snprintf(rootfs, sizeof(rootfs), "%s/rootfs", t->bundle) < (int)sizeof(rootfs))
		rootfs_unmount(rootfs);
	shim_task_free(t);
}

static void on_deleted_quietly(struct shim *s, unsigned long long serial, const char *error)
{
	(void)s;
	(void)serial;
	if (error)
		log_error("%s", error);
}

static void delete_quietly(struct shim_task *t)
{
	const char *args[] = { "delete", "--force", t->id, NULL };
	struct job_request q = { .args = args, .done = on_deleted_quietly };
	struct err e;

	if (job_start(t->shim, t, &q, &e) < 0)
		log_error("delete %s: %s", t->id, e.msg);
}

static void on_create(struct shim *s, unsigned long long serial, const char *error)
{
	struct shim_process *p = shim_by_serial(s, serial);
	struct ttrpc_call *call = p ? take_ptr(&p->call) : NULL;
	Task__CreateResponse resp;
	struct err e;

	task__create_response__init(&resp);
	if (!p)
		return;
	if (error) {
		fail(call, "create", error);
		drop_task(p->task);
		return;
	}
	if (adopt(p, &e) < 0) {
		fail(call, "create", e.msg);
		delete_quietly(p->task);
		drop_task(p->task);
		return;
	}
	p->state = SHIM_CREATED;
	p->busy = false;
	publish_create(p->task);
	resp.pid = (uint32_t)p->proxy;
	ttrpc_call_reply_message(call, &resp.base);
	shim_watch_oom(p->task);
	shim_settle(p);
}

// Everything up to the program's start.
static int create(struct shim_task *t, const Task__CreateRequest *q, struct err *e)
{
	char rootfs[SHIM_PATH_BYTES], pid_file[SHIM_PATH_BYTES];
	const char *args[] = { "create",
			       "--bundle",
			       t->bundle,
			       "--pid-file",
			       pid_file,
			       q->terminal ? "--terminal-on-stdio" : t->id,
			       q->terminal ? t->id : NULL,
			       NULL };
	struct shim_process *p = &t->init;
	struct job_request job = {
		.args = args, .stdio = p->io.fd, .done = on_create, .serial = p->serial
	};
	int r = take_options(t, q->options, e);

	if (r < 0 || (r = pid_path(p, pid_file, sizeof(pid_file), e)) < 0)
		return r;
	if (snprintf(rootfs, sizeof(rootfs), "%s/rootfs", t->bundle) >= (int)sizeof(rootfs))
		return err_set(e, ENAMETOOLONG, "%s", t->bundle);
	r = rootfs_mount(q->rootfs, q->n_rootfs, rootfs, e);
	if (r < 0)
		return r;
	t->mounted = q->n_rootfs > 0;
	if ((r = shim_stdio_init(&p->io, q->stdin, q->stdout, q->stderr, q->terminal, e)) < 0 ||
	    (r = shim_stdio_open(&p->io, t->id, t->shim->options->ns, e)) < 0)
		return r;
	return job_start(t->shim, t, &job, e);
}

void shim_create(struct shim *s, struct ttrpc_call *call, const uint8_t *payload, size_t len)
{
	Task__CreateRequest *q = (Task__CreateRequest *)wire_unpack(
		&task__create_request__descriptor, call, payload, len);
	struct shim_task *t = NULL;
	struct err e;

	if (!q)
		return;
	if (shim_find(s, q->id)) {
		ttrpc_call_fail(call, TTRPC_ALREADY_EXISTS, "container %s: already exists", q->id);
	} else if (*q->checkpoint) {
		ttrpc_call_fail(call, TTRPC_UNIMPLEMENTED,
				"restoring from a checkpoint: not implemented");
	} else if (!*q->id || q->bundle[0] != '/') {
		ttrpc_call_fail(call, TTRPC_INVALID_ARGUMENT,
				"a container needs an id and a bundle: invalid argument");
	} else if (shim_task_new(s, q->id, q->bundle, &t, &e) < 0) {
		ttrpc_call_fail_err(call, &e);
	} else if (create(t, q, &e) < 0) {
		fail(call, "create", e.msg);
		drop_task(t);
	} else {
		t->init.busy = true;
		t->init.call = call;
		t->request = take_ptr(&q);
	}
	if (q)
		task__create_request__free_unpacked(q, NULL);
}

// ---- start
static void publish_start(const struct shim_process *p)
{
	Shim__TaskStart start;
	Shim__TaskExecStarted exec;
	struct publisher *to = p->task->shim->publisher;

	shim__task_start__init(&start);
	shim__task_exec_started__init(&exec);
	start.container_id = exec.container_id = p->task->id;
	start.pid = exec.pid = (uint32_t)p->proxy;
	exec.exec_id = p->exec_id;
	if (*p->exec_id)
		publish(to, "/tasks/exec-started", "TaskExecStarted", &exec.base);
	else
		publish(to, "/tasks/start", "TaskStart", &start.base);
}

static void exec_failed(struct shim_process *p)
{
	shim_stdio_close(&p->io);
	p->state = SHIM_STOPPED; // it can be deleted, and never was
	p->proxy_gone = true;
	p->exit_status = 255;
	(void)clock_gettime(CLOCK_REALTIME, &p->exited_at); // cannot fail for this clock
}

static void on_start(struct shim *s, unsigned long long serial, const char *error)
{
	struct shim_process *p = shim_by_serial(s, serial);
	struct ttrpc_call *call = p ? take_ptr(&p->call) : NULL;
	Task__StartResponse resp;
	struct err e;

	task__start_response__init(&resp);
	if (!p)
		return;
	p->busy = false;
	if (!error && *p->exec_id && adopt(p, &e) < 0)
		error = e.msg;
	if (error) {
		fail(call, *p->exec_id ? "exec" : "start", error);
		if (*p->exec_id)
			exec_failed(p);
		else
			shim_settle(p);
		return;
	}
	p->state = SHIM_RUNNING;
	shim_resize_late(p);
	publish_start(p);
	resp.pid = (uint32_t)p->proxy;
	ttrpc_call_reply_message(call, &resp.base);
	shim_settle(p);
}

static int start_exec(struct shim_process *p, struct err *e)
{
	struct shim_task *t = p->task;
	char pid_file[SHIM_PATH_BYTES];
	const char *args[] = { "exec",
			       "--detach",
			       "--process",
			       "/proc/self/fd/4",
			       "--exec-id",
			       p->exec_id,
			       "--pid-file",
			       pid_file,
			       p->io.terminal ? "--terminal-on-stdio" : t->id,
			       p->io.terminal ? t->id : NULL,
			       NULL };
	struct job_request job = { .args = args,
				   .stdio = p->io.fd,
				   .input = p->spec,
				   .input_len = p->spec_len,
				   .done = on_start,
				   .serial = p->serial };
	int r = pid_path(p, pid_file, sizeof(pid_file), e);

	if (r < 0 || (r = shim_stdio_open(&p->io, t->id, t->shim->options->ns, e)) < 0)
		return r;
	return job_start(t->shim, t, &job, e);
}

static int start_init(struct shim_process *p, struct err *e)
{
	const char *args[] = { "start", p->task->id, NULL };
	struct job_request job = { .args = args, .done = on_start, .serial = p->serial };

	return job_start(p->task->shim, p->task, &job, e);
}

void shim_start(struct shim *s, struct ttrpc_call *call, const uint8_t *payload, size_t len)
{
	Task__StartRequest *q = (Task__StartRequest *)wire_unpack(&task__start_request__descriptor,
								  call, payload, len);
	struct shim_process *p = q ? shim_find_process(s, call, q->id, q->exec_id) : NULL;
	struct err e;

	if (p && (p->busy || p->state != (*p->exec_id ? SHIM_REGISTERED : SHIM_CREATED))) {
		ttrpc_call_fail(call, TTRPC_FAILED_PRECONDITION,
				"process is not waiting for its start: failed precondition");
	} else if (p && *p->exec_id && p->task->init.state == SHIM_STOPPED) {
		ttrpc_call_fail(call, TTRPC_FAILED_PRECONDITION,
				"container has stopped: failed precondition");
	} else if (p) {
		int r = *p->exec_id ? start_exec(p, &e) : start_init(p, &e);

		p->busy = r == 0;
		if (r == 0)
			p->call = call;
		else
			fail(call, *p->exec_id ? "exec" : "start", e.msg);
		if (r < 0 && *p->exec_id)
			exec_failed(p);
	}
	if (q)
		task__start_request__free_unpacked(q, NULL);
}

// ---- exec: only remembers
static bool exec_id_good(const char *id)
{
	size_t n = strlen(id);

	return n > 0 && n <= EXEC_ID_MAX && id[0] != '.' && !strchr(id, '/');
}

static int add_exec(struct shim_task *t, const Task__ExecRequest *q, struct err *e)
{
	struct shim_process *p;
	int r = shim_exec_new(t, q->exec_id, &p, e);

	if (r < 0)
		return r;
	r = shim_stdio_init(&p->io, q->stdin, q->stdout, q->stderr, q->terminal, e);
	p->spec = r == 0 ? malloc(q->spec->value.len + 1) : NULL;
	if (!p->spec) {
		shim_exec_free(p);
		return err_errno(e, ENOMEM, "exec");
	}
	memcpy(p->spec, q->spec->value.data, q->spec->value.len);
	p->spec_len = q->spec->value.len;
	return 0;
}

void shim_exec(struct shim *s, struct ttrpc_call *call, const uint8_t *payload, size_t len)
{
	Task__ExecRequest *q = (Task__ExecRequest *)wire_unpack(&task__exec_request__descriptor,
								call, payload, len);
	struct shim_process *init = q ? shim_find_process(s, call, q->id, "") : NULL;
	Shim__TaskExecAdded ev;
	struct err e;

	shim__task_exec_added__init(&ev);
	if (!init) {
		;
	} else if (!exec_id_good(q->exec_id) || !q->spec || !q->spec->value.len) {
		ttrpc_call_fail(call, TTRPC_INVALID_ARGUMENT,
				"exec needs an id and a process: invalid argument");
	} else if (init->state == SHIM_STOPPED || init->state == SHIM_REGISTERED) {
		ttrpc_call_fail(
			call, TTRPC_FAILED_PRECONDITION,
			"cannot exec in a container that does not run: failed precondition");
	} else if (shim_has_exec(init->task, q->exec_id)) {
		ttrpc_call_fail(call, TTRPC_ALREADY_EXISTS, "exec %s: already exists", q->exec_id);
	} else if (add_exec(init->task, q, &e) < 0) {
		ttrpc_call_fail_err(call, &e);
	} else {
		ev.container_id = q->id;
		ev.exec_id = q->exec_id;
		publish(s->publisher, "/tasks/exec-added", "TaskExecAdded", &ev.base);
		ttrpc_call_reply(call, NULL, 0);
	}
	if (q)
		task__exec_request__free_unpacked(q, NULL);
}

// ---- delete
static void reply_deleted(const struct shim_process *p, struct ttrpc_call *call)
{
	Task__DeleteResponse resp;
	Task__Timestamp at;

	task__delete_response__init(&resp);
	task_timestamp(&at, &p->exited_at);
	resp.pid = (uint32_t)p->proxy;
	resp.exit_status = p->exit_status;
	resp.exited_at = &at;
	ttrpc_call_reply_message(call, &resp.base);
}

static void publish_delete(const struct shim_process *p)
{
	Shim__TaskDelete ev;
	Task__Timestamp at;

	shim__task_delete__init(&ev);
	task_timestamp(&at, &p->exited_at);
	ev.container_id = p->task->id;
	ev.pid = (uint32_t)p->proxy;
	ev.exit_status = p->exit_status;
	ev.exited_at = &at;
	publish(p->task->shim->publisher, "/tasks/delete", "TaskDelete", &ev.base);
}

static void on_delete(struct shim *s, unsigned long long serial, const char *error)
{
	struct shim_process *p = shim_by_serial(s, serial);
	struct ttrpc_call *call = p ? take_ptr(&p->delete_call) : NULL;

	if (!p)
		return;
	p->busy = false;
	if (error) {
		fail(call, "delete", error);
		return;
	}
	if (p->state != SHIM_STOPPED) { // it never ran
		p->exit_status = 128 + SIGKILL;
		(void)clock_gettime(CLOCK_REALTIME, &p->exited_at); // cannot fail for this clock
	}
	publish_delete(p);
	reply_deleted(p, call);
	drop_task(p->task);
}

static int delete_init(struct shim_process *p, struct err *e)
{
	const char *args[] = { "delete", "--force", p->task->id, NULL };
	struct job_request job = { .args = args, .done = on_delete, .serial = p->serial };

	return job_start(p->task->shim, p->task, &job, e);
}

void shim_delete_go_on(struct shim_process *p)
{
	struct ttrpc_call *call = p->delete_call;
	struct err e;

	loop_remove(take_ptr(&p->drain_timer));
	if (*p->exec_id) {
		reply_deleted(p, call);
		shim_exec_free(p);
		return;
	}
	p->busy = true;
	if (delete_init(p, &e) == 0)
		return;
	p->busy = false;
	p->delete_call = NULL;
	fail(call, "delete", e.msg);
}

// Nobody reads what is left, and nobody will.
static void on_delete_deadline(void *arg)
{
	struct shim_process *p = arg;

	(void)kill(p->proxy, SIGKILL); // a child of ours, not reaped yet: its end goes on
}

static void delete_process(struct shim_process *p, struct ttrpc_call *call)
{
	struct err e;

	p->delete_call = call;
	if (p->state != SHIM_STOPPED || p->proxy_gone) {
		shim_delete_go_on(p);
		return;
	}
	shim_stdio_close(&p->io); // a fifo without any reader ends the proxy
	if (loop_add_timer(p->task->shim->loop, "delete", DELETE_DRAIN_MS, on_delete_deadline, p,
			   &p->drain_timer, &e) < 0)
		on_delete_deadline(p);
}

void shim_delete(struct shim *s, struct ttrpc_call *call, const uint8_t *payload, size_t len)
{
	Task__DeleteRequest *q = (Task__DeleteRequest *)wire_unpack(
		&task__delete_request__descriptor, call, payload, len);
	struct shim_process *p = q ? shim_find_process(s, call, q->id, q->exec_id) : NULL;
	bool idle = p && (p->state == SHIM_STOPPED ||
			  p->state == (*p->exec_id ? SHIM_REGISTERED : SHIM_CREATED));

	if (p && (!idle || p->busy || p->delete_call))
		ttrpc_call_fail(call, TTRPC_FAILED_PRECONDITION,
				"cannot delete a %s process: failed precondition",
				p->busy || p->delete_call ? "busy" : "running");
	else if (p)
		delete_process(p, call);
	if (q)
		task__delete_request__free_unpacked(q, NULL);
}
