// SPDX-License-Identifier: Apache-2.0
// Bad arguments: each gets the driver's errno, and the partition is afterwards what it was before.
#include <stdlib.h>

#include "soft_rig.h"

#define BAD_POINTER ((void *)8)

// What can be seen of a VP and its partition from outside, for comparing.
struct seen {
	union hv_register_value regs[64];
	uint64_t properties[8];
	unsigned n;
};

static const uint32_t names[] = {
	HV_X64_REGISTER_RAX,
	HV_X64_REGISTER_RAX + 4,
	HV_X64_REGISTER_RIP,
	HV_X64_REGISTER_RFLAGS,
	HV_X64_REGISTER_CR0,
	HV_X64_REGISTER_CR2,
	HV_X64_REGISTER_CR3,
	HV_X64_REGISTER_CR4,
	HV_X64_REGISTER_CR8,
	HV_X64_REGISTER_XFEM,
	HV_X64_REGISTER_DR6,
	HV_X64_REGISTER_DR7,
	HV_X64_REGISTER_ES,
	HV_X64_REGISTER_CS,
	HV_X64_REGISTER_TR,
	HV_X64_REGISTER_IDTR,
	HV_X64_REGISTER_EFER,
	HV_X64_REGISTER_PAT,
	HV_X64_REGISTER_STAR,
	HV_X64_REGISTER_LSTAR,
	HV_X64_REGISTER_KERNEL_GS_BASE,
	HV_X64_REGISTER_XMM0,
	HV_X64_REGISTER_FP_MMX0,
	HV_X64_REGISTER_FP_CONTROL_STATUS,
	HV_REGISTER_SINT0 + 2,
	HV_REGISTER_SIMP,
	HV_X64_REGISTER_XMM_CONTROL_STATUS,
	HV_REGISTER_SCONTROL,
	HV_REGISTER_SIEFP,
	HV_REGISTER_PENDING_INTERRUPTION,
	HV_REGISTER_PENDING_EVENT0,
	HV_REGISTER_INTERRUPT_STATE,
	HV_REGISTER_EXPLICIT_SUSPEND,
	HV_REGISTER_INTERNAL_ACTIVITY_STATE,
	HV_X64_REGISTER_APIC_BASE,
	HV_REGISTER_GUEST_OS_ID,
	HV_REGISTER_STIMER0_CONFIG,
	HV_REGISTER_STIMER0_CONFIG + 1,
	HV_X64_REGISTER_MSR_MTRR_DEF_TYPE,
};

static void look(struct rig *r, struct seen *s)
{
	static const uint32_t codes[] = { HV_PARTITION_PROPERTY_SYNTHETIC_PROC_FEATURES,
					  HV_PARTITION_PROPERTY_UNIMPLEMENTED_MSR_ACTION,
					  HV_PARTITION_PROPERTY_TIME_FREEZE,
					  HV_PARTITION_PROPERTY_GPA_PAGE_ACCESS_TRACKING,
					  HV_PARTITION_PROPERTY_PROCESSOR_FEATURES0,
					  HV_PARTITION_PROPERTY_PROCESSORS_PER_SOCKET };

	memset(s, 0, sizeof(*s));
	for (unsigned i = 0; i < sizeof(names) / sizeof(*names); i++)
		assert_int_equal(rig_get_value(r, names[i], &s->regs[i]), 0);
	for (unsigned i = 0; i < sizeof(codes) / sizeof(*codes); i++) {
		struct hv_input_partition_property in = { .property_code = codes[i] };

		assert_int_equal(rig_hvcall(r, HVCALL_GET_PARTITION_PROPERTY, &in, 16,
					    &s->properties[i], 8, 0),
				 0);
	}
}

static void unchanged(struct rig *r, const struct seen *before)
{
	struct seen now;

	look(r, &now);
	assert_memory_equal(&now, before, sizeof(now));
}

