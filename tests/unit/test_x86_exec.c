// SPDX-License-Identifier: Apache-2.0
// Integer instructions against the real processor: random bytes of known shapes run natively and in software from the
// same registers, flags and memory, and everything is compared (but the flags an instruction leaves undefined).
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <sys/mman.h>

#include "tests/unit/x86_rig.h"

enum {
	CASES = 40000,
	CF = 1,
	PF = 4,
	AF = 16,
	ZF = 64,
	SF = 128,
	OF = 2048,
	ALL = CF | PF | AF | ZF | SF | OF
};

struct native {
	uint64_t gpr[16], flags; // offsets are known to the trampoline
};

// rdi = struct native, rsi = code. Loads all registers but RSP, calls the code, stores them back.
__asm__(".text\n"
	".globl native_run\n"
	"native_run:\n"
	"	push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
	"	push %rdi\n"
	"	mov %rsi, native_code(%rip)\n"
	"	push 128(%rdi); popf\n"
	"	mov 0(%rdi), %rax; mov 8(%rdi), %rcx; mov 16(%rdi), %rdx; mov 24(%rdi), %rbx\n"
	"	mov 40(%rdi), %rbp; mov 48(%rdi), %rsi; mov 64(%rdi), %r8; mov 72(%rdi), %r9\n"
	"	mov 80(%rdi), %r10; mov 88(%rdi), %r11; mov 96(%rdi), %r12; mov 104(%rdi), %r13\n"
	"	mov 112(%rdi), %r14; mov 120(%rdi), %r15; mov 56(%rdi), %rdi\n"
	"	call *native_code(%rip)\n"
	"	push %rdi; pushf\n"
	"	mov 16(%rsp), %rdi\n"
	"	pop 128(%rdi); pop 56(%rdi)\n"
	"	cld\n"
	"	mov %rax, 0(%rdi); mov %rcx, 8(%rdi); mov %rdx, 16(%rdi); mov %rbx, 24(%rdi)\n"
	"	mov %rbp, 40(%rdi); mov %rsi, 48(%rdi); mov %r8, 64(%rdi); mov %r9, 72(%rdi)\n"
	"	mov %r10, 80(%rdi); mov %r11, 88(%rdi); mov %r12, 96(%rdi); mov %r13, 104(%rdi)\n"
	"	mov %r14, 112(%rdi); mov %r15, 120(%rdi)\n"
	"	pop %rdi\n"
	"	pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
	"	ret\n"
	".bss\nnative_code: .skip 8\n.text\n");
void native_run(struct native *n, const void *code);

// One shape of instruction: opcode bytes, what follows, undefined flags.
struct shape {
	const char *name;
	uint8_t map, op; // map 0, 1 (0F)
	uint8_t mask;    // low bits of op that may vary
	int8_t sub;      // ModRM.reg, -1: any register, -2: no ModRM
	uint8_t imm;     // 0 none, 1 byte, 4 by operand size, 8 MOV imm
	uint16_t undefined;
	bool no_mem, no_reg, no16, bytes_ok, rep_ok;
};

