// SPDX-License-Identifier: Apache-2.0
// config.json: the top level, mounts and hooks.
#include "oci/config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/own.h"
#include "oci/tree.h"

OWN_DEFINE(struct oci_config *, oci_config_free)

const char *oci_map_get(const struct oci_map *m, const char *key)
{
	const char *found = NULL;

	for (size_t i = 0; i < m->n; i++) {
		if (strcmp(m->v[i].key, key) == 0)
			found = m->v[i].value; // the last of equal keys, as json_member
	}
	return found;
}

// SemVer, of which the major number decides: 1.x is what this file reads.
static int check_version(const struct json_at *top, const char *v, struct err *e)
{
	struct json_at at;
	size_t digits = strspn(v, "0123456789");

	(void)json_member(top, "ociVersion", &at); // it is there: the caller read it
	if (digits == 0 || v[digits] != '.' || v[digits + 1] < '0' || v[digits + 1] > '9')
		return json_err(&at, e, "\"%.60s\" is not a version (expected 1.x.y)", v);
	if (digits != 1 || v[0] != '1')
		return json_err(&at, e, "unknown version \"%.60s\" (1.x is supported)", v);
	return 0;
}

int oci_parse_mount(struct oci_tree *t, const struct json_at *at, void *elem, struct err *e)
{
	struct oci_mount *m = elem;
	int r;

	if ((r = oci_need_str(at, "destination", &m->destination, e)) < 0 ||
	    (r = oci_read_text(at, "type", &m->type, e)) < 0 ||
	    (r = oci_read_text(at, "source", &m->source, e)) < 0 ||
	    (r = oci_read_strv(t, at, "options", &m->options, e)) < 0 ||
	    (r = oci_read_id_maps(t, at, "uidMappings", &m->uid_maps, e)) < 0 ||
	    (r = oci_read_id_maps(t, at, "gidMappings", &m->gid_maps, e)) < 0)
		return r;
	if (strlen(m->destination) > OCI_PATH_MAX)
		return json_err(at, e, "destination: longer than %d bytes", OCI_PATH_MAX);
	if (m->source && strlen(m->source) > OCI_PATH_MAX)
		return json_err(at, e, "source: longer than %d bytes", OCI_PATH_MAX);
	if ((m->uid_maps.n > 0) != (m->gid_maps.n > 0))
		return json_err(at, e, "uidMappings and gidMappings go together");
	for (size_t i = 0; i < m->options.n; i++) {
		m->rbind |= strcmp(m->options.v[i], "rbind") == 0;
		m->bind |= strcmp(m->options.v[i], "bind") == 0;
	}
	m->bind |= m->rbind || (m->type && strcmp(m->type, "bind") == 0);
	if (m->bind && !m->source)
		return json_err(at, e, "source: required for a bind mount, but absent");
	return 0;
}

static int parse_hook(struct oci_tree *t, const struct json_at *at, void *elem, struct err *e)
{
	struct oci_hook *h = elem;
	int r;

	if ((r = oci_need_str(at, "path", &h->path, e)) < 0 ||
	    (r = oci_check_abs_path(at, "path", h->path, e)) < 0 ||
	    (r = oci_read_strv(t, at, "args", &h->args, e)) < 0 ||
	    (r = oci_read_strv(t, at, "env", &h->env, e)) < 0)
		return r;
	return oci_read_i64(at, "timeout", 1, INT32_MAX, &h->timeout, e);
}

int oci_parse_hooks(struct oci_tree *t, const struct json_at *at, struct oci_hooks *hooks,
		    struct err *e)
{
	static const char *const name[OCI_HOOK_KINDS] = {
		"prestart",       "createRuntime", "createContainer",
		"startContainer", "poststart",     "poststop",
	};
	int r = json_is_object(at, e);

	for (unsigned i = 0; r == 0 && i < OCI_HOOK_KINDS; i++)
		r = oci_read_list(t, at, name[i], 256, sizeof(*hooks[i].v), parse_hook, &hooks[i].v,
				  &hooks[i].n, e);
	return r;
}

static int parse_root(const struct json_at *at, struct oci_config *c, struct err *e)
{
	int r = json_is_object(at, e);

	if (r < 0 || (r = oci_need_str(at, "path", &c->root.path, e)) < 0 ||
	    (r = oci_read_bool(at, "readonly", &c->root.readonly, e)) < 0)
		return r;
	if (strlen(c->root.path) > OCI_PATH_MAX)
		return json_err(at, e, "path: longer than %d bytes", OCI_PATH_MAX);
	c->root.present = true;
	return 0;
}