// ---- the device
static void test_device(void **state)
{
	static const struct {
		struct mshv_create_partition_v2 a;
		int e;
	} bad[] = {
		{ { .pt_flags = 1ull << MSHV_PT_BIT_COUNT }, EINVAL },
		{ { .pt_flags = 1ull << 63 }, EINVAL },
		{ { .pt_isolation = 1 }, EINVAL },
		{ { .pt_flags = 8, .pt_num_cpu_fbanks = 1 }, EINVAL },
		{ { .pt_flags = 8, .pt_num_cpu_fbanks = 3 }, EINVAL },
		{ { .pt_flags = 8, .pt_num_cpu_fbanks = 2, .pt_rsvd = { 0, 0, 0, 0, 0, 1 } },
		  EINVAL },
		{ { .pt_flags = 8, .pt_num_cpu_fbanks = 2, .pt_rsvd1 = { 0, 1 } }, EINVAL },
	};
	const struct mshv_sys *sys = &mshv_sys_soft;
	int dev = sys->open("/dev/mshv", O_RDWR);

	(void)state;
	assert_int_equal(sys->open("/dev/kvm", O_RDWR), -1);
	assert_int_equal(errno, ENOENT);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct mshv_create_partition_v2 a = bad[i].a;

		assert_int_equal(sys->ioctl(dev, MSHV_CREATE_PARTITION, &a), -1);
		assert_int_equal(errno, bad[i].e);
	}
	assert_int_equal(sys->ioctl(dev, MSHV_CREATE_PARTITION, BAD_POINTER), -1);
	assert_int_equal(errno, EFAULT);
	assert_int_equal(sys->ioctl(dev, MSHV_CREATE_VP, BAD_POINTER), -1);
	assert_int_equal(errno, ENOTTY);
	assert_true(sys->mmap(NULL, 4096, PROT_READ, MAP_SHARED, dev, 0) == MAP_FAILED);
	assert_int_equal(errno, ENODEV);
	assert_int_equal(sys->close(dev), 0);
	assert_int_equal(sys->ioctl(dev, MSHV_CREATE_PARTITION, BAD_POINTER), -1);
	assert_int_equal(errno, EBADF);
	assert_int_equal(sys->close(dev), -1);
}

// A feature that is taken away at creation is gone from the banks and from CPUID; of the host it is still said.
static void test_features(void **state)
{
	struct mshv_create_partition_v2 c = { .pt_flags = 8,
					      .pt_num_cpu_fbanks = 2,
					      .pt_cpu_fbanks = { 1ull << 21, 1ull << 17 } };
	struct hv_input_partition_property in = {
		.property_code = HV_PARTITION_PROPERTY_PROCESSOR_FEATURES0
	};
	struct {
		struct hv_input_get_vp_cpuid_values h;
		struct hv_cpuid_leaf_info leaf;
	} q = { .leaf = { .eax = 1 } };
	struct rig r = { .sys = &mshv_sys_soft };
	uint64_t host, part;
	uint32_t out[4];

	(void)state;
	r.dev = r.sys->open("/dev/mshv", O_RDWR);
	r.part = r.sys->ioctl(r.dev, MSHV_CREATE_PARTITION, &c);
	assert_true(r.part >= 0);
	assert_int_equal(
		rig_hvcall_fd(&r, r.dev, HVCALL_GET_PARTITION_PROPERTY, &in, 16, &host, 8, 0), 0);
	assert_int_equal(rig_hvcall(&r, HVCALL_GET_PARTITION_PROPERTY, &in, 16, &part, 8, 0), 0);
	assert_true(host >> 21 & 1);
	assert_true(part == (host & ~(1ull << 21)));
	assert_int_equal(rig_vp(&r, 0, &r.vp), 0);
	assert_int_equal(rig_hvcall(&r, HVCALL_GET_VP_CPUID_VALUES, &q, sizeof(q), out, 16, 1), 0);
	assert_int_equal(out[2] >> 30 & 1, 0); // RDRAND
	assert_int_equal(out[2] >> 24 & 1, 0); // TSC deadline
	assert_int_equal(out[2] >> 20 & 1, 1); // SSE4.2
	// Only properties, and only to be read, of the host partition.
	assert_int_equal(
		rig_hvcall_fd(&r, r.dev, HVCALL_GET_VP_CPUID_VALUES, &q, sizeof(q), out, 16, 1),
		EINVAL);
	assert_int_equal(
		rig_hvcall_fd(&r, r.dev, HVCALL_SET_PARTITION_PROPERTY, &in, 24, NULL, 0, 0),
		EINVAL);
	assert_int_equal(r.sys->close(r.vp), 0);
	assert_int_equal(r.sys->close(r.part), 0);
	assert_int_equal(r.sys->close(r.dev), 0);
}

