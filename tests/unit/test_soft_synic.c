// SPDX-License-Identifier: Apache-2.0
// The synthetic interrupt controller and its timers, from the guest's side by MSRs and memory, and from the VMM's by
// hypercalls and VP state.
#include <stdlib.h>

#include "soft_rig.h"

enum {
	SCONTROL = 0x40000080,
	SVERSION,
	SIEFP,
	SIMP,
	EOM,
	SINT0 = 0x40000090,
	STIMER0 = 0x400000b0,
	MESSAGES = 0x600000, // outside RAM: overlays need none
	EVENTS = 0x100000    // over RAM
};

static int post(struct rig *r, uint32_t vp, uint32_t sint, int32_t type, uint64_t word)
{
	struct hv_input_post_message_direct in = { .vp_index = vp, .sint = sint };
	struct hv_message m = { .header = { .message_type = type, .payload_size = 8 },
				.u.payload = { word } };

	memcpy(in.message, &m, sizeof(m));
	return rig_hvcall(r, HVCALL_POST_MESSAGE_DIRECT, &in, sizeof(in), NULL, 0, 0);
}

static int signal_event(struct rig *r, uint32_t vp, uint8_t sint, uint16_t flag, bool *newly)
{
	struct hv_input_signal_event_direct in = { .vp_index = vp,
						   .sint = sint,
						   .flag_number = flag };
	struct hv_output_signal_event_direct out = { 0 };
	int e = rig_hvcall(r, HVCALL_SIGNAL_EVENT_DIRECT, &in, sizeof(in), &out, sizeof(out), 0);

	*newly = out.newly_signaled;
	return e;
}

// The guest turns the controller on: SINT2 raises 0x42, SINT3 0x43 and ends by itself, SINT4 is polled.
static void enable(struct rig *r)
{
	rig_wrmsr(r, SCONTROL, 1);
	rig_wrmsr(r, SIMP, MESSAGES | 1);
	rig_wrmsr(r, SIEFP, EVENTS | 1);
	rig_wrmsr(r, SINT0 + 2, 0x42);
	rig_wrmsr(r, SINT0 + 3, 0x43 | HV_SINT_AUTO_EOI);
	rig_wrmsr(r, SINT0 + 4, HV_SINT_POLLING);
	rig_out(r);
}

static void window(struct rig *r) // interrupts may come here
{
	RIG_EMIT(r, 0xfb, 0x90, 0x90, 0xfa);
}

static void test_registers(void **state)
{
	struct rig r;
	uint32_t a, b, c, d;
	struct {
		struct hv_input_get_vp_cpuid_values h;
		struct hv_cpuid_leaf_info leaf;
	} in = { .leaf = { .eax = 0x40000003 } };
	uint32_t out[4];

	(void)state;
	rig_init(&r);
	assert_int_equal(rig_hvcall(&r, HVCALL_GET_VP_CPUID_VALUES, &in, sizeof(in), out, 16, 1),
			 0);
	assert_int_equal(out[0], 0x8a7f); // SynIC and timers among them
	assert_int_equal(out[3], 0x80500);
	rig_begin(&r);
	rig_rdmsr(&r, SVERSION);
	rig_out(&r);
	rig_rdmsr(&r, SINT0 + 5);
	rig_out(&r);
	enable(&r);
	rig_wrmsr(&r, SINT0 + 2, 15); // no such vector: #GP
	a = rig_run_out(&r);
	b = rig_run_out(&r);
	(void)rig_run_out(&r);
	c = rig_run_out(&r);
	assert_int_equal(a, 1);
	assert_int_equal(b, 0x10000);
	assert_int_equal(c, 13);
	assert_int_equal(rig_get(&r, HV_REGISTER_SINT0 + 2), 0x42);
	assert_int_equal(rig_get(&r, HV_REGISTER_SIMP), MESSAGES | 1);
	assert_int_equal(rig_set(&r, HV_REGISTER_SINT0 + 2, 3), EINVAL);
	assert_int_equal(r.status, HV_STATUS_INVALID_REGISTER_VALUE);
	assert_int_equal(rig_get(&r, HV_REGISTER_SINT0 + 2), 0x42);
	rig_done(&r);

	// Not granted: not there, in CPUID, as MSRs, as names.
	rig_partition(&r, 1ull << HV_SYNTH_HYPERVISOR_PRESENT | 1ull << HV_SYNTH_HV1);
	assert_int_equal(rig_vp(&r, 0, &r.vp), 0);
	assert_int_equal(rig_hvcall(&r, HVCALL_GET_VP_CPUID_VALUES, &in, sizeof(in), out, 16, 1),
			 0);
	assert_int_equal(out[0], 0x8000);
	for (d = 0; d < 16; d++) {
		union hv_register_value v;

		assert_int_equal(rig_get_value(&r, HV_REGISTER_SINT0 + d, &v), EINVAL);
		assert_int_equal(r.status, HV_STATUS_INVALID_PARAMETER);
	}
	rig_done(&r);
}

