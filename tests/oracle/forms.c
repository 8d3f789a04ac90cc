// SPDX-License-Identifier: Apache-2.0
// All forms of instruction that the processor accepts, by trying every opcode, and instances of them that reach memory
// which is there, or just is not.
#include "tests/oracle/oracle.h"

enum { PREFIXES = 4, FORMS_MAX = 1 << 18 };
static const uint8_t mandatory[PREFIXES] = { 0, 0x66, 0xf3, 0xf2 };

bool oracle_accepts(struct x86_cpu *cpu, const uint8_t *bytes, unsigned count, struct x86_insn *in)
{
	uint8_t padded[15] = { 0 };
	const struct x86_block *b;

	memcpy(padded, bytes, count > 15 ? 15 : count);
	if (x86_decode(bytes, count, 64, in))
		return false;
	cpu->step_bytes = padded;
	cpu->step_count = 15;
	cpu->rip = RIG_CODE;
	b = x86_block_from_bytes(cpu);
	return b->ops[1].fn != x86_op_ud;
}

static unsigned head(const struct oracle_form *f, unsigned rex, uint8_t *p)
{
	unsigned n = 0;

	if (f->lock)
		p[n++] = 0xf0;
	if (f->pfx)
		p[n++] = mandatory[f->pfx];
	rex |= f->w ? 8u : 0;
	if (rex)
		p[n++] = (uint8_t)(0x40 | rex);
	if (f->map)
		p[n++] = 0x0f;
	if (f->map > 1)
		p[n++] = f->map == 2 ? 0x38 : 0x3a;
	p[n++] = f->opcode;
	return n;
}

static void add(struct oracle_forms *all, struct x86_cpu *cpu, struct oracle_form f)
{
	uint8_t p[15] = { 0 };
	unsigned n = head(&f, 0, p);
	struct x86_insn in;

	// rm 7 without displacement in memory; registers by rm
	p[n] = (uint8_t)((f.mem ? 0 : 0xc0) | f.reg << 3 | (f.mem ? 7 : f.rm));
	if (!oracle_accepts(cpu, p, 15, &in))
		return;
	f.modrm = in.has_modrm;
	if (!f.modrm && (f.reg || f.mem || f.rm))
		return;
	if (oracle_excluded(&in)) {
		all->excluded++;
		return;
	}
	if (all->count < FORMS_MAX)
		all->form[all->count++] = f;
}

// For x87 the register number is part of the opcode.
static bool rm_matters(unsigned map, unsigned opcode, bool mem)
{
	return !mem && map == 0 && opcode >= 0xd8 && opcode <= 0xdf;
}

int oracle_forms_all(struct x86_cpu *cpu, struct oracle_forms *ret)
{
	*ret = (struct oracle_forms){ .form = calloc(FORMS_MAX, sizeof(struct oracle_form)) };
	if (!ret->form)
		return -1;
	for (unsigned i = 0; i < 4 * 256 * PREFIXES * 2 * 2 * 2 * 8; i++) {
		struct oracle_form f = { .reg = i & 7, .mem = i >> 3 & 1, .w = i >> 4 & 1 };

		f.lock = i >> 5 & 1;
		f.pfx = i >> 6 & 3;
		f.opcode = (uint8_t)(i >> 8);
		f.map = (uint8_t)(i >> 16);
		if (f.map == 0 && (f.opcode == 0x0f || (f.opcode & 0xf0) == 0x40))
			continue; // escape, REX
		f.rm_fixed = rm_matters(f.map, f.opcode, f.mem);
		for (f.rm = 0; f.rm < (f.rm_fixed ? 8 : 1); f.rm++)
			add(ret, cpu, f);
	}
	return 0;
}

void oracle_forms_done(struct oracle_forms *f)
{
	free(f->form);
}

// ---- one instruction

