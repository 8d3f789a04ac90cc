// SPDX-License-Identifier: Apache-2.0
// config.json written again from its tree, with replaced strings: what the guest is given.
#include <string.h>

#include "base/err.h"
#include "base/json.h"
#include "oci/tree.h"

// An object in which one member is a string of ours, whether it was there or not.
static void emit_with(struct json_out *o, yajl_val obj, const char *key, const char *value)
{
	bool done = false;

	json_out_open(o, '{');
	for (size_t i = 0; i < obj->u.object.len; i++) {
		if (strcmp(obj->u.object.keys[i], key) != 0) {
			json_out_key(o, obj->u.object.keys[i]);
			oci_emit(o, obj->u.object.values[i]);
		} else if (!done) {
			json_out_kstr(o, key, value);
			done = true;
		}
	}
	if (!done)
		json_out_kstr(o, key, value);
	json_out_close(o, '}');
}

// Recursion is bounded by OCI_DEPTH_MAX, which the parse enforced.
void oci_emit(struct json_out *o, yajl_val v)
{
	switch (v->type) {
	case yajl_t_string:
		json_out_str(o, YAJL_GET_STRING(v));
		break;
	case yajl_t_number:
		json_out_number(o, YAJL_GET_NUMBER(v));
		break;
	case yajl_t_object:
		json_out_open(o, '{');
		for (size_t i = 0; i < v->u.object.len; i++) {
			json_out_key(o, v->u.object.keys[i]);
			oci_emit(o, v->u.object.values[i]);
		}
		json_out_close(o, '}');
		break;
	case yajl_t_array:
		json_out_open(o, '[');
		for (size_t i = 0; i < v->u.array.len; i++)
			oci_emit(o, v->u.array.values[i]);
		json_out_close(o, ']');
		break;
	case yajl_t_true:
	case yajl_t_false:
		json_out_literal(o, v->type == yajl_t_true ? "true" : "false");
		break;
	case yajl_t_null:
	case yajl_t_any:
		json_out_literal(o, "null");
		break;
	}
}

// Memory cannot be shared between host and guest by path: the pod gets its own, of the usual size.
static void emit_shm(struct json_out *o, const char *destination)
{
	static const char *const options[] = { "nosuid", "noexec", "nodev", "mode=1777",
					       "size=65536k" };

	json_out_open(o, '{');
	json_out_kstr(o, "destination", destination);
	json_out_kstr(o, "type", "tmpfs");
	json_out_kstr(o, "source", "shm");
	json_out_key(o, "options");
	json_out_open(o, '[');
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		json_out_str(o, options[i]);
	json_out_close(o, ']');
	json_out_close(o, '}');
}

static void emit_mounts(struct json_out *o, const struct oci_config *c, yajl_val mounts,
			const struct oci_rewrite_mount *rw)
{
	json_out_open(o, '[');
	for (size_t i = 0; i < mounts->u.array.len; i++) {
		yajl_val m = mounts->u.array.values[i];

		if (rw && rw[i].shm)
			emit_shm(o, c->mounts[i].destination);
		else if (rw && rw[i].source)
			emit_with(o, m, "source", rw[i].source);
		else
			oci_emit(o, m);
	}
	json_out_close(o, ']');
}

int oci_config_rewrite(const struct oci_config *c, const struct oci_rewrite *rw, char **ret_json,
		       size_t *ret_len, struct err *e)
{
	yajl_val top = c->tree->json;
	struct json_at root_at = json_top(top), mounts, root;
	struct json_out o;
	int r = json_out_init(&o, NULL, e);

	if (r < 0)
		return r;
	// The members that counted in the parse are the ones to change: names can occur twice.
	(void)json_member(&root_at, "mounts", &mounts); // v is NULL when absent
	(void)json_member(&root_at, "root", &root);     // as above
	json_out_open(&o, '{');
	for (size_t i = 0; i < top->u.object.len; i++) {
		yajl_val v = top->u.object.values[i];

		json_out_key(&o, top->u.object.keys[i]);
		if (v == mounts.v)
			emit_mounts(&o, c, v, rw->mounts);
		else if (v == root.v && rw->root_path)
			emit_with(&o, v, "path", rw->root_path);
		else
			oci_emit(&o, v);
	}
	json_out_close(&o, '}');
	r = json_out_take(&o, ret_json, ret_len, e);
	json_out_done(&o);
	return r;
}
