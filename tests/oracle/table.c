// SPDX-License-Identifier: Apache-2.0
// What cannot be compared with the real processor: whole instructions, with the reason, and flags that an instruction
// leaves undefined (Intel SDM vol. 2; AMD APM vol. 3 leaves at least those).
#include "tests/oracle/oracle.h"

enum { ANY = 8 }; // of reg

struct range {
	uint8_t map, first, last, reg;
};

struct exclusion {
	struct range at;
	const char *why;
};

static const struct exclusion exclusions[] = {
	{ { 0, 0x8e, 0x8e, ANY }, "loads segment registers: the host's descriptor tables" },
	{ { 0, 0xca, 0xcb, ANY }, "far return: the host's descriptor tables" },
	{ { 0, 0xcc, 0xce, ANY }, "software interrupt: the host's system calls" },
	{ { 0, 0xcf, 0xcf, ANY }, "IRET: the host's descriptor tables" },
	{ { 0, 0xf1, 0xf1, ANY }, "software interrupt: the host's debug handler" },
	{ { 0, 0xf4, 0xf4, ANY }, "HLT ends the runs" },
	{ { 0, 0xff, 0xff, 3 }, "far call: the host's descriptor tables" },
	{ { 0, 0xff, 0xff, 5 }, "far jump: the host's descriptor tables" },
	{ { 1, 0x00, 0x03, ANY }, "descriptor tables and machine status: the host's" },
	{ { 1, 0x05, 0x05, ANY }, "SYSCALL: the host's kernel" },
	{ { 1, 0x07, 0x07, ANY }, "SYSRET: CR and MSR state" },
	{ { 1, 0x31, 0x31, ANY }, "time stamp" },
	{ { 1, 0x34, 0x35, ANY }, "SYSENTER: the host's kernel" },
	{ { 1, 0xa1, 0xa2, ANY }, "CPUID; POP FS" },
	{ { 1, 0xa9, 0xa9, ANY }, "POP GS: the host's descriptor tables" },
	{ { 1, 0xb2, 0xb2, ANY }, "loads SS" },
	{ { 1, 0xb4, 0xb5, ANY }, "loads FS, GS" },
	{ { 1, 0xc7, 0xc7, 6 }, "RDRAND" },
	{ { 1, 0xc7, 0xc7, 7 }, "RDSEED, RDPID" },
};

static bool within(const struct range *at, const struct x86_insn *in)
{
	return in->map == at->map && in->opcode >= at->first && in->opcode <= at->last &&
	       (at->reg == ANY || at->reg == (in->modrm >> 3 & 7));
}

const char *oracle_excluded(const struct x86_insn *in)
{
	for (unsigned i = 0; i < sizeof(exclusions) / sizeof(exclusions[0]); i++)
		if (within(&exclusions[i].at, in))
			return exclusions[i].why;
	if (in->map == 1 && in->opcode == 0xae && in->mod == 3 && in->rep)
		return "FS and GS bases: Linux may keep them for itself";
	if (in->map == 1 && (in->opcode & 0xfe) == 0xbc && in->rep)
		return "TZCNT, LZCNT where the host has them; BSF, BSR here";
	if (in->has_modrm && in->mod != 3 && in->seg == 1 + X86_FS)
		return "FS is the test's own thread";
	return NULL;
}

static bool near_branch(const struct x86_insn *in)
{
	uint8_t o = in->opcode, sub = in->modrm >> 3 & 7;

	if (in->map == 1)
		return o >= 0x80 && o <= 0x8f;
	return in->map == 0 &&
	       ((o >= 0x70 && o <= 0x7f) || (o >= 0xe0 && o <= 0xe3) || (o >= 0xe8 && o <= 0xeb) ||
		(o & 0xfe) == 0xc2 || (o == 0xff && (sub == 2 || sub == 4)));
}

