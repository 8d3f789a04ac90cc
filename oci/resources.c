// SPDX-License-Identifier: Apache-2.0
// config.json: linux.resources, there and by itself.
#include "oci/resources.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/own.h"
#include "oci/tree.h"

const char *const oci_blkio_name[OCI_BLKIO_KINDS] = {
	"weightDevice",           "throttleReadBpsDevice",   "throttleWriteBpsDevice",
	"throttleReadIOPSDevice", "throttleWriteIOPSDevice",
};

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

static int parse_memory(const struct json_at *at, bool partial, struct oci_resources *res,
			struct err *e)
{
	struct json_at swap;
	int r;

	if ((r = json_is_object(at, e)) < 0 ||
	    (r = oci_read_i64(at, "limit", -1, INT64_MAX, &res->memory_limit, e)) < 0 ||
	    (r = oci_read_i64(at, "reservation", -1, INT64_MAX, &res->memory_reservation, e)) < 0 ||
	    (r = oci_read_i64(at, "swap", -1, INT64_MAX, &res->memory_swap, e)) < 0 ||
	    (r = oci_read_bool(at, "checkBeforeUpdate", &res->memory_check_before_update, e)) < 0)
		return r;
	// swap counts memory and swap together: it cannot be a number without, or below, the memory's.
	if (res->memory_swap.set && res->memory_swap.v > 0) {
		(void)json_member(at, "swap", &swap); // it is there
		if (!partial && (!res->memory_limit.set || res->memory_limit.v == 0))
			return json_err(&swap, e, "cannot be set without a memory limit");
		if (res->memory_limit.set && res->memory_swap.v < res->memory_limit.v)
			return json_err(&swap, e, "below the memory limit");
	}
	return 0;
}

bool oci_list_next(const char **at, unsigned *ret_first, unsigned *ret_last)
{
	const char *p = *at;
	unsigned long v[2] = { 0 };
	char *end;

	for (unsigned i = 0; i < 2; i++) {
		if (!isdigit((unsigned char)*p))
			return false;
		v[i] = strtoul(p, &end, 10);
		p = end;
		if (v[i] > OCI_LIST_NUMBER_MAX)
			return false;
		if (i == 0 && *p == '-')
			p++;
		else if (i == 0)
			v[++i] = v[0];
	}
	if (v[1] < v[0] || (*p == ',' && !isdigit((unsigned char)p[1])) || (*p && *p != ','))
		return false;
	*at = p + (*p == ',');
	*ret_first = (unsigned)v[0];
	*ret_last = (unsigned)v[1];
	return true;
}

static int read_number_list(const struct json_at *at, const char *key, const char **ret,
			    struct err *e)
{
	struct json_at sub;
	const char *text;
	unsigned first, last;
	int r = oci_read_text(at, key, ret, e);

	if (r < 0 || !*ret)
		return r;
	text = *ret;
	while (oci_list_next(&text, &first, &last))
		;
	(void)json_member(at, key, &sub); // it is there
	return *text ? json_err(&sub, e, "\"%.60s\" is not a list such as 0-3,5", *ret) : 0;
}

static int parse_cpu(const struct json_at *at, struct oci_resources *res, struct err *e)
{
	struct oci_opt_i64 runtime = { 0 };
	struct oci_opt_u64 period = { 0 };
	int r;

	if ((r = json_is_object(at, e)) < 0 ||
	    (r = oci_read_u64(at, "shares", &res->cpu_shares, e)) < 0 ||
	    (r = oci_read_i64(at, "quota", INT64_MIN, INT64_MAX, &res->cpu_quota, e)) < 0 ||
	    (r = oci_read_u64(at, "period", &res->cpu_period, e)) < 0 ||
	    (r = oci_read_u64(at, "burst", &res->cpu_burst, e)) < 0 ||
	    (r = oci_read_i64(at, "idle", 0, 1, &res->cpu_idle, e)) < 0 ||
	    (r = oci_read_i64(at, "realtimeRuntime", INT64_MIN, INT64_MAX, &runtime, e)) < 0 ||
	    (r = oci_read_u64(at, "realtimePeriod", &period, e)) < 0 ||
	    (r = read_number_list(at, "cpus", &res->cpu_cpus, e)) < 0 ||
	    (r = read_number_list(at, "mems", &res->cpu_mems, e)) < 0)
		return r;
	res->has_cpu_realtime = runtime.v || period.v; // 0 is what tools write for "not given"
	return 0;
}

static int check_weight(const struct json_at *at, struct oci_opt_u32 *weight, struct err *e)
{
	struct json_at sub;

	if (weight->set && weight->v == 0)
		weight->set = false; // what tools write for "not given"
	if (!weight->set || (weight->v >= 10 && weight->v <= 1000))
		return 0;
	(void)json_member(at, "weight", &sub); // it is there
	return json_err(&sub, e, "%u is out of range (10 to 1000)", weight->v);
}

static int parse_blkio_device(struct oci_tree *t, const struct json_at *at, void *elem,
			      struct err *e)
{
	struct oci_blkio_device *d = elem;
	struct oci_opt_u64 rate = { 0 };
	struct oci_opt_u32 weight = { 0 };
	int r;