// An address near an edge, or in the middle, of data or stack.
static uint64_t target(struct oracle_rng *r)
{
	static const uint64_t edges[] = {
		RIG_DATA,          RIG_DATA + 0x1000, RIG_DATA + 0x2000,
		RIG_DATA + 0x3000, RIG_STACK,         RIG_STACK - 0x2000
	};
	uint64_t k = oracle_rnd(r), at;

	if (k & 3)
		at = RIG_DATA + 0x200 + (k >> 8 & 0x9ff);
	else
		at = edges[(k >> 8) % 6] - 32 + (k >> 16 & 63);
	if ((k & 0xc0) != 0xc0)
		at &= ~15ull; // mostly aligned
	return at;
}

struct parts {
	unsigned modrm_at, disp_at, disp_bytes;
};

static unsigned operands(struct oracle_rng *r, const struct oracle_form *f, uint8_t *p, unsigned n,
			 struct parts *parts)
{
	uint64_t k = oracle_rnd(r);
	unsigned mod = f->mem ? k % 3 : 3, rm = f->rm_fixed ? f->rm : k >> 2 & 7, sib;

	parts->modrm_at = n;
	p[n++] = (uint8_t)(mod << 6 | f->reg << 3 | rm);
	if (mod == 3)
		return n;
	if (rm == 4) {
		sib = k >> 8 & 0xff;
		p[n++] = (uint8_t)sib;
		if (mod == 0 && (sib & 7) == 5)
			mod = 2;
	} else if (mod == 0 && rm == 5) {
		mod = 2;
	}
	parts->disp_at = n;
	parts->disp_bytes = mod == 1 ? 1 : mod == 2 ? 4 : 0;
	for (unsigned i = 0; i < parts->disp_bytes; i++)
		p[n++] = (uint8_t)(i == 3 ? 0 : oracle_rnd(r));
	return n;
}

static void put_disp(uint8_t *p, const struct parts *parts, uint64_t v)
{
	memcpy(p + parts->disp_at, &v, parts->disp_bytes);
}

// Makes the operand's address va, as far as registers and displacement allow.
static void aim(struct oracle_rng *r, struct x86_insn *in, const struct parts *parts, uint64_t rip,
		uint64_t va, uint8_t *p, struct oracle_state *s)
{
	uint64_t index = 0, keep = in->addrsize == 4 ? oracle_rnd(r) << 32 : 0;

	// 32 bits cannot express a bad address: not a random one, which might be the test's own.
	if (va >> 63 && (in->addrsize == 4 || in->base == X86_REG_BVA || in->base == X86_REG_ZERO))
		va = RIG_DATA + 0x8000;
	if (in->seg == 1 + X86_GS)
		va -= ORACLE_GS;
	if (in->base == X86_REG_BVA) {
		put_disp(p, parts, va - rip - in->len);
		return;
	}
	if (in->index != X86_REG_ZERO && in->index != in->base) {
		s->gpr[in->index] = (oracle_rnd(r) & 63) | keep;
		index = (s->gpr[in->index] & ~keep) << in->scale;
	}
	if (in->base == X86_REG_ZERO)
		put_disp(p, parts, va - index);
	else if (in->base == in->index)
		s->gpr[in->base] = (va - (uint64_t)(int64_t)in->disp) / (1 + (1u << in->scale));
	else
		s->gpr[in->base] = (va - (uint64_t)(int64_t)in->disp - index) | keep;
}

static uint64_t ea_of(const struct x86_insn *in, const struct oracle_state *s, uint64_t rip)
{
	uint64_t a = (uint64_t)(int64_t)in->disp;

	if (in->base == X86_REG_BVA)
		a += rip + in->len;
	else if (in->base != X86_REG_ZERO)
		a += s->gpr[in->base];
	if (in->index != X86_REG_ZERO)
		a += s->gpr[in->index] << in->scale;
	if (in->addrsize == 4)
		a = (uint32_t)a;
	return a + (in->seg == 1 + X86_GS ? ORACLE_GS : 0);
}

