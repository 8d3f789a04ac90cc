// SPDX-License-Identifier: Apache-2.0
// Bare-metal guests for what the system side of the processor promises in 64-bit mode: single step, breakpoints, shadows,
// SMAP, SMEP and UMIP, accessed and dirty bits, global pages, restart of faults. The processor behind the table pages maps
// the first 2 MiB; page tables for 4 KiB pages are made by the guests that need them.
#include "tests/unit/guest_rig.h"

#define RESULT(reg) "mov %" reg ", %al; add $0x30, %al; " SAYL64
#define SAYL64 "push %rdx; mov $0x3f8, %dx; out %al, %dx; pop %rdx\n"
#define SAY64(c) "push %rax; mov $'" c "', %al; " SAYL64 "pop %rax\n"
// DR6's low four bits and BS: one character: B0-B3 as a digit, 's' for a step
#define SAY_DR6                                                                                                    \
	"push %rax; push %rbx; mov %dr6, %rax; mov %eax, %ebx; test $0x4000, %ebx; jz 81f; mov $'s', %al; " SAYL64 \
	"81: mov %ebx, %eax; and $15, %al; jz 82f; add $0x30, %al; " SAYL64                                        \
	"82: xor %eax, %eax; mov %rax, %dr6; pop %rbx; pop %rax\n"

#define CR4_SET(bits) "mov %cr4, %rax; or $" bits ", %rax; mov %rax, %cr4\n"
GUEST(step, 64, // after each of three instructions; POPF that ends it is the last
      "pushfq; orl $0x100, (%rsp); popfq; nop; nop; pushfq; andl $~0x100, (%rsp); popfq; nop\n" SAY64(
	      "e") STOP "step_handler: " SAY_DR6 "iretq");
GUEST(step_handler_runs,
      64, // an interrupt clears TF: nothing is stepped in the handler, nor after IRET without it
      "pushfq; orl $0x100, (%rsp); popfq; int3; nop\n" SAY64("e") STOP
      "step_handler_runs_handler: " SAY64("b") "nop; andl $~0x100, 16(%rsp); iretq");
GUEST(breakpoint, 64, // a fault before the instruction; RF in the image lets it pass once
      "lea 1f(%rip), %rax; mov %rax, %dr0; mov $0x2, %eax; mov %rax, %dr7; mov $2, %ecx; 1: nop; dec %ecx; jnz 1b\n" SAY64(
	      "e") STOP "breakpoint_handler: " SAY_DR6
			"btl $16, 16(%rsp); jnc 2f\n" SAY64("r") "2: iretq");
GUEST(watch,
      64, // traps after the instruction: writes of any size that touch the four bytes, not reads
      "mov $0x5004, %eax; mov %rax, %dr1; mov $0xd00008, %eax; mov %rax, %dr7; xor %eax, %eax\n"
      "mov 0x5004, %ebx; movl $1, 0x5000; movl $1, 0x5001\n" SAY64("a") "movb $1, 0x5007; movb $1, 0x5008\n" SAY64(
	      "b") "lock incl 0x5004; mov $0x5000, %edi; mov $3, %ecx; cld; rep stosl\n" SAY64("e")
	      STOP "watch_handler: " SAY_DR6 "iretq");
GUEST(watch_read, 64, // reads too
      CR4_SET("0x200") "mov $0x5000, %eax; mov %rax, %dr2; mov $0xb000020, %eax; mov %rax, %dr7\n"
		       "mov 0x5000, %rbx; movups 0x4ff8, %xmm0; movb 0x5007, %al\n" SAY64("e") STOP
      "watch_read_handler: " SAY_DR6 "iretq");
GUEST(detect, 64, // DR7.GD: MOV DR faults, and GD is off in the handler
      "mov $0x2000, %eax; mov %rax, %dr7; mov %dr0, %rax\n" SAY64("e") STOP
      "detect_handler: mov %dr6, %rax; bt $13, %eax; jnc 1f\n" SAY64(
	      "d") "1: mov %dr7, %rax; bt $13, %eax; jc 2f\n" SAY64("o") "2: iretq");
GUEST(shadow, 64, // nothing is stepped between a load of SS and the next instruction
      "xor %eax, %eax; mov $0x20, %ax; pushfq; orl $0x100, (%rsp); popfq; mov %eax, %ss; nop; nop; pushfq; andl $~0x100, (%rsp); popfq\n" SAY64(
	      "e") STOP "shadow_handler: " SAY_DR6 "iretq");
GUEST(shadow_icebp,
      64, // a data breakpoint held back by a load of SS comes with the #DB of INT1, not after it
      "movl $0x20, 0x5004; mov $0x5004, %eax; mov %rax, %dr1; mov $0xf00008, %eax; mov %rax, %dr7; mov 0x5004, %ss; .byte 0xf1\n" SAY64(
	      "e") STOP "shadow_icebp_handler: " SAY_DR6 "iretq");
GUEST(icebp, 64,
      ".byte 0xf1\n" SAY64("e") STOP
      "icebp_handler: mov %dr6, %rax; test $0x400f, %eax; jnz 1f\n" SAY64("i") "1: iretq");

// 4 KiB pages at 0x13000 for the first 2 MiB, as they are, user pages from 0x40000 on.
#define PAGES                                                                                                                                                                      \
	"xor %ecx, %ecx; 91: mov %rcx, %rax; shl $12, %rax; or $3, %rax; cmp $0x40, %ecx; jb 92f; or $4, %rax; 92: mov %rax, 0x13000(,%rcx,8); inc %ecx; cmp $512, %ecx; jb 91b\n" \
	"movq $0x13007, 0x12000; orq $4, 0x11000; orq $4, 0x10000; mov %cr3, %rax; mov %rax, %cr3\n"