// ---- memory
static void test_memory(void **state)
{
	struct rig r;
	struct seen before;
	struct mshv_user_mem_region base;
	uint8_t *m = mmap(NULL, 16384, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t hole;

	(void)state;
	rig_init(&r);
	hole = (uintptr_t)m + 8192;
	assert_int_equal(munmap((void *)(uintptr_t)hole, 4096), 0);
	base = (struct mshv_user_mem_region){
		.size = 8192, .guest_pfn = 0x1000, .userspace_addr = (uintptr_t)m, .flags = 3
	};
	look(&r, &before);
	{
		struct mshv_user_mem_region bad[10];
		int e[10];
		unsigned n = 0;

#define BAD(field, value, error)        \
	do {                            \
		bad[n] = base;          \
		bad[n].field = (value); \
		e[n++] = (error);       \
	} while (0)
		BAD(size, 0, EINVAL);
		BAD(size, 4097, EINVAL);
		BAD(userspace_addr, (uintptr_t)m + 1, EINVAL);
		BAD(flags, 8, EINVAL);
		BAD(rsvd[6], 1, EINVAL);
		BAD(guest_pfn, 0x1ff, EEXIST); // over the RAM's last page
		BAD(userspace_addr, hole, EINVAL);
		BAD(guest_pfn, 1ull << 52, EINVAL);
		BAD(flags, 7, ENOENT); // to be unmapped, and not there
		for (unsigned i = 0; i < n; i++) {
			assert_int_equal(rig_ioctl(&r, r.part, MSHV_SET_GUEST_MEMORY, &bad[i]),
					 e[i]);
			unchanged(&r, &before);
		}
	}
	assert_int_equal(rig_ioctl(&r, r.part, MSHV_SET_GUEST_MEMORY, BAD_POINTER), EFAULT);
	// What failed above left nothing: this is the first one there.
	assert_int_equal(rig_map(&r, 0x1000000, m, 8192, 3), 0);
	assert_int_equal(rig_map(&r, 0x1000000, m, 8192, 3), EEXIST);
	assert_int_equal(rig_map(&r, 0x2000000, m, 8192, 3), 0);      // the same memory twice
	assert_int_equal(rig_map(&r, 0x1001000, m, 4096, 4), EINVAL); // a part of it
	assert_int_equal(rig_map(&r, 0x1000000, m + 4096, 8192, 4), EINVAL);
	assert_int_equal(rig_map(&r, 0x1000000, m, 8192, 4), 0);
	assert_int_equal(rig_map(&r, 0x1000000, m, 8192, 4), ENOENT);
	rig_done(&r);
	(void)munmap(m, 16384); // ours
}

// ---- hypercalls
static void test_hypercalls(void **state)
{
	enum { FEW = 16 };
	static const struct {
		uint16_t code, reps, in, out;
		int e, status;
	} bad[] = {
		{ 0x40, 0, 64, 0, EINVAL, 0 }, // CREATE_PARTITION: not in the list
		{ HVCALL_GET_VP_REGISTERS, 1, 4, 16, EINVAL, 0 },
		{ HVCALL_GET_VP_REGISTERS, 1, 4097, 16, EINVAL, 0 },
		{ HVCALL_GET_VP_REGISTERS, 1, 20, 4097, EINVAL, 0 },
		{ HVCALL_GET_VP_REGISTERS, 2, 20, 32, EINVAL, HV_STATUS_INVALID_HYPERCALL_INPUT },
		{ HVCALL_GET_VP_REGISTERS, 2, 24, 16, EINVAL, HV_STATUS_INVALID_HYPERCALL_INPUT },
		{ HVCALL_GET_VP_REGISTERS, 0, 20, 16, EINVAL, HV_STATUS_INVALID_HYPERCALL_INPUT },
		{ HVCALL_SET_VP_REGISTERS, 1, 40, 0, EINVAL, HV_STATUS_INVALID_HYPERCALL_INPUT },
		{ HVCALL_SET_PARTITION_PROPERTY, 1, 24, 0, EINVAL,
		  HV_STATUS_INVALID_HYPERCALL_INPUT },
		{ HVCALL_SET_PARTITION_PROPERTY, 0, 16, 0, EINVAL,
		  HV_STATUS_INVALID_HYPERCALL_INPUT },
		{ HVCALL_SET_PARTITION_PROPERTY, 0, 24, 0, EINVAL, HV_STATUS_UNKNOWN_PROPERTY },
		{ HVCALL_GET_PARTITION_PROPERTY, 0, 16, 8, EINVAL, HV_STATUS_UNKNOWN_PROPERTY },
		{ HVCALL_GET_PARTITION_PROPERTY_EX, 0, 24, 8, EINVAL, HV_STATUS_UNKNOWN_PROPERTY },
		{ HVCALL_TRANSLATE_VIRTUAL_ADDRESS, 0, 32, 8, EINVAL,
		  HV_STATUS_INVALID_HYPERCALL_INPUT },
		{ HVCALL_ASSERT_VIRTUAL_INTERRUPT, 0, 31, 0, EINVAL,
		  HV_STATUS_INVALID_HYPERCALL_INPUT },
		{ HVCALL_REGISTER_INTERCEPT_RESULT, 0, 64, 0, EINVAL, HV_STATUS_INVALID_PARAMETER },
		{ HVCALL_POST_MESSAGE_DIRECT, 0, 276, 0, EINVAL,
		  HV_STATUS_INVALID_HYPERCALL_INPUT },
		{ HVCALL_GET_GPA_PAGES_ACCESS_STATES, 9, 24, 8, EINVAL,
		  HV_STATUS_INVALID_HYPERCALL_INPUT },
		{ HVCALL_GET_VP_CPUID_VALUES, 2, 24 + 24, 32, EINVAL,
		  HV_STATUS_INVALID_HYPERCALL_INPUT },
	};
	uint8_t *in = calloc(1, 8192), *out = calloc(1, 8192);
	struct rig r;
	struct seen before;

	(void)state;
	rig_init(&r);
	look(&r, &before);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct mshv_root_hvcall a = { .code = bad[i].code,
					      .reps = bad[i].reps,
					      .in_sz = bad[i].in,
					      .out_sz = bad[i].out,
					      .in_ptr = (uintptr_t)in,
					      .out_ptr = bad[i].out ? (uintptr_t)out : 0 };

		memset(out, 0xee, FEW);
		assert_int_equal(rig_ioctl(&r, r.part, MSHV_ROOT_HVCALL, &a), bad[i].e);
		assert_int_equal(a.status, bad[i].status);
		if (a.status)
			assert_int_equal(a.reps, 0);
		for (unsigned j = 0; j < FEW; j++)
			assert_int_equal(out[j], 0xee); // output only with success
		unchanged(&r, &before);
	}
	{
		struct mshv_root_hvcall a = { .code = HVCALL_GET_PARTITION_PROPERTY,
					      .in_sz = 16,
					      .out_sz = 8,
					      .in_ptr = (uintptr_t)in,
					      .out_ptr = (uintptr_t)out };
		struct mshv_root_hvcall w;

		w = a, w.status = 1;
		assert_int_equal(rig_ioctl(&r, r.part, MSHV_ROOT_HVCALL, &w), EINVAL);
		w = a, w.rsvd[5] = 1;
		assert_int_equal(rig_ioctl(&r, r.part, MSHV_ROOT_HVCALL, &w), EINVAL);
		w = a, w.in_ptr = 0;
		assert_int_equal(rig_ioctl(&r, r.part, MSHV_ROOT_HVCALL, &w), EINVAL);
		w = a, w.out_sz = 0;
		assert_int_equal(rig_ioctl(&r, r.part, MSHV_ROOT_HVCALL, &w), EINVAL);
		w = a, w.in_ptr = 8;
		assert_int_equal(rig_ioctl(&r, r.part, MSHV_ROOT_HVCALL, &w), EFAULT);
		assert_int_equal(rig_ioctl(&r, r.part, MSHV_ROOT_HVCALL, BAD_POINTER), EFAULT);
		((uint32_t *)(void *)in)[2] = HV_PARTITION_PROPERTY_MAX_XSAVE_DATA_SIZE;
		memset(in, 0x55, 8); // the partition's id is the driver's to write
		w = a, w.out_ptr = 8;
		assert_int_equal(rig_ioctl(&r, r.part, MSHV_ROOT_HVCALL, &w), EFAULT);
		assert_int_equal(rig_ioctl(&r, r.part, MSHV_ROOT_HVCALL, &a), 0);
		assert_int_equal(*(uint64_t *)(void *)out, 4096);
		assert_int_equal(in[0], 0x55);
	}
	unchanged(&r, &before);
	rig_done(&r);
	free(in);
	free(out);
}

