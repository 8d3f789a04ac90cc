// SPDX-License-Identifier: Apache-2.0
// What ends RUN_VP: each message, with its payload, and that the guest goes on as the VMM says.
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>

#include "soft_rig.h"

static void expect(struct rig *r, int32_t type)
{
	assert_int_equal(rig_run(r), 0);
	assert_int_equal(r->msg.header.message_type, type);
}

static int intercept(struct rig *r, uint32_t type, uint32_t mask, uint64_t parameter)
{
	struct hv_input_install_intercept in = { .access_type = mask,
						 .intercept_type = type,
						 .intercept_parameter = parameter };

	return rig_hvcall(r, HVCALL_INSTALL_INTERCEPT, &in, sizeof(in), NULL, 0, 0);
}

static void step_over(struct rig *r, unsigned len)
{
	r->page->rip += len;
	r->page->dirty |= 1 << HV_X64_REGISTER_CLASS_IP;
}

static void test_unmapped_and_read_only(void **state)
{
	struct rig r;
	uint8_t *rom = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)state;
	rig_init(&r);
	rom[0] = 0x5a;
	assert_int_equal(rig_map(&r, 0x400000, rom, 4096, 1 << MSHV_SET_MEM_BIT_EXECUTABLE), 0);
	rig_begin(&r);
	rig_store(&r, 0x300010, 1);
	rig_load(&r, 0x400000);
	rig_out(&r);
	rig_store(&r, 0x400008, 2);
	rig_out(&r);
	expect(&r, HVMSG_UNMAPPED_GPA);
	assert_int_equal(r.msg.u.memory.guest_physical_address, 0x300010);
	assert_int_equal(r.msg.u.memory.guest_virtual_address, 0x300010);
	assert_int_equal(r.msg.u.memory.memory_access_info, 3);
	assert_int_equal(r.msg.u.memory.header.intercept_access_type, HV_INTERCEPT_ACCESS_WRITE);
	assert_true(r.msg.u.memory.instruction_byte_count >= 11);
	assert_memory_equal(r.msg.u.memory.instruction_bytes, r.ram + r.msg.u.memory.header.rip,
			    11);
	step_over(&r, 11);
	assert_int_equal(rig_run_out(&r) & 0xff, 0x5a);
	expect(&r, HVMSG_GPA_INTERCEPT);
	assert_int_equal(r.msg.u.memory.guest_physical_address, 0x400008);
	assert_int_equal(rom[8], 0);
	step_over(&r, 11);
	(void)rig_run_out(&r);
	rig_done(&r);
	(void)munmap(rom, 4096);
}

// Code that is not there, or not for execution, comes without bytes; at the end of RAM with as many as there are.
static void test_without_bytes(void **state)
{
	struct rig r;
	uint8_t *page =
		mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	static const uint8_t store[11] = { 0xc7, 0x04, 0x25, 0, 0, 0x30, 0, 1, 0, 0, 0 };

	(void)state;
	rig_init(&r);
	assert_int_equal(rig_set(&r, HV_X64_REGISTER_RIP, 0x500000), 0);
	expect(&r, HVMSG_UNMAPPED_GPA);
	assert_int_equal(r.msg.u.memory.header.intercept_access_type, HV_INTERCEPT_ACCESS_EXECUTE);
	assert_int_equal(r.msg.u.memory.instruction_byte_count, 0);
	assert_int_equal(r.msg.u.memory.guest_physical_address, 0x500000);

	assert_int_equal(rig_map(&r, 0x500000, page, 4096, 1 << MSHV_SET_MEM_BIT_WRITABLE), 0);
	expect(&r, HVMSG_GPA_INTERCEPT);
	assert_int_equal(r.msg.u.memory.header.intercept_access_type, HV_INTERCEPT_ACCESS_EXECUTE);
	assert_int_equal(r.msg.u.memory.instruction_byte_count, 0);

	memcpy(r.ram + RIG_RAM - 11, store, 11);
	assert_int_equal(rig_set(&r, HV_X64_REGISTER_RIP, RIG_RAM - 11), 0);
	expect(&r, HVMSG_UNMAPPED_GPA);
	assert_int_equal(r.msg.u.memory.header.intercept_access_type, HV_INTERCEPT_ACCESS_WRITE);
	assert_int_equal(r.msg.u.memory.instruction_byte_count, 11);
	rig_done(&r);
	(void)munmap(page, 4096);
}

