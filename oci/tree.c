// SPDX-License-Identifier: Apache-2.0
#include "oci/tree.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

struct oci_chunk {
	struct oci_chunk *next;
	max_align_t data[];
};

void *oci_tree_alloc(struct oci_tree *t, size_t n, size_t size)
{
	struct oci_chunk *c;
	size_t bytes;

	if (__builtin_mul_overflow(n, size, &bytes) ||
	    __builtin_add_overflow(bytes, sizeof(*c), &bytes))
		return NULL;
	c = calloc(1, bytes);
	if (!c)
		return NULL;
	c->next = t->chunks;
	t->chunks = c;
	return c->data;
}

void oci_tree_free(struct oci_tree *t)
{
	if (!t)
		return;
	while (t->chunks) {
		struct oci_chunk *c = t->chunks;

		t->chunks = c->next;
		free(c);
	}
	yajl_tree_free(t->json);
	free(t);
}

static int no_memory(const struct json_at *at, struct err *e)
{
	(void)json_err(at, e, "out of memory"); // for the text; the number differs
	if (e)
		e->code = ENOMEM;
	return -ENOMEM;
}

int oci_read_enum(const struct json_at *at, const char *const *names, unsigned *ret, struct err *e)
{
	const char *s = NULL;
	int r = json_string(at, OCI_STRING_MAX, &s, e);

	if (r < 0)
		return r;
	for (unsigned i = 0; names[i]; i++) {
		if (strcmp(names[i], s) == 0) {
			*ret = i;
			return 0;
		}
	}
	return json_err(at, e, "unknown value \"%.100s\"", s);
}

int oci_read_str(const struct json_at *obj, const char *key, const char **ret, struct err *e)
{
	struct json_at at;

	return json_member(obj, key, &at) ? json_string(&at, OCI_STRING_MAX, ret, e) : 0;
}

int oci_read_text(const struct json_at *obj, const char *key, const char **ret, struct err *e)
{
	int r = oci_read_str(obj, key, ret, e);

	if (r == 0 && *ret && (*ret)[0] == '\0')
		*ret = NULL;
	return r;
}

int oci_read_bool(const struct json_at *obj, const char *key, bool *ret, struct err *e)
{
	struct json_at at;

	return json_member(obj, key, &at) ? json_bool(&at, ret, e) : 0;
}

int oci_read_u32(const struct json_at *obj, const char *key, struct oci_opt_u32 *ret, struct err *e)
{
	struct json_at at;
	uint64_t v;
	int r;

	if (!json_member(obj, key, &at))
		return 0;
	r = json_u64(&at, UINT32_MAX, &v, e);
	if (r == 0)
		*ret = (struct oci_opt_u32){ .set = true, .v = (uint32_t)v };
	return r;
}

int oci_read_u64(const struct json_at *obj, const char *key, struct oci_opt_u64 *ret, struct err *e)
{
	struct json_at at;
	int r;

	if (!json_member(obj, key, &at))
		return 0;
	r = json_u64(&at, UINT64_MAX, &ret->v, e);
	ret->set = r == 0;
	return r;
}

int oci_read_i64(const struct json_at *obj, const char *key, int64_t min, int64_t max,
		 struct oci_opt_i64 *ret, struct err *e)
{
	struct json_at at;
	int r;

	if (!json_member(obj, key, &at))
		return 0;
	r = json_i64(&at, min, max, &ret->v, e);
	ret->set = r == 0;
	return r;
}

int oci_read_strv(struct oci_tree *t, const struct json_at *obj, const char *key,
		  struct oci_strv *ret, struct err *e)
{
	struct json_at at;
	size_t n = 0;
	bool there = json_member(obj, key, &at);
	int r = there ? json_is_array(&at, OCI_LIST_MAX, &n, e) : 0;

	if (r < 0)
		return r;
	ret->v = oci_tree_alloc(t, n + 1, sizeof(*ret->v));
	if (!ret->v)
		return no_memory(&at, e);
	for (size_t i = 0; i < n; i++) {
		struct json_at item = json_item(&at, i);
		const char *s;

		r = json_string(&item, OCI_STRING_MAX, &s, e);
		if (r < 0)
			return r;
		ret->v[i] = YAJL_GET_STRING(item.v);
	}
	ret->n = n;
	return 0;
}

