// SPDX-License-Identifier: Apache-2.0
// Guests that make no sense: see garbage.h.
#include "tests/oracle/garbage.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

enum { PAGES = 24, RAM = PAGES * 4096, CODE_PAGE = 8, TABLES_PAGE = 1, EXITS_MAX = 40 };
enum { HANG_TICKS = 8000 };

struct garbage {
	struct x86_cpu *cpu, *emulator;
	uint8_t *ram;
	struct garbage_source *src;
	_Atomic uint64_t running, name; // running: number of the stream, 0 between
	_Atomic bool stop, told;        // told: the stream is to end
	pthread_t kicker;
	uint64_t next;
	struct garbage_counts counts;
};

uint64_t garbage_draw(struct garbage_source *s)
{
	uint64_t v = 0;
	size_t n = s->left < 8 ? s->left : 8;

	if (!n)
		return oracle_rnd(&s->rng);
	memcpy(&v, s->p, n);
	s->p += n;
	s->left -= n;
	return v;
}

// ---- surroundings
static void *env_ram(void *arg, uint64_t gpa, bool *writable)
{
	struct garbage *g = arg;

	*writable = gpa != (PAGES - 1) * 4096; // the last is read-only
	return gpa < RAM ? g->ram + gpa : NULL;
}

static int env_read(void *arg, uint64_t gpa, void *data, unsigned len)
{
	struct garbage *g = arg;

	if ((gpa & 0x3000) == 0x3000)
		return X86_ENV_EXIT;
	memset(data, (int)garbage_draw(g->src), len);
	return 0;
}

static int env_write(void *arg, uint64_t gpa, const void *data, unsigned len)
{
	(void)arg, (void)data, (void)len;
	return (gpa & 0x3000) == 0x3000 ? X86_ENV_EXIT : 0;
}

static int env_rdmsr(void *arg, uint32_t msr, uint64_t *value)
{
	struct garbage *g = arg;
	uint64_t v = garbage_draw(g->src);

	(void)msr;
	*value = v;
	return (int)(v % 3) - 1;
}

static int env_wrmsr(void *arg, uint32_t msr, uint64_t value)
{
	(void)msr, (void)value;
	return (int)(garbage_draw(((struct garbage *)arg)->src) % 3) - 1;
}

static int env_cpuid(void *arg, uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
	(void)arg, (void)subleaf;
	for (unsigned i = 0; i < 4; i++)
		out[i] = leaf * 0x9e3779b9u + i;
	return leaf & 1 ? 0 : X86_ENV_EXIT;
}

static int env_in(void *arg, uint16_t port, unsigned size, uint32_t *value)
{
	(void)size;
	*value = (uint32_t)garbage_draw(((struct garbage *)arg)->src);
	return port & 1 ? X86_ENV_EXIT : 0;
}

static int env_out(void *arg, uint16_t port, unsigned size, uint32_t value)
{
	(void)arg, (void)size, (void)value;
	return port & 2 ? X86_ENV_EXIT : 0;
}

static uint64_t env_cr8_read(void *arg)
{
	(void)arg;
	return 3;
}

static void env_cr8_write(void *arg, uint64_t value)
{
	(void)arg, (void)value;
}

static int env_vmcall(void *arg, struct x86_cpu *cpu)
{
	uint64_t v = garbage_draw(((struct garbage *)arg)->src);

	x86_gprs(cpu)[X86_RAX] = v;
	return v & 1;
}

static int env_attention(void *arg)
{
	return atomic_load(&((struct garbage *)arg)->told);
}

static int env_interrupt(void *arg)
{
	uint64_t v = garbage_draw(((struct garbage *)arg)->src);

	return v % 4 ? -1 : (int)(v >> 8 & 255);
}

static bool env_interrupt_waiting(void *arg)
{
	(void)arg;
	return true;
}

static const struct x86_env env = {
	.ram = env_ram,
	.read = env_read,
	.write = env_write,
	.rdmsr = env_rdmsr,
	.wrmsr = env_wrmsr,
	.cpuid = env_cpuid,
	.in = env_in,
	.out = env_out,
	.cr8_read = env_cr8_read,
	.cr8_write = env_cr8_write,
	.vmcall = env_vmcall,
	.attention = env_attention,
	.interrupt = env_interrupt,
	.interrupt_waiting = env_interrupt_waiting,
};