static void scribble(struct oracle_rng *r, uint64_t va, unsigned len)
{
	for (unsigned i = 0; i < len; i += 8) {
		uint64_t v = oracle_value(r);

		oracle_native_write(va + i, &v, 8);
	}
}

static void random_registers(struct oracle_rng *r, const struct x86_insn *in,
			     struct oracle_state *s)
{
	uint64_t k = oracle_rnd(r);
	bool string = in->map == 0 && ((in->opcode >= 0xa4 && in->opcode <= 0xaf) ||
				       (in->opcode >= 0xe0 && in->opcode <= 0xe3));

	for (unsigned i = 0; i < 16; i++)
		s->gpr[i] = oracle_integer(r);
	s->gpr[X86_RSI] = target(r);
	s->gpr[X86_RDI] = k & 1 ? target(r) : s->gpr[X86_RSI] + (k >> 8 & 127) - 64;
	s->gpr[X86_RSP] = RIG_STACK - 0x1000 + (k >> 16 & 0x1f8) - 0x100;
	if ((k & 0xe0) == 0)
		s->gpr[X86_RSP] = target(r);
	s->gpr[X86_RBP] = k & 2 ? target(r) : RIG_STACK - 0x800 + (k >> 24 & 0x1ff);
	if (in->map == 0 && in->opcode == 0xd7)
		s->gpr[X86_RBX] = target(r);
	if (string)
		s->gpr[X86_RCX] = k & 0x700 ? k >> 32 & 31 : k >> 32 & 0x7fff;
	else if (k & 0x1000)
		s->gpr[X86_RCX] = k >> 32 & 0xff;
	s->flags = (oracle_rnd(r) & F_ARITH) | 2 | F_IF | (k & 0xe000 ? 0 : F_DF);
}

static bool bit_by_register(const struct x86_insn *in)
{
	return in->map == 1 && in->mod != 3 &&
	       (in->opcode == 0xa3 || in->opcode == 0xab || in->opcode == 0xb3 ||
		in->opcode == 0xbb);
}

// Bit offsets that stay near; branch targets on the code page, or nowhere.
static void fit_operand(struct oracle_rng *r, const struct x86_insn *in, struct oracle_state *s,
			uint64_t ea)
{
	bool branch =
		in->map == 0 && (in->opcode == 0xff || in->opcode == 0xc2 || in->opcode == 0xc3);
	uint64_t k = oracle_rnd(r), to = RIG_CODE + 0x10 + (k & 0x3ff);

	if (bit_by_register(in) && in->reg != in->base && in->reg != in->index)
		s->gpr[in->reg] = (k & 0xffff) - 0x8000;
	if (!branch)
		return;
	if ((k & 0x70000) == 0)
		to = k & 0x80000 ? 0x8000000000000000ull | k >> 8 : RIG_DATA + 0x8000;
	if (in->opcode != 0xff)
		oracle_native_write(s->gpr[X86_RSP], &to, 8);
	else if (in->mod != 3)
		oracle_native_write(ea, &to, 8);
	else
		s->gpr[in->rm] = to;
}

// Control words and images that are mostly valid; no trap or alignment flag for POPF.
static void fit_image(struct oracle_rng *r, const struct x86_insn *in, const struct oracle_state *s,
		      uint64_t ea)
{
	unsigned sub = in->modrm >> 3 & 7;
	uint16_t flags = (uint16_t)(oracle_rnd(r) & ~(uint64_t)F_TF), fcw = 0x37f;
	uint32_t high = (uint32_t)oracle_rnd(r) & 0x21, mxcsr = (uint32_t)oracle_rnd(r) & 0xffff;

	if (in->map == 0 && in->opcode == 0x9d) {
		oracle_native_write(s->gpr[X86_RSP], &flags, 2);
		oracle_native_write(s->gpr[X86_RSP] + 2, &high, 4);
	}
	if (in->mod == 3 || !in->has_modrm)
		return;
	if (in->map == 1 && in->opcode == 0xae && oracle_rnd(r) % 4) {
		oracle_native_write(ea + (sub == 1 ? 24 : 0), &mxcsr, 4);
		if (sub == 1)
			oracle_native_write(ea, &fcw, 2);
	}
	if (in->map == 0 && (in->opcode == 0xd9 || in->opcode == 0xdd) && sub >= 4 &&
	    oracle_rnd(r) % 2)
		oracle_native_write(ea, &fcw, 2);
}

