// SPDX-License-Identifier: Apache-2.0
// A process object written again with changes: what `exec` makes of a container's own.
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/json.h"
#include "oci/config.h"
#include "oci/tree.h"

// The length of NAME in "NAME=VALUE".
static size_t name_len(const char *word)
{
	return strcspn(word, "=");
}

static bool replaced(const char *word, const struct oci_words *by)
{
	size_t len = name_len(word);

	for (size_t i = 0; i < by->n; i++)
		if (name_len(by->v[i]) == len && memcmp(by->v[i], word, len) == 0)
			return true;
	return false;
}

// The old words but those that a new one stands for, then the new ones.
static void put_words(struct json_out *o, const char *key, const struct oci_strv *old,
		      const struct oci_words *add)
{
	json_out_key(o, key);
	json_out_open(o, '[');
	for (size_t i = 0; old && i < old->n; i++)
		if (!replaced(old->v[i], add))
			json_out_str(o, old->v[i]);
	for (size_t i = 0; i < add->n; i++)
		json_out_str(o, add->v[i]);
	json_out_close(o, ']');
}

static void put_capabilities(struct json_out *o, const struct oci_capabilities *c,
			     const struct oci_words *add)
{
	const struct oci_words none = { .n = 0 };

	json_out_key(o, "capabilities");
	json_out_open(o, '{');
	put_words(o, "bounding", &c->bounding, add);
	put_words(o, "effective", &c->effective, add);
	put_words(o, "permitted", &c->permitted, add);
	put_words(o, "inheritable", &c->inheritable, &none);
	put_words(o, "ambient", &c->ambient, &none);
	json_out_close(o, '}');
}

static void put_number(struct json_out *o, uint32_t v)
{
	char text[16];

	(void)snprintf(text, sizeof(text), "%u", v); // fits
	json_out_number(o, text);
}

static void put_user(struct json_out *o, const struct oci_process *p,
		     const struct oci_process_change *ch)
{
	json_out_key(o, "user");
	json_out_open(o, '{');
	json_out_kint(o, "uid", ch->uid.set ? ch->uid.v : p->uid);
	json_out_kint(o, "gid", ch->gid.set ? ch->gid.v : p->gid);
	if (p->umask.set)
		json_out_kint(o, "umask", p->umask.v);
	json_out_key(o, "additionalGids");
	json_out_open(o, '[');
	for (size_t i = 0; i < p->n_additional_gids; i++)
		put_number(o, p->additional_gids[i]);
	for (size_t i = 0; i < ch->n_gids; i++)
		put_number(o, ch->gids[i]);
	json_out_close(o, ']');
	json_out_close(o, '}');
}

static void put_size(struct json_out *o, const struct oci_process_change *ch)
{
	json_out_key(o, "consoleSize");
	json_out_open(o, '{');
	json_out_kint(o, "height", ch->height);
	json_out_kint(o, "width", ch->width);
	json_out_close(o, '}');
}

// Which member each change takes the place of.
static bool changes(const struct oci_process_change *ch, const char *key)
{
	const struct {
		const char *key;
		bool changed;
	} rows[] = {
		{ "args", ch->args.n > 0 },
		{ "env", ch->env.n > 0 },
		{ "capabilities", ch->caps.n > 0 },
		{ "cwd", ch->cwd },
		{ "user", ch->uid.set || ch->gid.set || ch->n_gids > 0 },
		{ "noNewPrivileges", ch->no_new_privileges },
		{ "terminal", ch->set_terminal },
		{ "consoleSize", ch->height && ch->width },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (strcmp(rows[i].key, key) == 0)
			return rows[i].changed;
	return false;
}

static void put_changes(struct json_out *o, const struct oci_process *p,
			const struct oci_process_change *ch)
{
	if (changes(ch, "args"))
		put_words(o, "args", NULL, &ch->args);
	if (changes(ch, "env"))
		put_words(o, "env", &p->env, &ch->env);
	if (changes(ch, "capabilities"))
		put_capabilities(o, &p->capabilities, &ch->caps);
	if (changes(ch, "user"))
		put_user(o, p, ch);
	json_out_kstr(o, "cwd", ch->cwd); // nothing when NULL
	if (ch->no_new_privileges)
		json_out_kbool(o, "noNewPrivileges", true);
	if (ch->set_terminal)
		json_out_kbool(o, "terminal", ch->terminal);
	if (changes(ch, "consoleSize"))
		put_size(o, ch);
}

int oci_process_rewrite(const struct oci_config *c, const struct oci_process_change *ch,
			char **ret_json, size_t *ret_len, struct err *e)
{
	struct json_at top = json_top(c->tree->json), process = top;
	struct json_out o;
	int r;

	if (c->oci_version && !json_member(&top, "process", &process))
		return err_set(e, EINVAL, "process: required, but absent");
	r = json_out_init(&o, NULL, e);
	if (r < 0)
		return r;
	json_out_open(&o, '{');
	for (size_t i = 0; i < process.v->u.object.len; i++) {
		if (changes(ch, process.v->u.object.keys[i]))
			continue;
		json_out_key(&o, process.v->u.object.keys[i]);
		oci_emit(&o, process.v->u.object.values[i]);
	}
	put_changes(&o, &c->process, ch);
	json_out_close(&o, '}');
	r = json_out_take(&o, ret_json, ret_len, e);
	json_out_done(&o);
	return r;
}