bool oracle_vendor_specific(const struct x86_insn *in, const struct oracle_state *s)
{
	if (near_branch(in) && in->opsize16)
		return true; // AMD truncates RIP, Intel ignores the prefix
	if (in->map == 0 && (in->opcode & 0xfc) == 0x6c && (in->rep || in->repne) &&
	    !(s->gpr[X86_RCX] & (in->addrsize == 4 ? 0xffffffff : ~0ull)))
		return true; // of no iterations: AMD asks for the port's permission all the same
	if (in->map == 0 && (in->opcode & 0xfe) == 0xe0 && (in->rep || in->repne))
		return true; // LOOPE, LOOPNE: on AMD the prefix says which of the two
	if (in->map == 1 && in->opcode == 0x0d && in->mod == 3)
		return true; // PREFETCH of a register: #UD on AMD, a NOP for Intel
	if (in->map == 0 && in->opcode == 0xd9 && (in->modrm & 0xf8) == 0xd8)
		return true; // undocumented FSTP: AMD looks at whether the register is empty
	if (in->map == 1 && (in->opcode == 0x2a || (in->opcode & 0xfe) == 0x2c) &&
	    in->pfx != 0xf3 && in->pfx != 0xf2 && (s->fx.mxcsr & 0x1f80) != 0x1f80)
		return true; // conversion to MMX with unmasked exceptions: whether TOP is 0 after #XM
	if (in->map == 1 && in->opcode == 0x2a && in->mod != 3 && in->pfx != 0xf3 &&
	    in->pfx != 0xf2 && (s->fx.fsw & 0x80))
		return true; // conversion from 64 bits of memory: whether it is MMX, and so raises #MF
	if (in->map == 0 && in->opcode == 0xff && (in->modrm >> 3 & 7) == 2 &&
	    s->gpr[X86_RSP] - 8 - (RIG_STACK - 0x2000) > 0x1ff8)
		return true; // CALL r/m: which of two bad addresses is seen first
	if (in->map == 0 && in->opcode == 0x90 && in->rep && (in->rex & 1))
		return true; // PAUSE with REX.B: on AMD, as here, an exchange of R8 with RAX
	if (in->map == 0 && in->opcode == 0x63 && in->opsize == 2)
		return true; // MOVSXD of 16 bits: how much memory is read
	if (in->map == 1 && in->opcode == 0xf7 &&
	    (in->seg || in->addrsize != 8 || s->gpr[X86_RDI] - RIG_DATA > 0x1ff0))
		return true; // MASKMOV: whether bytes that are not stored fault
	return false;
}

bool oracle_vendor_fault(const struct x86_insn *in, const struct oracle_state *a,
			 const struct oracle_state *s)
{
	uint8_t o = in->opcode, sub = in->modrm >> 3 & 7;
	bool mem = in->has_modrm && in->mod != 3;
	bool access = s->vector == EXC_PF || s->vector == EXC_GP || s->vector == EXC_SS ||
		      s->vector == EXC_AC;

	if (in->map == 1)
		return access && mem && a->vector == s->vector && a->rip == s->rip && !in->pfx &&
		       (o == 0x7e || o == 0x7f || o == 0xe7); // MMX store: whether TOP is 0 then
	if (in->map || !access)
		return false;
	if ((o & 0xf6) ==
	    0xa6) // CMPS: which operand is first; both: flags of the last turn, or of before the first
		return a->vector == s->vector && a->rip == s->rip;
	if (o == 0xff && sub == 2)
		return s->vector == EXC_GP && a->vector == s->vector &&
		       a->rip == s->rip; // CALL to no address: whether the return address is stored
	if (mem && ((o == 0xdb && sub == 7) || (o == 0xdf && sub == 6)) && a->vector == s->vector &&
	    a->rip == s->rip)
		return true; // ten bytes over two pages: whether those of the first are stored
	return mem && (s->fx.fcw & 0x3f) != 0x3f &&
	       (((o == 0xd9 || o == 0xdd) && (sub == 2 || sub == 3)) ||
		((o == 0xdb || o == 0xdf || o == 0xdd) && sub >= 1 && sub <= 3) ||
		((o == 0xdb || o == 0xdf) &&
		 sub >= 6)); // x87 store: whether its own exception is first
}