static const struct shape shapes[] = {
	{ "alu r/m,r", 0, 0x00, 0x3b, -1, 0, 0, .bytes_ok = true },
	{ "alu a,imm", 0, 0x04, 0x38, -2, 1, 0 },
	{ "alu eax,imm", 0, 0x05, 0x38, -2, 4, 0 },
	{ "group1 ib", 0, 0x80, 0, -3, 1, 0 },
	{ "group1 iz", 0, 0x81, 0, -3, 4, 0 },
	{ "group1 sib", 0, 0x83, 0, -3, 1, 0 },
	{ "test", 0, 0x84, 1, -1, 0, AF },
	{ "xchg", 0, 0x86, 1, -1, 0, 0 },
	{ "mov", 0, 0x88, 3, -1, 0, 0 },
	{ "lea", 0, 0x8d, 0, -1, 0, 0, .no_reg = true },
	{ "xchg rax", 0, 0x91, 0, -2, 0, 0 },
	{ "cwde", 0, 0x98, 1, -2, 0, 0 },
	{ "lahf", 0, 0x9f, 0, -2, 0, 0 },
	{ "sahf", 0, 0x9e, 0, -2, 0, 0 },
	{ "mov ib", 0, 0xb0, 3, -2, 1, 0 },
	{ "mov iv", 0, 0xb8, 3, -2, 8, 0 },
	{ "test imm", 0, 0xa8, 0, -2, 1, AF },
	{ "shift ib", 0, 0xc0, 0, -3, 1, AF | OF },
	{ "shift iz ib", 0, 0xc1, 0, -3, 1, AF | OF },
	{ "shift 1", 0, 0xd0, 1, -3, 0, AF },
	{ "shift cl", 0, 0xd2, 1, -3, 0, AF | OF },
	{ "mov m,ib", 0, 0xc6, 0, 0, 1, 0 },
	{ "mov m,iz", 0, 0xc7, 0, 0, 4, 0 },
	{ "not", 0, 0xf6, 1, 2, 0, 0 },
	{ "neg", 0, 0xf6, 1, 3, 0, 0 },
	{ "mul", 0, 0xf6, 1, 4, 0, SF | ZF | AF | PF },
	{ "imul", 0, 0xf6, 1, 5, 0, SF | ZF | AF | PF },
	{ "inc dec", 0, 0xfe, 1, -4, 0, 0 },
	{ "flags", 0, 0xf8, 1, -2, 0, 0 },
	{ "cmc", 0, 0xf5, 0, -2, 0, 0 },
	{ "imul r,r/m,iz", 0, 0x69, 0, -1, 4, SF | ZF | AF | PF },
	{ "imul r,r/m,ib", 0, 0x6b, 0, -1, 1, SF | ZF | AF | PF },
	{ "movsxd", 0, 0x63, 0, -1, 0, 0 },
	{ "cmov", 1, 0x40, 15, -1, 0, 0 },
	{ "setcc", 1, 0x90, 15, 0, 0, 0 },
	{ "bt", 1, 0xa3, 0, -1, 0, OF | SF | AF | PF, .no_mem = true },
	{ "bts", 1, 0xab, 0, -1, 0, OF | SF | AF | PF, .no_mem = true },
	{ "btr", 1, 0xb3, 0, -1, 0, OF | SF | AF | PF, .no_mem = true },
	{ "btc", 1, 0xbb, 0, -1, 0, OF | SF | AF | PF, .no_mem = true },
	{ "bt imm", 1, 0xba, 0, -5, 1, OF | SF | AF | PF },
	{ "shld", 1, 0xa4, 0, -1, 1, AF | OF, .no16 = true },
	{ "shld cl", 1, 0xa5, 0, -1, 0, AF | OF, .no16 = true },
	{ "shrd", 1, 0xac, 0, -1, 1, AF | OF, .no16 = true },
	{ "shrd cl", 1, 0xad, 0, -1, 0, AF | OF, .no16 = true },
	{ "imul r,r/m", 1, 0xaf, 0, -1, 0, SF | ZF | AF | PF },
	{ "cmpxchg", 1, 0xb0, 1, -1, 0, 0 },
	{ "movzx", 1, 0xb6, 1, -1, 0, 0 },
	{ "movsx", 1, 0xbe, 1, -1, 0, 0 },
	{ "bsf bsr", 1, 0xbc, 1, -1, 0, OF | SF | AF | PF | CF },
	{ "xadd", 1, 0xc0, 1, -1, 0, 0 },
	{ "bswap", 1, 0xc8, 3, -2, 0, 0, .no16 = true },
	{ "movs", 0, 0xa4, 1, -2, 0, 0, .rep_ok = true },
	{ "stos", 0, 0xaa, 1, -2, 0, 0, .rep_ok = true },
	{ "lods", 0, 0xac, 1, -2, 0, 0, .rep_ok = true },
	{ "scas", 0, 0xae, 1, -2, 0, 0, .rep_ok = true },
	{ "cmps", 0, 0xa6, 1, -2, 0, 0, .rep_ok = true },
};

static uint64_t rng_state;
static uint64_t rng(void)
{
	rng_state ^= rng_state << 13;
	rng_state ^= rng_state >> 7;
	rng_state ^= rng_state << 17;
	return rng_state;
}

static uint64_t interesting(void)
{
	static const uint64_t v[] = { 0,
				      1,
				      0x7f,
				      0x80,
				      0xff,
				      0x7fff,
				      0x8000,
				      0xffff,
				      0x7fffffff,
				      0x80000000,
				      0xffffffff,
				      0x7fffffffffffffff,
				      0x8000000000000000,
				      ~0ull };

	return rng() % 3 ? rng() >> (rng() & 63) : v[rng() % (sizeof(v) / sizeof(*v))];
}

// Writes one instruction; returns its length.
static unsigned generate(const struct shape *s, uint8_t *out)
{
	bool wide = rng() & 1, op16 = !wide && !s->no16 && rng() % 4 == 0, mem;
	uint8_t op = (uint8_t)(s->op | (rng() & s->mask)), rex = (uint8_t)(0x40 | (wide ? 8 : 0)),
		modrm = 0;
	unsigned n = 0;

	if (s->rep_ok && rng() & 1)
		out[n++] = rng() & 1 ? 0xf3 : 0xf2;
	if (op16)
		out[n++] = 0x66;
	if (s->sub != -2) {
		unsigned reg = s->sub >= 0    ? (unsigned)s->sub
			       : s->sub == -1 ? rng() & 15
			       : s->sub == -4 ? rng() & 1
			       : s->sub == -5 ? 4 + (rng() & 3)
					      : rng() & 7;
		unsigned rm = rng() & 15;

		mem = s->no_mem ? false : s->no_reg ? true : rng() & 1;
		while (s->sub == -1 && reg == 4)
			reg = rng() & 15;
		while (rm == 4)
			rm = rng() & 15;
		rex |= (uint8_t)(reg >> 3 << 2);
		if (mem) {
			modrm = (uint8_t)(0x40 | (reg & 7) << 3 | 3); // [rbx + disp8]
		} else {
			rex |= (uint8_t)(rm >> 3);
			modrm = (uint8_t)(0xc0 | (reg & 7) << 3 | (rm & 7));
		}
		// Without REX, byte registers 4..7 are the high ones: leave it out now and then.
		if (rex != 0x40 || rng() & 1)
			out[n++] = rex;
	} else if (wide) {
		out[n++] = rex;
	}
	if (s->map)
		out[n++] = 0x0f;
	out[n++] = op;
	if (s->sub != -2) {
		out[n++] = modrm;
		if (modrm < 0xc0)
			out[n++] = (uint8_t)(rng() & 0x7f);
	}
	if (s->imm == 1)
		out[n++] = (uint8_t)rng();
	if (s->imm == 4 || s->imm == 8) {
		unsigned bytes = s->imm == 8 && wide ? 8 : op16 ? 2 : 4;
		uint64_t v = interesting();

		memcpy(out + n, &v, bytes);
		n += bytes;
	}
	return n;
}

