// SPDX-License-Identifier: Apache-2.0
// bulkhead features: the OCI features document.
#include <stdio.h>

#include "base/err.h"
#include "base/io.h"
#include "base/own.h"
#include "oci/oci.h"
#include "runtime/cli.h"

static int run(const struct cli_globals *g, const void *opts, int argc, char **argv)
{
	char *json AUTO_FREE = NULL;
	struct err e;
	size_t len = 0;
	int r;

	(void)g;
	(void)opts;
	(void)argc;
	(void)argv;
	if (oci_features_print(BULKHEAD_VERSION, &json, &len, &e) < 0)
		return cli_fail(&e);
	r = io_write_full(STDOUT_FILENO, json, len);
	if (r < 0) {
		(void)err_errno(&e, -r, "standard output"); // printed below
		return cli_fail(&e);
	}
	return 0;
}

const struct cli_command cmd_features = {
	.name = "features",
	.args = "",
	.summary = "show the features that are honoured, as JSON",
	.help = "   Prints the features document of the OCI runtime specification.\n",
	.run = run,
};
