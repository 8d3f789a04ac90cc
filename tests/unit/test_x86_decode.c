// SPDX-License-Identifier: Apache-2.0
// The decoder against an independent one (libzydis) in 64-, 32- and 16-bit mode: every opcode with every prefix that
// selects instructions and every kind of ModRM, then random bytes. What one of them takes for an instruction and the
// other does not, or with another length, has to be in the table of differences.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <Zydis/Zydis.h>
#include <stdio.h>

#include "tests/oracle/oracle.h"

enum { SHOWN = 30, RANDOM = 300000 };

struct mode {
	unsigned bits;
	ZydisMachineMode machine;
	ZydisStackWidth stack;
	uint16_t cs; // attributes
};

static const struct mode modes[] = {
	{ 64, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64, 0xa0fb },
	{ 32, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32, 0xc0fb },
	{ 16, ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16, 0x00fb },
};

struct pair {
	const struct mode *mode;
	ZydisDecoder zydis;
	struct rig rig;
	uint64_t tried, both, neither, explained;
	unsigned bad, shown;
	bool seen[2][ZYDIS_MNEMONIC_MAX_VALUE + 1024]; // by mnemonic, or ours by opcode
};

// Extensions that the processor does not have.
static const char *const absent[] = {
	"3DNOW",
	"3DNOW_PREFETCH",
	"AMD3DNOW",
	"AES",
	"ADOX_ADCX",
	"AMD_INVLPGB",
	"AMX_TILE",
	"AMX_INT8",
	"AMX_BF16",
	"AMX_FP16",
	"AVX",
	"AVX2",
	"AVX2GATHER",
	"AVX512EVEX",
	"AVX512VEX",
	"AVXAES",
	"AVX_VNNI",
	"BMI1",
	"BMI2",
	"CET",
	"CLDEMOTE",
	"CLWB",
	"CLZERO",
	"ENQCMD",
	"F16C",
	"FMA",
	"FMA4",
	"GFNI",
	"HRESET",
	"INVPCID",
	"KEYLOCKER",
	"KEYLOCKER_WIDE",
	"KNC",
	"KNCE",
	"KNCV",
	"LWP",
	"LZCNT",
	"MCOMMIT",
	"MONITOR",
	"MONITORX",
	"MOVDIR",
	"MPX",
	"MSRLIST",
	"PADLOCK",
	"PCLMULQDQ",
	"PCONFIG",
	"PKU",
	"PREFETCHWT1",
	"PT",
	"RDPRU",
	"RTM",
	"SERIALIZE",
	"SGX",
	"SGX_ENCLV",
	"SHA",
	"SMAP",
	"SMX",
	"SNP",
	"SSE4A",
	"SVM",
	"TBM",
	"TDX",
	"TSX_LDTRK",
	"UINTR",
	"VAES",
	"VMFUNC",
	"VPCLMULQDQ",
	"VTX",
	"WAITPKG",
	"WRMSRNS",
	"XOP",
	"XSAVE",
	"XSAVEC",
	"XSAVEOPT",
	"XSAVES",
	"AVX_IFMA",
	"AVX_NE_CONVERT",
	"AVX_VNNI_INT8",
	"CMPCCXADD",
	"PBNDKB",
	"ICACHE_PREFETCH",
	"RAO_INT",
	"AMD_SEV",
};

struct difference {
	ZydisMnemonic mnemonic;
	const char *why;
};

// Instructions of extensions that it has otherwise, or that have none.
static const struct difference unoffered[] = {
	{ ZYDIS_MNEMONIC_RSM, "there is no system management mode" },
	{ ZYDIS_MNEMONIC_UD0, "there to be undefined" },
	{ ZYDIS_MNEMONIC_UD1, "there to be undefined" },
	{ ZYDIS_MNEMONIC_UD2, "there to be undefined" },
};

static bool listed(const ZydisDecodedInstruction *z)
{
	const char *ext = ZydisISAExtGetString(z->meta.isa_ext);

	for (unsigned i = 0; i < sizeof(absent) / sizeof(absent[0]); i++)
		if (ext && !strcmp(ext, absent[i]))
			return true;
	for (unsigned i = 0; i < sizeof(unoffered) / sizeof(unoffered[0]); i++)
		if (z->mnemonic == unoffered[i].mnemonic)
			return true;
	return false;
}

// Ours, theirs not: why it may be so, or NULL.
static const char *ours_only(const struct x86_insn *in)
{
	if (in->map == 1 && (in->opcode == 0x1a || in->opcode == 0x1b))
		return "bounds instructions are NOPs without MPX, with any operand";
	return NULL;
}

static void pair_open(struct pair *p, const struct mode *m)
{
	struct x86_state s;

	memset(p, 0, sizeof(*p));
	p->mode = m;
	assert_true(ZYAN_SUCCESS(ZydisDecoderInit(&p->zydis, m->machine, m->stack)));
	rig_init(&p->rig);
	x86_get_state(p->rig.cpu, &s);
	if (m->bits != 64) {
		s.efer = 0;
		s.cr0 &= ~CR0_PG;
	}
	s.seg[X86_CS].attributes = m->cs;
	x86_set_state(p->rig.cpu, &s);
}

