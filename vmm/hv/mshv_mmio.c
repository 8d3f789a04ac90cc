// SPDX-License-Identifier: Apache-2.0
// MMIO exits: the instruction is executed once by vmm/x86 with the guest's registers, its memory reached by translation,
// its device operand by the bus.
#include "vmm/hv/mshv.h"

#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "vmm/bus.h"
#include "vmm/mem/mem.h"

static struct x86_exception page_fault(uint64_t gva, unsigned access, uint32_t result)
{
	return (struct x86_exception){
		.vector = 14,
		.has_error = true,
		.cr2 = gva,
		.error = (result == HV_TRANSLATE_PAGE_NOT_PRESENT ? 0 : 1) |
			 (access & X86_WRITE ? 2 : 0) | (access & X86_USER ? 4 : 0) |
			 (result == HV_TRANSLATE_INVALID_PAGE_TABLE_FLAGS ? 8 : 0),
	};
}

// What neither the guest has done wrong nor we can do in its place: mshv_emulate says so.
static int refuse(struct mshv_vcpu *v, uint64_t gva, uint32_t result)
{
	v->refused_gva = gva;
	v->refused = result;
	return X86_ENV_EXIT;
}

static int env_translate(void *arg, uint64_t gva, unsigned access, uint64_t *ret_gpa,
			 struct x86_exception *fault)
{
	struct mshv_vcpu *v = arg;
	const struct hv_message *msg = v->msg;
	struct hv_input_translate_virtual_address in = { .vp_index = v->index,
							 .gva_page = gva >> 12 };
	struct hv_output_translate_virtual_address out;

	// The message's translation serves for its own operand only.
	if (msg->header.message_type != HVMSG_X64_IO_PORT_INTERCEPT &&
	    (msg->u.memory.memory_access_info & HV_MEMORY_ACCESS_GVA_GPA_VALID) &&
	    gva >> 12 == msg->u.memory.guest_virtual_address >> 12) {
		*ret_gpa = (msg->u.memory.guest_physical_address & ~4095ull) | (gva & 4095);
		return 0;
	}
	in.control_flags =
		HV_TRANSLATE_SET_PAGE_TABLE_BITS |
		(access & X86_WRITE ? HV_TRANSLATE_VALIDATE_WRITE : 0) |
		(access & X86_READ ? HV_TRANSLATE_VALIDATE_READ : 0) |
		(access & X86_EXEC ? HV_TRANSLATE_VALIDATE_EXECUTE : 0) |
		(access & X86_USER ? HV_TRANSLATE_USER_ACCESS : HV_TRANSLATE_SUPERVISOR_ACCESS);
	if (mshv_hvcall(v->m, HVCALL_TRANSLATE_VIRTUAL_ADDRESS, &in, sizeof(in), &out, sizeof(out),
			0, NULL) < 0)
		return refuse(v, gva, HV_TRANSLATE_INTERCEPT);
	*ret_gpa = out.gpa_page << 12 | (gva & 4095);
	switch (out.result_code) {
	case HV_TRANSLATE_SUCCESS:
		// The page that the guest sees there is not the one that we have.
		return out.cache_overlay & HV_TRANSLATE_OVERLAY_PAGE
			       ? refuse(v, gva, HV_TRANSLATE_GPA_ILLEGAL_OVERLAY_ACCESS)
			       : 0;
	case HV_TRANSLATE_GPA_UNMAPPED:
		return 0; // the bus knows
	case HV_TRANSLATE_PAGE_NOT_PRESENT:
	case HV_TRANSLATE_PRIVILEGE_VIOLATION:
	case HV_TRANSLATE_INVALID_PAGE_TABLE_FLAGS:
		*fault = page_fault(gva, access, out.result_code);
		return 1;
	case HV_TRANSLATE_GPA_ILLEGAL_OVERLAY_ACCESS:
		// As when the guest writes to such a page itself (TLFS 3.13).
		*fault = (struct x86_exception){ .vector = 13, .has_error = true };
		return 1;
	default:
		return refuse(v, gva, out.result_code);
	}
}

static int env_read(void *arg, uint64_t gpa, void *data, unsigned len)
{
	struct mshv_vcpu *v = arg;
	const void *ram = mem_slice(v->m->client->mem, gpa, len);

	if (ram)
		memcpy(data, ram, len);
	else
		bus_read(v->m->client->bus, BUS_MMIO, gpa, data, len);
	return 0;
}

static int env_write(void *arg, uint64_t gpa, const void *data, unsigned len)
{
	struct mshv_vcpu *v = arg;
	void *ram = mem_slice(v->m->client->mem, gpa, len);

	if (ram)
		memcpy(ram, data, len);
	else
		bus_write(v->m->client->bus, BUS_MMIO, gpa, data, len);
	return 0;
}

