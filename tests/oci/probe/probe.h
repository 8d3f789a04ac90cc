// SPDX-License-Identifier: Apache-2.0
// The probe runs as the container's process and prints what it sees: an argument is a query, "name" or "name:what".
#pragma once

// A query's answer: one or more lines, printed by say(). what is the text after the colon, "" if there is none.
typedef void probe_fn(const char *query, const char *what);

struct probe_query {
	const char *name;
	probe_fn *answer;
};

extern const struct probe_query process_queries[], file_queries[], call_queries[], view_queries[];

// One line of the answer: the query, then the text.
void say(const char *query, const char *format, ...) __attribute__((format(printf, 2, 3)));

// "ok" for 0 or more, else the name of errno.
void say_result(const char *query, long result);

// Splits off what comes before the next colon of *text; what is left is *text, or "".
char *next_field(char **text);
