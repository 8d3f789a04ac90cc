// SPDX-License-Identifier: Apache-2.0
// bulkhead list: all containers below --root.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
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

// As runc's: a column is as wide as its longest cell and three blanks, and at least 12.
enum { COLUMNS = 6 };
struct row {
	char cell[COLUMNS][STORE_PATH_BYTES];
};
struct table {
	struct row *v; // owned
	size_t n;
};

static int table_add(struct table *t, const char *const cells[COLUMNS], struct err *e)
{
	struct row *v = reallocarray(t->v, t->n + 1, sizeof(*v));

	if (!v)
		return err_errno(e, ENOMEM, "list");
	t->v = v;
	for (unsigned i = 0; i < COLUMNS; i++)
		(void)snprintf(v[t->n].cell[i], sizeof(v->cell[i]), "%s",
			       cells[i] ? cells[i] : ""); // cut is fine
	t->n++;
	return 0;
}

static int table_add_state(struct table *t, const struct oci_state *s, struct err *e)
{
	char pid[24];

	(void)snprintf(pid, sizeof(pid), "%lld", (long long)s->pid); // fits
	return table_add(
		t, (const char *[]){ s->id, pid, s->status, s->bundle, s->created, s->owner }, e);
}

static void table_print(const struct table *t)
{
	int width[COLUMNS];

	for (unsigned c = 0; c < COLUMNS; c++) {
		width[c] = 12;
		for (size_t i = 0; i < t->n; i++)
			if ((int)strlen(t->v[i].cell[c]) + 3 > width[c])
				width[c] = (int)strlen(t->v[i].cell[c]) + 3;
	}
	for (size_t i = 0; i < t->n; i++)
		for (unsigned c = 0; c < COLUMNS; c++)
			printf("%-*s%s", c + 1 < COLUMNS ? width[c] : 0, t->v[i].cell[c],
			       c + 1 < COLUMNS ? "" : "\n");
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

static int list(const struct cli_globals *g, const struct list_options *o, struct table *t,
		struct err *e)
{
	bool json = o->format && strcmp(o->format, "json") == 0, first = true;
	char **ids AUTO(store_ids_free) = NULL;
	int r;

	if (o->format && o->format[0] && !json && strcmp(o->format, "table") != 0)
		return err_set(e, EINVAL, "invalid format option");
	r = store_list(g->root, &ids, e);
	if (r < 0)
		return r;
	r = table_add(t, (const char *[]){ "ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER" },
		      e);
	if (r < 0)
		return r;
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
			r = table_add_state(t, &v.state, e);
		if (r < 0)
			return r;
		first = false;
	}
	if (json && !o->quiet)
		printf("%s\n", first ? "null" : "]");
	else if (!o->quiet)
		table_print(t);
	return 0;
}

static int run(const struct cli_globals *g, const void *opts, int argc, char **argv)
{
	struct table t = { 0 };
	struct err e;
	int r;

	(void)argc;
	(void)argv;
	r = list(g, opts, &t, &e);
	free(t.v);
	return r < 0 ? cli_fail(&e) : 0;
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