static void test_messages(void **state)
{
	struct rig r;

	(void)state;
	rig_init(&r);
	rig_begin(&r);
	enable(&r);
	window(&r);
	rig_load(&r, MESSAGES + 2 * 256);
	rig_out(&r); // the type
	rig_load(&r, MESSAGES + 2 * 256 + 16);
	rig_out(&r); // the payload
	rig_load(&r, MESSAGES + 2 * 256 + 5);
	rig_out(&r); // the flags
	rig_store(&r, MESSAGES + 2 * 256, 0);
	rig_wrmsr(&r, EOM, 0);
	rig_out(&r);
	// Nothing is on before the guest has turned it on.
	assert_int_equal(post(&r, 0, 2, 7, 1), EIO);
	assert_int_equal(r.status, HV_STATUS_INVALID_VP_STATE);
	(void)rig_run_out(&r);
	assert_int_equal(post(&r, 0, 2, 7, 0x1122), 0);
	assert_int_equal(post(&r, 0, 2, 7, 0x3344), EIO);
	assert_int_equal(r.status, HV_STATUS_INSUFFICIENT_BUFFERS);
	assert_int_equal(post(&r, 0, 16, 7, 0), EINVAL);
	assert_int_equal(post(&r, 0, 2, 0, 0), EINVAL);
	assert_int_equal(post(&r, 1, 2, 7, 0), EINVAL);
	assert_int_equal(r.status, HV_STATUS_INVALID_VP_INDEX);
	// SINT2 is busy: the VMM is told when it is not.
	assert_int_equal(rig_set(&r, HV_REGISTER_DELIVERABILITY_NOTIFICATIONS, 4ull << 48), 0);
	assert_int_equal(rig_run_out(&r), 0x42);
	assert_int_equal(rig_run_out(&r), 7);
	assert_int_equal(rig_run_out(&r), 0x1122);
	assert_int_equal(rig_run_out(&r) & 1, HV_MESSAGE_FLAG_PENDING);
	assert_int_equal(rig_run(&r), 0);
	assert_int_equal(r.msg.header.message_type, HVMSG_SYNIC_SINT_DELIVERABLE);
	assert_int_equal(r.msg.u.sints.deliverable_sints, 4);
	assert_int_equal(rig_get(&r, HV_REGISTER_DELIVERABILITY_NOTIFICATIONS), 0);
	assert_int_equal(post(&r, 0, 2, 8, 0x3344), 0);
	(void)rig_run_out(&r);
	rig_done(&r);
}

static void test_events(void **state)
{
	struct rig r;
	bool newly;

	(void)state;
	rig_init(&r);
	memset(r.ram + EVENTS, 0x99, 4096);
	rig_begin(&r);
	enable(&r);
	window(&r);
	window(&r);
	rig_load(&r, EVENTS + 3 * 256 + 8);
	rig_out(&r);
	rig_wrmsr(&r, SIEFP, EVENTS);
	rig_load(&r, EVENTS + 3 * 256 + 8);
	rig_out(&r);
	(void)rig_run_out(&r);
	assert_int_equal(signal_event(&r, 0, 3, 65, &newly), 0);
	assert_true(newly);
	assert_int_equal(signal_event(&r, 0, 3, 65, &newly), 0);
	assert_false(newly);
	assert_int_equal(signal_event(&r, 0, 3, 2048, &newly), EINVAL);
	assert_int_equal(signal_event(&r, 0, 16, 0, &newly), EINVAL);
	assert_int_equal(rig_run_out(&r), 0x43);
	assert_int_equal(signal_event(&r, 0, 3, 66, &newly), 0);
	assert_true(newly);
	assert_int_equal(rig_run_out(&r), 0x43); // it ended by itself, with no EOI
	assert_int_equal(rig_run_out(&r), 2 | 4);
	assert_true(rig_run_out(&r) == 0x99999999); // the RAM below is as it was
	rig_done(&r);
}

