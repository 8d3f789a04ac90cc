// SPDX-License-Identifier: Apache-2.0
// A process object with changes: what is changed, what stays, and that the result parses to what was asked for.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "oci/oci.h"

static const char process[] =
	"{\"terminal\": true, \"args\": [\"sleep\", \"1\"], \"env\": [\"PATH=/bin\", \"A=1\", \"AB=2\", \"EMPTY\"], \"cwd\": \"/\","
	" \"user\": {\"uid\": 7, \"gid\": 8, \"umask\": 18, \"additionalGids\": [3]}, \"unknown\": {\"kept\": [1.5, null]},"
	" \"capabilities\": {\"bounding\": [\"CAP_KILL\"], \"ambient\": [\"CAP_KILL\"]},"
	" \"rlimits\": [{\"type\": \"RLIMIT_CORE\", \"soft\": 0, \"hard\": 18446744073709551615}]}";

// The changed process, parsed again. *ret_json is the text.
static struct oci_config *change(const char *json, const struct oci_process_change *ch,
				 char **ret_json)
{
	struct oci_config *c = NULL, *changed = NULL;
	struct err e = { .msg = "" };
	size_t len = 0;

	assert_int_equal(oci_process_parse(json, strlen(json), &c, &e), 0);
	assert_int_equal(oci_process_rewrite(c, ch, ret_json, &len, &e), 0);
	oci_config_free(c);
	if (oci_process_parse(*ret_json, len, &changed, &e) < 0)
		fail_msg("%s: %s", e.msg, *ret_json);
	return changed;
}

static void nothing_changed(void **state)
{
	struct oci_process_change none = { 0 };
	char *json = NULL;
	struct oci_config *c = change(process, &none, &json);

	(void)state;
	assert_true(c->process.terminal);
	assert_int_equal(c->process.args.n, 2);
	assert_int_equal(c->process.env.n, 4);
	assert_int_equal(c->process.rlimits[0].hard, UINT64_MAX);
	assert_non_null(strstr(json, "\"unknown\":{\"kept\":[1.5,null]}"));
	oci_config_free(c);
	free(json);
}

static void all_changed(void **state)
{
	const char *args[] = { "sh", "-c", "x" }, *env[] = { "A=9", "NEW=" },
		   *caps[] = { "CAP_CHOWN" };
	uint32_t gids[] = { 4294967294u };
	struct oci_process_change ch = {
		.args = { args, 3 },
		.env = { env, 2 },
		.caps = { caps, 1 },
		.cwd = "/tmp",
		.gid = { .set = true, .v = 9 },
		.gids = gids,
		.n_gids = 1,
		.no_new_privileges = true,
		.set_terminal = true,
		.height = 25,
		.width = 80,
	};
	char *json = NULL;
	struct oci_config *c = change(process, &ch, &json);
	const struct oci_process *p = &c->process;

	(void)state;
	assert_false(p->terminal);
	assert_int_equal(p->args.n, 3);
	assert_string_equal(p->args.v[2], "x");
	assert_int_equal(p->env.n, 5);
	assert_string_equal(p->env.v[1], "AB=2"); // its name only begins like the replaced one
	assert_string_equal(p->env.v[2], "EMPTY");
	assert_string_equal(p->env.v[3], "A=9");
	assert_string_equal(p->cwd, "/tmp");
	assert_int_equal(p->uid, 7);
	assert_int_equal(p->gid, 9);
	assert_int_equal(p->umask.v, 18);
	assert_int_equal(p->n_additional_gids, 2);
	assert_int_equal(p->additional_gids[1], 4294967294u);
	assert_true(p->no_new_privileges);
	assert_int_equal(p->console_size.width, 80);
	assert_int_equal(p->capabilities.bounding.n, 2);
	assert_int_equal(p->capabilities.effective.n, 1);
	assert_int_equal(p->capabilities.inheritable.n, 0);
	assert_int_equal(p->capabilities.ambient.n, 1);
	oci_config_free(c);
	free(json);
}

static void of_a_whole_config(void **state)
{
	static const char config[] =
		"{\"ociVersion\": \"1.0.0\", \"root\": {\"path\": \"r\"}, \"process\": {\"args\": [\"a\"], \"cwd\": \"/\"}}";
	static const char bare[] = "{\"ociVersion\": \"1.0.0\", \"root\": {\"path\": \"r\"}}";
	struct oci_process_change ch = { .cwd = "/x" };
	struct oci_config *c = NULL;
	struct err e = { .msg = "" };
	char *json = NULL;
	size_t len = 0;

	(void)state;
	assert_int_equal(oci_config_parse(config, sizeof(config) - 1, &c, &e), 0);
	assert_int_equal(oci_process_rewrite(c, &ch, &json, &len, &e), 0);
	assert_string_equal(json, "{\"args\":[\"a\"],\"cwd\":\"/x\"}");
	oci_config_free(c);
	free(json);
	assert_int_equal(oci_config_parse(bare, sizeof(bare) - 1, &c, &e), 0);
	assert_int_equal(oci_process_rewrite(c, &ch, &json, &len, &e), -EINVAL);
	assert_string_equal(e.msg, "process: required, but absent");
	oci_config_free(c);
}

static void bad_processes(void **state)
{
	static const struct {
		const char *json, *message;
	} rows[] = {
		{ "{\"args\": [], \"cwd\": \"/\"}", "args: must not be empty" },
		{ "{\"args\": [\"a\"], \"cwd\": \"x\"}", "cwd: " },
		{ "{\"args\": [\"a\"]}", "cwd: " },
		{ "[]", "expected an object" },
		{ "{", "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct oci_config *c = NULL;
		struct err e = { .msg = "" };

		assert_int_equal(oci_process_parse(rows[i].json, strlen(rows[i].json), &c, &e),
				 -EINVAL);
		assert_null(c);
		if (!strstr(e.msg, rows[i].message))
			fail_msg("%s: \"%s\"", rows[i].json, e.msg);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_changed),
		cmocka_unit_test(all_changed),
		cmocka_unit_test(of_a_whole_config),
		cmocka_unit_test(bad_processes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
