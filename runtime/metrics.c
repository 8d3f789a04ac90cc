// SPDX-License-Identifier: Apache-2.0
#include "runtime/metrics.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/json.h"

// ---- reading
static bool name_ok(const char *name)
{
	size_t len = strlen(name);

	if (len > METRICS_NAME_MAX)
		return false;
	for (size_t i = 0; i < len; i++)
		if (name[i] < '!' || name[i] > '~')
			return false;
	return true;
}

static bool lists_ok(const Metrics__Metrics *m)
{
	bool ok = m->n_hugetlb <= METRICS_LIST_MAX && m->n_network <= METRICS_LIST_MAX &&
		  (!m->io || m->io->n_usage <= METRICS_LIST_MAX) &&
		  (!m->rdma || (m->rdma->n_current <= METRICS_LIST_MAX &&
				m->rdma->n_limit <= METRICS_LIST_MAX));

	for (size_t i = 0; ok && i < m->n_hugetlb; i++)
		ok = name_ok(m->hugetlb[i]->pagesize);
	for (size_t i = 0; ok && i < m->n_network; i++)
		ok = name_ok(m->network[i]->name);
	for (size_t i = 0; ok && m->rdma && i < m->rdma->n_current; i++)
		ok = name_ok(m->rdma->current[i]->device);
	for (size_t i = 0; ok && m->rdma && i < m->rdma->n_limit; i++)
		ok = name_ok(m->rdma->limit[i]->device);
	return ok;
}

int metrics_read(const uint8_t *data, size_t len, Metrics__Metrics **ret, struct err *e)
{
	Metrics__Metrics *m = metrics__metrics__unpack(NULL, len, data);

	if (m && m->pids && m->cpu && m->memory && lists_ok(m)) {
		*ret = m;
		return 0;
	}
	if (m)
		metrics__metrics__free_unpacked(m, NULL);
	return err_set(e, EPROTO, "the guest's stats make no sense");
}

// ---- writing. runc leaves out most members that are 0; those it does not are written as keep.
static void number(struct json_out *o, uint64_t v)
{
	char text[24];

	(void)snprintf(text, sizeof(text), "%" PRIu64, v); // fits
	json_out_number(o, text);
}

static void keep(struct json_out *o, const char *key, uint64_t v)
{
	json_out_key(o, key);
	number(o, v);
}

static void some(struct json_out *o, const char *key, uint64_t v)
{
	if (v)
		keep(o, key, v);
}

static void open_key(struct json_out *o, const char *key)
{
	json_out_key(o, key);
	json_out_open(o, '{');
}

static void average(struct json_out *o, const char *key, double v)
{
	char text[32];

	// The text "nan" would be no JSON.
	(void)snprintf(text, sizeof(text), "%.2f", v >= 0 && v <= 100 ? v : 0); // fits
	json_out_key(o, key);
	json_out_number(o, text);
}

static void pressure(struct json_out *o, const Metrics__Psi *psi)
{
	static const char *const names[] = { "some", "full" };

	if (!psi)
		return;
	open_key(o, "psi");
	for (unsigned i = 0; i < 2; i++) {
		const Metrics__PsiData *d = i ? psi->full : psi->some;

		if (!d)
			continue;
		open_key(o, names[i]);
		average(o, "avg10", d->avg10);
		average(o, "avg60", d->avg60);
		average(o, "avg300", d->avg300);
		keep(o, "total", d->total);
		json_out_close(o, '}');
	}
	json_out_close(o, '}');
}

static void cpu(struct json_out *o, const Metrics__Cpu *c)
{
	open_key(o, "cpu");
	open_key(o, "usage");
	some(o, "total", c->usage_usec * 1000);
	keep(o, "kernel", c->system_usec * 1000);
	keep(o, "user", c->user_usec * 1000);
	json_out_close(o, '}');
	open_key(o, "throttling");
	some(o, "periods", c->nr_periods);
	some(o, "throttledPeriods", c->nr_throttled);
	some(o, "throttledTime", c->throttled_usec * 1000);
	json_out_close(o, '}');
	pressure(o, c->psi);
	json_out_close(o, '}');
}

// The attributes of cpuset v1, which v2 does not have.
static void cpuset(struct json_out *o)
{
	static const char *const names[] = {
		"cpu_exclusive",   "mem_hardwall",       "mem_exclusive",
		"memory_migrate",  "memory_spread_page", "memory_spread_slab",
		"memory_pressure", "sched_load_balance", "sched_relax_domain_level",
	};

	open_key(o, "cpuset");
	for (unsigned i = 0; i < sizeof(names) / sizeof(*names); i++)
		keep(o, names[i], 0);
	json_out_close(o, '}');
}

static void memory_entry(struct json_out *o, const char *key, uint64_t limit, uint64_t usage,
			 uint64_t max)
{
	open_key(o, key);
	keep(o, "limit", limit);
	some(o, "usage", usage);
	some(o, "max", max);
	keep(o, "failcnt", 0);
	json_out_close(o, '}');
}

