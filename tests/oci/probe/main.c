// SPDX-License-Identifier: Apache-2.0
#include "probe.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void say(const char *query, const char *format, ...)
{
	va_list ap;

	printf("%s ", query);
	va_start(ap, format);
	vprintf(format, ap);
	va_end(ap);
	putchar('\n');
}

void say_result(const char *query, long result)
{
	say(query, "%s", result >= 0 ? "ok" : strerrorname_np(errno));
}

char *next_field(char **text)
{
	char *field = *text, *colon = strchr(field, ':');

	*text = colon ? colon + 1 : field + strlen(field);
	if (colon)
		*colon = '\0';
	return field;
}

static probe_fn *find(const char *query, size_t len)
{
	const struct probe_query *tables[] = { process_queries, file_queries, call_queries,
					       view_queries };

	for (unsigned t = 0; t < sizeof(tables) / sizeof(*tables); t++)
		for (const struct probe_query *q = tables[t]; q->name; q++)
			if (strlen(q->name) == len && memcmp(q->name, query, len) == 0)
				return q->answer;
	return NULL;
}

// Control characters are shown, not sent.
static void say_args(int argc, char **argv)
{
	for (int i = 0; i < argc; i++) {
		printf("args[%d] ", i);
		for (const char *p = argv[i]; *p; p++)
			if ((unsigned char)*p < 0x20 || *p == 0x7f)
				printf("\\x%02x", (unsigned)*p);
			else
				putchar(*p);
		putchar('\n');
	}
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		size_t len = strcspn(argv[i], ":");
		probe_fn *answer = find(argv[i], len);

		if (strcmp(argv[i], "args") == 0) { // the rest is no queries
			say_args(argc, argv);
			break;
		}
		if (!answer) {
			fprintf(stderr, "probe: %s: no such query\n", argv[i]);
			return 2;
		}
		answer(argv[i], argv[i][len] ? argv[i] + len + 1 : "");
		fflush(stdout); // before a query that forks or kills
	}
	return 0;
}
