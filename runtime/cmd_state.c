// SPDX-License-Identifier: Apache-2.0
// bulkhead state: the state document of one container.
#include <stdio.h>

#include "base/err.h"
#include "base/io.h"
#include "base/own.h"
#include "runtime/cli.h"
#include "runtime/runtime.h"
#include "runtime/view.h"

static int run(const struct cli_globals *g, const void *opts, int argc, char **argv)
{
	struct view v AUTO(view_done_at) = { 0 };
	char *json AUTO_FREE = NULL;
	struct err e;
	size_t len = 0;
	int r;

	(void)opts;
	(void)argc;
	if (view_read(g->root, argv[0], &v, &e) < 0 ||
	    oci_state_print(&v.state, &json, &len, &e) < 0)
		return cli_fail(&e);
	r = io_write_full(STDOUT_FILENO, json, len);
	if (r < 0) {
		(void)err_errno(&e, -r, "standard output"); // printed below
		return cli_fail(&e);
	}
	return 0;
}

const struct cli_command cmd_state = {
	.name = "state",
	.args = "ID",
	.summary = "show the state of a container, as JSON",
	.help = "   The status is created, running or stopped; the pid is that of the host process that\n"
		"   stands for the container's (0 when stopped).\n",
	.args_min = 1,
	.args_max = 1,
	.run = run,
};
