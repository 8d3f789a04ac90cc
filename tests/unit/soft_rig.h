// SPDX-License-Identifier: Apache-2.0
// A software partition driven as /dev/mshv is: open, ioctl, mmap. Two MiB of RAM at 0 with identity paging for the first
// GiB, a 64-bit processor at RIG_CODE, an IDT whose gates write their vector to port 0x80.
#ifndef TESTS_UNIT_SOFT_RIG_H
#define TESTS_UNIT_SOFT_RIG_H

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "vmm/hv/mshv_abi.h"
#include "vmm/hv/mshv_sys.h"
#include "vmm/x86/x86.h"

enum {
	RIG_RAM = 2 << 20,
	RIG_PML4 = 0x1000,
	RIG_GDT = 0x3f00,
	RIG_IDT = 0x4000,
	RIG_HANDLERS = 0x6000,
	RIG_STACK = 0x9000,
	RIG_CODE = 0x10000,
	RIG_PORT = 0x80
};
#define RIG_FEATURES                                                                          \
	(1ull << HV_SYNTH_HYPERVISOR_PRESENT | 1ull << HV_SYNTH_HV1 |                         \
	 1ull << HV_SYNTH_ACCESS_VP_RUN_TIME_REG |                                            \
	 1ull << HV_SYNTH_ACCESS_PARTITION_REFERENCE_COUNTER |                                \
	 1ull << HV_SYNTH_ACCESS_SYNIC_REGS | 1ull << HV_SYNTH_ACCESS_SYNTHETIC_TIMER_REGS |  \
	 1ull << HV_SYNTH_ACCESS_INTR_CTRL_REGS | 1ull << HV_SYNTH_ACCESS_HYPERCALL_REGS |    \
	 1ull << HV_SYNTH_ACCESS_VP_INDEX | 1ull << HV_SYNTH_ACCESS_PARTITION_REFERENCE_TSC | \
	 1ull << HV_SYNTH_ACCESS_FREQUENCY_REGS | 1ull << HV_SYNTH_DIRECT_SYNTHETIC_TIMERS)

struct rig {
	const struct mshv_sys *sys;
	int dev, part, vp;
	uint8_t *ram;
	unsigned at; // where the next code byte goes
	struct hv_message msg;
	struct hv_vp_register_page *page;
	uint16_t status, done; // of the last hypercall
};

// 0 or errno.
static inline int rig_ioctl(struct rig *r, int fd, unsigned long req, void *arg)
{
	return r->sys->ioctl(fd, req, arg) < 0 ? errno : 0;
}

static inline int rig_hvcall_fd(struct rig *r, int fd, uint16_t code, const void *in, size_t in_sz,
				void *out, size_t out_sz, unsigned reps)
{
	uint8_t copy[4096] = { 0 };
	struct mshv_root_hvcall a = { .code = code,
				      .reps = (uint16_t)reps,
				      .in_sz = (uint16_t)in_sz,
				      .out_sz = (uint16_t)out_sz,
				      .in_ptr = (uintptr_t)copy,
				      .out_ptr = (uintptr_t)out };
	int e;

	memcpy(copy, in, in_sz);
	e = rig_ioctl(r, fd, MSHV_ROOT_HVCALL, &a);
	r->status = a.status;
	r->done = a.reps;
	return e;
}

static inline int rig_hvcall(struct rig *r, uint16_t code, const void *in, size_t in_sz, void *out,
			     size_t out_sz, unsigned reps)
{
	return rig_hvcall_fd(r, r->part, code, in, in_sz, out, out_sz, reps);
}

static inline int rig_property(struct rig *r, uint32_t code, uint64_t v)
{
	struct hv_input_partition_property in = { .property_code = code, .property_value = v };

	return rig_hvcall(r, HVCALL_SET_PARTITION_PROPERTY, &in, sizeof(in), NULL, 0, 0);
}

static inline int rig_set_regs(struct rig *r, const struct hv_register_assoc *regs, unsigned n)
{
	uint64_t in[2 + 4 * 64] = { 0 };

	memcpy(in + 2, regs, n * sizeof(*regs));
	return rig_hvcall(r, HVCALL_SET_VP_REGISTERS, in, 16 + n * sizeof(*regs), NULL, 0, n);
}

static inline int rig_set(struct rig *r, uint32_t name, uint64_t v)
{
	struct hv_register_assoc a = { .name = name, .value.reg64 = v };

	return rig_set_regs(r, &a, 1);
}

static inline int rig_get_value(struct rig *r, uint32_t name, union hv_register_value *v)
{
	struct {
		struct hv_input_vp_registers h;
		uint32_t name, pad;
	} in = { .name = name };

	return rig_hvcall(r, HVCALL_GET_VP_REGISTERS, &in, 20, v, sizeof(*v), 1);
}