// With the count masked to 1 OF is defined after all, with 0 nothing changes; for others it is not.
static void randomize(struct native *n)
{
	for (unsigned i = 0; i < 16; i++)
		n->gpr[i] = interesting();
	n->gpr[X86_RBX] = RIG_DATA + 256;
	n->gpr[X86_RSI] = RIG_DATA + 512 + (rng() & 63);
	n->gpr[X86_RDI] = RIG_DATA + 1024 + (rng() & 63);
	n->gpr[X86_RCX] = rng() & 1 ? rng() & 31 : interesting() & 0xff;
	n->flags = 0x202 | (rng() & ALL) | (rng() % 8 ? 0 : 0x400);
}

static bool string_shape(const struct shape *s)
{
	return s->rep_ok;
}

static void test_random(void **state)
{
	uint8_t *code = mmap((void *)(uintptr_t)RIG_CODE, 8192, PROT_READ | PROT_WRITE | PROT_EXEC,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	uint8_t *data = mmap((void *)(uintptr_t)RIG_DATA, 8192, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	const char *seed = getenv("X86_SEED");
	struct rig r;
	unsigned bad = 0;

	(void)state;
	assert_ptr_not_equal(code, MAP_FAILED);
	assert_ptr_not_equal(data, MAP_FAILED);
	rng_state = seed ? strtoull(seed, NULL, 0) : 0x9e3779b97f4a7c15ull;
	rig_init(&r);
	for (unsigned i = 0; i < CASES && bad < 10; i++) {
		const struct shape *s = &shapes[rng() % (sizeof(shapes) / sizeof(*shapes))];
		struct native n, was;
		struct x86_state st;
		struct x86_exit ex;
		uint8_t insn[16] = { 0 };
		unsigned len;
		uint64_t mask;

		randomize(&n);
		if (string_shape(s))
			n.gpr[X86_RCX] = rng() % 20;
		len = generate(s, insn);
		was = n;
		for (unsigned j = 0; j < 4096; j++)
			data[j] = (uint8_t)rng();
		memcpy(r.ram + RIG_GPA_DATA * 4096, data, 4096);
		memcpy(code, insn, len);
		code[len] = 0xc3;
		native_run(&n, code);

		memcpy(r.ram + RIG_GPA_CODE * 4096, insn, len);
		r.ram[RIG_GPA_CODE * 4096 + len] = 0xf4;
		x86_notify_write(r.cpu);
		x86_get_state(r.cpu, &st);
		memcpy(st.gpr, was.gpr, sizeof(st.gpr));
		st.gpr[X86_RSP] = RIG_STACK;
		st.rflags = was.flags & ~0x200ull;
		st.rip = RIG_CODE;
		x86_set_state(r.cpu, &st);
		x86_run(r.cpu, &ex);
		x86_get_state(r.cpu, &st);
		st.gpr[X86_RSP] = n.gpr[X86_RSP] = 0;
		mask = ALL & ~(uint64_t)s->undefined;
		if (ex.reason != X86_EXIT_HLT || memcmp(st.gpr, n.gpr, sizeof(n.gpr)) ||
		    ((st.rflags ^ n.flags) & (mask | 0x400)) ||
		    memcmp(data, r.ram + RIG_GPA_DATA * 4096, 4096)) {
			bad++;
			printf("# case %u %s:", i, s->name);
			for (unsigned j = 0; j < len; j++)
				printf(" %02x", insn[j]);
			printf(" exit %d rip %#llx flags %#llx want %#llx from %#llx\n", ex.reason,
			       (long long)st.rip, (long long)(st.rflags & ALL),
			       (long long)(n.flags & ALL), (long long)was.flags);
			for (unsigned j = 0; j < 16; j++)
				if (st.gpr[j] != n.gpr[j])
					printf("#   r%u = %#llx want %#llx was %#llx\n", j,
					       (long long)st.gpr[j], (long long)n.gpr[j],
					       (long long)was.gpr[j]);
		}
	}
	rig_done(&r);
	assert_int_equal(bad, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_random) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
