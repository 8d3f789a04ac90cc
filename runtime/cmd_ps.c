// SPDX-License-Identifier: Apache-2.0
// bulkhead ps: the processes of a container.
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/own.h"
#include "runtime/cli.h"
#include "runtime/client.h"

struct ps_options {
	const char *format;
};
static const struct cli_option options[] = {
	{ "format", 'f', CLI_STRING, offsetof(struct ps_options, format), "FORMAT",
	  "table (default) or json" },
	CLI_END,
};

OWN_DEFINE(struct client *, client_close)

static void print_row(const struct client_process *p, void *arg)
{
	uint64_t seconds = p->cpu_usec / 1000000;

	(void)arg;
	printf("%-8u %7u %7u %02" PRIu64 ":%02" PRIu64 ":%02" PRIu64 " %s\n", p->uid, p->pid,
	       p->parent, seconds / 3600, seconds / 60 % 60, seconds % 60, p->command);
}

static int print_json(struct client *cl, const char *id, struct err *e)
{
	uint32_t *pids AUTO_FREE = NULL;
	size_t n = 0;
	int r = cl ? client_pids(cl, id, &pids, &n, e) : 0;

	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++)
		printf("%c%u", i ? ',' : '[', pids[i]);
	printf("%s\n", n ? "]" : "null");
	return 0;
}

static int ps(const struct cli_globals *g, const struct ps_options *o, int argc, char **argv,
	      struct err *e)
{
	struct client *cl AUTO(client_close) = NULL;
	bool json = o->format && strcmp(o->format, "json") == 0;
	int r;

	if (o->format && o->format[0] && !json && strcmp(o->format, "table") != 0)
		return err_set(e, EINVAL, "invalid format option");
	if (argc > 1 && !json)
		return err_set(
			e, EOPNOTSUPP,
			"%s: options of ps(1) are not supported: the processes are the guest's",
			argv[1]);
	r = client_reach(g->root, argv[0], "container not running", &cl, e);
	if (r < 0 && r != -ESRCH) // one that has stopped has none
		return r;
	if (json)
		return print_json(cl, argv[0], e);
	printf("%-8s %7s %7s %8s %s\n", "UID", "PID", "PPID", "TIME", "CMD");
	r = cl ? client_processes(cl, argv[0], print_row, NULL, e) : 0;
	return r == -EBUSY ? 0 : r; // as above
}

static int run(const struct cli_globals *g, const void *opts, int argc, char **argv)
{
	struct err e;

	return ps(g, opts, argc, argv, &e) < 0 ? cli_fail(&e) : 0;
}

const struct cli_command cmd_ps = {
	.name = "ps",
	.args = "ID [PS OPTIONS]",
	.summary = "show the processes of a container",
	.help = "   The table shows them as they are in the guest, with the pids that the container sees. With\n"
		"   --format json: the pids of the host processes that stand for the container's first process\n"
		"   and for those of exec, which is what callers look up on the host.\n",
	.options = options,
	.options_size = sizeof(struct ps_options),
	.args_min = 1,
	.args_max = -1,
	.run = run,
};