static int mmio_translate(void *arg, uint64_t gva, unsigned access, uint64_t *ret_gpa,
			  struct x86_exception *fault)
{
	struct garbage *g = arg;
	uint64_t v = garbage_draw(g->src);

	*ret_gpa = (v & 0xfffff000) | (gva & 0xfff);
	if (v >> 60 == 1)
		return X86_ENV_EXIT;
	*fault = (struct x86_exception){
		.vector = EXC_PF, .has_error = true, .error = access & 2, .cr2 = gva
	};
	return v >> 60 == 2;
}

static const struct x86_env mmio_env = {
	.read = env_read,
	.write = env_write,
	.translate = mmio_translate,
	.in = env_in,
	.out = env_out,
};

// ---- the end of streams
static void *kicker(void *arg)
{
	struct garbage *g = arg;
	uint64_t seen = 0, ticks = 0;

	while (!atomic_load(&g->stop)) {
		uint64_t now = atomic_load(&g->running);

		(void)nanosleep(&(struct timespec){ .tv_nsec = 500000 }, NULL); // any time will do
		if (!now || now != seen) {
			seen = now;
			ticks = 0;
			continue;
		}
		// Twice the same: it runs for longer than a tick.
		atomic_store(&g->told, true);
		x86_attention(g->cpu);
		if (++ticks > HANG_TICKS) {
			(void)fprintf(stderr, "stream %#llx does not end\n",
				      (unsigned long long)atomic_load(&g->name));
			__builtin_trap();
		}
	}
	return NULL;
}

struct garbage *garbage_new(void)
{
	struct garbage *g = calloc(1, sizeof(*g));

	if (!g)
		return NULL;
	g->ram = aligned_alloc(4096, RAM);
	g->cpu = x86_cpu_new(&env, g);
	g->emulator = x86_cpu_new(&mmio_env, g);
	if (g->ram && g->cpu && g->emulator && pthread_create(&g->kicker, NULL, kicker, g) == 0)
		return g;
	x86_cpu_free(g->cpu);
	x86_cpu_free(g->emulator);
	free(g->ram);
	free(g);
	return NULL;
}

void garbage_free(struct garbage *g)
{
	atomic_store(&g->stop, true);
	(void)pthread_join(g->kicker, NULL); // it is there
	x86_cpu_free(g->cpu);
	x86_cpu_free(g->emulator);
	free(g->ram);
	free(g);
}

const struct garbage_counts *garbage_counted(struct garbage *g)
{
	return &g->counts;
}

// ---- code
static unsigned instruction(struct garbage_source *s, uint8_t *p)
{
	static const uint8_t prefix[] = { 0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x48,
					  0x41, 0x4c, 0x2e, 0x65, 0x36 };
	static const uint8_t loops[] = {
		0xeb, 0xe2, 0x75, 0x74, 0xe8, 0xe9, 0xc3, 0xcf, 0xcd, 0xcc
	};
	static const uint8_t system[] = { 0x00, 0x01, 0x05, 0x07, 0x20, 0x22,
					  0x23, 0x30, 0x32, 0xa2, 0xae, 0xc7 };
	uint64_t k = garbage_draw(s), v = garbage_draw(s);
	unsigned n = 0;

	for (unsigned i = 0; i < (k & 3); i++)
		p[n++] = prefix[(k >> (4 + 4 * i) & 15) % sizeof(prefix)];
	switch (k >> 16 & 7) {
	case 0:
		p[n++] = loops[(k >> 20 & 255) % sizeof(loops)];
		break;
	case 1:
		p[n++] = 0x0f;
		p[n++] = system[(k >> 20 & 255) % sizeof(system)];
		break;
	case 2:
	case 3:
		p[n++] = 0x0f;
		if (k & 1ull << 40)
			p[n++] = k & 1ull << 41 ? 0x38 : 0x3a;
		p[n++] = (uint8_t)(k >> 20);
		break;
	default:
		p[n++] = (uint8_t)(k >> 20);
		break;
	}
	// Operands mostly near: registers, or a base with a byte of displacement.
	p[n++] = (uint8_t)(k >> 48 & 1 ? v : k >> 49 & 1 ? (v & 0x3f) | 0x40 : v | 0xc0);
	for (unsigned i = 0; i < (k >> 52 & 7); i++)
		p[n++] = (uint8_t)(v >> (8 * i + 8));
	return n;
}

