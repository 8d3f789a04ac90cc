// SPDX-License-Identifier: Apache-2.0
// Every form of user-mode instruction that the processor accepts, against the real CPU: alone, by emulation as behind an
// MMIO exit, and in runs of some instructions that the processor takes as one block, interpreted and translated.
// SEED, CASES (a form) and SECONDS (make soak) change what is run; a difference is printed with its bytes and the seed.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <time.h>

#include "tests/oracle/oracle.h"

enum { SHOWN = 24, RUN_MAX = 6, TESTS = 4 };

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { CASES = 1 }; // the native half gains nothing from them
#else
enum { CASES = 5 };
#endif

struct bench {
	struct oracle_guest *guest;
	struct oracle_forms forms;
	struct oracle_rng rng;
	uint64_t seed, cases, faulted, skipped;
	unsigned bad, shown, unsteady;
	bool seen[4][256];                  // opcodes of which a difference was shown
	uint8_t before[ORACLE_PAGES][4096]; // memory, code apart
};

static uint64_t option(const char *name, uint64_t otherwise)
{
	const char *s = getenv(name);

	return s && *s ? strtoull(s, NULL, 0) : otherwise;
}

static double now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t); // cannot fail
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void bench_open(struct bench *b, bool devices)
{
	memset(b, 0, sizeof(*b));
	assert_int_equal(oracle_native_open(), 0); // in the test: cmocka takes signals around each
	b->seed = option("SEED", 0x9e3779b97f4a7c15ull);
	b->guest = oracle_guest_new(devices);
	assert_non_null(b->guest);
	assert_int_equal(oracle_forms_all(oracle_guest_cpu(b->guest), &b->forms), 0);
	assert_true(b->forms.count > 10000);
}

static void bench_close(struct bench *b)
{
	print_message("%llu cases of %u forms, %llu faulted, %llu skipped; seed %#llx\n",
		      (unsigned long long)b->cases, b->forms.count, (unsigned long long)b->faulted,
		      (unsigned long long)b->skipped, (unsigned long long)b->seed);
	oracle_forms_done(&b->forms);
	oracle_guest_free(b->guest);
	oracle_native_close();
}

static void *host(uint64_t va)
{
	return (void *)(uintptr_t)va;
}

enum { FLAGS = F_ARITH | F_DF | F_AC | F_ID | F_NT };

static bool fx_differs(const struct x86_fx *a, const struct x86_fx *s)
{
	for (unsigned i = 0; i < 8; i++)
		if (memcmp(a->st[i].b, s->st[i].b, 10))
			return true;
	return a->fcw != s->fcw || a->fsw != s->fsw || a->ftw != s->ftw || a->mxcsr != s->mxcsr ||
	       memcmp(a->xmm, s->xmm, sizeof(a->xmm));
}

static void show_fx(const char *who, const struct x86_fx *fx)
{
	print_message("  %s: fcw %04x fsw %04x ftw %02x mxcsr %04x", who, fx->fcw, fx->fsw, fx->ftw,
		      fx->mxcsr);
	for (unsigned i = 0; i < 8; i++)
		print_message(" %02x%02x%016llx", fx->st[i].b[9], fx->st[i].b[8],
			      *(const unsigned long long *)(const void *)fx->st[i].b);
	print_message("\n");
}

static void show(const char *who, const struct oracle_state *a)
{
	print_message("  %s: vector %d error %#x cr2 %#llx rip %#llx flags %#llx\n", who, a->vector,
		      a->error, (unsigned long long)a->cr2, (unsigned long long)a->rip,
		      (unsigned long long)(a->flags & FLAGS));
}