static bool relative_branch(const struct x86_insn *in, unsigned *bytes)
{
	uint8_t o = in->opcode;

	*bytes = 1;
	if (in->map == 0 && ((o >= 0x70 && o <= 0x7f) || (o >= 0xe0 && o <= 0xe3) || o == 0xeb))
		return true;
	*bytes = in->opsize == 2 && in->mode != 64 ? 2 : 4;
	return (in->map == 0 && (o == 0xe8 || o == 0xe9)) ||
	       (in->map == 1 && o >= 0x80 && o <= 0x8f);
}

static unsigned prefixes(struct oracle_rng *r, const struct oracle_form *f, uint8_t *p)
{
	static const uint8_t seg[] = { 0x26, 0x2e, 0x36, 0x3e, 0x65, 0x65 };
	uint64_t k = oracle_rnd(r);
	unsigned n = 0;

	if (!(k & 15))
		p[n++] = seg[(k >> 8) % 6];
	if (!(k & 0xf0))
		p[n++] = 0x67;
	if (f->pfx > 1 && !(k & 0x7000))
		p[n++] = 0x66;
	return n;
}

unsigned oracle_encode(struct oracle_rng *r, struct x86_cpu *cpu, const struct oracle_form *f,
		       uint64_t rip, struct oracle_state *s, uint8_t *bytes, struct x86_insn *in)
{
	struct parts parts = { 0 };
	unsigned n = prefixes(r, f, bytes), rel, modrm_reg;
	uint64_t ea = 0;

	n += head(f, oracle_rnd(r) & 1 ? oracle_rnd(r) & 7 : 0, bytes + n);
	if (f->modrm)
		n = operands(r, f, bytes, n, &parts);
	for (unsigned i = n; i < 15 && i < n + 8; i++)
		bytes[i] = (uint8_t)oracle_rnd(r);
	if (!oracle_accepts(cpu, bytes, 15, in) || oracle_excluded(in))
		return 0; // too long, or one that a prefix made another
	modrm_reg = in->modrm >> 3 & 7;
	if (f->modrm && modrm_reg != f->reg)
		return 0;
	if (bit_by_register(in) && in->addrsize == 4 &&
	    (in->reg == in->base || in->reg == in->index))
		return 0; // the bit's number would be an address, and the sum anything
	random_registers(r, in, s);
	if (in->has_modrm && in->mod != 3) {
		uint64_t va = oracle_rnd(r) % 64 ? target(r) : oracle_integer(r) | 1ull << 63;

		aim(r, in, &parts, rip, va, bytes, s);
	}
	if (relative_branch(in, &rel)) {
		int32_t d =
			(int32_t)(oracle_rnd(r) % (rel == 1 ? 200 : 1900)) - (rel == 1 ? 100 : 950);

		// Not into what is under test, nor back to it: that may never end.
		if (d < 0 && d > -24 - (int32_t)(rip - RIG_CODE - ORACLE_AT))
			d = 8;
		if (d >= 0 && d < 100)
			d = 100;
		if (in->opsize == 2 && in->mode == 64)
			d = 100;
		memcpy(bytes + in->len - rel, &d, rel);
	}
	if (x86_decode(bytes, in->len, 64, in))
		return 0;
	if (in->has_modrm && in->mod != 3) {
		ea = ea_of(in, s, rip);
		scribble(r, ea, 32);
	}
	fit_operand(r, in, s, ea);
	if (in->has_modrm && in->mod != 3)
		ea = ea_of(in, s, rip);
	fit_image(r, in, s, ea);
	return in->len;
}