// memory.stat: the fields of the message that have the names of its keys are the first 31.
static void memory_raw(struct json_out *o, const Metrics__Memory *m)
{
	const ProtobufCMessageDescriptor *d = m->base.descriptor;

	open_key(o, "raw");
	for (unsigned i = 0; i < d->n_fields && d->fields[i].id <= 31; i++) {
		uint64_t v;

		memcpy(&v, (const char *)m + d->fields[i].offset, sizeof(v));
		keep(o, d->fields[i].name, v);
	}
	json_out_close(o, '}');
}

static void memory(struct json_out *o, const Metrics__Memory *m)
{
	open_key(o, "memory");
	some(o, "cache", m->file);
	memory_entry(o, "usage", m->usage_limit, m->usage, m->max_usage);
	memory_entry(o, "swap", m->swap_limit, m->swap_usage, m->swap_max_usage);
	memory_entry(o, "kernel", 0, 0, 0); // v2 counts it with the rest
	memory_entry(o, "kernelTCP", 0, 0, 0);
	memory_raw(o, m);
	pressure(o, m->psi);
	json_out_close(o, '}');
}

static void blkio_list(struct json_out *o, const char *key, const Metrics__Io *io,
		       const char *const op[2], size_t offset0, size_t offset1)
{
	json_out_key(o, key);
	json_out_open(o, '[');
	for (size_t i = 0; i < io->n_usage; i++)
		for (unsigned k = 0; k < 2; k++) {
			uint64_t v;

			memcpy(&v, (const char *)io->usage[i] + (k ? offset1 : offset0), sizeof(v));
			json_out_open(o, '{');
			some(o, "major", io->usage[i]->major);
			some(o, "minor", io->usage[i]->minor);
			json_out_kstr(o, "op", op[k]);
			some(o, "value", v);
			json_out_close(o, '}');
		}
	json_out_close(o, ']');
}

static void blkio(struct json_out *o, const Metrics__Io *io)
{
	static const char *const op[] = { "Read", "Write" };

	open_key(o, "blkio");
	if (io && io->n_usage) {
		blkio_list(o, "ioServiceBytesRecursive", io, op, offsetof(Metrics__IoEntry, rbytes),
			   offsetof(Metrics__IoEntry, wbytes));
		blkio_list(o, "ioServicedRecursive", io, op, offsetof(Metrics__IoEntry, rios),
			   offsetof(Metrics__IoEntry, wios));
	}
	if (io)
		pressure(o, io->psi);
	json_out_close(o, '}');
}

static void hugetlb(struct json_out *o, const Metrics__Metrics *m)
{
	open_key(o, "hugetlb");
	for (size_t i = 0; i < m->n_hugetlb; i++) {
		open_key(o, m->hugetlb[i]->pagesize);
		some(o, "usage", m->hugetlb[i]->current);
		some(o, "max", m->hugetlb[i]->max);
		keep(o, "failcnt", m->hugetlb[i]->failcnt);
		json_out_close(o, '}');
	}
	json_out_close(o, '}');
}

static void network(struct json_out *o, const Metrics__Metrics *m)
{
	json_out_key(o, "network_interfaces");
	if (!m->n_network) {
		json_out_literal(o, "null");
		return;
	}
	json_out_open(o, '[');
	for (size_t i = 0; i < m->n_network; i++) {
		const Metrics__Network *n = m->network[i];

		json_out_open(o, '{');
		json_out_kstr(o, "Name", n->name);
		keep(o, "RxBytes", n->rx_bytes);
		keep(o, "RxPackets", n->rx_packets);
		keep(o, "RxErrors", n->rx_errors);
		keep(o, "RxDropped", n->rx_dropped);
		keep(o, "TxBytes", n->tx_bytes);
		keep(o, "TxPackets", n->tx_packets);
		keep(o, "TxErrors", n->tx_errors);
		keep(o, "TxDropped", n->tx_dropped);
		json_out_close(o, '}');
	}
	json_out_close(o, ']');
}

int metrics_stats_line(const char *id, const Metrics__Metrics *m, char **ret_line, size_t *ret_len,
		       struct err *e)
{
	struct json_out o;
	int r = json_out_init(&o, NULL, e);

	if (r < 0)
		return r;
	json_out_open(&o, '{');
	json_out_kstr(&o, "type", "stats");
	json_out_kstr(&o, "id", id);
	open_key(&o, "data");
	cpu(&o, m->cpu);
	cpuset(&o);
	memory(&o, m->memory);
	open_key(&o, "pids");
	some(&o, "current", m->pids->current);
	some(&o, "limit", m->pids->limit == UINT64_MAX ? 0 : m->pids->limit);
	json_out_close(&o, '}');
	blkio(&o, m->io);
	hugetlb(&o, m);
	open_key(&o, "intel_rdt");
	json_out_close(&o, '}');
	network(&o, m);
	json_out_close(&o, '}');
	json_out_close(&o, '}');
	r = json_out_take(&o, ret_line, ret_len, e);
	json_out_done(&o);
	return r;
}