#define CODE_THEN_SKIP(n) \
	"pop %rax; and $31, %al; add $'@', %al; " SAYL64 "addq $" n ", (%rsp); iretq"
GUEST(smap, 64, // supervisor access to a user page: only with AC set
      PAGES "mov 0x40000, %ebx\n" SAY64("a")
	      CR4_SET("0x200000") "mov 0x40000, %ebx\n" SAY64("b") "movl %ebx, 0x40000\n" SAY64("c") "stac; mov 0x40000, %ebx\n" SAY64(
		      "d") "clac; mov 0x40000, %ebx\n" SAY64("e") "mov 0x30000, %ebx\n" SAY64("f")
		      STOP "smap_handler: " CODE_THEN_SKIP("7"));
GUEST(smep, 64, // nor does it execute there
      PAGES "movb $0xc3, 0x40000; mov $0x40000, %ebx; call *%rbx\n" SAY64("a")
	      CR4_SET("0x100000") "call *%rbx\n" SAY64("b") STOP
      "smep_handler: pop %rax; and $31, %al; add $'@', %al; " SAYL64 "mov 24(%rsp), %rsp; ret");
GUEST(accessed,
      64, // A on a read, D on a write, both in the entry; and again after they were cleared and flushed
      PAGES
      "mov 0x30000, %eax; mov 0x13180, %rax; shr $5, %al; and $3, %al; add $0x30, %al; " SAYL64
      "movb $1, 0x30000; mov 0x13180, %rax; shr $5, %al; and $3, %al; add $0x30, %al; " SAYL64
      "andq $~0x60, 0x13180; invlpg 0x30000; mov 0x30000, %eax; mov 0x13180, %rax; shr $5, %al; and $3, %al; add $0x30, %al; " SAYL64
	      STOP);
GUEST(global, 64, // a global entry outlives CR3, not INVLPG
      PAGES CR4_SET(
	      "0x80") "movb $'1', 0x30000; movb $'2', 0x31000; orq $0x100, 0x13180; invlpg 0x30000; mov 0x30000, %al; " SAYL64
		      "movq $0x31103, 0x13180; mov %cr3, %rax; mov %rax, %cr3; mov 0x30000, %al; " SAYL64
		      "invlpg 0x30000; mov 0x30000, %al; " SAYL64 STOP);
GUEST(umip, 64, // SGDT, SIDT, SLDT, SMSW, STR fault at CPL 3 with UMIP
      PAGES
      "mov $0x8000, %eax; orq $4, 0x13040; invlpg 0x8000; mov $0x70, %eax; ltr %ax; movq $0x7800, 0x3004; " CR4_SET(
	      "0x800") "push $0x53; push $0x48000; push $2; push $0x8b; lea 1f(%rip), %rax; push %rax; iretq\n"
		       "1: sgdt 0x41000; sidt 0x41000; mov %rsp, %rbx; sldt 0x41000; str 0x41000; smsw 0x41000; ud2\n"
		       "umip_handler: pop %rax; incl 0x5000; addq $8, (%rsp); mov (%rsp), %rcx; lea 1b(%rip), %rdx; sub %rdx, %rcx; cmp $0x2a, %ecx; jae 3f; iretq; 3: mov 0x5000, %al; add $0x30, %al; " SAYL64
			       STOP);
GUEST(self_modify, 64, // the instruction after the store is the new one
      "movb $'b', 1f+1(%rip); jmp 1f; 1: mov $'a', %al; " SAYL64
      "lea 2f(%rip), %rdi; movb $'c', 1(%rdi); 2: mov $'a', %al; " SAYL64 STOP);
GUEST(string_fault,
      64, // REP MOVS stops in front of the page that is missing, and goes on after it has come
      PAGES
      "movq $0, 0x13188; invlpg 0x31000; mov $0x20000, %esi; mov $0x30ff0, %edi; mov $0x20, %ecx; cld; rep movsb\n" SAY64(
	      "e") STOP
      "string_fault_handler: pop %rax; mov %ecx, %eax; shr $4, %al; add $0x30, %al; " SAYL64
      "mov %cr2, %rax; cmp $0x31000, %eax; jne 1f\n" SAY64("2") "1: movq $0x31003, 0x13188; iretq");

extern const uint8_t step_handler[], step_handler_runs_handler[], breakpoint_handler[],
	watch_handler[], watch_read_handler[], detect_handler[], shadow_handler[], icebp_handler[],
	shadow_icebp_handler[], smap_handler[], smep_handler[], umip_handler[],
	string_fault_handler[];

static const struct guest guests[] = {
#define G(n, v)                                                                  \
	.name = #n, .begin = n##_begin, .end = n##_end, .bits = 64, .vector = v, \
	.handler = n##_handler, .says
#define N(n) .name = #n, .begin = n##_begin, .end = n##_end, .bits = 64, .says
	{ G(step, 1) = "ssssse" },      { G(step_handler_runs, 3) = "be" },
	{ G(breakpoint, 1) = "1r1re" }, { G(watch, 1) = "2a2b22e" },
	{ G(watch_read, 1) = "444e" },  { G(detect, 1) = "doe" },
	{ G(shadow, 1) = "ssssse" },    { G(shadow_icebp, 1) = "2e" },
	{ G(icebp, 1) = "ie" },         { G(smap, 14) = "aAbCcdAef" },
	{ G(smep, 14) = "aQb" },        { N(accessed) = "131" },
	{ N(global) = "112" },          { G(umip, 13) = "5" },
	{ N(self_modify) = "bc" },      { G(string_fault, 14) = "12e" },
};

int main(void)
{
	return guest_main(guests, sizeof(guests) / sizeof(*guests));
}