static void show_registers(const struct oracle_state *from, const struct oracle_state *a,
			   const struct oracle_state *s)
{
	for (unsigned i = 0; i < 16; i++)
		if (a->gpr[i] != s->gpr[i])
			print_message("   r%u: %#llx, native %#llx, soft %#llx\n", i,
				      (unsigned long long)from->gpr[i],
				      (unsigned long long)a->gpr[i], (unsigned long long)s->gpr[i]);
	for (unsigned i = 0; i < 16; i++)
		if (memcmp(&a->fx.xmm[i], &s->fx.xmm[i], 16))
			print_message(
				"   xmm%u: %#llx %#llx, native %#llx %#llx, soft %#llx %#llx\n", i,
				(unsigned long long)from->fx.xmm[i].q[1],
				(unsigned long long)from->fx.xmm[i].q[0],
				(unsigned long long)a->fx.xmm[i].q[1],
				(unsigned long long)a->fx.xmm[i].q[0],
				(unsigned long long)s->fx.xmm[i].q[1],
				(unsigned long long)s->fx.xmm[i].q[0]);
	if (fx_differs(&a->fx, &s->fx)) {
		show_fx("before", &from->fx);
		show_fx("native", &a->fx);
		show_fx("soft  ", &s->fx);
	}
}

static bool memory_differs(struct bench *b, bool print)
{
	bool differs = false;

	for (unsigned p = 1; p < ORACLE_PAGES; p++) {
		const uint8_t *a = host(oracle_page_va[p]), *s = oracle_guest_page(b->guest, p);

		if (!memcmp(a, s, 4096))
			continue;
		differs = true;
		for (unsigned i = 0, n = 0; print && i < 4096 && n < 8; i++)
			if (a[i] != s[i]) {
				n++;
				print_message("   memory %#llx: native %02x soft %02x\n",
					      (unsigned long long)oracle_page_va[p] + i, a[i],
					      s[i]);
			}
	}
	return differs;
}

static void memory_copy(struct bench *b)
{
	for (unsigned p = 1; p < ORACLE_PAGES; p++) {
		memcpy(b->before[p], host(oracle_page_va[p]), 4096);
		memcpy(oracle_guest_page(b->guest, p), b->before[p], 4096);
	}
}

struct expectation {
	uint32_t undefined; // flags
	uint64_t cr2;       // bits that processors differ in
	uint64_t va;        // memory that is not compared
	unsigned len;
};

static void forgive(struct bench *b, const struct expectation *e)
{
	for (uint64_t va = e->va; va - e->va < e->len; va++)
		for (unsigned p = 1; p < ORACLE_PAGES; p++)
			if (va >> 12 == oracle_page_va[p] >> 12 && p != ORACLE_DATA_PAGES)
				oracle_guest_page(b->guest, p)[va & 4095] = *(uint8_t *)host(va);
}

static bool same(struct bench *b, const struct oracle_state *a, const struct oracle_state *s,
		 const struct expectation *e)
{
	if (a->vector != s->vector || a->rip != s->rip || memcmp(a->gpr, s->gpr, sizeof(a->gpr)))
		return false;
	if (a->vector == EXC_PF && (a->cr2 ^ s->cr2) & ~e->cr2)
		return false;
	// The upper half belongs to the kernel natively: whether anything is there is its affair.
	if (a->vector >= 0 && (a->error ^ s->error) & ~(a->cr2 >> 63 || e->cr2 ? 1u : 0))
		return false;
	if ((a->flags ^ s->flags) & (FLAGS & ~e->undefined))
		return false;
	forgive(b, e);
	return !fx_differs(&a->fx, &s->fx) && !memory_differs(b, false);
}

// One of an opcode.
static void report(struct bench *b, uint64_t seed, const struct x86_insn *in, const uint8_t *code,
		   unsigned len, const struct oracle_state *from, const struct oracle_state *a,
		   const struct oracle_state *s)
{
	bool *seen = &b->seen[in->map][in->opcode];

	b->bad++;
	if (*seen || b->shown >= SHOWN) {
		memory_copy(b);
		return;
	}
	*seen = true;
	b->shown++;
	print_message("difference (case seed %#llx):", (unsigned long long)seed);
	for (unsigned i = 0; i < len; i++)
		print_message(" %02x", code[i]);
	print_message("\n");
	show("before", from);
	show("native", a);
	show("soft  ", s);
	show_registers(from, a, s);
	(void)memory_differs(b, true); // prints
	memory_copy(b);
}

