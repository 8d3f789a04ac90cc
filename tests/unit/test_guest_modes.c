// SPDX-License-Identifier: Apache-2.0
// Bare-metal guests in the processor's other modes: real mode, 16- and 32-bit protected mode, compatibility mode, and the
// ways between them. Each is a stanza: code, the mode it starts in, what it says on port 0x3f8.
#include "tests/unit/guest_rig.h"

// Real mode: segments are paragraphs, stack and strings wrap at 64 KiB.
GUEST(real_hello, 16,
      "mov $0x9000, %ax; mov %ax, %es; xor %di, %di; mov %cs, %ax; mov %ax, %ds\n"
      "mov $(1f - real_hello_begin), %si; mov $5, %cx; cld; rep movsb\n"
      "mov %es:4, %al\n" SAYL "mov %es:0, %al\n" SAYL STOP "1: .ascii \"abcde\"");
GUEST(real_int, 16,
      "xor %ax, %ax; mov %ax, %es; movw $(1f - real_int_begin), %es:0x84; movw %cs, %es:0x86\n"
      "int $0x21\n" SAY("b") STOP "1: " SAY("a") "iret");
GUEST(real_far, 16,
      "push %cs; push $(1f - real_far_begin); mov %sp, %bp; lcall *(%bp)\n" SAY("c") STOP
      "1: " SAY("f") "lret $0");
GUEST(real_limit, 16, // a word at 0xffff crosses the segment's end: #GP, no error code
      "xor %ax, %ax; mov %ax, %es; movw $(1f - real_limit_begin), %es:0x34; movw %cs, %es:0x36\n"
      "mov $0xffff, %bx; 4: mov %ds:(%bx), %ax\n" SAY("x") STOP
      "1: pop %ax; cmp $(4b - real_limit_begin), %ax; jne 3f\n" SAY("g") "3: " STOP);
GUEST(real_stack, 16, // the stack pointer wraps within its segment
      "mov $0x9000, %ax; mov %ax, %ss; mov $0, %sp; push $0x4142; mov %sp, %ax; cmp $0xfffe, %ax; jne 1f\n"
      "pop %ax\n" SAYL "1: mov $0x100, %sp\n" SAY("e") STOP);
GUEST(real_digits, 16,
      "mov $0x15, %al; add $0x27, %al; daa; cmp $0x42, %al; jne 1f\n" SAY("d") "1: mov $9, %al; add $5, %al; xor %ah, %ah; aaa; cmp $0x104, %ax; jne 2f\n" SAY("a") "2: mov $77, %al; aam; cmp $0x707, %ax; jne 3f\n" SAY(
	      "m") "3: aad; cmp $77, %ax; jne 4f\n" SAY("A") "4: mov $0x1234, %ax; pusha; xor %ax, %ax; popa; cmp $0x1234, %ax; jne 5f\n" SAY("p") "5: " STOP);
GUEST(real_bits, 16, // bits of a word in a segment, by number and by offset
      "mov %cs, %ax; mov %ax, %ds; lock btsw $3, 1f - real_bits_begin; jc 2f\n" SAY("n") "2: lock btsw $3, 1f - real_bits_begin; jnc 3f\n" SAY(
	      "s") "3: mov $-13, %ax; bt %ax, 1f - real_bits_begin + 2; jnc 4f\n" SAY("o") "4: " STOP
											   "1: .word 0, 0");
// Real mode to protected mode to long mode, as an operating system starts its other processors.
GUEST(to_long, 16,
      SAY("r") "mov %cr0, %eax; or $1, %eax; mov %eax, %cr0; ljmpl $0x10, $(1f - to_long_begin + 0x8000)\n"
	       ".code32\n1: mov $0x20, %eax; mov %eax, %ds; mov %eax, %es; mov %eax, %ss; mov $0x7000, %esp\n" SAY(
		       "p") "mov %cr4, %eax; or $0x20, %eax; mov %eax, %cr4; mov $0x10000, %eax; mov %eax, %cr3\n"
			    "mov $0xc0000080, %ecx; rdmsr; or $0x100, %eax; wrmsr; mov %cr0, %eax; or $0x80000000, %eax; mov %eax, %cr0\n" SAY(
				    "c") "ljmp $0x08, $(2f - to_long_begin + 0x8000)\n"
					 ".code64\n2: mov $'l', %al; mov $0x3f8, %dx; out %al, %dx; mov $0x1122334455667788, %rax; shr $56, %rax; add $0x30, %al; out %al, %dx\n" STOP);
