// SPDX-License-Identifier: Apache-2.0
// linux.resources to cgroup v2: what is written where, what is refused in which words, and that a refused write undoes
// those before it.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/cgroup.h"
#include "agent/limits.h"
#include "base/err.h"
#include "base/io.h"
#include "oci/oci.h"

// A guest of three processors and one node; a group with a memory limit of 1000, of which 400 are used, and a quota of 7.
static const struct limits_now plain = {
	.cpus = { .v = { 0, 1, 4 }, .n = 3 },
	.mems = { .v = { 0 }, .n = 1 },
	.memory_max = 1000,
	.cpu_quota = 7,
	.memory_current = 400,
};

struct conversion {
	const char *json, *want; // "FILE=VALUE;", or "!" and the error
	bool swap, bfq, no_limit;
};

static const struct conversion conversions[] = {
	{ "{}", "" },
	{ "{\"memory\":{\"limit\":4096}}", "memory.max=4096;" },
	{ "{\"memory\":{\"limit\":-1}}", "memory.max=max;" },
	{ "{\"memory\":{\"limit\":0,\"reservation\":0,\"swap\":0}}", "" },
	{ "{\"memory\":{\"reservation\":5}}", "memory.low=5;" },
	{ "{\"memory\":{\"reservation\":-1}}", "memory.low=max;" },
	{ "{\"memory\":{\"limit\":4096,\"swap\":4096}}", "memory.max=4096;" },
	{ "{\"memory\":{\"limit\":4096,\"swap\":5000}}", "memory.max=4096;memory.swap.max=904;",
	  .swap = true },
	{ "{\"memory\":{\"limit\":4096,\"swap\":-1}}", "memory.max=4096;memory.swap.max=max;",
	  .swap = true },
	{ "{\"memory\":{\"swap\":1500}}", "memory.swap.max=500;", .swap = true },
	{ "{\"memory\":{\"swap\":900}}", "!linux.resources.memory.swap: below the memory limit" },
	{ "{\"memory\":{\"swap\":900}}",
	  "!linux.resources.memory.swap: cannot be set without a memory limit", .no_limit = true },
	{ "{\"memory\":{\"limit\":-1,\"swap\":900}}",
	  "!linux.resources.memory.swap: cannot be set without a memory limit" },
	{ "{\"memory\":{\"limit\":400,\"checkBeforeUpdate\":true}}",
	  "!rejecting memory limit 400 <= usage 400" },
	{ "{\"memory\":{\"swap\":1000,\"checkBeforeUpdate\":true}}", "" },
	{ "{\"memory\":{\"limit\":401,\"checkBeforeUpdate\":true}}", "memory.max=401;" },
	{ "{\"memory\":{\"limit\":300}}", "memory.max=300;" },
	{ "{\"cpu\":{\"shares\":0}}", "" },
	{ "{\"cpu\":{\"shares\":1}}", "cpu.weight=1;" },
	{ "{\"cpu\":{\"shares\":2}}", "cpu.weight=1;" },
	{ "{\"cpu\":{\"shares\":512}}", "cpu.weight=59;" },
	{ "{\"cpu\":{\"shares\":1024}}", "cpu.weight=100;" },
	{ "{\"cpu\":{\"shares\":2048}}", "cpu.weight=174;" },
	{ "{\"cpu\":{\"shares\":262144}}", "cpu.weight=10000;" },
	{ "{\"cpu\":{\"shares\":18446744073709551615}}", "cpu.weight=10000;" },
	{ "{\"cpu\":{\"quota\":50000}}", "cpu.max=50000;" }, // keeps the period
	{ "{\"cpu\":{\"quota\":-1}}", "cpu.max=max;" },
	{ "{\"cpu\":{\"quota\":0}}", "" },
	{ "{\"cpu\":{\"quota\":-1,\"period\":2000}}", "cpu.max=max 2000;" },
	{ "{\"cpu\":{\"quota\":50000,\"period\":200000}}", "cpu.max=50000 200000;" },
	{ "{\"cpu\":{\"period\":200000}}", "cpu.max=7 200000;" }, // keeps the quota
	{ "{\"cpu\":{\"burst\":0}}", "cpu.max.burst=0;" },
	{ "{\"cpu\":{\"burst\":1000}}", "cpu.max.burst=1000;" },
	{ "{\"cpu\":{\"idle\":1}}", "cpu.idle=1;" },
	{ "{\"cpu\":{\"realtimeRuntime\":5}}",
	  "!linux.resources.cpu.realtimeRuntime: not supported on cgroup v2" },
	{ "{\"cpu\":{\"realtimePeriod\":5}}",
	  "!linux.resources.cpu.realtimeRuntime: not supported on cgroup v2" },
	{ "{\"cpu\":{\"realtimeRuntime\":0,\"realtimePeriod\":0}}", "" },
	{ "{\"cpu\":{\"cpus\":\"1\"}}", "cpuset.cpus=1;" },
	{ "{\"cpu\":{\"cpus\":\"2\"}}", "cpuset.cpus=4;" },
	{ "{\"cpu\":{\"cpus\":\"0-1\"}}", "cpuset.cpus=0,1;" },
	{ "{\"cpu\":{\"cpus\":\"3,7\"}}", "cpuset.cpus=0,1;" }, // 3 % 3, 7 % 3
	{ "{\"cpu\":{\"cpus\":\"40-400\"}}", "cpuset.cpus=0,1,4;" },
	{ "{\"cpu\":{\"cpus\":\"\",\"mems\":\"0-1\"}}", "cpuset.mems=0;" },
	{ "{\"cpu\":{\"cpus\":\"1-\"}}", "!cpu.cpus: \"1-\" is not a list such as 0-3,5" },
	{ "{\"cpu\":{\"cpus\":\"3-1\"}}", "!cpu.cpus: \"3-1\" is not a list such as 0-3,5" },
	{ "{\"cpu\":{\"cpus\":\"0,\"}}", "!cpu.cpus: \"0,\" is not a list such as 0-3,5" },
	{ "{\"cpu\":{\"cpus\":\"0 1\"}}", "!cpu.cpus: \"0 1\" is not a list such as 0-3,5" },
	{ "{\"cpu\":{\"mems\":\"8192\"}}", "!cpu.mems: \"8192\" is not a list such as 0-3,5" },
	{ "{\"cpu\":{\"cpus\":\"99999999999999999999\"}}",
	  "!cpu.cpus: \"99999999999999999999\" is not a list such as 0-3,5" },
	{ "{\"pids\":{\"limit\":10}}", "pids.max=10;" },
	{ "{\"pids\":{\"limit\":-1}}", "pids.max=max;" },
	{ "{\"pids\":{\"limit\":0}}", "" },
	{ "{\"blockIO\":{\"weight\":10}}", "io.weight=1;" },
	{ "{\"blockIO\":{\"weight\":1000}}", "io.weight=10000;" },
	{ "{\"blockIO\":{\"weight\":500}}", "io.weight=4950;" },
	{ "{\"blockIO\":{\"weight\":500}}", "io.bfq.weight=500;", .bfq = true },
	{ "{\"blockIO\":{\"weight\":9}}", "!blockIO.weight: 9 is out of range (10 to 1000)" },
	{ "{\"blockIO\":{\"weightDevice\":[{\"major\":8,\"minor\":1,\"weight\":100}]}}",
	  "io.bfq.weight=8:1 100;", .bfq = true },
	{ "{\"blockIO\":{\"weightDevice\":[{\"major\":8,\"minor\":1,\"weight\":1}]}}",
	  "!blockIO.weightDevice[0].weight: 1 is out of range (10 to 1000)" },
	{ "{\"blockIO\":{\"throttleReadBpsDevice\":[{\"major\":8,\"minor\":0,\"rate\":1024}],"
	  "\"throttleWriteBpsDevice\":[{\"major\":8,\"minor\":0,\"rate\":0}],"
	  "\"throttleReadIOPSDevice\":[{\"major\":8,\"minor\":0,\"rate\":3}],"
	  "\"throttleWriteIOPSDevice\":[{\"major\":8,\"minor\":0,\"rate\":4}]}}",
	  "io.max=8:0 rbps=1024;io.max=8:0 wbps=max;io.max=8:0 riops=3;io.max=8:0 wiops=4;" },
	{ "{\"blockIO\":{\"throttleReadBpsDevice\":[{\"minor\":0,\"rate\":1}]}}",
	  "!blockIO.throttleReadBpsDevice[0].major: required, but absent" },
	{ "{\"hugepageLimits\":[{\"pageSize\":\"2MB\",\"limit\":4194304}]}",
	  "hugetlb.2MB.max=4194304;hugetlb.2MB.rsvd.max=4194304;" },
	{ "{\"rdma\":{\"mlx5_1\":{\"hcaHandles\":3,\"hcaObjects\":10000},\"x\":{}}}",
	  "rdma.max=mlx5_1 hca_handle=3 hca_object=10000;" },
	{ "{\"rdma\":{\"a b\":{\"hcaHandles\":3}}}", "!rdma: \"a b\" is not the name of a device" },
	{ "{\"unified\":{\"memory.high\":\"1g\"}}", "memory.high=1g;" },
	{ "{\"unified\":{\"cgroup.max.depth\":\"3\"}}", "cgroup.max.depth=3;" },
	{ "{\"unified\":{\"cgroup.procs\":\"0\"}}", "!unified: \"cgroup.procs\" is not a limit" },
	{ "{\"unified\":{\"../x\":\"0\"}}", "!unified: \"../x\" is not the name of a cgroup file" },
};

