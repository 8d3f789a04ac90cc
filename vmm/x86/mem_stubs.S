// SPDX-License-Identifier: Apache-2.0
// The way from a handler's fast path to mmu.c on a TLB miss. Every register but the result comes back as it was, so that
// the compiler need not keep anything on the stack for a call that hardly ever happens: the handler stays a leaf.
	.text
	.macro	STUB name, target, result
	.globl	\name
	.hidden	\name
	.type	\name, @function
\name:
	push	%rbp
	mov	%rsp, %rbp
	.ifeq	\result
	push	%rax
	.endif
	push	%rcx
	push	%rdx
	push	%rsi
	push	%rdi
	push	%r8
	push	%r9
	push	%r10
	push	%r11
	sub	$264, %rsp
	and	$-16, %rsp
	.irp	n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
	movaps	%xmm\n, \n*16(%rsp)
	.endr
	call	\target
	.irp	n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
	movaps	\n*16(%rsp), %xmm\n
	.endr
	.ifeq	\result
	lea	-72(%rbp), %rsp
	.else
	lea	-64(%rbp), %rsp
	.endif
	pop	%r11
	pop	%r10
	pop	%r9
	pop	%r8
	pop	%rdi
	pop	%rsi
	pop	%rdx
	pop	%rcx
	.ifeq	\result
	pop	%rax
	.endif
	pop	%rbp
	ret
	.size	\name, . - \name
	.endm

	STUB	x86_ld_stub, x86_ld_slow, 1
	STUB	x86_rmw_stub, x86_rmw_slow, 1
	STUB	x86_st_stub, x86_st_slow, 0

// x86_enter(cpu, op): op's handler, with the registers that C wants back kept.
	.globl	x86_enter
	.hidden	x86_enter
	.type	x86_enter, @function
x86_enter:
	push	%rbx
	push	%rbp
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	sub	$8, %rsp
	call	*(%rsi)
	add	$8, %rsp
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbp
	pop	%rbx
	ret
	.size	x86_enter, . - x86_enter

	.section .note.GNU-stack, "", @progbits