// vmm/x86 computes with all exceptions masked and looks at the flags (simd_bind.c), which say less. With underflow or
// overflow unmasked: a result that is tiny but exact does not raise, flush to zero acts, and the inexact flag is set with
// overflow. DPPS and DPPD stop at the first of their products and sums that raises; there all of them are done.
bool oracle_known_to_differ(const struct x86_insn *in, const struct oracle_state *s)
{
	uint32_t unmasked = ~s->fx.mxcsr & 0x1f80;

	if (in->map == 3)
		return (in->opcode & 0xfe) == 0x40 && unmasked;
	return in->map == 1 && (unmasked & 0xc00) &&
	       ((in->opcode & 0xf0) == 0x50 || in->opcode == 0x7c || in->opcode == 0x7d ||
		in->opcode == 0xd0);
}

enum when { ALWAYS, COUNT, COUNT_1 }; // if the count is not 0; the flag but for a count of 1

struct undefined {
	struct range at;
	uint32_t flags;
	enum when when;
};

static const struct undefined undefined_flags[] = {
	{ { 0, 0x08, 0x0d, ANY }, F_AF, ALWAYS }, // OR
	{ { 0, 0x20, 0x25, ANY }, F_AF, ALWAYS }, // AND
	{ { 0, 0x30, 0x35, ANY }, F_AF, ALWAYS }, // XOR
	{ { 0, 0x69, 0x69, ANY }, F_SF | F_ZF | F_AF | F_PF, ALWAYS },
	{ { 0, 0x6b, 0x6b, ANY }, F_SF | F_ZF | F_AF | F_PF, ALWAYS },
	{ { 0, 0x80, 0x83, 1 }, F_AF, ALWAYS },
	{ { 0, 0x80, 0x83, 4 }, F_AF, ALWAYS },
	{ { 0, 0x80, 0x83, 6 }, F_AF, ALWAYS },
	{ { 0, 0x84, 0x85, ANY }, F_AF, ALWAYS },
	{ { 0, 0xa8, 0xa9, ANY }, F_AF, ALWAYS },
	{ { 0, 0xc0, 0xc1, ANY }, F_OF, COUNT_1 },
	{ { 0, 0xd0, 0xd3, ANY }, F_OF, COUNT_1 },
	{ { 0, 0xc0, 0xc1, 4 }, F_AF, COUNT },
	{ { 0, 0xc0, 0xc1, 5 }, F_AF, COUNT },
	{ { 0, 0xc0, 0xc1, 6 }, F_AF, COUNT },
	{ { 0, 0xc0, 0xc1, 7 }, F_AF, COUNT },
	{ { 0, 0xd0, 0xd3, 4 }, F_AF, COUNT },
	{ { 0, 0xd0, 0xd3, 5 }, F_AF, COUNT },
	{ { 0, 0xd0, 0xd3, 6 }, F_AF, COUNT },
	{ { 0, 0xd0, 0xd3, 7 }, F_AF, COUNT },
	{ { 0, 0xf6, 0xf7, 0 }, F_AF, ALWAYS },
	{ { 0, 0xf6, 0xf7, 1 }, F_AF, ALWAYS },
	{ { 0, 0xf6, 0xf7, 4 }, F_SF | F_ZF | F_AF | F_PF, ALWAYS },
	{ { 0, 0xf6, 0xf7, 5 }, F_SF | F_ZF | F_AF | F_PF, ALWAYS },
	{ { 0, 0xf6, 0xf7, 6 }, F_ARITH, ALWAYS },
	{ { 0, 0xf6, 0xf7, 7 }, F_ARITH, ALWAYS },
	{ { 1, 0xa3, 0xa3, ANY }, F_OF | F_SF | F_AF | F_PF, ALWAYS },
	{ { 1, 0xa4, 0xa5, ANY }, F_AF, COUNT },
	{ { 1, 0xa4, 0xa5, ANY }, F_OF, COUNT_1 },
	{ { 1, 0xab, 0xab, ANY }, F_OF | F_SF | F_AF | F_PF, ALWAYS },
	{ { 1, 0xac, 0xad, ANY }, F_AF, COUNT },
	{ { 1, 0xac, 0xad, ANY }, F_OF, COUNT_1 },
	{ { 1, 0xaf, 0xaf, ANY }, F_SF | F_ZF | F_AF | F_PF, ALWAYS },
	{ { 1, 0xb3, 0xb3, ANY }, F_OF | F_SF | F_AF | F_PF, ALWAYS },
	{ { 1, 0xba, 0xbb, ANY }, F_OF | F_SF | F_AF | F_PF, ALWAYS },
	{ { 1, 0xbc, 0xbd, ANY }, F_OF | F_SF | F_AF | F_PF | F_CF, ALWAYS },
};