static void test_msr(void **state)
{
	struct rig r;

	(void)state;
	rig_init(&r);
	assert_int_equal(intercept(&r, HV_INTERCEPT_TYPE_X64_MSR_INDEX, 3, 0xc0000080), 0);
	assert_int_equal(intercept(&r, HV_INTERCEPT_TYPE_X64_MSR, 1, 0), 0);
	rig_begin(&r);
	rig_wrmsr(&r, 0xc0000080, 0x100000d01ull);
	rig_rdmsr(&r, 0x12345);
	rig_wrmsr(&r, 0x12345, 1); // not asked for: #GP
	expect(&r, HVMSG_X64_MSR_INTERCEPT);
	assert_int_equal(r.msg.u.msr.msr_number, 0xc0000080);
	assert_int_equal(r.msg.u.msr.rax, 0xd01);
	assert_int_equal(r.msg.u.msr.rdx, 1);
	assert_int_equal(r.msg.u.msr.header.intercept_access_type, HV_INTERCEPT_ACCESS_WRITE);
	assert_int_equal(r.msg.u.msr.header.instruction_length & 15, 2);
	step_over(&r, 2);
	expect(&r, HVMSG_X64_MSR_INTERCEPT);
	assert_int_equal(r.msg.u.msr.msr_number, 0x12345);
	assert_int_equal(r.msg.u.msr.header.intercept_access_type, HV_INTERCEPT_ACCESS_READ);
	step_over(&r, 2);
	assert_int_equal(rig_run_out(&r), 13);
	assert_int_equal(rig_get(&r, HV_X64_REGISTER_EFER), 0xd01);
	// Taken away again: the access is the processor's.
	assert_int_equal(intercept(&r, HV_INTERCEPT_TYPE_X64_MSR_INDEX, 0, 0xc0000080), 0);
	rig_begin(&r);
	rig_rdmsr(&r, 0xc0000080);
	rig_out(&r);
	assert_int_equal(rig_run_out(&r), 0xd01);
	rig_done(&r);
}

static void test_cpuid(void **state)
{
	struct rig r;

	(void)state;
	rig_init(&r);
	assert_int_equal(intercept(&r, HV_INTERCEPT_TYPE_X64_CPUID, 4, 0x40000001), 0);
	rig_begin(&r);
	rig_imm(&r, 0xb8, 0x40000001);
	rig_imm(&r, 0xb9, 7);
	RIG_EMIT(&r, 0x0f, 0xa2);
	rig_imm(&r, 0xb8, 0x40000000);
	RIG_EMIT(&r, 0x0f, 0xa2);
	rig_out(&r);
	expect(&r, HVMSG_X64_CPUID_INTERCEPT);
	assert_int_equal(r.msg.u.cpuid.rax, 0x40000001);
	assert_int_equal(r.msg.u.cpuid.rcx, 7);
	assert_int_equal(r.msg.u.cpuid.default_result_rax, 0x31237648);
	step_over(&r, 2);
	assert_int_equal(rig_run_out(&r), 0x40000006);
	rig_done(&r);
}

static void test_exception(void **state)
{
	struct rig r;

	(void)state;
	rig_init(&r);
	assert_int_equal(intercept(&r, HV_INTERCEPT_TYPE_EXCEPTION, 4, 14), 0);
	assert_int_equal(intercept(&r, HV_INTERCEPT_TYPE_EXCEPTION, 4, 3), 0);
	rig_begin(&r);
	RIG_EMIT(&r, 0x48, 0xb8, 0, 0, 0, 0, 0xff, 0, 0, 0, 0x89,
		 0x18); // MOV RAX, 0xff00000000; MOV [RAX], EBX
	expect(&r, HVMSG_X64_EXCEPTION_INTERCEPT);
	assert_int_equal(r.msg.u.exception.exception_vector, 14);
	assert_int_equal(r.msg.u.exception.exception_info, 1);
	assert_int_equal(r.msg.u.exception.error_code, 2);
	assert_true(r.msg.u.exception.exception_parameter == 0xff00000000);
	assert_true(r.msg.u.exception.gpr[0] == 0xff00000000);
	assert_int_equal(r.msg.u.exception.instruction_bytes[0], 0x89);
	assert_int_equal(rig_get(&r, HV_X64_REGISTER_CR2), 0); // the guest has not been told
	// The VMM passes it on.
	{
		struct hv_register_assoc a = { .name = HV_REGISTER_PENDING_EVENT0 };

		a.value.reg64 = 1 | 1 << 8 | 14 << 16 | 2ull << 32;
		a.value.reg128.high = 0xff00000000;
		assert_int_equal(rig_set_regs(&r, &a, 1), 0);
	}
	assert_true(rig_get(&r, HV_REGISTER_PENDING_EVENT0) & 1);
	assert_int_equal(rig_get(&r, HV_REGISTER_PENDING_INTERRUPTION), 0);
	assert_int_equal(rig_run_out(&r), 14);
	assert_true(rig_get(&r, HV_X64_REGISTER_CR2) == 0xff00000000);
	assert_int_equal(rig_get(&r, HV_REGISTER_PENDING_EVENT0), 0);

	rig_begin(&r);
	RIG_EMIT(&r, 0xcc);
	expect(&r, HVMSG_X64_EXCEPTION_INTERCEPT);
	assert_int_equal(r.msg.u.exception.exception_vector, 3);
	assert_int_equal(r.msg.u.exception.exception_info, 2);
	assert_int_equal(r.msg.u.exception.header.instruction_length & 15, 1);
	assert_int_equal(
		rig_set(&r, HV_REGISTER_PENDING_INTERRUPTION, 1 | 6 << 1 | 1 << 5 | 3 << 16), 0);
	assert_int_equal(rig_run_out(&r), 3);
	{
		uint64_t *frame = (void *)(r.ram + rig_get(&r, HV_X64_REGISTER_RAX + 4) + 8);

		assert_int_equal(frame[0], r.at); // after the INT3
	}
	rig_done(&r);
}

