// SPDX-License-Identifier: Apache-2.0
// Bare-metal guests: a few instructions each, one stanza of the table. Each runs in 64-bit mode on a software partition
// behind the /dev/mshv back end, says what it saw on port 0x3f8, and ends by HLT with interrupts off (or worse).
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/err.h"
#include "vmm/boot/boot.h"
#include "vmm/bus.h"
#include "vmm/hv/hv.h"
#include "vmm/mem/mem.h"

#define CODE_GPA 0x100000ull
#define IDT_GPA 0x5000ull
#define DEVICE_GPA 0xd0000000ull
#define DOORBELL_GPA 0xd0010050ull

// A guest's code, and a handler inside it (or its end).
#define GUEST(name, text)                                                    \
	extern const uint8_t name##_begin[], name##_handler[], name##_end[]; \
	__asm__(".pushsection .rodata\n" #name "_begin:\n" text "\n" #name "_end:\n.popsection\n")
#define NO_HANDLER(name) "\n" #name "_handler:\n"
#define SAY(c) "mov $'" c "', %al; mov $0x3f8, %dx; out %al, %dx\n"
#define STOP "cli; hlt\n"
#define X2APIC                                             \
	"mov $0x1b, %ecx; rdmsr; or $0xc00, %eax; wrmsr\n" \
	"mov $0x80f, %ecx; mov $0x1ff, %eax; xor %edx, %edx; wrmsr\n"

GUEST(hello, "mov $0x3f8, %dx; lea 3f(%rip), %rsi; cld\n"
	     "1: lodsb; test %al, %al; jz 2f; out %al, %dx; jmp 1b\n"
	     "2: " STOP "3: .asciz \"hello\"\n" NO_HANDLER(hello));
GUEST(port,
      "mov $0x3fd, %dx; in %dx, %al; cmp $0xff, %al; jne 1f\n" SAY(
	      "n") "1: mov $0x77, %dx; in %dx, %eax; cmp $-1, %eax; jne 2f\n" SAY("y") "2: " STOP
	      NO_HANDLER(port));
GUEST(fault, "mov $0x100001234, %rbx; mov $7, %ecx; mov %ecx, (%rbx)\n" SAY("e") STOP
      "fault_handler: mov %cr2, %rax; cmp %rbx, %rax; jne 1f\n" SAY(
	      "c") "1: pop %rax; add $'0', %al; mov $0x3f8, %dx; out %al, %dx\n"
		   "addq $2, (%rsp); iretq\n"); // over the store
GUEST(timer, X2APIC
      "mov $0x832, %ecx; mov $0x40040, %eax; xor %edx, %edx; wrmsr\n"
      "rdtsc; shl $32, %rdx; or %rdx, %rax; add $200000, %rax; mov %rax, %rdx; shr $32, %rdx\n"
      "mov $0x6e0, %ecx; wrmsr; sti; hlt\n" SAY("e") STOP
      "timer_handler: push %rax; push %rdx; push %rcx\n" SAY(
	      "T") "mov $0x80b, %ecx; xor %eax, %eax; xor %edx, %edx; wrmsr; pop %rcx; pop %rdx; pop %rax; iretq\n");
GUEST(ipi, X2APIC "mov $0x83f, %ecx; mov $0x40, %eax; xor %edx, %edx; wrmsr\n" SAY(
		   "a") "sti; nop; nop\n" SAY("e") STOP
      "ipi_handler: push %rax; push %rdx; push %rcx\n" SAY(
	      "I") "mov $0x80b, %ecx; xor %eax, %eax; xor %edx, %edx; wrmsr; pop %rcx; pop %rdx; pop %rax; iretq\n");
GUEST(stores,
      "mov $0xd0000000, %ebx; movb $'a', (%rbx); movw $'b', 2(%rbx); movl $'c', 4(%rbx); movq $'d', 8(%rbx)\n"
      "mov $'e', %eax; mov %rax, 16(%rbx); lea 24(%rbx), %rdi; mov $'f', %al; mov $3, %ecx; cld; rep stosb\n" STOP
	      NO_HANDLER(stores));
GUEST(loads,
      "mov $0xd0000000, %ebx; mov (%rbx), %al; mov $0x3f8, %dx; out %al, %dx\n"
      "movzbl 1(%rbx), %eax; out %al, %dx; movswq 2(%rbx), %rax; out %al, %dx\n"
      "xor %eax, %eax; orb 4(%rbx), %al; out %al, %dx; mov $'x', %al; cmp %al, 5(%rbx); sete %al; add $'0', %al; out %al, %dx\n" STOP
	      NO_HANDLER(loads));
GUEST(rmw,
      "mov $0xd0000000, %ebx; orb $1, (%rbx); mov $'q', %al; xchg %al, 1(%rbx); mov $0x3f8, %dx; out %al, %dx\n" STOP
	      NO_HANDLER(rmw));
GUEST(copy,
      "mov $0xd0000000, %esi; lea -64(%rsp), %rdi; mov $4, %ecx; cld; rep movsb\n"
      "mov -64(%rsp), %al; mov $0x3f8, %dx; out %al, %dx; mov -61(%rsp), %al; out %al, %dx\n" STOP
	      NO_HANDLER(copy));
GUEST(msr,
      "mov $0x40000022, %ecx; rdmsr; test %eax, %eax; jz 1f\n" SAY("f") "1: mov $0x12345, %ecx; rdmsr; or %edx, %eax; jnz 2f\n" SAY(
	      "z") "2: mov $0x40000000, %eax; cpuid; cmp $0x7263694d, %ebx; jne 3f\n" SAY("h") "3: " STOP
	      NO_HANDLER(msr));
GUEST(breakpoint, SAY("a") "int3\n" SAY("c") STOP "breakpoint_handler: " SAY("b") "iretq\n");
GUEST(step, // an instruction that the VMM finished is stepped over like any other
      "mov $0x3f8, %dx; mov $'a', %al; pushfq; orl $0x100, (%rsp); popfq; out %al, %dx; nop; pushfq; andl $~0x100, (%rsp); popfq\n" SAY(
	      "e") STOP
      "step_handler: push %rax; push %rdx\n" SAY("s") "pop %rdx; pop %rax; iretq\n");
GUEST(undefined, "ud2\n" SAY("c") STOP "undefined_handler: " SAY("u") "addq $2, (%rsp); iretq\n");
GUEST(fpu,
      "fninit; fld1; fldpi; fmulp; fistpl -8(%rsp); mov -8(%rsp), %eax; add $'0', %al; mov $0x3f8, %dx; out %al, %dx\n"
      "mov $9, %eax; cvtsi2sd %eax, %xmm0; sqrtsd %xmm0, %xmm0; cvttsd2si %xmm0, %eax; add $'0', %al; out %al, %dx\n" STOP
	      NO_HANDLER(fpu));
GUEST(bell,
      "mov $0xd0010050, %ebx; movl $1, (%rbx); movl $2, (%rbx)\n" SAY("e") STOP NO_HANDLER(bell));
GUEST(irq, X2APIC SAY("r") "sti; hlt\n" SAY("e") STOP
      "irq_handler: push %rax; push %rdx; push %rcx\n" SAY(
	      "Q") "mov $0x80b, %ecx; xor %eax, %eax; xor %edx, %edx; wrmsr; pop %rcx; pop %rdx; pop %rax; iretq\n");
GUEST(triple, "push $0; push $0; lidt (%rsp); ud2\n" NO_HANDLER(triple));

static const struct guest {
	const char *name;
	const uint8_t *begin, *handler, *end;
	int vector;         // of handler; -1: none
	const char *port;   // what it says
	const char *device; // what the device saw: size and low byte of each write; NULL: nothing
	bool ends_badly;    // by a triple fault
	unsigned bells;     // of the doorbell
	bool irqfd;         // raised when it says 'r'
} guests[] = {
#define G(n) .name = #n, .begin = n##_begin, .handler = n##_handler, .end = n##_end
	{ G(hello), .vector = -1, .port = "hello" },
	{ G(port), .vector = -1, .port = "ny" },
	{ G(fault), .vector = 14, .port = "c2e" },
	{ G(timer), .vector = 0x40, .port = "Te" },
	{ G(ipi), .vector = 0x40, .port = "aIe" },
	{ G(stores), .vector = -1, .port = "", .device = "1a2b4c8d8e1f1f1f" },
	{ G(loads), .vector = -1, .port = "ABCE0" },
	{ G(rmw), .vector = -1, .port = "B", .device = "1A1q" },
	{ G(copy), .vector = -1, .port = "AD" },
	{ G(msr), .vector = -1, .port = "fzh" },
	{ G(breakpoint), .vector = 3, .port = "abc" },
	{ G(step), .vector = 1, .port = "assssse" },
	{ G(undefined), .vector = 6, .port = "uc" },
	{ G(fpu), .vector = -1, .port = "33" },
	{ G(bell), .vector = -1, .port = "e", .bells = 1 },
	{ G(irq), .vector = 0x45, .port = "rQe", .irqfd = true },
	{ G(triple), .vector = -1, .port = "", .ends_badly = true },
};

// ---- what the guests talk to
struct record {
	char text[256];
	unsigned len;
	int irq; // -1: none
};

static void add(struct record *r, char c)
{
	if (r->len + 1 < sizeof(r->text))
		r->text[r->len++] = c;
}

static void port_read(void *dev, uint64_t off, void *data, unsigned len)
{
	(void)dev;
	memset(data, off == 5 ? 0xff : 0, len);
}

static void port_write(void *dev, uint64_t off, const void *data, unsigned len)
{
	struct record *r = dev;
	char c = *(const char *)data;
	uint64_t one = 1;

	(void)len;
	if (off == 0)
		add(r, c);
	if (off == 0 && c == 'r' && r->irq >= 0)
		assert_int_equal(write(r->irq, &one, sizeof(one)), sizeof(one));
}

// Byte i of the device reads as 'A' + i.
static void device_read(void *dev, uint64_t off, void *data, unsigned len)
{
	(void)dev;
	for (unsigned i = 0; i < len; i++)
		((char *)data)[i] = (char)('A' + off + i);
}

static void device_write(void *dev, uint64_t off, const void *data, unsigned len)
{
	(void)off;
	add(dev, (char)('0' + len));
	add(dev, *(const char *)data);
}

static const struct bus_ops port_ops = { "port", port_read, port_write },
			    device_ops = { "device", device_read, device_write };

static void on_eoi(void *arg, uint8_t vector)
{
	(void)arg;
	(void)vector;
}

static void set_gate(uint8_t *idt, unsigned vector, uint64_t target)
{
	uint64_t g[2] = { (target & 0xffff) | 0x10ull << 16 | 0x8eull << 40 |
				  (target & 0xffff0000) << 32,
			  target >> 32 };

	memcpy(idt + vector * 16, g, 16);
}

static void run_guest(void **state)
{
	const struct guest *g = *state;
	struct record port = { .irq = -1 }, device = { .irq = -1 };
	struct hv_client client = { .eoi = on_eoi };
	struct hv_route route = { .gsi = 9, .address = 0xfee00000, .data = 0x45 };
	int bell = eventfd(0, EFD_NONBLOCK), irq = eventfd(0, EFD_NONBLOCK);
	struct x86_state s;
	struct hv_vcpu *vcpu;
	struct hv *hv;
	struct err e = { 0 };
	uint64_t n = 0;
	enum hv_stop stop;

	(void)alarm(20); // a guest that does not end ends the test
	assert_int_equal(mem_new(2 << 20, &client.mem, &e), 0);
	client.bus = bus_new();
	assert_int_equal(bus_add(client.bus, BUS_PIO, 0x3f8, 8, &port_ops, &port), 0);
	assert_int_equal(bus_add(client.bus, BUS_MMIO, DEVICE_GPA, 0x1000, &device_ops, &device),
			 0);
	assert_int_equal(hv_open(VMM_HV_SOFT, &client, &hv, &e), 0);
	assert_int_equal(hv->ops->map(hv, 0, mem_slice(client.mem, 0, 2 << 20), 2 << 20, &e), 0);
	memcpy(mem_slice(client.mem, CODE_GPA, 4096), g->begin, (size_t)(g->end - g->begin));
	assert_int_equal(boot_cpu_state(client.mem, CODE_GPA, &s, &e), 0);
	s.idtr = (struct x86_table){ .limit = 4095, .base = IDT_GPA };
	s.gpr[X86_RSP] = 0x90000;
	if (g->vector >= 0)
		set_gate(mem_slice(client.mem, IDT_GPA, 4096), (unsigned)g->vector,
			 CODE_GPA + (uint64_t)(g->handler - g->begin));
	assert_int_equal(hv->ops->vcpu_new(hv, 0, &vcpu, &e), 0);
	assert_int_equal(hv->ops->vcpu_set_state(vcpu, &s, &e), 0);
	assert_int_equal(hv->ops->doorbell(hv, DOORBELL_GPA, 4, 1, bell, true, &e), 0);
	assert_int_equal(hv->ops->routes(hv, &route, 1, &e), 0);
	assert_int_equal(hv->ops->irqfd(hv, irq, 9, &e), 0);
	assert_int_equal(hv->ops->start_time(hv, &e), 0);
	port.irq = g->irqfd ? irq : -1;
	stop = hv->ops->vcpu_run(vcpu, &e);
	assert_string_equal(port.text, g->port);
	assert_string_equal(device.text, g->device ? g->device : "");
	if (stop == HV_STOP_ERROR)
		fail_msg("%s", e.msg);
	assert_int_equal(stop, g->ends_badly ? HV_STOP_TRIPLE_FAULT : HV_STOP_HALT);
	if (read(bell, &n, sizeof(n)) != (ssize_t)sizeof(n))
		n = 0;
	assert_int_equal(n, g->bells);
	hv->ops->vcpu_free(vcpu);
	hv->ops->free(hv);
	bus_free(client.bus);
	mem_free(client.mem);
	(void)close(bell);
	(void)close(irq);
	(void)alarm(0);
}

int main(void)
{
	enum { COUNT = sizeof(guests) / sizeof(*guests) };
	struct CMUnitTest tests[COUNT];

	for (unsigned i = 0; i < COUNT; i++) {
		void *guest;
		const struct guest *g = &guests[i];

		memcpy(&guest, &g, sizeof(guest)); // cmocka's state is not const
		tests[i] = (struct CMUnitTest){ g->name, run_guest, NULL, NULL, guest };
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
