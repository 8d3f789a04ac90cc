// SPDX-License-Identifier: Apache-2.0
#include "base/json.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/own.h"

enum { JSON_PATH_BYTES = 512, JSON_PATH_DEPTH = 80 };

// What yajl would accept and then mishandle. Outside of strings a backslash is a syntax error, so that its place need not
// be known; brackets inside strings are not nesting, so that must be.
static int prescan(const char *text, size_t len, unsigned depth_max, struct err *e)
{
	bool in_string = false;
	unsigned depth = 0;

	for (size_t i = 0; i < len; i++) {
		char c = text[i];

		if (c == '\0')
			return err_set(e, EINVAL, "invalid character: a NUL byte at offset %zu", i);
		if (c == '\\') {
			if (len - i > 5 && memcmp(text + i + 1, "u0000", 5) == 0)
				return err_set(e, EINVAL, "invalid string: \\u0000 at offset %zu",
					       i);
			i++;
		} else if (c == '"') {
			in_string = !in_string;
		} else if (!in_string && c == '/') {
			// yajl would skip a comment, and what is in it would be counted here.
			return err_set(e, EINVAL, "invalid character '/' at offset %zu", i);
		} else if (!in_string && (c == '{' || c == '[')) {
			if (++depth > depth_max)
				return err_set(e, EINVAL, "nested deeper than %u levels",
					       depth_max);
		} else if (!in_string && (c == '}' || c == ']') && depth > 0) {
			depth--;
		}
	}
	return 0;
}

int json_parse(const char *text, size_t len, unsigned depth_max, yajl_val *ret_tree, struct err *e)
{
	char *copy AUTO_FREE = NULL;
	char why[256];
	yajl_val tree;
	int r = prescan(text, len, depth_max, e);

	if (r < 0)
		return r;
	copy = malloc(len + 1);
	if (!copy)
		return err_errno(e, ENOMEM, "parsing JSON");
	memcpy(copy, text, len);
	copy[len] = '\0';
	why[0] = '\0';
	tree = yajl_tree_parse(copy, why, sizeof(why));
	if (!tree) {
		why[strcspn(why, "\n")] = '\0'; // the excerpt that follows would span lines
		return err_set(e, EINVAL, "%s", why[0] ? why : "unexpected end of JSON input");
	}
	*ret_tree = tree;
	return 0;
}

struct json_at json_top(yajl_val tree)
{
	return (struct json_at){ .v = tree };
}

bool json_member(const struct json_at *obj, const char *key, struct json_at *ret)
{
	*ret = (struct json_at){ .up = obj, .key = key };
	if (!YAJL_IS_OBJECT(obj->v))
		return false;
	for (size_t i = 0; i < obj->v->u.object.len; i++) {
		// The last of equal names counts, as for the parsers that other runtimes use.
		if (strcmp(obj->v->u.object.keys[i], key) == 0)
			ret->v = obj->v->u.object.values[i];
	}
	if (YAJL_IS_NULL(ret->v))
		ret->v = NULL;
	return ret->v != NULL;
}

struct json_at json_item(const struct json_at *array, size_t i)
{
	return (struct json_at){ .up = array, .index = i, .v = array->v->u.array.values[i] };
}

struct json_at json_pair(const struct json_at *obj, size_t i)
{
	return (struct json_at){ .up = obj,
				 .key = obj->v->u.object.keys[i],
				 .v = obj->v->u.object.values[i] };
}

static bool plain_key(const char *key)
{
	for (const char *p = key; *p; p++) {
		bool letter = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || *p == '_';

		if (!letter && !(p > key && *p >= '0' && *p <= '9'))
			return false;
	}
	return *key != '\0';
}

static void path_print(const struct json_at *at, char *buf, size_t room)
{
	const struct json_at *chain[JSON_PATH_DEPTH];
	size_t n = 0, used = 0;

	for (; at && at->up && n < JSON_PATH_DEPTH; at = at->up)
		chain[n++] = at;
	buf[0] = '\0';
	while (n-- > 0 && used < room) {
		const struct json_at *a = chain[n];

		if (!a->key)
			used += (size_t)snprintf(buf + used, room - used, "[%zu]", a->index);
		else if (plain_key(a->key))
			used += (size_t)snprintf(buf + used, room - used, "%s%s", used ? "." : "",
						 a->key);
		else
			used += (size_t)snprintf(buf + used, room - used, "[\"%.100s\"]", a->key);
	}
}

int json_err(const struct json_at *at, struct err *e, const char *fmt, ...)
{
	char path[JSON_PATH_BYTES], msg[512];
	va_list ap;

	path_print(at, path, sizeof(path));
	va_start(ap, fmt);
	(void)vsnprintf(msg, sizeof(msg), fmt, ap); // a cut message is still a message
	va_end(ap);
	return path[0] ? err_set(e, EINVAL, "%s: %s", path, msg) : err_set(e, EINVAL, "%s", msg);
}

int json_is_object(const struct json_at *at, struct err *e)
{
	return YAJL_IS_OBJECT(at->v) ? 0 : json_err(at, e, "expected an object");
}

int json_is_array(const struct json_at *at, size_t max, size_t *ret_n, struct err *e)
{
	if (!YAJL_IS_ARRAY(at->v))
		return json_err(at, e, "expected an array");
	if (at->v->u.array.len > max)
		return json_err(at, e, "%zu elements, at most %zu are allowed", at->v->u.array.len,
				max);
	*ret_n = at->v->u.array.len;
	return 0;
}