static inline uint64_t rig_get(struct rig *r, uint32_t name)
{
	union hv_register_value v;

	assert_int_equal(rig_get_value(r, name, &v), 0);
	return v.reg64;
}

static inline int rig_map(struct rig *r, uint64_t gpa, void *hva, uint64_t size, uint8_t flags)
{
	struct mshv_user_mem_region a = { .size = size,
					  .guest_pfn = gpa >> 12,
					  .userspace_addr = (uintptr_t)hva,
					  .flags = flags };

	return rig_ioctl(r, r->part, MSHV_SET_GUEST_MEMORY, &a);
}

static inline int rig_vp(struct rig *r, uint32_t index, int *ret_fd)
{
	struct mshv_create_vp a = { index };

	*ret_fd = r->sys->ioctl(r->part, MSHV_CREATE_VP, &a);
	return *ret_fd < 0 ? errno : 0;
}

static inline int rig_run(struct rig *r)
{
	memset(&r->msg, 0, sizeof(r->msg));
	return rig_ioctl(r, r->vp, MSHV_RUN_VP, &r->msg);
}

// ---- code
static inline void rig_bytes(struct rig *r, const void *p, unsigned n)
{
	memcpy(r->ram + r->at, p, n);
	r->at += n;
}

#define RIG_EMIT(r, ...)                                         \
	do {                                                     \
		static const uint8_t bytes_[] = { __VA_ARGS__ }; \
		rig_bytes((r), bytes_, sizeof(bytes_));          \
	} while (0)

static inline void rig_imm(struct rig *r, uint8_t opcode, uint32_t v)
{
	rig_bytes(r, &opcode, 1);
	rig_bytes(r, &v, 4);
}

static inline void rig_wrmsr(struct rig *r, uint32_t msr, uint64_t v)
{
	rig_imm(r, 0xb9, msr);
	rig_imm(r, 0xb8, (uint32_t)v);
	rig_imm(r, 0xba, (uint32_t)(v >> 32));
	RIG_EMIT(r, 0x0f, 0x30);
}

static inline void rig_rdmsr(struct rig *r, uint32_t msr)
{
	rig_imm(r, 0xb9, msr);
	RIG_EMIT(r, 0x0f, 0x32);
}

static inline void rig_load(struct rig *r, uint32_t from) // MOV EAX, [from]
{
	RIG_EMIT(r, 0x8b, 0x04, 0x25);
	rig_bytes(r, &from, 4);
}

static inline void rig_store(struct rig *r, uint32_t to, uint32_t v) // MOV DWORD [to], v
{
	RIG_EMIT(r, 0xc7, 0x04, 0x25);
	rig_bytes(r, &to, 4);
	rig_bytes(r, &v, 4);
}

static inline void rig_out(struct rig *r) // OUT 0x80, EAX: ends RUN_VP
{
	RIG_EMIT(r, 0xe7, RIG_PORT);
}

// Starts at the code written since the last start, with everything else as it is.
static inline void rig_begin(struct rig *r)
{
	r->at = (r->at + 63) & ~63u;
	assert_int_equal(rig_set(r, HV_X64_REGISTER_RIP, r->at), 0);
}

// Runs to an OUT, steps over it, and returns what it wrote. The message is in r->msg.
static inline uint32_t rig_run_out(struct rig *r)
{
	assert_int_equal(rig_run(r), 0);
	assert_int_equal(r->msg.header.message_type, HVMSG_X64_IO_PORT_INTERCEPT);
	assert_int_equal(r->msg.u.io.port_number, RIG_PORT);
	r->page->rip = r->msg.u.io.header.rip + (r->msg.u.io.header.instruction_length & 15);
	r->page->dirty |= 1 << HV_X64_REGISTER_CLASS_IP;
	return (uint32_t)r->msg.u.io.rax;
}

static inline void rig_tables(struct rig *r)
{
	uint64_t *pml4 = (void *)(r->ram + RIG_PML4), *gdt = (void *)(r->ram + RIG_GDT);

	pml4[0] = (RIG_PML4 + 0x1000) | 7;
	pml4[512] = 0x83 | 4; // 1 GiB
	gdt[1] = 0x00af9b000000ffff;
	gdt[2] = 0x00cf93000000ffff;
	for (unsigned v = 0; v < 256; v++) {
		uint64_t *gate = (void *)(r->ram + RIG_IDT + 16 * v);
		uint64_t at = RIG_HANDLERS + 16 * v;
		// PUSH RAX; MOV EAX, v; OUT 0x80, EAX; POP RAX; IRETQ
		uint8_t code[] = {
			0x50, 0xb8, (uint8_t)v, 0, 0, 0, 0xe7, RIG_PORT, 0x58, 0x48, 0xcf
		};

		gate[0] = (at & 0xffff) | 8ull << 16 | 0x8e00ull << 32 | (at >> 16) << 48;
		memcpy(r->ram + at, code, sizeof(code));
	}
}

