// SPDX-License-Identifier: Apache-2.0
// bulkhead start: lets the process of a created container run.
#include <errno.h>

#include "base/err.h"
#include "base/own.h"
#include "runtime/cli.h"
#include "runtime/client.h"
#include "runtime/hooks.h"
#include "runtime/store.h"

OWN_DEFINE(struct client *, client_close)

static int start(const char *root, const char *id, struct err *e)
{
	struct client *cl AUTO(client_close) = NULL;
	struct store_container c = { 0 };
	int r = store_check_id(id, e);

	if (r < 0 || (r = store_container_read(root, id, &c, e)) < 0)
		return r;
	r = store_process_alive(&c.supervisor) ? client_open(root, c.pod, &cl, e) : -ECONNREFUSED;
	if (r < 0)
		r = err_set(e, EBUSY, "cannot start a container that has stopped");
	else
		r = hooks_start(cl, root, id, NULL, e);
	store_container_done(&c);
	return r;
}

static int run(const struct cli_globals *g, const void *opts, int argc, char **argv)
{
	struct err e;

	(void)opts;
	(void)argc;
	return start(g->root, argv[0], &e) < 0 ? cli_fail(&e) : 0;
}

const struct cli_command cmd_start = {
	.name = "start",
	.args = "ID",
	.summary = "start the process of a created container",
	.help = "   Returns when the process has been executed in the guest.\n",
	.args_min = 1,
	.args_max = 1,
	.run = run,
};