static void test_properties(void **state)
{
	static const struct {
		uint32_t code;
		uint64_t v;
		int e, status;
	} bad[] = {
		{ HV_PARTITION_PROPERTY_SYNTHETIC_PROC_FEATURES, 3, EIO,
		  HV_STATUS_INVALID_PARTITION_STATE },
		{ HV_PARTITION_PROPERTY_UNIMPLEMENTED_MSR_ACTION, 2, EINVAL,
		  HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE },
		{ HV_PARTITION_PROPERTY_TIME_FREEZE, 2, EINVAL,
		  HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE },
		{ HV_PARTITION_PROPERTY_PROCESSORS_PER_SOCKET, 0, EINVAL,
		  HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE },
		{ HV_PARTITION_PROPERTY_PROCESSOR_FEATURES0, 0, EACCES,
		  HV_STATUS_OPERATION_DENIED },
		{ 0x12345, 0, EINVAL, HV_STATUS_UNKNOWN_PROPERTY },
	};
	struct hv_input_get_partition_property_ex in = {
		.property_code = HV_PARTITION_PROPERTY_ASSIGNABLE_SYNTHETIC_PROC_FEATURES
	};
	struct hv_output_get_partition_property_ex out;
	struct rig r;
	struct seen before;

	(void)state;
	rig_init(&r);
	look(&r, &before);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		assert_int_equal(rig_property(&r, bad[i].code, bad[i].v), bad[i].e);
		assert_int_equal(r.status, bad[i].status);
		unchanged(&r, &before);
	}
	assert_int_equal(rig_hvcall_fd(&r, r.dev, HVCALL_GET_PARTITION_PROPERTY_EX, &in, sizeof(in),
				       &out, sizeof(out), 0),
			 0);
	assert_int_equal(out.u.banks.bank_count, 1);
	assert_true((out.u.banks.bank[0] & RIG_FEATURES) == RIG_FEATURES);
	rig_done(&r);
}

