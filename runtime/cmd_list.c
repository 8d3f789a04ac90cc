// SPDX-License-Identifier: Apache-2.0
// bulkhead list: all containers below --root.
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/own.h"
#include "runtime/cli.h"
#include "runtime/runtime.h"
#include "runtime/view.h"

struct list_options {
	const char *format;
	bool quiet;
};
static const struct cli_option options[] = {
	{ "format", 'f', CLI_STRING, offsetof(struct list_options, format), "FORMAT",
	  "table (default) or json" },
	{ "quiet", 'q', CLI_FLAG, offsetof(struct list_options, quiet), NULL, "print ids only" },
	CLI_END,
};

OWN_DEFINE(char **, store_ids_free)

static void print_row(const struct oci_state *s)
{
	printf("%-11s %-11lld %-11s %-23s %-30s %s\n", s->id, (long long)s->pid, s->status,
	       s->bundle, s->created, s->owner);
}

static int print_json(const struct oci_state *s, bool first, struct err *e)
{
	char *text AUTO_FREE = NULL;
	size_t len;
	int r = oci_state_print_compact(s, &text, &len, e);

	if (r == 0)
		printf("%s%s", first ? "[" : ",", text);
	return r;
}

static int list(const struct cli_globals *g, const struct list_options *o, struct err *e)
{
	bool json = o->format && strcmp(o->format, "json") == 0, first = true;
	char **ids AUTO(store_ids_free) = NULL;
	int r;

	if (o->format && o->format[0] && !json && strcmp(o->format, "table") != 0)
		return err_set(e, EINVAL, "invalid format option");
	r = store_list(g->root, &ids, e);
	if (r < 0)
		return r;
	if (!json && !o->quiet)
		printf("%-11s %-11s %-11s %-23s %-30s %s\n", "ID", "PID", "STATUS", "BUNDLE",
		       "CREATED", "OWNER");
	for (char **id = ids; *id; id++) {
		struct view v AUTO(view_done_at) = { 0 };

		if (o->quiet) {
			printf("%s\n", *id);
			continue;
		}
		if (view_read(g->root, *id, &v, NULL) < 0)
			continue; // deleted since, or not readable: `state` says why
		if (json)
			r = print_json(&v.state, first, e);
		else
			print_row(&v.state);
		if (r < 0)
			return r;
		first = false;
	}
	if (json && !o->quiet)
		printf("%s\n", first ? "null" : "]");
	return 0;
}

static int run(const struct cli_globals *g, const void *opts, int argc, char **argv)
{
	struct err e;

	(void)argc;
	(void)argv;
	return list(g, opts, &e) < 0 ? cli_fail(&e) : 0;
}

const struct cli_command cmd_list = {
	.name = "list",
	.args = "",
	.summary = "list containers",
	.help = "   Lists the containers below --root with their pid, status and bundle.\n",
	.options = options,
	.options_size = sizeof(struct list_options),
	.run = run,
};
