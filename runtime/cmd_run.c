// SPDX-License-Identifier: Apache-2.0
// bulkhead run: create, start, wait, delete.
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/own.h"
#include "runtime/client.h"
#include "runtime/create.h"
#include "runtime/destroy.h"
#include "runtime/hooks.h"
#include "runtime/launch.h"
#include "runtime/placement.h"
#include "runtime/proxy.h"
#include "runtime/timings.h"
#include "runtime/tty.h"

static const struct cli_option options[] = {
	LAUNCH_OPTIONS,
	{ "detach", 'd', CLI_FLAG, offsetof(struct launch_options, detach), NULL,
	  "return when it has started" },
	{ "keep", 0, CLI_FLAG, offsetof(struct launch_options, keep), NULL,
	  "do not delete it afterwards" },
	CLI_END,
};

OWN_DEFINE(struct create *, create_end)
OWN_DEFINE(struct proxy *, proxy_free)
OWN_DEFINE(struct timings *, timings_free)

static int connect_proxy(const struct create_request *req, const struct create *c,
			 const struct tty *tty, struct proxy **ret, struct err *e)
{
	struct proxy_config cfg = { .root = req->root,
				    .pod = create_pod(c),
				    .id = req->id,
				    .terminal = tty->fd >= 0,
				    .tty_fd = tty->fd };
	int r = proxy_new(&cfg, ret, e);

	return r < 0 ? r : proxy_connect(*ret, e);
}

// This process is the container's proxy. *ret_committed says whether there is something to delete.
static int run_in_process(const struct create_request *req, const struct launch_options *o,
			  const struct hooks_home *home, struct tty *tty, struct timings *t,
			  uint32_t *ret_code, bool *ret_committed, struct err *e)
{
	struct create *c AUTO(create_end) = NULL;
	struct proxy *p AUTO(proxy_free) = NULL;
	int r = create_begin(req, &c, e);

	if (r < 0)
		return r;
	launch_warn(c);
	timings_mark(t, "supervisor ready");
	if (!create_terminal(c))
		tty_done(tty);
	if ((r = placement_enter(create_placement(c), e)) < 0 ||
	    (r = create_hooks(c, getpid(), home, e)) < 0 ||
	    (r = create_container(c, getpid(), e)) < 0 ||
	    (r = connect_proxy(req, c, tty, &p, e)) < 0)
		return r;
	if (o->pidfd_socket && (r = tty_send_pidfd(o->pidfd_socket, getpid(), e)) < 0)
		return r;
	r = create_commit(c, getpid(), o->pid_file, e);
	if (r < 0)
		return r;
	*ret_committed = true;
	if ((r = tty_make_raw(tty, e)) < 0 ||
	    (r = hooks_start(create_client(c), req->root, req->id, home, e)) < 0)
		return r;
	*ret_code = proxy_run(p);
	return 0;
}

static int run_foreground(struct create_request *req, const struct launch_options *o,
			  struct timings *t, uint32_t *ret_code, struct err *e)
{
	bool committed = false;
	struct hooks_home home;
	struct err ignored;
	struct tty tty;
	int r;

	r = hooks_home_save(&home, e);
	if (r < 0)
		return r;
	req->has_tty = tty_open(&tty);
	r = run_in_process(req, o, &home, &tty, t, ret_code, &committed, e);
	tty_done(&tty);
	if (hooks_home_return(&home, &ignored) < 0)
		log_error("%s", ignored.msg);
	hooks_home_done(&home);

	// The exit code is the container's; a failing delete is told, but does not change it.
	if (committed && !(o->keep && r == 0) &&
	    destroy_container(req->root, req->id, true, &ignored) < 0)
		log_error("delete %s: %s", req->id, ignored.msg);
	if (committed && o->pid_file && !o->keep)
		(void)unlink(o->pid_file); // names a process that is about to end
	timings_mark(t, "torn down");
	return r;
}

static int fail(const struct err *e)
{
	log_error("bulkhead run failed: %s", e->msg);
	return 1;
}

static int run(const struct cli_globals *g, const void *opts, int argc, char **argv)
{
	struct timings *t AUTO(timings_free) = NULL;
	const struct launch_options *o = opts;
	struct create_request req;
	uint32_t code = 0;
	struct err e;

	(void)argc;
	if (launch_request(g, o, argv[0], &req, &e) < 0)
		return fail(&e);
	if (g->timings && timings_new(&t, &req.timings_fd, &e) < 0)
		return fail(&e);
	timings_mark(t, "process start");
	if (o->detach)
		return launch_detached(&req, o, true, &e) < 0 ? fail(&e) : 0;
	if (run_foreground(&req, o, t, &code, &e) < 0)
		return fail(&e);
	timings_print(t);
	return (int)(code & 0xff);
}

const struct cli_command cmd_run = {
	.name = "run",
	.args = "ID",
	.summary = "create and start a container",
	.help = "   In the foreground: creates, starts, waits, deletes, and exits with the container's exit\n"
		"   code (128 + n when signal n ended it). Signals to this process reach the container.\n\n"
		"      bulkhead run --bundle DIR ID\n"
		"      bulkhead --timings run --bundle DIR ID\n",
	.options = options,
	.options_size = sizeof(struct launch_options),
	.args_min = 1,
	.args_max = 1,
	.run = run,
};
