// SPDX-License-Identifier: Apache-2.0
#include "runtime/systemd_property.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/own.h"
#include "oci/oci.h"

enum { LIST_MAX = 32, NAME_BYTES = 256 };

// What may be set from outside: how the scope ends, and its order among units. Nothing of these takes its limits away.
// A name in seconds becomes the one in microseconds, as runc does it.
static const struct {
	const char *annotation, *property;
	char type; // of the bus: s, b, t, i; a: a list of s
	uint64_t scale;
} rows[] = {
	{ "After", "After", 'a', 0 },
	{ "Before", "Before", 'a', 0 },
	{ "CollectMode", "CollectMode", 's', 0 },
	{ "DefaultDependencies", "DefaultDependencies", 'b', 0 },
	{ "Description", "Description", 's', 0 },
	{ "KillSignal", "KillSignal", 'i', 0 },
	{ "SendSIGHUP", "SendSIGHUP", 'b', 0 },
	{ "SendSIGKILL", "SendSIGKILL", 'b', 0 },
	{ "TimeoutStopSec", "TimeoutStopUSec", 't', 1000000 },
	{ "TimeoutStopUSec", "TimeoutStopUSec", 't', 1 },
};

bool systemd_property_given(const struct oci_map *annotations, const char *name)
{
	char key[NAME_BYTES];

	(void)snprintf(key, sizeof(key), SYSTEMD_PROPERTY_PREFIX "%s", name); // a literal of ours
	return annotations && oci_map_get(annotations, key);
}

// 'text' or "text", without escapes. *at is moved behind it.
static bool read_string(const char **at, char ret[NAME_BYTES])
{
	char quote = **at;
	size_t len;

	if (quote != '\'' && quote != '"')
		return false;
	len = strcspn(*at + 1, quote == '\'' ? "'\\" : "\"\\");
	if ((*at)[1 + len] != quote || len >= NAME_BYTES)
		return false;
	memcpy(ret, *at + 1, len);
	ret[len] = '\0';
	*at += len + 2;
	return true;
}

static bool read_number(const char *text, const char *type, uint64_t max, uint64_t *ret)
{
	size_t n = strlen(type);
	char *end;

	if (strncmp(text, type, n) == 0 && text[n] == ' ')
		text += n + 1;
	errno = 0;
	*ret = strtoull(text, &end, 10);
	return *text >= '0' && *text <= '9' && !*end && errno == 0 && *ret <= max;
}

static int append_list(sd_bus_message *m, const char *property, const char *text)
{
	char v[LIST_MAX][NAME_BYTES], *list[LIST_MAX + 1];
	size_t n = 0;
	int r;

	if (strncmp(text, "@as ", 4) == 0)
		text += 4;
	if (*text++ != '[')
		return -EINVAL;
	while (*text != ']') {
		if (n == LIST_MAX || !read_string(&text, v[n]))
			return -EINVAL;
		list[n] = v[n];
		n++;
		if (*text == ',')
			text += 1 + strspn(text + 1, " ");
		else if (*text != ']')
			return -EINVAL;
	}
	if (text[1])
		return -EINVAL;
	list[n] = NULL;
	if ((r = sd_bus_message_open_container(m, 'r', "sv")) < 0 ||
	    (r = sd_bus_message_append(m, "s", property)) < 0 ||
	    (r = sd_bus_message_open_container(m, 'v', "as")) < 0 ||
	    (r = sd_bus_message_append_strv(m, list)) < 0 ||
	    (r = sd_bus_message_close_container(m)) < 0)
		return r;
	return sd_bus_message_close_container(m);
}

static int append_row(sd_bus_message *m, size_t row, const char *text)
{
	const char *property = rows[row].property;
	char string[NAME_BYTES];
	uint64_t n;

	switch (rows[row].type) {
	case 's':
		if (!read_string(&text, string) || *text)
			return -EINVAL;
		return sd_bus_message_append(m, "(sv)", property, "s", string);
	case 'b':
		if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
			return -EINVAL;
		return sd_bus_message_append(m, "(sv)", property, "b", text[0] == 't');
	case 't':
		if (!read_number(text, "uint64", UINT64_MAX / rows[row].scale, &n))
			return -EINVAL;
		return sd_bus_message_append(m, "(sv)", property, "t", n * rows[row].scale);
	case 'i':
		if (!read_number(text, "int32", 64, &n))
			return -EINVAL;
		return sd_bus_message_append(m, "(sv)", property, "i", (int32_t)n);
	default:
		return append_list(m, property, text);
	}
}

int systemd_property_append(sd_bus_message *m, const struct oci_map *annotations, struct err *e)
{
	enum {
		PREFIX = sizeof(SYSTEMD_PROPERTY_PREFIX) - 1,
		ROWS = sizeof(rows) / sizeof(rows[0])
	};

	for (size_t i = 0; annotations && i < annotations->n; i++) {
		const char *key = annotations->v[i].key;
		size_t row = 0;
		int r;

		if (strncmp(key, SYSTEMD_PROPERTY_PREFIX, PREFIX) != 0)
			continue;
		while (row < ROWS && strcmp(key + PREFIX, rows[row].annotation) != 0)
			row++;
		if (row == ROWS)
			return err_set(e, ENOTSUP, "annotations: %.100s: not supported", key);
		r = append_row(m, row, annotations->v[i].value);
		if (r < 0)
			return err_set(e, EINVAL,
				       "annotations: %.100s: \"%.100s\" is not of its type", key,
				       annotations->v[i].value);
	}
	return 0;
}
