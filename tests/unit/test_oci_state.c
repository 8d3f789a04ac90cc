// SPDX-License-Identifier: Apache-2.0
// The state document: key order, what is left out, times; and that features is JSON.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/json.h"
#include "oci/oci.h"

static void indented(void **state)
{
	struct oci_pair pairs[] = { { "k", "v" } };
	struct oci_map annotations = { .v = pairs, .n = 1 };
	struct oci_state s = { .id = "x",
			       .status = "running",
			       .bundle = "/b",
			       .rootfs = "/b/r",
			       .created = "now",
			       .owner = "root",
			       .pid = 42,
			       .annotations = &annotations };
	struct err e;
	char *text = NULL;
	size_t len = 0;

	(void)state;
	assert_int_equal(oci_state_print(&s, &text, &len, &e), 0);
	assert_string_equal(text, "{\n"
				  "  \"ociVersion\": \"" OCI_VERSION "\",\n"
				  "  \"id\": \"x\",\n"
				  "  \"pid\": 42,\n"
				  "  \"status\": \"running\",\n"
				  "  \"bundle\": \"/b\",\n"
				  "  \"rootfs\": \"/b/r\",\n"
				  "  \"created\": \"now\",\n"
				  "  \"annotations\": {\n"
				  "    \"k\": \"v\"\n"
				  "  },\n"
				  "  \"owner\": \"root\"\n"
				  "}");
	assert_int_equal(len, strlen(text));
	free(text);
}

static void compact_leaves_out(void **state)
{
	struct oci_map none = { 0 };
	struct oci_state s = {
		.id = "x", .status = "stopped", .bundle = "/b", .annotations = &none
	};
	struct err e;
	char *text = NULL;

	(void)state;
	assert_int_equal(oci_state_print_compact(&s, &text, NULL, &e), 0);
	assert_string_equal(text,
			    "{\"ociVersion\":\"" OCI_VERSION
			    "\",\"id\":\"x\",\"pid\":0,\"status\":\"stopped\",\"bundle\":\"/b\"}");
	free(text);
}

static void times(void **state)
{
	static const struct {
		int64_t s;
		uint32_t ns;
		const char *text;
	} t[] = {
		{ 0, 0, "1970-01-01T00:00:00Z" },
		{ 1767323045, 123456789, "2026-01-02T03:04:05.123456789Z" },
		{ 1767323045, 120000000, "2026-01-02T03:04:05.12Z" },
		{ 1767323045, 1, "2026-01-02T03:04:05.000000001Z" },
		{ INT64_MAX, 0, "0001-01-01T00:00:00Z" },
	};
	char buf[OCI_TIME_BYTES];

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		oci_time_print(t[i].s, t[i].ns, buf);
		assert_string_equal(buf, t[i].text);
	}
}

static void features_parse(void **state)
{
	struct json_at top, at;
	yajl_val v = NULL;
	struct err e;
	char *text = NULL;
	size_t len = 0;

	(void)state;
	assert_int_equal(oci_features_print("9.9", &text, &len, &e), 0);
	assert_int_equal(text[len - 1], '\n');
	assert_int_equal(json_parse(text, len, 16, &v, &e), 0);
	top = json_top(v);
	assert_true(json_member(&top, "linux", &at));
	assert_true(json_member(&top, "mountOptions", &at));
	yajl_tree_free(v);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(indented),
		cmocka_unit_test(compact_leaves_out),
		cmocka_unit_test(times),
		cmocka_unit_test(features_parse),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
