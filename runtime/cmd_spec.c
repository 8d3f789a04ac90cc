// SPDX-License-Identifier: Apache-2.0
// bulkhead spec: writes the default config.json.
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/io.h"
#include "base/own.h"
#include "oci/oci.h"
#include "runtime/cli.h"

struct spec_options {
	const char *bundle;
};
static const struct cli_option options[] = {
	{ "bundle", 'b', CLI_STRING, offsetof(struct spec_options, bundle), "DIR",
	  "where config.json is written (default: the working directory)" },
	{ "rootless", 0, CLI_IGNORED_FLAG, 0, NULL, "accepted, ignored" },
	CLI_END,
};

static int spec_write(const struct spec_options *o, struct err *e)
{
	const char *text = oci_spec_default();
	int fd AUTO_CLOSE = -1;
	int r;

	if (o->bundle && chdir(o->bundle) < 0)
		return err_errno(e, errno, "chdir %s", o->bundle);
	fd = open("config.json", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (fd < 0 && errno == EEXIST)
		return err_set(e, EEXIST, "File config.json exists. Remove it first");
	if (fd < 0)
		return err_errno(e, errno, "open config.json");
	r = io_write_full(fd, text, strlen(text));
	return r < 0 ? err_errno(e, -r, "write config.json") : 0;
}

static int run(const struct cli_globals *g, const void *opts, int argc, char **argv)
{
	struct err e;

	(void)g;
	(void)argc;
	(void)argv;
	return spec_write(opts, &e) < 0 ? cli_fail(&e) : 0;
}

const struct cli_command cmd_spec = {
	.name = "spec",
	.args = "",
	.summary = "write a default config.json",
	.help = "   Writes config.json for a bundle whose root file system is ./rootfs and whose process\n"
		"   is sh on a terminal. Edit process.args and process.terminal, then:\n\n"
		"      bulkhead run NAME\n",
	.options = options,
	.options_size = sizeof(struct spec_options),
	.run = run,
};
