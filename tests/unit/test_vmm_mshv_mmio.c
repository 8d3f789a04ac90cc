// SPDX-License-Identifier: Apache-2.0
// Guest code in a software partition against a device that records what it sees: every form of access by memory and port,
// through the register page and without it, then the ways in which a processor stops.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/err.h"
#include "vmm/boot/boot.h"
#include "vmm/bus.h"
#include "vmm/hv/hv.h"
#include "vmm/hv/mshv_abi.h"
#include "vmm/hv/mshv_sys.h"
#include "vmm/mem/mem.h"

enum { RAM = 2 << 20, CODE_GPA = 1 << 20, DATA_GPA = 0x180000, IDT_GPA = 0x3000 + 0x6000 };
enum { DEV_BYTES = 4096, PORT = 0x500, LOG_MAX = 64 };
#define DEV_GPA 0xd0000000ull
#define DEV_START 0xf1e2d3c4b5a69788ull // what the registers hold at first, in each eight bytes

// Guest code: RBX is the device, R12 is RAM for data. Ends with HLT.
#define CODE(name, text)                                                                 \
	extern const uint8_t code_##name[], code_##name##_end[];                         \
	__asm__(".pushsection .rodata\n"                                                 \
		"code_" #name ":\n"                                                      \
		"mov $0xd0000000, %ebx\n mov $0x180000, %r12d\n" text "\nhlt\njmp .-1\n" \
		"code_" #name "_end:\n.popsection\n")
#define TELL(reg) "mov %" reg ", 0x80(%rbx)\n"
#define FRESH "mov $-1, %rax\n"

struct seen {
	char how; // 'r', 'w', 'i', 'o'
	unsigned off, len;
	uint64_t value;
};

struct rig {
	struct mem *mem;
	struct bus *bus;
	struct hv *hv;
	struct hv_vcpu *vcpu;
	struct hv_client client;
	struct mshv_sys sys;
	uint8_t regs[DEV_BYTES + 8], ports[16];
	struct seen log[LOG_MAX];
	unsigned n, checked;
	_Atomic unsigned total; // also beyond the log
	struct err e;
};

static void record(struct rig *x, char how, uint64_t off, const void *data, unsigned len)
{
	uint64_t v = 0;

	memcpy(&v, data, len);
	if (x->n < LOG_MAX)
		x->log[x->n++] = (struct seen){ how, (unsigned)off, len, v };
	atomic_fetch_add(&x->total, 1);
}

static void dev_read(void *dev, uint64_t off, void *data, unsigned len)
{
	struct rig *x = dev;

	memcpy(data, x->regs + off, len);
	record(x, 'r', off, data, len);
}

static void dev_write(void *dev, uint64_t off, const void *data, unsigned len)
{
	struct rig *x = dev;

	memcpy(x->regs + off, data, len);
	record(x, 'w', off, data, len);
}

static void port_read(void *dev, uint64_t off, void *data, unsigned len)
{
	struct rig *x = dev;

	memcpy(data, x->ports + off, len);
	record(x, 'i', off, data, len);
}

static void port_write(void *dev, uint64_t off, const void *data, unsigned len)
{
	record(dev, 'o', off, data, len);
}

static const struct bus_ops dev_ops = { "recorder", dev_read, dev_write };
static const struct bus_ops port_ops = { "port recorder", port_read, port_write };

static void on_eoi(void *arg, uint8_t vector)
{
	(void)arg;
	(void)vector;
}

static void *no_mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset)
{
	(void)addr, (void)length, (void)prot, (void)flags, (void)fd, (void)offset;
	errno = ENODEV;
	return MAP_FAILED;
}

static int rig_open(void **state, bool page)
{
	struct rig *x = calloc(1, sizeof(*x));
	int r;

	assert_non_null(x);
	for (unsigned i = 0; i < DEV_BYTES; i += 8)
		memcpy(x->regs + i, &(uint64_t){ DEV_START }, 8);
	for (unsigned i = 0; i < sizeof(x->ports); i++)
		x->ports[i] = (uint8_t)(0xc0 + i);
	assert_int_equal(mem_new(RAM, &x->mem, &x->e), 0);
	x->bus = bus_new();
	assert_non_null(x->bus);
	assert_int_equal(bus_add(x->bus, BUS_MMIO, DEV_GPA, DEV_BYTES, &dev_ops, x), 0);
	assert_int_equal(bus_add(x->bus, BUS_PIO, PORT, sizeof(x->ports), &port_ops, x), 0);
	x->client = (struct hv_client){ .bus = x->bus, .mem = x->mem, .eoi = on_eoi, .arg = x };
	x->sys = mshv_sys_soft;
	x->sys.mmap = no_mmap;
	r = page ? hv_open(VMM_HV_SOFT, &x->client, &x->hv, &x->e)
		 : hv_mshv_open(&x->sys, &x->client, &x->hv, &x->e);
	if (r < 0)
		fail_msg("%s", x->e.msg);
	assert_string_equal(x->hv->name, "soft");
	assert_int_equal(x->hv->ops->map(x->hv, 0, mem_slice(x->mem, 0, RAM), RAM, &x->e), 0);
	assert_int_equal(x->hv->ops->vcpu_new(x->hv, 0, &x->vcpu, &x->e), 0);
	*state = x;
	return 0;
}