void garbage_code(struct garbage_source *s, uint8_t *code, unsigned len)
{
	uint8_t one[32];
	unsigned at = 0;
	bool raw = garbage_draw(s) % 4 == 0;

	while (at < len) {
		unsigned n = 8;
		uint64_t v;

		if (raw) {
			v = garbage_draw(s);
			memcpy(one, &v, 8);
		} else {
			n = instruction(s, one);
		}
		if (n > len - at)
			n = len - at;
		memcpy(code + at, one, n);
		at += n;
	}
}

// ---- machines that almost make sense
static uint64_t near(struct garbage_source *s)
{
	uint64_t v = garbage_draw(s);

	switch (v & 3) {
	case 0:
		return v >> 8 & (RAM - 1);
	case 1:
		return v >> (v >> 2 & 63);
	case 2:
		return (uint64_t)(CODE_PAGE + (v >> 8 & 3)) * 4096 + (v >> 16 & 4095);
	default:
		return 0 - (v >> 40);
	}
}

// Identity of the first pages by all kinds of tables, then damage.
static void tables(struct garbage *g, struct garbage_source *s)
{
	uint64_t *t = (uint64_t *)(void *)(g->ram + TABLES_PAGE * 4096), *gdt = t + 4 * 512, k;

	t[0] = (TABLES_PAGE + 1) * 4096 | 7;
	t[512] = (TABLES_PAGE + 2) * 4096 | 7;
	t[1024] = (TABLES_PAGE + 3) * 4096 | 7;
	for (unsigned i = 0; i < 512; i++)
		t[1536 + i] = i * 4096u | 0x67;
	t[511] = t[0];
	gdt[1] = 0x00af9b000000ffff;
	gdt[2] = 0x00cf93000000ffff;
	gdt[3] = 0x00cf9b000000ffff;
	gdt[4] = 0x00affb000000ffff;
	gdt[5] = 0x00cff3000000ffff;
	gdt[6] = 0x00008b0060000067;
	for (unsigned i = 0; i < 64; i++) { // the IDT: 64-bit gates to the code
		gdt[64 + 2 * i] = (CODE_PAGE * 4096ull + i * 16) | 8u << 16 | 0x8e00ull << 32;
		gdt[65 + 2 * i] = 0;
	}
	k = garbage_draw(s);
	for (unsigned i = 0; i < (k & 7); i++) { // impossible entries, tables outside RAM
		uint64_t where = garbage_draw(s);

		t[where % (5 * 512)] = where & 1ull << 40 ? garbage_draw(s) : near(s);
	}
}

static void segments(struct garbage_source *s, struct x86_state *st, unsigned kind)
{
	static const uint16_t code[] = { 0xa09b, 0xc09b, 0x009b, 0xa0fb };
	uint64_t k = garbage_draw(s);

	for (unsigned i = 0; i < X86_SEG_COUNT; i++)
		st->seg[i] = (struct x86_seg){ .selector = 16,
					       .limit = 0xffffffff,
					       .attributes = kind == 3 ? 0xc0f3 : 0xc093 };
	st->seg[X86_CS].selector = kind == 3 ? 0x23 : 8;
	st->seg[X86_CS].attributes = code[kind];
	st->seg[X86_TR] = (struct x86_seg){ .base = 0x6000, .limit = 0x67, .attributes = 0x8b };
	for (unsigned i = 0; i < (k & 3); i++) {
		struct x86_seg *one = &st->seg[(k >> (4 + 4 * i)) % X86_SEG_COUNT];

		one->base = near(s);
		one->limit = (uint32_t)near(s);
		one->attributes = (uint16_t)garbage_draw(s);
	}
}