int json_string(const struct json_at *at, size_t max_bytes, const char **ret, struct err *e)
{
	const char *s = YAJL_GET_STRING(at->v);

	if (!s)
		return json_err(at, e, "expected a string");
	if (strlen(s) > max_bytes)
		return json_err(at, e, "longer than %zu bytes", max_bytes);
	*ret = s;
	return 0;
}

int json_bool(const struct json_at *at, bool *ret, struct err *e)
{
	if (!YAJL_IS_TRUE(at->v) && !YAJL_IS_FALSE(at->v))
		return json_err(at, e, "expected true or false");
	*ret = YAJL_IS_TRUE(at->v);
	return 0;
}

int json_u64(const struct json_at *at, uint64_t max, uint64_t *ret, struct err *e)
{
	const char *s = YAJL_IS_NUMBER(at->v) ? YAJL_GET_NUMBER(at->v) : "";
	unsigned long long v;
	char *end;

	if (*s < '0' || *s > '9')
		return json_err(at, e, "expected an unsigned integer");
	errno = 0;
	v = strtoull(s, &end, 10);
	if (*end != '\0')
		return json_err(at, e, "expected an unsigned integer");
	if (errno == ERANGE || v > max)
		return json_err(at, e, "%s is out of range (at most %llu)", s,
				(unsigned long long)max);
	*ret = v;
	return 0;
}

int json_i64(const struct json_at *at, int64_t min, int64_t max, int64_t *ret, struct err *e)
{
	const char *s = YAJL_IS_NUMBER(at->v) ? YAJL_GET_NUMBER(at->v) : "";
	long long v;
	char *end;

	if (*s == '\0')
		return json_err(at, e, "expected an integer");
	errno = 0;
	v = strtoll(s, &end, 10);
	if (*end != '\0')
		return json_err(at, e, "expected an integer");
	if (errno == ERANGE || v < min || v > max)
		return json_err(at, e, "%s is out of range (%lld to %lld)", s, (long long)min,
				(long long)max);
	*ret = v;
	return 0;
}

int json_out_init(struct json_out *o, const char *indent, struct err *e)
{
	*o = (struct json_out){ .gen = yajl_gen_alloc(NULL) };
	if (!o->gen)
		return err_errno(e, ENOMEM, "writing JSON");
	if (indent) {
		yajl_gen_config(o->gen, yajl_gen_beautify, 1);
		yajl_gen_config(o->gen, yajl_gen_indent_string, indent);
	}
	yajl_gen_config(o->gen, yajl_gen_validate_utf8, 1);
	return 0;
}

void json_out_done(struct json_out *o)
{
	if (o->gen)
		yajl_gen_free(o->gen);
	o->gen = NULL;
}

static void out_check(struct json_out *o, yajl_gen_status s)
{
	if (s != yajl_gen_status_ok)
		o->failed = true;
}

void json_out_open(struct json_out *o, char bracket)
{
	out_check(o, bracket == '{' ? yajl_gen_map_open(o->gen) : yajl_gen_array_open(o->gen));
}

void json_out_close(struct json_out *o, char bracket)
{
	out_check(o, bracket == '}' ? yajl_gen_map_close(o->gen) : yajl_gen_array_close(o->gen));
}

void json_out_str(struct json_out *o, const char *s)
{
	out_check(o, yajl_gen_string(o->gen, (const unsigned char *)s, strlen(s)));
}

void json_out_key(struct json_out *o, const char *key)
{
	json_out_str(o, key);
}

void json_out_kstr(struct json_out *o, const char *key, const char *s)
{
	if (!s)
		return;
	json_out_str(o, key);
	json_out_str(o, s);
}

void json_out_kint(struct json_out *o, const char *key, int64_t v)
{
	json_out_str(o, key);
	out_check(o, yajl_gen_integer(o->gen, v));
}

void json_out_kbool(struct json_out *o, const char *key, bool v)
{
	json_out_str(o, key);
	out_check(o, yajl_gen_bool(o->gen, v));
}

void json_out_number(struct json_out *o, const char *literal)
{
	out_check(o, yajl_gen_number(o->gen, literal, strlen(literal)));
}

void json_out_literal(struct json_out *o, const char *literal)
{
	if (literal[0] == 'n')
		out_check(o, yajl_gen_null(o->gen));
	else
		out_check(o, yajl_gen_bool(o->gen, literal[0] == 't'));
}

int json_out_take(struct json_out *o, char **ret_text, size_t *ret_len, struct err *e)
{
	const unsigned char *buf = NULL;
	size_t len = 0;
	char *text;

	if (o->failed)
		return err_set(e, EINVAL, "writing JSON: a value cannot be written (is it UTF-8?)");
	if (yajl_gen_get_buf(o->gen, &buf, &len) != yajl_gen_status_ok)
		return err_set(e, EINVAL, "writing JSON failed");
	while (len > 0 && buf[len - 1] == '\n')
		len--;
	text = malloc(len + 1);
	if (!text)
		return err_errno(e, ENOMEM, "writing JSON");
	memcpy(text, buf, len);
	text[len] = '\0';
	*ret_text = text;
	if (ret_len)
		*ret_len = len;
	return 0;
}
