// SPDX-License-Identifier: Apache-2.0
// bulkhead update: changes the limits of a running container.
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "oci/oci.h"
#include "runtime/cli.h"
#include "runtime/client.h"

enum { KIND_UNSIGNED, KIND_SIGNED, KIND_BYTES, KIND_TEXT, N_VALUES = 14 };

struct update_options {
	const char *resources, *l3_cache_schema, *mem_bw_schema;
	const char *value[N_VALUES]; // in the order of `values`
};
// Each flag is a member of an object of linux.resources. Those of one object stand together.
static const struct {
	const char *flag, *object, *key;
	unsigned kind;
} values[N_VALUES] = {
	{ "blkio-weight", "blockIO", "weight", KIND_UNSIGNED },
	{ "cpu-period", "cpu", "period", KIND_UNSIGNED },
	{ "cpu-quota", "cpu", "quota", KIND_SIGNED },
	{ "cpu-burst", "cpu", "burst", KIND_UNSIGNED },
	{ "cpu-share", "cpu", "shares", KIND_UNSIGNED },
	{ "cpu-rt-period", "cpu", "realtimePeriod", KIND_UNSIGNED },
	{ "cpu-rt-runtime", "cpu", "realtimeRuntime", KIND_SIGNED },
	{ "cpuset-cpus", "cpu", "cpus", KIND_TEXT },
	{ "cpuset-mems", "cpu", "mems", KIND_TEXT },
	{ "cpu-idle", "cpu", "idle", KIND_SIGNED },
	{ "memory", "memory", "limit", KIND_BYTES },
	{ "memory-reservation", "memory", "reservation", KIND_BYTES },
	{ "memory-swap", "memory", "swap", KIND_BYTES },
	{ "pids-limit", "pids", "limit", KIND_SIGNED },
};

#define V(i) offsetof(struct update_options, value[i])
static const struct cli_option options[] = {
	{ "resources", 'r', CLI_STRING, offsetof(struct update_options, resources), "FILE",
	  "read linux.resources from FILE, or from standard input if it is -; other options are ignored" },
	{ "blkio-weight", 0, CLI_STRING, V(0), "N", "weight of I/O, 10 to 1000" },
	{ "cpu-period", 0, CLI_STRING, V(1), "US",
	  "period that the quota is for, in microseconds" },
	{ "cpu-quota", 0, CLI_STRING, V(2), "US", "processor time in a period; -1: no limit" },
	{ "cpu-burst", 0, CLI_STRING, V(3), "US", "unused quota that may be used later" },
	{ "cpu-share", 0, CLI_STRING, V(4), "N", "processor weight against other containers" },
	{ "cpu-rt-period", 0, CLI_STRING, V(5), "US", "refused: cgroup v2 has no such limit" },
	{ "cpu-rt-runtime", 0, CLI_STRING, V(6), "US", "refused: cgroup v2 has no such limit" },
	{ "cpuset-cpus", 0, CLI_STRING, V(7), "LIST", "processors to run on, such as 0-1,3" },
	{ "cpuset-mems", 0, CLI_STRING, V(8), "LIST", "memory nodes to use" },
	{ "cpu-idle", 0, CLI_STRING, V(9), "N", "1: run only when nothing else does; 0: not so" },
	{ "memory", 0, CLI_STRING, V(10), "BYTES", "memory limit, such as 64m; -1: none" },
	{ "memory-reservation", 0, CLI_STRING, V(11), "BYTES",
	  "memory that is kept as long as it can be" },
	{ "memory-swap", 0, CLI_STRING, V(12), "BYTES",
	  "limit of memory and swap together; -1: none" },
	{ "pids-limit", 0, CLI_STRING, V(13), "N", "how many processes; -1: no limit" },
	{ "l3-cache-schema", 0, CLI_STRING, offsetof(struct update_options, l3_cache_schema),
	  "TEXT", "refused: the guest has no such control" },
	{ "mem-bw-schema", 0, CLI_STRING, offsetof(struct update_options, mem_bw_schema), "TEXT",
	  "refused: the guest has no such control" },
	{ "kernel-memory", 0, CLI_IGNORED_STRING, 0, "BYTES", "accepted, ignored" },
	{ "kernel-memory-tcp", 0, CLI_IGNORED_STRING, 0, "BYTES", "accepted, ignored" },
	CLI_END,
};

OWN_DEFINE(struct client *, client_close)