static void machine(struct garbage_source *s, struct x86_state *st)
{
	uint64_t k = garbage_draw(s);
	unsigned kind = k & 3; // 64-bit, 32-bit paged, 16- or 32-bit unpaged, 64-bit user

	memset(st, 0, sizeof(*st));
	segments(s, st, kind);
	for (unsigned i = 0; i < 16; i++)
		st->gpr[i] = near(s);
	st->gpr[X86_RSP] = CODE_PAGE * 4096 - 64;
	st->rip = CODE_PAGE * 4096;
	st->rflags = (garbage_draw(s) & 0x240fd5) | 2;
	st->cr0 = kind == 2 ? (k >> 8 & 1) | 0x10 : 0x80000011 | (k >> 8 & 0x1002e);
	st->cr4 = (k >> 16 & 0x7ff & ~0x20ull) | (k >> 40 & 0x300800) |
		  (kind == 1 ? k >> 30 & 0x20 : 0x620);
	st->efer = kind == 0 || kind == 3 ? 0xd01 : 0;
	st->cr3 = TABLES_PAGE * 4096;
	st->gdtr = (struct x86_table){ .base = 5 * 4096, .limit = 511 };
	st->idtr = (struct x86_table){ .base = 5 * 4096 + 512, .limit = (uint16_t)(k >> 4 & 1023) };
	st->lstar = CODE_PAGE * 4096 + 64;
	st->sfmask = k >> 12 & 0x700;
	st->star = 0x0013000800000000;
	st->dr[7] = k & 1ull << 50 ? garbage_draw(s) & 0xffffffff : 0x400;
	for (unsigned i = 0; i < 4; i++)
		st->dr[i] = near(s);
	st->fxsave[0] = 0x7f;
	st->fxsave[1] = 3;
	st->fxsave[24] = 0x80;
	st->fxsave[25] = (uint8_t)(k >> 56 & 0x1f);
	st->interrupt_shadow = k & 1ull << 51;
	if ((k >> 52 & 15) == 0) { // anything at all
		st->cr0 = garbage_draw(s);
		st->cr4 = garbage_draw(s);
		st->efer = garbage_draw(s);
		st->cr3 = garbage_draw(s);
	}
}

static void begin(struct garbage *g, struct garbage_source *s, uint64_t name)
{
	g->src = s;
	atomic_store(&g->told, false);
	atomic_store(&g->name, name);
	atomic_store(&g->running, ++g->next);
}

static bool after_exit(struct garbage *g, const struct x86_exit *ex)
{
	struct x86_event ev = { .vector = (uint8_t)garbage_draw(g->src), .is_exception = true };

	g->counts.exits[ex->reason]++;
	switch (ex->reason) {
	case X86_EXIT_HLT:
	case X86_EXIT_ATTENTION:
		if (ex->reason == X86_EXIT_HLT && (ev.vector & 1)) {
			x86_inject(g->cpu, &ev);
			return true;
		}
		return false;
	case X86_EXIT_IO:
	case X86_EXIT_MSR:
	case X86_EXIT_CPUID:
		x86_set_rip(g->cpu, x86_rip(g->cpu) + ex->insn_len);
		return true;
	case X86_EXIT_MMIO:
		x86_set_rip(g->cpu, x86_rip(g->cpu) + 1 + (ev.vector & 3));
		return true;
	default:
		return false;
	}
}

void garbage_stream(struct garbage *g, struct garbage_source *s, uint64_t name)
{
	struct x86_state st;
	struct x86_exit ex;
	uint64_t before;

	memset(g->ram, 0, RAM);
	tables(g, s);
	garbage_code(s, g->ram + CODE_PAGE * 4096, 256 + (garbage_draw(s) & 0x1ff));
	machine(s, &st);
	before = x86_instructions(g->cpu);
	x86_notify_write(g->cpu);
	x86_set_state(g->cpu, &st);
	begin(g, s, name);
	for (unsigned i = 0; i < EXITS_MAX; i++) {
		x86_run(g->cpu, &ex);
		if (!after_exit(g, &ex))
			break;
	}
	atomic_store(&g->running, 0);
	g->counts.instructions += x86_instructions(g->cpu) - before;
}

void garbage_mmio(struct garbage *g, struct garbage_source *s, uint64_t name)
{
	struct x86_state st;
	struct x86_exit ex;
	uint8_t bytes[32];

	machine(s, &st);
	(void)instruction(s, bytes);
	x86_set_state(g->emulator, &st);
	begin(g, s, name);
	x86_step(g->emulator, bytes, (unsigned)(garbage_draw(s) & 15), &ex);
	atomic_store(&g->running, 0);
	g->counts.exits[ex.reason]++;
}
