// SPDX-License-Identifier: Apache-2.0
// The software half of the oracle: the same address space in a guest at CPL 3, by paging or by translation.
#include "tests/oracle/oracle.h"

enum { CS = 0x33, SS = 0x2b, SEEN = 512 };

struct oracle_guest {
	struct rig rig; // rig.cpu walks page tables
	struct x86_cpu *emulator;
	uint16_t cs, ss, ds, es, fs, gs;
	bool single, twice;
	unsigned n_read, n_written; // bytes of one instruction
	uint64_t read[SEEN], written[SEEN];
};

static unsigned page_of(unsigned i)
{
	return i == 0   ? RIG_GPA_CODE
	       : i < 3  ? RIG_GPA_DATA + i - 1
	       : i == 3 ? RIG_PAGES - 2
			: RIG_GPA_STACK + i - 4;
}

uint8_t *oracle_guest_page(struct oracle_guest *g, unsigned i)
{
	return g->rig.ram + page_of(i) * 4096;
}

struct x86_cpu *oracle_guest_cpu(struct oracle_guest *g)
{
	return g->emulator ? g->emulator : g->rig.cpu;
}

// ---- devices
static bool read_only(unsigned page)
{
	return page == 0 || page == ORACLE_DATA_PAGES;
}

static int dev_translate(void *arg, uint64_t gva, unsigned access, uint64_t *ret_gpa,
			 struct x86_exception *fault)
{
	bool present = false;

	for (unsigned i = 0; i < ORACLE_PAGES; i++)
		if (gva >> 12 == oracle_page_va[i] >> 12) {
			*ret_gpa = page_of(i) * 4096 + (gva & 4095);
			if (!read_only(i) || !(access & X86_WRITE))
				return 0;
			present = true;
		}
	*fault = (struct x86_exception){ .vector = EXC_PF, .has_error = true, .cr2 = gva };
	fault->error = (access & X86_WRITE ? 2 : 0) | 4 | present;
	(void)arg;
	return 1;
}

static void seen(struct oracle_guest *g, uint64_t *list, unsigned *n, uint64_t gpa, unsigned len)
{
	for (unsigned i = 0; i < len; i++) {
		for (unsigned k = 0; k < *n; k++)
			g->twice |= list[k] == gpa + i;
		if (*n < SEEN)
			list[(*n)++] = gpa + i;
	}
}

static int dev_read(void *arg, uint64_t gpa, void *data, unsigned len)
{
	struct oracle_guest *g = arg;

	memcpy(data, g->rig.ram + gpa, len);
	if (g->single)
		seen(g, g->read, &g->n_read, gpa, len);
	return 0;
}

static int dev_write(void *arg, uint64_t gpa, const void *data, unsigned len)
{
	struct oracle_guest *g = arg;

	memcpy(g->rig.ram + gpa, data, len);
	if (g->single)
		seen(g, g->written, &g->n_written, gpa, len);
	return 0;
}

static const struct x86_env device_env = { .translate = dev_translate,
					   .read = dev_read,
					   .write = dev_write };

bool oracle_guest_twice(const struct oracle_guest *g)
{
	return g->twice;
}

bool oracle_guest_touched(const struct oracle_guest *g)
{
	return g->n_read || g->n_written;
}

static void user_mode(struct oracle_guest *g, struct x86_cpu *cpu)
{
	struct x86_state s;

	x86_get_state(g->rig.cpu, &s);
	for (unsigned i = 0; i < 6; i++)
		s.seg[i].attributes |= 0x60;
	__asm__("mov %%cs, %0" : "=r"(s.seg[X86_CS].selector));
	__asm__("mov %%ss, %0" : "=r"(s.seg[X86_SS].selector));
	__asm__("mov %%ds, %0" : "=r"(s.seg[X86_DS].selector));
	__asm__("mov %%es, %0" : "=r"(s.seg[X86_ES].selector));
	__asm__("mov %%fs, %0" : "=r"(s.seg[X86_FS].selector));
	__asm__("mov %%gs, %0" : "=r"(s.seg[X86_GS].selector));
	s.seg[X86_GS].base = ORACLE_GS;
	s.cr0 |= CR0_AM;
	x86_set_state(cpu, &s);
}