// Protected mode: limits, types and privileges are checked; error codes name the selector.
#define IDT_GATE(name, label, vector)                                                   \
	"mov $(" label " - " name "_begin + 0x8000), %eax; mov %ax, 0x2000 + 8*" vector \
	"; movw $0x10, 0x2002 + 8*" vector "; movl $0x00008e00, 0x2004 + 8*" vector "\n"
GUEST(limit, 32, // SMALL has a limit of 0xfff
      IDT_GATE("limit", "1f", "13") "mov $0x30, %eax; mov %eax, %fs; mov %fs:0xffc, %eax\n" SAY(
	      "i") "2: mov %fs:0xffd, %eax\n" SAY("x") STOP
      "1: pop %eax; add $0x30, %al\n" SAYL
      "cmpl $(2b - limit_begin + 0x8000), (%esp); jne 3f\n" SAY("g") "3: " STOP);
GUEST(types,
      32, // read-only data is not written, expand-down data begins above its limit, null is not used
      IDT_GATE("types", "1f", "13") "mov $0x68, %eax; mov %eax, %fs; mov %fs:0, %eax; movb $1, %fs:0\n" SAY("x") "2: mov $0x60, %eax; mov %eax, %fs; mov %fs:0x1000, %eax; mov %fs:0xfff, %al\n" SAY(
	      "x") "3: xor %eax, %eax; mov %eax, %fs; mov %fs:0, %al\n" SAY("x") "4: mov $0x77, %eax; mov %eax, %fs\n" SAY("x")
	      STOP
      "1: pop %eax; shr $3, %eax; add $'a', %al\n" SAYL
      "incl 0x4000; mov 0x4000, %eax; cmp $1, %al; je 5f; cmp $2, %al; je 6f; cmp $3, %al; je 7f\n" STOP
      "5: movl $(2b - types_begin + 0x8000), (%esp); iret; 6: movl $(3b - types_begin + 0x8000), (%esp); iret\n"
      "7: movl $(4b - types_begin + 0x8000), (%esp); iret");
GUEST(user, 32, // to CPL 3 by IRET, back by INT through the TSS's stack
      IDT_GATE(
	      "user", "1f",
	      "0x40") "movw $0xee00, 0x2204; mov $0x38, %eax; ltr %ax\n"
		      "mov $0x53, %eax; mov %eax, %ds; push $0x53; push $0x6000; push $2; push $0x4b; push $(2f - user_begin + 0x8000); iret\n"
		      "2: mov %cs, %eax; and $3, %al; add $0x30, %al; mov $0x5000, %ebx; mov %al, (%ebx); int $0x40\n"
		      "1: mov 0x5000, %al\n" SAYL
		      "mov %cs, %eax; and $3, %al; add $0x30, %al\n" SAYL
		      "mov %esp, %eax; cmp $(0x7800 - 20), %eax; jne 3f\n" SAY(
			      "s") "cmpl $0x53, 16(%esp); jne 3f\n" SAY("u") "3: " STOP);
GUEST(gate, 32, // a call gate copies one parameter to the inner stack
      "mov $0x38, %eax; ltr %ax\n"
      "movl $(0x00100000 + (1f - gate_begin + 0x8000)), 0x1058; movl $0x0000ec01, 0x105c\n"
      "mov $0x53, %eax; mov %eax, %ds; push $0x53; push $0x6000; push $2; push $0x4b; push $(2f - gate_begin + 0x8000); iret\n"
      "2: push $'P'; lcall $0x5b, $0\n"
      "mov %cs, %eax; and $3, %al; add $0x30, %al; mov %al, 0x5000; cmp $0x6000, %esp; jne 4f; movb $'=', 0x5001; 4: push $'Q'; lcall $0x5b, $0\n"
      "1: mov 8(%esp), %al\n" SAYL "mov %cs, %eax; and $3, %al; add $0x30, %al\n" SAYL
      "cmpb $0, 0x5000; jne 3f; lret $4\n"
      "3: mov 0x5000, %al\n" SAYL "mov 0x5001, %al\n" SAYL STOP);