	(void)t;
	if ((r = oci_need_u32(at, "major", &d->major, e)) < 0 ||
	    (r = oci_need_u32(at, "minor", &d->minor, e)) < 0 ||
	    (r = oci_read_u64(at, "rate", &rate, e)) < 0 ||
	    (r = oci_read_u32(at, "weight", &weight, e)) < 0 ||
	    (r = check_weight(at, &weight, e)) < 0)
		return r;
	d->value = weight.set ? weight.v : rate.v; // a list has the one or the other
	return 0;
}

static int parse_blkio(struct oci_tree *t, const struct json_at *at, struct oci_resources *res,
		       struct err *e)
{
	int r;

	if ((r = json_is_object(at, e)) < 0 ||
	    (r = oci_read_u32(at, "weight", &res->blkio_weight, e)) < 0)
		return r;
	r = check_weight(at, &res->blkio_weight, e);
	for (unsigned i = 0; r == 0 && i < OCI_BLKIO_KINDS; i++)
		r = oci_read_list(t, at, oci_blkio_name[i], 256, sizeof(struct oci_blkio_device),
				  parse_blkio_device, &res->blkio_devices[i].v,
				  &res->blkio_devices[i].n, e);
	return r;
}

// A device's name and its limits become a line of rdma.max.
static int parse_rdma(struct oci_tree *t, const struct json_at *at, struct oci_resources *res,
		      struct err *e)
{
	size_t n;
	int r = json_is_object(at, e);

	n = r == 0 ? at->v->u.object.len : 0;
	if (n > 64)
		return json_err(at, e, "%zu members, at most 64 are allowed", n);
	res->rdma = oci_tree_alloc(t, n + 1, sizeof(*res->rdma));
	if (!res->rdma)
		return err_errno(e, ENOMEM, "linux.resources.rdma");
	for (size_t i = 0; r == 0 && i < n; i++) {
		struct json_at item = json_pair(at, i);

		res->rdma[i].device = item.key;
		if (!item.key[0] || strlen(item.key) > 63 || strpbrk(item.key, " \t\n"))
			return json_err(at, e, "\"%.60s\" is not the name of a device", item.key);
		r = json_is_object(&item, e);
		r = r < 0 ? r : oci_read_u32(&item, "hcaHandles", &res->rdma[i].handles, e);
		r = r < 0 ? r : oci_read_u32(&item, "hcaObjects", &res->rdma[i].objects, e);
	}
	res->n_rdma = n;
	return r;
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
		// The core's files move, kill and freeze processes: they are no limits.
		if (strncmp(key, "cgroup.", 7) == 0 && strncmp(key, "cgroup.max.", 11) != 0)
			return json_err(&sub, e, "\"%.60s\" is not a limit", key);
	}
	return 0;
}

static int parse(struct oci_tree *t, const struct json_at *at, bool partial,
		 struct oci_resources *res, struct err *e)
{
	struct json_at sub;
	int r;

	if ((r = json_is_object(at, e)) < 0 ||
	    (r = oci_read_list(t, at, "devices", 4096, sizeof(*res->devices), parse_device_rule,
			       &res->devices, &res->n_devices, e)) < 0)
		return r;
	if (json_member(at, "memory", &sub) && (r = parse_memory(&sub, partial, res, e)) < 0)
		return r;
	if (json_member(at, "cpu", &sub) && (r = parse_cpu(&sub, res, e)) < 0)
		return r;
	if (json_member(at, "pids", &sub)) {
		if ((r = json_is_object(&sub, e)) < 0 ||
		    (r = oci_read_i64(&sub, "limit", -1, INT64_MAX, &res->pids_limit, e)) < 0)
			return r;
	}
	if (json_member(at, "blockIO", &sub) && (r = parse_blkio(t, &sub, res, e)) < 0)
		return r;
	if (json_member(at, "rdma", &sub) && (r = parse_rdma(t, &sub, res, e)) < 0)
		return r;
	if ((r = oci_read_list(t, at, "hugepageLimits", 64, sizeof(*res->hugepages), parse_hugepage,
			       &res->hugepages, &res->n_hugepages, e)) < 0 ||
	    (r = oci_read_map(t, at, "unified", &res->unified, e)) < 0)
		return r;
	return check_unified(at, res, e);
}

int oci_parse_resources(struct oci_tree *t, const struct json_at *at, struct oci_resources *res,
			struct err *e)
{
	return parse(t, at, false, res, e);
}

void oci_update_free(struct oci_update *u)
{
	if (!u)
		return;
	oci_tree_free(u->tree);
	free(u);
}
OWN_DEFINE(struct oci_update *, oci_update_free)

int oci_update_parse(const char *json, size_t len, struct oci_update **ret_update, struct err *e)
{
	struct oci_update *u AUTO(oci_update_free) = NULL;
	struct json_at top;
	int r;

	if (len > OCI_RESOURCES_BYTES_MAX)
		return err_set(e, EFBIG, "larger than %d bytes", OCI_RESOURCES_BYTES_MAX);
	u = calloc(1, sizeof(*u));
	if (u)
		u->tree = calloc(1, sizeof(*u->tree));
	if (!u || !u->tree)
		return err_errno(e, ENOMEM, "resources");
	r = json_parse(json, len, OCI_DEPTH_MAX, &u->tree->json, e);
	if (r < 0)
		return r;
	top = json_top(u->tree->json);
	r = parse(u->tree, &top, true, &u->r, e);
	if (r < 0)
		return r;
	*ret_update = take_ptr(&u);
	return 0;
}