static int with_page(void **state)
{
	return rig_open(state, true);
}

static int without_page(void **state)
{
	return rig_open(state, false);
}

static int teardown(void **state)
{
	struct rig *x = *state;

	x->hv->ops->vcpu_free(x->vcpu);
	x->hv->ops->free(x->hv);
	bus_free(x->bus);
	mem_free(x->mem);
	free(x);
	return 0;
}

static void prepare(struct rig *x, const uint8_t *from, const uint8_t *to, bool idt)
{
	struct x86_state s;

	memcpy(mem_slice(x->mem, CODE_GPA, (uint64_t)(to - from)), from, (size_t)(to - from));
	assert_int_equal(boot_cpu_state(x->mem, CODE_GPA, &s, &x->e), 0);
	if (idt)
		s.idtr = (struct x86_table){ .limit = 0xfff, .base = IDT_GPA };
	assert_int_equal(x->hv->ops->vcpu_set_state(x->vcpu, &s, &x->e), 0);
	assert_int_equal(x->hv->ops->start_time(x->hv, &x->e), 0);
}

static void expect_stop(struct rig *x, enum hv_stop want)
{
	enum hv_stop got = x->hv->ops->vcpu_run(x->vcpu, &x->e);

	if (got != want)
		fail_msg("stopped by %d, not %d: %s", (int)got, (int)want, x->e.msg);
}