// ---- registers
static void test_registers(void **state)
{
	static const struct {
		uint32_t name;
		uint64_t v;
		int status;
	} bad[] = {
		{ HV_X64_REGISTER_RFLAGS, 1ull << 40, HV_STATUS_INVALID_REGISTER_VALUE },
		{ HV_X64_REGISTER_CR0, 1ull << 32, HV_STATUS_INVALID_REGISTER_VALUE },
		{ HV_X64_REGISTER_CR3, 1ull << 60, HV_STATUS_INVALID_REGISTER_VALUE },
		{ HV_X64_REGISTER_CR8, 16, HV_STATUS_INVALID_REGISTER_VALUE },
		{ HV_X64_REGISTER_XFEM, 7, HV_STATUS_INVALID_REGISTER_VALUE },
		{ HV_X64_REGISTER_EFER, 1 << 14, HV_STATUS_INVALID_REGISTER_VALUE },
		{ HV_X64_REGISTER_PAT, 2, HV_STATUS_INVALID_REGISTER_VALUE },
		{ HV_X64_REGISTER_LSTAR, 1ull << 48, HV_STATUS_INVALID_REGISTER_VALUE },
		{ HV_X64_REGISTER_DR7, 1ull << 33, HV_STATUS_INVALID_REGISTER_VALUE },
		{ HV_X64_REGISTER_APIC_BASE, 1 << 10, HV_STATUS_INVALID_REGISTER_VALUE },
		{ HV_X64_REGISTER_MSR_MTRR_DEF_TYPE, 2, HV_STATUS_INVALID_REGISTER_VALUE },
		{ HV_REGISTER_VP_INDEX, 1, HV_STATUS_INVALID_REGISTER_VALUE },
		{ HV_REGISTER_PENDING_EVENT0, 1 | 40 << 16, HV_STATUS_INVALID_REGISTER_VALUE },
		{ HV_REGISTER_PENDING_INTERRUPTION, 1 | 1 << 1, HV_STATUS_INVALID_REGISTER_VALUE },
		{ HV_REGISTER_INTERRUPT_STATE, 4, HV_STATUS_INVALID_REGISTER_VALUE },
		{ HV_REGISTER_INTERNAL_ACTIVITY_STATE, 8, HV_STATUS_INVALID_REGISTER_VALUE },
		{ HV_REGISTER_EXPLICIT_SUSPEND, 2, HV_STATUS_INVALID_REGISTER_VALUE },
		{ HV_REGISTER_DELIVERABILITY_NOTIFICATIONS, 1 << 8,
		  HV_STATUS_INVALID_REGISTER_VALUE },
		{ 0x1234567, 0, HV_STATUS_INVALID_PARAMETER },
		{ 0x91003, 0, HV_STATUS_INVALID_PARAMETER }, // nested VP index
	};
	struct hv_register_assoc three[3] = { { .name = HV_X64_REGISTER_RAX + 5, .value.reg64 = 1 },
					      { .name = HV_X64_REGISTER_CR8, .value.reg64 = 99 },
					      { .name = HV_X64_REGISTER_RAX + 6,
						.value.reg64 = 3 } };
	struct {
		struct hv_input_vp_registers h;
		uint32_t names[4];
	} get = { .names = { HV_X64_REGISTER_RAX + 5, HV_X64_REGISTER_RIP, 0x1234567,
			     HV_X64_REGISTER_RAX } };
	union hv_register_value v[4];
	struct rig r;
	struct seen before;

	(void)state;
	rig_init(&r);
	look(&r, &before);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		assert_int_equal(rig_set(&r, bad[i].name, bad[i].v), EINVAL);
		assert_int_equal(r.status, bad[i].status);
		assert_int_equal(r.done, 0);
		unchanged(&r, &before);
	}
	// A list ends at its first bad element, what was before that is done.
	assert_int_equal(rig_set_regs(&r, three, 3), EINVAL);
	assert_int_equal(r.done, 1);
	assert_int_equal(rig_get(&r, HV_X64_REGISTER_RAX + 5), 1);
	assert_int_equal(rig_get(&r, HV_X64_REGISTER_RAX + 6), 0);
	assert_int_equal(
		rig_hvcall(&r, HVCALL_GET_VP_REGISTERS, &get, sizeof(get), v, sizeof(v), 4),
		EINVAL);
	assert_int_equal(r.done, 2);
	get.h.vp_index = 7;
	assert_int_equal(
		rig_hvcall(&r, HVCALL_GET_VP_REGISTERS, &get, sizeof(get), v, sizeof(v), 4),
		EINVAL);
	assert_int_equal(r.status, HV_STATUS_INVALID_VP_INDEX);
	get.h.vp_index = 0;
	get.h.input_vtl = 1;
	assert_int_equal(
		rig_hvcall(&r, HVCALL_GET_VP_REGISTERS, &get, sizeof(get), v, sizeof(v), 4),
		EINVAL);
	assert_int_equal(r.status, HV_STATUS_INVALID_PARAMETER);
	rig_done(&r);
}

