// SPDX-License-Identifier: Apache-2.0
// Every MMX and SSE instruction that the processor has, by its own table, against the real CPU: random and edge operands,
// registers and memory, aligned and not.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/x86_native.h"
#include "vmm/x86/simd.h"

enum { CASES = 150 };

static const uint8_t prefix_byte[4] = { 0, 0x66, 0xf3, 0xf2 };

struct form {
	unsigned map, opcode, reg; // reg 8: any
	enum simd_prefix prefix;
	bool mem, imm, modrm;
};

static unsigned reg_number(void)
{
	unsigned r;

	do
		r = rnd() & 15;
	while (r == X86_RSP || r == X86_RDI || r == X86_RBP);
	return r;
}

static unsigned encode(uint8_t *p, const struct form *f, bool sib)
{
	unsigned n = 0, reg = f->reg < 8 ? f->reg : reg_number(),
		 rm = f->mem ? X86_RDI : reg_number();
	unsigned rex = (reg & 8) >> 1 | (rm & 8) >> 3 | (rnd() & 1) << 3;

	if (f->prefix)
		p[n++] = prefix_byte[f->prefix];
	if (rex)
		p[n++] = (uint8_t)(0x40 | rex);
	p[n++] = 0x0f;
	if (f->map > 1)
		p[n++] = f->map == 2 ? 0x38 : 0x3a;
	p[n++] = (uint8_t)f->opcode;
	if (f->modrm)
		p[n++] = (uint8_t)((f->mem ? 0 : 0xc0) | (reg & 7) << 3 |
				   (f->mem && sib ? 4 : rm & 7));
	if (f->mem && sib) // [rdi + rbp]: the handlers for any address
		p[n++] = X86_RBP << 3 | X86_RDI;
	if (f->imm)
		p[n++] = (uint8_t)rnd();
	return n;
}

static void random_x87(struct native *n)
{
	// TOP stays 0 often enough; all registers hold numbers, some are empty.
	n->fx.fsw = (uint16_t)((rnd() & 3 ? 0 : rnd() & 0x3800) | (rnd() & 0x4700));
	n->fx.ftw = (uint8_t)rnd();
	for (unsigned i = 0; i < 8; i++) {
		uint64_t v = rnd_value();

		memcpy(n->fx.st[i].b, &v, 8);
		n->fx.st[i].b[8] = (uint8_t)rnd();
		n->fx.st[i].b[9] = (uint8_t)rnd();
	}
	if (rnd() % 16 == 0) { // an x87 exception is pending: MMX raises it
		n->fx.fcw &= (uint16_t)~4;
		n->fx.fsw |= 4;
	}
	fx_summary(n);
}

// FXSAVE tells the processor's MXCSR_MASK, which may have more than ours.
static void mask_mxcsr_mask(uint8_t *data)
{
	memset(data + NATIVE_AT + 28, 0, 4);
}

static unsigned run_form(struct bench *b, const char *name, const struct form *f, unsigned cases)
{
	unsigned failures = 0;

	for (unsigned i = 0; i < cases && failures < 2; i++) {
		struct native n;
		uint8_t bytes[16];
		unsigned len = encode(bytes, f, rnd() & 1),
			 at = NATIVE_AT + (rnd() & 3 ? 0 : rnd() & 15);

		b->skew = 0;
		if (f->opcode != 0xae && rnd() % 4 == 0) { // about the end of a page
			b->skew = 4096 - NATIVE_AT;
			at = NATIVE_AT - 16 + (rnd() & 15);
		}
		bench_random(&n);
		random_x87(&n);
		n.gpr[X86_RBP] = 0;
		if (f->map == 3 && f->opcode >= 0x60) {
			n.gpr[X86_RAX] = rnd() % 24 - 4;
			n.gpr[X86_RDX] = rnd() % 24 - 4;
		}
		for (unsigned j = 0; j < NATIVE_DATA; j += 8) {
			uint64_t v = rnd_value();

			memcpy(b->data + j, &v, 8);
		}
		if (f->map == 1 && f->opcode == 0xae &&
		    rnd() & 1) // FXRSTOR, LDMXCSR: mostly a valid MXCSR
			memset(b->data + at + (f->reg == 1 ? 26 : 2), 0, 2);
		if (f->map == 1 && f->opcode == 0xae && f->reg == 1) {
			b->data[at] = 0x7f; // nothing unmasked, so that nothing is pending
			memset(b->data + at + 4, 0, 1);
		}
		if (f->map == 1 && f->opcode == 0x2a && f->prefix == NP &&
		    f->mem) { // whether TOP changes differs
			n.fx.fsw &= 0x4700;
			n.fx.ftw = 0xff;
		}
		if (!bench_run(b, name, &n, bytes, len, at,
			       f->opcode == 0xae && f->reg == 0 ? mask_mxcsr_mask : NULL))
			failures++;
	}
	return failures;
}

static unsigned run_map(struct bench *b, unsigned map)
{
	unsigned failures = 0, rows = 0;

	for (unsigned i = 0; i < 256 * 4; i++) {
		const struct simd_row *row = x86_simd_row(map, i / 4, i % 4);
		struct form f = {
			.map = map, .opcode = i / 4, .prefix = i % 4, .reg = 8, .modrm = true
		};

		if (!row)
			continue;
		rows++;
		f.imm = row->flags & S_IMM;
		f.modrm = !(row->flags & S_NOMODRM);
		if (row->r != x86_simd_none)
			failures += run_form(b, row->name, &f, f.imm ? CASES * 4 : CASES);
		f.mem = true;
		if (row->m != x86_simd_none && f.modrm)
			failures += run_form(b, row->name, &f, f.imm ? CASES * 4 : CASES);
	}
	assert_true(rows > 20);
	return failures;
}