#define RUN(x, name)                                               \
	do {                                                       \
		prepare(x, code_##name, code_##name##_end, false); \
		expect_stop(x, HV_STOP_HALT);                      \
	} while (0)

// The next thing that the device saw.
static void saw(struct rig *x, char how, unsigned off, unsigned len, uint64_t value)
{
	const struct seen *s = &x->log[x->checked];

	if (x->checked >= x->n)
		fail_msg("access %u: none came; expected %c %#x %u", x->checked, how, off, len);
	if (s->how != how || s->off != off || s->len != len || s->value != value)
		fail_msg("access %u: %c %#x %u %#llx, expected %c %#x %u %#llx", x->checked, s->how,
			 s->off, s->len, (unsigned long long)s->value, how, off, len,
			 (unsigned long long)value);
	x->checked++;
}

static void told(struct rig *x, uint64_t value)
{
	saw(x, 'w', 0x80, 8, value);
}

static void no_more(struct rig *x)
{
	assert_int_equal(x->checked, x->n);
	assert_int_equal(x->total, x->n);
}

// ---- by memory
CODE(stores, "movb $0x12, (%rbx)\n movw $0x1234, 2(%rbx)\n movl $0x12345678, 4(%rbx)\n"
	     "movq $-2, 8(%rbx)\n mov $0x1122334455667788, %rax\n mov %al, 0x10(%rbx)\n"
	     "mov %ah, 0x11(%rbx)\n mov %ax, 0x12(%rbx)\n mov %eax, 0x14(%rbx)\n"
	     "mov %rax, 0x18(%rbx)\n mov %rax, %r9\n mov %r9b, 0x20(%rbx)\n"
	     "mov $4, %ecx\n mov %r9d, 0x24(%rbx,%rcx,2)\n movabs %al, 0xd0000030\n");

static void stores(void **state)
{
	struct rig *x = *state;

	RUN(x, stores);
	saw(x, 'w', 0, 1, 0x12);
	saw(x, 'w', 2, 2, 0x1234);
	saw(x, 'w', 4, 4, 0x12345678);
	saw(x, 'w', 8, 8, 0xfffffffffffffffe);
	saw(x, 'w', 0x10, 1, 0x88);
	saw(x, 'w', 0x11, 1, 0x77);
	saw(x, 'w', 0x12, 2, 0x7788);
	saw(x, 'w', 0x14, 4, 0x55667788);
	saw(x, 'w', 0x18, 8, 0x1122334455667788);
	saw(x, 'w', 0x20, 1, 0x88);
	saw(x, 'w', 0x2c, 4, 0x55667788);
	saw(x, 'w', 0x30, 1, 0x88);
	no_more(x);
}

CODE(loads, FRESH "mov (%rbx), %al\n" TELL("rax") FRESH "mov 1(%rbx), %ah\n" TELL("rax") FRESH
     "mov (%rbx), %ax\n" TELL("rax") FRESH
     "mov 4(%rbx), %eax\n" TELL("rax") "mov 8(%rbx), %r11\n" TELL("r11") FRESH
     "movabs 0xd0000002, %al\n" TELL("rax") "mov $7, %edi\n mov 0x10(%rbx,%rdi,8), %rbp\n" TELL(
	     "rbp"));

static void loads(void **state)
{
	struct rig *x = *state;

	RUN(x, loads);
	saw(x, 'r', 0, 1, 0x88);
	told(x, 0xffffffffffffff88);
	saw(x, 'r', 1, 1, 0x97);
	told(x, 0xffffffffffff97ff);
	saw(x, 'r', 0, 2, 0x9788);
	told(x, 0xffffffffffff9788);
	saw(x, 'r', 4, 4, 0xf1e2d3c4);
	told(x, 0xf1e2d3c4);
	saw(x, 'r', 8, 8, DEV_START);
	told(x, DEV_START);
	saw(x, 'r', 2, 1, 0xa6);
	told(x, 0xffffffffffffffa6);
	saw(x, 'r', 0x48, 8, DEV_START);
	told(x, DEV_START);
	no_more(x);
}

CODE(extends, FRESH "movzbw (%rbx), %ax\n" TELL("rax") FRESH "movzbl (%rbx), %eax\n" TELL("rax")
		      FRESH "movzbq 3(%rbx), %rax\n" TELL("rax") FRESH
     "movzwl 2(%rbx), %eax\n" TELL("rax") "xor %eax, %eax\n movsbw (%rbx), %ax\n" TELL("rax") "movsbl (%rbx), %eax\n" TELL("rax") "movsbq (%rbx), %rax\n" TELL(
	     "rax") "movswl 6(%rbx), %eax\n" TELL("rax") "movswq 6(%rbx), %rax\n" TELL("rax") "movslq 4(%rbx), %rax\n" TELL("rax"));

static void extends(void **state)
{
	struct rig *x = *state;

	RUN(x, extends);
	saw(x, 'r', 0, 1, 0x88);
	told(x, 0xffffffffffff0088);
	saw(x, 'r', 0, 1, 0x88);
	told(x, 0x88);
	saw(x, 'r', 3, 1, 0xb5);
	told(x, 0xb5);
	saw(x, 'r', 2, 2, 0xb5a6);
	told(x, 0xb5a6);
	saw(x, 'r', 0, 1, 0x88);
	told(x, 0xff88);
	saw(x, 'r', 0, 1, 0x88);
	told(x, 0xffffff88);
	saw(x, 'r', 0, 1, 0x88);
	told(x, 0xffffffffffffff88);
	saw(x, 'r', 6, 2, 0xf1e2);
	told(x, 0xfffff1e2);
	saw(x, 'r', 6, 2, 0xf1e2);
	told(x, 0xfffffffffffff1e2);
	saw(x, 'r', 4, 4, 0xf1e2d3c4);
	told(x, 0xfffffffff1e2d3c4);
	no_more(x);
}

CODE(strings,
     "mov %r12, %rsi\n lea 0x10(%rbx), %rdi\n mov $3, %ecx\n rep movsl\n" TELL("rsi") TELL("rdi")
	     TELL("rcx") "mov %rbx, %rsi\n lea 0x100(%r12), %rdi\n mov $2, %ecx\n rep movsq\n movsb\n" TELL("rdi") "lea 0x40(%rbx), %rdi\n mov $0x5a5b5c5d, %eax\n mov $2, %ecx\n rep stosw\n stosb\n" TELL(
		     "rdi") "std\n lea 0x60(%rbx), %rdi\n mov $2, %ecx\n rep stosl\n cld\n" TELL("rdi") "lea 0x44(%rbx), %rsi\n" FRESH "lodsb\n" TELL("rax")
		     TELL("rsi") "xor %ecx, %ecx\n rep movsb\n" TELL("rcx"));

static void strings(void **state)
{
	struct rig *x = *state;
	uint8_t *data = mem_slice(x->mem, DATA_GPA, 4096), want[17];

	memcpy(data, "abcdefghijkl", 12);
	RUN(x, strings);
	saw(x, 'w', 0x10, 4, 0x64636261);
	saw(x, 'w', 0x14, 4, 0x68676665);
	saw(x, 'w', 0x18, 4, 0x6c6b6a69);
	told(x, DATA_GPA + 12);
	told(x, DEV_GPA + 0x1c);
	told(x, 0);
	saw(x, 'r', 0, 8, DEV_START);
	saw(x, 'r', 8, 8, DEV_START);
	saw(x, 'r', 0x10, 1, 'a');
	told(x, DATA_GPA + 0x111);
	memcpy(want, &(uint64_t){ DEV_START }, 8);
	memcpy(want + 8, want, 8);
	want[16] = 'a';
	assert_memory_equal(data + 0x100, want, 17);
	assert_int_equal(data[0x111], 0);
	saw(x, 'w', 0x40, 2, 0x5c5d);
	saw(x, 'w', 0x42, 2, 0x5c5d);
	saw(x, 'w', 0x44, 1, 0x5d);
	told(x, DEV_GPA + 0x45);
	saw(x, 'w', 0x60, 4, 0x5a5b5c5d);
	saw(x, 'w', 0x5c, 4, 0x5a5b5c5d);
	told(x, DEV_GPA + 0x58);
	saw(x, 'r', 0x44, 1, 0x5d);
	told(x, 0xffffffffffffff5d);
	told(x, DEV_GPA + 0x45);
	told(x, 0);
	no_more(x);
}

CODE(rmw,
     "addl $0x10, (%rbx)\n pushf\n pop %rax\n and $0x8d5, %eax\n" TELL(
	     "rax") "orb $1, 8(%rbx)\n andw $0xff, 0x10(%rbx)\n xorl $-1, 0x18(%rbx)\n"
		    "mov $5, %eax\n sub %rax, 0x20(%rbx)\n incb 0x28(%rbx)\n notw 0x30(%rbx)\n"
		    "lock orl $0, 0x38(%rbx)\n btsl $0, 0x40(%rbx)\n shlb $1, 0x48(%rbx)\n"
		    "add 0x50(%rbx), %rax\n" TELL(
			    "rax") "cmpb $0x88, 0x58(%rbx)\n sete %al\n testb $0x77, 0x60(%rbx)\n sete %ah\n"
				   "movzwl %ax, %eax\n" TELL("rax"));

static void rmw(void **state)
{
	struct rig *x = *state;

	RUN(x, rmw);
	saw(x, 'r', 0, 4, 0xb5a69788);
	saw(x, 'w', 0, 4, 0xb5a69798);
	told(x, 0x80); // SF alone: 0x98 has three bits
	saw(x, 'r', 8, 1, 0x88);
	saw(x, 'w', 8, 1, 0x89);
	saw(x, 'r', 0x10, 2, 0x9788);
	saw(x, 'w', 0x10, 2, 0x88);
	saw(x, 'r', 0x18, 4, 0xb5a69788);
	saw(x, 'w', 0x18, 4, 0x4a596877);
	saw(x, 'r', 0x20, 8, DEV_START);
	saw(x, 'w', 0x20, 8, DEV_START - 5);
	saw(x, 'r', 0x28, 1, 0x88);
	saw(x, 'w', 0x28, 1, 0x89);
	saw(x, 'r', 0x30, 2, 0x9788);
	saw(x, 'w', 0x30, 2, 0x6877);
	saw(x, 'r', 0x38, 4, 0xb5a69788);
	saw(x, 'w', 0x38, 4, 0xb5a69788);
	saw(x, 'r', 0x40, 4, 0xb5a69788);
	saw(x, 'w', 0x40, 4, 0xb5a69789);
	saw(x, 'r', 0x48, 1, 0x88);
	saw(x, 'w', 0x48, 1, 0x10);
	saw(x, 'r', 0x50, 8, DEV_START);
	told(x, DEV_START + 5);
	saw(x, 'r', 0x58, 1, 0x88);
	saw(x, 'r', 0x60, 1, 0x88);
	told(x, 0x0101);
	no_more(x);
}

CODE(exchange,
     "mov $0x11223344, %eax\n xchg %eax, (%rbx)\n" TELL(
	     "rax") "mov $0x3344, %eax\n mov $0x5566, %ecx\n lock cmpxchg %cx, (%rbx)\n sete %dl\n"
		    "movzbl %dl, %edx\n" TELL("rdx") "mov $2, %eax\n lock xadd %al, (%rbx)\n" TELL(
			    "rax") "xchg %rax, 8(%rbx)\n" TELL("rax"));

static void exchange(void **state)
{
	struct rig *x = *state;

	RUN(x, exchange);
	saw(x, 'r', 0, 4, 0xb5a69788);
	saw(x, 'w', 0, 4, 0x11223344);
	told(x, 0xb5a69788);
	saw(x, 'r', 0, 2, 0x3344);
	saw(x, 'w', 0, 2, 0x5566);
	told(x, 1);
	saw(x, 'r', 0, 1, 0x66);
	saw(x, 'w', 0, 1, 0x68);
	told(x, 0x66);
	saw(x, 'r', 8, 8, DEV_START);
	saw(x, 'w', 8, 8, 0x66);
	told(x, DEV_START);
	no_more(x);
}

CODE(vectors,
     "mov $0x0102030405060708, %rax\n movq %rax, %xmm9\n movq %xmm9, (%rbx)\n"
     "movdqu 8(%rbx), %xmm3\n movq %xmm3, %rax\n" TELL("rax") "psrldq $8, %xmm3\n movq %xmm3, %rax\n" TELL(
	     "rax") "movq %xmm9, %rax\n" TELL("rax"));

static void vectors(void **state)
{
	struct rig *x = *state;

	RUN(x, vectors);
	saw(x, 'w', 0, 8, 0x0102030405060708);
	saw(x, 'r', 8, 8, DEV_START);
	saw(x, 'r', 16, 8, DEV_START);
	told(x, DEV_START);
	told(x, DEV_START);
	told(x, 0x0102030405060708);
	no_more(x);
}

// State beyond the XMM registers: rounding, the x87 stack, MMX; and SSE instructions from the end of the map.
CODE(fpu,
     "mov $0x3ff0000000000000, %rax\n mov %rax, (%rbx)\n fldl (%rbx)\n fld1\n faddp\n fstpl 8(%rbx)\n"
     "fldl 8(%rbx)\n fistpl 16(%rbx)\n"
     "movl $0x5f80, 0x180(%r12)\n ldmxcsr 0x180(%r12)\n movl $0x3fc00000, 24(%rbx)\n" // upwards
     "xorps %xmm2, %xmm2\n cvtss2si 24(%rbx), %eax\n" TELL("rax") "pinsrw $1, 2(%rbx), %xmm2\n movd %xmm2, %eax\n" TELL(
	     "rax") "movq (%rbx), %mm3\n emms\n movq %mm3, 32(%rbx)\n");

static void fpu(void **state)
{
	struct rig *x = *state;

	RUN(x, fpu);
	saw(x, 'w', 0, 8, 0x3ff0000000000000);
	saw(x, 'r', 0, 8, 0x3ff0000000000000);
	saw(x, 'w', 8, 8, 0x4000000000000000);
	saw(x, 'r', 8, 8, 0x4000000000000000);
	saw(x, 'w', 16, 4, 2);
	saw(x, 'w', 24, 4, 0x3fc00000);
	saw(x, 'r', 24, 4, 0x3fc00000);
	told(x, 2);
	saw(x, 'r', 2, 2, 0);
	told(x, 0);
	saw(x, 'r', 0, 8, 0x3ff0000000000000);
	saw(x, 'w', 32, 8, 0x3ff0000000000000);
	no_more(x);
}

// More iterations than are done at once.
CODE(long_string,
     "mov $0x2345, %ecx\n mov $0xd1000000, %edi\n rep stosb\n" TELL("rdi") TELL("rcx"));

static void long_string(void **state)
{
	struct rig *x = *state;

	RUN(x, long_string);
	told(x, 0xd1002345);
	told(x, 0);
	no_more(x);
}

// Nobody's address: all ones, and writes go nowhere.
CODE(nobody,
     "mov $0xd1000000, %edx\n movl $7, (%rdx)\n mov (%rdx), %eax\n" TELL(
	     "rax") "mov $0x777, %edx\n out %al, %dx\n xor %eax, %eax\n in %dx, %al\n" TELL("rax"));

static void nobody(void **state)
{
	struct rig *x = *state;

	RUN(x, nobody);
	told(x, 0xffffffff);
	told(x, 0xff);
	no_more(x);
}

// ---- by port
CODE(ports, "mov $0x500, %edx\n mov $0x1122334455667788, %rax\n out %al, %dx\n inc %edx\n"
	    "out %ax, %dx\n inc %edx\n out %eax, %dx\n" FRESH "in %dx, %al\n" TELL("rax") FRESH
     "in %dx, %ax\n" TELL("rax") FRESH
     "in %dx, %eax\n" TELL("rax") "mov %r12, %rsi\n mov $3, %ecx\n rep outsb\n" TELL(
	     "rsi") "outsl\n"
		    "lea 0x100(%r12), %rdi\n mov $2, %ecx\n rep insw\n" TELL("rdi")
			    TELL("rcx") "insb\n" TELL("rdi"));

static void ports(void **state)
{
	struct rig *x = *state;
	uint8_t *data = mem_slice(x->mem, DATA_GPA, 4096);

	memcpy(data, "abcdefghijkl", 12);
	RUN(x, ports);
	saw(x, 'o', 0, 1, 0x88);
	saw(x, 'o', 1, 2, 0x7788);
	saw(x, 'o', 2, 4, 0x55667788);
	saw(x, 'i', 2, 1, 0xc2);
	told(x, 0xffffffffffffffc2);
	saw(x, 'i', 2, 2, 0xc3c2);
	told(x, 0xffffffffffffc3c2);
	saw(x, 'i', 2, 4, 0xc5c4c3c2);
	told(x, 0xc5c4c3c2);
	saw(x, 'o', 2, 1, 'a');
	saw(x, 'o', 2, 1, 'b');
	saw(x, 'o', 2, 1, 'c');
	told(x, DATA_GPA + 3);
	saw(x, 'o', 2, 4, 0x67666564);
	saw(x, 'i', 2, 2, 0xc3c2);
	saw(x, 'i', 2, 2, 0xc3c2);
	told(x, DATA_GPA + 0x104);
	told(x, 0);
	saw(x, 'i', 2, 1, 0xc2);
	told(x, DATA_GPA + 0x105);
	assert_memory_equal(data + 0x100, "\xc2\xc3\xc2\xc3\xc2\0", 6);
	no_more(x);
}

// ---- a doorbell takes its value before the device sees it; the rest still come.
CODE(doorbell, "movl $3, 0x50(%rbx)\n movl $4, 0x50(%rbx)\n movw $3, 0x50(%rbx)\n"
	       "movl $3, 0x54(%rbx)\n movl $3, 0x50(%rbx)\n");

static void doorbell(void **state)
{
	struct rig *x = *state;
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	uint64_t n = 0;

	assert_true(fd >= 0);
	assert_int_equal(x->hv->ops->doorbell(x->hv, DEV_GPA + 0x50, 4, 3, fd, true, &x->e), 0);
	RUN(x, doorbell);
	assert_int_equal(read(fd, &n, 8), 8);
	assert_int_equal(n, 2);
	saw(x, 'w', 0x50, 4, 4);
	saw(x, 'w', 0x50, 2, 3);
	saw(x, 'w', 0x54, 4, 3);
	no_more(x);
	assert_int_equal(x->hv->ops->doorbell(x->hv, DEV_GPA + 0x50, 4, 3, fd, false, &x->e), 0);
	RUN(x, doorbell);
	assert_int_equal(x->n, 3 + 5);
	assert_int_equal(read(fd, &n, 8), -1);
	(void)close(fd); // done with
}

// ---- a fault inside the emulated instruction is the guest's: what was done before it stays done. The page tables end at
// 4 GiB, where nothing answers.
#define HANDLER \
	"pop %rax\n" TELL("rax") "mov %cr2, %rax\n" TELL("rax") TELL("rcx") TELL("rdi") TELL("rsi")
CODE(fault, "mov %rbx, %rsi\n mov $0xfffffffd, %edi\n mov $5, %ecx\n rep movsb\n hlt\n"
	    ".org code_fault + 0x120\n" HANDLER);
CODE(port_fault, "mov $0x500, %edx\n xor %esi, %esi\n mov $0xfffffffe, %edi\n mov $5, %ecx\n"
		 "rep insb\n hlt\n"
		 ".org code_port_fault + 0x120\n" HANDLER);

static void put_gate(struct rig *x, unsigned vector, uint64_t to)
{
	uint64_t gate[2] = { (to & 0xffff) | 0x10ull << 16 | 0x8e00ull << 32 |
				     (to >> 16 & 0xffff) << 48,
			     to >> 32 };

	memcpy(mem_slice(x->mem, IDT_GPA + vector * 16, 16), gate, 16);
}

// The accesses before the fault, then at most one that it cut off; then what the handler found.
static void faulted(struct rig *x, char how, unsigned step, unsigned done, uint64_t rsi)
{
	for (unsigned i = 0; i <= done && x->log[x->checked].how == how; i++)
		saw(x, how, i * step, 1, x->log[x->checked].value);
	assert_true(x->checked >= done);
	told(x, 2); // a write by the supervisor, not present
	told(x, 0x100000000);
	told(x, 5 - done);
	told(x, 0x100000000);
	told(x, rsi);
	no_more(x);
}

static void fault(void **state)
{
	struct rig *x = *state;

	put_gate(x, 14, CODE_GPA + 0x120);
	prepare(x, code_fault, code_fault_end, true);
	expect_stop(x, HV_STOP_HALT);
	faulted(x, 'r', 1, 3, DEV_GPA + 3);
}

static void port_fault(void **state)
{
	struct rig *x = *state;

	put_gate(x, 14, CODE_GPA + 0x120);
	prepare(x, code_port_fault, code_port_fault_end, true);
	expect_stop(x, HV_STOP_HALT);
	faulted(x, 'i', 0, 2, 0);
}

// ---- what translation may say of an operand that is not the device: forced here, on the way from the hypervisor
static uint32_t forced_result;

static int force_ioctl(int fd, unsigned long req, void *arg)
{
	const struct mshv_root_hvcall *a = arg;
	int r = mshv_sys_soft.ioctl(fd, req, arg);

	if (req == MSHV_ROOT_HVCALL && a->code == HVCALL_TRANSLATE_VIRTUAL_ADDRESS) {
		struct hv_output_translate_virtual_address *out = (void *)(uintptr_t)a->out_ptr;

		if (forced_result == 100)
			out->cache_overlay |= HV_TRANSLATE_OVERLAY_PAGE;
		else
			out->result_code = forced_result;
	}
	return r;
}

CODE(copy, "mov %rbx, %rsi\n mov %r12, %rdi\n movsb\n hlt\n"
	   ".org code_copy + 0x120\n" HANDLER);

static void refused(void **state)
{
	static const struct {
		uint32_t result;
		const char *text;
	} cases[] = {
		{ HV_TRANSLATE_GPA_NO_READ_ACCESS, "the page may not be read (5)" },
		{ HV_TRANSLATE_GPA_NO_WRITE_ACCESS, "the page may not be written (6)" },
		{ HV_TRANSLATE_INTERCEPT, "the page is behind an intercept (8)" },
		{ HV_TRANSLATE_GPA_UNACCEPTED, "the page is not accepted (9)" },
		{ 77, "unknown result (77)" },
		{ 100, "the page is the hypervisor's own (7)" },
	};
	struct rig *x = *state;

	x->sys.ioctl = force_ioctl;
	for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		forced_result = cases[i].result;
		prepare(x, code_copy, code_copy_end, false);
		expect_stop(x, HV_STOP_ERROR);
		if (!strstr(x->e.msg, cases[i].text) || !strstr(x->e.msg, "access to 0x180000"))
			fail_msg("%u: %s", cases[i].result, x->e.msg);
	}
}

