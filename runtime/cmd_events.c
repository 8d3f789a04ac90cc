// SPDX-License-Identifier: Apache-2.0
// bulkhead events: what a container uses, at intervals, and when the kernel kills for want of memory.
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/io.h"
#include "base/own.h"
#include "runtime/cli.h"
#include "runtime/client.h"
#include "runtime/metrics.h"

enum { INTERVAL_MS = 5000, INTERVAL_MS_MAX = 24 * 3600 * 1000 };

struct events_options {
	const char *interval;
	bool stats;
};
static const struct cli_option options[] = {
	{ "interval", 0, CLI_STRING, offsetof(struct events_options, interval), "DURATION",
	  "between two lines of stats, such as 500ms or 1m30s (default 5s)" },
	{ "stats", 0, CLI_FLAG, offsetof(struct events_options, stats), NULL,
	  "print one line of stats and exit" },
	CLI_END,
};

OWN_DEFINE(struct client *, client_close)

// Go's durations: numbers, each with its unit.
static int parse_interval(const char *text, int64_t *ret_ms, struct err *e)
{
	static const struct {
		const char *name;
		double ms;
	} units[] = { { "ns", 1e-6 }, { "us", 1e-3 }, { "ms", 1 },
		      { "s", 1000 },  { "m", 60000 }, { "h", 3600000 } };
	const char *at = text + (*text == '+' || *text == '-');
	double sum = 0;
	bool any = strcmp(at, "0") == 0;

	while (*at && !any) {
		size_t len = strspn(at, "0123456789."), i = 0, unit;
		double v = strtod(at, NULL);

		unit = strcspn(at + len, "0123456789.");
		while (i < sizeof(units) / sizeof(*units) &&
		       (strlen(units[i].name) != unit ||
			strncmp(units[i].name, at + len, unit) != 0))
			i++;
		if (!isdigit((unsigned char)*at) || i == sizeof(units) / sizeof(*units))
			return err_set(e, EINVAL,
				       "invalid value \"%.60s\" for flag -interval: parse error",
				       text);
		sum += v * units[i].ms;
		at += len + unit;
	}
	if (*text == '-' || sum <= 0)
		return err_set(e, EINVAL, "duration interval must be greater than 0");
	*ret_ms = sum < 1 ? 1 : sum > INTERVAL_MS_MAX ? INTERVAL_MS_MAX : (int64_t)sum;
	return 0;
}

static int print_line(const char *line, struct err *e)
{
	if (printf("%s\n", line) < 0 || fflush(stdout) != 0)
		return err_errno(e, errno, "standard output");
	return 0;
}

static int print_stats(struct client *cl, const char *id, struct err *e)
{
	char *line AUTO_FREE = NULL;
	Metrics__Metrics *m;
	size_t len;
	int r = client_stats(cl, id, &m, e);

	if (r < 0)
		return r;
	r = metrics_stats_line(id, m, &line, &len, e);
	metrics__metrics__free_unpacked(m, NULL);
	return r < 0 ? r : print_line(line, e);
}

// An id is made of letters, digits and _+-. only.
static int print_oom(const char *id, struct err *e)
{
	char line[2048];

	(void)snprintf(line, sizeof(line), "{\"type\":\"oom\",\"id\":\"%s\"}", id); // fits
	return print_line(line, e);
}

// Until the next stats are due. *seen is how many kills have been told.
static int watch(struct client *cl, const char *id, int64_t until_ms, uint32_t *seen,
		 bool *ret_stopped, struct err *e)
{
	int64_t left;

	while (!*ret_stopped && (left = until_ms - io_now_ns() / 1000000) > 0) {
		uint32_t oom = *seen;
		int r = client_event(cl, id, *seen, (uint32_t)(left < 60000 ? left : 60000), &oom,
				     ret_stopped, e);

		if (r < 0)
			return r;
		for (; *seen < oom; (*seen)++)
			if ((r = print_oom(id, e)) < 0)
				return r;
	}
	return 0;
}

static int follow(struct client *cl, const char *id, int64_t interval_ms, struct err *e)
{
	bool stopped = false;
	uint32_t seen = 0;
	int r = client_event(cl, id, UINT32_MAX, 0, &seen, &stopped, e);

	while (r == 0 && !stopped) {
		int64_t until = io_now_ns() / 1000000 + interval_ms;

		r = print_stats(cl, id, e);
		if (r == 0 || r == -EBUSY) // it has just ended: there may be more to tell of it
			r = watch(cl, id, until, &seen, &stopped, e);
	}
	// The container is deleted, or its pod has gone: that is the end, too.
	return r == -ENOENT || r == -EPIPE || r == -EIO ? 0 : r;
}

static int events(const struct cli_globals *g, const struct events_options *o, const char *id,
		  struct err *e)
{
	struct client *cl AUTO(client_close) = NULL;
	int64_t interval_ms = INTERVAL_MS;
	uint32_t ignored;
	bool stopped;
	int r = o->interval ? parse_interval(o->interval, &interval_ms, e) : 0;

	r = r < 0 ? r : client_reach(g->root, id, "container not running", &cl, e);
	r = r < 0 ? r : client_event(cl, id, UINT32_MAX, 0, &ignored, &stopped, e);
	if (r < 0)
		return r;
	if (stopped)
		return err_set(e, ESRCH, "container not running");
	return o->stats ? print_stats(cl, id, e) : follow(cl, id, interval_ms, e);
}

static int run(const struct cli_globals *g, const void *opts, int argc, char **argv)
{
	struct err e;

	(void)argc;
	return events(g, opts, argv[0], &e) < 0 ? cli_fail(&e) : 0;
}

const struct cli_command cmd_events = {
	.name = "events",
	.args = "ID",
	.summary = "show what a container uses and when it runs out of memory",
	.help = "   One JSON object a line: {\"type\":\"stats\",...} at once and then at each interval, and\n"
		"   {\"type\":\"oom\",...} when the kernel has killed a process for want of memory. Ends with\n"
		"   the container.\n\n"
		"      bulkhead events --stats ID\n",
	.options = options,
	.options_size = sizeof(struct events_options),
	.args_min = 1,
	.args_max = 1,
	.run = run,
};