struct oracle_guest *oracle_guest_new(bool devices)
{
	struct oracle_guest *g = calloc(1, sizeof(*g));

	if (!g)
		return NULL;
	rig_init(&g->rig);
	rig_map(&g->rig, RIG_CODE, RIG_GPA_CODE, 5); // one page of code, read-only
	rig_map(&g->rig, RIG_CODE + 0x1000, 0, 0);
	rig_map(&g->rig, RIG_DATA + 0x2000, RIG_PAGES - 2, 5);
	memset(oracle_guest_page(g, 0), 0xf4, 4096);
	if (devices) {
		g->emulator = x86_cpu_new(&device_env, g);
		if (!g->emulator) {
			oracle_guest_free(g);
			return NULL;
		}
	}
	user_mode(g, oracle_guest_cpu(g));
	return g;
}

void oracle_guest_free(struct oracle_guest *g)
{
	if (!g)
		return;
	x86_cpu_free(g->emulator);
	rig_done(&g->rig);
	free(g);
}

static void result(struct oracle_guest *g, struct x86_cpu *cpu, const struct x86_exit *ex,
		   struct oracle_state *s)
{
	const struct x86_exception *x = ex->reason == X86_EXIT_FAULT ? &ex->fault : &cpu->exc;

	memcpy(s->gpr, cpu->gpr, sizeof(s->gpr));
	s->fx = cpu->fx;
	s->rip = cpu->rip;
	s->flags = cpu_rflags(cpu);
	switch (ex->reason) {
	case X86_EXIT_NONE:
		s->vector = ORACLE_ENDED;
		return;
	case X86_EXIT_UNSUPPORTED:
		s->vector = EXC_UD;
		return;
	case X86_EXIT_FAULT:
	case X86_EXIT_TRIPLE_FAULT: // there is no IDT
		s->vector = x->vector;
		s->error = x->has_error ? x->error : 0;
		s->cr2 = x->vector == EXC_PF ? x->cr2 : 0;
		break;
	default:
		s->vector = ORACLE_OTHER;
		return;
	}
	if (s->vector == EXC_GP && s->rip >> 12 == RIG_CODE >> 12 &&
	    oracle_guest_page(g, 0)[s->rip & 4095] == 0xf4)
		s->vector = ORACLE_ENDED;
}

void oracle_guest_run(struct oracle_guest *g, struct oracle_state *s, const uint8_t *bytes,
		      unsigned len)
{
	struct x86_cpu *cpu = oracle_guest_cpu(g);
	struct x86_exit ex;

	memcpy(cpu->gpr, s->gpr, sizeof(s->gpr));
	cpu->fx = s->fx;
	cpu->rip = s->rip;
	cpu_set_rflags(cpu, s->flags);
	x86_update_mode(cpu);
	g->single = g->emulator != NULL;
	g->twice = false;
	g->n_read = g->n_written = 0;
	if (len) {
		unsigned steps = 0;

		do // REP takes many
			x86_step(cpu, bytes, len, &ex);
		while (ex.reason == X86_EXIT_NONE && cpu->rip == s->rip && ++steps < 64);
	} else {
		x86_notify_write(cpu);
		x86_run(cpu, &ex);
	}
	g->single = false;
	result(g, cpu, &ex, s);
	// A branch to where nothing can be fetched: natively that is part of the run.
	if (!len || s->vector != ORACLE_ENDED || s->rip >> 12 == RIG_CODE >> 12)
		return;
	if (!g->emulator) {
		x86_step(cpu, NULL, 0, &ex);
		result(g, cpu, &ex, s);
		return;
	}
	s->vector = EXC_PF; // an emulator leaves that to the processor
	s->error = 0x14;
	s->cr2 = s->rip;
}