static void test_intercepts_refused(void **state)
{
	static const struct {
		uint32_t type, mask;
		uint64_t parameter;
	} bad[] = { { HV_INTERCEPT_TYPE_X64_CPUID, 1, 1 },
		    { HV_INTERCEPT_TYPE_X64_MSR_INDEX, 4, 1 },
		    { HV_INTERCEPT_TYPE_EXCEPTION, 4, 32 },
		    { HV_INTERCEPT_TYPE_X64_IO_PORT, 3, 65536 },
		    { 4, 1, 0 },
		    { 13, 1, 0 } };
	struct rig r;

	(void)state;
	rig_init(&r);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		assert_int_equal(intercept(&r, bad[i].type, bad[i].mask, bad[i].parameter), EINVAL);
		assert_int_equal(r.status, HV_STATUS_INVALID_PARAMETER);
	}
	assert_int_equal(intercept(&r, HV_INTERCEPT_TYPE_X64_IO_PORT, 3, 0x70), 0);
	rig_done(&r);
}

static void test_ends(void **state)
{
	struct rig r;

	(void)state;
	rig_init(&r);
	rig_begin(&r);
	RIG_EMIT(&r, 0xfa, 0xf4); // CLI; HLT
	expect(&r, HVMSG_X64_HALT);
	assert_int_equal(r.msg.header.payload_size, 40);
	rig_begin(&r);
	RIG_EMIT(&r, 0x0f, 0x0b); // UD2 without an IDT
	{
		struct hv_register_assoc a = { .name = HV_X64_REGISTER_IDTR };

		assert_int_equal(rig_set_regs(&r, &a, 1), 0);
	}
	expect(&r, HVMSG_UNRECOVERABLE_EXCEPTION);
	// Paging without protection: each register takes it, the processor does not.
	assert_int_equal(rig_set(&r, HV_X64_REGISTER_CR0, 0x80000010), 0);
	expect(&r, HVMSG_INVALID_VP_REGISTER_VALUE);
	assert_int_equal(r.msg.header.payload_size, 8);
	rig_done(&r);
}

// ---- interrupts from the VMM
static int assert_type(struct rig *r, uint32_t type, uint64_t dest, uint32_t vector)
{
	struct hv_input_assert_virtual_interrupt in = { .control = type,
							.dest_addr = dest,
							.vector = vector };

	return rig_hvcall(r, HVCALL_ASSERT_VIRTUAL_INTERRUPT, &in, sizeof(in), NULL, 0, 0);
}