static int env_in(void *arg, uint16_t port, unsigned size, uint32_t *value)
{
	struct mshv_vcpu *v = arg;

	bus_read(v->m->client->bus, BUS_PIO, port, value, size);
	return 0;
}

static int env_out(void *arg, uint16_t port, unsigned size, uint32_t value)
{
	struct mshv_vcpu *v = arg;

	bus_write(v->m->client->bus, BUS_PIO, port, &value, size);
	return 0;
}

static const struct x86_env mmio_env = {
	.read = env_read,
	.write = env_write,
	.translate = env_translate,
	.in = env_in,
	.out = env_out,
};

struct x86_cpu *mshv_emulator_new(struct mshv_vcpu *v)
{
	return x86_cpu_new(&mmio_env, v);
}

// ---- state in and out of the emulator
enum { FULL_REGS = 16 + 2 + 6 + 4 };

static struct x86_seg seg_from(const struct hv_x64_segment_register *r)
{
	return (struct x86_seg){ r->base, r->limit, r->selector, r->attributes };
}

static int load_by_hypercall(struct mshv_vcpu *v, struct x86_state *s, struct err *e)
{
	uint32_t names[FULL_REGS];
	union hv_register_value val[FULL_REGS];
	unsigned n = 0;
	int r;

	for (unsigned i = 0; i < 16; i++)
		names[n++] = HV_X64_REGISTER_RAX + i;
	names[n++] = HV_X64_REGISTER_RIP;
	names[n++] = HV_X64_REGISTER_RFLAGS;
	for (unsigned i = 0; i < 6; i++)
		names[n++] = HV_X64_REGISTER_ES + i;
	names[n++] = HV_X64_REGISTER_CR0;
	names[n++] = HV_X64_REGISTER_CR3;
	names[n++] = HV_X64_REGISTER_CR4;
	names[n++] = HV_X64_REGISTER_EFER;
	r = mshv_get_registers(v, names, val, n, e);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < 16; i++)
		s->gpr[i] = val[i].reg64;
	s->rip = val[16].reg64;
	s->rflags = val[17].reg64;
	for (unsigned i = 0; i < 6; i++)
		s->seg[i] = seg_from(&val[18 + i].segment);
	s->cr0 = val[24].reg64;
	s->cr3 = val[25].reg64;
	s->cr4 = val[26].reg64;
	s->efer = val[27].reg64;
	return 0;
}

// The registers of an FXSAVE image lie in the order of their names: XMM0-15, ST or MMX 0-7, then two halves of its head.
enum { FPU_REGS = 16 + 8 + 2 };

static uint8_t *fpu_register(struct x86_state *s, unsigned i)
{
	if (i < 16)
		return s->fxsave + 160 + 16 * i;
	return i < 24 ? s->fxsave + 32 + 16 * (i - 16) : s->fxsave + 16 * (i - 24);
}

static int load_fpu(struct mshv_vcpu *v, struct x86_state *s, struct err *e)
{
	uint32_t names[FPU_REGS];
	union hv_register_value val[FPU_REGS];
	int r;

	for (unsigned i = 0; i < FPU_REGS; i++)
		names[i] = HV_X64_REGISTER_XMM0 + i;
	r = mshv_get_registers(v, names, val, FPU_REGS, e);
	for (unsigned i = 0; r == 0 && i < FPU_REGS; i++)
		memcpy(fpu_register(s, i), &val[i], 16);
	return r;
}

static bool is_prefix(uint8_t b)
{
	return b == 0x26 || b == 0x2e || b == 0x36 || b == 0x3e || (b >= 0x40 && b <= 0x4f) ||
	       (b >= 0x64 && b <= 0x67) || b == 0xf0 || b == 0xf2 || b == 0xf3;
}

static bool is_io(const struct hv_message *msg)
{
	return msg->header.message_type == HVMSG_X64_IO_PORT_INTERCEPT;
}

// The opcode's byte, 0F00h and the second one, or -1 where the message does not tell.
static int opcode_of(const struct hv_message *msg)
{
	const struct hv_x64_memory_intercept_message *m = &msg->u.memory;
	unsigned i = 0, n = m->instruction_byte_count < 15 ? m->instruction_byte_count : 15;

	while (i < n && is_prefix(m->instruction_bytes[i]))
		i++;
	if (i + 1 >= n)
		return -1;
	return m->instruction_bytes[i] == 0x0f ? 0x0f00 | m->instruction_bytes[i + 1]
					       : m->instruction_bytes[i];
}

