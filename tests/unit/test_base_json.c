// SPDX-License-Identifier: Apache-2.0
// JSON: what the parse refuses beyond yajl, paths in messages, number ranges, the generator.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/json.h"

static yajl_val parse(const char *text)
{
	yajl_val v = NULL;
	struct err e = { .msg = "" };

	if (json_parse(text, strlen(text), 16, &v, &e) < 0)
		fail_msg("%s: %s", text, e.msg);
	return v;
}

static void refused_texts(void **state)
{
	static const struct {
		const char *text;
		size_t len; // 0: strlen
		const char *says;
	} bad[] = {
		{ "", 0, "parse error: premature EOF" },
		{ "{", 0, "parse error: premature EOF" },
		{ "{}x", 0, "parse error: trailing garbage" },
		{ "{} {}", 0, "parse error: trailing garbage" },
		{ "{\"a\":\0}", 7, "invalid character: a NUL byte at offset 5" },
		{ "[\"\\u0000\"]", 0, "invalid string: \\u0000 at offset 2" },
		{ "[\"\\\\\\u0000\"]", 0, "invalid string: \\u0000 at offset 4" },
		{ "[\"\xff\"]", 0, "lexical error: invalid bytes in UTF8 string." },
		{ "/* \" */[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]", 0,
		  "invalid character '/' at offset 0" },
		{ "[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]", 0, "nested deeper than 16 levels" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		yajl_val v = NULL;
		struct err e = { .msg = "" };

		assert_int_equal(json_parse(bad[i].text,
					    bad[i].len ? bad[i].len : strlen(bad[i].text), 16, &v,
					    &e),
				 -EINVAL);
		assert_string_equal(e.msg, bad[i].says);
	}
}

static void accepted_texts(void **state)
{
	(void)state;
	yajl_tree_free(parse("[\"\\\\u0000 is text\", \"[[[[[[[[[[[[[[[[[[[[\"]"));
	yajl_tree_free(parse("[[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[]]"));
}

static void paths(void **state)
{
	yajl_val v = parse("{\"a\":[{\"b c\":{\"d\":1}}]}");
	struct json_at top = json_top(v), a, item, bc, d;
	struct err e;
	const char *s;

	(void)state;
	assert_true(json_member(&top, "a", &a));
	item = json_item(&a, 0);
	assert_true(json_member(&item, "b c", &bc));
	assert_true(json_member(&bc, "d", &d));
	assert_int_equal(json_string(&d, 10, &s, &e), -EINVAL);
	assert_string_equal(e.msg, "a[0][\"b c\"].d: expected a string");
	assert_int_equal(json_is_array(&top, 1, &(size_t){ 0 }, &e), -EINVAL);
	assert_string_equal(e.msg, "expected an array");
	assert_false(json_member(&top, "zz", &d));
	assert_int_equal(json_err(&d, &e, "gone"), -EINVAL);
	assert_string_equal(e.msg, "zz: gone");
	yajl_tree_free(v);
}

static void members(void **state)
{
	yajl_val v = parse("{\"a\":1,\"a\":2,\"n\":null}");
	struct json_at top = json_top(v), at;
	uint64_t n = 0;

	(void)state;
	assert_true(json_member(&top, "a", &at)); // the last of equal names
	assert_int_equal(json_u64(&at, 10, &n, NULL), 0);
	assert_int_equal(n, 2);
	assert_false(json_member(&top, "n", &at)); // null is absent
	yajl_tree_free(v);
}

static void numbers(void **state)
{
	yajl_val v =
		parse("[18446744073709551615, 18446744073709551616, -1, 1e3, -9223372036854775808, "
		      "9223372036854775808, 1.0, \"1\", true]");
	struct json_at top = json_top(v);
	struct err e;
	uint64_t u = 0;
	int64_t s = 0;

	(void)state;
#define AT(i) (&(struct json_at){ .up = &top, .index = (i), .v = v->u.array.values[i] })
	assert_int_equal(json_u64(AT(0), UINT64_MAX, &u, &e), 0);
	assert_true(u == UINT64_MAX);
	assert_int_equal(json_u64(AT(0), UINT32_MAX, &u, &e), -EINVAL);
	assert_int_equal(json_u64(AT(1), UINT64_MAX, &u, &e), -EINVAL);
	assert_string_equal(
		e.msg, "[1]: 18446744073709551616 is out of range (at most 18446744073709551615)");
	assert_int_equal(json_u64(AT(2), UINT64_MAX, &u, &e), -EINVAL);
	assert_int_equal(json_u64(AT(3), UINT64_MAX, &u, &e), -EINVAL);
	assert_int_equal(json_i64(AT(4), INT64_MIN, INT64_MAX, &s, &e), 0);
	assert_true(s == INT64_MIN);
	assert_int_equal(json_i64(AT(5), INT64_MIN, INT64_MAX, &s, &e), -EINVAL);
	assert_int_equal(json_i64(AT(6), INT64_MIN, INT64_MAX, &s, &e), -EINVAL);
	assert_int_equal(json_i64(AT(7), INT64_MIN, INT64_MAX, &s, &e), -EINVAL);
	assert_int_equal(json_i64(AT(8), INT64_MIN, INT64_MAX, &s, &e), -EINVAL);
#undef AT
	yajl_tree_free(v);
}

static void generator(void **state)
{
	struct json_out o;
	struct err e;
	char *text = NULL;
	size_t len = 0;

	(void)state;
	assert_int_equal(json_out_init(&o, NULL, &e), 0);
	json_out_open(&o, '{');
	json_out_kstr(&o, "s", "a\"\\\n/\xc3\xa9");
	json_out_kstr(&o, "none", NULL);
	json_out_kint(&o, "i", INT64_MIN);
	json_out_kbool(&o, "b", true);
	json_out_key(&o, "l");
	json_out_literal(&o, "null");
	json_out_close(&o, '}');
	assert_int_equal(json_out_take(&o, &text, &len, &e), 0);
	assert_string_equal(
		text,
		"{\"s\":\"a\\\"\\\\\\n/\xc3\xa9\",\"i\":-9223372036854775808,\"b\":true,\"l\":null}");
	free(text);
	json_out_done(&o);

	assert_int_equal(json_out_init(&o, NULL, &e), 0);
	json_out_str(&o, "\xff"); // not UTF-8: remembered until the end
	assert_int_equal(json_out_take(&o, &text, &len, &e), -EINVAL);
	json_out_done(&o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refused_texts), cmocka_unit_test(accepted_texts),
		cmocka_unit_test(paths),         cmocka_unit_test(members),
		cmocka_unit_test(numbers),       cmocka_unit_test(generator),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