static void convert(const struct conversion *c)
{
	struct limits_now now = plain;
	struct oci_update *u = NULL;
	struct err e = { .msg = "" };
	struct limits l = { 0 };
	char got[1024] = "";

	now.has_swap = c->swap;
	now.has_bfq = c->bfq;
	now.memory_max = c->no_limit ? -1 : now.memory_max;
	if (oci_update_parse(c->json, strlen(c->json), &u, &e) < 0 ||
	    limits_plan(&u->r, &now, &l, &e) < 0)
		(void)snprintf(got, sizeof(got), "!%s", e.msg);
	else
		for (size_t i = 0; i < l.n; i++)
			(void)snprintf(got + strlen(got), sizeof(got) - strlen(got), "%s=%s;",
				       l.v[i].file, l.v[i].value);
	if (strcmp(got, c->want) != 0)
		fail_msg("%s: \"%s\", not \"%s\"", c->json, got, c->want);
	limits_done(&l);
	oci_update_free(u);
}

static void each_field(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(conversions) / sizeof(*conversions); i++)
		convert(&conversions[i]);
}

static void sets_of_the_kernel(void **state)
{
	struct limits_set s;

	(void)state;
	limits_set_read(&s, "0-2,5\n");
	assert_int_equal(s.n, 4);
	assert_int_equal(s.v[3], 5);
	limits_set_read(&s, "\n");
	assert_int_equal(s.n, 0);
	limits_set_read(&s, "0-x\n");
	assert_int_equal(s.n, 0);
	limits_set_read(&s, "0-8191\n");
	assert_int_equal(s.n, LIMITS_SET_MAX);
}

