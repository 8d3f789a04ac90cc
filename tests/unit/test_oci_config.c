// SPDX-License-Identifier: Apache-2.0
// config.json by data: tests/config/pass-*.json parse, fail-*.json give exactly the message in their .err. Then what the
// structs hold for the full example, and that a rewrite changes what it says and nothing else.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/err.h"
#include "base/io.h"
#include "oci/oci.h"

// Tests run from the top of the tree (make check) or from anywhere below it.
static void data_path(char *buf, size_t room, const char *name)
{
	const char *slash = strrchr(__FILE__, '/');

	(void)snprintf(buf, room, "%.*s/../config/%s", (int)(slash - __FILE__), __FILE__, name);
}

static struct oci_config *parse_file(const char *path, struct err *e)
{
	struct oci_config *c = NULL;
	char *text = NULL;
	size_t len = 0;

	assert_int_equal(io_read_file(AT_FDCWD, path, 1 << 24, &text, &len, NULL), 0);
	(void)oci_config_parse(text, len, &c, e); // c tells
	free(text);
	return c;
}

static void passes(void **state)
{
	char pattern[4096];
	glob_t g;

	(void)state;
	data_path(pattern, sizeof(pattern), "pass-*.json");
	assert_int_equal(glob(pattern, 0, NULL, &g), 0);
	assert_true(g.gl_pathc >= 7);
	for (size_t i = 0; i < g.gl_pathc; i++) {
		struct err e = { .msg = "" };
		struct oci_config *c = parse_file(g.gl_pathv[i], &e);

		if (!c)
			fail_msg("%s: %s", g.gl_pathv[i], e.msg);
		oci_config_free(c);
	}
	globfree(&g);
}

static void fails(void **state)
{
	char pattern[4096];
	glob_t g;

	(void)state;
	data_path(pattern, sizeof(pattern), "fail-*.json");
	assert_int_equal(glob(pattern, 0, NULL, &g), 0);
	assert_true(g.gl_pathc >= 60);
	for (size_t i = 0; i < g.gl_pathc; i++) {
		char want_path[4096], *want = NULL;
		struct err e = { .msg = "" };
		struct oci_config *c = parse_file(g.gl_pathv[i], &e);

		if (c)
			fail_msg("%s: parsed", g.gl_pathv[i]);
		(void)snprintf(want_path, sizeof(want_path), "%.*s.err",
			       (int)strlen(g.gl_pathv[i]) - 5, g.gl_pathv[i]);
		assert_int_equal(io_read_file(AT_FDCWD, want_path, 65536, &want, NULL, NULL), 0);
		want[strcspn(want, "\n")] = '\0';
		if (strcmp(e.msg, want) != 0)
			fail_msg("%s: said \"%s\", not \"%s\"", g.gl_pathv[i], e.msg, want);
		assert_true(e.code != 0);
		free(want);
	}
	globfree(&g);
}

static void full_values(void **state)
{
	char path[4096];
	struct err e = { .msg = "" };
	struct oci_config *c;
	const struct oci_resources *r;

	(void)state;
	data_path(path, sizeof(path), "pass-full.json");
	c = parse_file(path, &e);
	assert_non_null(c);
	assert_int_equal(c->process.uid, 4294967295u);
	assert_int_equal(c->process.umask.v, 022);
	assert_int_equal(c->process.n_additional_gids, 2);
	assert_int_equal(c->process.additional_gids[1], 2);
	assert_string_equal(c->process.env.v[0], "A=b");
	assert_null(c->process.env.v[1]);
	assert_int_equal(c->process.rlimits[0].resource, RLIMIT_NOFILE);
	assert_true(c->process.rlimits[0].hard == UINT64_MAX);
	assert_int_equal(c->process.oom_score_adj.v, -998);
	assert_int_equal(c->n_mounts, 2);
	assert_false(c->mounts[0].bind);
	assert_true(c->mounts[1].bind && c->mounts[1].rbind);
	assert_string_equal(oci_map_get(&c->annotations, "io.x/y"), "z");
	assert_null(oci_map_get(&c->annotations, "io.x"));
	assert_int_equal(c->hooks[OCI_HOOK_PRESTART].n, 1);
	assert_int_equal(c->hooks[OCI_HOOK_PRESTART].v[0].timeout.v, 5);
	for (int i = 0; i < OCI_NS_KINDS; i++)
		assert_true(c->lin.ns[i].present && !c->lin.ns[i].path);
	assert_int_equal(c->lin.devices[0].type, 'c');
	assert_int_equal(c->lin.devices[1].type, 'p');
	r = &c->lin.resources;
	assert_int_equal(r->n_devices, 2);
	assert_int_equal(r->devices[0].major, -1);
	assert_true(r->devices[1].read && r->devices[1].write && !r->devices[1].mknod);
	assert_int_equal(r->memory_reservation.v, -1);
	assert_int_equal(r->cpu_quota.v, -1);
	assert_false(r->cpu_idle.set);
	assert_string_equal(r->unified.v[0].key, "memory.high");
	assert_non_null(c->lin.seccomp);
	assert_int_equal(c->lin.seccomp->default_action, OCI_SCMP_ERRNO);
	assert_int_equal(c->lin.seccomp->rules[1].action, OCI_SCMP_KILL_THREAD);
	assert_true(c->lin.seccomp->rules[1].args[0].value == UINT64_MAX);
	assert_int_equal(c->lin.seccomp->flags, OCI_SCMP_FLAG_LOG);
	oci_config_free(c);
}