static void overlay_write(void **state)
{
	struct rig *x = *state;

	x->sys.ioctl = force_ioctl;
	forced_result = HV_TRANSLATE_GPA_ILLEGAL_OVERLAY_ACCESS;
	put_gate(x, 13, CODE_GPA + 0x120);
	prepare(x, code_copy, code_copy_end, true);
	expect_stop(x, HV_STOP_HALT);
	saw(x, 'r', 0, 1, 0x88);
	told(x, 0); // #GP(0)
}

// ---- segment and table registers from a device, and into one
CODE(system,
     "movl $0x18, (%rbx)\n xor %eax, %eax\n mov %eax, %fs\n mov (%rbx), %fs\n mov %fs, %eax\n" TELL("rax") "andl $~0x200, 0x1024\n movl $0x20, 8(%rbx)\n ltr 8(%rbx)\n str %eax\n" TELL(
	     "rax") "mov 0x1024, %eax\n" TELL("rax") "sgdt 0x10(%rbx)\n lgdt 0x10(%rbx)\n sgdt 0x180(%r12)\n mov 0x182(%r12), %rax\n" TELL("rax") "movw $0x2b, 0x20(%rbx)\n smsw 0x28(%rbx)\n lmsw 0x20(%rbx)\n mov %cr0, %rax\n" TELL("rax"));

