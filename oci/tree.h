// SPDX-License-Identifier: Apache-2.0
// What the parsers of config.json share: the tree that owns all strings, an arena that owns all arrays, and readers of
// the recurring shapes. Private to oci/. Each reader leaves *ret alone when the member is absent or null.
#ifndef OCI_TREE_H
#define OCI_TREE_H

#include "base/json.h"
#include "oci/config.h"

struct oci_chunk;
struct oci_tree {
	yajl_val json;
	struct oci_chunk *chunks;
};

// Zeroed memory that lives as long as the tree; NULL only when there is none.
void *oci_tree_alloc(struct oci_tree *t, size_t n, size_t size);
void oci_tree_free(struct oci_tree *t);

// Enumerations: names in the order of their numbers; NULL ends the table.
int oci_read_enum(const struct json_at *at, const char *const *names, unsigned *ret, struct err *e);

int oci_read_str(const struct json_at *obj, const char *key, const char **ret, struct err *e);
// As oci_read_str, but an empty string counts as absent.
int oci_read_text(const struct json_at *obj, const char *key, const char **ret, struct err *e);
int oci_read_bool(const struct json_at *obj, const char *key, bool *ret, struct err *e);
int oci_read_u32(const struct json_at *obj, const char *key, struct oci_opt_u32 *ret,
		 struct err *e);
int oci_read_u64(const struct json_at *obj, const char *key, struct oci_opt_u64 *ret,
		 struct err *e);
int oci_read_i64(const struct json_at *obj, const char *key, int64_t min, int64_t max,
		 struct oci_opt_i64 *ret, struct err *e);
int oci_read_strv(struct oci_tree *t, const struct json_at *obj, const char *key,
		  struct oci_strv *ret, struct err *e);
int oci_read_map(struct oci_tree *t, const struct json_at *obj, const char *key,
		 struct oci_map *ret, struct err *e);
int oci_read_id_maps(struct oci_tree *t, const struct json_at *obj, const char *key,
		     struct oci_id_maps *ret, struct err *e);

// A required unsigned 32-bit member.
int oci_need_u32(const struct json_at *obj, const char *key, uint32_t *ret, struct err *e);
// A required string that is not empty.
int oci_need_str(const struct json_at *obj, const char *key, const char **ret, struct err *e);
// A path: at most OCI_PATH_MAX bytes, not empty, absolute.
int oci_check_abs_path(const struct json_at *obj, const char *key, const char *path, struct err *e);

// An array of objects: allocates n elements of `size` and calls fn for each. *ret_v is NULL when there are none.
typedef int oci_each_fn(struct oci_tree *t, const struct json_at *at, void *elem, struct err *e);
int oci_read_list(struct oci_tree *t, const struct json_at *obj, const char *key, size_t max,
		  size_t size, oci_each_fn *fn, void *ret_v, size_t *ret_n, struct err *e);

// The parts, each in a file of its own.
int oci_parse_process(struct oci_tree *t, const struct json_at *at, struct oci_process *p,
		      struct err *e);
int oci_parse_scheduler(struct oci_tree *t, const struct json_at *at, struct oci_scheduler *s,
			struct err *e);
int oci_parse_io_priority(const struct json_at *at, struct oci_io_priority *p, struct err *e);
int oci_parse_affinity(const struct json_at *at, struct oci_process *p, struct err *e);
int oci_parse_personality(struct oci_tree *t, const struct json_at *at, struct oci_linux *l,
			  struct err *e);
int oci_parse_memory_policy(struct oci_tree *t, const struct json_at *at,
			    struct oci_memory_policy *p, struct err *e);
int oci_parse_time_offsets(const struct json_at *at, struct oci_linux *l, struct err *e);
int oci_parse_linux(struct oci_tree *t, const struct json_at *at, struct oci_linux *l,
		    struct err *e);
int oci_parse_resources(struct oci_tree *t, const struct json_at *at, struct oci_resources *r,
			struct err *e);
int oci_parse_seccomp(struct oci_tree *t, const struct json_at *at, struct oci_seccomp **ret,
		      struct err *e);
int oci_parse_vm(struct oci_tree *t, const struct json_at *at, struct oci_vm *vm, struct err *e);
int oci_parse_mount(struct oci_tree *t, const struct json_at *at, void *elem, struct err *e);
int oci_parse_hooks(struct oci_tree *t, const struct json_at *at, struct oci_hooks *hooks,
		    struct err *e);

// rewrite.c: the value as JSON again.
void oci_emit(struct json_out *o, yajl_val v);

#endif