static void running_values(void **state)
{
	char path[4096];
	struct err e = { .msg = "" };
	struct oci_config *c;
	uint64_t bits[2];

	(void)state;
	data_path(path, sizeof(path), "pass-running.json");
	c = parse_file(path, &e);
	assert_non_null(c);
	assert_true(c->process.scheduler.set);
	assert_int_equal(c->process.scheduler.policy, 6);
	assert_int_equal(c->process.scheduler.flags, 2);
	assert_int_equal(c->process.scheduler.deadline, 20);
	assert_int_equal(c->process.io_priority.io_class, 3);
	assert_string_equal(c->process.affinity_initial, "0-1,5");
	assert_true(c->lin.time_offset[OCI_CLOCK_MONOTONIC].secs == -5);
	assert_int_equal(c->lin.time_offset[OCI_CLOCK_MONOTONIC].nanosecs, 999999999);
	assert_true(c->lin.time_offset[OCI_CLOCK_BOOTTIME].set);
	assert_true(c->lin.has_personality && c->lin.linux32);
	assert_int_equal(c->lin.memory_policy.mode, 3);
	assert_int_equal(c->lin.memory_policy.flags, 1 << 15);
	assert_true(c->lin.memory_policy.nodes[0] == 7 && c->lin.memory_policy.nodes[1] == 64);
	oci_config_free(c);
	assert_int_equal(oci_list_bits("0,63-65,127", bits, 2), 0);
	assert_true(bits[0] == (1ull | 1ull << 63) && bits[1] == (3ull | 1ull << 63));
	assert_int_equal(oci_list_bits("128", bits, 2), -EINVAL);
	assert_int_equal(oci_list_bits("", bits, 2), -EINVAL);
	assert_int_equal(oci_list_bits("1,", bits, 2), -EINVAL);
	assert_int_equal(oci_list_bits("99999999999999999999", bits, 2), -EINVAL);
}

static void rewrite_changes_only_sources(void **state)
{
	static const char in[] =
		"{\"ociVersion\":\"1.0.0\",\"x\":[1.50,null,true,-0,12345678901234567890],"
		"\"root\":{\"path\":\"r\",\"k\":\"\\u00e9/\"},"
		"\"mounts\":[{\"destination\":\"/a\",\"source\":\"s\",\"options\":[\"bind\"]},"
		"{\"destination\":\"/b\"},{\"destination\":\"/dev/shm\",\"source\":\"/x\",\"options\":[\"bind\"]}]}";
	static const char out[] =
		"{\"ociVersion\":\"1.0.0\",\"x\":[1.50,null,true,-0,12345678901234567890],"
		"\"root\":{\"path\":\"/new\",\"k\":\"\xc3\xa9/\"},"
		"\"mounts\":[{\"destination\":\"/a\",\"source\":\"/guest/0\",\"options\":[\"bind\"]},"
		"{\"destination\":\"/b\"},{\"destination\":\"/dev/shm\",\"type\":\"tmpfs\",\"source\":\"shm\","
		"\"options\":[\"nosuid\",\"noexec\",\"nodev\",\"mode=1777\",\"size=65536k\"]}]}";
	struct oci_rewrite_mount mounts[3] = { { .source = "/guest/0" },
					       { .source = NULL },
					       { .shm = true } };
	struct oci_rewrite rw = { .root_path = "/new", .mounts = mounts };
	struct oci_config *c = NULL;
	struct err e = { .msg = "" };
	char *json = NULL;
	size_t len = 0;

	(void)state;
	assert_int_equal(oci_config_parse(in, strlen(in), &c, &e), 0);
	assert_int_equal(oci_config_rewrite(c, &rw, &json, &len, &e), 0);
	assert_string_equal(json, out);
	assert_int_equal(len, strlen(out));
	free(json);
	oci_config_free(c);
}

static void limits(void **state)
{
	static const char head[] =
		"{\"ociVersion\":\"1.0.0\",\"root\":{\"path\":\"r\"},\"mounts\":[";
	struct oci_config *c = NULL;
	struct err e = { .msg = "" };
	char *text = malloc(sizeof(head) + 10000 * 32), *p;

	(void)state;
	assert_non_null(text);
	p = stpcpy(text, head);
	for (int i = 0; i < 10000; i++)
		p = stpcpy(p, i ? ",{\"destination\":\"/a\"}" : "{\"destination\":\"/a\"}");
	p = stpcpy(p, "]}");
	assert_int_equal(oci_config_parse(text, (size_t)(p - text), &c, &e), -EINVAL);
	assert_string_equal(e.msg, "mounts: 10000 elements, at most 8192 are allowed");
	assert_int_equal(oci_config_parse(text, (size_t)OCI_CONFIG_BYTES_MAX + 1, &c, &e), -EFBIG);
	free(text);
}

static void default_spec_parses(void **state)
{
	struct oci_config *c = NULL;
	struct err e = { .msg = "" };
	const char *text = oci_spec_default();

	(void)state;
	if (oci_config_parse(text, strlen(text), &c, &e) < 0)
		fail_msg("%s", e.msg);
	assert_true(c->process.terminal && c->root.readonly && c->n_mounts == 7);
	oci_config_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(passes),
		cmocka_unit_test(fails),
		cmocka_unit_test(full_values),
		cmocka_unit_test(running_values),
		cmocka_unit_test(rewrite_changes_only_sources),
		cmocka_unit_test(limits),
		cmocka_unit_test(default_spec_parses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