static void system_registers(void **state)
{
	struct rig *x = *state;

	RUN(x, system);
	saw(x, 'w', 0, 4, 0x18);
	saw(x, 'r', 0, 2, 0x18);
	told(x, 0x18);
	saw(x, 'w', 8, 4, 0x20);
	saw(x, 'r', 8, 2, 0x20);
	told(x, 0x20);
	told(x, 0x8b00); // busy again
	saw(x, 'w', 0x10, 8, BOOT_GDT << 16 | 0xfff);
	saw(x, 'w', 0x18, 2, 0);
	saw(x, 'r', 0x10, 8, BOOT_GDT << 16 | 0xfff);
	saw(x, 'r', 0x18, 2, 0);
	told(x, BOOT_GDT);
	saw(x, 'w', 0x20, 2, 0x2b);
	saw(x, 'w', 0x28, 2, 0x33);
	saw(x, 'r', 0x20, 2, 0x2b);
	told(x, 0x8005003b); // TS with it, and ET and NE are not LMSW's
	no_more(x);
}

// ---- stops
CODE(ud, "ud2");
CODE(spin, "1: movl $1, (%rbx)\n jmp 1b\n");
CODE(tight, "movl $1, (%rbx)\n 1: jmp 1b\n");
CODE(sleep, "movl $1, (%rbx)\n 1: sti\n hlt\n jmp 1b\n");

