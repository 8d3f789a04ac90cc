// SPDX-License-Identifier: Apache-2.0
// Limits of the pod's group on the host. Memory, pids and shares are the pod's as a whole: they weigh it against others.
// Quota and cpuset are the vCPU threads' alone.
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "oci/oci.h"
#include "runtime/host_cgroup_priv.h"

enum {
	MIB = 1 << 20,
	// Beside guest RAM. Measured: 10 MiB when idle, 60 with eight busy vCPUs on the soft partition (9 each at most), 0.6
	// for a proxy: this is room for some 350 of them. Who comes near it would rather be refused an exec than lose the pod,
	// and so there is more of it than is needed.
	OVERHEAD_MIB = 320,
	TASKS_MAX = 4096, // threads and proxies
};

// 1024 shares are 100, as runc and crun convert them by now.
static uint64_t weight_of_shares(uint64_t shares)
{
	double l;

	if (shares <= 2)
		return 1;
	if (shares >= 262144)
		return 10000;
	l = log2((double)shares);
	return (uint64_t)ceil(pow(10, (l * l + 125 * l) / 612 - 7.0 / 34));
}

void host_cgroup_scope_limits(const struct host_cgroup *c, const struct oci_resources *res,
			      struct host_cgroup_scope_limits *ret)
{
	*ret = (struct host_cgroup_scope_limits){ .tasks_max = TASKS_MAX };
	if (res && res->cpu_shares.set && res->cpu_shares.v)
		ret->cpu_weight = weight_of_shares(res->cpu_shares.v);
	if (res && c->machine && res->memory_limit.set && res->memory_limit.v > 0)
		ret->memory_max = c->guest_bytes + (uint64_t)OVERHEAD_MIB * MIB;
}

// One file of a controller. files: its name in v1 and in v2.
struct limit {
	const char *field, *controller;
	const char *files[2];
	bool vcpus; // in the group of the threads
};

static int put_limit(struct host_cgroup *c, const struct limit *lim, const char *v1, const char *v2,
		     struct err *e)
{
	char dir[HOST_PATH_BYTES + 8];
	int r = -EOPNOTSUPP;

	for (unsigned i = 0; i < c->n; i++) {
		const struct host_group *g = &c->v[i];

		if (!host_hierarchy_has(g->h, lim->controller) || (lim->vcpus && !g->vcpus))
			continue;
		(void)snprintf(dir, sizeof(dir), "%s%s", g->dir,
			       lim->vcpus ? "/" HOST_CGROUP_VCPUS : ""); // fits
		r = host_cgroup_put(dir, lim->files[g->h->v2], g->h->v2 ? v2 : v1);
		break;
	}
	if (r == 0)
		return 0;
	if (r == -EOPNOTSUPP || r == -ENOENT)
		r = err_set(e, EOPNOTSUPP,
			    "linux.resources.%s: the host's cgroup has no %s controller",
			    lim->field, lim->controller);
	else
		r = err_errno(e, -r, "linux.resources.%s: %s of the host's cgroup", lim->field,
			      lim->files[0]);
	return r;
}

// A limit that the host does not take holds in the guest nevertheless: an error only where the place was asked for.
static int want_limit(struct host_cgroup *c, const struct limit *lim, const char *v1,
		      const char *v2, struct err *e)
{
	struct err why;
	int r = put_limit(c, lim, v1, v2, &why);

	if (r == 0)
		return 0;
	if (c->required)
		return err_set(e, why.code, "%s", why.msg);
	log_debug("%s", why.msg);
	return 0;
}

static int limit_memory(struct host_cgroup *c, const struct oci_resources *res, struct err *e)
{
	static const struct limit memory = {
		"memory.limit", "memory", { "memory.limit_in_bytes", "memory.max" }, false
	};
	struct host_cgroup_scope_limits limits;
	char text[24];

	host_cgroup_scope_limits(c, res, &limits);
	if (!limits.memory_max)
		return 0;
	(void)snprintf(text, sizeof(text), "%" PRIu64, limits.memory_max); // fits
	return want_limit(c, &memory, text, text, e);
}

