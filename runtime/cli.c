// SPDX-License-Identifier: Apache-2.0
#include "runtime/cli.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"

int cli_fail(const struct err *e)
{
	log_error("%s", e->msg);
	return 1;
}

static const struct cli_option *find(const struct cli_option *table, const char *name, size_t len)
{
	for (const struct cli_option *o = table; o && o->name; o++) {
		if (strlen(o->name) == len && memcmp(o->name, name, len) == 0)
			return o;
		if (len == 1 && o->letter == *name)
			return o;
	}
	return NULL;
}

static int set_flag(const struct cli_option *o, void *dest, const char *value, struct err *e)
{
	bool on = true;

	if (value) {
		on = strcmp(value, "true") == 0 || strcmp(value, "1") == 0;
		if (!on && strcmp(value, "false") != 0 && strcmp(value, "0") != 0)
			return err_set(e, EINVAL, "invalid boolean value \"%s\" for -%s", value,
				       o->name);
	}
	if (o->kind == CLI_FLAG)
		memcpy((char *)dest + o->offset, &on, sizeof(on));
	return 0;
}

static int add_word(struct cli_list *list, const char *value, struct err *e)
{
	const char **v = reallocarray(list->v, list->n + 1, sizeof(*v));

	if (!v)
		return err_errno(e, ENOMEM, "options");
	list->v = v;
	list->v[list->n++] = value;
	return 0;
}

void cli_free_lists(const struct cli_option *table, void *dest)
{
	for (const struct cli_option *o = table; o && o->name; o++) {
		struct cli_list list;

		if (o->kind != CLI_LIST)
			continue;
		memcpy(&list, (char *)dest + o->offset, sizeof(list));
		free(list.v);
	}
}

static int set_value(const struct cli_option *o, void *dest, const char *value, struct err *e)
{
	struct cli_list list;
	int r = 0;

	if (o->kind == CLI_STRING) {
		memcpy((char *)dest + o->offset, &value, sizeof(value));
	} else if (o->kind == CLI_LIST) {
		memcpy(&list, (char *)dest + o->offset, sizeof(list));
		r = add_word(&list, value, e);
		memcpy((char *)dest + o->offset, &list, sizeof(list));
	}
	return r;
}

int cli_parse(const struct cli_option *table, void *dest, int argc, char **argv, int *ret_used,
	      bool *ret_help, struct err *e)
{
	int i = 0;

	while (i < argc) {
		const char *word = argv[i], *name, *value;
		const struct cli_option *o;
		size_t len;
		int r;

		if (word[0] != '-' || word[1] == '\0')
			break;
		i++;
		if (strcmp(word, "--") == 0)
			break;
		name = word + (word[1] == '-' ? 2 : 1);
		len = strcspn(name, "=");
		value = name[len] == '=' ? name + len + 1 : NULL;
		if (!value && (strcmp(name, "help") == 0 || strcmp(name, "h") == 0)) {
			*ret_help = true;
			continue;
		}
		o = find(table, name, len);
		if (!o)
			return err_set(e, EINVAL, "flag provided but not defined: -%s", name);
		if (o->kind == CLI_FLAG || o->kind == CLI_IGNORED_FLAG) {
			r = set_flag(o, dest, value, e);
			if (r < 0)
				return r;
			continue;
		}
		if (!value) {
			if (i == argc)
				return err_set(e, EINVAL, "flag needs an argument: -%s", name);
			value = argv[i++];
		}
		r = set_value(o, dest, value, e);
		if (r < 0)
			return r;
	}
	*ret_used = i;
	return 0;
}

void cli_print_options(const struct cli_option *table)
{
	for (const struct cli_option *o = table; o && o->name; o++) {
		char left[64];

		const char letter[] = { ',', ' ', '-', o->letter, '\0' };

		(void)snprintf(left, sizeof(left), "--%s%s%s%s", o->name, o->letter ? letter : "",
			       o->value_name ? " " : "",
			       o->value_name ? o->value_name : ""); // cut is fine
		printf("   %-28s %s\n", left, o->help);
	}
	printf("   %-28s %s\n", "--help, -h", "show help");
}
