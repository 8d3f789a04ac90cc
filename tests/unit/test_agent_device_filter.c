// SPDX-License-Identifier: Apache-2.0
// The device program, run: a small interpreter of the instructions it is made of asks it about devices. The kernel's own
// verifier has its say in the boot tests.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/device_filter.h"
#include "base/err.h"
#include "oci/oci.h"

enum { MKNOD = 1, READ = 2, WRITE = 4, BLOCK = 1, CHAR = 2 };

static uint64_t run(const struct bpf_insn *p, unsigned n, const uint32_t ctx[3])
{
	uint64_t r[11] = { 0 };

	for (unsigned pc = 0, steps = 0; steps < 10000; pc++, steps++) {
		const struct bpf_insn *i = &p[pc];
		uint32_t d = (uint32_t)r[i->dst_reg], k = (uint32_t)i->imm;

		assert_true(pc < n);
		switch (i->code) {
		case BPF_LDX | BPF_MEM | BPF_W: // r1 is the context until it is written
			r[i->dst_reg] = ctx[i->off / 4];
			break;
		case BPF_ALU | BPF_AND | BPF_K:
			r[i->dst_reg] = d & k;
			break;
		case BPF_ALU | BPF_RSH | BPF_K:
			r[i->dst_reg] = d >> k;
			break;
		case BPF_ALU | BPF_MOV | BPF_X:
			r[i->dst_reg] = (uint32_t)r[i->src_reg];
			break;
		case BPF_ALU64 | BPF_MOV | BPF_K:
			r[i->dst_reg] = (uint64_t)(int64_t)i->imm;
			break;
		case BPF_JMP | BPF_JNE | BPF_K:
			pc += r[i->dst_reg] != (uint64_t)(int64_t)i->imm ? (unsigned)i->off : 0;
			break;
		case BPF_JMP32 | BPF_JNE | BPF_K:
			pc += d != k ? (unsigned)i->off : 0;
			break;
		case BPF_JMP | BPF_JEQ | BPF_K:
			pc += r[i->dst_reg] == (uint64_t)(int64_t)i->imm ? (unsigned)i->off : 0;
			break;
		case BPF_JMP | BPF_EXIT:
			return r[0];
		default:
			fail_msg("instruction %u has code %#x", pc, i->code);
		}
	}
	fail_msg("does not end");
	return 0;
}

struct question {
	const char *devices; // of linux.resources
	uint32_t type, access, major, minor;
	bool want;
};