static inline void rig_registers(struct rig *r)
{
	struct hv_register_assoc a[16] = { 0 };
	unsigned n = 0;
	struct {
		uint32_t name;
		uint64_t v;
	} plain[] = { { HV_X64_REGISTER_CR0, 0x80010033 }, { HV_X64_REGISTER_CR3, RIG_PML4 },
		      { HV_X64_REGISTER_CR4, 0x6b0 },      { HV_X64_REGISTER_EFER, 0xd01 },
		      { HV_X64_REGISTER_RFLAGS, 2 },       { HV_X64_REGISTER_RAX + 4, RIG_STACK },
		      { HV_X64_REGISTER_RIP, RIG_CODE } };

	for (unsigned i = 0; i < sizeof(plain) / sizeof(*plain); i++) {
		a[n].name = plain[i].name;
		a[n++].value.reg64 = plain[i].v;
	}
	for (unsigned i = 0; i < 6; i++) {
		a[n].name = HV_X64_REGISTER_ES + i;
		a[n++].value.segment =
			(struct hv_x64_segment_register){ 0, 0xffffffff, i == 1 ? 8 : 16,
							  i == 1 ? 0xa09b : 0xc093 };
	}
	a[n].name = HV_X64_REGISTER_TR;
	a[n++].value.segment = (struct hv_x64_segment_register){ 0, 0x67, 24, 0x8b };
	a[n].name = HV_X64_REGISTER_IDTR;
	a[n].value.table.limit = 0xfff;
	a[n++].value.table.base = RIG_IDT;
	a[n].name = HV_X64_REGISTER_GDTR;
	a[n].value.table.limit = 0x17;
	a[n++].value.table.base = RIG_GDT;
	assert_int_equal(rig_set_regs(r, a, n), 0);
}

static inline void rig_apic_on(struct rig *r)
{
	static uint8_t page[4096] __attribute__((aligned(4096)));
	struct hv_local_interrupt_controller_state *s = (void *)page;
	struct mshv_get_set_vp_state a = { MSHV_VP_STATE_LAPIC, { 0 }, 4096, (uintptr_t)page };

	assert_int_equal(rig_ioctl(r, r->vp, MSHV_GET_VP_STATE, &a), 0);
	s->spurious |= 0x100;
	assert_int_equal(rig_ioctl(r, r->vp, MSHV_SET_VP_STATE, &a), 0);
}

static inline void rig_partition(struct rig *r, uint64_t features)
{
	struct mshv_create_partition c = { .pt_flags = 1 << MSHV_PT_BIT_LAPIC |
						       1 << MSHV_PT_BIT_X2APIC };

	memset(r, 0, sizeof(*r));
	r->sys = &mshv_sys_soft;
	r->at = RIG_CODE;
	r->vp = -1;
	r->dev = r->sys->open("/dev/mshv", O_RDWR | O_CLOEXEC);
	assert_true(r->dev >= 0);
	r->part = r->sys->ioctl(r->dev, MSHV_CREATE_PARTITION, &c);
	assert_true(r->part >= 0);
	assert_int_equal(rig_property(r, HV_PARTITION_PROPERTY_SYNTHETIC_PROC_FEATURES, features),
			 0);
	assert_int_equal(rig_ioctl(r, r->part, MSHV_INITIALIZE_PARTITION, NULL), 0);
	r->ram = mmap(NULL, RIG_RAM, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(r->ram != MAP_FAILED);
}

static inline void rig_init(struct rig *r)
{
	rig_partition(r, RIG_FEATURES);
	rig_tables(r);
	assert_int_equal(rig_map(r, 0, r->ram, RIG_RAM, 3), 0);
	assert_int_equal(rig_vp(r, 0, &r->vp), 0);
	r->page = r->sys->mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, r->vp, 0);
	assert_true(r->page != MAP_FAILED);
	rig_registers(r);
	rig_apic_on(r);
}

static inline void rig_done(struct rig *r)
{
	if (r->page)
		(void)r->sys->munmap(r->page, 4096); // what mmap gave
	if (r->vp >= 0)
		assert_int_equal(r->sys->close(r->vp), 0);
	assert_int_equal(r->sys->close(r->part), 0);
	assert_int_equal(r->sys->close(r->dev), 0);
	(void)munmap(r->ram, RIG_RAM); // as above
}

#endif