static bool accepts(struct pair *p, const uint8_t bytes[15], struct x86_insn *in, bool *decodes)
{
	struct x86_cpu *cpu = p->rig.cpu;

	*decodes = x86_decode(bytes, 15, p->mode->bits, in) == 0;
	if (!*decodes)
		return false;
	cpu->step_bytes = bytes;
	cpu->step_count = 15;
	cpu->rip = RIG_CODE;
	return x86_block_from_bytes(cpu)->ops[1].fn != x86_op_ud;
}

// One of a kind is printed.
static void differ(struct pair *p, bool *seen, const uint8_t *bytes, const char *what,
		   const char *name, const char *ext)
{
	p->bad++;
	if (*seen || p->shown++ >= SHOWN)
		return;
	*seen = true;
	print_message("%u-bit %s:", p->mode->bits, what);
	for (unsigned i = 0; i < 15; i++)
		print_message(" %02x", bytes[i]);
	print_message(" (%s, %s)\n", name, ext);
}

static void compare(struct pair *p, const uint8_t bytes[15])
{
	ZydisDecodedInstruction z;
	struct x86_insn in;
	bool decodes,
		ours = accepts(p, bytes, &in, &decodes),
		theirs =
			ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&p->zydis, NULL, bytes, 15, &z));

	p->tried++;
	if (!ours && !theirs) {
		p->neither++;
		return;
	}
	if (ours && theirs) {
		p->both++;
		if (in.len != z.length)
			differ(p, &p->seen[0][z.mnemonic], bytes, "length differs",
			       ZydisMnemonicGetString(z.mnemonic), "");
		return;
	}
	p->explained++;
	if (ours && !ours_only(&in))
		differ(p, &p->seen[1][in.map << 8 | in.opcode], bytes, "only ours", "", "");
	if (theirs && !listed(&z))
		differ(p, &p->seen[0][z.mnemonic], bytes, "only theirs",
		       ZydisMnemonicGetString(z.mnemonic), ZydisISAExtGetString(z.meta.isa_ext));
}

static unsigned opcode_at(uint8_t *b, unsigned map, unsigned opcode)
{
	unsigned n = 0;

	if (map)
		b[n++] = 0x0f;
	if (map > 1)
		b[n++] = map == 2 ? 0x38 : 0x3a;
	b[n++] = (uint8_t)opcode;
	return n;
}

static void systematic(struct pair *p)
{
	static const uint8_t prefix[] = { 0, 0x66, 0xf3, 0xf2, 0xf0, 0x67 };

	for (unsigned i = 0; i < 4 * 256 * 6 * 2; i++) {
		unsigned pfx = i % 6, w = i / 6 % 2, opcode = i / 12 % 256, map = i / 12 / 256,
			 n = 0, m;
		uint8_t bytes[16] = { 0 };

		if (w && p->mode->bits != 64)
			continue;
		if (prefix[pfx])
			bytes[n++] = prefix[pfx];
		if (w)
			bytes[n++] = 0x48;
		n += opcode_at(bytes + n, map, opcode);
		for (m = 0; m < 256; m++) {
			unsigned rm = m & 7;

			if (m < 0xc0 && rm != 0 && rm < 4 && m >= 0x40)
				continue; // memory operands differ by their length only
			bytes[n] = (uint8_t)m;
			compare(p, bytes);
		}
	}
}

static void at_random(struct pair *p)
{
	const char *seed = getenv("SEED");
	struct oracle_rng r = { .s = (seed ? strtoull(seed, NULL, 0) : 0x1234567) | 1 };

	for (unsigned i = 0; i < RANDOM; i++) {
		uint64_t v[2] = { oracle_rnd(&r), oracle_rnd(&r) };
		uint8_t bytes[16];

		memcpy(bytes, v, 16);
		if (i & 1) { // prefixes are rarer by chance than in code
			static const uint8_t pre[] = { 0x66, 0xf3, 0xf2, 0xf0,
						       0x48, 0x2e, 0x0f, 0x65 };

			bytes[0] = pre[v[1] >> 56 & 7];
			if (i & 2)
				bytes[1] = 0x0f;
		}
		compare(p, bytes);
	}
}

static void against_zydis(void **state)
{
	static struct pair p; // large
	unsigned bad = 0;

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		pair_open(&p, &modes[i]);
		systematic(&p);
		at_random(&p);
		print_message("%u-bit: %llu tried, %llu in both, %llu in neither, %llu explained\n",
			      modes[i].bits, (unsigned long long)p.tried,
			      (unsigned long long)p.both, (unsigned long long)p.neither,
			      (unsigned long long)p.explained);
		rig_done(&p.rig);
		bad += p.bad;
		assert_true(p.both > p.tried / 10 && p.neither > p.tried / 100);
	}
	assert_int_equal(bad, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(against_zydis) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
