// SPDX-License-Identifier: Apache-2.0
// Which part of the processor has each opcode.
#include "vmm/x86/cpu.h"

static bool bind_map0(struct x86_bind *b)
{
	const struct x86_insn *in = b->insn;
	uint8_t o = in->opcode;

	if (in->mode != 64 && x86_bind_legacy(b))
		return true;
	switch (o) {
	case 0x50 ... 0x5f:
	case 0x63:
	case 0x68:
	case 0x6a:
	case 0x88 ... 0x8f:
	case 0x98:
	case 0x99:
	case 0xa0 ... 0xa3:
	case 0xb0 ... 0xbf:
	case 0xc6:
	case 0xc7:
	case 0xc8:
	case 0xc9:
	case 0xd7:
		return x86_bind_mov(b);
	case 0x6c ... 0x6f:
	case 0xa4 ... 0xa7:
	case 0xaa ... 0xaf:
	case 0xe4 ... 0xe7:
	case 0xec ... 0xef:
		return x86_bind_string(b);
	case 0x70 ... 0x7f:
	case 0xc2:
	case 0xc3:
	case 0xca:
	case 0xcb:
	case 0xcf:
	case 0x9a:
	case 0xea:
	case 0xe0 ... 0xe3:
	case 0xe8:
	case 0xe9:
	case 0xeb:
		return x86_bind_branch(b);
	case 0x90: // XCHG r8, rAX with REX.B; otherwise NOP and PAUSE
		return in->rex & 1 ? x86_bind_alu(b) : x86_bind_sys(b);
	case 0x9b:
	case 0xd8 ... 0xdf:
		return x86_bind_x87(b);
	case 0x9c:
	case 0x9d:
	case 0xcc:
	case 0xcd:
	case 0xf1:
	case 0xf4:
	case 0xfa:
	case 0xfb:
		return x86_bind_sys(b);
	case 0x9e:
	case 0x9f:
	case 0xf5:
	case 0xf8:
	case 0xf9:
	case 0xfc:
	case 0xfd:
		return !in->lock && x86_bind_bits(b);
	case 0xc0:
	case 0xc1:
	case 0xd0 ... 0xd3:
		return x86_bind_shift(b);
	case 0xff:
		switch (in->modrm >> 3 & 7) {
		case 0:
		case 1:
			return x86_bind_alu(b);
		case 6:
			return x86_bind_mov(b);
		case 7:
			return false;
		default:
			return x86_bind_branch(b);
		}
	default:
		return x86_bind_alu(b);
	}
}

static bool bind_map1(struct x86_bind *b)
{
	const struct x86_insn *in = b->insn;
	uint8_t o = in->opcode;

	switch (o) {
	case 0x00 ... 0x03:
	case 0x05 ... 0x09:
	case 0x0d:
	case 0x18 ... 0x23:
	case 0x30 ... 0x33:
	case 0x34 ... 0x35:
	case 0xa2:
	case 0xae:
		return x86_bind_sys(b);
	case 0x40 ... 0x4f:
	case 0x90 ... 0x9f:
	case 0xa3:
	case 0xab:
	case 0xb3:
	case 0xb8:
	case 0xba ... 0xbd:
	case 0xc8 ... 0xcf:
		return x86_bind_bits(b);
	case 0x80 ... 0x8f:
		return x86_bind_branch(b);
	case 0xb6:
	case 0xb7:
	case 0xbe:
	case 0xbf:
	case 0xc3:
		return x86_bind_mov(b);
	case 0xa4:
	case 0xa5:
	case 0xac:
	case 0xad:
		return x86_bind_shift(b);
	case 0xaf:
	case 0xb0:
	case 0xb1:
	case 0xc0:
	case 0xc1:
		return x86_bind_alu(b);
	case 0xa0 ... 0xa1:
	case 0xa8 ... 0xa9:
	case 0xb2:
	case 0xb4 ... 0xb5:
		return x86_bind_legacy(b);
	case 0xc7:
		return in->mod == 3 ? x86_bind_sys(b) : x86_bind_alu(b);
	case 0x10 ... 0x17:
	case 0x28 ... 0x2f:
	case 0x50 ... 0x77:
	case 0x7c ... 0x7f:
	case 0xc2:
	case 0xc4 ... 0xc6:
	case 0xd0 ... 0xfe:
		return !in->lock && x86_bind_simd(b);
	default:
		return false; // UD0, UD1, UD2 and what this processor does not have
	}
}

bool x86_bind_insn(struct x86_bind *b)
{
	const struct x86_insn *in = b->insn;

	switch (in->map) {
	case 0:
		return bind_map0(b);
	case 1:
		return bind_map1(b);
	case 2:
		if ((in->opcode & 0xfe) == 0xf0)
			return x86_bind_bits(b);
		return !in->lock && x86_bind_simd(b);
	default:
		return !in->lock && x86_bind_simd(b);
	}
}