static int parse_names(const struct json_at *top, struct oci_config *c, struct err *e)
{
	struct json_at at;
	int r;

	if ((r = oci_read_text(top, "hostname", &c->hostname, e)) < 0 ||
	    (r = oci_read_text(top, "domainname", &c->domainname, e)) < 0)
		return r;
	if (c->hostname && strlen(c->hostname) > 64) {
		(void)json_member(top, "hostname", &at); // for its path
		return json_err(&at, e, "longer than 64 bytes");
	}
	if (c->domainname && strlen(c->domainname) > 64) {
		(void)json_member(top, "domainname", &at); // for its path
		return json_err(&at, e, "longer than 64 bytes");
	}
	return 0;
}

// What no member can tell alone.
static int check_whole(const struct json_at *top, const struct oci_config *c, struct err *e)
{
	struct json_at at;

	if (c->has_linux && c->hostname && !c->lin.ns[OCI_NS_UTS].present) {
		(void)json_member(top, "hostname", &at); // for its path
		return json_err(&at, e, "cannot be set without a uts namespace");
	}
	if (c->has_linux && c->domainname && !c->lin.ns[OCI_NS_UTS].present) {
		(void)json_member(top, "domainname", &at); // for its path
		return json_err(&at, e, "cannot be set without a uts namespace");
	}
	if (!c->root.present && !c->has_vm) {
		(void)json_member(top, "root", &at); // for its path
		return json_err(&at, e, "required, but absent");
	}
	return 0;
}

static int parse_top(struct oci_tree *t, const struct json_at *top, struct oci_config *c,
		     struct err *e)
{
	struct json_at at;
	int r = json_is_object(top, e);

	if (r < 0 || (r = oci_need_str(top, "ociVersion", &c->oci_version, e)) < 0 ||
	    (r = check_version(top, c->oci_version, e)) < 0)
		return r;
	if (json_member(top, "process", &at)) {
		c->has_process = true;
		if ((r = oci_parse_process(t, &at, &c->process, e)) < 0)
			return r;
	}
	if (json_member(top, "root", &at) && (r = parse_root(&at, c, e)) < 0)
		return r;
	if (json_member(top, "hooks", &at) && (r = oci_parse_hooks(t, &at, c->hooks, e)) < 0)
		return r;
	if (json_member(top, "linux", &at)) {
		c->has_linux = true;
		if ((r = oci_parse_linux(t, &at, &c->lin, e)) < 0)
			return r;
	}
	if (json_member(top, "vm", &at)) {
		c->has_vm = true;
		if ((r = oci_parse_vm(t, &at, &c->vm, e)) < 0)
			return r;
	}
	if ((r = parse_names(top, c, e)) < 0 ||
	    (r = oci_read_list(t, top, "mounts", OCI_MOUNTS_MAX, sizeof(*c->mounts),
			       oci_parse_mount, &c->mounts, &c->n_mounts, e)) < 0 ||
	    (r = oci_read_map(t, top, "annotations", &c->annotations, e)) < 0)
		return r;
	return check_whole(top, c, e);
}

static int tree_new(const char *json, size_t len, struct oci_config **ret_config, struct err *e)
{
	struct oci_config *c AUTO(oci_config_free) = NULL;
	int r;

	if (len > OCI_CONFIG_BYTES_MAX)
		return err_set(e, EFBIG, "larger than %d bytes", OCI_CONFIG_BYTES_MAX);
	c = calloc(1, sizeof(*c));
	if (c)
		c->tree = calloc(1, sizeof(*c->tree));
	if (!c || !c->tree)
		return err_errno(e, ENOMEM, "parsing JSON");
	r = json_parse(json, len, OCI_DEPTH_MAX, &c->tree->json, e);
	if (r < 0)
		return r;
	*ret_config = take_ptr(&c);
	return 0;
}

int oci_config_parse(const char *json, size_t len, struct oci_config **ret_config, struct err *e)
{
	struct oci_config *c AUTO(oci_config_free) = NULL;
	struct json_at top;
	int r = tree_new(json, len, &c, e);

	if (r < 0)
		return r;
	top = json_top(c->tree->json);
	r = parse_top(c->tree, &top, c, e);
	if (r < 0)
		return r;
	*ret_config = take_ptr(&c);
	return 0;
}

void oci_config_free(struct oci_config *c)
{
	if (!c)
		return;
	oci_tree_free(c->tree);
	free(c);
}

int oci_process_parse(const char *json, size_t len, struct oci_config **ret_config, struct err *e)
{
	struct oci_config *c AUTO(oci_config_free) = NULL;
	struct json_at top;
	int r = tree_new(json, len, &c, e);

	if (r < 0)
		return r;
	top = json_top(c->tree->json);
	r = oci_parse_process(c->tree, &top, &c->process, e);
	if (r < 0)
		return r;
	c->has_process = true;
	*ret_config = take_ptr(&c);
	return 0;
}
