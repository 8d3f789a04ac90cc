// SPDX-License-Identifier: Apache-2.0
// Bare-metal guests with two processors on a software partition: INIT and SIPI, interrupts between processors, locked
// operations within and across pages, changes of page tables and of code that the other must see.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "vmm/boot/boot.h"
#include "vmm/bus.h"
#include "vmm/hv/hv.h"
#include "vmm/mem/mem.h"

enum { VPS = 2, RAM = 4 << 20, CODE = 0x100000, TRAMPOLINE = 0x8000, IDT = 0x5000 };

#define GUEST(name, text)                                  \
	extern const uint8_t name##_begin[], name##_end[]; \
	__asm__(".pushsection .rodata\n" #name "_begin:\n" text "\n" #name "_end:\n.popsection\n")
#define SAY(c) "mov $'" c "', %al; mov $0x3f8, %dx; out %al, %dx\n"
#define STOP "cli; hlt\n"
// The counter of finished processors is at 0x9000: the last to come goes on, the other sleeps for good.
#define LAST "mov $1, %eax; lock xadd %eax, 0x9000; cmp $1, %eax; je 99f; " STOP "99: "
#define X2APIC                                             \
	"mov $0x1b, %ecx; rdmsr; or $0xc00, %eax; wrmsr\n" \
	"mov $0x80f, %ecx; mov $0x1ff, %eax; xor %edx, %edx; wrmsr\n"
#define ICR(low, dest) "mov $0x830, %ecx; mov $" low ", %eax; mov $" dest ", %edx; wrmsr\n"
// Starts the other processor at "second", in the mode this one is in; see trampoline.
#define START X2APIC ICR("0xc500", "1") ICR("0x4608", "1")

// Real mode to 64-bit mode with the first processor's tables, then to the address at 0x8ff8.
GUEST(trampoline,
      ".code16\n"
      "cli; xor %ax, %ax; mov %ax, %ds; lgdtl 0x8fe0; mov %cr0, %eax; or $1, %eax; mov %eax, %cr0; ljmpl $0x28, $(1f - trampoline_begin + 0x8000)\n"
      ".code32\n1: mov $0x18, %eax; mov %eax, %ds; mov %eax, %es; mov %eax, %ss; mov %cr4, %eax; or $0x6a0, %eax; mov %eax, %cr4\n"
      "mov 0x8ff0, %eax; mov %eax, %cr3; mov $0xc0000080, %ecx; rdmsr; or $0x901, %eax; wrmsr\n"
      "mov %cr0, %eax; or $0x80010000, %eax; mov %eax, %cr0; ljmp $0x10, $(2f - trampoline_begin + 0x8000)\n"
      ".code64\n2: lidt 0x8fd0; mov $0x80000, %esp; jmp *0x8ff8\n");

GUEST(startup, START "1: pause; cmpl $0, 0xa000; je 1b\n" SAY("f") STOP
      "startup_second: " SAY("s") "movl $1, 0xa000\n" STOP);
GUEST(counter, // a million locked increments each
      START "call 1f\n" LAST
	    "cmpl $200000, 0xa000; jne 2f\n" SAY("=") "2: " STOP "counter_second: call 1f\n" LAST
						      "cmpl $200000, 0xa000; jne 2b\n" SAY("=") STOP
      "1: mov $100000, %ecx; 3: lock incl 0xa000; dec %ecx; jnz 3b; ret");
GUEST(crossing, // the same on a word that lies in two pages
      START "call 1f\n" LAST
	    "cmpl $4000, 0xaffe; jne 2f\n" SAY("=") "2: " STOP "crossing_second: call 1f\n" LAST
						    "cmpl $4000, 0xaffe; jne 2b\n" SAY("=") STOP
      "1: mov $2000, %ecx; 3: lock incl 0xaffe; mov $0, %eax; lock xadd %eax, 0xaffe; dec %ecx; jnz 3b; ret");
GUEST(ipi, // back and forth a thousand times
      START "5: pause; cmpl $-1, 0xa000; jne 5b; mov $1000, %ebx; 1: " ICR(
	      "0x40", "1") "2: pause; cmp %ebx, 0xa000; jne 2b; dec %ebx; jnz 1b\n" SAY("=") STOP
      "ipi_second: " X2APIC "mov $1000, %ebp; movl $-1, 0xa000; sti; 3: hlt; jmp 3b\n"
      "ipi_handler: push %rax; push %rcx; push %rdx; mov %ebp, 0xa000; dec %ebp\n"
      "mov $0x80b, %ecx; xor %eax, %eax; xor %edx, %edx; wrmsr; pop %rdx; pop %rcx; pop %rax; iretq");
GUEST(shootdown, // the other maps a page anew; after INVLPG on request the new page is seen
      // 0x40000000 is a GiB page in the boot tables: replaced by a table of 2 MiB pages at 0x11000, the first of them moved.
      START "1: pause; cmpl $1, 0xa000; jne 1b; movq $0x200083, 0x11000; " ICR(
	      "0x40", "1") "2: pause; cmpl $2, 0xa000; jne 2b\n" SAY("=") STOP
      "shootdown_second: " X2APIC
      "movq $0x83, 0x11000; movq $0x11003, 0x3008; mov %cr3, %rax; mov %rax, %cr3\n"
      "movl $'o', 0x13000; movl $'n', 0x213000; mov $0x40013000, %ebx; mov (%rbx), %al; mov $0x3f8, %dx; out %al, %dx; movl $1, 0xa000; sti; 3: hlt; jmp 3b\n"
      "shootdown_handler: mov $0x40013000, %ebx; invlpg (%rbx); mov (%rbx), %al; mov $0x3f8, %dx; out %al, %dx; movl $2, 0xa000\n"
      "mov $0x80b, %ecx; xor %eax, %eax; xor %edx, %edx; wrmsr; iretq");
GUEST(modify, // one runs a function in a loop, the other changes its constant, a hundred times
      START
      "mov $1, %ebx; 1: mov 0xa000, %eax; cmp %ebx, %eax; jb 1b; inc %ebx; cmp $100, %ebx; ja 2f; mov %bl, 4f+1(%rip); jmp 1b\n"
      "2: " SAY("=") STOP
      "modify_second: xor %esi, %esi; 3: call 4f; cmp %eax, %esi; je 3b; mov %eax, %esi; mov %eax, 0xa000; cmp $100, %eax; jb 3b; " STOP
      "4: mov $1, %eax; ret");
GUEST(first_write, // a page the first has written before the second runs code from it
      "movl $0xc3c0ff, 0x30000; movl $0, 0xa004; " START
      "1: pause; cmpl $1, 0xa000; jne 1b; movw $0xc8ff, 0x30000; movl $2, 0xa000; 2: pause; cmpl $3, 0xa000; jne 2b\n" STOP
      "first_write_second: mov $'b', %eax; mov $0x30000, %ebx; call *%rbx; mov $0x3f8, %dx; out %al, %dx; movl $1, 0xa000; 3: pause; cmpl $2, 0xa000; jne 3b\n"
      "mov $'b', %eax; call *%rbx; mov $0x3f8, %dx; out %al, %dx; movl $3, 0xa000\n" STOP);
GUEST(nmi, // to a processor that sleeps with interrupts off
      START
      "1: pause; cmpl $1, 0xa000; jne 1b; " ICR("0x400",
						"1") "2: pause; cmpl $2, 0xa000; jne 2b\n" SAY("=")
	      STOP
      "nmi_second: movl $1, 0xa000; cli; hlt\n" SAY(
	      "r") "movl $2, 0xa000; " STOP
		   "nmi_nmi_handler: push %rax; push %rdx; " SAY("n") "pop %rdx; pop %rax; iretq");

extern const uint8_t startup_second[], counter_second[], crossing_second[], ipi_second[],
	shootdown_second[], modify_second[], first_write_second[], nmi_second[];
extern const uint8_t ipi_handler[], shootdown_handler[], nmi_nmi_handler[];

static const struct guest {
	const char *name;
	const uint8_t *begin, *end, *second;
	const uint8_t *handler, *nmi; // of vector 0x40; of NMI
	const char *says;
} guests[] = {
#define G(n) .name = #n, .begin = n##_begin, .end = n##_end, .second = n##_second
	{ G(startup), .says = "sf" },
	{ G(counter), .says = "=" },
	{ G(crossing), .says = "=" },
	{ G(ipi), .handler = ipi_handler, .says = "=" },
	{ G(shootdown), .handler = shootdown_handler, .says = "on=" },
	{ G(modify), .says = "=" },
	{ G(first_write), .says = "ca" },
	{ G(nmi), .nmi = nmi_nmi_handler, .says = "nr=" },
};

struct record {
	char text[64];
	unsigned len;
	pthread_mutex_t lock;
};

static void port_read(void *dev, uint64_t off, void *data, unsigned len)
{
	(void)dev;
	(void)off;
	memset(data, 0xff, len);
}

static void port_write(void *dev, uint64_t off, const void *data, unsigned len)
{
	struct record *r = dev;

	(void)off;
	(void)len;
	pthread_mutex_lock(&r->lock);
	if (r->len + 1 < sizeof(r->text))
		r->text[r->len++] = *(const char *)data;
	pthread_mutex_unlock(&r->lock);
}

static unsigned said(struct record *r)
{
	unsigned n;

	pthread_mutex_lock(&r->lock);
	n = r->len;
	pthread_mutex_unlock(&r->lock);
	return n;
}

static const struct bus_ops port_ops = { "port", port_read, port_write };

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

// The guest's code, the other processor's way to it, and what that needs: descriptors, tables, a place for the stack.
static void load(struct mem *mem, const struct guest *g, const struct x86_state *s)
{
	uint8_t *low = mem_slice(mem, 0, RAM);
	uint64_t second = CODE + (uint64_t)(g->second - g->begin), base;
	uint16_t limit = 4095;

	memcpy(low + CODE, g->begin, (size_t)(g->end - g->begin));
	memcpy(low + TRAMPOLINE, trampoline_begin, (size_t)(trampoline_end - trampoline_begin));
	memcpy(low + s->gdtr.base + 0x28, &(uint64_t){ 0x00cf9b000000ffff }, 8); // 32-bit code
	base = IDT;
	memcpy(low + 0x8fd0, &limit, 2);
	memcpy(low + 0x8fd2, &base, 8);
	memcpy(low + 0x8fe0, &limit, 2);
	memcpy(low + 0x8fe2, &s->gdtr.base, 4);
	memcpy(low + 0x8ff0, &s->cr3, 8);
	memcpy(low + 0x8ff8, &second, 8);
	if (g->handler)
		set_gate(low + IDT, 0x40, CODE + (uint64_t)(g->handler - g->begin));
	if (g->nmi)
		set_gate(low + IDT, 2, CODE + (uint64_t)(g->nmi - g->begin));
}

struct processor {
	struct hv *hv;
	struct hv_vcpu *vcpu;
	enum hv_stop stop;
	struct err e;
};

static void *run(void *arg)
{
	struct processor *p = arg;

	p->stop = p->hv->ops->vcpu_run(p->vcpu, &p->e);
	return NULL;
}

static void run_guest(void **state)
{
	const struct guest *g = *state;
	struct record port = { .lock = PTHREAD_MUTEX_INITIALIZER };
	struct hv_client client = { .eoi = on_eoi };
	struct processor p[VPS] = { 0 };
	pthread_t thread[VPS];
	struct x86_state s;
	struct hv *hv;
	struct err e = { 0 };

	(void)alarm(60); // a guest that does not end ends the test
	assert_int_equal(mem_new(RAM, &client.mem, &e), 0);
	client.bus = bus_new();
	assert_int_equal(bus_add(client.bus, BUS_PIO, 0x3f8, 8, &port_ops, &port), 0);
	assert_int_equal(hv_open(VMM_HV_SOFT, &client, &hv, &e), 0);
	assert_int_equal(hv->ops->map(hv, 0, mem_slice(client.mem, 0, RAM), RAM, &e), 0);
	assert_int_equal(boot_cpu_state(client.mem, CODE, &s, &e), 0);
	load(client.mem, g, &s);
	s.idtr = (struct x86_table){ .limit = 4095, .base = IDT };
	s.gpr[X86_RSP] = 0x90000;
	for (unsigned i = 0; i < VPS; i++) {
		p[i].hv = hv;
		assert_int_equal(hv->ops->vcpu_new(hv, i, &p[i].vcpu, &e), 0);
	}
	assert_int_equal(hv->ops->vcpu_set_state(p[0].vcpu, &s, &e), 0);
	assert_int_equal(hv->ops->start_time(hv, &e), 0);
	for (unsigned i = 0; i < VPS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, run, &p[i]), 0);
	// The first ends by HLT with interrupts off: the hypervisor tells it to whichever came to that last.
	while (said(&port) < strlen(g->says))
		(void)usleep(1000);
	(void)usleep(1000); // for what must not be said
	for (unsigned i = 0; i < VPS; i++) {
		hv->ops->vcpu_kick(p[i].vcpu);
		(void)pthread_join(thread[i], NULL);
		if (p[i].stop == HV_STOP_ERROR)
			fail_msg("%s", p[i].e.msg);
		assert_int_not_equal(p[i].stop, HV_STOP_TRIPLE_FAULT);
	}
	assert_string_equal(port.text, g->says);
	for (unsigned i = 0; i < VPS; i++)
		hv->ops->vcpu_free(p[i].vcpu);
	hv->ops->free(hv);
	bus_free(client.bus);
	mem_free(client.mem);
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
