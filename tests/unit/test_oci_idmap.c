// SPDX-License-Identifier: Apache-2.0
// Maps of ids: their text, and looking one up at every edge.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>

#include "oci/oci.h"

static struct oci_id_map lines[] = { { 0, 100000, 10 }, { 10, 5, 1 }, { 4294967290u, 7, 5 } };
static const struct oci_id_maps maps = { lines, 3 };

static void text(void **state)
{
	char buf[OCI_ID_MAPS_BYTES];

	(void)state;
	assert_int_equal(oci_id_maps_text(&maps, buf), 0);
	assert_string_equal(buf, "0 100000 10\n10 5 1\n4294967290 7 5\n");
}

static void too_many(void **state)
{
	static struct oci_id_map many[340];
	const struct oci_id_maps m = { many, 340 };
	char buf[OCI_ID_MAPS_BYTES];

	(void)state;
	for (unsigned i = 0; i < 340; i++)
		many[i] = (struct oci_id_map){ 1000000000u + i, 1000000000u, 1 };
	assert_int_equal(oci_id_maps_text(&m, buf), -E2BIG);
}

static void look_up(void **state)
{
	static const struct {
		uint32_t id, want;
		int r;
	} cases[] = {
		{ 0, 100000, 0 },
		{ 9, 100009, 0 },
		{ 10, 5, 0 },
		{ 11, 0, -ENOENT },
		{ 4294967289u, 0, -ENOENT },
		{ 4294967290u, 7, 0 },
		{ 4294967294u, 11, 0 },
		{ 4294967295u, 0, -ENOENT },
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		uint32_t got = 0;

		assert_int_equal(oci_id_maps_host(&maps, cases[i].id, &got), cases[i].r);
		assert_int_equal(got, cases[i].want);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text),
		cmocka_unit_test(too_many),
		cmocka_unit_test(look_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