// ---- VP state
static void test_state(void **state)
{
	static const struct {
		struct mshv_get_set_vp_state a;
	} bad[] = {
		{ { .type = 5, .buf_sz = 4096 } },
		{ { .type = 0, .buf_sz = 0 } },
		{ { .type = 0, .buf_sz = 200 } },
		{ { .type = 0, .rsvd = { 0, 0, 1 }, .buf_sz = 4096 } },
	};
	static const uint32_t need[] = { 4096, 4096, 4096, 4096, 200 };
	uint8_t *pages = aligned_alloc(4096, 16384);
	struct rig r;
	struct seen before;

	(void)state;
	rig_init(&r);
	look(&r, &before);
	for (unsigned set = 0; set < 2; set++) {
		unsigned long req = set ? MSHV_SET_VP_STATE : MSHV_GET_VP_STATE;

		for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
			struct mshv_get_set_vp_state a = bad[i].a;

			a.buf_ptr = (uintptr_t)pages;
			assert_int_equal(rig_ioctl(&r, r.vp, req, &a), EINVAL);
			assert_int_equal(a.buf_sz, bad[i].a.buf_sz);
		}
		for (unsigned type = 0; type < MSHV_VP_STATE_COUNT; type++) {
			struct mshv_get_set_vp_state a = { .type = (uint8_t)type,
							   .buf_sz = 8192,
							   .buf_ptr = (uintptr_t)pages + 8 };

			assert_int_equal(rig_ioctl(&r, r.vp, req, &a), EINVAL);
			a.buf_ptr = 0;
			assert_int_equal(rig_ioctl(&r, r.vp, req, &a), EINVAL);
			a.buf_ptr = 4096; // nothing is mapped there
			assert_int_equal(rig_ioctl(&r, r.vp, req, &a), EFAULT);
			assert_int_equal(a.buf_sz, need[type]);
			a.buf_sz = 8192;
			a.buf_ptr = (uintptr_t)pages;
			memset(pages, 0xaa, 16384);
			if (set) // what it gave, it takes
				assert_int_equal(rig_ioctl(&r, r.vp, MSHV_GET_VP_STATE, &a), 0);
			a.buf_sz = 8192;
			assert_int_equal(rig_ioctl(&r, r.vp, req, &a), 0);
			assert_int_equal(a.buf_sz, need[type]);
			assert_int_equal(pages[need[type]], 0xaa);
		}
		unchanged(&r, &before);
	}
	// An XSAVE area no processor takes.
	{
		struct mshv_get_set_vp_state a = {
			MSHV_VP_STATE_XSAVE, { 0 }, 4096, (uintptr_t)pages
		};

		assert_int_equal(rig_ioctl(&r, r.vp, MSHV_GET_VP_STATE, &a), 0);
		pages[512] |= 4; // a component there is not
		assert_int_equal(rig_ioctl(&r, r.vp, MSHV_SET_VP_STATE, &a), EINVAL);
		unchanged(&r, &before);
	}
	assert_int_equal(rig_ioctl(&r, r.vp, MSHV_GET_VP_STATE, BAD_POINTER), EFAULT);
	assert_int_equal(rig_ioctl(&r, r.vp, MSHV_CREATE_VP, BAD_POINTER), ENOTTY);
	rig_done(&r);
	free(pages);
}

