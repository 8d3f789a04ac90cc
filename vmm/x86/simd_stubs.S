// SPDX-License-Identifier: Apache-2.0
// Instructions that cannot take their parameters from registers, once for each value, 16 or 32 bytes apart, as functions
// of the C calling convention: SSE with an 8-bit immediate (256 of each) and the x87 opcodes (512 register forms, 64 with
// memory). No code is made at run time.

	.text

// bytes: all but the immediate and what follows it
	.macro imm16 name:req, bytes:vararg
	.balign	64
	.globl	x86_stub_\name
	.hidden	x86_stub_\name
	.type	x86_stub_\name, @function
x86_stub_\name:
	.set	i, 0
	.rept	256
	.balign	16
	.byte	\bytes, i
	ret
	.set	i, i + 1
	.endr
	.size	x86_stub_\name, . - x86_stub_\name
	.endm

// xmm0 = op(xmm0, xmm1)
	imm16	pshufd, 0x66, 0x0f, 0x70, 0xc1
	imm16	pshufhw, 0xf3, 0x0f, 0x70, 0xc1
	imm16	pshuflw, 0xf2, 0x0f, 0x70, 0xc1
	imm16	cmpps, 0x0f, 0xc2, 0xc1
	imm16	cmppd, 0x66, 0x0f, 0xc2, 0xc1
	imm16	cmpss, 0xf3, 0x0f, 0xc2, 0xc1
	imm16	cmpsd, 0xf2, 0x0f, 0xc2, 0xc1
	imm16	shufps, 0x0f, 0xc6, 0xc1
	imm16	shufpd, 0x66, 0x0f, 0xc6, 0xc1
	imm16	roundps, 0x66, 0x0f, 0x3a, 0x08, 0xc1
	imm16	roundpd, 0x66, 0x0f, 0x3a, 0x09, 0xc1
	imm16	roundss, 0x66, 0x0f, 0x3a, 0x0a, 0xc1
	imm16	roundsd, 0x66, 0x0f, 0x3a, 0x0b, 0xc1
	imm16	blendps, 0x66, 0x0f, 0x3a, 0x0c, 0xc1
	imm16	blendpd, 0x66, 0x0f, 0x3a, 0x0d, 0xc1
	imm16	pblendw, 0x66, 0x0f, 0x3a, 0x0e, 0xc1
	imm16	palignr, 0x66, 0x0f, 0x3a, 0x0f, 0xc1
	imm16	insertps, 0x66, 0x0f, 0x3a, 0x21, 0xc1
	imm16	dpps, 0x66, 0x0f, 0x3a, 0x40, 0xc1
	imm16	dppd, 0x66, 0x0f, 0x3a, 0x41, 0xc1
	imm16	mpsadbw, 0x66, 0x0f, 0x3a, 0x42, 0xc1
// xmm0 = op(xmm0)
	imm16	psrldq, 0x66, 0x0f, 0x73, 0xd8
	imm16	pslldq, 0x66, 0x0f, 0x73, 0xf8
// eax or rax = op(xmm0)
	imm16	pextrb, 0x66, 0x0f, 0x3a, 0x14, 0xc0
	imm16	pextrw, 0x66, 0x0f, 0xc5, 0xc0
	imm16	pextrd, 0x66, 0x0f, 0x3a, 0x16, 0xc0
	imm16	pextrq, 0x66, 0x48, 0x0f, 0x3a, 0x16, 0xc0
	imm16	extractps, 0x66, 0x0f, 0x3a, 0x17, 0xc0
// xmm0 = op(xmm0, edi or rdi)
	imm16	pinsrb, 0x66, 0x0f, 0x3a, 0x20, 0xc7
	imm16	pinsrw, 0x66, 0x0f, 0xc4, 0xc7
	imm16	pinsrd, 0x66, 0x0f, 0x3a, 0x22, 0xc7
	imm16	pinsrq, 0x66, 0x48, 0x0f, 0x3a, 0x22, 0xc7

// Index (eax = ecx) or mask (xmm0), and the flags (AH, AL) into *rdi. Explicit lengths in rsi and rdx.
	.macro string name:req, op:req, explicit, index
	.balign	64
	.globl	x86_stub_\name
	.hidden	x86_stub_\name
	.type	x86_stub_\name, @function
x86_stub_\name:
	.set	i, 0
	.rept	256
	.balign	32
	.if	\explicit
	mov	%rsi, %rax
	.byte	0x66, 0x48, 0x0f, 0x3a, \op, 0xc1, i
	.else
	.byte	0x66, 0x0f, 0x3a, \op, 0xc1, i
	.endif
	lahf
	seto	%al
	mov	%ax, (%rdi)
	.if	\index
	mov	%ecx, %eax
	.endif
	ret
	.set	i, i + 1
	.endr
	.size	x86_stub_\name, . - x86_stub_\name
	.endm

	string	pcmpestrm, 0x60, 1, 0
	string	pcmpestri, 0x61, 1, 1
	string	pcmpistrm, 0x62, 0, 0
	string	pcmpistri, 0x63, 0, 1

// *rdi = op(*rdi, *rsi) in MMX registers; leaves the x87 stack empty
	.macro mmx name:req, bytes:vararg
	.balign	64
	.globl	x86_stub_\name
	.hidden	x86_stub_\name
	.type	x86_stub_\name, @function
x86_stub_\name:
	.set	i, 0
	.rept	256
	.balign	32
	movq	(%rdi), %mm0
	movq	(%rsi), %mm1
	.byte	\bytes, i
	movq	%mm0, (%rdi)
	emms
	ret
	.set	i, i + 1
	.endr
	.size	x86_stub_\name, . - x86_stub_\name
	.endm

	mmx	mmx_pshufw, 0x0f, 0x70, 0xc1
	mmx	mmx_palignr, 0x0f, 0x3a, 0x0f, 0xc1

// x87 register forms D8 C0 ... DF FF: flags (AH, AL) in and out
	.balign	64
	.globl	x86_stub_x87_reg
	.hidden	x86_stub_x87_reg
	.type	x86_stub_x87_reg, @function
x86_stub_x87_reg:
	.set	i, 0
	.rept	512
	.balign	16
	mov	%edi, %eax
	add	$0x7f, %al	// OF from bit 0
	sahf
	.byte	0xd8 + (i >> 6), 0xc0 + (i & 63)
	lahf
	seto	%al
	ret
	.set	i, i + 1
	.endr
	.size	x86_stub_x87_reg, . - x86_stub_x87_reg

// x87 memory forms on (%rdi): D8 /0 ... DF /7
	.balign	64
	.globl	x86_stub_x87_mem
	.hidden	x86_stub_x87_mem
	.type	x86_stub_x87_mem, @function
x86_stub_x87_mem:
	.set	i, 0
	.rept	64
	.balign	16
	.byte	0xd8 + (i >> 3), 0x07 + ((i & 7) << 3)
	ret
	.set	i, i + 1
	.endr
	.size	x86_stub_x87_mem, . - x86_stub_x87_mem

	.section .note.GNU-stack, "", @progbits
