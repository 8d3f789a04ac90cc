// SPDX-License-Identifier: Apache-2.0
// Options of the command line: every kind, every way to write one, and the user option of exec.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "runtime/cli.h"
#include "runtime/exec.h"

struct dest {
	bool flag;
	const char *word;
	struct cli_list list;
};
static const struct cli_option table[] = {
	{ "flag", 'f', CLI_FLAG, offsetof(struct dest, flag), NULL, "" },
	{ "word", 'w', CLI_STRING, offsetof(struct dest, word), "W", "" },
	{ "list", 'l', CLI_LIST, offsetof(struct dest, list), "L", "" },
	{ "gone", 0, CLI_IGNORED_STRING, 0, "G", "" },
	CLI_END,
};

static int parse(struct dest *d, int *used, struct err *e, int argc, const char **argv)
{
	char *words[16];
	bool help = false;

	memcpy(words, argv, sizeof(*argv) * (size_t)argc);
	return cli_parse(table, d, argc, words, used, &help, e);
}
#define PARSE(d, used, e, ...)                                                      \
	parse(d, used, e, sizeof((const char *[]){ __VA_ARGS__ }) / sizeof(char *), \
	      (const char *[]){ __VA_ARGS__ })

static void lists(void **state)
{
	struct dest d = { 0 };
	struct err e;
	int used;

	(void)state;
	assert_int_equal(PARSE(&d, &used, &e, "-l", "a", "--list=b", "--flag", "-list", "",
			       "--gone", "x", "--", "-l", "c"),
			 0);
	assert_int_equal(used, 9);
	assert_true(d.flag);
	assert_int_equal(d.list.n, 3);
	assert_string_equal(d.list.v[0], "a");
	assert_string_equal(d.list.v[1], "b");
	assert_string_equal(d.list.v[2], "");
	cli_free_lists(table, &d);
}

static void errors(void **state)
{
	struct dest d = { 0 };
	struct err e;
	int used;

	(void)state;
	assert_int_equal(PARSE(&d, &used, &e, "-l", "a", "--list"), -EINVAL);
	assert_string_equal(e.msg, "flag needs an argument: -list");
	assert_int_equal(PARSE(&d, &used, &e, "--lists", "a"), -EINVAL);
	assert_string_equal(e.msg, "flag provided but not defined: -lists");
	assert_int_equal(PARSE(&d, &used, &e, "--flag=maybe"), -EINVAL);
	cli_free_lists(table, &d);
}

static void users(void **state)
{
	static const struct {
		const char *text;
		int r;
		int64_t uid, gid; // -1: not set
	} rows[] = {
		{ "0", 0, 0, -1 },
		{ "1000:1001", 0, 1000, 1001 },
		{ "4294967294:0", 0, 4294967294, 0 },
		{ "4294967295", -EINVAL, -1, -1 },
		{ "18446744073709551616", -EINVAL, -1, -1 },
		{ "", -EINVAL, -1, -1 },
		{ ":1", -EINVAL, -1, -1 },
		{ "1:", -EINVAL, -1, -1 },
		{ "1:2:3", -EINVAL, -1, -1 },
		{ "-1", -EINVAL, -1, -1 },
		{ "+1", -EINVAL, -1, -1 },
		{ " 1", -EINVAL, -1, -1 },
		{ "root", -EINVAL, -1, -1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct oci_opt_u32 uid = { 0 }, gid = { 0 };
		struct err e;

		if (exec_parse_user(rows[i].text, &uid, &gid, &e) != rows[i].r)
			fail_msg("%s", rows[i].text);
		assert_int_equal(uid.set ? (int64_t)uid.v : -1, rows[i].uid);
		assert_int_equal(gid.set ? (int64_t)gid.v : -1, rows[i].gid);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lists),
		cmocka_unit_test(errors),
		cmocka_unit_test(users),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
