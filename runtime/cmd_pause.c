// SPDX-License-Identifier: Apache-2.0
// bulkhead pause and resume: a container's processes stand still, or go on.
#include "base/err.h"
#include "base/own.h"
#include "runtime/cli.h"
#include "runtime/client.h"

OWN_DEFINE(struct client *, client_close)

static int run_pause(const struct cli_globals *g, const void *opts, int argc, char **argv)
{
	struct client *cl AUTO(client_close) = NULL;
	struct err e;

	(void)opts;
	(void)argc;
	if (client_reach(g->root, argv[0], "container not running", &cl, &e) < 0 ||
	    client_pause(cl, argv[0], &e) < 0)
		return cli_fail(&e);
	return 0;
}

static int run_resume(const struct cli_globals *g, const void *opts, int argc, char **argv)
{
	struct client *cl AUTO(client_close) = NULL;
	struct err e;

	(void)opts;
	(void)argc;
	if (client_reach(g->root, argv[0], "container not paused", &cl, &e) < 0 ||
	    client_resume(cl, argv[0], &e) < 0)
		return cli_fail(&e);
	return 0;
}

const struct cli_command cmd_pause = {
	.name = "pause",
	.args = "ID",
	.summary = "suspend all processes of a container",
	.help = "   Returns when they stand still. The guest goes on, and with it the clock. SIGKILL takes\n"
		"   effect meanwhile, other signals after resume.\n",
	.args_min = 1,
	.args_max = 1,
	.run = run_pause,
};

const struct cli_command cmd_resume = {
	.name = "resume",
	.args = "ID",
	.summary = "let a paused container go on",
	.help = "   The counterpart of pause.\n",
	.args_min = 1,
	.args_max = 1,
	.run = run_resume,
};
