// SPDX-License-Identifier: Apache-2.0
#include "agent/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/io.h"
#include "base/own.h"
#include "oci/oci.h"

#define RES "linux.resources."

void limits_set_read(struct limits_set *s, const char *list)
{
	char text[4096];
	const char *at = text;
	unsigned first, last;

	(void)snprintf(text, sizeof(text), "%.*s", (int)strcspn(list, "\n"), list); // see below
	s->n = 0;
	while (oci_list_next(&at, &first, &last))
		for (unsigned i = first; i <= last && s->n < LIMITS_SET_MAX; i++)
			s->v[s->n++] = (uint16_t)i;
	if (*at) // no list, or cut
		s->n = 0;
}

static int64_t read_limit(int group, const char *file)
{
	char *text AUTO_FREE = NULL;

	if (io_read_file(group, file, 4096, &text, NULL, NULL) < 0 || strncmp(text, "max", 3) == 0)
		return -1;
	return strtoll(text, NULL, 10); // of "quota period" the first
}

static void read_set(const char *file, struct limits_set *s)
{
	char *text AUTO_FREE = NULL;

	if (io_read_file(AT_FDCWD, file, 4096, &text, NULL, NULL) == 0)
		limits_set_read(s, text);
}

void limits_now_read(int group, struct limits_now *ret)
{
	int64_t current = read_limit(group, "memory.current");

	*ret = (struct limits_now){
		.memory_max = read_limit(group, "memory.max"),
		.cpu_quota = read_limit(group, "cpu.max"),
		.memory_current = current > 0 ? (uint64_t)current : 0,
		.has_swap = faccessat(group, "memory.swap.max", F_OK, 0) == 0,
		.has_bfq = faccessat(group, "io.bfq.weight", F_OK, 0) == 0,
	};
	read_set("/sys/fs/cgroup/cpuset.cpus.effective", &ret->cpus);
	read_set("/sys/fs/cgroup/cpuset.mems.effective", &ret->mems);
}

void limits_done(struct limits *l)
{
	for (size_t i = 0; i < l->n; i++) {
		free(l->v[i].file);
		free(l->v[i].value);
		free(l->v[i].old);
	}
	free(l->v);
	*l = (struct limits){ 0 };
}

// ---- the plan
static int add_text(struct limits *l, const char *file, const char *value, const char *field,
		    struct err *e)
{
	struct limit *v = reallocarray(l->v, l->n + 1, sizeof(*v));
	struct limit add = { .field = field };

	if (!v)
		return err_errno(e, ENOMEM, "%s", field);
	l->v = v;
	add.file = strdup(file);
	add.value = strdup(value);
	v[l->n++] = add;
	return add.file && add.value ? 0 : err_errno(e, ENOMEM, "%s", field);
}

__attribute__((format(printf, 5, 6))) static int
add(struct limits *l, struct err *e, const char *file, const char *field, const char *fmt, ...)
{
	char text[160];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap); // numbers, and a name of 63 bytes: fits
	va_end(ap);
	return add_text(l, file, text, field, e);
}

static int add_or_max(struct limits *l, struct err *e, const char *file, const char *field,
		      int64_t v)
{
	return v < 0 ? add_text(l, file, "max", field, e) : add(l, e, file, field, "%" PRId64, v);
}

// memory.swap of the configuration is memory and swap together.
static int plan_swap(const struct oci_resources *r, const struct limits_now *now, struct limits *l,
		     struct err *e)
{
	static const char field[] = RES "memory.swap";
	bool given = r->memory_limit.set && r->memory_limit.v;
	int64_t limit = given ? r->memory_limit.v : now->memory_max;

	if (r->memory_swap.v > 0 && limit < 0)
		return err_set(e, EINVAL, "%s: cannot be set without a memory limit", field);
	if (r->memory_swap.v > 0 && r->memory_swap.v < limit)
		return err_set(e, EINVAL, "%s: below the memory limit", field);
	if (!now->has_swap) // nothing can be swapped: any limit holds
		return 0;
	return add_or_max(l, e, "memory.swap.max", field,
			  r->memory_swap.v < 0 ? -1 : r->memory_swap.v - limit);
}

static int check_usage(const struct oci_resources *r, const struct limits_now *now, struct err *e)
{
	if (!r->memory_check_before_update)
		return 0;
	if (r->memory_limit.v > 0 && (uint64_t)r->memory_limit.v <= now->memory_current)
		return err_set(e, EINVAL, "rejecting memory limit %" PRId64 " <= usage %" PRIu64,
			       r->memory_limit.v, now->memory_current);
	if (r->memory_swap.v > 0 && (uint64_t)r->memory_swap.v <= now->memory_current)
		return err_set(e, EINVAL,
			       "rejecting memory+swap limit %" PRId64 " <= usage %" PRIu64,
			       r->memory_swap.v, now->memory_current);
	return 0;
}

// A value of 0 is what tools write for "as it is".
static int plan_memory(const struct oci_resources *r, const struct limits_now *now,
		       struct limits *l, struct err *e)
{
	int rc = check_usage(r, now, e);