GUEST(paging32, 32, // 4 MiB pages; a write to a read-only page with CR0.WP faults with error code 3
      IDT_GATE(
	      "paging32", "1f",
	      "14") "movl $0x83, 0x20000; movl $0x81, 0x20004; mov $0x20000, %eax; mov %eax, %cr3\n"
		    "mov %cr4, %eax; or $0x10, %eax; mov %eax, %cr4; mov %cr0, %eax; or $0x80010000, %eax; mov %eax, %cr0\n"
		    "mov 0x408000, %al; cmp 0x8000, %al; jne 2f\n" SAY(
			    "m") "2: testb $0x60, 0x20000; jz 3f\n" SAY("A") "3: movb $1, 0x408001\n" SAY("x")
			    STOP
      "1: pop %eax; add $0x30, %al\n" SAYL
      "mov %cr2, %eax; cmp $0x408001, %eax; jne 4f\n" SAY("2") "4: " STOP);
GUEST(pae, 32, // PAE paging with 2 MiB pages, no-execute
      IDT_GATE(
	      "pae", "1f",
	      "14") "movl $0x21001, 0x20000; movl $0, 0x20004; movl $0x83, 0x21000; movl $0, 0x21004; movl $0x83, 0x21008; movl $0x80000000, 0x2100c\n"
		    "mov $0x20000, %eax; mov %eax, %cr3; mov %cr4, %eax; or $0x20, %eax; mov %eax, %cr4\n"
		    "mov $0xc0000080, %ecx; rdmsr; or $0x800, %eax; wrmsr; mov %cr0, %eax; or $0x80000000, %eax; mov %eax, %cr0\n" SAY(
			    "p") "mov $0x208000, %eax; call *%eax\n" SAY("x") STOP
      "1: pop %eax; shr $4, %al; add $0x30, %al\n" SAYL STOP);
GUEST(compat, 64, // 64-bit code calls 32-bit code: addresses wrap, R8 and above stay
      "mov $0x20, %eax; mov %eax, %ds; mov $0x1234567890, %r8; mov $0x3f8, %edx; lea 1f(%rip), %rax; push $0x10; push %rax; lretq\n"
      ".code32\n1: mov $0xfffffff0, %ebx; lea 0x20(%ebx), %ecx; add $0x30, %cl; mov %cl, %al\n" SAYL
      "mov 0x8010(%ebx), %al; cmp 0x8000, %al; jne 2f\n" SAY(
	      "w") "2: ljmp $0x08, $(3f - compat_begin + 0x8000)\n"
		   ".code64\n3: mov $0x1234567890, %rax; cmp %rax, %r8; jne 4f; mov $'8', %al; mov $0x3f8, %dx; out %al, %dx; 4: " STOP);
GUEST(seg16, 32, // a 16-bit segment of protected mode
      "ljmp $0x18, $(1f - seg16_begin + 0x8000)\n.code16\n1: mov $0x20, %ax; mov %ax, %ds; mov $0x28, %ax; mov %ax, %ss; mov $0x7000, %sp\n" SAY("s") "mov $0x1000, %cx; 2: loop 2b; jcxz 3f\n" SAY(
	      "x") "3: pushl $0x12345678; popl %eax; cmp $0x12345678, %eax; jne 4f\n" SAY("l") "4: " STOP);

static const struct guest guests[] = {
#define G(n, b) .name = #n, .begin = n##_begin, .end = n##_end, .bits = b, .says
	{ G(real_hello, 16) = "ea" }, { G(real_int, 16) = "ab" },
	{ G(real_far, 16) = "fc" },   { G(real_limit, 16) = "g" },
	{ G(real_stack, 16) = "Be" }, { G(real_digits, 16) = "damAp" },
	{ G(real_bits, 16) = "nso" }, { G(to_long, 16) = "rpclA" },
	{ G(limit, 32) = "i0g" },     { G(types, 32) = "aaao" },
	{ G(user, 32) = "30su" },     { G(gate, 32) = "P0Q03=" },
	{ G(paging32, 32) = "mA32" }, { G(pae, 32) = "p1" },
	{ G(compat, 64) = "@w8" },    { G(seg16, 32) = "sl" },
};

int main(void)
{
	return guest_main(guests, sizeof(guests) / sizeof(*guests));
}