static void test_asserts(void **state)
{
	struct rig r;
	uint64_t in = 0;

	(void)state;
	rig_init(&r);
	rig_begin(&r);
	rig_out(&r);
	RIG_EMIT(&r, 0xfb, 0x90, 0x90, 0x90, 0xfa); // STI; NOPs; CLI
	rig_imm(&r, 0xb8, 0x999);
	rig_out(&r);
	(void)rig_run_out(&r);
	assert_int_equal(assert_type(&r, HV_X64_INTERRUPT_TYPE_FIXED, 0, 0x41), 0);
	assert_int_equal(assert_type(&r, HV_X64_INTERRUPT_TYPE_EXTINT, 0, 0x22), 0);
	assert_int_equal(assert_type(&r, HV_X64_INTERRUPT_TYPE_NMI, 0, 0), 0);
	assert_int_equal(rig_run_out(&r), 2);    // at once
	assert_int_equal(rig_run_out(&r), 0x22); // before the local APIC's
	assert_int_equal(rig_run_out(&r), 0x41);
	assert_int_equal(rig_run_out(&r), 0x999);
	// Taken back before it was accepted.
	rig_begin(&r);
	RIG_EMIT(&r, 0xfb, 0x90, 0x90, 0xfa);
	rig_imm(&r, 0xb8, 0x777);
	rig_out(&r);
	assert_int_equal(assert_type(&r, HV_X64_INTERRUPT_TYPE_EXTINT, 0, 0x22), 0);
	assert_int_equal(
		rig_hvcall(&r, HVCALL_CLEAR_VIRTUAL_INTERRUPT, &in, sizeof(in), NULL, 0, 0), 0);
	assert_int_equal(rig_run_out(&r), 0x777);
	// Nobody there, no such vector, no such type.
	assert_int_equal(assert_type(&r, HV_X64_INTERRUPT_TYPE_FIXED, 9, 0x41), EINVAL);
	assert_int_equal(assert_type(&r, HV_X64_INTERRUPT_TYPE_FIXED, 0, 15), EINVAL);
	assert_int_equal(assert_type(&r, HV_X64_INTERRUPT_TYPE_FIXED, 0, 256), EINVAL);
	assert_int_equal(assert_type(&r, HV_X64_INTERRUPT_TYPE_REMOTEREAD, 0, 0x41), EINVAL);
	rig_done(&r);
}

static void test_window(void **state)
{
	struct rig r;

	(void)state;
	rig_init(&r);
	rig_begin(&r);
	RIG_EMIT(&r, 0x90, 0x90, 0xfb, 0x90, 0x90); // STI and its shadow
	rig_out(&r);
	assert_int_equal(rig_set(&r, HV_REGISTER_DELIVERABILITY_NOTIFICATIONS, HV_NOTIFY_INTERRUPT),
			 0);
	expect(&r, HVMSG_X64_INTERRUPTION_DELIVERABLE);
	assert_int_equal(r.msg.u.deliverable.deliverable_type, HV_PENDING_INTERRUPT);
	assert_true(r.msg.u.intercept.rflags >> 9 & 1);
	assert_int_equal(r.msg.u.intercept.rip, r.at - 3); // after the shadow
	assert_int_equal(rig_get(&r, HV_REGISTER_DELIVERABILITY_NOTIFICATIONS), 0);
	assert_int_equal(rig_set(&r, HV_REGISTER_PENDING_INTERRUPTION, 1 | 0x33 << 16), 0);
	assert_int_equal(rig_run_out(&r), 0x33);
	(void)rig_run_out(&r);
	rig_done(&r);
}

