// SPDX-License-Identifier: Apache-2.0
// The host's configuration: what several documents come to, comments, and what they allow a bundle. The errors of a bad file
// are in tests/cli/host-config.bats.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "runtime/host_config.h"
#include "runtime/host_file.h"
#include "runtime/sizing.h"

static struct host_config *parse(const char *const *texts, size_t n)
{
	struct host_config *h = NULL;
	struct err e;

	if (host_config_parse(texts, n, &h, &e) < 0)
		fail_msg("%s", e.msg);
	return h;
}

static void without_a_file(void **state)
{
	struct host_config *h = parse(NULL, 0);
	char real[PATH_MAX];

	(void)state;
	assert_int_equal(h->defaults.vcpus, 1);
	assert_int_equal(h->defaults.memory, SIZING_MEMORY_DEFAULT);
	assert_int_equal(h->maxima.vcpus, 8);
	assert_true(h->maxima.memory >= SIZING_MEMORY_MIN);
	assert_null(h->defaults.kernel);
	assert_int_equal(host_allow_vm(h, HOST_VM_VCPUS, NULL), 0);
	assert_int_equal(host_allow_vm(h, HOST_VM_MEMORY, NULL), 0);
	assert_int_equal(host_allow_annotation(h, HOST_ANNOTATION_VCPUS, NULL), 0);
	assert_int_equal(host_allow_annotation(h, HOST_ANNOTATION_MEMORY, NULL), 0);
	assert_int_equal(host_allow_annotation(h, HOST_ANNOTATION_HYPERVISOR, NULL), -EPERM);
	assert_int_equal(host_allow_path(h, HOST_VM_KERNEL_PATH, "/dev/null", real, NULL), -EPERM);
	assert_int_equal(host_allow_parameter(h, "debug", NULL), -EPERM);
	host_config_free(h);
}

static void later_keys_win(void **state)
{
	const char *const texts[] = {
		"{\"defaults\": {\"memory\": \"64Mi\", \"kernel\": \"/a\"}, \"maxima\": {\"vcpus\": 2, \"memory\": \"1G\"}}",
		"{\"allow\": {\"vm\": [\"kernel.path\"], \"kernelPaths\": [\"/a\", \"/b\"]}}",
		"{\"defaults\": {\"memory\": 104857600}, \"allow\": {\"kernelPaths\": [\"/c\"]}}",
		"{\"maxima\": {\"vcpus\": 3}, \"allow\": {\"vm\": []}}",
	};
	struct host_config *h = parse(texts, 4);

	(void)state;
	assert_int_equal(h->defaults.memory, 100 << 20);
	assert_string_equal(h->defaults.kernel, "/a");
	assert_int_equal(h->maxima.vcpus, 3);
	assert_int_equal(h->maxima.memory, 1 << 30);
	assert_int_equal(h->allow.kernel_paths.n, 1);
	assert_string_equal(h->allow.kernel_paths.v[0], "/c");
	assert_int_equal(h->allow.vm, 0);
	host_config_free(h);
}

static void paths_are_resolved(void **state)
{
	char dir[] = "/tmp/bulkhead-test-XXXXXX", real[PATH_MAX], text[512], path[8][64];
	static const char *const tail[] = { "in/a",        "in/deep/b", "out/c", "in/link",
					    "in/../out/c", "in/none",   "x.elf", "in/../x.elf" };
	static const bool good[] = { true, true, false, false, false, false, true, true };
	const char *texts[] = { text };
	struct host_config *h;

	(void)state;
	assert_non_null(mkdtemp(dir));
	for (unsigned i = 0; i < 8; i++)
		(void)snprintf(path[i], sizeof(path[i]), "%s/%s", dir, tail[i]);
	(void)snprintf(
		text, sizeof(text),
		"{\"allow\": {\"vm\": [\"kernel.path\"], \"kernelPaths\": [\"%s/in/\", \"%s/*.elf\"]}}",
		dir, dir);
	assert_int_equal(chdir(dir), 0);
	assert_int_equal(mkdir("in", 0700) | mkdir("in/deep", 0700) | mkdir("out", 0700), 0);
	for (unsigned i = 0; i < 7; i++) {
		FILE *f = i == 3 || i == 4 || i == 5 ? NULL : fopen(path[i], "w");

		if (f)
			(void)fclose(f); // empty
	}
	assert_int_equal(symlink("../out/c", "in/link"), 0);
	h = parse(texts, 1);
	for (unsigned i = 0; i < 8; i++) {
		struct err e;
		int r = host_allow_path(h, HOST_VM_KERNEL_PATH, path[i], real, &e);

		if (r != (good[i] ? 0 : -EPERM))
			fail_msg("%s: %d %s", path[i], r, r < 0 ? e.msg : real);
		if (good[i])
			assert_null(strstr(real, ".."));
	}
	// The other members have lists of their own.
	assert_int_equal(host_allow_path(h, HOST_VM_KERNEL_INITRD, path[0], real, NULL), -EPERM);
	host_config_free(h);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(unlink(path[i]), 0);
	assert_int_equal(unlink(path[6]) | rmdir("in/deep") | rmdir("in") | rmdir("out"), 0);
	assert_int_equal(chdir("/") | rmdir(dir), 0);
}

static void parameters(void **state)
{
	const char *const texts[] = {
		"{\"allow\": {\"vm\": [\"kernel.parameters\"], \"kernelParameters\": [\"loglevel=?\", \"i*\", \"c*\"]}}"
	};
	static const struct {
		const char *text;
		int r;
	} rows[] = {
		{ "loglevel=7", 0 },
		{ "loglevel=77", -EPERM },
		{ "init=/bin/sh", -EPERM },
		{ "initcall_debug", 0 },
		{ "init", -EPERM },
		{ "init.x=1", -EPERM },
		{ "cgroup_disable=memory", -EPERM },
		{ "console=ttyS0", -EPERM },
		{ "cpuidle.off=1", 0 },
		{ "i\"", -EINVAL },
		{ "i j", -EINVAL },
		{ "i\nj", -EINVAL },
		{ "", -EINVAL },
		{ "--", -EINVAL },
		{ "i\xc3\xa4", -EINVAL },
		{ "debug", -EPERM },
	};
	struct host_config *h = parse(texts, 1);

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (host_allow_parameter(h, rows[i].text, NULL) != rows[i].r)
			fail_msg("\"%s\": not %d", rows[i].text, rows[i].r);
	}
	host_config_free(h);
}

static void comments(void **state)
{
	static const char *const rows[][2] = {
		{ "{} // a\n{}", "{}     \n{}" },
		{ "/* a\n* / */{}", "    \n      {}" },
		{ "\"// no /* no\" // yes", "\"// no /* no\"       " },
		{ "\"a\\\"// no\"//", "\"a\\\"// no\"  " },
		{ "\"\\\\\"//", "\"\\\\\"  " },
		{ "/**/", "    " },
		{ "/", "/" },
		{ "//", "  " },
		{ "", "" },
	};
	char text[64];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		(void)snprintf(text, sizeof(text), "%s", rows[i][0]);
		assert_int_equal(host_file_blank_comments(text, strlen(text), NULL), 0);
		assert_string_equal(text, rows[i][1]);
	}
	(void)snprintf(text, sizeof(text), "{} /*/");
	assert_int_equal(host_file_blank_comments(text, strlen(text), NULL), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_a_file),     cmocka_unit_test(later_keys_win),
		cmocka_unit_test(paths_are_resolved), cmocka_unit_test(parameters),
		cmocka_unit_test(comments),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