// ---- writing, to a directory of plain files
static int make_dir(char dir[64])
{
	(void)snprintf(dir, 64, "/tmp/limits-XXXXXX");
	assert_non_null(mkdtemp(dir));
	return open(dir, O_RDONLY | O_DIRECTORY);
}

static void make_file(int dir, const char *name, const char *text, mode_t mode)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC, mode);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	(void)close(fd);
}

static void is(int dir, const char *name, const char *want)
{
	char *text = NULL;

	assert_int_equal(io_read_file(dir, name, 4096, &text, NULL, NULL), 0);
	assert_int_equal(strncmp(text, want, strlen(want)), 0);
	free(text);
}

static int write_json(int dir, const char *json, struct err *e)
{
	struct oci_update *u = NULL;
	struct limits l;
	int r;

	assert_int_equal(oci_update_parse(json, strlen(json), &u, e), 0);
	assert_int_equal(limits_plan(&u->r, &plain, &l, e), 0);
	r = limits_write(dir, &l, e);
	limits_done(&l);
	oci_update_free(u);
	return r;
}

static void all_or_nothing(void **state)
{
	struct err e = { .msg = "" };
	char dir[64], command[100];
	int fd = make_dir(dir);

	(void)state;
	make_file(fd, "memory.max", "5\n", 0644);
	make_file(fd, "pids.max", "7\n", 0644);
	assert_int_equal(write_json(fd, "{\"memory\":{\"limit\":9},\"pids\":{\"limit\":8}}", &e),
			 0);
	is(fd, "memory.max", "9");
	is(fd, "pids.max", "8");
	// Not there: nothing is written.
	assert_true(write_json(fd,
			       "{\"memory\":{\"limit\":1},"
			       "\"hugepageLimits\":[{\"pageSize\":\"1GB\",\"limit\":0}]}",
			       &e) < 0);
	assert_string_equal(e.msg, "linux.resources.hugepageLimits: the guest kernel has no "
				   "hugetlb.1GB.max");
	is(fd, "memory.max", "9");
	// Refuses the write: what was written before it is put back.
	assert_int_equal(mkdirat(fd, "cpu.weight", 0755), 0);
	assert_true(write_json(fd, "{\"memory\":{\"limit\":1},\"cpu\":{\"shares\":2}}", &e) < 0);
	assert_string_equal(e.msg, "linux.resources.cpu.shares: writing '1' to cpu.weight: "
				   "is a directory");
	is(fd, "memory.max", "9");
	(void)close(fd);
	(void)snprintf(command, sizeof(command), "rm -rf %s", dir);
	assert_int_equal(system(command), 0);
}

