// SPDX-License-Identifier: Apache-2.0
// JSON over yajl: a bounded parse, a cursor that knows its path for error messages, and a generator with one error.
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <yajl/yajl_gen.h>
#include <yajl/yajl_tree.h>

struct err;

// Parses len bytes (not NUL-terminated) into a tree. Refuses nesting deeper than depth_max (yajl frees recursively) and
// \u0000 inside strings (yajl's strings are C strings: the rest would vanish). *ret_tree: yajl_tree_free.
int json_parse(const char *text, size_t len, unsigned depth_max, yajl_val *ret_tree, struct err *e);

// A place in a tree. Lives on the stack of who walks; `up` must outlive it.
struct json_at {
	const struct json_at *up; // NULL at the top
	const char *key;          // member name; NULL for an array element
	size_t index;
	yajl_val v;
};

struct json_at json_top(yajl_val tree);
// The member of an object; false when it is absent or null (v is then NULL).
bool json_member(const struct json_at *obj, const char *key, struct json_at *ret);
struct json_at json_item(const struct json_at *array, size_t i); // i below the array's length
struct json_at json_pair(const struct json_at *obj, size_t i);   // i-th member of an object

// "PATH: message" and -EINVAL.
int json_err(const struct json_at *at, struct err *e, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

// Typed reads. A wrong type or range is an error that says what was expected.
int json_is_object(const struct json_at *at, struct err *e);
int json_is_array(const struct json_at *at, size_t max, size_t *ret_n, struct err *e);
int json_string(const struct json_at *at, size_t max_bytes, const char **ret,
		struct err *e); // borrowed from the tree
int json_bool(const struct json_at *at, bool *ret, struct err *e);
int json_u64(const struct json_at *at, uint64_t max, uint64_t *ret, struct err *e);
int json_i64(const struct json_at *at, int64_t min, int64_t max, int64_t *ret, struct err *e);

// Generator. Failures (memory, bad UTF-8) are remembered and come back from json_out_take.
struct json_out {
	yajl_gen gen;
	bool failed;
};
int json_out_init(struct json_out *o, const char *indent, struct err *e); // indent NULL: one line
void json_out_done(struct json_out *o);
void json_out_open(struct json_out *o, char bracket);  // '{' or '['
void json_out_close(struct json_out *o, char bracket); // '}' or ']'
void json_out_str(struct json_out *o, const char *s);  // also for keys
void json_out_key(struct json_out *o, const char *key);
void json_out_kstr(struct json_out *o, const char *key, const char *s); // nothing when s is NULL
void json_out_kint(struct json_out *o, const char *key, int64_t v);
void json_out_kbool(struct json_out *o, const char *key, bool v);
void json_out_number(struct json_out *o, const char *literal);
void json_out_literal(struct json_out *o, const char *literal); // true, false, null
// The text, NUL-terminated, without the final newline that yajl adds when indenting.
int json_out_take(struct json_out *o, char **ret_text, size_t *ret_len, struct err *e);

#endif
