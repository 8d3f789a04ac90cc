// SPDX-License-Identifier: Apache-2.0
// Bare-metal guests on a bare processor: code at CODE in 1 MiB of RAM with tables of descriptors and pages, one port to say
// things on. A file of such guests defines guests[] and calls guest_main.
#ifndef TESTS_UNIT_GUEST_RIG_H
#define TESTS_UNIT_GUEST_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "vmm/x86/x86.h"

enum { RAM = 1 << 20, CODE = 0x8000, GDT = 0x1000, IDT = 0x2000, TSS = 0x3000, TABLES = 0x10000 };
// Selectors of the table below.
enum {
	CODE64 = 0x08,
	CODE32 = 0x10,
	CODE16 = 0x18,
	DATA = 0x20,
	DATA16 = 0x28,
	SMALL = 0x30,
	TSS32 = 0x38
};
enum {
	USER32 = 0x48,
	USERDATA = 0x50,
	GATE = 0x58,
	DOWN = 0x60,
	RODATA = 0x68,
	TSS64 = 0x70,
	USER64 = 0x88
};

#define GUEST(name, bits, text)                                                            \
	extern const uint8_t name##_begin[], name##_end[];                                 \
	__asm__(".pushsection .rodata\n" #name "_begin:\n.code" #bits "\n" text "\n" #name \
		"_end:\n.code64\n.popsection\n")
#define SAY(c) \
	"push %ax; push %dx; mov $'" c "', %al; mov $0x3f8, %dx; out %al, %dx; pop %dx; pop %ax\n"
#define SAYL "push %ax; push %dx; mov $0x3f8, %dx; out %al, %dx; pop %dx; pop %ax\n" // says AL
#define STOP "cli; hlt\n"

struct guest {
	const char *name;
	const uint8_t *begin, *end;
	unsigned bits;
	const char *says;
	int vector;             // of the 64-bit handler
	const uint8_t *handler; // NULL: none
};

struct machine {
	uint8_t *ram;
	char text[64];
	unsigned len;
};

static void *ram(void *arg, uint64_t gpa, bool *writable)
{
	*writable = true;
	return gpa < RAM ? ((struct machine *)arg)->ram + gpa : NULL;
}

static int out(void *arg, uint16_t port, unsigned size, uint32_t value)
{
	struct machine *m = arg;

	(void)size;
	if (port == 0x3f8 && m->len + 1 < sizeof(m->text))
		m->text[m->len++] = (char)value;
	return 0;
}

static void tables(struct machine *m)
{
	static const uint64_t gdt[] = {
		[CODE64 / 8] = 0x00af9b000000ffff,
		[CODE32 / 8] = 0x00cf9b000000ffff,
		[CODE16 / 8] = 0x000f9b000000ffff,
		[DATA / 8] = 0x00cf93000000ffff,
		[DATA16 / 8] = 0x000f93000000ffff,
		[SMALL / 8] = 0x0040930000000fff,
		[TSS32 / 8] = 0x0000890030000067,
		[USER32 / 8] = 0x00cffb000000ffff,
		[USERDATA / 8] = 0x00cff3000000ffff,
		[DOWN / 8] = 0x0040970000000fff,
		[RODATA / 8] = 0x00cf91000000ffff,
		[TSS64 / 8] = 0x0000890030000067,
		[TSS64 / 8 + 1] = 0,
		[USER64 / 8] = 0x00affb000000ffff,
	};
	uint64_t *pt = (void *)(m->ram + TABLES);
	uint32_t *tss = (void *)(m->ram + TSS);

	memcpy(m->ram + GDT, gdt, sizeof(gdt));
	tss[1] = 0x7800;
	tss[2] = DATA;
	pt[0] = TABLES + 0x1003;
	pt[512] = TABLES + 0x2003;
	pt[1024] = 0x83;
}

static void gate_64(struct machine *m, unsigned vector, uint64_t target)
{
	uint64_t g[2] = { (target & 0xffff) | (uint64_t)CODE64 << 16 | 0xeeull << 40 |
				  (target & 0xffff0000) << 32,
			  target >> 32 };

	memcpy(m->ram + IDT + vector * 16, g, 16);
}

static void start(const struct guest *g, struct x86_state *s)
{
	bool real = g->bits == 16;

	s->rip = real ? 0 : CODE;
	s->rflags = 2;
	s->gpr[X86_RSP] = 0x7000;
	s->gdtr = (struct x86_table){ 0xff, GDT };
	s->idtr = (struct x86_table){ real ? 0x3ff : 0xfff, real ? 0 : IDT };
	for (unsigned i = 0; i < 6; i++)
		s->seg[i] = real ? (struct x86_seg){ .limit = 0xffff, .attributes = 0x93 }
				 : (struct x86_seg){ .selector = DATA,
						     .limit = 0xffffffff,
						     .attributes = 0xc093 };
	if (real)
		s->seg[X86_CS] = (struct x86_seg){
			.selector = CODE >> 4, .base = CODE, .limit = 0xffff, .attributes = 0x9b
		};
	else
		s->seg[X86_CS] = (struct x86_seg){ .selector = g->bits == 64 ? CODE64 : CODE32,
						   .limit = 0xffffffff,
						   .attributes = g->bits == 64 ? 0xa09b : 0xc09b };
	s->cr0 = real ? 0x10 : g->bits == 32 ? 0x11 : 0x80010011;
	if (g->bits == 64) {
		s->cr4 = 0x20;
		s->efer = 0x500;
		s->cr3 = TABLES;
	}
}

static void run_guest(void **state)
{
	static const struct x86_env env = { .ram = ram, .out = out };
	const struct guest *g = *state;
	struct machine m = { .ram = calloc(1, RAM) };
	struct x86_cpu *cpu = x86_cpu_new(&env, &m);
	struct x86_state s;
	struct x86_exit ex;

	assert_non_null(m.ram);
	assert_non_null(cpu);
	memcpy(m.ram + CODE, g->begin, (size_t)(g->end - g->begin));
	tables(&m);
	if (g->handler)
		gate_64(&m, (unsigned)g->vector, CODE + (uint64_t)(g->handler - g->begin));
	x86_get_state(cpu, &s);
	start(g, &s);
	x86_set_state(cpu, &s);
	x86_run(cpu, &ex);
	assert_string_equal(m.text, g->says);
	assert_int_equal(ex.reason, X86_EXIT_HLT);
	x86_cpu_free(cpu);
	free(m.ram);
}

static inline int guest_main(const struct guest *guests, unsigned count)
{
	struct CMUnitTest *tests = calloc(count, sizeof(*tests));
	int r;

	if (!tests)
		return 1;
	for (unsigned i = 0; i < count; i++) {
		void *guest;
		const struct guest *g = &guests[i];

		memcpy(&guest, &g, sizeof(guest)); // cmocka's state is not const
		tests[i] = (struct CMUnitTest){ g->name, run_guest, NULL, NULL, guest };
	}
	r = _cmocka_run_group_tests("guests", tests, count, NULL, NULL);
	free(tests);
	return r;
}

#endif