// SSE, MMX and x87: escapes, and the 0F map but for what works on the general registers.
static bool may_use_fpu(const struct hv_message *msg)
{
	int o = opcode_of(msg);

	if (is_io(msg))
		return false;
	if (o < 0x0f00)
		return o < 0 || (o >= 0xd8 && o <= 0xdf) || o == 0x9b;
	o &= 0xff;
	return (o >= 2 && o < 0x40) || (o >= 0x50 && o < 0x80) || o == 0xae || o == 0xc2 ||
	       (o >= 0xc4 && o <= 0xc6) || o >= 0xd0;
}

// Loads of segment, task and table registers, far jumps: what reads descriptors and changes more than general registers.
static bool may_use_system(const struct hv_message *msg)
{
	static const int opcodes[] = { -1,     0x07,   0x17,   0x1f,   0x8e,   0x9a,  0xc4,
				       0xc5,   0xca,   0xcb,   0xcf,   0xea,   0xff,  0x0f00,
				       0x0f01, 0x0fa1, 0x0fa9, 0x0fb2, 0x0fb4, 0x0fb5 };
	int o = opcode_of(msg);

	if (is_io(msg))
		return false;
	for (unsigned i = 0; i < sizeof(opcodes) / sizeof(*opcodes); i++)
		if (opcodes[i] == o)
			return true;
	return false;
}

// ES to GS, LDTR, TR by the order of their names; IDTR, GDTR; CR0, for LMSW.
enum { SYSTEM_REGS = X86_SEG_COUNT + 3 };

static uint32_t system_name(unsigned i)
{
	return i == SYSTEM_REGS - 1 ? HV_X64_REGISTER_CR0
	       : i < X86_SEG_COUNT  ? HV_X64_REGISTER_ES + i
				    : HV_X64_REGISTER_IDTR + (i - X86_SEG_COUNT);
}

static struct x86_table *system_table(struct x86_state *s, unsigned i)
{
	return i == X86_SEG_COUNT ? &s->idtr : &s->gdtr;
}

static int load_system(struct mshv_vcpu *v, struct x86_state *s, struct err *e)
{
	uint32_t names[SYSTEM_REGS];
	union hv_register_value val[SYSTEM_REGS];
	int r;

	for (unsigned i = 0; i < SYSTEM_REGS; i++)
		names[i] = system_name(i);
	r = mshv_get_registers(v, names, val, SYSTEM_REGS, e);
	for (unsigned i = 0; r == 0 && i < SYSTEM_REGS - 1; i++)
		if (i < X86_SEG_COUNT)
			s->seg[i] = seg_from(&val[i].segment);
		else
			*system_table(s, i) =
				(struct x86_table){ val[i].table.limit, val[i].table.base };
	return r;
}

static int store_system(struct mshv_vcpu *v, struct x86_state *s, struct err *e)
{
	struct hv_register_assoc a[SYSTEM_REGS];

	memset(a, 0, sizeof(a));
	for (unsigned i = 0; i < SYSTEM_REGS; i++) {
		a[i].name = system_name(i);
		if (i < X86_SEG_COUNT) {
			a[i].value.segment =
				(struct hv_x64_segment_register){ s->seg[i].base, s->seg[i].limit,
								  s->seg[i].selector,
								  s->seg[i].attributes };
		} else if (i < SYSTEM_REGS - 1) {
			a[i].value.table.limit = system_table(s, i)->limit;
			a[i].value.table.base = system_table(s, i)->base;
		} else {
			a[i].value.reg64 = s->cr0;
		}
	}
	return mshv_set_registers(v, a, SYSTEM_REGS, e);
}

static int load(struct mshv_vcpu *v, const struct hv_message *msg, struct x86_state *s,
		struct err *e)
{
	const struct hv_vp_register_page *p = v->regs;
	int r = 0;

	x86_get_state(v->emul, s);
	if (p && p->isvalid) {
		memcpy(s->gpr, p->gp_registers, sizeof(s->gpr));
		s->rip = p->rip;
		s->rflags = p->rflags;
		for (unsigned i = 0; i < 6; i++)
			s->seg[i] = seg_from(&p->segment[i]);
		s->cr0 = p->cr0;
		s->cr3 = p->cr3;
		s->cr4 = p->cr4;
		s->efer = p->efer;
	} else {
		r = load_by_hypercall(v, s, e);
	}
	if (r == 0 && may_use_fpu(msg))
		r = load_fpu(v, s, e);
	// INS and OUTS ask the TSS for the right to the port.
	if (r == 0 && (may_use_system(msg) || is_io(msg)))
		r = load_system(v, s, e);
	return r;
}

