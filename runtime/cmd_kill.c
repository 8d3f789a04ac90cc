// SPDX-License-Identifier: Apache-2.0
// bulkhead kill: sends a signal to a container's first process.
#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "base/own.h"
#include "runtime/cli.h"
#include "runtime/client.h"
#include "runtime/store.h"

struct kill_options {
	bool all;
};
static const struct cli_option options[] = {
	{ "all", 'a', CLI_FLAG, offsetof(struct kill_options, all), NULL,
	  "signal all processes of the container" },
	CLI_END,
};

OWN_DEFINE(struct client *, client_close)

static int parse_signal(const char *text, uint32_t *ret, struct err *e)
{
	const char *name = strncasecmp(text, "SIG", 3) == 0 ? text + 3 : text;
	char *end;

	if (isdigit((unsigned char)text[0])) {
		unsigned long v = strtoul(text, &end, 10);

		if (*end == '\0' && v <= 64) {
			*ret = (uint32_t)v;
			return 0;
		}
	}
	for (int s = 1; s < NSIG; s++) {
		const char *abbrev = sigabbrev_np(s);

		if (abbrev && strcasecmp(abbrev, name) == 0) {
			*ret = (uint32_t)s;
			return 0;
		}
	}
	return err_set(e, EINVAL, "unknown signal \"%.60s\"", text);
}

static int send_signal(const char *root, const char *id, const char *signal_name, bool all,
		       struct err *e)
{
	struct client *cl AUTO(client_close) = NULL;
	struct store_container c = { 0 };
	uint32_t signo = SIGTERM;
	int r = store_check_id(id, e);

	if (r < 0 || (signal_name && (r = parse_signal(signal_name, &signo, e)) < 0) ||
	    (r = store_container_read(root, id, &c, e)) < 0)
		return r;
	r = store_process_alive(&c.supervisor) ? client_open(root, c.pod, &cl, e) : -ECONNREFUSED;
	if (r == 0)
		r = client_kill(cl, id, signo, all, e);
	else if (all)
		r = 0; // nothing is left to signal
	else
		r = err_set(e, ESRCH, "container not running");
	store_container_done(&c);
	return r;
}

static int run(const struct cli_globals *g, const void *opts, int argc, char **argv)
{
	const struct kill_options *o = opts;
	struct err e;

	return send_signal(g->root, argv[0], argc > 1 ? argv[1] : NULL, o->all, &e) < 0
		       ? cli_fail(&e)
		       : 0;
}

const struct cli_command cmd_kill = {
	.name = "kill",
	.args = "ID [SIGNAL]",
	.summary = "send a signal (default TERM) to a container",
	.help = "   SIGNAL is a name with or without SIG, or a number; 0 only asks whether it runs:\n\n"
		"      bulkhead kill ID KILL\n",
	.options = options,
	.options_size = sizeof(struct kill_options),
	.args_min = 1,
	.args_max = 2,
	.run = run,
};
