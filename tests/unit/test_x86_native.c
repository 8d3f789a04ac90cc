// SPDX-License-Identifier: Apache-2.0
// Programs of a few blocks, interpreted and translated: loops that keep registers in the host's, faults in the middle of
// them, code that changes itself, more registers than the host has to give, calls, and a buffer that overflows.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/x86_rig.h"
#include "vmm/x86/cpu.h"

// Each runs at RIG_CODE, with RSI at RIG_DATA and RSP at RIG_STACK, until HLT or a fault (there is no IDT).
#define PROGRAM(name, text)                                                                    \
	extern const uint8_t name[], name##_end[];                                             \
	__asm__(".pushsection .rodata\n.globl " #name "\n" #name ":\n" text "\n" #name "_end:" \
		"\n.popsection\n");

PROGRAM(prog_sum, "mov $1000, %ecx\nxor %eax, %eax\n"
		  "1: add %rcx, %rax\nadc %rax, 8(%rsi)\nrol $3, %rax\nxor (%rsi), %rax\n"
		  "mov %rax, (%rsi)\ndec %ecx\njnz 1b\nsetc %dl\nlahf\nhlt")
// Stores until the page ends: the state is that of the iteration that faults.
PROGRAM(prog_fault,
	"mov %rsi, %rdi\nmov $7, %eax\n"
	"1: lea 3(%rax,%rax), %eax\nmov %rax, (%rdi)\nadd $24, %rdi\nimul $77, %rax, %rbx\n"
	"cmp $0, %rdi\njne 1b\nhlt")
PROGRAM(prog_load_fault,
	"mov %rsi, %rdi\nxorps %xmm1, %xmm1\n"
	"1: movups (%rdi), %xmm0\npaddq %xmm0, %xmm1\nadd $8, %rdi\nadd $-3, %rbx\n"
	"test %rdi, %rdi\njne 1b\nhlt")
PROGRAM(prog_calls,
	"mov $14, %edi\ncall 1f\nhlt\n"
	"1: cmp $2, %edi\njb 2f\npush %rbx\nmov %edi, %ebx\nlea -1(%rdi), %edi\ncall 1b\n"
	"push %rax\nlea -2(%rbx), %edi\nlea 1b(%rip), %rdx\ncall *%rdx\npop %rdx\nadd %rdx, %rax\n"
	"pop %rbx\nret\n2: mov %edi, %eax\nret")
// The immediate of MOV is written by the loop that holds it; every turn is decoded, and in time translated, anew.
PROGRAM(prog_change,
	"mov $12000, %ecx\nxor %ebx, %ebx\n"
	"1: mov $0x11111111, %eax\nadd %eax, %ebx\nadd %rbx, %rdx\nmov %ecx, 1b+1(%rip)\n"
	"xor %rdx, %r9\ndec %ecx\njnz 1b\nhlt")
PROGRAM(prog_registers,
	"mov $500, %ecx\n"
	"1: add %rcx, %rax\nadd %rax, %rbx\nadd %rbx, %rdx\nadd %rdx, %rbp\nadd %rbp, %rdi\n"
	"add %rdi, %r8\nadd %r8, %r9\nadd %r9, %r10\nadd %r10, %r11\nadd %r11, %r12\nadd %r12, %r13\n"
	"add %r13, %r14\nadd %r14, %r15\nxor %r15, 16(%rsi)\nadd %r15, %rax\ndec %rcx\njnz 1b\n"
	"push %r15\npop %rax\nhlt")
PROGRAM(prog_parts,
	"mov $300, %ecx\nmov $0x123456789abcdef, %rax\n"
	"1: mov %ah, %bl\nadd %cl, %bh\nmov %bx, %dx\nxchg %dl, %al\nbswap %rbx\nmul %rbx\ncqo\n"
	"imul %ecx, %edx\nshld $7, %rax, %rbx\nshl %cl, %rbx\nsar %cl, %dx\nrcr $1, %rax\n"
	"cmovc %rdx, %r8\ncmovs %ecx, %r9d\nseto 32(%rsi)\nsbb %rbx, %r10\nmovsbl %bl, %r11d\n"
	"movzwl %dx, %r12d\nmovb $5, %r13b\nmovw $77, %r14w\nbtc %rcx, %r15\ndec %ecx\njnz 1b\nhlt")
PROGRAM(prog_doubles,
	"mov $400, %ecx\ncvtsi2sd %ecx, %xmm0\nmov $3, %eax\ncvtsi2sd %eax, %xmm1\n"
	"1: divsd %xmm0, %xmm1\nsqrtsd %xmm1, %xmm2\nmulsd %xmm2, %xmm0\nmovsd %xmm0, 64(%rsi)\n"
	"addsd 64(%rsi), %xmm1\nmovaps %xmm1, 80(%rsi)\nucomisd 80(%rsi), %xmm2\nseta %dl\n"
	"cvttsd2si %xmm1, %rbx\nmovmskpd %xmm1, %edi\npshufd $0x4e, %xmm2, %xmm3\npxor %xmm3, %xmm4\n"
	"movups %xmm4, 4089(%rsi)\npinsrw $3, %ecx, %xmm5\npextrq $1, %xmm4, %r8\ndec %ecx\njnz 1b\nhlt")