static int store(struct mshv_vcpu *v, const struct hv_message *msg, struct x86_state *s,
		 struct err *e)
{
	struct hv_vp_register_page *p = v->regs;
	struct hv_register_assoc a[18 + FPU_REGS];
	unsigned n = 0;
	int r;

	memset(a, 0, sizeof(a));
	if (p && p->isvalid) {
		memcpy(p->gp_registers, s->gpr, sizeof(p->gp_registers));
		p->rip = s->rip;
		p->rflags = s->rflags;
		p->dirty |= 1 << HV_X64_REGISTER_CLASS_GENERAL | 1 << HV_X64_REGISTER_CLASS_IP |
			    1 << HV_X64_REGISTER_CLASS_FLAGS;
	} else {
		for (unsigned i = 0; i < 16; i++) {
			a[n].name = HV_X64_REGISTER_RAX + i;
			a[n++].value.reg64 = s->gpr[i];
		}
		a[n].name = HV_X64_REGISTER_RIP;
		a[n++].value.reg64 = s->rip;
		a[n].name = HV_X64_REGISTER_RFLAGS;
		a[n++].value.reg64 = s->rflags;
	}
	for (unsigned i = 0; may_use_fpu(msg) && i < FPU_REGS; i++) {
		a[n].name = HV_X64_REGISTER_XMM0 + i;
		memcpy(&a[n++].value, fpu_register(s, i), 16);
	}
	r = n ? mshv_set_registers(v, a, n, e) : 0;
	return r == 0 && may_use_system(msg) ? store_system(v, s, e) : r;
}

static int inject(struct mshv_vcpu *v, const struct x86_exception *x, struct err *e)
{
	struct hv_register_assoc a[2] = { { .name = HV_REGISTER_PENDING_EVENT0 },
					  { .name = HV_X64_REGISTER_CR2 } };

	a[0].value.reg64 = 1 | (uint64_t)x->has_error << 8 | (uint64_t)x->vector << 16 |
			   (uint64_t)x->error << 32;
	a[0].value.reg128.high = x->cr2;
	a[1].value.reg64 = x->cr2;
	return mshv_set_registers(v, a, x->vector == 14 ? 2 : 1, e);
}

static int cannot_emulate(const struct mshv_vcpu *v, uint64_t rip, const uint8_t *bytes,
			  struct err *e)
{
	static const char *const why[] = {
		[HV_TRANSLATE_GPA_NO_READ_ACCESS] = "the page may not be read",
		[HV_TRANSLATE_GPA_NO_WRITE_ACCESS] = "the page may not be written",
		[HV_TRANSLATE_GPA_ILLEGAL_OVERLAY_ACCESS] = "the page is the hypervisor's own",
		[HV_TRANSLATE_INTERCEPT] = "the page is behind an intercept",
		[HV_TRANSLATE_GPA_UNACCEPTED] = "the page is not accepted",
	};
	const unsigned long long at = rip, gva = v->refused_gva;
	const char *text = v->refused < sizeof(why) / sizeof(*why) ? why[v->refused] : NULL;

	if (v->refused)
		return err_set(
			e, EOPNOTSUPP,
			"vcpu %u: cannot emulate the instruction at %#llx: access to %#llx: %s (%u)",
			v->index, at, gva, text ? text : "unknown result", v->refused);
	return err_set(e, EOPNOTSUPP,
		       "vcpu %u: cannot emulate the instruction at %#llx (%02x %02x %02x %02x)",
		       v->index, at, bytes[0], bytes[1], bytes[2], bytes[3]);
}

int mshv_emulate(struct mshv_vcpu *v, const struct hv_message *msg, struct err *e)
{
	bool io = is_io(msg);
	const uint8_t *bytes = io ? msg->u.io.instruction_bytes : msg->u.memory.instruction_bytes;
	unsigned count =
		io ? msg->u.io.instruction_byte_count : msg->u.memory.instruction_byte_count;
	struct x86_state s;
	struct x86_exit ex;
	int r = load(v, msg, &s, e);

	if (r < 0)
		return r;
	if (count > 15)
		count = 15; /* from the hypervisor, but from a guest's page */
	v->msg = msg;
	v->refused = 0;
	x86_set_state(v->emul, &s);
	x86_step(v->emul, bytes, count, &ex);
	x86_get_state(v->emul, &s);
	switch (ex.reason) {
	case X86_EXIT_NONE:
		return store(v, msg, &s, e);
	case X86_EXIT_FAULT:
		r = store(v, msg, &s, e); // iterations of a string instruction that were done
		r = r < 0 ? r : inject(v, &ex.fault, e);
		return r < 0 ? r : 1;
	default:
		return cannot_emulate(v, s.rip, bytes, e);
	}
}
