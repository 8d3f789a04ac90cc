// SPDX-License-Identifier: Apache-2.0
// config.json: linux.resources.
#include <string.h>

#include "base/err.h"
#include "oci/tree.h"

static int read_number_or_any(const struct json_at *at, const char *key, int64_t *ret,
			      struct err *e)
{
	struct oci_opt_i64 v = { .v = -1 };
	int r = oci_read_i64(at, key, -1, UINT32_MAX, &v, e);

	*ret = v.v;
	return r;
}

static int parse_device_rule(struct oci_tree *t, const struct json_at *at, void *elem,
			     struct err *e)
{
	struct oci_device_rule *d = elem;
	static const char *const type_name[] = { "a", "b", "c", "", NULL };
	const char *access = NULL;
	struct json_at sub;
	unsigned kind = 0;
	int r;

	(void)t;
	if (!json_member(at, "allow", &sub))
		return json_err(&sub, e, "required, but absent");
	if ((r = json_bool(&sub, &d->allow, e)) < 0)
		return r;
	if (json_member(at, "type", &sub) && (r = oci_read_enum(&sub, type_name, &kind, e)) < 0)
		return r;
	d->type = "abca"[kind];
	if ((r = read_number_or_any(at, "major", &d->major, e)) < 0 ||
	    (r = read_number_or_any(at, "minor", &d->minor, e)) < 0 ||
	    (r = oci_read_text(at, "access", &access, e)) < 0)
		return r;
	if (!access)
		access = "rwm";
	(void)json_member(at, "access", &sub); // for its path
	if (access[strspn(access, "rwm")] != '\0')
		return json_err(&sub, e, "unknown value \"%.20s\" (expected letters of rwm)",
				access);
	d->read = strchr(access, 'r') != NULL;
	d->write = strchr(access, 'w') != NULL;
	d->mknod = strchr(access, 'm') != NULL;
	return 0;
}

static int parse_memory(const struct json_at *at, struct oci_resources *res, struct err *e)
{
	struct json_at swap;
	int r;

	if ((r = json_is_object(at, e)) < 0 ||
	    (r = oci_read_i64(at, "limit", -1, INT64_MAX, &res->memory_limit, e)) < 0 ||
	    (r = oci_read_i64(at, "reservation", -1, INT64_MAX, &res->memory_reservation, e)) < 0 ||
	    (r = oci_read_i64(at, "swap", -1, INT64_MAX, &res->memory_swap, e)) < 0)
		return r;
	// swap counts memory and swap together: it cannot be a number without, or below, the memory's.
	if (res->memory_swap.set && res->memory_swap.v > 0) {
		(void)json_member(at, "swap", &swap); // it is there
		if (!res->memory_limit.set || res->memory_limit.v == 0)
			return json_err(&swap, e, "cannot be set without a memory limit");
		if (res->memory_swap.v < res->memory_limit.v)
			return json_err(&swap, e, "below the memory limit");
	}
	return 0;
}

static int parse_cpu(const struct json_at *at, struct oci_resources *res, struct err *e)
{
	struct json_at sub;
	int r;

	if ((r = json_is_object(at, e)) < 0 ||
	    (r = oci_read_u64(at, "shares", &res->cpu_shares, e)) < 0 ||
	    (r = oci_read_i64(at, "quota", INT64_MIN, INT64_MAX, &res->cpu_quota, e)) < 0 ||
	    (r = oci_read_u64(at, "period", &res->cpu_period, e)) < 0 ||
	    (r = oci_read_u64(at, "burst", &res->cpu_burst, e)) < 0 ||
	    (r = oci_read_i64(at, "idle", 0, 1, &res->cpu_idle, e)) < 0 ||
	    (r = oci_read_text(at, "cpus", &res->cpu_cpus, e)) < 0 ||
	    (r = oci_read_text(at, "mems", &res->cpu_mems, e)) < 0)
		return r;
	res->has_cpu_realtime =
		json_member(at, "realtimeRuntime", &sub) || json_member(at, "realtimePeriod", &sub);
	return 0;
}

static bool list_has_elements(const struct json_at *at, const char *key)
{
	struct json_at sub;

	return json_member(at, key, &sub) && (!YAJL_IS_ARRAY(sub.v) || sub.v->u.array.len > 0);
}

