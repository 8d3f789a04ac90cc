// SPDX-License-Identifier: Apache-2.0
#include "runtime/timings.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/io.h"
#include "base/own.h"

enum { TIMINGS_MAX = 32, TIMINGS_REASONS_MAX = 32 };

// The machine's counters are cumulative; a mark of the supervisor may carry them.
struct reason {
	char name[32];
	unsigned long long count;
};
struct mark {
	char name[40];
	long long ns;
	bool counted;
	unsigned long long instructions;
	struct reason reasons[TIMINGS_REASONS_MAX];
	unsigned n_reasons;
};

struct timings {
	int read_fd, write_fd;
	struct mark marks[TIMINGS_MAX];
	unsigned n;
};

int timings_new(struct timings **ret_timings, int *ret_supervisor_fd, struct err *e)
{
	struct timings *t = calloc(1, sizeof(*t));
	int fds[2];

	if (!t)
		return err_errno(e, ENOMEM, "timings");
	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0) { // a full pipe costs marks, not the pod
		int code = errno;

		free(t);
		return err_errno(e, code, "pipe");
	}
	t->read_fd = fds[0];
	t->write_fd = fds[1];
	*ret_timings = t;
	*ret_supervisor_fd = t->write_fd;
	return 0;
}

static struct mark *add(struct timings *t, const char *name, long long ns)
{
	struct mark *m;

	if (t->n == TIMINGS_MAX)
		return NULL;
	m = &t->marks[t->n++];
	m->ns = ns;
	(void)snprintf(m->name, sizeof(m->name), "%s", name); // cut is fine
	return m;
}

void timings_mark(struct timings *t, const char *name)
{
	if (t)
		(void)add(t, name, io_now_ns()); // one too many is left out
}

// "NS NAME" or "NS NAME\tINSTRUCTIONS\tREASON=COUNT\tREASON=COUNT...".
static void parse_line(struct timings *t, char *line)
{
	char *end, *save = NULL, *field;
	long long ns = strtoll(line, &end, 10);
	struct mark *m;

	if (*end != ' ')
		return;
	field = strtok_r(end + 1, "\t", &save);
	m = field ? add(t, field, ns) : NULL;
	if (!m || !(field = strtok_r(NULL, "\t", &save)))
		return;
	m->counted = true;
	m->instructions = strtoull(field, NULL, 10);
	while ((field = strtok_r(NULL, "\t", &save)) && m->n_reasons < TIMINGS_REASONS_MAX) {
		char *eq = strrchr(field, '=');
		struct reason *r = &m->reasons[m->n_reasons];

		if (!eq)
			continue;
		*eq = '\0';
		(void)snprintf(r->name, sizeof(r->name), "%s", field); // cut is fine
		r->count = strtoull(eq + 1, NULL, 10);
		m->n_reasons++;
	}
}

static void read_marks(struct timings *t)
{
	char buf[65536], *save = NULL;
	size_t len = 0;
	ssize_t n;

	while (len < sizeof(buf) - 1 &&
	       (n = read(t->read_fd, buf + len, sizeof(buf) - 1 - len)) > 0)
		len += (size_t)n;
	buf[len] = '\0';
	for (char *line = strtok_r(buf, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		parse_line(t, line);
}

static int by_time(const void *a, const void *b)
{
	const struct mark *x = a, *y = b;

	return x->ns < y->ns ? -1 : x->ns > y->ns;
}

static unsigned long long reason_count(const struct mark *m, const char *name)
{
	for (unsigned i = 0; m && i < m->n_reasons; i++) {
		if (strcmp(m->reasons[i].name, name) == 0)
			return m->reasons[i].count;
	}
	return 0;
}

// What the guest did since the last mark that knew.
static void print_counts(const struct mark *m, const struct mark *before)
{
	bool any = false;

	if (!m->counted) {
		(void)fprintf(stderr, "%14s  ", "");
		return;
	}
	(void)fprintf(stderr, "%14llu  ", m->instructions - (before ? before->instructions : 0));
	for (unsigned i = 0; i < m->n_reasons; i++) {
		unsigned long long count =
			m->reasons[i].count - reason_count(before, m->reasons[i].name);

		if (count)
			(void)fprintf(stderr, "%s%s %llu", any ? ", " : "", m->reasons[i].name,
				      count);
		any |= count > 0;
	}
}

void timings_print(struct timings *t)
{
	const struct mark *counted = NULL;

	if (!t)
		return;
	read_marks(t);
	qsort(t->marks, t->n, sizeof(t->marks[0]), by_time);
	(void)fprintf(stderr, "%-22s %10s %10s %14s  %s\n", "reached", "at ms", "took ms",
		      "instructions", "intercepts");
	for (unsigned i = 0; i < t->n; i++) {
		const struct mark *m = &t->marks[i];

		(void)fprintf(stderr, "%-22s %10.2f %10.2f ", m->name,
			      (double)(m->ns - t->marks[0].ns) / 1e6,
			      i ? (double)(m->ns - m[-1].ns) / 1e6 : 0.0);
		print_counts(m, counted);
		(void)fprintf(stderr, "\n");
		if (m->counted)
			counted = m;
	}
}

void timings_free(struct timings *t)
{
	if (!t)
		return;
	close_fd(t->read_fd);
	close_fd(t->write_fd);
	free(t);
}