// 16 bytes that must be aligned and are not: #GP at that instruction.
PROGRAM(prog_aligned,
	"mov $40, %ecx\nmov %rsi, %rdi\n"
	"1: add $16, %rdi\nadd %rcx, %rax\ncmp $20, %ecx\nsete %bl\nmovzbl %bl, %ebx\n"
	"add %rbx, %rdi\naddps (%rdi), %xmm0\ndec %ecx\njnz 1b\nhlt")
PROGRAM(prog_noncanonical,
	"mov $1, %rax\nmov $50, %ecx\n"
	"1: lea (%rax,%rax,2), %rax\nadd $1, %rbx\nsub $1, %ecx\njnz 1b\nshl $20, %rax\njmp *%rax\nhlt")

static const struct {
	const char *name;
	const uint8_t *code, *end;
	int vector; // -1: ends by HLT
} programs[] = {
#define ROW(p, vector)                 \
	{                              \
#p, p, p##_end, vector \
	}
	ROW(prog_sum, -1),
	ROW(prog_fault, EXC_PF),
	ROW(prog_load_fault, EXC_PF),
	ROW(prog_calls, -1),
	ROW(prog_change, -1),
	ROW(prog_registers, -1),
	ROW(prog_parts, -1),
	ROW(prog_doubles, -1),
	ROW(prog_aligned, EXC_GP),
	ROW(prog_noncanonical, EXC_GP),
#undef ROW
};

struct outcome {
	struct x86_state state;
	struct x86_exit exit;
	struct x86_exception fault;
	uint64_t instructions;
	uint8_t memory[4 * 4096];
};

static void run(unsigned program, uint8_t translate, struct outcome *o)
{
	struct x86_state s;
	struct rig r;

	rig_init(&r);
	x86_set_translate(r.cpu, translate);
	memcpy(r.ram + RIG_GPA_CODE * 4096, programs[program].code,
	       (size_t)(programs[program].end - programs[program].code));
	x86_get_state(r.cpu, &s);
	s.gpr[X86_RSI] = RIG_DATA;
	x86_set_state(r.cpu, &s);
	x86_run(r.cpu, &o->exit);
	x86_get_state(r.cpu, &o->state);
	o->fault = r.cpu->exc;
	o->instructions = x86_instructions(r.cpu);
	memcpy(o->memory, r.ram + RIG_GPA_DATA * 4096, sizeof(o->memory));
	rig_done(&r);
}

// Interpreted, translated from the first entry on, and from the twentieth.
static void test_programs(void **state)
{
	static const uint8_t after[] = { 1, 20 };
	static struct outcome want, got;

	(void)state;
	for (unsigned p = 0; p < sizeof(programs) / sizeof(*programs); p++) {
		memset(&want, 0, sizeof(want));
		run(p, 0, &want);
		print_message("%s: %llu instructions\n", programs[p].name,
			      (unsigned long long)want.instructions);
		assert_int_equal(want.exit.reason,
				 programs[p].vector < 0 ? X86_EXIT_HLT : X86_EXIT_TRIPLE_FAULT);
		if (programs[p].vector >= 0)
			assert_int_equal(want.fault.vector, programs[p].vector);
		for (unsigned i = 0; i < sizeof(after); i++) {
			memset(&got, 0, sizeof(got));
			run(p, after[i], &got);
			assert_int_equal(got.exit.reason, want.exit.reason);
			assert_memory_equal(got.state.gpr, want.state.gpr, sizeof(got.state.gpr));
			assert_int_equal(got.state.rip, want.state.rip);
			assert_int_equal(got.state.rflags, want.state.rflags);
			assert_memory_equal(got.state.fxsave, want.state.fxsave, 416);
			assert_memory_equal(got.memory, want.memory, sizeof(got.memory));
			assert_int_equal(got.instructions, want.instructions);
			if (programs[p].vector >= 0) {
				assert_int_equal(got.fault.vector, want.fault.vector);
				assert_int_equal(got.fault.error, want.fault.error);
				assert_int_equal(got.fault.cr2, want.fault.cr2);
			}
		}
	}
}

// A block that has been entered often enough is host code: its first operation's handler is no longer the decoder's.
static void test_installed(void **state)
{
	struct x86_block *b;
	struct x86_exit ex;
	struct rig r;

	(void)state;
	rig_init(&r);
	memcpy(r.ram + RIG_GPA_CODE * 4096, prog_registers,
	       (size_t)(prog_registers_end - prog_registers));
	x86_gprs(r.cpu)[X86_RSI] = RIG_DATA;
	x86_set_translate(r.cpu, 3);
	x86_run(r.cpu, &ex);
	assert_int_equal(ex.reason, X86_EXIT_HLT);
	if (!r.cpu->native) {
		rig_done(&r);
		print_message("# not tested: executable memory is refused\n");
		return;
	}
	x86_set_rip(r.cpu, RIG_CODE + 5);
	b = x86_block_get(r.cpu, r.cpu->mode);
	assert_true(b->heat >= 3);
	assert_true(b->ops[1].fn != b->first);
	rig_done(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_programs),
		cmocka_unit_test(test_installed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