static void triple_fault(void **state)
{
	struct rig *x = *state;

	prepare(x, code_ud, code_ud_end, false);
	expect_stop(x, HV_STOP_TRIPLE_FAULT);
	no_more(x);
}

static void *kicker(void *arg)
{
	struct rig *x = arg;

	while (!atomic_load(&x->total)) // it runs
		(void)usleep(100);      // a short sleep is as good
	x->hv->ops->vcpu_kick(x->vcpu);
	return NULL;
}

static void kick_one(struct rig *x, const uint8_t *from, const uint8_t *to)
{
	pthread_t t;

	prepare(x, from, to, false);
	assert_int_equal(pthread_create(&t, NULL, kicker, x), 0);
	expect_stop(x, HV_STOP_KICKED);
	assert_int_equal(pthread_join(t, NULL), 0);
	assert_true(x->total >= 1);
	expect_stop(x, HV_STOP_KICKED); // for good
}

static void kick_exits(void **state)
{
	kick_one(*state, code_spin, code_spin_end);
}

static void kick_loop(void **state)
{
#ifdef __SANITIZE_THREAD__
	(void)state;
	// Not run here (and a TAP "not ok # SKIP" would count as a failure): TSan holds signals back until the thread calls into libc, which such a loop never does
#else
	kick_one(*state, code_tight, code_tight_end);
#endif
}