	if (rc == 0 && r->memory_limit.v)
		rc = add_or_max(l, e, "memory.max", RES "memory.limit", r->memory_limit.v);
	if (rc == 0 && r->memory_reservation.v)
		rc = add_or_max(l, e, "memory.low", RES "memory.reservation",
				r->memory_reservation.v);
	if (rc == 0 && r->memory_swap.v)
		rc = plan_swap(r, now, l, e);
	return rc;
}

// runc's present conversion: 1024 shares are weight 100, the ends meet.
static unsigned cpu_weight(uint64_t shares)
{
	double log;

	if (shares <= 2)
		return 1;
	if (shares >= 262144)
		return 10000;
	log = log2((double)shares);
	return (unsigned)ceil(pow(10, (log * log + 125 * log) / 612.0 - 7.0 / 34.0));
}

// Either of quota and period keeps the other: a first number alone keeps the period by itself.
static int plan_cpu_max(const struct oci_resources *r, const struct limits_now *now,
			struct limits *l, struct err *e)
{
	const char *field = r->cpu_quota.v ? RES "cpu.quota" : RES "cpu.period";
	int64_t quota = r->cpu_quota.v ? r->cpu_quota.v : now->cpu_quota;
	char period[24] = "";

	if (!r->cpu_quota.v && !r->cpu_period.v)
		return 0;
	if (r->cpu_period.v)
		(void)snprintf(period, sizeof(period), " %" PRIu64, r->cpu_period.v); // fits
	if (quota < 0)
		return add(l, e, "cpu.max", field, "max%s", period);
	return add(l, e, "cpu.max", field, "%" PRId64 "%s", quota, period);
}

// The numbers of a list are the host's. One that the guest has is that one, and a greater one is folded onto those there
// are: number modulo how many.
static int plan_cpuset(const char *list, const struct limits_set *there, const char *file,
		       const char *field, struct limits *l, struct err *e)
{
	bool used[LIMITS_SET_MAX] = { false };
	char text[LIMITS_SET_MAX * 6] = "";
	unsigned first, last;
	size_t len = 0;

	if (!list)
		return 0;
	if (!there->n)
		return err_set(e, EOPNOTSUPP, "%s: the guest kernel has no %s", field, file);
	for (const char *at = list; oci_list_next(&at, &first, &last);)
		for (unsigned i = first; i <= last; i++)
			used[i % there->n] = true;
	for (unsigned i = 0; i < there->n; i++)
		if (used[i])
			len += (size_t)sprintf(text + len, "%s%u", len ? "," : "", there->v[i]);
	return add_text(l, file, text, field, e);
}

static int plan_cpu(const struct oci_resources *r, const struct limits_now *now, struct limits *l,
		    struct err *e)
{
	int rc = 0;

	if (r->has_cpu_realtime)
		return err_set(e, EOPNOTSUPP,
			       RES "cpu.realtimeRuntime: not supported on cgroup v2");
	if (r->cpu_shares.v)
		rc = add(l, e, "cpu.weight", RES "cpu.shares", "%u", cpu_weight(r->cpu_shares.v));
	rc = rc < 0 ? rc : plan_cpu_max(r, now, l, e);
	if (rc == 0 && r->cpu_burst.set)
		rc = add(l, e, "cpu.max.burst", RES "cpu.burst", "%" PRIu64, r->cpu_burst.v);
	if (rc == 0 && r->cpu_idle.set)
		rc = add(l, e, "cpu.idle", RES "cpu.idle", "%" PRId64, r->cpu_idle.v);
	rc = rc < 0 ? rc
		    : plan_cpuset(r->cpu_cpus, &now->cpus, "cpuset.cpus", RES "cpu.cpus", l, e);
	return rc < 0 ? rc
		      : plan_cpuset(r->cpu_mems, &now->mems, "cpuset.mems", RES "cpu.mems", l, e);
}

static unsigned io_weight(uint64_t weight) // 10..1000 to 1..10000
{
	return (unsigned)(1 + (weight - 10) * 9999 / 990);
}

static int plan_blkio(const struct oci_resources *r, const struct limits_now *now, struct limits *l,
		      struct err *e)
{
	static const struct {
		const char *key, *field;
	} kind[OCI_BLKIO_KINDS] = {
		{ NULL, RES "blockIO.weightDevice" },
		{ "rbps", RES "blockIO.throttleReadBpsDevice" },
		{ "wbps", RES "blockIO.throttleWriteBpsDevice" },
		{ "riops", RES "blockIO.throttleReadIOPSDevice" },
		{ "wiops", RES "blockIO.throttleWriteIOPSDevice" },
	};
	const char *weight_file = now->has_bfq ? "io.bfq.weight" : "io.weight";
	int rc = 0;