static void test_overlays(void **state)
{
	struct rig r;
	struct hv_input_translate_virtual_address in = { .gva_page = 0x150, .control_flags = 0x42 };
	struct hv_output_translate_virtual_address out;

	(void)state;
	rig_init(&r);
	rig_begin(&r);
	rig_wrmsr(&r, 0x40000001, 0x150001); // not before the guest says who it is
	rig_rdmsr(&r, 0x40000001);
	rig_out(&r);
	rig_wrmsr(&r, 0x40000000, 0x8100);
	rig_wrmsr(&r, 0x40000001, 0x150001);
	rig_load(&r, 0x150000);
	rig_out(&r);
	rig_wrmsr(&r, 0x40000021, 0x700001);
	rig_load(&r, 0x700000);
	rig_out(&r);
	rig_store(&r, 0x150000, 1); // #GP
	assert_int_equal(rig_run_out(&r), 0x150000);
	assert_true(rig_run_out(&r) == 0xc3c1010f);
	assert_int_not_equal(rig_run_out(&r), 0);
	assert_int_equal(rig_hvcall(&r, HVCALL_TRANSLATE_VIRTUAL_ADDRESS, &in, sizeof(in), &out,
				    sizeof(out), 0),
			 0);
	assert_int_equal(out.result_code, HV_TRANSLATE_GPA_ILLEGAL_OVERLAY_ACCESS);
	assert_true(out.cache_overlay & HV_TRANSLATE_OVERLAY_PAGE);
	assert_int_equal(rig_run_out(&r), 13);
	assert_int_equal(r.ram[0x150000], 0);
	rig_done(&r);
}

static uint64_t reference_time(struct rig *r)
{
	return rig_get(r, HV_REGISTER_TIME_REF_COUNT);
}

// A message at the time said, again after it, and a vector in direct mode.
static void test_timers(void **state)
{
	struct rig r;
	uint64_t start, due;
	const struct hv_message *slot;
	uint8_t *simp = aligned_alloc(4096, 4096);
	struct mshv_get_set_vp_state a = { MSHV_VP_STATE_SIMP, { 0 }, 4096, (uintptr_t)simp };

	(void)state;
	rig_init(&r);
	rig_begin(&r);
	enable(&r);
	RIG_EMIT(&r, 0xfb, 0xf4, 0xfa); // STI; HLT; CLI
	rig_out(&r);
	RIG_EMIT(&r, 0xfb, 0xf4, 0xfa);
	rig_out(&r);
	(void)rig_run_out(&r);
	start = reference_time(&r);
	due = start + 200000; // 20 ms
	assert_int_equal(rig_set(&r, HV_REGISTER_STIMER0_CONFIG, HV_STIMER_AUTO_ENABLE | 2 << 16),
			 0);
	assert_int_equal(rig_set(&r, HV_REGISTER_STIMER0_CONFIG + 1, due), 0);
	assert_true(rig_get(&r, HV_REGISTER_STIMER0_CONFIG) & HV_STIMER_ENABLE);
	assert_int_equal(rig_run_out(&r), 0x42);
	assert_true(reference_time(&r) >= due);
	assert_int_equal(rig_ioctl(&r, r.vp, MSHV_GET_VP_STATE, &a), 0);
	slot = (const struct hv_message *)(void *)(simp + 2 * 256);
	assert_int_equal(slot->header.message_type, HVMSG_TIMER_EXPIRED);
	assert_int_equal(slot->u.timer.timer_index, 0);
	assert_true(slot->u.timer.expiration_time == due);
	assert_true(slot->u.timer.delivery_time >= due);
	assert_false(rig_get(&r, HV_REGISTER_STIMER0_CONFIG) & HV_STIMER_ENABLE); // one shot
	(void)rig_run_out(&r);
	// Direct: periodic, with a vector of its own.
	assert_int_equal(rig_set(&r, HV_REGISTER_STIMER0_CONFIG + 3, 10000), 0);
	assert_int_equal(
		rig_set(&r, HV_REGISTER_STIMER0_CONFIG + 2,
			HV_STIMER_ENABLE | HV_STIMER_PERIODIC | HV_STIMER_DIRECT | 0x55 << 4),
		0);
	rig_begin(&r);
	rig_wrmsr(&r, 0x40000070, 0); // of the first interrupt above
	for (unsigned i = 0; i < 3; i++) {
		RIG_EMIT(&r, 0xfb, 0xf4, 0xfa);
		rig_wrmsr(&r, 0x40000070, 0);
	}
	start = reference_time(&r);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(rig_run_out(&r), 0x55);
	assert_true(reference_time(&r) - start < 10000000); // a second, on any machine
	// Who is told nothing is not on.
	assert_int_equal(rig_set(&r, HV_REGISTER_STIMER0_CONFIG + 4, HV_STIMER_ENABLE), 0);
	assert_int_equal(rig_get(&r, HV_REGISTER_STIMER0_CONFIG + 4), 0);
	rig_done(&r);
	free(simp);
}