static int parse_blkio(const struct json_at *at, struct oci_resources *res, struct err *e)
{
	static const char *const lists[] = { "weightDevice", "throttleReadBpsDevice",
					     "throttleWriteBpsDevice", "throttleReadIOPSDevice",
					     "throttleWriteIOPSDevice" };
	struct json_at weight;
	int r;

	if ((r = json_is_object(at, e)) < 0 ||
	    (r = oci_read_u32(at, "weight", &res->blkio_weight, e)) < 0)
		return r;
	if (res->blkio_weight.set && res->blkio_weight.v == 0)
		res->blkio_weight.set = false; // what tools write for "not given"
	if (res->blkio_weight.set && (res->blkio_weight.v < 10 || res->blkio_weight.v > 1000)) {
		(void)json_member(at, "weight", &weight); // it is there
		return json_err(&weight, e, "%u is out of range (10 to 1000)", res->blkio_weight.v);
	}
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		res->has_blkio_devices |= list_has_elements(at, lists[i]);
	return 0;
}

static int parse_hugepage(struct oci_tree *t, const struct json_at *at, void *elem, struct err *e)
{
	struct oci_hugepage_limit *h = elem;
	struct oci_opt_u64 limit = { 0 };
	struct json_at sub;
	size_t digits;
	int r;

	(void)t;
	if ((r = oci_need_str(at, "pageSize", &h->page_size, e)) < 0 ||
	    (r = oci_read_u64(at, "limit", &limit, e)) < 0)
		return r;
	(void)json_member(at, "pageSize", &sub); // it is there
	// The text becomes part of a file's name: nothing but a size may pass.
	digits = strspn(h->page_size, "0123456789");
	if (digits == 0 || digits > 6 || strspn(h->page_size + digits, "KMG") != 1 ||
	    strcmp(h->page_size + digits + 1, "B") != 0)
		return json_err(&sub, e, "unknown value \"%.40s\" (expected for example 2MB)",
				h->page_size);
	if (!limit.set)
		return json_err(at, e, "limit is required");
	h->limit = limit.v;
	return 0;
}

static int check_unified(const struct json_at *at, const struct oci_resources *res, struct err *e)
{
	struct json_at sub;

	(void)json_member(at, "unified", &sub); // for its path
	for (size_t i = 0; i < res->unified.n; i++) {
		const char *key = res->unified.v[i].key;

		if (key[0] == '\0' || key[0] == '.' || strchr(key, '/') || strlen(key) > 255)
			return json_err(&sub, e, "\"%.60s\" is not the name of a cgroup file", key);
	}
	return 0;
}

int oci_parse_resources(struct oci_tree *t, const struct json_at *at, struct oci_resources *res,
			struct err *e)
{
	struct json_at sub;
	int r;

	if ((r = json_is_object(at, e)) < 0 ||
	    (r = oci_read_list(t, at, "devices", 4096, sizeof(*res->devices), parse_device_rule,
			       &res->devices, &res->n_devices, e)) < 0)
		return r;
	if (json_member(at, "memory", &sub) && (r = parse_memory(&sub, res, e)) < 0)
		return r;
	if (json_member(at, "cpu", &sub) && (r = parse_cpu(&sub, res, e)) < 0)
		return r;
	if (json_member(at, "pids", &sub)) {
		if ((r = json_is_object(&sub, e)) < 0 ||
		    (r = oci_read_i64(&sub, "limit", -1, INT64_MAX, &res->pids_limit, e)) < 0)
			return r;
	}
	if (json_member(at, "blockIO", &sub) && (r = parse_blkio(&sub, res, e)) < 0)
		return r;
	if ((r = oci_read_list(t, at, "hugepageLimits", 64, sizeof(*res->hugepages), parse_hugepage,
			       &res->hugepages, &res->n_hugepages, e)) < 0 ||
	    (r = oci_read_map(t, at, "unified", &res->unified, e)) < 0 ||
	    (r = check_unified(at, res, e)) < 0)
		return r;
	res->has_rdma = json_member(at, "rdma", &sub) &&
			!(YAJL_IS_OBJECT(sub.v) && sub.v->u.object.len == 0);
	return 0;
}