static unsigned shift_count(const struct x86_insn *in, uint64_t rcx)
{
	bool wide = in->opsize == 8 && (in->map == 1 || (in->opcode & 1));
	unsigned n = in->map == 1        ? (in->opcode & 1 ? (unsigned)rcx : (unsigned)in->imm)
		     : in->opcode < 0xd0 ? (unsigned)in->imm
		     : in->opcode < 0xd2 ? 1
					 : (unsigned)rcx;

	return n & (wide ? 63 : 31);
}

// Counts of the operand's size and beyond leave CF undefined too; double shifts beyond 16 bits leave everything so, but
// there vmm/x86 and the test both have what this processor does.
static uint32_t wide_shift(const struct x86_insn *in, unsigned count)
{
	unsigned bits = in->map == 0 && !(in->opcode & 1) ? 8 : 8u * in->opsize,
		 sub = in->modrm >> 3 & 7;

	if (in->map == 1)
		return count > bits ? F_ARITH : 0;
	return (sub == 4 || sub == 5 || sub == 6) && count >= bits ? F_CF : 0;
}

uint32_t oracle_undefined(const struct x86_insn *in, const uint64_t gpr[16])
{
	uint32_t mask = 0;

	for (unsigned i = 0; i < sizeof(undefined_flags) / sizeof(undefined_flags[0]); i++) {
		const struct undefined *u = &undefined_flags[i];
		unsigned count;

		if (!within(&u->at, in))
			continue;
		count = u->when == ALWAYS ? 2 : shift_count(in, gpr[X86_RCX]);
		if (count && (u->when != COUNT_1 || count != 1))
			mask |= u->flags;
		if (u->when != ALWAYS)
			mask |= wide_shift(in, count);
	}
	return mask;
}

bool oracle_in_parts(const struct x86_insn *in)
{
	unsigned sub = in->modrm >> 3 & 7;

	if (in->map == 1 && in->opcode == 0xf7)
		return true; // MASKMOVQ, MASKMOVDQU
	if (in->mod == 3 || !in->has_modrm)
		return false;
	if (in->map == 1)
		return in->opcode == 0xae && sub < 2;
	return in->map == 0 && ((in->opcode == 0xd9 && (sub == 4 || sub == 6)) ||
				(in->opcode == 0xdd && (sub == 4 || sub == 6)));
}

// Environments and FXSAVE images hold instruction and data pointers (kept by some processors only for pending
// exceptions), and FXSAVE tells which MXCSR bits the processor has.
unsigned oracle_undefined_memory(const struct x86_insn *in, unsigned *ret_at)
{
	unsigned sub = in->modrm >> 3 & 7;

	*ret_at = 0;
	if (in->mod == 3 || !in->has_modrm)
		return 0;
	if (in->map == 1 && in->opcode == 0xae && sub == 0 && !in->pfx) {
		*ret_at = 6;
		return 26; // opcode, pointers, MXCSR_MASK; MXCSR itself is among the registers
	}
	if (in->map == 0 && (in->opcode == 0xd9 || in->opcode == 0xdd) && sub == 6) {
		*ret_at = in->opsize == 2 ? 6 : 12;
		return in->opsize == 2 ? 8 : 16;
	}
	return 0;
}