// A timer whose slot is taken waits for EOM; its state says so, and can be carried over.
static void test_timer_state(void **state)
{
	struct rig r, s;
	uint8_t *page = aligned_alloc(4096, 4096);
	struct mshv_get_set_vp_state a = {
		MSHV_VP_STATE_SYNTHETIC_TIMERS, { 0 }, 4096, (uintptr_t)page
	};
	struct hv_synthetic_timers_state *t = (void *)page;

	(void)state;
	rig_init(&r);
	rig_begin(&r);
	enable(&r);
	window(&r);
	rig_store(&r, MESSAGES + 512, 0);
	rig_wrmsr(&r, EOM, 0);
	rig_load(&r, MESSAGES + 512);
	rig_out(&r);
	(void)rig_run_out(&r);
	assert_int_equal(post(&r, 0, 2, 7, 0), 0);
	assert_int_equal(rig_set(&r, HV_REGISTER_STIMER0_CONFIG + 7, 1), 0); // long past
	assert_int_equal(rig_set(&r, HV_REGISTER_STIMER0_CONFIG + 6, HV_STIMER_ENABLE | 2 << 16),
			 0);
	do {
		a.buf_sz = 4096;
		assert_int_equal(rig_ioctl(&r, r.vp, MSHV_GET_VP_STATE, &a), 0);
		assert_int_equal(a.buf_sz, 200);
	} while (!t->timers[3].flags);
	assert_true(t->timers[3].undelivered_exp_time == 1);
	assert_int_equal(t->timers[3].config, 2 << 16);
	// Elsewhere it is as undelivered as here.
	rig_init(&s);
	a.buf_sz = 4096;
	assert_int_equal(rig_ioctl(&s, s.vp, MSHV_SET_VP_STATE, &a), 0);
	memset(page, 0, 4096);
	a.buf_sz = 4096;
	assert_int_equal(rig_ioctl(&s, s.vp, MSHV_GET_VP_STATE, &a), 0);
	assert_int_equal(t->timers[3].flags, 1);
	rig_done(&s);
	assert_int_equal(rig_run_out(&r), 0x42);
	assert_true(rig_run_out(&r) == (uint32_t)HVMSG_TIMER_EXPIRED);
	rig_done(&r);
	free(page);
}

// Time that is frozen fires nothing; it can be set while it is.
static void test_frozen(void **state)
{
	struct rig r;
	uint64_t t;

	(void)state;
	rig_init(&r);
	assert_int_equal(rig_property(&r, HV_PARTITION_PROPERTY_REFERENCE_TIME, 5), EIO);
	assert_int_equal(r.status, HV_STATUS_INVALID_PARTITION_STATE);
	assert_int_equal(rig_property(&r, HV_PARTITION_PROPERTY_TIME_FREEZE, 1), 0);
	t = reference_time(&r);
	assert_true(reference_time(&r) == t);
	assert_int_equal(rig_property(&r, HV_PARTITION_PROPERTY_REFERENCE_TIME, 1000000), 0);
	assert_true(reference_time(&r) == 1000000);
	rig_begin(&r);
	enable(&r);
	RIG_EMIT(&r, 0xfb, 0xf4, 0xfa);
	rig_out(&r);
	(void)rig_run_out(&r);
	assert_int_equal(rig_set(&r, HV_REGISTER_STIMER0_CONFIG + 1, 1000001), 0);
	assert_int_equal(rig_set(&r, HV_REGISTER_STIMER0_CONFIG, HV_STIMER_ENABLE | 2 << 16), 0);
	assert_true(rig_get(&r, HV_REGISTER_STIMER0_CONFIG) & HV_STIMER_ENABLE);
	assert_int_equal(rig_property(&r, HV_PARTITION_PROPERTY_TIME_FREEZE, 0), 0);
	assert_int_equal(rig_run_out(&r), 0x42);
	t = reference_time(&r);
	assert_true(t > 1000000 && t < 1000000 + 100000000);
	rig_done(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_registers), cmocka_unit_test(test_messages),
		cmocka_unit_test(test_events),    cmocka_unit_test(test_overlays),
		cmocka_unit_test(test_timers),    cmocka_unit_test(test_timer_state),
		cmocka_unit_test(test_frozen),
	};

	return cmocka_run_group_tests_name("soft_synic", tests, NULL, NULL);
}