// "64m", "1.5GiB", "4096": units of 1024.
static bool parse_bytes(const char *text, int64_t *ret)
{
	static const char units[] = "kmgtp";
	size_t digits = strspn(text, "0123456789");
	const char *unit, *at = text + digits;
	double v;

	if (strcmp(text, "-1") == 0) {
		*ret = -1;
		return true;
	}
	if (*at == '.')
		at += 1 + strspn(at + 1, "0123456789");
	v = digits ? strtod(text, NULL) : -1;
	unit = *at ? strchr(units, tolower((unsigned char)*at)) : NULL;
	for (const char *u = units; unit && u <= unit; u++)
		v *= 1024;
	at += unit ? 1 : 0;
	at += unit && tolower((unsigned char)*at) == 'i';
	at += tolower((unsigned char)*at) == 'b';
	if (*at || v < 0 || v >= 9223372036854775808.0)
		return false;
	*ret = (int64_t)v;
	return true;
}

static bool parse_number(const char *text, bool is_signed)
{
	const char *digits = text + (is_signed && *text == '-');
	char *end;

	if (!isdigit((unsigned char)*digits) || (digits[0] == '0' && digits[1]))
		return false;
	errno = 0;
	if (is_signed)
		(void)strtoll(text, &end, 10); // only whether it is one
	else
		(void)strtoull(text, &end, 10); // as above
	return *end == '\0' && errno == 0;
}

static int put_value(struct json_out *o, unsigned i, const char *text, struct err *e)
{
	char bytes[24];
	int64_t v = 0;
	bool ok = values[i].kind == KIND_TEXT ? true
		  : values[i].kind == KIND_BYTES
			  ? parse_bytes(text, &v)
			  : parse_number(text, values[i].kind == KIND_SIGNED);

	if (!ok)
		return err_set(e, EINVAL, "invalid value for %s: \"%.60s\"", values[i].flag, text);
	json_out_key(o, values[i].key);
	(void)snprintf(bytes, sizeof(bytes), "%" PRId64, v); // fits
	if (values[i].kind == KIND_TEXT)
		json_out_str(o, text);
	else
		json_out_number(o, values[i].kind == KIND_BYTES ? bytes : text);
	return 0;
}

static int write_values(struct json_out *o, const struct update_options *u, struct err *e)
{
	const char *object = NULL;
	int r = 0;

	json_out_open(o, '{');
	for (unsigned i = 0; r == 0 && i < N_VALUES; i++) {
		if (!u->value[i])
			continue;
		if (!object || strcmp(object, values[i].object) != 0) {
			if (object)
				json_out_close(o, '}');
			object = values[i].object;
			json_out_key(o, object);
			json_out_open(o, '{');
		}
		r = put_value(o, i, u->value[i], e);
	}
	if (object)
		json_out_close(o, '}');
	json_out_close(o, '}');
	return r;
}

static int read_resources(const struct update_options *u, char **ret, size_t *ret_len,
			  struct err *e)
{
	struct json_out o;
	int r;

	if (u->resources)
		return io_read_file(AT_FDCWD,
				    strcmp(u->resources, "-") == 0 ? "/dev/stdin" : u->resources,
				    OCI_RESOURCES_BYTES_MAX, ret, ret_len, e);
	if (u->l3_cache_schema || u->mem_bw_schema)
		return err_set(e, EOPNOTSUPP, "%s: not supported: the guest has no such control",
			       u->l3_cache_schema ? "l3-cache-schema" : "mem-bw-schema");
	r = json_out_init(&o, NULL, e);
	if (r < 0)
		return r;
	r = write_values(&o, u, e);
	r = r < 0 ? r : json_out_take(&o, ret, ret_len, e);
	json_out_done(&o);
	return r;
}

static int run(const struct cli_globals *g, const void *opts, int argc, char **argv)
{
	struct client *cl AUTO(client_close) = NULL;
	char *json AUTO_FREE = NULL;
	size_t len;
	struct err e;

	(void)argc;
	if (read_resources(opts, &json, &len, &e) < 0 ||
	    client_reach(g->root, argv[0], "container not running", &cl, &e) < 0 ||
	    client_update(cl, argv[0], json, len, &e) < 0)
		return cli_fail(&e);
	return 0;
}

const struct cli_command cmd_update = {
	.name = "update",
	.args = "ID",
	.summary = "change the limits of a running container",
	.help = "   What is not given stays as it is. All of it is changed, or nothing and an error says why.\n"
		"   The size of the guest does not change: it bounds what a limit can give.\n\n"
		"      bulkhead update --memory 64m --pids-limit 100 ID\n"
		"      echo '{\"cpu\":{\"quota\":50000}}' | bulkhead update --resources - ID\n",
	.options = options,
	.options_size = sizeof(struct update_options),
	.args_min = 1,
	.args_max = 1,
	.run = run,
};
