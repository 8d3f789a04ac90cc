// SPDX-License-Identifier: Apache-2.0
// bulkhead create: boots a pod and makes the container in it; its process waits for start.
#include "base/err.h"
#include "base/log.h"
#include "runtime/create.h"
#include "runtime/launch.h"

static const struct cli_option options[] = { LAUNCH_OPTIONS, CLI_END };

static int run(const struct cli_globals *g, const void *opts, int argc, char **argv)
{
	const struct launch_options *o = opts;
	struct create_request req;
	struct err e;
	int r = launch_request(g, o, argv[0], &req, &e);

	(void)argc;
	req.detach = true; // whatever it says, and it has no such option
	if (r < 0 || launch_detached(&req, o, false, &e) < 0) {
		log_error("bulkhead create failed: %s", e.msg);
		return 1;
	}
	return 0;
}

const struct cli_command cmd_create = {
	.name = "create",
	.args = "ID",
	.summary = "create a container",
	.help = "   Boots a guest, makes the container of the bundle in it and leaves its process waiting:\n\n"
		"      bulkhead create --bundle DIR --pid-file pid ID\n"
		"      bulkhead start ID\n"
		"      bulkhead delete ID            # when it has stopped\n\n"
		"   The container's standard streams are this command's. The pid is that of a host process\n"
		"   that holds them, and ends with the container's exit code.\n",
	.options = options,
	.options_size = sizeof(struct launch_options),
	.args_min = 1,
	.args_max = 1,
	.run = run,
};