// Instructions at ORACLE_AT of both code pages; the rest is the end.
static void place(struct bench *b, const uint8_t *code, unsigned len, bool put)
{
	uint8_t *guest = oracle_guest_page(b->guest, 0) + ORACLE_AT,
		*real = oracle_native_code() + ORACLE_AT;

	memset(guest, 0xf4, len);
	memset(real, 0xcc, len);
	if (put) {
		memcpy(guest, code, len);
		memcpy(real, code, len);
	}
}

// Devices notice what memory does not: a byte accessed twice (CMPS may, of one place), or an operand of which one page is
// not there.
static bool device_misused(struct bench *b, const struct x86_insn *in, const struct oracle_state *s)
{
	bool cmps = in->map == 0 && (in->opcode & 0xfe) == 0xa6;
	bool stack = in->map == 0 && (in->opcode == 0xff || in->opcode == 0x8f);

	if (s->vector == EXC_PF && in->has_modrm && in->mod != 3 && !stack)
		return oracle_guest_touched(b->guest);
	return oracle_guest_twice(b->guest) && !in->rep && !in->repne && !cmps;
}

// Code that was written by another address is now and then not all seen by the real processor, in a few of a million
// cases. What remains the same in a second run is a difference.
static bool steady(struct bench *b, const struct oracle_state *from, const uint8_t *code,
		   unsigned len, const struct oracle_state *a, const struct oracle_state *s,
		   const struct expectation *e)
{
	struct oracle_state again = *from;
	bool differs;

	if (a->vector != EXC_UD || s->vector == EXC_UD)
		return true; // not an instruction that was not seen right
	for (unsigned p = 1; p < ORACLE_PAGES; p++)
		oracle_native_write(oracle_page_va[p], b->before[p], 4096);
	place(b, code, len, true);
	oracle_native_run(&again);
	place(b, code, len, false);
	differs = !same(b, &again, s, e);
	b->unsteady += !differs;
	return differs;
}

// Whether processors differ in how the instruction faults at which the one in software has stopped.
static bool vendor_fault(struct bench *b, const uint8_t *code, unsigned len,
			 const struct oracle_state *a, const struct oracle_state *s)
{
	uint64_t at = s->rip - (RIG_CODE + ORACLE_AT);
	struct x86_insn in;

	return s->vector >= 0 && at < len &&
	       oracle_accepts(oracle_guest_cpu(b->guest), code + at, len - (unsigned)at, &in) &&
	       oracle_vendor_fault(&in, a, s);
}

// What is nowhere in the guest's address space is the shadow memory of AddressSanitizer in the native one.
static bool in_shadow(const struct oracle_state *s)
{
#if defined(__SANITIZE_ADDRESS__)
	return s->vector == EXC_PF && s->cr2 >= 0x7fff8000 && s->cr2 < 0x100080000000;
#else
	(void)s;
	return false;
#endif
}

static void run_case(struct bench *b, uint64_t seed, const struct x86_insn *in,
		     const struct oracle_state *from, const uint8_t *code, unsigned len,
		     bool single, const struct expectation *e)
{
	struct oracle_state a = *from, s = *from;

	memory_copy(b);
	place(b, code, len, true);
	oracle_guest_run(b->guest, &s, code, single ? len : 0);
	if (in_shadow(&s)) {
		place(b, code, len, false);
		b->skipped++;
		return;
	}
	oracle_native_run(&a);
	place(b, code, len, false);
	b->cases++;
	b->faulted += a.vector >= 0;
	if (!same(b, &a, &s, e)) {
		if (vendor_fault(b, code, len, &a, &s))
			b->skipped++;
		else if (steady(b, from, code, len, &a, &s, e))
			report(b, seed, in, code, len, from, &a, &s);
	} else if (device_misused(b, in, &s))
		report(b, seed, in, code, len, from, &a, &s);
}

static struct expectation expect(const struct x86_insn *in, const struct oracle_state *s)
{
	struct expectation e = { .undefined = oracle_undefined(in, s->gpr) };
	unsigned at;

