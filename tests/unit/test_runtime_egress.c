// SPDX-License-Identifier: Apache-2.0
// Egress policies: JSON to lines that the VMM takes, and what is wrong with the others, by its path.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "runtime/egress.h"
#include "vmm/virtio/egress.h"

static void test_good(void **state)
{
	static const char json[] =
		"{\"resolvers\": [\"10.0.0.53\", \"fd00::53\"], \"allow\": ["
		"{\"cidr\": \"192.0.2.0/24\", \"protocol\": \"tcp\", \"ports\": [443, \"8000-8099\"]},"
		"{\"cidr\": \"fd00::1\", \"protocol\": \"icmp\"}, {\"name\": \"*.example.org\"}]}";
	static const char lines[] =
		"resolver 10.0.0.53\nresolver fd00::53\n"
		"allow tcp 192.0.2.0 24 443 443\nallow tcp 192.0.2.0 24 8000 8099\n"
		"allow icmp fd00::1 128 0 0\nname any *.example.org 0 65535\n";
	static const uint8_t mac[6] = { 2 };
	struct egress *g = NULL;
	struct err e = { 0 };
	char *text = NULL, got[sizeof(lines)] = "";
	int fd = -1;

	(void)state;
	assert_int_equal(egress_parse(json, strlen(json), &text, &e), 0);
	assert_string_equal(text, lines);
	assert_int_equal(egress_new(text, strlen(text), mac, &g, &e), 0);
	egress_free(g);
	assert_int_equal(egress_file(text, &fd, &e), 0);
	assert_int_equal(pread(fd, got, sizeof(got), 0), strlen(lines));
	assert_string_equal(got, lines);
	assert_int_equal(write(fd, "x", 1), -1); // sealed
	(void)close(fd);
	free(text);
}

static void test_bad(void **state)
{
	static const struct {
		const char *json, *message;
	} bad[] = {
		{ "[]", "object" },
		{ "{\"alow\": []}", "alow: unknown key" },
		{ "{\"resolvers\": [\"dns\"]}", "resolvers[0]: \"dns\" is not an address" },
		{ "{\"allow\": [{}]}", "allow[0]: expected either cidr or name" },
		{ "{\"allow\": [{\"cidr\": \"::/0\", \"name\": \"a\"}]}",
		  "allow[0]: expected either" },
		{ "{\"allow\": [{\"cidr\": \"10.0.0.0/33\"}]}", "allow[0].cidr: \"10.0.0.0/33\"" },
		{ "{\"allow\": [{\"cidr\": \"10.0.0.0/\"}]}", "allow[0].cidr: " },
		{ "{\"allow\": [{\"cidr\": \"10.0.0.0/8x\"}]}", "allow[0].cidr: " },
		{ "{\"allow\": [{\"cidr\": \"10.0.0/8\"}]}", "allow[0].cidr: " },
		{ "{\"allow\": [{\"name\": \"a\\nresolver 1.2.3.4\"}]}", "allow[0].name: " },
		{ "{\"allow\": [{\"name\": \"*\"}]}", "allow[0].name: " },
		{ "{\"allow\": [{\"name\": \"a..b\"}]}", "allow[0].name: " },
		{ "{\"allow\": [{\"name\": \"a\", \"protocol\": \"sctp\"}]}",
		  "allow[0].protocol: unknown value \"sctp\"" },
		{ "{\"allow\": [{\"name\": \"a\", \"port\": 1}]}", "allow[0].port: unknown key" },
		{ "{\"allow\": [{\"name\": \"a\", \"ports\": []}]}",
		  "allow[0].ports: expected a port" },
		{ "{\"resolvers\": [\"::ffff:10.0.0.1\"]}", "resolvers[0]: " },
		{ "{\"allow\": [{\"name\": \"a\", \"ports\": [65536]}]}", "allow[0].ports[0]: " },
		{ "{\"allow\": [{\"name\": \"a\", \"ports\": [1, \"2-1\"]}]}",
		  "allow[0].ports[1]: \"2-1\" is not a range" },
		{ "{\"allow\": [{\"name\": \"a\", \"protocol\": \"icmp\", \"ports\": [1]}]}",
		  "allow[0].ports: icmp has no ports" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct err e = { 0 };
		char *text = NULL;

		assert_true(egress_parse(bad[i].json, strlen(bad[i].json), &text, &e) < 0);
		if (!strstr(e.msg, bad[i].message))
			fail_msg("%s: %s", bad[i].json, e.msg);
		assert_null(text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_good),
					    cmocka_unit_test(test_bad) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