// ---- the partition's other calls
static void test_partition(void **state)
{
	struct rig r;
	int fd;
	struct mshv_user_irq_table *routes =
		calloc(1, sizeof(*routes) + 2 * sizeof(routes->entries[0]));

	(void)state;
	assert_non_null(routes);
	routes->nr = 2;
	routes->entries[0] = (struct mshv_user_irq_entry){ 5, 0xfee00000, 0, 0x8041 };
	routes->entries[1] = (struct mshv_user_irq_entry){ 6, 0xfee00000, 0, 0x42 };
	rig_init(&r);
	assert_int_equal(rig_ioctl(&r, r.part, MSHV_INITIALIZE_PARTITION, NULL), 0); // again
	assert_int_equal(rig_vp(&r, 256, &fd), EINVAL);
	assert_int_equal(rig_vp(&r, 0, &fd), EEXIST);
	assert_int_equal(rig_ioctl(&r, r.part, MSHV_RUN_VP + 0x40, BAD_POINTER), ENOTTY);
	assert_int_equal(rig_ioctl(&r, r.part, MSHV_SET_MSI_ROUTING, routes), 0);
	routes->entries[1].gsi = 5;
	assert_int_equal(rig_ioctl(&r, r.part, MSHV_SET_MSI_ROUTING, routes), EINVAL);
	routes->entries[1].gsi = 4096;
	assert_int_equal(rig_ioctl(&r, r.part, MSHV_SET_MSI_ROUTING, routes), EINVAL);
	routes->entries[1].gsi = 7;
	routes->entries[1].address_hi = 1;
	assert_int_equal(rig_ioctl(&r, r.part, MSHV_SET_MSI_ROUTING, routes), EINVAL);
	routes->nr = 4097;
	assert_int_equal(rig_ioctl(&r, r.part, MSHV_SET_MSI_ROUTING, routes), EINVAL);
	routes->nr = 0;
	routes->rsvd = 1;
	assert_int_equal(rig_ioctl(&r, r.part, MSHV_SET_MSI_ROUTING, routes), EINVAL);
	assert_true(r.sys->mmap(NULL, 4096, PROT_READ, MAP_SHARED, r.vp, 2 * 4096) == MAP_FAILED);
	assert_int_equal(errno, ENODEV);
	assert_true(r.sys->mmap(NULL, 4096, PROT_READ, MAP_SHARED, r.vp, 3 * 4096) == MAP_FAILED);
	assert_int_equal(errno, EINVAL);
	rig_done(&r);
	free(routes);
}

