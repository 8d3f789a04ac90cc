// SPDX-License-Identifier: Apache-2.0
// bulkhead delete: removes a container and its pod.
#include "base/err.h"
#include "runtime/cli.h"
#include "runtime/destroy.h"
#include "runtime/store.h"

struct delete_options {
	bool force;
};
static const struct cli_option options[] = {
	{ "force", 'f', CLI_FLAG, offsetof(struct delete_options, force), NULL,
	  "kill it first; a container that is not there is no error" },
	CLI_END,
};

static int run(const struct cli_globals *g, const void *opts, int argc, char **argv)
{
	const struct delete_options *o = opts;
	struct err e;

	(void)argc;
	if (store_check_id(argv[0], &e) < 0 ||
	    destroy_container(g->root, argv[0], o->force, &e) < 0)
		return cli_fail(&e);
	return 0;
}

const struct cli_command cmd_delete = {
	.name = "delete",
	.args = "ID",
	.summary = "delete a container that has stopped",
	.help = "   Removes the container, its guest, and all that belongs to them.\n",
	.options = options,
	.options_size = sizeof(struct delete_options),
	.args_min = 1,
	.args_max = 1,
	.run = run,
};