static void kick_halted(void **state)
{
	kick_one(*state, code_sleep, code_sleep_end);
}

static void kick_before(void **state)
{
	struct rig *x = *state;

	prepare(x, code_spin, code_spin_end, false);
	x->hv->ops->vcpu_kick(x->vcpu);
	expect_stop(x, HV_STOP_KICKED);
	no_more(x);
}

CODE(three, "mov (%rbx), %al\n mov %al, (%rbx)\n mov $0x500, %edx\n out %al, %dx\n");

static uint64_t counted(const struct vmm_counters *c, const char *reason)
{
	for (unsigned i = 0; i < c->n_intercepts; i++)
		if (strcmp(c->intercepts[i].reason, reason) == 0)
			return c->intercepts[i].count;
	return 0;
}

static void counters(void **state)
{
	struct rig *x = *state;
	struct vmm_counters c;

	memset(&c, 0, sizeof(c));
	RUN(x, three);
	x->hv->ops->vcpu_counters(x->vcpu, &c);
	assert_int_equal(counted(&c, "mmio"), 2);
	assert_int_equal(counted(&c, "port I/O"), 1);
	assert_int_equal(counted(&c, "halt"), 1);
	assert_true(c.instructions >= 3);
	assert_int_equal(c.doorbells, 0);
}

int main(void)
{
#define BOTH(f)                                                     \
	cmocka_unit_test_setup_teardown(f, with_page, teardown),    \
	{                                                           \
#f " by hypercall", f, without_page, teardown, NULL \
	}
	const struct CMUnitTest tests[] = {
		BOTH(stores),
		BOTH(loads),
		BOTH(extends),
		BOTH(strings),
		BOTH(rmw),
		BOTH(exchange),
		BOTH(vectors),
		BOTH(fpu),
		BOTH(long_string),
		BOTH(nobody),
		BOTH(ports),
		BOTH(doorbell),
		BOTH(fault),
		BOTH(port_fault),
		BOTH(triple_fault),
		BOTH(kick_exits),
		BOTH(kick_loop),
		BOTH(kick_halted),
		BOTH(kick_before),
		BOTH(counters),
		BOTH(system_registers),
		cmocka_unit_test_setup_teardown(refused, without_page, teardown),
		cmocka_unit_test_setup_teardown(overlay_write, without_page, teardown),
	};

	return cmocka_run_group_tests_name("vmm_mshv_mmio", tests, NULL, NULL);
}