static void paths(void **state)
{
	static const struct {
		const char *path, *want; // NULL: refused
	} table[] = {
		{ NULL, "/id" },
		{ "/docker/abc", "/docker/abc" },
		{ "rel/abc/", "/rel/abc" },
		{ "//a/./b", "/a/b" },
		{ "a:b:c/d", "/a:b:c/d" },
		{ "system.slice:docker:abc", "/system.slice/docker-abc.scope" },
		{ ":crio:abc", "/system.slice/crio-abc.scope" },
		{ "user.slice::abc", "/user.slice/abc.scope" },
		{ "machine.slice:x:my.slice", "/machine.slice/my.slice" },
		{ "a:b", "/a:b" },
		{ "a:b:", NULL },
		{ "/", NULL },
		{ "..", NULL },
		{ "/a/../../b", NULL },
		{ "/a\nb", NULL },
	};
	char long_name[300], got[CGROUP_PATH_BYTES];
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
		int r = cgroup_path(table[i].path, "id", got, &e);

		if ((r == 0) != (table[i].want != NULL) ||
		    (r == 0 && strcmp(got, table[i].want) != 0))
			fail_msg("%s: %s", table[i].path ? table[i].path : "(none)",
				 r == 0 ? got : e.msg);
	}
	memset(long_name, 'x', sizeof(long_name) - 1);
	long_name[sizeof(long_name) - 1] = '\0';
	assert_true(cgroup_path(long_name, "id", got, &e) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_field),
		cmocka_unit_test(sets_of_the_kernel),
		cmocka_unit_test(all_or_nothing),
		cmocka_unit_test(paths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
