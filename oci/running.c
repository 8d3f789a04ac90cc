// SPDX-License-Identifier: Apache-2.0
// config.json: how a process is run: scheduler, I/O priority, processors, personality, memory policy, clocks.
#include <ctype.h>
#include <errno.h>
#include <linux/mempolicy.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "oci/tree.h"

const char *const oci_clock_name[OCI_CLOCKS] = { "monotonic", "boottime" };

int oci_list_bits(const char *list, uint64_t *bits, size_t n_words)
{
	memset(bits, 0, n_words * sizeof(*bits));
	for (const char *p = list;; p++) {
		unsigned long from, to;
		char *end;

		if (!isdigit((unsigned char)*p))
			return -EINVAL;
		from = to = strtoul(p, &end, 10); // too much is ULONG_MAX: refused below
		if (*end == '-') {
			if (!isdigit((unsigned char)end[1]))
				return -EINVAL;
			to = strtoul(end + 1, &end, 10);
		}
		if (from > to || to >= n_words * 64)
			return -EINVAL;
		for (; from <= to; from++)
			bits[from / 64] |= 1ull << from % 64;
		p = end;
		if (!*p)
			return 0;
		if (*p != ',')
			return -EINVAL;
	}
}

static int need_enum(const struct json_at *obj, const char *key, const char *const *names,
		     unsigned *ret, struct err *e)
{
	struct json_at at;

	if (!json_member(obj, key, &at))
		return json_err(&at, e, "required, but absent");
	return oci_read_enum(&at, names, ret, e);
}

// A list of names of bits: names[i] is 1 << i.
static int read_flags(struct oci_tree *t, const struct json_at *obj, const char *key,
		      const char *const *names, uint64_t *ret, struct err *e)
{
	struct oci_strv v = { 0 };
	struct json_at list;
	int r = oci_read_strv(t, obj, key, &v, e);

	(void)json_member(obj, key, &list); // for its path
	for (size_t i = 0; r == 0 && i < v.n; i++) {
		struct json_at item = json_item(&list, i);
		unsigned bit = 0;

		r = oci_read_enum(&item, names, &bit, e);
		*ret |= 1ull << bit;
	}
	return r;
}

static int wants(const struct json_at *at, const char *key, const char *policies, struct err *e)
{
	struct json_at sub;

	(void)json_member(at, key, &sub); // for its path
	return json_err(&sub, e, "goes with %s only", policies);
}

int oci_parse_scheduler(struct oci_tree *t, const struct json_at *at, struct oci_scheduler *s,
			struct err *e)
{
	enum { OTHER, FIFO, RR, BATCH, ISO, IDLE, DEADLINE };
	static const char *const policies[] = { "SCHED_OTHER",    "SCHED_FIFO", "SCHED_RR",
						"SCHED_BATCH",    "SCHED_ISO",  "SCHED_IDLE",
						"SCHED_DEADLINE", NULL };
	static const char *const flags[] = {
		"SCHED_FLAG_RESET_ON_FORK",  "SCHED_FLAG_RECLAIM",
		"SCHED_FLAG_DL_OVERRUN",     "SCHED_FLAG_KEEP_POLICY",
		"SCHED_FLAG_KEEP_PARAMS",    "SCHED_FLAG_UTIL_CLAMP_MIN",
		"SCHED_FLAG_UTIL_CLAMP_MAX", NULL,
	};
	struct oci_opt_i64 nice = { 0 }, priority = { 0 };
	struct oci_opt_u64 runtime = { 0 }, deadline = { 0 }, period = { 0 };
	int r = json_is_object(at, e);

	if (r < 0 || (r = need_enum(at, "policy", policies, &s->policy, e)) < 0 ||
	    (r = oci_read_i64(at, "nice", -20, 19, &nice, e)) < 0 ||
	    (r = oci_read_i64(at, "priority", 0, 99, &priority, e)) < 0 ||
	    (r = read_flags(t, at, "flags", flags, &s->flags, e)) < 0 ||
	    (r = oci_read_u64(at, "runtime", &runtime, e)) < 0 ||
	    (r = oci_read_u64(at, "deadline", &deadline, e)) < 0 ||
	    (r = oci_read_u64(at, "period", &period, e)) < 0)
		return r;
	if (priority.v && s->policy != FIFO && s->policy != RR)
		return wants(at, "priority", "SCHED_FIFO and SCHED_RR", e);
	if ((runtime.v || deadline.v || period.v) && s->policy != DEADLINE)
		return wants(at,
			     runtime.v    ? "runtime"
			     : deadline.v ? "deadline"
					  : "period",
			     "SCHED_DEADLINE", e);
	s->set = true;
	s->nice = (int)nice.v;
	s->priority = (uint32_t)priority.v;
	s->runtime = runtime.v;
	s->deadline = deadline.v;
	s->period = period.v;
	return 0;
}

int oci_parse_io_priority(const struct json_at *at, struct oci_io_priority *p, struct err *e)
{
	static const char *const classes[] = { "IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE",
					       "IOPRIO_CLASS_IDLE", NULL };
	struct oci_opt_i64 priority = { 0 };
	unsigned i = 0;
	int r = json_is_object(at, e);

	if (r < 0 || (r = need_enum(at, "class", classes, &i, e)) < 0 ||
	    (r = oci_read_i64(at, "priority", 0, 7, &priority, e)) < 0)
		return r;
	*p = (struct oci_io_priority){ .set = true,
				       .io_class = i + 1, // 0 is "none"
				       .priority = (unsigned)priority.v };
	return 0;
}