static void test_rows(void **state)
{
	struct bench b;
	unsigned failures = 0;

	(void)state;
	bench_init(&b);
	for (unsigned map = 1; map <= 3; map++)
		failures += run_map(&b, map);
	print_message("%u instructions, %u of them faulted\n", b.ran, b.faulted);
	assert_int_equal(failures, 0);
	assert_true(b.faulted > 100 && b.faulted < b.ran / 3);
	bench_done(&b);
}

static void test_groups(void **state)
{
	struct bench b;
	unsigned failures = 0;

	(void)state;
	bench_init(&b);
	for (unsigned op = 0x71; op <= 0x73; op++)
		for (unsigned reg = 0; reg < 8; reg++)
			for (unsigned p = NP; p <= P66; p++) {
				struct form f = { .map = 1,
						  .opcode = op,
						  .prefix = p,
						  .reg = reg,
						  .imm = true,
						  .modrm = true };

				if (x86_simd_shift(op, reg, p == NP))
					failures += run_form(&b, "shift", &f, CASES * 2);
			}
	assert_true(b.ran > 1000);
	for (unsigned reg = 0; reg < 4; reg++) {
		struct form f = {
			.map = 1, .opcode = 0xae, .reg = reg, .mem = true, .modrm = true
		};

		failures += run_form(&b, "fxsave group", &f, CASES * 2);
	}
	assert_int_equal(failures, 0);
	bench_done(&b);
}

// Unmasked exceptions: raised where hardware raises them, with the same flags and nothing changed. Not underflow: the
// processor in software raises it for inexact results only (see fp_checked).
static void test_unmasked(void **state)
{
	struct bench b;
	unsigned raised = 0;

	(void)state;
	bench_init(&b);
	for (unsigned i = 0; i < 1024; i++) {
		const struct simd_row *row = x86_simd_row(1, i / 4, i % 4);
		struct form f = {
			.map = 1, .opcode = i / 4, .prefix = i % 4, .reg = 8, .modrm = true
		};

		if (!row || !(row->flags & S_FP) || (row->flags & (S_MMXREG | S_MMXRM)))
			continue;
		f.imm = row->flags & S_IMM;
		for (unsigned k = 0; k < CASES; k++) {
			struct native n, a, s;
			uint8_t bytes[16];
			unsigned len = encode(bytes, &f, false);
			int sig, vec;

			b.skew = 0;
			bench_random(&n);
			n.gpr[X86_RDI] = 0;
			n.fx.mxcsr &= ~(rnd() & 0x1780) & ~0x8000u; // underflow stays masked
			n.fx.mxcsr &=
				~(~n.fx.mxcsr >> 7 & 0x3f); // what is unmasked is not flagged yet
			a = s = n;
			sig = bench_native(&b, &a, bytes, len);
			vec = bench_soft(&b, &s, bytes, len);
			assert_int_equal(vec, sig ? EXC_XM + 1 : 0);
			if (!sig) {
				assert_true(fx_equal(&a, &s));
				continue;
			}
			raised++;
			if ((s.fx.mxcsr & 8) &&
			    !(s.fx.mxcsr & 0x400)) // overflow: the inexact flag is known to differ
				s.fx.mxcsr ^= (s.fx.mxcsr ^ native_mxcsr) & 0x20;
			assert_int_equal(s.fx.mxcsr, native_mxcsr);
			s.fx.mxcsr = n.fx.mxcsr;
			assert_true(fx_equal(&n, &s));
		}
	}
	assert_true(raised > 500);
	bench_done(&b);
}

// MXCSR as the code changes it in x86_run, over blocks that are bound for masked and for unmasked exceptions.
static void test_mxcsr_run(void **state)
{
	static const uint8_t code[] = {
		0x0f, 0xae, 0x17,       // ldmxcsr [rdi]
		0xf2, 0x0f, 0x5e, 0xc1, // divsd xmm0, xmm1
		0x0f, 0xae, 0x5f, 0x04, // stmxcsr [rdi + 4]
		0xf4,                   // hlt
	};
	struct bench b;
	uint32_t *data;

	(void)state;
	bench_init(&b);
	memcpy(b.rig.ram + RIG_GPA_CODE * 4096, code, sizeof(code));
	data = (uint32_t *)(void *)bench_guest_data(&b);
	for (unsigned i = 0; i < 4; i++) {
		struct x86_cpu *cpu = b.rig.cpu;
		struct x86_state s;
		struct x86_exit ex;
		double one = 1;

		x86_get_state(cpu, &s);
		s.rip = RIG_CODE;
		s.gpr[X86_RDI] = RIG_DATA;
		memset(s.fxsave + 160, 0, 32); // 1 / 0
		memcpy(s.fxsave + 160, &one, 8);
		x86_set_state(cpu, &s);
		data[0] = i & 1 ? 0x1d80 : 0x1f80; // division by zero unmasked
		data[1] = 0;
		x86_run(cpu, &ex);
		assert_int_equal(ex.reason, i & 1 ? X86_EXIT_TRIPLE_FAULT : X86_EXIT_HLT);
		assert_int_equal(i & 1 ? cpu->exc.vector : 0, i & 1 ? EXC_XM : 0);
		assert_int_equal(data[1], i & 1 ? 0 : 0x1f84);
		x86_get_state(cpu, &s);
		assert_int_equal(*(uint32_t *)(void *)(s.fxsave + 24), data[0] | 4);
	}
	bench_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_groups),
		cmocka_unit_test(test_unmasked),
		cmocka_unit_test(test_mxcsr_run),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