int oci_read_map(struct oci_tree *t, const struct json_at *obj, const char *key,
		 struct oci_map *ret, struct err *e)
{
	struct json_at at;
	size_t n;
	int r;

	if (!json_member(obj, key, &at))
		return 0;
	r = json_is_object(&at, e);
	if (r < 0)
		return r;
	n = at.v->u.object.len;
	if (n > OCI_LIST_MAX)
		return json_err(&at, e, "%zu members, at most %d are allowed", n, OCI_LIST_MAX);
	ret->v = oci_tree_alloc(t, n, sizeof(*ret->v));
	if (!ret->v)
		return no_memory(&at, e);
	for (size_t i = 0; i < n; i++) {
		struct json_at item = json_pair(&at, i);

		ret->v[i].key = item.key;
		r = json_string(&item, OCI_STRING_MAX, &ret->v[i].value, e);
		if (r < 0)
			return r;
	}
	ret->n = n;
	return 0;
}

int oci_need_u32(const struct json_at *obj, const char *key, uint32_t *ret, struct err *e)
{
	struct oci_opt_u32 v = { 0 };
	struct json_at at;
	int r = oci_read_u32(obj, key, &v, e);

	if (r < 0)
		return r;
	if (!v.set) {
		(void)json_member(obj, key, &at); // absent: only its path is wanted
		return json_err(&at, e, "required, but absent");
	}
	*ret = v.v;
	return 0;
}

int oci_need_str(const struct json_at *obj, const char *key, const char **ret, struct err *e)
{
	struct json_at at;
	int r;

	if (!json_member(obj, key, &at))
		return json_err(&at, e, "required, but absent");
	r = json_string(&at, OCI_STRING_MAX, ret, e);
	if (r == 0 && (*ret)[0] == '\0')
		r = json_err(&at, e, "must not be empty");
	return r;
}

int oci_check_abs_path(const struct json_at *obj, const char *key, const char *path, struct err *e)
{
	struct json_at at;

	(void)json_member(obj, key, &at); // it is there: the caller read it
	if (path[0] != '/')
		return json_err(&at, e, "\"%.100s\" is not an absolute path", path);
	if (strlen(path) > OCI_PATH_MAX)
		return json_err(&at, e, "longer than %d bytes", OCI_PATH_MAX);
	return 0;
}

int oci_read_list(struct oci_tree *t, const struct json_at *obj, const char *key, size_t max,
		  size_t size, oci_each_fn *fn, void *ret_v, size_t *ret_n, struct err *e)
{
	struct json_at at;
	size_t n;
	char *v;
	int r;

	if (!json_member(obj, key, &at))
		return 0;
	r = json_is_array(&at, max, &n, e);
	if (r < 0 || n == 0)
		return r;
	v = oci_tree_alloc(t, n, size);
	if (!v)
		return no_memory(&at, e);
	*ret_n = n;
	memcpy(ret_v, &v, sizeof(v)); // the caller's pointer, of whatever type
	for (size_t i = 0; i < n; i++) {
		struct json_at item = json_item(&at, i);

		r = json_is_object(&item, e);
		if (r == 0)
			r = fn(t, &item, v + i * size, e);
		if (r < 0)
			return r;
	}
	return 0;
}

static int read_id_map(struct oci_tree *t, const struct json_at *at, void *elem, struct err *e)
{
	struct oci_id_map *m = elem;
	int r;

	(void)t;
	if ((r = oci_need_u32(at, "containerID", &m->container_id, e)) < 0 ||
	    (r = oci_need_u32(at, "hostID", &m->host_id, e)) < 0 ||
	    (r = oci_need_u32(at, "size", &m->size, e)) < 0)
		return r;
	if (m->size == 0)
		return json_err(at, e, "size: must be greater than 0");
	if (m->size > UINT32_MAX - m->container_id || m->size > UINT32_MAX - m->host_id)
		return json_err(at, e, "the range goes past the last id");
	return 0;
}

int oci_read_id_maps(struct oci_tree *t, const struct json_at *obj, const char *key,
		     struct oci_id_maps *ret, struct err *e)
{
	// The kernel takes 340 lines in a map file.
	return oci_read_list(t, obj, key, 340, sizeof(*ret->v), read_id_map, &ret->v, &ret->n, e);
}