	e.cr2 = oracle_in_parts(in) ? 0x3fff : 0;
	e.len = oracle_undefined_memory(in, &at);
	if (e.len && in->base < 16) // others are rare enough to be left out
		e.va = s->gpr[in->base] + (in->index < 16 ? s->gpr[in->index] << in->scale : 0) +
		       (uint64_t)(int64_t)in->disp + at;
	if (e.len && in->addrsize == 4)
		e.va = (uint32_t)e.va;
	if (in->seg == 1 + X86_GS)
		e.va += ORACLE_GS;
	return e;
}

static void one_form(struct bench *b, const struct oracle_form *f, uint64_t seed)
{
	struct oracle_state from = { .rip = RIG_CODE + ORACLE_AT };
	struct expectation e;
	struct x86_insn in;
	uint8_t code[16];
	unsigned len;

	b->rng.s = seed;
	oracle_random_fx(&b->rng, &from.fx, false);
	len = oracle_encode(&b->rng, oracle_guest_cpu(b->guest), f, from.rip, &from, code, &in);
	if (!len) {
		b->skipped++;
		return;
	}
	e = expect(&in, &from);
	if ((e.len && in.base >= 16) || oracle_vendor_specific(&in, &from) ||
	    oracle_known_to_differ(&in, &from)) {
		b->skipped++;
		return;
	}
	run_case(b, seed, &in, &from, code, len, true, &e);
}

// ---- several instructions as a block

static bool implicit_memory(const struct x86_insn *in)
{
	uint8_t o = in->opcode;

	if (in->map == 1)
		return (o & 0xf6) == 0xa0 || o == 0xf7;
	return in->map == 0 &&
	       ((o >= 0x50 && o <= 0x5f) || (o >= 0x68 && o <= 0x6f) || (o >= 0x9c && o <= 0x9d) ||
		(o >= 0xa0 && o <= 0xaf) || (o >= 0xc2 && o <= 0xd7 && o != 0xc6 && o != 0xc7) ||
		o == 0x8f || o >= 0xe0);
}

static bool relative(const struct x86_insn *in)
{
	return (in->map == 0 && in->opcode >= 0x70 && in->opcode <= 0x7f) ||
	       (in->map == 1 && in->opcode >= 0x80 && in->opcode <= 0x8f);
}

// Whether in may come after others: it needs no more of the registers than that they are there.
static bool may_follow(const struct x86_insn *in)
{
	bool shift = in->map == 0 && (in->opcode == 0xc0 || in->opcode == 0xc1 ||
				      (in->opcode >= 0xd0 && in->opcode <= 0xd3));
	bool unary = in->map == 0 && in->opcode >= 0xf5 && in->opcode != 0xff;
	bool x87 = in->map == 0 && in->opcode >= 0xd8 && in->opcode <= 0xdf;

	if (in->has_modrm && in->mod != 3 && (oracle_in_parts(in) || unary))
		return false;
	return !implicit_memory(in) || shift || unary || x87;
}

// MOV r64, imm64 for the registers of in's address, with the values that it was encoded for.
static unsigned load_address(const struct x86_insn *in, const struct oracle_state *s, uint8_t *code)
{
	unsigned n = 0;

	if (!in->has_modrm || in->mod == 3)
		return 0;
	for (unsigned r = 0; r < 16; r++) {
		if (r != in->base && r != in->index)
			continue;
		code[n] = (uint8_t)(0x48 | r >> 3);
		code[n + 1] = (uint8_t)(0xb8 | (r & 7));
		memcpy(code + n + 2, &s->gpr[r], 8);
		n += 10;
	}
	return n;
}

// The first may be anything, others load what their address needs; what leaves flags undefined is the last, and so is a
// branch.
static unsigned sequence(struct bench *b, struct oracle_state *from, uint8_t *code,
			 struct expectation *e, struct x86_insn *first)
{
	static const uint64_t counts[16] = { [X86_RCX] = 31 };
	struct x86_cpu *cpu = oracle_guest_cpu(b->guest);
	unsigned at = 0, n = 2 + oracle_rnd(&b->rng) % (RUN_MAX - 1);