// Not asked for by anyone: a bound for what a pod can do to the host's table of processes.
static void limit_tasks(struct host_cgroup *c)
{
	static const struct limit pids = { "pids", "pids", { "pids.max", "pids.max" }, false };
	struct err why;
	char text[24];

	(void)snprintf(text, sizeof(text), "%d", TASKS_MAX); // fits
	if (put_limit(c, &pids, text, text, &why) < 0)
		log_debug("%s", why.msg);
}

static int limit_shares(struct host_cgroup *c, const struct oci_resources *res, struct err *e)
{
	static const struct limit shares = {
		"cpu.shares", "cpu", { "cpu.shares", "cpu.weight" }, false
	};
	char v1[24], v2[24];

	if (!res->cpu_shares.set || !res->cpu_shares.v)
		return 0;
	(void)snprintf(v1, sizeof(v1), "%" PRIu64, res->cpu_shares.v);                   // fits
	(void)snprintf(v2, sizeof(v2), "%" PRIu64, weight_of_shares(res->cpu_shares.v)); // fits
	return want_limit(c, &shares, v1, v2, e);
}

// v1 has two files; in v2 the quota's word alone leaves the period, "max" being no quota.
static int limit_quota(struct host_cgroup *c, const struct oci_resources *res, struct err *e)
{
	static const struct limit quota = {
		"cpu.quota", "cpu", { "cpu.cfs_quota_us", "cpu.max" }, true
	};
	static const struct limit period = {
		"cpu.period", "cpu", { "cpu.cfs_period_us", "cpu.max" }, true
	};
	bool has_quota = res->cpu_quota.set && res->cpu_quota.v;
	bool has_period = res->cpu_period.set && res->cpu_period.v;
	char v1_quota[24], v1_period[24], v2[56];
	int r = 0;

	if (has_quota)
		c->cpu_quota = res->cpu_quota.v > 0 ? res->cpu_quota.v : -1;
	if (has_period)
		c->cpu_period = res->cpu_period.v;
	(void)snprintf(v1_quota, sizeof(v1_quota), "%" PRId64, c->cpu_quota);    // fits
	(void)snprintf(v1_period, sizeof(v1_period), "%" PRIu64, c->cpu_period); // fits
	if (c->cpu_quota > 0)
		(void)snprintf(v2, sizeof(v2), "%" PRId64 " %" PRIu64, c->cpu_quota,
			       c->cpu_period); // fits
	else
		(void)snprintf(v2, sizeof(v2), "max %" PRIu64, c->cpu_period); // fits
	if (has_period)
		r = want_limit(c, &period, v1_period, v2, e);
	return r < 0 || !has_quota ? r : want_limit(c, &quota, v1_quota, v2, e);
}

static int limit_cpuset(struct host_cgroup *c, const struct oci_resources *res, struct err *e)
{
	static const struct limit cpus = {
		"cpu.cpus", "cpuset", { "cpuset.cpus", "cpuset.cpus" }, true
	};
	static const struct limit mems = {
		"cpu.mems", "cpuset", { "cpuset.mems", "cpuset.mems" }, true
	};
	int r = 0;

	if (res->cpu_cpus)
		r = want_limit(c, &cpus, res->cpu_cpus, res->cpu_cpus, e);
	return r < 0 || !res->cpu_mems ? r : want_limit(c, &mems, res->cpu_mems, res->cpu_mems, e);
}

int host_cgroup_limit(struct host_cgroup *c, const struct oci_resources *res, bool first,
		      struct err *e)
{
	int r = 0;

	if (!c->unit[0] && c->machine) {
		// A machine's RAM does not change, and so neither does what the host lets it have.
		if (first && (r = limit_memory(c, res, e)) == 0)
			limit_tasks(c);
		r = r < 0 ? r : limit_shares(c, res, e);
	}
	if (!c->machine || r < 0)
		return r;
	r = limit_quota(c, res, e);
	return r < 0 ? r : limit_cpuset(c, res, e);
}