// ---- the register page
static void test_register_page(void **state)
{
	struct rig r;
	union hv_register_value v;

	(void)state;
	rig_init(&r);
	rig_begin(&r);
	rig_out(&r);
	RIG_EMIT(&r, 0x01, 0xd8); // ADD EAX, EBX
	rig_out(&r);
	RIG_EMIT(&r, 0x66, 0x0f, 0x7e, 0xc8); // MOVD EAX, XMM1
	rig_out(&r);
	RIG_EMIT(&r, 0x64, 0x8b, 0x04, 0x25, 0, 0, 0, 0); // MOV EAX, FS:[0]
	rig_out(&r);
	RIG_EMIT(&r, 0x9c, 0x58); // PUSHF; POP RAX
	rig_out(&r);
	(void)rig_run_out(&r);
	assert_int_equal(r.page->version, 1);
	assert_int_equal(r.page->isvalid, 1);
	assert_int_equal(r.page->cr3, RIG_PML4);
	assert_int_equal(r.page->efer, 0xd01);
	assert_int_equal(r.page->xfem, 1);
	r.page->gp_registers[0] = 40;
	r.page->gp_registers[3] = 2;
	r.page->dirty |= 1 << HV_X64_REGISTER_CLASS_GENERAL;
	// Before the processor takes it, the register interface sees it, and keeps it beside what it sets itself.
	assert_int_equal(rig_get(&r, HV_X64_REGISTER_RAX), 40);
	assert_int_equal(rig_set(&r, HV_X64_REGISTER_RAX + 1, 7), 0);
	assert_int_equal(rig_run_out(&r), 42);
	assert_int_equal(rig_get(&r, HV_X64_REGISTER_RAX + 1), 7);
	r.page->xmm[1].low = 0x1234;
	r.page->dirty |= 1 << HV_X64_REGISTER_CLASS_XMM;
	assert_int_equal(rig_run_out(&r), 0x1234);
	r.ram[0x123456] = 0x77;
	r.page->segment[4].base = 0x123456;
	r.page->dirty |= 1 << HV_X64_REGISTER_CLASS_SEGMENT;
	assert_int_equal(rig_run_out(&r), 0x77);
	r.page->rflags = 0x203 & ~0x200u;
	r.page->dirty |= 1 << HV_X64_REGISTER_CLASS_FLAGS;
	assert_int_equal(rig_run_out(&r), 3);
	// Not marked dirty: not taken. Nothing is valid while it runs.
	rig_begin(&r);
	RIG_EMIT(&r, 0xfb, 0x90, 0x90, 0x90, 0x90, 0xfa);
	rig_out(&r);
	assert_int_equal(rig_get_value(&r, HV_X64_REGISTER_RAX + 2, &v), 0);
	r.page->gp_registers[2] = v.reg64 + 1;
	r.page->vectors[0] = 0x51;
	r.page->vectors[1] = 0x52;
	r.page->vector_count = 2;
	assert_int_equal(rig_run_out(&r), 0x52);
	assert_int_equal(r.page->vector_count, 0);
	assert_true(rig_get(&r, HV_X64_REGISTER_RAX + 2) == v.reg64);
	rig_done(&r);
}

// ---- signals and suspension
static void on_signal(int signo)
{
	(void)signo;
	(void)mshv_sys_soft.interrupted(); // a VP may run on this thread
}

// A signal that comes before RUN_VP is lost: sent again until the call has ended.
struct kick {
	pthread_t to, thread;
	_Atomic bool seen;
};

static void *kicker(void *arg)
{
	struct kick *k = arg;
	struct timespec t = { .tv_nsec = 5000000 };

	while (!atomic_load(&k->seen)) {
		(void)nanosleep(&t, NULL); // a short sleep is as good
		(void)pthread_kill(k->to, SIGUSR1);
	}
	return NULL;
}

static void run_kicked(struct rig *r)
{
	struct kick k = { .to = pthread_self() };

	assert_int_equal(pthread_create(&k.thread, NULL, kicker, &k), 0);
	assert_int_equal(rig_run(r), EINTR);
	atomic_store(&k.seen, true);
	assert_int_equal(pthread_join(k.thread, NULL), 0);
}

static void test_signal(void **state)
{
	struct sigaction sa = { .sa_handler = on_signal };
	struct rig r;

	(void)state;
	assert_int_equal(sigaction(SIGUSR1, &sa, NULL), 0);
	rig_init(&r);
	rig_begin(&r);
	RIG_EMIT(&r, 0xfb, 0xf4); // STI; HLT
	rig_imm(&r, 0xb8, 0x31);
	rig_out(&r);
	run_kicked(&r);
	assert_int_equal(rig_get(&r, HV_REGISTER_EXPLICIT_SUSPEND), 1);
	assert_int_equal(rig_get(&r, HV_REGISTER_INTERNAL_ACTIVITY_STATE), 2);
	// It goes on sleeping until something comes.
	run_kicked(&r);
	assert_int_equal(assert_type(&r, HV_X64_INTERRUPT_TYPE_FIXED, 0, 0x30), 0);
	assert_int_equal(rig_run_out(&r), 0x30);
	assert_int_equal(rig_run_out(&r), 0x31);
	assert_int_equal(rig_get(&r, HV_REGISTER_EXPLICIT_SUSPEND), 0);
	assert_int_equal(rig_get(&r, HV_REGISTER_INTERCEPT_SUSPEND), 1);
	rig_done(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_unmapped_and_read_only),
		cmocka_unit_test(test_without_bytes),
		cmocka_unit_test(test_msr),
		cmocka_unit_test(test_cpuid),
		cmocka_unit_test(test_exception),
		cmocka_unit_test(test_intercepts_refused),
		cmocka_unit_test(test_ends),
		cmocka_unit_test(test_asserts),
		cmocka_unit_test(test_window),
		cmocka_unit_test(test_register_page),
		cmocka_unit_test(test_signal),
	};

	return cmocka_run_group_tests_name("soft_messages", tests, NULL, NULL);
}