static int read_list(const struct json_at *obj, const char *key, const char **ret, struct err *e)
{
	uint64_t bits[OCI_NODES_MAX / 64];
	struct json_at at;
	int r = oci_read_text(obj, key, ret, e);

	if (r < 0 || !*ret)
		return r;
	(void)json_member(obj, key, &at); // it is there
	return oci_list_bits(*ret, bits, OCI_NODES_MAX / 64) < 0
		       ? json_err(&at, e, "\"%.60s\" is not a list of numbers below %d", *ret,
				  OCI_NODES_MAX)
		       : 0;
}

int oci_parse_affinity(const struct json_at *at, struct oci_process *p, struct err *e)
{
	int r = json_is_object(at, e);

	r = r < 0 ? r : read_list(at, "initial", &p->affinity_initial, e);
	return r < 0 ? r : read_list(at, "final", &p->affinity_final, e);
}

int oci_parse_personality(struct oci_tree *t, const struct json_at *at, struct oci_linux *l,
			  struct err *e)
{
	static const char *const domains[] = { "LINUX", "LINUX32", NULL };
	static const char *const none[] = { NULL };
	uint64_t flags = 0;
	unsigned domain = 0;
	int r = json_is_object(at, e);

	if (r < 0 || (r = need_enum(at, "domain", domains, &domain, e)) < 0 ||
	    (r = read_flags(t, at, "flags", none, &flags, e)) < 0)
		return r;
	l->has_personality = true;
	l->linux32 = domain == 1;
	return 0;
}

int oci_parse_memory_policy(struct oci_tree *t, const struct json_at *at,
			    struct oci_memory_policy *p, struct err *e)
{
	static const char *const modes[] = { "MPOL_DEFAULT",
					     "MPOL_PREFERRED",
					     "MPOL_BIND",
					     "MPOL_INTERLEAVE",
					     "MPOL_LOCAL",
					     "MPOL_PREFERRED_MANY",
					     "MPOL_WEIGHTED_INTERLEAVE",
					     NULL };
	static const char *const names[] = { "MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES",
					     "MPOL_F_STATIC_NODES", NULL };
	const char *nodes = NULL;
	uint64_t flags = 0;
	struct json_at sub;
	bool without;
	int r = json_is_object(at, e);

	if (r < 0 || (r = need_enum(at, "mode", modes, &p->mode, e)) < 0 ||
	    (r = read_flags(t, at, "flags", names, &flags, e)) < 0 ||
	    (r = read_list(at, "nodes", &nodes, e)) < 0)
		return r;
	(void)json_member(at, "nodes", &sub); // for its path
	without = p->mode == MPOL_DEFAULT || p->mode == MPOL_LOCAL;
	if (without && nodes)
		return json_err(&sub, e, "%s takes none", modes[p->mode]);
	if (!without && !nodes && p->mode != MPOL_PREFERRED)
		return json_err(&sub, e, "required with %s, but absent", modes[p->mode]);
	(void)json_member(at, "flags", &sub); // for its path
	if (without && flags)
		return json_err(&sub, e, "%s takes none", modes[p->mode]);
	if ((flags & 6) == 6)
		return json_err(&sub, e, "%s and %s exclude each other", names[1], names[2]);
	p->flags = (unsigned)flags << 13; // in the kernel's order: bits 13, 14 and 15
	if (nodes)
		(void)oci_list_bits(nodes, p->nodes, OCI_NODES_MAX / 64); // read_list has tried it
	p->set = true;
	return 0;
}

int oci_parse_time_offsets(const struct json_at *at, struct oci_linux *l, struct err *e)
{
	const char *names[OCI_CLOCKS + 1] = { oci_clock_name[0], oci_clock_name[1], NULL };
	int r = json_is_object(at, e);

	for (size_t i = 0; r == 0 && i < at->v->u.object.len; i++) {
		struct json_at item = json_pair(at, i);
		struct oci_opt_i64 secs = { 0 };
		struct oci_opt_u32 nanos = { 0 };
		unsigned clock = 0;

		while (names[clock] && strcmp(names[clock], item.key) != 0)
			clock++;
		if (!names[clock])
			return json_err(&item, e,
					"unknown clock (monotonic and boottime have offsets)");
		if ((r = json_is_object(&item, e)) < 0 ||
		    (r = oci_read_i64(&item, "secs", INT64_MIN, INT64_MAX, &secs, e)) < 0 ||
		    (r = oci_read_u32(&item, "nanosecs", &nanos, e)) < 0)
			return r;
		if (nanos.v >= 1000000000u)
			return json_err(&item, e, "nanosecs: %u is a second or more", nanos.v);
		l->time_offset[clock] = (struct oci_time_offset){ true, secs.v, nanos.v };
	}
	if (r == 0 && at->v->u.object.len > 0 && !l->ns[OCI_NS_TIME].present)
		return json_err(at, e, "needs a time namespace");
	return r;
}