	for (unsigned i = 0, tries = 0; i < n && tries < 100; tries++) {
		const struct oracle_form *f = &b->forms.form[oracle_rnd(&b->rng) % b->forms.count];
		struct oracle_state scratch = { .fx = from->fx };
		struct x86_insn in;
		uint8_t insn[16];
		unsigned len, at_len;

		len = oracle_encode(&b->rng, cpu, f, from->rip + at, i ? &scratch : from, insn,
				    &in);
		if (!len || (i && oracle_undefined_memory(&in, &at_len)) ||
		    (i && !may_follow(&in) && !relative(&in)) ||
		    oracle_vendor_specific(&in, i ? &scratch : from) ||
		    oracle_known_to_differ(&in, from) || (in.map == 1 && in.opcode == 0xae) ||
		    (in.map == 0 && in.opcode == 0x9d)) // its memory is made anew by others
			continue;
		if (i == 0) {
			*first = in;
			*e = expect(&in, from);
			if (e->len && in.base >= 16)
				continue;
		}
		if (i)
			at += load_address(&in, &scratch, code + at);
		memcpy(code + at, insn, len);
		i++;
		at += len;
		e->undefined = oracle_undefined(&in, i == 1 ? from->gpr : counts);
		if (relative(&in) || e->undefined)
			break;
	}
	return at;
}

static void one_sequence(struct bench *b, uint64_t seed)
{
	struct oracle_state from = { .rip = RIG_CODE + ORACLE_AT };
	struct expectation e = { 0 };
	uint8_t code[36 * RUN_MAX];
	struct x86_insn first = { 0 };
	unsigned len;

	b->rng.s = seed;
	oracle_random_fx(&b->rng, &from.fx, oracle_rnd(&b->rng) & 3);
	len = sequence(b, &from, code, &e, &first);
	if (len)
		run_case(b, seed, &first, &from, code, len, false, &e);
}

static uint64_t mix(uint64_t v)
{
	v = (v ^ v >> 30) * 0xbf58476d1ce4e5b9ull;
	v = (v ^ v >> 27) * 0x94d049bb133111ebull;
	return (v ^ v >> 31) | 1;
}

// All forms, a few times each, and as many sequences; then on until the time is over.
static void run(struct bench *b, bool sequences)
{
	double begin = now(), end = begin + (double)option("SECONDS", 0) / TESTS;
	uint64_t n = 0;

	do
		for (uint64_t c = option("CASES", CASES); c && b->shown < SHOWN; c--)
			for (unsigned i = 0; i < b->forms.count; i++) {
				uint64_t seed = mix(b->seed + n++);

				if (sequences)
					one_sequence(b, seed);
				else
					one_form(b, &b->forms.form[i], seed);
			}
	while (now() < end && b->shown < SHOWN);
	print_message("%.0f cases a second\n", (double)b->cases / (now() - begin));
}

static void check(bool devices, bool sequences, uint8_t translate)
{
	struct bench b;

	bench_open(&b, devices);
	x86_set_translate(oracle_guest_cpu(b.guest), translate);
	run(&b, sequences);
	bench_close(&b);
	assert_int_equal(b.bad, 0);
	assert_true(b.unsteady <= 1 + b.cases / 100000);
	assert_true(b.faulted > b.cases / 50 && b.faulted < b.cases / 2);
}

static void test_forms(void **state)
{
	(void)state;
	check(false, false, 0);
}

// As emulation of what a hypervisor hands back: no operand is in RAM, translation says what faults.
static void test_devices(void **state)
{
	(void)state;
	check(true, false, 0);
}

static void test_sequences(void **state)
{
	(void)state;
	check(false, true, 0);
}

// The same as host code.
static void test_translated(void **state)
{
	(void)state;
	check(false, true, 1);
}

int main(void)
{
#ifdef __SANITIZE_THREAD__ // it holds signals back until the next call, and here each instruction ends by one
	puts("1..0 # SKIP the race detector delays the signals that the real processor's side lives by");
	return 0;
#endif
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_forms),
		cmocka_unit_test(test_devices),
		cmocka_unit_test(test_sequences),
		cmocka_unit_test(test_translated),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