#define DENY_ALL "[{\"allow\":false,\"access\":\"rwm\"}"
static const struct question questions[] = {
	// Without a rule only the default list is allowed.
	{ "[]", CHAR, READ | WRITE, 1, 3, true },
	{ "[]", CHAR, READ, 5, 0, true },
	{ "[]", CHAR, READ | WRITE, 136, 77, true },
	{ "[]", CHAR, READ | WRITE, 10, 200, true },
	{ "[]", CHAR, MKNOD, 123, 45, true },
	{ "[]", BLOCK, MKNOD, 8, 0, true },
	{ "[]", CHAR, READ, 1, 11, false },
	{ "[]", CHAR, READ | MKNOD, 1, 11, false },
	{ "[]", BLOCK, READ, 1, 3, false }, // the numbers alone do not do
	// The default list stands above every rule.
	{ DENY_ALL "]", CHAR, READ | WRITE, 1, 3, true },
	{ DENY_ALL ",{\"allow\":false,\"type\":\"c\",\"major\":1,\"minor\":3}]", CHAR, READ, 1, 3,
	  true },
	{ DENY_ALL "]", BLOCK, READ, 8, 0, false },
	// The last rule that matches counts.
	{ DENY_ALL ",{\"allow\":true,\"type\":\"c\",\"major\":10,\"minor\":229}]", CHAR,
	  READ | WRITE, 10, 229, true },
	{ DENY_ALL ",{\"allow\":true,\"type\":\"c\",\"major\":10,\"minor\":229}]", CHAR, READ, 10,
	  228, false },
	{ DENY_ALL ",{\"allow\":true,\"type\":\"c\",\"major\":10}]", CHAR, READ, 10, 1, true },
	{ DENY_ALL ",{\"allow\":true,\"type\":\"b\",\"minor\":1}]", BLOCK, READ, 77, 1, true },
	{ DENY_ALL ",{\"allow\":true,\"type\":\"b\",\"minor\":1}]", CHAR, READ, 77, 1, false },
	{ "[{\"allow\":true,\"type\":\"c\",\"major\":1,\"minor\":11},{\"allow\":false,\"access\":\"rwm\"}]",
	  CHAR, READ, 1, 11, false },
	{ "[{\"allow\":true,\"type\":\"a\"}]", BLOCK, READ | WRITE, 8, 0, true },
	{ "[{\"allow\":true,\"type\":\"a\"},{\"allow\":false,\"type\":\"b\",\"major\":8}]", BLOCK,
	  READ, 8, 0, false },
	{ "[{\"allow\":true,\"type\":\"a\"},{\"allow\":false,\"type\":\"b\",\"major\":8}]", BLOCK,
	  READ, 9, 0, true },
	// Part of the access: all of what is asked for has to be allowed, none of it denied.
	{ DENY_ALL ",{\"allow\":true,\"type\":\"b\",\"major\":8,\"access\":\"r\"}]", BLOCK, READ, 8,
	  0, true },
	{ DENY_ALL ",{\"allow\":true,\"type\":\"b\",\"major\":8,\"access\":\"r\"}]", BLOCK,
	  READ | WRITE, 8, 0, false },
	{ "[{\"allow\":true,\"type\":\"a\"},{\"allow\":false,\"type\":\"b\",\"major\":8,\"access\":\"w\"}]",
	  BLOCK, READ, 8, 0, true },
	{ "[{\"allow\":true,\"type\":\"a\"},{\"allow\":false,\"type\":\"b\",\"major\":8,\"access\":\"w\"}]",
	  BLOCK, READ | WRITE, 8, 0, false },
	{ "[{\"allow\":true,\"type\":\"c\",\"major\":4294967295}]", CHAR, READ, 4294967295u, 5,
	  true },
};

static void answers(void **state)
{
	static struct bpf_insn p[DEVICE_FILTER_INSNS(8)];

	(void)state;
	for (size_t i = 0; i < sizeof(questions) / sizeof(*questions); i++) {
		const struct question *q = &questions[i];
		uint32_t ctx[3] = { q->access << 16 | q->type, q->major, q->minor };
		struct oci_update *u = NULL;
		struct err e = { .msg = "" };
		char json[512];
		unsigned n;

		(void)snprintf(json, sizeof(json), "{\"devices\":%s}", q->devices);
		if (oci_update_parse(json, strlen(json), &u, &e) < 0)
			fail_msg("%s: %s", json, e.msg);
		n = device_filter_program(p, &u->r);
		assert_true(n <= DEVICE_FILTER_INSNS(u->r.n_devices));
		if (run(p, n, ctx) != q->want)
			fail_msg("%s: type %u access %u %u:%u", json, q->type, q->access, q->major,
				 q->minor);
		oci_update_free(u);
	}
}

// The room that callers make is enough for the longest rules.
static void longest(void **state)
{
	struct oci_device_rule *v = calloc(DEVICE_RULES_MAX, sizeof(*v));
	struct oci_resources r = { .devices = v, .n_devices = DEVICE_RULES_MAX };
	struct bpf_insn *p = calloc(DEVICE_FILTER_INSNS(DEVICE_RULES_MAX), sizeof(*p));

	(void)state;
	for (unsigned i = 0; i < DEVICE_RULES_MAX; i++)
		v[i] = (struct oci_device_rule){ true, 'c', 1000 + i, 1, true, false, false };
	assert_true(device_filter_program(p, &r) <= DEVICE_FILTER_INSNS(DEVICE_RULES_MAX));
	assert_int_equal(run(p, DEVICE_FILTER_INSNS(DEVICE_RULES_MAX),
			     (uint32_t[3]){ READ << 16 | CHAR, 1000, 1 }),
			 1);
	free(v);
	free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers),
		cmocka_unit_test(longest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