static void test_translate(void **state)
{
	enum { RO = 0x600000, UNMAPPED = 0x800000 };
	static const struct {
		uint64_t flags, gva;
		uint32_t result;
		uint64_t gpa;
	} cases[] = {
		{ 1 | 0x40, 0x123000, HV_TRANSLATE_SUCCESS, 0x123000 },
		{ 1 | 0x80, 0x123000, HV_TRANSLATE_SUCCESS, 0x123000 },
		{ 1 | 0x40, 0x4000123000, HV_TRANSLATE_PAGE_NOT_PRESENT, 0 },
		{ 2 | 0x40, RO, HV_TRANSLATE_GPA_NO_WRITE_ACCESS, RO },
		{ 1 | 0x40, RO, HV_TRANSLATE_SUCCESS, RO },
		{ 1 | 0x40, UNMAPPED, HV_TRANSLATE_GPA_UNMAPPED, UNMAPPED },
		{ 1 | 0x80, 0x40000000, HV_TRANSLATE_PRIVILEGE_VIOLATION, 0 }, // a supervisor's
		{ 1 | 8, 0x40000000, HV_TRANSLATE_SUCCESS, 0 },
		{ 1 | 0x40, 0x80000000, HV_TRANSLATE_INVALID_PAGE_TABLE_FLAGS, 0 },
	};
	static const struct {
		uint64_t flags;
		int e, status;
	} bad[] = { { 0xc0, EINVAL, HV_STATUS_INVALID_PARAMETER },
		    { 0x800, EINVAL, HV_STATUS_INVALID_PARAMETER },
		    { 0x400, EOPNOTSUPP, HV_STATUS_PROCESSOR_FEATURE_NOT_SUPPORTED } };
	uint8_t *rom = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct hv_input_translate_virtual_address in = { 0 };
	struct hv_output_translate_virtual_address out;
	struct rig r;
	uint64_t *pdpt;

	(void)state;
	rig_init(&r);
	assert_int_equal(rig_map(&r, RO, rom, 4096, 2), 0);
	pdpt = (void *)(r.ram + RIG_PML4 + 0x1000);
	pdpt[1] = 0x83;              // GiB 1: the first again, for the supervisor
	pdpt[2] = 0x83 | 1ull << 50; // a reserved bit
	for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		in.control_flags = cases[i].flags;
		in.gva_page = cases[i].gva >> 12;
		assert_int_equal(rig_hvcall(&r, HVCALL_TRANSLATE_VIRTUAL_ADDRESS, &in, sizeof(in),
					    &out, sizeof(out), 0),
				 0);
		assert_int_equal(out.result_code, cases[i].result);
		if (cases[i].gpa)
			assert_int_equal(out.gpa_page, cases[i].gpa >> 12);
	}
	assert_false(pdpt[1] & 0x20); // nobody asked for the accessed bit
	in.control_flags = 2 | 0x40 | HV_TRANSLATE_SET_PAGE_TABLE_BITS;
	in.gva_page = 0x40000;
	assert_int_equal(rig_hvcall(&r, HVCALL_TRANSLATE_VIRTUAL_ADDRESS, &in, sizeof(in), &out,
				    sizeof(out), 0),
			 0);
	assert_true((pdpt[1] & 0x60) == 0x60);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		in.control_flags = bad[i].flags;
		assert_int_equal(rig_hvcall(&r, HVCALL_TRANSLATE_VIRTUAL_ADDRESS, &in, sizeof(in),
					    &out, sizeof(out), 0),
				 bad[i].e);
		assert_int_equal(r.status, bad[i].status);
	}
	rig_done(&r);
	(void)munmap(rom, 4096); // ours
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_device),     cmocka_unit_test(test_features),
		cmocka_unit_test(test_memory),     cmocka_unit_test(test_hypercalls),
		cmocka_unit_test(test_properties), cmocka_unit_test(test_registers),
		cmocka_unit_test(test_state),      cmocka_unit_test(test_partition),
		cmocka_unit_test(test_translate),
	};

	return cmocka_run_group_tests_name("soft_args", tests, NULL, NULL);
}