	if (r->blkio_weight.set)
		rc = add(l, e, weight_file, RES "blockIO.weight", "%u",
			 now->has_bfq ? r->blkio_weight.v : io_weight(r->blkio_weight.v));
	for (unsigned k = 0; k < OCI_BLKIO_KINDS; k++)
		for (size_t i = 0; rc == 0 && i < r->blkio_devices[k].n; i++) {
			const struct oci_blkio_device *d = &r->blkio_devices[k].v[i];

			if (k != OCI_BLKIO_WEIGHT && d->value == 0)
				rc = add(l, e, "io.max", kind[k].field, "%u:%u %s=max", d->major,
					 d->minor, kind[k].key);
			else if (k != OCI_BLKIO_WEIGHT)
				rc = add(l, e, "io.max", kind[k].field, "%u:%u %s=%" PRIu64,
					 d->major, d->minor, kind[k].key, d->value);
			else if (d->value)
				rc = add(l, e, weight_file, kind[k].field, "%u:%u %" PRIu64,
					 d->major, d->minor,
					 now->has_bfq ? d->value : io_weight(d->value));
		}
	return rc;
}

// The one counts pages in use, the other those that mmap has promised.
static int plan_hugepages(const struct oci_resources *r, struct limits *l, struct err *e)
{
	static const char *const kind[] = { "", "rsvd." };
	int rc = 0;

	for (size_t i = 0; i < r->n_hugepages; i++)
		for (unsigned k = 0; rc == 0 && k < 2; k++) {
			char file[64];

			(void)snprintf(file, sizeof(file), "hugetlb.%s.%smax",
				       r->hugepages[i].page_size, kind[k]); // at most 9 bytes
			rc = add(l, e, file, RES "hugepageLimits", "%" PRIu64,
				 r->hugepages[i].limit);
		}
	return rc;
}

static int plan_rdma(const struct oci_resources *r, struct limits *l, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < r->n_rdma; i++) {
		const struct oci_rdma_limit *d = &r->rdma[i];
		char handles[32] = "", objects[32] = "";

		if (d->handles.set)
			(void)snprintf(handles, sizeof(handles), " hca_handle=%u", d->handles.v);
		if (d->objects.set)
			(void)snprintf(objects, sizeof(objects), " hca_object=%u", d->objects.v);
		if (d->handles.set || d->objects.set)
			rc = add(l, e, "rdma.max", RES "rdma", "%s%s%s", d->device, handles,
				 objects);
	}
	return rc;
}

int limits_plan(const struct oci_resources *r, const struct limits_now *now, struct limits *ret,
		struct err *e)
{
	int rc;

	*ret = (struct limits){ 0 };
	rc = plan_memory(r, now, ret, e);
	rc = rc < 0 ? rc : plan_cpu(r, now, ret, e);
	if (rc == 0 && r->pids_limit.v)
		rc = add_or_max(ret, e, "pids.max", RES "pids.limit", r->pids_limit.v);
	rc = rc < 0 ? rc : plan_blkio(r, now, ret, e);
	rc = rc < 0 ? rc : plan_hugepages(r, ret, e);
	rc = rc < 0 ? rc : plan_rdma(r, ret, e);
	for (size_t i = 0; rc == 0 && i < r->unified.n; i++)
		rc = add_text(ret, r->unified.v[i].key, r->unified.v[i].value, RES "unified", e);
	return rc;
}

// ---- writing
// Keyed files take one line a write. Nothing at all is the empty list of a cpuset.
static int put(int group, const char *file, const char *value)
{
	int fd AUTO_CLOSE = openat(group, file, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
	const char *line = value;

	if (fd < 0)
		return -errno;
	do {
		size_t len = strcspn(line, "\n");

		if ((len || !*value) && write(fd, len ? line : "\n", len ? len : 1) < 0)
			return -errno;
		line += len + (line[len] == '\n');
	} while (*line);
	return 0;
}

static int check_files(int group, struct limits *l, struct err *e)
{
	for (size_t i = 0; i < l->n; i++) {
		struct limit *v = &l->v[i];

		if (faccessat(group, v->file, F_OK, 0) < 0)
			return err_set(e, EOPNOTSUPP, "%s: the guest kernel has no %s", v->field,
				       v->file);
		// A file that only takes writes has no state to come back to.
		(void)io_read_file(group, v->file, 65536, &v->old, NULL, NULL);
		if (v->old && v->old[0] && v->old[strlen(v->old) - 1] == '\n')
			v->old[strlen(v->old) - 1] = '\0';
	}
	return 0;
}

void limits_put_back(int group, struct limits *l)
{
	for (size_t i = l->n; i-- > 0;)
		if (l->v[i].done && l->v[i].old)
			(void)put(group, l->v[i].file, l->v[i].old); // it was legal before
}

// Two values may be legal one after the other only: a quota below the present burst, for one. What is refused is tried once
// more after the rest.
int limits_write(int group, struct limits *l, struct err *e)
{
	int r = check_files(group, l, e);

	if (r < 0)
		return r;
	for (unsigned round = 0; round < 2; round++)
		for (size_t i = 0; i < l->n; i++) {
			struct limit *v = &l->v[i];

			if (v->done)
				continue;
			r = put(group, v->file, v->value);
			v->done = r == 0;
			if (r == 0 || (round == 0 && r == -EINVAL))
				continue;
			limits_put_back(group, l);
			return err_errno(e, -r, "%s: writing '%.100s' to %s", v->field, v->value,
					 v->file);
		}
	return 0;
}
