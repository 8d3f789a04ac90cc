// SPDX-License-Identifier: Apache-2.0
// The long-lived process: the loop, its signals, its log.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/own.h"
#include "proto/ttrpc.h"
#include "shim/job.h"
#include "shim/publish.h"
#include "shim/shim.h"

enum { LOG_FD = 4, LINGER_MS = 60000 };

static void on_child(void *arg, int signo)
{
	(void)signo;
	shim_reap(arg);
}

static void on_term(void *arg, int signo)
{
	struct shim *s = arg;

	(void)signo;
	if (!s->tasks)
		loop_stop(s->loop);
	else
		log_info("asked to end, and has containers: it stays");
}

static void on_dump(void *arg, int signo)
{
	struct shim *s = arg;

	(void)signo;
	for (struct shim_task *t = s->tasks; t; t = t->next)
		log_info("%s: state %d, proxy %ld%s%s", t->id, (int)t->init.state,
			 (long)t->init.proxy, t->paused ? ", paused" : "",
			 t->pod ? "" : ", without a pod");
}

// A containerd that died between start and Create never comes back for this one.
static void on_linger(void *arg)
{
	struct shim *s = arg;

	if (!s->tasks)
		loop_stop(s->loop);
}

static int begin(struct shim *s, struct err *e)
{
	const char *ttrpc = getenv("TTRPC_ADDRESS");
	struct publisher_config cfg = { .ttrpc_address = ttrpc ? ttrpc : "",
					.grpc_address = s->options->address,
					.binary = s->options->publish_binary,
					.ns = s->options->ns };
	int r;

	if ((r = loop_new(&s->loop, e)) < 0 ||
	    (r = loop_add_signal(s->loop, "SIGCHLD", SIGCHLD, on_child, s, NULL, e)) < 0 ||
	    (r = loop_add_signal(s->loop, "SIGTERM", SIGTERM, on_term, s, NULL, e)) < 0 ||
	    (r = loop_add_signal(s->loop, "SIGINT", SIGINT, on_term, s, NULL, e)) < 0 ||
	    (r = loop_add_signal(s->loop, "SIGUSR1", SIGUSR1, on_dump, s, NULL, e)) < 0 ||
	    (r = loop_add_timer(s->loop, "linger", LINGER_MS, on_linger, s, &s->linger, e)) < 0 ||
	    (r = publisher_new(s->loop, &cfg, &s->publisher, e)) < 0)
		return r;
	if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
		return err_errno(e, errno, "PR_SET_CHILD_SUBREAPER");
	return shim_serve(s, SHIM_LISTEN_FD, e);
}

static void open_log(const struct shim_options *o)
{
	bool given = fcntl(LOG_FD, F_SETFD, FD_CLOEXEC) == 0;

	log_init(o->id, given ? LOG_FD : -1, LOG_TEXT, o->debug ? LOG_DEBUG : LOG_INFO);
}

int shim_daemon(const struct shim_options *o)
{
	struct shim s = { .options = o };
	struct err e;
	int r;

	open_log(o);
	(void)signal(SIGPIPE, SIG_IGN); // a peer that is gone is an error of its write
	if (fcntl(SHIM_LISTEN_FD, F_SETFD, FD_CLOEXEC) < 0) {
		(void)fprintf(stderr, "not for people: containerd runs \"start\"\n");
		return 1;
	}
	r = begin(&s, &e);
	r = r < 0 ? r : loop_run(s.loop, &e);
	if (r < 0)
		log_error("%s", e.msg);
	ttrpc_server_free(s.server); // what is answered is written
	while (s.tasks)
		shim_task_free(s.tasks); // containers live on, for the delete of containerd
	job_free_all(&s);
	publisher_free(s.publisher);
	loop_free(s.loop);
	if (o->socket)
		(void)unlink(o->socket); // ours
	return r < 0 ? 1 : 0;
}
